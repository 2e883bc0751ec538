"""Record real runs into a table that can be replayed where there is no Java.

``python -m models.jvm_gc.record`` runs every configuration of the plan several times, in an order that is
shuffled anew for each repeat, and appends each run to ``recorded.csv`` as it ends: stopped and started
again it goes on where it was. ``recorded.json`` says what machine, Java, driver and workloads the table is
about; a table is refused when they differ, since runs of two systems must not be mixed.
"""

import argparse
import contextlib
import csv
import datetime
import fcntl
import hashlib
import json
import os
import platform
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from scipy.stats import qmc

from models.jvm_gc import provision
from models.jvm_gc.system import JvmGc, Run
from models.jvm_gc.workload import WORKLOADS, Workload

TABLE = Path(__file__).parent / "recorded.csv"
PARAMETERS = ("collector", "young_mb", "survivor_ratio", "tenuring")
MEASUREMENTS = (
    "gc_rate",
    "gc_pause",
    "max_pause",
    "full_rate",
    "full_pause",
    "copied_mb_s",
    "promoted_mb_s",
    "allocation_mb_s",
    "live_mb",
    "p50",
    "p99",
    "p999",
    "achieved",
)
COLUMNS = (
    *("workload", "measured_s", "set", *PARAMETERS, "repeat", "attempt", "load_seed"),
    *MEASUREMENTS,
    *("other_cpu", "stalled", "disturbed", "wall_s", "medium", "started", "error"),
)
_REST = 1.0  # seconds
DEFAULT = (32, 8, 15)


@dataclass(frozen=True)
class Planned:
    """One run to make: a configuration (sizes are None for an untouched collector) and its repeat."""

    workload: str
    measured_s: float
    set: str
    collector: str
    young_mb: int | None
    survivor_ratio: int | None
    tenuring: int | None
    repeat: int

    @property
    def key(self) -> tuple[str, ...]:
        """What tells two planned runs apart, as the table spells it."""
        named = (
            self.workload,
            f"{self.measured_s:g}",
            *(getattr(self, name) for name in PARAMETERS),
            self.repeat,
        )
        return tuple("" if value is None else str(value) for value in named)

    @property
    def configuration(self) -> dict[str, object]:
        """The configuration as the system takes it."""
        return {name: getattr(self, name) for name in PARAMETERS if getattr(self, name) is not None}


def sobol_configurations(n: int, highest_young: int) -> list[tuple[int, int, int]]:
    """The first n distinct points of a scrambled Sobol sequence: (young_mb, survivor_ratio, tenuring)."""
    points = qmc.Sobol(3, seed=20).random_base2(10)
    found: dict[tuple[int, int, int], None] = {}
    for young, ratio, tenuring in points:
        found[(round(4 * (highest_young / 4) ** young), round(16**ratio), min(15, int(16 * tenuring)))] = None
    return list(found)[:n]


def plan(repeats: int) -> list[Planned]:
    """The runs of the small-rows table, repeat after repeat, each in an order of its own."""
    sets: dict[str, list[tuple[int, int, int]]] = {
        "default": [DEFAULT],
        "sobol": sobol_configurations(40, 80),
        "corner": [(y, r, t) for y in (4, 80) for r in (1, 16) for t in (0, 15)] + [(32, 1, 15), (32, 16, 0)],
        "fine": [(y, r, 15) for y in (44, 48, 52, 56, 60, 64, 68, 72) for r in (1, 2)]
        + [(60, 3, 15), (68, 3, 15)]
        + [(y, r, t) for y, r in ((52, 1), (64, 2)) for t in (4, 8)],
    }
    runs = []
    for repeat in range(repeats):
        turn = [
            Planned("small-rows", 5.0, name, "serial", *sizes, repeat)
            for name, members in sets.items()
            for sizes in members
        ]
        turn += [
            Planned("small-rows", 5.0, "untouched", collector, None, None, None, 2 * repeat + twice)
            for collector in ("serial", "parallel", "g1")
            for twice in (0, 1)
        ]
        random.Random(repeat).shuffle(turn)
        runs += turn
    return list({run.key: run for run in runs}.values())  # a configuration of two sets is run once


def chosen(
    workload: str, measured_s: float, sizes: list[tuple[int, int, int]], repeats: int
) -> list[Planned]:
    """Runs of some configurations at any workload and length, repeat after repeat, shuffled."""
    runs = []
    for repeat in range(repeats):
        turn = [Planned(workload, measured_s, "chosen", "serial", *size, repeat) for size in sizes]
        random.Random(repeat).shuffle(turn)
        runs += turn
    return runs


def identity(system: JvmGc) -> dict[str, object]:
    """The system that a table's runs are about: what must not change within a table."""
    return {
        "driver_sha256": hashlib.sha256(provision.DRIVER.read_bytes()).hexdigest(),
        "java": provision.java_version_text(system.java).splitlines(),
        "h2": system.h2.resolve().name,
        "medium": system.medium.kind,
        "machine": _machine(),
        "workloads": {name: asdict(workload) for name, workload in WORKLOADS.items()},
    }


