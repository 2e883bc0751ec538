"""The scale on which a node is modelled: ``T(y) = (t(y) - location) / spread``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytensor.tensor as pt

Map = Callable[[Any], Any]

KINDS = (None, "log", "log1p", "sqrt", "logit")
ZEROS = ("log1p", "sqrt")  # for quantities that are 0 at times and never below: the inverse stops at 0
STEEP = 1e9  # stands for an infinite slope


@dataclass(frozen=True)
class Transform:
    """A monotone map from a node's natural unit to the scale on which its noise and residual are additive.

    ``location`` and ``spread`` are 0 and 1 for a node with a parametric part (its posteriors stay in domain
    units); a node without one is standardised by them. ``t`` is of ``(y - anchor) / unit``: only the scale
    that a node chose for itself (:mod:`boatppl.warp`) has others than 0 and 1.
    """

    kind: str | None = None
    location: float = 0.0
    spread: float = 1.0
    anchor: float = field(default=0.0, repr=False)
    unit: float = field(default=1.0, repr=False)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Map natural values (any shape) to the transformed scale; outside the domain: not finite."""
        with np.errstate(all="ignore"):
            return (FORWARD[self.kind](self._within(values)) - self.location) / self.spread

    def inverse(self, transformed: np.ndarray) -> np.ndarray:
        """Map transformed values (any shape) back to the natural unit."""
        raw = np.asarray(transformed, float) * self.spread + self.location
        with np.errstate(over="ignore"):
            return INVERSE[self.kind](raw) * self.unit + self.anchor

    def slope(self, values: np.ndarray) -> np.ndarray:
        """Return dT/dy at natural values (any shape); very large at a 0 that every lower T also gives."""
        with np.errstate(all="ignore"):
            return SLOPE[self.kind](self._within(values)) / (self.spread * self.unit)

    def log_jacobian(self, values: np.ndarray) -> np.ndarray:
        """Return ``log |dT/dy|``: with it a density of T(y) becomes the density of y in its natural unit.

        At 0 the slope of a square root is infinite; it is taken at 1e-12 there, so that zeros can be scored.
        """
        positive = np.maximum(values, 1e-12) if self.kind in ZEROS else values
        with np.errstate(all="ignore"):
            return np.log(self.slope(positive))

    def symbolic(self, values: Any) -> Any:
        """Map a PyTensor expression of natural values to ``t(y)``, before location and spread."""
        return SYMBOLIC[self.kind](values)

    def _within(self, values: np.ndarray) -> np.ndarray:
        """Values in the transform's own unit, from its anchor."""
        return (np.asarray(values, float) - self.anchor) / self.unit

    @property
    def domain(self) -> str:
        """What a measurement must be, in words."""
        return DOMAIN[self.kind]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _root(y: Any) -> Any:
    """The square root, flat at 0: where a formula is 0 whatever its unknowns are (0 MB promoted), an infinite
    slope times no change would make every gradient NaN."""
    nothing = pt.eq(y, 0.0)
    return pt.switch(nothing, 0.0, pt.sqrt(pt.switch(nothing, 1.0, y)))


FORWARD: Mapping[str | None, Map] = {
    None: lambda y: y,
    "log": np.log,
    "log1p": lambda y: np.where(y >= 0.0, np.log1p(y), np.nan),
    "sqrt": np.sqrt,
    "logit": lambda y: np.log(y) - np.log1p(-y),
    "asinh": np.arcsinh,
    "root": lambda y: np.sign(y) * (np.sqrt(1.0 + np.abs(y)) - 1.0),
    "square": lambda y: np.where(y >= 0.0, np.square(y), np.nan),
}
INVERSE: Mapping[str | None, Map] = {
    None: lambda t: t,
    "log": np.exp,
    "log1p": lambda t: np.expm1(np.maximum(t, 0.0)),
    "sqrt": lambda t: np.square(np.maximum(t, 0.0)),
    "logit": _sigmoid,
    "asinh": np.sinh,
    "root": lambda t: np.sign(t) * (np.square(1.0 + np.abs(t)) - 1.0),
    "square": lambda t: np.sqrt(np.maximum(t, 0.0)),
}
SLOPE: Mapping[str | None, Map] = {
    None: np.ones_like,
    "log": lambda y: 1.0 / y,
    "log1p": lambda y: np.where(y > 0.0, 1.0 / (1.0 + y), STEEP),
    "sqrt": lambda y: np.minimum(0.5 / np.sqrt(y), STEEP),
    "logit": lambda y: 1.0 / (y * (1.0 - y)),
    "asinh": lambda y: 1.0 / np.sqrt(1.0 + y * y),
    "root": lambda y: 0.5 / np.sqrt(1.0 + np.abs(y)),
    "square": lambda y: np.where(y > 0.0, 2.0 * y, STEEP),
}
SYMBOLIC: Mapping[str | None, Map] = {
    None: lambda y: y,
    "log": pt.log,
    "log1p": pt.log1p,
    "sqrt": _root,
    "logit": lambda y: pt.log(y) - pt.log1p(-y),
}
DOMAIN = {
    None: "a finite number",
    "log": "above 0 (where zeros occur, use transform='log1p' or 'sqrt')",
    "log1p": "at least 0",
    "sqrt": "at least 0",
    "logit": "between 0 and 1, both excluded",
}
