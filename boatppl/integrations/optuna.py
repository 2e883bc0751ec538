"""An Optuna sampler: ``optuna.create_study(sampler=BoatSampler(model, objective="p99"))``.

Optuna keeps the trials, in its own storages and for its own dashboard; what to run next is chosen as a
:class:`boatppl.Study` chooses it. Needs the package ``optuna`` (``pip install boatppl[optuna]``).
"""

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study as OptunaStudy
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from boatppl.dag import DAGModel
from boatppl.measurement import MeasurementError
from boatppl.space import Boolean, Categorical, Float, Integer, Ordinal, Space, Vector
from boatppl.study import Study
from boatppl.trial import State, Trial
from boatppl.words import ModelError, listed, nearest

OBJECTIVE = "objective"  # the name of the one node where there is no model
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

Distributions = Mapping[str, BaseDistribution]


class BoatSampler(BaseSampler):
    """Chooses Optuna's next trial by the posterior of a boatppl model.

    Parameters
    ----------
    model
        A :class:`boatppl.DAGModel` or :class:`boatppl.Space` over parameters of the names that
        ``trial.suggest_...`` uses, with the same ranges. Without it a generic model over the parameters that
        every trial has in common.
    objective
        The node or derived quantity of the model that Optuna's objective function returns. Other nodes are
        measured by ``trial.set_user_attr("gc_rate", 3.1)`` before it returns.
    seed
        The same seed and trials give the same next one, in one thread.
    options
        As :class:`boatppl.Study` takes them: ``n_initial``, ``hedge``, ``transform``, ``limits`` and more.

    Notes
    -----
    Failed trials are learned from: their region is avoided. A pruned one counts with the last intermediate
    value that it reported (``trial.report``) as its objective, and as failed where it reported none. Trials
    that run elsewhere are taken into account. Parameters that only some trials have are drawn at random, and
    so are those that the model does not have; a warning names them, and those suggested with another range.

    Raises
    ------
    ModelError
        For a model without an objective, or a parameter that Optuna has no distribution for.

    Examples
    --------
    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=BoatSampler(seed=1))
    >>> study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.3) ** 2, n_trials=3)
    >>> len(study.trials)
    3
    """

    def __init__(
        self,
        model: DAGModel | Space | None = None,
        *,
        objective: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        if isinstance(model, DAGModel) and objective is None:
            raise ModelError("say which node Optuna's objective function returns: objective='p99'.")
        if not (model is None or isinstance(model, DAGModel | Space)):
            raise ModelError(f"BoatSampler takes a boat.DAGModel or boat.Space; got {model!r}.")
        self.model, self.objective, self.seed = model, objective or OBJECTIVE, seed
        self.options = options
        space = model.space if isinstance(model, DAGModel) else model
        self._chosen = {} if space is None else distributions(space)
        self._common = IntersectionSearchSpace(include_pruned=True)
        self._random = RandomSampler(seed)
        self._foreign: set[str] = set()  # parameters that a warning has named
        self._lock = threading.Lock()  # optimize(n_jobs=...) samples in threads
        self._mirrors: dict[Any, Mirror] = {}

    def reseed_rng(self) -> None:
        """Draw other random numbers than the sampler that this one is a copy of."""
        self._random.reseed_rng()

    def infer_relative_search_space(
        self, study: OptunaStudy, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what is chosen together: the model's parameters, or those that every trial so far has."""
        found = self._common.calculate(study) if self.model is None else self._chosen
        moving = {name: known for name, known in found.items() if not known.single()}
        return moving if self.model is not None else {n: d for n, d in moving.items() if self._has(n, d)}

    def _has(self, name: str, distribution: BaseDistribution) -> bool:
        """Whether a generic model has such a parameter; a warning says once why not."""
        try:
            _ = code_of(0, distribution).parameter
        except ValueError as error:
            if name not in self._foreign:
                logging.getLogger("boatppl").warning(
                    "%r is drawn at random, and nothing is learned of it. %s", name, error
                )
            self._foreign.add(name)
            return False
        return True

    def sample_relative(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of the next trial."""
        _refuse_several_objectives(study)
        if not search_space:
            return {}
        with self._lock:
            return self._mirror(study, search_space).choose(study, trial)

    def sample_independent(
        self,
        study: OptunaStudy,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value for a parameter that was not chosen with the others."""
        _refuse_several_objectives(study)
        self._warn_where_foreign(trial, {param_name: param_distribution})
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: OptunaStudy,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Warn of parameters that the model does not have, or has with another range, once each."""
        self._warn_where_foreign(trial, trial.distributions)

    def _warn_where_foreign(self, trial: FrozenTrial, suggested: Distributions) -> None:
        """A value in both ranges is taken without asking us, so a trial's end is looked at, too."""
        if self.model is None:
            return
        for name, distribution in suggested.items():
            if name not in self._foreign and distribution != self._chosen.get(name):
                self._foreign.add(name)
                logging.getLogger("boatppl").warning(
                    "Optuna's trial %d %s", trial.number, _foreign(name, distribution, self._chosen)
                )

    def _mirror(self, study: OptunaStudy, search_space: Distributions) -> "Mirror":
        maximize = study.direction == StudyDirection.MAXIMIZE
        key = (study._study_id, maximize, *sorted((name, repr(d)) for name, d in search_space.items()))
        if key not in self._mirrors:
            self._mirrors[key] = self._new_mirror(search_space, "maximize" if maximize else "minimize")
        return self._mirrors[key]

    def _new_mirror(self, search_space: Distributions, direction: str) -> "Mirror":
        """A study of the developer's model; a generic one where the trials have other parameters."""
        options: dict[str, Any] = {"random_seed": self.seed, **self.options}
        if self.model is not None and search_space.keys() == self._chosen.keys():
            options[direction] = self.objective
            return Mirror(Study(self.model, **options), {name: Verbatim(name) for name in search_space})
        options[direction] = OBJECTIVE
        codes = {name: code_of(i, known) for i, (name, known) in enumerate(search_space.items())}
        space = Space(**{code.name: code.parameter for code in codes.values()})
        return Mirror(Study(space, **options), codes)


def _refuse_several_objectives(study: OptunaStudy) -> None:
    if len(study.directions) > 1:
        raise ValueError(
            f"BoatSampler has one objective; this study has {len(study.directions)}. Make one of them the "
            "objective and give limits=[boat.limit(...)] for the others."
        )


# -- parameters


def _foreign(name: str, suggested: BaseDistribution, known: Distributions) -> str:
    if name not in known:
        return (
            f"suggests {name!r}, which is no free parameter of the model's space: it is drawn at random, and "
            f"nothing is learned of it.{nearest(name, known)} Expected {listed(known)}. Add {name!r} to the "
            "boat.Space, or suggest it under its name there."
        )
    return (
        f"suggests {name!r} from {suggested}; the model's space has {known[name]}. Values outside of either "
        "are drawn at random or left untried. Give both the same range."
    )


@dataclass(frozen=True)
class Verbatim:
    """A parameter of the developer's space: Optuna's values are ours."""

    name: str

    def ours(self, value: Any) -> Any:
        """Return the value in our configuration."""
        return value

    def theirs(self, value: Any) -> Any:
        """Return the value of Optuna's parameter."""
        return value


@dataclass(frozen=True)
class Code:
    """A parameter of a generic model, which stands for one of Optuna's: steps and choices by their place."""

    name: str
    distribution: FloatDistribution | IntDistribution | CategoricalDistribution

    @property
    def parameter(self) -> Float | Integer | Categorical:
        """Our parameter."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return Categorical(tuple(range(len(d.choices))))
        if self._stepped:
            return Integer(0, round((d.high - d.low) / (d.step or 1)))
        if isinstance(d, IntDistribution):
            return Integer(d.low, d.high, log=d.log)
        return Float(d.low, d.high, log=d.log)

    @property
    def _stepped(self) -> bool:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return False
        return d.step is not None and not (isinstance(d, IntDistribution) and d.step == 1)

    def ours(self, value: Any) -> Any:
        """Return the value in our configuration."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return int(d.to_internal_repr(value))
        if self._stepped:
            return round((value - d.low) / (d.step or 1))
        return value

    def theirs(self, value: Any) -> Any:
        """Return the value of Optuna's parameter."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices[value]
        found = d.low + value * (d.step or 1) if self._stepped else value
        return min(max(found, d.low), d.high)


def code_of(number: int, distribution: BaseDistribution) -> Code:
    """Return our parameter for Optuna's; its name there may be any text."""
    if not isinstance(distribution, FloatDistribution | IntDistribution | CategoricalDistribution):
        raise ModelError(f"expected a float, int or categorical distribution; got {distribution!r}.")
    return Code(f"p{number}", distribution)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of a space's free parameters.

    Raises
    ------
    ModelError
        For a Simplex, a Subset, or a context.
    """
    found: dict[str, BaseDistribution] = {}
    if space.contexts:
        raise ModelError(f"Optuna has no contexts; the space has {', '.join(space.contexts)}.")
    for name in space.slices:
        known = space.parameters[name]
        if isinstance(known, Vector):
            raise ModelError(
                f"Optuna has no distribution for the {type(known).__name__} {name!r}. Tune it with "
                "boat.optimize."
            )
        if isinstance(known, Float):
            found[name] = FloatDistribution(known.low, known.high, log=known.log)
        elif isinstance(known, Integer):
            found[name] = IntDistribution(known.low, known.high, log=known.log)
        elif isinstance(known, Categorical):
            found[name] = CategoricalDistribution(known.choices)
        elif isinstance(known, Ordinal):
            found[name] = CategoricalDistribution(known.values)
        elif isinstance(known, Boolean):
            found[name] = CategoricalDistribution((False, True))
    return found


# -- trials


class Mirror:
    """A study of ours that follows a study of Optuna's."""

    def __init__(self, study: Study, codes: Mapping[str, Verbatim | Code]) -> None:
        self.study, self.codes = study, codes
        self.warned = False  # of a misspelt attribute
        self.known: dict[
            int, Trial | None
        ] = {}  # Optuna's number -> ours; None for what we cannot learn from

    def choose(self, study: OptunaStudy, trial: FrozenTrial) -> dict[str, Any]:
        """Return the parameters of Optuna's next trial."""
        self._follow(study.get_trials(deepcopy=False), trial.number)
        asked = self.known.get(trial.number)
        if asked is None:
            asked = self.known[trial.number] = self.study.ask_one()
        chosen = asked.configuration
        return {name: code.theirs(chosen[code.name]) for name, code in self.codes.items()}

    def _follow(self, theirs: Sequence[FrozenTrial], but: int) -> None:
        """Tell our study what Optuna's trials did since the last time; others that run are pending."""
        for trial in theirs:
            if trial.number == but or trial.state == TrialState.WAITING:
                continue
            if trial.number not in self.known or not self._as_asked(trial):
                self.known[trial.number] = self._start(trial)
            ours = self.known[trial.number]
            if ours is not None and ours.is_running and trial.state in FINISHED:
                self.known[trial.number] = self._finish(ours, trial)

    def _as_asked(self, theirs: FrozenTrial) -> bool:
        """Whether a trial that we asked for has our parameters: its function may have taken others."""
        ours = self.known[theirs.number]
        if ours is None or not ours.is_running or theirs.state not in FINISHED:
            return True
        taken = {
            code.name: code.ours(theirs.params[n]) for n, code in self.codes.items() if n in theirs.params
        }
        if taken.items() <= ours.configuration.items() and len(taken) == len(self.codes):
            return True
        self.study.fail(ours, "Optuna ran another configuration", State.PARTIAL)
        return False

    def _start(self, theirs: FrozenTrial) -> Trial | None:
        if not self.codes.keys() <= theirs.params.keys():
            return None
        try:
            taken = {code.name: code.ours(theirs.params[name]) for name, code in self.codes.items()}
            configuration = self.study.space.validate({**taken, **self.study.space.fixed}, strict=False)
        except (ValueError, TypeError):  # a choice that is no longer there
            return None
        return self.study.start(configuration, "told")

    def _finish(self, ours: Trial, theirs: FrozenTrial) -> Trial:
        if theirs.state == TrialState.FAIL:
            return self.study.fail(ours, "Optuna's trial failed")
        value = _value(theirs)
        if value is None:
            return self.study.fail(ours, "pruned before it reported a value")
        nodes, goal = self.study.model.nodes, self.study.goal.name
        wanted = self.study.policy.to_measure()
        known = {*nodes, *wanted}  # a limit may be on what is no node
        measured = {name: value for name, value in theirs.user_attrs.items() if name in known}
        if goal in nodes:
            measured[goal] = value
        unknown = [name for name in theirs.user_attrs if name not in known]
        self._warn_where_missing([name for name in wanted if name not in measured], unknown, theirs)
        try:
            return self.study.tell(ours, measured)
        except MeasurementError as error:
            logging.getLogger("boatppl").warning(
                "Optuna's trial %d counts as failed: %s", theirs.number, error
            )
            return self.study.fail(ours, str(error))

    def _warn_where_missing(
        self, missing: Sequence[str], unknown: Sequence[str], theirs: FrozenTrial
    ) -> None:
        """Once: a misspelt attribute would else be found when the posterior is first wanted, unnamed."""
        if self.warned or not (missing and unknown) or theirs.state != TrialState.COMPLETE:
            return
        self.warned = True
        hints = "".join(nearest(name, missing) for name in unknown)
        logging.getLogger("boatppl").warning(
            "Optuna's trial %d did not measure %s; its user attributes %s are none of the model's nodes.%s "
            "Give each by trial.set_user_attr(%r, ...) before the objective function returns.",
            theirs.number, listed(missing), listed(map(repr, unknown)), hints, missing[0],
        )  # fmt: skip


def _value(theirs: FrozenTrial) -> float | None:
    """What a complete trial returned, or what a pruned one reported last; None where that is no number."""
    if theirs.state == TrialState.COMPLETE:
        return theirs.value
    step = theirs.last_step
    last = None if step is None else theirs.intermediate_values[step]
    return None if last is None or math.isnan(last) else last
