"""Processes: which one this is, whether another still lives, ending one with everything it started.

Of the standard library alone, and little of that: the process that starts a program (``launch.py``) reads it
too.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36
GRACE_SECONDS = 1.0  # between TERM and KILL
KILL_SECONDS = 0.9  # how long KILL is repeated, for what is forked meanwhile


def identity() -> str:
    """Return which process this is: ``machine number.start``.

    Numbers are given out again, in a container even the same ones at once; the time at which a process
    started (in the kernel's ticks) tells two of one number apart.
    """
    return f"{os.uname().nodename} {os.getpid()}{_stat(os.getpid())[1]}"


def is_gone(process: str | None) -> bool:
    """Whether the process of an :func:`identity` has ended; of one on another machine nothing is known."""
    machine, _, place = (process or "").rpartition(" ")
    number, dot, start = place.partition(".")
    if machine != os.uname().nodename or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    state, born = _stat(int(number))
    return state in ("Z", "X") or bool(start and born and born != f"{dot}{start}")


def _stat(pid: int) -> tuple[str, str]:
    """The state of a process and when it started, ``.12345``; nothing where no /proc says it."""
    # "pid (any name) state parent group session ...": the name may hold spaces and brackets
    fields = _read(f"/proc/{pid}", "stat").decode(errors="replace").rpartition(")")[2].split()
    return (fields[0], f".{fields[19]}") if len(fields) > 19 else ("", "")


def new_mark() -> str:
    """A variable that every process of a trial inherits, by which those that left its session are found."""
    return f"BOATPPL_TRIAL_{os.urandom(16).hex()}"


def name_of(mark: str) -> bytes:
    """The name of a process that is forked for a trial: its own forks inherit it, as other programs do a
    variable."""
    return f"boat-{mark[-10:]}".encode()


class _Terminated(BaseException):
    """SIGTERM has come."""


def supervise(parent: int, mark: str, work: Callable[[], None]) -> NoReturn:
    """Fork a child that does ``work`` and ends. This process takes in whatever that starts and leaves behind,
    ends all of it when the child has ended, or on TERM, or when ``parent`` ends; and ends as the child did.

    A daemon has no tie to what started it but this; and a tuner that is killed cannot end anything.
    """

    def terminated(*_: object) -> None:
        raise _Terminated

    control(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, terminated)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = None
    with contextlib.suppress(_Terminated):
        die_with(parent, signal.SIGTERM)
        child = os.fork()
        if child == 0:
            _work_and_leave(work)
        while status is None:
            pid, found = os.waitpid(-1, 0)
            status = found if pid == child else None
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_tree(os.getpid(), mark, _reap)
    _leave_as(status)


def _work_and_leave(work: Callable[[], None]) -> NoReturn:
    """Do it, without running any exit handlers of the process that this is a copy of."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        die_with(os.getppid(), signal.SIGKILL)
        work()
        code = 0
    finally:
        os._exit(code)


def die_with(parent: int, number: int) -> None:
    """Have the system send this process a signal when its parent ends; one that has ended already counts."""
    control(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def control(option: int, value: int | bytes) -> None:
    """Call ``prctl``, where there is one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _reap() -> bool:
    """Take note of the end of all children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return True


def _leave_as(status: int | None) -> NoReturn:
    """End as a child with this wait status did."""
    code = os.waitstatus_to_exitcode(1 << 8 if status is None else status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left one, if it was to
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def end_tree(root: int, mark: str, ended: Callable[[], bool]) -> None:
    """TERM, then KILL, to ``root`` and all it started, in under two seconds. ``ended`` reaps the root."""
    start = time.monotonic()
    ended()
    alive = _tree(root, mark)
    for pid in alive:
        _send(pid, signal.SIGTERM)
    while alive and time.monotonic() - start < GRACE_SECONDS:
        time.sleep(0.01)
        ended()
        alive = _tree(root, mark)
    while alive and time.monotonic() - start < GRACE_SECONDS + KILL_SECONDS:
        for pid in alive:
            _send(pid, signal.SIGKILL)
        time.sleep(0.01)
        ended()
        alive = _tree(root, mark)


def _tree(root: int, mark: str) -> set[int]:
    """The living processes of a trial: its session, ``root``'s descendants, and whoever inherited the mark
    or, by a fork alone, the name.

    Where there is no /proc to look into, the process group stands for them: ``{-root}``.
    """
    if not Path("/proc/self/stat").exists():
        return {-root} if _send(-root, 0) else set()
    parents, members = {}, {root}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        # "pid (any name) state parent group session ...": the name may hold spaces and brackets
        head, _, rest = _read(entry.path, "stat").rpartition(b")")
        fields = rest.split()
        if not fields or fields[0] in (b"Z", b"X"):
            continue
        pid = int(entry.name)
        parents[pid], group, session = (int(field) for field in fields[1:4])
        named = head.partition(b"(")[2] == name_of(mark)
        if named or root in (group, session) or f"{mark}=".encode() in _read(entry.path, "environ"):
            members.add(pid)
    while found := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= found
    return members & parents.keys() - {os.getpid()}


def _read(folder: str, name: str) -> bytes:
    try:
        return Path(folder, name).read_bytes()
    except OSError:  # ended meanwhile, or another user's
        return b""


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def how_it_ended(code: int) -> str:
    """In words; a negative exit code is a signal's number, as in ``subprocess``."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def too_long(limit: float | None) -> str:
    """The reason of a trial that its time limit ended; ``limit`` in seconds."""
    return f"no result within {limit:g} s; it was ended with everything it had started."


def check_seconds(timeout: float | None) -> None:
    """Raise ValueError for a time limit that is no positive number of seconds."""
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 < timeout < float("inf")):
        raise ValueError(f"A timeout is a positive number of seconds; got {timeout!r}.")
