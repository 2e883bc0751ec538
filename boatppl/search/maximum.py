"""Maximise any function of configurations over a `Space`: mixed, conditional and constrained ones alike."""

from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from boatppl.search.ascent import ascend
from boatppl.search.chains import chained
from boatppl.search.leaps import apart, joined, leaps
from boatppl.search.moves import NARROWEST, Front, moved, polished
from boatppl.search.trail import Floats, Gradient, Score, Trail
from boatppl.space import Space

REFINED = 6  # how many rows are refined at first; the worse half is given up round by round
APART = 0.05  # the least distance, in some coordinate, between rows refined at first
SCREENED = 128  # rows that go on after a cheaper score has ranked the first batch
ROUNDS = 40
PATIENCE = 2  # rounds without a gain, since neighbours are drawn anew


class Exhausted(ValueError):
    """Every configuration of the space is to be avoided: there is nothing left to propose."""


@dataclass(frozen=True, eq=False)
class Found:
    """The best row ``unit (coordinate,)`` that was found, its score, and how many rows were evaluated to find
    it."""

    unit: Floats
    score: float
    evaluated: int


def maximise(
    score: Score,
    space: Space,
    *,
    seed: Any,
    n_candidates: int = 512,
    starts: Floats | None = None,
    gradient: Gradient | None = None,
    screen: Score | None = None,
    leaping: bool = False,
    avoid: Floats | None = None,
    budget_seconds: float | None = None,
    tolerance: float = 1e-4,
) -> Found:
    """Return the snapped feasible row of the unit cube with the largest score that could be found.

    Quasi-random rows and the neighbourhoods of ``starts`` are scored in one batch. The best few that are
    apart from each other are refined together: by an ascent along the continuous coordinates where a gradient
    is given, and by moves of one or two parameters for everything else. It ends when rounds find nothing
    better. Every batch is one call, because a call costs far more than another row in it.

    Parameters
    ----------
    score
        Vectorised: rows ``(configuration, coordinate)`` to ``(configuration,)``; may be ``-inf``; NaN counts
        as that.
    seed
        Anything that seeds ``numpy.random.default_rng``. The same seed gives the same answer, unless time
        runs out.
    n_candidates
        How many quasi-random rows are scored first; as many more come from the neighbourhoods of ``starts``.
    starts
        Promising rows ``(start, coordinate)``, such as incumbents.
    gradient
        Rows to scores and slopes ``(configuration, coordinate)``. Slopes of coordinates that are not
        continuous only hint at moves.
    screen
        A cheaper score, good enough to rank many rows by: of the first batch the best ``SCREENED`` are
        scored.
    leaping
        Refine also what is found by leaps out of the basins of the best rows (:mod:`boatppl.search.leaps`):
        for scores of many maxima that are dear to miss. It takes about half as long again.
    avoid
        Rows ``(configuration, coordinate)`` that must not be returned: runs so far and pending ones.
    budget_seconds
        Stop refining after this long, with the best so far.
    tolerance
        Gains below it count as none; 1e-4 of a log acquisition is a ten-thousandth of the acquisition.

    Raises
    ------
    Exhausted
        If ``avoid`` holds every configuration of the space.
    """
    rng = np.random.default_rng(seed)
    trail = Trail(score, space, avoid)
    deadline = np.inf if budget_seconds is None else monotonic() + budget_seconds
    candidates = _candidates(space, rng, n_candidates, starts, 0 if avoid is None else len(avoid))
    cheap = score if screen is None else screen
    if leaping and starts is not None:
        candidates = np.concatenate([candidates, leaps(space, rng, space.snap(starts), n_candidates)])
    if screen is not None:
        candidates = _screened(trail, screen, candidates)
    kept, scores = trail.score(candidates)
    if not len(kept):
        raise Exhausted(
            "every configuration of the space has been run or is pending. Allow repeats, or widen the space."
        )
    first = apart(candidates[kept], scores, REFINED, candidates[:0], APART)
    front = Front.of(candidates[kept][first], scores[first])
    polishing = polished(space, gradient=gradient is not None)
    idle, chaining = 0, True
    for _ in range(ROUNDS if space.dimension else 0):
        if idle == PATIENCE or monotonic() > deadline:
            break
        before = trail.best_score
        if gradient is not None:
            front = ascend(trail, gradient, front, tolerance)
            if chaining:
                linked = chained(trail, gradient, front)
                chaining = bool((linked.values > front.values + tolerance).any())
                front = linked
        front = moved(trail, rng, front, gradient=gradient is not None)
        front = front.best(max(2, (len(front.rows) + 1) // 2))
        gained = trail.best_score > before + tolerance
        # the best row's steps: newcomers begin with wide ones in every round
        idle = 0 if gained or (polishing and front.widths[0] > NARROWEST) else idle + 1
        front = joined(trail, cheap, rng, front) if leaping else front
    return Found(trail.best, trail.best_score, trail.evaluated)


def _candidates(
    space: Space, rng: np.random.Generator, n: int, starts: Floats | None, avoided: int
) -> Floats:
    """Quasi-random rows, the starts and their neighbours; so many that avoided ones cannot be all of them."""
    parts = [space.sample(n + avoided if space.size < np.inf else n, rng)]
    if starts is not None and len(starts):
        parts.append(space.snap(starts))
        near = max(4, n // len(starts))
        parts += [space.neighbours(start, rng, near) for start in parts[1]]
    return np.concatenate(parts)


def _screened(trail: Trail, screen: Score, rows: Floats) -> Floats:
    """The allowed rows that are best by a cheaper score."""
    rows = np.unique(rows[trail.allowed(rows)], axis=0)
    if len(rows) <= SCREENED:
        return rows
    trail.evaluated += len(rows)
    values = screen(rows)
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")
    return rows[np.sort(order[:SCREENED])]
