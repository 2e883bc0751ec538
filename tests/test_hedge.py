import json
from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from scipy.integrate import quad
from scipy.stats import gaussian_kde, lognorm

import boatppl as boat
from boatppl.averaged import Provided
from boatppl.hedge import LEAST, Forecast, forecast_run, quantiles, weights
from boatppl.predict import predictive
from boatppl.suggest import Improvement, Proposer, Runs
from boatppl.transform import Transform

PRIOR = {"structured": 0.8, "generic": 0.2}


def test_a_forecast_is_a_density_in_the_natural_unit():
    forecast = Forecast(Transform("log", 0.5, 2.0), (0.1, 0.7), (0.3, 0.2))
    total, _ = quad(lambda y: np.exp(forecast.log_density(y)), 1e-6, 200, limit=400)
    assert total == pytest.approx(1.0, abs=1e-6)
    one = Forecast(Transform("log"), (1.0,), (0.5,))
    assert one.log_density(3.0) == pytest.approx(lognorm(0.5, scale=np.e).logpdf(3.0))
    assert one.log_density(-1.0) == -np.inf


@pytest.mark.parametrize("maximize", [False, True])
def test_a_score_is_proper_and_blind_to_how_bad_a_bad_run_was_said_to_be(maximize):
    true, worst = Forecast(Transform("log"), (1.0,), (0.5,)), 3.5
    others = [
        Forecast(Transform("log"), (m,), (s,)) for m, s in ((1.3, 0.5), (0.8, 0.5), (1.0, 0.2), (1.0, 1.0))
    ]

    def expected(forecast):
        def each(y):
            return np.exp(true.log_density(y)) * forecast.log_score(y, worst, maximize)

        return sum(quad(each, *ends, limit=200)[0] for ends in ((1e-3, worst), (worst, 60.0)))

    assert all(expected(other) < expected(true) - 0.01 for other in others)
    bad = (1.0, 2.0) if maximize else (5.0, 500.0)
    assert len({true.log_score(y, worst, maximize) for y in bad}) == 1
    assert np.exp(true.log_score(bad[0], worst, maximize)) == pytest.approx(
        lognorm(0.5, scale=np.e).cdf(worst) if maximize else lognorm(0.5, scale=np.e).sf(worst)
    )
    assert true.log_score(bad[0], None, maximize) == true.log_density(bad[0])


def test_a_forecast_survives_the_log():
    forecast = Forecast(Transform("sqrt", 0.1, 3.0), (0.1, 0.7), (0.3, 0.2))
    assert Forecast.from_record(json.loads(json.dumps(forecast.to_record()))) == forecast


def test_a_forecast_through_uncertain_parents_is_no_bundle_of_spikes():
    """A child that nothing scatters: all doubt is the parent's, and every draw has sampled that."""

    @boat.node(residual=boat.GP(inputs=["x"], amplitude=pm.HalfNormal.dist(2.0)))
    def part(x):
        return pm.Normal("level", 0.0, 1.0) + 0.0 * x

    @boat.node(residual=None, noise=pm.HalfNormal.dist(1e-4))
    def whole(part):
        return pm.Normal("offset", 0.0, 1e-3) + part

    model = boat.DAGModel(boat.Space(x=boat.Float(0, 1)), [part, whole])
    study = boat.Study(model, minimize="whole", random_seed=0, hedge=False)
    for x in (0.3, 0.35, 0.4, 0.5):
        study.tell({"x": x}, {"part": float(np.sin(9 * x)), "whole": float(np.sin(9 * x))})
    known = study.evidence()
    posterior = study.rivals.posterior(study.rivals.first, known.trials, known.objective)
    forecast = forecast_run(posterior, study.goal, np.array([1.0]), seed=0)
    said = np.concatenate([posterior_draws(posterior, seed) for seed in range(20)])
    density = gaussian_kde(said)
    likely = said[::10]
    scores = [forecast.log_density(value) for value in likely]
    assert np.mean(scores) == pytest.approx(np.mean(density.logpdf(likely)), abs=0.15)
    assert min(scores) > -8.0


def posterior_draws(posterior, seed):
    """Draws of the last node at x = 1, with other luck for every seed."""
    return predictive(posterior, np.array([[1.0]]), {}, 1000 + seed, noise=True, target="whole")["whole"][
        :, 0
    ]


def test_quantiles_are_those_of_the_weighted_mixture():
    forecasts = {"a": Forecast(Transform(), (0.0,), (1.0,)), "b": Forecast(Transform(), (10.0,), (1.0,))}
    low, high = quantiles(forecasts, {"a": 0.75, "b": 0.25}, 0, (0.5, 0.9))
    assert low == pytest.approx(0.43, abs=0.15)  # the 2/3 point of a standard normal
    assert high == pytest.approx(10 + 0.25, abs=0.2)  # the 60 % point of the other


