"""Inference is right from end to end: simulation-based calibration, coverage, and the published example.

Talts et al. 2018: with unknowns drawn from the prior and data from the unknowns, the rank of the truth among
posterior draws is uniform. The simulators are written by hand here, from the mathematics and none of
boatppl's code, so that an error on either side shows. A node without a parametric part is left out: it is
standardised by its own measurements, so its prior is no generative model of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from arviz_stats.base.array import array_stats
from scipy import stats

import boatppl as boat
from boatppl.compile.density import density_of
from boatppl.fit import Inference
from boatppl.graph import draw_prior
from boatppl.infer import LONG, Chains, sample
from boatppl.predict import predictive
from boatppl.propagate import condition
from boatppl.table import measured, tables

LENGTH = Chains(draws=400, tune=400, chains=2, target_accept=0.9)
QUICK = Chains(draws=150, tune=150, chains=2, target_accept=0.8)
RANKS = 31  # draws that a truth is ranked among: thinned to be about independent
BINS = 8
ROWS = 10


# -- simulators, by hand ------------------------------------------------------------------


def matern52(Z, lengthscale):
    r = np.sqrt((((Z[:, None] - Z[None]) / lengthscale) ** 2).sum(-1))
    return (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)


def residual(Z, theta, rng, prefix=""):
    """A draw of the Gaussian process at inputs ``Z (row, input)`` on the unit cube."""
    root = np.linalg.cholesky(matern52(Z, theta[f"{prefix}lengthscale"]) + 1e-6 * np.eye(len(Z)))
    return theta[f"{prefix}amplitude"] * root @ rng.normal(size=len(Z))


def run_to_run(deviation, scale, n, rng, robust=False):
    """Noise of ``n`` runs, whose deviation is at least a thousandth of the node's scale."""
    normals = stats.t(4).rvs(n, random_state=rng) if robust else rng.normal(size=n)
    return np.hypot(deviation, 1e-3 * scale) * normals


@dataclass(frozen=True)
class Kind:
    """A model of one block and how its runs come about: (unknowns, x, scales, rng) -> node -> values."""

    model: boat.DAGModel
    simulate: Callable[..., dict[str, np.ndarray]]


SPACE = boat.Space(x=boat.Float(0, 1))
MACHINES = np.array([2.0, 4.0, 8.0])


def plain():
    @boat.node(transform="log")
    def y(x):
        return pm.HalfNormal("offset", 1.0) + pm.LogNormal("slope", 0, 0.5) * pt.exp(x)

    def simulate(theta, x, scale, rng):
        smooth = np.log(theta["offset"] + theta["slope"] * np.exp(x)) + residual(x[:, None], theta, rng)
        return {"y": np.exp(smooth + run_to_run(theta["noise"], scale["y"], len(x), rng))}

    return Kind(boat.DAGModel(SPACE, [y]), simulate)


def robust():
    @boat.node(robust=True)
    def y(x):
        return pm.Normal("level", 0, 2) + pm.Normal("slope", 0, 2) * x

    def simulate(theta, x, scale, rng):
        smooth = theta["level"] + theta["slope"] * x + residual(x[:, None], theta, rng)
        return {"y": smooth + run_to_run(theta["noise"], scale["y"], len(x), rng, robust=True)}

    return Kind(boat.DAGModel(SPACE, [y]), simulate)


def counted():
    @boat.node(transform="log1p")
    def y(x):
        return pm.LogNormal("level", 3, 0.5) * (1 + x)

    def simulate(theta, x, scale, rng):
        smooth = np.log1p(theta["level"] * (1 + x)) + residual(x[:, None], theta, rng)
        return {"y": np.expm1(smooth + run_to_run(theta["noise"], scale["y"], len(x), rng))}

    return Kind(boat.DAGModel(SPACE, [y]), simulate)


def share():
    @boat.node(transform="logit")
    def y(x):
        return pm.Beta("hit", 2, 2) ** (1 + x)

    def simulate(theta, x, scale, rng):
        mean = theta["hit"] ** (1 + x)
        smooth = np.log(mean / (1 - mean)) + residual(x[:, None], theta, rng)
        return {"y": 1 / (1 + np.exp(-smooth - run_to_run(theta["noise"], scale["y"], len(x), rng)))}

    return Kind(boat.DAGModel(SPACE, [y]), simulate)


