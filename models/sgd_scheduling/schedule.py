"""A schedule: which machines work, which serve parameters, and how many samples of a batch each worker takes.

Machines are numbered from 0. The configuration of a tuner is names to plain values; a :class:`Schedule` is
what the simulated and the real cluster run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Schedule:
    """``samples (machine,)`` whole numbers that sum to the batch, 0 where a machine does not work; ``serves
    (machine,)`` Booleans.

    Raises
    ------
    ValueError
        Where nobody works or nobody serves.
    """

    samples: np.ndarray
    serves: np.ndarray

    def __post_init__(self) -> None:
        if not self.samples.any() or not self.serves.any():
            raise ValueError(
                "a schedule needs a machine that works and one that serves; got "
                f"{int((self.samples > 0).sum())} workers and {int(self.serves.sum())} servers."
            )

    @property
    def works(self) -> np.ndarray:
        """Which machines work ``(machine,)``."""
        return self.samples > 0


def whole_samples(weights: np.ndarray, batch: int) -> np.ndarray:
    """Split a batch in proportion to ``weights (machine,)`` into whole numbers that sum to it (largest
    remainders: Hamilton's method)."""
    quota = batch * np.asarray(weights, float) / np.sum(weights)
    samples = np.floor(quota).astype(np.int64)
    first = np.argsort(samples - quota, kind="stable")[: batch - samples.sum()]
    samples[first] += 1
    return samples


def schedule_of(configuration: Mapping[str, Any], batch: int) -> Schedule:
    """Read a configuration of :func:`models.sgd_scheduling.spaces.space`."""
    share = np.asarray(configuration["share"], float)
    works, serves = (np.asarray(configuration[role], bool) for role in ("works", "serves"))
    if not works.any():
        raise ValueError("nobody works in this configuration: works needs a machine that is True.")
    weights = np.where(works, share, 0.0)
    if weights.sum() <= 0:  # all of the batch was meant for machines that do not work
        weights = works.astype(float)
    return Schedule(whole_samples(weights, batch), serves)


def configuration_of(
    works: Sequence[bool], serves: Sequence[bool], weights: Sequence[float]
) -> dict[str, Any]:
    """Write a configuration: ``weights (machine,)`` are in proportion to shares; those of idle machines count
    for nothing and stay as they are in the sum."""
    total = float(np.sum(weights))
    return {
        "share": [float(w) / total for w in weights],
        "works": [bool(on) for on in works],
        "serves": [bool(on) for on in serves],
    }
