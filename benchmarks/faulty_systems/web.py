"""A web server, on square roots, odds and logarithms: written after the broker had been answered."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat
from benchmarks.faulty_systems.case import Case, Measure, Run, cases_of, simulated

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


def _truth(c: dict[str, Any], measure: Measure, found: dict[str, Any]) -> None:
    measure("cached", 1 / (1 + np.exp(1.2 - 0.5 * np.log2(c["cache"] / 16))))
    measure("query", 4 + 40 / c["pool"] + 0.25 * c["pool"])
    measure("wait", 1 + 60 / c["workers"])
    measure("reply", 2.5 + (1 - found["cached"]) * found["query"] + found["wait"])


def _noisy(name: str, value: float, rng: np.random.Generator) -> float:
    noise = rng.normal()
    if name == "cached":
        return float(1 / (1 + np.exp(-np.log(value / (1 - value)) - 0.1 * noise)))
    if name == "wait":
        return float((np.sqrt(value) + 0.1 * noise) ** 2)
    return float(value * np.exp(0.04 * noise))


def web(**change: Callable[..., Any]) -> Run:
    """The true server."""
    return simulated(_truth, _noisy, change)


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

    case = cases_of("web", WEB, WEB_PARTS, "reply")

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
