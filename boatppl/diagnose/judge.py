"""One node judged: what explains the error of its formula, one cause after the other."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from boatppl.diagnose import columns, sentences
from boatppl.diagnose.components import (
    DEGREES,
    Base,
    base,
    beside,
    gain,
    heavy_density,
    left_out,
    linear,
    noise_of,
    normal_density,
    scaled,
    smooth,
    uneven,
    with_component,
    with_noise,
)
from boatppl.diagnose.diagnosis import Finding
from boatppl.diagnose.formula import Formula, conflict
from boatppl.graph import DAG
from boatppl.priors import resolution
from boatppl.propagate import NodeDraws
from boatppl.table import Measured

FEWEST = 8  # rows of a node that can be judged
STEPS = 4  # causes that one node may have
STANDS_FOR = 5.0  # nats: another node follows the parameters, and may stand for one of them
TRACE = 0.01  # share of the variance; an effect below it, and not above the noise, is not worth a word
SMALL = 0.1  # share of the variance below which a residual is what residuals are for,
ABOVE = 2.0  # unless it moves the node by more than so many deviations of the noise


@dataclass(frozen=True, eq=False)
class Cause:
    """One possible cause: its evidence, the covariance with it, and how to say it (None: not worth it)."""

    nats: float
    known: Base
    say: Callable[[], Finding | None]
    key: tuple[str, str]


@dataclass(frozen=True, eq=False)
class Judged:
    """A node's findings, and its error at each row, standardised, given all other rows ``(row,)``."""

    findings: list[Finding]
    errors: np.ndarray


def judge(
    model: DAG,
    data: Measured,
    formula: Formula,
    parents: Mapping[str, np.ndarray],
    threshold: float,
) -> Judged:
    """Explain the error of a node's formula step by step, the cause with the most evidence first.

    The formula is fitted freely, so that its priors are not blamed for its shape nor its shape for them;
    whether the priors allow that fit is asked at the end. ``parents``: parent -> its own error ``(row,)``.
    """
    node = formula.node
    name, D = node.graph.name, noise_shape(node)
    theta = formula.fit(np.diag(1.0 / D))
    known = base(D, formula.slopes(theta))
    Ks = _components(model, data, node, parents)
    findings: list[Finding] = []
    done: set[tuple[str, str]] = set()
    if node.graph.node.standardised:  # it has no formula: its residual is expected to explain
        known, done = _with_residual(known, formula, theta, Ks)
    least = resolution(node.graph.node, node.graph.scale)
    for _ in range(STEPS):
        residual = node.table.y - formula.mean(theta[None])[0]
        if np.abs(residual).max() < least:  # the formula fits exactly
            break
        causes = [c for c in _causes(model, formula, known, residual, theta, Ks) if c.key not in done]
        best = max(causes, key=lambda cause: cause.nats, default=None)
        if best is None or best.nats < threshold:
            break
        finding = best.say()
        findings += [finding] if finding is not None else []
        done |= {best.key}
        theta = formula.fit(np.linalg.inv(np.linalg.cholesky(best.known.C)), theta)
        known = replace(best.known, Q=beside(formula.slopes(theta)))
    residual = node.table.y - formula.mean(theta[None])[0]
    # Priors are judged as if the shape were right: where it is not, that comes first.
    shape = [f.nats for f in findings if f.cause in ("formula", "missing edge")]
    for finding in _conflicts(name, formula, theta, known, residual, threshold, least):
        findings.append(replace(finding, nats=min([finding.nats, *(0.99 * nats for nats in shape)])))
    fits = np.abs(residual).max() < least
    return Judged(findings, np.zeros_like(residual) if fits else left_out(known, residual))


def noise_shape(node: NodeDraws) -> np.ndarray:
    """Return the noise's relative deviation at each row ``(row,)``, as the posterior has it."""
    table = node.table
    wires = {key: value[None] for key, value in table.wires.items()}
    _, noise = node.graph.evaluator(node.variables, wires, table.rows.elements, len(table))
    D = np.broadcast_to(noise, (len(noise), len(table))).mean(axis=0)
    return np.asarray(D / np.exp(np.log(D).mean()))


