"""Conditioning in whitened coordinates, compiled, one posterior draw after another.

A conditional Gaussian process is a lower triangular *root* R (row, row) and *weights* w (row,) such that,
with v(z) = R k(Z, z), its mean is v(z) . w and its covariance k(z, z') - v(z) . v(z'). After exact
observations R = L^-1 and w = L^-1 residual, K = L L^T (Rasmussen & Williams 2006, eq. 2.25-2.26). Observing a
joint sample mean + L22 u of new points appends rows to R and u to w, since L^-1 of the joint covariance is
block triangular.

Roots are packed by rows: R[i, j] is element i (i + 1)/2 + j. The first ``observed`` rows are the ``root`` of
the observations; rows that extending appends are apart, in a ``tail`` packed alike, since a copy of the root
would double the memory of a suggestion. Products with R are hand-written: they run on one tile of points that
stays in the cache, and BLAS threads would fight the threads over draws.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions: numba infers the types, docstrings say the shapes.

import math
from typing import Final

import numpy as np

from boatppl.gp.compiled import cached, inner
from boatppl.gp.kernel import _REDUCTION, JITTER, correlate, scale_columns, square_distances

#: Relative nugget of noise-free values. A hundredth of JITTER, so that conditioning on a value returns that
#: value; four orders above the rounding of k(z, z) - v . v, so that a point can come again.
EXTENSION_JITTER: Final = 1e-8

_TILE = 64  # points: 100 rows of them are 50 kB, near the first-level cache
_SMALLEST_PIVOT = 1e-10  # relative to the prior variance


@inner(fastmath=_REDUCTION)
def _apply_rows(root, first, rows, K):
    """Overwrite rows ``first`` to ``rows`` of ``K`` (row, point) with those of R K; ``root`` has these.

    Two rows by four at a time, from the last row up.
    """
    points = K.shape[1]
    offset = first * (first + 1) // 2
    i = rows - 1
    while i > first:
        upper = (i - 1) * i // 2 - offset
        lower = upper + i
        a, b = K[i - 1], K[i]
        p, q, r = root[upper + i - 1], root[lower + i - 1], root[lower + i]
        for t in range(points):
            b[t] = q * a[t] + r * b[t]
            a[t] *= p
        j = 0
        while j + 4 <= i - 1:
            k0, k1, k2, k3 = K[j], K[j + 1], K[j + 2], K[j + 3]
            p0, p1, p2, p3 = root[upper + j], root[upper + j + 1], root[upper + j + 2], root[upper + j + 3]
            q0, q1, q2, q3 = root[lower + j], root[lower + j + 1], root[lower + j + 2], root[lower + j + 3]
            for t in range(points):
                a[t] += p0 * k0[t] + p1 * k1[t] + p2 * k2[t] + p3 * k3[t]
                b[t] += q0 * k0[t] + q1 * k1[t] + q2 * k2[t] + q3 * k3[t]
            j += 4
        while j < i - 1:
            k0 = K[j]
            p0, q0 = root[upper + j], root[lower + j]
            for t in range(points):
                a[t] += p0 * k0[t]
                b[t] += q0 * k0[t]
            j += 1
        i -= 2
    if i == first:
        a, p = K[i], root[i]
        for t in range(points):
            a[t] *= p
        for j in range(i):
            k0, p0 = K[j], root[j]
            for t in range(points):
                a[t] += p0 * k0[t]


@inner()
def _apply(root, tail, observed, K):
    """Overwrite ``K`` (row, point) with R K."""
    _apply_rows(tail, observed, K.shape[0], K)
    _apply_rows(root, 0, observed, K)


@inner(fastmath=_REDUCTION)
def _apply_rows_transposed(root, first, rows, Y):
    """Multiply rows ``first`` to ``rows`` of ``Y`` (row, point) by R^T and add to those above what they give.

    ``root`` has these rows of R. Row after row, four source rows at a time.
    """
    points = Y.shape[1]
    offset = first * (first + 1) // 2
    for j in range(rows):
        out = Y[j]
        i = first
        if j >= first:
            diagonal = root[j * (j + 1) // 2 + j - offset]
            for t in range(points):
                out[t] *= diagonal
            i = j + 1
        at = i * (i + 1) // 2 + j - offset
        while i + 4 <= rows:
            r0, r1, r2, r3 = root[at], root[at + i + 1], root[at + 2 * i + 3], root[at + 3 * i + 6]
            y0, y1, y2, y3 = Y[i], Y[i + 1], Y[i + 2], Y[i + 3]
            for t in range(points):
                out[t] += r0 * y0[t] + r1 * y1[t] + r2 * y2[t] + r3 * y3[t]
            at += 4 * i + 10
            i += 4
        while i < rows:
            r0 = root[at]
            y0 = Y[i]
            for t in range(points):
                out[t] += r0 * y0[t]
            at += i + 1
            i += 1


@inner()
def _apply_transposed(root, tail, observed, Y):
    """Overwrite ``Y`` (row, point) with R^T Y."""
    _apply_rows_transposed(root, 0, observed, Y)
    _apply_rows_transposed(tail, observed, Y.shape[0], Y)


@inner()
def _correlate_tile(kind, scaled, scaled_tile, points, K, slope):
    """Write correlations of ``scaled`` (column, row) with a tile (column, point), and slopes, row by row."""
    point = np.empty(scaled.shape[0])
    rows = scaled.shape[1]
    for i in range(rows):
        for c in range(point.shape[0]):
            point[c] = scaled[c, i]
        square_distances(scaled_tile, point, K[i * points : (i + 1) * points])
    correlate(kind, K[: rows * points], slope[: rows * points])


@cached(fastmath=_REDUCTION)
def predict(
    kind, first, last, Zs, Z, groups, amplitude, lengthscale, root, tail, observed, weights, mean, variance
):
    """Write ``mean`` and ``variance`` (draw, point) of some draws; ``Zs`` is (draw or 1, point, column)."""
    rows, columns = Z.shape[1:]
    total_points = Zs.shape[1]
    tile = max(1, min(_TILE, total_points))
    scaled, scaled_tile = np.empty((columns, rows)), np.empty((columns, tile))
    K, slope = np.empty(rows * tile), np.empty(rows * tile)
    for s in range(first, last):
        prior = amplitude[s] * amplitude[s]
        scale_columns(Z[s], groups, lengthscale[s], scaled)
        inputs = Zs[s] if Zs.shape[0] > 1 else Zs[0]
        for start in range(0, total_points, tile):
            points = min(tile, total_points - start)
            scale_columns(inputs[start : start + points], groups, lengthscale[s], scaled_tile)
            _correlate_tile(kind, scaled, scaled_tile, points, K, slope)
            V = K[: rows * points].reshape((rows, points))
            _apply(root[s], tail[s], observed, V)
            out_mean, out_variance = mean[s, start : start + points], variance[s, start : start + points]
            for t in range(points):
                out_mean[t] = 0.0
                out_variance[t] = 0.0
            for i in range(rows):
                row, weight = V[i], weights[s, i]
                for t in range(points):
                    out_mean[t] += weight * row[t]
                    out_variance[t] += row[t] * row[t]
            for t in range(points):  # V lacks the factor amplitude^2
                out_mean[t] *= prior
                out_variance[t] = max(prior * (1.0 - prior * out_variance[t]), 0.0)


@inner(fastmath=_REDUCTION)
def _pull_to_correlations(root, tail, observed, weights, prior, V, d_mean, d_variance):
    """Overwrite V = R k (row, point) by d_mean dm/dk + d_variance ds^2/dk, with k the correlations."""
    rows, points = V.shape
    explained = np.zeros(points)
    for i in range(rows):
        row = V[i]
        for t in range(points):
            explained[t] += row[t] * row[t]
    factor = np.empty(points)
    for t in range(points):  # a variance cut off at zero does not move
        factor[t] = -2.0 * prior * prior * d_variance[t] if prior * explained[t] < 1.0 else 0.0
    for i in range(rows):
        row, weight = V[i], prior * weights[i]
        for t in range(points):
            row[t] = weight * d_mean[t] + factor[t] * row[t]
    _apply_transposed(root, tail, observed, V)


@inner(fastmath=_REDUCTION)
def _pull_to_inputs(d_K, slope, scaled, scaled_tile, d_tile):
    """Write into ``d_tile`` (column, point) sum_i d_K_i dk_i/d(r^2) 2 (u - u_i), still in scaled inputs."""
    rows, points = d_K.shape
    for i in range(rows):
        row, slope_row = d_K[i], slope[i]
        for t in range(points):
            row[t] *= 2.0 * slope_row[t]
    for c in range(scaled.shape[0]):
        out, u = d_tile[c], scaled_tile[c]
        for t in range(points):
            out[t] = 0.0
        for i in range(rows):
            row, centre = d_K[i], scaled[c, i]
            for t in range(points):
                out[t] += row[t] * (u[t] - centre)


@cached()
def pull_back(
    kind, first, last, Zs, Z, groups, amplitude, lengthscale, root, tail, observed, weights, d_mean,
    d_variance, d_Zs,
):  # fmt: skip
    """Write into ``d_Zs`` (draw, point, column) the vector-Jacobian product of :func:`predict`."""
    rows, columns = Z.shape[1:]
    total_points = Zs.shape[1]
    tile = max(1, min(_TILE, total_points))
    scaled, scaled_tile = np.empty((columns, rows)), np.empty((columns, tile))
    d_tile = np.empty((columns, tile))
    K, slope = np.empty(rows * tile), np.empty(rows * tile)
    for s in range(first, last):
        prior = amplitude[s] * amplitude[s]
        scale_columns(Z[s], groups, lengthscale[s], scaled)
        inputs = Zs[s] if Zs.shape[0] > 1 else Zs[0]
        for start in range(0, total_points, tile):
            stop = min(start + tile, total_points)
            points = stop - start
            scale_columns(inputs[start:stop], groups, lengthscale[s], scaled_tile)
            _correlate_tile(kind, scaled, scaled_tile, points, K, slope)
            V = K[: rows * points].reshape((rows, points))
            _apply(root[s], tail[s], observed, V)
            d_m, d_v = d_mean[s, start:stop], d_variance[s, start:stop]
            _pull_to_correlations(root[s], tail[s], observed, weights[s], prior, V, d_m, d_v)
            _pull_to_inputs(V, slope[: rows * points].reshape((rows, points)), scaled, scaled_tile, d_tile)
            for c in range(columns):
                inverse = 1.0 / lengthscale[s, groups[c]]
                for t in range(points):
                    d_Zs[s, start + t, c] = d_tile[c, t] * inverse


@inner(fastmath=_REDUCTION)
def _factorise(A, smallest_pivot):
    """Overwrite the lower triangle of ``A`` (row, row) with L, A = L L^T, no pivot under the smallest."""
    for i in range(A.shape[0]):
        row = A[i]
        for j in range(i):
            other = A[j]
            total = 0.0
            for k in range(j):
                total += row[k] * other[k]
            row[j] = (row[j] - total) / other[j]
        total = 0.0
        for k in range(i):
            total += row[k] * row[k]
        row[i] = math.sqrt(max(row[i] - total, smallest_pivot))


@inner(fastmath=_REDUCTION)
def _invert(L):
    """Overwrite L (row, row), lower triangular, with its inverse, row after row."""
    rows = L.shape[0]
    factors = np.empty(rows)
    for i in range(rows):
        row = L[i]
        inverse = 1.0 / row[i]
        for k in range(i):
            factors[k] = -row[k] * inverse
            row[k] = 0.0
        for k in range(i):
            other, factor = L[k], factors[k]
            for j in range(k + 1):
                row[j] += factor * other[j]
        row[i] = inverse


@inner()
def _prior_covariance(kind, scaled, prior, nugget, A):
    """Write the lower triangle of prior (k + nugget I) of ``scaled`` (column, point) into ``A``."""
    point = np.empty(scaled.shape[0])
    slope = np.empty(A.shape[0])
    for i in range(A.shape[0]):
        for c in range(point.shape[0]):
            point[c] = scaled[c, i]
        row = A[i, :i]
        square_distances(scaled, point, row)
        correlate(kind, row, slope[:i])
        for j in range(i):
            row[j] *= prior
        A[i, i] = prior * (1.0 + nugget)


@cached()
def condition(kind, first, last, Z, groups, amplitude, lengthscale, noise_variance, residual, root, weights):
    """Write roots and weights after the observations ``residual`` (draw, row) at ``Z`` (row, column)."""
    rows, columns = Z.shape
    scaled = np.empty((columns, rows))
    L = np.empty((rows, rows))
    for s in range(first, last):
        prior = amplitude[s] * amplitude[s]
        scale_columns(Z, groups, lengthscale[s], scaled)
        _prior_covariance(kind, scaled, prior, JITTER, L)
        for i in range(rows):
            L[i, i] += noise_variance[s, i]
        _factorise(L, max(_SMALLEST_PIVOT * prior, 1e-300))
        _invert(L)
        at = 0
        for i in range(rows):
            total = 0.0
            for j in range(i + 1):
                root[s, at + j] = L[i, j]
                total += L[i, j] * residual[s, j]
            weights[s, i] = total
            at += i + 1


@inner(fastmath=_REDUCTION)
def _condition_covariance(V, weights, A, mean):
    """Subtract V^T V from the lower triangle of ``A`` (point, point); write V^T w into ``mean`` (point,)."""
    points = A.shape[0]
    for i in range(points):
        mean[i] = 0.0
    for k in range(V.shape[0]):
        row, weight = V[k], weights[k]
        for i in range(points):
            mean[i] += weight * row[i]
    for i in range(points):
        out = A[i]
        for k in range(V.shape[0]):
            row = V[k]
            factor = row[i]
            for j in range(i + 1):
                out[j] -= factor * row[j]


@inner(fastmath=_REDUCTION)
def _add_products(root, first, rows, V, M):
    """Add to ``M`` (point, row) what V^T R has from rows ``first`` to ``rows`` of R, which ``root`` has."""
    for a in range(M.shape[0]):
        out = M[a]
        at = 0
        for i in range(first, rows):
            factor = V[i, a]
            for j in range(i + 1):
                out[j] += factor * root[at + j]
            at += i + 1


@inner(fastmath=_REDUCTION)
def _append_rows(root, tail, observed, V, L_inverse, extended):
    """Write the tail and below it [-L22^-1 V^T R, L22^-1] into ``extended``, packed; V = R k (row, point)."""
    rows, points = V.shape
    M = np.zeros((points, rows))  # V^T R
    _add_products(root, 0, observed, V, M)
    _add_products(tail, observed, rows, V, M)
    at = tail.shape[0]
    for j in range(at):  # a slice would compile the words of an error, for two seconds
        extended[j] = tail[j]
    for a in range(points):
        out = extended[at : at + rows]
        for j in range(rows):
            out[j] = 0.0
        for b in range(a + 1):
            factor, source = L_inverse[a, b], M[b]
            for j in range(rows):
                out[j] -= factor * source[j]
        at += rows
        for b in range(a + 1):
            extended[at + b] = L_inverse[a, b]
        at += a + 1


@cached()
def extend(
    kind, first, last, Z_new, Z, groups, amplitude, lengthscale, root, tail, observed, weights, normals,
    values, extended,
):  # fmt: skip
    """Sample ``values`` (draw, point) jointly at ``Z_new``; write tails unless ``extended`` has no column."""
    rows, columns = Z.shape[1:]
    points = Z_new.shape[1]
    scaled, scaled_new = np.empty((columns, rows)), np.empty((columns, points))
    K, slope = np.empty(rows * points), np.empty(rows * points)
    A, mean = np.empty((points, points)), np.empty(points)
    for s in range(first, last):
        prior = amplitude[s] * amplitude[s]
        scale_columns(Z[s], groups, lengthscale[s], scaled)
        scale_columns(Z_new[s] if Z_new.shape[0] > 1 else Z_new[0], groups, lengthscale[s], scaled_new)
        _correlate_tile(kind, scaled, scaled_new, points, K, slope)
        for i in range(rows * points):
            K[i] *= prior
        V = K.reshape((rows, points))
        _apply(root[s], tail[s], observed, V)
        _prior_covariance(kind, scaled_new, prior, EXTENSION_JITTER, A)
        _condition_covariance(V, weights[s], A, mean)
        _factorise(A, max(_SMALLEST_PIVOT * prior, 1e-300))
        for i in range(points):
            total = mean[i]
            for j in range(i + 1):
                total += A[i, j] * normals[s, j]
            values[s, i] = total
        if extended.shape[1] > 0:
            _invert(A)
            _append_rows(root[s], tail[s], observed, V, A, extended[s])
