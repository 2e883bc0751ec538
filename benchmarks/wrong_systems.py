"""Three simulated systems, the model that an engineer would write of each, and the same model made wrong.

The simulators were written first and share no formula with the models: the right models are right as far as
an engineer's are. Each model has three nodes, a chain or a fork, and every kind of mistake is made in all
three.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat
from benchmarks.problems import Configuration, Problem, problems, scattered
from boatppl.node import Node

RIGHT = "right"
#: What is wrong, by kind: this half was there while the code that has to bear it was written.
FIRST_HALF = {
    "missing edge": "the objective does not see one of the nodes it depends on",
    "wrong sign": "a term helps where it hurts",
    "prior excludes the truth": "the prior of a variable ends at a tenth of its value",
    "ignores a parameter": "a node and its residual do not see a parameter that matters",
    "nonsense": "the objective is a formula that has nothing to do with the system",
}
#: This half was written after it.
SECOND_HALF = {
    "edge reversed": "a node is written as an effect of the objective that it causes",
    "constant for a slope": "a node's formula is a constant where it depends on parameters",
    "wrong transform": "noise is said to be additive where it is multiplicative",
    "heavy tails": "one run in six is off by a factor of two, and the model says Gaussian",
    "regime change": "half-way through a parameter's range the objective jumps",
}
WRONG = FIRST_HALF | SECOND_HALF
#: Kinds in which the system differs rather than the model; the generic model is run on that system too.
OTHER_SYSTEM = frozenset({"heavy tails", "regime change"})


@dataclass(frozen=True, eq=False)
class System:
    """A problem with its models: ``model(space, kind)`` builds the right one or a wrong one."""

    problem: Problem
    model: Callable[[boat.Space, str], boat.DAGModel]
    jump: tuple[str, float]  # where the regime changes: above this value of this parameter

    @cached_property
    def others(self) -> dict[str, Problem]:
        """What runs for the kinds in ``OTHER_SYSTEM``."""
        return {
            "heavy tails": replace(self.problem, name=f"{self.problem.name}, tails", run=self._tailed),
            "regime change": replace(self.problem, name=f"{self.problem.name}, jump", run=self._jumping),
        }

    def of(self, kind: str) -> Problem:
        """Return the problem that is run for a kind."""
        return self.others.get(kind, self.problem)

    def _tailed(self, configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
        found = self.problem.run(configuration, rng)
        off = 1.0 if rng is None or rng.random() > 1 / 6 else float(rng.choice([0.5, 2.0]))
        return found | {self.problem.objective: found[self.problem.objective] * off}

    def _jumping(self, configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
        found, (name, edge) = self.problem.run(configuration, rng), self.jump
        factor = 1.8 if configuration[name] > edge else 1.0
        return found | {self.problem.objective: found[self.problem.objective] * factor}

    def run(self, kind: str, configuration: Configuration, rng: np.random.Generator) -> dict[str, float]:
        """Measure a configuration once."""
        return self.of(kind).run(configuration, rng)

    def gap(self, kind: str, configuration: Configuration) -> float:
        """Return how far a configuration's noise-free value is above the optimum, as a share of it."""
        return self.of(kind).gap(configuration)


# -- a garbage collector (its simulator is the comparison's) -------------------------------------------------


def collector(space: boat.Space, kind: str) -> boat.DAGModel:
    """Collections a second and their pause make the 99th percentile of latency."""

    @boat.derived
    def eden_mb(young_mb, survivor_ratio):
        return young_mb * survivor_ratio / (survivor_ratio + 2)

    @boat.node(unit="1/s", transform="log")
    def gc_rate(eden_mb):
        # About 230 MB/s are allocated.
        highest = 20 if kind == "prior excludes the truth" else 5000
        return pm.Uniform("malloc_rate", 0, highest) / eden_mb

    inputs = ["young_mb", "survivor_ratio", "tenuring"]

    @boat.node(unit="ms", transform="log", residual=boat.GP(inputs=inputs))
    def gc_pause(eden_mb):
        base, per_mb = pm.LogNormal("base", 0, 1), pm.LogNormal("per_mb", -2, 1)  # ms, ms/MB
        if kind == "constant for a slope":
            return base + 0 * eden_mb
        return base + per_mb * (1000 / eden_mb if kind == "wrong sign" else eden_mb)

    @boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["tenuring"]))
    def blind_pause(tenuring):
        return pm.LogNormal("base", 0, 1) + pm.LogNormal("per_age", -2, 1) * tenuring

    @boat.node(unit="ms", transform="log")
    def p99(gc_rate, gc_pause):
        return pm.LogNormal("service", 0, 1) + gc_pause * pt.sqrt(abs(gc_rate))

    @boat.node(unit="ms", transform="log")
    def p99_of_pause(gc_pause):
        return pm.LogNormal("service", 0, 1) + pm.LogNormal("per_pause", 0, 1) * gc_pause

    @boat.node(unit="ms", transform="log")
    def pause_of_p99(p99):
        return pm.LogNormal("base", 0, 1) + pm.LogNormal("share", -1, 1) * p99

    @boat.node(unit="ms", transform="log")
    def p99_of_rate(gc_rate):
        return pm.LogNormal("service", 0, 1) + pm.LogNormal("per_collection", -1, 1) * gc_rate

    if kind == "edge reversed":
        gc_pause, p99 = _as(pause_of_p99, "gc_pause"), _as(p99_of_rate, "p99")
    pause = _as(blind_pause, "gc_pause") if kind == "ignores a parameter" else gc_pause
    objective = _as(p99_of_pause, "p99") if kind == "missing edge" else p99
    return _assembled(space, kind, [eden_mb, gc_rate, pause, objective])


