"""What people do without a tuner: leave the default, or keep the k fastest machines; and random schedules."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from models.sgd_scheduling.schedule import configuration_of
from models.sgd_scheduling.spaces import space


def default_only(n: int, measured: Mapping[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """Nothing beyond the default."""
    yield from ()


def k_fastest(n: int, measured: Mapping[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """The k fastest machines work and serve, shares by speed: all, then fewer and fewer of them.

    The speeds are those that the default's run showed (``measured``), not the catalogue's, which mislead.
    """
    speed = measured["samples"] / measured["compute_time"]
    order = np.argsort(-speed, kind="stable")
    sizes = range(n, 0, -1) if n <= 10 else np.unique(np.geomspace(1, n, 14).round().astype(int))[::-1]
    for k in sizes:
        on = np.isin(np.arange(n), order[:k])
        yield configuration_of(on, on, np.where(on, speed, 0.0))


def random_schedules(n: int, measured: Mapping[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """Schedules drawn from the space."""
    yield from space(n).design(256, seed)


PEERS = {"default": default_only, "k-fastest": k_fastest, "random": random_schedules}
