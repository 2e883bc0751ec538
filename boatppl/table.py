"""The table each node is fitted from: measured rows, what arrived at them, and the residual's inputs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from boatppl.graph import DAG, NodeGraph, ResidualInput
from boatppl.measurement import MeasurementError
from boatppl.node import SECONDS
from boatppl.rows import Rows, arrive, every_row
from boatppl.transform import Transform
from boatppl.trial import State, Trial
from boatppl.warp import EXACT, NOISES, compared, likeliest, standardised, warped
from boatppl.wiring import Key
from boatppl.words import ModelError, listed


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one node.

    Shapes: ``y (row,)`` on the transformed scale, ``natural (row,)`` in the node's unit, ``Z (row, column)``,
    ``groups (column,)`` the input of each column, ``wires`` key -> ``(row, *dims)``, ``trials (row,)`` their
    numbers. ``scales`` are those on which the residual compares quantities, by name. ``unused`` says why
    measured rows are not here: reason -> the trial number of each such row.
    ``bounded`` has the rows of a censored node that were not measured but are known to be above a bound,
    which their ``y`` and ``natural`` are.
    """

    node: NodeGraph
    transform: Transform
    scales: Mapping[str, Transform]
    y: np.ndarray
    natural: np.ndarray
    Z: np.ndarray
    groups: np.ndarray
    wires: Mapping[Key, np.ndarray]
    rows: Rows
    trials: np.ndarray
    unused: Mapping[str, tuple[int, ...]]
    bounded: "Table | None" = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def whole(self) -> "Table":
        """Every row that a node is fitted from: the measured ones, and behind them those that are bounded."""
        more = self.bounded
        if more is None or len(more) == 0:
            return self
        return replace(
            self,
            y=np.concatenate([self.y, more.y]),
            natural=np.concatenate([self.natural, more.natural]),
            Z=np.concatenate([self.Z, more.Z]),
            wires={key: np.concatenate([value, more.wires[key]]) for key, value in self.wires.items()},
            rows=Rows(np.concatenate([self.rows.configuration, more.rows.configuration]), {}),
            trials=np.concatenate([self.trials, more.trials]),
            bounded=None,
        )

    def rescaled(self, transform: Transform) -> "Table":
        """Return the same rows on another scale that has a place for all of them."""
        more = None if self.bounded is None else self.bounded.rescaled(transform)
        return replace(self, transform=transform, y=transform.forward(self.natural), bounded=more)

    def arguments(self) -> list[np.ndarray]:
        """Return the arrays of a compiled density, in its order."""
        whole = self.whole
        return [whole.y, whole.Z, whole.groups, *whole.wires.values(), *whole.rows.elements.values()]


@dataclass(frozen=True, eq=False)
class Measured:
    """What trials returned: ``numbers (trial,)``, ``unit (trial, coordinate)``, contexts by name.

    ``values`` has every quantity, name -> ``(1, trial, *dims)``, NaN where it is missing; ``bounds`` what
    each censored node was longer than, in its unit, name -> ``(trial,)``, NaN where nothing is known.
    """

    numbers: np.ndarray
    unit: np.ndarray
    contexts: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    bounds: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """The same measurements have the same one."""
        digest = hashlib.sha256(self.numbers.tobytes() + self.unit.tobytes())
        for part in (self.contexts, self.values, self.bounds):
            for name, value in part.items():
                digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
        return digest.digest()

    def where(self, keep: np.ndarray) -> "Measured":
        """Return what those of several trials returned where ``keep (trial,)`` is true."""
        several = len(keep)  # a quantity of one configuration (data) is the same in every trial
        return Measured(
            self.numbers[keep],
            self.unit[keep],
            {name: value[keep] for name, value in self.contexts.items()},
            {n: value[:, keep] if value.shape[1] == several else value for n, value in self.values.items()},
            {name: bound[keep] for name, bound in self.bounds.items()},
        )


