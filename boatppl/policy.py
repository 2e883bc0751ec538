"""What decides the next configuration: the default, then a design, then the posterior."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from boatppl.averaged import Smooth, Weighted
from boatppl.dag import generic_model
from boatppl.evidence import OUTSIDE, Evidence, searched
from boatppl.feasible import CARE, SUCCESS, Feasibility, margin_model
from boatppl.incumbent import summary
from boatppl.limit import Limit
from boatppl.limits import Limits
from boatppl.predict import predictive
from boatppl.propagate import Posterior, needed, prior
from boatppl.retry import to_retry
from boatppl.rivals import GENERIC, Rivals
from boatppl.stage import stage
from boatppl.suggest import Runs
from boatppl.trial import State, Trial, Trials
from boatppl.words import ModelError, listed

PRIOR_DRAWS = 100  # of what is foretold before any measurement


@dataclass(frozen=True)
class Choice:
    """A configuration to run, who chose it, and what was known when it was chosen."""

    configuration: Mapping[str, Any]
    origin: str
    suggestion: dict[str, Any] | None = None


class Policy:
    """Chooses by the log and the seed alone: the same ones give the same choice.

    What was aborted counts for nothing but its own retry, so a study that was interrupted chooses as one that
    was not.
    """

    def __init__(
        self,
        rivals: Rivals,
        *,
        n_initial: int,
        acquisition: str,
        seed: int,
        limits: Sequence[Limit] = (),
        feasibility: Any = None,
    ) -> None:
        self.rivals, self.n_initial, self.acquisition, self.seed = rivals, n_initial, acquisition, seed
        self.goal = rivals.goal
        self.model = rivals.models[rivals.first]
        self.space = self.model.space
        self.limits = Limits(limits, self.model, seed, rivals.in_time)
        margin = None if feasibility is None else margin_model(self.model, feasibility)
        self._feasibility = None if margin is None else Feasibility(margin, seed, rivals.in_time)
        self._believed = margin is not None  # the developer's margin says something before any failure

    def choose(self, trials: Trials, known: Evidence, context: Mapping[str, Any]) -> Choice:
        """Return the next configuration to run in a context; first of all what was aborted is retried.

        Raises
        ------
        ModelError
            Where the objective, or a node that it depends on, has never been measured.
        """
        logged = _cut_off(trials)
        self.rivals.in_time |= logged  # not timed again: a resumed study makes the same fits
        choice = self._chosen(trials, known, context)
        new = dict(self.rivals.in_time.items() - logged.items())
        return replace(choice, suggestion={**(choice.suggestion or {}), "cut_off": new}) if new else choice

    def _chosen(self, trials: Trials, known: Evidence, context: Mapping[str, Any]) -> Choice:
        """Return what is chosen, the deadlines of its fits apart."""
        again = to_retry(trials, context)
        if again is not None:
            said = {**(again.suggestion or {}), "retry_of": again.number}
            return Choice(again.configuration, again.origin, said)
        if not was_run(self.space.default, trials):
            return Choice(self.space.default, "default", self._foretold(self.space.default, context))
        self._check_measured(trials, known)
        number = len(kept(trials))
        initial = not self.modelled(trials, known)
        if initial and not self._may_speak(trials, known):
            configuration = self._designed(trials, number)
            return Choice(configuration, "design", self._foretold(configuration, context))
        try:
            return self._suggested(trials, known, number, context, initial)
        except ModelError:
            raise
        except Exception as error:  # inference has its own fallbacks; a study survives what they do not
            why = f"{type(error).__name__}: {error}"
            sentence = "no posterior for trial %d (%s): a point of the design is run instead"
            logging.getLogger("boatppl").warning(sentence, trials.next_number, why)
            return Choice(self._designed(trials, number), "design", {"fallback": why})

    def modelled(self, trials: Trials, known: Evidence) -> bool:
        """Whether the next suggestion comes from the posterior: the initial trials are there (or every
        configuration of a small space was run) and one has an objective."""
        done = len(searched(trials)) + len(trials.running)
        return done >= min(self.n_initial, self.space.size) and bool(known.objective)

    def _may_speak(self, trials: Trials, known: Evidence) -> bool:
        """Whether an initial trial is the developer's model's to choose: the one after the default. Knowledge
        may know a good region before any run; if it is wrong, one trial is lost and not the design."""
        developed = self.rivals.first != GENERIC
        return developed and bool(known.objective) and len(searched(trials)) + len(trials.running) == 1

    def _foretold(
        self, configuration: Mapping[str, Any], context: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What the developer's priors alone say that a run will measure; None where they say nothing."""
        try:
            if (believed := self._prior) is None:
                return None
            unit = self.space.encode([configuration])
            draws = predictive(believed, unit, context, self.seed, noise=True, target=self.goal.name)
        except Exception as error:  # a forecast is a courtesy: no run waits for it
            sentence = "what the priors say of a run could not be said (%s: %s)"
            logging.getLogger("boatppl").warning(sentence, type(error).__name__, error)
            return None
        low, median, high = summary(draws[self.goal.name][:, 0])
        if not np.isfinite([low, median, high]).all():
            return None
        return {"predicted": {"low": low, "median": median, "high": high}, "prior": True}

    @cached_property
    def _prior(self) -> Posterior | None:
        return prior(self.model, PRIOR_DRAWS, self.seed)

    def _designed(self, trials: Trials, number: int) -> dict[str, Any]:
        """The next point of the design that was not run."""
        enough = self.n_initial + number + 1
        for n in (enough, 4 * enough):
            for configuration in self.space.design(n, self.seed):
                if not was_run(configuration, trials):
                    return configuration
        return self.space.design(1, [self.seed, number])[0]

    def _suggested(
        self, trials: Trials, known: Evidence, number: int, context: Mapping[str, Any], initial: bool
    ) -> Choice:
        """What a rival, drawn by weight, suggests; of the initial trials what the developer's model does, and
        then no rival is judged by it."""
        rivals, objective = self.rivals, known.objective
        posteriors = rivals.posteriors(known.trials, objective)
        shares = rivals.weights(trials.finished, objective)
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        names = list(shares)
        draw = np.random.default_rng([seed, 51]).choice(len(names), p=list(shares.values()))
        proposer = rivals.first if initial else names[draw]
        success = self._success(known)
        runs = Runs(
            measured=self._rows(known.eligible),
            pending=self._rows(trials.running),
            taken=self._rows(kept(trials)),
            feasible=self._cautious(success, known, context),
        )
        stage("searching the space")
        found, said = rivals.suggest(
            posteriors, shares, proposer, runs, seed, context, acquisition=self.acquisition, alone=initial
        )
        [configuration] = self.space.decode(found.unit[None])
        record = rivals.outlook(posteriors, shares, found.unit, runs.measured, context)
        record |= said
        if initial:
            del record["forecasts"]
        record |= self.limits.outlook(posteriors[rivals.first], known, found.unit, context)
        if success is not None:
            record["success"] = float(np.exp(success(found.unit[None])[0]))
        record |= _stood_in(posteriors)
        if found.repeated:
            record |= {"repeated": found.repeated, "among": found.among}
        return Choice(configuration, "suggested", record)

    def _rows(self, trials: Iterable[Trial]) -> np.ndarray:
        rows = self.space.encode([t.configuration for t in trials if OUTSIDE not in t.marks])
        return rows.reshape(-1, self.space.dimension)

    def feasible(self, known: Evidence, context: Mapping[str, Any], care: float = 1.0) -> Smooth | None:
        """The log probability that a run succeeds (its weight is :data:`boatppl.feasible.CARE`) and that the
        limits are kept (its weight is ``care``); None where nothing speaks against any configuration."""
        return self._cautious(self._success(known), known, context, care)

    def _cautious(
        self, success: Smooth | None, known: Evidence, context: Mapping[str, Any], care: float = 1.0
    ) -> Smooth | None:
        """As :meth:`feasible`, where the log probability of success is known already."""
        scores: list[tuple[float, Smooth]] = [] if success is None else [(CARE, success)]
        if self.limits.limits:
            posterior = self.rivals.posterior(self.rivals.first, known.trials, known.objective)
            scores.append((care, self.limits.score(posterior, known, context)))
        return Weighted(scores) if scores else None

    def _success(self, known: Evidence) -> Smooth | None:
        """The log probability that a run succeeds; None where every run did and nothing says that not all
        will."""
        if not known.failed and not self._believed:
            return None
        if self._feasibility is None:
            success = generic_model(self.space, SUCCESS)
            self._feasibility = Feasibility(success, self.seed, self.rivals.in_time)
        return self._feasibility.learn(known.trials, known.failed)

    def safe(self, known: Evidence, context: Mapping[str, Any]) -> Smooth | None:
        """As :meth:`feasible`, for what is recommended rather than tried: limits count in full."""
        return self.feasible(known, context, care=CARE)

    def to_measure(self) -> list[str]:
        """Return the nodes that the objective and the limits depend on, and limits on what is no node."""
        wanted = [n for goal in self._goals() for n in needed(self.model, goal) if n in self.model.nodes]
        return list(dict.fromkeys([*wanted, *self.limits.elsewhere]))

    def _goals(self) -> list[str]:
        return [self.goal.name, *(limit.name for limit in self.limits.limits)]

    def _check_measured(self, trials: Trials, known: Evidence) -> None:
        """Raise a ModelError where the objective, or a node that it depends on, has never been measured."""
        done = [trial for trial in trials.finished if trial.measurements]
        if len(searched(trials)) < self.n_initial or not done:
            return
        seen = {name for trial in done for name in trial.measurements}
        missing = [name for name in self.to_measure() if name not in seen]
        if missing:
            goals = self._goals()
            raise ModelError(
                f"{listed(missing)}: never measured in {len(done)} runs, which returned "
                f"{listed(sorted(seen))}. Every node that {listed(map(repr, goals))} depends on must be "
                f"measured: let the run return it, or make it a @boat.derived or @boat.shared quantity."
            )


def _stood_in(posteriors: Mapping[str, Posterior]) -> dict[str, Any]:
    """Return for the log what stood in for NUTS or for the posterior of all runs; nothing where none did."""
    found = [
        f"{name}: {block.verdict.fallback}"
        for name, posterior in posteriors.items()
        for block in posterior.blocks
        if block.verdict.fallback is not None
    ]
    return {"fallback": "; ".join(dict.fromkeys(found))} if found else {}


def _cut_off(trials: Trials) -> dict[str, int]:
    """Return the fits that a deadline has cut off, as the log has them (:class:`boatppl.fit.Inference`)."""
    return {
        name: in_time
        for trial in trials
        for name, in_time in (trial.suggestion or {}).get("cut_off", {}).items()
    }


def kept(trials: Trials) -> list[Trial]:
    """Return the trials that were not given up."""
    return [trial for trial in trials if trial.state is not State.ABORTED]


def was_run(configuration: Mapping[str, Any], trials: Trials) -> bool:
    """Whether a configuration was run, or is being run."""
    return any(trial.configuration == configuration for trial in kept(trials))
