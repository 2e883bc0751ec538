"""Posteriors as ArviZ takes them: one ``xarray.DataTree`` with a child per node and every group filled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from boatppl.compile.density import DEGREES_OF_FREEDOM, kernel_of
from boatppl.gp.conditional import Conditional
from boatppl.gp.kernel import KINDS
from boatppl.graph import DAG, draw_prior
from boatppl.infer import BlockPosterior
from boatppl.leave_one_out import at_rows, log_likelihood
from boatppl.predict import JOINT
from boatppl.propagate import NodeDraws, Posterior

PRIOR_DRAWS = 500
STATISTICS = {"logp": "lp", "depth": "tree_depth"}  # ArviZ's names


def tree(posterior: Posterior, seed: int) -> xr.DataTree:
    """Return the posterior of a whole model: a child per node, each with the groups that ArviZ knows.

    ``tree["node"]`` goes as it is to ``az.summary``, ``az.loo``, ``az.plot_trace_dist`` and the rest. The
    verdict on the chains and their length are in its attributes and in those of every group.
    """
    children: dict[str, Any] = {}
    for block in posterior.blocks:
        for graph in block.density.block.nodes:
            attributes = _attributes(block)
            children[f"/{graph.name}"] = xr.Dataset(attrs=attributes)
            for group, dataset in node_groups(posterior, posterior.nodes[graph.name], block, seed).items():
                children[f"/{graph.name}/{group}"] = dataset.assign_attrs(attributes)
    root = xr.DataTree.from_dict(children)
    root.attrs["inference_library"] = "boatppl"
    return root


def node_groups(
    posterior: Posterior, node: NodeDraws, block: BlockPosterior, seed: int
) -> dict[str, xr.Dataset]:
    """Return the groups of one node: name -> dataset.

    - ``posterior``, ``prior``: the unknowns, in their own units; ``sample_stats``: the sampler's, if it ran.
    - ``observed_data``, ``posterior_predictive``: measurements and their replicates at the same
    configurations, in
      the node's unit, along ``trial``; for a vector node along ``row``, with its trial and elements as
      coordinates.
    - ``prior_predictive``: what the priors alone say of the same runs, given what arrived at them.
    - ``constant_data``: what arrived at each measurement, and the residual's inputs on the unit cube.
    - ``log_likelihood``: log p(measurements of a trial | all other trials, unknowns), one column per trial
      (:mod:`boatppl.leave_one_out`).
    - ``log_prior``: log densities of the unknowns under their priors, at the posterior's draws; with them
      ``az.psense`` says which priors the posterior hangs on.
    """
    graph, table = node.graph, node.table
    along = "row" if graph.node.over else "trial"
    coords: dict[str, Any] = {"trial": (along, table.trials)}
    if graph.node.over:
        coords["row"] = np.arange(len(table))
    for dim, index in table.rows.elements.items():
        coords[dim] = along, np.asarray(posterior.model.coords[dim])[index]
    unit = {"units": graph.node.unit or ""}
    replicates = _by_chain(_replicates(node, block, seed), block.chains.chains)
    unknowns = _unknowns(node, block)
    numbers = np.unique(table.trials)
    likelihood = _by_chain(log_likelihood(node, block), block.chains.chains)
    prior = _prior(list(unknowns), block, seed)
    before = _by_chain(_prior_replicates(node, prior, seed), 1)
    prior_density = {n: p for n, p in block.density.log_prior(block.position).items() if n in unknowns}
    stats = {STATISTICS.get(name, name): value for name, value in block.stats.items()}
    return {
        "posterior": _dataset(unknowns, block, block.chains.chains),
        "sample_stats": xr.Dataset(
            {n: (("chain", "draw"), value) for n, value in stats.items()}, _draws(block)
        ),
        "observed_data": xr.Dataset({graph.name: (along, table.natural, unit)}, coords),
        "constant_data": _constant(posterior.model, node, along, coords),
        "log_likelihood": xr.Dataset(
            {graph.name: (("chain", "draw", "trial"), likelihood)}, {**_draws(block), "trial": numbers}
        ),
        "log_prior": _dataset(prior_density, block, block.chains.chains),
        "posterior_predictive": xr.Dataset(
            {graph.name: (("chain", "draw", along), replicates, unit)}, {**_draws(block), **coords}
        ),
        "prior": _dataset(prior, block, 1),
        "prior_predictive": xr.Dataset(
            {graph.name: (("chain", "draw", along), before, unit)},
            {"chain": [0], "draw": np.arange(PRIOR_DRAWS), **coords},
        ),
    }


def _attributes(block: BlockPosterior) -> dict[str, Any]:
    length = block.chains
    return {
        "chains": f"{length.chains} x {length.draws} draws after {length.tune}",
        "verdict": str(block.verdict),
        "good": int(block.verdict.good),
        "inference_library": "boatppl",
    }


def _by_chain(values: np.ndarray, chains: int) -> np.ndarray:
    """``(draw, ...)`` with the chains one after the other as ``(chain, draw, ...)``."""
    return values.reshape(chains, len(values) // chains, *values.shape[1:])


def _draws(block: BlockPosterior) -> dict[str, np.ndarray]:
    return {"chain": np.arange(block.chains.chains), "draw": np.arange(block.chains.draws)}


def _unknowns(node: NodeDraws, block: BlockPosterior) -> dict[str, np.ndarray]:
    """A node's variables, those it shares, and the deterministics of its function: name -> ``(draw,
    *shape)``."""
    others = {other.prefix for other in block.density.block.nodes if other.prefix} - {node.graph.prefix}
    random = set(block.density.layout.names)
    return {
        name: value
        for name, value in block.variables.items()
        if name in node.graph.variables
        or (name not in random and not any(name.startswith(prefix) for prefix in others))
    }


def _prior(names: list[str], block: BlockPosterior, seed: int) -> dict[str, np.ndarray]:
    model = block.density.block.model
    return draw_prior({name: model[name] for name in names}, PRIOR_DRAWS, seed)


def _dataset(values: Mapping[str, np.ndarray], block: BlockPosterior, chains: int) -> xr.Dataset:
    """Name -> ``(draw, *shape)`` as a dataset with the dims and coords of the block's PyMC model."""
    model = block.density.block.model
    data: dict[str, Any] = {}
    coords: dict[str, Any] = {"chain": np.arange(chains)}
    for name, value in values.items():
        dims = tuple(model.named_vars_to_dims.get(name) or ())
        if len(dims) != value.ndim - 1:
            dims = tuple(f"{name}_dim_{axis}" for axis in range(value.ndim - 1))
        data[name] = (("chain", "draw", *dims), _by_chain(value, chains))
        coords["draw"] = np.arange(len(value) // chains)
        coords |= {dim: np.asarray(model.coords[dim]) for dim in dims if model.coords.get(dim) is not None}
    return xr.Dataset(data, coords)


def _constant(model: DAG, node: NodeDraws, along: str, coords: Mapping[str, Any]) -> xr.Dataset:
    """What arrived at each row: wires in their own unit and the residual's inputs on the unit cube."""
    names = [item.name for item in node.graph.inputs]
    data: dict[str, Any] = {
        key.name: ((along, *key.dims), value, {"units": model.unit_of(key.name)})
        for key, value in node.table.wires.items()
        if key.name not in coords
    }
    data["residual_input"] = ((along, "residual_column"), node.table.Z)
    columns = np.array([names[group] for group in node.table.groups], dtype=str)
    return xr.Dataset(data, {**coords, "residual_column": columns})


def _replicates(node: NodeDraws, block: BlockPosterior, seed: int) -> np.ndarray:
    """Replicated measurements ``(draw, row)`` at the configurations that were run."""
    rng = np.random.default_rng([seed, 31])
    mean, noise = at_rows(node, block)
    if node.residual is not None:
        shift, variance = node.residual.predict(node.table.Z)
        mean = mean + shift + np.sqrt(variance) * rng.normal(size=mean.shape)
    return node.transform.inverse(mean + noise * _run_to_run(node, mean.shape, rng))


def _prior_replicates(node: NodeDraws, prior: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """Measurements ``(draw, row)`` by draws of the priors, at the configurations that were run."""
    rng, graph, table = np.random.default_rng([seed, 32]), node.graph, node.table
    shape = (PRIOR_DRAWS, len(table))
    variables = {name: prior[name] for name in graph.variables}
    wires = {key: value[None] for key, value in table.wires.items()}
    mean, noise = graph.evaluator(variables, wires, table.rows.elements, len(table))
    mean, noise = np.broadcast_to(mean, shape), np.broadcast_to(noise, shape)
    if graph.inputs and len(table):
        amplitude = prior[f"{graph.prefix}amplitude"]
        lengthscale = prior[f"{graph.prefix}lengthscale"].reshape(PRIOR_DRAWS, -1)
        nothing = np.empty((PRIOR_DRAWS, 0))
        before = Conditional.from_data(
            KINDS[kernel_of(graph)], table.Z[:0], table.groups, amplitude, lengthscale, nothing, nothing
        )
        normals = rng.normal(size=shape)
        joint = len(table) <= JOINT  # beyond, each row on its own
        mean = mean + (before.sample(table.Z, normals) if joint else amplitude[:, None] * normals)
    return node.transform.inverse(mean + noise * _run_to_run(node, shape, rng))


def _run_to_run(node: NodeDraws, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Noise of a run, of scale 1: normal, or Student-t for a robust node."""
    normals = rng.normal(size=shape)
    if not node.graph.node.robust:
        return normals
    return normals / np.sqrt(rng.chisquare(DEGREES_OF_FREEDOM, size=shape) / DEGREES_OF_FREEDOM)


def as_dataset(model: DAG, values: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Return predictive draws name -> ``(sample, configuration, *dims)`` with named dims, coordinates and
    units."""
    data = {
        name: (
            ("sample", "configuration", *model.sources[name].dims),
            value,
            {"unit": model.unit_of(name)},
        )
        for name, value in values.items()
    }
    return xr.Dataset(data, coords=dict(model.coords))
