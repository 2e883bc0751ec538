"""The models a study listens to: the developer's, and the generic one beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from boatppl.dag import DAGModel, generic_model
from boatppl.evidence import Evidence
from boatppl.explain import doubt
from boatppl.fit import Inference
from boatppl.hedge import Forecast, forecast_run, mixture, quantiles, weights
from boatppl.incumbent import Best, best_column, best_of
from boatppl.infer import SHORT, Chains
from boatppl.measurement import validate_measurements
from boatppl.node import Node, generic
from boatppl.predict import NoiseFree, noise_free
from boatppl.propagate import Posterior, parameters_of
from boatppl.space import Space
from boatppl.suggest import Goal, Proposer, Runs, Suggestion, contenders
from boatppl.table import check_domain, measured, shape_of
from boatppl.trial import Trial
from boatppl.words import ModelError, listed, nearest

GENERIC = "generic"
# The developer's models share the rest. Against 0.2, a missing edge takes 0.66 times the trials, nonsense
# 0.93 times and a right model 1.11 times (18 studies a kind of benchmarks/wrong_models.py each).
PRIOR_OF_GENERIC = 0.5
# coordinates; with more of them the generic model needs more runs to learn anything and begins with less, so
# that a wrong model costs about the same share of the runs
FEW = 6
INDIFFERENT = 1e-3  # the share of a gain that makes no difference
HEARD = 0.1  # a lighter rival has a say only where the proposer sees less than it does


class Rivals:
    """Several models of one objective over one space, each with its own inference; the first is the
    developer's."""

    def __init__(self, models: Mapping[str, DAGModel], goal: Goal, seed: int) -> None:
        self.goal = goal
        self.models = dict(models)
        self.in_time: dict[str, int] = {}  # of all fits of the study (:class:`boatppl.fit.Inference`)
        self.inference = {name: Inference(model, seed, self.in_time) for name, model in models.items()}
        self.seed = seed

    @property
    def first(self) -> str:
        """The name of the developer's model (or of the generic one, where there is no other)."""
        return next(iter(self.models))

    @property
    def prior(self) -> dict[str, float]:
        """The weights before any score."""
        if GENERIC not in self.models or len(self.models) == 1:
            return dict.fromkeys(self.models, 1.0 / len(self.models))
        dimension = self.models[self.first].space.dimension
        generic = PRIOR_OF_GENERIC * min(1.0, FEW / max(dimension, 1))
        own = (1.0 - generic) / (len(self.models) - 1)
        return {name: generic if name == GENERIC else own for name in self.models}

    def compile(self) -> None:
        """Compile every model now."""
        for inference in self.inference.values():
            inference.compile()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of the measurement of every node that some model has."""
        return {name: shape_of(model, name) for name, model in self._nodes.items()}

    def validated(self, raw: Any) -> dict[str, Any]:
        """Return what a run returned as measurements by name, checked against every model's nodes.

        Raises
        ------
        MeasurementError
            For what is no measurement, or has no place on a node's transformed scale.
        """
        values = validate_measurements(raw, self.shapes, self.goal.name)
        for name, model in self._nodes.items():
            if name in values:
                check_domain(name, values[name], model.nodes[name].node.transform)
        return values

    @property
    def _nodes(self) -> dict[str, DAGModel]:
        """Every node that some model has, and the last such model."""
        return {name: model for model in self.models.values() for name in model.nodes}

    def posteriors(
        self, trials: Sequence[Trial], objective: Mapping[int, float], names: Sequence[str] | None = None
    ) -> dict[str, Posterior]:
        """Return the rivals' short posteriors given the finished trials and their measured objective."""
        return {name: self.posterior(name, trials, objective) for name in names or self.models}

    def posterior(
        self, name: str, trials: Sequence[Trial], objective: Mapping[int, float], length: Chains = SHORT
    ) -> Posterior:
        """Return one rival's posterior, or what stands in for it (:meth:`boatppl.fit.Inference.lasting`)."""
        rows = with_objective(trials, self.goal, objective)
        return self.inference[name].lasting(measured(self.models[name], rows), length)

    def suggest(
        self,
        posteriors: Mapping[str, Posterior],
        shares: Mapping[str, float],
        proposer: str,
        runs: Runs,
        seed: int,
        contexts: Mapping[str, Any],
        *,
        acquisition: str,
        alone: bool,
    ) -> tuple[Suggestion, dict[str, Any]]:
        """Return what a rival proposes, and for the log whose choice it was.

        The heaviest of the others has a say: of all that promises the proposer nearly as much as its best, it
        chooses, and *nearly* is its own share. Of what a developer's model proposes it is the product of both
        shares: a model that is hardly heard gives up little of the few proposals it has, which are all that
        can prove it right (the generic one learns as much from any run). So the other decides where the
        proposer is indifferent, as along parameters that its model does not see; ``alone`` only there.
        """
        proposers = {n: Proposer(p, self.goal, runs, seed, contexts) for n, p in posteriors.items()}
        found = proposers[proposer].suggest(acquisition)
        record: dict[str, Any] = {"proposed_by": proposer}
        other = self._second(shares, proposer)
        alone = alone or acquisition != "expected improvement"
        if other is not None and not found.repeated:
            blind = self._seen[other] - self._seen[proposer]
            if blind or (shares[other] > HEARD and not alone):
                heard = 1.0 if proposer == GENERIC else shares[proposer]
                given = INDIFFERENT if alone else shares[other] * heard
                found, kept = proposers[proposer].agreed(proposers[other], found, given)
                record["second_opinion"] = {other: kept}
        return found, record | {"evaluated": found.evaluated}

    def _second(self, shares: Mapping[str, float], proposer: str) -> str | None:
        """The heaviest of the others; of those that see what the proposer does not, where there are such."""
        others = [name for name in shares if name != proposer]
        more = [name for name in others if self._seen[name] - self._seen[proposer]]
        return max(more or others, key=shares.__getitem__, default=None)

    @cached_property
    def _seen(self) -> dict[str, frozenset[str]]:
        """The parameters that each rival's objective depends on."""
        return {n: frozenset(parameters_of(model, self.goal.name)) for n, model in self.models.items()}

    def outlook(
        self,
        posteriors: Mapping[str, Posterior],
        shares: Mapping[str, float],
        chosen: np.ndarray,
        run: np.ndarray,
        contexts: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return what is known before a run at ``chosen (coordinate,)``, as a record for the log.

        What it will measure (each rival's forecast, and quantiles of their mixture), the expected gain over
        the best of ``run (configuration, coordinate)`` and its probability, and from which nodes the first
        model's doubt comes (:func:`boatppl.explain.doubt`).
        """
        known = self.contenders(posteriors, run, contexts)
        free = self.noise_free(posteriors, shares, np.concatenate([chosen[None], known]), contexts)
        best = 1 + best_column(free.central[:, 1:], self.goal)
        gain = self.goal.sign * (free.draws[:, best] - free.draws[:, 0])
        forecasts = {
            name: forecast_run(posterior, self.goal, chosen, self.seed, contexts)
            for name, posterior in posteriors.items()
        }
        low, median, high = quantiles(forecasts, shares, self.seed, (0.05, 0.5, 0.95))
        return {
            "doubt": doubt(posteriors[self.first], self.goal, chosen, self.seed, contexts),
            "predicted": {"low": low, "median": median, "high": high},
            "expected_gain": float(np.nanmean(np.maximum(gain, 0.0))),
            "probability": float(np.nanmean(gain > 0.0)),
            "weights": dict(shares),
            "forecasts": {name: forecast.to_record() for name, forecast in forecasts.items()},
            "verdicts": {
                name: {block.density.block.name: str(block.verdict) for block in posterior.blocks}
                for name, posterior in posteriors.items()
            },
        }

    def incumbent(self, known: Evidence, shares: Mapping[str, float], context: Mapping[str, Any]) -> Best:
        """Return the measured configuration that is best in a context, by the weighted rivals.

        What was measured there counts as ``measured``; where nothing was, it is None.
        """
        used, model = known.eligible, self.models[self.first]
        space = model.space
        posteriors = self.posteriors(known.trials, known.objective)
        run = space.encode([trial.configuration for trial in used])
        rows = self.contenders(posteriors, run, context)
        points = np.concatenate([rows, space.encode([space.default])])
        free = self.noise_free(posteriors, shares, points, context)
        place = best_column(free.central[:, :-1], self.goal)
        alike = [trial for trial, row in zip(used, run, strict=True) if np.array_equal(row, rows[place])]
        same = [trial for trial in alike if trial.context == dict(context)]
        values = [known.objective[trial.number] for trial in same]
        unit = model.unit_of(self.goal.name)
        return best_of(free.draws[:, [place, -1]], self.goal, same or alike, values, unit)

    def weights(self, trials: Sequence[Trial], objective: Mapping[int, float]) -> dict[str, float]:
        """Return the weights after the trials so far; ``objective`` is number -> measured value."""
        return self.history(trials, objective)[-1]

    def history(self, trials: Sequence[Trial], objective: Mapping[int, float]) -> list[dict[str, float]]:
        """Return the weights before any score and after each scored trial."""
        scores: list[dict[str, float]] = []
        found = [weights(scores, self.prior)]
        worst = self._of_default(trials, objective)
        for trial in self.scored(trials, objective):
            value, records = objective[trial.number], _forecasts(trial)
            known = {name: Forecast.from_record(records[name]) for name in self.models}
            scores.append({n: f.log_score(value, worst, self.goal.maximize) for n, f in known.items()})
            found.append(weights(scores, self.prior))
        return found

    def _of_default(self, trials: Sequence[Trial], objective: Mapping[int, float]) -> float | None:
        """What the default measured first; None where it did not measure the objective."""
        default = self.models[self.first].space.default
        found = (objective[t.number] for t in trials if t.number in objective and t.configuration == default)
        return next(found, None)

    def scored(self, trials: Sequence[Trial], objective: Mapping[int, float]) -> list[Trial]:
        """Return the trials that every rival had predicted, and that measured the objective."""
        known = [trial for trial in trials if trial.number in objective]
        return [trial for trial in known if set(self.models) <= set(_forecasts(trial))]

    def contenders(
        self, posteriors: Mapping[str, Posterior], run: np.ndarray, contexts: Mapping[str, Any] | None
    ) -> np.ndarray:
        """Return the rows of ``run (configuration, coordinate)`` that some rival has among its best."""
        best = [
            contenders(posterior, self.goal, run, posterior.luck([self.seed, 44]), contexts)
            for posterior in posteriors.values()
        ]
        return np.unique(np.concatenate(best), axis=0)

    def noise_free(
        self,
        posteriors: Mapping[str, Posterior],
        shares: Mapping[str, float],
        unit: np.ndarray,
        contexts: Mapping[str, Any] | None,
    ) -> NoiseFree:
        """Return the objective without noise by the weighted mixture of the rivals."""
        found = [noise_free(p, unit, contexts or {}, self.seed, self.goal.name) for p in posteriors.values()]
        draws, central = (dict(zip(posteriors, part, strict=True)) for part in zip(*found, strict=True))
        return NoiseFree(mixture(draws, shares), mixture(central, shares))


def _forecasts(trial: Trial) -> dict[str, Any]:
    """What each rival said of a trial before its run, as it was recorded."""
    return dict((trial.suggestion or {}).get("forecasts", {}))


def with_objective(trials: Sequence[Trial], goal: Goal, objective: Mapping[int, float]) -> list[Trial]:
    """Return trials with the objective among their measurements: one model's derived quantity is a node of
    another."""
    return [
        replace(trial, measurements=trial.measurements | {goal.name: objective[trial.number]})
        if trial.number in objective
        else trial
        for trial in trials
    ]


def generic_like(model: DAGModel, goal: Goal) -> DAGModel:
    """Return the generic model of the objective beside a developer's model."""
    like = model.parts.get(goal.name)
    return generic_model(model.space, goal.name, like if isinstance(like, Node) else None)


def rivals_of(
    model: Any,
    goal: Goal,
    hedge: bool,
    transform: str | None = None,
    robust: bool = False,
    noise: Literal[0] | None = None,
) -> dict[str, DAGModel]:
    """Return the models to listen to, the developer's first: a space alone is the generic model (with
    ``transform``, ``robust`` and ``noise``), one model or several are the developer's, and ``hedge`` puts the
    generic one beside them."""
    if isinstance(model, Space):
        like = generic(goal.name, [], transform=transform, robust=robust, noise=noise)
        return {GENERIC: generic_model(model, goal.name, like)}
    if transform is not None or robust is not False or noise is not None:
        raise ModelError(
            f"transform=, robust= and noise= are of the generic model of a space alone; got them with a "
            f"{type(model).__name__}. Say them in the node: @boat.node(transform='log', robust=True)."
        )
    if isinstance(model, DAGModel):
        model = {"structured": model}
    elif isinstance(model, list | tuple):
        model = {f"model {i + 1}": item for i, item in enumerate(model)}
    known = isinstance(model, Mapping) and all(isinstance(item, DAGModel) for item in model.values())
    if not model or not known:
        raise ModelError(f"a study takes a Space, a DAGModel, or a list or dict of those; got {model!r}.")
    first = next(iter(model.values()))
    if any(item.space != first.space for item in model.values()):
        raise ModelError("rival models must have the same space; build them over one Space.")
    found = dict(model)
    if hedge and GENERIC not in found:
        found[GENERIC] = generic_like(first, goal)
    return found


def check_goal(model: DAGModel, goal: Goal) -> None:
    """Raise a ModelError unless the objective is one number of the model."""
    known = [*model.nodes, *model.derived]
    if goal.name not in known:
        raise ModelError(
            f"the objective {goal.name!r} is no node or derived quantity of the model."
            f"{nearest(goal.name, known)} Known: {listed(known)}."
        )
    if model.sources[goal.name].dims:
        raise ModelError(
            f"the objective {goal.name!r} is a vector along {model.sources[goal.name].dims}; expected one "
            f"number. Reduce it with a @boat.derived, such as `return {goal.name}.max()`."
        )