# -- a service behind a cache --------------------------------------------------------------------------------


def service_space() -> boat.Space:
    """Cache, threads and how many requests are served at once; the default is a cautious one."""
    return boat.Space(
        cache_mb=boat.Integer(16, 1024, log=True, unit="MB", default=64),
        threads=boat.Integer(1, 64, log=True, default=4),
        batch=boat.Integer(1, 64, log=True, default=1),
    )


def service_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Misses a second, time in the queue (ms) and mean latency (ms).

    Misses fall as a power of the cache with a knee where the working set fits; the queue follows utilisation;
    a large cache slows everything down.
    """
    cache, threads, batch = (float(configuration[name]) for name in ("cache_mb", "threads", "batch"))
    misses = scattered(4000 * cache**-0.45 / (1 + (cache / 400) ** 1.2), 0.04, rng)
    slots = threads / (1 + 0.02 * threads) * batch**0.55
    queue = scattered(0.4 + 60 / slots + 0.02 * threads**1.1 + 0.05 * batch + 0.001 * misses, 0.05, rng)
    pressure = 1 + 0.8 * (cache / 700) ** 2.2
    latency = scattered((0.8 + 0.9 * queue + 0.006 * misses) * pressure + 0.06 * batch, 0.06, rng)
    return {"misses": misses, "queue": queue, "latency": latency}


def service(space: boat.Space, kind: str) -> boat.DAGModel:
    """Misses by the cache, a queue by threads and batch, and latency from both."""

    @boat.node(unit="1/s", transform="log")
    def misses(cache_mb):
        # About 5,000 a second at 1 MB.
        highest = 100 if kind == "prior excludes the truth" else 100_000
        return pm.Uniform("at_1_mb", 0, highest) * cache_mb ** -pm.Uniform("power", 0.1, 1.5)

    @boat.node(unit="ms", transform="log")
    def queue(threads, batch):
        work, switching = pm.LogNormal("work", 3, 1.5), pm.LogNormal("switching", -3, 1.5)
        if kind == "constant for a slope":
            return work + switching + 0 * threads * batch
        if kind == "wrong sign":
            return work * 0.01 * threads * pt.sqrt(batch) + switching
        return work / (threads * pt.sqrt(batch)) + switching * (threads + batch)

    @boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["batch"]))
    def blind_queue(batch):
        return pm.LogNormal("work", 3, 1.5) / pt.sqrt(batch)

    @boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["misses", "queue", "cache_mb", "batch"]))
    def latency(misses, queue, cache_mb):
        service_ms, per_miss = pm.LogNormal("service_ms", 0, 1), pm.LogNormal("per_miss", -5, 1.5)
        pressure = pm.LogNormal("pressure", -1, 1.5) * (cache_mb / 512) ** 2
        return (service_ms + queue + per_miss * misses) * (1 + pressure)

    @boat.node(unit="ms", transform="log")
    def latency_of_misses(misses, cache_mb):
        service_ms, per_miss = pm.LogNormal("service_ms", 0, 1), pm.LogNormal("per_miss", -5, 1.5)
        pressure = pm.LogNormal("pressure", -1, 1.5) * (cache_mb / 512) ** 2
        return (service_ms + per_miss * misses) * (1 + pressure)

    @boat.node(unit="ms", transform="log")
    def queue_of_latency(latency):
        return pm.LogNormal("base", 0, 1) + pm.LogNormal("share", -1, 1) * latency

    if kind == "edge reversed":
        queue, latency = _as(queue_of_latency, "queue"), _as(latency_of_misses, "latency")
    waiting = _as(blind_queue, "queue") if kind == "ignores a parameter" else queue
    objective = _as(latency_of_misses, "latency") if kind == "missing edge" else latency
    return _assembled(space, kind, [misses, waiting, objective])


# -- a job on workers ----------------------------------------------------------------------------------------


def job_space() -> boat.Space:
    """Workers, the size of a chunk and how hard it is compressed."""
    return boat.Space(
        workers=boat.Integer(1, 64, log=True, default=2),
        chunk_kb=boat.Integer(4, 4096, log=True, unit="KB", default=64),
        level=boat.Integer(0, 9, default=6),
    )


def job_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Processor time and transfer time of a job, and when it is done, in s.

    Compression pays off ever less and costs ever more; stragglers grow with workers, and small chunks cost
    round trips while large ones leave workers idle.
    """
    workers, chunk, level = (float(configuration[name]) for name in ("workers", "chunk_kb", "level"))
    compute = scattered(120 * (1 + 0.05 * level**1.5) / workers**0.85 + 0.05 * workers, 0.04, rng)
    ratio = 0.3 + 0.7 * np.exp(-0.6 * level)
    transfer = scattered(25 * ratio + 900 / chunk + 0.06 * workers, 0.05, rng)
    idle = 0.002 * chunk * workers**0.5
    done = scattered(np.hypot(compute, transfer) + 0.4 * min(compute, transfer) + idle + 1.5, 0.06, rng)
    return {"compute": compute, "transfer": transfer, "done": done}


