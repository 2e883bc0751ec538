"""Which value arrives where: from quantities over configurations to the rows a node is written for.

Values are kept as name -> ``(draw or 1, configuration, *dims)``. A node written over dims has one row for each
configuration and element; any other node one row for each configuration.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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


def arrive(values: Quantities, keys: Iterable[Key], sources: Mapping[str, Source], rows: Rows) -> dict[Key, np.ndarray]:
    """Return key -> ``(draw or 1, row, *key dims)``: what arrives at each row."""
    return {key: _pick(values[key.name], sources[key.name].dims, key.dims, rows) for key in keys}


def _pick(value: np.ndarray, dims: tuple[str, ...], remaining: tuple[str, ...], rows: Rows) -> np.ndarray:
    indexed = [dim for dim in dims if dim not in remaining]
    kept = [dim for dim in dims if dim in remaining]
    moved = np.transpose(value, [0, 1, *(2 + dims.index(dim) for dim in [*indexed, *kept])])
    configuration = rows.configuration if moved.shape[1] > 1 else np.zeros_like(rows.configuration)
    return moved[(slice(None), configuration, *(rows.elements[dim] for dim in indexed))]


def assemble(row_values: np.ndarray, n_configurations: int, over: tuple[str, ...], sizes: Mapping[str, int]) -> np.ndarray:
    """Invert :func:`every_row`: ``(draw, row)`` becomes ``(draw, configuration, *over)``."""
    return row_values.reshape(len(row_values), n_configurations, *(sizes[dim] for dim in over))


def scatter(
    slope: np.ndarray, shape: tuple[int, ...], dims: tuple[str, ...], remaining: tuple[str, ...], rows: Rows
) -> np.ndarray:
    """The adjoint of :func:`arrive`: add ``(draw, row, *remaining)`` up into ``(draw, *shape)``, shape (configuration, *dims)."""
    indexed = [dim for dim in dims if dim not in remaining]
    order = [dims.index(dim) for dim in [*indexed, *(dim for dim in dims if dim in remaining)]]
    total = np.zeros((len(slope), shape[0], *(shape[1 + axis] for axis in order)))
    where = (slice(None), rows.configuration, *(rows.elements[dim] for dim in indexed))
    np.add.at(total, where, slope)
    return np.transpose(total, [0, 1, *(2 + order.index(axis) for axis in range(len(dims)))])
