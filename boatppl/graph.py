"""The graph of a model: every function run once, priors given, blocks cut. Nothing is compiled for speed here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from boatppl.compile.evaluate import Evaluator
from boatppl.node import Derived, Node, Shared
from boatppl.priors import CONFIGURATIONS, DRAWS, SEED, noise_prior, residual_priors
from boatppl.rows import arrive, assemble, every_row
from boatppl.structure import Structure
from boatppl.transform import Transform
from boatppl.wiring import NAMES_OF_THE_RESIDUAL, Graph, Wiring, check_variables
from boatppl.words import ModelError, listed


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


class DAG(Structure):
    """A structure whose functions were run: symbolic nodes, derived quantities and blocks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.wiring = Wiring(self.sources)
        self.derived: dict[str, Evaluator] = {}
        self.nodes: dict[str, NodeGraph] = {}
        self._build()

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Return the names of a node's residual inputs; empty for anything else."""
        return tuple(item.name for item in self.nodes[name].inputs) if name in self.nodes else ()

    # -- running the functions ----------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Run every function in order; prior-predictive values flow along and freeze the scales."""
        models = [pm.Model(coords=self.coords) for _ in set(self.block_numbers.values())]
        values = self._prior_inputs()
        for name in self.order:
            part = self.parts[name]
            if isinstance(part, Derived):
                graph = self.wiring.graph(part)
                self.derived[name] = Evaluator([graph.expression], self.wiring, part.over)
                values[name] = self.evaluate_derived(name, values)
            elif isinstance(part, Shared):
                self._run(part, models[self.block_numbers[name]], "")
            else:
                self.nodes[name], values[name] = self._build_node(part, models[self.block_numbers[name]], values)
        blocks = []
        for number, model in enumerate(models):
            nodes = tuple(graph for name, graph in self.nodes.items() if self.block_numbers[name] == number)
            _check_centre(model, nodes)
            blocks.append(Block(nodes, model, self.wiring))
        self.blocks = tuple(blocks)

    def _run(self, part: Node | Shared, model: pm.Model, prefix: str) -> Graph:
        """Run a part's function inside its block's model and check the variables it made."""
        known = set(model.named_vars)
        with model, pm.Model(name=part.name) if prefix else model:
            graph = self.wiring.graph(part)
        fresh = {name: variable for name, variable in model.named_vars.items() if name not in known}
        _check_names(part, fresh, prefix)
        check_variables(part, model, list(fresh.values()), self.wiring)
        return graph

    def _prior_inputs(self) -> dict[str, np.ndarray]:
        """Return parameters, contexts and data at the design on which scales are frozen."""
        unit = self.space.sample(CONFIGURATIONS, SEED)
        rng = np.random.default_rng(SEED)
        contexts = {name: context.from_unit(rng.uniform(size=len(unit))) for name, context in self.space.contexts.items()}
        return self.inputs(unit, contexts)

    def inputs(self, unit: np.ndarray, contexts: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Return parameters, contexts and data as quantities: name -> ``(1, configuration or 1, *dims)``."""
        values = {name: wire[None] for name, wire in self.space.wires(unit, contexts).items()}
        return values | {name: value[None, None] for name, (_, value) in self.data.items()}

    def evaluate_derived(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return a derived quantity ``(draw or 1, configuration, *dims)`` from the quantities before it."""
        evaluator, over = self.derived[name], self.parts[name].over
        n = max([values[key.name].shape[1] for key in evaluator.keys] + [1])
        rows = every_row(n, over, self.sizes)
        [result] = evaluator({}, arrive(values, evaluator.keys, self.sources, rows), rows.elements, len(rows))
        if not over:
            return result
        shape = (result.shape[0], n, *(self.sizes[dim] for dim in over), *result.shape[2:])
        return result.reshape(shape)

    def _build_node(
        self, node: Node, model: pm.Model, values: Mapping[str, np.ndarray]
    ) -> tuple[NodeGraph, np.ndarray]:
        """Run a node, freeze its scale from the prior predictive, and give its residual and noise their priors.

        Returns the node and prior-predictive values ``(draw, configuration, *over)`` for its children.
        """
        number = self.block_numbers[node.name]
        crowd = [n for n, b in self.block_numbers.items() if b == number and isinstance(self.parts[n], Node)]
        prefix = f"{node.name}::" if len(crowd) > 1 else ""
        inputs = self._residual_inputs(node, values)
        graph = self._run(node, model, prefix)
        mean = graph.expression if node.standardised else Transform(node.transform).symbolic(graph.expression)
        transformed, n = self._prior_draws(node, mean, model, values)
        scale = 1.0 if node.standardised else prior_scale(transformed)
        residual: tuple[TensorVariable, ...] = ()
        with model, pm.Model(name=node.name) if prefix else model:
            if inputs:
                model.add_coord(f"{node.name}_input", [item.name for item in inputs])
                residual = residual_priors(node, scale, len(inputs))
            noise = graph.noise if graph.noise is not None else noise_prior(node, scale)
        variables = _variables(model, [mean, noise, *residual], self.wiring)
        evaluator = Evaluator([mean, noise], self.wiring, node.over, _variables(model, [mean, noise], self.wiring))
        jitter = np.random.default_rng(SEED).normal(size=transformed.shape) * 0.1 * scale
        measured = Transform(node.transform).inverse(transformed + jitter)
        built = NodeGraph(node, mean, noise, inputs, scale, variables, prefix, evaluator, *residual)
        return built, assemble(measured, n, node.over, self.sizes)

    def _prior_draws(
        self, node: Node, mean: TensorVariable, model: pm.Model, values: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, int]:
        """Return prior draws of T(f) ``(draw, row)``, and the number of configurations; 99 % must be finite."""
        variables = _variables(model, [mean], self.wiring)
        evaluator = Evaluator([mean], self.wiring, node.over, variables)
        n = max([array.shape[1] for array in values.values()])
        rows = every_row(n, node.over, self.sizes)
        wires = arrive(values, evaluator.keys, self.sources, rows)
        [transformed] = evaluator(draw_prior(variables, DRAWS, SEED), wires, rows.elements, len(rows))
        transformed = np.broadcast_to(transformed, (DRAWS, len(rows)))
        finite = np.isfinite(transformed)
        if finite.mean() < 0.99:
            domain = f" (with transform={node.transform!r} it must be {Transform(node.transform).domain})"
            raise ModelError(
                f"{node!r}: its parametric part is not finite on {1 - finite.mean():.0%} of prior draws over the space"
                + (domain if node.transform else "")
                + ". Keep its priors away from where it has no value, or change the transform."
            )
        return np.where(finite, transformed, np.median(transformed[finite])), n

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


def _check_names(node: Node | Shared, fresh: Mapping[str, Any], prefix: str) -> None:
    for name in NAMES_OF_THE_RESIDUAL:
        if prefix + name in fresh:
            raise ModelError(
                f"{node!r} has a variable called {name!r}, which is the name of a part of its residual or noise: rename it."
            )


def _check_centre(model: pm.Model, nodes: tuple[NodeGraph, ...]) -> None:
    point = model.initial_point()
    terms = model.compile_logp(sum=False, mode="FAST_COMPILE")(point)
    for variable, term in zip([*model.free_RVs, *model.observed_RVs, *model.potentials], terms, strict=True):
        if not np.isfinite(term).all():
            raise ModelError(
                f"{listed(node.name for node in nodes)}: the log density of {variable.name!r} is {np.sum(term)} at the prior's "
                f"centre; expected a finite number. Check the prior's arguments."
            )


