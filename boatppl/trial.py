"""Trials: what was run, what came back, and what had been predicted before.

A :class:`Trial` is one configuration with its state and measurements, frozen. :class:`Trials` is the log of a
study: a value too, which grows by giving a longer one. A trial becomes a plain JSON record and comes back
exactly (:meth:`Trial.to_record`, :meth:`Trial.from_record`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self, overload

import pandas as pd

from boatppl.html.trial import as_html
from boatppl.measurement import Measurement, as_measurement
from boatppl.plain import from_json, to_json
from boatppl.text import one_line, shown
from boatppl.values import ReadOnly, frozen, own, same
from boatppl.why import reason

Record = dict[str, Any]  # what json.dumps(allow_nan=False) takes


class Aborted(Exception):
    """Raise it in a run that came to nothing through no fault of its configuration: a network that is down, a
    test machine that somebody else uses. The trial is aborted, nothing is learned from it, and it is retried.
    """


class State(StrEnum):
    """Where a trial stands. Everything but RUNNING is final."""

    RUNNING = "running"  # suggested, nothing told yet
    COMPLETE = "complete"  # every node was measured
    PARTIAL = "partial"  # some nodes were measured, others were not
    FAILED = "failed"  # the run raised, or returned what is no measurement
    ABORTED = "aborted"  # no fault of the configuration (Ctrl-C, a dead process or worker): it is retried
    TIMED_OUT = "timed out"  # ended by its time limit


@dataclass(frozen=True, eq=False)
class Trial:
    """One configuration with its state and measurements.

    Equal by value, arrays included (NaN in the same place is equal). Arrays and dicts are copied and made
    read-only: changing one raises TypeError; ``dict(trial.configuration)`` is a copy to change.

    Parameters
    ----------
    number
        Position in the study, from 0.
    configuration
        One value for every parameter.
    context
        Values of the context variables during the run.
    state
        See :class:`State`.
    measurements
        A float, or an array with the shape of the node's dims, for each measured node, in the node's unit.
        NaN inside an array is a missing element. A node that was not measured has no entry.
    reason
        Why it is FAILED, ABORTED or TIMED_OUT: a sentence.
    origin
        Who chose the configuration: ``"default"``, ``"design"``, ``"suggested"``, ``"told"``, ``"control"``,
        ``"confirm"``.
    suggestion
        What was known when it was chosen: predictions, why, warm starts, fallbacks. JSON-able, NumPy values
        included. ``suggestion["predicted"]`` is the predictive median of the objective, where there was one.
    seed
        The seed the suggestion was made with.
    started, finished
        UTC.
    host
        The machine it ran on.
    marks
        Remarks for the reader of a table, such as ``"out of range"``.
    timeout
        The time limit that ended a TIMED_OUT one, in seconds.

    Raises
    ------
    MeasurementError
        For a measurement that is no finite number and no array of them.

    Examples
    --------
    >>> trial = Trial(0, {"young_mb": 32}).finish(State.COMPLETE, {"p99": 12.5})
    >>> trial.measurements
    {'p99': 12.5}
    >>> trial
    Trial 0, complete, suggested, ... s: young_mb 32; p99 12.5
    >>> Trial.from_record(trial.to_record()) == trial
    True
    """

    number: int
    configuration: dict[str, Any]
    context: dict[str, Any] = field(default_factory=dict)
    state: State = State.RUNNING
    measurements: dict[str, Measurement] = field(default_factory=dict)
    reason: str | None = None
    origin: str = "suggested"
    suggestion: dict[str, Any] | None = None
    seed: int | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished: datetime | None = None
    host: str | None = None
    marks: tuple[str, ...] = ()
    timeout: float | None = None

    def __post_init__(self) -> None:
        freeze = object.__setattr__  # the dataclass's own way to set a field before anybody has seen it
        freeze(self, "number", int(self.number))
        freeze(self, "state", State(self.state))
        freeze(self, "marks", tuple(self.marks))
        freeze(self, "timeout", None if self.timeout is None else float(self.timeout))
        for name in ("configuration", "context"):
            freeze(self, name, ReadOnly({key: own(value) for key, value in getattr(self, name).items()}))
        measured = {name: as_measurement(name, value) for name, value in self.measurements.items()}
        freeze(self, "measurements", ReadOnly(measured))
        freeze(self, "suggestion", frozen(self.suggestion))
        for name in ("started", "finished"):
            time = getattr(self, name)
            if time is not None and time.tzinfo is None:
                raise ValueError(
                    f"Trial {self.number}: {name}={time} has no time zone; trials are logged in UTC. "
                    f"Use datetime.now(UTC), or .replace(tzinfo=...) on yours."
                )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trial):
            return NotImplemented
        return all(same(getattr(self, f.name), getattr(other, f.name)) for f in fields(Trial))

    # Equal by value and holding dicts: like a dict, a trial is no key.
    __hash__ = None  # type: ignore[assignment]

    @property
    def is_running(self) -> bool:
        """Whether nothing has been told yet."""
        return self.state is State.RUNNING

    @property
    def seconds(self) -> float | None:
        """How long it ran, in seconds; None while it runs."""
        return None if self.finished is None else (self.finished - self.started).total_seconds()

    def finish(
        self,
        state: State,
        measurements: Mapping[str, Any] | None = None,
        *,
        reason: str | None = None,
        finished: datetime | None = None,
        context: Mapping[str, Any] | None = None,
        marks: Iterable[str] = (),
        timeout: float | None = None,
    ) -> Trial:
        """Give the finished trial. ``context`` and ``marks`` are added to what is there, ``timeout`` is the
        limit that ended it.

        ``finished`` is now unless given. Raises ValueError for RUNNING, MeasurementError as the constructor
        does.
        """
        if State(state) is State.RUNNING:
            raise ValueError(f"Trial {self.number} cannot be finished as running; expected a final state.")
        return replace(
            self,
            state=state,
            measurements=dict(measurements or {}),
            reason=reason,
            finished=datetime.now(UTC) if finished is None else finished,
            context={**self.context, **(context or {})},
            marks=(*self.marks, *(mark for mark in marks if mark not in self.marks)),
            timeout=timeout,
        )

    def same_outcome(self, other: Trial) -> bool:
        """Whether both were told the same: state, measurements and context. Times and reasons may differ."""
        return all(same(getattr(self, n), getattr(other, n)) for n in ("state", "measurements", "context"))

    def __repr__(self) -> str:
        """``Trial 5, complete, suggested, 12.3 s: young_mb 58, ratio 2; p99 8.9``, on one line."""
        values = [{**self.configuration, **self.context}, self.measurements]
        parts = [", ".join(f"{name} {shown(value)}" for name, value in part.items()) for part in values]
        parts += [one_line(self.reason or "", 80), *self.marks]
        return f"{self._head}: {'; '.join(part for part in parts if part)}"

    @property
    def why(self) -> str:
        """Why the configuration was chosen: the expected gain, its probability, whether the choice explores
        or exploits, how the doubt is split over the nodes, and how likely it is to succeed and to keep the
        limits (:func:`boatppl.why.reason`)."""
        return reason(self.origin, self.suggestion)

    @property
    def _head(self) -> str:
        seconds = [] if self.seconds is None else [f"{self.seconds:.3g} s"]
        return ", ".join([f"Trial {self.number}", str(self.state), self.origin, *seconds])

    def _repr_html_(self) -> str:
        return as_html(
            self._head,
            configuration=self.configuration,
            context=self.context,
            measurements=self.measurements,
            predicted=(self.suggestion or {}).get("predicted"),
            remarks=[*([self.reason] if self.reason else []), *self.marks],
        )

    def to_record(self) -> Record:
        """Give a JSON-able dict from which :meth:`from_record` makes an equal trial, every float exact."""
        record = {f.name: to_json(getattr(self, f.name)) for f in fields(self)}
        for name in ("started", "finished"):
            time = getattr(self, name)
            record[name] = None if time is None else time.astimezone(UTC).isoformat()
        return record | {"state": str(self.state), "marks": list(self.marks)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Make the trial that :meth:`to_record` described.

        Raises
        ------
        ValueError
            For a record with fields that are missing or unknown: it was written by another version.
        """
        names = {f.name for f in fields(cls)}
        if record.keys() != names:
            missing, unknown = sorted(names - record.keys()), sorted(record.keys() - names)
            raise ValueError(
                f"This is no record of a trial: missing {missing}, unknown {unknown}. Expected what "
                f"Trial.to_record wrote; a newer boatppl may have written this one."
            )
        values = {name: from_json(value) for name, value in record.items()}
        for name in ("started", "finished"):
            values[name] = None if record[name] is None else datetime.fromisoformat(record[name])
        return cls(**values)


