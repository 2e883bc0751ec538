"""The graph of a model: every function run once, priors given, blocks cut; nothing is compiled for speed."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from boatppl.compile.evaluate import Evaluator
from boatppl.node import Derived, Node
from boatppl.priors import (
    CONFIGURATIONS,
    DRAWS,
    SEED,
    at_least_resolution,
    noise_prior,
    prior_scale,
    residual_priors,
)
from boatppl.priors import draw_prior as draw_prior
from boatppl.rows import arrive, assemble, every_row
from boatppl.space import Space
from boatppl.structure import Part, Structure
from boatppl.transform import Transform
from boatppl.unknowns import admit, check_centre
from boatppl.wiring import Graph, Wiring
from boatppl.words import ModelError

FINITE = 0.99  # of the prior draws of a parametric part must have a value


@dataclass(frozen=True)
class ResidualInput:
    """One input of a residual; ``center`` and ``width`` scale a node, derived or data column to about [0, 1],
    a derived one's after its ``transform``."""

    name: str
    kind: str
    center: float = 0.0
    width: float = 1.0
    transform: str | None = None


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
        """The node's name."""
        return self.node.name


@dataclass(frozen=True, eq=False)
class Block:
    """Nodes that are inferred together because they share unknowns, and their PyMC model (priors only).

    ``compiled`` is where what is compiled of it is kept, for every study of the model.
    """

    nodes: tuple[NodeGraph, ...]
    model: pm.Model
    wiring: Wiring
    compiled: list[Any] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The nodes' names, joined."""
        return "+".join(node.name for node in self.nodes)


@dataclass(frozen=True)
class Inherited:
    """What an earlier study left in a model's priors: of which unknowns, and how much one of its runs counts
    against one of this study; the ``digest`` differs where what it left does."""

    unknowns: tuple[str, ...]
    weight: float
    digest: str


