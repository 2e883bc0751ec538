"""Look at a model before the first trial."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from boatppl.check.density import Density, densities
from boatppl.check.dry_run import DryRun
from boatppl.check.dry_run import dry_run as drawn_and_tuned
from boatppl.check.prior import Predicted, everywhere, predictions, prior
from boatppl.check.units import units
from boatppl.dag import DAGModel
from boatppl.fit import Inference
from boatppl.graph import DAG
from boatppl.html.page import preformatted
from boatppl.predict import predictive
from boatppl.propagate import needed
from boatppl.rivals import check_goal
from boatppl.suggest import Goal
from boatppl.table import Table, measured, tables
from boatppl.trial import Trial
from boatppl.words import ModelError, check_count, listed

ROWS = 8  # of a run drawn from the prior, on which the densities are evaluated
FINITE = 0.5  # of positions far around the prior's centre: below it the sampler starts on bad ground
GRADIENT = 1e-3  # relative error
VAGUE = 1e6  # times from the 5 % to the 95 % point of what a formula predicts


@dataclass(frozen=True)
class Complaint:
    """What may be wrong with one part of a model (or with a parameter), in a sentence."""

    part: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.part}: {self.sentence}"


@dataclass(frozen=True, eq=False)
class Check:
    """A model before its first trial: what it predicts, and what may be wrong with it.

    ``predicted``: every node and derived quantity -> its prior predictive over the whole space.
    ``densities``: block -> whether its log density is finite and its gradient right.
    """

    predicted: Mapping[str, Predicted]
    densities: Mapping[str, Density]
    complaints: tuple[Complaint, ...]
    dry_run: DryRun | None = None

    @property
    def good(self) -> bool:
        """Whether there is nothing to complain of."""
        return not self.complaints

    def _lines(self) -> list[str]:
        width = max(len(name) for name in self.predicted)
        lines = ["before any run, over the whole space (median, 5 % to 95 %):"]
        for name, each in self.predicted.items():
            unit = f" {each.unit}" if each.unit else ""
            lines.append(f"  {name:{width}}  {each.median:.3g} ({each.low:.3g} to {each.high:.3g}){unit}")
        lines += [f"- {complaint}" for complaint in self.complaints or ("nothing to complain of",)]
        return lines + (self.dry_run.lines() if self.dry_run else [])

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return preformatted(repr(self))


def check(
    model: DAGModel,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    dry_run: int = 6,
    seconds: float = 40.0,
    random_seed: int = 0,
    progress: bool = True,
) -> Check:
    """Look at a model before the first trial.

    Its prior predictive per node in its unit; log densities that are finite and gradients that are right, on
    runs drawn from the prior; sums of unlike units; parameters that no node uses; nodes that the objective
    does not depend on. At last a dry run: systems drawn from the priors are tuned.

    Parameters
    ----------
    minimize, maximize
        The objective. By default the one node or derived quantity that nothing else uses, minimised.
    dry_run
        How many systems are drawn and tuned (:class:`boatppl.check.dry_run.DryRun`); 0 for none.
    seconds
        After this time no further step of the dry run begins. What comes before it (compiling a model that is
        new to this machine, sampling it on runs drawn from the prior) comes on top.
    progress
        Print a line for every step of the dry run.

    Raises
    ------
    ModelError
        For what is no model, or an objective that it does not have.
    """
    if not isinstance(model, DAGModel):
        raise ModelError(f"check takes a DAGModel; got {model!r}.")
    goal = _goal(model, minimize, maximize)
    predicted = predictions(model, random_seed)
    verdicts = densities(Inference(model, random_seed), drawn_tables(model, random_seed), random_seed)
    complaints = [
        *_of_predictions(model, predicted),
        *_of_densities(verdicts),
        *(Complaint(name, sentence) for name, sentence in units(model)),
        *_of_use(model, goal),
    ]
    check_count("dry_run", dry_run, least=0)
    say = print if progress else _nothing
    tried = drawn_and_tuned(model, goal, dry_run, seconds, random_seed, say) if goal and dry_run else None
    return Check(predicted, verdicts, tuple(complaints), tried)


def _nothing(line: str) -> None:
    """Say nothing."""


def _goal(model: DAGModel, minimize: str | None, maximize: str | None) -> Goal | None:
    if minimize is not None and maximize is not None:
        raise ModelError("the objective is minimised or maximised; got both minimize= and maximize=.")
    name = minimize or maximize
    if name is None:
        used = {parent for part in model.order for parent in model.parents(part)}
        ends = [part for part in model.order if part not in used and not model.sources[part].dims]
        if len(ends) != 1:
            return None
        name = ends[0]
    goal = Goal(name, maximize is not None)
    check_goal(model, goal)
    return goal


def drawn_tables(model: DAG, seed: int) -> dict[str, Table]:
    """Return the tables of runs that one draw of the prior made, at places all over the space."""
    unit = everywhere(model, seed)
    unit = unit[np.linspace(0, len(unit) - 1, min(ROWS, len(unit))).astype(int)]
    middle = np.array([0.5])
    known = {n: float(context.from_unit(middle)[0]) for n, context in model.space.contexts.items()}
    one = predictive(prior(model, 1, seed), unit, known, seed, noise=True)
    finite = {n: np.isfinite(one[n][0]).reshape(len(unit), -1).all(axis=1) for n in model.nodes}
    trials = [
        Trial(i, configuration, known, measurements={n: one[n][0, i] for n in model.nodes if finite[n][i]})
        for i, configuration in enumerate(model.space.decode(unit))
    ]
    return tables(model, measured(model, trials))


def _of_predictions(model: DAG, predicted: Mapping[str, Predicted]) -> Iterator[Complaint]:
    for name, each in predicted.items():
        if each.infinite > 0.01:
            yield Complaint(
                name,
                f"{each.infinite:.0%} of what the prior predicts is not finite. Keep the priors away from "
                "where the formula has no value.",
            )
        known = name in model.nodes and not model.nodes[name].node.standardised
        if known and each.low > 0 and each.high > VAGUE * each.low:
            yield Complaint(
                name,
                f"the priors leave it anywhere between {each.low:.1g} and {each.high:.1g} {each.unit}. "
                "Say what you know: the first runs are spent on it otherwise.",
            )


def _of_densities(verdicts: Mapping[str, Density]) -> Iterator[Complaint]:
    for name, each in verdicts.items():
        if each.finite < FINITE:
            yield Complaint(
                name,
                f"its log density is finite at only {each.finite:.0%} of places around the prior's centre. "
                "Keep its priors away from where the formula has no value.",
            )
        if each.gradient > GRADIENT:
            yield Complaint(
                name,
                f"the gradient of its log density is off by {each.gradient:.1g} (relative) from what "
                "differences say. Does the formula have jumps or corners (pt.switch, floor, round)?",
            )


def _of_use(model: DAG, goal: Goal | None) -> Iterator[Complaint]:
    used = {item for name in model.nodes for item in _used(model, name)}
    for name in model.space.slices:
        if name not in used:
            yield Complaint(name, "no node uses this parameter. Make it an argument of one, or fix it.")
    if goal is None:
        return
    wanted = needed(model, goal.name)
    idle = [name for name in model.nodes if name not in wanted]
    if idle:
        yield Complaint(
            listed(idle),
            f"the objective {goal.name} does not depend on this; measuring it teaches the tuner nothing of "
            "where to go.",
        )


def _used(model: DAG, name: str) -> tuple[str, ...]:
    return model.origins((*model.parts[name].wires, *model.inputs_of(name)))
