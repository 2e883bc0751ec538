"""The scale that a node of which nothing is known finds for its measurements."""

import numpy as np
import pymc as pm
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

import boatppl as boat
from benchmarks.functions import goldstein
from boatppl.dag import generic_model
from boatppl.fit import Inference
from boatppl.gp.kernel import KINDS, correlation_matrix
from boatppl.infer import Chains
from boatppl.table import measured, tables
from boatppl.transform import Transform
from boatppl.trial import State, Trial
from boatppl.warp import (
    EXACT,
    LENGTHSCALES,
    NOISES,
    _evidence,
    _spectra,
    compared,
    likeliest,
    standardised,
    warped,
)

GROUPS = np.arange(2)
TINY = Chains(draws=10, tune=60, chains=2, target_accept=0.8, max_treedepth=5, dispersed=False)


def smooth(rng, n=30):
    """Inputs ``(n, 2)``, and a Gaussian process at them ``(n,)``."""
    Z = rng.uniform(size=(n, 2))
    covariance = correlation_matrix(KINDS["matern52"], Z, Z, GROUPS, np.array([0.4, 0.4]))
    return Z, rng.multivariate_normal(np.zeros(n), covariance + 1e-6 * np.eye(n))


def chosen(values, Z):
    return warped(values, "matern52", Z, GROUPS)


def test_evidence_is_the_density_with_level_and_amplitude_at_their_best():
    Z, g = smooth(np.random.default_rng(0), n=12)
    values = 3.0 + np.exp(g)
    transform = Transform("asinh", anchor=3.1, unit=0.2)
    densities = []
    for length in LENGTHSCALES:
        lengthscale = np.full(2, length * np.sqrt(2))
        correlation = correlation_matrix(KINDS["matern52"], Z, Z, GROUPS, lengthscale)
        for noise in NOISES:
            shape = correlation + noise**2 * np.eye(12)

            def loss(unknowns, shape=shape):
                level, log_amplitude = unknowns
                normal = multivariate_normal(np.full(12, level), np.exp(2 * log_amplitude) * shape)
                return -normal.logpdf(np.arcsinh((values - 3.1) / 0.2))

            densities.append(-minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8}).fun)
    # d asinh(u) / dy = 1 / sqrt((y - anchor)^2 + unit^2)
    jacobian = -0.5 * np.log((values - 3.1) ** 2 + 0.2**2).sum()
    expected = np.logaddexp.reduce(densities) + jacobian
    constant = -0.5 * 12 * (1 + np.log(2 * np.pi))  # the same for every scale
    found = _evidence(transform, values, list(_spectra("matern52", Z, GROUPS)))
    assert found + constant == pytest.approx(expected, abs=1e-3)


def test_evidence_does_not_depend_on_the_unit_of_location_and_spread():
    Z, g = smooth(np.random.default_rng(1))
    values, spectra = np.exp(g), list(_spectra("matern52", Z, GROUPS))
    plain, moved = Transform("log"), standardised(Transform("log"), values)
    assert _evidence(plain, values, spectra) == pytest.approx(_evidence(moved, values, spectra))


@pytest.mark.parametrize(
    ("measure", "bends"),
    [
        (lambda g: 100.0 + 5.0 * g, False),
        (lambda g: np.exp(2.0 * g), True),
        (lambda g: -7.0 - np.exp(2.0 * g), True),  # a deep hole below a plain: logarithmic from above
        (lambda g: np.sinh(3.0 * g), True),  # heavy tails on both sides
    ],
)
def test_a_scale_bends_where_the_measurements_do(measure, bends):
    found = []
    for seed in range(20):
        Z, g = smooth(np.random.default_rng(seed))
        found.append(chosen(measure(g), Z).kind is not None)
    assert np.mean(found) >= 0.85 if bends else np.mean(found) <= 0.15


def test_held_out_values_are_likelier_on_the_scale_that_was_found():
    """Of measurements that vary by factors, rows that the choice has not seen."""
    gained = []
    for seed in range(10):
        Z, g = smooth(np.random.default_rng([seed, 1]), n=60)
        values = np.exp(2.0 * g)
        spectra = list(_spectra("matern52", Z, GROUPS))
        seen = list(_spectra("matern52", Z[:30], GROUPS))
        bent, natural = chosen(values[:30], Z[:30]), standardised(Transform(), values[:30])
        later = [_evidence(t, values, spectra) - _evidence(t, values[:30], seen) for t in (bent, natural)]
        gained.append(later[0] - later[1])
    assert min(gained) > 10.0  # nats for 30 rows


