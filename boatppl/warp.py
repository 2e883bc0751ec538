"""The scales of a node of which nothing is known: those on which its measurements look most like a Gaussian
process.

An objective that is 3 at its best and a million elsewhere is no Gaussian process in its natural unit. Beside
that there are the logarithm, the square, and arc-sinh scales, which are linear near an anchor and logarithmic
far from it. The evidence for each includes the Jacobian, so that they can be compared (Snelson et al. 2004,
eq. 6). Likewise a residual may vary with a measured quantity's logarithm or root rather than with itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from boatppl.gp.kernel import JITTER, KINDS, correlate
from boatppl.transform import Transform

LEAST_VALUES = 5  # different ones: of fewer, nothing can be said
MOST_ROWS = 200  # of more, as many are compared
SHARES = (0.05, 0.2, 0.4, 0.7)  # of the rows, which are where a scale is linear: next to its anchor
# Around the median of a standardised node's prior, 0.3: so short that a wave is no noise, so long that a
# parabola is one bend.
LENGTHSCALES = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
NOISES = (0.003, 0.03, 0.1, 0.3, 1.0)  # in amplitudes
EXACT = (JITTER**0.5,)  # where a run repeated measures the same
LINEAR = 0.1  # of the least value: nearer to 0 the scale of a compared quantity is linear


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
def warped(
    values: np.ndarray, kernel: str, Z: np.ndarray, groups: np.ndarray, noises: Sequence[float] = NOISES
) -> Transform:
    """Return the standardised transform for which the evidence is greatest.

    ``values (row,)`` are the measurements, ``Z (row, column)`` the residual's inputs and ``groups (column,)``
    the lengthscale of each; ``noises`` are in amplitudes. Before any measurement the natural scale is as
    probable as all others together.
    """
    natural = standardised(Transform(), values)
    if len(np.unique(values)) < LEAST_VALUES:
        return natural
    rows = _some(len(values))
    spectra = list(_spectra(kernel, Z[rows], groups))
    others = [standardised(transform, values) for transform in _candidates(values)]
    before, *after = (_evidence(transform, values[rows], spectra, noises) for transform in [natural, *others])
    best = int(np.argmax(after))
    return others[best] if after[best] - np.log(len(others)) > before else natural


def compared(values: np.ndarray) -> list[Transform]:
    """Return the standardised scales, beside the natural one, on which a residual may compare a quantity that
    was measured as ``values``: where all are positive, a square root and a logarithm.

    Both are linear next to 0 and go on below it, since a model's draws of the quantity may be negative.
    """
    values = values[np.isfinite(values)]
    if len(np.unique(values)) < LEAST_VALUES or np.min(values) <= 0.0:
        return []
    unit = LINEAR * float(np.min(values))
    return [standardised(Transform(kind, unit=unit), values) for kind in ("root", "asinh")]


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def likeliest(
    y: np.ndarray,
    kernel: str,
    inputs: Sequence[np.ndarray],
    groups: np.ndarray,
    noises: Sequence[float] = NOISES,
) -> int:
    """Return with which of several inputs ``(row, column)`` of a residual the transformed measurements
    ``y (row,)`` are likeliest; before any, the first are as probable as all others together."""
    if len(inputs) == 1 or len(np.unique(y)) < LEAST_VALUES:
        return 0
    rows = _some(len(y))
    first, *others = (
        _evidence(Transform(), y[rows], list(_spectra(kernel, Z[rows], groups)), noises) for Z in inputs
    )
    best = int(np.argmax(others))
    return best + 1 if others[best] - np.log(len(others)) > first else 0


def _candidates(values: np.ndarray) -> list[Transform]:
    """Return the logarithm and the square where every value is positive (a distance is a cone, its square is
    smooth), and arc-sinh scales anchored at the least, the median and the greatest value."""
    found = [Transform("log"), Transform("square")] if np.min(values) > 0.0 else []
    for anchor in (np.min(values), np.median(values), np.max(values)):
        away = np.abs(values - anchor)
        units = np.quantile(away[away > 0.0], SHARES)
        found += [Transform("asinh", anchor=float(anchor), unit=float(unit)) for unit in units]
    return found


def _some(n: int) -> np.ndarray:
    """Return the rows that are compared, of ``n``."""
    return np.unique(np.linspace(0, n - 1, MOST_ROWS).astype(int))


def _spectra(kernel: str, Z: np.ndarray, groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield eigenvalues ``(row,)`` and eigenvectors ``(row, row)`` of the correlation at each lengthscale."""
    squared = cdist(Z, Z, "sqeuclidean") / len(np.unique(groups))
    for length in LENGTHSCALES:
        correlation = squared.ravel() / length**2
        correlate(KINDS[kernel], correlation, np.empty_like(correlation))
        values, vectors = np.linalg.eigh(correlation.reshape(squared.shape))
        yield np.maximum(values, 0.0), vectors


def _evidence(
    transform: Transform,
    values: np.ndarray,
    spectra: list[tuple[np.ndarray, np.ndarray]],
    noises: Sequence[float] = NOISES,
) -> float:
    """Return the log density of values ``(row,)`` in their natural unit, up to a constant: level and
    amplitude at their best, summed over lengthscales and noise."""
    y, ones, found = transform.forward(values), np.ones(len(values)), []
    for eigenvalues, vectors in spectra:
        along, level = y @ vectors, ones @ vectors
        for noise in noises:
            variance = eigenvalues + noise**2
            error = along - level * ((level * along / variance).sum() / (level**2 / variance).sum())
            amplitude = np.mean(error**2 / variance)
            found.append(-0.5 * (len(y) * np.log(amplitude) + np.log(variance).sum()))
    return float(logsumexp(found) + transform.log_jacobian(values).sum())
