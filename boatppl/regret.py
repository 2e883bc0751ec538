"""How far the best run so far may be from the best configuration of the whole space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.evidence import Evidence
from boatppl.hedge import mixture
from boatppl.incumbent import best_column
from boatppl.predict import noise_free
from boatppl.propagate import Luck, Posterior
from boatppl.rivals import Rivals
from boatppl.search import Score
from boatppl.suggest import Goal, contenders

SCOUTED = 512  # quasi-random rows among which each draw's best is looked for first
NEAR, FROM, ROUNDS = 6, 40, 3  # neighbours of each of the best so many, so many times
MOST = 96  # rows that are sampled jointly in the end
LIKELY = -2.0  # a row whose run succeeds with a score of less is no alternative (see boatppl.feasible)


@dataclass(frozen=True, eq=False)
class Prospect:
    """Joint draws of the noise-free objective where it may be best.

    ``rows (configuration, coordinate)``; the first ``run`` of them were run. ``draws``: rival -> ``(draw,
    configuration)`` in the objective's unit, ``shares``: rival -> weight. ``central (draw, configuration)``
    are those of the weighted rivals to choose by (:class:`boatppl.predict.NoiseFree`).
    """

    goal: Goal
    rows: np.ndarray
    run: int
    draws: Mapping[str, np.ndarray]
    shares: Mapping[str, float]
    central: np.ndarray

    @property
    def incumbent(self) -> int:
        """The place of the run configuration with the best posterior median."""
        return best_column(self.central[:, : self.run], self.goal)

    def within(self, place: int, regret: float, relative: bool) -> float:
        """Return the probability that the configuration at a place loses at most ``regret`` against the best
        one: in the objective's unit, or as a share of the best."""
        total = 0.0
        for name, draws in self.draws.items():
            loss = np.where(np.isfinite(draws), self.goal.sign * draws, np.inf)
            best = loss.min(axis=1)
            allowed = regret * np.abs(best) if relative else regret
            total += self.shares[name] * float(np.mean(loss[:, place] <= best + allowed))
        return total

    def probability(self, place: int, other: int) -> float:
        """Return the probability that one place is better than another."""
        better = {n: np.mean(self.goal.sign * (d[:, other] - d[:, place]) > 0) for n, d in self.draws.items()}
        return float(sum(self.shares[name] * share for name, share in better.items()))


def prospect(
    rivals: Rivals, known: Evidence, contexts: Mapping[str, Any], feasible: Score | None = None
) -> Prospect:
    """Sample the objective jointly at the best runs and wherever some draw of some rival has its best."""
    goal, seed = rivals.goal, rivals.seed
    posteriors = rivals.posteriors(known.trials, known.objective)
    shares = rivals.weights(known.trials, known.objective)
    space = rivals.models[rivals.first].space
    run = rivals.contenders(posteriors, space.encode([t.configuration for t in known.eligible]), contexts)
    found = [promising(p, goal, run, seed, contexts, feasible) for p in posteriors.values()]
    rows = np.concatenate([run, *found])
    free = {name: noise_free(p, rows, contexts, seed, goal.name) for name, p in posteriors.items()}
    draws = {name: found.draws for name, found in free.items()}
    central = mixture({name: found.central for name, found in free.items()}, shares)
    return Prospect(goal, rows, len(run), draws, shares, central)


def promising(
    posterior: Posterior,
    goal: Goal,
    run: np.ndarray,
    seed: int,
    contexts: Mapping[str, Any] | None,
    feasible: Score | None = None,
) -> np.ndarray:
    """Return rows ``(configuration, coordinate)`` of the space where draws of a posterior are best.

    Every draw's best row is looked for among quasi-random ones, then again among the neighbours of those.
    """
    space, rng = posterior.model.space, np.random.default_rng([seed, 81])
    luck = posterior.luck([seed, 82])
    known = contenders(posterior, goal, run, luck, contexts)
    near = [space.neighbours(row, rng, 4 * NEAR) for row in known[:4]]
    rows = np.concatenate([known, space.sample(SCOUTED, [seed, 83]), *near])
    for _ in range(ROUNDS):
        best = _each_best(posterior, goal, rows, luck, rng, contexts, feasible)
        near = [space.neighbours(row, rng, NEAR) for row in best[:FROM]]
        rows = np.unique(np.concatenate([known, best, *near]), axis=0)
    return _each_best(posterior, goal, rows, luck, rng, contexts, feasible)[:MOST]


def _each_best(
    posterior: Posterior,
    goal: Goal,
    rows: np.ndarray,
    luck: Luck,
    rng: np.random.Generator,
    contexts: Mapping[str, Any] | None,
    feasible: Score | None,
) -> np.ndarray:
    """Return the rows at which some draw is best, those of many draws first."""
    mean, variance = posterior.propagate(rows, goal.name, luck, contexts).objective()
    path = goal.sign * mean + np.sqrt(np.maximum(variance, 0.0)) * rng.normal(size=mean.shape)
    path = np.where(np.isfinite(path), path, np.inf)
    if feasible is not None and (likely := feasible(rows) > LIKELY).any():
        path = np.where(likely, path, np.inf)
    count = np.bincount(np.argmin(path, axis=1), minlength=len(rows))
    order = np.argsort(-count, kind="stable")
    return rows[order[: np.count_nonzero(count)]]
