"""What a configuration is worth by a posterior: a log average over its draws, with its slope."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from boatppl.acquisition import average, shares
from boatppl.propagate import Luck, Posterior, Propagation

AT_ONCE = 2**18  # numbers in an array: 2 MB still lie near the processor, and a search of any size fits
BELOW = 1e9  # more than log averages differ by where any is worth having, and it leaves them their digits


class Smooth(Protocol):
    """A score of configurations that has a slope."""

    def __call__(self, unit: np.ndarray, /) -> np.ndarray:
        """Return the scores ``(configuration,)`` of unit rows ``(configuration, coordinate)``."""
        ...

    def with_gradient(self, unit: np.ndarray, /) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores and their slopes ``(configuration, coordinate)``."""
        ...


class Averaged(ABC):
    """The log of an average over draws, of a function of a quantity's mean and variance in each draw."""

    def __init__(
        self, posterior: Posterior, target: str, luck: Luck, contexts: Mapping[str, Any] | None
    ) -> None:
        self.posterior, self.target, self.luck, self.contexts = posterior, target, luck, contexts

    @abstractmethod
    def each(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return each draw's log value ``(draw, configuration)``, of moments on the transformed scale."""

    @abstractmethod
    def slopes(
        self, mean: np.ndarray, variance: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the average's slopes by mean and variance; ``weight`` is each draw's share of it."""

    def forward(self, unit: np.ndarray) -> Propagation:
        """Return every draw pushed through the DAG to the quantity."""
        return self.posterior.propagate(unit, self.target, self.luck, self.contexts)

    def __call__(self, unit: np.ndarray) -> np.ndarray:
        """Return the log average ``(configuration,)``."""
        count = max(1, AT_ONCE // (self.posterior.draws * self.posterior.widest))
        parts = np.split(unit, range(count, len(unit), count))
        return np.concatenate([average(self.each(*self.forward(part).objective())) for part in parts])

    def with_gradient(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log average and its slope ``(configuration, coordinate)``."""
        forward = self.forward(unit)
        mean, variance = forward.objective()
        each = self.each(mean, variance)
        slopes = self.slopes(mean, variance, shares(each))
        return average(each), self.posterior.pullback(forward, self.luck, *slopes)


@dataclass(frozen=True)
class Weighted:
    """A weighted sum of scores."""

    terms: Sequence[tuple[float, Smooth]]

    def __call__(self, unit: np.ndarray) -> np.ndarray:
        """Return the sum ``(configuration,)``."""
        return np.sum([weight * score(unit) for weight, score in self.terms], axis=0)

    def with_gradient(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum and its slope ``(configuration, coordinate)``."""
        each = [(weight, *score.with_gradient(unit)) for weight, score in self.terms]
        return (
            np.sum([weight * values for weight, values, _ in each], axis=0),
            np.sum([weight * slopes for weight, _, slopes in each], axis=0),
        )


@dataclass(frozen=True, eq=False)
class Provided:
    """A score, provided that another one is at least ``least``; elsewhere that other one, far below."""

    score: Smooth
    other: Smooth
    least: float

    def __call__(self, unit: np.ndarray) -> np.ndarray:
        """Return the scores ``(configuration,)``."""
        other = self.other(unit)
        return np.where(other >= self.least, self.score(unit), other - BELOW)

    def with_gradient(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores and their slopes ``(configuration, coordinate)``."""
        (values, slopes), (other, towards) = self.score.with_gradient(unit), self.other.with_gradient(unit)
        enough = other >= self.least
        return np.where(enough, values, other - BELOW), np.where(enough[:, None], slopes, towards)
