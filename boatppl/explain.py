"""What a posterior says to a person: what was learned, what the residual adds, which values are as good."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.feasible import CARE
from boatppl.graph import DAG
from boatppl.node import Node
from boatppl.propagate import Luck, NodeDraws, Posterior, needed
from boatppl.search import Score
from boatppl.space import Space, Subset, Vector
from boatppl.suggest import Goal

TOLERANCE = 0.05  # of the objective: a loss below it is none
SURE = 0.8  # how probable it must be that a value loses no more, and that a run there succeeds
FINEST = 25  # values of one parameter that are looked at
ROWS = 240  # values of all parameters together

# -- what was learned -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Learned:
    """An unknown that the developer wrote: posterior ``mean`` and ``sd`` ``(*shape)``, in its own unit."""

    part: str
    name: str
    mean: np.ndarray
    sd: np.ndarray


def learned(posterior: Posterior) -> list[Learned]:
    """Return the developer's own unknowns in the order of the model's parts.

    The residuals' and noises' unknowns are not among them, nor those of nodes without a formula.
    """
    model, found = posterior.model, []
    values = {name: value for draws in posterior.nodes.values() for name, value in draws.variables.items()}
    for part in model.order:
        for full in model.unknowns[part] if has_formula(model, part) else ():
            draws = values[full]  # (draw, *shape)
            found.append(Learned(part, full.rpartition("::")[2], draws.mean(axis=0), draws.std(axis=0)))
    return found


def has_formula(model: DAG, name: str) -> bool:
    """Whether a part says more than a level: the generic model's node does not."""
    part = model.parts[name]
    return not (isinstance(part, Node) and part.standardised)


# -- what the residual adds -------------------------------------------------------------


@dataclass(frozen=True)
class Variance:
    """The shares of a node's variance over its measured rows; they add up to 1."""

    formula: float
    residual: float
    noise: float


def variance_shares(node: NodeDraws) -> Variance | None:
    """Return which share of a node's variance the formula, the residual and the noise contribute.

    For each draw, the measurements ``T(y) (row,)`` are the sum of the parametric part ``T(f)``, of the
    residual's posterior mean ``E[g | y]`` and of what is left. The share of each is its variance over the
    rows, divided by the sum of the three variances (a part against whatever the others add, as the Bayesian
    R-squared has it: Gelman et al. 2019, eq. 3), averaged over draws. So a right formula leaves the residual
    about 0, and a formula that says nothing leaves it all that is not noise. A residual that is the same in
    every row explains no variance. None for fewer than 3 rows, or where nothing varies.
    """
    table = node.table
    if len(table) < 3:
        return None
    wires = {key: value[None] for key, value in table.wires.items()}
    mean, _ = node.graph.evaluator(node.variables, wires, table.rows.elements, len(table))
    residual = np.zeros(1) if node.residual is None else node.residual.predict(table.Z)[0]
    mean, residual, y = np.broadcast_arrays(mean, residual, table.y)
    parts = np.stack([mean, residual, y - mean - residual])  # (part, draw, row)
    variance = parts.var(axis=-1)
    total = variance.sum(axis=0)
    if not (total > 0).all():
        return None
    formula, shift, noise = (variance / total).mean(axis=1)
    return Variance(float(formula), float(shift), float(noise))


# -- where the doubt is -----------------------------------------------------------------


