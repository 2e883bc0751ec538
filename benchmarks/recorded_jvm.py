"""The recorded JVM as a problem: a finite set of configurations that were measured, and nothing between them.

A trial is a real run, drawn from the repeats of its configuration; the last repeat of each is held out, is
never drawn, and is the truth. So the optimum is the least of few noisy medians and lies a little low for
everybody; a gap of a few percent means nothing here (`_doubt` says how few).
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.problems import Configuration, Problem
from models.jvm_gc.model import jvm_model
from models.jvm_gc.record import DEFAULT, TABLE
from models.jvm_gc.replay import Recorded, Replay, load
from models.jvm_gc.spaces import space

NAMES = ("young_mb", "survivor_ratio", "tenuring")
CHI2_MEDIAN = 0.455  # of one degree of freedom: the median of squares of normal numbers
SECONDS = 7.0  # of one run, the start of the store included


def recorded_jvm(table: Path = TABLE) -> Problem:
    """Return the recorded JVM under the small-rows workload as a problem.

    Raises FileNotFoundError without a table.
    """
    shown, held = _split(load(table))
    allowed = frozenset(held)

    def run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
        key = tuple(configuration[name] for name in NAMES)
        if rng is None:
            return {"p99": held[key]}
        return Replay(shown, seed=int(rng.integers(2**31)), held_out=0)(configuration)

    def measured(young_mb: int, survivor_ratio: int, tenuring: int) -> bool:
        return (young_mb, survivor_ratio, tenuring) in allowed

    return Problem(
        "jvm-recorded",
        space().constrain(measured),
        "p99",
        run,
        known_optimum=min(held.values()),
        structured=jvm_model,
        choices=tuple(dict(zip(NAMES, key)) for key in sorted(held)),
        noise="repeats of real runs",
        seconds=SECONDS,
        kind="structured",
        doubt=_doubt(shown),
    )


def _split(runs: list[Recorded]) -> tuple[list[Recorded], Mapping[tuple[Any, ...], float]]:
    """Return the runs that may be drawn, and the truth of each configuration (young, ratio, tenuring).

    Held out is the last repeat; where more are left than two, the last two. Runs that failed or that other
    programs disturbed are no truth where a quiet one is left.
    """
    repeats: dict[tuple[Any, ...], list[Recorded]] = defaultdict(list)
    for run in runs:
        if set(run.configuration) == set(NAMES) and not run.error:
            repeats[tuple(run.configuration[name] for name in NAMES)].append(run)
    shown, held = [], {}
    for key, found in repeats.items():
        if len(found) < 2:
            continue
        found.sort(key=lambda run: run.repeat)
        n_held = 1 if len(found) < 4 else 2
        last = [run for run in found[-n_held:] if not run.disturbed] or found[-n_held:]
        held[key] = median(run.measurements["p99"] for run in last)
        shown += found[:-n_held]
    if DEFAULT not in held:
        raise ValueError(f"the table has too few runs of the default {DEFAULT}: record more.")
    return shown, held


def _doubt(shown: list[Recorded]) -> float:
    """Return the typical standard deviation of a run's logarithm (a share), which is that of a truth of one
    run: from the pairs of repeats that may be drawn and that other programs left alone."""
    repeats: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for run in shown:
        if not run.disturbed:
            repeats[tuple(run.configuration[name] for name in NAMES)].append(run.measurements["p99"])
    spreads = [np.std(np.log(values), ddof=1) for values in repeats.values() if len(values) > 1]
    return float(np.sqrt(np.median(np.square(spreads)) / CHI2_MEDIAN))
