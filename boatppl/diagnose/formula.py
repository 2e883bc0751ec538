"""A node's formula as a function of its unknowns: fitted without its priors, and held against them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymc.distributions.transforms import LogTransform
from scipy.optimize import lsq_linear

from boatppl.graph import DAG, draw_prior
from boatppl.infer import BlockPosterior
from boatppl.propagate import NodeDraws

PRIOR_DRAWS = 1000
TAIL = 0.005  # of a prior to either side that counts as outside of what it says
STEPS = 40
RIDGE = 1e-3  # holds what the measurements say nothing of


@dataclass(frozen=True, eq=False)
class Formula:
    """The parametric part of one node, its unknowns flattened to ``(unknown,)``, each in its own unit.

    ``labels (unknown,)``; ``prior`` and ``posterior`` draws ``(draw, unknown)``; ``low`` and ``high`` the
    edges ``(unknown,)`` of the priors, infinite where there is none.
    """

    node: NodeDraws
    sizes: tuple[tuple[str, tuple[int, ...]], ...]
    labels: tuple[str, ...]
    prior: np.ndarray
    posterior: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """How far the prior moves each unknown ``(unknown,)``."""
        below, above = np.quantile(self.prior, [0.16, 0.84], axis=0)
        return np.maximum(0.5 * (above - below), 1e-12)

    def mean(self, theta: np.ndarray) -> np.ndarray:
        """Return T(f) ``(draw, row)`` at unknowns ``(draw, unknown)``; not finite where it has no value."""
        table, evaluator = self.node.table, self.node.graph.evaluator
        values: dict[str, np.ndarray] = {}
        first = 0
        for name, shape in self.sizes:
            size = int(np.prod(shape))
            values[name] = theta[:, first : first + size].reshape(len(theta), *shape)
            first += size
        for name in evaluator.variables:
            if name not in values:  # of the noise: the formula does not use it
                known = self.node.variables[name].mean(axis=0)
                values[name] = np.broadcast_to(known, (len(theta), *known.shape))
        wires = {key: value[None] for key, value in table.wires.items()}
        mean, _ = evaluator(values, wires, table.rows.elements, len(table))
        return np.array(np.broadcast_to(mean, (len(theta), len(table))))

    def slopes(self, theta: np.ndarray) -> np.ndarray:
        """Return d T(f) / d unknown, each in units of its prior's scale: ``(row, unknown)``."""
        step = 1e-4 * np.diag(self.scale)
        ends = self.mean(np.concatenate([theta + step, theta - step]))
        p = len(theta)
        slopes = (ends[:p] - ends[p:]).T / 2e-4
        return np.where(np.isfinite(slopes), slopes, 0.0)

    @property
    def unknowns(self) -> tuple[tuple[str, int], ...]:
        """Which unknown of the model each one is: an unknown that nodes share is the same in all of them."""
        return tuple((name, i) for name, shape in self.sizes for i in range(int(np.prod(shape))))

    def fit(
        self,
        root: np.ndarray,
        start: np.ndarray | None = None,
        steps: int = STEPS,
        within: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Return the unknowns ``(unknown,)`` that fit best, whatever the priors say.

        Levenberg-Marquardt on ``root (m, row)`` times the error; it starts at the best of the posterior and
        prior draws. A direction that no measurement speaks of stays where it starts. ``within``: the lowest
        and highest unknowns ``(unknown,)``, to which every step is cut.
        """
        y, scale = self.node.table.y, self.scale
        low, high = (-np.inf, np.inf) if within is None else within
        if start is None:
            starts = np.clip(np.concatenate([self.posterior, self.prior[:200]]), low, high)
            start = starts[np.argmin(self.cost(starts, root))]
        theta, cost, damping = start, self.cost(start[None], root)[0], 1e-2
        for _ in range(steps if len(start) else 0):
            J = root @ self.slopes(theta)
            error = root @ (y - self.mean(theta[None])[0])
            ridge = RIDGE * np.std(y) ** 2 + 1e-12
            normal = J.T @ J + np.diag(damping * (J**2).sum(axis=0) + ridge)
            proposed = np.clip(theta + scale * np.linalg.solve(normal, J.T @ error), low, high)
            found = self.cost(proposed[None], root)[0]
            if found < cost:
                done = cost - found < 1e-8 * cost
                theta, cost, damping = proposed, found, damping / 5.0
                if done:
                    break
            else:
                damping *= 4.0
        return theta

    def cost(self, theta: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Return ``root (m, row)`` times the error, squared ``(draw,)``, at unknowns ``(draw, unknown)``."""
        with np.errstate(over="ignore", invalid="ignore"):  # where the formula has no value
            cost = (((self.node.table.y - self.mean(theta)) @ root.T) ** 2).sum(axis=1)
        return np.where(np.isfinite(cost), cost, np.inf)


@dataclass(frozen=True)
class Conflict:
    """One unknown that the measurements want outside of its prior.

    ``wanted`` ± ``sd`` by the measurements alone, against the prior's central 99 % ``low`` to ``high``;
    ``edge`` tells that it is beyond where the prior ends. ``nats``: what the prior costs in log likelihood.
    """

    label: str
    wanted: float
    sd: float
    low: float
    high: float
    edge: bool
    nats: float


def conflict(formula: Formula, theta: np.ndarray, root: np.ndarray, rows: int) -> Conflict | None:
    """Return the unknown whose prior keeps the formula from fitting; None where the priors allow the fit.

    Around the free fit ``theta (unknown,)`` the likelihood is quadratic. Its best value with all unknowns
    inside the central 99 % of their priors is a bounded least-squares problem; the unknown to name is the one
    without whose bounds it becomes best. Far from the fit the formula is not what it is there, so the prior
    never costs more than it does the formula itself. ``root (m, row)`` whitens the error to unit variance.

    Power-scaling (``az.psense``: Kallioinen et al. 2024), which asks the draws of the posterior, sees no
    prior that is constant up to its edge, and blames unknowns beside the one whose prior is wrong. Of 18
    posteriors of the collector and the store in benchmarks/faulty_systems with a prior that is too short,
    too sure or of the wrong sign, with exact likelihoods, it named the planted unknown in 6 and only another
    one in 6. What this names is in benchmarks/results/faults.md.
    """
    scale = formula.scale
    low, high = np.quantile(formula.prior, [TAIL, 1.0 - TAIL], axis=0)
    J = root @ formula.slopes(theta)
    at, below, above = theta / scale, low / scale, np.maximum(high, low + 1e-9 * scale) / scale

    def cost(free: int | None) -> float:
        lower, upper = below - at, above - at
        if free is not None:
            lower[free], upper[free] = -np.inf, np.inf
        # A little ridge, so that what no measurement speaks of has an answer.
        padded = np.concatenate([J, 1e-4 * np.eye(len(at))])
        found = lsq_linear(padded, np.zeros(len(padded)), bounds=(lower, upper))
        return 2.0 * float(found.cost)

    outside = np.flatnonzero((theta < low) | (theta > high))
    if not len(outside):
        return None
    total = cost(None)
    freed = [cost(int(i)) for i in outside]
    i = int(outside[np.argmin(freed)])
    freedom = max(rows - len(theta), 1)
    sd = scale[i] * np.sqrt(np.linalg.pinv(J.T @ J + 1e-8 * np.eye(len(at)))[i, i])
    edge = bool(theta[i] < formula.low[i] or theta[i] > formula.high[i])
    allowed = formula.fit(root, within=(low, high))
    with_prior, without = formula.cost(np.stack([allowed, theta]), root)
    worse = min(total - min(freed), max(with_prior - without, 0.0))
    nats = 0.5 * freedom * np.log1p(worse / freedom)
    return Conflict(
        formula.labels[i], float(theta[i]), float(sd), float(low[i]), float(high[i]), edge, float(nats)
    )


def formula_of(model: DAG, node: NodeDraws, block: BlockPosterior, seed: int) -> Formula:
    """Return a node's formula with the developer's own unknowns that it uses."""
    own = {name for part in model.unknowns.values() for name in part}
    names = [name for name in node.graph.evaluator.variables if name in own]
    pymc_model = block.density.block.model
    drawn = draw_prior({name: pymc_model[name] for name in names}, PRIOR_DRAWS, seed)
    sizes = tuple((name, node.variables[name].shape[1:]) for name in names)
    labels, low, high = [], [], []
    for name, shape in sizes:
        plain = name.rpartition("::")[2]
        labels += [plain + (f"[{', '.join(map(str, at))}]" if at else "") for at in np.ndindex(shape)]
        ends = _edges(pymc_model, name, drawn[name])
        low += [ends[0]] * int(np.prod(shape))
        high += [ends[1]] * int(np.prod(shape))
    return Formula(
        node,
        sizes,
        tuple(labels),
        _flat([drawn[name] for name in names], PRIOR_DRAWS),
        _flat([node.variables[name] for name in names], block.draws),
        np.array(low),
        np.array(high),
    )


def _edges(model: Any, name: str, draws: np.ndarray) -> tuple[float, float]:
    """Return where a prior ends: PyMC's transform says on which sides, the draws say where."""
    transform = model.rvs_to_transforms[model[name]]
    if transform is None:
        return -np.inf, np.inf
    if isinstance(transform, LogTransform):
        return 0.0, np.inf
    return float(draws.min()), float(draws.max())


def _flat(arrays: Sequence[np.ndarray], draws: int) -> np.ndarray:
    return np.concatenate([np.zeros((draws, 0)), *(a.reshape(len(a), -1) for a in arrays)], axis=1)
