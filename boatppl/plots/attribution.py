"""Where the end-to-end error comes from: substitute one node's measurement at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from boatppl.plots.canvas import BLUE, GREY, ink, one, percent, quiet
from boatppl.plots.view import View, labelled, transform_of, view
from boatppl.propagate import Posterior, needed
from boatppl.result import Result
from boatppl.study import Study
from boatppl.table import measured
from boatppl.words import ModelError


@dataclass(frozen=True, eq=False)
class Attribution:
    """Errors of the objective ``(trial,)`` on its transformed scale: ``whole`` from the configuration alone,
    ``given`` with the measurements of one node known, ``last`` with those of all nodes it depends on."""

    trials: np.ndarray
    whole: np.ndarray
    given: Mapping[str, np.ndarray]
    last: np.ndarray

    def removed(self, error: np.ndarray) -> float:
        """Return which share of the whole squared error is gone, of errors ``(trial,)``; negative: more."""
        return 1.0 - float(np.sum(error**2) / np.sum(self.whole**2))

    @property
    def shares(self) -> dict[str, float]:
        """The share of the squared error that goes away with each node's measurements."""
        return {name: self.removed(error) for name, error in self.given.items()}


def predicted(
    posterior: Posterior,
    target: str,
    unit: np.ndarray,
    contexts: Mapping[str, Any],
    given: Mapping[str, np.ndarray],
    seed: int,
) -> float:
    """Return the median over draws of the transformed target at ``unit (1, coordinate)``, some nodes
    ``given`` (their measurement ``(1, 1, *dims)``) rather than predicted."""
    luck, model = posterior.luck([seed, 91]), posterior.model
    values = dict(model.inputs(unit, contexts))
    for name in needed(model, target):
        if name in given:
            values[name] = given[name]
        elif name in model.derived:
            values[name] = model.evaluate_derived(name, values)
        else:
            step = posterior.step(name, values, unit, contexts)
            if name == target:
                return float(np.median(step.mean[:, 0]))
            values[name] = posterior.measured(name, step, luck, 1)
    return float(np.median(values[target]))


def attribution(seen: View) -> Attribution:
    """Return the objective's end-to-end errors over the trials in which all it depends on was measured.

    Raises
    ------
    ModelError
        Where the objective depends on no other node, or fewer than two trials measured all of them.
    """
    posterior, goal = seen.posterior(), seen.goal.name
    model, seed = posterior.model, seen.study.random_seed
    parents = [name for name in needed(model, goal) if name in model.nodes and name != goal]
    if not parents:
        raise ModelError(f"{goal!r} depends on no other node: all of its error is its own.")
    trials = [
        trial
        for trial in seen.trials
        if trial.number in seen.objective
        and all(np.isfinite(trial.measurements.get(name, np.nan)).all() for name in parents)
    ]
    if len(trials) < 2:
        raise ModelError(f"fewer than two trials measured everything that {goal!r} depends on.")
    transform, folds = transform_of(posterior, goal), seen.folds()
    errors = []
    for trial in trials:
        blind = folds.without(int(np.searchsorted(folds.numbers, trial.number)))
        data = measured(model, [trial])
        known = {name: data.values[name] for name in parents}
        truth = float(transform.forward(np.array(seen.objective[trial.number])))
        cases = [{}, *({name: known[name]} for name in parents), known]
        errors.append(
            [truth - predicted(blind, goal, data.unit, trial.context, case, seed) for case in cases]
        )
    table = np.array(errors).T  # (case, trial)
    return Attribution(
        np.array([trial.number for trial in trials]),
        table[0],
        dict(zip(parents, table[1:-1], strict=True)),
        table[-1],
    )


def plot_attribution(study: Study | Result, *, ax: Axes | None = None) -> Axes:
    """Draw which node the objective's end-to-end error comes from.

    Every trial is predicted from its configuration alone, by a posterior that has not seen it (as in
    :meth:`boatppl.Study.cross_validate`; it takes some seconds); then again with one node's measurements in
    place of its predictions, one node at a time. A bar is the share of the squared error (on the objective's
    transformed scale) that goes away; below 0 the error grows. The last bar is what remains when everything
    the objective depends on is known: its own formula, and noise. Shares need not add up to 1.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    ax
        Matplotlib axes to draw into; fresh ones by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ModelError
        Where the objective depends on no other node, or fewer than two trials measured all of them.

    Examples
    --------
    >>> ax = boat.plots.plot_attribution(result)  # doctest: +SKIP
    """
    seen = view(study)
    found, goal = attribution(seen), seen.goal.name
    bars = {f"{name} measured": share for name, share in found.shares.items()}
    remains = 1.0 - found.removed(found.last)
    names, widths = [*bars, f"{goal}'s own"], [*bars.values(), remains]
    ax = one(ax, height=1.5 + 0.4 * len(names))
    rows = np.arange(len(names))[::-1]
    ax.barh(rows, widths, color=[BLUE] * len(bars) + [GREY], height=0.62)
    for row, width in zip(rows, widths, strict=True):
        ax.text(max(width, 0) + 0.015, row, percent(width), va="center", fontsize="small", color=ink(ax))
    ax.axvline(0, color=ink(ax), linewidth=0.8)
    ax.set_yticks(rows, names)
    ax.set(
        xlabel="share of the end-to-end squared error",
        xlim=(min(0.0, *widths) - 0.02, max(1.0, *widths) + 0.12),
    )
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    ax.set_title(_size(seen, found), fontsize="small", loc="left")
    quiet(ax)
    return ax


def _size(seen: View, found: Attribution) -> str:
    """Say how large the error is, in words."""
    goal, transform = seen.goal.name, transform_of(seen.posterior(), seen.goal.name)
    typical = float(np.sqrt(np.mean(found.whole**2))) * transform.spread
    if transform.kind == "log":
        return f"{goal} from the configuration alone: typically wrong by a factor {np.exp(typical):.2f}"
    scale = f"{transform.kind}({goal})" if transform.kind else labelled(seen.study.model, goal)
    return f"{scale} from the configuration alone: typically wrong by {typical:.3g}"
