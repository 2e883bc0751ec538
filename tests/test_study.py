import sys

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pytensor.raise_op import Assert

import boatppl as boat
from boatppl.storage import StorageError


def noisy(configuration, rng):
    """A system whose rate follows load / capacity and whose cost adds a penalty; noise of 5 %."""
    x, y = configuration["x"], configuration["y"]
    rate = 30.0 / x * np.exp(0.05 * rng.normal())
    return {"rate": rate, "cost": (rate + 0.5 * x + abs(y - 3)) * np.exp(0.05 * rng.normal())}


@pytest.fixture(scope="module")
def space():
    return boat.Space(x=boat.Float(1, 20, log=True, default=2.0), y=boat.Integer(0, 10, default=8))


@pytest.fixture(scope="module")
def model(space):
    @boat.node(transform="log")
    def rate(x):
        load = pm.LogNormal("load", 3, 1)
        return load / x

    @boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["x", "y"]))
    def cost(rate, x):
        slope = pm.LogNormal("slope", 0, 1)
        return rate + slope * x

    return boat.DAGModel(space, [rate, cost])


def play(study, n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, noisy(trial.configuration, rng))
    return study


def configurations(study):
    return [trial.configuration for trial in study.trials]


def test_the_default_comes_first_and_configurations_never_repeat(model):
    study = play(boat.Study(model, minimize="cost", random_seed=3), 8)
    assert configurations(study)[0] == model.space.default
    assert [trial.origin for trial in study.trials[:3]] == ["default", "suggested", "design"]
    assert all(trial.origin == "suggested" for trial in study.trials[3:])
    assert len({tuple(c.items()) for c in configurations(study)}) == 8


def test_same_log_and_seed_give_the_same_suggestions_bit_for_bit(model):
    first, second = (play(boat.Study(model, minimize="cost", random_seed=3), 6) for _ in range(2))
    assert configurations(first) == configurations(second)
    other = play(boat.Study(model, minimize="cost", random_seed=4), 6)
    assert configurations(first) != configurations(other)


def test_a_resumed_study_goes_on_as_if_it_had_not_stopped(model, tmp_path):
    whole = play(boat.Study(model, minimize="cost", random_seed=3), 4)
    path = tmp_path / "study.db"
    rng = np.random.default_rng(0)
    for _ in range(4):  # a new study object, and a new compilation, for every trial
        study = boat.Study(model, minimize="cost", storage=path, random_seed=3)
        trial = study.ask()
        study.tell(trial, noisy(trial.configuration, rng))
    resumed = boat.Study(model, minimize="cost", storage=path)
    assert resumed.random_seed == 3
    assert configurations(resumed) == configurations(whole)
    assert resumed.ask().configuration == whole.ask().configuration


def test_the_optimum_of_a_structured_problem_is_found_in_few_trials(model):
    study = play(boat.Study(model, minimize="cost", random_seed=1), 12)
    best = study.best
    truth = lambda c: 30 / c["x"] + 0.5 * c["x"] + abs(c["y"] - 3)  # noqa: E731
    assert truth(best.configuration) < 1.15 * 2 * np.sqrt(15)  # the minimum, by hand, at x = sqrt(60), y = 3
    assert truth(model.space.default) > 2 * truth(best.configuration)
    low, high = best.interval  # of 90 %: by chance the truth is just outside, never far away
    assert low - (high - low) < truth(best.configuration) < high + (high - low)
    assert best.ratio[0] > 1.5


def test_of_the_initial_trials_the_developers_model_proposes_the_second(model):
    """Knowledge may know a good region before any run; no rival is judged by it."""
    study = play(boat.Study(model, minimize="cost", random_seed=1), 4)
    assert [trial.origin for trial in study.trials] == ["default", "suggested", "design", "suggested"]
    assert study.trials[1].suggestion["proposed_by"] == "structured"
    assert study.rivals.scored(study.trials, study.evidence().objective) == [study.trials[3]]
    generic = play(boat.Study(model.space, minimize="cost", random_seed=1), 4)
    assert [trial.origin for trial in generic.trials] == ["default", "design", "design", "design"]


