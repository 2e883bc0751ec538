"""A garbage collector: the diagnosis was written with its faults in sight."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm

import boatppl as boat
from benchmarks.faulty_systems.case import Case, Measure, Run, cases_of, simulated

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


def _truth(c: dict[str, Any], measure: Measure, found: dict[str, Any]) -> None:
    measure("gc_rate", 300 * (c["ratio"] + 2) / (c["young"] * c["ratio"]))
    measure("pause", 2 + 0.1 * c["young"] * (1 + 0.1 * c["tenuring"]))
    measure("p99", 4 + 0.15 * found["gc_rate"] * found["pause"])


def _noisy(name: str, value: float, rng: np.random.Generator) -> float:
    return float(value * np.exp(0.06 * rng.normal()))


def collector(**change: Callable[..., Any]) -> Run:
    """The true collector; ``change``: node -> (value, configuration, number, values so far) -> value."""
    return simulated(_truth, _noisy, change)


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

    case = cases_of("collector", COLLECTOR, COLLECTOR_PARTS, "p99")

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
