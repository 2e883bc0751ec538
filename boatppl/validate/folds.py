"""The posterior without one trial: the posterior with it, reweighted where that can be trusted, else sampled
anew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from arviz_stats.base.array import array_stats

from boatppl.infer import BlockPosterior, Chains, sample
from boatppl.leave_one_out import LeftOut, leave_one_out
from boatppl.propagate import Posterior, condition
from boatppl.table import Table


@dataclass(frozen=True, eq=False)
class BlockFolds:
    """One block without each trial.

    ``log_weights (draw, trial)`` turn the draws given every trial into draws without one (each column's
    exponentials add up to 1) and ``pareto_k (trial,)`` says how well; ``refits`` place -> the block sampled
    without that trial, where reweighting cannot be trusted. ``left`` node -> what the draws say of its
    trials.
    """

    block: BlockPosterior
    left: Mapping[str, LeftOut]
    log_weights: np.ndarray
    pareto_k: np.ndarray
    refits: Mapping[int, BlockPosterior]


@dataclass(frozen=True, eq=False)
class Folds:
    """A model's posterior given ``numbers (trial,)`` ascending, and its blocks without each of them."""

    every: Posterior
    numbers: np.ndarray
    blocks: tuple[BlockFolds, ...]
    seed: int

    def of(self, name: str) -> BlockFolds:
        """Return the folds of a node's block."""
        return next(folds for folds in self.blocks if name in folds.left)

    def pareto_k(self, place: int) -> float:
        """Return the worst diagnostic of any block for the trial at a place of ``numbers``."""
        return max(float(folds.pareto_k[place]) for folds in self.blocks)

    def refitted(self, place: int) -> bool:
        """Whether some block was sampled anew without the trial at a place."""
        return any(place in folds.refits for folds in self.blocks)

    def without(self, place: int, draws: int | None = None) -> Posterior:
        """Return the posterior of the whole model given every trial but the one at a place of ``numbers``;
        all of its draws, or so many."""
        tables = {name: without(node.table, self.numbers[place]) for name, node in self.every.nodes.items()}
        blocks = []
        for index, folds in enumerate(self.blocks):
            fitted = folds.refits.get(place)
            if fitted is None:
                rng = np.random.default_rng([self.seed, 61, place, index])
                chosen = resampled(np.exp(folds.log_weights[:, place]), rng)[:draws]
                fitted = taken(folds.block, chosen, self.numbers[place])
            blocks.append(fitted)
        return condition(self.every.model, tables, blocks)

    def anew(self, name: str, place: int) -> LeftOut:
        """Return what a refit, which never saw the trial at a place, says of the trials of a node.

        The formula of leaving out is applied to the whole table with the refit's draws: it has no term in
        the left-out trial's own robust scale, which may then be any number.
        """
        fitted = self.of(name).refits[place]
        whole = {node: self.every.nodes[node].table for node in fitted.tables}
        scales = {}
        for node, scale in fitted.scales.items():
            scales[node] = np.ones((len(scale), len(whole[node])))
            scales[node][:, whole[node].trials != self.numbers[place]] = scale
        block = replace(fitted, tables=whole, scales=scales)
        return leave_one_out(condition(self.every.model, whole, [block]).nodes[name], block)


def fold(every: Posterior, numbers: np.ndarray, seed: int, length: Chains | None = None) -> Folds:
    """Return the folds of a posterior: reweighted, and sampled anew where the diagnostic is too large.

    Without a ``length`` of chains nothing is sampled anew.
    """
    found = []
    for block in every.blocks:
        left = {
            graph.name: leave_one_out(every.nodes[graph.name], block) for graph in block.density.block.nodes
        }
        ratio = np.zeros((block.draws, len(numbers)))
        for name, each in left.items():
            ratio[:, np.searchsorted(numbers, np.unique(every.nodes[name].table.trials))] -= each.log_density
        log_weights, k = smoothed(ratio)
        refits = {
            int(place): _refit(block, numbers[place], seed, length)
            for place in np.flatnonzero(~(k <= acceptable_k(block.draws)))
            if length is not None
        }
        found.append(BlockFolds(block, left, log_weights, k, refits))
    return Folds(every, numbers, tuple(found), seed)


def _refit(block: BlockPosterior, number: int, seed: int, length: Chains) -> BlockPosterior:
    tables = {name: without(table, number) for name, table in block.tables.items()}
    salt = np.random.SeedSequence([seed, 62, int(number)]).generate_state(1)[0]
    return sample(block.density, tables, int(salt), length)


def smoothed(log_ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Pareto-smoothed log weights ``(draw, trial)``, normalised, and k ``(trial,)``, of log ratios.

    Vehtari et al. 2024; ArviZ takes the ratios with the other sign, as log likelihoods. Of a trial that
    changes nothing, the weights are equal and k is 0.
    """
    draws, trials = log_ratio.shape
    log_weights, k = np.full((draws, trials), -np.log(draws)), np.zeros(trials)
    moves = np.ptp(log_ratio, axis=0) > 1e-12
    if moves.any():
        smooth: Callable[..., tuple[np.ndarray, np.ndarray]] = array_stats.psislw
        found, k[moves] = smooth(np.ascontiguousarray(-log_ratio[:, moves].T))
        log_weights[:, moves] = np.asarray(found).T
    return log_weights, k


def acceptable_k(draws: int) -> float:
    """Return the largest k at which this many draws can be trusted (Vehtari et al. 2024, sec. 3.2.4)."""
    return min(1.0 - 1.0 / np.log10(draws), 0.7)


def resampled(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many draws' numbers as there are ``weights (draw,)``, by systematic resampling, in random
    order."""
    places = (rng.uniform() + np.arange(len(weights))) / len(weights)
    return rng.permutation(np.searchsorted(np.cumsum(weights / weights.sum())[:-1], places, side="right"))


def taken(block: BlockPosterior, chosen: np.ndarray, number: int) -> BlockPosterior:
    """Return a block's chosen draws ``(draw,)``, on its tables without a trial."""
    return replace(
        block,
        tables={name: without(table, number) for name, table in block.tables.items()},
        position=block.position[chosen],
        variables={name: value[chosen] for name, value in block.variables.items()},
        scales={
            name: scale[chosen][:, block.tables[name].trials != number]
            for name, scale in block.scales.items()
        },
        excesses={name: excess.take(chosen) for name, excess in block.excesses.items()},
    )


def without(table: Table, number: int) -> Table:
    """Return a table without the rows of a trial, everything else as it was."""
    return of_rows(table, table.trials != number)


def of_rows(table: Table, keep: np.ndarray) -> Table:
    """Return the rows of a table where ``keep (row,)`` is true."""
    return replace(
        table,
        y=table.y[keep],
        natural=table.natural[keep],
        Z=np.ascontiguousarray(table.Z[keep]),
        wires={key: np.ascontiguousarray(value[keep]) for key, value in table.wires.items()},
        rows=table.rows[keep],
        trials=table.trials[keep],
    )
