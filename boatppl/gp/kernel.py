"""Stationary covariance functions with automatic relevance determination by group of columns.

The scaled distance of two inputs is ``r^2 = sum_c (z_c - z'_c)^2 / lengthscale[groups[c]]^2`` (Rasmussen &
Williams 2006, section 5.1); ``groups`` maps a column to its lengthscale, so that a vector input or the codes
of a categorical may share one. The compiled functions run inside other ``@numba.njit`` code, never raise, and
allocate nothing.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions: numba infers the types, docstrings say the shapes.

import math
from typing import Final

import numpy as np
from numba import njit

from boatppl.gp.compiled import cached, inner

#: Code of each covariance function, as compiled code takes it.
KINDS: Final[dict[str, int]] = {"matern52": 0, "matern32": 1, "expquad": 2}

#: Relative nugget: the prior covariance of the rows is ``amplitude^2 (k + JITTER I)``.
JITTER: Final = 1e-6

#: The log density where the covariance cannot be factorised. Finite, since NaN stops a sampler's process.
LOG_DENSITY_FLOOR: Final = -1e300

# No "nnan", "ninf": a NaN must reach the test of the pivot. No "reassoc" either where `_exponential` is
# inlined: its two-part reduction would be optimised away.
_ELEMENTWISE = {"contract", "nsz", "arcp"}
_REDUCTION = {"contract", "nsz", "arcp", "reassoc"}

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_MATERN52 = 0
_MATERN32 = 1


@njit(inline="always")
def _exponential(x):
    """exp(x) for x <= 0, within 2 ulp, flushed to 1e-304 below -700.

    Straight-line code that LLVM turns into vector instructions: three times as fast as the C library's.
    """
    x = max(x, -700.0)
    exponent = math.floor(x * _LOG2_E + 0.5)
    r = (x - exponent * _LN2_HIGH) - exponent * _LN2_LOW
    p = 1.0 / 6227020800.0  # Taylor's series to degree 13: |r| <= ln(2)/2, remainder below 5e-18
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    bits = (np.int64(exponent) + np.int64(1023)) << np.int64(52)
    return p * np.int64(bits).view(np.float64)


@cached(fastmath=_ELEMENTWISE)
def correlate(kind, values, slope):
    """Overwrite r^2 with the correlation, and write its derivative with respect to r^2.

    Rasmussen & Williams 2006, section 4.2. In place, since a third array would have to be proved apart
    from the others before the loops are vectorised.

    :param kind: a value of :data:`KINDS`.
    :param values: in r^2, out k, shape ``(pair,)``.
    :param slope: out, dk/d(r^2), shape ``(pair,)``: finite at r = 0 for every kind.
    """
    if kind == _MATERN52:
        for j in range(values.shape[0]):
            s = math.sqrt(5.0 * values[j])
            e = _exponential(-s)
            q = (1.0 + s) * e
            values[j] = q + e * s * s * (1.0 / 3.0)
            slope[j] = (-5.0 / 6.0) * q
    elif kind == _MATERN32:
        for j in range(values.shape[0]):
            s = math.sqrt(3.0 * values[j])
            e = _exponential(-s)
            values[j] = (1.0 + s) * e
            slope[j] = -1.5 * e
    else:
        for j in range(values.shape[0]):
            e = _exponential(-0.5 * values[j])
            values[j] = e
            slope[j] = -0.5 * e


@inner(fastmath=_ELEMENTWISE)
def scale_columns(Z, groups, lengthscale, scaled):
    """Write ``Z / lengthscale`` (row, column) into ``scaled`` (column, row): rows last, to vectorise."""
    for c in range(Z.shape[1]):
        inverse = 1.0 / lengthscale[groups[c]]
        out = scaled[c]
        for i in range(Z.shape[0]):
            out[i] = Z[i, c] * inverse


@inner(fastmath=_ELEMENTWISE)
def square_distances(scaled, point, squared):
    """Write r^2 of ``point`` (column,) to ``scaled[:, :m]`` (column, row) into ``squared`` (m,)."""
    for j in range(squared.shape[0]):
        squared[j] = 0.0
    for c in range(point.shape[0]):
        centre = point[c]
        column = scaled[c]
        for j in range(squared.shape[0]):
            difference = column[j] - centre
            squared[j] += difference * difference


def correlation_matrix(
    kind: int, A: np.ndarray, B: np.ndarray, groups: np.ndarray, lengthscale: np.ndarray
) -> np.ndarray:
    """Correlation of inputs ``A`` (row, column) with ``B`` (point, column), shape ``(row, point)``.

    :param kind: a value of :data:`KINDS`.
    :param groups: int64, shape ``(column,)``: the lengthscale of each column.
    :param lengthscale: shape ``(group,)``, in the inputs' unit.
    """
    scale = lengthscale[groups]
    values = np.square((A[:, None, :] - B[None, :, :]) / scale).sum(-1).ravel()
    correlate(kind, values, np.empty_like(values))
    return values.reshape(len(A), len(B))
