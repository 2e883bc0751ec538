"""Hold the simulation against the emulated cluster: the same schedules on both.

    python -m models.sgd_scheduling.validate --schedules 60 --links namespaces

The schedules are the default, the best known one, the k fastest machines, random sets with shares by speed
and random ones. Each adds a row to ``validation.csv`` when it was measured. Two factors, of all speeds and of
all bandwidths, are fitted to every second pair of schedules; how far the simulation is off is said of the
others, before and after.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from models.sgd_scheduling.best_known import append, best_known, read
from models.sgd_scheduling.cluster import Cluster
from models.sgd_scheduling.peers import k_fastest
from models.sgd_scheduling.real import EmulatedCluster, emulated
from models.sgd_scheduling.schedule import Schedule, whole_samples
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space

TABLE = Path(__file__).parent / "validation.csv"
COLUMNS = ("machines", "seed", "links", "speeds", "schedule", "samples", "serves", "measured", "simulated")


def schedules(cluster: Cluster, seed: int) -> Iterator[Schedule]:
    """Good, plain and random schedules, always the same ones."""
    n, simulation = len(cluster), Simulation(cluster)
    yield simulation.schedule(space(n).default)
    yield best_known(simulation, evaluations=8000, restarts=2).schedule
    fastest = k_fastest(n, simulation.exact(space(n).default), seed)
    for drawn in space(n).design(256, seed):
        random, few = simulation.schedule(drawn), next(fastest, None)
        by_speed = whole_samples(np.where(random.works, cluster.speed, 0.0), cluster.batch)
        yield Schedule(by_speed, random.serves) if few is None else simulation.schedule(few)
        yield random


def calibrated(cluster: Cluster, found: Sequence[Mapping[str, str]]) -> Cluster:
    """Return a cluster whose speeds and bandwidths are each multiplied by the factor that fits best."""

    def scaled(logs: np.ndarray) -> Cluster:
        speed, wire = np.exp(logs)
        return replace(cluster, speed=cluster.speed * speed, up=cluster.up * wire, down=cluster.down * wire)

    def loss(logs: np.ndarray) -> float:
        return float(np.sum(errors(scaled(logs), found) ** 2))

    return scaled(minimize(loss, np.zeros(2), method="Nelder-Mead").x)


def errors(cluster: Cluster, found: Sequence[Mapping[str, str]]) -> np.ndarray:
    """Return log measured / simulated of rows of the table ``(row,)``."""
    simulation = Simulation(cluster)
    simulated = [simulation.measure(_schedule(row), None)["iteration_time"] for row in found]
    return np.log([float(row["measured"]) for row in found]) - np.log(simulated)


def summary(cluster: Cluster, found: Sequence[Mapping[str, str]]) -> list[str]:
    """Say how far the simulation is off on the schedules that no factor was fitted to."""
    first = [row for row in found if int(row["schedule"]) % 4 < 2]
    rest = [row for row in found if int(row["schedule"]) % 4 >= 2]
    if min(len(first), len(rest)) < 2:
        return [f"{len(found)} schedules measured: too few to fit and to score"]
    fitted = calibrated(cluster, first)
    speed, wire = fitted.speed[0] / cluster.speed[0], fitted.up[0] / cluster.up[0]
    lines = [f"fitted to {len(first)} schedules: speeds x {speed:.3f}, bandwidths x {wire:.3f}"]
    for name, which in (("nothing fitted", cluster), ("fitted", fitted)):
        off = errors(which, rest)
        low, middle, high = np.exp(np.quantile(off, [0, 0.5, 1]))
        typical = np.sqrt(np.mean(off**2))
        lines.append(
            f"{name}, {len(rest)} others: measured / simulated {low:.2f} to {high:.2f}, median {middle:.2f}, "
            f"typical error {typical:.1%}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing from the table and print the summary."""
    parser = argparse.ArgumentParser(prog="python -m models.sgd_scheduling.validate", description=__doc__)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--links", choices=("namespaces", "paced"), default="namespaces")
    parser.add_argument("--speeds", choices=("waiting", "quotas"), default="waiting")
    parser.add_argument("--schedules", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=np.inf, help="start no run after this long")
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    cluster, began = emulated(options.machines, options.seed), time.monotonic()
    run = EmulatedCluster(cluster, links=options.links, speeds=options.speeds)
    simulation = Simulation(cluster)
    of_this = (str(options.machines), str(options.seed), options.links, options.speeds)

    def rows() -> list[dict[str, str]]:
        return [row for row in read(options.table) if tuple(row[name] for name in COLUMNS[:4]) == of_this]

    done = {row["schedule"] for row in rows()}
    for number, schedule in enumerate(islice(schedules(cluster, options.seed), options.schedules)):
        if str(number) in done or time.monotonic() - began > options.seconds:
            continue
        simulated = simulation.measure(schedule, None)["iteration_time"]
        measured = run.measure(schedule)["iteration_time"]
        parts = (" ".join(map(str, schedule.samples)), " ".join(str(int(on)) for on in schedule.serves))
        seconds = (f"{measured:.4f}", f"{simulated:.4f}")
        row = dict(zip(COLUMNS, (*of_this, number, *parts, *seconds), strict=True))
        append(options.table, row, COLUMNS)
        print(f"{run.kind} {number}: {measured:.3f} s, simulated {simulated:.3f} s", flush=True)
    print(f"{run.kind}; links: {options.links}, speeds: {options.speeds}")
    print("\n".join(summary(cluster, rows())))
    return 0


def _schedule(row: Mapping[str, str]) -> Schedule:
    samples, serves = (np.array(row[name].split(), int) for name in ("samples", "serves"))
    return Schedule(samples, serves.astype(bool))


if __name__ == "__main__":
    raise SystemExit(main())
