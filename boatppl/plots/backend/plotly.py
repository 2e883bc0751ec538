"""What arviz-plots' interface to Plotly lacks."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from boatppl.plots.backend.shade import Shade

MARKERS = {"o": "circle", "x": "x-thin-open", "*": "star", "_": "line-ew-open"}
DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
HOLLOW = "rgba(0,0,0,0)"
MIDDLE = "middle"
PADDING = (160, 180)  # pixels of margins, which Plotly takes from a figure
BOLD: dict[str, Any] = {"textfont": {"weight": "bold"}}
PIXELS = 100 / 72  # a point, of figures that are 100 dots an inch
APART = 0.2  # of a figure's width between two panels that have colour bars
HOVER = "x: %{x:.3~g}<br>y: %{y:.3~g}<br>%{customdata:.3~g}<extra></extra>"
STEPS = 64  # of a colour bar


def named(label: str) -> dict[str, Any]:
    """Return the keyword arguments that put an element into the legend."""
    return {"name": label, "showlegend": True}


def area(diameter: float) -> float:
    """Return the size of a dot of some points across."""
    return (diameter * PIXELS) ** 2


def font(points: float) -> Any:
    """Return the size of text."""
    return points * PIXELS


def words(text: str) -> str:
    """Return text as it is written on ticks."""
    return text.replace("\n", "<br>")


def logarithmic(which: str, limits: tuple[float, float] | None, target: Any) -> None:
    """Make an axis logarithmic, between limits where there are some (which Plotly takes as powers of 10)."""
    update = target.update_xaxes if which == "x" else target.update_yaxes
    update(type="log", **({} if limits is None else {"range": np.log10(limits).tolist()}))


def cells(x: np.ndarray, y: np.ndarray, values: np.ndarray, shade: Shade, target: Any) -> None:
    """Colour cells between edges ``x (column + 1,)`` and ``y (row + 1,)`` by ``values (row, column)``."""
    target.add_trace(
        go.Heatmap(
            x=x, y=y, z=shade.share(values), customdata=values, zmin=0.0, zmax=1.0, colorscale=_scale(shade),
            showscale=False, hovertemplate=HOVER,
        )
    )  # fmt: skip


def colour_bar(shade: Shade, target: Any) -> None:
    """Say beside the plot what its colours mean: the bar of a trace without points."""
    plot = target.figure.get_subplot(target.row, target.col)
    (_, right), (bottom, top) = plot.xaxis.domain or (0, 1), plot.yaxis.domain or (0, 1)
    bar = {
        "tickvals": [share for share, _ in shade.marks],
        "ticktext": [text for _, text in shade.marks],
        "title": {"text": words(shade.label), "side": "right"},
        "x": right, "xanchor": "left", "y": (bottom + top) / 2, "len": top - bottom, "thickness": 14,
    }  # fmt: skip
    shown = {"color": [0.0], "cmin": 0.0, "cmax": 1.0, "colorscale": _scale(shade), "showscale": True}
    target.add_trace(
        go.Scatter(x=[None], y=[None], mode="markers", showlegend=False, marker=shown | {"colorbar": bar})
    )


def _scale(shade: Shade) -> list[tuple[float, str]]:
    places = np.linspace(0, 1, STEPS)
    return list(zip(places.tolist(), shade.hexes(places), strict=True))


def legend(target: Any, bar: bool) -> None:
    """Put the legend where it hides nothing: its usual place is a colour bar's."""
    if bar:
        above = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
        target.figure.update_layout(legend=above)


def bare(target: Any) -> None:
    """Take axes and grid away."""
    target.update_xaxes(visible=False)
    target.update_yaxes(visible=False)
