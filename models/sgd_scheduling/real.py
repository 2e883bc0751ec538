"""Real processes, real sockets, emulated machines and links: the same measurements as the simulation's.

A run starts a process for each machine that works or serves, which train a network on scikit-learn's digits
together over TCP. Each machine has a network namespace of its own whose links the kernel limits
(:mod:`models.sgd_scheduling.network`), or, where none can be made, its links are paced in user space over
loopback. Its speed is imposed by waiting, or by a quota of a processor
(:mod:`models.sgd_scheduling.processors`). Gradients, sockets, sums and their arithmetic are real.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.sgd_scheduling import training
from models.sgd_scheduling.cluster import Cluster, make_cluster
from models.sgd_scheduling.network import Network, address
from models.sgd_scheduling.processors import Processors
from models.sgd_scheduling.schedule import Schedule, schedule_of

BATCH = 200
FASTER = 3.0  # than the simulated cluster of the seed: seconds become a third
ROOT = Path(__file__).parent.parent.parent


def emulated(n: int = 10, seed: int = 0) -> Cluster:
    """Return the cluster of a seed scaled to the digits: the ratios between machines stay what they were."""
    cluster = make_cluster(n, seed)
    samples = FASTER * BATCH / cluster.batch
    size = 8.0 * training.SIZE
    wire = FASTER * size / cluster.parameter_bytes
    return replace(
        cluster,
        gbit=cluster.gbit * wire,
        speed=cluster.speed * samples,
        startup=cluster.startup * BATCH / cluster.batch,
        up=cluster.up * wire,
        down=cluster.down * wire,
        dispatch=cluster.dispatch / FASTER,
        batch=BATCH,
        parameter_bytes=size,
    )


def links_here() -> Literal["namespaces", "paced"]:
    """Return the most real links that can be had on this machine."""
    try:
        with Network([1e6], [1e6]):
            return "namespaces"
    except RuntimeError:
        return "paced"


class EmulatedCluster:
    """A cluster of real processes that a study can run: a configuration in, measurements out.

    Measurements are those of :class:`models.sgd_scheduling.simulator.Simulation`, medians over ``steps`` less
    the first three. ``parameters (training.SIZE,)`` are the last run's result.

    ``links`` are ``"namespaces"`` or ``"paced"`` (in user space over loopback, without any privilege);
    ``speeds`` come from ``"waiting"`` or from ``"quotas"`` of the processors of this machine.

    Raises
    ------
    RuntimeError
        Where a machine's process fails, the run is not over in ``timeout`` seconds, or namespaces or quotas
        cannot be had.
    """

    kind = "real processes, real sockets, emulated machines and links"

    def __init__(
        self,
        cluster: Cluster,
        *,
        links: Literal["namespaces", "paced"] = "paced",
        speeds: Literal["waiting", "quotas"] = "waiting",
        steps: int = 13,
        dropped: int = 3,
        timeout: float = 300.0,
    ) -> None:
        if links not in ("namespaces", "paced") or speeds not in ("waiting", "quotas"):
            raise ValueError(
                f"links= is 'namespaces' or 'paced', and speeds= is 'waiting' or 'quotas'; got {links!r} and "
                f"{speeds!r}."
            )
        self.cluster, self.steps, self.dropped, self.timeout = cluster, steps, dropped, timeout
        self.links, self.speeds = links, speeds
        self.parameters = np.empty(0)

    def __call__(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Train under a configuration."""
        return self.measure(self.schedule(configuration))

    def schedule(self, configuration: Mapping[str, Any]) -> Schedule:
        """Return what a configuration means on this cluster."""
        return schedule_of(configuration, self.cluster.batch)

    def measure(self, schedule: Schedule) -> dict[str, Any]:
        """Train under a schedule and return the measurements."""
        with tempfile.TemporaryDirectory(prefix="boatppl-sgd-") as folder:
            images, labels = training.digits()
            np.savez(Path(folder) / "digits.npz", images=images, labels=labels)
            specs = self._specs(schedule, Path(folder))
            ends = self._run(specs)
            shards = [np.load(spec["result"]) for spec in specs.values() if spec["serves"]]
            self.parameters = np.concatenate(shards)
        return self._measurements(schedule, ends)

    def _run(self, specs: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, list[float]]]:
        """Return when each machine's parts ended."""
        c = self.cluster
        with ExitStack() as stack:
            network = stack.enter_context(Network(c.up, c.down)) if self.links == "namespaces" else None
            quotas = stack.enter_context(Processors(self._shares())) if self.speeds == "quotas" else None
            return _run_together(specs, self.timeout, network, quotas)

    def _shares(self) -> np.ndarray:
        """The part of one processor that each machine has ``(machine,)``: by speed, of all but a tenth of
        this machine's processors."""
        speed = self.cluster.speed
        return np.minimum(0.9 * len(os.sched_getaffinity(0)) * speed / speed.sum(), 0.9)

    def _specs(self, schedule: Schedule, folder: Path) -> dict[int, dict[str, Any]]:
        """What each machine that has a role is told, by its number."""
        c, servers, apart = self.cluster, np.flatnonzero(schedule.serves), self.links == "namespaces"
        shares = self._shares() if self.speeds == "quotas" else [None] * len(c)
        bounds = np.linspace(0, training.SIZE, len(servers) + 1).astype(int)
        parts = {str(s): [int(bounds[i]), int(bounds[i + 1])] for i, s in enumerate(servers)}
        first = np.concatenate([[0], np.cumsum(schedule.samples)])
        workers = [int(w) for w in np.flatnonzero(schedule.works)]
        return {
            i: {
                "index": i,
                "steps": self.steps,
                "batch": c.batch,
                "workers": workers,
                "parts": parts,
                "serves": bool(schedule.serves[i]),
                "low": parts.get(str(i), [0, 0])[0],
                "high": parts.get(str(i), [0, 0])[1],
                "samples": int(schedule.samples[i]),
                "first": int(first[i]),
                "compute_s": float((schedule.samples[i] + c.startup[i]) / c.speed[i] + c.dispatch[i]),
                "share": None if shares[i] is None else float(shares[i]),
                "host": address(i) if apart else "127.0.0.1",
                "paced": not apart,
                "up": float(c.up[i]),
                "down": float(c.down[i]),
                "data": str(folder / "digits.npz"),
                "result": str(folder / f"shard-{i}.npy"),
            }
            for i in range(len(c))
            if schedule.serves[i] or schedule.works[i]
        }

    def _measurements(self, schedule: Schedule, ends: Mapping[int, Any]) -> dict[str, Any]:
        """Medians of what happened, from when each machine's parts ended (absolute seconds, per step)."""
        n, steps = len(self.cluster), self.steps

        def stamps(name: str) -> np.ndarray:  # (machine, step), NaN where a machine has no such part
            return np.array([ends.get(i, {}).get(name, [np.nan] * steps) for i in range(n)])

        pulled, computed, pushed, summed = map(stamps, ("pulled", "computed", "pushed", "summed"))
        end = np.nanmax(summed, axis=0)  # (step,)
        begin = np.concatenate([[np.nan], end[:-1]])  # the first step has no beginning that all share
        kept = slice(max(self.dropped, 1), None)

        def median(values: np.ndarray) -> np.ndarray:
            return np.median(values[..., kept], axis=-1)

        pull, push = pulled - begin, pushed - computed
        return {
            "samples": schedule.samples.astype(float),
            "pull_time": median(pull),
            "compute_time": median(computed - pulled),
            "push_time": median(push),
            "transfer_time": median(pull + push),
            "barrier_time": median(end - pushed),
            "server_time": median(summed - np.nanmin(pushed, axis=0)),
            "iteration_time": float(median(end - begin)),
        }


