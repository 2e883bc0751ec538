"""Before the first trial: what a model says of its own."""

from boatppl.check.check import Check, Complaint, check

__all__ = ["Check", "Complaint", "check"]
