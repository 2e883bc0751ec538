"""Propagation through the DAG: its laws, and its gradient against differences."""

from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import boatppl as boat
from benchmarks.problems import machines_model, machines_space
from boatppl.acquisition import average, log_expected_improvement
from boatppl.fit import Inference
from boatppl.gp.inducing import EXACT_ROWS
from boatppl.infer import Chains
from boatppl.predict import REPLICATES, noise_free, predictive
from boatppl.propagate import needed, prior
from boatppl.suggest import Goal, Improvement, Mean, affordable
from boatppl.table import measured

TINY = Chains(draws=12, tune=60, chains=2, target_accept=0.8, max_treedepth=5, dispersed=False)
CORES = np.array([2.0, 4.0, 8.0])
SPACE = boat.Space(
    x=boat.Float(1, 10, log=True),
    z=boat.Float(0, 1),
    kind=boat.Categorical(["a", "b"]),
    share=boat.Simplex(3, dim="machine"),
    load=boat.Context(10, 1000, log=True),
)
CONTEXT = {"load": 50.0}


@boat.derived(transform="log")
def eden(x, z):
    return x * (0.2 + z)


@boat.derived(dims="machine")
def work(share, x):
    return share * x


@boat.node(transform="log")
def rate(eden, load):
    return pm.LogNormal("malloc", 0, 1) * pt.sqrt(load) / eden


@boat.shared
def overhead():
    return pm.HalfNormal("overhead", 1.0)


@boat.shared(dims="machine")
def speed():
    return pm.LogNormal("speed", 0, 0.3, dims="machine")


@boat.node(transform="log", robust=True, residual=boat.GP(["z", "kind"]))
def pause(overhead, x, kind):
    return overhead + pt.switch(pt.eq(kind, kind.codes["b"]), 2.0, 1.0) * x


@boat.node(over="machine", transform="sqrt", residual=boat.GP(["work", "cores", "rate"]))
def took(share, cores, speed, rate, overhead):
    return overhead + (0.1 + share) * rate / (speed * cores)


@boat.derived
def slowest(took):
    return pt.logsumexp(3.0 * took) / 3.0


def rising(rate):
    return 0.05 + pm.HalfNormal("per_rate", 0.1) * pt.log1p(rate)


@boat.node(transform="log", noise=rising, residual=boat.GP(["eden", "took", "share", "slowest"]))
def total(rate, pause, slowest):
    return pm.LogNormal("floor", 0, 0.5) + 0.3 * pause * pt.log1p(rate) + slowest


@boat.derived
def cost(total, x):
    return total + 0.1 * x


@boat.derived
def gain(cost):
    return -cost


MODEL = boat.DAGModel(
    SPACE,
    [eden, work, rate, overhead, speed, pause, took, slowest, total, cost, gain],
    coords={"machine": ["a", "b", "c"]},
    data={"cores": ("machine", CORES)},
)