def _run_together(
    specs: Mapping[int, dict[str, Any]], timeout: float, network: Network | None, quotas: Processors | None
) -> dict[int, dict[str, list[float]]]:
    """Start a process for each specification, introduce them to each other, return what each says at its
    end."""
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
    environment = os.environ | one_thread | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "models.sgd_scheduling.machine"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    machines = {i: subprocess.Popen([*(network.on(i) if network else ()), *command], **pipes) for i in specs}
    watchdog = threading.Timer(timeout, lambda: [machine.kill() for machine in machines.values()])
    watchdog.start()
    try:
        for i, machine in machines.items():
            _say(machine, specs[i])
        addresses = {str(i): (specs[i]["host"], _hear(machine, i)["port"]) for i, machine in machines.items()}
        for i, machine in machines.items():
            if quotas is not None:
                quotas.put(i, machine.pid)
            _say(machine, addresses)
        return {i: _hear(machine, i) for i, machine in machines.items()}
    finally:
        watchdog.cancel()
        for machine in machines.values():
            machine.kill()
            machine.communicate()


def _say(machine: "subprocess.Popen[str]", what: Any) -> None:
    assert machine.stdin is not None
    machine.stdin.write(json.dumps(what) + "\n")
    machine.stdin.flush()


def _hear(machine: "subprocess.Popen[str]", number: int) -> Any:
    assert machine.stdout is not None
    line = machine.stdout.readline()
    if not line:
        raise RuntimeError(f"machine {number} of the emulated cluster ended before it had said its times.")
    return json.loads(line)
