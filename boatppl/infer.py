"""NUTS on a compiled block: where chains start, a verdict, one retry, and what to do when it fails."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import nutpie
import pyarrow  # type: ignore[import-untyped]
from arviz_stats.base.array import array_stats
from nutpie.compiled_pyfunc import PyFuncModel, from_pyfunc
from nutpie.sample import CompiledModel
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from boatppl.compile.density import DEGREES_OF_FREEDOM, FLOOR, BlockDensity, Bound, Excess, LogDensity
from boatppl.compile.native import native
from boatppl.table import Table

DEADLINE = 600.0  # seconds for one block: a guard against a sampler that never returns, not a budget
TOO_LATE = "it was not ready in time"
ATTEMPTS = 2  # the second one with care
PATIENCE = 5.0  # seconds, for a sampler that is told to end
WARM_UP_PER_UNKNOWN = 5  # warm-up draws that a mass matrix with correlations needs
APART = 3.0  # deviations between modes that are two
CLIMBS = 8  # from points scattered around the prior's centre, in search of modes
RARE = 4.0  # nats of evidence by which a mode may fall short of the best and still have a chain begin there
FLATTEST, STEEPEST = 0.25, 1e8  # curvatures at a mode: beyond them it says nothing of how wide a posterior is
#: Deviation of a robust row's log scale: given the row's error its curvature at the mode is (degrees + 1)/2.
LATENT = (0.5 * (DEGREES_OF_FREEDOM + 1.0)) ** -0.5
STATISTICS = ("diverging", "energy", "n_steps", "step_size", "logp", "depth")


@dataclass(frozen=True)
class Chains:
    """How long and how carefully to sample, in PyMC's words.

    ``draws`` are kept and ``tune`` thrown away by each of ``chains``; steps are shortened until a proposal is
    accepted with probability ``target_accept``; a trajectory has at most ``2**max_treedepth`` steps. Chains
    start apart, each at the mode that a climb from a point scattered around the prior's centre finds, so that
    every mode is seen and the chains are judged by it (``dispersed``), or together at one mode. ``tolerated``
    is an R-hat that is good enough for what the draws are for.
    """

    draws: int
    tune: int
    chains: int
    target_accept: float = 0.97
    max_treedepth: int = 10
    dispersed: bool = True
    tolerated: float = field(default=1.01, repr=False)

    @property
    def total(self) -> int:
        """Draws of all chains together."""
        return self.draws * self.chains

    @property
    def acceptable_r_hat(self) -> float:
        """The R-hat below which chains agree: 1.01 (Vehtari et al. 2021), and more where draws are few."""
        return max(self.tolerated, 1.01 + 30.0 / self.total)


#: For the next suggestion: an acquisition averages over these draws. Of the benchmark's three nodes at 10, 30
#: and 60 trials, warm-ups of 20, 30 and 60 draws in the mode's coordinates gave means and deviations as
#: accurate as 60 draws in plain ones did, with 1,490, 1,780 and 2,330 gradients a block against 2,390.
SHORT = Chains(draws=50, tune=20, chains=2, target_accept=0.8, max_treedepth=8, dispersed=False)
#: Whenever a person looks at a posterior.
LONG = Chains(draws=500, tune=500, chains=4, target_accept=0.97)


@dataclass(frozen=True)
class Verdict:
    """Whether the chains agree: the largest R-hat and the smallest bulk effective sample size of any unknown
    (both rank-normalised: Vehtari et al. 2021), and divergences. Latent scales of robust rows are not judged.

    ``retried`` tells that a first, shorter attempt was thrown away, ``fallback`` what stands in for NUTS if
    it failed, ``in_time`` how many attempts were ready where the deadline cut off another one.
    """

    r_hat: float
    ess: float
    divergences: int
    draws: int
    acceptable_r_hat: float = 1.01
    retried: bool = False
    fallback: str | None = None
    in_time: int | None = None

    @property
    def good(self) -> bool:
        """Whether the draws can be used as the posterior, to the accuracy that their number allows."""
        diverged = self.divergences > 0.01 * self.draws + 5
        return self.r_hat <= self.acceptable_r_hat and not diverged and self.fallback is None

    def __str__(self) -> str:
        counted = f"{self.divergences} divergences in {self.draws} draws"
        parts = [f"R-hat {self.r_hat:.3f}, ESS {self.ess:.0f}, {counted}"]
        parts += ["sampled twice"] if self.retried else ["no time to sample twice"] * (self.in_time == 1)
        parts += [self.fallback] if self.fallback else [] if self.good else ["the chains do not agree"]
        return "; ".join(parts)


@dataclass(frozen=True, eq=False)
class BlockPosterior:
    """Posterior draws of a block.

    ``variables`` name -> ``(draw, *shape)`` with the chains one after the other, ``scales`` node -> ``(draw,
    row)`` of robust nodes, ``excesses`` node -> the bounded rows of censored ones, ``position`` ``(draw,
    dimension)`` unconstrained, ``stats`` name -> ``(chain, draw)``, ``start`` ``(dimension,)``.
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
    excesses: Mapping[str, Excess] = field(default_factory=dict)

    @property
    def draws(self) -> int:
        """Draws of all chains together."""
        return len(self.position)


