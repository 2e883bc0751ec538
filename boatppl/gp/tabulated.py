"""A residual of one input, read from a table: what a search over many rows a configuration can afford.

A node over 100 machines has 100 rows in every configuration that a search looks at, and each costs the square
of the rows known. Where the residual has a single input, its mean and variance under a draw are smooth
functions of one number: they are computed at knots, once, and interpolated between them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from boatppl.gp.compiled import cached
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
        z = _by_draw(Zs)
        mean, variance = _read(self.mean, z, False), np.maximum(_read(self.variance, z, False), 0.0)
        out = _outside(z)
        if out.any():
            mean[:, out], variance[:, out] = self.exact.predict(z[:, out, None])
        return mean, variance

    def pullback(self, Zs: np.ndarray, d_mean: np.ndarray, d_variance: np.ndarray) -> np.ndarray:
        """Gradient of sum(d_mean mean + d_variance variance) by the points, shape ``(draw, point, 1)``.

        The arguments are those of :meth:`~boatppl.gp.conditional.Conditional.pullback`.
        """
        z = _by_draw(Zs)
        slope = d_mean * _read(self.mean, z, True) + d_variance * _read(self.variance, z, True)
        out = _outside(z)
        if out.any():
            slope[:, out] = self.exact.pullback(z[:, out, None], d_mean[:, out], d_variance[:, out])[..., 0]
        return slope[..., None]


def rehearse() -> None:
    """Compile what reads a table, once on a machine, rather than in the middle of a suggestion."""
    _read(np.zeros((2, 1, 2)), np.zeros((1, 1)), False)


def _by_draw(Zs: np.ndarray) -> np.ndarray:
    """Points of one column as ``(draw or 1, point)``."""
    return np.ascontiguousarray(Zs[None, :, 0] if Zs.ndim == 2 else Zs[..., 0])


def _outside(z: np.ndarray) -> np.ndarray:
    """Which points lie outside the knots in some draw, ``(point,)``."""
    return ((z < LOW) | (z > HIGH)).any(axis=0)


@cached()
def _read(table: np.ndarray, z: np.ndarray, slope: bool) -> np.ndarray:
    """The interpolated function, or its slope, ``(draw, point)`` at points ``z (draw or 1, point)``."""
    draws, knots = table.shape[1], table.shape[2]
    step = (HIGH - LOW) / (knots - 1)
    result = np.empty((draws, z.shape[1]))
    for s in range(draws):
        values, slopes = table[0, s], table[1, s]
        own = z[s] if len(z) > 1 else z[0]
        for t in range(len(own)):
            at = (own[t] - LOW) / step
            j = min(max(int(at), 0), knots - 2)
            u, rise = at - j, values[j + 1] - values[j]
            left, right = step * slopes[j], step * slopes[j + 1]
            square, cube = 3 * rise - 2 * left - right, left + right - 2 * rise
            if slope:
                result[s, t] = (left + u * (2 * square + 3 * u * cube)) / step
            else:
                result[s, t] = values[j] + u * (left + u * (square + u * cube))
    return result


def _with_slopes(knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values and slopes ``(2, draw, knot)``."""
    return np.stack([values, CubicSpline(knots, values, axis=1)(knots, 1)])
