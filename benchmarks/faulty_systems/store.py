"""A store: written when the code of the diagnosis was done."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat
from benchmarks.faulty_systems.case import Case, Measure, Run, cases_of, simulated

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


def _truth(c: dict[str, Any], measure: Measure, found: dict[str, Any]) -> None:
    measure("hits", 1 / (1 + np.exp(1.0 - 0.5 * np.log2(c["cache"]))))
    measure("disk", 3 * (1 + c["threads"] / 10))
    measure("write", 12 / c["batch"] + 1 + c["level"])
    measure("latency", (1 - found["hits"]) * found["disk"] + 0.8 * found["write"])


def _noisy(name: str, value: float, rng: np.random.Generator) -> float:
    if name == "hits":
        return float(1 / (1 + np.exp(-(np.log(value / (1 - value)) + 0.08 * rng.normal()))))
    return float(value * np.exp(0.05 * rng.normal()))


def store(**change: Callable[..., Any]) -> Run:
    """The true store."""
    return simulated(_truth, _noisy, change)


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

    case = cases_of("store", STORE, STORE_PARTS, "latency")

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