def shared():
    @boat.shared
    def common():
        return pm.LogNormal("common", 0, 0.5)

    @boat.node(transform="sqrt")
    def first(common, x):
        return common * (1 + x)

    def spread(x):
        return pm.HalfNormal("per_x", 0.5) * (0.1 + x)

    @boat.node(transform="log", residual=None, noise=spread)
    def second(common, x):
        return pm.LogNormal("offset", 0, 0.5) + common * x

    def simulate(theta, x, scale, rng):
        root = np.sqrt(theta["common"] * (1 + x)) + residual(x[:, None], theta, rng, "first::")
        root = root + run_to_run(theta["first::noise"], scale["first"], len(x), rng)
        mean = np.log(theta["second::offset"] + theta["common"] * x)
        deviation = theta["second::per_x"] * (0.1 + x)
        noise = run_to_run(deviation, scale["second"], len(x), rng)
        return {"first": np.maximum(root, 0) ** 2, "second": np.exp(mean + noise)}

    return Kind(boat.DAGModel(SPACE, [common, first, second]), simulate)


def vector():
    @boat.shared(dims="machine")
    def pace():
        return pm.LogNormal("pace", 0, 0.5, dims="machine")

    @boat.node(over="machine", transform="log", residual=boat.GP(["x", "cores"]))
    def y(x, cores, pace):
        return (1 + x) / (pace * cores)

    def simulate(theta, x, scale, rng):
        each, cores = np.repeat(x, 3), np.tile(MACHINES, len(x))
        smooth = np.log((1 + each) / (np.tile(theta["pace"], len(x)) * cores))
        smooth = smooth + residual(np.stack([each, (cores - 2) / 6], axis=1), theta, rng)
        noise = run_to_run(theta["noise"], scale["y"], len(each), rng)
        return {"y": np.exp(smooth + noise).reshape(len(x), 3)}

    data = {"cores": ("machine", MACHINES)}
    return Kind(boat.DAGModel(SPACE, [pace, y], coords={"machine": ["a", "b", "c"]}, data=data), simulate)


# -- ranks --------------------------------------------------------------------------------


@cache
def compared(make, fits, length):
    """Truths and thinned draws of every unknown and of a held-out run: name -> ``(fit,)``, ``(fit,
    rank)``."""
    kind = make()
    model, [block] = kind.model, kind.model.blocks
    density = density_of(block)
    truths = draw_prior({variable.name: variable for variable in block.model.free_RVs}, fits, 0)
    scales = {name: node.scale for name, node in model.nodes.items()}
    found: dict[str, tuple[list[float], list[np.ndarray]]] = {}
    for fit in range(fits):
        rng = np.random.default_rng([7, fit])
        theta = {name: value[fit] for name, value in truths.items()}
        x = rng.uniform(size=ROWS + 1)
        values = kind.simulate(theta, x, scales, rng)
        table = tables(model, measured(model, runs(x, values)))
        posterior = sample(density, table, fit, length)
        seen = predictive(condition(model, table, [posterior]), x[ROWS:, None], {}, fit, noise=True)
        draws = dict(posterior.variables) | {f"next {name}": seen[name][:, 0] for name in values}
        for name, truth in (theta | {f"next {name}": v[ROWS] for name, v in values.items()}).items():
            own = draws[name].reshape(posterior.draws, -1)
            thinned = own[np.linspace(0, len(own) - 1, RANKS).astype(int)]
            for place, value in enumerate(np.ravel(truth)):
                pair = found.setdefault(f"{name}[{place}]", ([], []))
                pair[0].append(float(value))
                pair[1].append(thinned[:, place])
    return {name: (np.array(pair[0]), np.array(pair[1])) for name, pair in found.items()}


def runs(x, values):
    """The first ``ROWS`` runs as finished trials."""
    return [
        SimpleNamespace(
            number=i,
            configuration={"x": x[i]},
            context={},
            measurements={name: value[i] for name, value in values.items()},
        )
        for i in range(ROWS)
    ]


