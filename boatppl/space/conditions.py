"""Conditions among parameters: their order, and what fixed values decide about them."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from boatppl.space.parameters import Context, Parameter
from boatppl.space.predicate import Predicate, equals, predicate


def condition_of(
    name: str, when: Any, parameters: Mapping[str, Parameter], contexts: Mapping[str, Context]
) -> Predicate:
    """`when` of parameter `name`, a dict or a function, as a predicate. Raises TypeError for others."""
    if isinstance(when, Mapping):
        return equals(name, when, parameters, contexts)
    if not callable(when):
        raise TypeError(
            f"when= of {name} must be a dict such as {{'gc': 'g1'}} or a function such as "
            f"`lambda gc: gc == 'g1'`, got {when!r}."
        )
    return predicate(when, parameters, contexts, "condition")


def settle(
    conditions: Mapping[str, Predicate], fixed: Mapping[str, Any], resting: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Predicate], set[str]]:
    """What fixed values decide: values that never move, conditions still open, names ruled out.

    A parameter whose condition the fixed values rule out never moves; one whose condition they meet loses it.
    """
    held = dict(fixed)
    open_conditions: dict[str, Predicate] = {}
    dead: set[str] = set()
    for name in condition_order(conditions):
        condition = conditions.get(name)
        if condition is None:
            continue
        if any(parent in dead for parent in condition.names):
            truth: bool | None = False
        elif all(parent in fixed and parent not in open_conditions for parent in condition.names):
            truth = condition(resting)
        else:
            truth = None
        if truth is None:
            open_conditions[name] = condition
        elif not truth:
            dead.add(name)
            held.setdefault(name, resting[name])
    return held, open_conditions, dead


def condition_order(conditions: Mapping[str, Predicate]) -> list[str]:
    """All names that conditions touch, parents before children. Raises ValueError for a circle."""
    try:
        return list(TopologicalSorter({name: c.names for name, c in conditions.items()}).static_order())
    except CycleError as error:
        raise ValueError(
            f"conditions form a circle: {' -> '.join(reversed(error.args[1]))}. "
            "A parameter cannot decide about itself; take one when= out."
        ) from error
