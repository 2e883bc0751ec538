"""How much each parameter matters to a quantity, through the DAG: shares of its variance over the space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc

from boatppl.plots.canvas import BLUE, ORANGE, handed_on, ink, legend, one, quiet
from boatppl.plots.view import on_scale, quantiles, quantity, view
from boatppl.propagate import Posterior
from boatppl.result import Result
from boatppl.space import Space
from boatppl.study import Study
from boatppl.words import ModelError

PAIRS = 256  # of configurations, at least
DRAWS = 60


@dataclass(frozen=True, eq=False)
class Importance:
    """Of each parameter (``names``): ``total (draw, parameter)`` and ``alone (draw, parameter)``, the share
    of the variance over the space that moving it makes, with and without what it does together with
    others."""

    names: tuple[str, ...]
    total: np.ndarray
    alone: np.ndarray


def importance(posterior: Posterior, name: str, contexts: Mapping[str, Any], seed: int) -> Importance:
    """Return Sobol's indices of a quantity on its transformed scale, one for each posterior draw.

    A draw with its common random numbers is one function of the configuration. Two quasi-random samples A
    and B of the space; AB is A with one parameter from B. ``total = E[(f(A) - f(AB))^2] / 2 V`` (Jansen
    1999) and ``alone = E[f(B) (f(AB) - f(A))] / V`` (Saltelli et al. 2010, table 2). Rows that a
    constraint forbids are left out, so with constraints (or conditions) shares need not add up.
    """
    space = posterior.model.space
    chosen = posterior.take(
        np.linspace(0, posterior.draws - 1, min(DRAWS, posterior.draws)).astype(int).tolist()
    )
    luck = chosen.luck([seed, 82])
    A, B = pairs(space, [seed, 83])

    def value(unit: np.ndarray) -> np.ndarray:
        return chosen.propagate(unit, name, luck, contexts).objective()[0]

    at_A, at_B = value(A), value(B)
    variance = np.nanvar(np.concatenate([at_A, at_B], axis=1), axis=1)
    centre = np.nanmean(at_B, axis=1, keepdims=True)
    if not (variance > 1e-18 * (1.0 + centre[:, 0] ** 2)).all():
        raise ModelError(f"{name!r} is the same everywhere in the space: no parameter matters to it.")
    total, alone = [], []
    for part in space.slices.values():
        mixed = A.copy()
        mixed[:, part] = B[:, part]
        mixed = space.snap(mixed)
        kept = space.feasible(mixed)
        at_AB = np.where(kept, value(mixed), np.nan)
        total.append(np.nanmean((at_A - at_AB) ** 2, axis=1) / (2 * variance))
        alone.append(np.nanmean((at_B - centre) * (at_AB - at_A), axis=1) / variance)
    return Importance(tuple(space.slices), np.stack(total, axis=1), np.stack(alone, axis=1))


def pairs(space: Space, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return two independent samples ``(pair, coordinate)`` of the space, together quasi-random."""
    engine = qmc.Sobol(2 * space.dimension, rng=np.random.default_rng(seed))
    found = np.empty((0, 2, space.dimension))
    for _ in range(32):
        drawn = engine.random(2 * PAIRS).reshape(2 * PAIRS, 2, space.dimension)
        drawn = np.stack([space.snap(drawn[:, half]) for half in (0, 1)], axis=1)
        kept = space.feasible(drawn[:, 0]) & space.feasible(drawn[:, 1])
        found = np.concatenate([found, drawn[kept]])
        if len(found) >= PAIRS:
            return found[:, 0], found[:, 1]
    both = space.sample(2 * PAIRS, seed)  # hardly anything is feasible
    both = np.random.default_rng(seed).permutation(both)
    return both[::2], both[1::2]


def plot_importance(
    study: Study | Result,
    node: str | None = None,
    *,
    rival: str | None = None,
    ax: Any = None,
    backend: str | None = None,
) -> Any:
    """Draw how much of a node's variance over the space each parameter makes, through the DAG.

    .. image:: /generated/plots/importance.png

    Bars are total shares (Sobol's: what goes away when the parameter is held), with their 90 % interval over
    posterior draws; the tick inside is the share of the parameter alone, without what it does together with
    others. Shares are on the node's transformed scale and over the whole space, not around the incumbent.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    node
        A node or derived quantity; the objective by default.
    rival
        The model that predicts, by its name in ``study.weights``; by default the developer's.
    ax
        A plot to draw into; a fresh one by default.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the target's, else ArviZ's.

    Returns
    -------
    matplotlib.axes.Axes, or what the backend calls a plot

    Raises
    ------
    ModelError
        For an unknown or vector node, one that no parameter moves, or where nothing was measured.

    Examples
    --------
    >>> ax = boat.plots.plot_importance(result)  # doctest: +SKIP
    """
    seen = view(study)
    posterior = seen.posterior(rival)
    name = quantity(posterior.model, node, seen.goal)
    if posterior.model.sources[name].dims:
        raise ModelError(
            f"{name!r} is a vector along {posterior.model.sources[name].dims}; expected one number."
        )
    found = importance(posterior, name, seen.context, seen.study.random_seed)
    low, middle, high = np.clip(quantiles(found.total), 0.0, None)
    alone = np.clip(np.median(found.alone, axis=0), 0.0, middle)
    order = np.argsort(middle, kind="stable")
    ax = one(ax, backend, height=1.2 + 0.34 * len(order))
    rows = np.arange(len(order))
    ax.barh(rows, middle[order], color=BLUE, alpha=0.75, height=0.62, label="with the others")
    ax.barh(rows, alone[order], color=ORANGE, height=0.2, label="alone")
    error = np.stack([middle - low, high - middle])[:, order]
    ax.errorbar(middle[order], rows, xerr=error, fmt="none", ecolor=ink(ax), elinewidth=1.1, capsize=3)
    ax.set_yticks(rows, [found.names[i] for i in order])
    ax.set(xlabel=f"share of the variance of {on_scale(posterior, name)}", xlim=(0, None))
    quiet(ax)
    legend(ax, loc="lower right")
    return handed_on(ax)
