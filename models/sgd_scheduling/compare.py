"""Compare tuners on simulated clusters: every figure of this comparison comes from a simulation.

    python -m models.sgd_scheduling.compare --seeds 3

Each (tuner, seed) adds its trials to ``compare_simulated.csv`` when it is done; runs that were interrupted
or ran out of ``--seconds`` go on from their study's file. The summary gives, over seeds, the s an iteration
of the schedule that measured best so far: what one without noise takes, and on few machines what runs of it
typically measure, each beside the schedule that is best known by the same measure, whoever found it.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import boatppl as boat
from models.sgd_scheduling import best_known
from models.sgd_scheduling.best_known import TYPICAL_UP_TO, append, read, typical
from models.sgd_scheduling.cluster import make_cluster
from models.sgd_scheduling.measurements import observed
from models.sgd_scheduling.model import scheduling_model
from models.sgd_scheduling.peers import PEERS
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space

TABLE = Path(__file__).parent / "compare_simulated.csv"
COLUMNS = ("machines", "seed", "tuner", "trial", "measured", "exact", "ask_s", "typical")
MEASURES = {"exact": ("seconds", "without noise"), "typical": ("typical", "as runs measure")}
TRIALS = {"default": 1, "k-fastest": 11, "random": 30, "generic": 30, "structured": 10}
WITHIN, WITHIN_OF_MANY = 0.05, 0.10  # above the best known: there, below 100 machines and from then on
MORE_TRIALS = {100: 15, 300: 20}  # of the structured model, by machines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing from the table, then print the summary."""
    parser = argparse.ArgumentParser(prog="python -m models.sgd_scheduling.compare", description=__doc__)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tuners", default=",".join(TRIALS))
    parser.add_argument("--seconds", type=float, default=None, help="start no trial after this long")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--studies", type=Path, default=Path("report"), help="folder of the studies' files")
    options = parser.parse_args(arguments)
    options.studies.mkdir(parents=True, exist_ok=True)
    began, n = time.monotonic(), options.machines
    done = {(row["machines"], row["seed"], row["tuner"]) for row in read(options.table)}
    for seed in range(options.seeds):
        for tuner in options.tuners.split(","):
            left = None if options.seconds is None else options.seconds - (time.monotonic() - began)
            if (str(n), str(seed), tuner) in done or (left is not None and left <= 0):
                continue
            rows = trials_of(tuner, n, seed, options.studies, left)
            for row in rows if len(rows) >= least(tuner, n) else ():
                append(options.table, row, COLUMNS)
    print("simulated clusters; s an iteration of the schedule that measured best so far")
    print("\n".join(summary(read(options.table), n)))
    return 0


def budget(tuner: str, n: int) -> int:
    """How many trials a tuner has on ``n`` machines."""
    return MORE_TRIALS.get(n, TRIALS[tuner]) if tuner == "structured" else TRIALS[tuner]


def least(tuner: str, n: int) -> int:
    """How many trials make a run complete."""
    return budget(tuner, n) if n <= 10 or tuner != "k-fastest" else 8


def trials_of(tuner: str, n: int, seed: int, studies: Path, seconds: float | None) -> list[dict[str, Any]]:
    """Return the rows of one run, fewer than its trials where time ran out."""
    simulation = Simulation(make_cluster(n, seed), seed=seed)
    if tuner in PEERS:
        default = space(n).default
        first = simulation(default)
        rest = islice(PEERS[tuner](n, first, seed), budget(tuner, n) - 1)
        told = [(default, first, 0.0), *((c, simulation(c), 0.0) for c in rest)]
    else:
        told = _studied(tuner, n, seed, simulation, studies, seconds)
    rows = []
    for i, (configuration, got, ask_s) in enumerate(told):
        exact = simulation.exact(configuration)["iteration_time"]
        usual = ""
        if n <= TYPICAL_UP_TO:
            usual = f"{typical(simulation, simulation.schedule(configuration)):.4f}"
        seconds = f"{got['iteration_time']:.4f}", f"{exact:.4f}"
        rows.append(dict(zip(COLUMNS, (n, seed, tuner, i, *seconds, round(ask_s, 2), usual), strict=True)))
    return rows


