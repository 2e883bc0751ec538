"""log p(y_t | every other trial, unknowns) for each trial t: what cross-validation averages.

With the residual marginalised, rows are not independent given the unknowns, so the pointwise term is the
leave-one-out predictive density (Bürkner et al. 2021, eq. 6). A vector node leaves out whole trials.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from boatppl.compile.density import DEGREES_OF_FREEDOM
from boatppl.gp import Conditional
from boatppl.gp.inducing import INDUCING_JITTER
from boatppl.gp.kernel import JITTER, correlation_matrix
from boatppl.infer import BlockPosterior
from boatppl.propagate import NodeDraws, values_of
from boatppl.table import Table

CHUNK = 4_000_000  # numbers in the largest array of one step: 32 MB
LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Every trial as the other trials and one draw's unknowns predict it, on the node's transformed scale.

    ``log_density (draw, trial)`` is of the trial's measurements in their natural unit (trials ascending).
    Row by row ``error (draw, row)`` is measurement minus prediction, ``smooth`` the variance of the residual
    and ``noise`` the standard deviation of run-to-run variation there, both ``(draw, row)``.
    """

    log_density: np.ndarray
    error: np.ndarray
    smooth: np.ndarray
    noise: np.ndarray


def log_likelihood(node: NodeDraws, block: BlockPosterior) -> np.ndarray:
    """Return log p(y_t | y_-t, unknowns) ``(draw, trial)`` of y in its natural unit, trials in ascending
    order: see :func:`leave_one_out`."""
    return leave_one_out(node, block).log_density


