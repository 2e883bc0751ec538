"""Draws of every node at given configurations, joint over configurations."""

from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any, NamedTuple

import numpy as np

from boatppl.graph import DAG
from boatppl.propagate import Luck, NodeStep, Posterior, needed
from boatppl.rows import assemble
from boatppl.transform import Transform
from boatppl.words import ModelError, listed, nearest

REPLICATES = 16  # of the noise, where it is averaged out within each draw
AT_ONCE = 2**18  # draws times rows of a pass: 2 MB still lie near the processor
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
    """
    model = posterior.model
    known = [name for name in model.order if name in model.nodes or name in model.derived]
    names = known if target is None else needed(model, target)
    held = do or {}
    if noise:
        runs = posterior.luck_of_runs(np.random.default_rng([seed, 21]), len(unit))
        return _one_pass(posterior, unit, contexts, names, seed, [runs], held, {}).seen
    return _averaged(posterior, unit, contexts, names, seed, target, held)[0]


class NoiseFree(NamedTuple):
    """A quantity without noise at some configurations, in its unit: joint ``draws (draw, configuration)`` of
    it, and ``central`` ones to choose a configuration by.

    In a central draw the quantity's own residual is not sampled but has its mean, so that configurations are
    compared without that Monte-Carlo error (Rao-Blackwell).
    """

    draws: np.ndarray
    central: np.ndarray


def noise_free(
    posterior: Posterior, unit: np.ndarray, contexts: Mapping[str, Any], seed: int, target: str
) -> NoiseFree:
    """Return a node or derived quantity without noise, as :func:`predictive` has it, and to choose by."""
    names = needed(posterior.model, target)
    free, central = _averaged(posterior, unit, contexts, names, seed, target, {})
    return NoiseFree(free[target], central.get(target, free[target]))


def _averaged(
    posterior: Posterior,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    names: Sequence[str],
    seed: int,
    target: str | None,
    held: Mapping[str, np.ndarray],
) -> tuple[Draws, Draws]:
    """Return the noise-free values of quantities, parents' noise averaged out; and the target's central ones,
    where it is a node."""
    noisy = {name for name in names if name in posterior.nodes and name != target and name not in held}
    # What no parent's noise reaches is the same in every replicate.
    steady: dict[str, _Step | None] = {
        name: None for name in names if not noisy & {*needed(posterior.model, name)} - {name}
    }
    lucks = posterior.strata([seed, 22], REPLICATES if noisy else 1)
    total: Draws = {}
    central: Draws = {}
    for some in batched(lucks, _at_once(posterior, len(unit), len(lucks))):
        found = _one_pass(posterior, unit, contexts, names, seed, some, held, steady, target)
        for sums, values in ((total, found.free), (central, found.central)):
            for name, value in values.items():
                each = value.reshape(len(value), len(some), len(unit), *value.shape[2:])
                sums[name] = sums.get(name, 0.0) + each.sum(axis=1) / len(lucks)
    transforms = posterior.transforms
    free = {name: transforms.get(name, Transform()).inverse(value) for name, value in total.items()}
    free |= {n: np.broadcast_to(value, free[n].shape) for n, value in held.items() if n in free}
    return free, {name: transforms[name].inverse(value) for name, value in central.items()}


def _at_once(posterior: Posterior, n: int, replicates: int) -> int:
    """Return how many replicates of ``n`` configurations, a power of two, go through the DAG at once: a pass
    costs the same whether it has few rows or one."""
    while replicates > 1 and posterior.draws * n * posterior.widest * replicates > AT_ONCE:
        replicates //= 2
    return replicates


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


class _Step(NamedTuple):
    """A node's step: its residual sampled, and where that has its mean ``(draw, row)``."""

    sampled: NodeStep
    mean: np.ndarray


class _Pass(NamedTuple):
    """Noise-free values and the target's central ones (transformed scale), measured values (natural unit)."""

    free: Draws
    central: Draws
    seen: Draws


def _one_pass(
    posterior: Posterior,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    names: Sequence[str],
    seed: int,
    lucks: Sequence[Luck],
    held: Mapping[str, np.ndarray],
    steady: dict[str, _Step | None],
    target: str | None = None,
) -> _Pass:
    """Push every draw through some quantities, once for each luck: ``(draw, luck and configuration, *dims)``.

    ``steady`` has the names of nodes that are the same whatever the luck, and keeps their steps from the
    first pass.
    """
    model, copies = posterior.model, len(lucks)
    luck = _joined(lucks, len(unit))
    unit = np.tile(unit, (copies, 1))
    contexts = {n: np.tile(v, copies) if np.ndim(v) else v for n, v in contexts.items()}
    values = dict(model.inputs(unit, contexts))
    found = _Pass({}, {}, {})
    for place, name in enumerate(names):
        if name in held:
            value = np.broadcast_to(held[name], (posterior.draws, len(unit), *np.shape(held[name])))
            values[name] = found.seen[name] = value
            found.free[name] = posterior.transforms.get(name, Transform()).forward(value)
            continue
        if name in model.derived:
            value = model.evaluate_derived(name, values)
            value = np.broadcast_to(value, (posterior.draws, len(unit), *value.shape[2:]))
            values[name] = found.free[name] = found.seen[name] = value
            continue
        step = steady.get(name)
        if step is None:
            formula = posterior.formula(name, values, unit, contexts)
            of_all = copies if name in steady else 1  # so many copies are alike
            step = _sampled(posterior, name, formula, [seed, 23, place], copies, of_all, name == target)
        if name in steady:
            steady[name] = step
        over = posterior.nodes[name].graph.node.over
        values[name] = found.seen[name] = posterior.measured(name, step.sampled, luck, len(unit))
        found.free[name] = assemble(step.sampled.mean, len(unit), over, model.sizes)
        if name == target:
            found.central[name] = assemble(step.mean, len(unit), over, model.sizes)
    return found


def _joined(lucks: Sequence[Luck], n: int) -> Luck:
    """Return the luck of ``n`` configurations under each luck in turn."""
    if len(lucks) == 1:
        return lucks[0]
    noise = {
        name: np.repeat(np.stack([luck.noise[name] for luck in lucks], axis=1), n, axis=1)
        for name in lucks[0].noise
    }
    return Luck(lucks[0].residual, noise)


def _sampled(
    posterior: Posterior,
    name: str,
    step: NodeStep,
    seed: Sequence[int],
    copies: int,
    alike: int,
    central: bool,
) -> _Step:
    """Sample a node's residual, of which ``step`` is without, jointly over the rows of each of its copies.

    The same seed gives the same normal numbers in every copy; ``alike`` of the copies have the same rows.
    """
    residual = posterior.nodes[name].residual
    if residual is None:
        return _Step(step, step.mean)
    rows = step.mean.shape[1] // copies
    normals = np.random.default_rng(seed).normal(size=(len(step.mean), rows))
    jointly = rows <= JOINT
    shift, variance = residual.predict(step.Z) if central or not jointly else (0.0, 0.0)
    if jointly:
        parts = np.split(step.Z, copies, axis=1)[::alike]
        found = [residual.sample(np.ascontiguousarray(Z), normals) for Z in parts]
        sampled = np.tile(np.concatenate(found, axis=1), (1, alike))
    else:
        sampled = shift + np.sqrt(variance) * np.tile(normals, (1, copies))
    return _Step(step.known(step.parametric + sampled), step.parametric + shift)
