"""What the formulas leave to the residuals: how much, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from boatppl.explain import Variance, variance_shares
from boatppl.graph import DAG
from boatppl.plots.canvas import BLUE, GREY, ORANGE, handed_on, legend, many, one, percent, quiet, scale
from boatppl.plots.ladder import Ladder, ladder
from boatppl.plots.view import View, labelled, measured_node, on_scale, quantiles, view, with_formula
from boatppl.propagate import needed
from boatppl.result import Result
from boatppl.result.html import COLOURS
from boatppl.space import Vector
from boatppl.study import Study
from boatppl.words import ModelError, listed

INSIDE = 0.07  # the least share that has its number written in it


# -- how much ---------------------------------------------------------------------------


def residual_shares(seen: View) -> dict[str, Variance]:
    """Return the shares of each node's variance, for nodes with a formula (see :mod:`boatppl.explain`)."""
    nodes = seen.posterior().nodes
    found = {name: variance_shares(nodes[name]) for name in with_formula(seen.study.model)}
    return {name: share for name, share in found.items() if share is not None}


def plot_residual_share(study: Study | Result, *, ax: Any = None, backend: str | None = None) -> Any:
    """Draw, for each node, which share of its measured variance its formula, residual and noise explain.

    .. image:: /generated/plots/residual_share.png

    A large residual share says that the formula misses something: look where with
    :func:`plot_residual_along`. Shares are on the node's transformed scale and add up to 1. Nodes with fewer
    than three measurements are left out.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    ax
        A plot to draw into; a fresh one by default.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the target's, else ArviZ's.

    Returns
    -------
    matplotlib.axes.Axes, or what the backend calls a plot

    Raises
    ------
    ModelError
        Where no node has three measurements that differ.

    Examples
    --------
    >>> ax = boat.plots.plot_residual_share(result)  # doctest: +SKIP
    """
    seen = view(study)
    shares = residual_shares(seen)
    if not shares:
        raise ModelError("no node has three measurements that differ yet: run more trials.")
    ax = one(ax, backend, height=1.3 + 0.4 * len(shares))
    rows = np.arange(len(shares))[::-1]
    left = np.zeros(len(shares))
    for part, colour in COLOURS.items():
        width = np.array([getattr(share, part) for share in shares.values()])
        ax.barh(rows, width, left=left, color=colour, height=0.62, label=part)
        for row, start, size in zip(rows, left, width, strict=True):
            if size >= INSIDE:
                ax.text(
                    start + size / 2,
                    row,
                    percent(size),
                    ha="center",
                    va="center",
                    color="white",
                    fontsize="small",
                )
        left = left + width
    ax.set_yticks(rows, list(shares))
    ax.set(xlim=(0, 1), xlabel="share of the measured variance")
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    quiet(ax)
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return handed_on(ax)


# -- where ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Along:
    """What a node's formula left over, on its transformed scale: ``points (3, row)`` (5, 50 and 95 % over
    draws of the formula) of ``T(y) - T(f)``, the number ``trials (row,)`` of each, and whether that is a
    ratio (a log scale), in words."""

    name: str
    trials: np.ndarray
    points: np.ndarray
    ratio: bool


def residual_along(seen: View, name: str) -> Along:
    """Return what the measurements of a node differ from its formula by, row by row."""
    node = seen.posterior().nodes[measured_node(seen.study.model, name)]
    table = node.table
    if not len(table):
        raise ModelError(f"{name!r} was never measured together with what it depends on.")
    wires = {key: value[None] for key, value in table.wires.items()}
    mean, _ = node.graph.evaluator(node.variables, wires, table.rows.elements, len(table))
    left = quantiles(table.y - np.broadcast_to(mean, (seen.posterior().draws, len(table))))
    ratio = table.transform.kind == "log" and table.transform.spread == 1.0
    return Along(name, table.trials, np.exp(left) if ratio else left, ratio)