def doubt(
    posterior: Posterior, goal: Goal, unit: np.ndarray, seed: int, contexts: Mapping[str, Any]
) -> dict[str, float]:
    """Return the share of the doubt about the noise-free objective at ``unit (coordinate,)`` that comes from
    each block, largest first.

    A block's total effect is ``E (f - f_b)^2 / 2``, where ``f_b`` has the block's draws shuffled and the
    others' kept (Jansen 1999): what is unknown of its variables and residuals. Shares are of the sum of the
    effects.
    """
    names = set(needed(posterior.model, goal.name))
    shuffled = np.roll(np.arange(posterior.draws), posterior.draws // 2)
    luck = posterior.luck([seed, 71])
    still = {name: np.zeros_like(value) for name, value in luck.noise.items()}
    own = np.random.default_rng([seed, 72]).normal(size=posterior.draws)

    def value(block: set[str]) -> np.ndarray:
        """The objective ``(draw,)`` with the draws of a block shuffled."""
        mixed = posterior.shuffled(block, shuffled)
        residual = {n: z[shuffled] if n in block else z for n, z in luck.residual.items()}
        forward = mixed.propagate(unit[None], goal.name, Luck(residual, still), contexts)
        mean, variance = forward.objective()
        z = own[shuffled] if goal.name in block else own
        return np.broadcast_to(mean[:, 0] + np.sqrt(variance[:, 0]) * z, (posterior.draws,))

    kept, effects = value(set()), {}
    for fitted in posterior.blocks:
        inside = {node.name for node in fitted.density.block.nodes} & names
        if inside:
            change = np.square(kept - value(inside))
            effects[" and ".join(n for n in posterior.nodes if n in inside)] = float(np.nanmean(change)) / 2
    total = sum(effects.values())
    if not (np.isfinite(total) and total > 0):
        return {}
    return {name: effects[name] / total for name in sorted(effects, key=lambda name: -effects[name])}


# -- which values are as good -----------------------------------------------------------


@dataclass(frozen=True)
class AsGood:
    """The values of one parameter that are as good as the best one's, the others held.

    ``values`` are the best value and neighbours of it in their order (any levels of a categorical); of a
    simplex the smallest and the largest share of every element, the others in their proportions; of a subset
    whether each may be out and may be in, the others as in the best. ``all``
    tells that they are all there are: the parameter does not matter here.
    """

    values: tuple[Any, ...]
    all: bool


def as_good(
    space: Space,
    goal: Goal,
    best: Mapping[str, Any],
    noise_free: Callable[[np.ndarray], np.ndarray],
    tolerance: float = TOLERANCE,
    feasible: Score | None = None,
) -> dict[str, AsGood]:
    """Return for every parameter that moves in the best configuration which of its values are as good.

    A value is as good where the posterior is at least ``SURE`` that the noise-free objective there loses at
    most ``tolerance`` (of its size) against the best. What the posterior does not know is not called as good,
    nor is what may fail (:func:`surely`).

    Parameters
    ----------
    noise_free
        From rows of the unit cube ``(configuration, coordinate)`` to joint draws of the objective ``(draw,
        configuration)``, in its unit.
    feasible
        ``CARE`` times the log probability that a run succeeds and keeps the limits ``(configuration,)``; None
        where nothing speaks against any configuration.
    """
    [centre] = space.encode([best])
    active = [name for name in space.slices if space.active(centre[None], name)[0]]
    whole = {name: p for name in active if isinstance(p := space.parameters[name], Vector)}
    lines = len(active) - len(whole) + sum(vector.n for vector in whole.values())
    count = max(5, min(FINEST, ROWS // max(lines, 1)))
    ladders = {name: [_ladder(space, name, centre, count)] for name in active if name not in whole}
    for name, vector in whole.items():
        if isinstance(vector, Subset):
            ladders[name] = _members_ladders(space, name, best, vector.least)
        else:
            ladders[name] = _shares_ladders(space, name, best, count)
    rows = np.concatenate([centre[None], *(ladder for several in ladders.values() for ladder in several)])
    draws = noise_free(rows)
    loss = goal.sign * (draws - draws[:, :1]) / abs(np.nanmedian(draws[:, 0]))
    good = (np.mean(loss <= tolerance, axis=0) >= SURE) & space.feasible(rows) & surely(feasible, rows)
    found, first = {}, 1
    for name, several in ladders.items():
        mine = []
        for ladder in several:
            mine.append(good[first : first + len(ladder)])
            first += len(ladder)
        kept = _good_elements if name in whole else _good_values
        found[name] = kept(space, name, centre, several, mine)
    return found


def surely(feasible: Score | None, rows: np.ndarray) -> np.ndarray:
    """Return at which ``rows (configuration, coordinate)`` a run is ``SURE`` to succeed and to keep the
    limits, or as sure as at the first of them."""
    if feasible is None:
        return np.ones(len(rows), bool)
    scores = feasible(rows)
    return np.asarray(scores >= min(scores[0], CARE * np.log(SURE)))


def _good_values(
    space: Space, name: str, centre: np.ndarray, ladders: Sequence[np.ndarray], good: Sequence[np.ndarray]
) -> AsGood:
    """Return the values of a ladder ``(value, coordinate)`` that are good ``(value,)``, around the best."""
    [ladder], [mine], column = ladders, good, space.slices[name].start
    here = int(np.argmin(np.abs(ladder[:, column] - centre[column])))
    mine[here] = True
    chosen = np.flatnonzero(mine) if space.parameters[name].columns > 1 else _around(mine, here)
    if len(chosen) < 3 and len(ladder) < (space.parameters[name].levels or np.inf):
        chosen = np.array([here])  # the next place of a coarse ladder is no range
    values = [configuration[name] for configuration in space.decode(ladder[chosen])]
    return AsGood(tuple(values), bool(mine.all()) and len(ladder) > 1)


def _good_elements(
    space: Space, name: str, centre: np.ndarray, ladders: Sequence[np.ndarray], good: Sequence[np.ndarray]
) -> AsGood:
    """Return the smallest and largest good value of every element of a vector, from a ladder for each."""
    [best] = space.decode(centre[None])
    low, high, kind = list(best[name]), list(best[name]), type(best[name][0])
    for element, (ladder, mine) in enumerate(zip(ladders, good, strict=True)):
        share = np.array([float(configuration[name][element]) for configuration in space.decode(ladder)])
        here = int(np.argmin(np.abs(share - best[name][element])))
        mine[here] = True
        chosen = _around(mine, here)
        low[element], high[element] = kind(share[chosen[0]]), kind(share[chosen[-1]])
    every = all(mine.all() for mine in good)
    return AsGood((low, high) if low != high else (best[name],), every)


def _shares_ladders(space: Space, name: str, best: Mapping[str, Any], count: int) -> list[np.ndarray]:
    """Return for every element of a simplex the rows ``(value, coordinate)`` of its share from 0 to 1 in
    order, what is left divided among the others as in the best."""
    shares = np.array(best[name])
    ladders = []
    for element in range(len(shares)):
        others = np.delete(shares, element)
        others = others / others.sum() if others.sum() > 0 else np.full(len(others), 1.0 / len(others))
        places = np.unique([*np.linspace(0, 1, count), shares[element]])
        values = [np.insert(others * (1.0 - place), element, place) for place in places]
        ladders.append(space.encode([{**best, name: list(value / value.sum())} for value in values]))
    return ladders


def _members_ladders(space: Space, name: str, best: Mapping[str, Any], least: int) -> list[np.ndarray]:
    """Return for every element of a subset the rows ``(value, coordinate)`` without it and with it, as far as
    at least so many are taken."""
    taken, ladders = best[name], []
    for element in range(len(taken)):
        values = [[*taken[:element], on, *taken[element + 1 :]] for on in (False, True)]
        ladders.append(space.encode([{**best, name: value} for value in values if sum(value) >= least]))
    return ladders


def _ladder(space: Space, name: str, centre: np.ndarray, count: int) -> np.ndarray:
    """Return the rows ``(value, coordinate)`` of one parameter's values in order, the others held."""
    column, levels = space.slices[name].start, space.parameters[name].levels
    places = np.linspace(0, 1, count)
    if levels is not None and levels <= count:
        places = (np.arange(levels) + 0.5) / levels
    rows = np.tile(centre, (len(places) + 1, 1))
    rows[1:, column] = places
    distinct = np.unique(space.snap(rows), axis=0)
    return distinct[np.argsort(distinct[:, column], kind="stable")]


def _around(good: np.ndarray, here: int) -> np.ndarray:
    """Return the places without a gap around ``here`` that are good."""
    low = high = here
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    return np.arange(low, high + 1)
