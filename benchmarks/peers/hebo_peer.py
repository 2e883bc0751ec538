"""HEBO (Cowen-Rivers et al. 2022), run by the bench in an environment of its own, with its defaults: as many
random trials as it chooses, input warping, an ensemble of three acquisitions. It recommends its
``best_x``."""

import random
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.optimizers.hebo import HEBO
from protocol import Cube, serve


class HEBOPeer:
    """Ask and tell of HEBO."""

    def open(self, spec):
        """Begin a study; return the versions in use."""
        warnings.simplefilter("ignore")
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(spec["seed"])
        self.spec, self.cube, self.told = spec, Cube(spec["space"]), 0
        self.sign = 1.0 if spec["minimize"] else -1.0
        space = DesignSpace().parse([parameter(item) for item in spec["space"]])
        self.hebo = HEBO(space, scramble_seed=spec["seed"])
        return {"hebo": version("hebo"), "torch": torch.__version__}

    def ask(self):
        """Return the next configuration, the default first."""
        if not self.told:
            return self.spec["default"], {}
        return self.plain(self.hebo.suggest(n_suggestions=1).iloc[0]), {}

    def tell(self, configuration, measurements):
        """Take a run's measurement."""
        row = pd.DataFrame([self.cube.ordered(configuration)])
        self.hebo.observe(row, np.array([[self.sign * measurements[self.spec["objective"]]]]))
        self.told += 1

    def best(self):
        """Return its best run."""
        return self.plain(self.hebo.best_x.iloc[0])

    def plain(self, row):
        """Return a row of its table as a configuration."""
        found = {}
        for item in self.spec["space"]:
            value = row[item["name"]]
            kind = {"integer": int, "float": float, "boolean": bool}.get(item["kind"], lambda v: v)
            found[item["name"]] = kind(value.item() if hasattr(value, "item") else value)
        return found


def parameter(item):
    """Return a parameter as HEBO describes it."""
    name = item["name"]
    if item["kind"] == "boolean":
        return {"name": name, "type": "bool"}
    if item["kind"] == "categorical":
        return {"name": name, "type": "cat", "categories": item["choices"]}
    kinds = {("float", False): "num", ("float", True): "pow", ("integer", False): "int"}
    bounds = {"lb": item["low"], "ub": item["high"]}
    kind = kinds.get((item["kind"], item["log"]), "pow_int")
    return {"name": name, "type": kind, **bounds}


if __name__ == "__main__":
    serve(HEBOPeer())
