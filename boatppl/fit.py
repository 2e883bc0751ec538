"""Inference for a whole model: blocks compiled once, refitted where rows are new, ready to propagate."""

import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from boatppl.compile.density import BlockDensity, density_of
from boatppl.gp import tabulated
from boatppl.gp.conditional import rehearse
from boatppl.gp.entry import likelihood_address
from boatppl.gp.inducing import LEAST_POINTS
from boatppl.graph import DAG
from boatppl.infer import ATTEMPTS, SHORT, BlockPosterior, Chains, sample
from boatppl.propagate import Posterior, condition
from boatppl.stage import stage
from boatppl.table import Measured, Table, measured, tables
from boatppl.words import ModelError, listed


class Inference:
    """A model's compiled blocks and their latest draws: compiled once, for every study of the model, and
    refitted only where rows are new.

    The draws of a block are a function of its tables, the seed and the length of the chains alone. So a block
    whose tables did not change keeps its draws, and a resumed study gets those of an uninterrupted one.
    ``compilations`` and ``fits`` count what was done.

    Time is the one thing that does not come again. ``in_time`` has the fits that the deadline cut off, name
    -> how many attempts were ready before it: the study keeps it in its log, and fits of these names are made
    so again.
    """

    def __init__(self, model: DAG, seed: int, in_time: dict[str, int] | None = None) -> None:
        self.model = model
        self.seed = seed
        self.in_time = {} if in_time is None else in_time
        self.densities: list[BlockDensity] = []
        self.fits = 0
        self._compiling = threading.Lock()
        self._tabled: tuple[bytes, Mapping[str, Table]] | None = None
        self._latest: dict[tuple[int, Chains], tuple[bytes, BlockPosterior]] = {}

    @property
    def compilations(self) -> int:
        """How many blocks are compiled."""
        return len(self.densities)

    def compile(self) -> None:
        """Compile every block that is not yet compiled, and run each once; and what prediction runs.

        A node with several rows a trial soon has many rows, so their likelihood is compiled too.
        """
        with self._compiling:  # a study may compile beside its first trials
            nothing = tables(self.model, measured(self.model, []))
            for block in self.model.blocks[len(self.densities) :]:
                density = density_of(block)
                density.bind(nothing)(density.start(nothing))
                self.densities.append(density)
                residuals = [node for node in block.nodes if node.inputs]
                many_rows = any(node.node.over for node in residuals)
                if residuals:
                    rehearse(slopes=bool(self.model.space.continuous.any()), many_rows=many_rows)
                if many_rows:
                    likelihood_address(LEAST_POINTS)
                    tabulated.rehearse()

    def posterior(self, data: Measured, length: Chains = SHORT, longer: Chains | None = None) -> Posterior:
        """Return the posterior of the whole model given the measurements; a block whose chains disagree has
        ``longer`` ones, where they are given."""
        self.compile()
        by_node = self._tables(data)
        fits = [self._fit(number, by_node, length) for number in range(len(self.densities))]
        if longer is not None:
            fits = [fit if fit.verdict.good else self._fit(n, by_node, longer) for n, fit in enumerate(fits)]
        return condition(self.model, by_node, fits)

    def lasting(self, data: Measured, length: Chains = SHORT) -> Posterior:
        """Return the posterior as :meth:`posterior` does; where inference fails, the previous one stands in.

        That is the posterior without the newest run, or without the newest two, four, ... if that fails, too.
        Its verdicts say so, and the log does. Blocks keep their draws, so in a running study it is there at
        once; and since it follows from the measurements alone, a resumed study has the same one.
        """
        # What the data cause (a factor that fails) happens again when a study is resumed. What happened once
        # (no memory left) need not: its trial keeps what was chosen and why; but a fit of the very same
        # tables after it is then a fresh one.
        try:
            return self.posterior(data, length)
        except ModelError:
            raise
        except Exception as error:
            for before in _earlier(data):
                with suppress(Exception):
                    found = self.posterior(before, length)
                    runs = f"{len(data.numbers)} runs ({type(error).__name__}: {error})"
                    return _standing_in(found, f"no posterior of all {runs}: that of {len(before.numbers)}")
            raise

    def _tables(self, data: Measured) -> Mapping[str, Table]:
        """Return the tables of every node; those of the measurements last asked for are kept, since finding
        scales takes time."""
        key, known = data.digest, self._tabled  # once: another thread may put another one there
        if known is None or known[0] != key:
            known = self._tabled = key, tables(self.model, data)
        return known[1]

    def _fit(self, number: int, by_node: Mapping[str, Table], length: Chains) -> BlockPosterior:
        density = self.densities[number]
        mine = {node.name: by_node[node.name] for node in density.block.nodes}
        key = _digest(mine)
        known = self._latest.get((number, length))
        if known is None or known[0] != key:
            salt = hashlib.sha256(key + f"{self.seed}/{number}/{length}".encode()).digest()
            self.fits += 1
            stage(f"sampling {density.block.name}")
            name = salt.hex()[:16]
            attempts = self.in_time.get(name, ATTEMPTS)
            known = key, sample(density, mine, int.from_bytes(salt[:6], "big"), length, attempts=attempts)
            if (in_time := known[1].verdict.in_time) is not None:
                self.in_time[name] = in_time
            self._latest[number, length] = known
        return known[1]


def _earlier(data: Measured) -> Iterator[Measured]:
    """Yield the measurements without the newest run, the newest two, four, ...: at least one run is left."""
    numbers, without = np.sort(data.numbers), 1
    while without < len(numbers):
        yield data.where(data.numbers < numbers[-without])
        without *= 2


def _standing_in(posterior: Posterior, why: str) -> Posterior:
    """Return a posterior that stands in for another one; the verdict on every block says why."""
    logging.getLogger("boatppl").warning("%s: %s", listed(posterior.model.nodes), why)
    blocks = [replace(block, verdict=replace(block.verdict, fallback=why)) for block in posterior.blocks]
    return replace(posterior, blocks=tuple(blocks))


def _digest(mine: Mapping[str, Table]) -> bytes:
    """What a fit depends on: the same tables give the same digest, in every process."""
    digest = hashlib.sha256()
    for name, table in mine.items():
        digest.update(f"{name} {table.transform} {len(table)};".encode())
        for array in table.arguments():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
