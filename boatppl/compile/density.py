"""A block's log density and gradient over one flat vector: compiled once, the data are plain inputs."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from numba.core.errors import NumbaError
from pytensor.graph.replace import graph_replace, vectorize_graph
from pytensor.tensor.variable import TensorVariable
from scipy.special import gammaln

from boatppl.compile.batch import batch, interpreted, symbol
from boatppl.compile.marginal import GPMarginal, NormalMarginal
from boatppl.gp.entry import likelihood_address
from boatppl.gp.inducing import choose_inducing, enough_points
from boatppl.graph import Block, NodeGraph
from boatppl.priors import INTERPRETED
from boatppl.stage import stage
from boatppl.table import Table
from boatppl.wiring import Key

LogDensity = Callable[[np.ndarray], tuple[float, np.ndarray]]

DEGREES_OF_FREEDOM = 4.0  # of robust (Student-t) noise
FLOOR = -1e300  # a log density that is not finite; the sampler must never see NaN


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each unknown stands in the flat vector: value variables first, then the robust rows' scales."""

    names: tuple[str, ...]  # of the random variables
    shapes: tuple[tuple[int, ...], ...]
    size: int  # of the value variables together

    def slices(self) -> list[slice]:
        """Return the places of each variable."""
        stops = np.cumsum([int(np.prod(shape)) for shape in self.shapes]).tolist()
        return [slice(a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True)] if stops else []


@dataclass(frozen=True, eq=False)
class _Inputs:
    """The symbolic data of one node, in the order of :func:`_arguments`."""

    y: TensorVariable
    Z: TensorVariable
    groups: TensorVariable
    wires: Mapping[Key, TensorVariable]
    elements: Mapping[str, TensorVariable]
    inducing: TensorVariable
    address: TensorVariable  # of the likelihood
    logscale: TensorVariable | None
    logexcess: TensorVariable | None

    def flat(self) -> list[TensorVariable]:
        return [
            self.y,
            self.Z,
            self.groups,
            *self.wires.values(),
            *self.elements.values(),
            self.inducing,
            self.address,
        ]


@dataclass(frozen=True, eq=False)
class Excess:
    """The bounded rows of a censored node under every draw, both ``(draw, row)``: how far T(y) is ``above``
    the bound, and the precision ``scale`` of a robust node's noise there (1 of any other node)."""

    above: np.ndarray
    scale: np.ndarray

    def take(self, draws: np.ndarray) -> "Excess":
        """Return that of some draws, in their order."""
        return Excess(self.above[draws], self.scale[draws])


