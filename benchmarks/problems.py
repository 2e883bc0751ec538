"""Problems with a known optimum: what a run returns, with its noise and without, and what an engineer would
model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat

Configuration = Mapping[str, Any]
Run = Callable[[Configuration, np.random.Generator | None], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Problem:
    """A system to tune: ``run(configuration, rng)`` measures it, ``run(configuration, None)`` is free of
    noise.

    ``optimum`` is the least noise-free value of the objective; ``structured`` builds the model an engineer
    would write (None where nothing is known). ``transforms`` are those of the structured model's measured
    quantities. ``scale`` is what a gap is a share of: |optimum| unless given, as for optima of 0. ``choices``
    are all configurations of a finite set; ``network`` names the inputs of every measured quantity;
    ``noise`` says what scatters runs (empty: nothing does); ``seconds`` is what one run takes; ``doubt`` by
    what share the noise-free values themselves may be off (one standard deviation). ``seeded`` returns the
    system of a seed, where every seed is another one.
    """

    name: str
    space: boat.Space
    objective: str
    run: Run
    grid: Callable[[], list[dict[str, Any]]] | None = None  # every configuration worth a look
    known_optimum: float | None = None
    structured: Callable[[boat.Space], boat.DAGModel] | None = None
    transforms: Mapping[str, str] | None = None
    scale: float | None = None
    choices: tuple[Mapping[str, Any], ...] | None = None
    network: Mapping[str, tuple[str, ...]] | None = None
    noise: str = ""
    seconds: float = 0.0
    kind: str = "generic"
    doubt: float = 0.0
    seeded: "Callable[[int], Problem] | None" = None

    def of(self, seed: int) -> "Problem":
        """Return the problem that a seed stands for: itself, unless every seed is another system."""
        return self if self.seeded is None else self.seeded(seed)

    def truth(self, configuration: Configuration) -> float:
        """Return the objective's noise-free value."""
        return float(self.run(configuration, None)[self.objective])

    @cached_property
    def optimum(self) -> float:
        """The least noise-free value: from the literature, else by looking at the whole grid."""
        if self.known_optimum is not None:
            return self.known_optimum
        return min(self.truth(configuration) for configuration in self.grid())

    def gap(self, configuration: Configuration) -> float:
        """Return how far a configuration's noise-free value is above the optimum, as a share of the scale."""
        return (self.truth(configuration) - self.optimum) / (self.scale or abs(self.optimum))

    def nearest(self, configuration: Configuration) -> dict[str, Any]:
        """Return the configuration that is run when another is asked for: the nearest of a finite set, in the
        unit cube; else itself, with parameters that do not matter at their default."""
        if self.choices is None:
            return self.space.validate(configuration)
        row = self.space.encode([self.space.validate(configuration, strict=False)])
        away = np.abs(self._choices - row).sum(axis=1)
        return dict(self.choices[int(away.argmin())])

    @cached_property
    def _choices(self) -> np.ndarray:
        """The finite set in the unit cube (configuration, coordinate)."""
        return self.space.encode(self.choices)


def scattered(value: float, spread: float, rng: np.random.Generator | None) -> float:
    """A run's value: log-normal around the noise-free one."""
    return float(value) if rng is None else float(value * np.exp(spread * rng.normal()))


# -- the collector: three nodes, a simulator that is not the model -------------------------------------------


def collector_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Measure a generational collector: collections a second, mean pause and 99th percentile of latency in
    ms.

    Children see what their parents measured. Against :func:`collector_model`: survivors cost rate, pauses
    saturate in eden and grow with tenuring, and latency is not the product that the model names.
    """
    names = ("young_mb", "survivor_ratio", "tenuring")
    young, ratio, tenuring = (float(configuration[name]) for name in names)
    eden, survivor = young * ratio / (ratio + 2), young / (ratio + 2)
    rate = scattered(230 / (eden + 1.5) * (1 + 0.25 * np.exp(-survivor / 2)), 0.05, rng)
    copied = 9 * (1 - np.exp(-eden / 25)) * (1 + 0.03 * tenuring)
    overflow = np.logaddexp(0.0, copied - survivor)
    pause = scattered(1.0 + 0.9 * copied + 0.5 * overflow / (1 + 0.1 * tenuring), 0.05, rng)
    p99 = scattered(1.2 + 0.7 * pause * rate**0.55 + 0.3 * pause, 0.1, rng)
    return {"gc_rate": rate, "gc_pause": pause, "p99": p99}


def collector_space() -> boat.Space:
    """Three flags; SerialGC's defaults at a 96 MB heap are the default."""
    return boat.Space(
        young_mb=boat.Integer(4, 80, log=True, unit="MB", default=32),
        survivor_ratio=boat.Integer(1, 16, log=True, default=8),
        tenuring=boat.Integer(0, 15, default=15),
    )


def collector_model(space: boat.Space) -> boat.DAGModel:
    """Write down what an engineer knows of it: three nodes, the last one robust."""

    @boat.derived
    def eden_mb(young_mb, survivor_ratio):
        return young_mb * survivor_ratio / (survivor_ratio + 2)

    @boat.node(unit="1/s", transform="log")
    def gc_rate(eden_mb):
        malloc_rate = pm.Uniform("malloc_rate", 0, 5000)  # MB/s
        return malloc_rate / eden_mb

    @boat.node(
        unit="ms", transform="log", residual=boat.GP(inputs=["young_mb", "survivor_ratio", "tenuring"])
    )
    def gc_pause(eden_mb):
        base = pm.LogNormal("base", 0, 1)  # ms
        per_mb = pm.LogNormal("per_mb", -2, 1)  # ms/MB
        return base + per_mb * eden_mb

    @boat.node(unit="ms", transform="log", robust=True)
    def p99(gc_rate, gc_pause):
        service = pm.LogNormal("service", 0, 1)  # ms
        return service + gc_pause * pt.sqrt(gc_rate)

    return boat.DAGModel(space, [eden_mb, gc_rate, gc_pause, p99])


