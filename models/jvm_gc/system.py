"""The system under test: a JVM that runs an embedded H2 store under an open-loop load, one run a call."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.jvm_gc import gc_log, provision
from models.jvm_gc.flags import FIXED, collector_flags
from models.jvm_gc.machine import Window
from models.jvm_gc.medium import PREFIX, Medium, choose_medium, sweep
from models.jvm_gc.workload import Workload

LEAST_ACHIEVED = 0.99  # share of the offered load
MOST_OTHER_CPU = 0.25  # cores that other processes may use during the window before a run counts as disturbed
MOST_STALLED = 0.004  # share of the window that the machine may stand still: p99 is about the worst 0.01


class RunFailed(RuntimeError):
    """A run that gave no measurements, or none that count: the store died, hung or could not keep up."""


@dataclass(frozen=True)
class Run:
    """One run of the JVM, whatever became of it."""

    configuration: Mapping[str, object]
    load_seed: int
    measurements: Mapping[str, float]  # empty if the run gave none
    other_cpu: float  # cores that other processes used during the window; NaN where the system does not tell
    stalled: float  # share of the window in which the machine stood still; NaN if unknown
    achieved: float  # completed / offered in the window; NaN if the run gave none
    wall_s: float
    medium: str
    started: float  # seconds since the epoch
    error: str = ""

    @property
    def disturbed(self) -> bool:
        """Did something outside the JVM take more of the machine than a measurement of p99 can bear?"""
        return self.other_cpu > MOST_OTHER_CPU or self.stalled > MOST_STALLED

    @property
    def disturbance(self) -> float:
        """How far a run is from the limits of a quiet one: above 1 is disturbed, 0 if nothing is known."""
        shares = (self.other_cpu / MOST_OTHER_CPU, self.stalled / MOST_STALLED)
        return max((share for share in shares if share == share), default=0.0)


class JvmGc:
    """Run the store under its load with a configuration of the collector and measure it.

    Calling it is one trial: ``JvmGc()({"young_mb": 32, "survivor_ratio": 8, "tenuring": 15})`` takes about
    7 s and returns gc_rate and full_rate (1/s), gc_pause, full_pause and max_pause (ms), copied_mb_s,
    promoted_mb_s and allocation_mb_s (MB/s), live_mb (MB left by full collections), p50, p99, p999 (ms,
    from the intended arrival) and achieved (a share). A mean over nothing is left out: full_pause and
    live_mb without a full collection.

    Each call has a load seed of its own, a function of ``seed`` and the number of the call. Every run, the
    disturbed ones that were repeated and the failed ones included, is kept in ``log``.

    Parameters
    ----------
    workload
        What the store is put under, ``WORKLOADS["small-rows"]`` unless given.
    seed
        First of the load seeds.
    java, h2, medium
        Found (``provision.find_java``, ``provision.find_h2``, ``choose_medium``) unless given.

    Raises ProvisionError or NoRoom at construction when Java, the jar or room for the store cannot be had,
    RunFailed when a run gives no measurements or achieves under 99 % of the offered load.
    """

    def __init__(
        self,
        workload: Workload | None = None,
        *,
        seed: int = 0,
        java: Path | None = None,
        h2: Path | None = None,
        medium: Medium | None = None,
    ) -> None:
        self.workload = workload or Workload()
        self.seed = seed
        self.java = java or provision.find_java()
        self.h2 = h2 or provision.find_h2()
        self.medium = medium or choose_medium(self.workload)
        self.log: list[Run] = []
        sweep(self.medium.folder)

    def __call__(self, configuration: Mapping[str, object]) -> dict[str, float]:
        """Measurements of one run. A disturbed run is repeated once; the less disturbed of the two counts,
        a repeat that died in any case."""
        load_seed = self.seed + len(self.log)
        run = self.measure(configuration, load_seed)
        if run.disturbed:
            again = self.measure(configuration, load_seed)
            run = again if again.disturbance < run.disturbance else run
        if run.error:
            raise RunFailed(run.error)
        return dict(run.measurements)

    def measure(self, configuration: Mapping[str, object], load_seed: int) -> Run:
        """One run, never repeated; a failure is in the result's ``error``. Appended to ``log``."""
        flags = collector_flags(configuration, self.workload.heap_mb)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=self.medium.folder))
        started, clock = time.time(), time.monotonic()
        measured: dict[str, float] = {}
        other_cpu = stalled = float("nan")
        error = ""
        try:
            report, window = _drive(self._command(flags, folder, load_seed), folder, self._timeout())
            other_cpu, stalled = window.other_cpu, window.stalled
            measured = _measurements(report, folder / "gc.log")
            if measured["achieved"] < LEAST_ACHIEVED:
                error = (
                    f"overloaded: {measured['achieved']:.1%} of the offered {self.workload.rate:g} "
                    f"operations/s were served, a run counts from {LEAST_ACHIEVED:.0%}. The configuration "
                    "cannot carry the load."
                )
        except RunFailed as failed:
            error = str(failed)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        run = Run(
            configuration=dict(configuration),
            load_seed=load_seed,
            measurements=measured,
            other_cpu=other_cpu,
            stalled=stalled,
            achieved=measured.get("achieved", float("nan")),
            wall_s=time.monotonic() - clock,
            medium=self.medium.kind,
            started=started,
            error=error,
        )
        self.log.append(run)
        return run

    def untouched(self, collector: str) -> dict[str, float]:
        """Measurements of one run of a collector with no flag but the one that chooses it."""
        return self({"collector": collector})

    def _timeout(self) -> float:
        return 60 + 2 * (self.workload.warmup_s + self.workload.measured_s)

    def _command(self, flags: list[str], folder: Path, load_seed: int) -> list[str]:
        load = self.workload
        heap = [f"-Xms{load.heap_mb}m", f"-Xmx{load.heap_mb}m"]
        arguments = {
            "url": f"jdbc:h2:file:{folder}/store;CACHE_SIZE={load.cache_kb}",
            "rows": load.rows,
            "row_bytes": load.row_bytes,
            "rate": load.rate,
            "read_share": load.read_share,
            "zipf": load.zipf,
            "warmup_s": load.warmup_s,
            "measured_s": load.measured_s,
            "workers": load.workers,
            "seed": load_seed,
        }
        return [
            str(self.java),
            *heap,
            *flags,
            *FIXED,
            f"-Xlog:gc*:file={folder}/gc.log:timenanos,tags:filecount=0",
            "-cp",
            f"{provision.DRIVER}{os.pathsep}{self.h2}",
            "gcbench.GcBench",
            *(f"{name}={value}" for name, value in arguments.items()),
        ]


