"""Systems with one planted fault each: what the diagnosis has to name, and right models beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat

Run = Callable[[dict[str, Any], int, np.random.Generator], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Case:
    """A model, the system that it is wrong about, and the node and cause to be named (None: it is right).

    ``run`` takes a configuration, the number of the run and randomness.
    """

    system: str
    kind: str
    model: boat.DAGModel
    objective: str
    run: Run
    node: str | None = None
    cause: str | None = None
    what: str | None = None


def swap(parts: list[Any], **others: Any) -> list[Any]:
    """The parts of a right model with some replaced: name -> another part."""
    return [replace(others[part.name], name=part.name) if part.name in others else part for part in parts]


# -- a garbage collector ------------------------------------------------------------------

COLLECTOR = boat.Space(
    young=boat.Float(16, 192, log=True, unit="MB"),
    ratio=boat.Float(1, 32, log=True),
    tenuring=boat.Float(0, 15),
)


@boat.derived
def eden(young, ratio):
    return young * ratio / (ratio + 2)


@boat.node(unit="1/s", transform="log")
def gc_rate(eden):
    return pm.Uniform("malloc", 0, 2000) / eden


@boat.node(unit="ms", transform="log")
def pause(young, tenuring):
    return pm.LogNormal("fixed", 0, 1) + pm.LogNormal("per_mb", -2, 1) * young * (1 + 0.1 * tenuring)


@boat.node(unit="ms", transform="log")
def p99(gc_rate, pause):
    return pm.LogNormal("service", 1, 1) + pm.LogNormal("share", -2, 1) * gc_rate * pause


COLLECTOR_PARTS = [eden, gc_rate, pause, p99]


def collector(**change: Callable[..., float]) -> Run:
    """The true collector; ``change``: node -> (value, configuration, number, values so far) -> value."""

    def run(c: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
        found: dict[str, float] = {}

        def measure(name: str, value: float) -> None:
            value = change[name](value, c, number, found, rng) if name in change else value
            found[name] = float(value * np.exp(0.06 * rng.normal()))

        measure("gc_rate", 300 * (c["ratio"] + 2) / (c["young"] * c["ratio"]))
        measure("pause", 2 + 0.1 * c["young"] * (1 + 0.1 * c["tenuring"]))
        measure("p99", 4 + 0.15 * found["gc_rate"] * found["pause"])
        if "seen" in change:
            found = change["seen"](found, rng)
        return found

    return run


def collector_cases() -> list[Case]:
    """One case of every kind, on the collector."""

    @boat.node(unit="ms", transform="log")
    def constant_pause(young, tenuring):
        return pm.LogNormal("fixed", 2, 1) * (1 + 0.1 * tenuring)

    @boat.node(unit="ms", transform="log")
    def wrong_power(young, tenuring):
        return pm.LogNormal("per_mb", -2, 1) * young**0.3 * (1 + 0.1 * tenuring)

    @boat.node(unit="1/s", transform="log")
    def short_prior(eden):
        return pm.Uniform("malloc", 0, 200) / eden

    @boat.node(unit="1/s", transform="log")
    def sure_prior(eden):
        return pm.LogNormal("malloc", np.log(100), 0.1) / eden

    @boat.node(unit="1/s", transform="log")
    def product(eden):
        return pm.LogNormal("malloc", 3, 1) * pm.LogNormal("per_request", 3, 1) / eden

    @boat.node(unit="ms", transform="log")
    def idle(gc_rate, pause):
        nothing = pm.Normal("nothing", 0, 1)
        found = pm.LogNormal("service", 1, 1) + pm.LogNormal("share", -2, 1) * gc_rate * pause
        return found + 1e-9 * nothing

    @boat.node(unit="ms")
    def additive(young, tenuring):
        return pm.LogNormal("fixed", 0, 1) + pm.LogNormal("per_mb", -2, 1) * young * (1 + 0.1 * tenuring)

    @boat.node(unit="ms", transform="log")
    def falling(young, tenuring):
        return pm.LogNormal("fixed", 3, 1) + pm.LogNormal("per_mb", -2, 1) * young * (1 + 0.1 * tenuring)

    @boat.node(unit="ms", transform="log")
    def two_ways(gc_rate, pause):
        side = pm.Normal("side", 0, 2)
        return pm.LogNormal("service", 1, 1) + 0.0375 * side**2 * gc_rate * pause

    right = boat.DAGModel(COLLECTOR, COLLECTOR_PARTS)

    def case(kind, node, cause, what, run, **others):
        model = boat.DAGModel(COLLECTOR, swap(COLLECTOR_PARTS, **others)) if others else right
        return Case("collector", kind, model, "p99", run, node, cause, what)

    def seen_with_error(found, rng):
        return found | {"gc_rate": found["gc_rate"] * np.exp(0.4 * rng.normal())}

    return [
        case("right", None, None, None, collector()),
        case("missing parameter", "gc_rate", "missing edge", "tenuring",
             collector(gc_rate=lambda v, c, *_: v * (1 + 0.05 * c["tenuring"]))),
        case("missing node", "pause", "missing edge", "gc_rate",
             collector(gc_rate=lambda v, c, n, f, r: v * np.exp(0.3 * r.normal()),
                       pause=lambda v, c, n, f, r: v * (1 + 0.15 * f["gc_rate"]))),
        case("constant", "pause", "formula", "young", collector(), pause=constant_pause),
        case("wrong power", "pause", "formula", "young", collector(), pause=wrong_power),
        case("regime", "gc_rate", "formula", "young",
             collector(gc_rate=lambda v, c, *_: v * (1 if c["young"] < 60 else 3))),
        case("prior too short", "gc_rate", "prior edge", "malloc", collector(), gc_rate=short_prior),
        case("wrong sign", "pause", "prior edge", "per_mb",
             collector(pause=lambda v, c, *_: 60 - v), pause=falling),
        case("prior too sure", "gc_rate", "prior conflict", "malloc", collector(), gc_rate=sure_prior),
        case("product", "gc_rate", "unidentified", None, collector(), gc_rate=product),
        case("idle unknown", "p99", "unidentified", "nothing", collector(), p99=idle),
        case("noise grows", "pause", "noise", None,
             collector(pause=lambda v, c, n, f, r: v * (1 + 0.004 * v * r.normal())), pause=additive),
        case("outliers", "p99", "outliers", None,
             collector(p99=lambda v, c, n, f, r: v * (2.5 if n % 9 == 4 else 1))),
        case("drift", "p99", "drift", None, collector(p99=lambda v, c, n, f, r: v * (1 + 0.02 * n))),
        case("parent error", "p99", "parent error", "gc_rate", collector(seen=seen_with_error)),
        case("two ways", "p99", "sampler", None, collector(), p99=two_ways),
    ]  # fmt: skip


# -- a store: written when the code of the diagnosis was done -----------------------------

STORE = boat.Space(
    cache=boat.Float(1, 64, log=True, unit="GB"),
    threads=boat.Float(1, 64, log=True),
    batch=boat.Float(1, 256, log=True),
    level=boat.Float(0, 1),
)


@boat.node(transform="logit")
def hits(cache):
    return pt.sigmoid(pm.Normal("bias", 0, 2) + pm.Normal("per_doubling", 0, 1) * pt.log2(cache))


@boat.node(unit="ms", transform="log")
def disk(threads):
    return pm.LogNormal("seek", 1, 1) * (1 + threads / pm.LogNormal("depth", 2, 1))


@boat.node(unit="ms", transform="log")
def write(batch, level):
    return pm.LogNormal("sync", 2, 1) / batch + pm.LogNormal("copy", 0, 1) * (1 + level)


@boat.node(unit="ms", transform="log")
def latency(hits, disk, write):
    return (1 - hits) * disk + pm.LogNormal("writes", 0, 1) * write


STORE_PARTS = [hits, disk, write, latency]


def store(**change: Callable[..., float]) -> Run:
    """The true store."""

    def run(c: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
        found: dict[str, float] = {}

        def measure(name: str, value: float, logit: bool = False) -> None:
            value = change[name](value, c, number, found, rng) if name in change else value
            odds = np.log(value / (1 - value)) + 0.08 * rng.normal() if logit else 0.0
            found[name] = float(1 / (1 + np.exp(-odds)) if logit else value * np.exp(0.05 * rng.normal()))

        measure("hits", 1 / (1 + np.exp(1.0 - 0.5 * np.log2(c["cache"]))), logit=True)
        measure("disk", 3 * (1 + c["threads"] / 10))
        measure("write", 12 / c["batch"] + 1 + c["level"])
        measure("latency", (1 - found["hits"]) * found["disk"] + 0.8 * found["write"])
        return change["seen"](found, rng) if "seen" in change else found

    return run


def store_cases() -> list[Case]:
    """One case of every kind, on the store."""

    @boat.node(unit="ms", transform="log")
    def constant(threads):
        return pm.LogNormal("seek", 1, 1) + 0.0 * threads

    @boat.node(unit="ms", transform="log")
    def linear(batch, level):
        return pm.LogNormal("sync", 0, 1) * batch + pm.LogNormal("copy", 0, 1) * (1 + level)

    @boat.node(unit="ms", transform="log")
    def short(batch, level):
        return pm.Uniform("sync", 0, 4) / batch + pm.LogNormal("copy", 0, 1) * (1 + level)

    @boat.node(transform="logit")
    def backwards(cache):
        return pt.sigmoid(pm.Normal("bias", 0, 2) - pm.HalfNormal("per_doubling", 1) * pt.log2(cache))

    @boat.node(unit="ms", transform="log")
    def sure(threads):
        return pm.Normal("seek", 8, 0.5) * (1 + threads / pm.LogNormal("depth", 2, 1))

    @boat.node(unit="ms", transform="log")
    def product(hits, disk, write):
        return (1 - hits) * disk + pm.LogNormal("writes", 0, 1) * pm.LogNormal("per_write", 0, 1) * write

    @boat.node(transform="logit")
    def idle(cache):
        nothing = pm.Uniform("nothing", 0, 10)
        bias = pm.Normal("bias", 0, 2) + 1e-9 * nothing
        return pt.sigmoid(bias + pm.Normal("per_doubling", 0, 1) * pt.log2(cache))

    @boat.node(unit="ms")
    def additive(threads):
        return pm.LogNormal("seek", 1, 1) * (1 + threads / pm.LogNormal("depth", 2, 1))

    @boat.node(unit="ms", transform="log")
    def swapped(hits, disk, write):
        signed = pm.Normal("signed", 0, 1.5)
        return (1 - hits) * disk + abs(signed) * write

    right = boat.DAGModel(STORE, STORE_PARTS)

    def case(kind, node, cause, what, run, **others):
        model = boat.DAGModel(STORE, swap(STORE_PARTS, **others)) if others else right
        return Case("store", kind, model, "latency", run, node, cause, what)

    def disk_seen(found, rng):
        return found | {"disk": found["disk"] * np.exp(0.4 * rng.normal())}

    return [
        case("right", None, None, None, store()),
        case("missing parameter", "disk", "missing edge", "level",
             store(disk=lambda v, c, *_: v * (1 + 0.7 * c["level"]))),
        case("missing bend", "hits", "missing edge", "threads",
             store(hits=lambda v, c, *_: v * (0.6 + 0.4 * (np.log2(c["threads"]) / 3 - 1) ** 2))),
        case("missing node", "write", "missing edge", "disk",
             store(disk=lambda v, c, n, f, r: v * np.exp(0.3 * r.normal()),
                   write=lambda v, c, n, f, r: v + 0.2 * f["disk"])),
        case("constant", "disk", "formula", "threads", store(), disk=constant),
        case("linear for 1/x", "write", "formula", "batch", store(), write=linear),
        case("regime", "write", "formula", "batch",
             store(write=lambda v, c, *_: v * (1 + 2 * (c["batch"] > 64)))),
        case("prior too short", "write", "prior edge", "sync", store(), write=short),
        case("wrong sign", "hits", "prior edge", "per_doubling", store(), hits=backwards),
        case("prior too sure", "disk", "prior conflict", "seek", store(), disk=sure),
        case("product", "latency", "unidentified", None, store(), latency=product),
        case("idle unknown", "hits", "unidentified", "nothing", store(), hits=idle),
        case("noise grows", "disk", "noise", None,
             store(disk=lambda v, c, n, f, r: v * (1 + 0.008 * v * r.normal())), disk=additive),
        case("outliers", "write", "outliers", None,
             store(write=lambda v, c, n, *_: v * (3 if n % 8 == 5 else 1))),
        case("drift", "disk", "drift", None, store(disk=lambda v, c, n, *_: v * (1.5 - 0.015 * n))),
        case("step in time", "write", "drift", None,
             store(write=lambda v, c, n, *_: v * (1.4 if n > 14 else 1))),
        case("parent error", "latency", "parent error", "disk", store(seen=disk_seen)),
        case("two ways", "latency", "sampler", None, store(), latency=swapped),
    ]  # fmt: skip


# -- a cluster: a vector along machines ---------------------------------------------------

CLUSTER = boat.Space(
    share=boat.Simplex(4, dim="machine"),
    batch=boat.Float(16, 512, log=True),
    link=boat.Float(1, 16, log=True),
)
CORES = np.array([4.0, 8.0, 8.0, 16.0])


@boat.node(over="machine", unit="s", transform="log")
def compute(share, batch, cores):
    return pm.LogNormal("fixed", -3, 1) + pm.LogNormal("work", -1, 1) * batch * share / cores


@boat.derived
def slowest(compute):
    return compute.max()


@boat.node(unit="s", transform="log")
def sync(link):
    return pm.LogNormal("lag", -1, 1) + pm.LogNormal("volume", 1, 1) / link


@boat.node(unit="s", transform="log")
def step(slowest, sync):
    return slowest + pm.LogNormal("syncs", 0, 0.5) * sync


CLUSTER_PARTS = [compute, slowest, sync, step]


def cluster(**change: Callable[..., Any]) -> Run:
    """The true cluster."""

    def run(c: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def measure(name: str, value: Any) -> None:
            value = change[name](value, c, number, found, rng) if name in change else value
            found[name] = value * np.exp(0.05 * rng.normal(size=np.shape(value)))

        measure("compute", 0.05 + 0.3 * c["batch"] * np.asarray(c["share"]) / CORES)
        measure("sync", 0.4 + 4 / c["link"])
        measure("step", found["compute"].max() + 1.1 * found["sync"])
        return found

    return run


def cluster_cases() -> list[Case]:
    """One case of every kind, on the cluster."""

    @boat.node(over="machine", unit="s", transform="log")
    def no_share(share, batch, cores):
        return pm.LogNormal("fixed", -3, 1) + pm.LogNormal("work", -1, 1) * batch / cores

    @boat.node(over="machine", unit="s", transform="log")
    def short(share, batch, cores):
        return pm.LogNormal("fixed", -3, 1) + pm.Uniform("work", 0, 0.1) * batch * share / cores

    @boat.node(unit="s", transform="log")
    def sure(link):
        return pm.LogNormal("lag", -1, 1) + pm.LogNormal("volume", 0, 0.1) / link

    @boat.node(unit="s")
    def additive(slowest, sync):
        return slowest + pm.LogNormal("syncs", 0, 0.5) * sync

    about = {"coords": {"machine": ["a", "b", "c", "d"]}, "data": {"cores": ("machine", CORES)}}
    right = boat.DAGModel(CLUSTER, CLUSTER_PARTS, **about)

    def case(kind, node, cause, what, run, **others):
        model = boat.DAGModel(CLUSTER, swap(CLUSTER_PARTS, **others), **about) if others else right
        return Case("cluster", kind, model, "step", run, node, cause, what)

    slow = np.array([1.0, 1.0, 1.5, 1.0])
    return [
        case("right", None, None, None, cluster()),
        case("slow machine", "compute", "missing edge", "machine", cluster(compute=lambda v, *_: v * slow)),
        case("missing parameter", "sync", "missing edge", "batch",
             cluster(sync=lambda v, c, *_: v * (1 + c["batch"] / 400))),
        case("no share", "compute", "formula", "share", cluster(), compute=no_share),
        case("prior too short", "compute", "prior edge", "work", cluster(), compute=short),
        case("prior too sure", "sync", "prior conflict", "volume", cluster(), sync=sure),
        case("noise grows", "step", "noise", None, cluster(), step=additive),
        case("outliers", "sync", "outliers", None,
             cluster(sync=lambda v, c, n, *_: v * (2 if n % 7 == 3 else 1))),
        case("drift", "compute", "drift", None, cluster(compute=lambda v, c, n, *_: v * (1 + 0.015 * n))),
    ]  # fmt: skip


# -- a message broker, with choices and whole numbers: written when all above had been answered -------------

BROKER = boat.Space(
    partitions=boat.Integer(1, 64, log=True),
    linger=boat.Float(0, 50, unit="ms"),
    codec=boat.Categorical(["none", "lz4", "zstd"]),
    buffer=boat.Integer(16, 1024, log=True, unit="MB"),
    acks=boat.Boolean(),
)


@boat.node(unit="KB", transform="log")
def packet(partitions, linger):
    return pm.LogNormal("arrivals", 3, 1) * (linger + pm.LogNormal("least", 0, 1)) / partitions


@boat.node(unit="ms", transform="log")
def pack(packet, codec):
    lz4, zstd = pm.LogNormal("lz4", -3, 1), pm.LogNormal("zstd", -2, 1)
    each = pt.switch(pt.eq(codec, codec.codes.lz4), lz4, pt.switch(pt.eq(codec, codec.codes.zstd), zstd, 0.0))
    return pm.LogNormal("copy", -1, 1) + each * packet


@boat.node(unit="ms", transform="log")
def send(packet, acks):
    return pm.LogNormal("trip", 1, 1) * (1 + acks) + pm.LogNormal("per_kb", -2, 1) * packet


@boat.node(unit="ms", transform="log")
def delay(linger, pack, send, partitions):
    return linger / 2 + pack + send + pm.LogNormal("each", -2, 1) * partitions


BROKER_PARTS = [packet, pack, send, delay]
PER_KB = {"none": 0.0, "lz4": 0.06, "zstd": 0.2}


def broker(**change: Callable[..., float]) -> Run:
    """The true broker."""

    def run(c: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
        found: dict[str, float] = {}

        def measure(name: str, value: float) -> None:
            value = change[name](value, c, number, found, rng) if name in change else value
            found[name] = float(value * np.exp(0.05 * rng.normal()))

        measure("packet", 40 * (c["linger"] + 2) / c["partitions"])
        measure("pack", 0.5 + PER_KB[c["codec"]] * found["packet"])
        measure("send", 2 * (1 + c["acks"]) + 0.1 * found["packet"])
        measure("delay", c["linger"] / 2 + found["pack"] + found["send"] + 0.2 * c["partitions"])
        return change["seen"](found, rng) if "seen" in change else found

    return run


def broker_cases() -> list[Case]:
    """One case of every kind, on the broker."""

    @boat.node(unit="ms", transform="log")
    def one_codec(packet):
        return pm.LogNormal("copy", -1, 1) + pm.LogNormal("per_kb", -3, 1) * packet

    @boat.node(unit="ms", transform="log")
    def root(packet, acks):
        return pm.LogNormal("trip", 1, 1) * (1 + acks) + pm.LogNormal("per_kb", -2, 1) * packet**0.4

    @boat.node(unit="KB", transform="log")
    def short(partitions, linger):
        return pm.Uniform("arrivals", 0, 10) * (linger + pm.LogNormal("least", 0, 1)) / partitions

    @boat.node(unit="KB", transform="log")
    def sure(partitions, linger):
        return pm.LogNormal("arrivals", 2.5, 0.1) * (linger + pm.LogNormal("least", 0, 1)) / partitions

    @boat.node(unit="ms", transform="log")
    def free(packet, acks):
        return pm.LogNormal("trip", 2, 1) * (1 - pm.Beta("saved", 1, 1) * acks) + 0.1 * packet

    @boat.node(unit="ms", transform="log")
    def product(packet, acks):
        trip = pm.LogNormal("hops", 0, 1) * pm.LogNormal("per_hop", 0, 1)
        return trip * (1 + acks) + pm.LogNormal("per_kb", -2, 1) * packet

    @boat.node(unit="ms", transform="log")
    def idle(linger, pack, send, partitions):
        nothing = pm.Normal("nothing", 0, 1)
        return linger / 2 + pack + send + pm.LogNormal("each", -2, 1) * partitions + 1e-9 * nothing

    right = boat.DAGModel(BROKER, BROKER_PARTS)

    def case(kind, node, cause, what, run, **others):
        model = boat.DAGModel(BROKER, swap(BROKER_PARTS, **others)) if others else right
        return Case("broker", kind, model, "delay", run, node, cause, what)

    def pack_seen(found, rng):
        return found | {"pack": found["pack"] * np.exp(0.4 * rng.normal())}

    return [
        case("right", None, None, None, broker()),
        case("missing parameter", "pack", "missing edge", "buffer",
             broker(pack=lambda v, c, *_: v * (1 + 2 * np.exp(-c["buffer"] / 80)))),
        case("missing choice", "pack", "missing edge", "codec", broker(), pack=one_codec),
        case("missing switch", "packet", "missing edge", "acks",
             broker(packet=lambda v, c, *_: v * (1 + 0.6 * c["acks"]))),
        case("missing node", "send", "missing edge", "pack",
             broker(pack=lambda v, c, n, f, r: v * np.exp(0.4 * r.normal()),
                    send=lambda v, c, n, f, r: v + f["pack"])),
        case("wrong power", "send", "formula", "packet", broker(), send=root),
        case("regime", "packet", "formula", "partitions",
             broker(packet=lambda v, c, *_: v * (1 if c["partitions"] < 12 else 2.5))),
        case("prior too short", "packet", "prior edge", "arrivals", broker(), packet=short),
        case("wrong sign", "send", "prior edge", "saved", broker(), send=free),
        case("prior too sure", "packet", "prior conflict", "arrivals", broker(), packet=sure),
        case("product", "send", "unidentified", None, broker(), send=product),
        case("idle unknown", "delay", "unidentified", "nothing", broker(), delay=idle),
        case("outliers", "delay", "outliers", None,
             broker(delay=lambda v, c, n, *_: v * (3 if n % 8 == 2 else 1))),
        case("drift", "send", "drift", None, broker(send=lambda v, c, n, *_: v * (1 + 0.02 * n))),
        case("step in time", "pack", "drift", None,
             broker(pack=lambda v, c, n, *_: v * (1.6 if n > 17 else 1))),
        case("parent error", "delay", "parent error", "pack", broker(seen=pack_seen)),
    ]  # fmt: skip


# -- a solver, in watts and joules: additive noise, no logarithms; written with the broker -------------------

SOLVER = boat.Space(
    threads=boat.Integer(1, 16),
    tile=boat.Integer(4, 64, log=True),
    order=boat.Ordinal([1, 2, 4]),
    prefetch=boat.Float(0, 1),
)


@boat.node(unit="s")
def cycles(threads, order):
    return pm.LogNormal("serial", 1, 1) * order + pm.LogNormal("parallel", 3, 1) / threads


@boat.node(unit="M")
def misses(tile):
    return pm.LogNormal("cold", 3, 1) / tile + pm.LogNormal("spilled", -4, 1) * tile**2


@boat.node(unit="W")
def power(threads):
    return pm.Normal("idle", 30, 20) + pm.HalfNormal("per_thread", 10) * threads


@boat.node(unit="J")
def energy(cycles, misses, power):
    return power * (cycles + pm.HalfNormal("stall", 1) * misses)


SOLVER_PARTS = [cycles, misses, power, energy]
SCATTER = {"cycles": 0.5, "misses": 0.4, "power": 1.5, "energy": 40.0}


def solver(**change: Callable[..., float]) -> Run:
    """The true solver."""

    def run(c: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
        found: dict[str, float] = {}

        def measure(name: str, value: float) -> None:
            value = change[name](value, c, number, found, rng) if name in change else value
            found[name] = float(value + SCATTER[name] * rng.normal())

        measure("cycles", 3 * c["order"] + 40 / c["threads"])
        measure("misses", 60 / c["tile"] + 0.008 * c["tile"] ** 2)
        measure("power", 20 + 6 * c["threads"])
        measure("energy", found["power"] * (found["cycles"] + 0.5 * found["misses"]))
        return change["seen"](found, rng) if "seen" in change else found

    return run


def solver_cases() -> list[Case]:
    """One case of every kind, on the solver."""

    @boat.node(unit="W")
    def constant(threads):
        return pm.Normal("idle", 30, 20) + 0.0 * threads

    @boat.node(unit="s")
    def perfect(threads, order):
        return pm.LogNormal("serial", 1, 1) * order + pm.LogNormal("parallel", 3, 1) / threads**2

    @boat.node(unit="W")
    def short(threads):
        return pm.Normal("idle", 30, 20) + pm.Uniform("per_thread", 0, 3) * threads

    @boat.node(unit="W")
    def sure(threads):
        return pm.Normal("idle", 45, 1) + pm.HalfNormal("per_thread", 10) * threads

    @boat.node(unit="M")
    def smooth(tile):
        return pm.LogNormal("cold", 3, 1) / tile + pm.HalfNormal("per_tile", 1) * (64 - tile)

    @boat.node(unit="J")
    def product(cycles, misses, power):
        return power * (cycles + pm.HalfNormal("stall", 1) * pm.HalfNormal("share", 1) * misses)

    right = boat.DAGModel(SOLVER, SOLVER_PARTS)

    def case(kind, node, cause, what, run, **others):
        model = boat.DAGModel(SOLVER, swap(SOLVER_PARTS, **others)) if others else right
        return Case("solver", kind, model, "energy", run, node, cause, what)

    def misses_seen(found, rng):
        return found | {"misses": found["misses"] + 12 * rng.normal()}

    return [
        case("right", None, None, None, solver()),
        case("missing parameter", "misses", "missing edge", "prefetch",
             solver(misses=lambda v, c, *_: v * (1.5 - c["prefetch"]))),
        case("missing step", "power", "missing edge", "order",
             solver(power=lambda v, c, *_: v + 8 * (c["order"] == 4))),
        case("missing node", "power", "missing edge", "misses",
             solver(misses=lambda v, c, n, f, r: v + 8 * r.normal(),
                    power=lambda v, c, n, f, r: v + 0.8 * f["misses"])),
        case("constant", "power", "formula", "threads", solver(), power=constant),
        case("wrong power", "cycles", "formula", "threads", solver(), cycles=perfect),
        case("wrong bend", "misses", "formula", "tile", solver(), misses=smooth),
        case("regime", "power", "formula", "threads",
             solver(power=lambda v, c, *_: v + 25 * (c["threads"] > 10))),
        case("prior too short", "power", "prior edge", "per_thread", solver(), power=short),
        case("prior too sure", "power", "prior conflict", "idle", solver(), power=sure),
        case("product", "energy", "unidentified", None, solver(), energy=product),
        case("noise grows", "power", "noise", None,
             solver(power=lambda v, c, n, f, r: v * (1 + 0.0015 * v * r.normal()))),
        case("outliers", "cycles", "outliers", None,
             solver(cycles=lambda v, c, n, *_: v + 25 * (n % 9 == 3))),
        case("drift", "power", "drift", None, solver(power=lambda v, c, n, *_: v + 0.8 * n)),
        case("step in time", "misses", "drift", None,
             solver(misses=lambda v, c, n, *_: v + 5 * (n > 12))),
        case("parent error", "energy", "parent error", "misses", solver(seen=misses_seen)),
    ]  # fmt: skip


# -- a web server, on square roots, odds and logarithms: written after the broker had been answered ----------

WEB = boat.Space(
    workers=boat.Integer(1, 32, log=True),
    pool=boat.Integer(1, 40),
    cache=boat.Float(16, 2048, log=True, unit="MB"),
    keepalive=boat.Float(0, 60, unit="s"),
)


@boat.node(transform="logit")
def cached(cache):
    return pt.sigmoid(pm.Normal("cold", -1, 1.5) + pm.Normal("per_octave", 0, 1) * pt.log2(cache / 16))


@boat.node(unit="ms", transform="log")
def query(pool):
    return pm.LogNormal("plan", 1, 1) + pm.LogNormal("turn", 3, 1) / pool + pm.LogNormal("lock", -2, 1) * pool


@boat.node(unit="ms", transform="sqrt")
def wait(workers):
    return pm.LogNormal("accept", 0, 1) + pm.LogNormal("load", 4, 1) / workers


@boat.node(unit="ms", transform="log")
def reply(cached, query, wait):
    return pm.LogNormal("render", 1, 1) + (1 - cached) * query + wait


WEB_PARTS = [cached, query, wait, reply]


def web(**change: Callable[..., float]) -> Run:
    """The true server."""

    def run(c: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
        found: dict[str, float] = {}

        def measure(name: str, value: float) -> None:
            value = change[name](value, c, number, found, rng) if name in change else value
            noise = rng.normal()
            if name == "cached":
                value = 1 / (1 + np.exp(-np.log(value / (1 - value)) - 0.1 * noise))
            elif name == "wait":
                value = (np.sqrt(value) + 0.1 * noise) ** 2
            else:
                value *= np.exp(0.04 * noise)
            found[name] = float(value)

        measure("cached", 1 / (1 + np.exp(1.2 - 0.5 * np.log2(c["cache"] / 16))))
        measure("query", 4 + 40 / c["pool"] + 0.25 * c["pool"])
        measure("wait", 1 + 60 / c["workers"])
        measure("reply", 2.5 + (1 - found["cached"]) * found["query"] + found["wait"])
        return change["seen"](found, rng) if "seen" in change else found

    return run


def web_cases() -> list[Case]:
    """One case of every kind, on the web server."""

    @boat.node(unit="ms", transform="log")
    def no_lock(pool):
        return pm.LogNormal("plan", 1, 1) + pm.LogNormal("turn", 3, 1) / pool

    @boat.node(unit="ms", transform="sqrt")
    def constant(workers):
        return pm.LogNormal("accept", 2, 1) + 0.0 * workers

    @boat.node(unit="ms", transform="sqrt")
    def linear(workers):
        return pm.LogNormal("load", 4, 1) - pm.LogNormal("per_worker", -1, 1) * (workers - 33)

    @boat.node(unit="ms", transform="sqrt")
    def short(workers):
        return pm.LogNormal("accept", 0, 1) + pm.Uniform("load", 0, 20) / workers

    @boat.node(unit="ms", transform="log")
    def sure(pool):
        plan, lock = pm.LogNormal("plan", np.log(10), 0.05), pm.LogNormal("lock", -2, 1)
        return plan + pm.LogNormal("turn", 3, 1) / pool + lock * pool

    @boat.node(transform="logit")
    def backwards(cache):
        return pt.sigmoid(pm.Normal("cold", -1, 1.5) - pm.HalfNormal("per_octave", 1) * pt.log2(cache / 16))

    @boat.node(unit="ms", transform="log")
    def product(pool):
        turn = pm.LogNormal("turns", 1, 1) * pm.LogNormal("per_turn", 1, 1)
        return pm.LogNormal("plan", 1, 1) + turn / pool + pm.LogNormal("lock", -2, 1) * pool

    @boat.node(unit="ms", transform="sqrt")
    def idle(workers):
        nothing = pm.Gamma("nothing", 2, 1)
        return pm.LogNormal("accept", 0, 1) + pm.LogNormal("load", 4, 1) / workers + 1e-9 * nothing

    @boat.node(unit="ms")
    def additive(cached, query, wait):
        return pm.LogNormal("render", 1, 1) + (1 - cached) * query + wait

    right = boat.DAGModel(WEB, WEB_PARTS)

    def case(kind, node, cause, what, run, **others):
        model = boat.DAGModel(WEB, swap(WEB_PARTS, **others)) if others else right
        return Case("web", kind, model, "reply", run, node, cause, what)

    def query_seen(found, rng):
        return found | {"query": found["query"] * np.exp(0.4 * rng.normal())}

    return [
        case("right", None, None, None, web()),
        case("missing parameter", "wait", "missing edge", "keepalive",
             web(wait=lambda v, c, *_: v * (1 + 0.02 * c["keepalive"]))),
        case("missing whole number", "cached", "missing edge", "workers",
             web(cached=lambda v, c, *_: v / (1 + 0.03 * c["workers"]))),
        case("missing node", "query", "missing edge", "cached",
             web(cached=lambda v, c, n, f, r: 1 / (1 + (1 / v - 1) * np.exp(0.8 * r.normal())),
                 query=lambda v, c, n, f, r: v * (1.6 - f["cached"]))),
        case("missing term", "query", "formula", "pool",
             web(query=lambda v, c, *_: v + 0.5 * c["pool"]), query=no_lock),
        case("constant", "wait", "formula", "workers", web(), wait=constant),
        case("linear for 1/x", "wait", "formula", "workers", web(), wait=linear),
        case("regime", "query", "formula", "pool",
             web(query=lambda v, c, *_: v * (2 if c["pool"] > 24 else 1))),
        case("prior too short", "wait", "prior edge", "load", web(), wait=short),
        case("wrong sign", "cached", "prior edge", "per_octave", web(), cached=backwards),
        case("prior too sure", "query", "prior conflict", "plan", web(), query=sure),
        case("product", "query", "unidentified", None, web(), query=product),
        case("idle unknown", "wait", "unidentified", "nothing", web(), wait=idle),
        case("noise grows", "reply", "noise", None, web(), reply=additive),
        case("outliers", "reply", "outliers", None,
             web(reply=lambda v, c, n, *_: v * (2.5 if n % 10 == 6 else 1))),
        case("drift", "query", "drift", None, web(query=lambda v, c, n, *_: v * (1 + 0.02 * n))),
        case("step in time", "wait", "drift", None,
             web(wait=lambda v, c, n, *_: v * (1.8 if n > 11 else 1))),
        case("parent error", "reply", "parent error", "query", web(seen=query_seen)),
    ]  # fmt: skip


SYSTEMS: Mapping[str, Callable[[], list[Case]]] = {
    "collector": collector_cases,
    "store": store_cases,
    "cluster": cluster_cases,
    "broker": broker_cases,
    "solver": solver_cases,
    "web": web_cases,
}