def measured(model: DAG, trials: Sequence[Trial]) -> Measured:
    """Collect the measurements of finished trials.

    Raises
    ------
    ModelError
        For a trial without a context of the space.
    MeasurementError
        For a measurement of another shape than its node's.
    """
    numbers = np.array([trial.number for trial in trials], np.int64)
    unit = model.space.encode([trial.configuration for trial in trials])
    contexts = {name: np.array([_context(trial, name) for trial in trials]) for name in model.space.contexts}
    values = model.inputs(unit, contexts)
    for name in model.nodes:
        shape = model.sources[name].shape
        column = [_measurement(trial, name, shape) for trial in trials]
        values[name] = np.array(column, float).reshape(1, len(trials), *shape)
    for name in model.order:
        if name in model.derived:
            values[name] = model.evaluate_derived(name, values)
    bounds = {name: np.array([_bound(model, name, t) for t in trials], float) for name in censored(model)}
    return Measured(numbers, unit, contexts, values, bounds)


def censored(model: DAG) -> list[str]:
    """Return the nodes that a time limit bounds from below."""
    return [name for name, node in model.nodes.items() if node.node.censored]


def teaches(model: DAG, trial: Trial) -> bool:
    """Whether a model can learn from a finished trial: something was measured, or is known to be longer than
    the limit that ended it."""
    if trial.measurements:
        return True
    return any(np.isfinite(_bound(model, name, trial)) for name in censored(model))


def _bound(model: DAG, name: str, trial: Trial) -> float:
    """Return what a censored node was longer than, in its unit; NaN where it was measured, or nothing is
    known."""
    if trial.state is not State.TIMED_OUT or trial.timeout is None or name in trial.measurements:
        return np.nan
    return trial.timeout / SECONDS[model.nodes[name].node.unit or ""]


def _context(trial: Trial, name: str) -> float:
    if name not in trial.context:
        raise ModelError(
            f"trial {trial.number} has no value of the context {name!r}; leave it out, or give it one."
        )
    return float(trial.context[name])