def trials(n, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for number, configuration in enumerate(SPACE.design(n, seed)):
        x, z, share = configuration["x"], configuration["z"], np.asarray(configuration["share"])
        rate_ = 3 * np.sqrt(50) / (x * (0.2 + z)) * np.exp(0.2 * np.sin(3 * z) + 0.05 * rng.normal())
        pause_ = (0.5 + x * (1 + (configuration["kind"] == "b"))) * np.exp(0.1 * rng.normal())
        took_ = (0.5 + (0.1 + share) * rate_ / CORES) * np.exp(0.1 * rng.normal(size=3))
        total_ = (1 + 0.3 * pause_ * np.log1p(rate_) + took_.max()) * np.exp(0.05 * rng.normal())
        values = {"rate": rate_, "pause": pause_, "took": took_, "total": total_}
        made.append(
            SimpleNamespace(number=number, configuration=configuration, context=CONTEXT, measurements=values)
        )
    return made


@pytest.fixture(scope="module")
def posterior():
    return Inference(MODEL, 0).posterior(measured(MODEL, trials(9)), TINY)


RUN = SPACE.encode([trial.configuration for trial in trials(9)])
UNIT = SPACE.sample(6, 5) * 0.8 + 0.1
MOVING = [i for i, name in enumerate(SPACE.coordinates) if not name.startswith("kind")]


def differences(function, unit, step=1e-5):
    """Central differences ``(configuration, coordinate)`` along the continuous coordinates."""
    slopes = np.zeros_like(unit)
    for axis in MOVING:
        shift = step * np.eye(unit.shape[1])[axis]
        slopes[:, axis] = (function(unit + shift) - function(unit - shift)) / (2 * step)
    return slopes


def assert_close(found, expected, tolerance):
    scale = np.abs(expected[:, MOVING]).max(axis=1, keepdims=True) + 1e-12
    assert (np.abs(found - expected)[:, MOVING] / scale).max() < tolerance


def test_what_is_needed_comes_in_order():
    assert needed(MODEL, "rate") == ["eden", "rate"]
    before = ["eden", "work", "rate", "pause", "took", "slowest", "total"]
    assert needed(MODEL, "gain") == [*before, "cost", "gain"]


@pytest.mark.parametrize("target", ["rate", "total", "cost"])
@pytest.mark.parametrize("realised", [False, True])
def test_gradients_of_mean_and_variance_equal_differences(posterior, target, realised):
    luck = posterior.luck(1)
    if realised:
        _, posterior = posterior.realise(RUN[:4], target, luck, 2, CONTEXT)
    forward = posterior.propagate(UNIT, target, luck, CONTEXT)
    mean, variance = forward.objective()
    rng = np.random.default_rng(0)
    for part, moment in enumerate((mean, variance)):
        if target == "cost" and part == 1:
            assert not variance.any()
            continue
        weight = rng.normal(size=moment.shape) / np.abs(moment).mean()

        def total_of(unit, part=part, weight=weight):
            return (weight * posterior.propagate(unit, target, luck, CONTEXT).objective()[part]).sum(axis=0)

        cotangents = [np.zeros_like(mean), np.zeros_like(mean)]
        cotangents[part] = weight
        assert_close(posterior.pullback(forward, luck, *cotangents), differences(total_of, UNIT), 2e-4)


@pytest.mark.parametrize(
    "goal", [Goal("total"), Goal("total", maximize=True), Goal("cost"), Goal("gain", True)]
)
def test_gradient_of_log_expected_improvement_equals_differences(posterior, goal):
    improvement = Improvement(posterior, goal, RUN, np.zeros((0, RUN.shape[1])), 3, CONTEXT)
    values, gradient = improvement.with_gradient(UNIT)
    np.testing.assert_allclose(values, improvement(UNIT))
    assert_close(gradient, differences(improvement, UNIT), 1e-3)


def test_many_configurations_are_scored_part_by_part_and_no_differently(posterior, monkeypatch):
    improvement = Improvement(posterior, Goal("total"), RUN, np.zeros((0, RUN.shape[1])), 3, CONTEXT)
    values, parts = improvement(UNIT), []
    forward = improvement.forward
    monkeypatch.setattr(improvement, "forward", lambda unit: (parts.append(len(unit)), forward(unit))[1])
    monkeypatch.setattr("boatppl.averaged.AT_ONCE", 2 * improvement.posterior.draws * posterior.widest)
    np.testing.assert_allclose(improvement(UNIT), values, rtol=1e-12)
    assert sum(parts) == len(UNIT) > max(parts) == 2
    assert improvement(UNIT[:0]).shape == (0,)


def test_every_draw_has_an_incumbent_of_its_own_pending_runs_among_them(posterior):
    """It is the least noise-free value that the draw itself believes in, not one number for all draws."""
    improvement = Improvement(posterior, Goal("total"), RUN[:5], RUN[5:], 3, CONTEXT)
    np.testing.assert_array_equal(improvement.points, RUN)
    mean, variance = improvement.forward(RUN).objective()
    spread = np.ptp(improvement.best)
    np.testing.assert_allclose(mean.min(axis=1), improvement.best, atol=1e-2 * spread)
    assert spread > 10 * np.sqrt(variance).max()
    alone = Improvement(posterior, Goal("total"), RUN[:5], RUN[:0], 3, CONTEXT)
    assert (improvement.best <= alone.best + 1e-2 * spread).all()
    assert (improvement.best < alone.best - 1e-2 * spread).any()


def test_certain_where_realised(posterior):
    luck = posterior.luck(1)
    for target in ("rate", "total", "cost"):
        values, sure = posterior.realise(RUN, target, luck, 2, CONTEXT)
        mean, variance = sure.propagate(RUN, target, luck, CONTEXT).objective()
        spread = np.sqrt(posterior.propagate(UNIT, "total", luck, CONTEXT).objective()[1]).mean()
        np.testing.assert_allclose(mean, values, rtol=1e-2, atol=1e-2 * spread)
        assert np.sqrt(variance).max() < 1e-2 * spread
        elsewhere = sure.propagate(UNIT, target, luck, CONTEXT).objective()[1]
        assert target == "cost" or elsewhere.mean() > 100 * variance.mean()


def test_realised_values_have_the_conditional_moments(posterior):
    """Over many seeds: mean and variance of the samples are those of the propagation."""
    luck = posterior.luck(1)
    mean, variance = posterior.propagate(UNIT, "rate", luck, CONTEXT).objective()
    samples = np.array([posterior.realise(UNIT, "rate", luck, seed, CONTEXT)[0] for seed in range(400)])
    error = np.sqrt(variance / 400)
    assert (np.abs(samples.mean(axis=0) - mean) / error).max() < 4.5
    np.testing.assert_allclose(samples.var(axis=0).mean(), variance.mean(), rtol=0.1)


def test_a_residual_over_a_derived_quantity_knows_every_configuration_that_has_it():
    """Once sampled where eden is 2 and 6, it is certain wherever eden is that; not so over x and z."""
    log_eden = boat.node(transform="log", residual=boat.GP(inputs=["eden"]))(rate.function)
    sampled = [{"x": 4.0, "z": 0.3}, {"x": 8.0, "z": 0.55}, {"x": 5.0, "z": 0.9}]
    others = [{"x": 2.5, "z": 0.6}, {"x": 6.0, "z": 0.8}, {"x": 9.0, "z": 0.75}]
    rows = [SPACE.encode([SPACE.default | point for point in points]) for points in (sampled, others)]
    sds = []
    for node in (log_eden, rate):
        before = prior(boat.DAGModel(SPACE, [eden, node]), 20, 1)
        values, after = before.realise(rows[0], "rate", before.luck(1), 2, CONTEXT)
        mean, variance = after.propagate(rows[1], "rate", before.luck(1), CONTEXT).objective()
        sds.append(np.sqrt(variance))
        if node is log_eden:
            np.testing.assert_allclose(mean[:, :2], values[:, :2], atol=1e-2 * np.std(values))
    assert sds[0][:, :2].max() < 1e-2 * np.median(sds[0][:, 2])  # nobody sampled where eden is 8.55
    assert np.median(sds[1][:, :2]) > 20 * sds[0][:, :2].max()


def test_the_same_luck_whatever_else_is_asked(posterior):
    luck = posterior.luck(4)
    together = posterior.propagate(UNIT, "total", luck, CONTEXT).objective()
    alone = posterior.propagate(UNIT[2:3], "total", luck, CONTEXT).objective()
    for many, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(many[:, 2:3], one, rtol=1e-10)
    again = posterior.propagate(UNIT, "total", posterior.luck(4), CONTEXT).objective()
    np.testing.assert_array_equal(again[0], together[0])
    other = posterior.propagate(UNIT, "total", posterior.luck(5), CONTEXT).objective()
    assert not np.allclose(other[0], together[0])


def test_a_draw_is_smooth_in_the_configuration(posterior):
    """Common random numbers: neighbours differ by little although every draw carries noise."""
    luck = posterior.luck(4)
    line = UNIT[:1] + np.linspace(0, 1e-4, 5)[:, None] * (SPACE.continuous.astype(float))
    values = posterior.propagate(line, "cost", luck, CONTEXT).values["cost"]
    assert np.abs(np.diff(values, axis=1)).max() < 0.01 * values.std(axis=0).mean()


def test_maximising_is_minimising_the_negated(posterior):
    pending = np.zeros((0, RUN.shape[1]))
    low = Improvement(posterior, Goal("cost"), RUN, pending, 3, CONTEXT)
    high = Improvement(posterior, Goal("gain", maximize=True), RUN, pending, 3, CONTEXT)
    np.testing.assert_allclose(low(UNIT), high(UNIT), rtol=1e-9)
    assert not np.allclose(
        low(UNIT), Improvement(posterior, Goal("cost", True), RUN, pending, 3, CONTEXT)(UNIT)
    )


def test_expected_improvement_equals_brute_force(posterior):
    """Of a derived objective: simulate rate, pause, took and total by hand from their steps' moments."""
    draw, best, unit = 5, 12.0, UNIT[1:2]
    rng = np.random.default_rng(0)
    n = 1200
    values = dict(MODEL.inputs(unit, CONTEXT))
    simulated = np.empty(n)
    for run in range(n):
        own = dict(values)
        own |= {name: MODEL.evaluate_derived(name, own) for name in ("eden", "work")}
        for name in ("rate", "pause", "took", "slowest", "total"):
            if name == "slowest":
                own[name] = MODEL.evaluate_derived(name, own)
                continue
            step = posterior.step(name, own, unit, CONTEXT)
            t = rng.normal(size=step.mean.shape)
            noise = rng.normal(size=step.mean.shape)
            if name == "pause":
                noise = rng.standard_t(4, size=step.mean.shape)
            value = posterior.transforms[name].inverse(
                step.mean + np.sqrt(step.variance) * t + step.noise * noise
            )
            own[name] = value[:, None] if name == "took" else value
        simulated[run] = MODEL.evaluate_derived("cost", own)[draw, 0]
    expected = np.maximum(best - simulated, 0)
    gains = np.array(
        [
            posterior.propagate(unit, "cost", posterior.luck([9, seed]), CONTEXT).objective()[0][draw, 0]
            for seed in range(n)
        ]
    )
    gains = np.maximum(best - gains, 0)
    error = np.hypot(expected.std(), gains.std()) / np.sqrt(n)
    assert abs(gains.mean() - expected.mean()) < 4 * error
    log_gain = log_expected_improvement(best - gains[:, None], np.zeros((n, 1)), np.full(n, best))
    assert np.exp(average(log_gain)[0]) == pytest.approx(gains.mean())


def test_contexts_and_kinds_matter(posterior):
    luck = posterior.luck(0)
    slow, fast = (
        posterior.propagate(UNIT, "rate", luck, {"load": load}).objective()[0] for load in (20.0, 500.0)
    )
    np.testing.assert_array_less(slow, fast)
    a, b = SPACE.encode([trials(9)[0].configuration | {"kind": kind} for kind in "ab"])
    mean, _ = posterior.propagate(np.stack([a, b]), "pause", luck, CONTEXT).objective()
    assert mean[:, 1].mean() > mean[:, 0].mean()


@pytest.mark.parametrize(("name", "maximize"), [("total", False), ("cost", True)])
def test_the_slope_of_the_posterior_mean_equals_differences(posterior, name, maximize):
    score = Mean(posterior, Goal(name, maximize), 3, CONTEXT)
    values, slopes = score.with_gradient(UNIT)
    np.testing.assert_array_equal(values, score(UNIT))
    assert np.abs(slopes[:, SPACE.continuous]).max() > 0.01
    for k in np.flatnonzero(SPACE.continuous):
        step = 1e-5 * np.eye(SPACE.dimension)[k]
        difference = (score(UNIT + step) - score(UNIT - step)) / 2e-5
        np.testing.assert_allclose(slopes[:, k], difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["total", "cost"])
def test_the_thinned_improvement_is_that_of_some_draws(posterior, name):
    improvement = Improvement(posterior, Goal(name), RUN, np.zeros((0, RUN.shape[1])), 3, CONTEXT)
    np.testing.assert_allclose(improvement.thinned(100)(UNIT), improvement(UNIT), rtol=1e-12)
    each = improvement.each(*improvement.forward(UNIT).objective())
    np.testing.assert_allclose(improvement.thinned(3)(UNIT), average(each[[0, 11, 23]]), rtol=1e-9)


@pytest.mark.parametrize(("n", "draws", "contenders"), [(2, 100, 12), (10, 50, 6), (100, 32, 2)])
def test_a_search_affords_less_where_a_configuration_has_many_rows(n, draws, contenders):
    before = prior(machines_model(machines_space(n), n), 100, 0)
    known = np.arange(12.0)[:, None] * np.ones(n - 1)
    few, best = affordable(before, known)
    assert few.draws == draws
    np.testing.assert_array_equal(best, known[:contenders])  # they come best first
    assert (few is before) == (draws == 100)


def test_a_search_without_vector_nodes_affords_everything():
    before = prior(boat.DAGModel(SPACE, [eden, rate]), 600, 1)
    known = np.zeros((80, SPACE.dimension))
    assert all(a is b for a, b in zip(affordable(before, known), (before, known), strict=True))


# -- predictions --------------------------------------------------------------------------


def test_predictions_have_the_dims_of_their_nodes(posterior):
    for noise in (True, False):
        found = predictive(posterior, UNIT, CONTEXT, 0, noise=noise)
        assert list(found) == [n for n in MODEL.order if n in MODEL.nodes or n in MODEL.derived]
        for name, draws in found.items():
            assert draws.shape == (24, 6, 3) if name == "took" else (24, 6)
            assert np.isfinite(draws).all()
    assert set(predictive(posterior, UNIT, CONTEXT, 0, noise=True, target="rate")) == {"eden", "rate"}


def test_noise_adds_variance(posterior):
    seen, free = (predictive(posterior, UNIT, CONTEXT, 0, noise=noise) for noise in (True, False))
    for name in MODEL.nodes:
        assert np.log(seen[name]).var(axis=0).mean() > np.log(free[name]).var(axis=0).mean()


def test_predictions_are_the_same_for_the_same_seed(posterior):
    one, two, other = (predictive(posterior, UNIT, CONTEXT, seed, noise=True)["total"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_predictions_are_joint_over_configurations(posterior):
    """A configuration asked for twice has one noise-free value in each draw, and two noisy ones."""
    twice = np.concatenate([UNIT[:1], UNIT[:1]])
    free = predictive(posterior, twice, CONTEXT, 0, noise=False)
    for name in ("rate", "total", "cost"):
        spread = np.log(free[name]).std(axis=0).mean()
        assert np.abs(np.diff(np.log(free[name]), axis=1)).max() < 0.02 * max(spread, 0.05)
    seen = predictive(posterior, twice, CONTEXT, 0, noise=True)
    assert np.abs(np.diff(np.log(seen["rate"]), axis=1)).mean() > 0.01


def test_a_noise_free_prediction_of_a_root_is_its_own_posterior(posterior):
    """Of a node with no noisy parent: T(y) has the step's moments, no noise of its own."""
    luck = posterior.luck(0)
    mean, variance = posterior.propagate(UNIT, "rate", luck, CONTEXT).objective()
    draws = np.array(
        [np.log(predictive(posterior, UNIT, CONTEXT, s, noise=False)["rate"]) for s in range(60)]
    )
    assert (np.abs(draws.mean(axis=0) - mean) / np.sqrt(variance / 60)).max() < 4.5
    np.testing.assert_allclose(draws.var(axis=0).mean(), variance.mean(), rtol=0.15)


def test_central_draws_have_no_luck_of_the_targets_own_residual(posterior):
    """They are what each draw expects, so two configurations are compared without the residual's sampling
    error: of a root by no luck at all, whatever the seed."""
    mean, variance = posterior.propagate(UNIT, "rate", posterior.luck(0), CONTEXT).objective()
    assert variance.min() > 0
    for seed in (1, 2):
        found = noise_free(posterior, UNIT, CONTEXT, seed, "rate")
        np.testing.assert_allclose(np.log(found.central), mean, rtol=1e-9)
        assert np.abs(np.log(found.draws) - mean).max() > 1e-3
    both = [noise_free(posterior, UNIT, CONTEXT, seed, "total") for seed in range(60)]
    sampled, expected = (np.log(part) for part in zip(*both, strict=True))
    assert expected.var(axis=0).mean() < 0.9 * sampled.var(axis=0).mean()
    error = sampled.std(axis=0) / np.sqrt(60)
    assert (np.abs(sampled.mean(axis=0) - expected.mean(axis=0)) / error).max() < 4.5
    derived = noise_free(posterior, UNIT, CONTEXT, 1, "cost")
    np.testing.assert_array_equal(derived.central, derived.draws)


# -- many rows ----------------------------------------------------------------------------


def test_many_rows_are_fitted_through_inducing_points():
    @boat.node(transform="log", residual=boat.GP(["x", "z"]))
    def smooth(x, z):
        return pm.LogNormal("level", 0, 1) + 0 * x * z

    model = boat.DAGModel(boat.Space(x=boat.Float(0, 1), z=boat.Float(0, 1)), [smooth])
    rng = np.random.default_rng(0)
    unit = rng.uniform(size=(EXACT_ROWS + 100, 2))
    truth = 1 + 0.3 * np.sin(4 * unit[:, 0]) * unit[:, 1]
    many = [
        SimpleNamespace(
            number=i,
            configuration={"x": row[0], "z": row[1]},
            context={},
            measurements={"smooth": float(np.exp(value + 0.1 * rng.normal()))},
        )
        for i, (row, value) in enumerate(zip(unit, truth, strict=True))
    ]
    posterior = Inference(model, 0).posterior(measured(model, many), TINY)
    assert posterior.nodes["smooth"].residual.rows < 100
    mean, variance = posterior.propagate(unit[:50], "smooth", posterior.luck(0)).objective()
    assert np.abs(mean.mean(axis=0) - truth[:50]).max() < 0.1
    assert np.sqrt(variance).mean() < 0.05
    assert 0.08 < posterior.blocks[0].variables["noise"].mean() < 0.12


def test_a_parents_noise_is_averaged_over_and_only_that(posterior):
    """By hand: each replicate propagates the whole DAG again; what no noise reaches is the same in all."""
    names, seed = needed(posterior.model, "total"), 5
    free = predictive(posterior, UNIT, CONTEXT, seed, noise=False, target="total")
    collected = {name: [] for name in names if name in posterior.nodes}
    for luck in posterior.strata([seed, 22], REPLICATES):
        values = dict(posterior.model.inputs(UNIT, CONTEXT))
        for place, name in enumerate(names):
            if name not in posterior.nodes:
                values[name] = posterior.model.evaluate_derived(name, values)
                continue
            step, residual = posterior.step(name, values, UNIT, CONTEXT), posterior.nodes[name].residual
            normals = np.random.default_rng([seed, 23, place]).normal(size=step.mean.shape)
            step = step.known(step.parametric + residual.sample(step.Z, normals))
            collected[name].append(step.mean)
            values[name] = posterior.measured(name, step, luck, len(UNIT))
    for name, replicates in collected.items():
        mean = np.mean(replicates, axis=0)
        expected = posterior.transforms[name].inverse(mean).reshape(free[name].shape)
        np.testing.assert_allclose(free[name], expected, rtol=1e-9)
    assert np.ptp(collected["pause"], axis=0).max() == 0.0
    assert np.ptp(collected["total"], axis=0).max() > 0.0
