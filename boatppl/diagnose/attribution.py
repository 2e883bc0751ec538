"""Where the end-to-end error comes from: one node's measured truth at a time in place of its prediction."""

from collections.abc import Mapping

import numpy as np

from boatppl.propagate import Posterior, needed
from boatppl.suggest import Goal
from boatppl.table import Measured
from boatppl.transform import Transform
from boatppl.validate.folds import fold

DRAWS = 100  # of the posterior without each run


def attribution(
    posterior: Posterior, goal: Goal, data: Measured, objective: Mapping[int, float], seed: int
) -> dict[str, float]:
    """Return node -> the share of the objective's mean squared error that its truth takes away.

    Every run is predicted end to end by the posterior without it (reweighted only: a share needs no refit).
    The squared error is on the objective's transformed scale. The objective itself has what remains when all
    of its parents are known. Nodes that a run did not measure keep their prediction in it.
    """
    names = [name for name in needed(posterior.model, goal.name) if name in posterior.nodes]
    parents = [name for name in names if name != goal.name]
    places = [place for place, number in enumerate(data.numbers) if int(number) in objective]
    folds = fold(posterior, data.numbers, seed)
    transform = posterior.transforms.get(goal.name, Transform())
    error = np.zeros((len(parents) + 2, len(places)))  # none known, each parent, all of them
    choices = [(), *((name,) for name in parents), tuple(parents)]
    for column, place in enumerate(places):
        without = folds.without(place, DRAWS)
        truth = float(transform.forward(np.array(objective[int(data.numbers[place])])))
        for row, known in enumerate(choices):
            error[row, column] = truth - _predicted(without, goal, data, place, known, seed)
    error = error[:, np.isfinite(error).all(axis=0)]
    size = (error**2).sum(axis=1)
    if not size[0] > 0:
        return {}
    shares = {name: 1.0 - size[1 + i] / size[0] for i, name in enumerate(parents)}
    if goal.name in posterior.nodes:
        shares[goal.name] = size[-1] / size[0]
    return {name: float(np.clip(share, 0.0, 1.0)) for name, share in shares.items()}


def _predicted(
    posterior: Posterior, goal: Goal, data: Measured, place: int, known: tuple[str, ...], seed: int
) -> float:
    """Return the predicted median of the transformed objective of one run, some of its nodes being known."""
    model = posterior.model
    unit = data.unit[place][None]
    contexts = {name: value[place] for name, value in data.contexts.items()}
    luck = posterior.luck([seed, 71, place])
    values = dict(model.inputs(unit, contexts))
    for name in needed(model, goal.name):
        if name in model.derived:
            values[name] = model.evaluate_derived(name, values)
            continue
        step = posterior.step(name, values, unit, contexts)
        if name == goal.name:
            return _middle(step.mean)
        values[name] = posterior.measured(name, step, luck, 1)
        if name in known:
            truth = data.values[name][:, place : place + 1]
            values[name] = np.where(np.isfinite(truth), truth, values[name])
    return _middle(values[goal.name])


def _middle(draws: np.ndarray) -> float:
    finite = draws[np.isfinite(draws)]
    return float(np.median(finite)) if len(finite) else np.nan
