"""Ax (Meta's adaptive experimentation platform), run by the bench in an environment of its own.

Its client with the generation strategy it calls fast: Sobol trials first (as many as it chooses itself, the
default configuration counted in place of its centre), then its modular BoTorch model. It recommends its best
parameterization by model predictions.
"""

import logging
import warnings
from importlib.metadata import version

import torch
from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from protocol import Cube, serve


class AxPeer:
    """Ask and tell of Ax's client."""

    def open(self, spec):
        """Begin a study; return the versions in use."""
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.manual_seed(spec["seed"])
        self.spec, self.cube = spec, Cube(spec["space"])
        self.client = Client(random_seed=spec["seed"])
        self.client.configure_experiment([parameter(item) for item in spec["space"]])
        self.client.configure_optimization(f"{'-' if spec['minimize'] else ''}{spec['objective']}")
        self.client.configure_generation_strategy(
            method="fast", initialization_random_seed=spec["seed"], initialize_with_center=False
        )
        self.asked = None
        return {"ax": version("ax-platform"), "botorch": version("botorch")}

    def ask(self):
        """Return the next configuration, the default first."""
        if self.asked is None:
            self.asked = self.spec["default"]
            self.trial = self.client.attach_trial(self.cube.ordered(self.asked))
            return self.asked, {}
        [(self.trial, found)] = self.client.get_next_trials(max_trials=1).items()
        self.asked = {**self.spec["default"], **found}
        return self.asked, {}

    def tell(self, configuration, measurements):
        """Take a run's measurement, of the trial asked for or of another configuration."""
        if configuration != self.asked:
            self.client.mark_trial_abandoned(self.trial)
            self.trial = self.client.attach_trial(self.cube.ordered(configuration))
        name = self.spec["objective"]
        self.client.complete_trial(self.trial, raw_data={name: float(measurements[name])})

    def best(self):
        """Return what Ax's model predicts to be best among the runs."""
        return {**self.spec["default"], **self.client.get_best_parameterization()[0]}


def parameter(item):
    """Return a parameter as Ax describes it."""
    name = item["name"]
    if item["kind"] == "boolean":
        return ChoiceParameterConfig(name=name, values=[False, True], parameter_type="bool")
    if item["kind"] == "categorical":
        return ChoiceParameterConfig(
            name=name, values=item["choices"], parameter_type="str", is_ordered=False
        )
    return RangeParameterConfig(
        name=name,
        bounds=(item["low"], item["high"]),
        parameter_type="int" if item["kind"] == "integer" else "float",
        scaling="log" if item["log"] else "linear",
    )


if __name__ == "__main__":
    serve(AxPeer())
