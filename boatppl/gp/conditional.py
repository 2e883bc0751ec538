"""Gaussian processes after observations, all draws at once: prediction, gradients, joint samples."""

import math
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from boatppl.gp import whiten
from boatppl.gp.inducing import project

_WORK_PER_THREAD = 4e6  # multiplications, about 1 ms: below it a thread costs more than it saves
_MOST_THREADS = 8
_OWN_PAGES = 1_000_000  # bytes of an array from which on it has pages of its own


def _floats(array: np.ndarray) -> np.ndarray:
    """float64, C-contiguous and writeable, copied only if it is not: one specialisation serves everybody."""
    return np.require(array, np.float64, ["C", "W"])


def _pages(*shape: int) -> np.ndarray:
    """Return a new array that goes back to the system when it is freed.

    Roots of many rows come and go with every suggestion; ``malloc`` would keep tens of megabytes of them.
    """
    size = 8 * math.prod(shape)
    if size < _OWN_PAGES:
        return np.empty(shape)
    return np.frombuffer(mmap.mmap(-1, size, access=mmap.ACCESS_COPY)).reshape(shape)


def _cpus() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def rehearse(*, slopes: bool, many_rows: bool) -> None:
    """Compile what prediction runs, once on a machine, rather than in the middle of a suggestion.

    :param slopes: also the gradient with respect to the points.
    :param many_rows: also conditioning through inducing points.
    """
    one, groups = np.ones((1, 1)), np.zeros(1, np.int64)
    known = Conditional.from_data(0, one, groups, one[0], one, one, one)
    known.extend(one, one)[1].predict(one)
    if slopes:
        known.pullback(one, one, one)
    if many_rows:
        Conditional.from_inducing(0, one, groups, one[0], one, one, one, one)


def _over_draws(task: Callable[[int, int], None], draws: int, work: float) -> None:
    """Run ``task(first, last)`` over all draws, in threads if ``work`` (multiplications) pays for them.

    The tasks release the interpreter's lock and each draw is computed alone, so the result does not depend on
    the number of threads. The threads end with the call: a pool kept alive would not survive a fork.
    """
    threads = int(min(_cpus(), _MOST_THREADS, draws, work / _WORK_PER_THREAD))
    if threads < 2:
        task(0, draws)
        return
    edges = np.linspace(0, draws, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(task, a, b) for a, b in pairwise(edges)]:
            future.result()


