"""Rival models: what each said before a run, how well it said it, and how much to listen to it.

Every suggested trial is predicted, end to end from the configuration alone, by every rival before it runs.
The log density that a rival gave to what was then measured is an honest score at no extra cost (what is
worse than the default is all the same), and the weights follow from the scores of the log: nothing is
refitted, and a resumed study has the weights of an uninterrupted one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_ndtr, logsumexp

from boatppl.compile.density import DEGREES_OF_FREEDOM
from boatppl.predict import predictive
from boatppl.propagate import Posterior
from boatppl.suggest import Goal
from boatppl.transform import Transform

LEAST = 0.05  # no rival's weight falls below it: the next trial may prove it right
TEMPER = 0.5  # of the scores, which are made one after another by models that are all wrong a little
WORST = 3.0  # nats by which one run can count against a rival: a single bad run is no verdict
KEPT = 64  # draws of a forecast that are kept with the trial
LEAST_SPREAD = 1e-12  # of a forecast that is sure: it still has a density


@dataclass(frozen=True)
class Forecast:
    """What a rival said of a measurement before it was made: an equal mixture of normals on a transformed
    scale.

    ``mean`` and ``spread`` are ``(component,)``; ``transform`` maps the objective's unit to that scale.
    """

    transform: Transform
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    def log_density(self, value: float) -> float:
        """Return the log density of a measured value in the objective's natural unit (Jacobian included)."""
        z = self._standardised(value)
        terms = -0.5 * z**2 - np.log(self.spread) - 0.5 * np.log(2 * np.pi)
        density = logsumexp(terms) - np.log(len(z)) + float(self.transform.log_jacobian(np.array(value)))
        return float(density) if np.isfinite(density) else -np.inf

    def log_score(self, value: float, worst: float | None, maximize: bool = False) -> float:
        """Return the log density of a measured value that is no worse than ``worst``, and otherwise the log
        probability of a worse one (censored likelihood: Diks, Panchenko & van Dijk 2011).

        It is proper, and blind to how bad a bad configuration was said to be: no choice depends on that.
        """
        if worst is None or (value >= worst if maximize else value <= worst):
            return self.log_density(value)
        z = self._standardised(worst)
        return float(logsumexp(log_ndtr(z if maximize else -z)) - np.log(len(z)))

    def _standardised(self, value: float) -> np.ndarray:
        """How many spreads a value is above each component's mean ``(component,)``."""
        return (float(self.transform.forward(np.array(value))) - np.array(self.mean)) / np.array(self.spread)

    def to_record(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        t = self.transform
        return {
            "transform": [t.kind, t.location, t.spread, t.anchor, t.unit],
            "mean": list(self.mean),
            "spread": list(self.spread),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Forecast":
        """Return the forecast that :meth:`to_record` described."""
        return cls(Transform(*record["transform"]), tuple(record["mean"]), tuple(record["spread"]))


def forecast_run(
    posterior: Posterior,
    goal: Goal,
    unit: np.ndarray,
    seed: int,
    contexts: Mapping[str, Any] | None = None,
    kept: int = KEPT,
) -> Forecast:
    """Say what one run at a configuration ``unit (coordinate,)`` will measure of the objective, in at most
    ``kept`` draws."""
    rng = np.random.default_rng([seed, 41])
    if goal.name in posterior.model.derived:
        draws = predictive(posterior, unit[None], contexts or {}, seed, noise=True, target=goal.name)
        values = draws[goal.name][:, 0]
        return _kept(Transform(), values, np.zeros(len(values)), kept)
    step = posterior.propagate(unit[None], goal.name, posterior.luck([seed, 42]), contexts).steps[goal.name]
    scale = np.ones(posterior.draws)
    if posterior.nodes[goal.name].graph.node.robust:
        scale = rng.chisquare(DEGREES_OF_FREEDOM, size=posterior.draws) / DEGREES_OF_FREEDOM
    spread = np.sqrt(step.variance[:, 0] + step.noise[:, 0] ** 2 / scale)
    return _kept(posterior.transforms[goal.name], step.mean[:, 0], spread, kept)


def _kept(transform: Transform, mean: np.ndarray, spread: np.ndarray, kept: int) -> Forecast:
    """Return at most ``kept`` of a forecast's components, none narrower than a kernel estimate's bandwidth.

    Where a draw has sampled the parents and little is left to scatter, components are spikes with nothing
    between them: their mixture would punish the forecast for how few they are.
    """
    good = np.flatnonzero(np.isfinite(mean) & np.isfinite(spread) & (spread >= 0))
    chosen = good[np.linspace(0, len(good) - 1, min(kept, len(good))).astype(int)] if len(good) else good
    least = max(_bandwidth(mean[chosen]), LEAST_SPREAD)
    return Forecast(
        transform, tuple(mean[chosen].tolist()), tuple(np.maximum(spread[chosen], least).tolist())
    )


def _bandwidth(values: np.ndarray) -> float:
    """Return a normal kernel's bandwidth for values ``(n,)`` (Silverman 1986, eq. 3.31)."""
    if len(values) < 2:
        return 0.0
    low, high = np.quantile(values, [0.25, 0.75])
    return float(0.9 * min(np.std(values), (high - low) / 1.34) * len(values) ** -0.2)


def weights(scores: Sequence[Mapping[str, float]], prior: Mapping[str, float]) -> dict[str, float]:
    """Return each rival's weight from its scores of the runs so far.

    ``scores`` has a mapping rival -> :meth:`Forecast.log_score` for every scored run. Weights are
    proportional to ``prior * exp(TEMPER * sum of scores)``, where no run counts more than ``WORST`` against a
    rival and no weight is below ``LEAST``.
    """
    names = list(prior)
    total = np.log([prior[name] for name in names])
    for score in scores:
        found = np.array([score[name] for name in names])
        best = found.max()
        if np.isfinite(best):
            total = total + TEMPER * np.maximum(found - best, -WORST)
    raw = np.exp(total - logsumexp(total))
    raised = LEAST + (1.0 - LEAST * len(names)) * raw
    return dict(zip(names, map(float, raised / raised.sum()), strict=True))


def mixture(draws: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> np.ndarray:
    """Return draws ``(draw, configuration)`` of the weighted rivals from each one's ``(draw,
    configuration)``."""
    parts = []
    for name, found in draws.items():
        count = max(1, round(shares[name] * len(found)))
        parts.append(found[np.linspace(0, len(found) - 1, count).astype(int)])
    return np.concatenate(parts)


def quantiles(
    forecasts: Mapping[str, Forecast], shares: Mapping[str, float], seed: int, levels: Sequence[float]
) -> list[float]:
    """Return quantiles of the measurement that the weighted rivals forecast, in the objective's unit."""
    rng, draws = np.random.default_rng([seed, 43]), []
    for name, forecast in forecasts.items():
        count = max(1, round(2000 * shares[name]))
        chosen = rng.integers(len(forecast.mean), size=count)
        normals = rng.normal(size=count)
        values = np.array(forecast.mean)[chosen] + np.array(forecast.spread)[chosen] * normals
        draws.append(forecast.transform.inverse(values))
    return [float(q) for q in np.nanquantile(np.concatenate(draws), levels)]
