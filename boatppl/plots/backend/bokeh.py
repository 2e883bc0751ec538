"""What arviz-plots' interface to Bokeh lacks."""

from typing import Any

import numpy as np
from bokeh.models import ColorBar, FixedTicker, LinearColorMapper, LogScale, LogTicker, Range1d

from boatppl.plots.backend.shade import Shade

MARKERS = {"o": "circle", "*": "star", "_": "dash"}
DASHES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dashdot"}
HOLLOW = None
MIDDLE = "middle"
PADDING = (80, 60)  # pixels that labels take from a plot
BOLD: dict[str, Any] = {"text_font_style": "bold"}
PIXELS = 100 / 72  # a point, of figures that are 100 dots an inch
APART = None  # between panels with colour bars: each has its own room for them
STEPS = 64  # of a colour bar


def named(label: str) -> dict[str, Any]:
    """Return the keyword arguments that put an element into the legend."""
    return {"legend_label": label}


def area(diameter: float) -> float:
    """Return the size of a dot of some points across, which Bokeh takes as it is."""
    return diameter * PIXELS


def font(points: float) -> Any:
    """Return the size of text."""
    return points * PIXELS


def words(text: str) -> str:
    """Return text as it is written on ticks."""
    return text


def logarithmic(which: str, limits: tuple[float, float] | None, target: Any) -> None:
    """Make an axis logarithmic, between limits where there are some."""
    setattr(target, f"{which}_scale", LogScale())
    getattr(target, f"{which}axis").ticker = LogTicker()
    if limits is not None:
        setattr(target, f"{which}_range", Range1d(*limits))


def cells(x: np.ndarray, y: np.ndarray, values: np.ndarray, shade: Shade, target: Any) -> None:
    """Colour cells between edges ``x (column + 1,)`` and ``y (row + 1,)`` by ``values (row, column)``."""
    row, column = np.nonzero(np.isfinite(values))
    source = {
        "left": x[column], "right": x[column + 1], "bottom": y[row], "top": y[row + 1],
        "value": values[row, column], "colour": shade.hexes(shade.share(values)[row, column]),
    }  # fmt: skip
    target.quad("left", "right", "top", "bottom", source=source, fill_color="colour", line_color=None)


def colour_bar(shade: Shade, target: Any) -> None:
    """Say beside the plot what its colours mean."""
    bar = ColorBar(
        color_mapper=LinearColorMapper(palette=shade.hexes(np.linspace(0, 1, STEPS)), low=0.0, high=1.0),
        ticker=FixedTicker(ticks=[share for share, _ in shade.marks]),
        major_label_overrides=dict(shade.marks),
        title=shade.label,
    )
    target.add_layout(bar, "right")


def legend(target: Any, bar: bool) -> None:
    """Put the legend where it hides nothing: inside, it would be over the bars."""
    for found in [*target.legend]:
        if found in target.center:
            target.center.remove(found)
            found.orientation, found.location = "horizontal", "right"
            found.border_line_color = None
            target.add_layout(found, "above")


def bare(target: Any) -> None:
    """Take axes and grid away."""
    target.axis.visible = False
    target.grid.visible = False
