"""Where pictures are drawn, and how: targets, colours that stand on light and on dark, scales, legends."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from boatppl.plots.backend import Backend, chosen, opened, transcribe
from boatppl.words import ModelError, listed

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
DOTS = 100  # an inch, where a backend counts in dots
FILL = 0.28  # how opaque an interval is


def ink(ax: Axes) -> Any:
    """Return the colour of an axes' own labels."""
    return ax.xaxis.label.get_color()


class Sheet(Figure):
    """A figure that nobody sees: what is drawn on its panels goes to targets of another backend.

    ``backend`` is that one; ``given`` are its targets, one for each panel, or None for a fresh grid of them.
    """

    def __init__(self, backend: Backend, given: list[Any] | None, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=DOTS, layout="constrained")
        self.backend, self.given = backend, given

    def hand_on(self, panels: np.ndarray) -> np.ndarray:
        """Draw what stands on panels into their targets, and return these."""
        self.draw_without_rendering()  # limits and ticks are known after the layout
        bars = [ax for ax in self.axes if ax not in panels]  # in the order of their panels
        targets = self.grid(panels, bool(bars)) if self.given is None else self.given
        for ax, bar, target in zip_longest(panels, bars, targets):
            transcribe(ax, bar, target, self.backend)
        found = np.empty(len(panels), object)
        found[:] = targets
        return found

    def grid(self, panels: np.ndarray, bars: bool) -> list[Any]:
        """Return fresh targets, on a figure that has room for what stands around them."""
        columns = min(COLUMNS, len(panels))
        rows = -(-len(panels) // columns)
        across, down = self.get_size_inches() * DOTS + self.backend.own.PADDING
        _, plots = self.backend.common.create_plotting_grid(
            len(panels), rows, columns, figsize=(across, down), figsize_units="dots", squeeze=False,
            plot_hspace=self.backend.own.APART if bars else None,
        )  # fmt: skip
        return [plots[divmod(place, columns)] for place in range(len(panels))]


def one(ax: Any, backend: str | None, width: float = 6.4, height: float = 4.0) -> Axes:
    """Return axes to draw on: the target, fresh ones of a size in inches, or those of a :class:`Sheet`."""
    return _panels(None if ax is None else [ax], "ax=", backend, 1, width, height)[0]


def many(axes: Any, backend: str | None, count: int, width: float = 3.4, height: float = 3.0) -> np.ndarray:
    """Return ``count`` axes to draw on: the first of the targets, fresh ones on a grid, each of a size in
    inches, or those of a :class:`Sheet`."""
    if axes is None:
        return _panels(None, "axes=", backend, count, width, height)
    given = list(axes) if isinstance(axes, list | tuple | np.ndarray) else [axes]
    if not all(isinstance(item, list) and not any(isinstance(part, Axes) for part in item) for item in given):
        given = list(np.ravel(np.asarray(given, object)))  # a grid; lists of anything else are targets
    if len(given) < count:
        raise ModelError(f"axes= has {len(given)} axes; expected {count}, one for each panel.")
    return _panels(given[:count], "axes=", backend, count, width, height)


def _panels(
    given: list[Any] | None, said: str, backend: str | None, count: int, width: float, height: float
) -> np.ndarray:
    names = {chosen(backend, target) for target in given or [None]}
    if len(names) > 1:
        raise ModelError(
            f"{said} has targets of several backends: {listed(sorted(names))}. Give those of one."
        )
    name = names.pop()
    if name == "matplotlib" and given is not None:
        return np.array(given, object)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    size = (width * columns, height * rows)
    figure = plt.figure(figsize=size, layout="constrained") if name == "matplotlib" else None
    figure = figure or Sheet(opened(name), given, *size)
    grid = figure.subplots(rows, columns, squeeze=False)
    for unused in grid.ravel()[count:]:
        figure.delaxes(unused)
    return grid.ravel()[:count]


def handed_on(drawn: Any) -> Any:
    """Return the axes, or the array of them, that were drawn on; of a :class:`Sheet`, its targets."""
    panels = np.atleast_1d(np.asarray(drawn, object))
    figure = panels[0].get_figure(root=True)
    if not isinstance(figure, Sheet):
        return drawn
    found = figure.hand_on(panels)
    return found if isinstance(drawn, np.ndarray) else found[0]


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
