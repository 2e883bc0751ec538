"""Exact log marginal likelihood of a Gaussian process, with the gradient that NUTS follows."""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions: numba infers the types, docstrings say the shapes.

import math

import numpy as np

from boatppl.gp.compiled import cached, inner
from boatppl.gp.kernel import (
    _REDUCTION,
    JITTER,
    LOG_DENSITY_FLOOR,
    correlate,
    scale_columns,
    square_distances,
)
from boatppl.gp.lapack import cholesky, invert_from_cholesky

_LOG_2PI = math.log(2.0 * math.pi)


@cached(fastmath=_REDUCTION)
def log_normal(residual, noise_variance):
    """Log density of independent normals with its gradient: a node without a Gaussian process.

    :param residual: shape ``(row,)``.
    :param noise_variance: shape ``(row,)``, positive.
    :returns: ``(logp, d_residual (row,), d_noise_variance (row,))``; the floor and zeros where not finite.
    """
    rows = residual.shape[0]
    d_residual = np.empty(rows)
    d_noise = np.empty(rows)
    logp = -0.5 * rows * _LOG_2PI
    total = 0.0
    for i in range(rows):
        if not noise_variance[i] > 0.0:
            return LOG_DENSITY_FLOOR, np.zeros(rows), np.zeros(rows)
        precision = 1.0 / noise_variance[i]
        weight = precision * residual[i]
        d_residual[i] = -weight
        d_noise[i] = 0.5 * (weight * weight - precision)
        logp -= 0.5 * (math.log(noise_variance[i]) + weight * residual[i])
        total += abs(weight) + abs(d_noise[i])
    if not (math.isfinite(logp) and math.isfinite(total)):
        return LOG_DENSITY_FLOOR, np.zeros(rows), np.zeros(rows)
    return logp, d_residual, d_noise


@inner()
def _fill(kind, scaled, amplitude, noise_variance, correlation, slope, K):
    """Lower triangles of k, its slope in r^2, and K = amplitude^2 (k + JITTER I) + diag(noise_variance)."""
    variance = amplitude * amplitude
    point = np.empty(scaled.shape[0])
    for i in range(K.shape[0]):
        for c in range(point.shape[0]):
            point[c] = scaled[c, i]
        row = correlation[i, :i]
        square_distances(scaled, point, row)
        correlate(kind, row, slope[i, :i])
        out = K[i]
        for j in range(i):
            out[j] = variance * row[j]
        out[i] = variance * (1.0 + JITTER) + noise_variance[i]


@inner(fastmath=_REDUCTION)
def _solve(L, residual, alpha):
    """Write K^-1 residual into ``alpha`` (row,); return (residual^T alpha, log |K|), NaN at a bad pivot."""
    rows = residual.shape[0]
    quadratic = 0.0
    determinant = 0.0
    for i in range(rows):
        row = L[i]
        total = residual[i]
        for j in range(i):
            total -= row[j] * alpha[j]
        if not row[i] > 0.0:
            return math.nan, math.nan
        total /= row[i]
        alpha[i] = total
        quadratic += total * total
        determinant += 2.0 * math.log(row[i])
    for i in range(rows - 1, -1, -1):
        row = L[i]
        total = alpha[i] / row[i]
        alpha[i] = total
        for j in range(i):
            alpha[j] -= row[j] * total
    return quadratic, determinant


@inner(fastmath=_REDUCTION)
def _pair_gradients(inverse, alpha, correlation, slope, scaled, pair, d_column):
    """Sum G_ij k_ij, and into ``d_column`` (column,) the sums of G_ij slope_ij (u_ci - u_cj)^2, over i and j.

    G = dlogp/dK = (alpha alpha^T - K^-1)/2 (Rasmussen & Williams 2006, eq. 5.9); u = z / lengthscale is
    ``scaled`` (column, row).
    """
    columns = scaled.shape[0]
    for c in range(columns):
        d_column[c] = 0.0
    d_variance = 0.0
    for i in range(alpha.shape[0]):
        weight = alpha[i]
        inverse_row, correlation_row, slope_row = inverse[i], correlation[i], slope[i]
        total = 0.0
        for j in range(i):
            g = weight * alpha[j] - inverse_row[j]  # both triangles: twice one half
            total += g * correlation_row[j]
            pair[j] = g * slope_row[j]
        d_variance += total + 0.5 * (weight * weight - inverse_row[i]) * (1.0 + JITTER)
        for c in range(columns):
            u = scaled[c]
            centre = u[i]
            total = 0.0
            for j in range(i):
                difference = u[j] - centre
                total += pair[j] * difference * difference
            d_column[c] += total
    return d_variance


