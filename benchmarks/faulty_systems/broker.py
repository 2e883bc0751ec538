"""A message broker, with choices and whole numbers: written when those before it had been answered."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat
from benchmarks.faulty_systems.case import Case, Measure, Run, cases_of, simulated

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


def _truth(c: dict[str, Any], measure: Measure, found: dict[str, Any]) -> None:
    measure("packet", 40 * (c["linger"] + 2) / c["partitions"])
    measure("pack", 0.5 + PER_KB[c["codec"]] * found["packet"])
    measure("send", 2 * (1 + c["acks"]) + 0.1 * found["packet"])
    measure("delay", c["linger"] / 2 + found["pack"] + found["send"] + 0.2 * c["partitions"])


def _noisy(name: str, value: float, rng: np.random.Generator) -> float:
    return float(value * np.exp(0.05 * rng.normal()))


def broker(**change: Callable[..., Any]) -> Run:
    """The true broker."""
    return simulated(_truth, _noisy, change)


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

    case = cases_of("broker", BROKER, BROKER_PARTS, "delay")

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
