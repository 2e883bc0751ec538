"""Systems with one planted fault each: what the diagnosis has to name, and right models beside them."""

from collections.abc import Callable, Mapping

from benchmarks.faulty_systems.broker import broker_cases
from benchmarks.faulty_systems.case import Case
from benchmarks.faulty_systems.cluster import cluster_cases
from benchmarks.faulty_systems.collector import collector_cases
from benchmarks.faulty_systems.solver import solver_cases
from benchmarks.faulty_systems.store import store_cases
from benchmarks.faulty_systems.web import web_cases

__all__ = ["SYSTEMS", "Case", "cluster_cases", "collector_cases"]

SYSTEMS: Mapping[str, Callable[[], list[Case]]] = {
    "collector": collector_cases,
    "store": store_cases,
    "cluster": cluster_cases,
    "broker": broker_cases,
    "solver": solver_cases,
    "web": web_cases,
}
