"""The DAG with the values of one configuration flowing through it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from boatppl.draw import COLOURS, INK
from boatppl.picture import DOTS, GREY, HEAD, LINE, Box, Layout, layout
from boatppl.plots.canvas import RED, handed_on, one, percent
from boatppl.plots.residuals import residual_shares
from boatppl.plots.view import View, quantiles, view
from boatppl.predict import predictive
from boatppl.result import Result
from boatppl.study import Study
from boatppl.text import interval, shown
from boatppl.trial import Trial
from boatppl.words import ModelError

POINTS_PER_PIXEL = 0.8  # of a fresh figure: its text is as large as that of other pictures
ALARM = "#b3261e"  # of text on a box: darker than RED, to be read on its fill
TEXT = 0.93  # of the layout's pixels: Matplotlib's own font is wider than the one it was made for
FEW = 4  # elements of a vector that are written out


def plot_dag(
    study: Study | Result,
    configuration: Trial | int | Mapping[str, Any] | None = None,
    *,
    ax: Any = None,
    backend: str | None = None,
) -> Any:
    """Draw the model with one configuration's values flowing through it, in their units.

    .. image:: /generated/plots/dag.png

    Every node and derived quantity shows the median and 90 % interval of what a run would measure, by the
    posterior. For a trial the measured value stands below; it is red where it lies outside that interval:
    the first red node from the left is where to look. The last line is the share of the node's variance that
    its residual explains, of all runs. Solid arrows are wires, dotted ones inputs of a residual only.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    configuration
        A configuration, a trial or the number of one; by default the incumbent.
    ax
        A plot to draw into; a fresh one of a fitting size by default.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the target's, else ArviZ's.

    Returns
    -------
    matplotlib.axes.Axes, or what the backend calls a plot

    Raises
    ------
    ModelError
        For a number that no trial has, or where nothing was measured.
    ValueError
        For a configuration that the space does not have.

    Examples
    --------
    >>> ax = boat.plots.plot_dag(result)  # doctest: +SKIP
    >>> ax = boat.plots.plot_dag(result, 7)  # trial 7, predicted and measured  # doctest: +SKIP
    """
    seen = view(study)
    trial = _trial(seen, configuration)
    chosen = trial.configuration if trial is not None else seen.incumbent(configuration)  # type: ignore[arg-type]
    context = trial.context if trial is not None else seen.context
    lines, odd = _lines(seen, chosen, context, trial)
    places = layout(seen.study.model, lines)
    scale = POINTS_PER_PIXEL / 72
    ax = one(ax, backend, width=places.right * scale, height=places.below * scale)
    ax.set(xlim=(0, places.right), ylim=(places.below, 0), aspect="equal")
    ax.axis("off")
    _draw(ax, seen, places, odd)
    return handed_on(ax)


def _trial(seen: View, asked: Any) -> Trial | None:
    if isinstance(asked, Trial) or asked is None:
        return asked
    if isinstance(asked, int | np.integer) and not isinstance(asked, bool):
        try:
            return seen.study.trials[int(asked)]
        except IndexError as error:
            raise ModelError(str(error)) from None
    if not isinstance(asked, Mapping):
        raise ModelError(f"expected a configuration (a dict), a trial or its number; got {asked!r}.")
    return None


def _lines(
    seen: View, configuration: Mapping[str, Any], context: Mapping[str, Any], trial: Trial | None
) -> tuple[dict[str, list[str]], set[str]]:
    """Return what stands below each name, and the nodes that measured outside their interval."""
    posterior = seen.posterior()
    model, unit = posterior.model, seen.space.encode([configuration])
    draws = predictive(posterior, unit, context, seen.study.random_seed, noise=True)
    shares = residual_shares(seen)
    lines: dict[str, list[str]] = {}
    odd: set[str] = set()
    for name, source in model.sources.items():
        end = f" {model.unit_of(name)}" if model.unit_of(name) else ""
        if name in configuration or name in context:
            lines[name] = [f"{shown({**configuration, **context}[name])}{end}"]
        elif name in draws:
            points = quantiles(draws[name][:, 0])
            lines[name] = _predicted(points, end)
            value = trial.measurements.get(name) if trial is not None else None
            if value is not None:
                lines[name].append(f"measured {_value(np.asarray(value))}{end}")
                if np.any((points[0] > value) | (value > points[2])):
                    odd.add(name)
            if name in shares:
                lines[name].append(f"residual {percent(shares[name].residual)}")
        else:
            lines[name] = [source.kind]
    return lines, odd


def _predicted(points: np.ndarray, end: str) -> list[str]:
    low, middle, high = points
    if middle.ndim:
        return [f"{_value(middle)}{end}"]
    if np.isclose(low, high, rtol=1e-9):
        return [f"{shown(float(middle), 3)}{end}"]
    return [f"{shown(float(middle), 3)} [{interval(low, high)}]{end}"]


def _value(value: np.ndarray) -> str:
    if value.ndim == 0:
        return shown(float(value), 3)
    items = [shown(float(item), 2) for item in value.ravel()[:FEW]]
    return f"[{' '.join(items)}{' …' if value.size > FEW else ''}]"


def _draw(ax: Axes, seen: View, places: Layout, odd: set[str]) -> None:
    """Draw arrows and boxes, text as large as the boxes are for the target's size now."""
    figure: Any = ax.get_figure(root=True)
    figure.draw_without_rendering()  # the target's size is known after its layout
    pixels = ax.transData.transform([(0, 0), (0, 1)])
    size = TEXT * 11 * abs(pixels[1, 1] - pixels[0, 1]) * 72 / figure.dpi
    for arrow, path in places.paths.items():
        _arrow(ax, [places.boxes[name] for name in path], solid=places.solid[arrow])
    for name, source in seen.study.model.sources.items():
        box = places.boxes[name]
        fill, line = COLOURS[source.kind]
        edge, width = (RED, 2.2) if name in odd else (line, 1.6 if source.kind == "node" else 0.9)
        top = box.y - box.height / 2
        rounded = f"round,pad=0,rounding_size={box.height / 2 if source.kind == 'derived' else 6}"
        patch = FancyBboxPatch(
            (box.x, top),
            box.width,
            box.height,
            boxstyle=rounded,
            facecolor=fill,
            edgecolor=edge,
            linewidth=width,
        )
        ax.add_patch(patch)
        for number, text in enumerate(box.lines):
            colour = ALARM if name in odd and text.startswith("measured") else INK
            ax.text(
                box.x + box.width / 2, top + 13 + LINE * number, text, ha="center", va="center",
                fontsize=size, color=colour, fontweight="bold" if number == 0 else "normal",
            )  # fmt: skip


def _arrow(ax: Axes, path: list[Box], *, solid: bool) -> None:
    """Draw a smooth line through the places of a path, level across each column, with a head at its end."""
    start, *bends, end = path
    x, y = start.x + start.width, start.y
    points, codes = [(x, y)], [Path.MOVETO]
    for place in [*bends, end]:
        stop = place.x - (HEAD if place is end else 0)
        middle = (x + stop) / 2
        points += [(middle, y), (middle, place.y), (stop, place.y)]
        codes += [Path.CURVE4] * 3
        x, y = place.x + place.width, place.y
        if place is not end:
            points.append((x, y))
            codes.append(Path.LINETO)
    style = "solid" if solid else (0, tuple(map(int, DOTS.split())))
    ax.add_patch(PathPatch(Path(points, codes), fill=False, edgecolor=GREY, linewidth=1.0, linestyle=style))
    tip, half = end.x - 1, HEAD / 2
    ax.add_patch(
        Polygon([(tip - HEAD, y - half), (tip, y), (tip - HEAD, y + half)], facecolor=GREY, linewidth=0)
    )
