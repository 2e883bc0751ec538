"""Measured values and the best so far, over the trials; and how much each rival was listened to."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.evidence import APART
from boatppl.plots.canvas import (
    BLUE,
    CYCLE,
    FILL,
    GREY,
    ORANGE,
    RED,
    handed_on,
    legend,
    one,
    quiet,
    scale,
    whole_numbers,
)
from boatppl.plots.view import View, labelled, quantiles, transform_of, view
from boatppl.result import Result
from boatppl.study import Study


@dataclass(frozen=True, eq=False)
class Convergence:
    """The objective over the trials, in its unit.

    ``numbers (trial,)`` and ``measured (trial,)`` of every trial that has one; ``apart (trial,)`` where it is
    a control or confirmation; ``failed (trial,)`` the numbers of those without. ``steps (step,)`` are the
    numbers of the trials that may be the incumbent and ``best (3, step)`` the 5, 50 and 95 % points of the
    noise-free objective at the best configuration up to each; ``default (3,)`` at the default.
    """

    numbers: np.ndarray
    measured: np.ndarray
    apart: np.ndarray
    failed: np.ndarray
    steps: np.ndarray
    best: np.ndarray
    default: np.ndarray


def convergence(seen: View) -> Convergence:
    """Return the objective over a study's trials.

    The best so far is judged by what is known today: of the configurations run up to a trial, the one with
    the best posterior median now. So the line falls (or rises) and never follows a lucky measurement.
    """
    study, space = seen.study, seen.space
    finished = list(study.trials.finished)
    known = [trial for trial in finished if trial.number in seen.objective]
    steps = seen.known.eligible
    unit = space.encode([*(trial.configuration for trial in steps), space.default])
    points = quantiles(seen.noise_free(unit))
    best, places = 0, []
    for place in range(len(steps)):
        if seen.goal.sign * (points[1, place] - points[1, best]) < 0:
            best = place
        places.append(best)
    return Convergence(
        numbers=np.array([trial.number for trial in known]),
        measured=np.array([seen.objective[trial.number] for trial in known]),
        apart=np.array([trial.origin in APART for trial in known]),
        failed=np.array([trial.number for trial in finished if trial.number not in seen.objective]),
        steps=np.array([trial.number for trial in steps]),
        best=points[:, places],
        default=points[:, -1],
    )


def plot_convergence(study: Study | Result, *, ax: Any = None, backend: str | None = None) -> Any:
    """Draw what was measured, trial by trial, and the best configuration so far by the posterior.

    .. image:: /generated/plots/convergence.png

    Points are measurements (hollow: controls and confirmations), the line with its 90 % interval is the
    noise-free objective at the best of the configurations run so far, by what is known today; the dashed
    line is the default's. Trials that failed, or did not measure the objective, are crosses at the top.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
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
        Where no trial has measured the objective yet.

    Examples
    --------
    >>> ax = boat.plots.plot_convergence(result)  # doctest: +SKIP
    >>> ax.figure.savefig("convergence.png")  # doctest: +SKIP
    """
    seen = view(study)
    found, ax = convergence(seen), one(ax, backend)
    search = ~found.apart
    ax.axhline(found.default[1], color=GREY, linestyle="--", linewidth=1.2, label="default")
    low, middle, high = found.best
    ax.fill_between(found.steps, low, high, step="post", color=BLUE, alpha=FILL, linewidth=0)
    ax.step(found.steps, middle, where="post", color=BLUE, linewidth=1.8, label="best so far, 90 %")
    ax.plot(found.numbers[search], found.measured[search], "o", color=ORANGE, markersize=5, label="measured")
    if found.apart.any():
        ax.plot(
            found.numbers[found.apart], found.measured[found.apart], "o", color=ORANGE, markersize=5,
            fillstyle="none", label="re-measured",
        )  # fmt: skip
    if len(found.failed):
        at_top = ax.get_xaxis_transform()
        ax.plot(
            found.failed, np.full(len(found.failed), 0.97), "x", color=RED, transform=at_top, clip_on=False,
            label="failed",
        )  # fmt: skip
    log = transform_of(seen.posterior(), seen.goal.name).kind == "log"
    scale(ax, "y", [*found.measured, *low, *high], log=log)
    whole_numbers(ax)
    ax.set(xlabel="trial", ylabel=labelled(seen.study.model, seen.goal.name))
    ax.set_title("maximized" if seen.goal.maximize else "minimized", fontsize="small", loc="right")
    quiet(ax)
    legend(ax)
    return handed_on(ax)


# -- weights ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Weights:
    """Each rival's weight ``(step,)`` before any score and after each scored trial, whose ``numbers
    (step,)`` begin with -1 for none."""

    numbers: np.ndarray
    shares: dict[str, np.ndarray]


def weights(seen: View) -> Weights:
    """Return the history of the rivals' weights: each scored run moved them."""
    rivals, finished = seen.study.rivals, list(seen.study.trials.finished)
    history = rivals.history(finished, seen.objective)
    scored = [trial.number for trial in rivals.scored(finished, seen.objective)]
    shares = {name: np.array([step[name] for step in history]) for name in rivals.models}
    return Weights(np.array([-1, *scored]), shares)


def plot_weights(study: Study | Result, *, ax: Any = None, backend: str | None = None) -> Any:
    """Draw how much each rival model was listened to, after each trial that all of them had predicted.

    .. image:: /generated/plots/weights.png

    Only suggested trials count: what they measured was predicted by every rival before the run. The first
    point, hollow and left of them, is the weight before any score.

    Parameters
    ----------
    study
        A study, or the result of :func:`boatppl.optimize`.
    ax
        A plot to draw into; a fresh one by default.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the target's, else ArviZ's.

    Returns
    -------
    matplotlib.axes.Axes, or what the backend calls a plot

    Examples
    --------
    >>> ax = boat.plots.plot_weights(result)  # doctest: +SKIP
    """
    seen = view(study)
    found, ax = weights(seen), one(ax, backend, height=3.0)
    numbers = found.numbers.astype(float)
    numbers[0] = numbers[1] - 1 if len(numbers) > 1 else 0.0
    if len(numbers) == 1:
        ax.set_title("no suggested trial was scored yet", fontsize="small")
    for (name, share), colour in zip(found.shares.items(), CYCLE * len(found.shares), strict=False):
        ax.plot(numbers, share, "-", color=colour)
        ax.plot(numbers[:1], share[:1], "o", color=colour, markersize=5, fillstyle="none")
        ax.plot(numbers[1:], share[1:], "o", color=colour, markersize=5, label=f"{name} {share[-1]:.2f}")
    ax.set(xlabel="trial", ylabel="weight of the rival model", ylim=(-0.02, 1.02))
    whole_numbers(ax)
    quiet(ax)
    legend(ax, loc="center right")
    return handed_on(ax)
