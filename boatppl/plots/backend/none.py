"""What arviz-plots' interface to no backend lacks: elements are kept as it keeps them, as dicts in a list."""

from typing import Any

import numpy as np

from boatppl.plots.backend.shade import Shade

MARKERS: dict[str, str] = {}
DASHES: dict[str, str] = {}
HOLLOW = "none"
MIDDLE = "center"
PADDING = (0, 0)
APART = None
BOLD: dict[str, Any] = {"fontweight": "bold"}


def named(label: str) -> dict[str, Any]:
    """Return the keyword arguments that put an element into the legend."""
    return {"label": label}


def area(diameter: float) -> float:
    """Return the size of a dot of some points across."""
    return diameter**2


def font(points: float) -> Any:
    """Return the size of text."""
    return points


def words(text: str) -> str:
    """Return text as it is written on ticks."""
    return text


def logarithmic(which: str, limits: tuple[float, float] | None, target: list[dict[str, Any]]) -> None:
    """Make an axis logarithmic, between limits where there are some."""
    target.append({"function": f"{which}scale", "scale": "log"})
    if limits is not None:
        target.append({"function": f"{which}lim", "lims": limits})


def cells(
    x: np.ndarray, y: np.ndarray, values: np.ndarray, shade: Shade, target: list[dict[str, Any]]
) -> None:
    """Colour cells between edges ``x (column + 1,)`` and ``y (row + 1,)`` by ``values (row, column)``."""
    target.append({"function": "cells", "x": x, "y": y, "values": values, "colours": shade.colours.name})


def colour_bar(shade: Shade, target: list[dict[str, Any]]) -> None:
    """Say beside the plot what its colours mean."""
    target.append({"function": "colour_bar", "label": shade.label, "ticks": list(shade.ticks)})


def legend(target: list[dict[str, Any]], bar: bool) -> None:
    """Put the legend where it hides nothing: names are kept with what has them."""


def bare(target: list[dict[str, Any]]) -> None:
    """Take axes and grid away."""
    target.append({"function": "remove_axis", "axis": "both"})
