"""The incumbent: the measured configuration that is best by the posterior, not by the luckiest
measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.predict import predictive
from boatppl.propagate import Posterior
from boatppl.suggest import Goal


@dataclass(frozen=True)
class Best:
    """The incumbent of a study, in the objective's unit.

    ``value`` is the posterior median of the noise-free objective with its 90 % ``interval``; ``measured`` the
    mean of what the runs at this configuration returned (``trials``); ``default`` the noise-free value of the
    default configuration; ``ratio`` the 5, 50 and 95 % points of how many times better than the default it
    is.
    """

    configuration: Mapping[str, Any]
    value: float
    interval: tuple[float, float]
    measured: float | None
    default: float
    ratio: tuple[float, float, float]
    trials: tuple[int, ...]

    def sentences(self, objective: str, unit: str | None) -> list[str]:
        """Return what a person wants to read."""
        unit = f" {unit}" if unit else ""
        low, middle, high = self.ratio
        lines = [
            f"{objective} {self.value:.4g}{unit} against {self.default:.4g}{unit} with the default: "
            f"{middle:.2g}x better (90 % sure of {low:.2g}-{high:.2g}x)",
            ", ".join(f"{name} {value}" for name, value in self.configuration.items()),
        ]
        if self.measured is not None:
            runs = f"{len(self.trials)} run{'s' if len(self.trials) > 1 else ''}"
            lines.append(
                f"measured {self.measured:.4g}{unit} in {runs}; "
                f"90 % interval of the noise-free value {self.interval[0]:.4g}-{self.interval[1]:.4g}{unit}"
            )
        return lines


def noise_free(
    posterior: Posterior, goal: Goal, unit: np.ndarray, seed: int, contexts: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Return draws ``(draw, configuration)`` of the objective itself, in its unit, jointly over
    configurations.

    Run-to-run variation is averaged out within each draw (:func:`boatppl.predict.predictive`).
    """
    return predictive(posterior, unit, contexts or {}, seed, noise=False, target=goal.name)[goal.name]


def incumbent(
    posterior: Posterior, goal: Goal, run: np.ndarray, seed: int, contexts: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Return the row of ``run (configuration, coordinate)`` with the best posterior median of the
    objective."""
    rows = np.unique(run, axis=0)
    draws = noise_free(posterior, goal, rows, seed, contexts)
    return rows[np.nanargmin(goal.sign * np.nanmedian(draws, axis=0))]


def better(draws: np.ndarray, goal: Goal) -> tuple[float, float, float]:
    """Return 5, 50 and 95 % points of how many times better column 0 of ``draws (draw, 2)`` is than column
    1."""
    ratio = draws[:, 0] / draws[:, 1] if goal.maximize else draws[:, 1] / draws[:, 0]
    low, middle, high = summary(ratio)
    return low, middle, high


def summary(draws: np.ndarray, levels: Sequence[float] = (0.05, 0.5, 0.95)) -> list[float]:
    """Return quantiles of draws ``(draw,)`` as plain floats; NaN where no draw is finite."""
    finite = draws[np.isfinite(draws)]
    return [float(q) for q in np.quantile(finite, levels)] if len(finite) else [float("nan")] * len(levels)


def forecast(
    posterior: Posterior,
    goal: Goal,
    chosen: np.ndarray,
    run: np.ndarray,
    seed: int,
    contexts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say before a run what it will bring: the predicted measurement, the expected gain and its
    probability."""
    best = incumbent(posterior, goal, run, seed, contexts)
    draws = noise_free(posterior, goal, np.stack([chosen, best]), seed, contexts)
    gain = goal.sign * (draws[:, 1] - draws[:, 0])
    measured = predictive(posterior, chosen[None], contexts or {}, seed, noise=True, target=goal.name)[
        goal.name
    ]
    low, median, high = summary(measured[:, 0])
    return {
        "predicted": {"low": low, "median": median, "high": high},
        "expected_gain": float(np.nanmean(np.maximum(gain, 0.0))),
        "probability": float(np.nanmean(gain > 0.0)),
        "verdicts": {block.density.block.name: str(block.verdict) for block in posterior.blocks},
    }
