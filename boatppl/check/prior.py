"""A model before any measurement: prior draws, ready to be propagated, and what they predict."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from boatppl.compile.density import kernel_of
from boatppl.gp.conditional import Conditional
from boatppl.gp.kernel import KINDS
from boatppl.graph import DAG, NodeGraph, draw_prior
from boatppl.predict import predictive
from boatppl.propagate import NodeDraws, Posterior
from boatppl.table import Table, measured, tables

CONFIGURATIONS = 64  # at which the prior is looked at, corners of the space apart
CORNERS = 32


@dataclass(frozen=True)
class Predicted:
    """What a model says of a quantity before any run, over the whole space, in its ``unit``.

    The 5, 50 and 95 % points of its prior predictive, and the ``share`` of draws without a finite value.
    """

    unit: str
    low: float
    median: float
    high: float
    infinite: float


def prior(model: DAG, draws: int, seed: int) -> Posterior:
    """Return a model's prior in the form of a posterior that has seen nothing: every residual is free."""
    nothing = tables(model, measured(model, []))
    nodes: dict[str, NodeDraws] = {}
    for number, block in enumerate(model.blocks):
        variables = {variable.name: variable for variable in block.model.free_RVs}
        drawn = draw_prior(variables, max(draws, 2), seed + 1000 * number)  # of one PyMC drops the axis
        known = {name: value[:draws] for name, value in drawn.items()}
        nodes |= {graph.name: _node(graph, nothing[graph.name], known) for graph in block.nodes}
    return Posterior(model, nodes, (), draws)


def _node(graph: NodeGraph, table: Table, known: Mapping[str, np.ndarray]) -> NodeDraws:
    variables = {name: known[name] for name in graph.variables}
    if not graph.inputs:
        return NodeDraws(graph, table, variables, None)
    amplitude, nothing = (
        known[f"{graph.prefix}amplitude"],
        np.zeros((len(known[f"{graph.prefix}amplitude"]), 0)),
    )
    lengthscale = known[f"{graph.prefix}lengthscale"].reshape(len(amplitude), -1)
    kind = KINDS[kernel_of(graph)]
    free = Conditional.from_data(kind, table.Z, table.groups, amplitude, lengthscale, nothing, nothing)
    return NodeDraws(graph, table, variables, free)


def contexts_at(model: DAG, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return a value ``(n,)`` of every context, anywhere in its range."""
    return {name: context.from_unit(rng.uniform(size=n)) for name, context in model.space.contexts.items()}


def everywhere(model: DAG, seed: int) -> np.ndarray:
    """Return rows of the unit cube that reach the whole space: quasi-random ones and corners."""
    space, d = model.space, model.space.dimension
    corners = np.array(list(product([0.0, 1.0], repeat=min(d, 5))))[:CORNERS]
    padded = np.full((len(corners), d), 0.5)
    padded[:, : corners.shape[1]] = corners
    rows = np.concatenate([space.sample(CONFIGURATIONS, seed), space.snap(padded)])
    return rows[space.feasible(rows)]


def predictions(model: DAG, seed: int, draws: int = 200) -> dict[str, Predicted]:
    """Return the prior predictive of every node and derived quantity, over the whole space."""
    unit = everywhere(model, seed)
    contexts = contexts_at(model, len(unit), np.random.default_rng(seed))
    found = predictive(prior(model, draws, seed), unit, contexts, seed, noise=True)
    shown = {}
    for name, values in found.items():
        finite = np.isfinite(values)
        points = np.quantile(values[finite], [0.05, 0.5, 0.95]) if finite.any() else [np.nan] * 3
        low, median, high = map(float, points)
        shown[name] = Predicted(model.unit_of(name), low, median, high, float(1.0 - finite.mean()))
    return shown
