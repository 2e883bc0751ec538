"""Models ranked by how well they predict the objective end to end, as ``az.compare`` ranks them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from boatppl.dag import DAGModel
from boatppl.fit import Inference
from boatppl.rivals import GENERIC, Rivals, check_goal, generic_like
from boatppl.validate.scores import CrossValidation
from boatppl.words import ModelError, listed


@dataclass(frozen=True, eq=False)
class Comparison:
    """The cross-validation of several models of one objective, the best first."""

    models: Mapping[str, CrossValidation]

    def to_dataframe(self) -> pd.DataFrame:
        """One row a model, the best first, in the words of ``az.compare``.

        Columns: rank, elpd, se, elpd_diff (to the best), dse (its standard error), weight (stacking), rmse
        (in the objective's unit), and the coverage of 95 % intervals.
        """
        scores = {name: found.objective for name, found in self.models.items()}
        pointwise = np.array([each.elpd for each in scores.values()])  # (model, trial)
        difference = pointwise - pointwise[0]
        n = pointwise.shape[1]
        frame = pd.DataFrame({
            "rank": range(len(scores)),
            "elpd": [each.total for each in scores.values()],
            "se": [each.se for each in scores.values()],
            "elpd_diff": difference.sum(axis=1),
            "dse": np.sqrt(n * difference.var(axis=1, ddof=1)),
            "weight": stacking(pointwise),
            "rmse": [each.rmse for each in scores.values()],
            "95%": [each.coverage(0.95) for each in scores.values()],
        })  # fmt: skip
        return frame.set_index(pd.Index(list(scores), name="model"))

    def _head(self) -> str:
        objective = next(iter(self.models.values())).objective
        unit = f" ({objective.unit})" if objective.unit else ""
        count = len(objective.trials)
        return f"{objective.name}{unit} end to end, each of {count} runs predicted from the others"

    def _shown(self) -> pd.DataFrame:
        return self.to_dataframe().rename_axis(None).round({"weight": 2, "95%": 2}).round(3)

    def __repr__(self) -> str:
        return f"{self._head()}\n{self._shown().to_string()}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self._head())}</p>{self._shown().to_html(border=0)}"


def named_inferences(
    rivals: Rivals, models: Mapping[str, DAGModel | None] | Sequence[DAGModel | None] | None
) -> dict[str, Inference]:
    """Return what fits each of some models beside a study's own; ``None`` is the generic one.

    A model of the study keeps its compiled blocks and draws. Without ``models``: those of the study.
    """
    if models is None:
        return dict(rivals.inference)
    if not isinstance(models, Mapping):
        models = {GENERIC if model is None else f"model {i + 1}": model for i, model in enumerate(models)}
    known = {id(model): rivals.inference[name] for name, model in rivals.models.items()}
    first = rivals.models[rivals.first]
    found = {}
    for name, model in models.items():
        if model is None:
            model = rivals.models.get(GENERIC) or generic_like(first, rivals.goal)
        if not isinstance(model, DAGModel) or model.space != first.space:
            raise ModelError(
                f"{name!r} is to be a DAGModel over the study's space, or None for the generic model; got "
                f"{type(model).__name__}{' over another space' if isinstance(model, DAGModel) else ''}."
            )
        check_goal(model, rivals.goal)
        found[name] = known.get(id(model)) or Inference(model, rivals.seed)
    return found


def compare(models: Mapping[str, CrossValidation]) -> Comparison:
    """Rank cross-validated models of the same runs by the elpd of the objective, the best first.

    Raises
    ------
    ModelError
        For no models, or models that were scored on different runs.
    """
    if not models:
        raise ModelError("there is nothing to compare: name at least one model.")
    runs = {name: found.objective.trials.tolist() for name, found in models.items()}
    if len({tuple(numbers) for numbers in runs.values()}) > 1:
        raise ModelError(f"{listed(models)} were scored on different runs: {runs}. Compare them on the same.")
    order = sorted(models, key=lambda name: -models[name].objective.total)
    return Comparison({name: models[name] for name in order})


def stacking(elpd: np.ndarray) -> np.ndarray:
    """Return the weights ``(model,)`` of the mixture with the largest score on ``elpd (model, trial)``.

    Maximises ``sum_i log sum_k w_k p_k(y_i | y_-i)`` (Yao et al. 2018, eq. 5), which is concave, over the
    simplex written as a softmax.
    """
    floored = np.maximum(elpd, elpd.max(axis=0) - 700.0)  # a density of 0 has no gradient

    def cost(position: np.ndarray) -> tuple[float, np.ndarray]:
        log_weights = position - logsumexp(position)
        terms = log_weights[:, None] + floored
        total = logsumexp(terms, axis=0)
        share = np.exp(terms - total).sum(axis=1)
        return -float(total.sum()), elpd.shape[1] * np.exp(log_weights) - share

    found = minimize(cost, np.zeros(len(elpd)), jac=True, method="L-BFGS-B", bounds=[(-30, 30)] * len(elpd))
    return np.asarray(softmax(found.x))
