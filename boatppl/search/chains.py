"""Chains of changes to a set: one member after another, past changes for the worse."""

import numpy as np
from numpy.typing import NDArray

from boatppl.search.moves import Front
from boatppl.search.trail import Gradient, Trail
from boatppl.space import Space, Subset

DEPTH = 24  # changes in a chain


def chained(trail: Trail, gradient: Gradient, front: Front) -> Front:
    """Every row replaced by the best of the chains that begin there, where that is better.

    A chain changes one membership after another, each the one that the slope at its place promises most of,
    whether that gains or not, and none twice (Kernighan & Lin 1970): to leave out the three slowest of a kind
    may pay where leaving out one or two of them costs. There is a chain in each subset and one in all
    together, and all chains of all rows advance by one call of the gradient.
    """
    sets = _memberships(trail.space)
    if not len(sets):
        return front
    count = len(front.rows)
    owner = np.repeat(np.arange(count), len(sets))
    free = np.tile(sets, (count, 1))  # (chain, coordinate)
    rows, slopes = front.rows[owner].copy(), front.slopes[owner]
    best, values, best_slopes = front.rows.copy(), front.values.copy(), front.slopes.copy()
    for _ in range(DEPTH):
        turn = np.where(rows < 0.5, 0.25, -0.25)
        promise = np.where(free, slopes * turn, -np.inf)
        place = promise.argmax(axis=1)
        going = np.flatnonzero(np.isfinite(promise.max(axis=1)))
        tried = rows[going]
        tried[np.arange(len(going)), place[going]] = 0.5 + turn[going, place[going]]
        tried = trail.space.snap(tried)
        free[going, place[going]] = False
        allowed = trail.allowed(tried)
        going, tried = going[allowed], tried[allowed]
        if not len(going):
            break
        scores, new = gradient(tried)
        scores = trail.note(tried, scores)
        rows[going], slopes[going] = tried, np.where(np.isfinite(new), new, 0.0)
        for i in np.argsort(scores, kind="stable"):
            row = owner[going[i]]
            if scores[i] > values[row]:
                best[row], values[row], best_slopes[row] = tried[i], scores[i], slopes[going[i]]
    return Front(best, values, front.widths, best_slopes, front.strides)


def _memberships(space: Space) -> NDArray[np.bool_]:
    """Which coordinates are members ``(set, coordinate)`` of each subset; at last of any, if several."""
    blocks = [place for name, place in space.slices.items() if isinstance(space.parameters[name], Subset)]
    found = np.zeros((len(blocks), space.dimension), dtype=bool)
    for row, place in zip(found, blocks, strict=True):
        row[place] = True
    return found if len(blocks) < 2 else np.concatenate([found, found.any(axis=0, keepdims=True)])
