"""The incumbent: the measured configuration that is best by the posterior, not by the luckiest
measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from boatppl.suggest import Goal
from boatppl.text import interval, shown
from boatppl.trial import Trial
from boatppl.words import listed


class AgainstDefault(NamedTuple):
    """A configuration beside the default; the fields are those of :class:`Best`."""

    value: float
    interval: tuple[float, float]
    default: float
    ratio: tuple[float, float, float] | None
    gain: tuple[float, float, float]


@dataclass(frozen=True)
class Best:
    """The incumbent of a study, in the objective's unit.

    ``value`` is the posterior median of the noise-free objective with its 90 % ``interval``; ``measured`` the
    mean of what the runs at this configuration (``trials``) returned in the same context, None where there
    was none; ``default`` the noise-free value of the default configuration; ``ratio`` the 5, 50 and 95 %
    points of how many times better than the default it is, and ``gain`` of how much better.

    >>> Best({"x": 2}, 8.9, (8.2, 9.6), 9.1, 24.0, (2.4, 2.7, 3.0), (13.1, 15.1, 17.0), (5,), "p99", "ms")
    x 2: p99 8.9 ms [8.2-9.6], measured 9.1 in trial 5; with the default 24
    """

    configuration: Mapping[str, Any]
    value: float
    interval: tuple[float, float]
    measured: float | None
    default: float
    ratio: tuple[float, float, float] | None
    gain: tuple[float, float, float]
    trials: tuple[int, ...]
    objective: str = ""
    unit: str = ""

    def __repr__(self) -> str:
        configuration = ", ".join(f"{name} {shown(value)}" for name, value in self.configuration.items())
        value = " ".join(filter(None, [self.objective, shown(self.value, 3), self.unit]))
        runs = f"trial{'s' if len(self.trials) > 1 else ''} {listed(map(str, self.trials))}"
        measured = "" if self.measured is None else f", measured {shown(self.measured, 3)} in {runs}"
        default = f"with the default {shown(self.default, 3)}"
        return f"{configuration}: {value} [{interval(*self.interval)}]{measured}; {default}"


def best_column(draws: np.ndarray, goal: Goal) -> int:
    """Return the configuration with the best posterior median, of noise-free ``draws (draw,
    configuration)``."""
    return int(np.nanargmin(goal.sign * np.nanmedian(draws, axis=0)))


def best_of(
    draws: np.ndarray, goal: Goal, trials: Sequence[Trial], values: Sequence[float], unit: str = ""
) -> Best:
    """Return the incumbent from noise-free draws ``(draw, 2)`` of itself and of the default, and from its
    trials."""
    return Best(
        configuration=trials[0].configuration,
        measured=float(np.mean(values)) if len(values) else None,
        trials=tuple(trial.number for trial in trials),
        objective=goal.name,
        unit=unit,
        **against_default(draws, goal)._asdict(),
    )


def against_default(draws: np.ndarray, goal: Goal) -> AgainstDefault:
    """Compare a configuration with the default, from noise-free draws ``(draw, 2)`` of the two."""
    chosen, default = draws.T
    with np.errstate(all="ignore"):
        ratio = chosen / default if goal.maximize else default / chosen
    low, middle, high = summary(chosen)
    return AgainstDefault(
        value=middle,
        interval=(low, high),
        default=summary(default)[1],
        ratio=summary(ratio) if (draws[np.isfinite(draws)] > 0.0).all() else None,
        gain=summary(goal.sign * (default - chosen)),
    )


def summary(draws: np.ndarray) -> tuple[float, float, float]:
    """Return the 5, 50 and 95 % points of draws ``(draw,)``; NaN where no draw is finite."""
    finite = draws[np.isfinite(draws)]
    low, middle, high = np.quantile(finite, [0.05, 0.5, 0.95]) if len(finite) else [np.nan] * 3
    return float(low), float(middle), float(high)
