"""Hold the simulation against the emulated cluster: the same schedules on both, no constant fitted.

    python -m models.sgd_scheduling.validate --schedules 8

The schedules are the default, the k fastest machines, the best known one and random ones in turn. Each adds a
row to ``validation.csv`` when it was measured; the summary is of measured / simulated.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from models.sgd_scheduling.best_known import append, best_known, read
from models.sgd_scheduling.cluster import Cluster
from models.sgd_scheduling.peers import k_fastest
from models.sgd_scheduling.real import EmulatedCluster, emulated
from models.sgd_scheduling.schedule import Schedule
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space

TABLE = Path(__file__).parent / "validation.csv"
COLUMNS = ("machines", "seed", "schedule", "workers", "servers", "measured", "simulated")


def schedules(cluster: Cluster, seed: int) -> Iterator[Schedule]:
    """Good, plain and random schedules, always the same ones."""
    n, simulation = len(cluster), Simulation(cluster)
    yield simulation.schedule(space(n).default)
    yield best_known(simulation, evaluations=8000, restarts=2).schedule
    fastest = k_fastest(n, simulation.exact(space(n).default), seed)
    for few, random in zip(fastest, space(n).design(n, seed), strict=False):
        yield simulation.schedule(few)
        yield simulation.schedule(random)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing from the table and print the summary."""
    parser = argparse.ArgumentParser(prog="python -m models.sgd_scheduling.validate", description=__doc__)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schedules", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=np.inf, help="start no run after this long")
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    cluster, began = emulated(options.machines, options.seed), time.monotonic()
    run, simulation = EmulatedCluster(cluster), Simulation(cluster)
    of_this = (str(options.machines), str(options.seed))
    done = {row["schedule"] for row in read(options.table) if (row["machines"], row["seed"]) == of_this}
    for number, schedule in enumerate(islice(schedules(cluster, options.seed), options.schedules)):
        if str(number) in done or time.monotonic() - began > options.seconds:
            continue
        simulated = simulation.measure(schedule, None)["iteration_time"]
        measured = run.measure(schedule)["iteration_time"]
        roles = (int(schedule.works.sum()), int(schedule.serves.sum()))
        seconds = (f"{measured:.4f}", f"{simulated:.4f}")
        row = dict(zip(COLUMNS, (*of_this, number, *roles, *seconds), strict=True))
        append(options.table, row, COLUMNS)
        print(f"{run.kind}: {roles[0]} workers, {roles[1]} servers: {measured:.3f} s", end="")
        print(f", simulated {simulated:.3f} s", flush=True)
    rows = read(options.table)
    ratios = np.array([float(row["measured"]) / float(row["simulated"]) for row in rows])
    low, middle, high = np.quantile(ratios, [0, 0.5, 1])
    print(f"measured / simulated of {len(ratios)} schedules: {low:.2f} to {high:.2f}, median {middle:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
