"""A solver, in watts and joules, with additive noise and no logarithms: written with the broker."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm

import boatppl as boat
from benchmarks.faulty_systems.case import Case, Measure, Run, cases_of, simulated

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


def _truth(c: dict[str, Any], measure: Measure, found: dict[str, Any]) -> None:
    measure("cycles", 3 * c["order"] + 40 / c["threads"])
    measure("misses", 60 / c["tile"] + 0.008 * c["tile"] ** 2)
    measure("power", 20 + 6 * c["threads"])
    measure("energy", found["power"] * (found["cycles"] + 0.5 * found["misses"]))


def _noisy(name: str, value: float, rng: np.random.Generator) -> float:
    return float(value + SCATTER[name] * rng.normal())


def solver(**change: Callable[..., Any]) -> Run:
    """The true solver."""
    return simulated(_truth, _noisy, change)


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

    case = cases_of("solver", SOLVER, SOLVER_PARTS, "energy")

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
