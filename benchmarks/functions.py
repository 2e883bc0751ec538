"""Functions of which nothing is known: 2 to 20 dimensions, mixed and conditional
spaces, one with 2 of 100 parameters that matter; each optionally with noise.

Where an optimum lies in the middle of the usual range (where every tuner would find it by its default) the
function is shifted.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

import boatppl as boat
from benchmarks.problems import Configuration, Problem, branin_run, problems, scattered

Function = Callable[[np.ndarray], float]


def camel(x: np.ndarray) -> float:
    """Six-hump camel back (Dixon & Szegö 1978): least -1.0316 at (0.0898, -0.7126)."""
    a, b = x
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + 4 * (b**2 - 1) * b**2


def goldstein(x: np.ndarray) -> float:
    """Goldstein & Price (1971): least 3 at (0, -1), up to a million elsewhere."""
    a, b = x
    near = 1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)
    far = 30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2)
    return near * far


HARTMANN3_A = np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]])
HARTMANN3_P = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])


def hartmann3(x: np.ndarray) -> float:
    """Hartmann's function of three inputs (Dixon & Szegö 1978): least -3.86278."""
    bumps = np.exp(-(HARTMANN3_A * (x - HARTMANN3_P) ** 2).sum(axis=1))
    return float(-np.array([1.0, 1.2, 3.0, 3.2]) @ bumps)


SHEKEL_B = np.array([1, 2, 2, 4, 4, 6, 3, 7, 5, 5]) / 10
SHEKEL_C = np.array(
    [
        [4, 1, 8, 6, 3, 2, 5, 8, 6, 7],
        [4, 1, 8, 6, 7, 9, 3, 1, 2, 3.6],
        [4, 1, 8, 6, 3, 2, 5, 8, 6, 7],
        [4, 1, 8, 6, 7, 9, 3, 1, 2, 3.6],
    ]
)


def shekel(x: np.ndarray) -> float:
    """Shekel's ten foxholes (Dixon & Szegö 1978): least -10.5364 near (4, 4, 4, 4)."""
    return float(-(1 / (((x[:, None] - SHEKEL_C) ** 2).sum(axis=0) + SHEKEL_B)).sum())


def styblinski(x: np.ndarray) -> float:
    """Styblinski & Tang (1990): least -39.16617 times the dimension at -2.903534."""
    return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


def michalewicz(x: np.ndarray) -> float:
    """Michalewicz (1992), steepness 10: least -4.687658 in five dimensions."""
    i = np.arange(1, len(x) + 1)
    return float(-(np.sin(x) * np.sin(i * x**2 / np.pi) ** 20).sum())


def levy(x: np.ndarray) -> float:
    """Levy & Montalvo (1985): least 0 where all are 1."""
    w = 1 + (x - 1) / 4
    inner = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    return float(np.sin(np.pi * w[0]) ** 2 + inner + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2))


def ackley(x: np.ndarray) -> float:
    """Ackley (1987): least 0 at the origin, many local minima."""
    return float(
        20 + np.e - 20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - np.exp(np.cos(2 * np.pi * x).mean())
    )


def griewank(x: np.ndarray) -> float:
    """Griewank (1981): least 0 at the origin, a bowl with ripples."""
    return float(1 + (x**2).sum() / 4000 - np.prod(np.cos(x / np.sqrt(np.arange(1, len(x) + 1)))))


def ellipsoid(x: np.ndarray) -> float:
    """An axis-parallel bowl: least 0 at the origin; the last axis is as many times steeper as there are."""
    return float((np.arange(1, len(x) + 1) * x**2).sum())


def of_numbers(
    name: str, function: Function, n: int, low: float, high: float, optimum: float, shift: float = 0.0
) -> Problem:
    """Return a function of ``n`` equal ranges as a problem; ``shift`` moves its optimum."""
    space = boat.Space(**{f"x{i}": boat.Float(low, high) for i in range(n)})

    def run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
        return {"value": function(np.array([configuration[f"x{i}"] for i in range(n)]) - shift)}

    problem = Problem(name, space, "value", run, known_optimum=optimum)
    return problem if optimum else replace(problem, scale=_typical(problem))


def _typical(problem: Problem) -> float:
    """How far the median configuration is above an optimum of 0: what gaps are shares of there."""
    values = [problem.truth(configuration) for configuration in problem.space.design(512, 0)]
    return float(np.median(values)) - problem.optimum


# -- a conditional space, and one with many parameters that do not matter ------------------------------------


