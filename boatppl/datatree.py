"""Posteriors as ArviZ takes them: one ``xarray.DataTree`` with a child per node and every group filled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import gamma

from boatppl.compile.density import DEGREES_OF_FREEDOM
from boatppl.graph import draw_prior
from boatppl.gp.kernel import KINDS, correlation_matrix
from boatppl.gp.kernel import JITTER
from boatppl.infer import BlockPosterior
from boatppl.propagate import NodeDraws, Posterior

PRIOR_DRAWS = 500
NODES_OF_THE_MIXTURE = 64  # quadrature points for a robust scale


def tree(posterior: Posterior, seed: int) -> xr.DataTree:
    """Return the posterior of a whole model: a child per node, each with the groups that ArviZ knows."""
    children: dict[str, Any] = {}
    for block in posterior.blocks:
        for graph in block.density.block.nodes:
            for group, dataset in node_groups(posterior, posterior.nodes[graph.name], block, seed).items():
                children[f"/{graph.name}/{group}"] = dataset
    root = xr.DataTree.from_dict(children)
    root.attrs["inference_library"] = "boatppl"
    return root


def node_groups(posterior: Posterior, node: NodeDraws, block: BlockPosterior, seed: int) -> dict[str, xr.Dataset]:
    """Return the groups of one node: posterior, sample_stats, observed_data, constant_data, log_likelihood,
    posterior_predictive and prior. Rows are trials (and elements, for a vector node)."""
    graph, table = node.graph, node.table
    chains = block.chains.chains
    rows = {"row": np.arange(len(table)), "trial": ("row", table.trials)}
    rows |= {dim: ("row", np.asarray(posterior.model.coords[dim])[i]) for dim, i in table.rows.elements.items()}
    unit = graph.node.unit or ""
    predictive, likelihood = _predictive(node, block, seed), log_likelihood(node, block)
    groups = {
        "posterior": _variables(node.variables, block, chains),
        "sample_stats": xr.Dataset({n: (("chain", "draw"), v) for n, v in _stats(block).items()}, coords=_draws(block)),
        "observed_data": xr.Dataset({graph.name: ("row", table.natural, {"units": unit})}, coords=rows),
        "constant_data": _constant(node, rows),
        "log_likelihood": _per_trial(graph.name, likelihood, table.trials, block),
        "posterior_predictive": xr.Dataset(
            {graph.name: (("chain", "draw", "row"), predictive.reshape(chains, -1, len(table)), {"units": unit})},
            coords={**_draws(block), **rows},
        ),
        "prior": _prior(node, block, seed),
    }
    for dataset in groups.values():
        dataset.attrs.update(_attributes(block))
    return groups


def _attributes(block: BlockPosterior) -> dict[str, Any]:
    length = block.chains
    return {
        "chains": f"{length.chains} x {length.draws} draws after {length.tune}",
        "verdict": str(block.verdict),
        "inference_library": "boatppl",
    }


def _draws(block: BlockPosterior) -> dict[str, np.ndarray]:
    return {"chain": np.arange(block.chains.chains), "draw": np.arange(block.chains.draws)}


def _stats(block: BlockPosterior) -> Mapping[str, np.ndarray]:
    return {("lp" if name == "logp" else "tree_depth" if name == "depth" else name): v for name, v in block.stats.items()}


def _variables(values: Mapping[str, np.ndarray], block: BlockPosterior, chains: int) -> xr.Dataset:
    model = block.density.block.model
    data, coords = {}, dict(_draws(block))
    for name, value in values.items():
        dims = tuple(model.named_vars_to_dims.get(name) or ())
        dims = dims if len(dims) == value.ndim - 1 else tuple(f"{name}_dim_{i}" for i in range(value.ndim - 1))
        data[name] = (("chain", "draw", *dims), value.reshape(chains, -1, *value.shape[1:]))
        coords |= {dim: list(model.coords[dim]) for dim in dims if model.coords.get(dim) is not None}
    return xr.Dataset(data, coords=coords)


def _prior(node: NodeDraws, block: BlockPosterior, seed: int) -> xr.Dataset:
    prior = draw_prior(node.graph.variables, PRIOR_DRAWS, seed)
    model = block.density.block.model
    data, coords = {}, {"chain": [0], "draw": np.arange(PRIOR_DRAWS)}
    for name, value in prior.items():
        dims = tuple(model.named_vars_to_dims.get(name) or ())
        dims = dims if len(dims) == value.ndim - 1 else tuple(f"{name}_dim_{i}" for i in range(value.ndim - 1))
        data[name] = (("chain", "draw", *dims), value[None])
        coords |= {dim: list(model.coords[dim]) for dim in dims if model.coords.get(dim) is not None}
    return xr.Dataset(data, coords=coords)


def _constant(node: NodeDraws, rows: Mapping[str, Any]) -> xr.Dataset:
    """What arrived at each row: wires in their own unit and the residual's inputs on the unit cube."""
    data: dict[str, Any] = {}
    for key, value in node.table.wires.items():
        data[key.name] = (("row", *key.dims), value)
    data["residual_input"] = (("row", "residual_column"), node.table.Z)
    return xr.Dataset(data, coords=dict(rows))


