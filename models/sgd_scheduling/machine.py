"""One emulated machine: a process that works, serves, or both, over real TCP sockets.

``python -m models.sgd_scheduling.machine`` speaks JSON with its parent, a line each: it reads what it is,
says its port, reads everybody's addresses, trains, and says when everything ended (``time.monotonic``, one
clock for all processes of a host). Speed is imposed by waiting, or by a quota of a processor that the
gradient is computed over and over on; bandwidth is paced here, or limited by the machine's own network.
"""

import json
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from models.sgd_scheduling import training

CHUNK = 1 << 15  # bytes that a link lets through at a time
BUFFER = 1 << 16  # bytes that the kernel may hold of a flow: a burst


class Pacer:
    """A link of ``rate`` bytes a second for all flows of a machine in one direction: first come, first
    served."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free, self._lock = rate, 0.0, threading.Lock()

    def take(self, count: int) -> None:
        """Wait until ``count`` bytes may pass; at most ``BUFFER`` bytes are saved up while idle."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now - BUFFER / self._rate) + count / self._rate
            wait = self._free - now
        if wait > 0:
            time.sleep(wait)


def send(connection: socket.socket, values: np.ndarray, link: Pacer | None) -> None:
    """Send an array's bytes through a link; None is the machine itself."""
    data = memoryview(values).cast("B")
    for start in range(0, len(data), CHUNK):
        part = data[start : start + CHUNK]
        if link is not None:
            link.take(len(part))
        connection.sendall(part)


def receive(connection: socket.socket, values: np.ndarray, link: Pacer | None) -> None:
    """Fill an array with bytes that come through a link."""
    data, start = memoryview(values).cast("B"), 0
    while start < len(data):
        count = connection.recv_into(data[start : start + CHUNK])
        if count == 0:
            raise ConnectionError("the other end of a flow is gone.")
        start += count
        if link is not None:
            link.take(count)


class Server:
    """A part ``[low, high)`` of the parameters: sends it to every worker, adds up their gradients, steps."""

    def __init__(self, spec: dict[str, Any], up: Pacer | None, down: Pacer | None) -> None:
        self.spec, self.up, self.down = spec, up, down
        self.values = training.initial()[spec["low"] : spec["high"]].copy()
        self.listener = socket.create_server((spec["host"], 0), backlog=len(spec["workers"]))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.port = self.listener.getsockname()[1]
        self.turn, self.version = threading.Condition(), 0
        self.gradients = {worker: np.empty_like(self.values) for worker in spec["workers"]}
        self.arrived = 0
        self.summed: list[float] = []

    def serve(self) -> None:
        """Serve every worker to the end."""
        threads = []
        for _ in self.spec["workers"]:
            connection, _ = self.listener.accept()
            threads.append(threading.Thread(target=self._one, args=(connection,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _one(self, connection: socket.socket) -> None:
        worker = struct.unpack("<i", connection.recv(4, socket.MSG_WAITALL))[0]
        own = worker == self.spec["index"]
        up, down = (None, None) if own else (self.up, self.down)
        with connection:
            for step in range(self.spec["steps"]):
                with self.turn:
                    self.turn.wait_for(lambda wanted=step: self.version >= wanted)
                send(connection, self.values, up)
                receive(connection, self.gradients[worker], down)
                self._added()

    def _added(self) -> None:
        with self.turn:
            self.arrived += 1
            if self.arrived < len(self.gradients):
                return
            total = sum(self.gradients.values())  # in the order of workers, whoever was first
            self.values -= training.RATE / self.spec["batch"] * total
            self.arrived, self.version = 0, self.version + 1
            self.summed.append(time.monotonic())
            self.turn.notify_all()


class Worker:
    """Pulls all parameters, computes the gradient of its samples, waits as long as its speed says, pushes."""

    def __init__(
        self,
        spec: dict[str, Any],
        addresses: dict[str, tuple[str, int]],
        up: Pacer | None,
        down: Pacer | None,
    ) -> None:
        self.spec, self.up, self.down = spec, up, down
        with np.load(Path(spec["data"])) as data:
            self.images, self.labels = data["images"], data["labels"]
        self.connections = {}
        for server, (low, high) in spec["parts"].items():
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            connection.connect(tuple(addresses[server]))
            connection.sendall(struct.pack("<i", spec["index"]))
            self.connections[int(server)] = (connection, low, high)
        self.flat = np.empty(training.SIZE)
        self.ends: dict[str, list[float]] = {"pulled": [], "computed": [], "pushed": []}

    def work(self) -> None:
        """Take part in every step."""
        with ThreadPoolExecutor(len(self.connections)) as flows:
            for step in range(self.spec["steps"]):
                list(flows.map(self._pull, self.connections))
                self.ends["pulled"].append(time.monotonic())
                self._compute(step)
                self.ends["computed"].append(time.monotonic())
                list(flows.map(self._push, self.connections))
                self.ends["pushed"].append(time.monotonic())
        for connection, _, _ in self.connections.values():
            connection.close()

    def _pull(self, server: int) -> None:
        connection, low, high = self.connections[server]
        receive(connection, self.flat[low:high], None if server == self.spec["index"] else self.down)

    def _push(self, server: int) -> None:
        connection, low, high = self.connections[server]
        send(connection, self.result[low:high], None if server == self.spec["index"] else self.up)

    def _compute(self, step: int) -> None:
        began, used = time.monotonic(), time.thread_time()
        rows = training.batch_of(step, self.spec["batch"], len(self.labels))
        mine = rows[self.spec["first"] : self.spec["first"] + self.spec["samples"]]
        self.result = training.gradient(self.flat, self.images[mine], self.labels[mine])
        if self.spec["share"] is None:
            time.sleep(max(self.spec["compute_s"] - (time.monotonic() - began), 0.0))
            return
        work = self.spec["compute_s"] * self.spec["share"]  # seconds of a whole processor
        while time.thread_time() - used < work:
            training.gradient(self.flat, self.images[mine], self.labels[mine])


def main() -> int:
    """Be one machine; return the exit status."""
    spec = json.loads(sys.stdin.readline())
    up, down = (Pacer(spec[way]) if spec["paced"] else None for way in ("up", "down"))
    server = Server(spec, up, down) if spec["serves"] else None
    print(json.dumps({"port": server.port if server else 0}), flush=True)
    addresses = json.loads(sys.stdin.readline())
    serving = threading.Thread(target=server.serve) if server else None
    if serving:
        serving.start()
    ends: dict[str, list[float]] = {}
    if spec["samples"]:
        worker = Worker(spec, addresses, up, down)
        worker.work()
        ends |= worker.ends
    if serving and server:
        serving.join()
        ends["summed"] = server.summed
        np.save(Path(spec["result"]), server.values)
    print(json.dumps(ends), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
