"""Scheduling synchronous SGD on simulated clusters (``models.sgd_scheduling``) as problems of the comparison.

Each is one cluster, of seed 0; seeds of the comparison differ in noise and in the tuners. The optimum is the
best that annealing found with 40,000 noise-free runs: nobody knows a better schedule, and one may exist.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

import boatppl as boat
from benchmarks.problems import Configuration, Problem
from models.sgd_scheduling.best_known import TABLE, read
from models.sgd_scheduling.cluster import make_cluster
from models.sgd_scheduling.measurements import observed
from models.sgd_scheduling.model import scheduling_model
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space

CLUSTER = 0


def scheduling(n: int, seconds: float) -> Problem:
    """Return the cluster of ``n`` machines, whose best known schedule takes ``seconds`` an iteration."""
    simulation = Simulation(make_cluster(n, CLUSTER))

    def run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, Any]:
        return observed(lambda asked: simulation.measure(simulation.schedule(asked), rng))(configuration)

    def build(machines: boat.Space) -> boat.DAGModel:
        return scheduling_model(machines, simulation.cluster)

    return Problem(
        f"scheduling-{n}",
        space(n),
        "iteration_time",
        run,
        known_optimum=seconds,
        structured=build,
        noise="simulated times of machines and wires",
        kind="structured",
    )


def schedulings() -> Mapping[str, Problem]:
    """Return a problem for every size of cluster of which a best schedule is known."""
    known = {int(row["machines"]): row for row in read(TABLE) if int(row["seed"]) == CLUSTER}
    found = [scheduling(n, float(row["seconds"])) for n, row in sorted(known.items())]
    return {problem.name: problem for problem in found}
