"""What a study has measured, as its models learn from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from boatppl.dag import DAGModel
from boatppl.limit import Limit
from boatppl.suggest import Goal
from boatppl.table import measured, teaches
from boatppl.trial import State, Trial, Trials
from boatppl.words import listed

FAILURES = (State.FAILED, State.TIMED_OUT)
APART = ("control", "confirm")  # origins of trials that are no part of the search
OUT_OF_RANGE, INFEASIBLE = "out of range", "violates a constraint"
OUTSIDE = "outside the space"  # no row of the unit cube stands for it


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a study's runs.

    ``trials`` are those that the models learn from (also those of which no more is known than that a censored
    node was longer than their time limit), ``objective`` the measured objective of finished trials,
    number -> value in its unit, ``failed`` the trials whose configuration is to blame, ``excess`` by how much
    a trial breaks the limits on what is measured, number -> share of the limits (0 where it keeps them).
    """

    trials: Sequence[Trial]
    objective: Mapping[int, float]
    failed: Sequence[Trial] = ()
    excess: Mapping[int, float] = field(default_factory=dict)

    @property
    def eligible(self) -> list[Trial]:
        """The trials that may be the incumbent: told ones may be out of range or violate a constraint, others
        break a limit. Where every trial breaks one, those that do it least."""
        known = [trial for trial in self.trials if trial.number in self.objective]
        known = [trial for trial in known if not set(trial.marks) & {OUT_OF_RANGE, INFEASIBLE}] or known
        least = min((self.excess.get(trial.number, 0.0) for trial in known), default=0.0)
        return [trial for trial in known if self.excess.get(trial.number, 0.0) <= least]


def evidence(model: DAGModel, goal: Goal, trials: Trials, limits: Sequence[Limit] = ()) -> Evidence:
    """Collect what the finished ones of ``trials`` have measured, and how they keep the limits.

    A trial without a value for every context, or that no point of the space stands for, teaches the models
    nothing.
    """
    known = [trial for trial in trials.finished if usable(model, trial)]
    learned = [trial for trial in known if teaches(model, trial)]
    measured_any = [trial for trial in learned if trial.measurements]
    failed = [trial for trial in known if trial.state in FAILURES]
    excess = dict.fromkeys((trial.number for trial in measured_any), 0.0) if limits else {}
    for limit in limits:
        values = objectives(model, Goal(limit.name), measured_any)
        for number in excess:
            excess[number] += limit.excess(values.get(number, np.nan)) / limit.size
    return Evidence(learned, objectives(model, goal, trials.finished), failed, excess)


def usable(model: DAGModel, trial: Trial) -> bool:
    """Whether a trial has a place in the space and every context."""
    return OUTSIDE not in trial.marks and all(name in trial.context for name in model.space.contexts)


def objectives(model: DAGModel, goal: Goal, trials: Iterable[Trial]) -> dict[int, float]:
    """Return the objective as trials measured it, number -> value; a derived one is computed from what was
    measured. A trial that did not measure it is left out."""
    if goal.name not in model.derived:
        there = [trial for trial in trials if goal.name in trial.measurements]
        return {trial.number: float(trial.measurements[goal.name]) for trial in there}
    there = [trial for trial in trials if trial.measurements and usable(model, trial)]
    if not there:
        return {}
    values = np.broadcast_to(measured(model, there).values[goal.name], (1, len(there))).ravel()
    pairs = zip(there, values, strict=True)
    return {trial.number: float(value) for trial, value in pairs if np.isfinite(value)}


def searched(trials: Trials) -> list[Trial]:
    """Return the finished trials that count against a budget: not aborted, not a control or confirmation."""
    return [t for t in trials.finished if t.state is not State.ABORTED and t.origin not in APART]


def unused_trials(model: DAGModel, trials: Trials, known: Evidence) -> list[str]:
    """Say which measured trials teach the models nothing, and why: ``2 of 9 trials unused: outside the
    space``."""
    used = {trial.number for trial in known.trials}
    left = [trial for trial in trials.finished if trial.measurements and trial.number not in used]
    outside = sum(OUTSIDE in trial.marks for trial in left)
    reasons = {OUTSIDE: outside, f"{listed(model.space.contexts)} missing": len(left) - outside}
    return [f"{n} of {len(used) + len(left)} trials unused: {why}" for why, n in reasons.items() if n]
