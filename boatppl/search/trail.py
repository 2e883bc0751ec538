"""What a search has scored so far."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from boatppl.space import Space

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]
Gradient = Callable[[Floats], tuple[Floats, Floats]]

SAME = 1e-6  # configurations nearer than this in every coordinate are one configuration


class Trail:
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

    def score(self, rows: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Positions (kept,) of the rows that are new and allowed, and their scores (kept,)."""
        fresh = []
        for i, row in enumerate(np.ascontiguousarray(rows)):
            key = row.tobytes()
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(i)
        kept = np.array(fresh, dtype=np.intp)
        kept = kept[self.allowed(rows[kept])]
        if not len(kept):
            return kept, np.zeros(0)
        values = np.asarray(self._score(rows[kept]), dtype=np.float64)
        return kept, self.note(rows[kept], values)

    def note(self, rows: Floats, values: Floats) -> Floats:
        """Take down scores (configuration,) of allowed rows; gives them with NaN as -inf."""
        values = np.where(np.isnan(values), -np.inf, values)
        self.evaluated += len(rows)
        top = int(values.argmax())
        if self._empty or values[top] > self.best_score:
            self.best, self.best_score, self._empty = rows[top].copy(), float(values[top]), False
        return values
