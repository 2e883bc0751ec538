"""Grid search: as many equal steps along every parameter as the budget allows, in an order drawn by the seed.

The order is drawn because the usual one, row after row, sees one edge of the space for most of a small
budget. The default is trial 0; a finite set of configurations is its own grid. Recommends the luckiest
measurement.
"""

import random
import sys

from protocol import Cube, levels, luckiest, serve

LARGEST = 100_000  # cells; a larger grid is drawn from without listing it


class GridPeer:
    """A full factorial design, or a random part of one that is larger than the budget."""

    def open(self, spec):
        """Begin a study."""
        self.spec, self.cube, self.told = spec, Cube(spec["space"]), []
        self.random = random.Random(spec["seed"])
        self.levels = levels(spec["space"], spec["budget"])
        cells = 1
        for n in self.levels:
            cells *= n
        listed = len(spec.get("choices") or []) or (cells if cells <= LARGEST else 0)
        self.order = self.random.sample(range(listed), listed)
        return {"python": sys.version.split()[0]}

    def tell(self, configuration, measurements):
        """Take a run's measurements."""
        value = measurements[self.spec["objective"]]
        self.told.append((value if self.spec["minimize"] else -value, configuration))

    def ask(self):
        """Return the next cell of the grid; after the last one the grid is gone through again."""
        if not self.told:
            return self.spec["default"], {}
        if not self.order:
            return self.cube.uniform([middle(self.random.randrange(n), n) for n in self.levels]), {}
        cell = self.order[(len(self.told) - 1) % len(self.order)]
        if self.spec.get("choices"):
            return self.spec["choices"][cell], {}
        row = []
        for n in self.levels:
            cell, step = divmod(cell, n)
            row.append(middle(step, n))
        return self.cube.uniform(row), {}

    def best(self):
        """Return the configuration with the best measurement."""
        return luckiest(self.told)


def middle(step, n):
    """Return the middle of a step."""
    return (step + 0.5) / n


if __name__ == "__main__":
    serve(GridPeer())
