"""Cross-validation: how well a model predicts each run from all other runs.

A run is left out whole, from every node. Per node the question is: given this run's measured inputs, what is
measured of the node? End to end it is harder: from the configuration alone, what of the objective?
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import logsumexp, ndtr

from boatppl.evidence import Evidence
from boatppl.fit import Inference
from boatppl.hedge import Forecast, forecast_run
from boatppl.infer import Chains
from boatppl.leave_one_out import LeftOut, mixture
from boatppl.propagate import NodeDraws
from boatppl.rivals import with_objective
from boatppl.suggest import Goal
from boatppl.table import Measured, measured
from boatppl.validate.folds import Folds, fold
from boatppl.validate.scores import CrossValidation, Scores
from boatppl.words import ModelError

MEDIUM = Chains(draws=200, tune=200, chains=2, target_accept=0.9, dispersed=False)
FEWEST = 3  # trials


def cross_validate(
    inference: Inference,
    goal: Goal,
    known: Evidence,
    seed: int,
    length: Chains = MEDIUM,
) -> CrossValidation:
    """Predict every run from all others.

    Parameters
    ----------
    inference
        The compiled model.
    known
        The finished trials that it learns from, and what each measured of the objective.
    length
        Of the chains, also of those that are sampled anew without a run.

    Raises
    ------
    ModelError
        For fewer than 3 runs with an objective.

    Notes
    -----
    The location and spread by which a node without a parametric part is standardised are those of all runs.
    """
    objective = known.objective
    if len(objective) < FEWEST:
        raise ModelError(
            f"cross-validation leaves out one run after the other and needs at least {FEWEST} runs in which "
            f"{goal.name!r} was measured; there are {len(objective)}. Run more trials first."
        )
    data = measured(inference.model, with_objective(known.trials, goal, objective))
    every = inference.posterior(data, length)
    folds = fold(every, data.numbers, seed, length)
    nodes = {name: _of_node(folds, name) for name, node in every.nodes.items() if len(node.table)}
    return CrossValidation(nodes, _end_to_end(folds, goal, data, objective))


def _of_node(folds: Folds, name: str) -> Scores:
    """Score a node given its measured inputs."""
    node, block = folds.every.nodes[name], folds.of(name)
    left, table = block.left[name], node.table
    numbers = np.unique(table.trials)
    places, rows = np.searchsorted(folds.numbers, numbers), np.searchsorted(numbers, table.trials)
    log_weights = block.log_weights[:, places]
    elpd = logsumexp(log_weights + left.log_density, axis=0)
    predicted, below = _predictive(node, left, np.exp(log_weights[:, rows]))
    for at in np.flatnonzero([place in block.refits for place in places]):
        anew, own = folds.anew(name, int(places[at])), rows == at
        draws = len(anew.log_density)
        elpd[at] = logsumexp(anew.log_density[:, at]) - np.log(draws)
        medians, shares = _predictive(node, anew, np.full((draws, len(table)), 1.0 / draws))
        predicted[own], below[own] = medians[own], shares[own]
    return Scores(
        name,
        node.graph.node.unit or "",
        False,
        numbers,
        elpd,
        block.pareto_k[places],
        np.array([place in block.refits for place in places]),
        table.trials,
        table.natural,
        node.transform.inverse(predicted),
        below,
    )


def _predictive(node: NodeDraws, left: LeftOut, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the predictive median of every row, on the transformed scale, and the probability of a smaller
    measurement, both ``(row,)``; ``weights`` are ``(draw, row)``."""
    y, variance = node.table.y, left.smooth + left.noise**2
    predicted = median(y - left.error, np.sqrt(variance), weights)
    if not node.graph.node.robust:
        return predicted, (weights * ndtr(left.error / np.sqrt(variance))).sum(axis=0)
    below, (log_shares, scales) = np.zeros(len(y)), mixture()
    for share, scale in zip(np.exp(log_shares), scales, strict=True):
        spread = np.sqrt(left.smooth + left.noise**2 / scale)
        below += share * (weights * ndtr(left.error / spread)).sum(axis=0)
    return predicted, below


def median(mean: np.ndarray, spread: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median ``(column,)`` of mixtures of normals ``(draw, column)``, by bisection."""
    low, high = (mean - 8.0 * spread).min(axis=0), (mean + 8.0 * spread).max(axis=0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = (weights * ndtr((middle - mean) / spread)).sum(axis=0) < 0.5
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def _end_to_end(folds: Folds, goal: Goal, data: Measured, objective: Mapping[int, float]) -> Scores:
    """Score the objective from the configurations alone."""
    places = np.array([place for place, number in enumerate(data.numbers) if int(number) in objective])
    numbers = data.numbers[places]
    values = np.array([objective[int(number)] for number in numbers])
    found = [_forecast(folds, goal, data, int(place)) for place in places]
    return Scores(
        goal.name,
        folds.every.model.unit_of(goal.name),
        True,
        numbers,
        np.array([forecast.log_density(value) for forecast, value in zip(found, values, strict=True)]),
        np.array([folds.pareto_k(int(place)) for place in places]),
        np.array([folds.refitted(int(place)) for place in places]),
        numbers,
        values,
        np.array([_median(forecast) for forecast in found]),
        np.array([_below(forecast, value) for forecast, value in zip(found, values, strict=True)]),
    )


def _forecast(folds: Folds, goal: Goal, data: Measured, place: int) -> Forecast:
    posterior = folds.without(place)
    contexts = {name: value[place] for name, value in data.contexts.items()}
    return forecast_run(posterior, goal, data.unit[place], folds.seed, contexts, kept=posterior.draws)


def _median(forecast: Forecast) -> float:
    mean, spread = np.array([forecast.mean, forecast.spread])[..., None]
    return float(forecast.transform.inverse(median(mean, spread, np.full_like(mean, 1 / len(mean))))[0])


def _below(forecast: Forecast, value: float) -> float:
    mean, spread = np.array([forecast.mean, forecast.spread])
    return float(ndtr((forecast.transform.forward(np.array(value)) - mean) / spread).mean())
