"""What is worth telling of a study, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.explain import AsGood, Learned, Variance, as_good, has_formula, learned, variance_shares
from boatppl.incumbent import Best
from boatppl.propagate import Posterior
from boatppl.study import Study
from boatppl.trial import Trial


@dataclass(frozen=True)
class Confirmed:
    """Runs of the best and of the default, alternately: how many times better it was in each pair."""

    ratios: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a study found; the objective in its unit."""

    objective: str
    unit: str
    best: Best
    default: Mapping[str, Any]
    units: Mapping[str, str]  # of the parameters
    inactive: frozenset[str]  # parameters that do nothing in the best configuration
    as_good: Mapping[str, AsGood]
    predicted: Mapping[str, float] | None  # before the first run of the best: low, median, high
    confirmed: Confirmed | None
    learned: tuple[Learned, ...]
    settled: bool  # whether the chains that it was learned from agree
    variance: Mapping[str, Variance]
    unused: tuple[str, ...]

    @property
    def is_default(self) -> bool:
        """Whether nothing better than the default was found."""
        return dict(self.best.configuration) == dict(self.default)


def findings(study: Study) -> Findings:
    """Return what a study found, by its short posterior.

    Raises
    ------
    ModelError
        Where no trial has an objective yet.
    """
    best, space, rivals = study.best, study.space, study.rivals
    known = study.evidence()
    posteriors = rivals.posteriors(known.trials, known.objective)
    posterior = posteriors[rivals.first]
    shown = {
        name: share
        for name, node in posterior.nodes.items()
        if node.residual is not None and has_formula(study.model, name)
        if (share := variance_shares(node)) is not None
    }

    context = known.trials[-1].context

    def noise_free(unit: np.ndarray) -> np.ndarray:
        return rivals.noise_free(posteriors, study.weights, unit, context).draws

    feasible = study.policy.safe(known, context)
    row = space.encode([best.configuration])
    return Findings(
        objective=study.goal.name,
        unit=study.model.unit_of(study.goal.name),
        best=best,
        default=space.default,
        units={name: study.model.unit_of(name) for name in space.parameters},
        inactive=frozenset(name for name in space.names if not space.active(row, name)[0]),
        as_good=as_good(space, study.goal, best.configuration, noise_free, feasible=feasible),
        predicted=_predicted(study, best),
        confirmed=confirmed(study, best),
        learned=tuple(learned(posterior)),
        settled=_settled(posterior),
        variance=shown,
        unused=tuple(study.unused()),
    )


def _settled(posterior: Posterior) -> bool:
    return all(block.verdict.good for block in posterior.blocks)


def _predicted(study: Study, best: Best) -> Mapping[str, float] | None:
    """Return what was predicted before the first run of the best; None for one of which nothing was said, or
    by the priors alone."""
    suggestion = study.trials[best.trials[0]].suggestion or {}
    known = suggestion.get("predicted")
    return known if isinstance(known, Mapping) and not suggestion.get("prior") else None


def confirmed(study: Study, best: Best) -> Confirmed | None:
    """Return how the best fared against the default in the confirmation runs at the end, pair by pair; None
    where it was not confirmed."""
    default: list[Trial] = []
    chosen: list[Trial] = []
    for trial in study.trials.finished:
        if trial.origin == "confirm" and study.objective_of(trial) is not None:
            if trial.configuration == study.space.default:
                default.append(trial)
            elif trial.configuration == dict(best.configuration):
                chosen.append(trial)
    pairs = list(zip(default[::-1], chosen[::-1], strict=False))[::-1]  # the last ones belong together
    values = np.array([[study.objective_of(trial) for trial in pair] for pair in pairs], float).reshape(-1, 2)
    over, under = (values[:, 1], values[:, 0]) if study.goal.maximize else (values[:, 0], values[:, 1])
    if not len(values) or not (values > 0).all():
        return None
    return Confirmed(tuple(map(float, over / under)))