def _studied(
    tuner: str, n: int, seed: int, simulation: Simulation, studies: Path, seconds: float | None
) -> list[tuple[Any, Any, float]]:
    """Configurations, measurements and seconds of ask() of a study of ours, gone on with where it stopped."""
    machines, began = space(n), time.monotonic()
    model = scheduling_model(machines, simulation.cluster) if tuner == "structured" else machines
    options = {"transform": "log"} if tuner == "generic" else {}
    study = boat.Study(
        model,
        minimize="iteration_time",
        random_seed=seed,
        storage=studies / f"sgd-{n}.db",
        name=f"{tuner}-{seed}",
        **options,
    )
    boat.resolve_orphans(study)
    asked = {}
    while study.n_counted < budget(tuner, n) and (seconds is None or time.monotonic() - began < seconds):
        before = time.monotonic()
        trial = study.ask()
        asked[trial.number] = time.monotonic() - before
        simulation.calls = study.n_counted - 1  # each trial's noise, whoever runs it
        study.tell(trial, observed(simulation)(trial.configuration))
        print(f"simulated: {tuner}, cluster {seed}, trial {study.n_counted}: ", end="")
        print(f"{study.objective_of(study.trials[trial.number]):.2f} s", flush=True)
    finished = [trial for trial in study.trials.finished if trial.measurements]
    return [(t.configuration, t.measurements, asked.get(t.number, np.nan)) for t in finished]


def summary(rows: Sequence[dict[str, str]], n: int) -> list[str]:
    """Return a line for each tuner and measure: medians over seeds of the best so far, trials to within a
    share of the best known, and the seconds that a suggestion took: their median, and the longest."""
    within = WITHIN if n < 100 else WITHIN_OF_MANY
    best = [row for row in read(best_known.TABLE) if row["machines"] == str(n)]
    mine = [row for row in rows if row["machines"] == str(n)]
    runs: dict[str, dict[str, list[dict[str, str]]]] = {}
    for row in mine:
        runs.setdefault(row["tuner"], {}).setdefault(row["seed"], []).append(row)
    lines = []
    for measure, (column, said) in MEASURES.items():
        told = {tuner: seeds for tuner, seeds in runs.items() if _has(measure, seeds)}
        known = {row["seed"]: float(row[column]) for row in best if row[column]}
        for row in mine:  # what a tuner found may be better still
            if row[measure] and row["seed"] in known:
                known[row["seed"]] = min(known[row["seed"]], float(row[measure]))
        if not known or not told:
            continue
        head = f"over best known   s a suggestion   trials to {within:.0%}"
        lines += [f"{said}:", f"{'tuner':12s} seeds   at 1     5    10    30   {head}"]
        lines += [_line(tuner, seeds, measure, known, within) for tuner, seeds in told.items()]
        lines.append(f"best known   {len(known):5d} {np.median(list(known.values())):6.2f}")
    return lines


def _line(
    tuner: str,
    seeds: dict[str, list[dict[str, str]]],
    measure: str,
    known: dict[str, float],
    within: float,
) -> str:
    """One tuner's line of the summary; ``known`` is the best known schedule's seconds of each seed."""
    paths = {seed: best_so_far(trials, measure) for seed, trials in seeds.items()}
    at = [np.median([p[min(k, len(p)) - 1] for p in paths.values()]) for k in (1, 5, 10, 30)]
    shares = [p[-1] / known[s] - 1 for s, p in paths.items() if s in known]
    to = [trials_to(p, (1 + within) * known[s]) for s, p in paths.items() if s in known]
    excess = f"{np.median(shares):+.0%}" if shares else "?"
    took = [float(r["ask_s"]) for trials in seeds.values() for r in trials]
    asked = f"{np.nanmedian(took):.1f}, {np.nanmax(took):.0f}" if np.nanmax(took) > 0 else "-"
    reached = ", ".join("-" if k is None else str(k) for k in to)
    return (
        f"{tuner:12s} {len(paths):5d} "
        + "".join(f"{x:6.2f}" for x in at)
        + f"   {excess:>15s}   {asked:>14s}   {reached}"
    )


def _has(measure: str, seeds: dict[str, list[dict[str, str]]]) -> bool:
    return all(row[measure] for trials in seeds.values() for row in trials)


def best_so_far(trials: Sequence[dict[str, str]], measure: str = "exact") -> list[float]:
    """Return, after each trial, the seconds of the schedule that measured best until then."""
    path, least, seconds = [], np.inf, np.inf
    for trial in sorted(trials, key=lambda row: int(row["trial"])):
        if float(trial["measured"]) < least:
            least, seconds = float(trial["measured"]), float(trial[measure])
        path.append(seconds)
    return path


def trials_to(path: Sequence[float], target: float) -> int | None:
    """Return after how many trials a path is at a target or below; None where it never is."""
    return next((i + 1 for i, value in enumerate(path) if value <= target), None)


if __name__ == "__main__":
    raise SystemExit(main())