@inner()
def _floor(rows, group_count):
    return LOG_DENSITY_FLOOR, np.zeros(rows), 0.0, np.zeros(group_count), np.zeros(rows)


@inner()
def _all_finite(values):
    total = 0.0
    for i in range(values.shape[0]):
        total += abs(values[i])
    return math.isfinite(total)


@cached()
def log_marginal(kind, residual, Z, groups, amplitude, lengthscale, noise_variance):
    """log N(residual | 0, K) and its gradient, K = amplitude^2 (k(Z, Z) + JITTER I) + diag(noise_variance).

    Rasmussen & Williams 2006, eq. 5.8-5.9. Callable from ``@numba.njit`` code; float64, C-contiguous.

    :param kind: a value of :data:`~boatppl.gp.kernel.KINDS`.
    :param residual: shape ``(row,)``, on the transformed scale.
    :param Z: inputs, shape ``(row, column)``.
    :param groups: int64, shape ``(column,)``: which lengthscale each column has.
    :param amplitude: standard deviation of the process, on the residual's scale.
    :param lengthscale: shape ``(group,)``, in the unit of ``Z``.
    :param noise_variance: shape ``(row,)``.
    :returns: ``(logp, d_residual (row,), d_amplitude, d_lengthscale (group,), d_noise_variance (row,))``.
        Never raises: where the factorisation fails or a result is not finite, ``LOG_DENSITY_FLOOR``
        with zeros.
    """
    rows, columns = Z.shape
    if rows == 0:
        return 0.0, np.zeros(0), 0.0, np.zeros(lengthscale.shape[0]), np.zeros(0)
    # One block of memory: a loop that writes one array and sums over others is compiled twice, for arrays
    # that are near each other and for those that are not, and the two round differently.
    block = np.empty((3 * rows + columns + 2, rows))
    correlation, slope, K = block[:rows], block[rows : 2 * rows], block[2 * rows : 3 * rows]
    scaled, alpha, pair = block[3 * rows : 3 * rows + columns], block[-2], block[-1]
    scale_columns(Z, groups, lengthscale, scaled)
    _fill(kind, scaled, amplitude, noise_variance, correlation, slope, K)
    if cholesky(K) != 0:
        return _floor(rows, lengthscale.shape[0])
    quadratic, determinant = _solve(K, residual, alpha)
    logp = -0.5 * (quadratic + determinant + rows * _LOG_2PI)
    if not math.isfinite(logp) or invert_from_cholesky(K) != 0:
        return _floor(rows, lengthscale.shape[0])
    d_residual, d_noise, d_column = np.empty(rows), np.empty(rows), np.empty(columns)
    d_variance = _pair_gradients(K, alpha, correlation, slope, scaled, pair, d_column)
    variance = amplitude * amplitude
    d_lengthscale = np.zeros(lengthscale.shape[0])
    for c in range(columns):  # d(r^2)/d(lengthscale) = -2/lengthscale sum_c (u_c - u'_c)^2
        d_lengthscale[groups[c]] -= 2.0 * variance / lengthscale[groups[c]] * d_column[c]
    for i in range(rows):
        d_residual[i] = -alpha[i]
        d_noise[i] = 0.5 * (alpha[i] * alpha[i] - K[i, i])
    if not (math.isfinite(d_variance) and _all_finite(d_lengthscale) and _all_finite(d_noise)):
        return _floor(rows, lengthscale.shape[0])
    return logp, d_residual, 2.0 * amplitude * d_variance, d_lengthscale, d_noise