def _machine() -> dict[str, object]:
    cpu = platform.processor() or "unknown"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_mb": memory_mb, "system": platform.system()}


def check_identity(system: JvmGc, path: Path) -> None:
    """Write what the table is about beside it, or compare. Raises SystemExit if they differ."""
    now = identity(system)
    if not path.exists():
        path.write_text(json.dumps(now | {"begun": datetime.date.today().isoformat()}, indent=2) + "\n")
        return
    before = json.loads(path.read_text())
    differing = [name for name in now if json.loads(json.dumps(now[name])) != before.get(name)]
    if differing:
        raise SystemExit(
            f"{path} is about another system ({', '.join(differing)} differ). Runs of two systems "
            "must not be mixed: name another --table, or delete this one."
        )


class Turn:
    """An advisory lock (flock) on a file, held for some seconds of runs, so that others can keep away.

    Between two holds it rests for a moment, or nobody else would ever get the lock.
    """

    def __init__(self, path: Path | None, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._file: TextIO | None = None
        self._since = 0.0

    def take(self) -> None:
        """Have the lock, waiting for it if need be; nothing if it is held already."""
        if self._path is not None and self._file is None:
            self._file = self._path.open("a")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._since = time.monotonic()

    def rest(self) -> None:
        """Let the lock go if it has been held long enough."""
        if self._file is not None and time.monotonic() - self._since > self._seconds:
            self._file.close()
            self._file = None
            time.sleep(_REST)


def done(table: Path) -> Counter[tuple[str, ...]]:
    """How often each planned run is in the table already."""
    if not table.exists():
        return Counter()
    with table.open(newline="") as file:
        return Counter(
            (row["workload"], row["measured_s"], *(row[name] for name in PARAMETERS), row["repeat"])
            for row in csv.DictReader(file)
        )


def append(table: Path, planned: Planned, run: Run, attempt: int) -> None:
    """Add one run to the table, whole or not at all as far as a file can."""
    row: dict[str, object] = {
        **asdict(planned),
        **{name: run.measurements.get(name) for name in MEASUREMENTS},
        **{
            "attempt": attempt,
            "load_seed": run.load_seed,
            "other_cpu": run.other_cpu,
            "stalled": run.stalled,
        },
        **{"disturbed": int(run.disturbed), "wall_s": run.wall_s, "medium": run.medium, "error": run.error},
        "started": datetime.datetime.fromtimestamp(run.started, datetime.UTC).isoformat(timespec="seconds"),
    }
    fresh = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow({name: _text(row[name]) for name in COLUMNS})
        file.flush()
        os.fsync(file.fileno())


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def record(runs: list[Planned], table: Path, turn: Turn) -> None:
    """Make the runs that the table does not have yet."""
    systems = {name: JvmGc(workload) for name, workload in WORKLOADS.items()}
    check_identity(next(iter(systems.values())), table.with_suffix(".json"))
    recorded = done(table)
    left = [(number, run) for number, run in enumerate(runs) if run.key not in recorded]
    for count, (number, planned) in enumerate(left, start=1):
        system = systems[planned.workload]
        workload: Workload = replace(WORKLOADS[planned.workload], measured_s=planned.measured_s)
        if system.workload != workload:
            system = JvmGc(workload, java=system.java, h2=system.h2)
        for attempt in (0, 1):
            turn.take()
            run = system.measure(planned.configuration, load_seed=1_000_000 + 1_000 * number + attempt)
            append(table, planned, run, attempt)
            if not run.disturbed:
                break
        shown = f"p99 {run.measurements['p99']:.1f} ms" if run.measurements else run.error
        turn.rest()
        print(f"{count}/{len(left)} {planned.key} {shown}{' disturbed' if run.disturbed else ''}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m models.jvm_gc.record", description=__doc__)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--lock", type=Path, help="file to hold an advisory lock on during runs")
    parser.add_argument("--hold-s", type=float, default=30.0, help="how long to hold it in one go")
    parser.add_argument("--workload", choices=list(WORKLOADS), default="small-rows", help="with --sizes")
    parser.add_argument("--measured-s", type=float, default=5.0, help="with --sizes")
    parser.add_argument("--sizes", help="young,ratio,tenuring[;...]: these instead of the plan")
    options = parser.parse_args()
    if options.sizes:
        sizes = [tuple(int(part) for part in size.split(",")) for size in options.sizes.split(";")]
        runs = chosen(
            options.workload, options.measured_s, [(s[0], s[1], s[2]) for s in sizes], options.repeats
        )
    else:
        runs = plan(options.repeats)
    record(runs, options.table, Turn(options.lock, options.hold_s))


if __name__ == "__main__":
    main()