def ranks_of(pairs, shrink=1.0):
    """Ranks ``(fit,)`` of the truths among the draws; ``shrink`` spoils the draws by moving them to their
    mean."""
    return {
        name: (draws.mean(1, keepdims=True) * (1 - shrink) + shrink * draws < truth[:, None]).sum(axis=1)
        for name, (truth, draws) in pairs.items()
    }


def p_values(ranks):
    """The probability of ranks at least as uneven, by a chi-square test with equal bins."""
    return {
        name: stats.chisquare(np.bincount(own * BINS // (RANKS + 1), minlength=BINS)).pvalue
        for name, own in ranks.items()
    }


def assert_uniform(ranks):
    """Every rank is inside the 99 % band, which is shared among them (Bonferroni)."""
    values = p_values(ranks)
    assert min(values.values()) > 0.01 / len(values), {name: round(p, 4) for name, p in values.items()}


def test_ranks_are_uniform():
    assert_uniform(ranks_of(compared(plain, 40, QUICK)))


def test_ranks_among_draws_that_are_too_narrow_are_not_uniform():
    with pytest.raises(AssertionError):
        assert_uniform(ranks_of(compared(plain, 40, QUICK), shrink=0.4))


@pytest.mark.nightly
@pytest.mark.parametrize("make", [plain, robust, counted, share, shared, vector])
def test_ranks_are_uniform_in_200_fits(make):
    assert_uniform(ranks_of(compared(make, 200, LENGTH)))


def errors_apart(ours, theirs):
    """How many Monte-Carlo errors draws ``(chain, draw, element)`` are apart at most, in means and mean
    squares; of positive unknowns in those of the logarithms."""
    apart = []
    both = (np.log(ours), np.log(theirs)) if (ours > 0).all() else (ours, theirs)
    for power in (1, 2):
        a, b = (draws**power for draws in both)
        variance = sum(d.var(axis=(0, 1)) / array_stats.ess(d, chain_axis=0, draw_axis=1) for d in (a, b))
        apart.append(np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / np.sqrt(variance))
    return float(np.max(apart))


def test_draws_of_another_posterior_are_many_errors_apart():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 4, 1000, 1))
    assert errors_apart(one, two) < 4
    assert errors_apart(one, two + 0.15) > 4.5
    assert errors_apart(one, 1.15 * two) > 4.5


@pytest.mark.nightly
@pytest.mark.parametrize("make", [plain, robust, share, shared, vector])
def test_the_posterior_is_what_pm_sample_finds_in_the_twin(make):
    """A node opened as ordinary PyMC and sampled there: the same within Monte-Carlo error."""
    kind = make()
    model, [block] = kind.model, kind.model.blocks
    truths = draw_prior({variable.name: variable for variable in block.model.free_RVs}, 2, 1)
    x = np.random.default_rng(5).uniform(size=ROWS + 1)
    scales = {name: node.scale for name, node in model.nodes.items()}
    theta = {name: value[0] for name, value in truths.items()}
    trials = runs(x, kind.simulate(theta, x, scales, np.random.default_rng(6)))
    long = Chains(draws=1000, tune=1000, chains=4, target_accept=0.95)
    ours = sample(density_of(block), tables(model, measured(model, trials)), 0, long)
    twin = model[block.nodes[0].name].to_pymc(trials)
    assert all(node.name in pm.model_to_mermaid(twin) for node in block.nodes)
    with twin:
        assert set(pm.sample_prior_predictive(3, random_seed=0)["prior"]) >= set(ours.variables)
        options = {"draws": 1000, "tune": 1000, "chains": 2, "cores": 1, "target_accept": 0.95}
        theirs = pm.sample(**options, nuts_sampler="pymc", random_seed=0, progressbar=False)["posterior"]
    worst = {
        name: errors_apart(draws.reshape(4, 1000, -1), theirs[name].values.reshape(2, 1000, -1))
        for name, draws in ours.variables.items()
    }
    assert max(worst.values()) < 4.5, worst


# -- end to end ---------------------------------------------------------------------------