def plot_residual_along(
    study: Study | Result,
    node: str,
    parameters: str | Sequence[str] | None = None,
    *,
    axes: Any = None,
    backend: str | None = None,
) -> np.ndarray:
    """Draw what a node's formula left over along each parameter: a trend says what the formula lacks.

    .. image:: /generated/plots/residual_along.png

    Each dot is a measurement: divided by the formula for a node on the log scale, otherwise minus the
    formula (on the node's transformed scale, if it has one); strokes are 90 % intervals over the draws of
    the formula's unknowns, which move many dots together. Each panel says how the parameter reaches the
    node; a trend along one that the node does not use is a missing edge.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    node
        The node.
    parameters
        Parameters or contexts; by default all that move.
    axes
        Plots to draw into, one for each parameter.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the targets', else ArviZ's.

    Returns
    -------
    numpy.ndarray
        The plots ``(parameter,)``.

    Raises
    ------
    ModelError
        For unknown names, or a node that was never measured.

    Examples
    --------
    >>> axes = boat.plots.plot_residual_along(result, "full_rate", ["young_mb", "tenuring"])  # doctest: +SKIP
    """
    seen = view(study)
    space, model = seen.space, seen.study.model
    found = residual_along(seen, node)
    moving = [n for n in space.slices if not isinstance(space.parameters[n], Vector)]
    asked = [parameters] if isinstance(parameters, str) else parameters
    names = list(asked) if asked is not None else [*moving, *space.contexts]
    by_number = {trial.number: trial for trial in seen.trials}
    targets = many(axes, backend, len(names))
    for name, ax in zip(names, targets, strict=True):
        active = [t for t in found.trials if _active(seen, by_number[t].configuration, name)]
        if not active:
            raise ModelError(f"{name!r} did nothing in any of the runs that measured {node!r}.")
        rungs = ladder(model, name, by_number[active[0]].configuration, 60)
        rows = [{**by_number[t].configuration, **by_number[t].context} for t in found.trials]
        kept = np.isin(found.trials, active)
        places = np.array([rungs.place(row[name]) for row, k in zip(rows, kept, strict=True) if k], float)
        _draw_along(ax, found, rungs, places, found.points[:, kept])
        ax.set_title(_relation(model, node, name), fontsize="small")
    for ax in targets:
        ax.set(ylabel=_left_label(seen, found))
    return handed_on(targets)


def _relation(model: DAG, node: str, name: str) -> str:
    """Say how a parameter reaches a node: by itself, through parents that are measured, or not at all."""
    own = model.origins([*model.parents(node), *model.inputs_of(node)])
    if name in own:
        return name
    through = [parent for parent in own if parent in model.nodes and name in _upstream(model, parent)]
    return f"{name} (through {listed(through)})" if through else f"{name}: not used by {node}"


def _upstream(model: DAG, node: str) -> set[str]:
    parts = needed(model, node)
    return {name for part in parts for name in (*model.parents(part), *model.inputs_of(part))}


def _active(seen: View, configuration: Any, name: str) -> bool:
    space = seen.space
    return name not in space.parameters or bool(space.active(space.encode([configuration]), name)[0])


def _left_label(seen: View, found: Along) -> str:
    if found.ratio:
        return f"{found.name}, measured / formula"
    unit = seen.study.model.unit_of(found.name)
    kind = on_scale(seen.posterior(), found.name)
    if kind != found.name:
        return f"{kind}, measured − formula"
    return f"{labelled(seen.study.model, found.name) if unit else found.name}, measured − formula"


def _draw_along(ax: Axes, found: Along, rungs: Ladder, places: np.ndarray, points: np.ndarray) -> None:
    low, middle, high = points
    ax.axhline(1.0 if found.ratio else 0.0, color=GREY, linestyle="--", linewidth=1.0, zorder=0)
    error = np.stack([middle - low, high - middle])
    ax.errorbar(places, middle, yerr=error, fmt="none", ecolor=BLUE, elinewidth=1.0, alpha=0.5)
    ax.plot(places, middle, "o", color=ORANGE, markersize=4.5)
    rungs.dress(ax, "x")
    scale(ax, "y", points.ravel(), log=found.ratio)
    quiet(ax)