def index_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Milliseconds of a lookup: a hash, a tree or a log-structured index, each with flags of its own."""
    kind = configuration["kind"]
    cache = 1 + 0.15 * (np.log2(configuration["cache_mb"]) - 6) ** 2
    if kind == "hash":
        value = 9.0 + 14 * (configuration["load"] - 0.62) ** 2
    elif kind == "tree":
        value = 6.0 * (1 + 0.12 * (np.log2(configuration["page_kb"]) - 4) ** 2)
        value *= 0.9 if configuration["prefix"] else 1.0
    else:
        value = 5.0 * (1 + 0.1 * (configuration["runs"] - 6) ** 2 / 6)
        value *= 1 + 0.2 * (np.log10(configuration["false_positive"]) + 2.3) ** 2
    return {"latency": scattered(value * cache, 0.03, rng)}


def index_space() -> boat.Space:
    """The kind of index decides which of the other parameters matter."""
    return boat.Space(
        kind=boat.Categorical(("hash", "tree", "log"), default="hash"),
        cache_mb=boat.Integer(8, 1024, log=True, unit="MB", default=512),
        load=boat.Float(0.2, 0.95, default=0.9, when={"kind": "hash"}),
        page_kb=boat.Integer(1, 256, log=True, unit="KB", default=128, when={"kind": "tree"}),
        prefix=boat.Boolean(default=False, when={"kind": "tree"}),
        runs=boat.Integer(1, 20, default=16, when={"kind": "log"}),
        false_positive=boat.Float(1e-4, 0.5, log=True, default=0.1, when={"kind": "log"}),
    )


def _index_grid() -> list[dict[str, Any]]:
    rest = index_space().default
    best = {"cache_mb": 64}  # the cache's factor stands apart
    hashes = [{"kind": "hash", "load": load} for load in np.linspace(0.2, 0.95, 301)]
    trees = [
        {"kind": "tree", "page_kb": page, "prefix": p} for page, p in product(range(1, 257), (False, True))
    ]
    logs = [
        {"kind": "log", "runs": runs, "false_positive": rate}
        for runs, rate in product(range(1, 21), np.geomspace(1e-4, 0.5, 801))
    ]
    return [{**rest, **best, **point} for point in hashes + trees + logs]


def _branin_of_many(n: int) -> Problem:
    """Return Branin-Hoo in the 20th and the 61st of ``n`` parameters, of which no other matters."""
    space = boat.Space(**{f"x{i}": boat.Float(0, 1, default=0.5) for i in range(n)})

    def run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
        x, y = 15 * configuration["x19"] - 5, 15 * configuration["x60"]
        return branin_run({"x": x, "y": y}, rng)

    return Problem(f"branin-of-{n}", space, "value", run, known_optimum=0.39788735772973816)


def noisy(problem: Problem, share: float) -> Problem:
    """Return a problem whose measured values scatter normally, each by a share of the standard deviation that
    its noise-free value has over the space."""
    values = [problem.run(configuration, None) for configuration in problem.space.design(512, 0)]
    spread = {name: share * float(np.std([value[name] for value in values])) for name in values[0]}

    def run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
        exact = problem.run(configuration, None)
        if rng is None:
            return exact
        return {name: value + spread[name] * rng.normal() for name, value in exact.items()}

    said = f"normal, {share:.0%} of the spread over the space"
    return replace(problem, name=f"{problem.name}+{share:.0%}", run=run, noise=said)


NOISES = (0.05, 0.20)
NOISY = ("branin", "hartmann3", "hartmann6", "levy8")


def functions() -> Mapping[str, Problem]:
    """Return the generic suite by name: each function, and some of them with noise."""
    known = problems()
    found = [
        known["branin"],
        of_numbers("camel", camel, 2, -2, 2, -1.0316284534898774, shift=0.3),
        of_numbers("goldstein", goldstein, 2, -2, 2, 3.0),
        of_numbers("hartmann3", hartmann3, 3, 0, 1, -3.8627797869493365),
        of_numbers("shekel", shekel, 4, 0, 10, -10.536443153483534),
        of_numbers("styblinski5", styblinski, 5, -5, 5, -39.16616570377142 * 5),
        of_numbers("michalewicz5", michalewicz, 5, 0, np.pi, -4.687658179),
        of_numbers("griewank6", griewank, 6, -20, 20, 0.0, shift=5.0),
        known["hartmann6"],
        of_numbers("levy8", levy, 8, -10, 10, 0.0, shift=3.3),
        of_numbers("ackley10", ackley, 10, -5, 5, 0.0, shift=1.3),
        of_numbers("ellipsoid20", ellipsoid, 20, -5, 5, 0.0, shift=1.7),
        known["mixed"],
        Problem("index", index_space(), "latency", index_run, grid=_index_grid, noise="log-normal, 3 %"),
        _branin_of_many(100),
    ]
    by_name = {problem.name: problem for problem in found}
    for name, share in product(NOISY, NOISES):
        problem = noisy(by_name[name], share)
        by_name[problem.name] = problem
    return by_name