class Trials(Sequence[Trial]):
    """The log of a study, in the order of the numbers. A value; :meth:`with_trial` gives a longer one.

    ``trials[3]`` is the trial with number 3 (numbers may have gaps where several processes share a study) and
    ``trials[-1]`` the last one.

    Raises
    ------
    ValueError
        For two trials of one number.

    Examples
    --------
    >>> trials = Trials([Trial(0, {"x": 1.0})])
    >>> trials = trials.with_trial(trials[0].finish(State.COMPLETE, {"cost": 2.0}))
    >>> len(trials), len(trials.finished), trials.with_measurement("cost")[0].measurements
    (1, 1, {'cost': 2.0})
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        ordered = sorted(trials, key=lambda trial: trial.number)
        self._by_number = {trial.number: trial for trial in ordered}
        if len(self._by_number) < len(ordered):
            numbers = [trial.number for trial in ordered]
            twice = sorted({number for number in numbers if numbers.count(number) > 1})
            raise ValueError(f"Trial numbers {twice} occur twice; a number belongs to one trial.")

    def with_trial(self, trial: Trial) -> Trials:
        """Give the log with ``trial`` appended, or finished where it is still running in this log.

        Raises
        ------
        ValueError
            When another trial of that number is finished already: the log is append-only.
        """
        known = self._by_number.get(trial.number)
        if known is not None and not known.is_running and known != trial:
            raise ValueError(
                f"Trial {trial.number} is {known.state} already with {known.measurements}; a finished trial "
                f"never changes. Tell a repeated run as a new trial."
            )
        return Trials([*(t for t in self if t.number != trial.number), trial])

    @property
    def next_number(self) -> int:
        """One more than the highest number; 0 in an empty log."""
        return max(self._by_number, default=-1) + 1

    @property
    def finished(self) -> Trials:
        """Those of which the outcome is known, failures included."""
        return Trials(trial for trial in self if not trial.is_running)

    @property
    def running(self) -> Trials:
        """Those suggested and not yet told."""
        return Trials(trial for trial in self if trial.is_running)

    def with_measurement(self, name: str) -> Trials:
        """Those in which the node ``name`` was measured."""
        return Trials(trial for trial in self if name in trial.measurements)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per trial, indexed by number.

        Columns: state, origin, every parameter, context variable and measured node (a vector stays an array
        in its cell), predicted (the objective's predictive median before the run), seconds, reason, marks.
        """
        rows = []
        for trial in self:
            cells = {**trial.configuration, **trial.context, **trial.measurements}
            rows.append({"number": trial.number, "state": str(trial.state), "origin": trial.origin, **cells})
        # Columns in the order of first appearance; what comes after them describes the run, not the system.
        columns = dict.fromkeys(name for row in rows for name in row) or ["number", "state", "origin"]
        frame = pd.DataFrame(rows, columns=list(columns))
        frame["predicted"] = [_predicted_median(trial) for trial in self]
        frame["seconds"] = [trial.seconds for trial in self]
        frame["reason"] = [trial.reason for trial in self]
        frame["marks"] = [", ".join(trial.marks) for trial in self]
        return frame.astype({"predicted": float, "seconds": float}).set_index("number")

    @overload
    def __getitem__(self, number: int) -> Trial: ...
    @overload
    def __getitem__(self, number: slice) -> Trials: ...
    def __getitem__(self, number: int | slice) -> Trial | Trials:
        if isinstance(number, slice):
            return Trials(list(self)[number])
        wanted = list(self._by_number)[number] if -len(self) <= number < 0 else number
        if wanted not in self._by_number:
            last = f"; the last one is {max(self._by_number)}" if self._by_number else ""
            raise IndexError(f"There is no trial {number} among these {len(self)} trials{last}.")
        return self._by_number[wanted]

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._by_number.values())

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Trials) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        counts = {state: sum(trial.state is state for trial in self) for state in State}
        return f"Trials: {len(self)} (" + ", ".join(f"{n} {state}" for state, n in counts.items() if n) + ")"


def _predicted_median(trial: Trial) -> float:
    predicted = (trial.suggestion or {}).get("predicted")
    if isinstance(predicted, Mapping):
        predicted = predicted.get("median")
    return float(predicted) if isinstance(predicted, int | float) else math.nan