class DAG(Structure):
    """A structure whose functions were run: ``nodes``, ``derived`` quantities and ``blocks``.

    ``unknowns`` has for every part the names, in its block, of the variables that its function made.
    """

    def __init__(
        self,
        space: Space,
        parts: Sequence[Part],
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(space, parts, coords=coords, data=data)
        self.wiring = Wiring(self.sources)
        self.derived: dict[str, Evaluator] = {}
        self.nodes: dict[str, NodeGraph] = {}
        self.inherited: Inherited | None = None
        self.unknowns: dict[str, tuple[str, ...]] = {}
        models = [pm.Model(coords=self.coords) for _ in set(self.block_numbers.values())]
        graphs = {name: self._run(name, models) for name in self.order}
        for number, model in enumerate(models):
            check_centre(model, [name for name, its in self.block_numbers.items() if its == number])
        self._freeze(graphs, models)
        self.blocks = tuple(
            Block(
                tuple(g for n, g in self.nodes.items() if self.block_numbers[n] == number), model, self.wiring
            )
            for number, model in enumerate(models)
        )

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Return the names of a node's residual inputs; empty for anything else."""
        return tuple(item.name for item in self.nodes[name].inputs) if name in self.nodes else ()

    # -- quantities -----------------------------------------------------------------------

    def inputs(self, unit: np.ndarray, contexts: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Return parameters, contexts and data as quantities: name -> ``(1, configuration or 1, *dims)``."""
        values = {name: wire[None] for name, wire in self.space.wires(unit, contexts).items()}
        return values | {name: value[None, None] for name, (_, value) in self.data.items()}

    def evaluate_derived(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return a derived quantity ``(draw or 1, configuration, *dims)`` from the quantities before it."""
        evaluator = self.derived[name]
        n = next((n for key in evaluator.keys if (n := values[key.name].shape[1]) != 1), 1)
        rows = every_row(n, evaluator.over, self.sizes)
        wires = arrive(values, evaluator.keys, self.sources, rows)
        [result] = evaluator({}, wires, rows.elements, len(rows))
        elements = (self.sizes[dim] for dim in evaluator.over)
        return result.reshape(len(result), n, *elements, *result.shape[2:])

    # -- running the functions ------------------------------------------------------------

    def _run(self, name: str, models: Sequence[pm.Model]) -> Graph:
        """Run a part's function inside its block's model and check what it made there."""
        part = self.parts[name]
        model = pm.Model() if isinstance(part, Derived) else models[self.block_numbers[name]]
        known = set(model.named_vars)
        with self._naming(part, model):
            graph = self.wiring.graph(part)
        self.unknowns[name] = admit(graph, model, known, self.wiring)
        return graph

    def _prefix(self, part: Part) -> str:
        """Return what stands before a part's variables: ``node::`` where its block has several nodes."""
        number = self.block_numbers.get(part.name)
        crowd = [
            n for n, its in self.block_numbers.items() if its == number and isinstance(self.parts[n], Node)
        ]
        return f"{part.name}::" if isinstance(part, Node) and len(crowd) > 1 else ""

    def _naming(self, part: Part, model: pm.Model) -> AbstractContextManager[Any]:
        """Return the model in which a part's variables are registered, with or without its prefix."""
        with model:
            return pm.Model(name=part.name) if self._prefix(part) else model

    # -- scales and priors ----------------------------------------------------------------

    def _freeze(self, graphs: Mapping[str, Graph], models: Sequence[pm.Model]) -> None:
        """Let prior-predictive values flow along the DAG; they give each node its scale and so its priors."""
        unit = self.space.sample(CONFIGURATIONS, SEED)
        rng = np.random.default_rng(SEED)
        contexts = {
            n: context.from_unit(rng.uniform(size=len(unit))) for n, context in self.space.contexts.items()
        }
        values = self.inputs(unit, contexts)
        for name, graph in graphs.items():
            part = self.parts[name]
            if isinstance(part, Derived):
                self.derived[name] = Evaluator([graph.expression], self.wiring, part.over)
                values[name] = self.evaluate_derived(name, values)
            elif isinstance(part, Node):
                model = models[self.block_numbers[name]]
                self.nodes[name], values[name] = self._freeze_node(part, graph, model, values)

    def _freeze_node(
        self, node: Node, graph: Graph, model: pm.Model, values: Mapping[str, np.ndarray]
    ) -> tuple[NodeGraph, np.ndarray]:
        """Freeze a node's scale and give its residual and noise their priors.

        Returns the node and prior-predictive values ``(draw, configuration, *over)`` for its children.
        """
        inputs = tuple(self._residual_input(name, values) for name in self.residual_inputs(node))
        mean = graph.expression if node.standardised else Transform(node.transform).symbolic(graph.expression)
        transformed = self._prior_draws(node, mean, graph.noise, model, values)
        scale = 1.0 if node.standardised else prior_scale(transformed)
        residual: tuple[TensorVariable, ...] = ()
        with self._naming(node, model):
            if inputs:
                model.add_coord(f"{node.name}_input", [item.name for item in inputs])
                residual = residual_priors(node, scale, len(inputs))
            noise = noise_prior(node, scale) if graph.noise is None else graph.noise
        noise = at_least_resolution(node, noise, scale)
        variables = self._variables(model, [mean, noise, *residual])
        evaluator = Evaluator([mean, noise], self.wiring, node.over, self._variables(model, [mean, noise]))
        prefix = self._prefix(node)
        built = NodeGraph(node, mean, noise, inputs, scale, variables, prefix, evaluator, *residual)
        jitter = 0.1 * scale * np.random.default_rng(SEED).normal(size=transformed.shape)
        measured = Transform(node.transform).inverse(transformed + jitter)
        return built, assemble(measured, CONFIGURATIONS, node.over, self.sizes)

    def _variables(self, model: pm.Model, outputs: Sequence[TensorVariable]) -> dict[str, TensorVariable]:
        """Return the unknowns that expressions depend on, also through elements of shared quantities."""
        shared = [
            self.wiring.shared[k.name]
            for k in self.wiring.dependencies(outputs)
            if k.name in self.wiring.shared
        ]
        reached = set(ancestors([*outputs, *shared]))
        return {variable.name: variable for variable in model.free_RVs if variable in reached}

    def _prior_draws(
        self,
        node: Node,
        mean: TensorVariable,
        noise: TensorVariable | None,
        model: pm.Model,
        values: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """Return prior draws of T(f) ``(draw, row)``; they, and a noise function's, must be finite."""
        outputs = [mean] if noise is None else [mean, noise]
        evaluator = Evaluator(outputs, self.wiring, node.over, self._variables(model, outputs))
        rows = every_row(CONFIGURATIONS, node.over, self.sizes)
        wires = arrive(values, evaluator.keys, self.sources, rows)
        draws = draw_prior(evaluator.variables, DRAWS, SEED)
        results = evaluator(draws, wires, rows.elements, len(rows))
        transformed, *spread = (np.broadcast_to(result, (DRAWS, len(rows))) for result in results)
        finite = np.isfinite(transformed)
        if finite.mean() < FINITE:
            raise ModelError(self._not_finite(node, float(1 - finite.mean())))
        for sd in spread:
            good = np.isfinite(sd) & (sd > 0)
            if good.mean() < FINITE:
                raise ModelError(
                    f"{node!r}: its noise function is not a finite number above 0 on {1 - good.mean():.0%} "
                    "of prior draws over the space; it returns the standard deviation on the transformed "
                    "scale."
                )
        return np.where(finite, transformed, np.median(transformed[finite]))

    def _not_finite(self, node: Node, share: float) -> str:
        must = f" (with transform={node.transform!r} it must be {Transform(node.transform).domain})"
        unknown = [
            n for n in node.arguments if isinstance(part := self.parts.get(n), Node) and part.standardised
        ]
        return (
            f"{node!r}: its parametric part is not finite on {share:.0%} of prior draws over the space"
            + (must if node.transform else "")
            + ". Keep its priors away from where it has no value, or change the transform."
            + (
                f" Nothing is known of the generic {unknown[0]!r}: give it transform='log' if it is above 0."
                if unknown
                else ""
            )
        )

    def _residual_input(self, name: str, values: Mapping[str, np.ndarray]) -> ResidualInput:
        """Return an input with the scaling that takes its column to about [0, 1].

        A node and a derived quantity are scaled by what the priors make of them over a fixed design: the same
        whatever is measured.
        """
        source, part = self.sources[name], self.parts.get(name)
        if source.value is not None:
            return ResidualInput(name, "data", float(source.value.min()), float(np.ptp(source.value)) or 1.0)
        if not isinstance(part, Node | Derived):
            return ResidualInput(name, source.kind)
        if isinstance(part, Node) and part.standardised:  # two standard deviations to either side
            return ResidualInput(name, "node", -2.0, 4.0)
        transformed = Transform(part.transform).forward(values[name])
        finite = transformed[np.isfinite(transformed)]
        if isinstance(part, Derived) and len(finite) < FINITE * transformed.size:
            raise ModelError(
                f"{part!r} is the input of a residual, but is not finite on "
                f"{1 - len(finite) / transformed.size:.0%} of prior draws over the space"
                + (f" with transform={part.transform!r}" if part.transform else "")
                + f"; it must be {Transform(part.transform).domain}."
            )
        low, high = np.quantile(finite, [0.05, 0.95])
        width = float(high - low) or float(np.ptp(finite)) or 1.0
        return ResidualInput(name, source.kind, float(low), width, part.transform)
