"""Optuna (Akiba et al. 2019), run by the bench in an environment of its own.

``sampler`` is ``"tpe"`` (its default, with its defaults: 10 random trials, 24 candidates) or ``"gp"``
(``GPSampler``, told whether the objective is deterministic). Conditional parameters are asked for only where
they matter, as its manual shows. The default configuration is enqueued as trial 0. It recommends
``best_trial``, the luckiest measurement.
"""

import optuna
from protocol import Cube, serve


class OptunaPeer:
    """A study of its own sampler."""

    def open(self, spec):
        """Begin a study; return the versions in use."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec, self.cube = spec, Cube(spec["space"])
        self.study = optuna.create_study(
            direction="minimize" if spec["minimize"] else "maximize", sampler=self.sampler()
        )
        self.study.enqueue_trial({item["name"]: spec["default"][item["name"]] for item in spec["space"]})
        return {"optuna": optuna.__version__}

    def sampler(self):
        """Return the sampler with its recommended settings."""
        if self.spec["options"]["sampler"] == "gp":
            return optuna.samplers.GPSampler(
                seed=self.spec["seed"], deterministic_objective=not self.spec["noisy"]
            )
        return optuna.samplers.TPESampler(seed=self.spec["seed"])

    def ask(self):
        """Return the next configuration."""
        self.trial, chosen = self.study.ask(), {}
        for item in self.cube.parents_first():
            if self.cube.matters(item, chosen):
                chosen[item["name"]] = suggested(self.trial, item)
        self.asked = {**self.spec["default"], **chosen}
        return self.asked, {}

    def tell(self, configuration, measurements):
        """Take a run's measurement, of the trial asked for or of another configuration."""
        value = measurements[self.spec["objective"]]
        if configuration == self.asked:
            self.study.tell(self.trial, value)
            return
        self.study.tell(self.trial, state=optuna.trial.TrialState.FAIL)
        chosen = self.cube.active(configuration)
        spread = {item["name"]: distribution(item) for item in self.spec["space"] if item["name"] in chosen}
        self.study.add_trial(optuna.trial.create_trial(params=chosen, distributions=spread, value=value))

    def best(self):
        """Return the parameters of its best trial."""
        return {**self.spec["default"], **self.study.best_trial.params}


def suggested(trial, item):
    """Return what a trial suggests for a parameter."""
    name = item["name"]
    if item["kind"] in ("boolean", "categorical"):
        return trial.suggest_categorical(name, item.get("choices", [False, True]))
    number = trial.suggest_int if item["kind"] == "integer" else trial.suggest_float
    return number(name, item["low"], item["high"], log=item["log"])


def distribution(item):
    """Return a parameter as Optuna describes it."""
    if item["kind"] == "boolean":
        return optuna.distributions.CategoricalDistribution([False, True])
    if item["kind"] == "categorical":
        return optuna.distributions.CategoricalDistribution(item["choices"])
    kind = optuna.distributions
    numbers = kind.IntDistribution if item["kind"] == "integer" else kind.FloatDistribution
    return numbers(item["low"], item["high"], log=item["log"])


if __name__ == "__main__":
    serve(OptunaPeer())
