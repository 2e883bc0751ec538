"""What stands on Matplotlib axes, drawn into a target of another backend through arviz-plots' interface.

Everything becomes a line, dots, a band, text or cells, in data coordinates. Boxes and arrow heads are
convex, and so they are bands. Shadows of letters, the frame and the legend's place are the backend's affair.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import same_color, to_hex, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import AutoLocator, ScalarFormatter

from boatppl.plots.backend.choice import Backend
from boatppl.plots.backend.shade import Shade

NOTHING = ("None", "none", "", " ")  # Matplotlib's words for no line and no marker
INK = "B1"  # arviz-plots' name for what stands out from the background
STEP = {"steps-post": "after", "steps-pre": "before", "steps-mid": "mid"}


@dataclass(frozen=True, eq=False)
class Pen:
    """What is drawn with: the axes that are read, the target, the backend; ``names`` of what has one in the
    legend, ``shade`` of colours that have a bar, and the axes' ``ink``."""

    ax: Axes
    target: Any
    backend: Backend
    names: dict[int, str]
    shade: Shade | None
    ink: Any

    def colour(self, value: Any) -> str:
        """Return a colour as every backend takes it; what was the axes' own becomes the target's own."""
        return INK if same_color(value, self.ink) else to_hex(value)

    def places(self, artist: Artist, points: np.ndarray) -> np.ndarray:
        """Return points ``(point, 2)`` of an artist in data coordinates."""
        where = artist.get_transform()
        if where == self.ax.transData:
            return np.asarray(points, float)
        return np.asarray(self.ax.transData.inverted().transform(where.transform(points)))

    def options(self, artist: Artist, **more: Any) -> dict[str, Any]:
        """Return an artist's opacity and name, where it has them, with ``more`` that is said."""
        alpha = artist.get_alpha()
        found = {} if alpha is None else {"alpha": float(alpha)}
        name = self.names.get(id(artist), "")
        return found | (self.backend.own.named(name) if name else {}) | more


def transcribe(ax: Axes, bar: Axes | None, target: Any, backend: Backend) -> None:
    """Draw what stands on axes, and on their colour bar's, into a target."""
    pen = Pen(ax, target, backend, _names(ax), _shade(bar), ax.xaxis.label.get_color())
    drawn = {id(artist) for artist in (*ax.lines, *ax.collections, *ax.patches)}
    artists = [artist for artist in ax.get_children() if id(artist) in drawn]
    for artist in sorted(artists, key=lambda one: (_spanning(pen, one) is not None, one.get_zorder())):
        draw(artist, pen)
    _texts(pen)
    if pen.shade is not None:
        backend.own.colour_bar(pen.shade, target)
    backend.own.legend(target, pen.shade is not None)
    title = "\n".join(filter(None, (ax.get_title(loc=loc) for loc in ("center", "left", "right"))))
    if title:
        backend.common.title(title, target, size=backend.own.font(ax.title.get_fontsize()))
    if not ax.axison:
        backend.own.bare(target)
    for which in ("x", "y"):
        _axis(pen, which)


def _names(ax: Axes) -> dict[int, str]:
    """Return what stands in a legend, by the artist that carries it."""
    said: list[tuple[Artist, Any]] = [(artist, artist.get_label()) for artist in ax.lines]
    for group in ax.containers:
        bars = [part for part in group if isinstance(part, Rectangle)]
        if bars:  # one that is seen: of a bar without a length nothing is drawn
            said.append((max(bars, key=lambda bar: abs(bar.get_width())), group.get_label()))
        elif isinstance(group[0], Line2D):
            said.append((group[0], group.get_label()))
    return {id(artist): str(label) for artist, label in said if label and not str(label).startswith("_")}


def _shade(bar: Axes | None) -> Shade | None:
    if bar is None:
        return None
    solid = next(found for found in bar.collections if isinstance(found, QuadMesh))
    places, texts = _ticks(bar.yaxis)
    return Shade(solid.cmap, solid.norm, bar.get_ylabel(), list(zip(places, texts, strict=True)))


# -- axes -------------------------------------------------------------------------------


