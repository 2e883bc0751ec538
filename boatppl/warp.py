"""The scale of a node of which nothing is known: that on which its measurements look most like a Gaussian
process.

An objective that is 3 at its best and a million elsewhere is no Gaussian process in its natural unit. Beside
that there are the logarithm and arc-sinh scales, which are linear near an anchor and logarithmic far from it.
The evidence for each includes the Jacobian, so that they can be compared (Snelson et al. 2004, eq. 6).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from boatppl.gp.kernel import KINDS, correlate
from boatppl.transform import Transform

LEAST_VALUES = 5  # different ones: of fewer, nothing can be said
MOST_ROWS = 200  # of more, as many are compared
SHARES = (0.05, 0.2, 0.4, 0.7)  # of the rows, which are where a scale is linear: next to its anchor
# Lengthscales as the prior of a standardised node has them (its median is 0.3), and the noise in amplitudes.
LENGTHSCALES = (0.1, 0.2, 0.4, 0.8, 1.6)
NOISES = (0.003, 0.03, 0.1, 0.3, 1.0)


def standardised(transform: Transform, values: np.ndarray) -> Transform:
    """Return a transform with the location and spread that standardise some values ``(row,)``."""
    plain = replace(transform, location=0.0, spread=1.0)
    there = plain.forward(values)
    there = there[np.isfinite(there)]
    if len(there) == 0:
        return plain
    mean, spread = float(np.mean(there)), float(np.std(there)) if len(there) > 1 else 0.0
    constant = spread <= 1e-9 * abs(mean)  # equal measurements differ by rounding at the most
    return replace(plain, location=mean, spread=(abs(mean) or 1.0) if constant else spread)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # measurements of 1e300 stay on their scale
def warped(values: np.ndarray, kernel: str, Z: np.ndarray, groups: np.ndarray) -> Transform:
    """Return the standardised transform for which the evidence is greatest.

    ``values (row,)`` are the measurements, ``Z (row, column)`` the residual's inputs and ``groups (column,)``
    the lengthscale of each. Before any measurement the natural scale is as probable as all others together.
    """
    natural = standardised(Transform(), values)
    if len(np.unique(values)) < LEAST_VALUES:
        return natural
    rows = np.unique(np.linspace(0, len(values) - 1, MOST_ROWS).astype(int))
    spectra = list(_spectra(kernel, Z[rows], groups))
    others = [standardised(transform, values) for transform in _candidates(values)]
    before, *after = (_evidence(transform, values[rows], spectra) for transform in [natural, *others])
    best = int(np.argmax(after))
    return others[best] if after[best] - np.log(len(others)) > before else natural


def _candidates(values: np.ndarray) -> list[Transform]:
    """Return a logarithm where every value is positive, and arc-sinh scales anchored at the least, the median
    and the greatest value."""
    found = [Transform("log")] if np.min(values) > 0.0 else []
    for anchor in (np.min(values), np.median(values), np.max(values)):
        away = np.abs(values - anchor)
        units = np.quantile(away[away > 0.0], SHARES)
        found += [Transform("asinh", anchor=float(anchor), unit=float(unit)) for unit in units]
    return found


def _spectra(kernel: str, Z: np.ndarray, groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield eigenvalues ``(row,)`` and eigenvectors ``(row, row)`` of the correlation at each lengthscale."""
    squared = cdist(Z, Z, "sqeuclidean") / len(np.unique(groups))
    for length in LENGTHSCALES:
        correlation = squared.ravel() / length**2
        correlate(KINDS[kernel], correlation, np.empty_like(correlation))
        values, vectors = np.linalg.eigh(correlation.reshape(squared.shape))
        yield np.maximum(values, 0.0), vectors


def _evidence(
    transform: Transform, values: np.ndarray, spectra: list[tuple[np.ndarray, np.ndarray]]
) -> float:
    """Return the log density of values ``(row,)`` in their natural unit, up to a constant: level and
    amplitude at their best, summed over lengthscales and noise."""
    y, ones, found = transform.forward(values), np.ones(len(values)), []
    for eigenvalues, vectors in spectra:
        along, level = y @ vectors, ones @ vectors
        for noise in NOISES:
            variance = eigenvalues + noise**2
            error = along - level * ((level * along / variance).sum() / (level**2 / variance).sum())
            amplitude = np.mean(error**2 / variance)
            found.append(-0.5 * (len(y) * np.log(amplitude) + np.log(variance).sum()))
    return float(logsumexp(found) + transform.log_jacobian(values).sum())