def _measurement(trial: Trial, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return what a trial measured of a node ``shape``, NaN where nothing."""
    if name not in trial.measurements:
        return np.full(shape, np.nan)
    value = np.asarray(trial.measurements[name], float)
    if value.shape != shape:
        raise MeasurementError(
            f"trial {trial.number} measured {name} with shape {value.shape}, expected {shape}: a value for "
            "each element of the node's dims, NaN for missing ones."
        )
    return value


# -- the residual's inputs --------------------------------------------------------------


def residual_features(
    model: DAG,
    node: NodeGraph,
    values: Mapping[str, np.ndarray],
    unit: np.ndarray,
    contexts: Mapping[str, np.ndarray],
    scales: Mapping[str, Transform],
    rows: Rows,
) -> np.ndarray:
    """Return the residual's inputs ``(draw or 1, row, column)``, each scaled to about [0, 1]; ``scales`` has
    those of the quantities among them, before center and width."""
    columns = [
        _of_space(model, node, item.name, values, unit, contexts, rows)
        if item.kind in ("parameter", "context")
        else _of_quantity(model, node, item, values, scales[item.name], rows)
        for item in node.inputs
    ]
    draws = max([len(column) for column in columns], default=1)
    shaped = [np.broadcast_to(column, (draws, len(rows), column.shape[-1])) for column in columns]
    return np.concatenate([np.zeros((draws, len(rows), 0)), *shaped], axis=-1)


def _of_space(
    model: DAG,
    node: NodeGraph,
    name: str,
    values: Mapping[str, np.ndarray],
    unit: np.ndarray,
    contexts: Mapping[str, np.ndarray],
    rows: Rows,
) -> np.ndarray:
    """Return a parameter's or context's columns ``(1, row, column)``, as the space scales them."""
    if set(model.sources[name].dims) & set(node.node.over):  # of a vector, the element: a share, or 0 and 1
        [element] = arrive(values, [_key(model, node, name)], model.sources, rows).values()
        return element[..., None]
    return model.space.features(unit, name, contexts)[None, rows.configuration]


def _of_quantity(
    model: DAG,
    node: NodeGraph,
    item: ResidualInput,
    values: Mapping[str, np.ndarray],
    scale: Transform,
    rows: Rows,
) -> np.ndarray:
    """Return a quantity's columns ``(draw or 1, row, column)``: transformed, by its frozen center and
    width."""
    [value] = arrive(values, [_key(model, node, item.name)], model.sources, rows).values()
    scaled = (scale.forward(value) - item.center) / item.width
    return scaled.reshape(*scaled.shape[:2], int(np.prod(scaled.shape[2:])))


def input_scales(node: NodeGraph, transforms: Mapping[str, Transform]) -> dict[str, Transform]:
    """Return the scales on which a residual compares nodes, derived quantities and data, unless it finds
    others."""
    return {
        item.name: transforms[item.name] if item.kind == "node" else Transform(item.transform)
        for item in node.inputs
        if item.kind not in ("parameter", "context")
    }


def _key(model: DAG, node: NodeGraph, name: str) -> Key:
    """Return how a quantity arrives at a node."""
    return Key(name, tuple(dim for dim in model.sources[name].dims if dim not in node.node.over))


def feature_groups(model: DAG, node: NodeGraph) -> np.ndarray:
    """Return the input number of each residual column ``(column,)``; a vector's or choice's share one."""
    widths = []
    for item in node.inputs:
        key = _key(model, node, item.name)
        whole = key.dims == model.sources[item.name].dims
        if item.kind in ("parameter", "context"):
            widths.append(model.space.feature_columns(item.name) if whole else 1)
        else:
            widths.append(int(np.prod(model.wiring.shape(key))))
    return np.repeat(np.arange(len(widths)), widths).astype(np.int64)


# -- tables -----------------------------------------------------------------------------


def tables(model: DAG, data: Measured) -> dict[str, Table]:
    """Return the table of every node; only rows whose measurement and parents are there are used.

    A node without a parametric part has the scale that its rows speak for (:mod:`boatppl.warp`), and so have
    the measured quantities that its residual compares, unless scales are said.
    """
    transforms = {name: transform_of(model, name, data) for name in model.nodes}
    return {name: _on_its_scales(model, node, data, transforms) for name, node in model.nodes.items()}


def _on_its_scales(model: DAG, node: NodeGraph, data: Measured, transforms: Mapping[str, Transform]) -> Table:
    """Return a node's table, on the scales that it finds where none are said."""
    table = _table(model, node, data, transforms[node.name], input_scales(node, transforms))
    residual = node.node.residual
    if not node.node.standardised or residual is None:
        return table
    noises = EXACT if node.node.deterministic else NOISES
    for item in node.inputs:
        parent = model.nodes.get(item.name)
        if parent is not None and parent.node.standardised and parent.node.transform is None:
            others = [
                _table(model, node, data, table.transform, {**table.scales, item.name: scale})
                for scale in compared(data.values[item.name])
            ]
            options = [table, *others]
            inputs = [option.Z for option in options]
            table = options[likeliest(table.y, residual.kernel, inputs, table.groups, noises)]
    if node.node.transform is not None:
        return table
    return table.rescaled(warped(table.natural, residual.kernel, table.Z, table.groups, noises))


def transform_of(model: DAG, name: str, data: Measured) -> Transform:
    """Return the node's transform; a node without a parametric part is standardised by its measurements."""
    node = model.nodes[name].node
    transform = Transform(node.transform)
    return standardised(transform, data.values[name]) if node.standardised else transform


def _table(
    model: DAG, node: NodeGraph, data: Measured, transform: Transform, scales: Mapping[str, Transform]
) -> Table:
    rows = every_row(len(data.numbers), node.node.over, model.sizes)
    natural = data.values[node.name].reshape(-1)
    wires = arrive(data.values, node.evaluator.keys, model.sources, rows)
    [Z] = residual_features(model, node, data.values, data.unit, data.contexts, scales, rows)
    arrived = np.isfinite(Z).all(axis=-1)
    for value in wires.values():
        arrived &= _finite(value[0])

    def table(values: np.ndarray) -> tuple[Table, np.ndarray]:
        """The rows of some values ``(row,)`` in the node's unit that can be used, and which those are."""
        y = transform.forward(values)
        keep = np.isfinite(y) & arrived
        found = Table(
            node,
            transform,
            scales,
            np.ascontiguousarray(y[keep]),
            values[keep],
            np.ascontiguousarray(Z[keep]),
            feature_groups(model, node),
            {key: np.ascontiguousarray(value[0][keep]) for key, value in wires.items()},
            rows[keep],
            data.numbers[rows.configuration[keep]],
            {},
        )
        return found, keep

    found, complete = table(natural)
    bounded = table(data.bounds[node.name])[0] if node.node.censored else None
    unused = _unused(model, node, data, rows, np.isfinite(natural) & ~complete)
    return replace(found, unused=unused, bounded=bounded)


def _finite(value: np.ndarray) -> np.ndarray:
    """Return where ``(row, ...)`` is finite throughout, ``(row,)``."""
    return np.isfinite(value).all(axis=tuple(range(1, value.ndim)))


def _unused(
    model: DAG, node: NodeGraph, data: Measured, rows: Rows, dropped: np.ndarray
) -> dict[str, tuple[int, ...]]:
    """Say why measured rows are not used: reason -> the trial number of each."""
    missing, broken = _causes(model, node, data, rows)
    found: dict[str, list[int]] = {}
    for row in np.flatnonzero(dropped):
        absent = [name for name, at in missing.items() if at[row]]
        odd = [name for name, at in broken.items() if at[row]]
        reason = f"{listed(absent)} missing" if absent else f"{listed(odd)} not finite"
        if not absent and not odd:
            reason = f"outside the domain of transform {node.node.transform!r}"
        found.setdefault(reason, []).append(int(data.numbers[rows.configuration[row]]))
    return {reason: tuple(numbers) for reason, numbers in found.items()}


def _causes(
    model: DAG, node: NodeGraph, data: Measured, rows: Rows
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return at which rows ``(row,)`` each node is missing, and each derived quantity has no finite value."""
    missing: dict[str, np.ndarray] = {}
    broken: dict[str, np.ndarray] = {}
    for name in model.parents(node.name):
        kind = model.sources[name].kind
        if kind == "node":
            [value] = arrive(data.values, [_key(model, node, name)], model.sources, rows).values()
            missing[name] = ~_finite(value[0])
        elif kind in ("derived", "shared"):
            for origin in model.origins([name]):
                if model.sources[origin].kind == "node":
                    missing.setdefault(origin, ~_finite(data.values[origin][0])[rows.configuration])
        if kind == "derived":
            [value] = arrive(data.values, [_key(model, node, name)], model.sources, rows).values()
            compared = [Transform(item.transform) for item in node.inputs if item.name == name]
            broken[name] = ~_finite(value[0])
            for transform in compared:
                broken[name] |= ~_finite(transform.forward(value[0]))
    return missing, broken


def unused_rows(model: DAG, trials: Sequence[Trial]) -> list[str]:
    """Say which rows of which node cannot be used, and why: ``27 of 30 rows of p99 unused: gc_pause
    missing``."""
    lines = []
    for name, table in tables(model, measured(model, trials)).items():
        total = len(table) + sum(len(numbers) for numbers in table.unused.values())
        for reason, numbers in table.unused.items():
            lines.append(f"{len(numbers)} of {total} rows of {name} unused: {reason}")
    return lines


def orphans(model: DAG, trial: Trial) -> dict[str, list[str]]:
    """Return node that a trial did not measure -> the measured nodes of which it is a parent: they learn
    nothing from the trial."""
    found: dict[str, list[str]] = {}
    for child in model.nodes:
        parents = model.origins(model.parents(child)) if child in trial.measurements else ()
        for parent in parents:
            if parent in model.nodes and parent not in trial.measurements:
                found.setdefault(parent, []).append(child)
    return found


def shape_of(model: DAG, name: str) -> tuple[int, ...]:
    """Return the shape of a node's measurement: ``()`` for a number, one length a dim for a vector."""
    return tuple(model.sizes[dim] for dim in model.sources[name].dims)


def check_domain(name: str, value: float | np.ndarray, kind: str | None) -> None:
    """Raise a MeasurementError where a measured value (NaN is missing) has no place on a node's transformed
    scale."""
    there = np.asarray(value)[np.isfinite(value)]
    if not np.isfinite(Transform(kind).forward(there)).all():
        raise MeasurementError(
            f"{name} was measured as {value}, but its transform {kind!r} needs values "
            f"{Transform(kind).domain}."
        )
