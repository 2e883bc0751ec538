"""Which configurations are good: one line each, across all parameters."""

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from boatppl.plots.canvas import GREY, LINES, handed_on, ink, one
from boatppl.plots.view import View, labelled, view
from boatppl.result import Result
from boatppl.space import Simplex, Space, Vector
from boatppl.study import Study
from boatppl.text import shown
from boatppl.words import ModelError, check_count

CANDIDATES = 512


@dataclass(frozen=True, eq=False)
class Good:
    """Good configurations: ``unit (configuration, coordinate)``, best first; ``value (configuration,)`` the
    median of the noise-free objective in its unit; ``ran (configuration,)`` which of them were run."""

    unit: np.ndarray
    value: np.ndarray
    ran: np.ndarray


def good(seen: View, count: int) -> Good:
    """Return the ``count`` configurations with the best posterior median among the runs and a quasi-random
    sample of the space."""
    space, seed = seen.space, seen.study.random_seed
    ran = np.unique(space.encode([trial.configuration for trial in seen.known.eligible]), axis=0)
    unit = np.concatenate([ran, space.sample(CANDIDATES, [seed, 81])])
    value = np.nanmedian(seen.noise_free(unit), axis=0)
    order = np.argsort(seen.goal.sign * value, kind="stable")
    order = order[np.isfinite(value[order])][:count]
    return Good(unit[order], value[order], order < len(ran))


@dataclass(frozen=True)
class _Column:
    """One vertical line: a parameter, or one element of a vector; ``ticks`` are (height, text)."""

    label: str
    name: str
    share: int | None
    ticks: tuple[tuple[float, str], ...]


def plot_parallel(
    study: Study | Result, *, count: int = 40, ax: Any = None, backend: str | None = None
) -> Any:
    """Draw the best configurations as lines across all parameters, coloured by the predicted objective.

    .. image:: /generated/plots/parallel.png

    The configurations are the runs and a quasi-random sample of the space; the ``count`` best by their
    posterior median are drawn. Where the lines of the best ones come together a parameter matters; where
    they fan out it does not. Heights are the parameter's own scale (logarithmic where it is). The thick line
    is the incumbent, the dashed one the default.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    count
        How many configurations are drawn.
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
        Where nothing was measured.

    Examples
    --------
    >>> ax = boat.plots.plot_parallel(result, count=60)  # doctest: +SKIP
    """
    check_count("count", count, least=1)
    seen = view(study)
    space, found = seen.space, good(seen, count)
    columns = _columns(space, seen.study.model)
    if len(columns) < 2:
        raise ModelError("parallel coordinates need two parameters that move; use plot_slice for one.")
    ax = one(ax, backend, width=max(5.0, 1.25 * len(columns) + 1.5))
    places = np.arange(len(columns))
    ends = (float(found.value.min()), float(found.value.max()))
    lines = LINES.reversed() if seen.goal.maximize else LINES
    colours = mpl.cm.ScalarMappable(mpl.colors.Normalize(*ends), lines)
    for height, value in list(zip(_heights(space, found.unit, columns), found.value, strict=True))[::-1]:
        ax.plot(places, height, color=colours.to_rgba(value), linewidth=1.1, alpha=0.75)
    rows = space.encode([space.default, seen.study.best.configuration])
    default, best = _heights(space, rows, columns)
    ax.plot(places, default, color=GREY, linestyle="--", linewidth=1.6, label="default")
    ax.plot(places, best, color=ink(ax), linewidth=2.6, label="incumbent")
    _dress(ax, columns)
    bar = ax.figure.colorbar(colours, ax=ax, pad=0.02)
    bar.set_label(f"median of {labelled(seen.study.model, seen.goal.name)}", color=ink(ax))
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize="small",
              labelcolor=ink(ax))  # fmt: skip
    return handed_on(ax)


def _columns(space: Space, model: Any) -> list[_Column]:
    columns = []
    for name in space.slices:
        parameter = space.parameters[name]
        if isinstance(parameter, Vector):
            simplex = isinstance(parameter, Simplex)
            ticks = ((0.0, "0"), (0.5, "0.5"), (1.0, "1")) if simplex else ((0.0, "out"), (1.0, "in"))
            columns += [_Column(f"{name}[{i}]", name, i, ticks) for i in range(parameter.n)]
            continue
        columns.append(_Column(_below(name, model.unit_of(name)), name, None, _ticks(space, name)))
    return columns


def _below(name: str, unit: str) -> str:
    return f"{name}\n[{unit}]" if unit else name


def _ticks(space: Space, name: str) -> tuple[tuple[float, str], ...]:
    """Return heights and texts: every level where they are few, else the ends and the middle."""
    parameter = space.parameters[name]
    places, levels = np.array([0.0, 0.5, 1.0]), parameter.levels
    if levels is not None and levels <= 6:
        places = (np.arange(levels) + 0.5) / levels
    rows = np.tile(space.encode([space.default])[0], (len(places), 1))
    rows[:, space.slices[name].start] = places
    column = space.slices[name].start
    wires = parameter.values_of(parameter.from_unit(rows[:, column : column + 1]))
    return tuple(zip(map(float, places), (shown(value, 3) for value in wires), strict=True))


def _heights(space: Space, unit: np.ndarray, columns: list[_Column]) -> np.ndarray:
    """Return the height of each configuration at each column ``(configuration, column)``."""
    shares: dict[str, np.ndarray] = {}
    for item in columns:
        if item.share is not None and item.name not in shares:
            feature = space.features(unit, item.name)
            subset = not isinstance(space.parameters[item.name], Simplex)
            shares[item.name] = (feature > 0).astype(float) if subset else feature
    return np.stack(
        [
            unit[:, space.slices[item.name].start] if item.share is None else shares[item.name][:, item.share]
            for item in columns
        ],
        axis=1,
    )


def _dress(ax: Axes, columns: list[_Column]) -> None:
    colour = ink(ax)
    halo = [withStroke(linewidth=3, foreground=ax.get_facecolor())]
    for place, item in enumerate(columns):
        ax.axvline(place, color=GREY, linewidth=0.8, zorder=0)
        for height, text in item.ticks:
            ax.plot([place - 0.02, place + 0.02], [height, height], color=GREY, linewidth=0.8)
            ax.text(
                place - 0.04, height, text, ha="right", va="center", fontsize="small", color=colour, zorder=5,
                path_effects=halo,
            )  # fmt: skip
    ax.set_xticks(range(len(columns)), [item.label for item in columns])
    ax.set(yticks=[], xlim=(-0.35, len(columns) - 0.9), ylim=(-0.04, 1.04))
    ax.tick_params(axis="x", length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