def chain():
    """A model of three nodes and a derived quantity, and the simulator of its runs."""

    @boat.node(transform="log")
    def rate(x):
        return pm.LogNormal("malloc", 1, 0.5) / (0.2 + x)

    @boat.node(transform="log")
    def pause(x):
        return pm.LogNormal("base", 0, 0.5) + pm.LogNormal("per_x", 0, 0.5) * x

    @boat.derived
    def busy(rate, pause):
        return rate * pause

    @boat.node(transform="log", residual=boat.GP(["rate"]))
    def p99(busy):
        return pm.LogNormal("floor", 0, 0.5) + busy

    model = boat.DAGModel(SPACE, [rate, pause, busy, p99])

    def simulate(theta, x, rng):
        def measure(name, mean, Z):
            own, scale = theta[name], model.nodes[name].scale
            return np.exp(np.log(mean) + residual(Z, own, rng) + run_to_run(own["noise"], scale, len(x), rng))

        rates = measure("rate", theta["rate"]["malloc"] / (0.2 + x), x[:, None])
        pauses = measure("pause", theta["pause"]["base"] + theta["pause"]["per_x"] * x, x[:, None])
        item = model.nodes["p99"].inputs[0]  # a node's scaling is frozen in the model
        mean = theta["p99"]["floor"] + rates * pauses
        p99s = measure("p99", mean, (np.log(rates)[:, None] - item.center) / item.width)
        return {"rate": rates, "pause": pauses, "busy": rates * pauses, "p99": p99s}

    return model, simulate


def covered(fits, length):
    """How often 90 % intervals of a new run, predicted from its configuration alone, hold it: name ->
    share."""
    model, simulate = chain()
    inference = Inference(model, 0)
    priors = {
        node.name: draw_prior(node.variables, fits, number)
        for number, node in enumerate(model.nodes.values())
    }
    inside: dict[str, list[bool]] = {}
    for fit in range(fits):
        rng = np.random.default_rng([8, fit])
        theta = {node: {n: v[fit] for n, v in own.items()} for node, own in priors.items()}
        x = rng.uniform(size=ROWS + 1)
        values = simulate(theta, x, rng)
        measurements = {name: values[name] for name in model.nodes}
        posterior = inference.posterior(measured(model, runs(x, measurements)), length)
        seen = predictive(posterior, x[ROWS:, None], {}, fit, noise=True)
        for name, draws in seen.items():
            low, high = np.quantile(draws[:, 0], [0.05, 0.95])
            inside.setdefault(name, []).append(bool(low < values[name][ROWS] < high))
    assert inference.compilations == 3
    return {name: float(np.mean(own)) for name, own in inside.items()}


def assert_covered(shares, fits):
    low, high = stats.binom(fits, 0.9).ppf([0.005 / len(shares), 1 - 0.005 / len(shares)]) / fits
    assert all(low <= share <= high for share in shares.values()), (shares, low, high)


def test_intervals_cover_end_to_end():
    assert_covered(covered(16, QUICK), 16)


@pytest.mark.nightly
def test_intervals_cover_end_to_end_in_200_fits():
    assert_covered(covered(200, LENGTH), 200)


# -- the published example ----------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_published_example(seed):
    """Dalibard et al. 2017: from (1024 MB, 0.40/s) and (2048 MB, 0.25/s) the original predicts 4.04/s at 1536
    MB."""

    @boat.node(unit="1/s", transform="log")
    def gc_rate(eden_mb):
        malloc_rate = pm.Uniform("malloc_rate", 0, 5000)
        return malloc_rate / eden_mb

    model = boat.DAGModel(boat.Space(eden_mb=boat.Float(256, 8192, log=True, unit="MB")), [gc_rate])
    seen = {1024.0: 0.40, 2048.0: 0.25}
    two = [
        SimpleNamespace(number=i, configuration={"eden_mb": e}, context={}, measurements={"gc_rate": r})
        for i, (e, r) in enumerate(seen.items())
    ]
    posterior = Inference(model, seed).posterior(measured(model, two), LONG)
    draws = predictive(posterior, model.space.encode([{"eden_mb": 1536.0}]), {}, seed, noise=True)["gc_rate"]
    low, median, high = np.quantile(draws, [0.05, 0.5, 0.95])
    assert 0.27 < median < 0.32
    assert 0.27 < draws.mean() < 0.32
    assert 0.2 < low < median < high < 0.42
    assert high - low > 0.05  # two runs do not make it certain
