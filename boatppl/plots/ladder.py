"""One parameter's values in order, as the rows of a slice and as an axis of a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from boatppl.graph import DAG
from boatppl.plots.canvas import scale
from boatppl.plots.view import labelled
from boatppl.space import Space, Vector
from boatppl.words import ModelError, listed, nearest


@dataclass(frozen=True, eq=False)
class Ladder:
    """The values of one parameter or context.

    ``values`` are plain; ``places (value,)`` where they stand on an axis: numbers in their unit, choices at
    0, 1, ...; ``unit (value,)`` their coordinate on the unit cube (a context has none).
    """

    name: str
    label: str
    values: list[Any]
    places: np.ndarray
    unit: np.ndarray | None
    choice: bool
    log: bool

    @property
    def edges(self) -> np.ndarray:
        """Where cells around the places begin and end ``(value + 1,)``: half-way, on the axis's own scale."""
        x = np.log(self.places) if self.log else self.places
        step = np.diff(x) if len(x) > 1 else np.ones(1)
        edges = np.concatenate([[x[0] - step[0] / 2], x[:-1] + np.diff(x) / 2, [x[-1] + step[-1] / 2]])
        return np.exp(edges) if self.log else edges

    def place(self, value: Any) -> float | None:
        """Return where a value stands; None for a choice that is not here."""
        if not self.choice:
            return float(value)
        return float(self.values.index(value)) if value in self.values else None

    def dress(self, ax: Axes, which: str) -> None:
        """Give an axis (``"x"`` or ``"y"``) the ladder's label, scale and, for choices, names."""
        if self.choice:
            names = [str(value) for value in self.values]
            crowded = which == "x" and sum(map(len, names)) > 30
            turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if crowded else {}
            (ax.set_xticks if which == "x" else ax.set_yticks)(self.places, names, **turned)
            ax.set(**{f"{which}lim": (-0.5, len(names) - 0.5)})
        else:
            scale(ax, which, self.places, log=self.log)
        ax.set(**{f"{which}label": self.label})


def ladder(model: DAG, name: str, at: Mapping[str, Any], count: int) -> Ladder:
    """Return at most ``count`` values of a parameter (all levels, where they are few) or context in order.

    Raises
    ------
    ModelError
        For a name that is neither, a fixed parameter, one that does nothing at ``at``, a simplex or a subset.
    """
    space = model.space
    label = labelled(model, name)
    if name in space.contexts:
        context = space.contexts[name]
        ends = (context.low, context.high)
        numbers = np.geomspace(*ends, count) if context.log else np.linspace(*ends, count)
        return Ladder(name, label, numbers.tolist(), numbers, None, choice=False, log=context.log)
    _check(space, name, at)
    parameter, column = space.parameters[name], space.slices[name].start
    levels = parameter.levels
    places = np.linspace(0, 1, count)
    if levels is not None and levels <= count:
        places = (np.arange(levels) + 0.5) / levels
    rows = np.tile(space.encode([at])[0], (len(places), 1))
    rows[:, column] = places
    unit = np.unique(space.snap(rows)[:, column])
    rows = rows[: len(unit)]
    rows[:, column] = unit
    values = [configuration[name] for configuration in space.decode(rows)]
    choice = not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    numbers = np.arange(len(values), dtype=float) if choice else np.array(values, float)
    return Ladder(name, label, values, numbers, unit, choice, bool(getattr(parameter, "log", False)))


def _check(space: Space, name: str, at: Mapping[str, Any]) -> None:
    known = [*space.parameters, *space.contexts]
    if name not in space.parameters:
        raise ModelError(
            f"{name!r} is no parameter or context of the space.{nearest(name, known)} Known: {listed(known)}."
        )
    if isinstance(space.parameters[name], Vector):
        raise ModelError(
            f"{name!r} is a {type(space.parameters[name]).__name__}: its values are in no order. Vary them "
            "yourself and draw what study.predict([...]) returns."
        )
    if name not in space.slices:
        raise ModelError(f"{name!r} never moves in this space: it is fixed, or ruled out by what is.")
    if not space.active(space.encode([at]), name)[0]:
        raise ModelError(
            f"{name!r} does nothing in the configuration {dict(at)}. Give at={{...}} in which its condition "
            f"holds."
        )


def crossed(
    model: DAG, ladders: list[Ladder], at: Mapping[str, Any], context: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, Any], np.ndarray]:
    """Return every combination of some ladders' values, the last one fastest, everything else as ``at``.

    Returns unit rows ``(configuration, coordinate)``, contexts, and which rows are feasible
    ``(configuration,)``.
    """
    space = model.space
    grid = np.indices([len(one.values) for one in ladders]).reshape(len(ladders), -1)
    unit = np.tile(space.encode([at])[0], (grid.shape[1], 1))
    contexts: dict[str, Any] = dict(context)
    for one, index in zip(ladders, grid, strict=True):
        if one.unit is None:
            contexts[one.name] = one.places[index]
        else:
            unit[:, space.slices[one.name].start] = one.unit[index]
    unit = space.snap(unit)
    return unit, contexts, space.feasible(unit)
