"""The table each node is fitted from: measured rows, what arrived at them, and the residual's inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boatppl.graph import DAG, NodeGraph, ResidualInput
from boatppl.rows import Rows, arrive, every_row
from boatppl.transform import Transform
from boatppl.wiring import Key


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one node.

    Shapes: ``y (row,)`` on the transformed scale, ``natural (row,)`` in the node's unit, ``Z (row, column)``, ``groups
    (column,)`` the input of each column, ``wires`` key -> ``(row, *dims)``, ``trials (row,)`` their numbers.
    ``unused`` says why trials with a measurement gave no row: reason -> trial numbers.
    """

    node: NodeGraph
    transform: Transform
    y: np.ndarray
    natural: np.ndarray
    Z: np.ndarray
    groups: np.ndarray
    wires: Mapping[Key, np.ndarray]
    rows: Rows
    trials: np.ndarray
    unused: Mapping[str, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.y)

    def arguments(self) -> list[np.ndarray]:
        """Return the arrays of a compiled density, in its order."""
        return [self.y, self.Z, self.groups, *self.wires.values(), *self.rows.elements.values()]


@dataclass(frozen=True, eq=False)
class Measured:
    """What the trials returned, as quantities: name -> ``(1, trial, *dims)``, NaN where missing."""

    numbers: np.ndarray
    unit: np.ndarray
    contexts: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]


def measured(model: DAG, trials: Sequence[Any]) -> Measured:
    """Collect the measurements of finished trials (objects with number, configuration, context and measurements)."""
    numbers = np.array([trial.number for trial in trials], np.int64)
    unit = model.space.encode([trial.configuration for trial in trials])
    contexts = {
        name: np.array([float(trial.context[name]) for trial in trials]) for name in model.space.contexts
    }
    values = dict(model.inputs(unit, contexts)) if len(trials) else {}
    for name in model.nodes if len(trials) else ():
        shape = tuple(model.sizes[dim] for dim in model.sources[name].dims)
        column = [np.broadcast_to(trial.measurements.get(name, np.nan), shape) for trial in trials]
        values[name] = np.array(column, float)[None]
    for name in model.order if len(trials) else ():
        if name in model.derived:
            values[name] = model.evaluate_derived(name, values)
    return Measured(numbers, unit, contexts, values)


def residual_features(
    model: DAG,
    node: NodeGraph,
    values: Mapping[str, np.ndarray],
    unit: np.ndarray,
    contexts: Mapping[str, np.ndarray],
    transforms: Mapping[str, Transform],
    rows: Rows,
) -> np.ndarray:
    """Return the residual's inputs ``(draw or 1, row, column)``, each scaled to about [0, 1]."""
    columns = [
        _feature(model, node, item, values, unit, contexts, transforms, rows) for item in node.inputs
    ]
    draws = max([len(column) for column in columns] + [1])
    shaped = [np.broadcast_to(c, (draws, len(rows), c.shape[-1])) for c in columns]
    return np.concatenate(shaped, axis=-1) if shaped else np.zeros((1, len(rows), 0))


def _feature(
    model: DAG,
    node: NodeGraph,
    item: ResidualInput,
    values: Mapping[str, np.ndarray],
    unit: np.ndarray,
    contexts: Mapping[str, np.ndarray],
    transforms: Mapping[str, Transform],
    rows: Rows,
) -> np.ndarray:
    source = model.sources[item.name]
    remaining = tuple(dim for dim in source.dims if dim not in node.node.over)
    if item.kind in ("parameter", "context"):
        features = model.space.features(unit, item.name, contexts)[None]  # (1, configuration, column)
        if source.dims and not remaining:  # one share of a simplex for each element
            return features[:, rows.configuration, rows.elements[source.dims[0]], None]
        return features[:, rows.configuration]
    [value] = arrive(values, [Key(item.name, remaining)], model.sources, rows).values()
    if item.kind == "node":
        value = transforms[item.name].forward(value)
    scaled = (value - item.center) / item.width
    return scaled.reshape(*scaled.shape[:2], -1)


def feature_groups(model: DAG, node: NodeGraph) -> np.ndarray:
    """Return the input number of each residual column ``(column,)``: a vector's or categorical's columns share one."""
    widths = []
    for item in node.inputs:
        dims = [dim for dim in model.sources[item.name].dims if dim not in node.node.over]
        whole = len(dims) == len(model.sources[item.name].dims)
        if item.kind in ("parameter", "context"):
            widths.append(model.space.feature_columns(item.name) if whole or dims else 1)
        else:
            widths.append(int(np.prod([model.sizes[dim] for dim in dims])))
    return np.repeat(np.arange(len(widths)), widths).astype(np.int64)


def tables(model: DAG, data: Measured) -> dict[str, Table]:
    """Return the table of every node; only rows whose measurement and parents are there are used."""
    transforms = {name: transform_of(model, name, data) for name in model.nodes}
    return {name: _table(model, model.nodes[name], data, transforms) for name in model.nodes}


def transform_of(model: DAG, name: str, data: Measured) -> Transform:
    """Return the node's transform; a node without a parametric part is standardised by its measurements."""
    node = model.nodes[name].node
    transform = Transform(node.transform)
    if not node.standardised or name not in data.values:
        return transform
    values = transform.forward(data.values[name])
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return transform
    spread = float(np.std(values)) if len(values) > 1 else 0.0
    return replace(transform, location=float(np.mean(values)), spread=spread or max(abs(float(np.mean(values))), 1.0))


def _table(model: DAG, node: NodeGraph, data: Measured, transforms: Mapping[str, Transform]) -> Table:
    over, transform = node.node.over, transforms[node.name]
    rows = every_row(len(data.numbers), over, model.sizes)
    if len(data.numbers) == 0:
        wires = {
            key: np.zeros((0, *(model.sizes[dim] for dim in key.dims))) for key in node.evaluator.keys
        }
        groups = feature_groups(model, node)
        nothing = np.zeros(0)
        return Table(node, transform, nothing, nothing, np.zeros((0, len(groups))), groups, wires, rows, rows.configuration, {})
    natural = data.values[node.name].reshape(-1)
    wires = arrive(data.values, node.evaluator.keys, model.sources, rows)
    Z = residual_features(model, node, data.values, data.unit, data.contexts, transforms, rows)[0]
    y = transform.forward(natural)
    there = np.isfinite(natural) & np.isfinite(y)
    complete = there & np.isfinite(Z).all(axis=-1)
    for value in wires.values():
        complete &= np.isfinite(value[0].reshape(len(rows), -1)).all(axis=-1)
    return Table(
        node,
        transform,
        np.ascontiguousarray(y[complete]),
        natural[complete],
        np.ascontiguousarray(Z[complete]),
        feature_groups(model, node),
        {key: np.ascontiguousarray(value[0][complete]) for key, value in wires.items()},
        rows[complete],
        data.numbers[rows.configuration[complete]],
        _unused(model, node, data, rows, there & ~complete),
    )


def _unused(model: DAG, node: NodeGraph, data: Measured, rows: Rows, dropped: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Say which missing parent took which trials' rows out of the fit."""
    found: dict[str, tuple[int, ...]] = {}
    for name in model.origins([*model.parents(node.name)]):
        if model.sources[name].kind == "node":
            missing = ~np.isfinite(data.values[name][0].reshape(len(data.numbers), -1)).all(axis=-1)
            numbers = data.numbers[np.unique(rows.configuration[dropped & missing[rows.configuration]])]
            if len(numbers):
                found[f"{name} missing"] = tuple(int(number) for number in numbers)
    return found
