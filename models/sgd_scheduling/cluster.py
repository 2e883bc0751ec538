"""A cluster of unlike machines: what its catalogue says of them, and what they really are.

A seed is a cluster. The catalogue (cores, clock, advertised bandwidth) misleads: every true compute speed and
every true bandwidth is at least 30 % away from what it suggests, in either direction, and who computes fast
says nothing about who has a fast network.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

CORES = (8, 12, 16, 24)
GBIT = (1.0, 2.0, 5.0, 10.0)
SAMPLES_PER_CORE_GHZ = 4.0  # what a catalogue suggests: samples a second for each core and GHz
BYTES_PER_GBIT = 1.25e8


@dataclass(frozen=True, eq=False)
class Cluster:
    """All arrays are ``(machine,)``.

    ``cores``, ``ghz`` and ``gbit`` are the catalogue. The truth: ``speed`` in samples a second, ``startup``
    in samples' worth of time that every batch costs, ``memory`` in samples beyond which a batch spills out of
    the cache, ``up`` and ``down`` in bytes a second, ``summing`` in bytes a second that a server adds up,
    ``dispatch`` in seconds before a batch begins, and ``wire_cost`` in seconds of compute lost for each byte
    that the machine's network moves.
    """

    seed: int
    cores: np.ndarray
    ghz: np.ndarray
    gbit: np.ndarray
    speed: np.ndarray
    startup: np.ndarray
    memory: np.ndarray
    up: np.ndarray
    down: np.ndarray
    summing: np.ndarray
    dispatch: np.ndarray
    wire_cost: np.ndarray
    batch: int
    parameter_bytes: float

    def __len__(self) -> int:
        return len(self.cores)

    @property
    def suggested_speed(self) -> np.ndarray:
        """Samples a second by the catalogue."""
        return SAMPLES_PER_CORE_GHZ * self.cores * self.ghz


def make_cluster(n: int = 10, seed: int = 0) -> Cluster:
    """Return the cluster of a seed with ``n`` machines; the batch grows with ``n``, the parameters do not."""
    rng = np.random.default_rng([20261121, n, seed])
    cores, ghz = rng.choice(CORES, n).astype(float), rng.uniform(2.2, 3.6, n).round(1)
    gbit = rng.choice(GBIT, n)
    speed = SAMPLES_PER_CORE_GHZ * cores * ghz * _surprise(rng, n)
    network = BYTES_PER_GBIT * gbit * _surprise(rng, n)
    order = _uncorrelated(rng, speed, network)
    gbit, network = gbit[order], network[order]
    return Cluster(
        seed,
        cores,
        ghz,
        gbit,
        speed,
        startup=rng.uniform(2.0, 12.0, n),
        memory=rng.uniform(150.0, 500.0, n),
        up=network * rng.uniform(0.9, 1.0, n),
        down=network * rng.uniform(0.9, 1.0, n),
        summing=rng.uniform(2e9, 6e9, n),
        dispatch=rng.uniform(0.01, 0.05, n),
        wire_cost=rng.uniform(1e-10, 6e-10, n),
        batch=2048 * n // 10,
        parameter_bytes=1e8,
    )


def _surprise(rng: np.random.Generator, n: int) -> np.ndarray:
    """How many times what the catalogue suggests ``(machine,)``: 0.45 to 0.7, or 1.3 to 1.8."""
    return np.where(rng.random(n) < 0.5, rng.uniform(0.45, 0.7, n), rng.uniform(1.3, 1.8, n))


def _uncorrelated(rng: np.random.Generator, speed: np.ndarray, network: np.ndarray) -> np.ndarray:
    """An order of the networks ``(machine,)`` whose ranks are uncorrelated with those of the speeds."""
    limit = 0.1 if len(speed) <= 30 else 0.02
    for _ in range(100_000):
        order = rng.permutation(len(speed))
        if abs(spearmanr(speed, network[order]).statistic) <= limit:
            return order
    raise RuntimeError(f"no order of {len(speed)} networks has ranks within {limit} of uncorrelated.")
