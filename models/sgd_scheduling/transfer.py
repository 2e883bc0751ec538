"""What an earlier study saves on the same machines: simulated, as every figure of it.

    python -m models.sgd_scheduling.transfer --seeds 10

On each cluster one network is tuned first; then another one (three times the parameters, half the batch) with
and without ``prior_from=`` the first study. ``transfer_simulated.csv`` gets the noise-free seconds of what
each trial of the second study would recommend; finished clusters are left alone.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import boatppl as boat
from models.sgd_scheduling.best_known import append, best_known, read
from models.sgd_scheduling.cluster import Cluster, make_cluster
from models.sgd_scheduling.compare import trials_to
from models.sgd_scheduling.measurements import observed
from models.sgd_scheduling.model import scheduling_model
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space

TABLE = Path(__file__).parent / "transfer_simulated.csv"
COLUMNS = ("machines", "seed", "prior_from", "trial", "recommended", "best_known")
TRIALS = 10
CLOSE = 1.05  # times the best known


def other_network(cluster: Cluster) -> Cluster:
    """Return the same machines with another network to train."""
    return replace(cluster, parameter_bytes=3 * cluster.parameter_bytes, batch=cluster.batch // 2)


def tuned(
    cluster: Cluster, noise: int, seed: int, trials: int, prior_from: boat.Study | None = None
) -> tuple[boat.Study, list[float]]:
    """Return a study of a cluster, and the noise-free seconds of what it recommends after each trial."""
    simulation, machines = Simulation(cluster, seed=noise), space(len(cluster))
    study = boat.Study(
        scheduling_model(machines, cluster),
        minimize="iteration_time",
        random_seed=seed,
        prior_from=prior_from,
    )
    run, seconds = observed(simulation), []
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, run(trial.configuration))
        seconds.append(simulation.exact(study.best.configuration)["iteration_time"])
    return study, seconds


def summary(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return a line for each way: how far above the best known the recommendations are after 2, 4 and 10
    trials (medians), and trials to 5 % of it, by cluster (``-``: not in ten)."""
    lines = []
    for way in ("no", "yes"):
        paths: dict[str, list[float]] = {}
        for row in (row for row in rows if row["prior_from"] == way):
            excess = float(row["recommended"]) / float(row["best_known"])
            paths.setdefault(row["seed"], []).append(excess)
        reached = [trials_to(path, CLOSE) for path in paths.values()]
        above = [np.median([path[k - 1] for path in paths.values()]) - 1 for k in (2, 4, 10)]
        said = ", ".join("-" if k is None else str(k) for k in reached)
        lines.append(
            f"{'with' if way == 'yes' else 'without':8}prior_from=   above the best known after 2, 4, 10 "
            f"trials: {above[0]:.0%}, {above[1]:.0%}, {above[2]:.0%} (medians); trials to 5 %: {said}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing from the table, then print the summary."""
    parser = argparse.ArgumentParser(prog="python -m models.sgd_scheduling.transfer", description=__doc__)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=20_000, help="of the best known schedule")
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    n = options.machines
    done = {(row["machines"], row["seed"]) for row in read(options.table)}
    for seed in range(options.seeds):
        if (str(n), str(seed)) in done:
            continue
        first = make_cluster(n, seed)
        second = other_network(first)
        known = best_known(Simulation(second), options.evaluations).seconds
        earlier, _ = tuned(first, noise=seed, seed=seed, trials=TRIALS)
        found = {
            "no": tuned(second, noise=100 + seed, seed=100 + seed, trials=TRIALS)[1],
            "yes": tuned(second, noise=100 + seed, seed=100 + seed, trials=TRIALS, prior_from=earlier)[1],
        }
        for way, seconds in found.items():
            for trial, value in enumerate(seconds, start=1):
                row = (n, seed, way, trial, f"{value:.4f}", f"{known:.4f}")
                append(options.table, dict(zip(COLUMNS, row, strict=True)), COLUMNS)
        print(f"simulated cluster {seed}: best known {known:.2f} s; after 2 trials ", end="")
        print(f"{found['no'][1]:.2f} s without and {found['yes'][1]:.2f} s with prior_from=", flush=True)
    print("simulated clusters")
    print("\n".join(summary(read(options.table))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
