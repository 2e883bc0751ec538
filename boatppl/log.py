"""The log of one study: its trials in the store, read with the space and model of today."""

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from boatppl.evidence import INFEASIBLE, OUT_OF_RANGE, OUTSIDE
from boatppl.fingerprint import Description, changes, fingerprint
from boatppl.processes import identity
from boatppl.space import Space
from boatppl.storage import Storage, StorageError
from boatppl.trial import State, Trial, Trials
from boatppl.words import ModelError, listed

#: What could not be written, by file, study and number: kept while this process lives.
UNWRITTEN: dict[tuple[Path | None, str, int], Trial] = {}


class Log:
    """The trials of a study, appended to and finished in its store before anybody sees them.

    The space and the model may have changed since a trial ran. It is read as what it means today: parameters
    that it did not have are at their default, those that are gone are left out, and what does not fit is
    marked; the store itself never changes. ``shapes`` has the shape of every node's measurement.

    Making a log begins a session of the study, with what it is made of (``description``); ``changed`` says
    what differs from the last session, a clause each.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        space: Space,
        shapes: Mapping[str, tuple[int, ...]],
        description: Description,
        seed: int,
    ) -> None:
        self.storage, self.name, self.space, self.shapes = storage, name, space, dict(shapes)
        self.seed = seed
        self.changed = self._begin(description)
        self.trials = Trials()
        self.read()

    def _begin(self, description: Description) -> tuple[str, ...]:
        before = self.storage.sessions(self.name)
        [record] = [study for study in self.storage.studies() if study.name == self.name]
        now, space = fingerprint(description), self.space.fingerprint()
        self.storage.begin_session(self.name, identity(), now, description)
        self.storage.describe(self.name, space=space, model=now)
        if not before:  # a new study, or one of a boatppl that kept only this
            return () if record.space in ("", space) else ("the space has changed",)
        if before[-1].model == now:
            return ()
        return tuple(changes(before[-1].description, description) or ["the model has changed"])

    def resumption(self) -> str:
        """Say in one sentence what has changed since the last session, and what became of the runs."""
        fates = Counter(_kind(mark) for trial in self.trials for mark in trial.marks if _of_change(mark))
        n = len(self.trials)
        kept = f"{n} trial{' is' if n == 1 else 's are'} kept"
        if fates:
            kept += f", {listed(f'{count} marked {mark!r}' for mark, count in fates.items())}"
        return f"study {self.name!r} goes on although it has changed: {'; '.join(self.changed)}. Its {kept}."

    def refresh(self) -> None:
        """Read what other processes have added to the file."""
        if self.storage.path is not None:
            self.read()

    def read(self) -> None:
        """Read from the store what may have changed, and write what could not be written before."""
        for place, trial in list(UNWRITTEN.items()):
            if place[:2] == (self.storage.path, self.name):
                try:
                    self.finish(trial)
                except StorageError:  # it still cannot be, and is kept; or it was given up meanwhile
                    if trial.number not in [known.number for known in self.storage.trials(self.name).running]:
                        del UNWRITTEN[place]
        finished = {trial.number for trial in self.trials.finished}
        every = self.storage.trials(self.name, self.trials)
        self.trials = Trials(trial if trial.number in finished else self._fitting(trial) for trial in every)

    def asked(self, trial: Trial) -> Trial:
        """The trial of this number as it was handed out, with the host that is told now: a told trial's
        configuration is never taken on trust."""
        if not isinstance(trial, Trial):
            raise ModelError(f"expected a trial that study.ask() gave; got {trial!r}.")
        self.refresh()
        known = self.trials[trial.number]
        if known.configuration != trial.configuration:
            raise ModelError(
                f"trial {trial.number} of this study has the configuration {known.configuration}; told was "
                f"{trial.configuration}. Tell a run of your own as study.tell(configuration, measurements)."
            )
        if known.is_running:
            return replace(known, host=trial.host)
        return replace(known, state=State.RUNNING, measurements={}, finished=None)

    def late(self, trial: Trial) -> Trial:
        """The trial that keeps what comes late of one that was given up on: the same at every telling."""
        for known in self.trials:
            if (known.suggestion or {}).get("late_of") == trial.number:
                return self.asked(known)
        kept_for = {"late_of": trial.number}
        return self.start(trial.configuration, trial.context, origin="told", suggestion=kept_for)

    def start(
        self,
        configuration: Mapping[str, Any],
        context: Mapping[str, Any],
        *,
        origin: str,
        suggestion: dict[str, Any] | None = None,
        unless_taken: bool = False,
    ) -> Trial:
        """Store a RUNNING trial and return it.

        ``unless_taken`` raises :class:`boatppl.storage.Taken` where another process has taken the same
        configuration since this log was read.
        """
        trial = Trial(
            self.trials.next_number,
            dict(configuration),
            dict(context),
            origin=origin,
            suggestion=suggestion,
            seed=self.seed,
            host=identity(),
        )
        trial = self.storage.append(self.name, trial, unless_taken=unless_taken)
        self.trials = self.trials.with_trial(trial)
        return trial

    def finish(self, trial: Trial) -> Trial:
        """Store the outcome of a running trial and return the trial as it is logged."""
        place = self.storage.path, self.name, trial.number
        trial = UNWRITTEN.get(place, trial)
        try:
            trial = self._fitting(self.storage.finish(self.name, trial))
        except StorageError as error:
            if isinstance(error.__cause__, sqlite3.Error | OSError):  # a full disk: it may have space later
                UNWRITTEN[place] = trial
            raise
        UNWRITTEN.pop(place, None)
        self.trials = self.trials.with_trial(trial)
        return trial

    def _fitting(self, trial: Trial) -> Trial:
        """The trial with a value for every parameter of the space, and with marks for what does not fit."""
        space, marks = self.space, list(trial.marks)
        gone = {name: value for name, value in trial.configuration.items() if name not in space.parameters}
        missing = {name: space.default[name] for name in space.names if name not in trial.configuration}
        found = {name: value for name, value in trial.configuration.items() if name not in gone} | missing
        marks += [f"before {listed(missing)}"] if missing else []
        marks += [f"with {listed(f'{name}={value}' for name, value in gone.items())}"] if gone else []
        try:
            found = space.validate(found, strict=False)
        except (ValueError, TypeError):  # a choice that is gone, another fixed value, another kind
            marks.append(OUTSIDE)
        else:
            marks += [] if space.in_range(found) else [OUT_OF_RANGE]
            marks += [] if space.feasible_configuration(found) else [INFEASIBLE]
        kept = {
            name: value
            for name, value in trial.measurements.items()
            if np.shape(value) == self.shapes.get(name, np.shape(value))
        }
        odd = [name for name in trial.measurements if name not in kept]
        marks += [f"{listed(odd)} of another shape"] if odd else []
        if (found, kept.keys(), marks) == (trial.configuration, trial.measurements.keys(), list(trial.marks)):
            return trial
        return replace(trial, configuration=found, measurements=kept, marks=tuple(dict.fromkeys(marks)))


def _kind(mark: str) -> str:
    """A mark without the values that tell runs of one kind apart."""
    return re.sub(r"=[^,]*", "", mark) if mark.startswith("with ") else mark


def _of_change(mark: str) -> bool:
    return mark in (OUT_OF_RANGE, INFEASIBLE, OUTSIDE) or mark.startswith(("before ", "with "))