def leave_one_out(node: NodeDraws, block: BlockPosterior) -> LeftOut:
    """Return what every draw says of each trial given all other trials.

    The left-out rows' robust scales are integrated out: exactly for one row, by assumed-density filtering
    (Minka 2001, sec. 3.2) for the rows of a vector. Of many rows the covariance is that of the
    inducing points (Quiñonero-Candela & Rasmussen 2005, FITC's diagonal) and leaving out removes a trial's
    terms from it. The bounded rows of a censored node are never left out: they are as each draw has them.
    """
    table, name = node.table, node.graph.name
    mean, noise = at_rows(node, block, table.whole)
    y, precision = values_of(table, block.draws, block.scales.get(name), block.excesses.get(name))
    residual, noise_variance = y - mean, noise**2
    variance = noise_variance / precision
    jacobian = table.transform.log_jacobian(table.natural)
    log_weights, scales = mixture() if node.graph.node.robust else (np.zeros(1), np.ones(1))
    numbers = np.unique(table.trials)
    result = np.empty((len(mean), len(numbers)))
    errors, smooths = (np.empty((len(mean), len(table))) for _ in range(2))
    for places, rows in _by_size(table.trials, numbers):
        step = max(1, CHUNK // (max(len(table) ** 2, rows.size * max(len(scales), rows.shape[1])) + 1))
        for first in range(0, len(mean), step):
            draws = slice(first, first + step)
            error, smooth = _left_out(node, draws, rows, residual[draws], variance[draws])
            own = noise_variance[draws][:, rows]
            density = chain_rule(error, smooth, own, log_weights, scales)
            result[draws, places] = density + jacobian[rows].sum(axis=1)
            errors[draws, rows] = error
            smooths[draws, rows] = np.maximum(np.diagonal(smooth, axis1=-2, axis2=-1), 0.0)
    return LeftOut(result, errors, smooths, noise[:, : len(table)])


def at_rows(
    node: NodeDraws, block: BlockPosterior, table: Table | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the parametric part and the noise's standard deviation at the rows of a table (the node's own
    where none is given), both ``(draw, row)``."""
    table = node.table if table is None else table
    wires = {key: value[None] for key, value in table.wires.items()}
    mean, noise = node.graph.evaluator(node.variables, wires, table.rows.elements, len(table))
    shape = (block.draws, len(table))
    return np.broadcast_to(mean, shape), np.broadcast_to(noise, shape)


def mixture() -> tuple[np.ndarray, np.ndarray]:
    """Return log weights and scales ``(node,)`` of the quadrature of a robust row's scale ~ Gamma(2, 2).

    The trapezoid rule in the logarithm of the scale: the integrand is smooth there and decays at both ends.
    """
    log_scales = np.linspace(-16.0, 3.0, 77)
    half = DEGREES_OF_FREEDOM / 2.0
    density = half * np.log(half) - gammaln(half) + half * log_scales - half * np.exp(log_scales)
    return density + np.log(log_scales[1] - log_scales[0]), np.exp(log_scales)


def chain_rule(
    error: np.ndarray,
    covariance: np.ndarray,
    noise_variance: np.ndarray,
    log_weights: np.ndarray,
    scales: np.ndarray,
) -> np.ndarray:
    """Return log p(error) ``(...)``, one row of a trial after the other, each given those before.

    ``error (..., row)`` and ``covariance (..., row, row)`` are of the residual given all other trials; the
    noise has variance ``noise_variance (..., row) / scale``, the scale a mixture over ``scales (node,)``.
    With one node this is the exact normal density; with several, what is known of the residual after each row
    is again made normal, with the right mean and variance.
    """
    error, covariance = error.copy(), covariance.copy()
    total = np.zeros(error.shape[:-1])
    for row in range(error.shape[-1]):
        smooth = np.maximum(covariance[..., row, row], 0.0)
        variance = smooth[..., None] + noise_variance[..., row, None] / scales
        ratio = error[..., row, None] / variance
        terms = log_weights - 0.5 * (ratio * error[..., row, None] + np.log(variance) + LOG_2PI)
        log_density = logsumexp(terms, axis=-1)
        total += log_density
        if row + 1 < error.shape[-1]:
            weight = np.exp(terms - log_density[..., None])
            slope = (weight * ratio).sum(axis=-1)
            bend = (weight * (1.0 / variance - ratio**2)).sum(axis=-1) + slope**2
            column = covariance[..., row].copy()
            error -= slope[..., None] * column
            covariance -= bend[..., None, None] * column[..., :, None] * column[..., None, :]
    return total


def _by_size(trials: np.ndarray, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places in ``numbers`` and the rows ``(trial, row)`` of the trials that have the same number of
    rows."""
    rows = [np.flatnonzero(trials == number) for number in numbers]
    sizes = np.array([len(own) for own in rows])
    for size in np.unique(sizes):
        places = np.flatnonzero(sizes == size)
        yield places, np.array([rows[place] for place in places])


def _left_out(
    node: NodeDraws, draws: slice, rows: np.ndarray, residual: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Error ``(draw, trial, row)`` and covariance ``(draw, trial, row, row)`` of each trial's residual given
    the others.

    ``residual`` and ``variance`` are ``(draw, row)`` of all rows, bounded ones included, ``rows`` ``(trial,
    row)``.
    """
    gp, size = node.residual, rows.shape[1]
    if gp is None:
        error = residual[:, rows]
        return error, np.zeros((*error.shape, size))
    diagonal = variance[:, rows][..., None] * np.eye(size)
    if gp.rows != residual.shape[1] or len(node.table) == 0:
        return _left_out_inducing(gp, node.table.whole.Z, draws, rows, residual, variance, diagonal)
    root = _unpacked(gp.root[draws], gp.rows)  # (draw, row, row): K^-1 = root^T root
    alpha = _times(np.swapaxes(root, 1, 2), gp.weights[draws])[:, rows]
    columns = np.moveaxis(root[:, :, rows], 1, -1)  # (draw, trial, row, row of all)
    inverse = np.linalg.inv(columns @ np.swapaxes(columns, -1, -2))
    return _times(inverse, alpha), inverse - diagonal


def _left_out_inducing(
    gp: Conditional,
    Z: np.ndarray,
    draws: slice,
    rows: np.ndarray,
    residual: np.ndarray,
    variance: np.ndarray,
    diagonal: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_left_out`, for ``residual ~ N(0, V^T V + diagonal)`` with V from the inducing points.

    ``Z (row, column)`` are the residual's inputs.
    """
    points = gp.Z[0]
    V = np.empty((len(residual), len(points), len(Z)))
    for number, (amplitude, lengthscale) in enumerate(
        zip(gp.amplitude[draws], gp.lengthscale[draws], strict=True)
    ):
        within = correlation_matrix(gp.kind, points, points, gp.groups, lengthscale)
        across = correlation_matrix(gp.kind, points, Z, gp.groups, lengthscale)
        factor = np.linalg.cholesky(within + INDUCING_JITTER * np.eye(len(points)))
        V[number] = amplitude * np.linalg.solve(factor, across)
    prior = gp.amplitude[draws, None] ** 2 * (1.0 + JITTER)
    unseen = np.maximum(prior - (V**2).sum(axis=1), 0.0)
    scaled = V / (variance + unseen)[:, None]
    precision = np.eye(len(points)) + scaled @ np.swapaxes(V, 1, 2)
    weights = _times(np.linalg.inv(precision), _times(scaled, residual))
    own = np.moveaxis(V[:, :, rows], 1, -1)  # (draw, trial, row, point)
    posterior = own @ np.linalg.inv(precision)[:, None] @ np.swapaxes(own, -1, -2)
    total = diagonal + unseen[:, rows][..., None] * np.eye(rows.shape[1])
    # Without the trial's own terms C becomes (C^-1 - D^-1)^-1 = (I - C D^-1)^-1 C, and the mean likewise.
    removed = np.linalg.inv(np.eye(rows.shape[1]) - posterior @ np.linalg.inv(total))
    left = residual[:, rows] - _times(own, weights[:, None])
    return _times(removed, left), removed @ posterior + total - diagonal


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``(..., i, j)`` times ``(..., j)``."""
    return (matrix @ vector[..., None])[..., 0]


def _unpacked(packed: np.ndarray, rows: int) -> np.ndarray:
    """Packed lower triangles ``(draw, row (row + 1)/2)`` as ``(draw, row, row)``."""
    dense = np.zeros((len(packed), rows, rows))
    dense[:, *np.tril_indices(rows)] = packed
    return dense
