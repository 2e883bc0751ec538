"""How good a model is: every run predicted from the others, and models ranked by it."""

from boatppl.validate.compare import Comparison, compare, named_inferences
from boatppl.validate.cross_validate import cross_validate
from boatppl.validate.scores import CrossValidation, Scores

__all__ = ["Comparison", "CrossValidation", "Scores", "compare", "cross_validate", "named_inferences"]
