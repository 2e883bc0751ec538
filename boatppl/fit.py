"""Inference for a whole model: compiled blocks, refitted where rows are new, conditioned and ready to propagate."""

import hashlib
from collections.abc import Mapping

import numpy as np

from boatppl.compile.density import BlockDensity
from boatppl.graph import DAG
from boatppl.infer import SHORT, BlockPosterior, Chains, sample
from boatppl.propagate import Posterior, condition
from boatppl.table import Measured, Table, measured, tables


class Inference:
    """A model's compiled blocks and their latest draws: compiled once, refitted only where rows are new.

    The draws of a block are a function of its table, the seed and the length of the chains alone, so a block whose table
    did not change keeps its draws, and a resumed study gets the draws of an uninterrupted one.
    """

    def __init__(self, model: DAG, seed: int) -> None:
        self.model = model
        self.seed = seed
        self.densities: list[BlockDensity | None] = [None] * len(model.blocks)
        self.compilations = 0
        self._latest: dict[tuple[int, Chains], tuple[bytes, BlockPosterior]] = {}

    def compile(self) -> None:
        """Compile every block that is not yet compiled, and run each once."""
        nothing = tables(self.model, measured(self.model, []))
        for number, block in enumerate(self.model.blocks):
            if self.densities[number] is None:
                density = BlockDensity(block)
                density.bind(nothing)(density.start(nothing))
                self.densities[number] = density
                self.compilations += 1

    def posterior(self, data: Measured, length: Chains = SHORT) -> Posterior:
        """Return the posterior of the whole model given the measurements."""
        self.compile()
        by_node = tables(self.model, data)
        fits = [self._fit(number, by_node, length) for number in range(len(self.model.blocks))]
        return condition(self.model, by_node, fits)

    def _fit(self, number: int, by_node: Mapping[str, Table], length: Chains) -> BlockPosterior:
        density = self.densities[number]
        mine = {node.name: by_node[node.name] for node in density.block.nodes}
        digest = hashlib.sha256(repr([(t.transform.location, t.transform.spread) for t in mine.values()]).encode())
        for table in mine.values():
            for array in table.arguments():
                digest.update(np.ascontiguousarray(array).tobytes())
        key = digest.digest()
        known = self._latest.get((number, length))
        if known is None or known[0] != key:
            seed = int.from_bytes(hashlib.sha256(key + f"{self.seed}/{number}/{length}".encode()).digest()[:6], "big")
            known = (key, sample(density, mine, seed, length))
            self._latest[number, length] = known
        return known[1]
