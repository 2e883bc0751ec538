"""Draws of every node at given configurations, joint over configurations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boatppl.propagate import Luck, Posterior, needed
from boatppl.rows import assemble
from boatppl.transform import Transform

REPLICATES = 16  # of the noise, where it is averaged out within each draw
JOINT = 400  # rows up to which residuals are sampled jointly; beyond, each on its own

Draws = dict[str, np.ndarray]


def predictive(
    posterior: Posterior,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    seed: int,
    *,
    noise: bool,
    target: str | None = None,
) -> Draws:
    """Return draws name -> ``(draw, configuration, *dims)``, in each node's unit.

    Parameters
    ----------
    unit
        Configurations as rows of the unit cube ``(configuration, coordinate)``.
    contexts
        Name -> value of every context.
    noise
        True: of measurements, every run with noise of its own. False: of the quantities themselves. Then a
        node's own noise is left out and its parents' is averaged out within each draw (on the transformed
        scale, with the same noise at every configuration, so that differences between configurations are
        meaningful).
    target
        Limits the work to what this node or derived quantity depends on.
    """
    model = posterior.model
    known = [name for name in model.order if name in model.nodes or name in model.derived]
    names = known if target is None else needed(model, target)
    if noise:
        runs = posterior.luck_of_runs(np.random.default_rng([seed, 21]), len(unit))
        return _one_pass(posterior, unit, contexts, names, seed, runs)[1]
    total: Draws = {}
    noisy = [name for name in names if name in model.nodes and name != target]
    replicates = posterior.strata([seed, 22], REPLICATES if noisy else 1)
    for luck in replicates:
        free, _ = _one_pass(posterior, unit, contexts, names, seed, luck)
        total = {name: total.get(name, 0.0) + value / len(replicates) for name, value in free.items()}
    transforms = posterior.transforms
    return {name: transforms.get(name, Transform()).inverse(value) for name, value in total.items()}


def _one_pass(
    posterior: Posterior,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    names: Sequence[str],
    seed: int,
    luck: Luck,
) -> tuple[Draws, Draws]:
    """Return noise-free values (transformed scale) and measured values (natural unit) of one pass."""
    model = posterior.model
    rng = np.random.default_rng([seed, 23])  # of the residuals: the same in every replicate
    values = dict(model.inputs(unit, contexts))
    free, seen = {}, {}
    for name in names:
        if name in model.derived:
            value = model.evaluate_derived(name, values)
            value = np.broadcast_to(value, (posterior.draws, len(unit), *value.shape[2:]))
            values[name] = free[name] = seen[name] = value
            continue
        step, draws = posterior.step(name, values, unit, contexts), posterior.nodes[name]
        sampled, normals = step.mean, rng.normal(size=step.mean.shape)
        if draws.residual is not None and step.mean.shape[1] <= JOINT:
            sampled = step.parametric + draws.residual.sample(step.Z, normals)
        elif draws.residual is not None:
            sampled = step.mean + np.sqrt(step.variance) * normals
        values[name] = seen[name] = posterior.measured(name, step.known(sampled), luck, len(unit))
        free[name] = assemble(sampled, len(unit), draws.graph.node.over, model.sizes)
    return free, seen
