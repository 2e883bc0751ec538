"""The scale on which a node is modelled: ``T(y) = (t(y) - location) / spread``."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor.tensor as pt

KINDS = (None, "log", "log1p", "sqrt", "logit")


@dataclass(frozen=True)
class Transform:
    """A monotone map from a node's natural unit to the scale on which its noise and residual are additive.

    ``location`` and ``spread`` are 0 and 1 for a node with a parametric part (its posteriors stay in domain units);
    a node without one is standardised by them.
    """

    kind: str | None = None
    location: float = 0.0
    spread: float = 1.0

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Map natural values to the transformed scale (any shape); outside the domain the result is not finite."""
        with np.errstate(all="ignore"):
            return (FORWARD[self.kind](np.asarray(values, float)) - self.location) / self.spread

    def inverse(self, transformed: np.ndarray) -> np.ndarray:
        """Map transformed values (any shape) back to the natural unit."""
        raw = np.asarray(transformed, float) * self.spread + self.location
        with np.errstate(over="ignore"):
            return INVERSE[self.kind](raw)

    def slope(self, values: np.ndarray) -> np.ndarray:
        """Return dT/dy at natural values (any shape)."""
        with np.errstate(all="ignore"):
            return SLOPE[self.kind](np.asarray(values, float)) / self.spread

    def log_jacobian(self, values: np.ndarray) -> np.ndarray:
        """Return ``log |dT/dy|``: added to a density of T(y), it gives the density of y in its natural unit."""
        with np.errstate(all="ignore"):
            return np.log(self.slope(values))

    def symbolic(self, values: Any) -> Any:
        """Map a PyTensor expression of the natural values to ``t(y)`` (location and spread are not applied)."""
        return SYMBOLIC[self.kind](values)

    @property
    def domain(self) -> str:
        """What a measurement must be, in words."""
        return DOMAIN[self.kind]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


FORWARD = {
    None: lambda y: y,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "logit": lambda y: np.log(y) - np.log1p(-y),
}
INVERSE = {
    None: lambda t: t,
    "log": np.exp,
    "log1p": np.expm1,
    "sqrt": lambda t: np.square(np.maximum(t, 0.0)),
    "logit": _sigmoid,
}
SLOPE = {
    None: np.ones_like,
    "log": lambda y: 1.0 / y,
    "log1p": lambda y: 1.0 / (1.0 + y),
    "sqrt": lambda y: 0.5 / np.sqrt(y),
    "logit": lambda y: 1.0 / (y * (1.0 - y)),
}
SYMBOLIC = {
    None: lambda y: y,
    "log": pt.log,
    "log1p": pt.log1p,
    "sqrt": pt.sqrt,
    "logit": lambda y: pt.log(y) - pt.log1p(-y),
}
DOMAIN = {
    None: "a finite number",
    "log": "above 0 (where zeros occur, use transform='log1p' or 'sqrt')",
    "log1p": "above -1",
    "sqrt": "at least 0",
    "logit": "between 0 and 1, both excluded",
}
