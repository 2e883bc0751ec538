import re

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.explain import AsGood, as_good, doubt, learned, variance_shares
from boatppl.feasible import CARE
from boatppl.result import findings
from boatppl.result.sentences import alternatives
from boatppl.suggest import Goal

SPACE = boat.Space(x=boat.Float(1, 20, log=True, default=2.0))


def told(nodes, truth, n=14):
    """A study of ``n`` runs with noise of 3 %; its model claims ``nodes``."""
    rng = np.random.default_rng(0)
    study = boat.Study(boat.DAGModel(SPACE, nodes), minimize="rate", random_seed=0, hedge=False)
    for x in np.geomspace(1, 20, n):
        study.tell({"x": x}, {"rate": truth(x) * np.exp(0.03 * rng.normal())})
    return study


def posterior_of(study):
    rivals = study.rivals
    objective = study.evidence().objective
    return rivals.posterior(rivals.first, list(study.trials), objective)


@boat.node(transform="log")
def rate(x):
    load = pm.LogNormal("load", 3, 1)
    return load / x


@pytest.fixture(scope="module")
def right():
    return told([rate], lambda x: 30 / x)


@pytest.fixture(scope="module")
def wrong():
    return told(
        [rate], lambda x: 3 * np.exp(np.sin(3 * np.log(x)))
    )  # shares nothing with load / x but its sign


def test_a_right_formula_leaves_the_residual_nothing(right):
    share = variance_shares(posterior_of(right).nodes["rate"])
    assert share.formula > 0.97
    assert share.residual < 0.02
    assert share.formula + share.residual + share.noise == pytest.approx(1)


def test_a_wrong_formula_leaves_it_to_the_residual(wrong):
    share = variance_shares(posterior_of(wrong).nodes["rate"])
    assert share.residual > 0.3  # the residual undoes the formula's slope and adds the wave
    assert share.noise < 0.05


def test_the_shares_are_those_of_an_independent_calculation(wrong):
    node = posterior_of(wrong).nodes["rate"]
    x = np.array([trial.configuration["x"] for trial in wrong.trials])
    y = np.log([trial.measurements["rate"] for trial in wrong.trials])
    formula = np.log(node.variables["load"])[:, None] - np.log(x)
    residual = node.residual.predict(node.table.Z)[0]
    variance = np.stack([np.var(part, axis=1) for part in (formula, residual, y - formula - residual)])
    expected = np.mean(variance / variance.sum(axis=0), axis=1)
    share = variance_shares(node)
    assert [share.formula, share.residual, share.noise] == pytest.approx(list(expected), rel=1e-9)


def test_no_share_without_variance():
    study = told([rate], lambda x: 30 / x, n=2)
    assert variance_shares(posterior_of(study).nodes["rate"]) is None


def test_a_node_without_residual_explains_nothing_by_it():
    @boat.node(transform="log", residual=None)
    def rate(x):
        load = pm.LogNormal("load", 3, 1)
        return load / x

    study = told([rate], lambda x: 30 / x, n=6)
    assert variance_shares(posterior_of(study).nodes["rate"]).residual == 0
    assert "rate" not in findings(study).variance


def test_learned_are_the_developers_unknowns_in_the_models_order():
    @boat.shared
    def load():
        return pm.LogNormal("load", 3, 1)

    @boat.node(transform="log")
    def rate(x, load):
        slopes = pm.Normal("slopes", [0, 5], 0.01, shape=2)
        return load * x ** (slopes[0] - 1) * slopes[1] / 5

    study = told([load, rate], lambda x: 30 / x)
    items = learned(posterior_of(study))
    assert [(item.part, item.name) for item in items] == [("load", "load"), ("rate", "slopes")]
    assert items[0].mean == pytest.approx(30, rel=0.15)
    assert items[1].mean == pytest.approx([0, 5], abs=0.03)
    assert items[1].sd.shape == (2,)


def test_the_generic_model_has_learned_no_unknown_of_the_developers():
    study = boat.Study(SPACE, minimize="rate", random_seed=0)
    for x in (1.0, 2.0, 4.0, 8.0):
        study.tell({"x": x}, 30 / x)
    found = findings(study)
    assert found.learned == ()
    assert not found.variance


