"""A block's log density and gradient over one flat vector: compiled once, the data are plain inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.replace import graph_replace, vectorize_graph
from pytensor.tensor.variable import TensorVariable

from boatppl.compile.batch import batch
from boatppl.compile.marginal import GPMarginal, NormalMarginal
from boatppl.graph import Block, NodeGraph
from boatppl.table import Table
from boatppl.wiring import Key

DEGREES_OF_FREEDOM = 4.0  # of robust (Student-t) noise
FLOOR = -1e300  # a log density that is not finite; the sampler must never see NaN


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each unknown stands in the flat vector: value variables first, then the robust scales of each row."""

    names: tuple[str, ...]  # of the random variables
    shapes: tuple[tuple[int, ...], ...]
    size: int

    def starts(self) -> list[int]:
        return [0, *np.cumsum([int(np.prod(shape)) for shape in self.shapes]).tolist()]


@dataclass(frozen=True, eq=False)
class _Inputs:
    """The symbolic data of one node."""

    y: TensorVariable
    Z: TensorVariable
    groups: TensorVariable
    wires: Mapping[Key, TensorVariable]
    elements: Mapping[str, TensorVariable]

    def flat(self) -> list[TensorVariable]:
        return [self.y, self.Z, self.groups, *self.wires.values(), *self.elements.values()]


class BlockDensity:
    """The compiled log density of a block (DESIGN, *Mathematics*): priors plus each node's marginal likelihood.

    ``density(position (dimension,)) -> (log density, gradient (dimension,))`` after :meth:`bind` to the tables. The
    position holds PyMC's unconstrained values; robust nodes append ``log scale`` of every row (scale ~ Gamma(2, 2)).
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        model = block.model
        point = model.initial_point()
        self.layout = Layout(
            tuple(variable.name for variable in model.free_RVs),
            tuple(np.shape(point[value.name]) for value in model.value_vars),
            sum(int(np.size(point[value.name])) for value in model.value_vars),
        )
        self.centre = np.concatenate([np.ravel(point[value.name]) for value in model.value_vars] or [np.zeros(0)])
        position = pt.vector("position", dtype="float64")
        inputs = {node.name: _symbolic_inputs(node, block) for node in block.nodes}
        lengths = {length: pt.constant(int(length.eval()), dtype="int64") for length in model.dim_lengths.values()}
        [total] = graph_replace([self._graph(position, inputs)], lengths, strict=False)
        gradient = pytensor.grad(total, position)
        arguments = [argument for node in block.nodes for argument in inputs[node.name].flat()]
        self.function = pytensor.function(
            [position, *arguments], [total, gradient], mode="NUMBA", on_unused_input="ignore", trust_input=True
        )
        self._constrain: Any = None

    def _graph(self, position: TensorVariable, inputs: Mapping[str, _Inputs]) -> TensorVariable:
        block, model = self.block, self.block.model
        starts = self.layout.starts()
        values = {
            value: position[start:stop].reshape(shape)
            for value, shape, start, stop in zip(
                model.value_vars, self.layout.shapes, starts[:-1], starts[1:], strict=True
            )
        }
        shared = block.wiring.shared
        wanted = [out for node in block.nodes for out in (node.mean, node.noise, *_residual_variables(node))]
        replaced = model.replace_rvs_by_values([model.logp(), *wanted, *shared.values()])
        prior, wanted = replaced[0], iter(replaced[1 : 1 + len(wanted)])
        shared = dict(zip(shared, replaced[1 + len(list(_flat_outputs(block))) :], strict=True))
        total = graph_replace([prior], values, strict=False)[0]
        tail = self.layout.size
        for node in block.nodes:
            expressions = [next(wanted) for _ in range(2 + len(_residual_variables(node)))]
            data = inputs[node.name]
            logscale = position[tail : tail + data.y.shape[0]] if node.node.robust else None
            tail = tail + data.y.shape[0] if node.node.robust else tail
            total = total + _node_density(node, expressions, data, logscale, values, shared, block)
        return total

    def bind(self, tables: Mapping[str, Table]) -> Any:
        """Return ``position -> (log density, gradient)`` for the measurements in the tables; never NaN, never raises."""
        arguments = [item for node in self.block.nodes for item in tables[node.name].arguments()]
        function = self.function.vm.jit_fn if hasattr(self.function.vm, "jit_fn") else self.function

        def density(position: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = function(np.asarray(position, float), *arguments)
            value = float(value)
            if not (np.isfinite(value) and np.isfinite(gradient).all()) or value <= FLOOR:
                return FLOOR, np.zeros_like(position)
            return value, gradient

        return density

    def dimension(self, tables: Mapping[str, Table]) -> int:
        """Return the length of the position for these tables: robust nodes add one latent scale a row."""
        return self.layout.size + sum(len(tables[n.name].y) for n in self.block.nodes if n.node.robust)

    def start(self, tables: Mapping[str, Table]) -> np.ndarray:
        """Return the prior's centre ``(dimension,)``: PyMC's initial point, robust scales 1."""
        return np.concatenate([self.centre, np.zeros(self.dimension(tables) - self.layout.size)])

    def constrain(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Map positions ``(draw, dimension)`` to variables in their own unit: name -> ``(draw, *shape)``."""
        model = self.block.model
        if self._constrain is None:
            variables = [*model.free_RVs, *self._deterministics()]
            replaced = model.replace_rvs_by_values(variables)
            batched = [pt.tensor(v.name, dtype="float64", shape=(None, *v.type.shape)) for v in model.value_vars]
            table = dict(zip(model.value_vars, batched, strict=True))
            outputs = vectorize_graph(replaced, table)
            self._constrain = (
                [variable.name for variable in variables],
                pytensor.function(batched, outputs, mode="FAST_COMPILE", on_unused_input="ignore"),
            )
        names, function = self._constrain
        starts = self.layout.starts()
        parts = [
            positions[:, start:stop].reshape(len(positions), *shape)
            for shape, start, stop in zip(self.layout.shapes, starts[:-1], starts[1:], strict=True)
        ]
        return {
            name: np.broadcast_to(array, (len(positions), *np.shape(array)[1:]))
            for name, array in zip(names, function(*parts), strict=True)
        }

    def robust_scales(self, positions: np.ndarray, tables: Mapping[str, Table]) -> dict[str, np.ndarray]:
        """Return each robust node's latent precision scales, name -> ``(draw, row)``."""
        tail, found = self.layout.size, {}
        for node in self.block.nodes:
            if node.node.robust:
                rows = len(tables[node.name].y)
                found[node.name] = np.exp(positions[:, tail : tail + rows])
                tail += rows
        return found

    def _deterministics(self) -> list[TensorVariable]:
        """The model's deterministics of variables alone; one that depends on a wire has no single value."""
        wiring = self.block.wiring
        return [item for item in self.block.model.deterministics if not wiring.dependencies([item])]


