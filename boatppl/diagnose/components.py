"""What a formula leaves over, explained by one cause at a time: evidence in nats, in one currency.

The error of the freely fitted formula is ``N(0, s^2 C)``. A cause adds a component to ``C``: a smooth
function of a parameter, of time, of a parent's own error; or it changes the noise. The evidence for it is
how much the restricted likelihood gains, which does not depend on the formula's unknowns (Harville 1974).
Causes of the same symptom thus compete, and the best of them is named.
"""

from dataclasses import dataclass

import numpy as np

LAMBDAS = np.geomspace(0.05, 1000.0, 16)  # variance of a component in units of the noise's
SLOPES = np.linspace(-2.0, 2.0, 17)  # of the logarithm of the noise's deviation, over one sd of the mean
LENGTHSCALE = 0.4  # of a smooth function on the unit interval
DEGREES = 3.0  # of the heavy-tailed alternative to normal noise


@dataclass(frozen=True, eq=False)
class Base:
    """The covariance so far, ``C (row, row)`` with the noise's relative deviations ``D (row,)`` in it.

    ``Q (row, m)`` spans what the formula's unknowns cannot follow.
    """

    C: np.ndarray
    D: np.ndarray
    Q: np.ndarray

    def error(self, residual: np.ndarray) -> np.ndarray:
        """Return what is left of a residual ``(row,)`` beside the formula, white: ``(m,)``."""
        return np.linalg.solve(np.linalg.cholesky(self.Q.T @ self.C @ self.Q), self.Q.T @ residual)

    def variance(self, residual: np.ndarray) -> float:
        """Return the noise's variance s^2."""
        return float(np.mean(self.error(residual) ** 2))


def base(D: np.ndarray, slopes: np.ndarray) -> Base:
    """Return noise alone, of relative deviations ``D (row,)``, beside a formula with ``slopes (row,
    unknown)``."""
    return Base(np.diag(D**2), D, beside(slopes))


def beside(slopes: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis ``(row, m)`` of what ``slopes (row, unknown)`` do not span."""
    left, sizes, _ = np.linalg.svd(slopes, full_matrices=True)
    rank = int((sizes > max(1e-6 * sizes.max(initial=0.0), 1e-12)).sum())
    return left[:, min(rank, len(left) - 2) :]


def smooth(column: np.ndarray) -> np.ndarray:
    """Return the covariance ``(row, row)`` of a smooth function of columns ``(row, column)`` on [0, 1]."""
    distance = np.sqrt(((column[:, None] - column[None]) ** 2).sum(axis=-1)) / LENGTHSCALE
    root5 = np.sqrt(5.0) * distance
    return np.asarray((1.0 + root5 + root5**2 / 3.0) * np.exp(-root5))


def linear(column: np.ndarray) -> np.ndarray:
    """Return the covariance ``(row, row)`` of a multiple of a column ``(row,)``."""
    return np.outer(column, column)


def scaled(K: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return a component that moves each row, beside the formula, as much as noise of variance 1 would."""
    size = float(np.trace(Q.T @ K @ Q)) / Q.shape[1]
    return K / size if size > 1e-10 * max(float(np.trace(K)) / len(K), 1e-300) else np.zeros_like(K)


def gain(known: Base, residual: np.ndarray, K: np.ndarray) -> tuple[float, float]:
    """Return the evidence in nats for a component ``K (row, row)`` and its variance relative to the noise."""
    L = np.linalg.cholesky(known.Q.T @ known.C @ known.Q)
    inner = np.linalg.solve(L, np.linalg.solve(L, known.Q.T @ K @ known.Q).T)
    e, U = np.linalg.eigh(0.5 * (inner + inner.T))
    z2, e = (U.T @ known.error(residual)) ** 2, np.maximum(e, 0.0)
    grown = 1.0 + LAMBDAS[:, None] * e
    m = len(z2)
    found = -0.5 * (m * np.log((z2 / grown).mean(axis=1)) + np.log(grown).sum(axis=1))
    best = int(np.argmax(found))
    return float(found[best] + 0.5 * m * np.log(z2.mean())), float(LAMBDAS[best])


def with_component(known: Base, K: np.ndarray, variance: float) -> Base:
    """Return the covariance with a component added."""
    return Base(known.C + variance * K, known.D, known.Q)


def with_noise(known: Base, D: np.ndarray) -> Base:
    """Return the covariance with other relative deviations ``D (row,)`` of the noise."""
    return Base(known.C - np.diag(known.D**2) + np.diag(D**2), D, known.Q)


def log_likelihood(known: Base, residual: np.ndarray) -> float:
    """Return the restricted log likelihood, the noise's variance at its best, up to a constant."""
    L = np.linalg.cholesky(known.Q.T @ known.C @ known.Q)
    z = np.linalg.solve(L, known.Q.T @ residual)
    return float(-0.5 * len(z) * np.log(np.mean(z**2)) - np.log(np.diag(L)).sum())


def uneven(known: Base, residual: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """Return the evidence that the noise grows (or falls) along ``at (row,)``, and its slope: the change of
    the logarithm of the deviation over one unit."""
    plain = log_likelihood(known, residual)
    found = [
        log_likelihood(with_noise(known, known.D * np.exp(slope * at)), residual) - plain for slope in SLOPES
    ]
    best = int(np.argmax(found))
    return float(found[best]), float(SLOPES[best])


def left_out(known: Base, residual: np.ndarray) -> np.ndarray:
    """Return each row's error against what all other rows say, in its standard deviations: ``(row,)``."""
    inner = np.linalg.inv(known.Q.T @ known.C @ known.Q)
    precision = known.Q @ inner @ known.Q.T
    own = np.maximum(np.diag(precision), 1e-12)
    return np.asarray(precision @ residual / np.sqrt(own * known.variance(residual)))


def normal_density(errors: np.ndarray) -> float:
    """Return the log density of errors ``(row,)`` that are normal, of the best deviation."""
    return float(-0.5 * len(errors) * (np.log(np.mean(errors**2)) + 1.0 + np.log(2.0 * np.pi)))


def heavy_density(errors: np.ndarray) -> tuple[float, float]:
    """Return the log density of errors ``(row,)`` that are Student-t, of the best scale, and that scale."""
    scales = max(float(np.median(np.abs(errors))), 1e-300) * np.geomspace(0.3, 3.0, 40)
    constant = np.log(2.0 / (np.pi * np.sqrt(DEGREES)))  # of a t with 3 degrees of freedom
    terms = np.log1p((errors / scales[:, None]) ** 2 / DEGREES).sum(axis=1)
    found = len(errors) * (constant - np.log(scales)) - 0.5 * (DEGREES + 1.0) * terms
    best = int(np.argmax(found))
    return float(found[best]), float(scales[best])


def noise_of(known: Base, residual: np.ndarray) -> np.ndarray:
    """Return the noise's part of a residual ``(row,)``, the components' taken out, over its relative
    deviation."""
    return np.asarray(known.D * np.linalg.solve(known.C, residual))
