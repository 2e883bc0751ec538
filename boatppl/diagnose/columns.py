"""What a node's error may follow: columns scaled to about [0, 1], along the rows of its table."""

from collections.abc import Sequence

import numpy as np

from boatppl.graph import DAG
from boatppl.propagate import NodeDraws
from boatppl.rows import arrive
from boatppl.table import Measured
from boatppl.transform import Transform
from boatppl.wiring import Key


def own_inputs(model: DAG, name: str) -> list[str]:
    """Return what a node uses: parameters, contexts, data along its elements and nodes."""
    part = model.parts[name]
    inputs = model.origins((*part.arguments, *model.inputs_of(name)))
    varying = [*model.space.slices, *model.space.contexts, *model.nodes]
    along = [item for item, (dims, _) in model.data.items() if set(dims) & set(part.over)]
    return [item for item in dict.fromkeys(inputs) if item in varying or item in along]


def in_formula(model: DAG, name: str, what: str) -> bool:
    """Whether a node's formula, and not its residual alone, depends on something."""
    keys = {key.name for key in model.nodes[name].evaluator.keys}
    return what in model.origins(sorted(keys))


def other_inputs(model: DAG, name: str) -> list[str]:
    """Return what a node does not use and could: parameters, contexts, and nodes that do not come after
    it."""
    own, after = set(own_inputs(model, name)), descendants(model, name)
    candidates = [*model.space.slices, *model.space.contexts]
    nodes = [other for other, source in model.sources.items() if source.kind == "node"]
    candidates += [other for other in nodes if other != name and other not in after]
    return [item for item in candidates if item not in own]


def descendants(model: DAG, name: str) -> set[str]:
    """Return everything that is computed from a part."""
    found: set[str] = set()
    for other in model.order:
        if {name, *found} & set(model.parents(other)):
            found.add(other)
    return found


def column(model: DAG, data: Measured, node: NodeDraws, what: str) -> np.ndarray | None:
    """Return the columns ``(row, column)`` of a quantity along a node's rows; None where it is not measured
    in all of them, or the same in all."""
    source, table = model.sources[what], node.table
    if source.kind in ("parameter", "context"):
        found = model.space.features(data.unit, what, data.contexts)[table.rows.configuration]
        if source.dims and source.dims[0] in table.rows.elements:  # one element's share
            found = found[np.arange(len(found)), table.rows.elements[source.dims[0]]][:, None]
    else:
        key = Key(what, tuple(dim for dim in source.dims if dim not in node.graph.node.over))
        [value] = arrive(data.values, [key], model.sources, table.rows).values()
        found = value[0].reshape(len(table), -1)
        if source.kind == "node":
            transform: Transform = Transform(model.nodes[what].node.transform)
            found = transform.forward(found)
    if not np.isfinite(found).all() or not np.ptp(found, axis=0).any():
        return None
    width = np.ptp(found, axis=0)
    scaled = (found - found.min(axis=0)) / np.where(width > 0, width, 1.0)
    return np.asarray(scaled / np.sqrt(scaled.shape[1]))


def element_columns(node: NodeDraws, dim: str, size: int) -> np.ndarray:
    """Return which element of a dim each row is about, one-hot ``(row, element)``."""
    return np.eye(size)[node.table.rows.elements[dim]] / np.sqrt(2.0)


def where_largest(column: np.ndarray, effect: np.ndarray) -> str:
    """Return at which end of a column ``(row, column)`` an effect ``(row,)`` is largest, in words."""
    if column.shape[1] != 1 or np.ptp(column) == 0:
        return ""
    at, size = column[:, 0], np.abs(effect - np.median(effect))
    low, high = size[at <= np.quantile(at, 1 / 3)].mean(), size[at >= np.quantile(at, 2 / 3)].mean()
    if max(low, high) < 1.3 * min(low, high):
        return ""
    return " (largest where it is small)" if low > high else " (largest where it is large)"


def parent_columns(
    node: NodeDraws, errors: Sequence[tuple[str, NodeDraws, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return each parent's own error ``(row,)`` along a node's rows, where it is known in all of them.

    ``errors``: name, node and standardised error ``(row,)`` of the nodes before.
    """
    found = {}
    for name, parent, error in errors:
        over = parent.graph.node.over
        if not set(over) <= set(node.graph.node.over):
            continue
        known = dict(zip(_places(parent, over), error, strict=True))
        places = _places(node, over)
        if all(place in known for place in places):
            found[name] = np.array([known[place] for place in places])
    return found


def _places(node: NodeDraws, dims: Sequence[str]) -> list[tuple[int, ...]]:
    table = node.table
    return list(zip(table.trials.tolist(), *(table.rows.elements[d].tolist() for d in dims), strict=True))
