"""The loop: ask, run, tell, until the budget is spent."""

import inspect
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from numbers import Real
from typing import Any, Literal

from boatppl.command import Command, check_bytes
from boatppl.dag import DAGModel
from boatppl.limit import Limit
from boatppl.node import Derived, Node, Shared
from boatppl.processes import check_seconds
from boatppl.progress import open_progress
from boatppl.result import Result
from boatppl.session import INTERRUPTED, ORPHANS, Callback, Session, check_silence
from boatppl.space import Space
from boatppl.stopping import StopWhen
from boatppl.study import Study
from boatppl.words import ModelError, check_count, check_flag, expected_one_of
from boatppl.workers import Job, workers_of


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
    noise: Literal[0] | None = None,
    limits: Sequence[Limit] = (),
    feasibility: Node | None = None,
    prior_from: Study | None = None,
    prior_weight: float = 0.5,
    timeout: float | None = None,
    isolate: bool = False,
    memory: int | None = None,
    executor: Any = None,
    n_workers: int | None = None,
    resources: Mapping[str, float] | None = None,
    orphans: str = "retry",
    orphans_after: float | None = None,
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
        confirmation runs are counted apart. Sessions that share a file may each run one more.
    budget
        Wall time: seconds, a timedelta, or ``"30min"``, ``"2h"``, ``"90s"``. No trial starts after it.
    stop
        ``boat.stop_when(regret=0.02, probability=0.95)``: end sooner, when the best run is surely good
        enough.
    storage, name, random_seed, n_initial, acquisition, hedge, transform, robust, noise, limits, feasibility
        As :class:`Study` takes them.
    prior_from, prior_weight
        As :class:`Study` takes them, too: an earlier study, and how much its runs count.
    timeout
        Seconds that one run may take; the run is then ended with everything it started. A callable runs in a
        child process for it, and what it prints is kept in ``study.outputs`` instead of shown.
    isolate
        Run each trial in a child process, which may crash without harm.
    memory
        Most bytes that one run of a callable may take, in a child process. A Command says its own.
    executor
        Where trials run: a ``concurrent.futures.Executor`` (threads, processes), or a ``distributed.Client``
        (Dask). Several run at a time, and a new one is chosen whenever a worker is free, with those that run
        taken into account. A trial whose worker dies is aborted and retried; a configuration that was lost
        with its worker three times is a failure.
    n_workers
        How many trials run at a time; the executor's number of workers where it is not said. Without an
        executor, threads of our own: right for a Command, and for callables with ``timeout`` or ``isolate``.
        Several on this machine share it with each other and with the choice of the next one: where a trial
        is to have it for itself, leave it at one.
    resources
        Of a Dask cluster's workers, what one trial takes: ``{"machine": 1}``.
    orphans
        What becomes of trials whose process has ended before they did: ``"retry"`` or ``"fail"``.
    orphans_after
        Seconds, of silence, after which the trials of processes that cannot be seen from here (in another
        container) or that hang are given up, too: ``older_than=`` of :func:`boatppl.resolve_orphans`.
    context
        The value of every context variable, or a function that returns them before each trial.
    confirm
        At the end, run the best configuration and the default this many times each, alternately.
    control_every
        Run the default again after every so many trials, as a control for drift; 0 for never.
    overlap
        Let compilation run beside the first trials: right where trials are measured on another machine, and
        always so with Dask. Otherwise nothing compiles or samples beside a trial that runs alone.
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
    if not callable(run) or isinstance(run, Node | Derived | Shared):
        raise ModelError(
            f"run is a callable from a configuration to measurements, or a boat.Command; got {run!r}. Pass "
            "the function itself, optimize(run, ...), and do not call it."
        )
    called = getattr(run, "__name__", "run")
    remedy = f"Write optimize(lambda configuration: {called}(**configuration), ...)."
    _check_takes(run, "run is called with one argument, the configuration (a dict)", remedy, {})
    if n_trials is not None:
        check_count("n_trials", n_trials, least=1)
    check_count("confirm", confirm, least=0)
    check_count("control_every", control_every, least=0)
    for option, value in {"isolate": isolate, "overlap": overlap, "progress": progress}.items():
        check_flag(f"{option}=", value)
    _check_callables(callbacks, context)
    if orphans not in ORPHANS:
        raise ModelError(f"orphans= is {expected_one_of(ORPHANS, orphans)}.")
    check_silence("orphans_after", orphans_after)
    if not (stop is None or isinstance(stop, StopWhen)):
        raise ModelError(f"stop= is what boat.stop_when(regret=0.02, probability=0.95) gives; got {stop!r}.")
    if n_trials is None and budget is None:
        raise ModelError("say how long to tune: n_trials=20, budget='30min', or both.")
    limit = None if budget is None else seconds_of(budget)
    check_seconds(timeout)
    check_bytes("memory=", memory)
    workers = workers_of(executor, n_workers, Job(run, timeout, isolate, memory), resources)
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
        noise=noise,
        limits=limits,
        feasibility=feasibility,
        prior_from=prior_from,
        prior_weight=prior_weight,
    )
    if isinstance(run, Command):
        run.check_placeholders([*study.space.names, *study.space.contexts])
    with open_progress(study, progress, n_trials, limit) as display, closing(workers):
        session = Session(study, workers, context, list(callbacks), display, orphans, orphans_after)
        stopped = session.until(n_trials, limit, stop, control_every, overlap or workers.remote)
        if confirm and stopped != INTERRUPTED:
            session.confirm(confirm)
        display.close(stopped)
    return Result(study, stopped)


def _check_takes(function: Callable[..., Any], how: str, remedy: str, *arguments: object) -> None:
    """Raise a ModelError for a function that cannot be called as it will be."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a callable written in C nothing is known
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        shown = f"{getattr(function, '__name__', 'run')}{signature}"
        raise ModelError(f"{how}; {shown} does not take that ({error}). {remedy}") from error


def _check_callables(callbacks: object, context: object) -> None:
    """Raise a ModelError unless these are what :func:`optimize` says they are."""
    if not isinstance(callbacks, list | tuple) or not all(callable(callback) for callback in callbacks):
        raise ModelError(
            "callbacks= is a list of functions, each called with the study and a finished trial, such as "
            f"callbacks=[lambda study, trial: print(trial)]; got {callbacks!r}."
        )
    for callback in callbacks:
        how = "each of callbacks= is called with the study and a finished trial"
        _check_takes(callback, how, "Write it as a function of the two.", None, None)
    if not (context is None or isinstance(context, Mapping) or callable(context)):
        raise ModelError(
            "context= is a dict with the value of every context variable, or a function that returns one; "
            f"got {context!r}."
        )


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