@dataclass(frozen=True, eq=False)
class Bound:
    """A block's density given measurements: a function of ``parts`` of the position and ``arguments``."""

    function: Any
    parts: Sequence[slice]
    arguments: Sequence[np.ndarray]

    def __call__(self, position: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the log density and its gradient at a position, the latter ``(dimension,)``.

        It never raises and never returns NaN: where the density is not finite, or what the developer wrote
        raises, it is ``FLOOR`` with a zero gradient.
        """
        position = np.asarray(position, float)
        try:
            value, gradient = self.function(*[position[part] for part in self.parts], *self.arguments)
        except NumbaError:  # the code itself could not be compiled: no density at all, and not a low one
            raise
        except Exception:  # of compiled code: a matrix of the developer's without a factor, say
            return FLOOR, np.zeros_like(position)
        value = float(value)
        if not (np.isfinite(value) and np.isfinite(gradient).all()) or value <= FLOOR:
            return FLOOR, np.zeros_like(position)
        return value, gradient


class BlockDensity:
    """The compiled log density of a block (DESIGN, *Mathematics*): priors and each node's marginal
    likelihood.

    ``density(position (dimension,)) -> (log density, gradient (dimension,))`` after :meth:`bind` to the
    tables. The position holds PyMC's unconstrained values; robust nodes append ``log scale`` of every row,
    where the row's noise variance is ``noise^2 / scale`` and ``scale ~ Gamma(2, 2)``: marginally a Student-t
    with 4 degrees of freedom.

    A bounded row of a censored node is as likely as its value is, which is an unknown: ``T(y) = bound + s
    exp(u)``, with s the node's scale and u behind everything else in the position. With a residual the rows
    are not independent given the variables, so no product of tail probabilities would do.

    A table of many rows is summarised by :func:`inducing_points`; the block is not compiled
    again. (The likelihood of many rows is compiled when a table first needs it, once on a machine.)
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        model = block.model
        point = model.initial_point()
        centres = [np.asarray(point[value.name], float) for value in model.value_vars]
        self.layout = Layout(
            tuple(variable.name for variable in model.free_RVs),
            tuple(centre.shape for centre in centres),
            sum(centre.size for centre in centres),
        )
        self.centre = np.concatenate([np.zeros(0), *map(np.ravel, centres)])
        # Parts of fixed length need no checks of their shapes; the robust rows' scales come apart.
        head = pt.vector("position", dtype="float64", shape=(self.layout.size,))
        inputs = {node.name: _symbolic_inputs(node) for node in block.nodes}
        lengths = {
            length: pt.constant(int(length.eval(mode=INTERPRETED)), dtype="int64")
            for length in model.dim_lengths.values()
        }
        values = {
            value: head[where].reshape(shape)
            for value, where, shape in zip(
                model.value_vars, self.layout.slices(), self.layout.shapes, strict=True
            )
        }
        [total] = graph_replace([self._graph(values, inputs)], lengths, strict=False)
        latent = [data.logscale for data in inputs.values() if data.logscale is not None]
        latent += [data.logexcess for data in inputs.values() if data.logexcess is not None]
        unknowns = [*values.values(), *latent]
        slopes = pytensor.grad(total, unknowns, disconnected_inputs="ignore", return_disconnected="zero")
        gradient = _joined(slopes)
        data = [argument for node in block.nodes for argument in inputs[node.name].flat()]
        options = {"mode": "NUMBA", "on_unused_input": "ignore", "trust_input": True}
        # Numba inlines what it has just compiled, but not what it reads from its cache. With fast mathematics
        # that changes the rounding, and a study that is resumed on the same machine would go another way.
        with pytensor.config.change_flags(numba__fastmath=False, generated_src_dir=_sources()):
            self.function = pytensor.function([head, *latent, *data], [total, gradient], **options)
        self.function.vm.jit_fn.targetoptions["nogil"] = True  # other threads go on meanwhile
        self._constrain: tuple[list[str], Any] | None = None
        self._log_prior: Any = None

    def _graph(self, values: Mapping[Any, TensorVariable], inputs: Mapping[str, _Inputs]) -> TensorVariable:
        block, model = self.block, self.block.model
        names = _shared_names(block)
        wanted = [out for node in block.nodes for out in _expressions(node)]
        replaced = model.replace_rvs_by_values(
            [model.logp(), *(block.wiring.shared[name] for name in names), *wanted]
        )
        [total] = graph_replace(replaced[:1], values, strict=False)
        shared = dict(zip(names, replaced[1:], strict=False))
        expressions = iter(replaced[1 + len(names) :])
        for node in block.nodes:
            own = [next(expressions) for _ in _expressions(node)]
            total = total + _node_density(node, own, inputs[node.name], values, shared, block)
        return total

    def bind(self, tables: Mapping[str, Table]) -> "Bound":
        """Return ``position -> (log density, gradient)`` for the measurements in the tables."""
        arguments = [item for node in self.block.nodes for item in _arguments(tables[node.name])]
        scales, excesses = self._latent_rows(tables)
        parts = [slice(0, self.layout.size), *scales.values(), *excesses.values()]
        return Bound(self.function.vm.jit_fn, parts, arguments)

    def dimension(self, tables: Mapping[str, Table]) -> int:
        """Return the length of the position for these tables: robust nodes add one latent scale a row,
        censored ones one latent value a bounded row."""
        scales, excesses = self._latent_rows(tables)
        return max([self.layout.size, *(rows.stop for rows in [*scales.values(), *excesses.values()])])

    def start(self, tables: Mapping[str, Table]) -> np.ndarray:
        """Return the prior's centre ``(dimension,)``: PyMC's initial point, robust scales 1, bounded rows one
        scale of their node above the bound."""
        return np.concatenate([self.centre, np.zeros(self.dimension(tables) - self.layout.size)])

    def constrain(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Map positions ``(draw, dimension)`` to variables in their own unit: name -> ``(draw, *shape)``."""
        model = self.block.model
        if self._constrain is None:
            variables = [*model.free_RVs, *self._deterministics()]
            names = [variable.name for variable in variables]
            self._constrain = names, self._by_draw(model.replace_rvs_by_values(variables))
        names, function = self._constrain
        return dict(zip(names, function(positions), strict=True))

    def log_prior(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the log density of each unknown under its prior, in its own unit: name -> ``(draw, ...)``.

        An unknown whose prior is joint over its elements has one value a draw. The latent scales of robust
        rows are part of the noise.
        """
        if self._log_prior is None:
            model = self.block.model
            self._log_prior = self._by_draw(model.logp(vars=model.free_RVs, jacobian=False, sum=False))
        return dict(zip(self.layout.names, self._log_prior(positions), strict=True))

    def _by_draw(self, expressions: Sequence[TensorVariable]) -> Callable[[np.ndarray], list[np.ndarray]]:
        """Compile expressions of value variables: from positions ``(draw, dimension)`` to ``(draw, ...)``."""
        values = self.block.model.value_vars
        batched = [symbol(value.name, (None, *value.type.shape)) for value in values]
        outputs = vectorize_graph(list(expressions), dict(zip(values, batched, strict=True)))
        function = interpreted(batched, outputs)

        def by_draw(positions: np.ndarray) -> list[np.ndarray]:
            places = zip(self.layout.slices(), self.layout.shapes, strict=True)
            parts = [positions[:, where].reshape(len(positions), *shape) for where, shape in places]
            return [
                np.broadcast_to(array, (len(positions), *np.shape(array)[1:])) for array in function(*parts)
            ]

        return by_draw

    def robust_scales(self, positions: np.ndarray, tables: Mapping[str, Table]) -> dict[str, np.ndarray]:
        """Return each robust node's latent precision scales, name -> ``(draw, row)`` of measured rows."""
        places, _ = self._latent_rows(tables)
        return {name: np.exp(positions[:, at])[:, : len(tables[name])] for name, at in places.items()}

    def excesses(self, positions: np.ndarray, tables: Mapping[str, Table]) -> dict[str, Excess]:
        """Return the bounded rows of each censored node under every position ``(draw, dimension)``."""
        scales, places = self._latent_rows(tables)
        found = {}
        for node in self.block.nodes:
            if node.node.censored:
                above = node.scale * np.exp(positions[:, places[node.name]])
                every = np.exp(positions[:, scales[node.name]]) if node.node.robust else np.ones_like(above)
                found[node.name] = Excess(above, every[:, every.shape[1] - above.shape[1] :])
        return found

    def _latent_rows(self, tables: Mapping[str, Table]) -> tuple[dict[str, slice], dict[str, slice]]:
        """Return where in the position the scales of each robust node's rows stand, and behind all of them
        the logarithms of the excesses of each censored node's bounded rows."""
        tail = self.layout.size
        scales: dict[str, slice] = {}
        excesses: dict[str, slice] = {}
        for node in self.block.nodes:
            if node.node.robust:
                scales[node.name] = slice(tail, tail + len(tables[node.name].whole))
                tail = scales[node.name].stop
        for node in self.block.nodes:
            if node.node.censored:
                excesses[node.name] = slice(tail, tail + len(tables[node.name].bounded or ()))
                tail = excesses[node.name].stop
        return scales, excesses

    def _deterministics(self) -> list[TensorVariable]:
        """The model's deterministics of variables alone; one that depends on a wire has no single value."""
        wiring = self.block.wiring
        return [item for item in self.block.model.deterministics if not wiring.dependencies([item])]


def kernel_of(node: NodeGraph) -> str:
    """Return the name of the covariance function of a node's residual."""
    residual = node.node.residual
    return "none" if residual is None else residual.kernel


_COMPILING = threading.Lock()


def density_of(block: Block) -> BlockDensity:
    """Return a block's density, compiled when it is first asked for: one serves every study of the model."""
    with _COMPILING:
        if not block.compiled:
            stage(f"compiling {block.name}")
            block.compiled.append(BlockDensity(block))
        density: BlockDensity = block.compiled[0]
    return density


def inducing_points(table: Table) -> np.ndarray:
    """Return the inducing inputs ``(point, column)`` of a table; none where it is small enough for exact
    work.

    A function of the table alone, so that the draws and everything conditioned on them use the same ones.
    """
    Z = table.whole.Z
    points = enough_points(*Z.shape)
    return choose_inducing(Z, points, seed=0) if points else Z[:0]


def _arguments(table: Table) -> list[np.ndarray]:
    points = inducing_points(table)
    return [*table.arguments(), points, np.asarray(likelihood_address(len(points)))]


def _expressions(node: NodeGraph) -> tuple[TensorVariable, ...]:
    """A node's symbolic mean and noise of one row, and its residual's amplitude and lengthscales."""
    return (node.mean, node.noise, *((node.amplitude, node.lengthscale) if node.inputs else ()))


def _joined(parts: Sequence[TensorVariable]) -> TensorVariable:
    """Return parts of any shape one after the other.

    Scalars are stacked, not raveled first: as vectors of length 1 they would be compiled as loops, each for
    half a second.
    """
    vectors = []
    for scalar, together in groupby(parts, key=lambda part: bool(part.ndim == 0)):
        run = list(together)
        vectors += [pt.stack(run)] if scalar else [part.ravel() for part in run]
    return pt.concatenate(vectors) if vectors else pt.zeros(0)


def _sources() -> str:
    """Return where PyTensor keeps the Python it generates: without a folder of its own, every function would
    leave files behind in the system's temporary one for ever."""
    return pytensor.config.generated_src_dir or str(Path(pytensor.config.compiledir) / "generated")


def _shared_names(block: Block) -> list[str]:
    """Names of the shared quantities of which the block's nodes take one element a row."""
    sources = block.wiring.sources
    outputs = [out for node in block.nodes for out in (node.mean, node.noise)]
    return [key.name for key in block.wiring.dependencies(outputs) if sources[key.name].kind == "shared"]


def _symbolic_inputs(node: NodeGraph) -> _Inputs:
    return _Inputs(
        pt.vector(f"{node.name}_y", dtype="float64"),
        pt.matrix(f"{node.name}_Z", dtype="float64"),
        pt.lvector(f"{node.name}_groups"),
        {key: symbol(key.name, (None,) * (1 + len(key.dims))) for key in node.evaluator.keys},
        {dim: pt.lvector(dim) for dim in node.node.over},
        pt.matrix(f"{node.name}_inducing", dtype="float64"),
        pt.lscalar(f"{node.name}_address"),
        pt.vector(f"{node.name}_logscale", dtype="float64") if node.node.robust else None,
        pt.vector(f"{node.name}_logexcess", dtype="float64") if node.node.censored else None,
    )


def _node_density(
    node: NodeGraph,
    expressions: list[TensorVariable],
    data: _Inputs,
    values: Mapping[Any, TensorVariable],
    shared: Mapping[str, TensorVariable],
    block: Block,
) -> TensorVariable:
    """log p(T(y) | unknowns): the residual marginalised, noise a scale mixture where robust."""
    over, wiring = node.node.over, block.wiring
    mean, noise = batch(expressions[:2], wiring, over, data.wires, data.elements, values, shared)
    noise_variance = pt.square(noise) + pt.zeros_like(data.y)
    density = pt.constant(0.0)
    if data.logscale is not None:  # scale ~ Gamma(half, half), with the Jacobian of its logarithm
        half = DEGREES_OF_FREEDOM / 2.0
        constant = half * np.log(half) - float(gammaln(half))
        density = (constant + half * data.logscale - half * pt.exp(data.logscale)).sum()
        noise_variance = noise_variance * pt.exp(-data.logscale)
    y = data.y
    if data.logexcess is not None:  # of the last rows y is unknown, flat above the bound: the Jacobian counts
        above = node.scale * pt.exp(data.logexcess)
        y = y + pt.concatenate([pt.zeros(y.shape[0] - above.shape[0]), above])
        density = density + data.logexcess.sum()
    residual = y - mean
    if not node.inputs:
        return density + NormalMarginal()(residual, noise_variance)[0]
    amplitude, lengthscale = graph_replace(expressions[2:], values, strict=False)
    marginal = GPMarginal(kernel_of(node))
    inputs = (
        residual,
        data.Z,
        data.groups,
        amplitude,
        lengthscale,
        noise_variance,
        data.inducing,
        data.address,
    )
    return density + marginal(*inputs)[0]