def test_maximising_the_negative_finds_what_minimising_finds(space):
    def run(c):
        return (np.log(c["x"]) - 1) ** 2 + (c["y"] - 4) ** 2 / 10

    down = boat.Study(space, minimize="loss", random_seed=2)
    up = boat.Study(space, maximize="gain", random_seed=2)
    for study, sign in ((down, 1), (up, -1)):
        for _ in range(14):
            trial = study.ask()
            study.tell(trial, sign * run(trial.configuration))
    assert configurations(down)[:4] == configurations(up)[:4]  # before any posterior
    assert run(down.best.configuration) < 0.05
    assert run(up.best.configuration) < 0.05
    assert up.best.value == pytest.approx(-down.best.value, abs=0.05)


def test_four_pending_trials_are_four_different_sensible_ones(model):
    study = play(boat.Study(model, minimize="cost", random_seed=5), 5)
    batch = study.ask(4)
    assert len({tuple(t.configuration.items()) for t in batch}) == 4
    unit = model.space.encode([t.configuration for t in batch])
    assert np.abs(unit[:, None] - unit[None]).max(-1)[np.triu_indices(4, 1)].min() > 0.02
    assert all(trial.is_running for trial in study.trials[5:])
    rng = np.random.default_rng(1)
    for trial in reversed(batch):  # the order of telling does not matter
        study.tell(trial, noisy(trial.configuration, rng))
    assert len(study.trials.finished) == 9


