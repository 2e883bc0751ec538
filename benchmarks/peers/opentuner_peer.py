"""OpenTuner (Ansel et al. 2014), run by the bench in an environment of its own.

``technique`` is one of its own: ``AUCBanditMetaTechniqueA`` (its default ensemble),
``DifferentialEvolutionAlt`` and ``UniformGreedyMutation20`` (evolution), ``PatternSearch`` and
``RandomNelderMead`` (hill climbing); one test at a time, its own log parameters, the default configuration
as its seed. It recommends its best result.
"""

import argparse
import logging
import os
import random
import tempfile
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")  # written for older Pythons

import numpy as np  # noqa: E402
import opentuner  # noqa: E402
from opentuner.api import TuningRunManager  # noqa: E402
from opentuner.measurement.interface import DefaultMeasurementInterface  # noqa: E402
from opentuner.resultsdb.models import Result  # noqa: E402
from opentuner.search import manipulator as kinds  # noqa: E402
from protocol import Cube, luckiest, serve  # noqa: E402


class OpenTunerPeer:
    """Ask and tell of its tuning-run manager."""

    def open(self, spec):
        """Begin a study; return the versions in use."""
        self.spec, self.cube, self.told = spec, Cube(spec["space"]), []
        self.sign = 1.0 if spec["minimize"] else -1.0
        random.seed(spec["seed"])
        np.random.seed(spec["seed"])  # noqa: NPY002  what it draws from
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)  # it writes a log beside itself
        parser = argparse.ArgumentParser(parents=opentuner.argparsers())
        options = ["--technique", spec["options"]["technique"], "--no-dups", "--parallelism", "1"]
        arguments = parser.parse_args([*options, "--database", "sqlite://"])
        space = opentuner.ConfigurationManipulator()
        for item in spec["space"]:
            space.add_parameter(parameter(item))
        interface = DefaultMeasurementInterface(
            args=arguments, manipulator=space, project_name="bench", program_name="bench", program_version="0"
        )
        default = self.cube.ordered(spec["default"])
        interface.seed_configurations = lambda: [default]
        self.manager = TuningRunManager(interface, arguments)
        logging.disable(logging.CRITICAL)
        return {"opentuner": version("opentuner"), "technique": spec["options"]["technique"]}

    def ask(self):
        """Return the next configuration; a random one where its technique has none that is new."""
        self.wanted = None
        for _ in range(50):
            self.wanted = self.manager.get_next_desired_result()
            if self.wanted is not None:
                return self.plain(self.wanted.configuration.data), {}
        return self.cube.uniform([random.random() for _ in self.spec["space"]]), {"random": 1.0}

    def tell(self, configuration, measurements):
        """Take a run's measurement."""
        value = self.sign * measurements[self.spec["objective"]]
        self.told.append((value, configuration))
        if self.wanted is not None:
            self.manager.report_result(self.wanted, Result(time=value))

    def best(self):
        """Return the best result."""
        return luckiest(self.told)

    def plain(self, found):
        """Return one of its configurations as the bench writes it."""
        kinds_of = {"integer": int, "float": float, "boolean": bool}
        return {
            item["name"]: kinds_of.get(item["kind"], lambda value: value)(found[item["name"]])
            for item in self.spec["space"]
        }


def parameter(item):
    """Return a parameter as OpenTuner describes it."""
    name = item["name"]
    if item["kind"] == "boolean":
        return kinds.BooleanParameter(name)
    if item["kind"] == "categorical":
        return kinds.EnumParameter(name, item["choices"])
    if item["kind"] == "integer":
        kind = kinds.LogIntegerParameter if item["log"] else kinds.IntegerParameter
    else:
        kind = kinds.LogFloatParameter if item["log"] else kinds.FloatParameter
    return kind(name, item["low"], item["high"])


if __name__ == "__main__":
    serve(OpenTunerPeer())
