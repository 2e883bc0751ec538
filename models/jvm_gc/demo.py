"""Tune the garbage collector of a real JVM: ``make demo``. Where there is no Java or no jar of the store it
replays recorded runs and says so (``make demo LIVE=1`` fails instead).

Twelve trials at the most, the untouched configuration among them; then the best and the baseline are measured
anew, in pairs, under load that the search never saw. Search trials never count as evidence.
"""

import argparse
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import t as student_t

import boatppl as boat
from boatppl.evidence import searched
from boatppl.session import INTERRUPTED
from boatppl.storage import open_storage
from models.jvm_gc import replay
from models.jvm_gc.medium import NoRoom
from models.jvm_gc.model import jvm_model
from models.jvm_gc.provision import ProvisionError
from models.jvm_gc.report import write_report
from models.jvm_gc.spaces import collector_space, space
from models.jvm_gc.system import JvmGc, RunFailed
from models.jvm_gc.workload import WORKLOADS, Workload

TRIALS, PAIRS, LONG_S = 12, 8, 45.0
EVIDENCE_SEED = 9_000_000  # load seeds of the pairs: far from the search's
UNTOUCHED = ("serial", "parallel", "g1")
REPLAYED = "REPLAY: no live JVM here, these are recorded runs of another day"

Run = Callable[[Mapping[str, Any]], Mapping[str, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    options = _parser().parse_args(arguments)
    matplotlib.use("Agg")  # a report is written; no window opens, nor needs a screen
    workload = WORKLOADS[options.workload]
    live = _live(options, workload)
    if live is None and (options.live or options.collectors):
        print("LIVE runs were asked for and cannot be had: nothing was tuned.", file=sys.stderr)
        return 1
    configurations = collector_space(workload) if options.collectors else space(workload)
    run: Run
    if live is None:
        print(REPLAYED)
        try:
            table = replay.Replay(replay.load(workload=options.workload), seed=options.seed)
        except ValueError as error:
            print(f"no replay of {options.workload}: {error}", file=sys.stderr)
            return 1
        configurations, run = recorded_space(configurations, table), table
    else:
        print(f"LIVE: {live.java}, H2 {live.h2.name}, store on {live.medium.kind}")
        run = live
    print(_introduction(options, workload, live))
    name, done = next_study(Path(options.storage), study_name(options, live), options.trials)
    gone_on = f", which goes on after {done} trials" if done else ""
    print(f"Every trial is kept in {options.storage}, study {name!r}{gone_on}.")
    result = boat.optimize(
        run,
        configurations if options.collectors else jvm_model(configurations, workload.heap_mb),
        minimize="p99",
        n_trials=options.trials,
        storage=options.storage,
        name=name,
        random_seed=options.seed,
        control_every=0,
        transform="log" if options.collectors else None,  # of the generic model, where there is no other
        robust=options.collectors,
    )
    print(result)
    if result.stopped == INTERRUPTED:
        print("Interrupted, so nothing is compared; the same command goes on with the next trial.")
        return 130  # what a shell calls a program that ended so
    evidence = _evidence(result, live, run, configurations, workload, options)
    pages = write_report(result, evidence, Path(options.report), REPLAYED if live is None else "")
    print(f"report: {', '.join(str(page) for page in pages)}")
    if live is None:
        print(REPLAYED)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.jvm_gc.demo", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--live", action="store_true", help="fail rather than replay recorded runs (or: LIVE=1)"
    )
    where.add_argument(
        "--replay", action="store_true", help="replay recorded runs even where a JVM could run"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="small-rows")
    parser.add_argument(
        "--collectors",
        action="store_true",
        help="tune the choice of the collector too, without a model of it: live only",
    )
    parser.add_argument("--storage", default="demo.db", help="the .db file that keeps every trial (demo.db)")
    parser.add_argument("--report", default="report", help="folder of the report")
    parser.add_argument("--no-long", action="store_true", help="leave the 45 s pair out")
    return parser


def _live(options: argparse.Namespace, workload: Workload) -> JvmGc | None:
    if options.replay:
        return None
    options.live = options.live or os.environ.get("LIVE", "") not in ("", "0")
    try:
        return JvmGc(workload, seed=1_000 * options.seed)
    except (ProvisionError, NoRoom) as error:
        print(f"no live JVM: {error}", file=sys.stderr)
        return None


def study_name(options: argparse.Namespace, live: JvmGc | None) -> str:
    """The study's name in its file: one for each system and seed, so that no study mixes workloads, media, or
    recorded runs that were held out with others."""
    what = "the collector" if options.collectors else "SerialGC"
    where = "recorded runs" if live is None else f"live, store on {live.medium.kind}"
    return f"{what} under {options.workload}, {where}, seed {options.seed}"


def next_study(file: Path, name: str, trials: int) -> tuple[str, int]:
    """Return the first of ``name``, ``name (2)``, ... in the file with fewer than ``trials`` finished trials,
    and how many it has: an interrupted study is gone on with, a finished one is left as it is."""
    with open_storage(file) as storage:
        known = {study.name for study in storage.studies()}
        for number in count(1):
            candidate = name if number == 1 else f"{name} ({number})"
            done = len(searched(storage.trials(candidate))) if candidate in known else 0
            if done < trials:
                return candidate, done
    raise AssertionError  # count never ends


def _introduction(options: argparse.Namespace, workload: Workload, live: JvmGc | None) -> str:
    what = "The collector and its flags" if options.collectors else "Three flags of SerialGC"
    seconds = f", about {workload.warmup_s + workload.measured_s + 1:.0f} s each" if live else ""
    return (
        f"{what} at a fixed heap of {workload.heap_mb} MB, to lower p99: the latency that 1 % of\n"
        f"{workload.rate:,g} operations a second on an H2 store exceed. "
        f"At most {options.trials} runs{seconds}; the first is the default."
    )


def recorded_space(full: boat.Space, table: replay.Replay) -> boat.Space:
    """Return the space narrowed to the configurations that were measured."""
    measured = {tuple(sorted(configuration.items())) for configuration in table.configurations}

    def recorded(young_mb: int, survivor_ratio: int, tenuring: int) -> bool:
        point = {"young_mb": young_mb, "survivor_ratio": survivor_ratio, "tenuring": tenuring}
        return tuple(sorted(point.items())) in measured

    return full.constrain(recorded)


def _evidence(
    result: boat.Result,
    live: JvmGc | None,
    run: Run,
    configurations: boat.Space,
    workload: Workload,
    options: argparse.Namespace,
) -> list[str]:
    """Measure best and baseline anew in pairs; return the sentences that say what came of it, and print
    them."""
    best, default = dict(result.best_configuration), configurations.default
    if isinstance(run, replay.Replay):
        lines = _recorded_evidence(run, best, default, options.workload)
    elif live is not None:
        found: dict[str, Any] = {"java": live.java, "h2": live.h2, "medium": live.medium}
        fresh = JvmGc(workload, seed=EVIDENCE_SEED + 1_000 * options.seed, **found)
        print(
            "Search trials are no evidence. The best and SerialGC's defaults are measured anew in "
            f"{options.pairs} pairs of random order,\nunder load of its own; then the untouched collectors."
        )
        lines = [pairs_sentence(measure_pairs(fresh, best, default, options.pairs, options.seed))]
        if not options.no_long:
            long = JvmGc(replace(workload, measured_s=LONG_S), seed=EVIDENCE_SEED + 500, **found)
            [(before, after)] = measure_pairs(long, best, default, 1, options.seed)
            lines.append(
                f"one pair of {LONG_S:.0f} s: {after:.1f} ms against {before:.1f} ms, "
                f"{before / after:.2f}x better"
            )
        for collector in UNTOUCHED[1:]:  # the baseline is the first, untouched
            values = [p99_or_worst(fresh, {"collector": collector}) for _ in range(3)]
            lines.append(untouched_sentence(collector, values))
    print("\n".join(lines))
    return lines


def _recorded_evidence(
    table: replay.Replay, best: Mapping[str, Any], default: Mapping[str, Any], workload: str
) -> list[str]:
    before, after, (_, least) = table.truth(default), table.truth(best), table.best()
    lines = [
        f"recorded repeats that were held out of the search: p99 {after:.1f} ms against {before:.1f} ms with "
        f"SerialGC's defaults: {before / after:.2f}x better (the best of all {len(table.configurations)} "
        f"recorded configurations: {least:.1f} ms)"
    ]
    for collector in UNTOUCHED:
        runs = [
            run for run in replay.load(workload=workload) if run.configuration == {"collector": collector}
        ]
        values = [run.measurements["p99"] for run in runs if not run.disturbed and not run.error]
        if values:
            lines.append(untouched_sentence(collector, values))
    return lines


def untouched_sentence(collector: str, values: Sequence[float]) -> str:
    """Say what a collector with no flag but the one that names it does; a failed run counts as infinite."""
    middle = float(np.median(values))
    said = f"p99 {middle:.1f} ms" if np.isfinite(middle) else "could not carry the load"
    return f"untouched {collector}: {said} (median of {len(values)} runs)"


def p99_or_worst(run: Run, configuration: Mapping[str, Any]) -> float:
    """The p99 of a run in ms, infinite if it failed."""
    try:
        return run(configuration)["p99"]
    except RunFailed:
        return float("inf")


def measure_pairs(
    run: Run, best: Mapping[str, Any], default: Mapping[str, Any], pairs: int, seed: int
) -> list[tuple[float, float]]:
    """Measure baseline and best alternately, the order random within each pair; return (baseline, best) p99
    in ms."""
    order, found = random.Random(seed), []
    for _ in range(pairs):
        names = ["default", "best"]
        order.shuffle(names)
        p99 = {name: p99_or_worst(run, best if name == "best" else default) for name in names}
        found.append((p99["default"], p99["best"]))
        before, after = found[-1]
        print(
            f"   pair: {before:6.1f} ms with SerialGC's defaults, {after:6.1f} ms with the best", flush=True
        )
    return found


def lower_bound(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the geometric-mean ratio baseline/best and its one-sided 95 % lower bound (Student's t on the
    log ratios)."""
    with np.errstate(all="ignore"):
        logs = np.log(np.divide(*np.transpose(pairs)))
    if len(logs) < 2 or not np.isfinite(logs).all():  # one pair, or a run that failed
        return float(np.exp(np.median(logs))), 0.0
    margin = student_t.ppf(0.95, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return float(np.exp(logs.mean())), float(np.exp(logs.mean() - margin))


def pairs_sentence(pairs: Sequence[tuple[float, float]]) -> str:
    """Return what the pairs say, as a sentence."""
    ratio, bound = lower_bound(pairs)
    before, after = (np.median(side) for side in zip(*pairs, strict=True))
    return (
        f"{len(pairs)} pairs under load the search never saw: p99 {after:.1f} ms against {before:.1f} ms "
        f"with SerialGC's defaults, {ratio:.2f}x better (95 % sure of at least {bound:.2f}x)"
    )


if __name__ == "__main__":
    raise SystemExit(main())
