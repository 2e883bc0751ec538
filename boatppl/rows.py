"""Which value arrives where: from quantities over configurations to the rows a node is written for.

Values are kept as name -> ``(draw or 1, configuration, *dims)``. A node written over dims has one row for
each configuration and element; any other node one row for each configuration.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.wiring import Key, Source

Quantities = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Rows:
    """The configuration ``(row,)`` and, for each dim of ``over=``, the element ``(row,)`` of every row."""

    configuration: np.ndarray
    elements: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.configuration)

    def __getitem__(self, keep: np.ndarray) -> "Rows":
        return Rows(self.configuration[keep], {dim: index[keep] for dim, index in self.elements.items()})


def every_row(n_configurations: int, over: tuple[str, ...], sizes: Mapping[str, int]) -> Rows:
    """Return the rows of ``n_configurations`` times every element of ``over``, configurations slowest."""
    shape = (n_configurations, *(sizes[dim] for dim in over))
    index = np.indices(shape).reshape(len(shape), -1)
    return Rows(index[0], dict(zip(over, index[1:], strict=True)))


def assemble(
    row_values: np.ndarray, n_configurations: int, over: tuple[str, ...], sizes: Mapping[str, int]
) -> np.ndarray:
    """Invert :func:`every_row`: ``(draw, row)`` becomes ``(draw, configuration, *over)``."""
    return row_values.reshape(len(row_values), n_configurations, *(sizes[dim] for dim in over))


def arrive(
    values: Quantities, keys: Iterable[Key], sources: Mapping[str, Source], rows: Rows
) -> dict[Key, np.ndarray]:
    """Return key -> ``(draw or 1, row, *key dims)``: what arrives at each row."""
    return {key: _pick(values[key.name], sources[key.name].dims, key.dims, rows) for key in keys}


def _pick(value: np.ndarray, dims: tuple[str, ...], remaining: tuple[str, ...], rows: Rows) -> np.ndarray:
    indexed, order = _split(dims, remaining)
    moved = np.transpose(value, [0, 1, *(2 + axis for axis in order)])
    # a quantity of one configuration (data) is the same at every row
    configuration = np.zeros_like(rows.configuration) if moved.shape[1] == 1 else rows.configuration
    where: tuple[Any, ...] = (slice(None), configuration, *(rows.elements[dim] for dim in indexed))
    return moved[where]


def scatter(
    slope: np.ndarray, shape: tuple[int, ...], dims: tuple[str, ...], remaining: tuple[str, ...], rows: Rows
) -> np.ndarray:
    """Add ``(draw, row, *remaining)`` up into ``(draw, *shape)``: the adjoint of :func:`arrive`.

    ``shape`` is ``(configuration, *dims)``. Rows of one configuration and element are summed.
    """
    indexed, order = _split(dims, remaining)
    moved = (shape[0], *(shape[1 + axis] for axis in order))
    cells = moved[: 1 + len(indexed)]
    cell = np.ravel_multi_index((rows.configuration, *(rows.elements[dim] for dim in indexed)), cells)
    count = int(np.prod(cells))
    if len(cell) == count and (cell[1:] > cell[:-1]).all():  # a row for every cell, in order
        total = slope
    else:
        total = np.zeros((len(slope), count, *moved[1 + len(indexed) :]))
        by_cell = np.argsort(cell, kind="stable")
        found, starts = np.unique(cell[by_cell], return_index=True)
        if len(found):
            total[:, found] = np.add.reduceat(slope[:, by_cell], starts, axis=1)
    back = np.argsort(order)
    return np.transpose(total.reshape(len(slope), *moved), [0, 1, *(2 + axis for axis in back)])


def _split(dims: tuple[str, ...], remaining: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Return the dims of which a row takes one element, and the axes of dims with those in front."""
    indexed = [dim for dim in dims if dim not in remaining]
    return indexed, [dims.index(dim) for dim in [*indexed, *(dim for dim in dims if dim in remaining)]]
