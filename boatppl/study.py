"""The study: the trials so far, the model and what to optimise. The only mutable object."""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from boatppl.dag import DAGModel
from boatppl.datatree import as_dataset, tree
from boatppl.diagnose import Diagnosis, diagnose
from boatppl.evidence import INFEASIBLE, OUT_OF_RANGE, Evidence, evidence, objectives, searched, unused_trials
from boatppl.fingerprint import described
from boatppl.html.study import as_html
from boatppl.incumbent import Best
from boatppl.infer import LONG, SHORT, Chains
from boatppl.limit import Limit
from boatppl.log import Log
from boatppl.measurement import MeasurementError
from boatppl.node import Node
from boatppl.policy import Policy
from boatppl.predict import intervention, predictive
from boatppl.processes import check_seconds, identity
from boatppl.propagate import Posterior
from boatppl.recommend import Recommendation, recommend
from boatppl.regret import prospect
from boatppl.repeats import contradictions, warning
from boatppl.retry import LOST, given_up
from boatppl.rivals import Rivals, check_goal, rivals_of
from boatppl.space import Space
from boatppl.storage import Storage, StorageError, Taken, open_storage
from boatppl.suggest import ACQUISITIONS, Goal
from boatppl.table import unused_rows
from boatppl.text import readable
from boatppl.transfer import inherit
from boatppl.trial import State, Trial, Trials
from boatppl.validate import Comparison, CrossValidation, compare, cross_validate, named_inferences
from boatppl.words import ModelError, check_count, check_flag, expected_one_of, listed