@dataclass(frozen=True, eq=False)
class Start:
    """Chains begin at standard normal ``u (dimension,)`` and move in it; positions are ``centre + scale u``.

    ``scale (unknown, unknown)`` is of the block's unknowns; robust rows' scales behind them have ``LATENT``.
    A chain begins around one of ``modes (mode, dimension)``, by its seed.
    """

    centre: np.ndarray
    scale: np.ndarray
    modes: np.ndarray | None = None

    def mode(self, chain_seed: int) -> int:
        """Return which of the modes a chain begins at."""
        count = 1 if self.modes is None else len(self.modes)
        return int(np.random.default_rng([chain_seed, 1]).integers(count))

    def normals(self, chain_seed: int) -> np.ndarray:
        """Return the first u of a chain."""
        u = np.random.default_rng(chain_seed).normal(size=len(self.centre))
        return u if self.modes is None else u + self.of(self.modes[self.mode(chain_seed)])

    def of(self, position: np.ndarray) -> np.ndarray:
        """Return the u ``(dimension,)`` of a position."""
        away, size = position - self.centre, len(self.scale)
        return np.concatenate([np.linalg.solve(self.scale, away[:size]), away[size:] / LATENT])

    def position(self, u: np.ndarray) -> np.ndarray:
        """Return the positions ``(..., dimension)`` of ``u (..., dimension)``."""
        return self.centre + self._times(self.scale.T, u)

    def density(self, logp: LogDensity) -> LogDensity:
        """Return the log density and its gradient as a function of u."""

        def of_u(u: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = logp(self.position(u))
            return value, self._times(self.scale, slope)

        return of_u

    def _times(self, matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return ``vectors (..., dimension)`` times a matrix of the unknowns, and ``LATENT`` behind them."""
        size = len(matrix)
        product: np.ndarray = LATENT * vectors
        product[..., :size] = vectors[..., :size] @ matrix
        return product


class SamplerFailed(RuntimeError):
    """The sampler gave no usable draws; the message says why."""


class TooLate(SamplerFailed):
    """It was not ready in time."""


@threadpool_limits.wrap(limits=1)  # of small matrices, threads of BLAS take longer, and fight the chains
def sample(
    density: BlockDensity,
    tables: Mapping[str, Table],
    seed: int,
    length: Chains = SHORT,
    cores: int = 2,
    deadline: float = DEADLINE,
    attempts: int = ATTEMPTS,
) -> BlockPosterior:
    """Sample a block's posterior given its nodes' tables.

    The warm start is the mode that a climb from the prior's centre finds, and the curvature there. It is no
    earlier fit's last position, so that the draws follow from the tables alone and a resumed study repeats
    them.

    If the chains do not agree the block is sampled once more, with three times the warm-up and shorter
    steps. If the sampler fails or is not ready in time, draws of a normal distribution around the mode take
    its place. The verdict says so in either case.

    Parameters
    ----------
    tables
        The table of every node of the block, by name.
    seed
        The same seed, tables and length give the same draws, bit for bit, whatever ``cores``.
    deadline
        Seconds.
    attempts
        At most so many: ``in_time`` of a verdict, where its draws are to be repeated and not timed again.
    """
    logp = density.bind(tables)
    origin = density.start(tables)
    if origin.size == 0:  # nothing is unknown
        nothing, certain = np.zeros((length.total, 0)), Verdict(1.0, length.total, 0, length.total)
        return _posterior(density, tables, nothing, {}, length, certain, origin)
    near = laplace(logp, climb(logp, origin), density.layout.size)
    if length.dispersed:
        near = among_modes(logp, origin, near, seed)
    end = time.monotonic() + deadline
    attempt = partial(_nuts, density, tables, logp, cores=cores, end=end)
    careful = replace(length, tune=3 * length.tune, target_accept=0.5 * (1.0 + length.target_accept))
    found: list[BlockPosterior] = []
    whys, in_time = list[str](), None
    for number, chains in enumerate((length, careful)):
        try:
            if number >= attempts or time.monotonic() >= end:
                raise TooLate(TOO_LATE)
            found.append(attempt(seed=seed + number, length=chains, begin=near))
        except SamplerFailed as failure:
            whys.append(str(failure))
            in_time = number if isinstance(failure, TooLate) else None
        if in_time is not None or (found and found[0].verdict.good):
            break
    if not found:
        instead = _around_mode(density, tables, logp, near, seed, length, whys[0])
        return replace(instead, verdict=replace(instead.verdict, in_time=in_time))
    best = min(found, key=lambda posterior: posterior.verdict.r_hat)
    verdict = replace(best.verdict, retried=number > 0 and in_time is None, in_time=in_time)
    if verdict.retried or not verdict.good:
        # Of 12 trials one or two are chosen by short chains that do not agree, and well: no reason to alarm.
        loud = logging.WARNING if length.dispersed and not verdict.good else logging.INFO
        logging.getLogger("boatppl").log(loud, "%s: %s", density.block.name, verdict)
    return replace(best, chains=length, verdict=verdict)


def climb(logp: LogDensity, start: np.ndarray, steps: int = 60) -> np.ndarray:
    """Return the position ``(dimension,)`` that L-BFGS reaches from ``start``."""

    def cost(position: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = logp(position)
        if value <= FLOOR:
            return 1e10, np.zeros_like(position)
        return -value, -gradient

    # Bounds, since a density without a mode must not be climbed for ever.
    box = [(min(-12.0, x), max(12.0, x)) for x in start]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": steps})
    return found.x if found.fun < 1e10 else start


def laplace(logp: LogDensity, mode: np.ndarray, unknowns: int) -> Start:
    """Return the normal distribution around a mode that has the density's curvature there, by differences.

    In its coordinates the unknowns are of one size and hardly correlated, so that chains need little warm-up.
    A direction in which the curvature says nothing of the width, or there is none, has deviation 2.
    """
    step, rows = 1e-3, []
    for shift in step * np.eye(unknowns, len(mode)):
        rows.append((logp(mode - shift)[1] - logp(mode + shift)[1])[:unknowns] / (2 * step))
    curvature = np.nan_to_num(np.reshape(rows, (unknowns, unknowns)))
    values, directions = np.linalg.eigh(0.5 * (curvature + curvature.T))
    return Start(mode, directions / np.sqrt(np.clip(values, FLATTEST, STEEPEST)))


def among_modes(logp: LogDensity, origin: np.ndarray, near: Start, seed: int) -> Start:
    """Return a start at the modes that climbs from points scattered around ``origin`` find.

    Modes are weighed as normal distributions (Laplace's evidence); the best gives the coordinates, and those
    with next to none of the mass are left out: a chain that begins there is long in leaving it.
    """
    rng = np.random.default_rng([seed, 51])
    climbed = [climb(logp, origin + rng.normal(size=len(origin))) for _ in range(CLIMBS)]
    starts = [near, *(laplace(logp, position, len(near.scale)) for position in climbed)]
    evidence = np.array([logp(start.centre)[0] + np.linalg.slogdet(start.scale)[1] for start in starts])
    order = np.argsort(-evidence, kind="stable")
    best, modes = starts[order[0]], [starts[order[0]].centre]
    for other in order[1:][evidence[order[1:]] > evidence[order[0]] - RARE]:
        u = best.of(starts[other].centre)
        if all(np.abs(u - best.of(mode)).max() > APART for mode in modes):
            modes.append(starts[other].centre)
    return replace(best, modes=np.array(modes))


def _nuts(
    density: BlockDensity,
    tables: Mapping[str, Table],
    logp: LogDensity,
    *,
    seed: int,
    length: Chains,
    begin: Start,
    cores: int,
    end: float,
) -> BlockPosterior:
    """One attempt until the time ``end``. Raises SamplerFailed for whatever the foreign code does."""
    size = len(begin.centre)
    begun: set[int] = set()

    def first(chain_seed: int) -> np.ndarray:
        begun.add(begin.mode(chain_seed))
        return begin.normals(chain_seed)

    model = _walked(logp, begin, first)
    waiting = isinstance(model, PyFuncModel)  # for the interpreter, where there are several threads
    u, stats = _run(model, seed, length, 1 if waiting else cores, end)
    if u.shape != (length.chains, length.draws, size) or not np.isfinite(u).all():
        raise SamplerFailed(f"it returned draws of shape {u.shape}, not all of them finite")
    chains = begin.position(u)
    unknowns, divergences = chains[..., : density.layout.size], int(stats["diverging"].sum())
    verdict = judge(unknowns, divergences, length.acceptable_r_hat)
    if len(begun) == 1 and begin.modes is not None and len(begin.modes) > 1:  # chance: they agree on one mode
        verdict = replace(verdict, r_hat=np.inf)
    return _posterior(density, tables, chains.reshape(-1, size), stats, length, verdict, begin.centre)


def _walked(logp: LogDensity, begin: Start, first: Callable[[int], np.ndarray]) -> CompiledModel:
    """Return what nutpie walks through."""
    if isinstance(logp, Bound):
        try:
            return native(logp, begin.centre, begin.scale, LATENT, first)
        except (
            AttributeError,
            TypeError,
        ) as error:  # another version of numba or nutpie has moved its insides
            logging.getLogger("boatppl").warning("chains go through Python, which takes longer: %s", error)
    kind, shape = [np.dtype("float64")], [begin.centre.shape]
    by_python = (lambda: begin.density(logp), lambda *_: lambda u: {"u": u}, kind, shape, ["u"])
    return from_pyfunc(len(begin.centre), *by_python, make_initial_point_fn=first)


def _run(
    model: CompiledModel, seed: int, length: Chains, cores: int, end: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return draws of u ``(chain, draw, dimension)`` and sampler statistics ``(chain, draw)``."""
    sampler = None
    # The variables and the residual's scales of a node are correlated. But a hundred latent scales of robust
    # rows are hardly, and correlations that a short warm-up imagines cost twice the steps and diverge.
    correlated = WARM_UP_PER_UNKNOWN * model.n_dim <= length.tune
    try:
        sampler = nutpie.sample(
            model,
            draws=length.draws,
            tune=length.tune,
            chains=length.chains,
            cores=cores,
            seed=int(seed) % 2**63,
            progress_bar=False,
            return_raw_trace=True,  # a DataTree would take longer than the chains of a small block
            blocking=False,
            target_accept=length.target_accept,
            maxdepth=length.max_treedepth,
            adaptation="low_rank" if correlated else "diag",
        )
        trace = sampler.wait(timeout=max(end - time.monotonic(), 0.001))
        return _read(trace, length.draws, model.n_dim)
    except TimeoutError:
        raise TooLate(TOO_LATE) from None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in Rust is no Exception, and a study must survive it
        raise SamplerFailed((str(error).strip().splitlines() or [type(error).__name__])[0]) from error
    finally:
        if sampler is not None:
            _leave(sampler)


def _leave(sampler: Any) -> None:
    """End a sampler. It ends with the step that it is at: one that hangs in a step is left behind."""

    def end() -> None:
        with suppress(BaseException):  # a panic in Rust is no Exception
            if not sampler._sampler.is_empty(ignore_error=True):
                sampler.cancel()

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    thread.join(PATIENCE)


def _read(trace: Any, draws: int, size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the last ``draws`` of each chain, in u, and their statistics from Arrow's columns."""
    positions, statistics = trace.get_arrow_trace()
    chains = [pyarrow.array(chain.column("u")).flatten().to_numpy() for chain in positions]
    stats = {
        name: np.stack(
            [pyarrow.array(chain.column(name)).to_numpy(zero_copy_only=False) for chain in statistics]
        )
        for name in STATISTICS
    }
    kept = {name: values[:, -draws:] for name, values in stats.items()}
    return np.stack([chain.reshape(-1, size)[-draws:] for chain in chains]), kept


def judge(chains: np.ndarray, divergences: int, acceptable_r_hat: float = 1.01) -> Verdict:
    """Return the verdict on positions ``(chain, draw, unknown)``."""
    chain, draw, size = chains.shape
    if size == 0:
        return Verdict(1.0, chain * draw, divergences, chain * draw, acceptable_r_hat)
    rank_r_hat: Callable[..., np.ndarray] = array_stats.rhat
    bulk_ess: Callable[..., np.ndarray] = array_stats.ess
    with np.errstate(all="ignore"):  # chains that never moved have no R-hat
        r_hat = np.nan_to_num(rank_r_hat(chains, chain_axis=0, draw_axis=1), nan=np.inf)
        ess = np.nan_to_num(bulk_ess(chains, chain_axis=0, draw_axis=1))
    return Verdict(float(r_hat.max()), float(ess.min()), divergences, chain * draw, acceptable_r_hat)


def _around_mode(
    density: BlockDensity,
    tables: Mapping[str, Table],
    logp: LogDensity,
    near: Start,
    seed: int,
    length: Chains,
    why: str,
) -> BlockPosterior:
    """The stated fallback: normal draws around the mode; those without a density give way to the mode."""
    mode = near.centre
    fallback = f"the sampler failed ({why}): normal draws around the mode"
    logging.getLogger("boatppl").warning("%s: %s", density.block.name, fallback)
    position = near.position(np.random.default_rng(seed).normal(size=(length.total, len(mode))))
    position = np.where([[logp(row)[0] > FLOOR] for row in position], position, mode)
    verdict = Verdict(np.inf, 0.0, 0, length.total, fallback=fallback)
    return _posterior(density, tables, position, {}, length, verdict, mode)


def _posterior(
    density: BlockDensity,
    tables: Mapping[str, Table],
    position: np.ndarray,
    stats: Mapping[str, np.ndarray],
    length: Chains,
    verdict: Verdict,
    start: np.ndarray,
) -> BlockPosterior:
    variables, scales = density.constrain(position), density.robust_scales(position, tables)
    known = (density, tables, position, variables, scales, stats, length, verdict, start)
    return BlockPosterior(*known, density.excesses(position, tables))
