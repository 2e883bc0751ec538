"""NUTS on a compiled block: warm start, convergence verdict, retry, and what to do when it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nutpie
import numpy as np
from nutpie.compiled_pyfunc import from_pyfunc
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from boatppl.compile.density import FLOOR, BlockDensity
from boatppl.table import Table


@dataclass(frozen=True)
class Chains:
    """How long to sample, in PyMC's words: ``draws`` kept and ``tune`` thrown away by each of ``chains``."""

    draws: int
    tune: int
    chains: int


SHORT = Chains(draws=50, tune=100, chains=2)  # for the next suggestion: an acquisition averages over these draws
LONG = Chains(draws=500, tune=500, chains=4)  # whenever a person looks at a posterior


@dataclass(frozen=True)
class Verdict:
    """Whether the chains agree: worst split R-hat and smallest effective sample size over unknowns, and divergences.

    R-hat and ESS as in Vehtari et al. 2021 without rank normalisation (the rank-normalised ones are in ``az.summary``).
    """

    r_hat: float
    ess: float
    divergences: int
    draws: int
    fallback: str | None = None

    @property
    def good(self) -> bool:
        """Good enough to average an acquisition over; for publication see the long chains' R-hat."""
        return self.r_hat < 1.2 and self.divergences <= 0.1 * self.draws and self.fallback is None

    def __str__(self) -> str:
        text = f"R-hat {self.r_hat:.3f}, ESS {self.ess:.0f}, {self.divergences} divergences in {self.draws} draws"
        return text + (f"; {self.fallback}" if self.fallback else "")


@dataclass(frozen=True, eq=False)
class BlockPosterior:
    """Posterior draws of a block.

    ``variables`` name -> ``(draw, *shape)`` with the chains one after the other, ``scales`` node -> ``(draw, row)`` of robust
    nodes, ``position`` ``(draw, dimension)`` unconstrained, ``stats`` name -> ``(chain, draw)``.
    """

    density: BlockDensity
    tables: Mapping[str, Table]
    position: np.ndarray
    variables: Mapping[str, np.ndarray]
    scales: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    chains: Chains
    verdict: Verdict
    start: np.ndarray = field(repr=False)

    @property
    def draws(self) -> int:
        return len(self.position)


def sample(
    density: BlockDensity,
    tables: Mapping[str, Table],
    seed: int,
    length: Chains = SHORT,
    start: np.ndarray | None = None,
    cores: int = 2,
) -> BlockPosterior:
    """Sample a block's posterior given its nodes' tables.

    Parameters
    ----------
    start
        A position to begin from (a warm start); by default the prior's centre. It is first climbed to the nearby mode.
    seed
        The same seed, tables, start and length give the same draws, whatever ``cores``.

    If the verdict is bad the block is sampled once more, three times as long, and the verdict says what came of it.
    """
    logp = density.bind(tables)
    mode = climb(logp, density.start(tables) if start is None else _fit_length(start, density, tables))
    try:
        posterior = _nuts(density, tables, logp, seed, length, mode, cores)
        if not posterior.verdict.good:
            longer = Chains(length.draws, 4 * length.tune, length.chains)
            posterior = _nuts(density, tables, logp, seed + 1, longer, density.start(tables), cores)
        return posterior
    except Exception as error:  # the sampler is foreign code and may panic: a study must survive it
        return _at_mode(density, tables, logp, mode, seed, length, f"the sampler failed ({error}); normal draws around the mode")


def climb(logp: Any, start: np.ndarray, steps: int = 60) -> np.ndarray:
    """Return the position ``(dimension,)`` that L-BFGS reaches from ``start``: chains begin where the mass is."""
    if start.size == 0:
        return start

    def cost(position: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = logp(position)
        if value <= FLOOR:
            return 1e10, np.zeros_like(position)
        return -value, -gradient

    with threadpool_limits(1):
        found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(-12, 12)] * len(start), options={"maxiter": steps})
    return found.x if found.fun < 1e10 else start