def _whitened_posterior(
    amplitude: np.ndarray, root: np.ndarray, P: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The packed root (draw, point (point + 1)/2) and weights (draw, point) of the inducing posterior.

    With B = I + amplitude^2 P = Q diag(1 + e) Q^T, the variance that the rows explain at z is
    k(z, U) L^-T (I - B^-1) L^-1 k(U, z) / amplitude^2 and the mean k(z, U) L^-T B^-1 b (Titsias 2009, the
    amplitude taken out of L). So R = diag(e / (1 + e))^1/2 Q^T L^-1 / amplitude and
    w = amplitude Q^T b / (e (1 + e))^1/2, both turned by an orthogonal matrix that makes R lower triangular.
    """
    e, Q = np.linalg.eigh(amplitude[:, None, None] ** 2 * P)
    e = np.maximum(e, 1e-12)  # R w does not depend on a direction's e where the rows say nothing of it
    Q = np.swapaxes(Q, 1, 2)
    inverse = np.divide(1.0, amplitude, out=np.zeros_like(amplitude), where=amplitude > 0.0)
    dense = np.sqrt(e / (1.0 + e))[:, :, None] * (Q @ root) * inverse[:, None, None]
    weights = amplitude[:, None] * (Q @ b[:, :, None])[:, :, 0] / np.sqrt(e * (1.0 + e))
    orthogonal, upper = np.linalg.qr(dense[:, :, ::-1])
    lower = upper[:, ::-1, ::-1]
    weights = (weights[:, None, :] @ orthogonal[:, :, ::-1])[:, 0]
    i, j = np.tril_indices(P.shape[1])
    return lower[:, i, j], weights


@dataclass(frozen=True, eq=False)
class Conditional:
    """A Gaussian process given what was observed, one for each posterior draw.

    Values are those of the noise-free residual g, on the transformed scale of its node.

    :param kind: a value of :data:`~boatppl.gp.kernel.KINDS`.
    :param Z: inputs conditioned on, shape ``(draw, row, column)``.
    :param groups: int64, shape ``(column,)``: which lengthscale each column has.
    :param amplitude: shape ``(draw,)``.
    :param lengthscale: shape ``(draw, group)``, in the unit of ``Z``.
    :param root: R of :mod:`~boatppl.gp.whiten`, packed by rows, shape ``(draw, n (n + 1)/2)`` after n
        observations.
    :param tail: the rows of R that extending appended, packed alike, shape ``(draw, ...)``.
    :param weights: w of :mod:`~boatppl.gp.whiten`, shape ``(draw, row)``.
    """

    kind: int
    Z: np.ndarray
    groups: np.ndarray
    amplitude: np.ndarray
    lengthscale: np.ndarray
    root: np.ndarray
    tail: np.ndarray
    weights: np.ndarray

    @classmethod
    def from_data(
        cls,
        kind: int,
        Z: np.ndarray,
        groups: np.ndarray,
        amplitude: np.ndarray,
        lengthscale: np.ndarray,
        noise_variance: np.ndarray,
        residual: np.ndarray,
    ) -> "Conditional":
        """Condition exactly on noisy residuals (Rasmussen & Williams 2006, eq. 2.25-2.26).

        :param Z: shape ``(row, column)``; zero rows give the prior.
        :param groups: int64, shape ``(column,)``.
        :param amplitude: shape ``(draw,)``.
        :param lengthscale: shape ``(draw, group)``.
        :param noise_variance: shape ``(draw, row)``; the prior's nugget (JITTER) is added here.
        :param residual: shape ``(draw, row)``: what each draw's parametric part left over.
        """
        Z, amplitude, lengthscale = _floats(Z), _floats(amplitude), _floats(lengthscale)
        noise_variance, residual = _floats(noise_variance), _floats(residual)
        groups = np.require(groups, np.int64, ["C", "W"])
        draws, rows = len(amplitude), len(Z)
        root, weights = _pages(draws, rows * (rows + 1) // 2), np.empty((draws, rows))

        def task(first: int, last: int) -> None:
            whiten.condition(
                kind, first, last, Z, groups, amplitude, lengthscale, noise_variance, residual, root, weights
            )

        if rows:  # the prior needs no compiled code, which the first run on a machine would wait for
            _over_draws(task, draws, draws * rows**3 / 3)
        everywhere = _floats(np.broadcast_to(Z, (draws, *Z.shape)))
        return cls(kind, everywhere, groups, amplitude, lengthscale, root, np.empty((draws, 0)), weights)

    @classmethod
    def from_inducing(
        cls,
        kind: int,
        Z: np.ndarray,
        groups: np.ndarray,
        amplitude: np.ndarray,
        lengthscale: np.ndarray,
        noise_variance: np.ndarray,
        residual: np.ndarray,
        inducing: np.ndarray,
    ) -> "Conditional":
        """Condition on many noisy residuals through inducing inputs (Titsias 2009, eq. 6 and 10).

        Its rows are the inducing points. The arguments are those of :meth:`from_data`, and:

        :param inducing: shape ``(point, column)``, those of the likelihood that the draws came from.
        """
        Z, amplitude, lengthscale, inducing = map(_floats, (Z, amplitude, lengthscale, inducing))
        noise_variance, residual = _floats(noise_variance), _floats(residual)
        groups = np.require(groups, np.int64, ["C", "W"])
        draws, points = len(amplitude), len(inducing)
        square = (draws, points, points)
        root, P, b = np.empty(square), np.empty(square), np.empty((draws, points))
        packed, weights = _pages(draws, points * (points + 1) // 2), np.empty((draws, points))

        def task(first: int, last: int) -> None:
            project(
                kind, first, last, Z, groups, amplitude, lengthscale, noise_variance, residual, inducing,
                root, P, b,
            )  # fmt: skip
            some = slice(first, last)
            packed[some], weights[some] = _whitened_posterior(amplitude[some], root[some], P[some], b[some])

        with threadpool_limits(1, user_api="blas"):  # the draws have the processors already
            _over_draws(task, draws, draws * points * (len(Z) * (1.5 * points + 20.0) + 10.0 * points**2))
        everywhere = _floats(np.broadcast_to(inducing, (draws, *inducing.shape)))
        return cls(kind, everywhere, groups, amplitude, lengthscale, packed, np.empty((draws, 0)), weights)

    @property
    def draws(self) -> int:
        """Number of posterior draws."""
        return len(self.amplitude)

    @property
    def rows(self) -> int:
        """Number of rows conditioned on."""
        return self.weights.shape[1]

    @property
    def observed(self) -> int:
        """How many of the rows are observations (or inducing points); the others were sampled."""
        return (math.isqrt(8 * self.root.shape[1] + 1) - 1) // 2

    def take(self, draws: np.ndarray) -> "Conditional":
        """The conditional of some draws only, given by their positions."""
        root = np.take(self.root, draws, axis=0, out=_pages(len(draws), self.root.shape[1]), mode="wrap")
        return replace(
            self,
            Z=_floats(self.Z[draws]),
            amplitude=_floats(self.amplitude[draws]),
            lengthscale=_floats(self.lengthscale[draws]),
            root=root,
            tail=_floats(self.tail[draws]),
            weights=_floats(self.weights[draws]),
        )

    def _inputs(self, Zs: np.ndarray) -> np.ndarray:
        """``Zs`` as ``(draw or 1, point, column)``."""
        Zs = _floats(Zs)
        return Zs[None] if Zs.ndim == 2 else Zs

    def _work(self, points: int) -> float:
        """Multiplications of one triangular product per draw, and about 20 for each correlation."""
        return self.draws * points * (self.rows * (self.rows / 2 + 20) + 1)

    def predict(self, Zs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of g at each point, both of shape ``(draw, point)``; the variance is at least 0.

        :param Zs: shape ``(draw, point, column)``, or ``(point, column)`` for the same points in every draw.
        """
        Zs = self._inputs(Zs)
        points = Zs.shape[1]
        if not self.rows:
            shape = (self.draws, points)
            return np.zeros(shape), np.array(np.broadcast_to(self.amplitude[:, None] ** 2, shape))
        mean, variance = np.empty((self.draws, points)), np.empty((self.draws, points))

        def task(first: int, last: int) -> None:
            whiten.predict(
                self.kind, first, last, Zs, self.Z, self.groups, self.amplitude, self.lengthscale,
                self.root, self.tail, self.observed, self.weights, mean, variance,
            )  # fmt: skip

        _over_draws(task, self.draws, self._work(points))
        return mean, variance

    def pullback(self, Zs: np.ndarray, d_mean: np.ndarray, d_variance: np.ndarray) -> np.ndarray:
        """Gradient with respect to each draw's points of sum(d_mean mean + d_variance variance).

        :param Zs: shape ``(draw, point, column)`` or ``(point, column)``.
        :param d_mean: shape ``(draw, point)``.
        :param d_variance: shape ``(draw, point)``.
        :returns: shape ``(draw, point, column)``; sum over draws if they share their points.
        """
        Zs, d_mean, d_variance = self._inputs(Zs), _floats(d_mean), _floats(d_variance)
        d_Zs = np.empty((self.draws, *Zs.shape[1:]))

        def task(first: int, last: int) -> None:
            whiten.pull_back(
                self.kind, first, last, Zs, self.Z, self.groups, self.amplitude, self.lengthscale,
                self.root, self.tail, self.observed, self.weights, d_mean, d_variance, d_Zs,
            )  # fmt: skip

        _over_draws(task, self.draws, 2 * self._work(Zs.shape[1]))
        return d_Zs

    def sample(self, Zs: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Joint samples of g, shape ``(draw, point)``: the values of :meth:`extend` without its cost.

        :param Zs: shape ``(draw, point, column)`` or ``(point, column)``.
        :param normals: independent standard normals, shape ``(draw, point)``.
        """
        if not self.rows and normals.shape[1] == 1:  # as above: the prior of one run
            return np.sqrt(1.0 + whiten.EXTENSION_JITTER) * self.amplitude[:, None] * normals
        return self._extended(self._inputs(Zs), _floats(normals), np.empty((self.draws, 0)))

    def extend(self, Zs: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, "Conditional"]:
        """Joint samples of g at new points, and the process that is conditioned on them too, free of noise.

        :param Zs: shape ``(draw, point, column)`` or ``(point, column)``; points may repeat or be known
            already.
        :param normals: independent standard normals, shape ``(draw, point)``.
        :returns: the values, shape ``(draw, point)``, and the extended conditional.
        """
        Zs, normals = self._inputs(Zs), _floats(normals)
        rows = self.rows + Zs.shape[1]
        tail = _pages(self.draws, rows * (rows + 1) // 2 - self.root.shape[1])
        values = self._extended(Zs, normals, tail)
        new = np.broadcast_to(Zs, (self.draws, *Zs.shape[1:]))
        extended = replace(
            self,
            Z=np.concatenate([self.Z, new], axis=1),
            tail=tail,
            weights=np.concatenate([self.weights, normals], axis=1),
        )
        return values, extended

    def _extended(self, Zs: np.ndarray, normals: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Sampled values (draw, point); ``tail`` receives the extended tail unless it has no column."""
        points = Zs.shape[1]
        values = np.empty((self.draws, points))

        def task(first: int, last: int) -> None:
            whiten.extend(
                self.kind, first, last, Zs, self.Z, self.groups, self.amplitude, self.lengthscale,
                self.root, self.tail, self.observed, self.weights, normals, values, tail,
            )  # fmt: skip

        _over_draws(task, self.draws, self._work(points) + self.draws * points**2 * (points + self.rows))
        return values
