"""The Optuna sampler: Optuna's own conformance suite, and what a model adds."""

import re

import numpy as np
import pymc as pm
import pytest

import boatppl as boat

optuna = pytest.importorskip("optuna")

from optuna.testing import pytest_samplers as suite  # noqa: E402

from boatppl.integrations.optuna import BoatSampler, distributions  # noqa: E402

SPACE = boat.Space(
    x=boat.Float(1, 20, log=True, default=2.0),
    y=boat.Integer(0, 10, default=8),
    mode=boat.Categorical(("slow", "fast")),
)


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


class Conforming(suite.BasicSamplerTestCase, suite.RelativeSamplerTestCase, suite.SingleOnlySamplerTestCase):
    """Optuna's suite; a design alone is quick, and the posterior has a test of its own."""

    n_initial: int | None = 30

    @pytest.fixture
    def sampler(self):
        return lambda: BoatSampler(seed=0, n_initial=self.n_initial)


class TestConformance(Conforming):
    pass


@pytest.mark.nightly
class TestConformanceOfThePosterior(Conforming):
    n_initial = 2


def cost(trial):
    x, y = trial.suggest_float("x", 1, 20, log=True), trial.suggest_int("y", 0, 10)
    fast = trial.suggest_categorical("mode", ["slow", "fast"]) == "fast"
    trial.set_user_attr("rate", 30 / x)
    trial.set_user_attr("comment", "no node")
    return 30 / x + 0.5 * x + abs(y - 3) + 2 * (not fast)


@pytest.fixture(scope="module")
def model():
    @boat.node(transform="log")
    def rate(x):
        load = pm.LogNormal("load", 3, 1)
        return load / x

    @boat.node(unit="ms", transform="log")
    def latency(rate, x, y, mode):
        slope = pm.LogNormal("slope", 0, 1)
        return rate + slope * x

    return boat.DAGModel(SPACE, [rate, latency])


def test_a_model_learns_from_user_attributes_and_finds_the_optimum(model):
    sampler = BoatSampler(model, objective="latency", seed=1)
    study = optuna.create_study(sampler=sampler)
    study.optimize(cost, n_trials=14)
    assert study.best_value < 1.1 * 2 * np.sqrt(15)
    (mirror,) = sampler._mirrors.values()
    assert [set(t.measurements) for t in mirror.study.trials.finished] == [{"rate", "latency"}] * 13
    assert study.trials[0].params == SPACE.default
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 14


def test_without_a_model_it_is_a_generic_tuner_in_either_direction():
    study = optuna.create_study(direction="maximize", sampler=BoatSampler(seed=0))
    study.optimize(lambda trial: -((trial.suggest_float("any name", -5, 5) - 1.5) ** 2), n_trials=12)
    assert study.best_value > -0.05


def test_failures_are_learned_pruned_trials_too_and_pending_ones_are_known():
    sampler = BoatSampler(SPACE, seed=0, n_initial=30)
    study = optuna.create_study(sampler=sampler)
    asked = [study.ask(distributions(SPACE)) for _ in range(4)]
    assert len({tuple(trial.params.items()) for trial in asked}) == 4
    study.tell(asked[0], 3.0)
    study.tell(asked[1], state=optuna.trial.TrialState.FAIL)
    study.tell(asked[2], state=optuna.trial.TrialState.PRUNED)
    study.ask(distributions(SPACE))
    (mirror,) = sampler._mirrors.values()
    assert [str(trial.state) for trial in mirror.study.trials] == [
        "complete", "failed", "failed", "running", "running",
    ]  # fmt: skip
    assert len(mirror.study.evidence().failed) == 2


@pytest.mark.parametrize(
    ("reported", "state", "objectives"),
    [
        ({0: 9.0, 3: 7.0}, "complete", [7.0]),
        ({3: 7.0, 0: 9.0}, "complete", [7.0]),
        ({0: float("nan")}, "failed", []),
        ({0: float("inf")}, "failed", []),
        ({}, "failed", []),
    ],
)
def test_a_pruned_trial_counts_with_what_it_reported_last_or_as_failed(reported, state, objectives):
    def pruned(trial):
        trial.suggest_float("x", 1, 20, log=True)
        trial.suggest_int("y", 0, 10)
        trial.suggest_categorical("mode", ["slow", "fast"])
        for step, value in reported.items():
            trial.report(value, step)
        raise optuna.TrialPruned

    study = optuna.create_study(sampler=BoatSampler(SPACE, seed=0, n_initial=30))
    study.optimize(pruned, n_trials=1)
    study.ask(distributions(SPACE))
    (mirror,) = study.sampler._mirrors.values()
    known = mirror.study.evidence()
    assert str(mirror.study.trials[0].state) == state
    assert list(known.objective.values()) == objectives
    assert len(known.failed) == (state == "failed")


def test_where_trials_were_pruned_is_avoided():
    """Pruned above 0.7, where the slope points: there every trial would be, if nothing were learned of it."""

    def climb(trial):
        x = trial.suggest_float("x", 0, 1)
        if x > 0.7:
            raise optuna.TrialPruned
        return x

    sampler = BoatSampler(boat.Space(x=boat.Float(0, 1)), seed=0, n_initial=4)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(climb, n_trials=12)
    assert [trial.params["x"] > 0.75 for trial in study.trials[4:]].count(True) <= 2
    assert study.best_value > 0.65