def _nuts(
    density: BlockDensity,
    tables: Mapping[str, Table],
    logp: Any,
    seed: int,
    length: Chains,
    mode: np.ndarray,
    cores: int,
) -> BlockPosterior:
    size = len(mode)
    if size == 0:
        return _without_unknowns(density, tables, length, mode)
    model = from_pyfunc(
        size,
        lambda: logp,
        lambda *_: lambda position: {"position": position},
        [np.dtype("float64")],
        [(size,)],
        ["position"],
        make_initial_point_fn=lambda chain_seed: mode + 0.1 * np.random.default_rng(chain_seed).normal(size=size),
    )
    with threadpool_limits(1):
        tree = nutpie.sample(
            model,
            draws=length.draws,
            tune=length.tune,
            chains=length.chains,
            cores=cores,
            seed=int(seed) % 2**63,
            progress_bar=False,
            save_warmup=False,
            maxdepth=8,
        )
    chains = tree.posterior["position"].values  # (chain, draw, dimension)
    stats = {name: tree.sample_stats[name].values for name in ("diverging", "energy", "n_steps", "step_size", "logp", "depth")}
    position = chains.reshape(-1, size)
    if not np.isfinite(position).all():
        raise FloatingPointError("draws that are not finite")
    verdict = judge(chains, int(stats["diverging"].sum()))
    return BlockPosterior(
        density,
        tables,
        position,
        density.constrain(position),
        density.robust_scales(position, tables),
        stats,
        length,
        verdict,
        mode,
    )


def judge(chains: np.ndarray, divergences: int) -> Verdict:
    """Return the verdict on positions ``(chain, draw, dimension)`` (split R-hat: Gelman et al. 2013, eq. 11.4)."""
    chain, draw, _ = chains.shape
    half = draw // 2
    split = np.concatenate([chains[:, :half], chains[:, half : 2 * half]])
    within = split.var(axis=1, ddof=1).mean(axis=0)
    between = half * split.mean(axis=1).var(axis=0, ddof=1)
    within = np.maximum(within, 1e-300)
    r_hat = np.sqrt(((half - 1) / half * within + between / half) / within)
    ess = chain * draw * np.minimum(1.0, within / np.maximum(between, 1e-300))
    return Verdict(float(r_hat.max()), float(ess.min()), divergences, chain * draw)


def _fit_length(start: np.ndarray, density: BlockDensity, tables: Mapping[str, Table]) -> np.ndarray:
    """A warm start from fewer rows: new robust scales begin at 1."""
    fitted = density.start(tables)
    fitted[: density.layout.size] = start[: density.layout.size]
    return fitted


def _without_unknowns(density: BlockDensity, tables: Mapping[str, Table], length: Chains, mode: np.ndarray) -> BlockPosterior:
    draws = length.draws * length.chains
    position = np.zeros((draws, 0))
    return BlockPosterior(density, tables, position, {}, {}, {}, length, Verdict(1.0, draws, 0, draws), mode)


def _at_mode(
    density: BlockDensity, tables: Mapping[str, Table], logp: Any, mode: np.ndarray, seed: int, length: Chains, why: str
) -> BlockPosterior:
    """The stated fallback: normal draws around the mode with the diagonal curvature found by differences (Laplace)."""
    step, curvature = 1e-3, np.zeros(len(mode))
    for i in range(len(mode)):
        up, down = mode.copy(), mode.copy()
        up[i] += step
        down[i] -= step
        curvature[i] = (logp(down)[1][i] - logp(up)[1][i]) / (2 * step)
    spread = 1.0 / np.sqrt(np.clip(np.nan_to_num(curvature), 1.0, 1e8))
    draws = length.draws * length.chains
    position = mode + spread * np.random.default_rng(seed).normal(size=(draws, len(mode)))
    return BlockPosterior(
        density,
        tables,
        position,
        density.constrain(position),
        density.robust_scales(position, tables),
        {},
        length,
        Verdict(np.inf, 0.0, 0, draws, why),
        mode,
    )

