"""Times of the Gaussian-process functions on this machine: ``python benchmarks/gp_kernels.py``.

Likelihoods run on one thread, as they do inside the chains; conditionals on all processors. Best of several.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pymc as pm
from numba import njit
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial import cKDTree
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from boatppl.gp import KINDS, Conditional, choose_inducing, log_marginal, log_marginal_inducing
from boatppl.gp.kernel import correlation_matrix

KIND = KINDS["matern52"]
GROUPS = np.arange(3)
LENGTHSCALE = np.ones(3)
DRAWS = 100
CANDIDATES = 700


@njit
def _repeat(times, residual, Z, groups, lengthscale, noise):  # type: ignore[no-untyped-def]
    """The likelihood as compiled code calls it, without Python's share of the time."""
    total = 0.0
    for _ in range(times):
        total += log_marginal(0, residual, Z, groups, 0.7, lengthscale, noise)[0]
    return total


def best(task: Callable[[], object], repeats: int = 7) -> float:
    """Shortest time of ``task`` in milliseconds."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def exact() -> None:
    """Log marginal likelihood with its gradient, by number of rows."""
    rng = np.random.default_rng(0)
    print("\nexact likelihood and gradient, one thread\n rows        ms")
    for rows in (2, 10, 20, 30, 50, 100, 200, 500):
        residual, Z, noise = rng.normal(size=rows), rng.random((rows, 3)), 0.01 + rng.random(rows)
        times = max(1, 5000 // rows)
        cost = best(lambda p=(times, residual, Z, GROUPS, LENGTHSCALE, noise): _repeat(*p)) / times
        print(f"{rows:5d} {cost:9.4f}")


def inducing() -> None:
    """The variational bound with its gradient, by numbers of rows and points."""
    rng = np.random.default_rng(0)
    print("\nbound and gradient, one thread\n rows points        ms  choosing  conditioning 100 draws")
    for rows, count in ((1000, 50), (1000, 100), (10_000, 50), (10_000, 100)):
        residual, Z, noise = rng.normal(size=rows), rng.random((rows, 3)), 0.01 + rng.random(rows)
        points = choose_inducing(Z, count, 0)
        cost = best(
            lambda p=(KIND, residual, Z, GROUPS, 0.7, LENGTHSCALE, noise, points): log_marginal_inducing(*p)
        )
        choosing = best(lambda p=(Z, count, 0): choose_inducing(*p), 3)
        draws = (
            KIND, Z, GROUPS, np.full(DRAWS, 0.7), np.ones((DRAWS, 3)),
            np.tile(noise, (DRAWS, 1)), np.tile(residual, (DRAWS, 1)), points,
        )  # fmt: skip
        conditioning = best(lambda p=draws: Conditional.from_inducing(*p), 2)
        print(f"{rows:5d} {count:6d} {cost:9.2f} {choosing:9.1f} {conditioning:13.0f}")


def conditionals() -> None:
    """Conditioning, prediction, its gradient and joint samples, by number of rows."""
    rng = np.random.default_rng(0)
    print(f"\nconditionals of {DRAWS} draws, ms ({CANDIDATES} points; 30 for sample and extend)")
    print(" rows from_data  predict  pullback    sample    extend")
    for rows in (0, 10, 30, 100, 300):
        Z, amplitude = rng.random((rows, 3)), 0.5 + rng.random(DRAWS)
        data = (
            KIND, Z, GROUPS, amplitude, 0.3 + rng.random((DRAWS, 3)),
            0.01 + rng.random((DRAWS, rows)), rng.normal(size=(DRAWS, rows)),
        )  # fmt: skip
        conditional = Conditional.from_data(*data)
        Zs, weights = rng.random((DRAWS, CANDIDATES, 3)), np.ones((DRAWS, CANDIDATES))
        few, normals = rng.random((30, 3)), rng.normal(size=(DRAWS, 30))
        costs = (
            best(lambda p=data: Conditional.from_data(*p)),
            best(lambda c=conditional, z=Zs: c.predict(z)),
            best(lambda c=conditional, p=(Zs, weights, weights): c.pullback(*p)),
            best(lambda c=conditional, p=(few, normals): c.sample(*p)),
            best(lambda c=conditional, p=(few, normals): c.extend(*p)),
        )
        print(f"{rows:5d} " + " ".join(f"{cost:9.2f}" for cost in costs))


def approximations(rows: int = 1000, held_out: int = 500, noise: float = 0.1) -> None:
    """What stands in for the exact likelihood of many rows: what a value costs, how far it is from the exact
    one, and how much worse it predicts, by the number of inputs.

    Draws of Gaussian processes with the lengthscale that our prior expects. Inducing points are Titsias'
    (2009) bound; HSGP is PyMC's (Riutort-Mayol et al. 2023); Vecchia's likelihood (1988) conditions each row
    on its nearest earlier ones in a random order, and a prediction on the nearest rows. These two cost what
    NumPy takes for a value; the exact one and the bound are ours, compiled and with the gradient.
    """
    print(
        f"\n{rows} rows: ms a value; errors (nats a row) of the log density and of {held_out} held-out rows'"
    )
    for inputs in (1, 2, 3, 6):
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(5):
            rng = np.random.default_rng([seed, inputs])
            Z = rng.random((rows + held_out, inputs))
            lengthscale = np.full(inputs, 0.3 * np.sqrt(inputs))
            K = correlation_matrix(KIND, Z, Z, np.arange(inputs), lengthscale)
            y = np.linalg.cholesky(K + 1e-8 * np.eye(len(Z))) @ rng.normal(size=len(Z))
            y += noise * rng.normal(size=len(Z))
            task = Task(Z[:rows], y[:rows], Z[rows:], y[rows:], lengthscale, noise)
            known = by_exact(task)
            for name, method in METHODS.items():
                value, density = method(task)
                errors = (value - known[0]) / rows, known[1] - density
                found.setdefault(name, []).append((best(lambda m=method, t=task: m(t, False), 2), *errors))
        print(f"{inputs} inputs")
        for name, triples in found.items():
            cost, error, worse = np.median(triples, axis=0)
            print(f"  {name:20s} {cost:9.1f} {error:10.4f} {worse:10.4f}")


@dataclass(frozen=True)
class Task:
    """Rows and held-out rows of a process of amplitude 1."""

    Z: np.ndarray
    y: np.ndarray
    Zs: np.ndarray
    ys: np.ndarray
    lengthscale: np.ndarray
    noise: float

    def score(self, mean: np.ndarray, variance: np.ndarray) -> float:
        """The mean log density of the held-out rows."""
        return float(norm.logpdf(self.ys, mean, np.sqrt(np.maximum(variance, 0.0) + self.noise**2)).mean())


def by_exact(task: Task, predict: bool = True) -> tuple[float, float]:
    """The log density of all rows, and the mean log density of the held-out ones."""
    groups, noise = np.arange(task.Z.shape[1]), np.full(len(task.Z), task.noise**2)
    value = log_marginal(KIND, task.y, task.Z, groups, 1.0, task.lengthscale, noise)[0]
    if not predict:
        return value, np.nan
    one = (np.ones(1), task.lengthscale[None], noise[None], task.y[None])
    mean, variance = Conditional.from_data(KIND, task.Z, groups, *one).predict(task.Zs)
    return value, task.score(mean[0], variance[0])


def by_inducing(points: int) -> Callable[..., tuple[float, float]]:
    """Our own bound."""

    def method(task: Task, predict: bool = True) -> tuple[float, float]:
        groups, noise = np.arange(task.Z.shape[1]), np.full(len(task.Z), task.noise**2)
        U = _chosen(task.Z.tobytes(), task.Z.shape, points)
        value = log_marginal_inducing(KIND, task.y, task.Z, groups, 1.0, task.lengthscale, noise, U)[0]
        if not predict:
            return value, np.nan
        one = (np.ones(1), task.lengthscale[None], noise[None], task.y[None])
        mean, variance = Conditional.from_inducing(KIND, task.Z, groups, *one, U).predict(task.Zs)
        return value, task.score(mean[0], variance[0])

    return method


@lru_cache
def _chosen(data: bytes, shape: tuple[int, int], points: int) -> np.ndarray:
    return choose_inducing(np.frombuffer(data).reshape(shape), points, 0)


def by_hsgp(basis: int) -> Callable[..., tuple[float, float]]:
    """As many basis functions as fit, the same number along every input."""

    def method(task: Task, predict: bool = True) -> tuple[float, float]:
        inputs = task.Z.shape[1]
        features = _features(
            task.Z.tobytes(), task.Zs.tobytes(), inputs, max(2, int(basis ** (1 / inputs) + 1e-9))
        )
        phi, star = features[: len(task.Z)], features[len(task.Z) :]
        precision = np.eye(phi.shape[1]) + phi.T @ phi / task.noise**2
        factor = cholesky(precision, lower=True)
        z = solve_triangular(factor, phi.T @ task.y / task.noise**2, lower=True)
        fit = task.y @ task.y / task.noise**2 - z @ z
        log_det = 2 * np.log(np.diag(factor)).sum() + 2 * len(task.y) * np.log(task.noise)
        value = float(-0.5 * (fit + log_det + len(task.y) * np.log(2 * np.pi)))
        if not predict:
            return value, np.nan
        V = solve_triangular(factor, star.T, lower=True)
        return value, task.score(V.T @ z, (V**2).sum(axis=0))

    return method


@lru_cache
def _features(rows: bytes, held_out: bytes, inputs: int, along: int) -> np.ndarray:
    """The basis functions of HSGP, scaled by the root of the spectral density."""
    X = np.concatenate([np.frombuffer(part).reshape(-1, inputs) for part in (rows, held_out)])
    kernel = pm.gp.cov.Matern52(inputs, ls=0.3 * np.sqrt(inputs))
    process = pm.gp.HSGP(m=[along] * inputs, c=1.5, cov_func=kernel)
    phi, root = process.prior_linearized(X - 0.5)
    return np.asarray(phi.eval() * root.eval())


def by_vecchia(neighbours: int) -> Callable[..., tuple[float, float]]:
    """Each row given its nearest earlier ones."""

    def method(task: Task, predict: bool = True) -> tuple[float, float]:
        before = _earlier(task.Z.tobytes(), task.Z.shape[1], neighbours)
        mean, variance = _given(task, task.Z, before, task.noise**2)
        error = task.y - mean
        value = float(-0.5 * (error**2 / variance + np.log(2 * np.pi * variance)).sum())
        if not predict:
            return value, np.nan
        nearest = cKDTree(task.Z).query(task.Zs, neighbours)[1]
        mean, variance = _given(task, task.Zs, nearest, 0.0)
        return value, task.score(mean, variance)

    return method


@lru_cache
def _earlier(data: bytes, inputs: int, neighbours: int) -> np.ndarray:
    """The nearest earlier rows of each row ``(row, neighbour)``; -1 where there are fewer."""
    Z, found = np.frombuffer(data).reshape(-1, inputs), []
    for row in range(len(Z)):
        near = np.argsort(((Z[:row] - Z[row]) ** 2).sum(axis=1))[:neighbours]
        found.append(np.pad(near, (0, neighbours - len(near)), constant_values=-1))
    return np.array(found)


def _given(task: Task, points: np.ndarray, near: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance at points ``(point, input)`` given some rows each ``(point, neighbour)``."""
    there = near >= 0
    others = task.Z[near]
    scaled = np.concatenate([others, points[:, None]], axis=1) / task.lengthscale
    r = np.sqrt(5.0 * np.maximum(((scaled[:, :, None] - scaled[:, None]) ** 2).sum(axis=-1), 0.0))
    K = (1 + r + r**2 / 3) * np.exp(-r)
    both = there[:, :, None] & there[:, None]
    among = (
        np.where(both, K[:, :-1, :-1], 0.0)
        + np.eye(near.shape[1]) * np.where(there, task.noise**2, 1.0)[:, None]
    )
    across = np.where(there, K[:, -1, :-1], 0.0)
    weights = np.linalg.solve(among, across[..., None])[..., 0]
    mean = (weights * np.where(there, task.y[near], 0.0)).sum(axis=1)
    return mean, 1.0 + noise - (weights * across).sum(axis=1)


METHODS: dict[str, Callable[..., tuple[float, float]]] = {
    "exact": by_exact,
    "50 inducing points": by_inducing(50),
    "100 inducing points": by_inducing(100),
    "200 inducing points": by_inducing(200),
    "HSGP, 64 functions": by_hsgp(64),
    "HSGP, 729 functions": by_hsgp(729),
    "Vecchia, 15": by_vecchia(15),
    "Vecchia, 30": by_vecchia(30),
}


if __name__ == "__main__":
    with threadpool_limits(1):
        exact()
        inducing()
        approximations()
    conditionals()