@dataclass(frozen=True, eq=False)
class Component:
    """A possible component: cause, what it is along, its columns ``(row, column)`` and covariance."""

    cause: str
    what: str
    columns: np.ndarray
    K: np.ndarray


def _components(
    model: DAG, data: Measured, node: NodeDraws, parents: Mapping[str, np.ndarray]
) -> list[Component]:
    """Return every component that a node's error may have."""
    name, found = node.graph.name, []
    own = {what: columns.column(model, data, node, what) for what in columns.own_inputs(model, name)}
    there = {what: each for what, each in own.items() if each is not None}
    found += [Component("formula", what, each, smooth(each)) for what, each in there.items()]
    if len(there) > 1:
        together = _together(there.values())
        found.append(Component("formula", "", together, smooth(together)))
    for what in columns.other_inputs(model, name):
        each = columns.column(model, data, node, what)
        if each is not None:
            found.append(Component("missing edge", what, each, smooth(each)))
            if there:  # what it does may depend on the node's own inputs
                joint = smooth(_together([each, *there.values()]))
                found.append(Component("missing edge", what, each, joint))
    for dim in node.graph.node.over:
        each = columns.element_columns(node, dim, model.sizes[dim])
        found.append(Component("missing edge", dim, each, smooth(each)))
    for what, error in parents.items():
        if what in own:
            found.append(Component("parent error", what, error[:, None], linear(error)))
    order = node.table.trials.astype(float)
    order = (order - order.min()) / max(np.ptp(order), 1.0)
    found.append(Component("drift", "time", order[:, None], smooth(order[:, None])))
    return found


def _together(inputs: Collection[np.ndarray]) -> np.ndarray:
    """Return the columns ``(row, column)`` of several inputs, as far apart as one of them alone would be."""
    return np.concatenate(list(inputs), axis=1) / np.sqrt(len(inputs))


def _causes(
    model: DAG,
    formula: Formula,
    known: Base,
    residual: np.ndarray,
    theta: np.ndarray,
    components: list[Component],
) -> list[Cause]:
    """Return every possible cause of a residual ``(row,)`` with its evidence."""
    node = formula.node
    name, y, exact = node.graph.name, node.table.y, node.graph.node.deterministic
    found = []
    gains: dict[str, float] = {}
    for component in components:
        K = scaled(component.K, known.Q)
        nats, variance = gain(known, residual, K)
        if component.cause == "formula":
            gains[component.what] = nats
        wider = with_component(known, K, variance)
        if component.cause == "missing edge" and component.what in model.nodes:
            nats -= STANDS_FOR

        def say(component: Component = component, nats: float = nats, K: np.ndarray = variance * K,
                wider: Base = wider) -> Finding | None:  # fmt: skip
            effect = K @ (wider.Q @ np.linalg.solve(wider.Q.T @ wider.C @ wider.Q, wider.Q.T @ residual))
            effect = wider.Q @ (wider.Q.T @ effect)  # the formula's unknowns can follow the rest
            noise = wider.variance(residual)
            least = TRACE * np.var(y) if exact else min(TRACE * np.var(y), 2.0 * noise)
            if component.cause == "formula":
                least = min(SMALL * np.var(y), max(TRACE * np.var(y), ABOVE**2 * noise))
            small = np.var(effect) < least
            return None if small else _said(model, name, component, components, gains, effect, y, nats)

        found.append(Cause(nats, wider, say, (component.cause, component.what)))
    if not (exact or node.graph.node.noise_arguments):
        found.append(_uneven(formula, known, residual, theta))
    if not (exact or node.graph.node.robust):
        found.append(_tails(formula, known, residual, theta))
    return found