def job(space: boat.Space, kind: str) -> boat.DAGModel:
    """Processors and network work beside one another; the job is done when both are."""

    @boat.node(unit="s", transform="log")
    def compute(workers, level):
        # One worker takes about 120 s.
        highest = 10 if kind == "prior excludes the truth" else 2000
        alone = pm.Uniform("alone", 0, highest)
        return alone * (1 + pm.LogNormal("per_level", -2, 1) * level) / workers + 0.1

    @boat.node(unit="s", transform="log", residual=boat.GP(inputs=["workers", "chunk_kb", "level"]))
    def transfer(chunk_kb, level):
        whole, shrinks = pm.LogNormal("whole", 3, 1.5), pm.LogNormal("shrinks", -1.5, 1)
        trips = pm.LogNormal("trips", 5, 2)
        if kind == "constant for a slope":
            return whole + 0 * chunk_kb * level
        if kind == "wrong sign":
            return whole * pt.exp(0.2 * level) + chunk_kb / trips
        return whole * pt.exp(-shrinks * level) + trips / chunk_kb + 0.1

    @boat.node(unit="s", transform="log", residual=boat.GP(inputs=["level"]))
    def blind_transfer(level):
        return pm.LogNormal("whole", 3, 1.5) * pt.exp(-pm.LogNormal("shrinks", -1.5, 1) * level)

    inputs = ["compute", "transfer", "chunk_kb", "workers"]

    @boat.node(unit="s", transform="log", residual=boat.GP(inputs=inputs))
    def done(compute, transfer, chunk_kb, workers):
        idle = pm.LogNormal("idle", -6, 1.5) * chunk_kb
        return pm.LogNormal("start", 0, 1) + compute + transfer + idle

    @boat.node(unit="s", transform="log")
    def done_with_compute(compute):
        return pm.LogNormal("start", 0, 1) + compute

    @boat.node(unit="s", transform="log")
    def transfer_of_done(done):
        return pm.LogNormal("base", 0, 1) + pm.LogNormal("share", -1, 1) * done

    if kind == "edge reversed":
        transfer, done = _as(transfer_of_done, "transfer"), _as(done_with_compute, "done")
    sending = _as(blind_transfer, "transfer") if kind == "ignores a parameter" else transfer
    objective = _as(done_with_compute, "done") if kind == "missing edge" else done
    return _assembled(space, kind, [compute, sending, objective])


# -- kinds that need no knowledge of the system --------------------------------------------------------------


def _assembled(space: boat.Space, kind: str, parts: list[Any]) -> boat.DAGModel:
    """Wire the parts, the objective last; nonsense puts a formula of its own in the objective's place."""
    if kind == "nonsense":
        parts = [*parts[:-1], _nonsense(list(space.names), parts[-1].name, parts[-1].unit)]
    if kind == "wrong transform":
        parts = [replace(part, transform=None) if isinstance(part, Node) else part for part in parts]
    return boat.DAGModel(space, parts)


def _nonsense(names: list[str], name: str, unit: str) -> Any:
    """A node that oscillates in one parameter and explodes in another, and is very sure of itself."""
    wires = ", ".join(names)
    body = f"(1.1 + pt.sin({names[0]})) * (1 + {names[1]}) ** 2 / (1 + {names[2]})"
    scope: dict[str, Any] = {"pm": pm, "pt": pt}
    exec(
        f"def {name}({wires}):\n    return pm.LogNormal('scale', 0, 1) * {body}", scope
    )  # the wires are the space's names
    return boat.node(unit=unit, transform="log", residual=None)(scope[name])


def _as(part: Any, name: str) -> Any:
    """The same node under the name of the one it stands for."""
    return replace(part, name=name)


def _grid(*axes: tuple[str, range]) -> Callable[[], list[dict[str, Any]]]:
    names = [name for name, _ in axes]
    return lambda: [dict(zip(names, point)) for point in product(*(axis for _, axis in axes))]


SYSTEMS = {
    "collector": System(problems()["collector"], collector, jump=("young_mb", 18)),
    "service": System(
        Problem(
            "service",
            service_space(),
            "latency",
            service_run,
            grid=_grid(("cache_mb", range(16, 1025, 4)), ("threads", range(1, 65)), ("batch", range(1, 65))),
        ),
        service,
        jump=("cache_mb", 128),
    ),
    "job": System(
        Problem(
            "job",
            job_space(),
            "done",
            job_run,
            grid=_grid(("workers", range(1, 65)), ("chunk_kb", range(4, 1025, 4)), ("level", range(10))),
        ),
        job,
        jump=("workers", 8),
    ),
}
