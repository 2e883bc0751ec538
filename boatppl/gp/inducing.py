"""Many rows: the collapsed variational bound on the log marginal likelihood, with its gradient.

Titsias 2009, eq. 9, for noise that differs between rows. With the prior covariance amplitude^2 k, inducing
inputs U, k_UU + INDUCING_JITTER I = L L^T, V = L^-1 k_UZ and the row variances S = diag(noise_variance +
amplitude^2 JITTER),

    bound = log N(residual | 0, amplitude^2 V^T V + S) - 1/2 sum_i amplitude^2 (1 - v_i . v_i) / S_ii.

It costs rows * points^2 instead of rows^3, never exceeds the exact value, and is a proper prior covariance of
its own: what is lost is variance that the inducing points cannot see, which the bound counts as noise.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions: numba infers the types, docstrings say the shapes.

import math
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from boatppl.gp.compiled import cached, inner
from boatppl.gp.kernel import (
    _REDUCTION,
    JITTER,
    LOG_DENSITY_FLOOR,
    correlate,
    scale_columns,
    square_distances,
)
from boatppl.gp.lapack import add_gram, cholesky, invert_from_cholesky, solve_lower

#: Rows up to which the exact likelihood is used: at 500 rows its gradient costs forty of that of 50 points.
EXACT_ROWS: Final = 200

#: Inducing points that see a function of up to ``FEW_COLUMNS`` columns (``benchmarks/gp_kernels.py``: of
#: 1,000 rows in two columns 50 lose 0.09 nats a row; in three 1.4, where 200 lose 0.08; in six 10.9 and 2.9).
LEAST_POINTS: Final = 50
FEW_COLUMNS: Final = 2
#: Of more columns: as many points, and rows up to which the exact likelihood is used, since 200 points cost
#: more than it does there. (Prediction is what bounds it: at 350 rows it costs three of theirs.)
MANY_POINTS: Final = 200
EXACT_ROWS_OF_MANY_COLUMNS: Final = 350
_MOST_STEPS = 1000 * MANY_POINTS**2  # rows * points^2 of a value: 8 ms

#: Relative nugget of the inducing values: too small to cost anything, enough for points that nearly coincide.
INDUCING_JITTER: Final = 1e-7

_TILE = 512  # rows: a tile of 50 points by 512 rows is 200 kB, inside the second-level cache
_LLOYD_STEPS = 10
_LOG_2PI = math.log(2.0 * math.pi)


@inner()
def _correlations(kind, scaled, scaled_points, k, slope):
    """Write correlations of points (column, point) with rows (column, row), and slopes, as (point, row)."""
    point = np.empty(scaled.shape[0])
    for a in range(k.shape[0]):
        for c in range(point.shape[0]):
            point[c] = scaled_points[c, a]
        square_distances(scaled, point, k[a])
        correlate(kind, k[a], slope[a])


@inner()
def _mirror(A):
    """Copy the lower triangle of ``A`` (point, point) to the upper one."""
    for i in range(A.shape[0]):
        for j in range(i):
            A[j, i] = A[i, j]


@inner(fastmath=_REDUCTION)
def _whiten_tile(L_inverse, k, precision, residual, A, P, b):
    """Write A = L^-1 k S^-1/2 (point, row); add A A^T to P's lower half, and A S^-1/2 residual to b."""
    rows = k.shape[1]
    root = np.empty(rows)
    for i in range(rows):
        root[i] = math.sqrt(precision[i])
    np.dot(L_inverse, k, A)  # faster than a triangular solve, and L is well conditioned
    for a in range(k.shape[0]):
        row = A[a]
        total = 0.0
        for i in range(rows):
            row[i] *= root[i]
            total += row[i] * root[i] * residual[i]
        b[a] += total
    add_gram(A, P)


