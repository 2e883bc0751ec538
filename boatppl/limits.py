"""Where limits are kept: their probability, by the posterior and along the DAG."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import log_ndtr, logsumexp

from boatppl.dag import DAGModel, generic_model
from boatppl.evidence import Evidence
from boatppl.fit import Inference
from boatppl.limit import Limit
from boatppl.propagate import Posterior
from boatppl.suggest import Score
from boatppl.table import measured
from boatppl.transform import Transform
from boatppl.trial import Trial
from boatppl.words import ModelError, listed, nearest

SURELY = 1e-9  # of a node's own scale: the least spread, so that a quantity without doubt has a slope, too


class Limits:
    """The limits of a study, and where they are kept.

    Raises
    ------
    ModelError
        For a limit on what the model cannot have.
    """

    def __init__(
        self, limits: Sequence[Limit], model: DAGModel, seed: int, in_time: dict[str, int] | None = None
    ) -> None:
        if not isinstance(limits, Sequence) or not all(isinstance(one, Limit) for one in limits):
            raise ModelError(f"limits= is a list of boat.limit('name', upper=...); got {limits!r}.")
        self.model, self.seed, self.limits, self.in_time = model, seed, tuple(limits), in_time
        self.elsewhere: dict[str, Inference] = {}  # of what is no node of the model
        for one in self.limits:
            self._check(one.name)

    def _check(self, name: str) -> None:
        model, known = self.model, [*self.model.nodes, *self.model.derived]
        if name in known:
            if model.sources[name].dims:
                raise ModelError(
                    f"the limit on {name!r} is on a vector along {model.sources[name].dims}; expected one "
                    f"number. Reduce it with a @boat.derived, such as `return {name}.max()`."
                )
            return
        hint = nearest(name, [*known, *model.space.parameters, *model.space.contexts], cutoff=0.8)
        if name in model.sources or hint:
            raise ModelError(
                f"the limit on {name!r} is on no node or derived quantity.{hint} Known: {listed(known)}. "
                "Bound a parameter by its range, or with space.constrain."
            )
        self.elsewhere[name] = Inference(generic_model(model.space, name), self.seed, self.in_time)

    def score(self, posterior: Posterior, known: Evidence, contexts: Mapping[str, Any]) -> Score:
        """Return the log probability ``(configuration,)`` that every limit is kept."""
        where = {one.name: self._posterior(one.name, posterior, known.trials) for one in self.limits}

        def log_probability(unit: np.ndarray) -> np.ndarray:
            each = [_kept(one, where[one.name], unit, contexts, self.seed) for one in self.limits]
            return np.sum(each, axis=0)

        return log_probability

    def outlook(
        self, posterior: Posterior, known: Evidence, chosen: np.ndarray, contexts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the probabilities that a run at ``chosen (coordinate,)`` keeps the limits, for the log."""
        kept = {}
        for one in self.limits:
            where = self._posterior(one.name, posterior, known.trials)
            kept[str(one)] = float(np.exp(_kept(one, where, chosen[None], contexts, self.seed)[0]))
        return {"limits": kept} if kept else {}

    def broken(self, known: Evidence) -> list[str]:
        """Say so where no run so far keeps them all."""
        if not known.excess or min(known.excess.values()) == 0:
            return []
        return [f"no run of {len(known.excess)} keeps {listed(map(str, self.limits))}"]

    def _posterior(self, name: str, posterior: Posterior, trials: Sequence[Trial]) -> Posterior:
        if name not in self.elsewhere:
            return posterior
        there = [trial for trial in trials if name in trial.measurements]
        inference = self.elsewhere[name]
        return inference.lasting(measured(inference.model, there))


def _kept(
    one: Limit, posterior: Posterior, unit: np.ndarray, contexts: Mapping[str, Any], seed: int
) -> np.ndarray:
    """Return the log probability ``(configuration,)`` that one limit is kept.

    In each draw the quantity is normal on its transformed scale; the draws are averaged. A derived quantity
    has one value in a draw.
    """
    forward = posterior.propagate(unit, one.name, posterior.luck([seed, 71]), contexts)
    mean, variance = forward.objective()  # (draw, configuration)
    transform = posterior.transforms.get(one.name, Transform())
    scale = np.nanstd(mean) + SURELY
    spread = np.sqrt(variance + (SURELY * scale) ** 2)
    if one.name in posterior.model.derived:  # a share of draws, made smooth as in a kernel density estimate
        width = (
            np.nanstd(mean, axis=0) * 1.06 * len(mean) ** -0.2 + SURELY * scale
        )  # Silverman 1986, eq. 3.28
        spread = np.broadcast_to(width, mean.shape)
    above = np.zeros(mean.shape)  # log probability of at most the upper bound
    below = np.full(mean.shape, -np.inf)  # and of less than the lower one
    if one.upper is not None:
        above = log_ndtr((_bound(transform, one.upper) - mean) / spread)
    if one.lower is not None:
        below = log_ndtr((_bound(transform, one.lower) - mean) / spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = above + np.log1p(-np.exp(np.minimum(below - above, 0.0)))
    if one.upper is None:  # exact in the tail, where 1 - P(below) is not
        each = log_ndtr((mean - _bound(transform, one.lower or 0.0)) / spread)
    each = np.where(np.isfinite(mean), np.nan_to_num(each, nan=-1e12, neginf=-1e12), -1e12)
    return np.asarray(logsumexp(each, axis=0)) - np.log(len(each))


def _bound(transform: Transform, value: float) -> float:
    """A bound on the transformed scale; one below all that a transform knows is minus infinity."""
    found = float(transform.forward(np.array(value)))
    return found if np.isfinite(found) else -np.inf
