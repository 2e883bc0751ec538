"""What was predicted against what was measured, honestly: never by a model that had seen the measurement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from boatppl.compile.density import DEGREES_OF_FREEDOM
from boatppl.leave_one_out import LeftOut
from boatppl.plots.canvas import BLUE, GREY, RED, handed_on, many, quiet, scale
from boatppl.plots.view import INTERVAL, View, quantity, transform_of, view
from boatppl.propagate import NodeDraws
from boatppl.result import Result
from boatppl.study import Study
from boatppl.validate.folds import Folds
from boatppl.words import ModelError

POINTS = ("low", "median", "high")  # of a logged prediction
BEFORE = "before each run"
LEFT_OUT = "leave one out, given its inputs"
REPLICATES = 2000  # of each measurement, from which an interval is read


@dataclass(frozen=True, eq=False)
class Predicted:
    """One quantity's ``measured (row,)`` values, its ``points (3, row)`` (5, 50 and 95 %) as predicted, and
    the number ``trials (row,)`` of each, in its unit; ``how`` they were predicted, in words."""

    name: str
    how: str
    trials: np.ndarray
    measured: np.ndarray
    points: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Which measurements ``(row,)`` are within their 90 % interval."""
        return (self.points[0] <= self.measured) & (self.measured <= self.points[2])


def logged(seen: View) -> Predicted:
    """Return the objective as it was predicted, end to end, before each suggested run; as logged then."""
    rows = []
    for trial in seen.study.trials.finished:
        said = (trial.suggestion or {}).get("predicted")
        if trial.number in seen.objective and isinstance(said, dict) and set(said) >= set(POINTS):
            rows.append((trial.number, seen.objective[trial.number], *(said[point] for point in POINTS)))
    table = np.array(rows, float).reshape(-1, 5)
    return Predicted(seen.goal.name, BEFORE, table[:, 0].astype(int), table[:, 1], table[:, 2:].T)


def left_out(folds: Folds, name: str, seed: int) -> Predicted:
    """Return a node's measurements as the other trials predict them, given its parents as they were
    measured: the predictive distributions of :meth:`boatppl.Study.cross_validate`."""
    node, own = folds.every.nodes[name], folds.of(name)
    table, rng = node.table, np.random.default_rng([seed, 71])
    points = np.empty((len(INTERVAL), len(table)))
    for row, number in enumerate(table.trials):
        place = int(np.searchsorted(folds.numbers, number))
        left, share = own.left[name], np.exp(own.log_weights[:, place])
        if place in own.refits:
            left = folds.anew(name, place)
            share = np.full(len(left.error), 1.0 / len(left.error))
        points[:, row] = np.quantile(_replicates(node, left, row, share, rng), INTERVAL)
    return Predicted(name, LEFT_OUT, table.trials, table.natural, table.transform.inverse(points))


def _replicates(
    node: NodeDraws, left: LeftOut, row: int, share: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return measurements ``(replicate,)`` of one row on the transformed scale, its trial left out."""
    draws = rng.choice(len(share), size=REPLICATES, p=share / share.sum())
    normals, scales = rng.normal(size=(2, REPLICATES)), np.ones(REPLICATES)
    if node.graph.node.robust:
        scales = rng.chisquare(DEGREES_OF_FREEDOM, REPLICATES) / DEGREES_OF_FREEDOM
    centre = node.table.y[row] - left.error[draws, row]
    smooth, noise = np.sqrt(left.smooth[draws, row]), left.noise[draws, row] / np.sqrt(scales)
    return centre + smooth * normals[0] + noise * normals[1]


def predicted(seen: View, names: Sequence[str]) -> list[Predicted]:
    """Return how quantities were predicted: the log's predictions of the objective, else leave-one-out."""
    found, folds = [], None
    for name in names:
        said = logged(seen) if name == seen.goal.name else None
        if said is not None and len(said.trials) >= 2:
            found.append(said)
            continue
        if name in seen.study.model.derived:
            raise ModelError(
                f"{name!r} is derived and has no measurements of its own to compare with; before a run only "
                f"the objective of suggested trials is predicted."
            )
        folds = folds or seen.folds()
        if not len(folds.every.nodes[name].table):
            raise ModelError(f"{name!r} was never measured together with what it depends on.")
        found.append(left_out(folds, name, seen.study.random_seed))
    return found


def plot_predicted_measured(
    study: Study | Result,
    nodes: str | Sequence[str] | None = None,
    *,
    axes: Any = None,
    backend: str | None = None,
) -> np.ndarray:
    """Draw, for each node, what was predicted over what was measured: with 90 % intervals, in its unit.

    .. image:: /generated/plots/predicted_measured.png

    The objective's predictions are those that were logged before each suggested run (end to end, from the
    configuration alone). Every other node is predicted from its measured inputs by the other trials
    (leave-one-out, as :meth:`boatppl.Study.cross_validate` does; it takes some seconds); so is the objective
    where fewer than two runs were suggested. Intervals that miss are red; the title counts the others. Dots
    on the diagonal are right.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    nodes
        One name or several; every node by default.
    axes
        Plots to draw into, one for each node.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the targets', else ArviZ's.

    Returns
    -------
    numpy.ndarray
        The plots ``(node,)``.

    Raises
    ------
    ModelError
        For an unknown node, or where nothing was measured.

    Examples
    --------
    >>> axes = boat.plots.plot_predicted_measured(result, ["gc_rate", "p99"])  # doctest: +SKIP
    """
    seen = view(study)
    model, nodes_of = seen.study.model, seen.posterior().nodes
    own = [name for name in model.nodes if len(nodes_of[name].table)]
    asked = [nodes] if isinstance(nodes, str) else list(nodes) if nodes is not None else own
    found = predicted(seen, [quantity(model, name, seen.goal) for name in asked])
    targets = many(axes, backend, len(found))
    for item, ax in zip(found, targets, strict=True):
        log = transform_of(seen.posterior(), item.name).kind == "log"
        draw(ax, item, model.unit_of(item.name), log=log)
    return handed_on(targets)


def draw(ax: Axes, found: Predicted, unit: str = "", *, log: bool = False) -> None:
    """Draw one quantity's predictions over its measurements."""
    low, middle, high = found.points
    bracket = f" [{unit}]" if unit else ""
    for chosen, colour in ((found.inside, BLUE), (~found.inside, RED)):
        error = np.abs(np.stack([middle - low, high - middle]))[:, chosen]
        ax.errorbar(
            found.measured[chosen], middle[chosen], yerr=error, fmt="o", color=colour, markersize=4.5,
            elinewidth=1.2, alpha=0.85,
        )  # fmt: skip
    everything = np.concatenate([found.measured, low, high])
    everything = everything[np.isfinite(everything)]
    scale(ax, "x", everything, log=log)
    scale(ax, "y", everything, log=log)
    if len(everything):
        ends = [everything.min(), everything.max()]
        ax.plot(ends, ends, color=GREY, linewidth=1.0, linestyle="--", zorder=0)
    ax.set(xlabel=f"measured{bracket}", ylabel=f"predicted{bracket}")
    inside, total = int(found.inside.sum()), len(found.measured)
    ax.set_title(f"{found.name}: {inside} of {total} in their 90 %\n({found.how})", fontsize="small")
    quiet(ax)