@inner(fastmath=_REDUCTION)
def _pull_tile(
    E, omega, beta, variance, k, slope, A, precision, residual, EA, explained, d_residual, d_noise
):
    """Row gradients of one tile; overwrites ``EA`` with dlogp/dk times the slope (both over amplitude^2).

    :returns: the sum over rows of t_i / S_ii, t_i = v_i (I - B^-1) v_i.
    """
    points, rows = k.shape
    np.dot(E, A, EA)
    for i in range(rows):
        explained[i] = 0.0
        d_residual[i] = 0.0
    for a in range(points):
        row, k_row, ea_row, weight = A[a], k[a], EA[a], beta[a]
        for i in range(rows):
            explained[i] += k_row[i] * ea_row[i]
            d_residual[i] += weight * row[i]
    total = 0.0
    for i in range(rows):
        root = math.sqrt(precision[i])
        alpha = residual[i] * precision[i] - variance * root * d_residual[i]
        t = explained[i] / root
        total += t * precision[i]
        d_residual[i] = -alpha
        d_noise[i] = 0.5 * (alpha * alpha - precision[i] + variance * (1.0 - t) * precision[i] * precision[i])
        explained[i] = root
    for a in range(points):
        ea_row, slope_row, weight = EA[a], slope[a], omega[a]
        for i in range(rows):
            ea_row[i] = (ea_row[i] * explained[i] - weight * d_residual[i]) * slope_row[i]
    return total


@inner(fastmath=_REDUCTION)
def _add_column_sums(weights, scaled_points, scaled, d_column):
    """Add to ``d_column`` (column,) the sums of weights_ai (u_ci - s_ca)^2; ``weights`` (point, row)."""
    rows = weights.shape[1]
    for c in range(d_column.shape[0]):
        u = scaled[c]
        for a in range(weights.shape[0]):
            row, centre = weights[a], scaled_points[c, a]
            total = 0.0
            for i in range(rows):
                difference = u[i] - centre
                total += row[i] * difference * difference
            d_column[c] += total


@inner()
def _solve_small(L, P, b, variance):
    """All of size (point, point), with B = I + amplitude^2 P; the first is NaN where B has no factor.

    :returns: (log |B|, beta = B^-1 b, omega = L^-T beta, E = L^-T (I - B^-1), -2 dlogp/dk_UU / amplitude^2).
    """
    points = b.shape[0]
    _mirror(P)
    B, E, product, d_k = np.empty(P.shape), np.empty(P.shape), np.empty(P.shape), np.empty(P.shape)
    for i in range(points):
        for j in range(points):
            B[i, j] = variance * P[i, j]
        B[i, i] += 1.0
    status = cholesky(B)
    determinant = 0.0
    for i in range(points):
        determinant += 2.0 * math.log(B[i, i]) if B[i, i] > 0.0 else math.nan
    status += invert_from_cholesky(B)
    _mirror(B)
    beta, omega = np.zeros(points), np.empty(points)
    for i in range(points):
        for j in range(points):
            beta[i] += B[i, j] * b[j]
            E[i, j] = -B[i, j]
        E[i, i] += 1.0
        omega[i] = beta[i]
    np.dot(E, P, product)
    solve_lower(L, E, True)
    solve_lower(L, product, True)
    for i in range(points):
        for j in range(points):
            d_k[i, j] = product[j, i]
    solve_lower(L, d_k, True)
    solve_lower(L, omega.reshape((points, 1)), True)
    for i in range(points):
        for j in range(points):
            d_k[i, j] += omega[i] * omega[j]
    return determinant if status == 0 else math.nan, beta, omega, E, d_k


@inner()
def _floor(rows, group_count):
    return LOG_DENSITY_FLOOR, np.zeros(rows), 0.0, np.zeros(group_count), np.zeros(rows)


@inner()
def _total(values):
    total = 0.0
    for i in range(values.shape[0]):
        total += abs(values[i])
    return total


