"""Which part of a model is wrong."""

from boatppl.diagnose.diagnose import diagnose
from boatppl.diagnose.diagnosis import CAUSES, Diagnosis, Finding

__all__ = ["CAUSES", "Diagnosis", "Finding", "diagnose"]
