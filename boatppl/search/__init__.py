"""The search: maximise any function of configurations over a space."""

from boatppl.search.maximum import Exhausted, Found, maximise
from boatppl.search.trail import Score

__all__ = ["Exhausted", "Found", "Score", "maximise"]
