"""The loop: ask, run, tell, until the budget is spent."""

import math
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from numbers import Real
from typing import Any

from boatppl.command import Command
from boatppl.dag import DAGModel
from boatppl.progress import Display, open_progress
from boatppl.result import Result
from boatppl.runner import Outcome, run_callable
from boatppl.space import Space
from boatppl.stopping import RUNNING, StopWhen
from boatppl.study import Study
from boatppl.trial import MeasurementError, State, Trial
from boatppl.words import ModelError, check_count, check_flag

Callback = Callable[[Study, Trial], None]


def optimize(
    run: Callable[[dict[str, Any]], Any],
    model: DAGModel | Space | Sequence[DAGModel] | Mapping[str, DAGModel],
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    n_trials: int | None = None,
    budget: str | float | timedelta | None = None,
    stop: StopWhen | None = None,
    storage: str | os.PathLike[str] | None = None,
    name: str = "study",
    random_seed: int | None = None,
    n_initial: int | None = None,
    acquisition: str = "expected improvement",
    hedge: bool = True,
    transform: str | None = None,
    robust: bool = False,
    timeout: float | None = None,
    isolate: bool = False,
    context: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    confirm: int = 0,
    control_every: int = 15,
    overlap: bool = False,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Result:
    """Tune a system: choose configurations, run them, learn, until the budget is spent.

    Parameters
    ----------
    run
        A callable from a configuration (dict) to one number or a dict of measurements, or a
        :class:`boatppl.Command`. A run that raises, or returns what is no measurement, is a failed trial; the
        study goes on.
    model
        A :class:`DAGModel`, or a :class:`Space` alone for the generic tuner; several rival models as a list
        or dict.
    minimize, maximize
        The node or derived quantity to optimise: one of the two.
    n_trials
        How many trials the study holds at the end, those of an earlier session included; control and
        confirmation runs are counted apart.
    budget
        Wall time: seconds, a timedelta, or ``"30min"``, ``"2h"``, ``"90s"``. No trial starts after it.
    stop
        ``boat.stop_when(regret=0.02, probability=0.95)``: end sooner, when the best run is surely good
        enough.
    storage, name, random_seed, n_initial, acquisition, hedge, transform, robust
        As :class:`Study` takes them.
    timeout
        Seconds that one run may take; the run is then ended with everything it started.
    isolate
        Run each trial in a child process, which may crash without harm.
    context
        The value of every context variable, or a function that returns them before each trial.
    confirm
        At the end, run the best configuration and the default this many times each, alternately.
    control_every
        Run the default again after every so many trials, as a control for drift; 0 for never.
    overlap
        Let compilation run beside the first trials: right where trials are measured on another machine.
    callbacks
        Called with the study and each finished trial.
    progress
        Show a line for every trial.

    Returns
    -------
    Result
        Ctrl-C returns the result so far.

    Raises
    ------
    ModelError
        For a model or objective that cannot work, or no budget at all.
    """
    if not callable(run):
        raise ModelError(
            f"run is a callable from a configuration to measurements, or a boat.Command; got {run!r}."
        )
    if n_trials is not None:
        check_count("n_trials", n_trials, least=1)
    check_count("confirm", confirm, least=0)
    check_count("control_every", control_every, least=0)
    for option, value in {"isolate": isolate, "overlap": overlap, "progress": progress}.items():
        check_flag(f"{option}=", value)
    _check_callables(callbacks, context)
    if not (stop is None or isinstance(stop, StopWhen)):
        raise ModelError(f"stop= is what boat.stop_when(regret=0.02, probability=0.95) gives; got {stop!r}.")
    if n_trials is None and budget is None:
        raise ModelError("say how long to tune: n_trials=20, budget='30min', or both.")
    limit = None if budget is None else seconds_of(budget)
    study = Study(
        model,
        minimize=minimize,
        maximize=maximize,
        storage=storage,
        name=name,
        random_seed=random_seed,
        n_initial=n_initial,
        acquisition=acquisition,
        hedge=hedge,
        transform=transform,
        robust=robust,
    )
    if isinstance(run, Command):
        run.check_placeholders([*study.space.names, *study.space.contexts])
    with open_progress(study, progress, n_trials, limit) as display:
        loop = _Loop(study, run, timeout, isolate, context, list(callbacks), display)
        stopped = loop.until(n_trials, limit, stop, control_every, overlap)
        if confirm and stopped != INTERRUPTED:
            loop.confirm(confirm)
        display.close(stopped)
    return Result(study, stopped)


def _check_callables(callbacks: object, context: object) -> None:
    """Raise a ModelError unless these are what :func:`optimize` says they are."""
    if not isinstance(callbacks, list | tuple) or not all(callable(callback) for callback in callbacks):
        raise ModelError(
            "callbacks= is a list of functions, each called with the study and a finished trial, such as "
            f"callbacks=[lambda study, trial: print(trial)]; got {callbacks!r}."
        )
    if not (context is None or isinstance(context, Mapping) or callable(context)):
        raise ModelError(
            "context= is a dict with the value of every context variable, or a function that returns one; "
            f"got {context!r}."
        )


INTERRUPTED = "interrupted"


class _Ruling:
    """A stopping rule on its way: after how many trials running it has held."""

    def __init__(self, study: Study, rule: StopWhen | None) -> None:
        self.study, self.rule, self.running, self.remark = study, rule, 0, ""

    def holds(self) -> str | None:
        """Return why to stop now, None where it is too early."""
        rule, study = self.rule, self.study
        if rule is None or not study.modelled_next or study.trials.running:
            return None
        try:
            sure = study.probability_within(rule.regret, relative=rule.relative)
        except ModelError as error:  # a negative objective is no reason to lose the session
            self.rule, self.remark = None, f"; the stopping rule could not be used: {error}"
            return None
        self.running = self.running + 1 if sure >= rule.probability else 0
        if self.running < RUNNING:
            return None
        target = rule.target(study.model.unit_of(study.goal.name))
        return f"after {study.n_counted} trials: {100 * min(sure, 0.99):.0f} % sure to be {target}"


class _Loop:
    """One session of trials of a study."""

    def __init__(
        self,
        study: Study,
        run: Callable[[dict[str, Any]], Any],
        timeout: float | None,
        isolate: bool,
        context: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None,
        callbacks: list[Callback],
        progress: Display,
    ) -> None:
        self.study, self.run, self.timeout, self.isolate = study, run, timeout, isolate
        self.context, self.callbacks, self.progress = context, callbacks, progress

    def until(
        self,
        n_trials: int | None,
        limit: float | None,
        stop: StopWhen | None,
        control_every: int,
        overlap: bool,
    ) -> str:
        """Run trials until the count or the time is reached, or the rule holds; return why it stopped."""
        ruling = _Ruling(self.study, stop)
        began = time.monotonic()
        for orphan in filter(orphaned, self.study.trials.running):
            self.study.fail(orphan, "its process ended before it did", State.ABORTED)
        compiling = threading.Thread(target=self.study.compile, daemon=True) if overlap else None
        if compiling is not None:
            compiling.start()
        try:
            while n_trials is None or self.study.n_counted < n_trials:
                if limit is not None and time.monotonic() - began >= limit:
                    return f"the time budget of {limit:.0f} s is spent"
                if compiling is not None and self.study.modelled_next:
                    compiling.join()
                self.progress.status("choosing the next configuration")
                self.trial(self.study.ask_one(context=self._context()))
                if (verdict := ruling.holds()) is not None:
                    return verdict
                if (
                    control_every
                    and self.study.n_counted % control_every == 0
                    and self.study.n_counted != n_trials
                ):
                    self.repeat(self.study.space.default, "control")
        except KeyboardInterrupt:
            return INTERRUPTED
        return f"{self.study.n_counted} trials were run{ruling.remark}"

    def confirm(self, n: int) -> None:
        """Run the best configuration and the default alternately, ``n`` times each."""
        if self.study.quick_best() is None:
            return
        best = self.study.best.configuration
        try:
            for i in range(n):
                for configuration in (best, self.study.space.default)[:: 1 if i % 2 else -1]:
                    self.repeat(configuration, "confirm")
        except KeyboardInterrupt:
            return

    def repeat(self, configuration: Mapping[str, Any], origin: str) -> None:
        """Run a configuration once more, counted apart."""
        context = self.study.space.validate_context(self._context())
        self.trial(self.study.start(configuration, origin, None, context))

    def trial(self, trial: Trial) -> None:
        """Run one trial and tell the study what became of it."""
        self.progress.status(f"running trial {trial.number}")
        try:
            given = trial.configuration | trial.context
            outcome = run_callable(self.run, given, timeout=self.timeout, isolate=self.isolate)
        except KeyboardInterrupt:
            self.progress.trial(self.study.fail(trial, "interrupted from the keyboard", State.ABORTED))
            raise
        told = self._tell(trial, outcome)
        self.progress.trial(told)
        for callback in self.callbacks:
            callback(self.study, told)

    def _tell(self, trial: Trial, outcome: Outcome) -> Trial:
        if outcome.state is not State.COMPLETE:
            return self.study.fail(trial, outcome.reason or "no reason was given", outcome.state)
        try:
            return self.study.tell(trial, outcome.measurements)
        except MeasurementError as error:
            return self.study.fail(trial, str(error))

    def _context(self) -> Mapping[str, Any] | None:
        return self.context() if callable(self.context) else self.context


def orphaned(trial: Trial) -> bool:
    """Whether a running trial's process is gone; of one on another host nothing is known."""
    host, _, process = (trial.host or "").rpartition(" ")
    if host != platform.node() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(budget: str | float | timedelta) -> float:
    """Return a time budget in seconds.

    >>> seconds_of("30min"), seconds_of("1.5h"), seconds_of(90)
    (1800.0, 5400.0, 90.0)
    """
    seconds = math.nan
    if isinstance(budget, timedelta):
        seconds = budget.total_seconds()
    elif isinstance(budget, Real) and not isinstance(budget, bool):
        seconds = float(budget)
    elif isinstance(budget, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*", budget)
        if match is not None and match[2] in UNITS:
            seconds = float(match[1]) * UNITS[match[2]]
    if not 0 < seconds < math.inf:
        raise ModelError(
            "budget= is seconds above 0, a timedelta, or text such as '90s', '30min' or '2h'; got "
            f"{budget!r}. Without a limit in time, say n_trials= alone."
        )
    return seconds