def test_the_choice_does_not_depend_on_the_unit():
    Z, g = smooth(np.random.default_rng(3))
    for values in (np.exp(2.0 * g), np.sinh(3.0 * g)):
        one, thousand = chosen(values, Z), chosen(1000.0 * values, Z)
        np.testing.assert_allclose(
            one.forward(values), thousand.forward(1000.0 * values), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("values", [[], [4.0], [1.0] * 12, [1.0, -1.0] * 6, [0.0] * 9 + [1.0, 2.0, 1e6]])
def test_few_different_values_say_nothing(values):
    values = np.array(values)
    found = chosen(values, np.linspace(0, 1, 2 * len(values)).reshape(len(values), 2))
    assert (found.kind, found.anchor, found.unit) == (None, 0.0, 1.0)
    assert np.isfinite(found.forward(values)).all()


def test_many_rows_are_compared_by_a_part_of_them_and_all_are_standardised():
    Z, g = smooth(np.random.default_rng(4), n=60)
    Z, values = np.tile(Z, (20, 1)), np.exp(2.0 * np.tile(g, 20))
    found = chosen(values, Z)
    assert found.kind is not None
    assert np.mean(found.forward(values)) == pytest.approx(0.0, abs=1e-9)
    assert np.std(found.forward(values)) == pytest.approx(1.0)


# -- in a model ---------------------------------------------------------------------------

SPACE = boat.Space(a=boat.Float(-2, 2), b=boat.Float(-2, 2))


def table_of(model, name, values):
    """The table of a node, given its measurements at a design."""
    trials = [
        Trial(
            number,
            configuration,
            {},
            State.COMPLETE,
            {part: float(column[number]) for part, column in values.items()},
        )
        for number, configuration in enumerate(SPACE.design(len(values[name]), 0))
    ]
    return tables(model, measured(model, trials))[name]


def by_factors():
    return np.array([np.exp(3.0 * c["a"] + np.sin(4.0 * c["b"])) for c in SPACE.design(30, 0)])


def test_a_generic_node_is_on_the_scale_that_its_rows_speak_for():
    table = table_of(generic_model(SPACE, "cost"), "cost", {"cost": by_factors()})
    assert table.transform.kind is not None
    np.testing.assert_allclose(table.y, table.transform.forward(table.natural))
    np.testing.assert_allclose(table.transform.inverse(table.y), by_factors(), rtol=1e-9)
    assert (np.mean(table.y), np.std(table.y)) == pytest.approx((0.0, 1.0))


@pytest.mark.parametrize("transform", ["sqrt", "log1p"])
def test_a_scale_that_is_said_is_kept(transform):
    model = boat.DAGModel(SPACE, [boat.generic("cost", ["a", "b"], transform=transform)])
    assert table_of(model, "cost", {"cost": by_factors()}).transform.kind == transform


@pytest.mark.parametrize(
    ("quantity", "kinds"),
    [
        (lambda z: z, {None}),
        (lambda z: z**2, {"root", "asinh"}),
        (lambda z: np.exp(9.0 * z), {"asinh"}),
        (lambda z: -np.exp(9.0 * z), {None}),  # nothing is known of where it ends
    ],
)
def test_a_quantity_is_compared_on_the_scale_in_which_the_child_is_smooth(quantity, kinds):
    """The child is a Gaussian process of one input, and of the root or logarithm of a quantity, or of it."""
    found = []
    for seed in range(30):
        Z, g = smooth(np.random.default_rng(seed))
        values = 3.0 * quantity(0.1 + 0.9 * Z[:, 1])
        options = [standardised(Transform(), values), *compared(values)]
        inputs = [np.column_stack([Z[:, 0], option.forward(values) / 4 + 0.5]) for option in options]
        found.append(options[likeliest(g, "matern52", inputs, GROUPS, EXACT)].kind)
    assert np.mean([kind in kinds for kind in found]) >= 0.8


def test_scales_of_a_compared_quantity_go_on_where_nothing_was_measured():
    values = np.array([3.0, 5.0, 9.0, 20.0, 80.0])
    for scale in compared(values):
        there = np.linspace(-100.0, 300.0, 4001)
        bent = scale.forward(there)
        assert (np.diff(bent) > 0).all()
        np.testing.assert_allclose(scale.inverse(bent), there, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.gradient(bent, there)[1:-1], scale.slope(there)[1:-1], rtol=0.1)
    assert compared(values[:4]) == []
    assert compared(values - 3.0) == []


def test_a_square_has_its_slope_and_stops_at_0():
    square = standardised(Transform("square"), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    there = np.linspace(0.5, 6.0, 100)
    np.testing.assert_allclose(square.inverse(square.forward(there)), there)
    np.testing.assert_allclose(np.gradient(square.forward(there), there)[1:-1], square.slope(there)[1:-1])
    assert square.inverse(np.array([-50.0])) == 0.0
    assert np.isnan(square.forward(np.array([-1.0])))


# A cone is smooth in its square; what is a function of its fourth power is smooth in a root of that.
CONE = boat.DAGModel(
    SPACE,
    [
        boat.generic("radius", ["a", "b"], kernel="expquad", noise=0),
        boat.generic("power", ["a", "b"], kernel="expquad", noise=0),
        boat.generic("total", ["radius", "power"], kernel="expquad", noise=0),
    ],
)


def cone(n=30):
    found = []
    for number, configuration in enumerate(SPACE.design(n, 0)):
        radius = float(np.hypot(configuration["a"], configuration["b"]))
        power = (0.3 + configuration["a"] ** 2) ** 4
        values = {"radius": radius, "power": power, "total": radius + 2 * float(np.sin(power**0.25))}
        found.append(Trial(number, configuration, {}, State.COMPLETE, values))
    return found


def test_nodes_of_a_network_find_their_scales_apart_from_each_other():
    """What a node's residual compares is no longer bent by its parents' own scales."""
    found = tables(CONE, measured(CONE, cone()))
    assert found["radius"].transform.kind == "square"
    assert {name: scale.kind for name, scale in found["total"].scales.items()} == {
        "radius": None,
        "power": "asinh",
    }


def test_bent_nodes_predict_what_was_measured_and_their_slopes_are_those_of_the_prediction():
    trials = cone()
    posterior = Inference(CONE, 0).posterior(measured(CONE, trials), TINY)
    unit = SPACE.encode([trial.configuration for trial in trials])
    luck = posterior.luck(1)
    mean, _ = posterior.propagate(unit, "total", luck).objective()
    told = posterior.nodes["total"].table.y
    np.testing.assert_allclose(mean, np.broadcast_to(told, mean.shape), atol=0.05)
    there = 0.1 + 0.8 * SPACE.sample(5, 3)
    forward = posterior.propagate(there, "total", luck)
    slopes = posterior.pullback(
        forward,
        luck,
        *(np.full_like(moment, w) for moment, w in zip(forward.objective(), (1.0, 0.0), strict=True)),
    )
    for axis, step in enumerate(1e-5 * np.eye(2)):
        up, down = (
            posterior.propagate(there + s, "total", luck).objective()[0].sum(axis=0) for s in (step, -step)
        )
        np.testing.assert_allclose(
            slopes[:, axis], (up - down) / 2e-5, rtol=1e-3, atol=1e-3 * np.abs(slopes).max()
        )


def test_a_node_with_a_formula_stays_on_its_scale():
    @boat.node
    def cost(a):
        return pm.Normal("slope", 0.0, 10.0) * a

    model = boat.DAGModel(SPACE, [cost])
    assert table_of(model, "cost", {"cost": by_factors()}).transform == Transform()


def test_bounded_rows_of_a_censored_node_are_on_the_same_scale():
    model = boat.DAGModel(SPACE, [boat.generic("cost", ["a", "b"], unit="s", censored=True)])
    design = SPACE.design(30, 0)
    trials = [
        Trial(number, configuration, {}, State.COMPLETE, {"cost": float(value)})
        for number, (configuration, value) in enumerate(zip(design, by_factors(), strict=True))
    ]
    slow = Trial(30, {"a": 2.0, "b": 0.4}, {}, State.TIMED_OUT, timeout=2000.0)
    table = tables(model, measured(model, [*trials, slow]))["cost"]
    assert table.transform.kind is not None
    np.testing.assert_allclose(table.whole.y[-1], table.transform.forward(np.array(2000.0)))


def goldstein_run(configuration):
    return goldstein(np.array([configuration["a"], configuration["b"]]))


def test_an_objective_of_many_orders_of_magnitude_is_optimised():
    found = []
    for seed in range(3):
        study = boat.optimize(goldstein_run, SPACE, minimize="value", n_trials=30, random_seed=seed).study
        found.append(min(trial.measurements["value"] for trial in study.trials.finished))
    assert np.median(found) < 4.0  # on the natural scale: 10 and more
