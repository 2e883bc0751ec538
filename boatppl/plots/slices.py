"""Any quantity over one parameter or two, with its uncertainty, through the DAG."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from boatppl.plots.canvas import (
    BLUE,
    COLOURMAP,
    CYCLE,
    FILL,
    GREY,
    ORANGE,
    band,
    handed_on,
    ink,
    legend,
    many,
    one,
    quiet,
    scale,
)
from boatppl.plots.ladder import Ladder, crossed, ladder
from boatppl.plots.view import View, labelled, on_scale, quantiles, quantity, transform_of, view
from boatppl.predict import predictive
from boatppl.result import Result
from boatppl.study import Study
from boatppl.suggest import Improvement, contenders
from boatppl.words import ModelError

BESIDE = 0.07  # how far from a choice's interval its runs stand
NOTHING = 1e-6  # expected improvement, on the transformed scale, that nobody would notice
LINES = 8  # elements of a vector that have a line of their own


# -- one parameter ----------------------------------------------------------------------


def plot_slice(
    study: Study | Result,
    parameter: str,
    node: str | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    noise: bool = False,
    rival: str | None = None,
    count: int = 60,
    ax: Any = None,
    backend: str | None = None,
) -> Any:
    """Draw a node (or derived quantity) over one parameter, everything else held: median and 90 % interval.

    .. image:: /generated/plots/slice.png

    The same draws as :meth:`boatppl.Study.predict`. The dotted line is the value in the held configuration,
    short strokes on the axis are the values that were run (in other configurations), dots are runs of
    exactly these. Values that a constraint forbids are left out. A vector node has a line per element.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    parameter
        The parameter or context that varies.
    node
        What is drawn; the objective by default.
    at
        Values of other parameters; by default the incumbent's.
    noise
        True: what a run would measure. False: the quantity itself.
    rival
        The model that predicts, by its name in ``study.weights``; by default the developer's.
    count
        The most values that are looked at.
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
        For unknown names, a parameter that does not move there, or where nothing was measured.

    Examples
    --------
    >>> ax = boat.plots.plot_slice(result, "young_mb", "gc_rate")  # doctest: +SKIP
    >>> boat.plots.plot_slice(result, "young_mb", at={"tenuring": 15}, ax=ax)  # doctest: +SKIP
    """
    seen = view(study)
    model = seen.study.model if rival is None else seen.posterior(rival).model
    name, held = quantity(model, node, seen.goal), seen.incumbent(at)
    rungs = ladder(model, parameter, held, count)
    points = _points(seen, [rungs], name, held, noise, rival)  # (3, value, *dims)
    lines, names = points.reshape(3, len(rungs.values), -1), _elements(model, name)
    if lines.shape[2] > LINES:
        raise ModelError(
            f"{name!r} has {lines.shape[2]} elements; at most {LINES} fit into one slice. Draw a derived "
            f"quantity of it, such as its largest."
        )
    ax = one(ax, backend)
    for column, (label, colour) in enumerate(zip(names, CYCLE * 2, strict=False)):
        low, middle, high = lines[:, :, column]
        if rungs.choice:
            shift = rungs.places + 0.08 * (column - (len(names) - 1) / 2)
            error = np.abs(np.stack([middle - low, high - middle]))
            ax.errorbar(shift, middle, yerr=error, fmt="o", color=colour, capsize=3, label=label)
        else:
            band(ax, rungs.places, low, middle, high, color=colour, label=label)
    rungs.dress(ax, "x")
    scale(ax, "y", points.ravel(), log=transform_of(seen.posterior(rival), name).kind == "log")
    ax.set(ylabel=labelled(model, name))
    _mark_runs(ax, seen, rungs, name, held)
    quiet(ax)
    legend(ax)
    return handed_on(ax)


def _points(
    seen: View, ladders: list[Ladder], name: str, held: Mapping[str, Any], noise: bool, rival: str | None
) -> np.ndarray:
    """Return the 5, 50 and 95 % points ``(3, configuration, *dims)`` over the ladders' combinations."""
    posterior = seen.posterior(rival)
    unit, contexts, feasible = crossed(posterior.model, ladders, held, seen.context)
    seed = seen.study.random_seed
    points = quantiles(predictive(posterior, unit, contexts, seed, noise=noise, target=name)[name])
    points[:, ~feasible] = np.nan
    return points


def _elements(model: Any, name: str) -> list[str | None]:
    """Return a name for each element of a quantity; one None for a number."""
    dims = model.sources[name].dims
    if not dims:
        return [None]
    return [", ".join(map(str, item)) for item in product(*(model.coords[dim] for dim in dims))]


