"""``DAGModel``: nodes over a space, wired by name, checked at construction, cut into blocks."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from boatppl.compile.evaluate import Evaluator
from boatppl.node import Derived, Node, Shared, generic
from boatppl.priors import CONFIGURATIONS, DRAWS, SEED, noise_prior, residual_priors
from boatppl.rows import arrive, assemble, every_row
from boatppl.space import Space
from boatppl.transform import Transform
from boatppl.wiring import NAMES_OF_THE_RESIDUAL, Graph, Source, Wiring, check_variables
from boatppl.words import ModelError, listed, nearest

Part = Node | Derived | Shared


@dataclass(frozen=True)
class ResidualInput:
    """One input of a residual; ``center`` and ``width`` scale a node or data column to about [0, 1]."""

    name: str
    kind: str
    center: float = 0.0
    width: float = 1.0


@dataclass(frozen=True, eq=False)
class NodeGraph:
    """A node, run: symbolic mean and noise of one row on the transformed scale, and its unknowns by name."""

    node: Node
    mean: TensorVariable
    noise: TensorVariable
    inputs: tuple[ResidualInput, ...]
    scale: float
    variables: Mapping[str, TensorVariable]  # everything that mean, noise and residual depend on
    prefix: str  # of the variables' names in the block: "" or "node::"
    evaluator: Evaluator  # of (mean, noise)
    amplitude: TensorVariable | None = None
    lengthscale: TensorVariable | None = None  # (input,)

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True, eq=False)
class Block:
    """Nodes that are inferred together because they share unknowns, and their PyMC model (priors only)."""

    nodes: tuple[NodeGraph, ...]
    model: pm.Model
    wiring: Wiring

    @property
    def name(self) -> str:
        return "+".join(node.name for node in self.nodes)


class DAGModel:
    """Nodes over a space, wired by their functions' argument names into a directed acyclic graph.

    Parameters
    ----------
    space
        The :class:`boatppl.Space` of the parameters and contexts.
    parts
        What :func:`node`, :func:`derived`, :func:`shared` and :func:`generic` made, in any order.
    coords
        The names of the elements along each dim, as in PyMC.
    data
        Fixed data: name -> array, or name -> (dim or dims, array).

    Raises
    ------
    ModelError
        For an unknown wire, a circle, two parts of one name, a function that returns no tensor, a discrete free variable,
        a non-finite log density at the prior's centre, or a parametric part that is not finite on 99 % of prior draws.
    """

    def __init__(
        self,
        space: Space,
        parts: Sequence[Part],
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.space = space
        self.parts = _by_name(parts)
        self.data = {name: _data(name, value) for name, value in (data or {}).items()}
        self.coords = self._coords(coords)
        self.sizes = {dim: len(names) for dim, names in self.coords.items()}
        self.sources = self._sources()
        self._check_wires()
        self.order = self._topological_order()
        self._blocks_of = self._find_blocks()
        self.wiring = Wiring(self.sources)
        self.derived: dict[str, Evaluator] = {}
        self.nodes: dict[str, NodeGraph] = {}
        self._build()

    # -- what is where ------------------------------------------------------------------------------------------------

    def _coords(self, coords: Mapping[str, Sequence[Any]] | None) -> dict[str, list[Any]]:
        found = {dim: list(names) for dim, names in (coords or {}).items()}
        lengths = {dim: len(names) for dim, names in found.items()}
        for name, parameter in self.space.parameters.items():
            dim, size = getattr(parameter, "dim", None), getattr(parameter, "n", None)
            if dim is not None:
                _check_length(lengths, dim, size, f"parameter {name!r}")
                found.setdefault(dim, list(range(size)))
        for name, (dims, value) in self.data.items():
            for dim, size in zip(dims, value.shape, strict=True):
                _check_length(lengths, dim, size, f"data {name!r}")
                found.setdefault(dim, list(range(size)))
        for part in self.parts.values():
            for dim in (*getattr(part, "over", ()), *getattr(part, "dims", ())):
                if dim not in found:
                    raise ModelError(
                        f"{part!r} uses the dim {dim!r}, which nothing gives a length: pass coords={{{dim!r}: [...]}} to "
                        f"DAGModel.{nearest(dim, found)}"
                    )
        return found

    def _sources(self) -> dict[str, Source]:
        sources: dict[str, Source] = {}
        for name, parameter in self.space.parameters.items():
            dim = getattr(parameter, "dim", None)
            choices = getattr(parameter, "choices", ())
            dims = (dim,) if dim else (f"{name}_share",) if hasattr(parameter, "n") else ()
            if dims and dims[0] not in self.coords:
                self.coords[dims[0]] = list(range(parameter.n))
                self.sizes[dims[0]] = parameter.n
            sources[name] = Source(name, "parameter", dims, {str(c): i for i, c in enumerate(choices)})
        sources |= {name: Source(name, "context") for name in self.space.contexts}
        for name, (dims, value) in self.data.items():
            _check_new(name, "data", sources)
            sources[name] = Source(name, "data", dims, value=value)
        for name, part in self.parts.items():
            kind = type(part).__name__.lower()
            _check_new(name, kind, sources)
            dims = part.dims if isinstance(part, Shared) else part.over
            sources[name] = Source(name, kind, dims + (part.dims if isinstance(part, Derived) else ()))
        return sources

    def _check_wires(self) -> None:
        for part in self.parts.values():
            forbidden = {"shared"} if isinstance(part, Derived) else set()
            for name in part.arguments:
                if name not in self.sources:
                    raise ModelError(
                        f"{part!r} takes {name!r}, which is no parameter, context, data, derived quantity, shared unknown or "
                        f"node of this model.{nearest(name, self.sources)} Known: {listed(self.sources)}."
                    )
                if self.sources[name].kind in forbidden:
                    raise ModelError(
                        f"{part!r} takes the shared unknown {name!r}, but a derived quantity is a deterministic function of "
                        f"parameters and nodes. Make {part.name!r} a @boat.shared (a latent quantity)."
                    )
            if isinstance(part, Node) and part.residual is not None:
                self._check_inputs(part, part.residual.inputs or ())

    def _check_inputs(self, node: Node, inputs: Sequence[str]) -> None:
        for name in inputs:
            source = self.sources.get(name)
            if source is None:
                raise ModelError(
                    f"the residual of {node!r} has the input {name!r}, which is not in this model."
                    f"{nearest(name, self.sources)} Known: {listed(self.sources)}."
                )
            if source.kind in ("derived", "shared"):
                raise ModelError(
                    f"the residual of {node!r} has the input {name!r}, which is {source.kind}: inputs are parameters, contexts, "
                    f"nodes and data. Name what {name!r} is computed from: {listed(self.origins([name]))}."
                )
            if name == node.name:
                raise ModelError(f"the residual of {node!r} has itself as an input.")

    def origins(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return names with derived and shared ones replaced by the parameters, contexts, nodes and data they use."""
        found: dict[str, None] = {}
        for name in names:
            part = self.parts.get(name)
            if isinstance(part, Derived | Shared):
                found |= dict.fromkeys(self.origins(part.arguments))
            else:
                found[name] = None
        return tuple(found)

    def parents(self, name: str) -> tuple[str, ...]:
        """Return what a part uses: its function's, its noise function's and its residual's inputs."""
        part = self.parts[name]
        names = dict.fromkeys(part.arguments)
        if isinstance(part, Node):
            if callable(part.noise) and hasattr(part.noise, "__code__"):
                names |= dict.fromkeys(part.noise.__code__.co_varnames[: part.noise.__code__.co_argcount])
            if part.residual is not None:
                names |= dict.fromkeys(part.residual.inputs or ())
        return tuple(names)

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Return the names of a node's residual inputs; empty for anything else."""
        return tuple(item.name for item in self.nodes[name].inputs) if name in self.nodes else ()

    def _topological_order(self) -> tuple[str, ...]:
        position = {name: i for i, name in enumerate(self.parts)}
        waits = {name: {p for p in self.parents(name) if p in self.parts} for name in self.parts}
        ready = [position[name] for name, needed in waits.items() if not needed]
        heapq.heapify(ready)
        names, order = list(self.parts), []
        while ready:
            done = names[heapq.heappop(ready)]
            order.append(done)
            for name, needed in waits.items():
                if done in needed:
                    needed.remove(done)
                    if not needed:
                        heapq.heappush(ready, position[name])
        if len(order) < len(names):
            raise ModelError(
                f"the model has a circle: {' -> '.join(_circle(waits))}. A node may only use what is known before it; take "
                f"one of these wires out."
            )
        return tuple(order)

    def _find_blocks(self) -> dict[str, int]:
        """Return part name -> block number: nodes joined by the shared unknowns that they use (union-find)."""
        root = {name: name for name, part in self.parts.items() if not isinstance(part, Derived)}

        def find(name: str) -> str:
            while root[name] != name:
                name = root[name]
            return name

        for name in root:
            for used in self.parts[name].arguments:
                if isinstance(self.parts.get(used), Shared):
                    root[find(name)] = find(used)
        numbers: dict[str, int] = {}
        result = {}
        for name in self.order:
            if name in root:
                result[name] = numbers.setdefault(find(name), len(numbers))
        for name, part in self.parts.items():
            users = [n for n in result if result[n] == result.get(name) and isinstance(self.parts[n], Node)]
            if isinstance(part, Shared) and not users:
                raise ModelError(f"{part!r} is used by no node: take it out of the model or name it as an argument.")
        return result

    # -- running the functions ----------------------------------------------------------------------------------------

    def _build(self) -> None:
        models = [pm.Model(coords=self.coords) for _ in set(self._blocks_of.values())]
        crowd = [sum(isinstance(self.parts[n], Node) for n, b in self._blocks_of.items() if b == i) for i in range(len(models))]
        rng = np.random.default_rng(SEED)
        values, unit, contexts = self._prior_inputs(rng)
        for name in self.order:
            part = self.parts[name]
            if isinstance(part, Derived):
                graph = self.wiring.graph(part, None)
                self.derived[name] = Evaluator([graph.expression], self.wiring, part.over)
                values[name] = self.evaluate_derived(name, values)
                continue
            number = self._blocks_of[name]
            model = models[number]
            if isinstance(part, Shared):
                with model:
                    known = set(model.named_vars)
                    self.wiring.graph(part, model)
                check_variables(part, model, [v for n, v in model.named_vars.items() if n not in known], self.wiring)
            else:
                prefix = f"{name}::" if crowd[number] > 1 else ""
                self.nodes[name], values[name] = self._build_node(part, model, prefix, values, unit, contexts, rng)
        blocks = []
        for number, model in enumerate(models):
            nodes = tuple(graph for name, graph in self.nodes.items() if self._blocks_of[name] == number)
            _check_centre(model, nodes)
            blocks.append(Block(nodes, model, self.wiring))
        self.blocks = tuple(blocks)

    def _prior_inputs(self, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
        unit = self.space.sample(CONFIGURATIONS, SEED)
        contexts = {
            name: context.from_unit(rng.uniform(size=len(unit))) for name, context in self.space.contexts.items()
        }
        return self.inputs(unit, contexts), unit, contexts

    def inputs(self, unit: np.ndarray, contexts: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Return parameters, contexts and data as quantities: name -> ``(1, configuration or 1, *dims)``."""
        values = {name: wire[None] for name, wire in self.space.wires(unit, contexts).items()}
        return values | {name: value[None, None] for name, (_, value) in self.data.items()}

    def evaluate_derived(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return a derived quantity ``(draw or 1, configuration, *dims)`` from the quantities before it."""
        evaluator, over = self.derived[name], self.sources[name].dims
        over = self.parts[name].over
        n = max([values[key.name].shape[1] for key in evaluator.keys] + [1])
        rows = every_row(n, over, self.sizes)
        [result] = evaluator({}, arrive(values, evaluator.keys, self.sources, rows), rows.elements, len(rows))
        if not over:
            return result
        shape = (result.shape[0], n, *(self.sizes[dim] for dim in over), *result.shape[2:])
        return result.reshape(shape)

    def _build_node(
        self,
        node: Node,
        model: pm.Model,
        prefix: str,
        values: dict[str, np.ndarray],
        unit: np.ndarray,
        contexts: dict[str, np.ndarray],
        rng: np.random.Generator,
    ) -> tuple[NodeGraph, np.ndarray]:
        """Run a node, freeze its scale from the prior predictive, and give its residual and noise their priors."""
        known = set(model.named_vars)
        inputs = self._residual_inputs(node, values)
        with model, pm.Model(name=node.name) if prefix else model:
            graph = self.wiring.graph(node, model)
            fresh = {n: v for n, v in model.named_vars.items() if n not in known}
            _check_names(node, fresh, prefix)
            check_variables(node, model, list(fresh.values()), self.wiring)
            scale, mean = self._prior_scale(node, graph, model, values)
            residual: tuple[TensorVariable, ...] = ()
            if inputs:
                model.add_coord(f"{node.name}_input", [item.name for item in inputs])
                residual = residual_priors(node, scale, len(inputs))
            noise = graph.noise if graph.noise is not None else noise_prior(node, scale)
        variables = _variables(model, [mean, noise, *residual], self.wiring)
        evaluator = Evaluator([mean, noise], self.wiring, node.over, _variables(model, [mean, noise], self.wiring))
        built = NodeGraph(node, mean, noise, inputs, scale, variables, prefix, evaluator, *residual)
        return built, self._prior_values

    def _prior_scale(
        self, node: Node, graph: Graph, model: pm.Model, values: dict[str, np.ndarray]
    ) -> tuple[float, TensorVariable]:
        """Return the spread of T(f) over prior draws and configurations, and T(f); keep prior values for the children."""
        mean = graph.expression
        if not node.standardised:
            mean = Transform(node.transform).symbolic(graph.expression)
        variables = _variables(model, [mean], self.wiring)
        draws = draw_prior(variables, DRAWS, SEED)
        evaluator = Evaluator([mean], self.wiring, node.over, variables)
        n = max(array.shape[1] for array in values.values())
        rows = every_row(n, node.over, self.sizes)
        [transformed] = evaluator(draws, arrive(values, evaluator.keys, self.sources, rows), rows.elements, len(rows))
        transformed = np.broadcast_to(transformed, (DRAWS, len(rows)))
        finite = np.isfinite(transformed)
        if finite.mean() < 0.99:
            raise ModelError(
                f"{node!r}: its parametric part is not finite on {1 - finite.mean():.0%} of prior draws over the space"
                + (f" (with transform={node.transform!r} it must be {Transform(node.transform).domain})" if node.transform else "")
                + ". Keep its priors away from where it has no value, or change the transform."
            )
        sampled = np.where(finite, transformed, np.median(transformed[finite]))
        scale = 1.0 if node.standardised else prior_scale(sampled)
        jitter = np.random.default_rng(SEED).normal(size=sampled.shape) * 0.3 * scale
        self._prior_values = assemble(Transform(node.transform).inverse(sampled + jitter), n, node.over, self.sizes)
        return scale, mean

    def _residual_inputs(self, node: Node, values: Mapping[str, np.ndarray]) -> tuple[ResidualInput, ...]:
        if node.residual is None:
            return ()
        names = node.residual.inputs if node.residual.inputs is not None else self.origins(node.arguments)
        inputs = []
        for name in names:
            source = self.sources[name]
            center, width = 0.0, 1.0
            if source.kind == "node" and not self.parts[name].standardised:
                transformed = Transform(self.parts[name].transform).forward(values[name])
                low, high = np.quantile(transformed[np.isfinite(transformed)], [0.05, 0.95])
                center, width = float(low), float(high - low) or 1.0
            elif source.kind == "node":
                center, width = -2.0, 4.0  # standardised: two standard deviations to either side
            elif source.kind == "data":
                center, width = float(np.min(source.value)), float(np.ptp(source.value)) or 1.0
            inputs.append(ResidualInput(name, source.kind, center, width))
        return tuple(inputs)

    # -- windows ------------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> NodeGraph:
        if name not in self.nodes:
            raise ModelError(f"{name!r} is no node of this model.{nearest(name, self.nodes)} Nodes: {listed(self.nodes)}.")
        return self.nodes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def block_of(self, name: str) -> Block:
        """Return the block that holds a node."""
        return self.blocks[[name in (n.name for n in block.nodes) for block in self.blocks].index(True)]


def generic_model(space: Space, objective: str, like: Node | None = None) -> DAGModel:
    """Return the model that knows nothing: one node over every parameter and context of the space.

    It inherits the transform and the robustness of ``like``, the developer's node of the same measurement.
    """
    inputs = [*space.parameters, *space.contexts]
    options = {} if like is None else {"unit": like.unit, "transform": like.transform, "robust": like.robust}
    return DAGModel(space, [generic(objective, inputs, **options)])


def prior_scale(transformed: np.ndarray) -> float:
    """Return the scale of a node from prior draws of T(f) ``(draw, row)``: how far the configurations move it.

    The typical spread over rows within a draw; where that is small against the prior's own spread (a constant), a quarter
    of the latter.
    """
    low, high = np.quantile(transformed, [0.16, 0.84])
    return max(float(np.median(transformed.std(axis=1))), 0.25 * float(high - low) / 2.0) or 1.0


def draw_prior(variables: Mapping[str, TensorVariable], draws: int, seed: int) -> dict[str, np.ndarray]:
    """Return prior draws name -> ``(draw, *shape)``."""
    if not variables:
        return {}
    arrays = pm.draw(list(variables.values()), draws=draws, mode="FAST_COMPILE", random_seed=seed)
    return {name: np.asarray(array, float) for name, array in zip(variables, arrays, strict=True)}


def _variables(model: pm.Model, outputs: Sequence[TensorVariable], wiring: Wiring) -> dict[str, TensorVariable]:
    reached = set(ancestors([*outputs, *(wiring.shared[k.name] for k in wiring.dependencies(outputs) if k.name in wiring.shared)]))
    return {variable.name: variable for variable in model.free_RVs if variable in reached}


def _by_name(parts: Sequence[Part]) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for part in parts:
        if not isinstance(part, Node | Derived | Shared):
            raise ModelError(
                f"DAGModel takes what @boat.node, @boat.derived and @boat.shared made; got {part!r}. "
                f"Decorate the function."
            )
        if part.name in found:
            raise ModelError(f"two parts of the model are called {part.name!r}; every name has one meaning: rename one.")
        found[part.name] = part
    if not any(isinstance(part, Node) for part in found.values()):
        raise ModelError("a model needs at least one @boat.node; got none.")
    return found


def _data(name: str, value: Any) -> tuple[tuple[str, ...], np.ndarray]:
    dims, array = value if isinstance(value, tuple) and len(value) == 2 else ((), value)
    dims = (dims,) if isinstance(dims, str) else tuple(dims)
    array = np.asarray(array, float)
    if array.ndim != len(dims) or not np.isfinite(array).all():
        raise ModelError(
            f"data {name!r} is finite numbers with a dim for each axis, such as ('machine', [4, 8]); got shape "
            f"{array.shape} with dims {dims}."
        )
    return dims, array


def _check_length(lengths: dict[str, int], dim: str, size: int, who: str) -> None:
    if lengths.setdefault(dim, size) != size:
        raise ModelError(f"{who} has {size} elements along {dim!r}, but {lengths[dim]} were expected.")


def _check_new(name: str, kind: str, sources: Mapping[str, Source]) -> None:
    if name in sources:
        raise ModelError(f"{kind} {name!r} has the name of a {sources[name].kind}; every name has one meaning: rename one.")


def _check_names(node: Node, fresh: Mapping[str, Any], prefix: str) -> None:
    for name in NAMES_OF_THE_RESIDUAL:
        if prefix + name in fresh:
            raise ModelError(
                f"{node!r} has a variable called {name!r}, which is the name of a part of its residual or noise: rename it."
            )


def _check_centre(model: pm.Model, nodes: tuple[NodeGraph, ...]) -> None:
    point = model.initial_point()
    terms = model.point_logps(point=point) if False else model.compile_logp(sum=False, mode="FAST_COMPILE")(point)
    for variable, term in zip([*model.free_RVs, *model.observed_RVs, *model.potentials], terms, strict=True):
        if not np.isfinite(term).all():
            raise ModelError(
                f"{listed(node.name for node in nodes)}: the log density of {variable.name!r} is {np.sum(term)} at the prior's "
                f"centre; expected a finite number. Check the prior's arguments."
            )


def _circle(waits: Mapping[str, set[str]]) -> list[str]:
    name = next(name for name, needed in waits.items() if needed)
    path: list[str] = []
    while name not in path:
        path.append(name)
        name = next(p for p in sorted(waits[name]) if waits[p])
    return [*path[path.index(name) :], name][::-1]
