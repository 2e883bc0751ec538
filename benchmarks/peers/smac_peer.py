"""SMAC3 (Lindauer et al. 2022), run by the bench in an environment of its own.

As its manual advises: the black-box facade (Gaussian process, expected improvement) where all parameters are
numbers and at most 20, the hyperparameter facade (random forest, log expected improvement) elsewhere; each
with its own initial Sobol design (at most a quarter of the budget) and, where runs are noisy, its own
repeats (up to 3 a configuration). The default configuration is trial 0. It recommends its intensifier's
incumbent.
"""

import tempfile
from importlib.metadata import version

import ConfigSpace as cs
from protocol import Cube, serve
from smac import BlackBoxFacade, HyperparameterOptimizationFacade, Scenario
from smac.runhistory.dataclasses import TrialValue

MOST_NUMBERS = 20


class SMACPeer:
    """Ask and tell of one of SMAC's facades."""

    def open(self, spec):
        """Begin a study; return the versions in use."""
        self.spec, self.cube = spec, Cube(spec["space"])
        self.sign = 1.0 if spec["minimize"] else -1.0
        self.space = space_of(self.cube, spec["default"], spec["seed"])
        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            self.space,
            output_directory=self.folder.name,
            deterministic=not spec["noisy"],
            n_trials=spec["budget"],
            seed=spec["seed"],
        )
        numbers = len(spec["space"]) <= MOST_NUMBERS and not self.cube.categorical and not self.cube.binary
        facade = BlackBoxFacade if numbers else HyperparameterOptimizationFacade
        design = facade.get_initial_design(scenario)
        usual, default = design.select_configurations, self.space.get_default_configuration()
        design.select_configurations = lambda: list(dict.fromkeys([default, *usual()]))  # the default first
        self.smac = facade(scenario, unused, initial_design=design, overwrite=True, logging_level=False)
        return {"smac": version("smac"), "facade": facade.__name__}

    def ask(self):
        """Return the next configuration; the incumbent again where SMAC finds nothing that is new."""
        try:
            self.info = self.smac.ask()
        except StopIteration:
            return self.best(), {"again": 1.0}
        return self.plain(self.info.config), {}

    def tell(self, configuration, measurements):
        """Take a run's measurement as one of the configuration asked for, whichever near it was run: its
        intensifier waits for that one, and would never prefer another."""
        value = TrialValue(cost=self.sign * measurements[self.spec["objective"]])
        self.smac.tell(self.info, value, save=False)

    def best(self):
        """Return the intensifier's incumbent."""
        found = self.smac.intensifier.get_incumbents()
        return self.plain(found[0]) if found else self.spec["default"]

    def plain(self, configuration):
        """Return a configuration with every parameter, those that do not matter at their default."""
        chosen = {}
        for name, value in dict(configuration).items():
            chosen[name] = value.item() if hasattr(value, "item") else value
            if isinstance(self.spec["default"][name], bool):
                chosen[name] = bool(chosen[name])
        return {**self.spec["default"], **chosen}


def unused(config, seed=0):
    """Stand for the function that SMAC would call itself."""
    raise NotImplementedError("SMAC is asked and told")


def space_of(cube, default, seed):
    """Return the space as ConfigSpace writes it."""
    space = cs.ConfigurationSpace(seed=seed)
    for item in cube.space:
        space.add(hyperparameter(item, default[item["name"]]))
    for item in cube.space:
        if item.get("when"):
            terms = [cs.InCondition(space[item["name"]], space[p], v) for p, v in item["when"].items()]
            space.add(terms[0] if len(terms) == 1 else cs.AndConjunction(*terms))
    return space


def hyperparameter(item, default):
    """Return a parameter as ConfigSpace describes it."""
    if item["kind"] in ("boolean", "categorical"):
        return cs.CategoricalHyperparameter(
            item["name"], item.get("choices", [False, True]), default_value=default
        )
    kind = cs.UniformIntegerHyperparameter if item["kind"] == "integer" else cs.UniformFloatHyperparameter
    return kind(item["name"], item["low"], item["high"], log=item["log"], default_value=default)


if __name__ == "__main__":
    serve(SMACPeer())