def suggested(trial, **also):
    trial.suggest_float("x", 1, also.get("high", 20), log=True)
    trial.suggest_int("y", 0, 10)
    trial.suggest_categorical("mode", ["slow", "fast"])
    return [trial.suggest_float(name, 0, 1) for name in also.get("names", ())]


@pytest.mark.parametrize(
    ("also", "sentences"),
    [
        ({}, []),
        ({"names": ["mod", "zz"]}, ["'mod', .* Did you mean 'mode'.* x, y and mode", "'zz', .*at random"]),
        ({"high": 50}, [r"'x' from .*high=50.*; the model's space has .*high=20"]),
        ({"high": 1.5}, [r"'x' from .*high=1.5.*; the model's space has .*high=20"]),
    ],
)
def test_a_parameter_that_the_space_does_not_have_is_drawn_and_warned_of_once(also, sentences, caplog):
    study = optuna.create_study(sampler=BoatSampler(SPACE, seed=0, n_initial=30))
    study.optimize(lambda trial: sum(suggested(trial, **also)), n_trials=3)
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    said = [record.getMessage() for record in caplog.records if record.name == "boatppl"]
    assert len(said) == len(sentences)
    for one, sentence in zip(said, sentences, strict=True):
        assert re.search(sentence, one)


def test_a_parameter_of_an_enqueued_trial_is_warned_of_too(caplog):
    study = optuna.create_study(sampler=BoatSampler(SPACE, seed=0, n_initial=30))
    study.enqueue_trial({"x": 2.0, "y": 3, "mode": "fast", "zz": 0.5})
    study.optimize(lambda trial: sum(suggested(trial, names=["zz"])), n_trials=1)
    assert [record.getMessage().split(",")[0] for record in caplog.records if record.name == "boatppl"] == [
        "Optuna's trial 0 suggests 'zz'"
    ]


def test_without_a_model_no_parameter_is_foreign(caplog):
    study = optuna.create_study(sampler=BoatSampler(seed=0, n_initial=30))
    study.optimize(lambda trial: trial.suggest_float(f"x{trial.number}", 0, 1), n_trials=3)
    assert not [record for record in caplog.records if record.name == "boatppl"]


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        (["rate", "comment"], None),
        ([], None),
        (["comment", "rat"], "trial 0 did not measure rate; .* 'comment' and 'rat' .* Did you mean 'rate'"),
    ],
)
def test_a_misspelt_attribute_is_warned_of_at_the_first_trial(model, attributes, sentence, caplog):
    def run(trial):
        suggested(trial)
        for name in attributes:
            trial.set_user_attr(name, 3.0)
        return 5.0

    study = optuna.create_study(sampler=BoatSampler(model, objective="latency", seed=0, n_initial=30))
    study.optimize(run, n_trials=3)
    said = [record.getMessage() for record in caplog.records if record.name == "boatppl"]
    assert len(said) == (sentence is not None)
    assert all(re.search(sentence, one) for one in said)


def test_a_limit_on_what_is_no_node_is_measured_by_an_attribute():
    def run(trial):
        suggested(trial)
        trial.set_user_attr("memory_mb", 700.0)
        return 5.0

    limits = [boat.limit("memory_mb", upper=800)]
    study = optuna.create_study(sampler=BoatSampler(SPACE, limits=limits, seed=0, n_initial=30))
    study.optimize(run, n_trials=2)
    (mirror,) = study.sampler._mirrors.values()
    assert mirror.study.trials[0].measurements == {"objective": 5.0, "memory_mb": 700.0}


def test_trials_of_another_sampler_are_learned_from(model):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.optimize(cost, n_trials=6)
    study.sampler = BoatSampler(model, objective="latency", seed=0)
    study.optimize(cost, n_trials=2)
    (mirror,) = study.sampler._mirrors.values()
    assert [trial.origin for trial in mirror.study.trials] == ["told"] * 6 + ["default", "suggested"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda model: BoatSampler(model), "objective='p99'"),
        (lambda model: BoatSampler(3), "takes a boat.DAGModel or boat.Space; got 3"),
        (
            lambda model: BoatSampler(boat.Space(share=boat.Simplex(3, dim="m"))),
            "no distribution for the Simplex 'share'",
        ),
        (
            lambda model: BoatSampler(boat.Space(x=boat.Float(0, 1), l=boat.Context(0, 1))),
            "no contexts.* has l",
        ),
    ],
)
def test_what_the_sampler_cannot_do_is_a_sentence(model, make, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        make(model)


def test_a_range_that_no_parameter_has_is_drawn_at_random_and_the_others_are_tuned(caplog):
    def cost(trial):
        trial.suggest_int("bytes", 0, 2**60)
        trial.suggest_float("narrow", 1, 1 + 1e-12)
        return trial.suggest_float("x", 0, 1)

    study = optuna.create_study(sampler=BoatSampler(seed=0, n_initial=6))
    study.optimize(cost, n_trials=4)
    (mirror,) = study.sampler._mirrors.values()
    assert [code.distribution for code in mirror.codes.values()] == [study.trials[0].distributions["x"]]
    assert len(mirror.study.trials) == 4
    assert [message.split()[0] for message in caplog.messages] == ["'bytes'", "'narrow'"]
    assert "Use a larger unit" in caplog.text
