"""``python -m benchmarks.compare``: tuners on problems with a known optimum, over seeds.

After every trial each tuner says which configuration it would recommend; what counts is the noise-free value
there. All begin with the default configuration. Peers and our generic tuner see the objective alone.
"""

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median as middle

import numpy as np

from benchmarks.censored import bootstrap, first_within, median, quantile, ratio_of_medians
from benchmarks.figures import markdown_table
from benchmarks.machine import described, load
from benchmarks.peers.environment import Unavailable
from benchmarks.problems import Problem, problems
from benchmarks.tuners import TUNERS

RESULTS = Path(__file__).parent / "results"
SHARES = (0.10, 0.05, 0.01)  # of the optimum
MILESTONES = (10, 20, 30)


@dataclass(frozen=True)
class Trace:
    """One tuner on one problem with one seed.

    ``gaps`` after each trial: how far the recommendation's noise-free value is above the optimum, as a share
    of it. ``seconds`` that each suggestion and the recommendation after it took.
    """

    problem: str
    tuner: str
    seed: int
    gaps: tuple[float, ...]
    seconds: tuple[float, ...]


def trace(problem: Problem, name: str, seed: int, n_trials: int) -> Trace:
    """Run a tuner; the noise of trial ``i`` depends on the seed and ``i`` alone."""
    gaps, seconds = [], []
    tuner = TUNERS[name](problem, seed)
    try:
        for i in range(n_trials):
            began = time.perf_counter()
            configuration = tuner.ask()
            tuner.tell(configuration, problem.run(configuration, np.random.default_rng([seed, i])))
            gaps.append(problem.gap(tuner.best()))
            seconds.append(time.perf_counter() - began)
    finally:
        tuner.close()
    return Trace(problem.name, name, seed, tuple(gaps), tuple(seconds))


def compare(names: Sequence[str], tuners: Sequence[str], seeds: int, n_trials: int) -> Iterator[Trace]:
    """Yield a trace for every problem, seed and tuner; a tuner that cannot be had is named and left out."""
    known, missing = problems(), set()
    for problem in (known[name] for name in names):
        for seed in range(1, seeds + 1):
            for tuner in tuners:
                if tuner in missing or (tuner == "structured" and problem.structured is None):
                    continue
                try:
                    yield trace(problem, tuner, seed, n_trials)
                except Unavailable as error:
                    print(f"left out: {error}")
                    missing.add(tuner)


def summary(traces: Sequence[Trace], n_trials: int) -> str:
    """Return a table for each problem, and ratios where a structured tuner ran."""
    parts = []
    for problem in dict.fromkeys(item.problem for item in traces):
        mine = [item for item in traces if item.problem == problem]
        names = dict.fromkeys(item.tuner for item in mine)
        by_tuner = {name: [item for item in mine if item.tuner == name] for name in names}
        milestones = [n for n in MILESTONES if n <= n_trials]
        goals = [f"trials to {share:.0%}" for share in SHARES]
        head = ["tuner", *goals, *(f"gap at {n}" for n in milestones), "s / trial"]
        rows = [[name, *_cells(runs, n_trials, milestones)] for name, runs in by_tuner.items()]
        seeds = len(next(iter(by_tuner.values())))
        parts.append(f"## {problem} (seeds: {seeds})\n\n{markdown_table(head, rows)}\n")
        parts += _ratios(by_tuner, n_trials)
    return "\n".join(parts)


def _cells(runs: Sequence[Trace], n_trials: int, milestones: Sequence[int]) -> list[str]:
    """Trials to each share, gaps at the milestones, and the median seconds of a trial."""
    cells = []
    for share in SHARES:
        counts = [first_within(run.gaps, share) for run in runs]
        low, high = bootstrap([counts], median)
        quarter, half, three = (_trials(quantile(counts, q), n_trials) for q in (0.25, 0.5, 0.75))
        sure = f"{_trials(low, n_trials)}-{_trials(high, n_trials)}"
        cells.append(f"{half} [{quarter}-{three}] ({sure})")
    for n in milestones:
        gaps = [100 * run.gaps[n - 1] for run in runs]
        cells.append(f"{median(gaps):.1f} % [{quantile(gaps, 0.25):.1f}-{quantile(gaps, 0.75):.1f}]")
    return [*cells, f"{middle(second for run in runs for second in run.seconds):.2f}"]


def _trials(count: float, n_trials: int) -> str:
    return f">{n_trials}" if np.isinf(count) else f"{count:.0f}"


def _ratios(by_tuner: dict[str, list[Trace]], n_trials: int) -> list[str]:
    """How many times fewer trials the structured tuner needs, with the lower bound that a claim would
    need."""
    if "structured" not in by_tuner:
        return []
    lines = []
    for other in (name for name in by_tuner if name != "structured"):
        for share in SHARES:
            theirs, ours = (
                [first_within(run.gaps, share) for run in by_tuner[name]] for name in (other, "structured")
            )

            def ratio(a: Sequence[float], b: Sequence[float]) -> float:
                return ratio_of_medians(a, b, n_trials)

            if np.isinf(median(ours)):
                lines.append(f"- to {share:.0%}: structured itself did not get there in {n_trials} trials")
                continue
            low, _ = bootstrap([theirs, ours], ratio)
            lines.append(
                f"- to {share:.0%}: {other} needs {ratio(theirs, ours):.1f} times the trials of structured "
                f"(one-sided 95 % bound {low:.1f}; censored runs counted at {n_trials + 1})"
            )
    return ["\n".join(dict.fromkeys(lines)) + "\n"]


def write(traces: Sequence[Trace], path: Path) -> None:
    """Write every trial of every trace as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["problem", "tuner", "seed", "trial", "gap", "seconds"])
        for item in traces:
            for i, (gap, seconds) in enumerate(zip(item.gaps, item.seconds)):
                writer.writerow([item.problem, item.tuner, item.seed, i + 1, f"{gap:.6g}", f"{seconds:.4g}"])


EXPLAINED = """\
Trials until the recommended configuration's noise-free value is within a share of the optimum: median
[quartiles] (90 % bootstrap interval of the median), `>` where the budget ended first. Gaps in percent of the
optimum.
"""


def main() -> None:
    """Compare, print the tables and keep them in ``benchmarks/results``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=list(problems()), choices=list(problems()))
    parser.add_argument("--tuners", nargs="+", default=list(TUNERS), choices=list(TUNERS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="2 seeds of 20 trials: under 10 minutes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for compare.md and compare.csv")
    options = parser.parse_args()
    seeds, n_trials = (2, 20) if options.quick else (options.seeds, options.trials)
    about, traces = described(), []
    options.results.mkdir(parents=True, exist_ok=True)
    for item in compare(options.problems, options.tuners, seeds, n_trials):
        traces.append(item)
        write(traces, options.results / "compare.csv")  # what is done survives an interruption
        spent = sum(item.seconds)
        print(
            f"{item.problem} {item.tuner} seed {item.seed}: gap {item.gaps[-1]:.1%}, {spent:.0f} s",
            flush=True,
        )
    about["load after"] = load()
    where = "\n".join(f"- {name}: {value}" for name, value in about.items())
    text = f"# Tuners compared\n\n{EXPLAINED}\n{summary(traces, n_trials)}\n{where}\n"
    (options.results / "compare.md").write_text(text)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