def _per_trial(name: str, values: np.ndarray, trials: np.ndarray, block: BlockPosterior) -> xr.Dataset:
    numbers = np.unique(trials)
    shaped = values.reshape(block.chains.chains, -1, len(numbers))
    return xr.Dataset({name: (("chain", "draw", "trial"), shaped)}, coords={**_draws(block), "trial": numbers})


def _row_noise(node: NodeDraws, block: BlockPosterior) -> tuple[np.ndarray, np.ndarray]:
    """Parametric part and noise standard deviation (scales not applied) at the node's rows, ``(draw, row)``."""
    table = node.table
    wires = {key: value[None] for key, value in table.wires.items()}
    mean, noise = node.graph.evaluator(node.variables, wires, table.rows.elements, len(table))
    shape = (block.draws, len(table))
    return np.broadcast_to(mean, shape), np.broadcast_to(noise, shape)


def _predictive(node: NodeDraws, block: BlockPosterior, seed: int) -> np.ndarray:
    """Replicated measurements ``(draw, row)`` at the configurations that were run."""
    rng = np.random.default_rng([seed, 31])
    mean, noise = _row_noise(node, block)
    if node.residual is not None:
        shift, variance = node.residual.predict(node.table.Z)
        mean = mean + shift + np.sqrt(variance) * rng.normal(size=mean.shape)
    normals = rng.normal(size=mean.shape)
    if node.graph.node.robust:
        normals = normals / np.sqrt(rng.chisquare(DEGREES_OF_FREEDOM, size=mean.shape) / DEGREES_OF_FREEDOM)
    return node.transform.inverse(mean + noise * normals)


def log_likelihood(node: NodeDraws, block: BlockPosterior) -> np.ndarray:
    """Return log p(y_t | every other trial, unknowns) for each trial t ``(draw, trial)``, Jacobian included.

    With the residual marginalised rows are not independent given the unknowns, so the pointwise term is the leave-one-out
    predictive density (Bürkner et al. 2021, eq. 6; Rasmussen & Williams 2006, eq. 5.12), by whole trials for vector nodes.
    Robust scales of a left-out single row are integrated out.
    """
    table, graph = node.table, node.graph
    mean, noise = _row_noise(node, block)
    scales = block.scales.get(graph.name, np.ones_like(mean))
    variance = noise**2 / scales
    groups = [np.flatnonzero(table.trials == number) for number in np.unique(table.trials)]
    jacobian = table.transform.log_jacobian(table.natural)
    result = np.empty((block.draws, len(groups)))
    residual = table.y - mean
    for draw in range(block.draws):
        covariance = np.diag(variance[draw])
        if graph.inputs:
            amplitude = block.variables[f"{graph.prefix}amplitude"][draw]
            lengthscale = np.ravel(block.variables[f"{graph.prefix}lengthscale"][draw])
            correlation = correlation_matrix(
                KINDS[graph.node.residual.kernel], table.Z, table.Z, table.groups, lengthscale
            )
            covariance += amplitude**2 * (correlation + JITTER * np.eye(len(table)))
        inverse = np.linalg.inv(covariance)
        weights = inverse @ residual[draw]
        for column, rows in enumerate(groups):
            left_out = np.linalg.inv(inverse[np.ix_(rows, rows)])
            error = left_out @ weights[rows]
            if graph.node.robust and len(rows) == 1:
                smooth = left_out[0, 0] - variance[draw, rows[0]]
                result[draw, column] = _robust_density(error[0], max(smooth, 0.0), noise[draw, rows[0]])
            else:
                sign, logdet = np.linalg.slogdet(left_out)
                solved = np.linalg.solve(left_out, error)
                result[draw, column] = -0.5 * (error @ solved + logdet + len(rows) * np.log(2 * np.pi))
            result[draw, column] += jacobian[rows].sum()
    return result


def _robust_density(error: float, smooth_variance: float, noise: float) -> float:
    """log of the normal residual convolved with Student-t noise: the scale mixture summed over its quantiles."""
    half = DEGREES_OF_FREEDOM / 2
    scales = gamma.ppf((np.arange(NODES_OF_THE_MIXTURE) + 0.5) / NODES_OF_THE_MIXTURE, half, scale=1 / half)
    variance = smooth_variance + noise**2 / scales
    return float(logsumexp(-0.5 * (error**2 / variance + np.log(2 * np.pi * variance))) - np.log(len(scales)))