@inner()
def _factorise_points(kind, scaled_points, k, slope, L, L_inverse):
    """Write k_UU, its slope, L and L^-1, all (point, point); return whether the factor exists."""
    _correlations(kind, scaled_points, scaled_points, k, slope)
    points = k.shape[0]
    for i in range(points):
        for j in range(points):
            L[i, j] = k[i, j]
            L_inverse[i, j] = 0.0
        L[i, i] += INDUCING_JITTER
        L_inverse[i, i] = 1.0
    status = cholesky(L)
    for i in range(points):
        if not (L[i, i] > 0.0):
            return False
    solve_lower(L, L_inverse, False)
    return status == 0


@inner(fastmath=_REDUCTION)
def _row_terms(variance, noise_variance, residual, precision):
    """Write 1/S into ``precision`` (row,); return (sum log S + residual^2 / S, sum 1/S), NaN where S <= 0."""
    total, trace = 0.0, 0.0
    for i in range(residual.shape[0]):
        s = noise_variance[i] + variance * JITTER
        if not s > 0.0:
            return math.nan, math.nan
        precision[i] = 1.0 / s
        total += math.log(s) + residual[i] * residual[i] * precision[i]
        trace += precision[i]
    return total, trace


@inner()
def _forward(kind, Z, groups, lengthscale, scaled_points, L_inverse, precision, residual, work, P, b):
    """Fill ``work`` (3, tile, point * row) with k, slope and A; ``P`` = A A^T, ``b`` = A S^-1/2 residual."""
    columns, points = scaled_points.shape
    scaled = np.empty((columns, _TILE))
    for i in range(points):
        b[i] = 0.0
        for j in range(points):
            P[i, j] = 0.0
    for tile in range(work.shape[1]):
        start = tile * _TILE
        stop = min(start + _TILE, Z.shape[0])
        size = points * (stop - start)
        shape = (points, stop - start)
        k, slope, A = work[0, tile, :size], work[1, tile, :size], work[2, tile, :size]
        scale_columns(Z[start:stop], groups, lengthscale, scaled)
        _correlations(kind, scaled, scaled_points, k.reshape(shape), slope.reshape(shape))
        inverse, part = precision[start:stop], residual[start:stop]
        _whiten_tile(L_inverse, k.reshape(shape), inverse, part, A.reshape(shape), P, b)


@inner()
def _backward(
    Z, groups, lengthscale, scaled_points, E, omega, beta, variance, precision, residual, work, d_column
):
    """Row gradients from the tiles of :func:`_forward`; adds to ``d_column`` (column,).

    :returns: (d_residual (row,), d_noise_variance (row,), sum_i t_i / S_ii).
    """
    columns, points = scaled_points.shape
    scaled, explained, buffer = np.empty((columns, _TILE)), np.empty(_TILE), np.empty(points * _TILE)
    d_residual, d_noise = np.empty(residual.shape[0]), np.empty(residual.shape[0])
    total = 0.0
    for tile in range(work.shape[1]):
        start = tile * _TILE
        stop = min(start + _TILE, Z.shape[0])
        size = points * (stop - start)
        shape = (points, stop - start)
        k, slope = work[0, tile, :size].reshape(shape), work[1, tile, :size].reshape(shape)
        A, EA = work[2, tile, :size].reshape(shape), buffer[:size].reshape(shape)
        inverse, part = precision[start:stop], residual[start:stop]
        d_r, d_s = d_residual[start:stop], d_noise[start:stop]
        total += _pull_tile(E, omega, beta, variance, k, slope, A, inverse, part, EA, explained, d_r, d_s)
        scale_columns(Z[start:stop], groups, lengthscale, scaled)
        _add_column_sums(EA, scaled_points, scaled, d_column)
    return d_residual, d_noise, total


