"""Where runs succeed: learned from the ones that failed."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytensor.tensor as pt

from boatppl.chance import Chance
from boatppl.dag import DAGModel
from boatppl.fit import Inference
from boatppl.node import Node
from boatppl.table import measured
from boatppl.trial import Trial
from boatppl.words import ModelError, listed

# A run that fails costs a trial and teaches little, so a gain there is worth less than its odds. Of 16
# suggestions next to a sharp edge 3 to 4 failed far beyond it with 6, and 6 with 3 (three seeds).
CARE = 6.0
CERTAIN = 1e-4  # variance of the latent below which a side is certain
SUCCESS = "success"  # the name of the node: 1 where a run succeeded, -1 where it failed


class Feasibility:
    """The probability that a run succeeds, as a function of the configuration.

    Least-squares classification (Rasmussen & Williams 2006, sec. 6.5): a model is fitted to +1 and -1, and
    success is where its noise-free value is above 0: crashes repeat, and what is taken for noise at a sharp
    edge is none far from it. The model is the generic one, with a lengthscale for each parameter, so a
    parameter that has nothing to do with the failures soon counts for nothing; or the developer's margin
    (:func:`margin_model`).
    """

    def __init__(self, model: DAGModel, seed: int, in_time: dict[str, int] | None = None) -> None:
        self.inference = Inference(model, seed, in_time)

    def learn(self, succeeded: Sequence[Trial], failed: Sequence[Trial]) -> Chance:
        """Return the log probability of success."""
        rows = [replace(trial, measurements={SUCCESS: 1.0}) for trial in succeeded if trial.measurements]
        rows += [replace(trial, measurements={SUCCESS: -1.0}) for trial in failed]
        posterior = self.inference.lasting(measured(self.inference.model, rows))
        luck = posterior.luck([self.inference.seed, 61])
        return Chance(posterior, SUCCESS, luck, dict(rows[-1].context), lower=0.0, least=CERTAIN)


def margin_model(model: DAGModel, margin: Any) -> DAGModel:
    """Return the model of success that a developer wrote: a node that is above 0 where a run succeeds.

    ``margin`` is a :func:`boatppl.node` of parameters, contexts and derived quantities, about 1 where one is
    sure of success and about -1 where one is sure of failure; ``tanh`` brings it to the scale of what is
    measured. Its unknowns are learned from the runs, and its residual takes what it does not know.

    Raises
    ------
    ModelError
        For what is no node, or a node of what is not known before a run.
    """
    if not isinstance(margin, Node):
        raise ModelError(
            "feasibility= is a @boat.node whose function is above 0 where a run succeeds and below 0 where "
            f"it fails, such as `return (heap_mb - needed) / needed`; got {margin!r}."
        )
    late = sorted(set(model.origins(margin.wires)) & model.nodes.keys())
    if late:
        raise ModelError(
            f"feasibility= depends on {listed(late)}, which only a run measures; it may depend on "
            "parameters, contexts and derived quantities of those."
        )
    function = margin.function

    @functools.wraps(function)
    def success(*wires: Any, **named: Any) -> Any:
        return pt.tanh(function(*wires, **named))

    node = replace(margin, name=SUCCESS, function=success, transform=None, censored=False)
    known = [
        model.parts[name] for name in model.derived if not set(model.origins([name])) & model.nodes.keys()
    ]
    return DAGModel(model.space, [*known, node], coords=model.coords, data=model.data)
