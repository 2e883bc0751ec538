"""Function networks whose inner nodes are measured (Astudillo & Frazier 2021), and Branin in two terms.

Of the four networks the structured model knows the graph alone: every node is a generic one. Of Branin's
terms it knows the shapes that the original's example gave (a cosine; a square and a fourth power), which are
not all of the function.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat
from benchmarks.functions import noisy
from benchmarks.problems import Configuration, Problem

Rng = np.random.Generator | None


def _x(configuration: Configuration, n: int) -> list[float]:
    return [float(configuration[f"x{i}"]) for i in range(n)]


def _cube(n: int, low: float, high: float, default: float | None = None) -> boat.Space:
    return boat.Space(**{f"x{i}": boat.Float(low, high, default=default) for i in range(n)})


def dropwave_run(configuration: Configuration, rng: Rng) -> dict[str, float]:
    """Drop-wave: the distance from the centre, and a wave of it; least -1 in the centre."""
    radius = float(np.hypot(*_x(configuration, 2)))
    return {"radius": radius, "value": -(1 + np.cos(12 * radius)) / (2 + 0.5 * radius**2)}


def ackley_run(configuration: Configuration, rng: Rng) -> dict[str, float]:
    """Ackley of six inputs: the mean square, the mean cosine, and what follows of them; least 0 at the
    origin."""
    x = np.array(_x(configuration, 6))
    square, cosine = float((x**2).mean()), float(np.cos(2 * np.pi * x).mean())
    value = 20 + np.e - 20 * np.exp(-0.2 * np.sqrt(square)) - np.exp(cosine)
    return {"square": square, "cosine": cosine, "value": float(value)}


def alpine_run(configuration: Configuration, rng: Rng) -> dict[str, float]:
    """Alpine2 of six inputs: a chain of products; least -2.8081**6 where every input is 7.917."""
    found, product = {}, -1.0
    for i, x in enumerate(_x(configuration, 6)):
        product *= np.sqrt(x) * np.sin(x)
        found[f"product{i}"] = float(product)
    found["value"] = found.pop("product5")
    return found


def rosenbrock_run(configuration: Configuration, rng: Rng) -> dict[str, float]:
    """Rosenbrock of five inputs: a chain of sums; least 0 where all are 1."""
    x, found, total = _x(configuration, 5), {}, 0.0
    for i in range(4):
        total += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
        found[f"sum{i}"] = float(total)
    found["value"] = found.pop("sum3")
    return found


def _chain(stem: str, n: int, width: int) -> dict[str, tuple[str, ...]]:
    """Return a network of ``n`` nodes: each takes the one before it and the next ``width`` inputs."""
    names = [f"{stem}{i}" for i in range(n - 1)] + ["value"]
    return {
        name: (*names[max(i - 1, 0) : i], *(f"x{k}" for k in range(i, i + width)))
        for i, name in enumerate(names)
    }


def graph_model(
    network: Mapping[str, tuple[str, ...]], *, exact: bool = True
) -> Callable[[boat.Space], boat.DAGModel]:
    """Return a function that writes a model of the graph alone, with the kernel of the peers' Gaussian
    processes; where runs are ``exact`` it is known that nothing scatters them, as the peers are told."""

    def build(space: boat.Space) -> boat.DAGModel:
        noise: Literal[0] | None = 0 if exact else None
        return boat.DAGModel(
            space,
            [boat.generic(n, inputs, kernel="expquad", noise=noise) for n, inputs in network.items()],
        )

    return build


# -- Branin, in the original's two terms ---------------------------------------------------------------------


def branin_terms_run(configuration: Configuration, rng: Rng) -> dict[str, float]:
    """Branin-Hoo (Dixon & Szegö 1978) with its cosine term measured too."""
    x, y = configuration["x"], configuration["y"]
    wave = 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10
    bowl = (y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6) ** 2
    return {"wave": float(wave), "value": float(bowl + wave)}


def branin_model(*, exact: bool = True) -> Callable[[boat.Space], boat.DAGModel]:
    """Return a function that writes the decomposition of the original's example (BOAT's source, 2017,
    ``examples``); where runs are ``exact`` it is known that nothing scatters them."""
    noise: Literal[0] | None = 0 if exact else None

    @boat.node(noise=noise, residual=boat.GP(inputs=["x"], amplitude=pm.HalfNormal.dist(20)))
    def wave(x):
        height, level = pm.Uniform("height", 0, 20), pm.Uniform("level", 0, 10)
        return level + height * pt.cos(x)

    @boat.node(noise=noise, residual=boat.GP(inputs=["x", "y"], amplitude=pm.HalfNormal.dist(100)))
    def value(wave, x, y):
        fourth, level = pm.Uniform("fourth", 0, 20), pm.Normal("level", 0, 50)
        return level + wave + y**2 + fourth * x**4

    return lambda space: boat.DAGModel(space, [wave, value])


def networks() -> Mapping[str, Problem]:
    """Return the four networks, Branin in two terms, and two of them with noise, by name."""
    drop = {"radius": ("x0", "x1"), "value": ("radius",)}
    six = tuple(f"x{i}" for i in range(6))
    acks = {"square": six, "cosine": six, "value": ("square", "cosine")}
    alpine, rosen = _chain("product", 6, 1), _chain("sum", 4, 2)
    found = [
        Problem(
            "dropwave",
            _cube(2, -5.12, 5.12, default=3.0),
            "value",
            dropwave_run,
            known_optimum=-1.0,
            structured=graph_model(drop),
            network=drop,
        ),
        Problem(
            "ackley-network",
            _cube(6, -2, 2, default=1.5),
            "value",
            ackley_run,
            known_optimum=0.0,
            scale=4.5,
            structured=graph_model(acks),
            network=acks,
        ),
        Problem(
            "alpine-network",
            _cube(6, 0, 10),
            "value",
            alpine_run,
            known_optimum=-(2.808131180007006**6),
            structured=graph_model(alpine),
            network=alpine,
        ),
        Problem(
            "rosenbrock-network",
            _cube(5, -2, 2, default=-1.0),
            "value",
            rosenbrock_run,
            known_optimum=0.0,
            scale=1500.0,
            structured=graph_model(rosen),
            network=rosen,
        ),
        Problem(
            "branin-terms",
            boat.Space(x=boat.Float(-5, 10, default=2.5), y=boat.Float(0, 15, default=7.5)),
            "value",
            branin_terms_run,
            known_optimum=0.39788735772973816,
            structured=branin_model(),
            network={"wave": ("x",), "value": ("wave", "x", "y")},
        ),
    ]
    by_name = {problem.name: replace(problem, kind="structured") for problem in found}
    unsure = {
        "dropwave": graph_model(drop, exact=False),
        "branin-terms": branin_model(exact=False),
    }
    for name, structured in unsure.items():
        problem = noisy(replace(by_name[name], structured=structured), 0.20)
        by_name[problem.name] = problem
    return by_name
