"""Maximise any function of configurations over a `Space`: mixed, conditional and constrained ones alike.

Quasi-random points and the neighbourhoods of promising ones are scored in one batch; the best few that are
not neighbours of each other are refined together, by a projected quasi-Newton ascent along the continuous
coordinates where a gradient is given, and by moves of one or two parameters for everything else, until
neither finds anything better. Every batch is one call of the function, because a call costs far more than
another row in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from boatppl.space import Space

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]
Gradient = Callable[[Floats], tuple[Floats, Floats]]

SAME = 1e-6  # configurations nearer than this in every coordinate are one configuration
REFINED = 6  # how many points are refined at first; the worse half is given up round by round
APART = 0.05  # the least distance, in some coordinate, between points refined at first
ROUNDS = 40
ASCENT_STEPS = 24  # batches of gradients in the ascent of one round
MEMORY = 6  # pairs the quasi-Newton direction remembers
FIRST_STEP, LARGEST_STEP = 0.05, 0.25  # in the unit cube, in the coordinate that moves most
WIDEST, NARROWEST = 0.05, 2e-4  # Gaussian steps that polish continuous coordinates


class Exhausted(ValueError):
    """Every configuration of the space is to be avoided: there is nothing left to propose."""


@dataclass(frozen=True, eq=False)
class Found:
    """The best row (coordinate,) that was found, its score, and how many rows were evaluated to find it."""

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
    avoid: Floats | None = None,
    budget_seconds: float | None = None,
    tolerance: float = 1e-4,
) -> Found:
    """Return the snapped feasible row of the unit cube with the largest score that could be found.

    Parameters
    ----------
    score
        Vectorised: rows ``(configuration, coordinate)`` to ``(configuration,)``; may be ``-inf``, and NaN
        counts as that.
    seed
        Anything that seeds ``numpy.random.default_rng``. The same seed gives the same answer, unless time
        runs out.
    n_candidates
        How many quasi-random points are scored first; half as many more come from the neighbourhoods of
        ``starts``.
    starts
        Promising rows ``(start, coordinate)``, such as incumbents.
    gradient
        Rows to scores and slopes ``(configuration, coordinate)``. Slopes of coordinates that are not
        continuous only hint at moves.
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
    trail = _Trail(score, space, avoid)
    deadline = np.inf if budget_seconds is None else monotonic() + budget_seconds
    begun = _first_candidates(space, rng, n_candidates, starts, 0 if avoid is None else len(avoid))
    rows, values = trail.score(begun)
    if not len(rows):
        raise Exhausted(
            "every configuration of the space has been run or is pending. Allow repeats, or widen the space."
        )
    rows, values = _apart(rows, values)
    widths = np.full(len(rows), WIDEST)
    for _ in range(ROUNDS):
        if monotonic() > deadline or not space.dimension:
            break
        before = values.copy()
        slopes = np.zeros_like(rows)
        if gradient is not None:
            rows, values, slopes = _ascend(trail, gradient, rows, values, tolerance)
        rows, values, polished = _moved(trail, rng, rows, values, slopes, widths, smooth=gradient is not None)
        gained = ~(values <= before + tolerance)
        widths = np.where(polished, 1.5 * widths, 0.4 * widths)
        if not gained.any() and (widths < NARROWEST).all():
            break
        order = np.argsort(-values, kind="stable")[: max(2, (len(rows) + 1) // 2)]
        rows, values, widths = rows[order], values[order], widths[order]
    return Found(trail.best, trail.best_score, trail.evaluated)


def _first_candidates(
    space: Space, rng: np.random.Generator, n: int, starts: Floats | None, avoided: int
) -> Floats:
    """Quasi-random rows, the starts and their neighbours; so many that avoided ones cannot be all of them."""
    parts = [space.sample(n + avoided if space.size < np.inf else n, rng)]
    if starts is not None and len(starts):
        parts.append(space.snap(starts))
        near = max(4, n // (2 * len(starts)))
        parts += [space.neighbours(start, rng, near) for start in parts[1]]
    return np.concatenate(parts)


class _Trail:
    """What was scored so far: no row twice, none that is infeasible or to be avoided, and the best one."""

    def __init__(self, score: Score, space: Space, avoid: Floats | None) -> None:
        self.space, self.evaluated = space, 0
        self._score = score
        self._seen: set[bytes] = set()
        self._avoid = None if avoid is None or not len(avoid) else space.snap(avoid)
        self._tree = KDTree(self._avoid) if self._avoid is not None and space.dimension else None
        self.best, self.best_score = np.zeros(space.dimension), -np.inf
        self._empty = True

    def allowed(self, rows: Floats) -> NDArray[np.bool_]:
        """Which rows (configuration,) are feasible and not to be avoided."""
        good = self.space.feasible(rows)
        if self._tree is not None:
            distance, _ = self._tree.query(rows, p=np.inf, distance_upper_bound=SAME)
            good &= ~np.isfinite(distance)
        elif self._avoid is not None:  # a space without coordinates has one configuration
            good &= False
        return good

    def score(self, rows: Floats) -> tuple[Floats, Floats]:
        """The rows that are new and allowed, in their order, with their scores."""
        fresh = []
        for i, row in enumerate(np.ascontiguousarray(rows)):
            key = row.tobytes()
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(i)
        rows = rows[fresh]
        rows = rows[self.allowed(rows)] if len(rows) else rows
        if not len(rows):
            return rows, np.zeros(0)
        values = np.asarray(self._score(rows), dtype=np.float64)
        return rows, self.note(rows, values)

    def note(self, rows: Floats, values: Floats) -> Floats:
        """Take down scores (configuration,) of allowed rows; gives them with NaN as -inf."""
        values = np.where(np.isnan(values), -np.inf, values)
        self.evaluated += len(rows)
        top = int(values.argmax())
        if self._empty or values[top] > self.best_score:
            self.best, self.best_score, self._empty = rows[top].copy(), float(values[top]), False
        return values


def _apart(rows: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The best rows that differ from each other by more than `APART` in some coordinate."""
    chosen: list[int] = []
    for i in np.argsort(-values, kind="stable"):
        if len(chosen) == REFINED or (chosen and values[i] == -np.inf):
            break
        if not chosen or np.abs(rows[chosen] - rows[i]).max(axis=1, initial=0.0).min() > APART:
            chosen.append(int(i))
    return rows[chosen], values[chosen]


def _moved(
    trail: _Trail,
    rng: np.random.Generator,
    rows: Floats,
    values: Floats,
    slopes: Floats,
    widths: Floats,
    *,
    smooth: bool,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Each row replaced by the best of its neighbours if that is better, and which were bettered by a
    Gaussian step.

    The neighbours are those of the space, Gaussian steps of the row's own width along continuous coordinates
    (`smooth` rows need them only along constraints, which know no gradient), and jumps along the slopes of
    the others.
    """
    space = trail.space
    continuous = space.continuous
    count = int(np.clip(4 * space.dimension, 16, 64)) if not (smooth and continuous.all()) else 8
    parts: list[Floats] = []
    owners: list[tuple[int, bool]] = []
    polishing = continuous.any() and (not smooth or bool(space.constraints))
    for i, row in enumerate(rows):
        near = [
            space.neighbours(row, rng, count),
            space.snap(_jumps(row, np.where(continuous, 0.0, slopes[i]))),
        ]
        fine = space.snap(_gaussian(row, continuous, widths[i], rng)) if polishing else rows[:0]
        parts += [*near, fine]
        owners += [(i, False)] * sum(map(len, near)) + [(i, True)] * len(fine)
    moved = np.concatenate(parts)
    found, scores = trail.score(np.concatenate([moved]))
    owner = dict(zip((row.tobytes() for row in np.ascontiguousarray(moved)), owners, strict=True))
    rows, values = rows.copy(), values.copy()
    polished = np.zeros(len(rows), dtype=bool)
    for row, value in zip(np.ascontiguousarray(found), scores, strict=True):
        i, fine_step = owner[row.tobytes()]
        if value > values[i]:
            rows[i], values[i], polished[i] = row, value, fine_step
    return rows, values, polished


def _jumps(row: Floats, slope: Floats) -> Floats:
    """Rows (jump, coordinate) along `slope` (coordinate,), none where it is flat."""
    largest = np.abs(slope).max(initial=0.0)
    if not np.isfinite(largest) or largest == 0.0:
        return np.empty((0, len(row)))
    steps = np.array([0.01, 0.03, 0.1, 0.3])[:, None]
    alone = np.where(np.abs(slope) == largest, slope, 0.0)
    return np.clip(np.concatenate([row + steps * slope / largest, row + steps * alone / largest]), 0.0, 1.0)


def _gaussian(row: Floats, continuous: NDArray[np.bool_], width: float, rng: np.random.Generator) -> Floats:
    """Rows (step, coordinate) around `row`: one, two or all continuous coordinates disturbed."""
    places = np.flatnonzero(continuous)
    sizes = [1, 1, 1, 1, 2, 2, 2, 2, len(places), len(places), len(places), len(places)]
    rows = np.repeat(row[None], len(sizes), axis=0)
    for i, size in enumerate(sizes):
        moving = rng.choice(places, size=min(size, len(places)), replace=False)
        rows[i, moving] += width * 2.0 ** rng.uniform(-2, 1) * rng.standard_normal(len(moving))
    return np.clip(rows, 0.0, 1.0)


def _ascend(
    trail: _Trail, gradient: Gradient, rows: Floats, values: Floats, tolerance: float
) -> tuple[Floats, Floats, Floats]:
    """All rows climbed at once along continuous coordinates; gives rows, scores and the slopes there.

    Projected L-BFGS (Nocedal 1980; bounds by Bertsekas 1982) with a backtracking step of its own for each
    row, so that one call of `gradient` serves all. A step that leaves the feasible region or meets NaN is cut
    like one that loses.
    """
    space, climbing = trail.space, trail.space.continuous
    scores, slopes = gradient(rows)
    trail.evaluated += len(rows)
    if not climbing.any():
        return rows, values, slopes
    climb = _Climb(rows, np.where(np.isnan(scores), -np.inf, scores), slopes, climbing)
    for _ in range(ASCENT_STEPS):
        active = np.flatnonzero(climb.open)
        if not len(active):
            break
        tried = space.snap(climb.proposals(active))
        good = trail.allowed(tried)
        new_scores, new_slopes = np.full(len(active), -np.inf), np.zeros((len(active), space.dimension))
        if good.any():
            new_scores[good], new_slopes[good] = gradient(tried[good])
            new_scores[good] = trail.note(tried[good], new_scores[good])
        climb.judge(active, tried, new_scores, new_slopes, tolerance)
    better = climb.scores > values
    return np.where(better[:, None], climb.rows, rows), np.where(better, climb.scores, values), climb.slopes


class _Climb:
    """The state of a batched ascent: for each row its place, slope, step length and remembered curvature."""

    def __init__(self, rows: Floats, scores: Floats, slopes: Floats, climbing: NDArray[np.bool_]) -> None:
        count, dimension = rows.shape
        self.rows, self.scores, self.slopes = rows.copy(), scores, slopes.copy()
        self.climbing = climbing
        self.steps = np.ones(count)
        self.moves = np.zeros((count, MEMORY, dimension))  # (row, pair, coordinate), newest last
        self.bends = np.zeros((count, MEMORY, dimension))
        self.directions = np.zeros((count, dimension))
        self.open = np.isfinite(scores)
        self._aim(np.arange(count))

    def proposals(self, active: NDArray[np.intp]) -> Floats:
        """Where each active row tries to go (active, coordinate)."""
        return np.clip(self.rows[active] + self.steps[active, None] * self.directions[active], 0.0, 1.0)

    def judge(
        self, active: NDArray[np.intp], tried: Floats, scores: Floats, slopes: Floats, tolerance: float
    ) -> None:
        """Take the steps that gain enough (Armijo 1966), cut the others, close rows that have no more to
        gain."""
        move = tried - self.rows[active]
        promised = (np.where(self.climbing, self.slopes[active], 0.0) * move).sum(axis=1)
        gain = scores - self.scores[active]
        finite = np.isfinite(slopes).all(axis=1) & np.isfinite(scores)
        taken = finite & (gain > 0) & (gain >= 1e-4 * promised)
        cut = active[~taken]
        self.steps[cut] *= 0.25
        self.open[cut] &= self.steps[cut] * np.abs(self.directions[cut]).max(axis=1) > 1e-7
        here = active[taken]
        if not len(here):
            return
        bend = self.slopes[here] - slopes[taken]
        self._remember(here, move[taken], np.where(self.climbing, bend, 0.0))
        self.rows[here], self.scores[here], self.slopes[here] = tried[taken], scores[taken], slopes[taken]
        self.steps[here] = 1.0
        self._aim(here)
        self.open[here] &= gain[taken] > 0.1 * tolerance

    def _remember(self, here: NDArray[np.intp], move: Floats, bend: Floats) -> None:
        """Keep the pairs whose curvature is that of a maximum; the others would spoil the direction."""
        curved = (move * bend).sum(axis=1) > 1e-12 * np.maximum((move * move).sum(axis=1), 1e-300)
        kept = here[curved]
        self.moves[kept] = np.concatenate([self.moves[kept, 1:], move[curved, None]], axis=1)
        self.bends[kept] = np.concatenate([self.bends[kept, 1:], bend[curved, None]], axis=1)

    def _aim(self, here: NDArray[np.intp]) -> None:
        """New directions by the two-loop recursion, within the bounds; along the slope where nothing is
        remembered."""
        slope = np.where(self.climbing, self.slopes[here], 0.0)
        at_wall = ((self.rows[here] <= 0.0) & (slope < 0)) | ((self.rows[here] >= 1.0) & (slope > 0))
        slope = np.where(at_wall, 0.0, slope)
        moves = np.where(at_wall[:, None], 0.0, self.moves[here])
        bends = np.where(at_wall[:, None], 0.0, self.bends[here])
        curvature = (moves * bends).sum(axis=2)  # (row, pair)
        usable = curvature > 1e-14
        inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=usable)
        q = slope.copy()
        shares = np.zeros_like(curvature)
        for j in range(MEMORY - 1, -1, -1):
            shares[:, j] = inverse[:, j] * (moves[:, j] * q).sum(axis=1)
            q -= shares[:, [j]] * bends[:, j]
        squared = (bends[:, -1] ** 2).sum(axis=1)
        scale = np.divide(curvature[:, -1], squared, out=np.ones(len(here)), where=usable[:, -1])
        q *= scale[:, None]
        for j in range(MEMORY):
            q += moves[:, j] * (shares[:, j] - inverse[:, j] * (bends[:, j] * q).sum(axis=1))[:, None]
        q = np.where(((q * slope).sum(axis=1) > 0)[:, None], q, slope)
        largest = np.abs(q).max(axis=1, initial=0.0)
        limit = np.where(usable.any(axis=1), LARGEST_STEP, FIRST_STEP)
        shrink = np.divide(limit, largest, out=np.ones(len(here)), where=largest > limit)
        self.directions[here] = q * shrink[:, None]
        self.open[here] &= largest > 0