def _ticks(axis: Any) -> tuple[list[float], list[str]]:
    """Return the places within the limits of an axis that have a tick, and their texts."""
    low, high = sorted(axis.get_view_interval())
    edge = 1e-9 * (high - low)
    places = [float(place) for place in axis.get_majorticklocs() if low - edge <= place <= high + edge]
    return places, axis.get_major_formatter().format_ticks(places)


def _axis(pen: Pen, which: str) -> None:
    """Give the target an axis's label, scale, and the limits and ticks that the picture has set."""
    ax, target, common, own = pen.ax, pen.target, pen.backend.common, pen.backend.own
    axis = getattr(ax, f"{which}axis")
    fixed = not getattr(ax, f"get_autoscale{which}_on")()
    limits = tuple(map(float, getattr(ax, f"get_{which}lim")())) if fixed else None
    if axis.get_scale() == "log":
        own.logarithmic(which, limits, target)
    elif limits is not None:
        getattr(common, f"{which}lim")(limits, target)
    if not ax.axison:
        return
    getattr(common, f"{which}label")(own.words(axis.get_label_text()), target)
    plain = isinstance(axis.get_major_locator(), AutoLocator)
    if not plain or not isinstance(axis.get_major_formatter(), ScalarFormatter):
        places, texts = _ticks(axis)
        turned = [label.get_rotation() for label in axis.get_ticklabels()[:1]]
        options = {"rotation": turned[0]} if turned and turned[0] else {}
        getattr(common, f"{which}ticks")(places, [own.words(text) for text in texts], target, **options)


# -- what is drawn ----------------------------------------------------------------------


@singledispatch
def draw(artist: Any, pen: Pen) -> None:
    """Draw one artist."""
    raise NotImplementedError(f"no picture draws a {type(artist).__name__}")


@draw.register(Line2D)
def _line(line: Any, pen: Pen) -> None:
    spanning, style = _spanning(pen, line), line.get_linestyle()
    dash = pen.backend.own.DASHES.get(style, style)
    look = {"color": pen.colour(line.get_color()), "width": line.get_linewidth(), "linestyle": dash}
    if spanning is not None and id(line) not in pen.names:  # a rule has no place in Bokeh's legends
        rule, place = spanning
        getattr(pen.backend.common, rule)(place, pen.target, **pen.options(line, **look))
        return
    x, y = pen.places(line, line.get_xydata()).T
    if not len(x):
        return
    if style not in NOTHING:
        stepped = STEP.get(line.get_drawstyle())
        if stepped is None:
            pen.backend.common.line(x, y, pen.target, **pen.options(line, **look))
        else:
            pen.backend.common.step(x, y, pen.target, **pen.options(line, **look, step_mode=stepped))
    marker = str(line.get_marker())
    if marker not in NOTHING:
        _dots(pen, line, x, y, marker)


def _spanning(pen: Pen, artist: Artist) -> tuple[str, float] | None:
    """Return how a line that crosses the whole plot is called, and where it stands; None for others."""
    if not isinstance(artist, Line2D) or artist.get_transform() == pen.ax.transData:
        return None
    x, y = (np.asarray(values, float) for values in artist.get_data())
    if np.array_equal(y, [0, 1]) and x[0] == x[1]:
        return "vline", float(x[0])
    if np.array_equal(x, [0, 1]) and y[0] == y[1]:
        return "hline", float(y[0])
    return None


def _dots(pen: Pen, line: Line2D, x: np.ndarray, y: np.ndarray, marker: str) -> None:
    own, face, edge = pen.backend.own, line.get_markerfacecolor(), line.get_markeredgecolor()
    hollow = isinstance(face, str) and face == "none"
    rim = pen.colour(edge) if hollow or same_color(face, edge) else to_hex(edge)
    options: dict[str, Any] = {
        "marker": own.MARKERS.get(marker, marker), "size": own.area(line.get_markersize()), "edgecolor": rim,
        "facecolor": own.HOLLOW if hollow else pen.colour(face), "width": line.get_markeredgewidth(),
    }  # fmt: skip
    pen.backend.common.scatter(x, y, pen.target, **pen.options(line, **options))


