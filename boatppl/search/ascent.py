"""Many climbs at once: a projected quasi-Newton ascent in which one call of the gradient serves every row."""

import numpy as np
from numpy.typing import NDArray

from boatppl.search.moves import Front
from boatppl.search.trail import Floats, Gradient, Trail

ASCENT_STEPS = 24  # calls of the gradient in one ascent
MEMORY = 6  # pairs the quasi-Newton direction remembers
FIRST_STEP, LARGEST_STEP = 0.05, 0.25  # in the unit cube, in the coordinate that moves most
LEAST_STEP = 1e-6


def ascend(trail: Trail, gradient: Gradient, front: Front, tolerance: float) -> Front:
    """All rows climbed along continuous coordinates until gains fall under a tenth of `tolerance`.

    Projected L-BFGS (Nocedal 1980; bounds by Bertsekas 1982) with a backtracking step of its own for each
    row. A step that leaves the feasible region or meets NaN is cut like one that loses. The slopes of other
    coordinates are kept.
    """
    space = trail.space
    scores, slopes = gradient(front.rows)
    trail.evaluated += len(front.rows)
    climb = Climb(front.rows, np.where(np.isnan(scores), -np.inf, scores), slopes, space.continuous)
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
    better = climb.scores >= front.values
    rows = np.where(better[:, None], climb.rows, front.rows)
    return Front(
        rows, np.where(better, climb.scores, front.values), front.widths, climb.slopes, front.strides
    )


class Climb:
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
        self.open[cut] &= self.steps[cut] * np.abs(self.directions[cut]).max(axis=1) > LEAST_STEP
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

    @np.errstate(over="ignore", invalid="ignore")  # slopes beyond measure
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
