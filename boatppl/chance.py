"""How probable it is that a quantity is within bounds: by a posterior, along the DAG."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from boatppl.acquisition import log_probability_within, log_probability_within_slopes
from boatppl.averaged import Averaged
from boatppl.propagate import Luck, Posterior
from boatppl.transform import Transform

SURELY = 1e-9  # of a quantity's own scale: the least spread, so that one without doubt has a slope, too


class Chance(Averaged):
    """The log probability that a quantity's noise-free value is between two bounds, in its unit.

    In each draw the quantity is normal on its transformed scale, with a variance of ``least`` more than its
    own; the draws are averaged. A derived quantity has one value in a draw, and a share of draws is made
    smooth as in a kernel density estimate (Silverman 1986, eq. 3.28).
    """

    def __init__(
        self,
        posterior: Posterior,
        target: str,
        luck: Luck,
        contexts: Mapping[str, Any] | None,
        *,
        lower: float | None = None,
        upper: float | None = None,
        least: float = 0.0,
    ) -> None:
        super().__init__(posterior, target, luck, contexts)
        transform = posterior.transforms.get(target, Transform())
        self.lower = -np.inf if lower is None else _bound(transform, lower)
        self.upper = np.inf if upper is None else _bound(transform, upper)
        self.least, self.derived = least, target in posterior.model.derived

    def each(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return each draw's log probability."""
        return log_probability_within(mean, self._variance(mean, variance), self.lower, self.upper)

    def slopes(
        self, mean: np.ndarray, variance: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the average's slopes by mean and variance."""
        smoothed = self._variance(mean, variance)
        d_mean, d_variance = log_probability_within_slopes(mean, smoothed, self.lower, self.upper)
        d_mean, d_variance = weight * d_mean, weight * d_variance
        if not self.derived:
            return d_mean, d_variance
        # each draw moves the width: d w^2 / d mean = 2 w 1.06 n^-0.2 (mean - m) / (n s)
        spread = np.nanstd(mean, axis=0)
        each = np.divide(mean - np.nanmean(mean, axis=0), spread, out=np.zeros(mean.shape), where=spread > 0)
        width = 2 * np.sqrt(smoothed) * _silverman(len(mean)) * np.nan_to_num(each) / len(mean)
        return d_mean + d_variance.sum(axis=0) * width, np.zeros_like(d_variance)

    def _variance(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """The variance in each draw, made smooth."""
        surely = SURELY * (np.nanstd(mean) + SURELY)
        if self.derived:
            width = np.nanstd(mean, axis=0) * _silverman(len(mean)) + surely
            return np.broadcast_to(np.square(width), mean.shape)
        return variance + self.least + surely**2


def _silverman(draws: int) -> float:
    return float(1.06 * draws**-0.2)


def _bound(transform: Transform, value: float) -> float:
    """A bound on the transformed scale; one below all that a transform knows is minus infinity."""
    found = float(transform.forward(np.array(value)))
    return found if np.isfinite(found) else -np.inf
