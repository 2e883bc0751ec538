"""Where the end-to-end error comes from, node by node along the DAG."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from boatppl.diagnose.attribution import attribution
from boatppl.diagnose.diagnose import CHAINS
from boatppl.plots.canvas import BLUE, GREY, handed_on, ink, one, percent, quiet
from boatppl.plots.view import View, view
from boatppl.propagate import needed
from boatppl.result import Result
from boatppl.study import Study
from boatppl.table import measured
from boatppl.words import ModelError


def error_shares(seen: View) -> dict[str, float]:
    """Return what :attr:`boatppl.diagnose.Diagnosis.attribution` says: node -> share of the squared error.

    Raises
    ------
    ModelError
        Where the objective depends on no other node, or there are fewer than three runs.
    """
    study, known, goal = seen.study, seen.known, seen.goal
    model = seen.posterior().model
    if not any(name in model.nodes and name != goal.name for name in needed(model, goal.name)):
        raise ModelError(f"{goal.name!r} depends on no other node: all of its error is its own.")
    if len(known.objective) < 3:
        raise ModelError(f"too few runs measured {goal.name!r}: each is predicted from the others.")
    data = measured(study.model, known.trials)
    posterior = study.rivals.inference[study.rivals.first].posterior(data, CHAINS)
    return attribution(posterior, goal, data, known.objective, study.random_seed)


def plot_attribution(study: Study | Result, *, ax: Any = None, backend: str | None = None) -> Any:
    """Draw which node the objective's end-to-end error comes from.

    .. image:: /generated/plots/attribution.png

    Every run is predicted from its configuration alone, by a posterior that has not seen it; then again with
    one node's measurements in place of its predictions, one node at a time. A bar is the share of the
    squared error (on the objective's transformed scale) that goes away. The grey bar is what remains when
    everything the objective depends on is known: its own formula, and noise. Shares need not add up to 1.
    The numbers are those of ``study.diagnose().attribution``.

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
        Where the objective depends on no other node, or fewer than three runs measured it.

    Examples
    --------
    >>> ax = boat.plots.plot_attribution(result)  # doctest: +SKIP
    """
    seen = view(study)
    shares = error_shares(seen)
    ax = draw(one(ax, backend, height=1.3 + 0.4 * len(shares)), shares, seen.goal.name)
    return handed_on(ax)


def draw(ax: Axes, shares: Mapping[str, float], goal: str) -> Axes:
    """Draw the share of the squared error of ``goal`` that goes away with each node's measurements."""
    names = [f"{goal}'s own" if name == goal else f"{name} measured" for name in shares]
    rows, widths = np.arange(len(names))[::-1], list(shares.values())
    ax.barh(rows, widths, color=[GREY if name == goal else BLUE for name in shares], height=0.62)
    for row, width in zip(rows, widths, strict=True):
        ax.text(width + 0.015, row, percent(width), va="center", fontsize="small", color=ink(ax))
    ax.set_yticks(rows, names)
    ax.set(xlabel=f"share of the squared error of {goal}", xlim=(0, 1.12))
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    quiet(ax)
    return ax
