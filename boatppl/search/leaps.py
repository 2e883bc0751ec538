"""Leaps out of the basins that are being climbed: a good row with one or two parameters drawn anew."""

import numpy as np

from boatppl.search.moves import Front
from boatppl.search.trail import Floats, Score, Trail
from boatppl.space import Space

FAR = 0.15  # the least distance, in some coordinate, of newcomers from the front and from each other
LEAPS = 768  # tried from the front in a round
NEWCOMERS = 4  # the most promising of them join it
BEST = 3  # rows of the front that leaps begin at


def leaps(space: Space, rng: np.random.Generator, rows: Floats, n: int) -> Floats:
    """`n` snapped rows (n, coordinate), each one of `rows` with one parameter, of every third two, drawn
    anew. Vectors stay: another whole simplex or set is no small change. None where there is nothing else.
    """
    names = [name for name, place in space.slices.items() if place.stop - place.start == 1]
    if not names or not len(rows):
        return np.empty((0, space.dimension))
    turn = np.arange(n)
    found, anew = rows[turn % len(rows)], rng.random((n, space.dimension))
    first, second = rng.integers(len(names), size=(2, n))
    second = np.where(turn // len(rows) % 3 == 2, second, first)
    for j, name in enumerate(names):
        mine = np.flatnonzero((first == j) | (second == j))
        found[mine, space.slices[name]] = anew[mine, space.slices[name]]
    return space.snap(found)


def joined(trail: Trail, screen: Score, rng: np.random.Generator, front: Front) -> Front:
    """The front and the few leaps from its best rows that promise most by a `screen` and are apart.

    They are climbed from though they score less: an ascent from a perturbed optimum finds the next basin
    (iterated local search: Lourenço, Martin & Stützle 2003).
    """
    rows = leaps(trail.space, rng, front.best(BEST).rows, LEAPS)
    rows = rows[trail.allowed(rows)]
    if not len(rows):
        return front
    trail.evaluated += len(rows)
    new = apart(rows, screen(rows), NEWCOMERS, front.rows, FAR)
    if not len(new):
        return front
    kept, scores = trail.score(rows[new])
    return front.with_more(rows[new[kept]], scores)


def apart(rows: Floats, values: Floats, most: int, others: Floats, distance: float) -> np.ndarray:
    """Positions of the best rows, at most so many, that differ from each other and from `others` by more
    than a `distance` in some coordinate."""
    chosen: list[int] = []
    values = np.where(np.isnan(values), -np.inf, values)
    for i in np.argsort(-values, kind="stable"):
        if len(chosen) == most or (chosen and values[i] == -np.inf):
            break
        known = np.concatenate([others, rows[chosen]])
        if not len(known) or np.abs(known - rows[i]).max(axis=1, initial=0.0).min() > distance:
            chosen.append(int(i))
    return np.array(chosen, dtype=np.intp)
