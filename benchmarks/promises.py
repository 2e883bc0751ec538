"""Measure the promises: every figure comes from a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure
from benchmarks.peers.environment import Unavailable, environment

ROOT = Path(__file__).parent.parent
REPEATS = 3  # of figures that a busy machine disturbs: the median is reported


@dataclass(frozen=True)
class Plan:
    """How much is measured: the quick plan takes under 10 minutes on 2 cores."""

    windows: dict[str, int]
    limit: float  # seconds a large fit may take
    memory_every: int
    cold_repeats: int


QUICK = Plan({"10": 7, "30": 9, "100": 3}, limit=60, memory_every=8, cold_repeats=1)
FULL = Plan({"10": 11, "30": 15, "100": 7}, limit=600, memory_every=1, cold_repeats=3)


@dataclass(frozen=True)
class Found:
    """What a task said: its lines merged, ``lines`` as they came, ``stopped`` where the limit or an error
    ended it."""

    merged: dict[str, Any]
    lines: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None


def run_task(name: str, *, limit: float = 600, fresh: bool = False, **arguments: Any) -> Found:
    """Run a task in a process of its own; ``fresh`` gives it empty compilation caches."""
    command = [sys.executable, "-m", "benchmarks.tasks", name, json.dumps(arguments)]
    with tempfile.TemporaryDirectory() as folder:
        flags = ",".join(
            filter(None, [os.environ.get("PYTENSOR_FLAGS"), f"base_compiledir={folder}/pytensor"])
        )
        caches = {"PYTENSOR_FLAGS": flags, "NUMBA_CACHE_DIR": f"{folder}/numba"} if fresh else {}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **caches}, capture_output=True, text=True, timeout=limit
            )
            output, stopped = done.stdout, _last_words(done.stderr) if done.returncode else None
        except subprocess.TimeoutExpired as error:
            output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
            stopped = f"stopped after {limit:.0f} s"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return Found({key: value for line in lines for key, value in line.items()}, lines, stopped)


def _last_words(stderr: str) -> str:
    return (stderr.strip().splitlines() or ["no message"])[-1][:160]


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield every figure as soon as it is there."""
    run_task("compile_nodes")  # fills the caches of this machine, so that the next ones are warm
    run_task("first_suggestion")
    yield from compiling(plan)
    yield from first_trial()
    yield from growing(plan)
    yield from many_rows(plan)
    yield from many_parameters(plan)
    yield from memory(plan)


