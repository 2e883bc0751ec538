"""The search: maximise any function of configurations over a space."""

from boatppl.search.maximum import Exhausted, Found, maximise

__all__ = ["Exhausted", "Found", "maximise"]
