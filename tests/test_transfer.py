"""What an earlier study learned is the next one's prior: exact where everything is normal, and refused in
sentences."""

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import boatppl as boat
from boatppl.compile.density import density_of
from boatppl.fit import Inference
from boatppl.infer import Chains
from boatppl.storage import open_storage
from boatppl.table import measured, tables
from boatppl.twin import block_to_pymc

LENGTH = Chains(draws=1000, tune=400, chains=2, target_accept=0.9)
SPACE = boat.Space(x=boat.Float(0, 10))
NOISE = 0.5


def line_model(space=SPACE, spread=3.0):
    def known(x):
        return NOISE + 0 * x

    @boat.node(residual=None, noise=known)
    def y(x):
        return pm.Normal("level", 0, spread) + pm.Normal("slope", 0, spread) * x

    return boat.DAGModel(space, [y])


def told(study, rows):
    for x, values in rows:
        study.tell({"x": x}, values)
    return study


def runs_of_a_line(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, n)
    return [(float(a), {"y": float(1.0 + 0.4 * a + NOISE * rng.normal())}) for a in x]


def normal_posterior(weighted, spread=3.0):
    """Mean and covariance of (level, slope) given (weight, rows): the conjugate normal of a linear model."""
    precision, moment = np.eye(2) / spread**2, np.zeros(2)
    for weight, rows in weighted:
        X = np.array([[1.0, x] for x, _ in rows])
        precision = precision + weight * X.T @ X / NOISE**2
        moment = moment + weight * X.T @ np.array([values["y"] for _, values in rows]) / NOISE**2
    covariance = np.linalg.inv(precision)
    return covariance @ moment, covariance


def draws_of(study, names=("level", "slope")):
    known = study.evidence()
    posterior = Inference(study.model, 0).posterior(measured(study.model, known.trials), LENGTH)
    return np.stack([posterior.blocks[0].variables[name] for name in names], axis=-1)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_earlier_runs_count_by_their_weight(weight):
    before, after = runs_of_a_line(6, 1), runs_of_a_line(3, 2)
    earlier = told(boat.Study(line_model(), minimize="y", hedge=False), before)
    study = boat.Study(
        line_model(), minimize="y", hedge=False, random_seed=0, prior_from=earlier, prior_weight=weight
    )
    draws = draws_of(told(study, after))
    mean, covariance = normal_posterior([(weight, before), (1.0, after)])
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(draws.mean(axis=0) - mean) < 0.2 * deviation).all()
    np.testing.assert_allclose(draws.std(axis=0), deviation, rtol=0.12)
    assert np.corrcoef(draws.T)[0, 1] == pytest.approx(covariance[0, 1] / np.prod(deviation), abs=0.1)
    alone, _ = normal_posterior([(1.0, after)])  # the test can tell them apart
    assert (np.abs(alone - mean) > 0.5 * deviation).any()


def paced(machines, cores):
    @boat.shared
    def typical():
        return pm.Normal("typical", 0, 1)

    @boat.shared(dims="machine")
    def pace(typical):
        return pm.LogNormal("pace", typical, 0.5, dims="machine")

    @boat.node(over="machine", transform="log", residual=None)
    def seconds(x, cores, pace):
        return (1 + x) / (pace * cores)

    @boat.derived
    def slowest(seconds):
        return seconds.max()

    parts = [typical, pace, seconds, slowest]
    return boat.DAGModel(SPACE, parts, coords={"machine": machines}, data={"cores": ("machine", cores)})


def test_elements_are_known_by_their_names_and_new_ones_by_the_others():
    rng = np.random.default_rng(0)
    truth = {"a": 6.0, "b": 3.0, "c": 4.0}
    earlier = boat.Study(paced([*truth], [1.0, 2.0, 4.0]), minimize="slowest", hedge=False)
    paces = np.array([*truth.values()]) * [1.0, 2.0, 4.0]
    told(earlier, [(x, {"seconds": (1 + x) / paces * np.exp(0.05 * rng.normal(size=3))}) for x in range(5)])
    new = paced(["d", "b"], [1.0, 1.0])
    study = boat.Study(new, minimize="slowest", hedge=False, random_seed=0, prior_from=earlier)
    assert study.model.inherited.unknowns == ("typical", "pace")
    block = study.model.blocks[0]
    nothing = tables(study.model, measured(study.model, []))
    posterior = Inference(study.model, 0).posterior(measured(study.model, []), LENGTH)
    pace = posterior.blocks[0].variables["pace"]
    assert np.median(pace[:, 1]) == pytest.approx(truth["b"], rel=0.05)
    assert np.log(pace[:, 1]).std() < 0.1
    # of machine d nothing was seen but that the others are fast: log-normal around their typical pace
    assert 0.4 < np.log(pace[:, 0]).std() < 0.8
    assert 0.8 < np.median(np.log(pace[:, 0])) < 1.7
    twin = block_to_pymc(block, nothing).compile_logp()
    logp = density_of(block).bind(nothing)
    points = [
        {"typical": t, "pace_log__": np.array([a, b]), "noise_log__": -1.0}
        for t, a, b in rng.normal(size=(5, 3))
    ]
    names = [value.name for value in block.model.value_vars]
    for point in points:
        position = np.concatenate([np.ravel(point[name]) for name in names])
        assert logp(position)[0] == pytest.approx(twin(point), rel=1e-8)


