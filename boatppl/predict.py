"""Draws of every node at given configurations, joint over configurations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boatppl.propagate import Luck, Posterior, needed
from boatppl.rows import assemble
from boatppl.transform import Transform

REPLICATES = 8  # of the noise, where it is averaged out within each draw
JOINT = 400  # rows up to which residuals are sampled jointly; beyond, each on its own


def predictive(
    posterior: Posterior,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    seed: int,
    *,
    noise: bool,
    target: str | None = None,
) -> dict[str, np.ndarray]:
    """Return draws name -> ``(draw, configuration, *dims)`` in each node's unit at ``unit (configuration, coordinate)``.

    ``noise=True``: of measurements, every run with noise of its own. ``noise=False``: of the quantities; the parents' noise
    is averaged out within each draw (on the transformed scale, with the same noise at every configuration), a node's own is
    left out. ``target`` limits the work to what it depends on.
    """
    model = posterior.model
    names = needed(model, target) if target else [n for n in model.order if n in model.nodes or n in model.derived]
    if noise:
        rng = np.random.default_rng([seed, 21])
        return _one_pass(posterior, unit, contexts, names, seed, None, rng)[1]
    total: dict[str, np.ndarray] = {}
    for replicate in range(REPLICATES):
        luck = posterior.luck([seed, 22, replicate])
        free, _ = _one_pass(posterior, unit, contexts, names, seed, luck, None)
        total = {name: total.get(name, 0.0) + value / REPLICATES for name, value in free.items()}
    transforms = posterior.transforms
    return {name: transforms.get(name, Transform()).inverse(value) for name, value in total.items()}


def _one_pass(
    posterior: Posterior,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    names: Sequence[str],
    seed: int,
    luck: Luck | None,
    rng: np.random.Generator | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return noise-free values (transformed scale) and measured values (natural unit) of one pass through the DAG."""
    model = posterior.model
    shape_rng = np.random.default_rng([seed, 23])  # of the residuals: the same in every replicate
    values = dict(model.inputs(unit, contexts))
    free, seen = {}, {}
    for name in names:
        if name in model.derived:
            value = model.evaluate_derived(name, values)
            value = np.broadcast_to(value, (posterior.draws, len(unit), *value.shape[2:]))
            values[name] = free[name] = seen[name] = value
            continue
        step, draws = posterior.step(name, values, unit, contexts), posterior.nodes[name]
        sampled = step.mean
        normals = shape_rng.normal(size=step.mean.shape)
        if draws.residual is not None and step.mean.shape[1] <= JOINT:
            sampled = step.parametric + draws.residual.sample(step.Z, normals)
        elif draws.residual is not None:
            sampled = step.mean + np.sqrt(step.variance) * normals
        over = draws.graph.node.over
        certain = posterior.certain(step, sampled)
        own = luck if luck is not None else posterior.luck_of_runs(rng, len(unit))
        values[name] = seen[name] = posterior.measured(name, certain, own, len(unit))
        free[name] = assemble(sampled, len(unit), over, model.sizes)
    return free, seen
