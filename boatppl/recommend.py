"""What to set: the configuration with the best posterior, how sure that is, and what would be as good."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.evidence import Evidence
from boatppl.explain import AsGood, as_good, surely
from boatppl.incumbent import against_default, best_column
from boatppl.regret import prospect
from boatppl.rivals import Rivals
from boatppl.search import Score
from boatppl.text import interval, shown
from boatppl.words import listed

CLEARLY = (
    0.9  # how sure one must be that a configuration that was never run is better than every one that was
)


@dataclass(frozen=True)
class Recommendation:
    """The configuration to use. Values are of the noise-free objective, in its unit.

    ``value`` is its posterior median with a 90 % ``interval``; ``beats_default`` the probability that it is
    better than the default, ``gain`` by how much (5, 50 and 95 % points) and ``ratio`` how many times, for an
    objective above 0. ``sure`` is the probability that no configuration of the space is better by more than
    ``regret`` (a share of the best, or in the unit where the objective is not above 0). ``as_good`` has for
    each parameter the values within ``regret``, the others held. ``was_run`` is how often it was run.
    """

    objective: str
    unit: str
    configuration: Mapping[str, Any]
    was_run: int
    value: float
    interval: tuple[float, float]
    default: float
    beats_default: float
    gain: tuple[float, float, float]
    ratio: tuple[float, float, float] | None
    regret: float
    sure: float
    as_good: Mapping[str, AsGood]

    @property
    def does_not_matter(self) -> tuple[str, ...]:
        """The parameters of which every value is as good here."""
        return tuple(name for name, known in self.as_good.items() if known.all)

    def __repr__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        values = ", ".join(f"{name} {shown(value)}" for name, value in self.configuration.items())
        runs = {0: "never run", 1: "run once"}.get(self.was_run, f"run {self.was_run} times")
        value = f"{self.objective} {shown(self.value, 3)}{unit} [{interval(*self.interval)}]"
        low, gain, high = self.gain
        by = f"by {shown(gain, 3)}{unit} [{interval(low, high)}]"
        if self.ratio is not None:
            by += f", {self.ratio[1]:.2f}x [{self.ratio[0]:.2f}-{self.ratio[2]:.2f}x]"
        default = f"({shown(self.default, 3)}{unit})"
        good = f"within {shown(100 * self.regret, 3)} % of the best"
        lines = [
            f"{values} ({runs}): {value}",
            f"{_percent(self.beats_default)} sure that it beats the default {default} {by}",
            f"{_percent(self.sure)} sure to be {good}",
        ]
        several = {n: k.values for n, k in self.as_good.items() if len(k.values) > 1 and not k.all}
        if several:
            ranges = ", ".join(f"{name} {_range(values)}" for name, values in several.items())
            lines.append(f"{good} too, each by itself: {ranges}")
        if self.does_not_matter:
            verb = "do" if len(self.does_not_matter) > 1 else "does"
            lines.append(f"{listed(self.does_not_matter)} {verb} not matter")
        return "\n".join(lines)


def recommend(
    rivals: Rivals,
    known: Evidence,
    contexts: Mapping[str, Any],
    regret: float,
    feasible: Score | None = None,
) -> Recommendation:
    """Return the configuration with the best posterior in a context.

    That is the best one that was run, unless the rivals are ``CLEARLY`` sure that another one is better, and
    a run of it is as sure to succeed.
    """
    goal, model = rivals.goal, rivals.models[rivals.first]
    space = model.space
    seen = prospect(rivals, known, contexts, feasible)
    place = seen.incumbent
    safe = np.flatnonzero(surely(feasible, np.concatenate([seen.rows[[place]], seen.rows]))[1:])
    best = safe[best_column(seen.central[:, safe], goal)]
    if seen.probability(best, place) >= CLEARLY:
        place = best
    [configuration] = space.decode(seen.rows[place][None])
    posteriors = rivals.posteriors(known.trials, known.objective)

    def noise_free(unit: np.ndarray) -> np.ndarray:
        return rivals.noise_free(posteriors, seen.shares, unit, contexts).draws

    beside = noise_free(np.stack([seen.rows[place], space.encode([space.default])[0]]))
    return Recommendation(
        objective=goal.name,
        unit=model.unit_of(goal.name),
        configuration=configuration,
        was_run=sum(trial.configuration == configuration for trial in known.eligible),
        **against_default(beside, goal)._asdict(),
        beats_default=float(np.mean(goal.sign * (beside[:, 1] - beside[:, 0]) > 0)),
        regret=regret,
        sure=seen.within(place, regret, relative=True),
        as_good=as_good(space, goal, configuration, noise_free, regret, feasible),
    )


def _percent(share: float) -> str:
    """Return a probability as a person says it; never quite 100 %."""
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _range(values: tuple[Any, ...]) -> str:
    first, last = values[0], values[-1]
    if isinstance(first, list) and isinstance(first[0], bool):
        free = (str(i) for i, (out, taken) in enumerate(zip(first, last, strict=True)) if out != taken)
        return f"with or without {', '.join(free)}"
    if isinstance(first, list):
        return f"[{', '.join(interval(a, b, 2) for a, b in zip(first, last, strict=True))}]"
    numbers = isinstance(first, int | float) and not isinstance(first, bool)
    return interval(first, last) if numbers else ", ".join(map(str, values))
