"""Running one trial: whatever happens, there is an outcome; only Ctrl-C passes through.

A time limit ends the run with everything it started. Results come back from a child process as plain
values: nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from boatppl.command import Command, CommandError, TimedOut, check_bytes
from boatppl.measurement import MeasurementError, validate_measurements
from boatppl.plain import from_json, to_json
from boatppl.processes import (
    PR_SET_NAME,
    check_seconds,
    control,
    end_tree,
    how_it_ended,
    name_of,
    new_mark,
    supervise,
    too_long,
)  # fmt: skip
from boatppl.streams import Stream, listen
from boatppl.text import message
from boatppl.trial import Aborted, State
from boatppl.values import UNREADABLE

__all__ = ["Outcome", "Record", "of_record", "record_of", "run_callable"]

LENGTH = 8  # bytes in front of a message, which say how long it is
TRACEBACK = 100_000  # characters that are kept: the last ones
INTERRUPTED = "interrupted"  # the state of a child's record that Ctrl-C ended
_FORKING = threading.Lock()  # libraries that guard a fork refuse two at the same moment

Run = Callable[[dict[str, Any]], Any]
Record = dict[str, Any]  # an Outcome as plain values


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    ``state`` is COMPLETE where the run returned (whether it measured the objective is not known here), else
    FAILED, TIMED_OUT or ABORTED. ``measurements`` is what it returned, unchecked:
    :func:`boatppl.measurement.validate_measurements` is next.
    """

    state: State
    measurements: Any = None
    reason: str | None = None  # a sentence: why there is no result
    seconds: float = 0.0  # by the monotonic clock
    traceback: str | None = None
    host: str | None = None  # the machine it ran on, where that may be another one
    deaths: int = 0  # workers that ended under it
    output: str | None = None  # the end of what it said, where it ran in a process of its own
    timeout: float | None = None  # seconds: the limit that ended it