def test_the_second_trial_goes_where_the_earlier_study_was_right():
    def bowl():
        @boat.node(transform="log")
        def cost(x):
            return 1 + (x - pm.Uniform("best", 0, 10)) ** 2

        return boat.DAGModel(SPACE, [cost])

    rng = np.random.default_rng(3)
    rows = [(x, {"cost": (1 + (x - 7.3) ** 2) * np.exp(0.02 * rng.normal())}) for x in (1.0, 4.0, 9.0)]
    earlier = told(boat.Study(bowl(), minimize="cost", random_seed=1), rows)
    study = boat.Study(bowl(), minimize="cost", random_seed=1, prior_from=earlier)
    told(study, [(5.0, {"cost": 1 + 2.3**2})])  # at 2.7 or at 7.3?
    assert study.ask().configuration["x"] == pytest.approx(7.3, abs=0.5)
    assert "with what an earlier study says of best, a run there counting 0.5 of one here" in str(study.model)
    assert study.model.inherited.weight == 0.5
    assert earlier.model.inherited is None


def test_going_on_without_the_earlier_study_is_said(tmp_path, caplog):
    earlier = told(boat.Study(line_model(), minimize="y", hedge=False), runs_of_a_line(4, 1))
    options = {"minimize": "y", "hedge": False, "storage": tmp_path / "a.db"}
    told(boat.Study(line_model(), **options, prior_from=earlier), runs_of_a_line(1, 2))
    assert boat.Study(line_model(), **options, prior_from=earlier).log.changed == ()
    with caplog.at_level("WARNING", "boatppl"):
        boat.Study(line_model(), **options)
    assert "what an earlier study says of it (prior_from=) has changed" in caplog.text
    with open_storage(tmp_path / "a.db") as storage:
        assert len(storage.trials("study")) == 1


def other_model():
    @boat.node(residual=None)
    def y(x):
        return pm.Normal("height", 0, 3) + 0 * x

    return boat.DAGModel(SPACE, [y])


def narrow_model():
    @boat.node(residual=None)
    def y(x):
        return pm.Uniform("level", -9, -8) + pm.Normal("slope", 0, 3) * x

    return boat.DAGModel(SPACE, [y])


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (
            other_model,
            {},
            "no unknown of the earlier study .* There: level of y and slope of y; here: height of y",
        ),
        (lambda: SPACE, {}, "no unknown of the earlier study .* here: none"),
        (narrow_model, {}, "found 'level' at .* where its prior in this model has no mass. Widen the prior"),
        (line_model, {"prior_weight": 0}, "above 0 and at most 1; got 0"),
        (line_model, {"prior_weight": True}, "above 0 and at most 1; got True"),
        (line_model, {"prior_from": "old.db"}, "an earlier boat.Study .* got 'old.db'"),
        (
            line_model,
            {"prior_from": boat.Study(SPACE, minimize="y")},
            "no trial of study 'study' has a measurement",
        ),
    ],
)
def test_what_cannot_be_inherited_is_a_sentence(model, options, sentence):
    earlier = told(boat.Study(line_model(), minimize="y", hedge=False), runs_of_a_line(4, 1))
    with pytest.raises(boat.ModelError, match=sentence):
        boat.Study(model(), minimize="y", **{"prior_from": earlier, **options})


def test_what_was_not_learned_changes_nothing():
    """A slope that no run spoke of keeps its prior: nothing is made of the draws' own noise."""
    rows = [(0.0, {"y": 1.0 + 0.1 * i}) for i in range(4)]
    earlier = told(boat.Study(line_model(), minimize="y", hedge=False, random_seed=0), rows)
    study = boat.Study(line_model(), minimize="y", hedge=False, prior_from=earlier, prior_weight=1.0)
    draws = draws_of(study)
    assert draws[:, 0].std() == pytest.approx(NOISE / 2, rel=0.15)
    slope = draws[:, 1]
    assert slope.std() == pytest.approx(3.0, rel=0.1)
    assert stats.kstest(slope[::10], stats.norm(0, 3).cdf).pvalue > 0.01
