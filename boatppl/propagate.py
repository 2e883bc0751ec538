"""Draws through the DAG: configurations -> values of every node, and back again for the search's gradient.

A draw is ``(theta, amplitude, lengthscale, noise)`` of every block. Given a draw, each node in order is

    ``T(y) = T(f(wires)) + g(z) + noise``

where ``g`` has a conditional mean and variance at ``z``. Parents pass on *measured* values, noise included,
with common random numbers: a :class:`Luck` holds one standard normal a draw (and element) for the residual
and one for the noise, the same at every configuration, so each draw is a smooth function of the
configuration.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri
from scipy.stats import t as student_t

from boatppl.compile.density import DEGREES_OF_FREEDOM, Excess, inducing_points, kernel_of
from boatppl.gp.conditional import Conditional
from boatppl.gp.kernel import KINDS
from boatppl.gp.tabulated import Tabulated
from boatppl.graph import DAG, NodeGraph
from boatppl.infer import BlockPosterior
from boatppl.priors import draw_prior
from boatppl.rows import Rows, arrive, assemble, every_row, scatter
from boatppl.table import Table, measured, residual_features, shape_of, tables
from boatppl.transform import Transform
from boatppl.wiring import Key

TABULATED = 8  # rows of a configuration from which on a residual of one input is read from a table


@dataclass(frozen=True, eq=False)
class NodeDraws:
    """One node under every draw: its variables ``(draw, *shape)`` and its residual given the measurements."""

    graph: NodeGraph
    table: Table
    variables: Mapping[str, np.ndarray]
    residual: Conditional | None
    tabulated: Tabulated | None = None  # the residual as a search reads it

    @property
    def predictor(self) -> Conditional | Tabulated | None:
        """What predicts the residual at points of a propagation."""
        return self.residual if self.tabulated is None else self.tabulated

    @property
    def transform(self) -> Transform:
        """The scale on which the node is modelled."""
        return self.table.transform

    def take(self, draws: np.ndarray) -> "NodeDraws":
        """Return the node under some draws, in their order."""
        return replace(
            self,
            variables={key: value[draws] for key, value in self.variables.items()},
            residual=None if self.residual is None else self.residual.take(draws),
            tabulated=None if self.tabulated is None else self.tabulated.take(draws),
        )


@dataclass(frozen=True, eq=False)
class Luck:
    """Common random numbers: standard normals name -> ``(draw, *over)``, the same at every configuration;
    with a leading configuration axis ``(draw, configuration, *over)`` they are each run's own. Noise is
    Student-t for robust nodes.
    """

    residual: Mapping[str, np.ndarray]
    noise: Mapping[str, np.ndarray]

    def take(self, draws: np.ndarray) -> "Luck":
        """Return that of some draws, in their order."""
        return Luck(*({n: z[draws] for n, z in part.items()} for part in (self.residual, self.noise)))


@dataclass(frozen=True, eq=False)
class NodeStep:
    """What one node's step of a propagation computed, all ``(draw, row)`` unless said otherwise."""

    rows: Rows
    wires: Mapping[Key, np.ndarray]
    Z: np.ndarray  # (draw or 1, row, column)
    parametric: np.ndarray  # T(f)
    mean: np.ndarray  # of T(y): parametric part and residual
    variance: np.ndarray  # of the residual
    noise: np.ndarray  # standard deviation

    def known(self, value: np.ndarray) -> "NodeStep":
        """Return the step with the transformed noise-free value known: ``(draw, row)``."""
        return replace(self, mean=value, variance=np.zeros_like(value))


