"""From a posterior to the next configuration: acquisition by the draws, searched over the space."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from boatppl.acquisition import (
    log_expected_improvement,
    log_expected_improvement_slopes,
    posterior_mean,
    smoothing,
)
from boatppl.averaged import Averaged, Provided, Smooth, Weighted
from boatppl.propagate import Luck, Posterior, Propagation
from boatppl.search import Exhausted, maximise
from boatppl.space import Subset

ACQUISITIONS = ("expected improvement", "thompson", "posterior mean")
SCREENING = 25  # draws that rank the first rows of a search
CONTENDERS = 12  # the best runs so far; the draws' incumbents are among them
# What a search affords where a configuration has many rows (a node over machines): draws times rows, and rows
# of contenders, each of which every prediction pays for. A model without vector nodes keeps all of both.
SEARCHED_ROWS, CONTENDING_ROWS = 500, 60
LEAST_DRAWS, LEAST_CONTENDERS = 32, 2
LIKELY = -2.0  # the log probability with which a run may succeed where one draw alone is followed
MAY_BE_BEST = 0.05  # the share of draws in which a cell of a small space is the best one


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
class Runs:
    """The configurations of a study as unit rows ``(configuration, coordinate)``.

    ``measured`` were run, ``pending`` are being run, ``failed`` are known to fail (their neighbourhood is
    worth less),
    ``taken`` are all that were handed out and shall not be returned again.
    """

    measured: np.ndarray
    pending: np.ndarray
    taken: np.ndarray
    feasible: Smooth | None = None


@dataclass(frozen=True, eq=False)
class Suggestion:
    """The next configuration (a unit row) and how many were looked at to find it.

    ``repeated`` is how often it was run already, ``among`` how many may be best, where every configuration of
    a small space was run.
    """

    unit: np.ndarray
    evaluated: int
    repeated: int = 0
    among: int = 0


class Improvement(Averaged):
    """Log expected improvement over each draw's own incumbent, as a function of the configuration.

    Every draw samples the residuals jointly at the contenders (the best runs) and the pending configurations;
    its incumbent is its own best noise-free value there (Letham et al. 2019), so pending trials are
    respected.
    """

    def __init__(
        self,
        posterior: Posterior,
        goal: Goal,
        known: np.ndarray,
        pending: np.ndarray,
        seed: int,
        contexts: Mapping[str, Any] | None = None,
    ) -> None:
        luck = posterior.luck([seed, 1])
        points = np.concatenate([known, pending]) if len(pending) else known
        values, realised = posterior.realise(points, goal.name, luck, [seed, 2], contexts)
        super().__init__(realised.to_search(), goal.name, luck, contexts)
        self.points, self.sign = points, goal.sign
        self.best = np.nanmin(goal.sign * values, axis=1)
        self.smooth = smoothing(values) if _certain(posterior, goal) else np.zeros((len(values), 1))

    def each(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return each draw's log expected improvement on the objective's transformed scale."""
        return log_expected_improvement(self.sign * mean, variance + self.smooth, self.best)

    def slopes(
        self, mean: np.ndarray, variance: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the average's slopes by mean and variance."""
        moments = self.sign * mean, variance + self.smooth
        d_mean, d_variance = log_expected_improvement_slopes(*moments, self.best)
        return self.sign * weight * d_mean, weight * d_variance

    def thinned(self, n: int) -> "Improvement":
        """Return the improvement by ``n`` of the draws, evenly through the chains: good enough to rank by."""
        draws = np.unique(np.linspace(0, len(self.best) - 1, n).astype(int))
        some = copy.copy(self)
        some.posterior, some.luck = self.posterior.take(draws.tolist()), self.luck.take(draws)
        some.best = self.best[draws]
        some.smooth = self.smooth[draws]
        return some

    def single_draw_starts(self, unit: np.ndarray) -> np.ndarray:
        """Return each draw's minimiser ``(minimiser, coordinate)`` among candidates: BOAT's Thompson step."""
        mean, variance = self.forward(unit).objective()
        rng = np.random.default_rng(len(unit))
        luck = rng.normal(size=(len(mean), 1))
        path = self.sign * mean + np.sqrt(variance + self.smooth) * luck
        return unit[np.unique(np.nanargmin(path, axis=1))]


class Mean:
    """Minus the posterior mean of the objective, as a function of the configuration: no exploration."""

    def __init__(
        self, posterior: Posterior, goal: Goal, seed: int, contexts: Mapping[str, Any] | None
    ) -> None:
        self.posterior, self.goal, self.contexts = posterior, goal, contexts
        self.luck = posterior.luck([seed, 1])

    def __call__(self, unit: np.ndarray) -> np.ndarray:
        """Return minus the mean over draws ``(configuration,)``, on the objective's transformed scale."""
        return self._of(unit)[0]

    def with_gradient(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return it and its slope ``(configuration, coordinate)``."""
        values, forward, mean = self._of(unit)
        finite = np.isfinite(mean)
        slope = np.where(finite, -self.goal.sign / np.maximum(finite.sum(axis=0), 1), 0.0)
        return values, self.posterior.pullback(forward, self.luck, slope, np.zeros_like(mean))

    def _of(self, unit: np.ndarray) -> tuple[np.ndarray, Propagation, np.ndarray]:
        forward = self.posterior.propagate(unit, self.goal.name, self.luck, self.contexts)
        mean, _ = forward.objective()
        return posterior_mean(self.goal.sign * mean), forward, mean


def _certain(posterior: Posterior, goal: Goal) -> bool:
    """Whether a draw knows the objective everywhere: a derived one, or a node without residual."""
    return goal.name in posterior.model.derived or posterior.nodes[goal.name].predictor is None


def contenders(
    posterior: Posterior, goal: Goal, run: np.ndarray, luck: Luck, contexts: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Return the run configurations ``(contender, coordinate)`` that are best by the posterior's mean."""
    distinct = np.unique(run, axis=0)
    mean, _ = posterior.propagate(distinct, goal.name, luck, contexts).objective()
    order = np.argsort(np.nanmean(goal.sign * mean, axis=0), kind="stable")
    return distinct[order[:CONTENDERS]]


def affordable(posterior: Posterior, known: np.ndarray) -> tuple[Posterior, np.ndarray]:
    """Return as many draws and contenders ``(contender, coordinate)`` as a search can afford.

    The cost of an acquisition is draws * rows of the configurations * (rows known)^2, and the rows of the
    contenders are known too: with 100 machines, twelve of them would be 1,200.
    """
    rows = posterior.widest
    if rows == 1:
        return posterior, known
    draws = max(LEAST_DRAWS, SEARCHED_ROWS // rows)
    kept = max(LEAST_CONTENDERS, CONTENDING_ROWS // rows)
    if draws < posterior.draws:
        posterior = posterior.take(np.linspace(0, posterior.draws - 1, draws).astype(int).tolist())
    return posterior, known[:kept]


@dataclass(frozen=True, eq=False)
class Proposer:
    """A posterior asked for the next run of a study: given its runs, in a context."""

    posterior: Posterior
    goal: Goal
    runs: Runs
    seed: int
    contexts: Mapping[str, Any] | None = None

    @cached_property
    def known(self) -> np.ndarray:
        """The runs ``(contender, coordinate)`` that are best by the posterior."""
        luck = self.posterior.luck([self.seed, 1])
        return contenders(self.posterior, self.goal, self.runs.measured, luck, self.contexts)

    @cached_property
    def improvement(self) -> Improvement:
        """The improvement that a search can afford to maximise (:func:`affordable`)."""
        few, best = affordable(self.posterior, self.known)
        return Improvement(few, self.goal, best, self.runs.pending, self.seed, self.contexts)

    def suggest(self, acquisition: str = "expected improvement") -> Suggestion:
        """Return the next configuration to run.

        ``acquisition`` is ``"expected improvement"`` (averaged over draws, in log space), ``"thompson"`` (the
        minimiser of one draw, sampled jointly over candidates) or ``"posterior mean"`` (no exploration at
        all).
        """
        try:
            if acquisition == "thompson":
                return self._of_one_draw()
            if acquisition == "posterior mean":
                mean = Mean(self.posterior, self.goal, self.seed, self.contexts)
                return self._maximised(mean, None, self.known)
            screen = self.improvement.thinned(SCREENING)
            candidates = self.posterior.model.space.sample(256, [self.seed, 3])
            starts = np.concatenate([self.improvement.points, screen.single_draw_starts(candidates)])
            return self._maximised(self.improvement, screen, starts, leaping=True)
        except Exhausted:
            return self._again()

    def agreed(self, other: "Proposer", found: Suggestion, given: float) -> tuple[Suggestion, float]:
        """Return what promises another one most, of what promises this one nearly as much as ``found``.

        It gives up at most a share ``given`` of its expected improvement, and the share that it keeps comes
        with the suggestion. Where it is indifferent, as along parameters that its model does not see, the
        other decides.
        """
        own, its = self.improvement, other.improvement
        before = float(own(found.unit[None])[0])
        least = before + float(np.log1p(-given))
        screen = Provided(its.thinned(SCREENING), own.thinned(SCREENING), least)
        starts = np.concatenate([found.unit[None], its.points])
        better = self._maximised(Provided(its, own, least), screen, starts)
        after = float(own(better.unit[None])[0])
        if not after >= least:
            return found, 1.0
        found = replace(found, unit=better.unit, evaluated=found.evaluated + better.evaluated)
        return found, float(np.exp(min(after - before, 0.0)))

    def _maximised(
        self, score: Smooth, screen: Smooth | None, starts: np.ndarray, *, leaping: bool = False
    ) -> Suggestion:
        """Return where a score is highest in the space, away from what was run and from what failed; raise
        Exhausted where everything was run."""
        space = self.posterior.model.space
        sloped = space.continuous.any() or any(isinstance(space.parameters[n], Subset) for n in space.slices)
        score = self._cautious(score)
        found = maximise(
            score,
            space,
            seed=self.seed,
            starts=starts,
            gradient=score.with_gradient if sloped else None,
            screen=None if screen is None else self._cautious(screen),
            leaping=leaping,
            avoid=self.runs.taken,
        )
        return Suggestion(found.unit, found.evaluated)

    def _cautious(self, score: Smooth) -> Smooth:
        feasible = self.runs.feasible
        return score if feasible is None else Weighted([(1.0, score), (1.0, feasible)])

    def _of_one_draw(self) -> Suggestion:
        """Return the minimiser of one posterior draw, its residuals sampled jointly over the candidates."""
        space, rng = self.posterior.model.space, np.random.default_rng([self.seed, 4])
        near = [space.neighbours(row, rng, 24) for row in self.known[:8]]
        candidates = np.unique(np.concatenate([space.sample(256, [self.seed, 3]), *near]), axis=0)
        taken = (np.abs(candidates[:, None] - self.runs.taken[None]).max(axis=-1) < 1e-9).any(axis=1)
        if taken.all():
            raise Exhausted("every configuration of the space has been run or is pending.")
        candidates = candidates[~taken]
        one = self.posterior.take([int(rng.integers(self.posterior.draws))])
        [values] = self._realised(one, candidates)
        score = np.where(np.isfinite(values), -self.goal.sign * values, -np.inf)
        if self.runs.feasible is not None:  # the draw's best counts only where a run is likely to succeed
            likely = self.runs.feasible(candidates) > LIKELY
            score = np.where(likely, score, -np.inf) if likely.any() else score
        return Suggestion(candidates[np.argmax(score)], len(candidates))

    def _again(self) -> Suggestion:
        """Return which of the best configurations to run again where every one was run.

        It is the least measured of those that are best in at least ``MAY_BE_BEST`` of the draws, and of the
        two likeliest always: telling the best from its rival is all that another run can teach (top-two
        sampling: Russo 2020).
        """
        values = self._realised(self.posterior, self.known)
        best = np.argmin(np.where(np.isfinite(values), self.goal.sign * values, np.inf), axis=1)
        share = np.bincount(best, minlength=len(self.known)) / len(values)
        ran = np.concatenate([self.runs.measured, self.runs.pending])
        count = np.array([np.sum((np.abs(ran - row) < 1e-9).all(axis=1)) for row in self.known])
        order = np.argsort(-share, kind="stable")
        likely = [i for rank, i in enumerate(order) if rank < 2 or share[i] >= MAY_BE_BEST]
        chosen = min(likely, key=lambda i: count[i])  # the likelier of equals
        return Suggestion(self.known[chosen], len(self.known), int(count[chosen]), len(likely))

    def _realised(self, posterior: Posterior, unit: np.ndarray) -> np.ndarray:
        """Return each draw's noise-free objective ``(draw, configuration)``, residuals sampled jointly."""
        luck = posterior.luck([self.seed, 1])
        return posterior.realise(unit, self.goal.name, luck, [self.seed, 2], self.contexts)[0]
