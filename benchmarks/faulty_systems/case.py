"""A system with one planted fault, and what all of them are made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import boatppl as boat

Run = Callable[[dict[str, Any], int, np.random.Generator], dict[str, Any]]
Measure = Callable[[str, Any], None]  # a node's name and its value without noise


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


def cases_of(
    system: str, space: boat.Space, parts: list[Any], objective: str, **about: Any
) -> Callable[..., Case]:
    """Return what makes the cases of a system: all whose model is right share one."""
    right = boat.DAGModel(space, parts, **about)

    def case(
        kind: str, node: str | None, cause: str | None, what: str | None, run: Run, **others: Any
    ) -> Case:
        model = boat.DAGModel(space, swap(parts, **others), **about) if others else right
        return Case(system, kind, model, objective, run, node, cause, what)

    return case


def simulated(
    truth: Callable[[dict[str, Any], Measure, dict[str, Any]], None],
    noisy: Callable[[str, Any, np.random.Generator], Any],
    change: Mapping[str, Callable[..., Any]],
) -> Run:
    """Return a true system with some of its nodes changed.

    ``truth`` measures one node after the other, from the configuration and what it has measured so far;
    ``noisy`` scatters a value. ``change``: node -> (value, configuration, number, values so far, randomness)
    -> value; ``seen``: (values, randomness) -> what is seen of them.
    """

    def run(c: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def measure(name: str, value: Any) -> None:
            value = change[name](value, c, number, found, rng) if name in change else value
            found[name] = noisy(name, value, rng)

        truth(c, measure, found)
        return change["seen"](found, rng) if "seen" in change else found

    return run