class Study:
    """Ask for configurations, tell what was measured.

    Parameters
    ----------
    model
        A :class:`DAGModel`, or a :class:`Space` alone: then the model is generic (one node over all
        parameters).
    minimize, maximize
        The name of the node or derived quantity to optimise: one of the two.
    storage
        A path: every trial is in this SQLite file before it is handed out. None keeps the study in memory.
    name
        The study's name in the file. Opening a file and name that exist goes on with that study.
    random_seed
        The same seed, trials and pending set give the same next configuration.
    n_initial
        How many trials come before the rival models take over: the default, what the developer's model
        proposes after it, then a quasi-random design.
    acquisition
        How the posterior chooses: ``"expected improvement"``, ``"thompson"`` or ``"posterior mean"``.
    hedge
        Keep the generic model beside the developer's, weigh them by how well they predicted each run before
        it was made, and draw by weight which of them proposes: a wrong model then never costs much.
    transform, robust, noise
        Of the objective where ``model`` is a space alone, as :func:`boatppl.generic` takes them: without a
        transform it finds its scale by itself, and ``noise=0`` says that a run repeated measures the same. A
        model says them in its nodes.
    limits
        Bounds on what is measured: ``[boat.limit("memory_mb", upper=800)]``.
    prior_from, prior_weight
        An earlier study, with the model it was tuned with: what it learned of unknowns of the same name is
        added to this study's priors, a run there counting ``prior_weight`` (0 to 1) of a run here
        (:func:`boatppl.transfer.inherit`). A machine of the same name is taken to be the same machine.
    feasibility
        A :func:`boatppl.node` that is above 0 where a run succeeds (:func:`boatppl.feasible.margin_model`);
        without it, where runs fail is learned by a generic model.

    Raises
    ------
    ModelError
        For an objective that is no node, or no direction.
    StorageError
        For a file that cannot be used.
    """

    def __init__(
        self,
        model: DAGModel | Space | Sequence[DAGModel] | Mapping[str, DAGModel],
        *,
        minimize: str | None = None,
        maximize: str | None = None,
        storage: str | os.PathLike[str] | None = None,
        name: str = "study",
        random_seed: int | None = None,
        n_initial: int | None = None,
        acquisition: str = "expected improvement",
        hedge: bool = True,
        transform: str | None = None,
        robust: bool = False,
        noise: Literal[0] | None = None,
        limits: Sequence[Limit] = (),
        feasibility: Node | None = None,
        prior_from: "Study | None" = None,
        prior_weight: float = 0.5,
    ) -> None:
        self.goal = _goal(minimize, maximize)
        if acquisition not in ACQUISITIONS:
            raise ModelError(f"acquisition= is {expected_one_of(ACQUISITIONS, acquisition)}.")
        self.acquisition = acquisition
        check_flag("hedge=", hedge)
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ModelError(
                "name= is the study's name in its file, a text of one line such as 'study'; got "
                f"{readable(repr(name))}."
            )
        if random_seed is not None:
            check_count("random_seed", random_seed, least=0)
        self.generic = isinstance(model, Space)
        models = rivals_of(model, self.goal, hedge, transform, robust, noise)
        if prior_from is not None:
            models = _inherited(models, prior_from, prior_weight)
        self.model = next(iter(models.values()))
        self.space = self.model.space
        if self.space.dimension == 0:
            raise ModelError("every parameter of the space is fixed: there is nothing to tune.")
        for rival in models.values():
            check_goal(rival, self.goal)
        self.name = name
        self.storage = open_storage(storage)
        direction = "maximize" if self.goal.maximize else "minimize"
        self.storage.open_study(
            name, objective=self.goal.name, direction=direction, space=self.space.fingerprint()
        )
        self.random_seed = seed = _seed(self.storage, name, random_seed)
        if n_initial is not None:
            check_count("n_initial", n_initial, least=0)
        n_initial = default_n_initial(self.model, self.generic) if n_initial is None else n_initial
        self.rivals = Rivals(models, self.goal, seed)
        given: dict[str, Any] = {"limits": limits, "feasibility": feasibility}
        self.policy = Policy(self.rivals, n_initial=n_initial, acquisition=acquisition, seed=seed, **given)
        self.log = Log(self.storage, name, self.space, self.rivals.shapes, described(models), seed)
        self._known: tuple[Trials, Evidence] | None = None
        if self.log.changed:
            logging.getLogger("boatppl").warning("%s", self.log.resumption())

    @property
    def outputs(self) -> dict[int, str]:
        """The end of what each trial said that ran in a process of its own, by its number: a Command's
        streams, and what a callable with ``timeout=``, ``memory=`` or ``isolate=`` prints."""
        return self.storage.outputs(self.name)

    @property
    def trials(self) -> Trials:
        """The trials so far."""
        return self.log.trials

    @property
    def n_initial(self) -> int:
        """How many trials come before the first modelled one."""
        return self.policy.n_initial

    # -- ask and tell

    def ask(self, n: int | None = None, *, context: Mapping[str, Any] | None = None) -> Trial | list[Trial]:
        """Return the next trial to run, or ``n`` of them; each is stored as RUNNING before it is handed out.

        ``context`` gives every context variable of the space. Trials asked for and not yet told are pending:
        later suggestions take them into account. What was aborted is asked for again before anything else.
        """
        if n is not None:
            check_count("ask(n)", n, least=1)
            return [self.ask_one(context=context) for _ in range(n)]
        return self.ask_one(context=context)

    def ask_one(
        self, *, context: Mapping[str, Any] | None = None, note: Mapping[str, Any] | None = None
    ) -> Trial:
        """Return the next trial to run, as :meth:`ask` does without a count; ``note`` is kept with what is
        known of its choice."""
        known = self.space.validate_context(context)
        while True:
            self.log.refresh()
            choice = self.policy.choose(self.trials, self.evidence(), known)
            said = {**(choice.suggestion or {}), **(note or {})} or None
            with suppress(Taken):  # by another process, a moment before: choose again, with that one pending
                return self.start(choice.configuration, choice.origin, said, known, unless_taken=True)

    def start(
        self,
        configuration: Mapping[str, Any],
        origin: str,
        suggestion: dict[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        unless_taken: bool = False,
    ) -> Trial:
        """Store a RUNNING trial of a chosen configuration and return it (:meth:`boatppl.log.Log.start`)."""
        said: dict[str, Any] = {"origin": origin, "suggestion": suggestion}
        return self.log.start(configuration, context or {}, **said, unless_taken=unless_taken)

    def tell(
        self,
        trial: Trial | Mapping[str, Any],
        measurements: Any,
        *,
        context: Mapping[str, Any] | None = None,
        marks: Sequence[str] = (),
    ) -> Trial:
        """Store what a run measured: of a trial that was asked for, or of a configuration run elsewhere.

        ``measurements`` is a dict from node names to numbers (or vectors along the node's dims), or one
        number for the objective. Nodes may be missing; names that the model does not know are kept for later
        models. Telling twice with equal values changes nothing; with different ones it raises.
        """
        values = self.rivals.validated(measurements)
        if not values:
            raise MeasurementError(
                f"nothing was measured; expected numbers for some of {listed(self.model.nodes)}. A run that "
                f"gave nothing is told with study.fail(trial, reason)."
            )
        if not isinstance(trial, Trial):
            configuration = self.space.validate(trial, strict=False)
            if not self.space.in_range(configuration):
                marks = [*marks, OUT_OF_RANGE]
            if not self.space.feasible_configuration(configuration):
                marks = [*marks, INFEASIBLE]
            trial = self.start(configuration, "told", None, self.space.validate_context(context))
        trial = asked = self.log.asked(trial)
        if given_up(self.trials[trial.number]):  # too early: a late result is kept
            trial, marks = self.log.late(trial), [*marks, "late"]
        there = set(self.model.nodes) <= set(values)
        state = State.COMPLETE if there else State.PARTIAL
        if context is not None:  # what the world was while it ran, measured with the run
            context = self.space.validate_context({**trial.context, **context})
        try:
            told = self.log.finish(trial.finish(state, values, context=context, marks=marks))
        except StorageError:
            self.log.refresh()
            if trial is not asked or not given_up(self.trials[trial.number]):
                raise
            return self.tell(trial, values, context=context, marks=marks)  # given up on a moment ago
        new = [each for each in contradictions(self.model, self.trials.finished) if each.second == told]
        if new:
            logging.getLogger("boatppl").warning("%s", warning(new))
        return told

    def renew(self) -> None:
        """Say that this process lives and still runs the trials that it asked for.

        Sessions of :func:`boatppl.optimize` do so as they go. It is for processes of your own that ask and
        tell, where others call :func:`boatppl.resolve_orphans` with ``older_than=``.
        """
        self.storage.renew(self.name, identity())

    def fail(
        self,
        trial: Trial,
        reason: str,
        state: State = State.FAILED,
        *,
        timeout: float | None = None,
        marks: Sequence[str] = (),
    ) -> Trial:
        """Store that a trial's run failed, and why: an ABORTED one is retried, others are learned from.

        ``timeout`` is the limit, in seconds, that ended a TIMED_OUT one: a node that is declared ``censored``
        learns from it that it was longer.
        """
        check_seconds(timeout)
        if not isinstance(reason, str):
            raise ModelError(f"reason= is a sentence, such as str(error); got {reason!r}.")
        if timeout is not None and state is not State.TIMED_OUT:
            raise ModelError(f"timeout= is of a trial that its time limit ended; got it with state {state}.")
        reason, asked = readable(reason), self.log.asked(trial)
        if LOST in self.trials[trial.number].marks:
            return self.trials[trial.number]  # given up on before; that it failed, its retry will show
        return self.log.finish(asked.finish(state, {}, reason=reason, marks=marks, timeout=timeout))

    # -- what is known

    def evidence(self) -> Evidence:
        """Return the trials that the models learn from, the measured objectives, and the failures."""
        if self._known is None or self._known[0] is not self.trials:
            self._known = self.trials, evidence(self.model, self.goal, self.trials, self.policy.limits.limits)
        return self._known[1]

    def objective_of(self, trial: Trial) -> float | None:
        """The objective as a trial measured it (a derived one computed from what was measured); None where it
        is missing."""
        return objectives(self.model, self.goal, [trial]).get(trial.number)

    @property
    def modelled_next(self) -> bool:
        """Whether the next suggestion comes from the posterior: the initial trials are there and one has an
        objective."""
        return self.policy.modelled(self.trials, self.evidence())

    @property
    def n_counted(self) -> int:
        """How many finished trials count against a budget: not aborted, not a control or confirmation."""
        return len(searched(self.trials))

    @property
    def weights(self) -> dict[str, float]:
        """How much each rival model is listened to now, by how well it predicted the runs so far."""
        return self.rivals.weights(self.trials.finished, self.evidence().objective)

    def compile(self) -> None:
        """Compile the model now rather than before the first modelled suggestion."""
        self.rivals.compile()

    def _posterior(self, length: Chains = SHORT) -> Posterior:
        known = self.evidence()
        return self.rivals.posterior(self.rivals.first, known.trials, known.objective, length)

    # -- looking

    def predict(
        self,
        configurations: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        noise: bool = True,
        context: Mapping[str, Any] | None = None,
        do: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Return draws of every node at some configurations, dims ``(sample, configuration, *node dims)``.

        ``noise=True``: of what a run would measure. ``noise=False``: of the quantity itself, run-to-run
        variation averaged out within each draw. Draws are joint over configurations, so differences between
        them are meaningful.

        ``do`` holds nodes or derived quantities at values, in their unit: ``do={"gc_pause": 5.0}`` asks what
        would be if every pause were 5 ms. What causes them no longer matters; what they cause follows
        (Pearl 2009, ch. 3).
        """
        if not isinstance(configurations, Sequence | Mapping) or isinstance(configurations, str):
            raise ModelError(
                f"predict takes a configuration (a dict) or a list of them; got {configurations!r}."
            )
        rows = [configurations] if isinstance(configurations, Mapping) else list(configurations)
        unit = self.space.encode([self.space.validate(row, strict=False) for row in rows])
        known = self.space.validate_context(context)
        held = intervention(self.model, do or {})
        values = predictive(self._posterior(), unit, known, self.random_seed, noise=noise, do=held)
        return as_dataset(self.model, values)

    @property
    def posterior(self) -> xr.DataTree:
        """The long posterior with its verdict: a child per node that ArviZ takes as it is."""
        return self.sample()

    def sample(
        self, draws: int = LONG.draws, tune: int = LONG.tune, chains: int = LONG.chains
    ) -> xr.DataTree:
        """Sample the posterior given every measurement so far, and return it as one tree with a child per
        node."""
        for option, value in {"draws": draws, "tune": tune, "chains": chains}.items():
            check_count(option, value, least=1)
        length = Chains(draws, tune, chains)
        return tree(self._posterior(length), self.random_seed)

    @property
    def best(self) -> Best:
        """The incumbent: the measured configuration that is best by the posterior."""
        return self.incumbent()

    def incumbent(self, context: Mapping[str, Any] | None = None) -> Best:
        """Return the measured configuration that is best by the posterior in a context.

        ``context`` gives every context variable; left out, it is that of the last run.

        Raises
        ------
        ModelError
            Where no trial has a measurement of the objective yet.
        """
        known, where = self._where(context)
        return self.rivals.incumbent(known, self.weights, where)

    def quick_best(self) -> float | None:
        """The best value so far: by the posterior once it is there, before by the measurements."""
        values = [v for v in map(self.objective_of, self.trials.finished) if v is not None]
        if not values:
            return None
        if not self.modelled_next:
            return max(values) if self.goal.maximize else min(values)
        return self.best.value

    def recommend(self, context: Mapping[str, Any] | None = None, *, regret: float = 0.02) -> Recommendation:
        """Return the configuration to use in a context (that of the last run where it is left out).

        It prints itself: how sure it is to beat the default and by how much, how sure to be within ``regret``
        of the best, which values are as good, which parameters do not matter.
        """
        known, where = self._where(context)
        return recommend(self.rivals, known, where, regret, self.policy.safe(known, where))

    def probability_within(
        self, regret: float = 0.02, *, relative: bool = True, context: Mapping[str, Any] | None = None
    ) -> float:
        """Return how sure the posterior is that the incumbent loses at most ``regret`` against the best
        configuration of the whole space: a share of the best, or in the objective's unit.

        Raises
        ------
        ModelError
            For a share where the objective was measured as 0 or less.
        """
        known, where = self._where(context)
        least = min(known.objective.values())
        if relative and least <= 0:
            raise ModelError(
                f"a regret of {regret} is a share of the best and needs an objective above 0; "
                f"{self.goal.name} was measured as {least:g}. Give it in the objective's unit, with "
                "relative=False."
            )
        seen = prospect(self.rivals, known, where, self.policy.safe(known, where))
        return seen.within(seen.incumbent, regret, relative)

    def _where(self, context: Mapping[str, Any] | None) -> tuple[Evidence, Mapping[str, Any]]:
        """What is known, and the context that is meant: that of the last run where none is given."""
        known = self.evidence()
        if not known.eligible:
            raise ModelError(
                "no trial of this study has a measurement yet, so there is no best configuration. Run some "
                "first: boat.optimize(...), or study.ask() and study.tell(...)."
            )
        return known, known.eligible[-1].context if context is None else self.space.validate_context(context)

    def cross_validate(self) -> CrossValidation:
        """Predict every run from the others: each node given its measured inputs, and the objective from the
        configuration alone (:func:`boatppl.validate.cross_validate`)."""
        inference = self.rivals.inference[self.rivals.first]
        return cross_validate(inference, self.goal, self.evidence(), self.random_seed)

    def compare(
        self, models: Mapping[str, DAGModel | None] | Sequence[DAGModel | None] | None = None
    ) -> Comparison:
        """Rank models by how well they predict each run's objective from the other runs, end to end.

        ``models``: name -> model, ``None`` for the generic one; by default those of the study.
        """
        fits, known = named_inferences(self.rivals, models), self.evidence()
        found = {name: cross_validate(fit, self.goal, known, self.random_seed) for name, fit in fits.items()}
        return compare(found)

    def diagnose(self) -> Diagnosis:
        """Say which part of the developer's model is wrong, worst first, each with a number and a remedy
        (:func:`boatppl.diagnose.diagnose`)."""
        inference = self.rivals.inference[self.rivals.first]
        return diagnose(inference, self.goal, self.evidence(), self.random_seed)

    def unused(self) -> list[str]:
        """Say which measurements could not be used, and why: ``27 of 30 rows of p99 unused: gc_pause
        missing``."""
        known = self.evidence()
        left = [*unused_trials(self.model, self.trials, known), *unused_rows(self.model, known.trials)]
        return [*self.policy.limits.broken(known), *left]

    def __repr__(self) -> str:
        direction = "maximize" if self.goal.maximize else "minimize"
        head = f"Study {self.name!r}: {direction} {self.goal.name}, {self.trials!r}"
        return "\n  ".join([head, *([self.log.resumption()] if self.log.changed else []), *self.unused()])

    def _repr_html_(self) -> str:
        return as_html(
            repr(self),
            self.trials,
            self.evidence().objective,
            name=self.goal.name,
            unit=self.model.unit_of(self.goal.name),
            maximize=self.goal.maximize,
            parameters={name: self.model.unit_of(name) for name in self.space.slices},
            weights=self.weights,
        )


def default_n_initial(model: DAGModel, generic: bool) -> int:
    """Return how many trials are run before the first modelled one, the default included."""
    return max(4, min(model.space.dimension + 2, 12)) if generic else 3


def _seed(storage: Storage, name: str, random_seed: int | None) -> int:
    """The seed that is asked for, else the one that the study began with; a new study's is kept."""
    kept = storage.get_setting(name, "random_seed")
    if random_seed is not None and kept not in (None, random_seed):
        logging.getLogger("boatppl").warning(
            "study %r began with random_seed=%d and goes on with %d", name, kept, random_seed
        )
    if kept is None:
        fresh = int(np.random.SeedSequence().generate_state(1)[0])
        kept = fresh if random_seed is None else int(random_seed)
        storage.set_setting(name, "random_seed", kept)
    return int(kept if random_seed is None else random_seed)


def _inherited(models: Mapping[str, DAGModel], earlier: Any, weight: Any) -> dict[str, DAGModel]:
    """Return the models with what an earlier study learned in their priors."""
    if not isinstance(earlier, Study):
        raise ModelError(
            f"prior_from= is an earlier boat.Study (opened with its model and storage); got {earlier!r}."
        )
    if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 < float(weight) <= 1:
        raise ModelError(
            "prior_weight= is how much a run of the earlier study counts against one of this study, above 0 "
            f"and at most 1; got {weight!r}."
        )
    if not earlier.evidence().eligible:
        raise ModelError(
            f"prior_from=: no trial of study {earlier.name!r} has a measurement yet: it has nothing to say."
        )
    return inherit(models, earlier._posterior(LONG), float(weight), earlier.random_seed)


def _goal(minimize: str | None, maximize: str | None) -> Goal:
    names = [name for name in (minimize, maximize) if name is not None]
    if len(names) != 1 or not isinstance(names[0], str):
        raise ModelError("say what to optimise with minimize='...' or maximize='...', one of the two.")
    return Goal(minimize if minimize is not None else str(maximize), maximize is not None)