def compiling(plan: Plan) -> Iterator[Figure]:
    """Compile: the slowest node, warm and cold."""
    for fresh, bound, repeats in ((False, 3.0, REPEATS), (True, 8.0, plan.cold_repeats)):
        cache = "cold" if fresh else "warm"
        runs = [run_task("compile_nodes", fresh=fresh) for _ in range(repeats)]
        good = [run.merged for run in runs if run.stopped is None]
        what = f"slowest node, {cache} cache"
        if not good:
            yield Figure("compile", what, bound, None, "s", str(runs[0].stopped))
            continue
        middle = sorted(good, key=lambda found: max(found["nodes"].values()))[len(good) // 2]
        each = ", ".join(f"{name} {seconds:.1f}" for name, seconds in middle["nodes"].items())
        note = f"in order: {each}; the first includes {middle['likelihood']:.1f} s of what serves every node"
        yield Figure("compile", what, bound, max(middle["nodes"].values()), "s", note)
        first = run_task("first_suggestion", fresh=fresh)
        asks = first.merged.get("asks")
        note = first.stopped or f"the next ones {', '.join(f'{seconds:.2f}' for seconds in asks[1:])} s"
        what = f"first modelled ask() of a process, 3 nodes, {cache} cache"
        yield Figure("compile", what, None, asks and asks[0], "s", note)


def first_trial() -> Iterator[Figure]:
    """First trial: from the call of optimize() to the start of the first run."""
    for fresh in (False, True):
        found = run_task("first_trial", fresh=fresh)
        cache = "cold" if fresh else "warm"
        note = found.stopped or (
            f"before: import {found.merged['imported']:.1f} s, DAGModel {found.merged['modelling']:.2f} s"
        )
        what = f"optimize() to the start of the first run, {cache} cache"
        yield Figure("first trial", what, 3.0, found.merged.get("seconds"), "s", note)


def growing(plan: Plan) -> Iterator[Figure]:
    """Suggestions of one growing study, what it compiles meanwhile, and BoTorch beside it."""
    peer, reason = None, ""
    try:
        peer = str(environment("botorch"))
    except Unavailable as error:
        reason = str(error)
    found = run_task("grow", windows=plan.windows, peer=peer)
    if "counts" in found.merged:
        counts = found.merged["counts"]
        what = f"compilations while 4 trials become {found.merged['rows']}"
        note = f"functions compiled since: numba {counts['numba']}, PyTensor {counts['pytensor']}"
        yield Figure("compile", what, 0, counts["numba"] + counts["pytensor"], "", note)
    else:
        yield Figure("compile", "compilations while data grow", 0, None, "", str(found.stopped))
    bounds = {30: 1.0, 100: 4.0}
    windows = [line for line in found.lines if "ours" in line]
    for line in windows:
        ours = line["ours"]
        spread = f"{min(ours):.2f}-{max(ours):.2f} s"
        note = f"median of {len(ours)}, {spread}, MCMC included; load {line['load']}"
        what = f"ask(), 3 nodes, {line['trials']} trials"
        yield Figure("suggestion", what, bounds.get(line["trials"]), median(ours), "s", note)
    for line in windows:
        yield beside(line, found, reason)
    if found.stopped:
        yield Figure("suggestion", "growing study", None, None, "", found.stopped)


def beside(line: dict[str, Any], found: Found, reason: str) -> Figure:
    """Our ask() divided by BoTorch's, at one number of trials."""
    what = f"our ask() / BoTorch's, same data, {line['trials']} trials"
    if not line["theirs"]:
        return Figure("beside BoTorch", what, None, None, "", reason or str(found.stopped))
    theirs = {part: median(ask[part] for ask in line["theirs"]) for part in line["theirs"][0]}
    note = (
        f"BoTorch {found.merged['peer']['botorch']} {theirs['total']:.2f} s: "
        f"fit of 3 GPs {theirs['fit']:.2f}, search {theirs['search']:.2f}"
    )
    ratio = median(line["ours"]) / theirs["total"]
    return Figure("beside BoTorch", what, 1.0 if line["trials"] == 30 else None, ratio, "", note)


def many_rows(plan: Plan) -> Iterator[Figure]:
    """Growth: one node over machines, a curve of five numbers of rows."""
    machines, bounds = 10, {100: 10.0, 1000: 30.0}
    for trials in (10, 30, 100, 300, 1000):
        bound = bounds.get(trials)
        found = run_task("rows", limit=plan.limit + 30, machines=machines, trials=trials)
        what = f"ask(), {machines * trials:,} rows ({machines} machines x {trials:,} trials)"
        asks = [line["seconds"] for line in found.lines if "seconds" in line]
        if asks:
            others = f"; the next {asks[1]:.1f} s" if len(asks) > 1 else ""
            compiled = f"compilation {found.merged['compiling']:.1f} s apart"
            yield Figure("growth", what, bound, asks[0], "s", f"first of a process, {compiled}{others}")
        elif found.stopped and found.stopped.startswith("stopped"):
            yield Figure("growth", what, bound, plan.limit, "s", "stopped there", at_least=True)
        else:
            yield Figure("growth", what, bound, None, "s", str(found.stopped))


def many_parameters(plan: Plan) -> Iterator[Figure]:
    """Growth: the schedule of simulated clusters."""
    for machines, bound in ((100, 20.0), (300, 60.0)):
        found = run_task("schedule", limit=plan.limit, machines=machines, trials=4)
        asks = [line["seconds"] for line in found.lines if "seconds" in line]
        parameters = found.merged.get("parameters", "?")
        what = f"ask(), {parameters} coordinates (a schedule of {machines} machines)"
        if len(asks) == 2:
            note = f"after 5 trials; after 4, compilation apart, {asks[0]:.1f} s"
            yield Figure("growth", what, bound, asks[1], "s", note)
        else:
            yield Figure("growth", what, bound, None, "s", str(found.stopped))


def memory(plan: Plan) -> Iterator[Figure]:
    """Memory: growth of the resident set after the first modelled suggestion."""
    found = run_task("memory", limit=1800, trials=200, every=plan.memory_every)
    every = plan.memory_every
    how = "each asked for" if every == 1 else f"every {every}th asked for, the others told"
    if "growth" not in found.merged:
        yield Figure("memory", "growth in 200 trials", 50.0, None, "MB", str(found.stopped))
        return
    curve = ", ".join(f"{line['growth']:.0f}" for line in found.lines)
    note = f"{how}; at start {found.merged['start']:.0f} MB; every 25 trials: {curve}"
    yield Figure("memory", "growth in 200 trials", 50.0, found.merged["growth"], "MB", found.stopped or note)