def _mark_runs(ax: Axes, seen: View, rungs: Ladder, name: str, held: Mapping[str, Any]) -> None:
    """Mark the held value, the values that were run, and the runs that differ from the held in it alone."""
    ran = [trial for trial in seen.trials if trial.measurements]
    here = {**held, **seen.context}.get(rungs.name)
    place = None if here is None else rungs.place(here)
    if place is not None:
        ax.axvline(place, color=GREY, linestyle=":", linewidth=1.2)
    everywhere = [rungs.place({**trial.configuration, **trial.context}[rungs.name]) for trial in ran]
    inside = [x for x in everywhere if x is not None and rungs.places.min() <= x <= rungs.places.max()]
    ax.plot(
        inside, np.full(len(inside), 0.012), "|", color=ink(ax), markersize=8, alpha=0.6,
        transform=ax.get_xaxis_transform(),
    )  # fmt: skip
    alike = [
        (place, trial.measurements.get(name, seen.objective.get(trial.number)))
        for place, trial in zip(everywhere, ran, strict=True)
        if all(trial.configuration[key] == held[key] for key in held if key != rungs.name)
        and (name in trial.measurements or name == seen.goal.name)
    ]
    measured = [(x, y) for x, y in alike if x is not None and isinstance(y, float)]
    if measured:
        x, y = np.array(measured).T
        ax.plot(x + BESIDE * rungs.choice, y, "o", color=ORANGE, markersize=5, label="measured here")


# -- two parameters ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Field:
    """Numbers over two ladders: ``values (y value, x value)``."""

    x: Ladder
    y: Ladder
    values: np.ndarray
    label: str
    log: bool


def plot_map(
    study: Study | Result,
    x: str,
    y: str,
    node: str | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    noise: bool = False,
    rival: str | None = None,
    count: int = 24,
    axes: Any = None,
    backend: str | None = None,
) -> np.ndarray:
    """Draw a node over two parameters: its median on the left, how unsure that is on the right.

    .. image:: /generated/plots/map.png

    The right panel shows the width of the 90 % interval: as a ratio of its ends for nodes on a log scale,
    otherwise as a difference in the node's unit. Dots are the runs (wherever their other parameters were),
    the star is the held configuration; what a constraint forbids stays blank.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    x, y
        The two parameters or contexts that vary.
    node
        What is drawn; the objective by default.
    at, noise, rival
        As in :func:`plot_slice`.
    count
        The most values of each that are looked at.
    axes
        Two plots to draw into.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the targets', else ArviZ's.

    Returns
    -------
    numpy.ndarray
        The two plots ``(2,)``.

    Raises
    ------
    ModelError
        For unknown names, twice the same parameter, a vector node, or where nothing was measured.

    Examples
    --------
    >>> axes = boat.plots.plot_map(result, "young_mb", "survivor_ratio", "full_rate")  # doctest: +SKIP
    """
    seen = view(study)
    model = seen.posterior(rival).model
    name, held = quantity(model, node, seen.goal), seen.incumbent(at)
    if model.sources[name].dims:
        raise ModelError(f"{name!r} is a vector along {model.sources[name].dims}; a map needs one number.")
    rungs = _two(model, x, y, held, count)
    low, middle, high = _points(seen, rungs, name, held, noise, rival)
    log = transform_of(seen.posterior(rival), name).kind == "log"
    unit = model.unit_of(name)
    with np.errstate(all="ignore"):
        width = high / low if log else high - low
    unsure = f"{name}: 90 % interval, " + ("high / low" if log else f"width{f' [{unit}]' if unit else ''}")
    shape = (len(rungs[0].values), len(rungs[1].values))
    fields = [
        _Field(rungs[1], rungs[0], middle.reshape(shape), f"median of {labelled(model, name)}", log),
        _Field(rungs[1], rungs[0], width.reshape(shape), unsure, log),
    ]
    targets = many(axes, backend, 2, width=4.4, height=3.6)
    for ax, found, colours in zip(targets, fields, (COLOURMAP, "magma"), strict=True):
        _draw_field(ax, found, colours)
        _mark_plane(ax, seen, found, held)
    return handed_on(targets)


def _two(model: Any, x: str, y: str, held: Mapping[str, Any], count: int) -> list[Ladder]:
    if x == y:
        raise ModelError(f"x and y are both {x!r}; a map needs two different parameters.")
    return [ladder(model, y, held, count), ladder(model, x, held, count)]


def _draw_field(ax: Axes, found: _Field, colours: str) -> None:
    options: dict[str, Any] = {"cmap": colours, "shading": "flat", "rasterized": True}
    finite = found.values[np.isfinite(found.values)]
    if found.log and len(finite) and finite.min() > 0 and finite.max() > 3 * finite.min():
        options["norm"] = "log"
    drawn = ax.pcolormesh(found.x.edges, found.y.edges, found.values, **options)
    found.x.dress(ax, "x")
    found.y.dress(ax, "y")
    bar = ax.figure.colorbar(drawn, ax=ax)
    bar.set_label(found.label, color=ink(ax))
    if "norm" in options:
        scale(bar.ax, "y", finite)
    else:
        bar.ax.ticklabel_format(scilimits=(-2, 4))
    ax.grid(False)


