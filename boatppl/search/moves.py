"""Steps away from good rows that need no gradient: neighbours, jumps along a slope, and a polish of fine
steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boatppl.search.trail import Floats, Trail
from boatppl.space import Space

WIDEST, NARROWEST = 0.05, 2e-4  # of the fine steps, in the unit cube
FINE = 12  # fine steps scored for each row and round
STRIDES = np.array([[1.0], [3.0], [9.0]])  # the last stride again, and longer: ridges and edges go on
PROPOSED = 96  # fine steps drawn for them; the feasible ones that promise most are scored


@dataclass(frozen=True, eq=False)
class Front:
    """The rows under refinement.

    ``rows (row, coordinate)`` with their scores ``values (row,)``; ``widths (row,)`` of the fine steps;
    ``slopes (row, coordinate)`` as far as known, else zero; ``strides (row, coordinate)`` taken last.
    """

    rows: Floats
    values: Floats
    widths: Floats
    slopes: Floats
    strides: Floats

    def best(self, count: int) -> "Front":
        """The ``count`` best rows."""
        order = np.argsort(-self.values, kind="stable")[:count]
        return Front(*(part[order] for part in self._parts))

    @classmethod
    def of(cls, rows: Floats, values: Floats) -> "Front":
        """Rows of which nothing else is known."""
        widths, flat = np.full(len(rows), WIDEST), np.zeros_like(rows)
        return cls(rows, values, widths, flat, flat)

    def with_more(self, rows: Floats, values: Floats) -> "Front":
        """The front and rows behind it of which nothing else is known."""
        more = Front.of(rows, values)
        return Front(*(np.concatenate(pair) for pair in zip(self._parts, more._parts, strict=True)))

    @property
    def _parts(self) -> tuple[Floats, ...]:
        return self.rows, self.values, self.widths, self.slopes, self.strides


def moved(trail: Trail, rng: np.random.Generator, front: Front, *, gradient: bool) -> Front:
    """Every row replaced by the best of its neighbours, jumps and fine steps where that is better.

    With a gradient, fine steps are needed only along constraints, which know no slope. Without one they also
    estimate it. Widths grow where a fine step won and shrink where none did.
    """
    space = trail.space
    continuous = space.continuous
    count = 8 if gradient and continuous.all() else int(np.clip(4 * space.dimension, 16, 64))
    coarse = [space.neighbours(row, rng, count) for row in front.rows]
    coarse += [_jumps(space, row, s, continuous) for row, s in zip(front.rows, front.slopes, strict=True)]
    coarse += [
        space.snap(row + STRIDES * stride) for row, stride in zip(front.rows, front.strides, strict=True)
    ]
    owners = [np.full(len(part), i % len(front.rows)) for i, part in enumerate(coarse)]
    fine = _fine_steps(trail, rng, front, continuous) if polished(space, gradient=gradient) else []
    fine_owners = [np.full(len(part), i) for i, part in enumerate(fine)]
    tried = np.concatenate([*coarse, *fine])
    owner = np.concatenate([*owners, *fine_owners]).astype(np.intp)
    is_fine = np.arange(len(tried)) >= sum(map(len, coarse))
    kept, scores = trail.score(tried)
    owner, is_fine, tried = owner[kept], is_fine[kept], tried[kept]

    rows, values, slopes = front.rows.copy(), front.values.copy(), front.slopes.copy()
    widths = front.widths * 0.5
    for i in range(len(rows)):
        mine = np.flatnonzero(owner == i)
        polish = mine[is_fine[mine]]
        if len(polish) and scores[polish].max() > front.values[i]:
            widths[i] = front.widths[i] * 1.5
        if len(polish) and not gradient and np.isfinite(front.values[i]):
            slopes[i] = _estimated(slopes[i], tried[polish] - front.rows[i], scores[polish] - front.values[i])
        if len(mine) and scores[mine].max() > values[i]:
            top = mine[scores[mine].argmax()]
            rows[i], values[i] = tried[top], scores[top]
    return Front(rows, values, np.minimum(widths, WIDEST), slopes, rows - front.rows)


def polished(space: Space, *, gradient: bool) -> bool:
    """Whether fine steps are taken."""
    return bool(space.continuous.any()) and (not gradient or bool(space.constraints))


def _jumps(space: Space, row: Floats, slope: Floats, continuous: NDArray[np.bool_]) -> Floats:
    """Snapped rows (jump, coordinate) along the slope of what is not continuous, none where it is flat."""
    hint = np.where(continuous, 0.0, slope)
    largest = np.abs(hint).max(initial=0.0)
    if not np.isfinite(largest) or largest == 0.0:
        return np.empty((0, len(row)))
    steps = np.array([0.01, 0.03, 0.1, 0.3])[:, None]
    alone = np.where(np.abs(hint) == largest, hint, 0.0)
    return space.snap(row + np.concatenate([steps * hint, steps * alone]) / largest)


def _fine_steps(
    trail: Trail, rng: np.random.Generator, front: Front, continuous: NDArray[np.bool_]
) -> list[Floats]:
    """For each row the allowed Gaussian steps of its width that its slope likes best, and some it has no say
    in."""
    places = np.flatnonzero(continuous)
    count = len(front.rows)
    sizes = np.array([1, 2, len(places)])[np.arange(PROPOSED) % 3]
    rank = rng.random((count, PROPOSED, len(places))).argsort(axis=2)
    moving = rank < sizes[:, None]
    scale = front.widths[:, None, None] * 2.0 ** rng.uniform(-5, 1, size=(count, PROPOSED, 1))
    step = np.zeros((count, PROPOSED, len(front.rows[0])))
    step[:, :, places] = scale * moving * rng.standard_normal(moving.shape)
    rows = trail.space.snap((front.rows[:, None] + step).reshape(count * PROPOSED, -1))
    good = trail.allowed(rows).reshape(count, PROPOSED)
    rows = rows.reshape(count, PROPOSED, -1)
    chosen = []
    for i in range(count):
        mine = rows[i, good[i]]
        direction = mine - front.rows[i]
        length = np.maximum(np.linalg.norm(direction, axis=1), 1e-300)
        promise = (direction * np.where(continuous, front.slopes[i], 0.0)).sum(axis=1) / np.sqrt(length)
        order = np.argsort(-promise, kind="stable")
        others = order[2 * FINE // 3 :]
        chosen.append(mine[np.concatenate([order[: 2 * FINE // 3], rng.permutation(others)[: FINE // 3]])])
    return chosen


def _estimated(slope: Floats, steps: Floats, gains: Floats) -> Floats:
    """`slope` (coordinate,) corrected as little as needed to explain the `gains` (step,) of `steps` (step,
    coordinate)."""
    there = np.isfinite(gains)
    if not there.any():
        return slope
    correction, *_ = np.linalg.lstsq(steps[there], gains[there] - steps[there] @ slope, rcond=1e-3)
    return slope + correction
