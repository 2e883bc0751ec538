"""What cross-validation found, as numbers and as a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

LEVELS = (0.5, 0.8, 0.95)
HEAD = "Every run predicted from the others: a node from its measured inputs, the objective end to end"


@dataclass(frozen=True, eq=False)
class Scores:
    """How well one quantity was predicted, run by run.

    ``elpd (trial,)`` is the log density of each run's measurement in the quantity's natural unit, ``pareto_k
    (trial,)`` the diagnostic of its reweighting (the largest of its blocks') and ``refitted (trial,)`` where
    it was too large. Rows (a vector has several in each trial) have the trial ``row_trials``, what was
    ``measured``, the ``predicted`` median, both in the unit, and ``below``, the predictive probability of a
    smaller measurement, all ``(row,)``.
    """

    name: str
    unit: str
    end_to_end: bool
    trials: np.ndarray
    elpd: np.ndarray
    pareto_k: np.ndarray
    refitted: np.ndarray
    row_trials: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    below: np.ndarray

    @property
    def total(self) -> float:
        """The expected log predictive density of all trials together."""
        return float(self.elpd.sum())

    @property
    def se(self) -> float:
        """The standard error of :attr:`total` (Vehtari et al. 2017, eq. 23)."""
        return float(np.sqrt(len(self.elpd) * self.elpd.var(ddof=1))) if len(self.elpd) > 1 else np.nan

    @property
    def rmse(self) -> float:
        """The root mean squared error of the predicted median, in the quantity's unit."""
        return float(np.sqrt(np.mean((self.measured - self.predicted) ** 2)))

    def coverage(self, level: float) -> float:
        """Return the share of measurements inside the central predictive interval of a probability."""
        return float(np.mean(np.abs(self.below - 0.5) <= 0.5 * level))


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What leave-one-out cross-validation found: ``nodes`` by name, each given its measured inputs, and the
    ``objective`` end to end, from the configuration alone.

    It prints itself as a table; :meth:`to_dataframe` is the table, :meth:`pointwise` has every measurement.
    """

    nodes: Mapping[str, Scores]
    objective: Scores

    def to_dataframe(self) -> pd.DataFrame:
        """One row a node and one for the objective end to end.

        Columns: unit, trials, elpd, se, rmse (in the unit), the coverage of each interval, refits.
        """
        rows = []
        for scores in (*self.nodes.values(), self.objective):
            name = f"{scores.name}, end to end" if scores.end_to_end else scores.name
            known = {"quantity": name, "unit": scores.unit, "trials": len(scores.trials)}
            found = {"elpd": scores.total, "se": scores.se, "rmse": scores.rmse}
            inside = {f"{level:.0%}": scores.coverage(level) for level in LEVELS}
            rows.append({**known, **found, **inside, "refits": int(scores.refitted.sum())})
        return pd.DataFrame(rows).set_index("quantity")

    def pointwise(self) -> pd.DataFrame:
        """One row a measurement: quantity, end_to_end, trial, measured, predicted, below, and of its whole
        trial elpd, pareto_k and refitted."""
        frames = []
        for scores in (*self.nodes.values(), self.objective):
            place = np.searchsorted(scores.trials, scores.row_trials)
            columns = {
                "quantity": scores.name,
                "end_to_end": scores.end_to_end,
                "trial": scores.row_trials,
                "measured": scores.measured,
                "predicted": scores.predicted,
                "below": scores.below,
                "elpd": scores.elpd[place],
                "pareto_k": scores.pareto_k[place],
                "refitted": scores.refitted[place],
            }
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)

    def _shown(self) -> pd.DataFrame:
        frame = self.to_dataframe()
        shown = frame[["unit", "trials"]].copy()
        shown["elpd"] = [f"{e:.1f} ± {s:.1f}" for e, s in zip(frame["elpd"], frame["se"], strict=True)]
        shown["rmse"] = [f"{value:.3g}" for value in frame["rmse"]]
        for level in LEVELS:
            shown[f"inside {level:.0%}"] = [f"{share:.0%}" for share in frame[f"{level:.0%}"]]
        shown["refits"] = frame["refits"]
        return shown.rename_axis(None)

    def __repr__(self) -> str:
        return f"{HEAD}\n{self._shown().to_string()}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(HEAD)}</p>{self._shown().to_html(border=0)}"
