"""What a study found, as a person wants to read it."""

from boatppl.result.findings import Confirmed, Findings, findings
from boatppl.result.result import Result

__all__ = ["Confirmed", "Findings", "Result", "findings"]
