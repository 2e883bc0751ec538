"""Objectives that do what no objective should."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

GOOD = {"loss": 1.0}
NAME = "BOATPPL_CHAOS"  # in the environment of whatever an objective starts
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]

Objective = Callable[[dict[str, Any]], Any]


class Unheard(BaseException):
    """No Exception, so that careless handlers let it through."""


class Unprintable(Exception):
    """Fails at saying what failed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unreadable(Mapping[str, float]):
    """A dict at first sight, as a lazy loader gives it whose file is gone."""

    def __getitem__(self, key: str) -> float:
        raise OSError("gone")

    def __iter__(self) -> Iterator[str]:
        return iter(["loss"])

    def __len__(self) -> int:
        return 1


class Endless(Unreadable):
    """A dict whose names never end."""

    def __iter__(self) -> Iterator[str]:
        while True:
            yield "loss"

    def __getitem__(self, key: str) -> float:
        return 1.0


def _raises(error: BaseException) -> Objective:
    def run(configuration: dict[str, Any]) -> Any:
        raise error

    return run


def _shouts(configuration: dict[str, Any]) -> Any:
    raise ValueError("x" * 10**8)


def _hangs_deaf(configuration: dict[str, Any]) -> Any:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


def _spins(configuration: dict[str, Any]) -> Any:
    while True:
        pass


def _hogs(configuration: dict[str, Any]) -> Any:
    hoard = []
    while True:
        hoard.append(np.ones(10**7))


def _recurses(configuration: dict[str, Any]) -> Any:
    return _recurses(configuration)


def _forks(configuration: dict[str, Any]) -> Any:
    for _ in range(5):  # 2**5 processes, each of which sleeps
        os.fork()
    time.sleep(300)


def _leaves_a_daemon(configuration: dict[str, Any]) -> Any:
    subprocess.Popen(SLEEP, start_new_session=True, env={**os.environ, NAME: "1"})
    return GOOD


def _floods(configuration: dict[str, Any]) -> Any:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        while True:
            print("x" * 10**6)


def _closes_everything(configuration: dict[str, Any]) -> Any:
    os.closerange(0, 1024)
    return GOOD


def _closes_its_output(configuration: dict[str, Any]) -> Any:
    os.close(1)
    os.close(2)
    return GOOD


def _replaces_its_output(configuration: dict[str, Any]) -> Any:
    sys.stdout, sys.stderr = None, object()  # type: ignore[assignment]
    return GOOD


def _moves_out(configuration: dict[str, Any]) -> Any:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    Path(folder).rmdir()
    return GOOD


async def _awaits(configuration: dict[str, Any]) -> Any:
    return GOOD


def _yields(configuration: dict[str, Any]) -> Generator[Any]:
    yield GOOD


def _many(n: int) -> dict[str, float]:
    return {**{f"m{i}": 1.0 for i in range(n)}, **GOOD}


def _returns(value: Any) -> Objective:
    return lambda configuration: value


def _misuses_its_configuration(configuration: dict[str, Any]) -> Any:
    configuration.clear()
    os.chdir("/")
    os.environ.clear()
    np.random.seed(0)  # noqa: NPY002 - what such an objective would do
    return GOOD


OBJECTIVES: dict[str, Objective] = {
    "NaN": _returns({"loss": float("nan")}),
    "infinity": _returns({"loss": float("inf")}),
    "None": _returns(None),
    "a wrong key": _returns({"los": 1.0}),
    "a wrong shape": _returns({"loss": [1.0, 2.0]}),
    "text": _returns({"loss": "fast"}),
    "a complex number": _returns({"loss": 1j}),
    "a lambda": _returns(lambda: 1.0),
    "an endless whole number": _returns({"loss": 10**400}),
    "ten million numbers": _returns({"loss": np.ones(10**6)}),
    "an exception": _raises(ValueError("boom")),
    "an exception of an odd kind": _raises(Unheard("boom")),
    "sys.exit": _raises(SystemExit(3)),
    "os._exit": lambda configuration: os._exit(0),
    "a segmentation fault": lambda configuration: ctypes.string_at(0),
    "kill -9 of itself": lambda configuration: os.kill(os.getpid(), signal.SIGKILL),
    "stopping itself": lambda configuration: os.kill(os.getpid(), signal.SIGSTOP),
    "sleeping": lambda configuration: time.sleep(300),
    "hanging, deaf to signals": _hangs_deaf,
    "spinning": _spins,
    "a memory hog": _hogs,
    "endless recursion": _recurses,
    "a bounded fork bomb": _forks,
    "a daemon left behind": _leaves_a_daemon,
    "a flood of output": _floods,
    "closing every file": _closes_everything,
    "clearing all it can reach": _misuses_its_configuration,
    "closing stdout and stderr": _closes_its_output,
    "no stdout, and a stderr that is no file": _replaces_its_output,
    "a working directory that is gone": _moves_out,
    "a name of a million letters": _returns({"n" * 10**6: 1.0, **GOOD}),
    "a name with a zero byte": _returns({"a\0b": 1.0, **GOOD}),
    "a name with a line break": _returns({"a\nb": 1.0, **GOOD}),
    "a name with half a letter": _returns({"caf\udce9": 1.0, **GOOD}),
    "twenty thousand measurements": lambda configuration: _many(20_000),
    "a dict that cannot be read": _returns(Unreadable()),
    "a dict that never ends": _returns(Endless()),
    "an array of objects": _returns({"loss": np.array([1.0, None], dtype=object)}),
    "an array without a dimension": _returns({"loss": np.array(1.0)}),
    "a long double": _returns({"loss": np.longdouble(1.5)}),
    "half a double": _returns({"loss": np.float16(1.5)}),
    "more digits than can be printed": _returns({"loss": 10**10_000}),
    "a pandas Series": _returns(pd.Series(GOOD, dtype=float)),
    "an exception without a text": _raises(MemoryError()),
    "an exception that cannot be printed": _raises(Unprintable()),
    "an exception with half a letter": _raises(ValueError("caf\udce9")),
    "an exception of 100 MB": _shouts,
    "a generator": _yields,
    "a coroutine": _awaits,
    "an interrupt of its own": _raises(KeyboardInterrupt()),
}
# Quick ones that leave the process as it was: without a time limit they run in the tuner's own.
HARMLESS = [
    "NaN", "infinity", "None", "a wrong key", "a wrong shape", "text", "a complex number", "a lambda",
    "an endless whole number", "an exception", "an exception of an odd kind", "sys.exit",
    "a name with a zero byte", "a name with a line break", "a name with half a letter",
    "a dict that cannot be read", "an array of objects", "an array without a dimension", "a long double",
    "half a double", "more digits than can be printed", "a pandas Series", "an exception without a text",
    "an exception that cannot be printed", "an exception with half a letter", "a generator", "a coroutine",
]  # fmt: skip


def left_behind() -> list[int]:
    """The processes that an objective has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"{NAME}=".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found
