"""The diagnosis: evidence that is what it says, planted faults that are named, right models left alone."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats

import boatppl as boat
from benchmarks.faults import diagnosed, named, tried
from benchmarks.faulty_systems import SYSTEMS, cluster_cases, collector_cases
from boatppl.diagnose import CAUSES
from boatppl.diagnose import components as c
from boatppl.diagnose.diagnose import MOST, thinned
from boatppl.diagnose.formula import conflict, formula_of
from boatppl.fit import Inference
from boatppl.propagate import NodeDraws
from boatppl.table import measured, tables

CASES = {case.kind: case for case in collector_cases()}


# -- components ---------------------------------------------------------------------------


def test_the_gain_is_the_difference_of_restricted_likelihoods():
    rng = np.random.default_rng(0)
    X, u = rng.normal(size=(20, 2)), rng.uniform(size=(20, 1))
    residual = rng.normal(size=20) + 2 * np.sin(5 * u[:, 0])
    known = c.base(np.exp(0.3 * rng.normal(size=20)), X)
    K = c.scaled(c.smooth(u), known.Q)
    nats, variance = c.gain(known, residual, K)
    wider = c.with_component(known, K, variance)
    assert nats == pytest.approx(c.log_likelihood(wider, residual) - c.log_likelihood(known, residual))
    assert nats > 3
    # and it does not depend on what the formula can follow
    assert c.gain(known, residual + X @ [3.0, -2.0], K)[0] == pytest.approx(nats)


def test_the_restricted_likelihood_is_that_of_the_error_contrasts():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    known = c.with_component(c.base(np.ones(12), X), c.smooth(rng.uniform(size=(12, 1))), 2.0)
    s2 = known.variance(y)
    S = s2 * known.Q.T @ known.C @ known.Q
    exact = stats.multivariate_normal(np.zeros(9), S).logpdf(known.Q.T @ y)
    other = c.with_component(known, np.eye(12), 1.0)
    S2 = other.variance(y) * other.Q.T @ other.C @ other.Q
    exact2 = stats.multivariate_normal(np.zeros(9), S2).logpdf(other.Q.T @ y)
    assert c.log_likelihood(other, y) - c.log_likelihood(known, y) == pytest.approx(exact2 - exact)


def test_left_out_errors_are_those_of_least_squares_without_the_row():
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(10, 2)), rng.normal(size=10)
    known = c.base(np.ones(10), X)
    found = c.left_out(known, y)
    keep = np.arange(10) != 4
    beta = np.linalg.lstsq(X[keep], y[keep], rcond=None)[0]
    leverage = X[4] @ np.linalg.solve(X[keep].T @ X[keep], X[4])
    expected = (y[4] - X[4] @ beta) / np.sqrt(known.variance(y) * (1 + leverage))
    assert found[4] == pytest.approx(expected)


def test_chance_is_no_evidence():
    """Of one cause named beforehand, pure noise gives more than 3.5 nats in less than 1 % of cases."""
    rng = np.random.default_rng(3)
    u, X = np.linspace(0, 1, 30)[:, None], np.ones((30, 1))
    known = c.base(np.ones(30), X)
    K = c.scaled(c.smooth(u), known.Q)
    gains = [c.gain(known, rng.normal(size=30), K)[0] for _ in range(600)]
    uneven = [c.uneven(known, rng.normal(size=30), 2 * u[:, 0])[0] for _ in range(200)]
    tails = []
    for _ in range(600):
        errors = rng.normal(size=30)
        tails.append(c.heavy_density(errors)[0] - c.normal_density(errors))
    for found in (gains, uneven, tails):
        assert np.mean(np.array(found) > 3.5) < 0.015


@pytest.fixture(scope="module")
def right_inference():
    return Inference(CASES["right"].model, 0)


# -- planted faults -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["right", "missing parameter", "outliers", "drift", "parent error", "prior too short"]
)
def test_a_planted_fault_is_named_first(kind, right_inference):
    wrong_model = kind == "prior too short"  # in the others the system is what was changed
    found = diagnosed(CASES[kind], seed=1, runs=24, inference=None if wrong_model else right_inference)
    assert named(CASES[kind], found), found
    assert all(finding.cause in CAUSES for finding in found)


@pytest.mark.parametrize(
    ("system", "kind", "seed"),
    [
        ("solver", "regime", 0),  # a small share of the variance, far above the noise
        ("broker", "wrong power", 2),  # a shape that two inputs share, one of them measured
        ("web", "missing whole number", 0),  # an effect that depends on the node's own input
    ],
)
def test_faults_that_were_once_missed_are_named_first(system, kind, seed):
    [case] = [case for case in SYSTEMS[system]() if case.kind == kind]
    found = diagnosed(case, seed)
    assert named(case, found), found


@pytest.mark.nightly
def test_planted_faults_are_named_first_and_right_models_left_alone():
    """Over every kind of fault on all systems: more than 200 cases."""
    planted, right = [], []
    for make in SYSTEMS.values():
        for case in make():
            seeds = range(20) if case.node is None else range(3)
            (right if case.node is None else planted).extend(tried(case, seeds))
    assert planted.count(None) >= 0.9 * len(planted), planted
    assert right.count(None) >= 0.95 * len(right), right


def test_the_error_end_to_end_is_attributed_along_the_dag():
    """A parent that no model can predict takes the error with it when its truth is known."""

    @boat.node(transform="log")
    def wild(x):
        return pm.LogNormal("level", 0, 1) * (1 + x)

    @boat.node(transform="log")
    def tame(x):
        return pm.LogNormal("height", 0, 1) + x

    @boat.derived
    def both(wild, tame):
        return wild + tame

    model = boat.DAGModel(boat.Space(x=boat.Float(0, 1)), [wild, tame, both])
    study, rng = boat.Study(model, minimize="both", random_seed=0), np.random.default_rng(0)
    for configuration in model.space.design(10, 0):
        x = configuration["x"]
        study.tell(
            configuration,
            {"wild": (1 + x) * np.exp(0.5 * rng.normal()), "tame": (1 + x) * np.exp(0.02 * rng.normal())},
        )
    found = study.diagnose()
    assert found.attribution["wild"] > 0.9
    assert found.attribution["tame"] < 0.2
    assert "wild" in repr(found).splitlines()[-1]


def machines_model():
    """Machines whose speeds are unknown, each by itself: the formula can follow whatever differs by
    machine."""

    @boat.shared(dims="machine", unit="1/s")
    def speed(cores):
        return pm.LogNormal("own_speed", pt.log(5 * cores), 0.6, dims="machine")

    @boat.node(over="machine", transform="log", residual=boat.GP(["load"]))
    def busy(load, speed):
        return pm.LogNormal("overhead", -2, 1) + load / speed

    @boat.derived
    def slowest(busy):
        return busy.max()

    @boat.node(transform="log", residual=None)
    def iteration(slowest):
        return slowest + pm.LogNormal("update", -2, 1)

    cores = np.array([1.0, 2.0, 2.0, 4.0, 8.0, 8.0])
    return boat.DAGModel(
        boat.Space(load=boat.Float(10, 1000, log=True)),
        [speed, busy, slowest, iteration],
        coords={"machine": list("abcdef")},
        data={"cores": ("machine", cores)},
    )


def machines_run(configuration, rng, broken=None):
    speeds = np.array([4.0, 15.0, 8.0, 30.0, 30.0, 50.0])
    busy = (0.1 + configuration["load"] / speeds) * np.exp(0.03 * rng.normal(size=6))
    if broken is not None:  # it stands still now and then
        busy[broken] *= np.exp(0.8 * rng.normal())
        busy[1] = np.nan  # and this one did not work
    slowest = np.nanmax(busy)
    return {"busy": busy, "iteration": (slowest + 0.1) * np.exp(0.02 * rng.normal())}


def test_what_a_formula_can_follow_is_no_fault_of_it():
    model, rng = machines_model(), np.random.default_rng(0)
    study = boat.Study(model, minimize="iteration", random_seed=0, hedge=False)
    for configuration in model.space.design(12, 0):
        study.tell(configuration, machines_run(configuration, rng))
    assert not len(study.diagnose())


def test_the_error_is_attributed_to_a_vector_of_which_some_elements_were_not_measured():
    model, rng = machines_model(), np.random.default_rng(0)
    study = boat.Study(model, minimize="iteration", random_seed=0, hedge=False)
    for configuration in model.space.design(10, 0):
        study.tell(configuration, machines_run(configuration, rng, broken=0))
    assert study.diagnose().attribution["busy"] > 0.8


def test_large_tables_are_thinned_by_whole_trials():
    case = next(case for case in cluster_cases() if case.kind == "right")
    rng, trials = np.random.default_rng(0), []
    for number, configuration in enumerate(case.model.space.design(80, 0)):
        trial = boat.Trial(number, configuration)
        trials.append(trial.finish(boat.State.COMPLETE, case.run(configuration, number, rng)))
    [table] = [tables(case.model, measured(case.model, trials))["compute"]]
    fewer = thinned(NodeDraws(case.model.nodes["compute"], table, {}, None)).table
    assert len(table) == 320
    assert MOST - 8 <= len(fewer) <= MOST
    assert set(np.unique(fewer.trials, return_counts=True)[1]) == {4}
    assert fewer.trials.min() == 0
    assert fewer.trials.max() == 79


def two_nodes_share(model_of_both):
    """A study of ``first``, twice x, and of ``second``, half as much again, with what both share."""
    space = boat.Space(x=boat.Float(1, 10))
    study = boat.Study(boat.DAGModel(space, model_of_both), minimize="second", random_seed=0, hedge=False)
    rng = np.random.default_rng(0)
    for configuration in space.design(10, 0):
        x = configuration["x"]
        first = 2 * x + rng.normal() / 50
        study.tell(configuration, {"first": first, "second": 1.5 * first + rng.normal() / 50})
    return study


def test_what_nodes_share_and_do_not_need_is_said_once():
    @boat.shared
    def idle():
        return pm.LogNormal("idle", -3, 1)

    @boat.node(residual=None)
    def first(x, idle):
        return pm.Normal("slope", 2, 1) * x + 1e-6 * idle

    @boat.node(residual=None)
    def second(first, idle):
        return pm.Normal("more", 1, 1) * first + 1e-6 * idle

    found = two_nodes_share([idle, first, second]).diagnose()
    assert [(finding.node, finding.cause, finding.what) for finding in found] == [
        ("first", "unidentified", "idle")
    ]


def test_a_prior_is_not_blamed_for_a_fit_far_off_that_it_allows_elsewhere():
    """Height 3 at a scale of 0.35 is the same formula as height 1 at any scale of 5 and more, but for its
    slopes: by those the way back into the prior looks dear."""
    space = boat.Space(x=boat.Float(1, 10))

    @boat.node(residual=None)
    def y(x):
        height, scale = pm.LogNormal("height", 0, 0.5), pm.LogNormal("scale", np.log(10), 0.3)
        return height * pt.tanh(scale) * x

    model, trials = boat.DAGModel(space, [y]), []
    for number, configuration in enumerate(space.design(10, 0)):
        measurements = {"y": configuration["x"] + 0.01 * (-1) ** number}
        trials.append(boat.Trial(number, configuration).finish(boat.State.COMPLETE, measurements))
    posterior = Inference(model, 0).posterior(measured(model, trials))
    formula = formula_of(model, posterior.nodes["y"], posterior.blocks[0], 0)
    assert formula.labels == ("height", "scale")
    root = np.eye(10) / 0.01
    allowed = conflict(formula, np.array([3.0, np.arctanh(1 / 3)]), root, 10)
    assert allowed is not None
    assert allowed.label == "scale"
    assert allowed.nats < 0.01
    sure = replace(formula, prior=formula.prior * [0.001, 1.0])  # a height of 1 is out of its reach
    ruled_out = conflict(sure, sure.fit(root), root, 10)
    assert ruled_out is not None
    assert ruled_out.label == "height"
    assert ruled_out.nats > 20


# -- what it says -------------------------------------------------------------------------


def test_it_prints_sentences_worst_first():
    case = CASES["prior too short"]
    found = diagnosed(case, seed=0, runs=16, inference=Inference(case.model, 0))
    assert found[0].what == "malloc"
    assert found[0].number == pytest.approx(300, rel=0.2)  # MB/s, as it really is
    assert repr(found).startswith("1. gc_rate: the measurements want malloc = ")
    assert "Widen the prior of malloc" in repr(found)
    assert "<li><b>gc_rate</b>" in found._repr_html_()
    assert list(found.to_dataframe()["nats"]) == sorted((f.nats for f in found), reverse=True)


def test_too_few_runs_are_an_error():
    study = boat.Study(CASES["right"].model, minimize="p99")
    with pytest.raises(boat.ModelError, match="at least 8 finished runs"):
        study.diagnose()