# -- where the doubt is -----------------------------------------------------------------


def test_the_doubt_is_in_the_node_that_was_hardly_measured():
    def made(rates, pauses):
        @boat.node(transform="log", residual=None)
        def rate(x):
            level = pm.LogNormal("level", 0, 1)
            return level / x

        @boat.node(transform="log", residual=None)
        def pause(x):
            size = pm.LogNormal("size", 0, 1)
            return size * x

        @boat.derived
        def cost(rate, pause):
            return rate * pause

        study = boat.Study(boat.DAGModel(SPACE, [rate, pause, cost]), minimize="cost", random_seed=0)
        rng = np.random.default_rng(0)
        for i in range(12):
            x, noise = 1.0 + i / 2, np.exp(0.05 * rng.normal(size=2))
            values = {"rate": 3 / x * noise[0], "pause": 2 * x * noise[1]}
            kept = {"rate": i < rates, "pause": i < pauses}
            study.tell({"x": x}, {name: value for name, value in values.items() if kept[name]})
        posterior = posterior_of(study)
        return doubt(posterior, study.goal, SPACE.encode([{"x": 3.0}])[0], 0, {})

    found = made(rates=12, pauses=1)
    assert list(found) == ["pause", "rate"]
    assert found["pause"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)
    assert list(made(rates=1, pauses=12)) == ["rate", "pause"]
    even = made(rates=12, pauses=12)
    assert 0.15 < even["rate"] < 0.85


def test_shares_of_doubt_are_those_of_a_sum_of_known_variances():
    @boat.node(residual=None, noise=pm.HalfNormal.dist(0.01))
    def first(x):
        return 3.0 * pm.Normal("a", 0, 1) + 0 * x

    @boat.node(residual=None, noise=pm.HalfNormal.dist(0.01))
    def second(x):
        return 1.0 * pm.Normal("b", 0, 1) + 0 * x

    @boat.derived
    def cost(first, second):
        return first + second

    model, at = boat.DAGModel(SPACE, [first, second, cost]), SPACE.encode([{"x": 3.0}])[0]
    shares = []
    for seed in range(4):  # 100 draws of a short chain know a variance to a third
        study = boat.Study(model, minimize="cost", random_seed=seed)
        shares.append(doubt(posterior_of(study), study.goal, at, 0, {})["first"])
    assert np.mean(shares) == pytest.approx(0.9, abs=0.06)  # 9 of 10 parts of the variance


# -- values that are as good ------------------------------------------------------------

WIDE = boat.Space(
    width=boat.Float(0, 10, default=5.0),
    count=boat.Integer(0, 9, default=5),
    mode=boat.Categorical(["slow", "fast", "quick"], default="fast"),
    depth=boat.Integer(1, 4, default=2, when={"mode": "slow"}),
    idle=boat.Boolean(default=False),
    share=boat.Simplex(3),
)


def planted(spread):
    """Draws of 100 + losses: 2 a unit of width from 5, 4 a count from 5, 50 for slow, nothing for idle."""
    normals = np.random.default_rng(0).normal(size=(400, 1))

    def noise_free(unit):
        rows = WIDE.decode(unit)
        loss = [2 * abs(r["width"] - 5) + 4 * abs(r["count"] - 5) + 50 * (r["mode"] == "slow") for r in rows]
        away = np.abs(unit - WIDE.encode([WIDE.default])).max(axis=1) > 0
        return 100 + np.array(loss) + spread * normals * away

    return noise_free


def test_values_that_lose_under_five_percent_are_as_good():
    found = as_good(WIDE, Goal("cost"), WIDE.default, planted(0.0))
    assert found["count"] == AsGood((4, 5, 6), False)
    assert found["width"].values[0] == pytest.approx(2.5, abs=0.45)
    assert found["width"].values[-1] == pytest.approx(7.5, abs=0.45)
    assert found["mode"] == AsGood(("fast", "quick"), False)
    assert found["idle"] == AsGood((False, True), True)
    assert found["share"].all
    assert found.keys() == {"width", "count", "mode", "idle", "share"}  # depth is inactive


