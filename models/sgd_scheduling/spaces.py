"""What a scheduler may set: which machines work, which serve, and each worker's share of the batch."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import boatppl as boat


def space(n: int = 10) -> boat.Space:
    """Return the space of ``n`` machines: ``share`` over machines, ``works_i`` and ``serves_i``.

    The default is equal shares with everyone working and serving. The shares of machines that do not work
    count for nothing: the others take the batch in proportion to theirs.
    """
    works = {f"works_{i}": boat.Boolean(default=True) for i in range(n)}
    serves = {f"serves_{i}": boat.Boolean(default=True) for i in range(n)}
    full = boat.Space(share=boat.Simplex(n, dim="machine"), **works, **serves)
    return full.constrain(named(_somebody_works, list(works)), named(_somebody_serves, list(serves)))


def _somebody_works(**works: Any) -> Any:
    return np.any(list(works.values()), axis=0)


def _somebody_serves(**serves: Any) -> Any:
    return np.any(list(serves.values()), axis=0)


def named(function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """Return a function of ``*values`` or ``**values`` with the arguments ``names``: wires are names, and a
    cluster has as many as machines."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return function