@cached()
def log_marginal_inducing(kind, residual, Z, groups, amplitude, lengthscale, noise_variance, inducing):
    """A lower bound of :func:`~boatppl.gp.marginal.log_marginal`, with its gradient, rows * points^2 steps.

    Titsias 2009, eq. 9. Callable from ``@numba.njit`` code; float64, C-contiguous. The gradient does not
    follow the inducing inputs: they are fixed, chosen once from the rows.

    :param kind: a value of :data:`~boatppl.gp.kernel.KINDS`.
    :param residual: shape ``(row,)``, on the transformed scale.
    :param Z: inputs, shape ``(row, column)``.
    :param groups: int64, shape ``(column,)``: which lengthscale each column has.
    :param amplitude: standard deviation of the process, on the residual's scale.
    :param lengthscale: shape ``(group,)``, in the unit of ``Z``.
    :param noise_variance: shape ``(row,)``.
    :param inducing: shape ``(point, column)``: see :func:`choose_inducing`.
    :returns: ``(bound, d_residual (row,), d_amplitude, d_lengthscale (group,), d_noise_variance (row,))``.
        Never raises: ``LOG_DENSITY_FLOOR`` with zeros where a result is not finite.
    """
    rows, points, group_count = Z.shape[0], inducing.shape[0], lengthscale.shape[0]
    variance = amplitude * amplitude
    scaled_points = np.empty((Z.shape[1], points))
    scale_columns(inducing, groups, lengthscale, scaled_points)
    small = np.empty((5, points, points))
    k, slope, L, L_inverse, P = small[0], small[1], small[2], small[3], small[4]
    precision, b = np.empty(rows), np.empty(points)
    row_sum, trace = _row_terms(variance, noise_variance, residual, precision)
    if not (math.isfinite(row_sum) and _factorise_points(kind, scaled_points, k, slope, L, L_inverse)):
        return _floor(rows, group_count)
    work = np.empty((3, (rows + _TILE - 1) // _TILE, points * _TILE))
    _forward(kind, Z, groups, lengthscale, scaled_points, L_inverse, precision, residual, work, P, b)
    determinant, beta, omega, E, d_k = _solve_small(L, P, b, variance)
    unseen, norm = trace, 0.0  # sum_i (1 - v_i . v_i) / S_ii, beta . beta
    fit = row_sum + rows * _LOG_2PI + determinant
    for i in range(points):
        unseen -= P[i, i]
        norm += beta[i] * beta[i]
        fit -= variance * b[i] * beta[i]
        for j in range(points):
            d_k[i, j] *= -0.5 * slope[i, j]
    logp = -0.5 * (fit + variance * unseen)
    if not math.isfinite(logp):
        return _floor(rows, group_count)
    d_column, d_lengthscale = np.zeros(Z.shape[1]), np.zeros(group_count)
    _add_column_sums(d_k, scaled_points, scaled_points, d_column)
    d_residual, d_noise, d_variance = _backward(
        Z, groups, lengthscale, scaled_points, E, omega, beta, variance, precision, residual, work, d_column
    )
    d_variance = 0.5 * (norm + d_variance - trace)
    for i in range(rows):
        d_variance += JITTER * d_noise[i]
    for c in range(Z.shape[1]):
        d_lengthscale[groups[c]] -= 2.0 * variance / lengthscale[groups[c]] * d_column[c]
    if not math.isfinite(d_variance + _total(d_lengthscale) + _total(d_noise) + _total(d_residual)):
        return _floor(rows, group_count)
    return logp, d_residual, 2.0 * amplitude * d_variance, d_lengthscale, d_noise


@cached()
def project(
    kind, first, last, Z, groups, amplitude, lengthscale, noise_variance, residual, inducing, root, P, b
):
    """Write L^-1 and P = V S^-1 V^T (draw, point, point), b = V S^-1 residual (draw, point) of some draws.

    Unlike the likelihood it holds one tile at a time. ``noise_variance`` and ``residual`` are (draw, row).
    """
    rows, columns = Z.shape
    points = inducing.shape[0]
    scaled, scaled_points = np.empty((columns, _TILE)), np.empty((columns, points))
    k_points, slope_points = np.empty((points, points)), np.empty((points, points))
    L, precision = np.empty((points, points)), np.empty(rows)
    work = np.empty((3, points * _TILE))
    for s in range(first, last):
        scale_columns(inducing, groups, lengthscale[s], scaled_points)
        _factorise_points(kind, scaled_points, k_points, slope_points, L, root[s])
        _row_terms(amplitude[s] * amplitude[s], noise_variance[s], residual[s], precision)
        P[s] = 0.0
        b[s] = 0.0
        for start in range(0, rows, _TILE):
            stop = min(start + _TILE, rows)
            shape, size = (points, stop - start), points * (stop - start)
            k, slope = work[0, :size].reshape(shape), work[1, :size].reshape(shape)
            A, part = work[2, :size].reshape(shape), residual[s, start:stop]
            scale_columns(Z[start:stop], groups, lengthscale[s], scaled)
            _correlations(kind, scaled, scaled_points, k, slope)
            _whiten_tile(root[s], k, precision[start:stop], part, A, P[s], b[s])
        _mirror(P[s])


def enough_points(rows: int, columns: int) -> int:
    """Return how many inducing points stand in for some rows, 0 where the exact likelihood is used.

    Of more than 1,000 rows there are fewer, for the same cost.
    """
    if rows <= (EXACT_ROWS if columns <= FEW_COLUMNS else EXACT_ROWS_OF_MANY_COLUMNS):
        return 0
    if columns <= FEW_COLUMNS:
        return LEAST_POINTS
    return max(LEAST_POINTS, min(MANY_POINTS, math.isqrt(_MOST_STEPS // rows)))


def choose_inducing(Z: np.ndarray, points: int, seed: int) -> np.ndarray:
    """Inducing inputs for :func:`log_marginal_inducing`: the centres of a k-means clustering of the rows.

    Clusters are found on columns scaled to unit deviation, from a k-means++ start (Arthur & Vassilvitskii
    2007), so a column that never moves does not count and duplicates of a row are one place. Compared on
    1,000 uniform rows in 1-6 columns, their bound is tighter than that of greedy pivoted Cholesky (by up to a
    fifth) or of random rows.

    :param Z: shape ``(row, column)``.
    :param points: how many at most; as many as there are distinct rows if these are fewer, and then the rows
        themselves, for which the bound is exact.
    :param seed: the same rows and seed give the same points.
    :returns: shape ``(point, column)``, in the unit of ``Z``.
    """
    distinct = np.unique(Z, axis=0) if Z.shape[1] else Z[:1]
    if len(distinct) <= points:
        return np.ascontiguousarray(distinct, dtype=np.float64)
    centre, deviation = Z.mean(axis=0), Z.std(axis=0)
    deviation[deviation == 0.0] = 1.0
    rows = (Z - centre) / deviation
    centres = _spread(rows, points, np.random.default_rng(seed))
    for _ in range(_LLOYD_STEPS):
        nearest = cKDTree(centres).query(rows)[1]
        members = np.bincount(nearest, minlength=points)
        sums = np.stack([np.bincount(nearest, column, minlength=points) for column in rows.T], axis=1)
        taken = members > 0
        centres[taken] = sums[taken] / members[taken, None]
    return np.ascontiguousarray(centres * deviation + centre)


def _spread(rows: np.ndarray, points: int, rng: np.random.Generator) -> np.ndarray:
    """Rows (point, column), each drawn in proportion to its squared distance from those before."""
    chosen = [int(rng.integers(len(rows)))]
    squared = np.square(rows - rows[chosen[0]]).sum(axis=1)
    for _ in range(points - 1):
        chosen.append(int(np.searchsorted(np.cumsum(squared), rng.random() * squared.sum(), side="right")))
        squared = np.minimum(squared, np.square(rows - rows[chosen[-1]]).sum(axis=1))
    return rows[chosen]
