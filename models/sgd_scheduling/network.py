"""Ten machines on one: a network namespace each, joined by a bridge, a token bucket at both ends of a wire.

``with Network(up, down) as network`` needs ``unshare``, ``nsenter``, ``ip`` and ``tc``, and no privilege
where the kernel lets users make namespaces of their own. Everything is gone when it ends, whichever way it
ends: the namespaces live as long as the process that made them, and that one as long as its standard input is
open.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent.parent
BURST = 64  # KB that a token bucket saves up
QUEUE = 200  # ms that a packet may wait in a bucket before it is dropped


class Network:
    """Machines' networks: machine ``i`` sends at most ``up[i]`` and receives at most ``down[i]`` bytes a
    second.

    Raises
    ------
    RuntimeError
        Where a namespace cannot be made, with what the system said of it.
    """

    def __init__(self, up: Sequence[float], down: Sequence[float]) -> None:
        self._rates = [[float(a), float(b)] for a, b in zip(up, down, strict=True)]
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        command = ["unshare", "--user", "--map-root-user", "--net"]
        command += [sys.executable, "-m", "models.sgd_scheduling.network"]
        pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        try:
            self._keeper = subprocess.Popen(command, text=True, env=environment, **pipes)
        except FileNotFoundError as error:
            raise RuntimeError(f"network namespaces need {error.filename} (util-linux).") from error
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        try:
            self._keeper.stdin.write(json.dumps(self._rates) + "\n")
            self._keeper.stdin.flush()
        except BrokenPipeError:
            pass  # what it said follows
        line = self._keeper.stdout.readline()
        if not line:
            _, said = self._keeper.communicate()
            why = (said.strip().splitlines() or ["no reason was given"])[-1]
            raise RuntimeError(
                f"no network namespaces here: {why}. They need ip, tc and nsenter, and a kernel that lets "
                "this user make them; links paced in user space (links='paced') need neither."
            )
        self._pids = json.loads(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.communicate()  # closes its input: it ends, and the namespaces with it

    def on(self, machine: int) -> list[str]:
        """Return what a command is preceded by to run on a machine."""
        entered = ["nsenter", "--target", str(self._pids[machine])]
        return [*entered, "--user", "--net", "--preserve-credentials", "--"]


def address(machine: int) -> str:
    """Return the address of a machine."""
    return f"10.77.{machine // 250}.{machine % 250 + 1}"


def _batch(tool: str, lines: Sequence[str], inside: int | None = None) -> None:
    """Run lines of ``ip`` or ``tc``, in the network namespace of a process."""
    enter = [] if inside is None else ["nsenter", "--target", str(inside), "--net", "--"]
    subprocess.run([*enter, tool, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def _bucket(device: str, rate: float) -> list[str]:
    return [f"qdisc add dev {device} root tbf rate {8 * rate:.0f}bit burst {BURST}kb latency {QUEUE}ms"]


def _namespace(alive: tuple[int, int]) -> int:
    """Fork a process with a network namespace of its own, which ends with this one; return its number."""
    made, making = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(alive[1])
        os.unshare(os.CLONE_NEWNET)
        os.write(making, b".")
        os.close(1)
        os.read(alive[0], 1)  # until the end of the process that made it
        os._exit(0)
    os.close(making)
    if not os.read(made, 1):
        raise OSError(f"machine {pid} has no network namespace of its own")
    os.close(made)
    return pid


def main() -> int:
    """Make the namespaces, say their processes, and keep them until standard input is closed."""
    rates = json.loads(sys.stdin.readline())
    alive = os.pipe()
    pids = [_namespace(alive) for _ in rates]
    _batch("ip", ["link add name bridge type bridge", "link set bridge up"])
    joined = [
        line
        for i, pid in enumerate(pids)
        for line in (
            f"link add name m{i} type veth peer name eth0 netns {pid}",
            f"link set m{i} master bridge up",
        )
    ]
    _batch("ip", joined)
    _batch("tc", [line for i, (_, down) in enumerate(rates) for line in _bucket(f"m{i}", down)])
    for i, (pid, (up, _)) in enumerate(zip(pids, rates, strict=True)):
        _batch("ip", [f"addr add {address(i)}/16 dev eth0", "link set eth0 up", "link set lo up"], pid)
        _batch("tc", _bucket("eth0", up), pid)
    print(json.dumps(pids), flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
