"""Tune the garbage collector of a real JVM: ``make demo`` (``make demo LIVE=1`` fails rather than replay
recorded runs).

Twelve trials at the most, the untouched configuration among them; then the best and the baseline are measured
anew, in pairs, under load that the search never saw. Search trials never count as evidence.
"""

import argparse
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

import boatppl as boat
from models.jvm_gc import replay
from models.jvm_gc.model import jvm_model
from models.jvm_gc.provision import ProvisionError
from models.jvm_gc.report import write_report
from models.jvm_gc.spaces import space
from models.jvm_gc.system import JvmGc
from models.jvm_gc.workload import WORKLOADS

TRIALS, PAIRS, LONG_S = 12, 8, 45.0
EVIDENCE_SEED = 9_000_000  # load seeds of the pairs: far from the search's
REPLAYED = "REPLAY: no live JVM here, these are recorded runs of another day"

Run = Callable[[Mapping[str, Any]], Mapping[str, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    options = _parser().parse_args(arguments)
    workload = WORKLOADS[options.workload]
    live = _live(options, workload)
    if live is None and options.live:
        return 1
    configurations = space(workload)
    run: Run
    if live is None:
        print(REPLAYED)
        table = replay.Replay(replay.load(workload=options.workload), seed=options.seed)
        configurations, run = recorded_space(configurations, table), table
    else:
        print(f"LIVE: {live.java}, H2 {live.h2.name}, store on {live.medium.kind}")
        run = live
    result = boat.optimize(
        run,
        jvm_model(configurations, workload.heap_mb),
        minimize="p99",
        n_trials=options.trials,
        storage=options.storage,
        random_seed=options.seed,
        control_every=0,
    )
    print(result)
    evidence = _evidence(result, live, run, configurations, workload, options)
    pages = write_report(result, evidence, Path(options.report), live is not None)
    print(f"report: {', '.join(str(page) for page in pages)}")
    if live is None:
        print(REPLAYED)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.jvm_gc.demo", description=__doc__)
    parser.add_argument("--live", action="store_true", default=os.environ.get("LIVE", "") not in ("", "0"))
    parser.add_argument(
        "--replay", action="store_true", help="replay recorded runs even where a JVM could run"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="small-rows")
    parser.add_argument("--storage", default=None, help="a .db file that keeps the study")
    parser.add_argument("--report", default="report", help="folder of the report")
    parser.add_argument("--no-long", action="store_true", help="leave the 45 s pair out")
    return parser


def _live(options: argparse.Namespace, workload: Any) -> JvmGc | None:
    if options.replay:
        return None
    try:
        return JvmGc(workload, seed=1_000 * options.seed)
    except ProvisionError as error:
        print(f"no live JVM: {error}", file=sys.stderr)
        return None


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
    workload: Any,
    options: argparse.Namespace,
) -> list[str]:
    """Measure best and baseline anew in pairs; return the sentences that say what came of it, and print
    them."""
    best, default = dict(result.best_configuration), configurations.default
    lines = []
    if live is None:
        table = run if isinstance(run, replay.Replay) else replay.Replay()
        before, after = table.truth(default), table.truth(best)
        lines.append(
            f"held-out repeats: p99 {after:.1f} ms against {before:.1f} ms with SerialGC's defaults: "
            f"{before / after:.2f}x better"
        )
    else:
        found = {"java": live.java, "h2": live.h2, "medium": live.medium}
        fresh = JvmGc(workload, seed=EVIDENCE_SEED + 1_000 * options.seed, **found)
        lines.append(pairs_sentence(measure_pairs(fresh, best, default, options.pairs, options.seed)))
        if not options.no_long:
            long = JvmGc(replace(workload, measured_s=LONG_S), seed=EVIDENCE_SEED + 500, **found)
            [(before, after)] = measure_pairs(long, best, default, 1, options.seed)
            lines.append(
                f"one pair of {LONG_S:.0f} s: {after:.1f} ms against {before:.1f} ms, {before / after:.2f}x"
            )
        for collector in ("parallel", "g1"):
            values = [fresh.untouched(collector)["p99"] for _ in range(3)]
            lines.append(f"untouched {collector}: p99 {np.median(values):.1f} ms (median of 3)")
    print("\n".join(lines))
    return lines


def measure_pairs(
    run: Run, best: Mapping[str, Any], default: Mapping[str, Any], pairs: int, seed: int
) -> list[tuple[float, float]]:
    """Measure baseline and best alternately, the order random within each pair; return (baseline, best) p99
    in ms."""
    order, found = random.Random(seed), []
    for _ in range(pairs):
        names = ["default", "best"]
        order.shuffle(names)
        p99 = {name: run(best if name == "best" else default)["p99"] for name in names}
        found.append((p99["default"], p99["best"]))
        before, after = found[-1]
        print(
            f"   pair: {before:6.1f} ms with SerialGC's defaults, {after:6.1f} ms with the best", flush=True
        )
    return found


def lower_bound(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the geometric-mean ratio baseline/best and its one-sided 95 % lower bound (Student's t on the
    log ratios)."""
    logs = np.log([before / after for before, after in pairs])
    if len(logs) < 2:
        return float(np.exp(logs.mean())), 0.0
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
