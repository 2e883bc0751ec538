"""CMA-ES (Hansen & Ostermeier 2001) by its author's package, run by the bench in an environment of its own.

Its defaults on the unit cube: population 4 + 3 ln(n), first step 0.3 of the range (the manual: a quarter to
a third), bounds handled by its own transformation, integers and choices by rounding; restarted with twice
the population whenever one of its stopping criteria holds (IPOP, Auger & Hansen 2005). The default
configuration is trial 0 and the first mean. It recommends its favourite, the mean of the distribution, where
runs are noisy, and the best run elsewhere.
"""

import math
import warnings

from protocol import Cube, luckiest, serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would like to plot
    import cma

STEP = 0.3


class CMAPeer:
    """One population after the other, its members handed out one at a time."""

    def open(self, spec):
        """Begin a study; return the versions in use."""
        warnings.simplefilter("ignore")
        self.spec, self.cube = spec, Cube(spec["space"])
        self.sign = 1.0 if spec["minimize"] else -1.0
        self.told, self.rows, self.values, self.restarts = [], [], [], 0
        self.start()
        return {"cma": cma.__version__}

    def start(self):
        """Begin a search around the default, with a population that doubles from one restart to the next."""
        options = {"bounds": [0, 1], "seed": self.spec["seed"] + 1 + 1000 * self.restarts, "verbose": -9}
        n = len(self.spec["space"])
        options["popsize"] = (4 + int(3 * math.log(n))) * 2**self.restarts
        self.search = cma.CMAEvolutionStrategy(self.cube.flat(self.spec["default"]), STEP, options)
        self.waiting = []

    def ask(self):
        """Return the next member of the population."""
        if not self.told:
            return self.spec["default"], {}
        if not self.waiting:
            self.waiting = [list(row) for row in self.search.ask()]
            self.rows, self.values = [], []
        self.row = self.waiting.pop(0)
        return self.cube.uniform(self.row), {}

    def tell(self, configuration, measurements):
        """Take a run's measurement; a whole population moves the distribution."""
        value = self.sign * measurements[self.spec["objective"]]
        self.told.append((value, configuration))
        if len(self.told) == 1:
            return
        self.rows.append(self.row)
        self.values.append(value)
        if not self.waiting:
            self.search.tell(self.rows, self.values)
            if self.search.stop():
                self.restarts += 1
                self.start()

    def best(self):
        """Return the distribution's mean under noise, else the best run."""
        if self.spec["noisy"] and len(self.told) > self.search.popsize:
            return self.cube.uniform(list(self.search.result.xfavorite))
        return luckiest(self.told)


if __name__ == "__main__":
    serve(CMAPeer())