def run_callable(
    run: Run,
    configuration: Mapping[str, Any],
    *,
    timeout: float | None = None,
    isolate: bool = False,
    memory: int | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run one configuration and say what became of it.

    Parameters
    ----------
    run
        Any callable that takes a configuration and returns a number or a dict of measurements, or a
        :class:`Command`.
    timeout
        Seconds. A callable with a time limit runs in a forked child process, since nothing else can be ended
        safely; what it changes in memory is then lost, and it cannot use OpenMP threads (numba's
        ``parallel=True``) if this process has used them. A Command needs no fork.
    isolate
        Run in a child process without a time limit, too: a crash of the run is a failed trial.
    memory
        Most bytes that a callable may take beyond what this process has, in a child process
        (``RLIMIT_AS``). A Command says its own.
    stop
        Set by another thread, it ends what runs in a child process, and the run is ABORTED.

    Returns
    -------
    Outcome
        Exceptions, ``sys.exit`` and crashes are FAILED with a reason; :class:`boatppl.Aborted` is ABORTED.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C; everything the run started is ended first.
    ValueError
        For a time limit that is no positive number, or where the system has no fork.

    Examples
    --------
    >>> run_callable(lambda configuration: configuration["x"] ** 2, {"x": 3}).measurements
    9
    >>> run_callable(lambda configuration: 1 / configuration["x"], {"x": 0}).reason
    'ZeroDivisionError: division by zero'
    """
    check_seconds(timeout)
    check_bytes("memory=", memory)
    start = time.monotonic()
    configuration = dict(configuration)
    if isinstance(run, Command):
        said: list[str] = []
        outcome = _call(partial(run.run, timeout=timeout, stop=stop, heard=said.append), configuration)
        outcome = replace(outcome, output="".join(said))
    elif timeout is not None or isolate or memory is not None:
        try:
            outcome = _call_in_child(run, configuration, timeout, memory, stop)
        except Aborted as error:
            outcome = Outcome(State.ABORTED, reason=str(error))
    else:
        outcome = _call(run, configuration)
    output = outcome.output if outcome.output and outcome.output.strip() else None
    return replace(outcome, seconds=time.monotonic() - start, output=output)


def _call(run: Run, configuration: dict[str, Any], *, at_keyboard: bool = True) -> Outcome:
    """Call in this process. Where nobody is ``at_keyboard``, a KeyboardInterrupt is the run's own."""
    try:
        return Outcome(State.COMPLETE, run(configuration))
    except Aborted as error:
        return Outcome(State.ABORTED, reason=message(error) or "it raised Aborted")
    except TimedOut as error:
        return Outcome(State.TIMED_OUT, reason=str(error), timeout=error.seconds)
    except CommandError as error:
        return Outcome(State.FAILED, reason=message(error))
    except BaseException as error:  # pytest's failures and a thread's end are no Exceptions
        if at_keyboard and isinstance(error, KeyboardInterrupt):
            raise
        name = "it called sys.exit" if isinstance(error, SystemExit) else type(error).__name__
        traced = traceback.format_exc()[-TRACEBACK:]
        said = message(error)
        return Outcome(State.FAILED, reason=f"{name}: {said}" if said else name, traceback=traced)


# ---- a callable in a child process


def _call_in_child(
    run: Run,
    configuration: dict[str, Any],
    timeout: float | None,
    memory: int | None,
    stop: threading.Event | None,
) -> Outcome:
    """Fork, call there, read the outcome from a pipe; end the child and all it started in any case."""
    if not hasattr(os, "fork"):
        raise ValueError(
            "A time limit for a Python callable needs a system with fork (Linux, macOS). Make the run a "
            "program and give boatppl.Command([...], timeout=...)."
        )
    _flush()  # else both processes would write what is buffered
    mark, parent = new_mark(), os.getpid()
    result, says = os.pipe(), os.pipe()
    with _FORKING:
        child = os.fork()
    if child == 0:
        _be_the_child(partial(_call_and_say, run, configuration, (result[1], says[1]), memory), mark, parent)
    for pipe in (result, says):
        os.close(pipe[1])
    status: list[int] = []

    def ended() -> bool:
        if not status:
            try:
                pid, code = os.waitpid(child, os.WNOHANG)
            except ChildProcessError:  # the system has reaped it already: SIGCHLD is ignored here
                pid, code = child, 0
            status.extend([code] if pid else [])
        return bool(status)

    record, output = Stream(result[0], None), Stream(says[0])
    try:
        in_time = listen(
            [record, output], ended, limit=timeout, stop=stop, enough=lambda: _whole(record.heard)
        )
        listen([output], lambda: True)  # what it said before the result
    finally:
        for pipe in (result, says):
            os.close(pipe[0])
        end_tree(child, mark, ended)
        while not ended():
            time.sleep(0.001)
    if not in_time:
        outcome = Outcome(State.TIMED_OUT, reason=too_long(timeout), timeout=timeout)
    elif not _whole(record.heard):
        how = how_it_ended(os.waitstatus_to_exitcode(status[0]))
        outcome = Outcome(State.FAILED, reason=f"its process ended without a result: {how}")
    else:
        outcome = of_record(json.loads(record.heard[LENGTH:]))
    return replace(outcome, host=None, output=output.text)  # it is this machine


def _whole(heard: bytearray) -> bool:
    """Whether a message is whole: its length in front says so, and not the pipe's end, since what the run
    left behind may hold the pipe open."""
    return len(heard) >= LENGTH and len(heard) >= LENGTH + int.from_bytes(heard[:LENGTH])


def _be_the_child(work: Callable[[], None], mark: str, parent: int) -> None:
    """Do the work under supervision (:func:`boatppl.processes.supervise`), in a session of its own."""
    try:
        os.setsid()  # Ctrl-C in the terminal reaches the parent, which ends this whole session
        os.environ[mark] = "1"
        control(PR_SET_NAME, name_of(mark))
        supervise(parent, mark, work)
    finally:
        os._exit(1)


def _call_and_say(
    run: Run, configuration: dict[str, Any], pipes: tuple[int, int], memory: int | None
) -> None:
    """Call, write the outcome to the first pipe and all that is said to the second."""
    _speak_into(pipes[1])
    if memory is not None:
        most = _address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    outcome = record_of(lambda: _call(run, configuration, at_keyboard=False))
    message = json.dumps(outcome).encode()
    _flush()
    with os.fdopen(pipes[0], "wb") as file:
        file.write(len(message).to_bytes(LENGTH) + message)


def _speak_into(pipe: int) -> None:
    """Let a pipe be this process's stdout and stderr, and nothing its stdin: nobody answers there."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0, closefd=False)
    # Python's own, too: those of a notebook or a test are no files.
    for number, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(pipe, number)
        file = os.fdopen(number, "w", buffering=1, errors="backslashreplace", closefd=False)
        setattr(sys, stream, file)


def record_of(call: Callable[[], Outcome]) -> Record:
    """Make a call and give its outcome as plain values, which any process reads; :func:`of_record` reads
    them."""
    try:
        outcome = call()
    except KeyboardInterrupt:
        return {"state": INTERRUPTED}
    said = {field.name: getattr(outcome, field.name) for field in fields(Outcome)}
    said |= {"state": str(outcome.state), "host": platform.node()}
    try:
        record: Record = to_json(said)
    except UNREADABLE as error:
        unknown = f"what the run returned cannot be measured: {message(error)}"
        why = _refusal(outcome.measurements) or unknown
        record = said | {"state": str(State.FAILED), "measurements": None, "reason": why}
    return record


def _refusal(raw: Any) -> str | None:
    """Say which measurement is none, in the words that it would have in the tuner's process."""
    try:
        validate_measurements(raw if isinstance(raw, Mapping) else {"the objective": raw}, {})
    except MeasurementError as error:
        return str(error)
    return None


def of_record(record: Record) -> Outcome:
    """Give the outcome that :func:`record_of` described. Raises KeyboardInterrupt where Ctrl-C ended it."""
    if record["state"] == INTERRUPTED:
        raise KeyboardInterrupt
    known = from_json(record)
    return Outcome(**{**known, "state": State(record["state"])})


def _address_space() -> int:
    """Bytes of address space of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # None, closed, or whatever the run has put there
            stream.flush()
