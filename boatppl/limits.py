"""Where limits are kept: their probability, by the posterior and along the DAG."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boatppl.averaged import Smooth, Weighted
from boatppl.chance import Chance
from boatppl.dag import DAGModel, generic_model
from boatppl.evidence import Evidence
from boatppl.fit import Inference
from boatppl.limit import Limit
from boatppl.propagate import Posterior
from boatppl.table import measured
from boatppl.trial import Trial
from boatppl.words import ModelError, listed, nearest


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

    def score(self, posterior: Posterior, known: Evidence, contexts: Mapping[str, Any]) -> Smooth:
        """Return the log probability that every limit is kept."""
        return Weighted([(1.0, self._kept(one, posterior, known, contexts)) for one in self.limits])

    def outlook(
        self, posterior: Posterior, known: Evidence, chosen: np.ndarray, contexts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the probabilities that a run at ``chosen (coordinate,)`` keeps the limits, for the log."""
        kept = {
            str(one): float(np.exp(self._kept(one, posterior, known, contexts)(chosen[None])[0]))
            for one in self.limits
        }
        return {"limits": kept} if kept else {}

    def broken(self, known: Evidence) -> list[str]:
        """Say so where no run so far keeps them all."""
        if not known.excess or min(known.excess.values()) == 0:
            return []
        return [f"no run of {len(known.excess)} keeps {listed(map(str, self.limits))}"]

    def _kept(self, one: Limit, posterior: Posterior, known: Evidence, contexts: Mapping[str, Any]) -> Chance:
        """The log probability that one limit is kept."""
        where = self._posterior(one.name, posterior, known.trials)
        luck = where.luck([self.seed, 71])
        return Chance(where, one.name, luck, contexts, lower=one.lower, upper=one.upper)

    def _posterior(self, name: str, posterior: Posterior, trials: Sequence[Trial]) -> Posterior:
        if name not in self.elsewhere:
            return posterior
        there = [trial for trial in trials if name in trial.measurements]
        inference = self.elsewhere[name]
        return inference.lasting(measured(inference.model, there))
