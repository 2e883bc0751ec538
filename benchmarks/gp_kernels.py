"""Times of the Gaussian-process functions on this machine: ``python benchmarks/gp_kernels.py``.

Likelihoods run on one thread, as they do inside the chains; conditionals on all processors. Best of several.
"""

import time
from collections.abc import Callable

import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

from boatppl.gp import KINDS, Conditional, choose_inducing, log_marginal, log_marginal_inducing

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


if __name__ == "__main__":
    with threadpool_limits(1):
        exact()
        inducing()
    conditionals()