@draw.register(LineCollection)
def _strokes(strokes: Any, pen: Pen) -> None:
    """Intervals: one line with gaps."""
    parts = [np.vstack([segment, [[np.nan, np.nan]]]) for segment in strokes.get_segments()]
    if parts:
        x, y = np.concatenate(parts)[:-1].T
        look = {"color": pen.colour(strokes.get_color()[0]), "width": float(strokes.get_linewidth()[0])}
        pen.backend.common.line(x, y, pen.target, **pen.options(strokes, **look))


@draw.register(PolyCollection)
def _band(band: Any, pen: Pen) -> None:
    """A band, as ``Axes.fill_between`` puts it: an end, the lower edge, an end, the upper edge backwards."""
    colour = pen.colour(band.get_facecolor()[0])
    for path in band.get_paths():
        count = (len(path.vertices) - 3) // 2
        (x, one), (_, other) = path.vertices[1 : count + 1].T, path.vertices[count + 2 : -1][::-1].T
        pen.backend.common.fill_between_y(x, one, other, pen.target, **pen.options(band, color=colour))


@draw.register(Patch)
def _patch(patch: Any, pen: Pen) -> None:
    """A bar, a box or an arrow: a band where it is filled, a line where it has an edge."""
    path = patch.get_path().transformed(patch.get_patch_transform())
    for polygon in path.to_polygons(closed_only=False):
        if len(np.unique(polygon[:, 0])) < 2:
            continue
        if patch.get_fill() and to_rgba(patch.get_facecolor())[3] > 0:
            x, low, high = spans(polygon)
            options = pen.options(patch, color=pen.colour(patch.get_facecolor()))
            pen.backend.common.fill_between_y(x, low, high, pen.target, **options)
        if patch.get_linewidth() > 0 and to_rgba(patch.get_edgecolor())[3] > 0:
            dash = "-" if patch.get_linestyle() in ("solid", "-") else ":"
            pen.backend.common.line(
                *polygon.T, pen.target, color=pen.colour(patch.get_edgecolor()),
                width=patch.get_linewidth(), linestyle=pen.backend.own.DASHES.get(dash, dash),
            )  # fmt: skip


def spans(polygon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a convex polygon's ``x (place,)`` with its lower and upper ends there."""
    begin, end = polygon, np.roll(polygon, -1, axis=0)
    slanted = begin[:, 0] != end[:, 0]
    (x0, y0), (x1, y1) = begin[slanted].T, end[slanted].T
    x = np.unique(polygon[:, 0])
    across = (np.minimum(x0, x1) <= x[:, None]) & (x[:, None] <= np.maximum(x0, x1))
    y = y0 + (x[:, None] - x0) * (y1 - y0) / (x1 - x0)
    return x, np.where(across, y, np.inf).min(axis=1), np.where(across, y, -np.inf).max(axis=1)


@draw.register(QuadMesh)
def _mesh(mesh: Any, pen: Pen) -> None:
    corners = mesh.get_coordinates()
    values = np.ma.filled(np.ma.asarray(mesh.get_array()).astype(float), np.nan)
    values = values.reshape(corners.shape[0] - 1, corners.shape[1] - 1)
    shade = pen.shade or Shade(mesh.cmap, mesh.norm, "", [])
    pen.backend.own.cells(corners[0, :, 0], corners[:, 0, 1], values, shade, pen.target)


def _texts(pen: Pen) -> None:
    """Write texts, those that look alike at once."""
    own, groups = pen.backend.own, defaultdict(list)
    for text in pen.ax.texts:
        own_colour = same_color(text.get_color(), pen.ink)
        look = (
            None if own_colour else to_hex(text.get_color()), text.get_fontsize(), text.get_fontweight(),
            text.get_horizontalalignment(), text.get_verticalalignment(),
        )  # fmt: skip
        groups[look].append(text)
    for (colour, points, weight, across, up), alike in groups.items():
        x, y = np.concatenate([pen.places(text, np.array([text.get_position()])) for text in alike]).T
        options: dict[str, Any] = {
            "size": own.font(points), "horizontal_align": across,
            "vertical_align": up if up in ("top", "bottom") else own.MIDDLE,
        }  # fmt: skip
        options |= {} if colour is None else {"color": colour}
        options |= own.BOLD if weight == "bold" else {}
        pen.backend.common.text(x, y, [text.get_text() for text in alike], pen.target, **options)