def _collector_grid() -> list[dict[str, Any]]:
    names = ("young_mb", "survivor_ratio", "tenuring")
    return [dict(zip(names, point)) for point in product(range(4, 81), range(1, 17), range(16))]


# -- machines: one node that serves every machine ------------------------------------------------------------


def machines_space(n: int = 10) -> boat.Space:
    """How the work of one step is shared among ``n`` machines."""
    return boat.Space(share=boat.Simplex(n, dim="machine"))


def machines_cores(n: int = 10) -> np.ndarray:
    """Return the cores of each machine ``(machine,)``."""
    return np.resize([2.0, 4.0, 4.0, 8.0, 16.0], n)


def machines_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
    """Measure each machine's seconds a step ``(machine,)``: cores scale sublinearly, and every step has an
    overhead."""
    share = np.asarray(configuration["share"], float)
    seconds = 20 * share / machines_cores(len(share)) ** 0.85 + 0.05
    return {"compute_time": seconds if rng is None else seconds * np.exp(0.05 * rng.normal(size=len(share)))}


def machines_model(space: boat.Space, n: int = 10) -> boat.DAGModel:
    """Write the node for one machine; a synchronous step is as slow as its slowest machine."""

    @boat.node(over="machine", unit="s", transform="log")
    def compute_time(share, cores):
        speed = pm.LogNormal("speed", -3, 1)  # steps a second and core
        return 0.01 + share / (speed * cores)

    @boat.derived
    def slowest(compute_time):
        return compute_time.max()

    names = [f"m{i}" for i in range(n)]
    data = {"cores": ("machine", machines_cores(n))}
    return boat.DAGModel(space, [compute_time, slowest], coords={"machine": names}, data=data)


# -- functions of the literature, and a mixed space ----------------------------------------------------------


def branin_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Branin-Hoo (Dixon & Szegö 1978)."""
    x, y = configuration["x"], configuration["y"]
    bowl = (y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6) ** 2
    return {"value": float(bowl + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10)}


HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
HARTMANN_C = np.array([1.0, 1.2, 3.0, 3.2])


def hartmann_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Hartmann's function of six inputs (Dixon & Szegö 1978)."""
    x = np.array([configuration[f"x{i}"] for i in range(6)])
    return {"value": float(-HARTMANN_C @ np.exp(-(HARTMANN_A * (x - HARTMANN_P) ** 2).sum(axis=1)))}


# ms at the best block, and log2 of that block in KB
CODECS = {"none": (30.0, 6.0), "fast": (18.0, 4.5), "dense": (12.0, 3.0)}


def mixed_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Latency in ms of a store: each codec has its own best block size; direct reads help small caches
    only."""
    least, block = CODECS[configuration["codec"]]
    off_block = np.log2(configuration["block_kb"]) - block
    off_cache = np.log10(configuration["cache_mb"]) - 2.2
    direct = 0.85 if configuration["direct"] else 1.0
    threads = 1 + 0.02 * (configuration["threads"] - 11) ** 2
    cache = 1 + 0.3 * off_cache**2 + (0.4 * max(off_cache, 0.0) if configuration["direct"] else 0.0)
    return {"latency": scattered(least * (1 + 0.08 * off_block**2) * cache * direct * threads, 0.05, rng)}


def _mixed_grid() -> list[dict[str, Any]]:
    names = ("block_kb", "cache_mb", "codec", "direct", "threads")
    axes = (range(1, 257), np.geomspace(10, 1000, 401), CODECS, (False, True), (11,))  # threads stand apart
    return [dict(zip(names, point)) for point in product(*axes)]


# -- the list ------------------------------------------------------------------------------------------------


def problems() -> dict[str, Problem]:
    """Return every problem of the comparison by name."""
    cube = boat.Space(**{f"x{i}": boat.Float(0, 1, default=0.5) for i in range(6)})
    mixed = boat.Space(
        block_kb=boat.Integer(1, 256, log=True, unit="KB", default=64),
        cache_mb=boat.Float(10, 1000, log=True, unit="MB", default=32.0),
        codec=boat.Categorical(tuple(CODECS), default="none"),
        direct=boat.Boolean(default=False),
        threads=boat.Integer(1, 32, default=4),
    )
    found = [
        Problem(
            "branin",
            boat.Space(x=boat.Float(-5, 10, default=2.5), y=boat.Float(0, 15, default=7.5)),
            "value",
            branin_run,
            known_optimum=0.39788735772973816,
        ),
        Problem("hartmann6", cube, "value", hartmann_run, known_optimum=-3.322368011415515),
        Problem("mixed", mixed, "latency", mixed_run, grid=_mixed_grid, noise="log-normal, 5 %"),
        Problem(
            "collector",
            collector_space(),
            "p99",
            collector_run,
            grid=_collector_grid,
            structured=collector_model,
            transforms={"gc_rate": "log", "gc_pause": "log", "p99": "log"},
            network={
                "gc_rate": ("young_mb", "survivor_ratio"),
                "gc_pause": ("young_mb", "survivor_ratio", "tenuring"),
                "p99": ("gc_rate", "gc_pause"),
            },
            noise="log-normal, 5 and 10 %",
            kind="structured",
        ),
    ]
    return {problem.name: problem for problem in found}
