"""Gaussian-process residuals in numbers: log densities with gradients, and conditionals for prediction."""

from boatppl.gp.conditional import Conditional
from boatppl.gp.inducing import EXACT_ROWS, choose_inducing, log_marginal_inducing
from boatppl.gp.kernel import JITTER, KINDS, LOG_DENSITY_FLOOR, correlation_matrix
from boatppl.gp.marginal import log_marginal, log_normal

__all__ = [
    "EXACT_ROWS",
    "JITTER",
    "KINDS",
    "LOG_DENSITY_FLOOR",
    "Conditional",
    "choose_inducing",
    "correlation_matrix",
    "log_marginal",
    "log_marginal_inducing",
    "log_normal",
]
