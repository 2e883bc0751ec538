"""From a posterior to the next configuration: acquisition by the draws, searched over the space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.acquisition import (
    average,
    log_expected_improvement,
    log_expected_improvement_slopes,
    shares,
    smoothing,
)
from boatppl.propagate import Luck, Posterior
from boatppl.search import Exhausted, maximise

CONTENDERS = 12  # the best runs so far; the draws' incumbents are among them


@dataclass(frozen=True)
class Goal:
    """What to optimise: a node or derived quantity, and its direction."""

    name: str
    maximize: bool = False

    @property
    def sign(self) -> float:
        """+1 to minimise, -1 to maximise: everything inside minimises ``sign * T(y)``."""
        return -1.0 if self.maximize else 1.0


@dataclass(frozen=True, eq=False)
class Suggestion:
    """The next configuration (a unit row) and what was known when it was chosen."""

    unit: np.ndarray
    log_gain: float
    evaluated: int


class Improvement:
    """Log expected improvement over each draw's own incumbent, as a function of the configuration.

    Every draw samples the residuals jointly at the contenders (the best runs) and the pending configurations;
    its incumbent is its own best noise-free value there (Letham et al. 2019), so pending trials are
    respected.
    """

    def __init__(
        self,
        posterior: Posterior,
        goal: Goal,
        run: np.ndarray,
        pending: np.ndarray,
        seed: int,
        contexts: Mapping[str, Any] | None = None,
    ) -> None:
        self.goal, self.contexts = goal, contexts
        self.luck: Luck = posterior.luck([seed, 1])
        known = contenders(posterior, goal, run, self.luck, contexts)
        points = np.concatenate([known, pending]) if len(pending) else known
        values, self.posterior = posterior.realise(points, goal.name, self.luck, [seed, 2], contexts)
        self.points = points
        self.best = np.nanmin(goal.sign * values, axis=1)
        self.derived = goal.name in posterior.model.derived
        self.smooth = smoothing(values) if self.derived else None

    def _moments(self, unit: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
        forward = self.posterior.propagate(unit, self.goal.name, self.luck, self.contexts)
        mean, variance = forward.objective()
        return forward, self.goal.sign * mean, variance if self.smooth is None else variance + self.smooth

    def __call__(self, unit: np.ndarray) -> np.ndarray:
        """Return log expected improvement ``(configuration,)`` on the objective's transformed scale."""
        _, mean, variance = self._moments(unit)
        return average(log_expected_improvement(mean, variance, self.best))

    def with_gradient(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log expected improvement and its gradient ``(configuration, coordinate)``."""
        forward, mean, variance = self._moments(unit)
        each = log_expected_improvement(mean, variance, self.best)
        weight = shares(each)
        d_mean, d_variance = log_expected_improvement_slopes(mean, variance, self.best)
        d_mean, d_variance = self.goal.sign * weight * d_mean, weight * d_variance
        return average(each), self.posterior.pullback(forward, self.luck, d_mean, d_variance)

    def single_draw_starts(self, unit: np.ndarray, n: int) -> np.ndarray:
        """Return the minimisers ``(n, coordinate)`` of ``n`` single draws among candidates (BOAT's Thompson
        step)."""
        _, mean, variance = self._moments(unit)
        rng = np.random.default_rng(len(unit))
        path = mean + np.sqrt(variance) * rng.normal(size=(len(mean), 1))
        chosen = np.linspace(0, len(mean) - 1, min(n, len(mean))).astype(int)
        return unit[np.unique(np.nanargmin(path[chosen], axis=1))]


def contenders(
    posterior: Posterior, goal: Goal, run: np.ndarray, luck: Luck, contexts: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Return the run configurations ``(contender, coordinate)`` that are best by the posterior's mean."""
    distinct = np.unique(run, axis=0)
    mean, _ = posterior.propagate(distinct, goal.name, luck, contexts).objective()
    order = np.argsort(np.nanmean(goal.sign * mean, axis=0), kind="stable")
    return distinct[order[:CONTENDERS]]


def suggest(
    posterior: Posterior,
    goal: Goal,
    run: np.ndarray,
    pending: np.ndarray,
    seed: int,
    *,
    avoid: np.ndarray,
    failed: np.ndarray,
    contexts: Mapping[str, Any] | None = None,
) -> Suggestion:
    """Return the configuration with the largest expected improvement.

    ``run``, ``pending``, ``avoid`` and ``failed`` are unit rows ``(configuration, coordinate)``: measured,
    being measured, not to be returned, and known to fail (their neighbourhood is worth less).
    """
    space = posterior.model.space
    improvement = Improvement(posterior, goal, run, pending, seed, contexts)

    def score(unit: np.ndarray) -> np.ndarray:
        return improvement(unit) + caution(unit, failed)

    candidates = space.sample(256, [seed, 3])
    starts = np.concatenate([improvement.points, improvement.single_draw_starts(candidates, 20)])
    gradient = improvement.with_gradient if space.continuous.any() and not len(failed) else None
    try:
        found = maximise(score, space, seed=seed, starts=starts, avoid=avoid, gradient=gradient)
    except Exhausted:  # every configuration of a small space was run: run the most promising one again
        found = maximise(score, space, seed=seed, starts=starts, gradient=gradient)
    return Suggestion(found.unit, float(found.score), found.evaluated)


def caution(unit: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """Return the log discount ``(configuration,)`` near configurations that failed: nothing is promised at
    them."""
    if not len(failed):
        return np.zeros(len(unit))
    squared = ((unit[:, None] - failed[None]) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore"):
        return np.log(-np.expm1(-squared / (2 * 0.15**2))).sum(axis=1)
