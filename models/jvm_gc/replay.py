"""Play recorded runs back where there is no Java, at configurations that were measured and nowhere else.

A replayed trial is a real run, drawn from the repeats of its configuration; repeats that are held out are
never drawn, and are the truth that a result is judged by. Nothing is interpolated.
"""

import csv
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType

from models.jvm_gc.record import COLUMNS, MEASUREMENTS, PARAMETERS, TABLE
from models.jvm_gc.system import RunFailed

_WHOLE = ("young_mb", "survivor_ratio", "tenuring")
Key = tuple[tuple[str, object], ...]


class NotMeasured(ValueError):
    """A configuration that the table has no runs of: replay invents none."""


@dataclass(frozen=True)
class Recorded:
    """One row of the table: a repeat of a configuration, the less disturbed of its two attempts."""

    configuration: Mapping[str, object]
    repeat: int
    measurements: Mapping[str, float]
    disturbed: bool
    error: str


def load(table: Path = TABLE, *, workload: str = "small-rows", measured_s: float = 5.0) -> list[Recorded]:
    """The table's repeats for one workload and length, one row for each.

    Raises FileNotFoundError without a table and ValueError for one whose columns are not the recorder's.
    """
    with table.open(newline="") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{table} has other columns than the recorder writes; record it anew.")
        wanted = [
            row for row in rows if row["workload"] == workload and float(row["measured_s"]) == measured_s
        ]
    attempts: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in wanted:
        attempts[(*(row[name] for name in PARAMETERS), row["repeat"])].append(row)
    return [_recorded(min(rows, key=_disturbance)) for rows in attempts.values()]


def _disturbance(row: Mapping[str, str]) -> tuple[int, float]:
    return int(row["disturbed"]), float(row["stalled"] or "nan")


def _recorded(row: Mapping[str, str]) -> Recorded:
    configuration: dict[str, object] = {name: int(row[name]) for name in _WHOLE if row[name]}
    if not configuration or row["collector"] != "serial":  # the serial sizes are a space of their own
        configuration["collector"] = row["collector"]
    measurements = {name: float(row[name]) for name in MEASUREMENTS if row[name]}
    return Recorded(
        configuration, int(row["repeat"]), measurements, bool(int(row["disturbed"])), row["error"]
    )


def _key(configuration: Mapping[str, object]) -> Key:
    return tuple(sorted((name, value) for name, value in configuration.items()))


class Replay:
    """Stands in for ``JvmGc``: the same call, answered from recorded runs.

    Parameters
    ----------
    runs
        Recorded runs, ``load()``'s unless given. Left out are untouched collectors, and configurations that
        have not more repeats than are to be held out.
    seed
        Decides which repeats are held out and which of the others each call returns.
    held_out
        Repeats of each configuration that no call returns, and that ``truth`` is made of.

    Raises ValueError when no configuration is left.
    """

    def __init__(self, runs: Iterable[Recorded] | None = None, *, seed: int = 0, held_out: int = 2) -> None:
        self._random = random.Random(seed)
        repeats: dict[Key, list[Recorded]] = defaultdict(list)
        for run in load() if runs is None else runs:
            if "collector" not in run.configuration:
                repeats[_key(run.configuration)].append(run)
        self._shown: dict[Key, Sequence[Recorded]] = {}
        self._held: dict[Key, Sequence[Recorded]] = {}
        for key, found in repeats.items():
            if len(found) > held_out:
                mixed = self._random.sample(found, len(found))
                self._held[key], self._shown[key] = mixed[:held_out], mixed[held_out:]
        if not self._shown:
            raise ValueError(
                f"none of {len(repeats)} configurations has more repeats than the {held_out} to hold out. "
                "Record more repeats or hold out fewer."
            )

    @property
    def configurations(self) -> list[dict[str, object]]:
        """All configurations that can be asked for."""
        return [dict(self._shown[key][0].configuration) for key in self._shown]

    def __call__(self, configuration: Mapping[str, object]) -> dict[str, float]:
        """The measurements of one of the configuration's repeats, drawn with replacement.

        Raises NotMeasured for a configuration without runs, RunFailed if the repeat drawn was a failed run.
        """
        run = self._random.choice(self._shown[self._known(configuration)])
        if run.error:
            raise RunFailed(run.error)
        return dict(run.measurements)

    def truth(self, configuration: Mapping[str, object], name: str = "p99") -> float:
        """Median of a measurement over the held-out repeats, the quiet ones among them if there are any.

        A failed run counts as infinite.
        """
        all_held = self._held[self._known(configuration)]
        if not all_held:
            raise ValueError("no repeat was held out: make the Replay with held_out above 0.")
        held = [run for run in all_held if not run.disturbed] or all_held
        values = [math.inf if run.error else run.measurements.get(name, math.nan) for run in held]
        return median(values)

    def best(self, name: str = "p99") -> tuple[dict[str, object], float]:
        """The configuration whose held-out repeats have the least of a measurement, and that value."""
        values = MappingProxyType({key: self.truth(dict(key), name) for key in self._held})
        key = min(values, key=lambda candidate: values[candidate])
        return dict(key), values[key]

    def _known(self, configuration: Mapping[str, object]) -> Key:
        key = _key(configuration)
        if key not in self._shown:
            raise NotMeasured(
                f"{dict(configuration)} was never measured; replay has {len(self._shown)} configurations, "
                "see Replay.configurations, and invents no others."
            )
        return key
