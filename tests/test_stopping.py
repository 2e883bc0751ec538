"""Stopping early and recommending: what is said of the regret is true of simulated systems."""

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.hedge import mixture
from boatppl.regret import Prospect
from boatppl.suggest import Goal

SPACE = boat.Space(x=boat.Float(1, 20, log=True, default=2.0), y=boat.Integer(0, 10, default=8))
IDLE = boat.Space(**SPACE.parameters, idle=boat.Boolean(default=False))
BEST = 2 * np.sqrt(15)  # of 30 / x + x / 2, by hand, at x = sqrt(60); y = 3


@boat.node(unit="1/s", transform="log")
def rate(x):
    load = pm.LogNormal("load", 3, 1)
    return load / x


@boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["x", "y"]))
def cost(rate, x, y):
    slope, height = pm.LogNormal("slope", -1, 1), pm.LogNormal("height", 0, 1)
    return rate + slope * x + height * abs(y - 3)


def truth(configuration):
    x, y = configuration["x"], configuration["y"]
    return 30.0 / x + 0.5 * x + abs(y - 3)


def system(seed, noise):
    rng = np.random.default_rng(seed)

    def run(configuration):
        rate = 30.0 / configuration["x"] * np.exp(noise * rng.normal())
        rest = truth(configuration) - 30.0 / configuration["x"]
        return {"rate": rate, "cost": (rate + rest) * np.exp(noise * rng.normal())}

    return run


def tuned(model, seed, n_trials=25, noise=0.02):
    options = {"minimize": "cost", "random_seed": seed, "progress": False, "control_every": 0}
    rule = boat.stop_when(regret=0.02, probability=0.95)
    return boat.optimize(system(seed, noise), model, n_trials=n_trials, stop=rule, **options)


def structured():
    return boat.DAGModel(SPACE, [rate, cost])


# -- the arithmetic -----------------------------------------------------------------------


