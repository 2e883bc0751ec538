"""A discrete-event simulation of synchronous SGD with parameter servers: no measurement, a simulation.

An iteration: every worker pulls its part of the parameters from every server, computes the gradient of its
samples, pushes it to every server; a server that has every gradient adds them up; when all have, the next
iteration begins. What happens between two events is a fluid: flows share the links of both ends max-min
fairly (Bertsekas & Gallager 1992, sec. 6.5.2), and a machine computes the slower the more its network moves.
Events are the ends of flows, of gradients and of sums. The loop is our own rather than a library of
coroutines: each event changes the rates of all flows, which is an array operation and not a message.

The simulation was frozen before any model of it was written; it has no formula for a worker's time.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from models.sgd_scheduling.cluster import Cluster
from models.sgd_scheduling.schedule import Schedule, schedule_of

PULLING, COMPUTING, PUSHING, READY = 0, 1, 2, 3
INCAST = 0.06  # of a link's capacity lost for each e-fold of the flows on it
CALL_S = 5e-4  # seconds that a worker spends on the call of each server
LEAST_SPEED = 0.3  # of its own at which a machine computes however busy its network is
#: Machines at most -> the share of a flow that may be left when it ends together with another.
GRAINS = ((30, 0.002), (100, 0.05), (1_000_000, 0.1))
ROUNDS = 30  # of the water filling; what is left then shares plainly

ITERATIONS, DROPPED = 13, 3
COMPUTE_NOISE, NETWORK_NOISE = 0.04, 0.05  # log-normal, of each iteration
STRAGGLES = 0.3  # of iterations in which some worker is slowed
COLD = 0.6  # of their speed in the first iteration


@njit(cache=True)
def _flow_rates(src, dst, left, up, down, rate):  # type: ignore[no-untyped-def]
    """Write the max-min fair rates (flow,) in bytes/s of the flows with bytes left."""
    n, flows = len(up), len(src)
    out, into = np.zeros(n), np.zeros(n)
    for f in range(flows):
        rate[f] = 0.0
        if left[f] > 0:
            out[src[f]] += 1
            into[dst[f]] += 1
    free_up, free_down = np.zeros(n), np.zeros(n)
    for m in range(n):
        free_up[m] = up[m] / (1 + INCAST * np.log(max(out[m], 1.0)))
        free_down[m] = down[m] / (1 + INCAST * np.log(max(into[m], 1.0)))
    share_up, share_down = np.zeros(n), np.zeros(n)
    slowest_down, slowest_up = np.zeros(n), np.zeros(n)
    for turn in range(ROUNDS):
        for m in range(n):
            share_up[m] = max(free_up[m], 0.0) / max(out[m], 1.0)
            share_down[m] = max(free_down[m], 0.0) / max(into[m], 1.0)
            slowest_down[m] = np.inf
            slowest_up[m] = np.inf
        waiting = 0
        for f in range(flows):
            if left[f] > 0 and rate[f] == 0.0:
                waiting += 1
                slowest_down[src[f]] = min(slowest_down[src[f]], share_down[dst[f]])
                slowest_up[dst[f]] = min(slowest_up[dst[f]], share_up[src[f]])
        if waiting == 0:
            break
        for f in range(flows):
            if left[f] > 0 and rate[f] == 0.0:
                s, d = src[f], dst[f]
                tight = share_up[s] <= slowest_down[s] or share_down[d] <= slowest_up[d]
                if tight or turn == ROUNDS - 1:
                    rate[f] = max(min(share_up[s], share_down[d]), 1.0)
                    free_up[s] -= rate[f]
                    free_down[d] -= rate[f]
                    out[s] -= 1
                    into[d] -= 1


@njit(cache=True)
def _iteration(  # type: ignore[no-untyped-def]  # noqa: PLR0915 - one state machine
    samples, serves, speed, startup, memory, up, down, summing, dispatch, wire_cost, size, grain
):
    """Return when each machine had pulled, computed, pushed and summed (machine,), and the end, in seconds.

    ``size`` is the bytes of all parameters; flows within the share ``grain`` of their end, end together.
    """
    n = len(samples)
    workers, servers = np.flatnonzero(samples > 0), np.flatnonzero(serves)
    part = size / len(servers)
    flows = len(workers) * len(servers)
    src, dst = np.zeros(flows, np.int64), np.zeros(flows, np.int64)
    left, rate = np.zeros(flows), np.zeros(flows)  # the same pairs pull, and later push the other way
    state, open_flows = np.full(n, READY), np.zeros(n, np.int64)
    work, wait = np.zeros(n), np.zeros(n)
    pulled, computed, pushed, summed = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    f = 0
    for w in workers:
        state[w] = PULLING
        for s in servers:
            src[f], dst[f] = s, w
            if s != w:  # its own part is already there
                left[f] = part
                open_flows[w] += 1
            f += 1
        over = max(samples[w] / memory[w] - 1.0, 0.0)
        work[w] = samples[w] * (1.0 + 0.4 * over) + startup[w]
        wait[w] = dispatch[w] + CALL_S * len(servers)
    due = np.zeros(n, np.int64)  # gradients that a server waits for
    adding = np.full(n, -1.0)  # bytes that it still adds up; negative before it began
    for s in servers:
        due[s] = len(workers)
    per = len(servers)
    moved, time, unfinished = np.zeros(n), 0.0, len(servers)
    while unfinished > 0:
        for i in range(len(workers)):  # whoever waits for nothing goes on
            w = workers[i]
            if state[w] == PULLING and open_flows[w] == 0:
                state[w], pulled[w] = COMPUTING, time
            if state[w] == COMPUTING and work[w] <= 0.0:
                state[w], computed[w] = PUSHING, time
                for f in range(i * per, (i + 1) * per):
                    s = src[f]
                    src[f], dst[f] = w, s
                    if s == w:
                        due[s] -= 1
                    else:
                        left[f] = part
                        open_flows[w] += 1
            if state[w] == PUSHING and open_flows[w] == 0:
                state[w], pushed[w] = READY, time
        for s in servers:
            if due[s] == 0 and adding[s] < 0.0:
                adding[s] = part * len(workers)
        _flow_rates(src, dst, left, up, down, rate)
        moved[:] = 0.0
        step = np.inf
        for f in range(flows):
            if left[f] > 0:
                moved[src[f]] += rate[f]
                moved[dst[f]] += rate[f]
                step = min(step, left[f] / rate[f])
        for w in workers:
            if state[w] == COMPUTING:
                pace = speed[w] * max(LEAST_SPEED, 1.0 - wire_cost[w] * moved[w])
                step = min(step, wait[w] if wait[w] > 0 else work[w] / pace)
        for s in servers:
            if adding[s] > 0:
                step = min(step, adding[s] / summing[s])
        time += step
        for i in range(len(workers)):
            w = workers[i]
            if state[w] == COMPUTING:
                if wait[w] > 0:
                    wait[w] = wait[w] - step if wait[w] > step * (1 + 1e-9) else 0.0
                else:
                    pace = speed[w] * max(LEAST_SPEED, 1.0 - wire_cost[w] * moved[w])
                    work[w] -= pace * step
                    if work[w] < 1e-6:
                        work[w] = 0.0
            for f in range(i * per, (i + 1) * per):
                if left[f] > 0:
                    left[f] -= rate[f] * step
                    if left[f] <= grain * part:
                        left[f] = 0.0
                        open_flows[w] -= 1
                        if state[w] == PUSHING:
                            due[dst[f]] -= 1
        for s in servers:
            if adding[s] > 0:
                adding[s] -= summing[s] * step
                if adding[s] < 1.0:
                    adding[s], summed[s] = 0.0, time
                    unfinished -= 1
    return pulled, computed, pushed, summed, time


class Simulation:
    """A simulated cluster that a study can run: a configuration in, measurements out.

    ``run(configuration)`` simulates 13 iterations, leaves out three and returns medians. Each call has noise
    of its own, drawn from ``seed`` and the number of the call. ``exact(configuration)`` is one iteration
    without noise and stragglers.

    Measurements, in s, vectors ``(machine,)`` with NaN where a machine has no such part: ``compute_time``,
    ``pull_time``, ``push_time``, ``transfer_time`` (the two together), ``barrier_time`` (from a worker's last
    byte to the end) of workers, ``server_time`` (from the first gradient's end to the sum) of servers;
    ``samples`` that each worker took; ``iteration_time``.
    """

    kind = "simulated"

    def __init__(self, cluster: Cluster, seed: int = 0) -> None:
        self.cluster, self.seed, self.calls = cluster, seed, 0
        self.grain = next(grain for most, grain in GRAINS if len(cluster) <= most)

    def __call__(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Simulate a run with noise."""
        self.calls += 1
        return self.measure(self.schedule(configuration), np.random.default_rng([self.seed, self.calls]))

    def exact(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Simulate one iteration without noise."""
        return self.measure(self.schedule(configuration), None)

    def schedule(self, configuration: Mapping[str, Any]) -> Schedule:
        """Return what a configuration means on this cluster."""
        return schedule_of(configuration, self.cluster.batch)

    def measure(self, schedule: Schedule, rng: np.random.Generator | None) -> dict[str, Any]:
        """Return the measurements of a schedule; None is free of noise."""
        count = 1 if rng is None else ITERATIONS
        rows = [_read(schedule, *self._iterate(schedule, rng, first=i == 0)) for i in range(count)]
        kept = rows[DROPPED:] if rng is not None else rows
        medians = {name: np.median([row[name] for row in kept], axis=0) for name in kept[0]}
        return {name: float(value) if value.ndim == 0 else value for name, value in medians.items()}

    def _iterate(self, schedule: Schedule, rng: np.random.Generator | None, first: bool) -> Any:
        c, n = self.cluster, len(self.cluster)
        compute, network = np.ones(n), np.ones((2, n))
        if rng is not None:
            compute = np.exp(COMPUTE_NOISE * rng.normal(size=n)) * (COLD if first else 1.0)
            network = np.exp(NETWORK_NOISE * rng.normal(size=(2, n)))
            if rng.random() < STRAGGLES:
                compute[rng.integers(n)] *= rng.uniform(0.25, 0.6)
        truth = (c.startup, c.memory, c.up * network[0], c.down * network[1])
        rest = (c.summing, c.dispatch, c.wire_cost, c.parameter_bytes, self.grain)
        return _iteration(schedule.samples.astype(float), schedule.serves, c.speed * compute, *truth, *rest)


def _read(
    schedule: Schedule,
    pulled: np.ndarray,
    computed: np.ndarray,
    pushed: np.ndarray,
    summed: np.ndarray,
    end: float,
) -> dict[str, Any]:
    """One iteration's measurements from the times at which things ended."""
    works = schedule.works

    def of_workers(seconds: np.ndarray) -> np.ndarray:
        return np.where(works, seconds, np.nan)

    return {
        "samples": schedule.samples.astype(float),
        "pull_time": of_workers(pulled),
        "compute_time": of_workers(computed - pulled),
        "push_time": of_workers(pushed - computed),
        "transfer_time": of_workers(pulled + pushed - computed),
        "barrier_time": of_workers(end - pushed),
        "server_time": np.where(schedule.serves, summed - pushed[works].min(), np.nan),
        "iteration_time": np.asarray(end),
    }
