"""Every block's compiled log density: finite where it should be, and its gradient that of differences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from boatppl.compile.density import FLOOR, BlockDensity
from boatppl.fit import Inference
from boatppl.table import Table

POSITIONS = 40
DIFFERENCED = 4  # of them, at which the gradient is compared
STEP = 1e-5


@dataclass(frozen=True)
class Density:
    """A block's density on runs drawn from its own prior: the share of positions around the prior's centre
    at which it is ``finite``, and the ``gradient``'s largest relative error against differences."""

    finite: float
    gradient: float


def densities(inference: Inference, by_node: Mapping[str, Table], seed: int) -> dict[str, Density]:
    """Return the verdict on every block, by its name."""
    inference.compile()
    return {density.block.name: _one(density, by_node, seed) for density in inference.densities}


def _one(density: BlockDensity, by_node: Mapping[str, Table], seed: int) -> Density:
    mine = {node.name: by_node[node.name] for node in density.block.nodes}
    logp, centre = density.bind(mine), density.start(mine)
    if not len(centre):
        return Density(1.0, 0.0)
    positions = centre + np.random.default_rng([seed, 81]).normal(size=(POSITIONS, len(centre)))
    good = [position for position in positions if logp(position)[0] > FLOOR]
    errors = []
    for position in good[:DIFFERENCED]:
        gradient = logp(position)[1]
        steps = STEP * np.eye(len(position))
        slope = np.array([logp(position + s)[0] - logp(position - s)[0] for s in steps]) / (2.0 * STEP)
        # What differences can resolve: rounding of the density itself, spread over the step.
        noise = 1e-14 * abs(logp(position)[0]) / STEP
        errors.append(np.max(np.abs(gradient - slope) / (np.abs(gradient).max() + noise + 1e-6)))
    return Density(len(good) / POSITIONS, float(max(errors, default=0.0)))
