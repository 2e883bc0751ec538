"""Trials to a goal, censored where the budget ended first, and what can be said of their medians."""

import math
from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 2000


def first_within(gaps: Sequence[float], share: float) -> float:
    """Return after how many trials the recommended configuration first was within ``share`` of the optimum.

    ``gaps`` holds the gap of the recommendation after trial 1, 2, ...; infinity where none was good enough.

    >>> first_within([0.5, 0.04, 0.2], 0.05), first_within([0.5], 0.05)
    (2.0, inf)
    """
    good = np.flatnonzero(np.asarray(gaps) <= share)
    return float(good[0] + 1) if len(good) else float("inf")


def quantile(values: Sequence[float], level: float) -> float:
    """Return a quantile of values of which some may be infinite.

    Between two values the outer one is taken (of two middle ones the larger): intervals are never too narrow.

    >>> quantile([3.0, float("inf")], 0.5)
    inf
    """
    place = round((len(values) - 1) * level, 9)
    return float(np.sort(values)[math.floor(place) if level < 0.5 else math.ceil(place)])


def median(values: Sequence[float]) -> float:
    """Return the median; of two middle values the larger."""
    return quantile(values, 0.5)


def bootstrap(
    samples: Sequence[Sequence[float]], statistic: Callable[..., float], level: float = 0.9, seed: int = 0
) -> tuple[float, float]:
    """Return the bounds of ``statistic(*samples)`` by the percentile bootstrap (Efron 1979).

    Each sample is resampled by itself. The interval holds ``level``; its lower bound alone is a one-sided
    ``(1 + level) / 2`` bound.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(sample, float) for sample in samples]
    found = [
        statistic(*(array[rng.integers(len(array), size=len(array))] for array in arrays))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


def ratio_of_medians(theirs: Sequence[float], ours: Sequence[float], budget: int) -> float:
    """Return median(theirs) / median(ours); what was censored took at least one trial more than the budget.

    Where theirs is censored the ratio is understated; where ours is, nothing can be claimed and it is 0.
    """
    mine = median(ours)
    return 0.0 if np.isinf(mine) else min(median(theirs), budget + 1.0) / mine