def test_shares_that_are_as_good_are_a_range_for_each():
    best = {**WIDE.default, "share": [0.5, 0.3, 0.2]}

    def noise_free(unit):
        return 100 + 50 * np.array([[abs(row["share"][0] - 0.5) for row in WIDE.decode(unit)]])

    low, high = as_good(WIDE, Goal("cost"), best, noise_free)["share"].values
    assert (low[0], high[0]) == pytest.approx((0.4, 0.6), abs=0.05)  # each 0.1 of the first share loses 5 %
    # the others take what is left in proportion, so the first moves with them
    assert low[1] == pytest.approx(0.3 - 0.1 * 0.7 / 0.5, abs=0.05)
    assert high[2] == pytest.approx(0.2 + 0.1 * 0.8 / 0.5, abs=0.05)
    assert not as_good(WIDE, Goal("cost"), best, noise_free)["share"].all
    text = alternatives(best["share"], as_good(WIDE, Goal("cost"), best, noise_free)["share"])
    assert re.fullmatch(r"0\.4\d*-0\.\d+, 0\.1\d*-0\.\d+, 0\.0\d*-0\.\d+", text)


def test_members_that_make_no_difference_are_named():
    space = boat.Space(on=boat.Subset(4, least=1), x=boat.Float(0, 1))

    def noise_free(unit):
        return np.array([[100.0 + 50 * (not row["on"][0]) + 50 * row["on"][2] for row in space.decode(unit)]])

    best = {"on": [True, True, False, False], "x": 0.5}
    found = as_good(space, Goal("cost"), best, noise_free)["on"]
    assert found == AsGood(([True, False, False, False], [True, True, False, True]), False)
    assert alternatives(best["on"], found) == "with or without 1, 3"
    only = {"on": [True, False, False, False], "x": 0.5}  # without it there would be none
    assert as_good(space, Goal("cost"), only, noise_free)["on"].values[0][0] is True
    every = as_good(space, Goal("cost"), best, lambda unit: np.full((1, len(unit)), 100.0))["on"]
    assert alternatives(best["on"], every) == "does not matter"


def test_what_is_not_known_is_not_called_as_good():
    found = as_good(WIDE, Goal("cost"), WIDE.default, planted(30.0))
    assert found["idle"] == AsGood((False,), False)
    assert found["count"] == AsGood((5,), False)


def test_more_is_better_where_the_goal_is_to_maximise():
    found = as_good(WIDE, Goal("speed", maximize=True), WIDE.default, planted(0.0))
    assert found["count"].all
    assert found["width"].all


def test_one_step_of_a_coarse_ladder_is_no_range():
    def noise_free(unit):
        return 100 + 9.6 * np.array([[abs(row["width"] - 10) for row in WIDE.decode(unit)]])

    found = as_good(WIDE, Goal("cost"), WIDE.default | {"width": 10.0}, noise_free)
    assert found["width"].values == (10.0,)  # 9.58 loses 4 %, 9.17 already 8 %


def test_values_that_may_fail_are_not_called_as_good():
    def feasible(unit):  # surely up to a width of 6, hardly above; the best itself is an even chance
        rows = WIDE.decode(unit)
        odds = [0.5 if r == WIDE.default else 0.9 if r["width"] <= 6 else 0.4 for r in rows]
        return CARE * np.log(odds)

    found = as_good(WIDE, Goal("cost"), WIDE.default, planted(0.0), feasible=feasible)
    assert 5.0 < max(found["width"].values) <= 6.0
    assert min(found["width"].values) == pytest.approx(2.5, abs=0.45)
    assert found["count"] == AsGood((4, 5, 6), False)
    found = as_good(WIDE, Goal("cost"), {**WIDE.default, "count": 4}, planted(0.0), feasible=feasible)
    assert max(found["width"].values) <= 6.0


def test_values_that_break_a_constraint_are_not_offered():
    narrow = WIDE.constrain(lambda count: count <= 5)
    found = as_good(narrow, Goal("cost"), narrow.default, planted(0.0))
    assert found["count"] == AsGood((4, 5), False)