def test_the_probability_is_the_weighted_share_of_draws_within_the_regret():
    draws = {
        "a": np.array([[10.0, 10.0], [10.0, 9.9], [10.0, 9.0], [10.0, 11.0]]),  # losses 0, 1 %, 11 %, 0
        "b": np.array([[10.0, 5.0], [10.0, np.nan]]),  # 100 %, 0
    }
    shares = {"a": 0.75, "b": 0.25}
    seen = Prospect(Goal("cost"), np.zeros((2, 1)), 1, draws, shares, mixture(draws, shares))
    assert seen.incumbent == 0
    assert seen.within(0, 0.02, True) == pytest.approx(0.75 * 0.75 + 0.25 * 0.5)
    assert seen.within(0, 0.05, False) == pytest.approx(0.75 * 0.5 + 0.25 * 0.5)
    assert seen.probability(1, 0) == pytest.approx(0.75 * 0.5 + 0.25 * 0.5)
    shares = {"a": 1.0, "b": 0.0}
    up = Prospect(Goal("speed", maximize=True), np.zeros((2, 1)), 1, draws, shares, mixture(draws, shares))
    assert up.within(0, 0.02, True) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"regret": 0}, "regret=.* is above 0, such as 0.02 for 2 %; got 0"),
        ({"regret": "2%"}, "regret=.* is a number; got '2%'"),
        ({"regret": float("nan")}, "regret=.* is above 0"),
        ({"probability": 1.0}, "probability=.* below 1, such as 0.95; got 1.0"),
        ({"probability": 95}, "probability=.* below 1"),
        ({"relative": 1}, "relative=.* is True or False"),
    ],
)
def test_a_rule_that_makes_no_sense_is_a_sentence(options, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        boat.stop_when(**options)


def test_a_stop_that_is_no_rule_is_a_sentence():
    with pytest.raises(boat.ModelError, match=r"stop= is what boat.stop_when\(.*; got 0.02"):
        boat.optimize(truth, SPACE, minimize="cost", n_trials=3, stop=0.02)


# -- a whole session ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return tuned(structured(), seed=0)


def test_a_session_stops_when_the_best_run_is_good_enough_and_says_so(result):
    assert 5 <= result.study.n_counted < 25
    assert result.stopped.startswith(f"after {result.study.n_counted} trials: 9")
    assert result.stopped.endswith("% sure to be within 2 % of the best")
    assert repr(result).splitlines()[-1] == f"stopped {result.stopped}"
    assert truth(result.best_configuration) <= 1.02 * BEST
    assert result.study.probability_within(0.02) >= 0.95
    assert result.study.probability_within(0.0001) < 0.9


def test_a_recommendation_says_how_sure_it_is_and_what_does_not_matter(result):
    found = result.study.recommend()
    assert truth(found.configuration) <= 1.02 * BEST
    assert found.beats_default > 0.95
    assert found.gain[0] < truth(SPACE.default) - truth(found.configuration) < found.gain[2]
    assert found.ratio[1] == pytest.approx(truth(SPACE.default) / BEST, rel=0.1)
    assert found.sure >= 0.9
    assert found.as_good["y"].values == (3,)
    low, high = found.as_good["x"].values[0], found.as_good["x"].values[-1]
    for edge in (low, high):
        assert truth({"x": edge, "y": 3}) < 1.05 * BEST
    lines = repr(found).splitlines()
    assert lines[0].startswith("x ")
    assert "cost" in lines[0]
    assert lines[1].startswith("over 99 % sure that it beats the default (2")
    assert lines[2].endswith("% sure to be within 2 % of the best")


def test_a_parameter_without_effect_does_not_matter_and_contexts_are_asked_for():
    space = boat.Space(x=boat.Float(0, 1, default=0.9), idle=boat.Boolean(), load=boat.Context(0.0, 1.0))

    @boat.node(residual=None, noise=pm.HalfNormal.dist(0.05))
    def loss(x, idle, load):
        slope = pm.Normal("slope", 0, 3)
        return 5 + slope * (x - 0.2 - 0.6 * load) ** 2 + 0.0 * idle

    study = boat.Study(boat.DAGModel(space, [loss]), minimize="loss", random_seed=0, hedge=False)
    rng = np.random.default_rng(0)
    for x in np.linspace(0, 1, 11):
        for load in (0.0, 1.0):
            value = 5 + 4 * (x - 0.2 - 0.6 * load) ** 2 + 0.01 * rng.normal()
            study.tell({"x": x, "idle": x > 0.5}, value, context={"load": load})
    low, high = (study.recommend({"load": load}) for load in (0.0, 1.0))
    assert low.configuration["x"] == pytest.approx(0.2, abs=0.03)
    assert high.configuration["x"] == pytest.approx(0.8, abs=0.03)
    assert low.does_not_matter == ("idle",)
    assert "idle does not matter" in repr(low)


def test_a_share_of_a_negative_objective_does_not_end_the_session():
    def run(configuration):
        return (configuration["x"] - 0.3) ** 2 - 3.0

    options = {"minimize": "loss", "random_seed": 0, "progress": False, "control_every": 0, "n_trials": 7}
    space = boat.Space(x=boat.Float(0, 1, default=0.9))
    result = boat.optimize(run, space, stop=boat.stop_when(0.02), **options)
    assert len(result.trials) == 7
    assert "the stopping rule could not be used" in result.stopped
    assert "relative=False" in result.stopped
    stopped = boat.optimize(
        run, space, stop=boat.stop_when(0.02, relative=False), **{**options, "n_trials": 15}
    )
    assert stopped.stopped.endswith("% sure to be within 0.02 of the best")
    assert run(stopped.best_configuration) <= -2.98


# -- calibration --------------------------------------------------------------------------


def stopped_within(make, seeds, n_trials=40, noise=0.02):
    """Whether the noise-free regret was within 2 % when each session stopped; those that did not are left
    out."""
    results = [tuned(make(), seed, n_trials, noise) for seed in seeds]
    ended = [r for r in results if r.stopped.startswith("after")]
    return [truth(r.best_configuration) <= 1.02 * BEST for r in ended], len(results)


def along_x():
    """The same system at its best y, as one node."""

    @boat.node(transform="log")
    def cost(x):
        load, slope = pm.LogNormal("load", 3, 1), pm.LogNormal("slope", -1, 1)
        return load / x + slope * x

    return boat.DAGModel(SPACE.fix(y=3), [cost])


def nonsense():
    """A formula with the wrong shape altogether: the residual and the generic model must find it out."""

    @boat.node(transform="log")
    def cost(x):
        return pm.LogNormal("scale", 0, 1) * (1 + x) ** 2

    return boat.DAGModel(SPACE.fix(y=3), [cost])


@pytest.mark.nightly
@pytest.mark.parametrize("make", [structured, along_x, nonsense, lambda: SPACE])
def test_the_regret_is_as_promised_in_nine_of_ten_sessions(make):
    kept, n = stopped_within(make, range(100, 140), n_trials=60)
    assert len(kept) >= 0.9 * n
    assert np.mean(kept) >= 0.9


@pytest.mark.nightly
def test_noise_delays_the_end_and_does_not_break_the_promise():
    quiet, _ = stopped_within(along_x, range(100, 120), noise=0.02)
    loud, _ = stopped_within(along_x, range(100, 120), n_trials=30, noise=0.1)
    assert len(loud) <= len(quiet)
    assert np.mean(loud or [True]) >= 0.9
