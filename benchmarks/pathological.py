"""Objectives that do what no objective should."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GOOD = {"loss": 1.0}
NAME = "BOATPPL_CHAOS"  # in the environment of whatever an objective starts
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]

Objective = Callable[[dict[str, Any]], Any]


class Unheard(BaseException):
    """No Exception, so that careless handlers let it through."""


def _raises(error: BaseException) -> Objective:
    def run(configuration: dict[str, Any]) -> Any:
        raise error

    return run


def _hangs_deaf(configuration: dict[str, Any]) -> Any:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
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
}


def left_behind() -> list[int]:
    """The processes that an objective has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"{NAME}=".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found