def _uneven(formula: Formula, known: Base, residual: np.ndarray, theta: np.ndarray) -> Cause:
    """Return noise that grows or falls with the mean, or with its logarithm where that says more."""
    node, fitted = formula.node.graph.node, formula.mean(theta[None])[0]
    scales = [fitted, np.log(fitted)] if node.transform != "log" and (fitted > 0).all() else [fitted]
    columns_ = [(each - each.mean()) / np.std(each) for each in scales if np.std(each) > 1e-12]
    tried = [(*uneven(known, residual, at), at) for at in columns_]
    if not tried:
        return Cause(-np.inf, known, lambda: None, ("noise", ""))
    nats, slope, at = max(tried, key=lambda each: each[0])
    other = with_noise(known, known.D * np.exp(slope * at))
    return Cause(
        nats, other, lambda: sentences.uneven_noise(node.name, slope, node.transform, nats), ("noise", "")
    )


def _tails(formula: Formula, known: Base, residual: np.ndarray, theta: np.ndarray) -> Cause:
    """Return heavy-tailed noise, the formula fitted under it by reweighting (Lange et al. 1989)."""
    wide, normal = known, normal_density(noise_of(known, residual))
    for _ in range(8):
        errors = noise_of(wide, residual) * wide.D / known.D
        density, scale = heavy_density(errors)
        D = known.D * np.sqrt((DEGREES + (errors / scale) ** 2) / (DEGREES + 1.0))
        wide = with_noise(known, D)
        theta = formula.fit(np.linalg.inv(np.linalg.cholesky(wide.C)), theta, steps=3)
        residual = formula.node.table.y - formula.mean(theta[None])[0]
    name, trials = formula.node.graph.name, formula.node.table.trials
    nats = density - normal
    return Cause(nats, wide, lambda: sentences.outliers(name, errors / scale, trials, nats), ("outliers", ""))


def _said(
    model: DAG,
    name: str,
    component: Component,
    components: list[Component],
    gains: Mapping[str, float],
    effect: np.ndarray,
    y: np.ndarray,
    nats: float,
) -> Finding | None:
    """Return a component's finding; None for one too small to act on."""
    share = float(min(np.var(effect) / np.var(y), 1.0))
    what, at = component.what, component.columns
    if component.cause == "formula":
        if not what:
            single = (each for each in components if each.cause == "formula" and each.what)
            best = max(single, key=lambda each: gains[each.what])
            what, at = best.what, best.columns
        where, used = columns.where_largest(at, effect), columns.in_formula(model, name, what)
        return sentences.formula_lacks(name, what, share, where, used, nats)
    if component.cause == "missing edge":
        return sentences.missing_edge(name, what, share, columns.where_largest(at, effect), nats)
    if component.cause == "parent error":
        return sentences.parent_error(name, what, share, nats)
    return sentences.drift(name, share, nats)


def _with_residual(
    known: Base, formula: Formula, theta: np.ndarray, components: list[Component]
) -> tuple[Base, set[tuple[str, str]]]:
    """Return the covariance with the node's own residual in it, and the causes that it stands for."""
    own = [component for component in components if component.cause == "formula"]
    residual = formula.node.table.y - formula.mean(theta[None])[0]
    found = [(gain(known, residual, scaled(each.K, known.Q)), each) for each in own]
    if found:
        (_, variance), best = max(found, key=lambda pair: pair[0][0])
        known = with_component(known, scaled(best.K, known.Q), variance)
    return known, {(each.cause, each.what) for each in own}


def _conflicts(
    name: str,
    formula: Formula,
    theta: np.ndarray,
    known: Base,
    residual: np.ndarray,
    threshold: float,
    least: float,
) -> list[Finding]:
    """Return the prior that keeps the formula from fitting, if one does; no noise is below ``least``."""
    if not len(theta):
        return []
    deviation = max(np.sqrt(known.variance(residual)), least)
    root = np.linalg.inv(np.linalg.cholesky(known.C)) / deviation
    found = conflict(formula, theta, root, len(residual))
    if found is None or found.nats < threshold:
        return []
    column = formula.posterior[:, formula.labels.index(found.label)]
    width = 0.05 * (found.high - found.low)
    near = column > found.high - width if found.wanted > found.high else column < found.low + width
    return [sentences.prior_in_the_way(name, found, float(near.mean()))]
