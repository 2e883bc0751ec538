"""What a picture is drawn from: a study's evidence and the posteriors given it, read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.evidence import Evidence
from boatppl.explain import has_formula
from boatppl.graph import DAG
from boatppl.propagate import Posterior
from boatppl.result import Result
from boatppl.rivals import with_objective
from boatppl.space import Space
from boatppl.study import Study
from boatppl.suggest import Goal
from boatppl.table import measured
from boatppl.transform import Transform
from boatppl.trial import Trial
from boatppl.validate.cross_validate import MEDIUM
from boatppl.validate.folds import Folds, fold
from boatppl.words import ModelError, expected_one_of, listed, nearest

INTERVAL = (0.05, 0.5, 0.95)  # what is drawn as an interval, everywhere: 90 %


@dataclass(frozen=True, eq=False)
class View:
    """A study, what is known of its runs, and a posterior of each rival model given that."""

    study: Study
    known: Evidence
    posteriors: Mapping[str, Posterior]

    @property
    def trials(self) -> Sequence[Trial]:
        """The trials that the models learn from."""
        return self.known.trials

    @property
    def objective(self) -> Mapping[int, float]:
        """The measured objective, trial number -> value in its unit."""
        return self.known.objective

    @property
    def space(self) -> Space:
        """The space that is searched."""
        return self.study.space

    @property
    def goal(self) -> Goal:
        """What is optimised."""
        return self.study.goal

    @property
    def context(self) -> Mapping[str, Any]:
        """The context of the last run with an objective: what the incumbent is judged in."""
        return self.known.eligible[-1].context

    def posterior(self, rival: str | None = None) -> Posterior:
        """Return the posterior of a rival model, by default the developer's."""
        name = self.study.rivals.first if rival is None else rival
        if name not in self.posteriors:
            raise ModelError(f"rival= is {expected_one_of(self.posteriors, name)}.")
        return self.posteriors[name]

    def noise_free(self, unit: np.ndarray) -> np.ndarray:
        """Return draws ``(draw, configuration)`` of the objective, of all rivals by their weights."""
        study = self.study
        return study.rivals.noise_free(self.posteriors, study.weights, unit, self.context).draws

    def folds(self) -> Folds:
        """Return the developer's model without each trial, as cross-validation takes it."""
        study, known = self.study, self.known
        model = study.rivals.inference[study.rivals.first]
        data = measured(model.model, with_objective(known.trials, study.goal, known.objective))
        return fold(model.posterior(data, MEDIUM), data.numbers, study.random_seed, MEDIUM)

    def incumbent(self, at: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a configuration to look from: the incumbent, or the validated ``at`` laid over it."""
        best = dict(self.study.best.configuration)
        return best if at is None else self.space.validate(best | dict(at), strict=False)


def view(source: Study | Result) -> View:
    """Read a study, or the study of a result.

    Raises
    ------
    ModelError
        Where nothing was measured yet, or for something that is neither.
    """
    study = source.study if isinstance(source, Result) else source
    if not isinstance(study, Study):
        raise ModelError(f"expected a Study, or the Result of boat.optimize; got {type(source).__name__}.")
    known = study.evidence()
    if not known.eligible:
        raise ModelError(
            f"nothing to draw yet: no trial of this study has measured {study.goal.name!r}. Run some trials "
            f"(boat.optimize, or study.ask and study.tell) first."
        )
    return View(study, known, study.rivals.posteriors(known.trials, known.objective))


# -- names ------------------------------------------------------------------------------


def quantity(model: DAG, name: str | None, goal: Goal) -> str:
    """Return the name of a node or derived quantity, the objective where None; raises for another one."""
    known = [*model.nodes, *model.derived]
    if name is None:
        return goal.name
    if name not in known:
        raise ModelError(
            f"{name!r} is no node or derived quantity of the model.{nearest(name, known)} "
            f"Known: {listed(known)}."
        )
    return name


def measured_node(model: DAG, name: str) -> str:
    """Return the name of a node; raises for a derived quantity, which has no residual, and for others."""
    if name not in model.nodes:
        what = "derived: it has no residual" if name in model.derived else "no node of the model"
        raise ModelError(f"{name!r} is {what}.{nearest(name, model.nodes)} Nodes: {listed(model.nodes)}.")
    return name


def with_formula(model: DAG) -> list[str]:
    """Return the nodes in which the developer wrote more than a level; all nodes where there is none."""
    return [name for name in model.nodes if has_formula(model, name)] or list(model.nodes)


def labelled(model: DAG, name: str) -> str:
    """Return a name with its unit, as it stands on an axis: ``p99 [ms]``."""
    unit = model.unit_of(name)
    return f"{name} [{unit}]" if unit else name


def transform_of(posterior: Posterior, name: str) -> Transform:
    """Return the scale on which a node is modelled; a derived quantity's is its own."""
    return posterior.transforms.get(name, Transform())


def on_scale(posterior: Posterior, name: str) -> str:
    """Return a quantity's name on its transformed scale: ``log(p99)``."""
    kind = transform_of(posterior, name).kind
    return f"{kind}({name})" if kind else name


def quantiles(draws: np.ndarray) -> np.ndarray:
    """Return the 5, 50 and 95 % points ``(3, ...)`` over the first axis; NaN where no draw is finite."""
    finite = np.where(np.isfinite(draws), draws, np.nan)
    nothing = np.isnan(finite).all(axis=0)
    return np.where(nothing, np.nan, np.nanquantile(np.where(nothing, 0.0, finite), INTERVAL, axis=0))