def _drive(command: list[str], folder: Path, timeout: float) -> tuple[dict[str, float], Window]:
    """Run the driver to its end: its report, and what the rest of the machine did during the window."""
    complaints = folder / "stderr"
    with complaints.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder)
    watchdog = threading.Timer(timeout, process.kill)
    watchdog.start()
    window = Window(process.pid)
    report = None
    try:
        for line in process.stdout or ():
            if line.startswith("WINDOW begin"):
                window.open()
            elif line.startswith("WINDOW end"):
                window.close()
            elif line.startswith("{"):
                report = json.loads(line)
        process.wait()
    finally:
        hung = not watchdog.is_alive()
        watchdog.cancel()
        window.close()
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
    if report is None:
        said = complaints.read_text(errors="replace").strip().splitlines()
        late = f"it did not end within {timeout:.0f} s"
        reason = late if hung else (said or [f"exit {process.returncode}"])[0]
        raise RunFailed(f"the JVM gave no measurements: {reason}")
    return report, window


def _measurements(report: dict[str, float], log: Path) -> dict[str, float]:
    with log.open(errors="replace") as lines:
        collector = gc_log.measurements(gc_log.parse(lines), int(report["begin_ns"]), int(report["end_ns"]))
    latencies = {name: float(report[name]) for name in ("p50", "p99", "p999")}
    return collector | latencies | {"achieved": report["completed"] / report["offered"]}
