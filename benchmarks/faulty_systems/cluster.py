"""A cluster, a vector along machines: written with the store."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm

import boatppl as boat
from benchmarks.faulty_systems.case import Case, Measure, Run, cases_of, simulated

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


def _truth(c: dict[str, Any], measure: Measure, found: dict[str, Any]) -> None:
    measure("compute", 0.05 + 0.3 * c["batch"] * np.asarray(c["share"]) / CORES)
    measure("sync", 0.4 + 4 / c["link"])
    measure("step", found["compute"].max() + 1.1 * found["sync"])


def _noisy(name: str, value: Any, rng: np.random.Generator) -> Any:
    return value * np.exp(0.05 * rng.normal(size=np.shape(value)))


def cluster(**change: Callable[..., Any]) -> Run:
    """The true cluster."""
    return simulated(_truth, _noisy, change)


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
    case = cases_of("cluster", CLUSTER, CLUSTER_PARTS, "step", **about)

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