def _mark_plane(ax: Axes, seen: View, found: _Field, held: Mapping[str, Any]) -> None:
    limits = ax.get_xlim(), ax.get_ylim()
    places = []
    for trial in seen.trials:
        row = {**trial.configuration, **trial.context}
        places.append((found.x.place(row[found.x.name]), found.y.place(row[found.y.name])))
    known = np.array([place for place in places if None not in place], float)
    if len(known):
        ax.plot(*known.T, "o", color="white", markeredgecolor="black", markersize=4.5)
    here = {**held, **seen.context}
    star = found.x.place(here[found.x.name]), found.y.place(here[found.y.name])
    ax.plot(*np.array([star], float).T, "*", color=ORANGE, markeredgecolor="black", markersize=13)
    ax.set(xlim=limits[0], ylim=limits[1])


# -- the acquisition --------------------------------------------------------------------


def expected_improvement(
    seen: View, unit: np.ndarray, contexts: Mapping[str, Any], rival: str | None = None
) -> np.ndarray:
    """Return the expected improvement ``(configuration,)`` on the objective's transformed scale.

    As the study's next suggestion would have it: over each draw's own incumbent, pending trials respected,
    less where runs are expected to fail or to break a limit.
    """
    study, posterior = seen.study, seen.posterior(rival)
    seed, space = study.random_seed, seen.space
    run = space.encode([trial.configuration for trial in seen.known.eligible])
    pending = space.encode([trial.configuration for trial in study.trials.running]).reshape(
        -1, space.dimension
    )
    luck = posterior.luck([seed, 1])
    known = contenders(posterior, seen.goal, run, luck, dict(seen.context))
    score = Improvement(posterior, seen.goal, known, pending, seed, contexts)(unit)
    feasible = study.policy.feasible(seen.known, contexts)
    return np.exp(score if feasible is None else score + feasible(unit))


def plot_acquisition(
    study: Study | Result,
    x: str,
    y: str | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    rival: str | None = None,
    count: int = 40,
    ax: Any = None,
    backend: str | None = None,
) -> Any:
    """Draw where the next run is expected to gain most: expected improvement over one or two parameters.

    .. image:: /generated/plots/acquisition.png
    .. image:: /generated/plots/acquisition_map.png

    The other parameters are held at the incumbent's values, so the study's own suggestion, which moves all
    of them, may gain more. The improvement is on the objective's transformed scale: of ``log(p99)``, 0.1
    is about 10 %. Dots are the runs, the star is the held configuration.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    x, y
        The parameter that varies, or two for a map.
    at, rival, count
        As in :func:`plot_slice`.
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
        For unknown names, or where nothing was measured.

    Examples
    --------
    >>> ax = boat.plots.plot_acquisition(study, "young_mb", "survivor_ratio")  # doctest: +SKIP
    """
    seen = view(study)
    posterior = seen.posterior(rival)
    model, held = posterior.model, seen.incumbent(at)
    rungs = _two(model, x, y, held, count) if y is not None else [ladder(model, x, held, count)]
    for item in rungs:
        if item.unit is None:
            raise ModelError(f"{item.name!r} is a context: the tuner does not choose it.")
    unit, contexts, feasible = crossed(model, rungs, held, seen.context)
    gain = np.where(feasible, expected_improvement(seen, unit, contexts, rival), np.nan)
    label = f"expected improvement,\n{on_scale(posterior, seen.goal.name)}"
    ax = one(ax, backend, width=5.2 if y is not None else 6.4)
    if not np.nanmax(gain) > NOTHING:
        ax.set_title("nothing left to gain here", fontsize="small")
    if y is not None:
        shape = (len(rungs[0].values), len(rungs[1].values))
        found = _Field(rungs[1], rungs[0], gain.reshape(shape), label, log=False)
        _draw_field(ax, found, COLOURMAP)
        _mark_plane(ax, seen, found, held)
        return handed_on(ax)
    places = rungs[0].places
    if rungs[0].choice:
        ax.bar(places, gain, color=BLUE, width=0.6)
    else:
        ax.fill_between(places, 0, gain, color=BLUE, alpha=FILL, linewidth=0)
        ax.plot(places, gain, color=BLUE, linewidth=1.8)
    rungs[0].dress(ax, "x")
    ax.set(ylabel=label, ylim=(0, None))
    ax.ticklabel_format(axis="y", scilimits=(-2, 4))
    _mark_runs(ax, seen, rungs[0], "", held)
    quiet(ax)
    return handed_on(ax)
