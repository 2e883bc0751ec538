"""The study: the trials so far, the model and what to optimise. The only mutable object."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from boatppl.dag import DAGModel
from boatppl.datatree import as_dataset, tree
from boatppl.feasible import Feasibility
from boatppl.incumbent import Best, best_column, best_of
from boatppl.infer import LONG, SHORT, Chains
from boatppl.predict import predictive
from boatppl.propagate import Posterior, needed
from boatppl.rivals import Rivals, rivals_of
from boatppl.space import Space
from boatppl.storage import open_storage
from boatppl.suggest import ACQUISITIONS, Goal, Runs, Score, suggest
from boatppl.table import check_domain, measured, shape_of
from boatppl.trial import MeasurementError, State, Trial, Trials, validate_measurements
from boatppl.words import ModelError, check_count, expected_one_of, listed, nearest


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
        How many trials come before the first modelled one: the default, then a quasi-random design.
    acquisition
        How the posterior chooses: ``"expected improvement"``, ``"thompson"`` or ``"posterior mean"``.
    hedge
        Keep the generic model beside the developer's, weigh them by how well they predicted each run before
        it was made, and draw by weight which of them proposes: a wrong model then never costs much.

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
    ) -> None:
        self.goal = _goal(minimize, maximize)
        if acquisition not in ACQUISITIONS:
            raise ModelError(f"acquisition= is {expected_one_of(ACQUISITIONS, acquisition)}.")
        self.acquisition = acquisition
        if random_seed is not None:
            check_count("random_seed", random_seed, least=0)
        self.generic = isinstance(model, Space)
        rivals = rivals_of(model, self.goal, 0, hedge)
        self.model = rivals.models[rivals.first]
        self.space = self.model.space
        if self.space.dimension == 0:
            raise ModelError("every parameter of the space is fixed: there is nothing to tune.")
        for rival in rivals.models.values():
            _check_goal(rival, self.goal)
        self.name = name
        self.storage = open_storage(storage)
        direction = "maximize" if self.goal.maximize else "minimize"
        self.storage.open_study(
            name, objective=self.goal.name, direction=direction, space=self.space.fingerprint()
        )
        self.random_seed = self._seed(random_seed)
        if n_initial is not None:
            check_count("n_initial", n_initial, least=0)
        self.n_initial = default_n_initial(self.model, self.generic) if n_initial is None else n_initial
        self.trials = Trials(map(self._completed, self.storage.trials(name)))
        self._feasibility: Feasibility | None = None
        self.rivals = Rivals(rivals.models, self.goal, self.random_seed)

    # -- ask and tell

    def ask(self, n: int | None = None, *, context: Mapping[str, Any] | None = None) -> Trial | list[Trial]:
        """Return the next trial to run, or ``n`` of them; each is stored as RUNNING before it is handed out.

        ``context`` gives every context variable of the space. Trials asked for and not yet told are pending:
        later suggestions take them into account.
        """
        if n is not None:
            check_count("ask(n)", n, least=1)
            return [self.ask_one(context=context) for _ in range(n)]
        return self.ask_one(context=context)

    def ask_one(self, *, context: Mapping[str, Any] | None = None) -> Trial:
        """Return the next trial to run, as :meth:`ask` does without a count."""
        known = self.space.validate_context(context)
        self._refresh()
        configuration, origin, suggestion = self._next(self.trials.next_number, known)
        return self.start(configuration, origin, suggestion, known)

    def start(
        self,
        configuration: Mapping[str, Any],
        origin: str,
        suggestion: dict[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Trial:
        """Store a RUNNING trial of a chosen configuration and return it."""
        trial = Trial(
            self.trials.next_number,
            dict(configuration),
            dict(context or {}),
            origin=origin,
            suggestion=suggestion,
            seed=self.random_seed,
            host=f"{platform.node()} {os.getpid()}",
        )
        trial = self.storage.append(self.name, trial)
        self.trials = self.trials.with_trial(trial)
        return trial

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
        values = self._validated(measurements)
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
        trial = self._asked(trial)
        if self.trials[trial.number].state is State.ABORTED:  # given up on too early: a late result is kept
            trial = self.start(trial.configuration, "told", None, trial.context)
            marks = [*marks, "late"]
        there = set(self.model.nodes) <= set(values)
        state = State.COMPLETE if there else State.PARTIAL
        return self._finish(trial.finish(state, values, context=context, marks=marks))

    def fail(self, trial: Trial, reason: str, state: State = State.FAILED) -> Trial:
        """Store that a trial's run failed, and why."""
        return self._finish(self._asked(trial).finish(state, {}, reason=reason))

    def _asked(self, trial: Trial) -> Trial:
        """The trial of this number as it was handed out: a told trial's configuration is never taken on
        trust."""
        self._refresh()
        known = self.trials[trial.number]
        if known.configuration != trial.configuration:
            raise ModelError(
                f"trial {trial.number} of this study has the configuration {known.configuration}; told was "
                f"{trial.configuration}. Tell a run of your own as study.tell(configuration, measurements)."
            )
        return (
            known if known.is_running else replace(known, state=State.RUNNING, measurements={}, finished=None)
        )

    def _refresh(self) -> None:
        """Read what other processes have added to the file."""
        if self.storage.path is not None:
            self.trials = Trials(map(self._completed, self.storage.trials(self.name)))

    def _completed(self, trial: Trial) -> Trial:
        """The trial with the default of every parameter that the space did not have when it ran."""
        missing = {
            name: self.space.default[name] for name in self.space.names if name not in trial.configuration
        }
        if not missing:
            return trial
        marks = dict.fromkeys([*trial.marks, f"before {listed(missing)}"])
        return replace(trial, configuration=trial.configuration | missing, marks=tuple(marks))

    def _finish(self, trial: Trial) -> Trial:
        trial = self.storage.finish(self.name, trial)
        self.trials = self.trials.with_trial(trial)
        return trial

    def _validated(self, raw: Any) -> dict[str, Any]:
        nodes = {name: model for model in self.rivals.models.values() for name in model.nodes}
        shapes = {name: shape_of(model, name) for name, model in nodes.items()}
        values = validate_measurements(raw, shapes, self.goal.name)
        for name in nodes.keys() & values.keys():
            check_domain(name, values[name], nodes[name].nodes[name].node.transform)
        return values

    # -- choosing

    def _next(
        self, number: int, context: Mapping[str, Any]
    ) -> tuple[dict[str, Any], str, dict[str, Any] | None]:
        if not self._was_run(self.space.default):
            return self.space.default, "default", None
        self._check_measured()
        if not self.modelled_next:
            return self._designed(number), "design", None
        return self._suggested(number, context)

    @property
    def modelled_next(self) -> bool:
        """Whether the next suggestion comes from the posterior: the initial trials are there and one has an
        objective."""
        measured_once = any(self.objective_of(trial) is not None for trial in self.trials.finished)
        return self.n_counted + len(self.trials.running) >= self.n_initial and measured_once

    @property
    def n_counted(self) -> int:
        """How many finished trials count against a budget: not aborted, not a control or confirmation."""
        apart = ("control", "confirm")
        return sum(t.state is not State.ABORTED and t.origin not in apart for t in self.trials.finished)

    def compile(self) -> None:
        """Compile the model now rather than before the first modelled suggestion."""
        self.rivals.compile()

    def _designed(self, number: int) -> dict[str, Any]:
        """The next point of the design that was not run."""
        for n in (self.n_initial + len(self.trials) + 1, 4 * (self.n_initial + len(self.trials) + 1)):
            for configuration in self.space.design(n, self.random_seed):
                if not self._was_run(configuration):
                    return configuration
        return self.space.design(1, [self.random_seed, number])[0]

    def _was_run(self, configuration: Mapping[str, Any]) -> bool:
        kept = [trial for trial in self.trials if trial.state is not State.ABORTED]
        return any(trial.configuration == configuration for trial in kept)

    def _usable(self) -> list[Trial]:
        return [t for t in self.trials.finished if t.measurements]

    def _suggested(
        self, number: int, context: Mapping[str, Any]
    ) -> tuple[dict[str, Any], str, dict[str, Any]]:
        trials, objective = self._fitted(), self._objective()
        posteriors, shares = self.rivals.posteriors(trials, objective), self.weights
        seed = self._seed_of(number)
        names = list(shares)
        draw = np.random.default_rng([seed, 51]).choice(len(names), p=list(shares.values()))
        runs = Runs(
            measured=self._rows(self._eligible(trials, objective)),
            pending=self._rows(self.trials.running),
            taken=self._rows([trial for trial in self.trials if trial.state is not State.ABORTED]),
            feasible=self._feasible(trials),
        )
        proposer = posteriors[names[draw]]
        found = suggest(proposer, self.goal, runs, seed, acquisition=self.acquisition, contexts=context)
        [configuration] = self.space.decode(found.unit[None])
        known = self.rivals.outlook(posteriors, shares, found.unit, runs.measured, context)
        return configuration, "suggested", known | {"proposed_by": names[draw], "evaluated": found.evaluated}

    def _eligible(self, trials: Sequence[Trial], objective: Mapping[int, float]) -> list[Trial]:
        """The trials that may be the incumbent: told ones may be out of range or violate a constraint."""
        known = [trial for trial in trials if trial.number in objective]
        return [trial for trial in known if not set(trial.marks) & {OUT_OF_RANGE, INFEASIBLE}] or known

    def _feasible(self, succeeded: Sequence[Trial]) -> Score | None:
        """The log probability that a run succeeds; None while none has failed."""
        failed = [
            trial for trial in self.trials.finished if trial.state in FAILURES and self._has_context(trial)
        ]
        if not failed:
            return None
        if self._feasibility is None:
            self._feasibility = Feasibility(self.space, self.random_seed)
        return self._feasibility.learn(succeeded, failed)

    def _check_measured(self) -> None:
        """Raise a ModelError where the objective, or a node that it depends on, has never been measured."""
        done = self._usable()
        if self.n_counted < self.n_initial or not done:
            return
        seen = {name for trial in done for name in trial.measurements}
        wanted = [name for name in needed(self.model, self.goal.name) if name in self.model.nodes]
        missing = [name for name in wanted if name not in seen]
        if missing:
            raise ModelError(
                f"{listed(missing)}: never measured in {len(done)} runs, which returned "
                f"{listed(sorted(seen))}. Every node that {self.goal.name!r} depends on must be measured: "
                f"let the run return it, or make it a @boat.derived or @boat.shared quantity."
            )

    @property
    def weights(self) -> dict[str, float]:
        """How much each rival model is listened to now, by how well it predicted the runs so far."""
        return self.rivals.weights(self.trials.finished, self._objective())

    def _objective(self) -> dict[int, float]:
        """The measured objective of the finished trials, number -> value."""
        found = {trial.number: self.objective_of(trial) for trial in self.trials.finished}
        return {number: value for number, value in found.items() if value is not None}

    def _fitted(self) -> list[Trial]:
        """The trials that the models learn from."""
        return [trial for trial in self._usable() if self._has_context(trial)]

    def _posterior(self, length: Chains = SHORT) -> Posterior:
        return self.rivals.posterior(self.rivals.first, self._fitted(), self._objective(), length)

    def _rows(self, trials: Iterable[Trial]) -> np.ndarray:
        rows = self.space.encode([trial.configuration for trial in trials])
        return rows.reshape(-1, self.space.dimension)

    def _has_context(self, trial: Trial) -> bool:
        return all(name in trial.context for name in self.space.contexts)

    def _seed_of(self, number: int) -> int:
        return int(np.random.SeedSequence([self.random_seed, number]).generate_state(1)[0])

    def _seed(self, random_seed: int | None) -> int:
        kept = self.storage.get_setting(self.name, "random_seed")
        if kept is None:
            kept = (
                int(np.random.SeedSequence().generate_state(1)[0])
                if random_seed is None
                else int(random_seed)
            )
            self.storage.set_setting(self.name, "random_seed", kept)
        return int(kept if random_seed is None else random_seed)

    # -- looking

    def predict(
        self,
        configurations: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        noise: bool = True,
        context: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Return draws of every node at some configurations, dims ``(sample, configuration, *node dims)``.

        ``noise=True``: of what a run would measure. ``noise=False``: of the quantity itself, run-to-run
        variation averaged out within each draw. Draws are joint over configurations, so differences between
        them are meaningful.
        """
        rows = [configurations] if isinstance(configurations, Mapping) else list(configurations)
        unit = self.space.encode([self.space.validate(row, strict=False) for row in rows])
        known = self.space.validate_context(context)
        values = predictive(self._posterior(), unit, known, self.random_seed, noise=noise)
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
        length = Chains(draws, tune, chains)
        return tree(self._posterior(length), self.random_seed)

    @property
    def best(self) -> Best:
        """The incumbent: the measured configuration that is best by the posterior."""
        trials, objective = self._fitted(), self._objective()
        used = self._eligible(trials, objective)
        if not used:
            raise ModelError(
                "no trial of this study has a measurement yet, so there is no best configuration."
            )
        posteriors = self.rivals.posteriors(trials, objective)
        run, context = self._rows(used), used[-1].context
        rows = self.rivals.contenders(posteriors, run, context)
        points = np.concatenate([rows, self.space.encode([self.space.default])])
        draws = self.rivals.noise_free(posteriors, self.weights, points, context)
        place = best_column(draws[:, :-1], self.goal)
        alike = [trial for trial, row in zip(used, run, strict=True) if np.array_equal(row, rows[place])]
        same = [trial for trial in alike if trial.context == context] or alike
        return best_of(draws[:, [place, -1]], self.goal, same, [objective[trial.number] for trial in same])

    def objective_of(self, trial: Trial) -> float | None:
        """The objective as a trial measured it (a derived one computed from what was measured); None where it
        is missing."""
        if self.goal.name in self.model.nodes:
            value = trial.measurements.get(self.goal.name)
            return None if value is None else float(value)
        if not trial.measurements or not self._has_context(trial):
            return None
        value = float(measured(self.model, [trial]).values[self.goal.name].ravel()[0])
        return value if np.isfinite(value) else None

    def quick_best(self) -> float | None:
        """The best value so far: by the posterior once it is there, before by the measurements."""
        values = [v for v in map(self.objective_of, self.trials.finished) if v is not None]
        if not values:
            return None
        if not self.modelled_next:
            return max(values) if self.goal.maximize else min(values)
        return self.best.value

    def recommend(self) -> Best:
        """Return the configuration to use: the incumbent of the posterior."""
        return self.best

    def unused(self) -> list[str]:
        """Say which measurements could not be used, and why: ``27 of 30 rows of p99 unused: gc_pause
        missing``."""
        posterior = self._posterior()
        lines = []
        for name, draws in posterior.nodes.items():
            for reason, numbers in draws.table.unused.items():
                total = len(draws.table) + sum(len(n) for n in draws.table.unused.values())
                lines.append(f"{len(numbers)} of {total} rows of {name} unused: {reason}")
        return lines

    def __repr__(self) -> str:
        direction = "maximize" if self.goal.maximize else "minimize"
        return f"Study {self.name!r}: {direction} {self.goal.name}, {self.trials!r}"


FAILURES = (State.FAILED, State.TIMED_OUT)
OUT_OF_RANGE, INFEASIBLE = "out of range", "violates a constraint"


def default_n_initial(model: DAGModel, generic: bool) -> int:
    """Return how many trials are run before the first modelled one, the default included."""
    return max(4, min(model.space.dimension + 2, 12)) if generic else 3


def _goal(minimize: str | None, maximize: str | None) -> Goal:
    names = [name for name in (minimize, maximize) if name is not None]
    if len(names) != 1 or not isinstance(names[0], str):
        raise ModelError("say what to optimise with minimize='...' or maximize='...', one of the two.")
    return Goal(minimize if minimize is not None else str(maximize), maximize is not None)


def _check_goal(model: DAGModel, goal: Goal) -> None:
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
