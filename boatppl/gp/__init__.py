"""Gaussian-process residuals in numbers: log densities with gradients, and conditionals for prediction."""

from boatppl.gp.conditional import Conditional
from boatppl.gp.kernel import JITTER, KINDS, LOG_DENSITY_FLOOR, correlation_matrix
from boatppl.gp.marginal import log_marginal, log_normal

__all__ = [
    "JITTER",
    "KINDS",
    "LOG_DENSITY_FLOOR",
    "Conditional",
    "correlation_matrix",
    "log_marginal",
    "log_normal",
]