def test_telling_twice_changes_nothing_and_contradicting_raises(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    trial = study.ask()
    told = study.tell(trial, {"rate": 3.0, "cost": 12.0})
    assert study.tell(trial, {"rate": 3.0, "cost": 12.0}) == told
    with pytest.raises(StorageError, match="finished trial never changes"):
        study.tell(trial, {"rate": 3.0, "cost": 13.0})
    assert len(study.trials) == 1


def test_runs_made_elsewhere_always_add_a_trial_and_are_marked_out_of_range(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    study.tell({"x": 40.0, "y": 3}, {"rate": 1.0, "cost": 21.0})
    study.tell({"x": 4.0, "y": 3}, {"rate": 7.0, "cost": 9.0})
    study.tell({"x": 4.0, "y": 3}, {"rate": 7.0, "cost": 9.0})
    assert [t.marks for t in study.trials] == [("out of range",), (), ()]
    assert study.best.configuration == {"x": 4.0, "y": 3}
    with pytest.raises(ValueError, match="Did you mean"):
        study.tell({"x": 4.0, "yy": 3}, 1.0)


def test_partial_measurements_are_used_where_they_can_be_and_said(model):
    study = play(boat.Study(model, minimize="cost", random_seed=0), 4)
    trial = study.tell({"x": 5.0, "y": 1}, {"cost": 11.0})
    assert trial.state is boat.State.PARTIAL
    assert study.unused() == ["1 of 5 rows of cost unused: rate missing"]
    assert repr(study).splitlines()[1:] == ["  1 of 5 rows of cost unused: rate missing"]
    generic = study.rivals.posterior("generic", study.evidence().trials, study.evidence().objective)
    assert len(generic.nodes["cost"].table) == 5  # not out of the generic model
    study.tell({"x": 6.0, "y": 1}, {"rate": 5.5, "elsewhere": 3.0})  # a name for later models is kept
    assert study.trials[-1].measurements["elsewhere"] == 3.0
    assert study.ask().origin == "suggested"


def test_failed_configurations_are_not_suggested_again(model):
    study = play(boat.Study(model, minimize="cost", random_seed=0), 4)
    failed = study.ask()
    study.fail(failed, "the server crashed")
    again = study.ask()
    assert again.configuration != failed.configuration
    distance = model.space.encode([failed.configuration]) - model.space.encode([again.configuration])
    assert np.abs(distance).max() > 0.02


def test_a_measurement_outside_its_transform_names_the_node_and_changes_nothing(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    trial = study.ask()
    with pytest.raises(boat.MeasurementError, match=r"rate .*transform 'log' needs values above 0"):
        study.tell(trial, {"rate": 0.0, "cost": 1.0})
    with pytest.raises(boat.MeasurementError, match="Did you mean 'cost'"):
        study.tell(trial, {"rate": 1.0, "costs": 1.0})
    assert study.trials[0].is_running


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "one of the two"),
        ({"minimize": "cost", "maximize": "cost"}, "one of the two"),
        ({"minimize": "cots"}, "Did you mean 'cost'"),
    ],
)
def test_an_objective_that_cannot_be_is_refused_before_any_trial(model, options, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        boat.Study(model, **options)


def test_a_vector_is_no_objective_until_it_is_reduced():
    @boat.node(over="machine", transform="log")
    def seconds(load):
        return pm.LogNormal("per_load", 0, 1) * load

    @boat.derived
    def slowest(seconds):
        return seconds.max()

    space = boat.Space(load=boat.Float(1, 10))
    model = boat.DAGModel(space, [seconds, slowest], coords={"machine": ["a", "b"]})
    with pytest.raises(boat.ModelError, match=r"'seconds' is a vector along .*machine.*Reduce it with"):
        boat.Study(model, minimize="seconds")
    assert boat.Study(model, minimize="slowest").ask().configuration


def test_the_best_of_nothing_is_a_sentence(model):
    with pytest.raises(boat.ModelError, match="no trial"):
        _ = boat.Study(model, minimize="cost").best


def test_predictions_have_the_promised_shape_and_shrink_without_noise(model):
    study = play(boat.Study(model, minimize="cost", random_seed=0), 8)
    rows = [{"x": 2.0, "y": 3}, {"x": 8.0, "y": 3}]
    noisy_draws, free = study.predict(rows), study.predict(rows, noise=False)
    assert noisy_draws["rate"].dims == ("sample", "configuration")
    assert noisy_draws["cost"].attrs["unit"] == "ms"
    truth = [30 / 2 + 1, 30 / 8 + 4]
    assert free["cost"].median("sample").values == pytest.approx(truth, rel=0.15)
    assert float(np.log(noisy_draws["cost"]).std("sample").mean()) > float(
        np.log(free["cost"]).std("sample").mean()
    )


def test_an_intervention_cuts_a_node_from_its_causes(model):
    study = play(boat.Study(model, minimize="cost", random_seed=0), 8)
    rows = [{"x": 2.0, "y": 3}, {"x": 8.0, "y": 3}]
    held = study.predict(rows, do={"rate": 5.0}, noise=False)
    assert (held["rate"].values == 5.0).all()
    truth = [5 + 1, 5 + 4]
    assert held["cost"].median("sample").values == pytest.approx(truth, rel=0.15)
    seen = study.predict(rows, do={"rate": 5.0})
    assert (seen["rate"].values == 5.0).all()  # held, so without noise of its own
    assert not np.array_equal(seen["cost"], held["cost"])
    nothing = study.predict(rows, do={"cost": 1.0}, noise=False)  # effects do not act on their causes
    np.testing.assert_array_equal(nothing["rate"], study.predict(rows, noise=False)["rate"])


@pytest.mark.parametrize(
    ("do", "sentence"),
    [
        ({"x": 2.0}, r"do= holds nodes .* 'x' is a parameter. Put it into the configuration"),
        ({"rat": 2.0}, "got 'rat'. Did you mean 'rate'"),
        ({"rate": -1.0}, "do= holds 'rate' at above 0.*; got -1.0"),
        ({"rate": [1.0, 2.0]}, r"do= holds 'rate' at .*; got \[1.0, 2.0\]"),
        ({"rate": "low"}, "do= holds 'rate' at .*; got 'low'"),
        ({"rate": np.nan}, "do= holds 'rate' at .*; got nan"),
    ],
)
def test_what_cannot_be_held_is_a_sentence(model, do, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        boat.Study(model, minimize="cost", random_seed=0).predict([{"x": 2.0, "y": 3}], do=do)


def test_derived_and_vector_quantities_can_be_held():
    space = boat.Space(x=boat.Float(1, 4))

    @boat.node(over="machine")
    def load(x):
        return pm.Normal("level", 0, 1) + x

    @boat.derived
    def total(load):
        return load.sum()

    @boat.node(residual=None)
    def loss(total):
        return total

    dag = boat.DAGModel(space, [load, total, loss], coords={"machine": ["a", "b"]})
    study = boat.Study(dag, minimize="loss", random_seed=0)
    draws = study.predict([{"x": 2.0}], do={"load": [1.0, 2.0]}, noise=False)
    assert (draws["total"].values == 3.0).all()
    assert (study.predict([{"x": 2.0}], do={"total": 7.0}, noise=False)["loss"].values == 7.0).all()
    with pytest.raises(boat.ModelError, match=r"of shape \(2,\); got 1.0"):
        study.predict([{"x": 2.0}], do={"load": 1.0})


def test_no_run_waits_for_a_forecast_that_cannot_be_made(caplog):
    space = boat.Space(x=boat.Float(0, 1, default=0.123))

    @boat.node(transform="log")
    def loss(x):
        return Assert("x is never 0.123")(pm.LogNormal("level", 0, 1), pt.neq(x, 0.123))

    study = boat.Study(boat.DAGModel(space, [loss]), minimize="loss", random_seed=0)
    trial = study.ask()
    assert trial.configuration == {"x": 0.123}
    assert trial.suggestion is None
    assert "could not be said (AssertionError: x is never 0.123" in caplog.text


def test_the_first_trials_say_what_the_priors_say(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    default = study.ask()
    assert study.rivals.inference["structured"].compilations == 0  # the first trial waits for no compiler
    assert default.suggestion["prior"]
    known = default.suggestion["predicted"]
    # by simulation: load ~ LogNormal(3, 1), slope ~ LogNormal(0, 1), cost = load / x + slope x at x = 2
    rng = np.random.default_rng(0)
    cost = np.exp(3 + rng.normal(size=10_000)) / 2 + 2 * np.exp(rng.normal(size=10_000))
    assert known["median"] == pytest.approx(np.median(cost), rel=0.5)
    assert known["low"] < np.quantile(cost, 0.1)
    assert known["high"] > np.quantile(cost, 0.9)
    study.tell(default, {"rate": 15.0, "cost": 21.0})
    study.tell(study.ask(), {"rate": 8.0, "cost": 12.0})
    third = study.ask()
    assert third.origin == "design"
    assert third.suggestion["prior"]
    study.tell(third, {"rate": 5.0, "cost": 11.0})
    objective = study.evidence().objective
    assert len(study.rivals.history(study.trials, objective)) == 1  # a prior is no forecast: it is not scored
    generic = boat.Study(model.space, minimize="cost", random_seed=0)
    assert generic.ask().suggestion is None  # it has no prior in the objective's unit


def test_before_any_trial_predictions_are_the_prior(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    draws = study.predict([{"x": 2.0, "y": 3}, {"x": 8.0, "y": 3}])
    logs = np.log(draws["rate"].values)  # load ~ LogNormal(3, 1), divided by x
    assert np.median(logs[:, 0]) == pytest.approx(3 - np.log(2), abs=0.5)
    assert np.median(logs[:, 0] - logs[:, 1]) == pytest.approx(np.log(4), abs=0.3)
    assert 0.7 < logs[:, 0].std() < 1.5


def test_a_derived_objective_is_optimised(space):
    @boat.node(transform="log")
    def rate(x):
        load = pm.LogNormal("load", 3, 1)
        return load / x

    @boat.derived
    def bill(rate, x, y):
        return rate + 0.5 * x + (y - 3) ** 2

    study = boat.Study(boat.DAGModel(space, [rate, bill]), minimize="bill", random_seed=1)
    rng = np.random.default_rng(0)
    for _ in range(7):
        trial = study.ask()
        study.tell(trial, {"rate": 30 / trial.configuration["x"] * np.exp(0.02 * rng.normal())})
    best = study.best
    assert best.configuration["y"] == 3
    assert 5 < best.configuration["x"] < 12
    assert best.value == pytest.approx(2 * np.sqrt(15), rel=0.1)


def test_every_kind_of_parameter_can_be_tuned_generically():
    space = boat.Space(
        gc=boat.Categorical(["serial", "g1", "z"], default="serial"),
        pause=boat.Integer(1, 100, log=True, when={"gc": "g1"}),
        heap=boat.Ordinal([64, 128, 256]),
        fast=boat.Boolean(default=False),
        shares=boat.Simplex(3),
        level=boat.Float(0, 1),
    ).constrain(lambda heap, level: heap * level < 200)

    def run(c):
        base = {"serial": 3.0, "g1": 1.0 + abs(np.log(c["pause"] / 10)), "z": 2.0}[c["gc"]]
        return base + (c["heap"] != 128) + (not c["fast"]) + 3 * abs(c["shares"][0] - 0.5) + c["level"]

    study = boat.Study(space, minimize="seconds", random_seed=0)
    for _ in range(22):
        trial = study.ask()
        assert space.feasible_configuration(trial.configuration)
        study.tell(trial, run(trial.configuration))
    assert study.best.value < 2.6  # the default costs 6, the best 1
    assert study.best.configuration["fast"]


def test_a_context_is_given_to_ask_and_changes_what_is_best():
    space = boat.Space(x=boat.Float(0, 1, default=0.5), load=boat.Context(0.0, 1.0))
    study = boat.Study(space, minimize="loss", random_seed=0)
    rng = np.random.default_rng(0)
    for i in range(16):
        trial = study.ask(context={"load": i % 2})
        study.tell(
            trial, (trial.configuration["x"] - 0.2 - 0.6 * trial.context["load"]) ** 2 + 0.01 * rng.normal()
        )
    for load, place in ((0.0, 0.2), (1.0, 0.8)):
        draws = study.predict([{"x": place}, {"x": 1 - place}], context={"load": load}, noise=False)[
            "loss"
        ].median("sample")
        assert draws[0] < draws[1] - 0.2
    with pytest.raises(ValueError, match="load"):
        study.ask()


def test_what_is_best_depends_on_the_context():
    space = boat.Space(x=boat.Float(0, 1, default=0.5), load=boat.Context(0.0, 1.0))
    study = boat.Study(space, minimize="loss", random_seed=0)
    for load in (0.0, 1.0):
        for x in np.linspace(0, 1, 6):
            study.tell({"x": x}, 1 + (x - 0.2 - 0.6 * load) ** 2, context={"load": load})
    low, high = study.incumbent({"load": 0.0}), study.incumbent({"load": 1.0})
    assert (low.configuration["x"], high.configuration["x"]) == (0.2, 0.8)
    assert (low.measured, high.measured) == (1.0, 1.0)
    assert study.best == high  # where nothing is said it is the last run's
    between = study.incumbent({"load": 0.5})
    assert between.measured is None  # nothing was run there
    assert between.interval[0] < 1.01 < between.interval[1]
    with pytest.raises(ValueError, match="Did you mean 'load'"):
        study.incumbent({"laod": 0.5})


def test_a_context_that_was_measured_with_the_run_is_checked():
    space = boat.Space(x=boat.Float(0, 1, default=0.5), load=boat.Context(0.0, 1.0))
    study = boat.Study(space, minimize="loss", random_seed=0)
    trial = study.ask(context={"load": 0.5})
    with pytest.raises(ValueError, match="Did you mean 'load'"):
        study.tell(trial, 1.0, context={"laod": 0.4})
    with pytest.raises(TypeError, match="load must be a number"):
        study.tell(trial, 1.0, context={"load": "high"})
    assert study.trials[0].is_running
    assert study.tell(trial, 1.0, context={"load": 0.4}).context == {"load": 0.4}


def test_the_generic_model_takes_a_transform_and_robustness():
    space = boat.Space(x=boat.Float(0, 1, default=0.9))
    study = boat.Study(space, minimize="p99", transform="log", robust=True, random_seed=0)
    node = study.model["p99"].graph.node
    assert (node.transform, node.robust) == ("log", True)
    with pytest.raises(boat.MeasurementError, match="above 0"):
        study.tell(study.ask(), -1.0)
    for x in np.linspace(0, 1, 8):
        study.tell({"x": x}, 10 ** (4 * x))
    draws = study.predict([{"x": 0.05}])["p99"]
    assert (draws > 0).all()
    assert 1.0 < draws.median() < 3.0  # 1.58; without the transform it is lost beside 10,000
    with pytest.raises(boat.ModelError, match=r"Did you mean 'log'"):
        boat.Study(space, minimize="p99", transform="logg")
    with pytest.raises(boat.ModelError, match=r"robust= .* True or False; got 'yes'"):
        boat.Study(space, minimize="p99", robust="yes")


def test_a_model_says_its_transforms_itself(model):
    with pytest.raises(boat.ModelError, match=r"@boat.node\(transform='log'"):
        boat.Study(model, minimize="cost", transform="log")


@pytest.mark.parametrize("acquisition", ["expected improvement", "thompson", "posterior mean"])
def test_a_small_space_may_be_run_through_and_then_the_best_ones_again(acquisition):
    space = boat.Space(mode=boat.Categorical(["a", "b", "c", "d", "e"]))
    study = boat.Study(space, minimize="loss", random_seed=0, acquisition=acquisition)
    truth, rng = {"a": 2.0, "b": 1.0, "c": 9.0, "d": 9.5, "e": 1.02}, np.random.default_rng(0)
    for _ in range(13):
        trial = study.ask()
        study.tell(trial, truth[trial.configuration["mode"]] + 0.1 * rng.normal())
    again = [trial.configuration["mode"] for trial in study.trials[5:]]
    assert set(again) <= {"a", "b", "e"}  # what cannot be the best teaches nothing
    assert min(again.count("b"), again.count("e")) >= 3  # never one of them over and over
    known = study.trials[-1].suggestion
    assert known["repeated"] >= 3
    assert 2 <= known["among"] <= 3
    pending = [trial.configuration["mode"] for trial in study.ask(2)]
    assert len(set(pending)) == 2  # a run that is under way counts


def test_repetitions_respect_what_fails():
    study = boat.Study(boat.Space(mode=boat.Categorical(["a", "b", "c"])), minimize="loss", random_seed=0)
    for _ in range(9):
        trial = study.ask()
        mode = trial.configuration["mode"]
        study.fail(trial, "crash") if mode == "c" else study.tell(trial, {"a": 2.0, "b": 1.0}[mode])
    assert [trial.configuration["mode"] for trial in study.trials].count("c") == 1


@pytest.mark.parametrize("acquisition", ["thompson", "posterior mean"])
def test_other_acquisitions_find_the_optimum_too(model, acquisition):
    study = play(boat.Study(model, minimize="cost", random_seed=2, acquisition=acquisition), 12)
    assert len({tuple(c.items()) for c in configurations(study)}) == 12
    x, y = study.best.configuration.values()
    assert 30 / x + 0.5 * x + abs(y - 3) < 1.5 * 2 * np.sqrt(15)  # exploiting alone may stay beside it
    with pytest.raises(boat.ModelError, match="Did you mean 'thompson'"):
        boat.Study(model, minimize="cost", acquisition="tompson")


def test_a_node_that_no_run_measures_is_named_and_nothing_is_made_up(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    for _ in range(3):
        study.tell(study.ask(), {"cost": 3.0})
    with pytest.raises(boat.ModelError, match=r"rate: never measured in 3 runs, which returned cost"):
        study.ask()
    generic = boat.Study(model.space, minimize="loss", random_seed=0, n_initial=2)
    for _ in range(2):
        generic.tell(generic.ask(), {"latency_ms": 3.0})
    with pytest.raises(boat.ModelError, match=r"loss: never measured in 2 runs, which returned latency_ms"):
        generic.ask()


def test_only_configurations_that_may_be_run_become_the_incumbent(space):
    limited = space.constrain(lambda x, y: x + y < 25)
    study = boat.Study(limited, minimize="loss", random_seed=0)
    study.tell({"x": 3.0, "y": 3}, 5.0)
    study.tell({"x": 4.0, "y": 4}, 6.0)
    study.tell({"x": 50.0, "y": 3}, -100.0)
    study.tell({"x": 19.0, "y": 9}, -100.0)
    assert study.best.configuration == {"x": 3.0, "y": 3}
    assert [trial.marks for trial in study.trials[2:]] == [
        ("out of range", "violates a constraint"),
        ("violates a constraint",),
    ]


def test_what_is_told_must_be_a_trial_of_this_study(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    trial = study.ask()
    with pytest.raises(boat.ModelError, match=r"study.tell\(configuration, measurements\)"):
        study.tell(boat.Trial(trial.number, {"x": 1.5, "y": 1}), {"cost": 1.0})
    with pytest.raises(boat.MeasurementError, match="nothing was measured"):
        study.tell(trial, {})
    assert study.trials[0].configuration == trial.configuration


def test_failures_are_learned_by_the_parameter_that_causes_them():
    names = {f"p{i}": boat.Float(0, 1, default=0.5) for i in range(3)}
    study = boat.Study(boat.Space(b=boat.Integer(1, 64, default=8), **names), maximize="rate", random_seed=0)
    for _ in range(20):
        trial = study.ask()
        if trial.configuration["b"] > 40:
            study.fail(trial, "out of memory")
        else:
            study.tell(trial, trial.configuration["b"] ** 0.7)
    failed = [trial.number for trial in study.trials if trial.state is boat.State.FAILED]
    assert len(failed) <= 9
    reckless = [t for t in study.trials[12:] if t.configuration["b"] >= 50]
    assert len(reckless) <= 3  # beside the edge is where the gain is; far beyond it is not
    assert study.best.configuration["b"] > 30


def test_a_second_process_sees_what_the_first_one_did(model, tmp_path):
    path = tmp_path / "study.db"
    first, second = (boat.Study(model, minimize="cost", storage=path, random_seed=0) for _ in range(2))
    one = first.ask()
    other = second.ask()
    assert other.number == 1
    assert other.configuration != one.configuration
    second.tell(one, {"rate": 15.0, "cost": 21.0})
    assert len(first.ask().configuration) == 2
    assert len(first.trials.finished) == 1


def test_a_late_result_of_a_trial_that_was_given_up_is_kept(model):
    study = boat.Study(model, minimize="cost", random_seed=0)
    trial = study.ask()
    study.fail(trial, "lost", boat.State.ABORTED)
    late = study.tell(trial, {"rate": 15.0, "cost": 21.0})
    assert (late.number, late.marks, late.configuration) == (1, ("late",), trial.configuration)


def test_a_new_parameter_finds_old_trials_at_its_default(tmp_path):
    path = tmp_path / "study.db"
    old = boat.Study(boat.Space(x=boat.Float(0, 1)), minimize="loss", storage=path, random_seed=0)
    for _ in range(4):
        trial = old.ask()
        old.tell(trial, trial.configuration["x"] ** 2)
    wider = boat.Space(x=boat.Float(0, 1), z=boat.Integer(0, 5, default=2))
    study = boat.Study(wider, minimize="loss", storage=path)
    assert all(trial.configuration["z"] == 2 and trial.marks == ("before z",) for trial in study.trials)
    assert set(study.ask().configuration) == {"x", "z"}


def reopened(path, space, **options):
    return boat.Study(space, minimize="loss", storage=path, random_seed=0, **options)


@pytest.fixture
def of_old(tmp_path):
    """A study of five runs along x, with the collector g1 in every second one."""
    path = tmp_path / "study.db"
    study = reopened(path, boat.Space(x=boat.Float(0, 1), gc=boat.Categorical(["serial", "g1", "z"])))
    for i in range(5):
        study.tell({"x": i / 4, "gc": ("serial", "g1")[i % 2]}, (i / 4 - 0.25) ** 2)
    return path


def test_old_runs_outside_a_narrower_range_are_kept_and_marked(of_old):
    study = reopened(of_old, boat.Space(x=boat.Float(0, 0.6), gc=boat.Categorical(["serial", "g1", "z"])))
    assert [trial.marks for trial in study.trials] == [(), (), (), ("out of range",), ("out of range",)]
    assert [trial.configuration["x"] for trial in study.trials] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len(study.evidence().trials) == 5  # still learned from
    assert study.ask().configuration["x"] <= 0.6
    again = reopened(of_old, boat.Space(x=boat.Float(0, 1), gc=boat.Categorical(["serial", "g1", "z"])))
    assert all(trial.marks == () for trial in again.trials)  # the store did not change


def test_runs_with_a_choice_that_is_gone_are_kept_but_not_learned_from(of_old):
    study = reopened(of_old, boat.Space(x=boat.Float(0, 1), gc=boat.Categorical(["serial", "z"])))
    assert [trial.marks for trial in study.trials][:2] == [(), ("outside the space",)]
    assert study.trials[1].configuration["gc"] == "g1"
    assert [trial.number for trial in study.evidence().trials] == [0, 2, 4]
    assert study.best.configuration["gc"] == "serial"
    for _ in range(3):
        trial = study.ask()
        study.tell(trial, trial.configuration["x"])


def test_a_fixed_parameter_leaves_only_the_runs_at_its_value(of_old):
    space = boat.Space(x=boat.Float(0, 1), gc=boat.Categorical(["serial", "g1", "z"])).fix(gc="g1")
    study = reopened(of_old, space)
    assert [trial.number for trial in study.evidence().trials] == [1, 3]


def test_a_parameter_that_is_gone_is_marked(of_old):
    study = reopened(of_old, boat.Space(x=boat.Float(0, 1)))
    assert study.trials[1].marks == ("with gc=g1",)
    assert study.trials[1].configuration == {"x": 0.25}
    assert study.tell(study.trials[1], (0.25 - 0.25) ** 2).number == 1  # telling again changes nothing
    assert study.best.configuration == {"x": 0.25}


def test_a_measurement_of_another_shape_is_left_out(tmp_path):
    path = tmp_path / "study.db"
    old = reopened(path, boat.Space(x=boat.Float(0, 1)))
    for i in range(4):
        old.tell({"x": i / 3}, {"loss": i, "load": 1.0})
    space = boat.Space(x=boat.Float(0, 1))

    @boat.node(over="machine")
    def load(x):
        return pm.Normal("load_level", 0, 1) + x

    @boat.node
    def loss(load):
        return pm.Normal("slope", 0, 1) * load.sum()

    study = reopened(path, boat.DAGModel(space, [load, loss], coords={"machine": ["a", "b"]}))
    assert study.trials[0].marks == ("load of another shape",)
    assert study.unused() == ["4 of 4 rows of loss unused: load missing"]


@pytest.mark.parametrize(
    "options", [{"random_seed": -1}, {"random_seed": 1.5}, {"n_initial": -3}, {"n_initial": True}]
)
def test_counts_are_counts(model, options):
    with pytest.raises(boat.ModelError, match="whole number"):
        boat.Study(model, minimize="cost", **options)
    with pytest.raises(boat.ModelError, match="whole number"):
        boat.Study(model, minimize="cost").ask(0)


def test_a_space_with_nothing_left_to_tune_is_refused(space):
    with pytest.raises(boat.ModelError, match="nothing to tune"):
        boat.Study(space.fix(x=2.0, y=3), minimize="loss")


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_unit_of_the_objective_does_not_matter(scale):
    study = boat.Study(boat.Space(x=boat.Float(0, 1, default=0.9)), minimize="loss", random_seed=0)
    for _ in range(10):
        trial = study.ask()
        study.tell(trial, scale * (1.0 + (trial.configuration["x"] - 0.3) ** 2))
    assert study.best.value == pytest.approx(scale, rel=0.02)
    assert study.best.configuration["x"] == pytest.approx(0.3, abs=0.06)


def test_gains_are_ratios_only_of_positive_quantities():
    study = boat.Study(boat.Space(x=boat.Float(0, 1, default=0.9)), minimize="loss", random_seed=0)
    for _ in range(9):
        trial = study.ask()
        study.tell(trial, (trial.configuration["x"] - 0.3) ** 2 - 3.0)
    best = study.best
    assert best.ratio is None
    assert best.gain[1] == pytest.approx(0.36, abs=0.05)


def test_a_study_that_goes_on_with_another_seed_says_so(space, tmp_path, caplog):
    for seed in (1, None, 1, 7):
        boat.Study(space, minimize="cost", storage=tmp_path / "study.db", random_seed=seed)
    assert caplog.messages == ["study 'study' began with random_seed=1 and goes on with 7"]


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "zero\0", "half \ud800", 3])
def test_a_name_is_a_text_of_one_line(space, name):
    with pytest.raises(boat.ModelError, match="a text of one line such as 'study'"):
        boat.Study(space, minimize="cost", name=name)


def test_a_penalty_that_nothing_can_be_learned_beside_is_refused(space):
    study = boat.Study(space, minimize="cost")
    with pytest.raises(boat.MeasurementError, match=r"cost: expected at most 1e\+100 in size, got 1\.79"):
        study.tell(space.default, sys.float_info.max)
    assert study.tell(space.default, -1e100).state is boat.State.COMPLETE
