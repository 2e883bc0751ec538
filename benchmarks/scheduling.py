"""Scheduling synchronous SGD on simulated clusters (``models.sgd_scheduling``) as problems of the comparison.

A seed is another cluster: the first has the cluster of seed 0, and so on, and after the last whose best
schedule is known they begin again, with other noise. The optimum is the best that a search with thousands of
noise-free runs found: nobody knows a better schedule, and one may exist.
"""

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
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


def scheduling(n: int, known: Sequence[float], cluster: int = 0) -> Problem:
    """Return a cluster of ``n`` machines; ``known``: s an iteration of each cluster's best known schedule."""
    simulation = Simulation(make_cluster(n, cluster))

    def run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, Any]:
        return observed(lambda asked: simulation.measure(simulation.schedule(asked), rng))(configuration)

    def build(machines: boat.Space) -> boat.DAGModel:
        return scheduling_model(machines, simulation.cluster)

    return Problem(
        f"scheduling-{n}",
        space(n),
        "iteration_time",
        run,
        known_optimum=known[cluster],
        structured=build,
        noise="simulated times of machines and wires",
        kind="structured",
        seeded=lambda seed: scheduling(n, known, (seed - 1) % len(known)),
    )


def schedulings() -> Mapping[str, Problem]:
    """Return a problem for every size of clusters of which best schedules are known, cluster after cluster
    from the first."""
    rows = {(int(row["machines"]), int(row["seed"])): float(row["seconds"]) for row in read(TABLE)}
    found = []
    for n in sorted({n for n, _ in rows}):
        known = [rows[n, cluster] for cluster in takewhile(lambda c, n=n: (n, c) in rows, count())]
        found.append(scheduling(n, known))
    return {problem.name: problem for problem in found}
