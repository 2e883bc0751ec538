"""A node as a plain ``pm.Model``: what a person opens, and the twin that the compiled density is compared
with."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.model.fgraph import clone_model
from pytensor.graph.replace import graph_replace
from pytensor.tensor.variable import TensorVariable

from boatppl.compile.batch import batch
from boatppl.compile.density import DEGREES_OF_FREEDOM, kernel_of
from boatppl.gp.kernel import JITTER
from boatppl.graph import DAG, Block, NodeGraph
from boatppl.table import Table, measured, tables, teaches
from boatppl.trial import Trial

COVARIANCES = {"matern52": pm.gp.cov.Matern52, "matern32": pm.gp.cov.Matern32, "expquad": pm.gp.cov.ExpQuad}


def to_pymc(model: DAG, name: str, trials: Iterable[Trial]) -> pm.Model:
    """Return the block of a node, given measured trials, as an ordinary PyMC model.

    Each node's measurements on the transformed scale are observed with ``pm.MvNormal``; ``pm.sample``,
    ``pm.model_to_mermaid`` and ``pm.sample_prior_predictive`` take the model as it is. (Not the last where a
    censored node has bounded rows: their values are unknowns with a flat prior above the bound.)
    """
    finished = [trial for trial in trials if teaches(model, trial)]
    data = measured(model, finished)
    by_node = tables(model, data)
    block = next(block for block in model.blocks if name in [node.name for node in block.nodes])
    return block_to_pymc(block, {node.name: by_node[node.name] for node in block.nodes})


def block_to_pymc(block: Block, by_node: dict[str, Table]) -> pm.Model:
    """Return a block with its tables as one PyMC model (a copy: the block's own model is never touched)."""
    copy = clone_model(block.model)
    variables = {variable: copy[variable.name] for variable in block.model.free_RVs}
    for node in block.nodes:
        if len(by_node[node.name].whole):
            _observe(copy, block, node, by_node[node.name], variables)
    return copy


def _observe(
    model: pm.Model, block: Block, node: NodeGraph, table: Table, variables: dict[Any, TensorVariable]
) -> None:
    bounded, table = table.bounded, table.whole
    over, rows, label = node.node.over, len(table), f"{node.name}_row"
    wires = {key: pt.constant(value) for key, value in table.wires.items()}
    elements = {dim: pt.constant(index) for dim, index in table.rows.elements.items()}
    shared = block.wiring.shared
    mean, noise = batch([node.mean, node.noise], block.wiring, over, wires, elements, variables, shared)
    with model:
        model.add_coord(label, np.arange(rows))
        variance = pt.square(noise) + pt.zeros(rows)
        if node.node.robust:
            half = DEGREES_OF_FREEDOM / 2
            variance = variance / pm.Gamma(f"{node.name}_precision_scale", half, half, dims=label)
        covariance = pt.diag(variance)
        if node.inputs:
            unknowns = [node.amplitude, node.lengthscale]
            amplitude, lengthscale = graph_replace(unknowns, variables, strict=False)
            kernel = COVARIANCES[kernel_of(node)](table.Z.shape[1], ls=lengthscale[table.groups])
            covariance = covariance + pt.square(amplitude) * (kernel(table.Z) + JITTER * pt.eye(rows))
        name = node.name if not node.node.transform else f"{node.node.transform}({node.name})"
        if bounded is None or not len(bounded):
            pm.MvNormal(name, mean + pt.zeros(rows), cov=covariance, observed=table.y, dims=label)
            return
        # what stands above the bounds, in units of the node's scale
        above = pm.HalfFlat(f"{node.name}_excess", shape=len(bounded))
        y = table.y + pt.concatenate([pt.zeros(rows - len(bounded)), node.scale * above])
        pm.Potential(name, pm.logp(pm.MvNormal.dist(mean + pt.zeros(rows), cov=covariance), y))