@dataclass(frozen=True, eq=False)
class Propagation:
    """The values of every quantity at some configurations: name -> ``(draw or 1, configuration, *dims)``."""

    unit: np.ndarray
    contexts: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    steps: Mapping[str, NodeStep]
    target: str

    def objective(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance ``(draw, configuration)`` of the transformed target given its parents.

        A derived target has no variance of its own.
        """
        if self.target in self.steps:
            return self.steps[self.target].mean, self.steps[self.target].variance
        value = self.values[self.target]
        return value, np.zeros_like(value)


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of a whole model given its measurements: every block's draws, ready to be propagated."""

    model: DAG
    nodes: Mapping[str, NodeDraws]
    blocks: Sequence[BlockPosterior]
    draws: int

    @property
    def widest(self) -> int:
        """The most rows that a node has in a configuration."""
        return max(math.prod(shape_of(self.model, name)) for name in self.nodes)

    def take(self, draws: Sequence[int]) -> "Posterior":
        """Return the posterior of some draws only."""
        chosen = np.asarray(draws, int)
        nodes = {name: node.take(chosen) for name, node in self.nodes.items()}
        return replace(self, nodes=nodes, draws=len(chosen))

    def to_search(self) -> "Posterior":
        """Return the posterior that a search propagates: with many rows in every configuration, a residual of
        one input is read from a table."""
        nodes = dict(self.nodes)
        for name, draws in nodes.items():
            residual, rows = draws.residual, np.prod(shape_of(self.model, name))
            if residual is not None and residual.Z.shape[2] == 1 and rows >= TABULATED:
                nodes[name] = replace(draws, tabulated=Tabulated.of(residual))
        return replace(self, nodes=nodes)

    def shuffled(self, names: Collection[str], order: np.ndarray) -> "Posterior":
        """Return the posterior with the draws of some nodes in another order ``(draw,)``: blocks are
        independent, so it is the same posterior where ``names`` are whole blocks."""
        return replace(self, nodes={n: d.take(order) if n in names else d for n, d in self.nodes.items()})

    def luck(self, seed: int | Sequence[int]) -> Luck:
        """Return fresh common random numbers; the same seed gives the same."""
        return self._luck(np.random.default_rng(seed), ())

    def luck_of_runs(self, rng: np.random.Generator, n: int) -> Luck:
        """Return random numbers of ``n`` separate runs."""
        return self._luck(rng, (n,))

    def strata(self, seed: int | Sequence[int], n: int) -> list[Luck]:
        """Return ``n`` replicates of the runs' noise, alike for every draw and stratified.

        Each node's noise goes through the ``n`` midpoints of its quantiles in an order of its own (a Latin
        hypercube: McKay et al. 1979), so that an average over the replicates has next to no Monte-Carlo error
        of its own.
        """
        rng, found = np.random.default_rng(seed), [self.luck([n]) for _ in range(n)]
        midpoints = (np.arange(n) + 0.5) / n
        normal, heavy = ndtri(midpoints), student_t.ppf(midpoints, DEGREES_OF_FREEDOM)
        noise: list[dict[str, np.ndarray]] = [{} for _ in range(n)]
        for name, draws in self.nodes.items():
            node = draws.graph.node
            sizes = tuple(self.model.sizes[dim] for dim in node.over)
            order = rng.permuted(np.tile(np.arange(n), (int(np.prod(sizes)), 1)), axis=1)
            quantiles = (heavy if node.robust else normal)[order]  # (element, replicate)
            for replicate in range(n):
                one = quantiles[:, replicate].reshape(sizes)
                noise[replicate][name] = np.broadcast_to(one, (self.draws, *sizes))
        return [replace(luck, noise=one) for luck, one in zip(found, noise, strict=True)]

    def _luck(self, rng: np.random.Generator, runs: tuple[int, ...]) -> Luck:
        residual, noise = {}, {}
        for name in self.model.order:
            if name in self.nodes:
                node = self.nodes[name].graph.node
                shape = (self.draws, *runs, *(self.model.sizes[dim] for dim in node.over))
                residual[name] = rng.normal(size=shape)
                noise[name] = rng.normal(size=shape)
                scale = rng.chisquare(DEGREES_OF_FREEDOM, size=shape) / DEGREES_OF_FREEDOM
                if node.robust:
                    noise[name] = noise[name] / np.sqrt(scale)
        return Luck(residual, noise)

    def propagate(
        self, unit: np.ndarray, target: str, luck: Luck, contexts: Mapping[str, np.ndarray] | None = None
    ) -> Propagation:
        """Push every draw through the DAG up to ``target`` at ``unit (configuration, coordinate)``.

        ``contexts``: name -> value, or ``(configuration,)`` values. No own residual or noise of the target is
        sampled: see :meth:`Propagation.objective`.
        """
        model = self.model
        values = dict(model.inputs(unit, contexts))
        steps: dict[str, NodeStep] = {}
        for name in needed(model, target):
            if name in model.derived:
                values[name] = model.evaluate_derived(name, values)
                continue
            step = self.step(name, values, unit, contexts or {})
            steps[name] = step
            if name != target:
                values[name] = self.measured(name, step, luck, len(unit))
        return Propagation(unit, contexts or {}, values, steps, target)

    def step(
        self,
        name: str,
        values: Mapping[str, np.ndarray],
        unit: np.ndarray,
        contexts: Mapping[str, np.ndarray],
    ) -> NodeStep:
        """Compute one node at some configurations given the values of its parents."""
        step, residual = self.formula(name, values, unit, contexts), self.nodes[name].predictor
        if residual is None:
            return step
        shift, variance = residual.predict(step.Z)
        return replace(step, mean=step.parametric + shift, variance=variance)

    def formula(
        self,
        name: str,
        values: Mapping[str, np.ndarray],
        unit: np.ndarray,
        contexts: Mapping[str, np.ndarray],
    ) -> NodeStep:
        """Compute one node as :meth:`step` does, without its residual."""
        draws, model = self.nodes[name], self.model
        graph, over = draws.graph, draws.graph.node.over
        rows = every_row(len(unit), over, model.sizes)
        wires = arrive(values, graph.evaluator.keys, model.sources, rows)
        mean, noise = graph.evaluator(draws.variables, wires, rows.elements, len(rows))
        mean, noise = (np.broadcast_to(array, (self.draws, len(rows))) for array in (mean, noise))
        Z = residual_features(model, graph, values, unit, contexts, draws.table.scales, rows)
        return NodeStep(rows, wires, Z, mean, mean, np.zeros_like(mean), noise)

    @property
    def transforms(self) -> dict[str, Transform]:
        """The transform of every node."""
        return {name: draws.transform for name, draws in self.nodes.items()}

    def measured(self, name: str, step: NodeStep, luck: Luck, n: int) -> np.ndarray:
        """Return what a run would measure ``(draw, configuration, *over)`` under the given luck."""
        over, sizes = self.nodes[name].graph.node.over, self.model.sizes
        residual, noise = (_tile(array[name], n, len(over)) for array in (luck.residual, luck.noise))
        transformed = step.mean + np.sqrt(step.variance) * residual + step.noise * noise
        return assemble(self.transforms[name].inverse(transformed), n, over, sizes)

    def realise(
        self,
        unit: np.ndarray,
        target: str,
        luck: Luck,
        seed: int | Sequence[int],
        contexts: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, "Posterior"]:
        """Sample every residual jointly at some configurations and condition on the samples.

        Returns the target's noise-free value ``(draw, configuration)`` on its transformed scale (a derived
        target's own value), and the posterior whose residuals pass through these samples: there, propagation
        is certain up to noise. This is the noisy expected improvement's joint step (Letham et al. 2019, sec.
        3.3), along the DAG.
        """
        rng = np.random.default_rng(seed)
        model, contexts = self.model, contexts or {}
        values, nodes = dict(model.inputs(unit, contexts)), dict(self.nodes)
        for name in needed(model, target):
            if name in model.derived:
                values[name] = model.evaluate_derived(name, values)
                continue
            step, draws = self.formula(name, values, unit, contexts), self.nodes[name]
            mean = step.parametric
            normals = rng.normal(size=mean.shape)
            if draws.residual is not None:
                sampled, extended = draws.residual.extend(step.Z, normals)
                mean = mean + sampled
                nodes[name] = replace(draws, residual=extended, tabulated=None)
            if name == target:
                return mean, replace(self, nodes=nodes)
            values[name] = self.measured(name, step.known(mean), luck, len(unit))
        return np.broadcast_to(values[target], (self.draws, len(unit))), replace(self, nodes=nodes)

    def pullback(
        self, forward: Propagation, luck: Luck, d_mean: np.ndarray, d_variance: np.ndarray
    ) -> np.ndarray:
        """Return the gradient ``(configuration, coordinate)`` of ``sum(d_mean mean + d_variance variance)``.

        ``mean`` and ``variance`` are :meth:`Propagation.objective`'s. Reverse mode through the DAG, Integers
        relaxed.
        """
        gradient = _Gradient(self, forward, luck)
        return gradient.run(d_mean, d_variance)


def condition(model: DAG, tables: Mapping[str, Table], blocks: Sequence[BlockPosterior]) -> Posterior:
    """Return the posterior of a model from its blocks' draws and its nodes' tables."""
    nodes = {}
    for block in blocks:
        for graph in block.density.block.nodes:
            nodes[graph.name] = _node_draws(graph, tables[graph.name], block)
    return Posterior(model, nodes, tuple(blocks), min(block.draws for block in blocks))


def prior(model: DAG, draws: int, seed: int) -> Posterior | None:
    """Return what a model says before any measurement, from draws of its priors: nothing is compiled.

    None where that says nothing: a node is standardised by its measurements, or a block has potentials or
    observations, of which the priors alone know nothing.
    """
    nodes: dict[str, NodeDraws] = {}
    empty = tables(model, measured(model, []))
    for block in model.blocks:
        informed = block.model.potentials or block.model.observed_RVs
        if informed or any(graph.node.standardised for graph in block.nodes):
            return None
        values = draw_prior({v.name: v for v in block.model.free_RVs}, draws, seed)
        nodes |= {graph.name: _conditioned(graph, empty[graph.name], draws, values) for graph in block.nodes}
    return Posterior(model, {name: nodes[name] for name in model.nodes}, (), draws)


def _node_draws(graph: NodeGraph, table: Table, block: BlockPosterior) -> NodeDraws:
    latent = block.scales.get(graph.name), block.excesses.get(graph.name)
    return _conditioned(graph, table, block.draws, block.variables, *latent)


def values_of(
    table: Table, draws: int, scales: np.ndarray | None, excess: Excess | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return T(y), and the precision scale of the noise, of every row of ``table.whole`` under every draw,
    both ``(draw, row)``; ``scales (draw, row)`` are of the measured rows of a robust node."""
    y = np.broadcast_to(table.y, (draws, len(table)))
    scales = np.ones_like(y) if scales is None else scales
    if excess is None or table.bounded is None:
        return y, scales
    return np.hstack([y, table.bounded.y + excess.above]), np.hstack([scales, excess.scale])


def _conditioned(
    graph: NodeGraph,
    table: Table,
    draws: int,
    known: Mapping[str, np.ndarray],
    scales: np.ndarray | None = None,
    excess: Excess | None = None,
) -> NodeDraws:
    """Return a node under draws of its block's variables; ``scales (draw, row)`` are a robust node's,
    ``excess`` is of a censored one."""
    variables = {name: known[name] for name in graph.variables}
    if not graph.inputs:
        return NodeDraws(graph, table, variables, None)
    whole = table.whole
    wires = {key: value[None] for key, value in whole.wires.items()}
    mean, noise = graph.evaluator(variables, wires, whole.rows.elements, len(whole))
    shape = (draws, len(whole))
    y, precision = values_of(table, draws, scales, excess)
    variance = np.broadcast_to(noise, shape) ** 2
    if scales is not None:
        variance = variance / precision
    observed = (
        KINDS[kernel_of(graph)],
        whole.Z,
        table.groups,
        known[f"{graph.prefix}amplitude"],
        known[f"{graph.prefix}lengthscale"].reshape(draws, -1),
        variance,
        y - np.broadcast_to(mean, shape),
    )
    points = inducing_points(table)
    if len(points):
        return NodeDraws(graph, table, variables, Conditional.from_inducing(*observed, points))
    return NodeDraws(graph, table, variables, Conditional.from_data(*observed))


def needed(model: DAG, target: str) -> list[str]:
    """Return the nodes and derived quantities that ``target`` depends on, itself included, in order."""
    wanted, stack = set(), [target]
    while stack:
        name = stack.pop()
        if name in model.parts and name not in wanted:
            wanted.add(name)
            stack += model.parents(name)
            stack += model.inputs_of(name)
    return [name for name in model.order if name in wanted and (name in model.nodes or name in model.derived)]


def parameters_of(model: DAG, target: str) -> frozenset[str]:
    """Return the parameters that ``target`` depends on, and those that decide whether they are active."""
    parts = needed(model, target)
    wires = [wire for part in parts for wire in (*model.parents(part), *model.inputs_of(part))]
    return model.space.with_parents(name for name in model.origins(wires) if name in model.space.parameters)


def _tile(luck: np.ndarray, n: int, over: int) -> np.ndarray:
    """``(draw, *over)`` repeated for every configuration, or ``(draw, configuration, *over)``, as ``(draw,
    row)``."""
    if luck.ndim > 1 + over:
        return luck.reshape(len(luck), -1)
    flat = luck.reshape(len(luck), 1, -1)
    return np.broadcast_to(flat, (len(luck), n, flat.shape[-1])).reshape(len(luck), -1)


class _Gradient:
    """Reverse mode through one propagation: adjoints of every quantity, from the target to the unit cube."""

    def __init__(self, posterior: Posterior, forward: Propagation, luck: Luck) -> None:
        self.posterior, self.model = posterior, posterior.model
        self.forward, self.luck = forward, luck
        self.n = len(forward.unit)
        self.adjoint: dict[str, np.ndarray] = {}  # name -> (draw, configuration, *dims)
        self.features: dict[str, np.ndarray] = {}  # parameter -> (configuration, column)

    def run(self, d_mean: np.ndarray, d_variance: np.ndarray) -> np.ndarray:
        target = self.forward.target
        for name in reversed(needed(self.model, target)):
            if name == target and name in self.forward.steps:
                self._node(name, d_mean, d_variance, np.zeros_like(d_mean))
            elif name in self.forward.steps:
                if name in self.adjoint:
                    self._node(name, *self._of_measured(name))
            else:
                self._derived(name, d_mean if name == target else self.adjoint.get(name))
        wires = {n: a.sum(axis=0) for n, a in self.adjoint.items() if n in self.model.space.parameters}
        return self.model.space.pullback(self.forward.unit, wires, self.features, relax=True)

    def _of_measured(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Adjoints ``(draw, row)`` of a parent's mean, variance and noise from that of its measured value."""
        step, transform = self.forward.steps[name], self.posterior.transforms[name]
        slope = transform.slope(self.forward.values[name]).reshape(step.mean.shape)
        d_transformed = self.adjoint[name].reshape(step.mean.shape) / np.maximum(slope, 1e-300)
        over = len(self.posterior.nodes[name].graph.node.over)
        residual, noise = (
            _tile(array[name], self.n, over) for array in (self.luck.residual, self.luck.noise)
        )
        spread = np.sqrt(np.maximum(step.variance, 1e-300))
        d_variance = np.where(step.variance > 1e-14, d_transformed * residual / (2 * spread), 0.0)
        return d_transformed, d_variance, d_transformed * noise

    def _node(self, name: str, d_mean: np.ndarray, d_variance: np.ndarray, d_noise: np.ndarray) -> None:
        draws, step = self.posterior.nodes[name], self.forward.steps[name]
        outputs = [d_mean, d_noise]
        slopes = draws.graph.evaluator.pullback(
            draws.variables, step.wires, outputs, step.rows.elements, len(step.rows)
        )
        for key, slope in slopes.items():
            self._add(key, slope, step.rows)
        if draws.predictor is not None:
            self._inputs(draws, step, draws.predictor.pullback(step.Z, d_mean, d_variance))

    def _inputs(self, draws: NodeDraws, step: NodeStep, d_Z: np.ndarray) -> None:
        """Distribute the adjoint of the residual's inputs ``(draw, row, column)``."""
        over = draws.graph.node.over
        for number, item in enumerate(draws.graph.inputs):
            part = d_Z[..., draws.table.groups == number]
            source = self.model.sources[item.name]
            remaining = tuple(dim for dim in source.dims if dim not in over)
            if item.kind == "parameter":
                self._feature(item.name, part.sum(axis=0), source.dims, remaining, step.rows)
            elif item.kind in ("node", "derived"):
                shape = (*part.shape[:2], *(self.model.sizes[dim] for dim in remaining))
                key = Key(item.name, remaining)
                value = arrive(self.forward.values, [key], self.model.sources, step.rows)[key]
                slope = draws.table.scales[item.name].slope(value)
                self._add(key, part.reshape(shape) / item.width * slope, step.rows)

    def _feature(
        self, name: str, slope: np.ndarray, dims: tuple[str, ...], remaining: tuple[str, ...], rows: Rows
    ) -> None:
        """Add the adjoint ``(row, column)`` of a parameter's features."""
        width = self.model.space.feature_columns(name)
        total = self.features.setdefault(name, np.zeros((self.n, width)))
        if dims and not remaining:
            np.add.at(total, (rows.configuration, rows.elements[dims[0]]), slope[:, 0])
        else:
            np.add.at(total, rows.configuration, slope)

    def _derived(self, name: str, adjoint: np.ndarray | None) -> None:
        if adjoint is None:
            return
        evaluator = self.model.derived[name]
        over = evaluator.over
        rows = every_row(self.n, over, self.model.sizes)
        wires = arrive(self.forward.values, evaluator.keys, self.model.sources, rows)
        inner = adjoint.shape[2 + len(over) :]
        outputs = [adjoint.reshape(len(adjoint), len(rows), *inner)]
        slopes = evaluator.pullback({}, wires, outputs, rows.elements, len(rows))
        for key, slope in slopes.items():
            self._add(key, slope, rows)

    def _add(self, key: Key, slope: np.ndarray, rows: Rows) -> None:
        if self.model.sources[key.name].kind in ("context", "data"):
            return
        dims = self.model.sources[key.name].dims
        shape = (self.n, *(self.model.sizes[dim] for dim in dims))
        scattered = scatter(slope, shape, dims, key.dims, rows)
        self.adjoint[key.name] = self.adjoint[key.name] + scattered if key.name in self.adjoint else scattered
