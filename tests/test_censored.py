"""Trials that their time limit ended: what a censored node learns from a lower bound."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import boatppl as boat
from boatppl.compile.density import density_of
from boatppl.evidence import evidence
from boatppl.infer import Chains, sample
from boatppl.leave_one_out import leave_one_out
from boatppl.node import SECONDS
from boatppl.propagate import condition
from boatppl.storage import open_storage
from boatppl.suggest import Goal
from boatppl.table import measured, tables
from boatppl.trial import State, Trial, Trials
from boatppl.twin import block_to_pymc
from boatppl.validate.folds import fold
from tests.test_density import assert_equal_densities

LIMIT = 3.0  # seconds
TINY = Chains(draws=60, tune=60, chains=2, target_accept=0.8, max_treedepth=6, dispersed=False)


@boat.node(unit="ms", transform="log", robust=True, censored=True)
def took(x):
    return 1000 * pm.LogNormal("work", 0, 1) * (1 + x)


@boat.shared
def pace():
    return pm.HalfNormal("pace", 2.0)


@boat.node(unit="s", robust=True, residual=None, censored=True)
def slow(pace, x):
    return pace * x + pm.Normal("offset", 0, 1)


@boat.node(robust=True, transform="log", residual=boat.GP(["x", "slow"]))
def load(pace, slow):
    return pace + pt.abs(slow)


def model_of(*parts):
    return boat.DAGModel(boat.Space(x=boat.Float(0, 4)), list(parts))


def run(number, x, limit=LIMIT, **seconds):
    """A trial that measures how long it took (and a load), unless its limit ends it."""
    trial = Trial(number, {"x": x})
    if max(seconds.values()) > limit:
        return trial.finish(State.TIMED_OUT, timeout=limit)
    values = {name: 1000 * value if name == "took" else value for name, value in seconds.items()}
    return trial.finish(State.COMPLETE, values | ({"load": 1.0 + x} if "slow" in seconds else {}))


def some(name, n=8, seed=0):
    rng = np.random.default_rng(seed)
    return [run(i, x, **{name: x * np.exp(0.3 * rng.normal())}) for i, x in enumerate(np.linspace(0.3, 4, n))]


TOOK = model_of(took)


@pytest.fixture(scope="module")
def density():
    return density_of(TOOK.blocks[0])


def test_density_and_gradient_equal_the_twin(density):
    found = tables(TOOK, measured(TOOK, some("took")))
    assert (len(found["took"]), len(found["took"].bounded)) == (5, 3)
    assert_equal_densities(density, found, block_to_pymc(TOOK.blocks[0], found))


@pytest.mark.nightly
def test_two_robust_nodes_in_one_block_equal_the_twin():
    """The order of all that is unknown, without a residual and with one."""
    model = model_of(pace, slow, load)
    found = tables(model, measured(model, some("slow")))
    assert [len(found["slow"].whole), len(found["load"].whole)] == [8, 5]
    assert_equal_densities(density_of(model.blocks[0]), found, block_to_pymc(model.blocks[0], found))


def test_a_handmade_twin(density):
    """Latent durations above the limit with a Matern-5/2 residual, from the mathematics alone."""
    trials = some("took", 7)
    found = tables(TOOK, measured(TOOK, trials))
    x = np.array([trial.configuration["x"] for trial in trials])
    y = np.log([trial.measurements.get("took", np.nan) for trial in trials])
    order = np.argsort(np.isnan(y), kind="stable")
    x, y, ended = x[order], y[order], int(np.isnan(y).sum())
    scale = TOOK.nodes["took"].scale
    with TOOK.blocks[0].model.copy() as twin:
        latent = pm.HalfFlat("took_excess", shape=ended)
        full = pt.concatenate([y[:-ended], np.log(1000 * LIMIT) + scale * latent])
        distance = np.sqrt(5) * np.abs(x[:, None] - x[None]) / 4 / twin["lengthscale"][0]
        K = (1 + distance + distance**2 / 3) * pt.exp(-distance) + 1e-6 * np.eye(7)
        precision = pm.Gamma("took_precision_scale", 2, 2, shape=7)
        variance = (twin["noise"] ** 2 + (1e-3 * scale) ** 2) / precision
        mean = pt.log(1000 * twin["work"] * (1 + x))
        covariance = twin["amplitude"] ** 2 * K + pt.diag(variance)
        pm.Potential("y", pm.logp(pm.MvNormal.dist(mean, cov=covariance), full))
    assert ended == 2
    assert_equal_densities(density, found, twin)


def test_where_nothing_was_ended_the_density_is_that_of_a_node_that_is_not_censored(density):
    plain = model_of(replace(took, censored=False))
    trials = [trial for trial in some("took") if trial.measurements]
    ours, theirs = (tables(m, measured(m, trials)) for m in (TOOK, plain))
    other = density_of(plain.blocks[0])
    position = density.start(ours) + 0.3
    assert density.dimension(ours) == other.dimension(theirs) == density.layout.size + 5
    for mine, known in zip(density.bind(ours)(position), other.bind(theirs)(position), strict=True):
        np.testing.assert_array_equal(mine, known)


def test_which_trials_bound_a_node():
    model, ended = TOOK, Trial(3, {"x": 1.0}).finish(State.TIMED_OUT, timeout=2.5)
    without_limit = replace(ended, number=4, timeout=None)
    failed = Trial(5, {"x": 1.0}).finish(State.FAILED, reason="it crashed")
    done = run(2, 1.0, took=1.0)
    trials = [done, ended, without_limit, failed]
    table = tables(model, measured(model, trials))["took"]
    assert (table.natural, table.bounded.natural, table.bounded.trials) == ([1000.0], [2500.0], [3])
    np.testing.assert_allclose(table.whole.y, np.log([1000.0, 2500.0]))
    known = evidence(model, Goal("took"), Trials(trials))
    assert known.trials == [done, ended]
    assert known.objective == {2: 1000.0}
    assert known.failed == [ended, without_limit, failed]
    plain = model_of(replace(took, censored=False))
    assert evidence(plain, Goal("took"), Trials(trials)).trials == [done]
    assert tables(plain, measured(plain, trials))["took"].bounded is None


def test_a_row_whose_parents_were_not_measured_is_no_bound():
    @boat.node(unit="s", censored=True)
    def total(slow):
        return pm.HalfNormal("per_slow", 1) * pt.abs(slow)

    model = model_of(pace, slow, total)
    table = tables(model, measured(model, some("slow")))
    assert len(table["slow"].bounded) == 3
    assert len(table["total"].bounded) == 0


def test_only_one_duration_of_the_run_can_be_censored():
    with pytest.raises(
        boat.ModelError, match=r"bounds how long a run takes, so unit= is one of .*; got None"
    ):
        boat.node(censored=True)(lambda_named("took"))
    with pytest.raises(boat.ModelError, match="which has a value for each machine: a time limit"):
        boat.node(unit="s", over="machine", censored=True)(lambda_named("took"))
    with pytest.raises(boat.ModelError, match="censored= of node 'took' is True or False; got 'yes'"):
        boat.generic("took", ["x"], unit="s", censored="yes")
    assert SECONDS["min"] == 60.0


def lambda_named(name):
    def function(x):
        return x

    function.__name__ = name
    return function


def test_durations_that_were_ended_teach_the_slope_and_neither_leaving_out_nor_flooring_does():
    @boat.node(unit="ms", transform="log", residual=None, censored=True)
    def took(x):
        return 1000 * pm.LogNormal("work", 0, 1) * (0.4 + x) ** pm.Normal("slope", 0, 3)

    model, rng, limit, trials = model_of(took), np.random.default_rng(4), 5.0, []
    for number, x in enumerate(np.linspace(0, 3.6, 60)):
        seconds = (0.4 + x) ** 1.5 * np.exp(0.5 * rng.normal())
        trials.append(run(number, float(x), limit, took=float(seconds)))
    left = [trial for trial in trials if trial.measurements]
    assert 0.68 < len(left) / len(trials) < 0.72
    at_limit = {"state": State.COMPLETE, "measurements": {"took": 1000 * limit}}
    floored = [trial if trial.measurements else replace(trial, **at_limit) for trial in trials]
    density, found = density_of(model.blocks[0]), {}
    for how, known in {"censored": trials, "floored": floored, "left out": left}.items():
        posterior = sample(density, tables(model, measured(model, known)), 1, TINY)
        found[how] = np.quantile(posterior.variables["slope"], [0.05, 0.95])
    assert found["censored"][0] < 1.5 < found["censored"][1]
    assert found["floored"][1] < 1.5
    assert found["left out"][1] < 1.5


def test_the_residual_learns_from_bounds_what_the_formula_knows_nothing_of(density):
    """A wall: behind it every run was ended at twenty times what the formula says."""
    limit, places = 100.0, np.linspace(0, 4, 13)
    trials = [run(i, x, limit, took=1 + x if x < 2 else 1e3) for i, x in enumerate(places)]
    by_node = tables(TOOK, measured(TOOK, trials))
    block = sample(density, by_node, 3, TINY)
    posterior = condition(TOOK, by_node, [block])
    assert (len(by_node["took"]), posterior.nodes["took"].residual.rows) == (6, 13)
    mean, _ = posterior.propagate(np.array([[0.2], [0.9]]), "took", posterior.luck(0)).objective()
    seconds = np.exp(mean) / 1000
    assert np.median(seconds[:, 0]) == pytest.approx(1.8, rel=0.2)
    assert np.quantile(seconds[:, 1], 0.1) > 0.9 * limit
    without = fold(posterior, np.arange(13), 0).without(0).nodes["took"]  # cross-validation goes on
    assert (len(without.table), without.residual.rows) == (5, 12)


def test_left_out_densities_are_those_of_the_joint_normal(density):
    """A measured row given the other ones, and the bounded ones as a draw has them, by hand."""
    by_node = tables(TOOK, measured(TOOK, some("took", 6, seed=2)))
    block = sample(density, by_node, 0, replace(TINY, draws=4, tune=10))
    left = leave_one_out(condition(TOOK, by_node, [block]).nodes["took"], block)
    whole, n, draw = by_node["took"].whole, len(by_node["took"]), 2
    value = {name: variable[draw] for name, variable in block.variables.items()}
    [x] = whole.wires.values()
    distance = np.sqrt(5) * np.abs(whole.Z - whole.Z.T) / value["lengthscale"][0]
    K = (1 + distance + distance**2 / 3) * np.exp(-distance) + 1e-6 * np.eye(6)
    scales = np.concatenate([block.scales["took"][draw], block.excesses["took"].scale[draw]])
    variance = (value["noise"] ** 2 + (1e-3 * TOOK.nodes["took"].scale) ** 2) / scales
    inverse = np.linalg.inv(value["amplitude"] ** 2 * K + np.diag(variance))
    y = whole.y.copy()
    y[n:] += block.excesses["took"].above[draw]
    off = (inverse @ (y - np.log(1000 * value["work"] * (1 + x)))) / np.diag(inverse)
    # Rasmussen & Williams 2006, eq. 5.10-5.11
    assert left.log_density.shape == (len(block.position), n)
    np.testing.assert_allclose(left.error[draw], off[:n], rtol=1e-6)
    np.testing.assert_allclose(left.smooth[draw], (1 / np.diag(inverse) - variance)[:n], rtol=1e-5, atol=1e-9)


# -- from the run to the log


def test_the_limit_that_ended_a_run_is_in_the_log_of_its_trial(tmp_path):
    space = boat.Space(x=boat.Integer(0, 4, default=0))
    path, common = tmp_path / "study.db", {"random_seed": 1, "progress": False, "n_trials": 2}
    command = boat.Command(
        ["sh", "-c", 'test {x} -gt 0 && echo "{\\"loss\\": {x}}" || sleep 60'], timeout=1.0
    )
    result = boat.optimize(command, space, minimize="loss", storage=path, timeout=9.0, **common)
    first = boat.Study(space, minimize="loss", storage=path).trials[0]
    assert (first.state, first.timeout) == (State.TIMED_OUT, 1.0)
    assert first == result.study.trials[0]
    assert result.study.trials[1].timeout is None
    for damage in ("'0.4'", "NULL"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE trials SET timeout = {damage} WHERE number = 0")
        with open_storage(path) as storage, pytest.raises(boat.StorageError, match=r"trial 0 .* is damaged"):
            storage.trials("study")

    def hang(configuration):
        while configuration["x"] == 0:
            pass
        return 1.0

    result = boat.optimize(hang, space, minimize="loss", timeout=2.0, **common)
    assert [trial.timeout for trial in result.study.trials] == [2.0, None]


def test_a_user_says_the_limit_of_a_run_made_elsewhere():
    study = boat.Study(TOOK, minimize="took", random_seed=1)
    trial = study.fail(study.ask(), "the night was over", State.TIMED_OUT, timeout=60)
    assert study.evidence().trials == [trial]
    assert study.rivals.models["generic"].nodes["took"].node.censored
    with pytest.raises(
        boat.ModelError, match="timeout= is of a trial that its time limit ended; got it with"
    ):
        study.fail(study.ask(), "it crashed", timeout=60)
    with pytest.raises(ValueError, match="A timeout is a positive number of seconds; got -1"):
        study.fail(study.ask(), "?", State.TIMED_OUT, timeout=-1)
    assert "censored" in repr(study.model)


@pytest.mark.nightly
def test_a_study_with_ended_runs_goes_on_where_none_was_ended():
    study = boat.Study(TOOK, minimize="took", random_seed=1)
    for x in (0.5, 1.0, 1.5):
        study.tell({"x": x}, {"took": 1000 * (5 - x)})
    for x in (3.9, 3.0, 2.2):
        study.fail(study.start({"x": x}, "told"), "ended", State.TIMED_OUT, timeout=LIMIT)
    assert study.ask().configuration == study.space.default
    found = study.ask()
    assert found.origin == "suggested"
    assert found.configuration["x"] < 2.2
    assert study.cross_validate().objective.trials.tolist() == [0, 1, 2]
    assert study.posterior["took"]["observed_data"]["took"].shape == (3,)