def test_weights_follow_the_scores_and_keep_a_floor():
    assert weights([], PRIOR) == pytest.approx({"structured": 0.77, "generic": 0.23})
    good = [{"structured": -1.0, "generic": -2.0}] * 6
    assert weights(good, PRIOR)["structured"] > 0.9
    bad = [{"structured": -9.0, "generic": -1.0}] * 30
    found = weights(bad, PRIOR)
    assert found["structured"] == pytest.approx(LEAST)
    assert sum(found.values()) == pytest.approx(1.0)


def test_one_bad_run_is_no_verdict_but_many_are():
    once = [{"structured": -np.inf, "generic": -1.0}]
    assert weights(once, PRIOR)["structured"] > 0.4
    assert weights(once * 6, PRIOR)["structured"] < 0.1


SPACE = boat.Space(x=boat.Float(1, 20, log=True, default=2.0), y=boat.Integer(0, 10, default=8))


@boat.node(transform="log")
def rate(x):
    load = pm.LogNormal("load", 3, 1)
    return load / x


@boat.node(transform="log")
def cost(rate, x, y):
    slope, height = pm.LogNormal("slope", -1, 1), pm.LogNormal("height", 0, 1)
    return rate + slope * x + height * abs(y - 3)


@boat.node(transform="log")
def nonsense(x, y):
    scale = pm.LogNormal("scale", 0, 1)
    return scale * (1 + x) ** 2 / (1 + y)


NONSENSE = replace(nonsense, name="cost")


def system(configuration, rng):
    x, y = configuration["x"], configuration["y"]
    rate = 30.0 / x * np.exp(0.03 * rng.normal())
    return {"rate": rate, "cost": (rate + 0.5 * x + abs(y - 3)) * np.exp(0.03 * rng.normal())}


def played(model, n):
    study, rng = boat.Study(model, minimize="cost", random_seed=1), np.random.default_rng(0)
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, system(trial.configuration, rng))
    return study


def test_a_right_model_is_listened_to():
    study = played(boat.DAGModel(SPACE, [rate, cost]), 16)
    assert study.weights["structured"] > 0.85
    assert {trial.suggestion["proposed_by"] for trial in study.trials[3:]} <= {"structured", "generic"}


def test_a_nonsense_model_is_given_up_and_the_optimum_is_found_all_the_same():
    wrong = boat.Study(boat.DAGModel(SPACE, [NONSENSE]), minimize="cost", random_seed=1)
    rng = np.random.default_rng(0)
    for _ in range(22):
        trial = wrong.ask()
        wrong.tell(trial, system(trial.configuration, rng))
    assert wrong.weights["generic"] > 0.6
    x, y = wrong.best.configuration.values()
    assert 30 / x + 0.5 * x + abs(y - 3) < 1.3 * 2 * np.sqrt(15)


GATED = boat.Space(
    **SPACE.parameters, on=boat.Boolean(default=False), z=boat.Float(0, 1, when={"on": True})
).constrain(lambda x, y: x + y < 25)


def test_what_the_proposing_model_does_not_see_is_chosen_by_the_one_that_does(monkeypatch):
    """``y`` is nobody's but the generic model's, however little that one is listened to."""
    monkeypatch.setattr("boatppl.rivals.PRIOR_OF_GENERIC", 0.01)
    model = boat.DAGModel(GATED, [replace(rate, name="cost")])
    study, rng = boat.Study(model, minimize="cost", random_seed=1), np.random.default_rng(0)
    for _ in range(16):
        trial = study.ask()
        study.tell(trial, system(trial.configuration, rng)["cost"])
    late = [trial for trial in study.trials[8:] if trial.suggestion["proposed_by"] == "structured"]
    for trial in late:  # the model gives up no more of its own proposals than both weights allow
        kept, shares = trial.suggestion["second_opinion"]["generic"], trial.suggestion["weights"]
        assert 1 - shares["generic"] * shares["structured"] <= kept <= 1
        assert "; proposed by structured with generic" in trial.why
    assert np.mean([abs(trial.configuration["y"] - 3) for trial in late]) < 2.5  # 4 where nobody chooses


def test_in_what_the_generic_model_proposes_the_developers_has_its_full_say():
    model = boat.DAGModel(GATED, [rate, cost])
    study, rng = boat.Study(model, minimize="cost", random_seed=4), np.random.default_rng(4)
    said = []
    for _ in range(14):
        trial = study.ask()
        study.tell(trial, system(trial.configuration, rng))
        if trial.suggestion.get("proposed_by") == "generic" and "second_opinion" in trial.suggestion:
            said.append((trial.suggestion["second_opinion"]["structured"], trial.suggestion["weights"]))
    assert all(1 - shares["structured"] - 1e-9 <= kept for kept, shares in said)
    assert any(kept < 1 - shares["structured"] * shares["generic"] for kept, shares in said)


