"""Where pictures are drawn, and how: targets, colours that stand on light and on dark, scales, legends."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from boatppl.words import ModelError

# Between black and white, so that each is seen on a light and on a dark background; what must be the
# background's opposite (text, the diagonal) takes the colour of the target's own labels: see ``ink``.
BLUE, ORANGE, GREEN = "#4a8fd6", "#d98032", "#35a07a"
RED, PURPLE, GREY = "#d4586a", "#9b7bcb", "#8a8f98"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
COLOURMAP = "viridis"  # of maps, which have no background
# Of lines: from good to bad, no end of it lost on black or on white.
LINES = LinearSegmentedColormap.from_list("boat", ["#2f80d8", "#b06bb5", "#e58a35"])
WIDE = 3.0  # times the smallest that the largest is, where a logarithmic axis starts to help
COLUMNS = 3  # of panels
FILL = 0.28  # how opaque an interval is


def ink(ax: Axes) -> Any:
    """Return the colour of an axes' own labels."""
    return ax.xaxis.label.get_color()


def one(ax: Axes | None, width: float = 6.4, height: float = 4.0) -> Axes:
    """Return the target, or fresh axes of a size in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def many(axes: Any, count: int, width: float = 3.4, height: float = 3.0) -> np.ndarray:
    """Return ``count`` axes: the first of the target's, or fresh ones on a grid, each of a size in inches."""
    if axes is not None:
        given = np.ravel(np.asarray(axes, object))
        if len(given) < count:
            raise ModelError(f"axes= has {len(given)} axes; expected {count}, one for each panel.")
        return given[:count]
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False
    )
    for unused in grid.ravel()[count:]:
        figure.delaxes(unused)
    return grid.ravel()[:count]


def scale(ax: Axes, which: str, values: Iterable[float], *, log: bool = True) -> None:
    """Make an axis (``"x"`` or ``"y"``) logarithmic where ``log`` allows it and it helps, with plain
    numbers."""
    finite = np.asarray(list(values), float)
    finite = finite[np.isfinite(finite)]
    if not log or not len(finite) or finite.min() <= 0 or finite.max() < WIDE * finite.min():
        return
    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    ratio = finite.max() / finite.min()
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if ratio < 10 else (1.0, 2.0, 5.0) if ratio < 300 else (1.0,)
    axis.set_major_locator(ticker.LogLocator(subs=subs))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def whole_numbers(ax: Axes) -> None:
    """Have whole numbers on the horizontal axis."""
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))


def band(
    ax: Axes, x: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray, **style: Any
) -> None:
    """Draw a line with its interval around it, all ``(place,)``."""
    colour, label = style.pop("color", BLUE), style.pop("label", None)
    ax.fill_between(x, low, high, color=colour, alpha=FILL, linewidth=0, **style)
    ax.plot(x, middle, color=colour, linewidth=1.8, label=label, **style)


def legend(ax: Axes, **options: Any) -> None:
    """Draw a legend where there is something to say, in the target's own colour."""
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        kept = {"frameon": False, "fontsize": "small", "labelcolor": ink(ax)} | options
        ax.legend(handles, labels, **kept)


def quiet(ax: Axes) -> None:
    """Take away the frame's upper and right sides, and grid lines."""
    ax.grid(False)
    ax.spines[["top", "right"]].set_visible(False)


def percent(share: float) -> str:
    """Return a share as ``18 %``.

    >>> percent(0.176), percent(0.002)
    ('18 %', '0 %')
    """
    return f"{100 * share:.0f} %"
