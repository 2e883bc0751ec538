"""Draws of every node at given configurations, joint over configurations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boatppl.graph import DAG
from boatppl.propagate import Luck, NodeStep, Posterior, needed
from boatppl.rows import assemble
from boatppl.transform import Transform
from boatppl.words import ModelError, listed, nearest

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
    do: Mapping[str, np.ndarray] | None = None,
    central: bool = False,
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
    do
        Name -> value ``(*dims)`` of what is held there by an intervention, in its unit.
    central
        Without noise: the target's own residual is not sampled but has its mean in every draw, so that
        configurations are compared without that Monte-Carlo error (Rao-Blackwell).
    """
    model = posterior.model
    known = [name for name in model.order if name in model.nodes or name in model.derived]
    names = known if target is None else needed(model, target)
    held = do or {}
    if noise:
        runs = posterior.luck_of_runs(np.random.default_rng([seed, 21]), len(unit))
        return _one_pass(posterior, unit, contexts, names, seed, runs, held, {})[1]
    total: Draws = {}
    noisy = {name for name in names if name in model.nodes and name != target and name not in held}
    # What no parent's noise reaches is the same in every replicate.
    steady: dict[str, NodeStep | None] = {
        name: None for name in names if not noisy & {*needed(model, name)} - {name}
    }
    replicates = posterior.strata([seed, 22], REPLICATES if noisy else 1)
    for luck in replicates:
        free, _ = _one_pass(
            posterior, unit, contexts, names, seed, luck, held, steady, target if central else None
        )
        total = {name: total.get(name, 0.0) + value / len(replicates) for name, value in free.items()}
    transforms = posterior.transforms
    found = {name: transforms.get(name, Transform()).inverse(value) for name, value in total.items()}
    return found | {n: np.broadcast_to(value, found[n].shape) for n, value in held.items() if n in found}


def intervention(model: DAG, do: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Check what an intervention holds: name of a node or derived quantity -> value ``(*dims)``.

    Raises
    ------
    ModelError
        For a name that can not be held, or a value that is no number, of another shape or outside the node's
        transform.
    """
    found = {}
    for name, value in do.items():
        known = [*model.nodes, *model.derived]
        if name not in known:
            kind = model.sources[name].kind if name in model.sources else None
            hint = f" {name!r} is a {kind}." if kind else nearest(name, known)
            hint += " Put it into the configuration." if kind == "parameter" else ""
            raise ModelError(
                f"do= holds nodes and derived quantities; got {name!r}.{hint} Known: {listed(known)}."
            )
        shape, node = model.sources[name].shape, model.nodes.get(name)
        try:
            array = np.asarray(value, float)
        except (TypeError, ValueError):
            array = np.array(np.nan)
        there = array.shape == shape and np.isfinite(array).all()
        if not there or (node and not np.isfinite(Transform(node.node.transform).forward(array)).all()):
            wanted = Transform(node.node.transform).domain if node else "a finite number"
            of = f", of shape {shape}" if shape else ""
            raise ModelError(f"do= holds {name!r} at {wanted}{of}; got {value!r}.")
        found[name] = array
    return found


def _one_pass(
    posterior: Posterior,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    names: Sequence[str],
    seed: int,
    luck: Luck,
    held: Mapping[str, np.ndarray],
    steady: dict[str, NodeStep | None],
    central: str | None = None,
) -> tuple[Draws, Draws]:
    """Return noise-free values (transformed scale) and measured values (natural unit) of one pass.

    ``steady`` has the names of nodes that are the same in every pass, and keeps their steps from the first;
    ``central`` is the node whose residual has its mean.
    """
    model = posterior.model
    values = dict(model.inputs(unit, contexts))
    free, seen = {}, {}
    for place, name in enumerate(names):
        if name in held:
            value = np.broadcast_to(held[name], (posterior.draws, len(unit), *np.shape(held[name])))
            values[name] = seen[name] = value
            free[name] = posterior.transforms.get(name, Transform()).forward(value)
            continue
        if name in model.derived:
            value = model.evaluate_derived(name, values)
            value = np.broadcast_to(value, (posterior.draws, len(unit), *value.shape[2:]))
            values[name] = free[name] = seen[name] = value
            continue
        step = steady.get(name)
        if step is None and name == central:
            step = posterior.step(name, values, unit, contexts)
            step = step.known(step.mean)
        elif step is None:
            step = _sampled(posterior, name, values, unit, contexts, [seed, 23, place])
        if name in steady:
            steady[name] = step
        values[name] = seen[name] = posterior.measured(name, step, luck, len(unit))
        free[name] = assemble(step.mean, len(unit), posterior.nodes[name].graph.node.over, model.sizes)
    return free, seen


def _sampled(
    posterior: Posterior,
    name: str,
    values: Mapping[str, np.ndarray],
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    seed: Sequence[int],
) -> NodeStep:
    """Return one node's step, its residual sampled: the same seed gives the same in every replicate."""
    step, residual = posterior.formula(name, values, unit, contexts), posterior.nodes[name].residual
    if residual is None:
        return step
    normals = np.random.default_rng(seed).normal(size=step.mean.shape)
    if step.mean.shape[1] <= JOINT:
        return step.known(step.parametric + residual.sample(step.Z, normals))
    shift, variance = residual.predict(step.Z)
    return step.known(step.parametric + shift + np.sqrt(variance) * normals)
