"""A residual of one input, read from a table: what a search over many rows a configuration can afford.

A node over 100 machines has 100 rows in every configuration that a search looks at, and each costs the square
of the rows known. Where the residual has a single input, its mean and variance under a draw are smooth
functions of one number: they are computed at knots, once, and interpolated between them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from boatppl.gp.conditional import Conditional

LOW, HIGH = -1.0, 3.0  # inputs are scaled to about [0, 1]: nearly all configurations lie within
KNOTS_PER_LENGTHSCALE = 24.0
FEWEST, MOST = 129, 2049  # knots


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A :class:`~boatppl.gp.conditional.Conditional` of one column, between equally spaced knots.

    Cubic Hermite interpolation with the slopes of a spline; a point outside the knots is computed exactly.

    :param exact: what the table was made from.
    :param mean: values and slopes at the knots, shape ``(2, draw, knot)``.
    :param variance: as ``mean``.
    """

    exact: Conditional
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, exact: Conditional) -> "Tabulated":
        """Tabulate a conditional of one column, its knots as dense as the shortest lengthscale asks for."""
        finest = KNOTS_PER_LENGTHSCALE * (HIGH - LOW) / float(exact.lengthscale.min())
        knots = np.linspace(LOW, HIGH, int(np.clip(finest, FEWEST, MOST)))
        mean, variance = exact.predict(knots[:, None])
        return cls(exact, _with_slopes(knots, mean), _with_slopes(knots, variance))

    def take(self, draws: np.ndarray) -> "Tabulated":
        """The table of some draws only, given by their positions."""
        return Tabulated(self.exact.take(draws), self.mean[:, draws], self.variance[:, draws])

    def predict(self, Zs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of g at each point, both ``(draw, point)``, as the exact conditional gives them.

        :param Zs: shape ``(draw, point, 1)``, or ``(point, 1)`` for the same points in every draw.
        """
        place = self._place(Zs)
        mean, variance = place.value(self.mean), np.maximum(place.value(self.variance), 0.0)
        out = place.outside
        if out.any():
            mean[:, out], variance[:, out] = self.exact.predict(place.Zs[:, out])
        return mean, variance

    def pullback(self, Zs: np.ndarray, d_mean: np.ndarray, d_variance: np.ndarray) -> np.ndarray:
        """Gradient of sum(d_mean mean + d_variance variance) by the points, shape ``(draw, point, 1)``.

        The arguments are those of :meth:`~boatppl.gp.conditional.Conditional.pullback`.
        """
        place = self._place(Zs)
        slope = d_mean * place.slope(self.mean) + d_variance * place.slope(self.variance)
        out = place.outside
        if out.any():
            slope[:, out] = self.exact.pullback(place.Zs[:, out], d_mean[:, out], d_variance[:, out])[..., 0]
        return slope[..., None]

    def _place(self, Zs: np.ndarray) -> "_Place":
        return _Place.of(Zs[None] if Zs.ndim == 2 else Zs, self.mean.shape[-1])


@dataclass(frozen=True, eq=False)
class _Place:
    """Where points are among the knots: the knot below ``(draw or 1, point)``, and how far above it, of 1."""

    Zs: np.ndarray
    below: np.ndarray
    part: np.ndarray
    step: float
    outside: np.ndarray  # (point,): in some draw

    @classmethod
    def of(cls, Zs: np.ndarray, knots: int) -> "_Place":
        step = (HIGH - LOW) / (knots - 1)
        at = (Zs[..., 0] - LOW) / step
        below = np.clip(at, 0, knots - 2).astype(np.int64)
        return cls(Zs, below, at - below, step, ((at < 0) | (at > knots - 1)).any(axis=0))

    def _corners(self, table: np.ndarray) -> tuple[np.ndarray, ...]:
        """Values below and above, and slopes per step, each ``(draw, point)``."""
        draws = table.shape[1]
        flat = np.arange(draws)[:, None] * table.shape[2] + self.below
        values, slopes = table[0].ravel(), table[1].ravel()
        return values[flat], values[flat + 1], self.step * slopes[flat], self.step * slopes[flat + 1]

    def value(self, table: np.ndarray) -> np.ndarray:
        """The interpolated function at each point, ``(draw, point)``."""
        low, high, left, right = self._corners(table)
        u, rise = self.part, high - low
        return low + u * (left + u * (3 * rise - 2 * left - right + u * (left + right - 2 * rise)))

    def slope(self, table: np.ndarray) -> np.ndarray:
        """Its derivative, ``(draw, point)``."""
        low, high, left, right = self._corners(table)
        u, rise = self.part, high - low
        return (
            left + u * (2 * (3 * rise - 2 * left - right) + 3 * u * (left + right - 2 * rise))
        ) / self.step


def _with_slopes(knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values and slopes ``(2, draw, knot)``."""
    return np.stack([values, CubicSpline(knots, values, axis=1)(knots, 1)])
