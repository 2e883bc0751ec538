"""Acquisition functions: pure functions of predictions, for minimisation, larger where better."""

import numpy as np
from scipy.special import erfcx, log_ndtr, logsumexp

LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)
C2 = 0.5 * np.log(np.pi / 2.0)
IMPOSSIBLE = -1e200  # below every log probability of numbers, and still to be added and compared


def log_improvement(z: np.ndarray) -> np.ndarray:
    """Return ``log(phi(z) + z Phi(z))``, stable for any z (Ament et al. 2023, eq. 9)."""
    z = np.asarray(z, float)
    high, low = np.maximum(z, -1.0), np.minimum(z, -1.0)
    with np.errstate(all="ignore"):
        upper = np.log(np.exp(-0.5 * high**2 - LOG_SQRT_2PI) + high * np.exp(log_ndtr(high)))
        tail = np.log(erfcx(-low / np.sqrt(2.0)) * np.abs(low)) + C2
        lower = -0.5 * low**2 - LOG_SQRT_2PI + np.log(-np.expm1(np.minimum(tail, -1e-300)))
        far = -0.5 * low**2 - LOG_SQRT_2PI - 2.0 * np.log(np.abs(low))
    return np.where(z > -1.0, upper, np.where(low < -1e5, far, lower))


def log_expected_improvement(mean: np.ndarray, variance: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return each draw's log expected improvement below ``best``.

    ``mean`` and ``variance`` are ``(draw, configuration)`` as the result is; ``best`` is ``(draw,)`` or
    ``(draw, 1)``. With zero variance it is the log of the plain improvement. (Jones et al. 1998; in log space
    Ament et al. 2023.)
    """
    best = np.reshape(best, (-1, 1))
    spread = np.sqrt(np.maximum(variance, 0.0))
    gain = best - mean
    with np.errstate(all="ignore"):
        certain = np.log(np.maximum(gain, 0.0))
        uncertain = np.log(spread) + log_improvement(gain / spread)
    return np.where(spread > 0.0, uncertain, certain)


def log_expected_improvement_slopes(
    mean: np.ndarray, variance: np.ndarray, best: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return d logEI / d mean and d logEI / d variance, shaped as mean.

    With zero variance the former is that of the log of the plain improvement, and the latter zero.
    """
    spread = np.sqrt(np.maximum(variance, 1e-300))
    gain = np.reshape(best, (-1, 1)) - mean
    z = gain / spread
    log_h = log_improvement(z)
    with np.errstate(all="ignore"):
        d_mean = -np.exp(log_ndtr(z) - log_h) / spread
        d_spread = np.exp(-0.5 * z**2 - LOG_SQRT_2PI - log_h) / spread
    d_variance = d_spread / (2.0 * spread)
    there = (variance > 0.0) & np.isfinite(d_mean) & np.isfinite(d_variance)
    certain = np.where((variance <= 0.0) & (gain > 0.0), -1.0 / np.where(gain > 0.0, gain, 1.0), 0.0)
    return np.where(there, d_mean, certain), np.where(there, d_variance, 0.0)


def log_probability_within(mean: np.ndarray, variance: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Return the log probability of a normal variable between two bounds, either of them infinite.

    All but the bounds are ``(draw, configuration)``; far from them, or no number, it is ``IMPOSSIBLE``.
    """
    spread = np.sqrt(variance)
    with np.errstate(all="ignore"):
        low, high = (lower - mean) / spread, (upper - mean) / spread
        mirrored = low + high > 0.0  # in the upper tail differences of probabilities cancel
        low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
        above, below = log_ndtr(high), log_ndtr(low)
        each = above + np.log1p(-np.exp(np.minimum(below - above, 0.0)))
    possible = np.isfinite(mean) & (each > IMPOSSIBLE)
    return np.where(possible, each, IMPOSSIBLE)


def log_probability_within_slopes(
    mean: np.ndarray, variance: np.ndarray, lower: float, upper: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return d log probability / d mean and / d variance, shaped as mean; 0 where it is impossible."""
    each = log_probability_within(mean, variance, lower, upper)
    spread = np.sqrt(variance)
    d_mean, d_spread = np.zeros(each.shape), np.zeros(each.shape)
    with np.errstate(all="ignore"):
        for bound, sign in ((upper, -1.0), (lower, 1.0)):
            if np.isfinite(bound):
                z = (bound - mean) / spread
                density = sign * np.exp(-0.5 * z**2 - LOG_SQRT_2PI - each) / spread
                d_mean += density
                d_spread += z * density
    there = (each > IMPOSSIBLE) & np.isfinite(d_mean) & np.isfinite(d_spread)
    return np.where(there, d_mean, 0.0), np.where(there, d_spread / (2.0 * spread), 0.0)


def average(log_values: np.ndarray) -> np.ndarray:
    """Return the log mean of ``exp(log_values)`` over draws: (draw, configuration) to ``(configuration,)``.

    A draw that is not a number at a configuration promises nothing there.
    """
    filled = np.where(np.isnan(log_values), -np.inf, log_values)
    return logsumexp(filled, axis=0) - np.log(len(filled))


def shares(log_values: np.ndarray) -> np.ndarray:
    """Return d average / d log_values ``(draw, configuration)``: each draw's share of the average."""
    filled = np.where(np.isnan(log_values), -np.inf, log_values)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.exp(filled - logsumexp(filled, axis=0)))


def smoothing(values: np.ndarray) -> np.ndarray:
    """Return a variance ``(draw, 1)`` that smooths a Monte-Carlo improvement: (1 % of a draw's spread)^2."""
    spread = np.nanstd(values, axis=1, keepdims=True)
    return np.square(0.01 * np.where(spread > 0, spread, 1.0))


def probability_of_improvement(mean: np.ndarray, variance: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the probability ``(configuration,)`` over draws of a noise-free value below the draw's best."""
    spread = np.sqrt(np.maximum(variance, 1e-300))
    return np.nanmean(np.exp(log_ndtr((np.reshape(best, (-1, 1)) - mean) / spread)), axis=0)


def posterior_mean(mean: np.ndarray) -> np.ndarray:
    """Return minus the mean over draws ``(configuration,)``: choosing by it only exploits."""
    return -np.nanmean(mean, axis=0)
