"""Running one trial: whatever happens, there is an outcome; only Ctrl-C passes through.

A time limit ends the run with everything it started. Results come back from a child process as plain
values: nothing is ever unpickled.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from boatppl.command import Command, CommandError, TimedOut, check_bytes, check_stop
from boatppl.processes import check_seconds, end_tree, how_it_ended, name_of, new_mark, too_long
from boatppl.text import message
from boatppl.trial import Aborted, State, from_json, to_json

__all__ = ["Outcome", "Record", "of_record", "record_of", "run_callable"]

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
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
    :func:`boatppl.trial.validate_measurements` is next.
    """

    state: State
    measurements: Any = None
    reason: str | None = None  # a sentence: why there is no result
    seconds: float = 0.0  # by the monotonic clock
    traceback: str | None = None
    host: str | None = None  # the machine it ran on, where that may be another one
    deaths: int = 0  # workers that ended under it
    output: str | None = None  # the end of what a program said
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
    said: list[str] = []
    if isinstance(run, Command):
        program = partial(run.run, timeout=timeout, stop=stop, heard=said.append)
        outcome = _call(program, configuration)
    elif timeout is not None or isolate or memory is not None:
        try:
            outcome = _call_in_child(run, configuration, timeout, memory, stop)
        except Aborted as error:
            outcome = Outcome(State.ABORTED, reason=str(error))
    else:
        outcome = _call(run, configuration)
    output = said[0] if said and said[0].strip() else None
    return replace(outcome, seconds=time.monotonic() - start, output=output)


def _call(run: Run, configuration: dict[str, Any]) -> Outcome:
    """Call in this process."""
    try:
        return Outcome(State.COMPLETE, run(configuration))
    except Aborted as error:
        return Outcome(State.ABORTED, reason=message(error) or "it raised Aborted")
    except TimedOut as error:
        return Outcome(State.TIMED_OUT, reason=str(error), timeout=error.seconds)
    except CommandError as error:
        return Outcome(State.FAILED, reason=message(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pytest's failures and a thread's end are no Exceptions
        name = "it called sys.exit" if isinstance(error, SystemExit) else type(error).__name__
        traced = traceback.format_exc()[-TRACEBACK:]
        return Outcome(State.FAILED, reason=f"{name}: {message(error)}", traceback=traced)


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
    read, write = os.pipe()
    with _FORKING:
        child = os.fork()
    if child == 0:
        os.close(read)
        _be_the_child(run, configuration, write, mark, parent, memory)
    os.close(write)
    status: list[int] = []

    def ended() -> bool:
        if not status:
            pid, code = os.waitpid(child, os.WNOHANG)
            status.extend([code] if pid else [])
        return bool(status)

    try:
        message, in_time = _read_message(read, ended, timeout, stop)
    finally:
        os.close(read)
        end_tree(child, mark, ended)
        while not ended():
            time.sleep(0.001)
    if not in_time:
        return Outcome(State.TIMED_OUT, reason=too_long(timeout), timeout=timeout)
    if message is None:
        how = how_it_ended(os.waitstatus_to_exitcode(status[0]))
        return Outcome(State.FAILED, reason=f"its process ended without a result: {how}")
    return replace(of_record(json.loads(message)), host=None)  # it is this machine


def _be_the_child(
    run: Run, configuration: dict[str, Any], pipe: int, mark: str, parent: int, memory: int | None
) -> None:
    """Call, write the outcome to the pipe, and leave without running any of the parent's exit handlers."""
    code = 1
    try:
        os.setsid()  # Ctrl-C in the terminal reaches the parent, which ends this whole session
        os.environ[mark] = "1"
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_NAME, name_of(mark))
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it ended before the line above
                return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if memory is not None:
            most = _address_space() + memory
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        message = json.dumps(record_of(lambda: _call(run, configuration))).encode()
        _flush()
        with os.fdopen(pipe, "wb") as file:
            file.write(len(message).to_bytes(8) + message)
        code = 0
    finally:
        os._exit(code)


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
    except Exception as error:  # an object may refuse in any way
        why = f"what the run returned cannot be measured: {message(error)}"
        record = said | {"state": str(State.FAILED), "measurements": None, "reason": why}
    return record


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


def _read_message(
    pipe: int, ended: Callable[[], bool], timeout: float | None, stop: threading.Event | None
) -> tuple[bytes | None, bool]:
    """Read one message, its length in front; and whether it, or the process's end, came in time.

    The length, and not the pipe's end, says that it is whole: what the run left behind may hold the pipe
    open.
    """
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    received, is_open = bytearray(), True
    while True:
        check_stop(stop)
        over = ended()  # asked before the last look into the pipe: then what is there is all there is
        wait = 0.0 if over else max(0.0, min(0.2, deadline - time.monotonic()))
        ready, _, _ = select.select([pipe] if is_open else [], [], [], wait if is_open else min(wait, 0.01))
        chunk = os.read(pipe, 1 << 16) if ready else b""
        received += chunk
        if len(received) >= 8 and len(received) >= 8 + int.from_bytes(received[:8]):
            return bytes(received[8:]), True
        if over and not chunk:
            return None, True
        if time.monotonic() >= deadline:
            return None, False
        is_open = is_open and not (ready and not chunk)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