def _residual_variables(node: NodeGraph) -> tuple[TensorVariable, ...]:
    return (node.amplitude, node.lengthscale) if node.inputs else ()


def _flat_outputs(block: Block) -> list[TensorVariable]:
    return [out for node in block.nodes for out in (node.mean, node.noise, *_residual_variables(node))]


def _symbolic_inputs(node: NodeGraph, block: Block) -> _Inputs:
    return _Inputs(
        pt.vector(f"{node.name}_y", dtype="float64"),
        pt.matrix(f"{node.name}_Z", dtype="float64"),
        pt.lvector(f"{node.name}_groups"),
        {
            key: pt.tensor(key.name, dtype="float64", shape=(None,) * (1 + len(key.dims)))
            for key in node.evaluator.keys
        },
        {dim: pt.lvector(dim) for dim in node.node.over},
    )


def _node_density(
    node: NodeGraph,
    expressions: list[TensorVariable],
    data: _Inputs,
    logscale: TensorVariable | None,
    values: Mapping[Any, TensorVariable],
    shared: Mapping[str, TensorVariable],
    block: Block,
) -> TensorVariable:
    """log p(T(y) | unknowns): the residual marginalised, noise a scale mixture where robust."""
    mean, noise = batch(expressions[:2], block.wiring, node.node.over, data.wires, data.elements, values, shared)
    noise_variance = pt.square(noise) + pt.zeros_like(data.y)
    density = pt.constant(0.0)
    if logscale is not None:
        half = DEGREES_OF_FREEDOM / 2.0
        constant = half * np.log(half) - float(pt.gammaln(half).eval())
        density = (constant + half * logscale - half * pt.exp(logscale)).sum()
        noise_variance = noise_variance * pt.exp(-logscale)
    residual = data.y - mean
    if not node.inputs:
        return density + NormalMarginal()(residual, noise_variance)[0]
    amplitude, lengthscale = graph_replace(expressions[2:], values, strict=False)
    kernel = GPMarginal(node.node.residual.kernel)
    return density + kernel(residual, data.Z, data.groups, amplitude, lengthscale, noise_variance)[0]
