"""Sets of configurations: quasi-random samples, grids, neighbourhoods. All honour what is known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from boatppl.space.cube import UnitCube
from boatppl.space.numeric import Floats, Integer
from boatppl.space.parameters import Parameter, Simplex, Subset

Feasible = Callable[[Floats], NDArray[np.bool_]]

LARGEST_GRID = 2**16
LARGEST_DRAW = 2**16
LEAST_FEASIBILITY = 1e-4
_REMEDY = (
    "Loosen them, narrow the ranges, or write the space in parameters that satisfy them by construction "
    "(a share instead of a sum)."
)
_GAUSSIAN_STEPS = np.array([0.003, 0.01, 0.03, 0.1, 0.3])


class Infeasible(ValueError):
    """Fewer than one configuration in 10,000 satisfies the constraints."""


def grid_size(cube: UnitCube) -> int | float:
    """How many cells the coordinates have, conditions and constraints aside; may be infinite."""
    levels = [cube.parameters[name].levels for name in cube.slices]
    return math.inf if None in levels else math.prod(level for level in levels if level is not None)


def grid(cube: UnitCube, feasible: Feasible) -> Floats:
    """All feasible configurations (configuration, coordinate) of a small finite space, each once."""
    sizes = [cube.parameters[name].levels or 1 for name in cube.slices]
    cells = np.indices(sizes).reshape(len(sizes), -1).T if sizes else np.zeros((1, 0))
    rows = np.empty((len(cells), cube.dimension))
    for j, (name, block) in enumerate(cube.slices.items()):
        parameter = cube.parameters[name]
        if isinstance(parameter, Integer):
            rows[:, block] = parameter.to_unit((cells[:, j] + parameter.low).astype(np.float64))
        elif isinstance(parameter, Subset):
            rows[:, block] = parameter.every()[cells[:, j]]
        else:
            rows[:, block] = (cells[:, [j]] + 0.5) / sizes[j]
    snapped = distinct(cube.snap(rows))
    return snapped[feasible(snapped)]


def distinct(rows: Floats, apart_from: Floats | None = None) -> Floats:
    """The rows in their order, each once, without those of `apart_from`."""
    seen = set() if apart_from is None else {row.tobytes() for row in np.ascontiguousarray(apart_from)}
    keep = []
    for i, row in enumerate(np.ascontiguousarray(rows)):
        key = row.tobytes()
        if key not in seen:
            seen.add(key)
            keep.append(i)
    return rows[keep]


def sample(cube: UnitCube, feasible: Feasible, n: int, seed: Any) -> Floats:
    """`n` feasible snapped rows (n, coordinate) from one scrambled Sobol sequence (Owen 1998).

    Points that break a constraint are passed over and the sequence goes on. Rows are distinct as long as the
    space has enough configurations; small finite spaces are listed to find the last ones; after that rows
    repeat in order. Raises `Infeasible` when fewer than one point in 10,000 is feasible.
    """
    if n < 0:
        raise ValueError(f"the number of configurations must not be negative, got {n}.")
    rng = np.random.default_rng(seed)
    found = np.empty((0, cube.dimension))
    if cube.dimension and n:
        found = _from_sobol(cube, feasible, n, rng)
    if len(found) < n and grid_size(cube) <= LARGEST_GRID:
        rest = distinct(grid(cube, feasible), found)
        found = np.concatenate([found, rng.permutation(rest)])
    if n and not len(found):
        raise Infeasible(f"no configuration satisfies the constraints. {_REMEDY}")
    return found[np.arange(n) % max(len(found), 1)]


def _from_sobol(cube: UnitCube, feasible: Feasible, n: int, rng: np.random.Generator) -> Floats:
    """Up to `n` distinct feasible rows; gives up on finding more when the draws stop yielding new ones."""
    sequence = qmc.Sobol(cube.dimension, scramble=True, rng=np.random.default_rng(rng.integers(2**63)))
    small = grid_size(cube) <= LARGEST_GRID
    found = np.empty((0, cube.dimension))
    drawn = hits = 0
    size = 1 << max(n - 1, 1).bit_length()
    while len(found) < n:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # lengths between powers of two are wanted here
            rows = cube.snap(sequence.random(size))
        rows = rows[feasible(rows)]
        drawn, hits, before = drawn + size, hits + len(rows), len(found)
        found = distinct(np.concatenate([found, rows]))
        if small and drawn >= max(64, 4 * n):
            break  # listing the grid is cheaper than waiting for the last ones
        if drawn >= LARGEST_DRAW and (hits < LEAST_FEASIBILITY * drawn or len(found) == before):
            break
        size = min(2 * size, LARGEST_DRAW)
    if not small and hits < LEAST_FEASIBILITY * drawn:
        raise Infeasible(f"only {hits} of {drawn} configurations satisfy the constraints. {_REMEDY}")
    return found[:n]


def nearest_feasible(cube: UnitCube, feasible: Feasible, centre: Floats, kept: set[str]) -> Floats | None:
    """The feasible row (1, coordinate) nearest to `centre` among 1,024, with `kept` left as it is."""
    rows = sample(cube, feasible, 1024, seed=0)
    for name in kept & set(cube.slices):
        rows[:, cube.slices[name]] = centre[:, cube.slices[name]]
    rows = cube.snap(rows)
    rows = rows[feasible(rows)]
    return rows[[np.abs(rows - centre).sum(axis=1).argmin()]] if len(rows) else None


def neighbours(cube: UnitCube, feasible: Feasible, row: Floats, rng: np.random.Generator, n: int) -> Floats:
    """See `Space.neighbours`."""
    centre = cube.snap(row[None])
    found = np.empty((0, cube.dimension))
    for shrink in (1.0, 0.3, 0.1):  # where constraints leave little room, smaller steps find it
        moved = _moves(cube, centre, rng, n, shrink)
        rows = cube.snap(moved)
        rows = distinct(np.concatenate([found, rows]), centre)
        found = rows[feasible(rows)]
        if len(found) >= n:
            break
    return found[:n]


def _moves(cube: UnitCube, centre: Floats, rng: np.random.Generator, n: int, shrink: float) -> Floats:
    """Rows that differ from `centre` (1, coordinate) in one parameter, and about `n` that differ in two."""
    _, masks = cube.read(centre)
    names = [name for name in cube.slices if masks.get(name, np.array([True]))[0]]
    if not names:
        return centre
    steps = {name: _steps(cube.parameters[name], centre[:, cube.slices[name]], rng, shrink) for name in names}
    singles = np.repeat(centre, sum(len(s) for s in steps.values()), axis=0)
    start = 0
    for name, block in steps.items():
        singles[start : start + len(block), cube.slices[name]] = block
        start += len(block)
    singles = rng.permutation(singles)[: max(2 * n // 3, 1)]
    pairs = np.repeat(centre, n, axis=0)
    first = rng.integers(len(names), size=n)
    second = (first + rng.integers(1, max(len(names), 2), size=n)) % len(names)
    for j, name in enumerate(names):
        moving = np.flatnonzero((first == j) | (second == j))
        pairs[moving, cube.slices[name]] = steps[name][rng.integers(len(steps[name]), size=len(moving))]
    rows = np.concatenate([singles, pairs])
    asleep = [name for name in cube.slices if name not in names]
    for name in asleep:  # a move may wake a parameter: half of the time not at its default
        woken = rng.random(len(rows)) < 0.5
        rows[woken, cube.slices[name]] = rng.random((int(woken.sum()), cube.parameters[name].width))
    return rows


def _steps(parameter: Parameter, here: Floats, rng: np.random.Generator, shrink: float) -> Floats:
    """Other places (step, width) of one parameter, from `here` (1, width)."""
    if isinstance(parameter, Simplex):
        return parameter.to_unit(_simplex_steps(parameter.from_unit(here)[0], rng, shrink))
    if isinstance(parameter, Subset):
        return parameter.to_unit(_subset_steps(parameter.from_unit(here)[0], rng))
    if parameter.levels is None:
        scales = np.repeat(_GAUSSIAN_STEPS, 3) * shrink
        return np.clip(here + scales[:, None] * rng.standard_normal((len(scales), 1)), 0.0, 1.0)
    if isinstance(parameter, Integer):
        value = parameter.from_unit(here)
        sizes = 2.0 ** np.arange(max(parameter.levels - 1, 1).bit_length())
        others = np.unique(
            np.clip(np.concatenate([value - sizes, value + sizes]), parameter.low, parameter.high)
        )
        return parameter.to_unit(others[others != value])
    places = (np.arange(parameter.levels) + 0.5) / parameter.levels
    return places[np.abs(places - here[0, 0]) > 0.25 / parameter.levels][:, None]


def _subset_steps(taken: Floats, rng: np.random.Generator) -> Floats:
    """Subsets (step, n) near `taken` (n,): every one put in or out, and as many swaps of an in for an out."""
    n = len(taken)
    flips = np.abs(taken - np.eye(n))
    inside, outside = np.flatnonzero(taken), np.flatnonzero(taken == 0)
    if not len(inside) or not len(outside):
        return flips
    swaps = np.tile(taken, (n, 1))
    swaps[np.arange(n), rng.choice(inside, n)] = 0.0
    swaps[np.arange(n), rng.choice(outside, n)] = 1.0
    return np.concatenate([flips, swaps])


def _simplex_steps(shares: Floats, rng: np.random.Generator, shrink: float) -> Floats:
    """Shares (step, n) near `shares` (n,): swaps, transfers between two, and all shares disturbed at once."""
    n = len(shares)
    rows = []
    for _ in range(min(2 * n, 24)):
        i, j = rng.choice(n, size=2, replace=False)
        swapped = shares.copy()
        swapped[[i, j]] = shares[[j, i]]
        moved = shares.copy()
        amount = shares[i] * rng.random() ** 2 * shrink
        moved[i] -= amount
        moved[j] += amount
        rows += [swapped, moved]
    for scale in np.repeat([0.03, 0.1, 0.3, 1.0], 4) * shrink:
        disturbed = np.maximum(shares, 1e-4 / n) * np.exp(scale * rng.standard_normal(n))
        rows.append(disturbed / disturbed.sum())
    return np.array(rows)