@pytest.mark.parametrize("given", [0.001, 0.5])
def test_a_second_opinion_is_the_best_of_what_is_nearly_as_good_to_the_first(given):
    study = played(boat.DAGModel(GATED, [rate, cost]), 8)
    known = study.evidence()
    own, other = (study.rivals.posterior(n, known.trials, known.objective) for n in study.rivals.models)
    measured = GATED.encode([trial.configuration for trial in study.trials])
    runs = Runs(measured, measured[:0], measured)
    one, another = Proposer(own, study.goal, runs, 5), Proposer(other, study.goal, runs, 5)
    first = one.suggest()
    found, kept = one.agreed(another, first, given)
    mine, its = one.improvement, another.improvement
    assert 1 - given <= kept <= 1
    assert np.exp(mine(found.unit[None]) - mine(first.unit[None]))[0] == pytest.approx(kept, abs=1e-6)
    assert its(found.unit[None])[0] >= its(first.unit[None])[0]
    others = GATED.sample(4000, 1)
    enough = mine(others) >= mine(first.unit[None]) + np.log1p(-given)
    if given == 0.5:
        assert enough.any()
        assert its(found.unit[None])[0] > its(first.unit[None])[0] + 0.01
        assert its(found.unit[None])[0] >= its(others[enough]).max() - 1e-3


@pytest.mark.parametrize("heard", [0.05, 0.5, 0.95])
def test_who_is_hardly_heard_is_overruled_as_little_as_who_is_heard_most(heard):
    """Else a right model that lost its weight could not prove itself in the few proposals that it has."""
    study = played(boat.DAGModel(GATED, [rate, cost]), 8)
    known = study.evidence()
    posteriors = study.rivals.posteriors(known.trials, known.objective)
    measured = GATED.encode([trial.configuration for trial in study.trials])
    runs = Runs(measured, measured[:0], measured)
    shares = {"structured": heard, "generic": 1 - heard}
    _, said = study.rivals.suggest(
        posteriors, shares, "structured", runs, 5, {}, acquisition="expected improvement", alone=False
    )
    assert 1 - heard * (1 - heard) <= said["second_opinion"]["generic"] <= 1.0


def test_a_second_opinion_that_is_absurdly_sure_breaks_no_promise():
    """Where it sees no gain at all, or one beyond measure, the first's is still kept."""
    study = played(boat.DAGModel(GATED, [rate, cost]), 8)
    known = study.evidence()
    own = study.rivals.posterior("structured", known.trials, known.objective)
    score = Improvement(own, study.goal, GATED.encode([GATED.default]), np.zeros((0, GATED.dimension)), 5)

    class Sure:
        def __call__(self, unit):
            return -1e6 * unit[:, 0]

        def with_gradient(self, unit):
            return self(unit), np.tile(-1e6 * np.eye(unit.shape[1])[0], (len(unit), 1))

    rows = GATED.sample(64, 2)
    least = float(np.median(score(rows)))
    both = Provided(Sure(), score, least)
    values, slopes = both.with_gradient(rows)
    np.testing.assert_array_equal(values, both(rows))
    enough = score(rows) >= least
    assert values[enough].min() > values[~enough].max()
    assert rows[values.argmax(), 0] == rows[enough, 0].min()
    np.testing.assert_array_equal(slopes[~enough], score.with_gradient(rows)[1][~enough])


def test_runs_worse_than_the_default_count_alike():
    """A model that knows where it is good is not given up for how bad it says the rest is."""
    study = played(boat.DAGModel(SPACE, [rate, cost]), 4)
    objective = {trial.number: trial.measurements["cost"] for trial in study.trials}
    [scored] = study.rivals.scored(study.trials.finished, objective)
    assert objective[scored.number] < objective[0]  # the default's
    bad, worse = ({scored.number: factor * objective[0]} for factor in (1.5, 100.0))
    found = [study.rivals.weights(study.trials.finished, objective | other) for other in (bad, worse, {})]
    assert found[0] == found[1] != found[2]


def test_rival_models_are_compared_and_the_first_is_shown():
    models = {"right": boat.DAGModel(SPACE, [rate, cost]), "wrong": boat.DAGModel(SPACE, [NONSENSE])}
    study = played(models, 10)
    found = study.weights
    assert list(found) == ["right", "wrong", "generic"]
    assert found["right"] > found["wrong"]
    assert list(study.model) == ["rate", "cost"]
    other = boat.DAGModel(boat.Space(x=boat.Float(1, 3), y=boat.Integer(0, 1)), [rate, cost])
    with pytest.raises(boat.ModelError, match="same space"):
        boat.Study([models["right"], other], minimize="cost")


def test_without_a_hedge_the_developer_is_alone():
    study = boat.Study(boat.DAGModel(SPACE, [rate, cost]), minimize="cost", hedge=False)
    assert study.weights == {"structured": 1.0}
