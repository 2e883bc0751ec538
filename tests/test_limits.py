"""Limits on what is measured, and where runs succeed: learned, or written by the developer."""

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.evidence import Evidence
from boatppl.feasible import CARE
from boatppl.limit import Limit
from boatppl.limits import Limits
from boatppl.result import Result

SPACE = boat.Space(
    threads=boat.Float(1, 64, log=True, default=4.0),
    heap_mb=boat.Float(100, 2000, log=True, default=1000.0),
)


@boat.node(unit="MB", transform="log")
def memory_mb(threads, heap_mb):
    each = pm.LogNormal("each", 2, 1)
    return heap_mb + each * threads


@boat.node(unit="ms", transform="log")
def latency(threads, heap_mb):
    work, scan = pm.LogNormal("work", 4, 1), pm.LogNormal("scan", 7, 1)
    return work / threads + scan / heap_mb


@boat.derived
def spare(memory_mb):
    return 900.0 - memory_mb


MODEL = boat.DAGModel(SPACE, [memory_mb, latency])
OPTIONS = {"minimize": "latency", "random_seed": 0, "progress": False, "control_every": 0}
UPPER = 900.0  # without it both parameters go to their upper ends


def truth(c):
    return {
        "memory_mb": c["heap_mb"] + 10 * c["threads"],
        "latency": 100 / c["threads"] + 2000 / c["heap_mb"],
    }


def run(configuration):
    rng = np.random.default_rng(int(1e6 * configuration["threads"]))
    return {name: value * np.exp(0.02 * rng.normal()) for name, value in truth(configuration).items()}


def best_within():
    threads = np.linspace(1, 64, 2000)
    heap = np.clip(UPPER - 10 * threads, 100, 2000)
    return np.min(100 / threads + 2000 / heap)


@pytest.mark.parametrize("model", [MODEL, SPACE], ids=["structured", "generic"])
def test_the_optimum_is_looked_for_where_the_limit_is_kept(model):
    n_trials = 8 if model is MODEL else 13
    limits = [boat.limit("memory_mb", upper=UPPER)]
    result = boat.optimize(run, model, n_trials=n_trials, limits=limits, **OPTIONS)
    found = truth(result.best_configuration)
    assert found["memory_mb"] <= 1.04 * UPPER  # kept by what was measured, with 2 % of noise
    assert found["latency"] <= (1.1 if model is MODEL else 1.3) * best_within()
    suggested = [t for t in result.study.trials if t.origin == "suggested"]
    broken = [t for t in suggested if t.measurements["memory_mb"] > 1.2 * UPPER]
    assert len(broken) <= 1 + (model is SPACE)
    known = [t.suggestion["limits"]["memory_mb at most 900"] for t in suggested]
    assert all(0 <= p <= 1 for p in known)
    advised = result.study.recommend().configuration
    assert truth(advised)["memory_mb"] <= 1.04 * UPPER


@pytest.fixture(scope="module")
def study():
    study = boat.Study(MODEL, minimize="latency", random_seed=0, hedge=False)
    for threads, heap in [(1, 100), (4, 1000), (32, 300), (64, 2000), (8, 500), (16, 1500)]:
        study.tell({"threads": threads, "heap_mb": heap}, run({"threads": threads, "heap_mb": heap}))
    return study


@pytest.mark.parametrize(
    "limit",
    [
        Limit("memory_mb", upper=900.0),
        Limit("memory_mb", lower=900.0),
        Limit("memory_mb", lower=500.0, upper=900.0),
        Limit("memory_mb", lower=-1.0, upper=900.0),
    ],
)
def test_the_probability_is_that_of_noise_free_draws(study, limit):
    rows = [{"threads": t, "heap_mb": h} for t, h in [(2, 300), (10, 790), (10, 850), (30, 600), (60, 1900)]]
    score = Limits([limit], MODEL, 0).score(study._posterior(), study.evidence(), {})
    found = np.exp(score(SPACE.encode([SPACE.validate(row) for row in rows])))
    # The twin: draws of the quantity itself, residuals sampled, counted (over several seeds of the residual).
    draws = study.predict(rows, noise=False)["memory_mb"].values
    low, high = limit.lower or -np.inf, limit.upper or np.inf
    share = ((draws > low) & (draws < high)).mean(axis=0)
    np.testing.assert_allclose(found, share, atol=0.12)
    assert found[0] + found[-1] <= 2 + 1e-9


def test_a_limit_on_a_derived_quantity_counts_its_draws(study):
    model = boat.DAGModel(SPACE, [memory_mb, latency, spare])
    other = boat.Study(model, minimize="latency", random_seed=0, hedge=False)
    for trial in study.trials:
        other.tell(trial.configuration, trial.measurements)
    score = Limits([Limit("spare", lower=0.0)], model, 0).score(other._posterior(), other.evidence(), {})
    rows = [{"threads": 2.0, "heap_mb": 300.0}, {"threads": 60.0, "heap_mb": 1900.0}]
    safe, over = np.exp(score(SPACE.encode(rows)))
    assert safe > 0.95
    assert over < 0.05


@pytest.mark.parametrize(
    "limit",
    [
        Limit("memory_mb", upper=900.0),
        Limit("memory_mb", lower=500.0, upper=900.0),
        Limit("spare", lower=0.0),
        Limit("disk_mb", upper=120.0),
    ],
    ids=str,
)
def test_slopes_of_the_probability_equal_differences(limit):
    model = boat.DAGModel(SPACE, [memory_mb, latency, spare])
    study = boat.Study(model, minimize="latency", random_seed=0, hedge=False)
    for threads, heap in [(1, 100), (4, 1000), (32, 300), (64, 2000), (8, 500), (16, 1500)]:
        configuration = SPACE.validate({"threads": threads, "heap_mb": heap})
        study.tell(configuration, run(configuration) | {"disk_mb": heap / 10 + threads})
    failed = study.start(SPACE.validate({"threads": 60, "heap_mb": 1900}), "told")
    study.fail(failed, "out of memory")
    study.policy.limits = Limits([limit], model, 0)
    score = study.policy.feasible(study.evidence(), {})  # of success, too
    unit = np.random.default_rng(0).uniform(0.05, 0.95, (7, 2))
    values, slopes = score.with_gradient(unit)
    np.testing.assert_allclose(values, score(unit), rtol=1e-9)
    assert np.abs(slopes).min() > 1e-8
    for k in range(2):
        step = 1e-5 * np.eye(2)[k]
        difference = (score(unit + step) - score(unit - step)) / 2e-5
        np.testing.assert_allclose(slopes[:, k], difference, rtol=1e-3, atol=1e-4)


def test_where_no_run_keeps_the_limit_the_nearest_one_counts_and_it_is_said(study):
    strict = boat.Study(
        MODEL, minimize="latency", random_seed=0, hedge=False, limits=[boat.limit("memory_mb", upper=50)]
    )
    for trial in study.trials:
        strict.tell(trial.configuration, trial.measurements)
    assert strict.best.configuration == {"threads": 1.0, "heap_mb": 100.0}
    assert "no run of 6 keeps memory_mb at most 50" in repr(strict)
    assert study.best.configuration == {"threads": 64.0, "heap_mb": 2000.0}


def test_a_limited_quantity_that_was_not_measured_is_no_incumbent():
    limit = boat.limit("memory_mb", upper=900)
    study = boat.Study(MODEL, minimize="latency", random_seed=0, hedge=False, limits=[limit])
    study.tell({"threads": 64, "heap_mb": 500}, {"latency": 5.0})
    study.tell({"threads": 4, "heap_mb": 500}, {"latency": 25.0, "memory_mb": 540.0})
    assert [t.number for t in study.evidence().eligible] == [1]
    assert Evidence((), {}).eligible == []


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: boat.limit("a"), r"limit\('a'\) bounds nothing; give lower=, upper= or both"),
        (lambda: boat.limit(3, upper=1), "limit takes the name of what is limited.*; got 3"),
        (lambda: boat.limit("a", upper="8 GB"), r"limit\('a', upper=\) is a finite number; got '8 GB'"),
        (lambda: boat.limit("a", lower=np.nan), "is a finite number; got nan"),
        (lambda: boat.limit("a", lower=2, upper=1), "lower=2 above upper=1: nothing keeps it"),
        (lambda: Limits([3], MODEL, 0), r"limits= is a list of boat.limit.*; got \[3\]"),
        (lambda: Limits(boat.limit("memory_mb", upper=1), MODEL, 0), "is a list of boat.limit.*; got Limit"),
        (
            lambda: Limits([boat.limit("heap_mb", upper=1)], MODEL, 0),
            "on no node or derived.*space.constrain",
        ),
        (lambda: Limits([boat.limit("memory_m", upper=1)], MODEL, 0), "Did you mean 'memory_mb'"),
    ],
)
def test_what_is_no_limit_is_a_sentence(make, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        make()


def test_a_limit_on_what_no_run_returns_is_named():
    study = boat.Study(SPACE, minimize="latency", random_seed=0, limits=[boat.limit("cost", upper=1)])
    for _ in range(4):
        study.tell(study.ask(), {"latency": 1.0})
    with pytest.raises(boat.ModelError, match="cost: never measured in 4 runs"):
        study.ask()


# -- where runs fail, learned


def test_neither_a_recommendation_nor_a_result_offers_values_that_failed():
    space = boat.Space(threads=boat.Float(1, 64, log=True, default=2.0), idle=boat.Boolean())

    @boat.node(unit="ms", transform="log")
    def latency(threads):
        return pm.LogNormal("work", 4, 1) / threads**0.01  # hardly matters, so every value is as good

    study = boat.Study(boat.DAGModel(space, [latency]), minimize="latency", random_seed=0, hedge=False)
    for i, threads in enumerate(np.geomspace(1, 64, 13)):
        configuration = space.validate({"threads": threads, "idle": i % 2 == 0})
        if threads < 10:
            study.tell(configuration, {"latency": 50 / threads**0.01})
        else:
            study.fail(study.start(configuration, "told"), "too many open files")
    found = study.recommend(regret=0.05)
    result = Result(study, "13 trials were run")
    for as_good in (found.as_good, result.findings.as_good):
        values = as_good["threads"].values
        assert len(values) > 2
        assert max(values) < 16.0  # 11.3 and all above it failed
        assert not as_good["threads"].all


# -- where runs succeed, by the developer


@boat.derived
def needed_mb(threads):
    return 20.0 * threads


@boat.node
def fits(heap_mb, needed_mb):
    fixed = pm.Normal("fixed", 300, 200)
    return (heap_mb - needed_mb - fixed) / 100


def test_a_margin_that_the_developer_wrote_knows_where_nothing_was_tried():
    model = boat.DAGModel(SPACE, [memory_mb, latency, needed_mb])
    truly = {(t, h): h > 250 + 20 * t for t in (1, 4, 8) for h in (150, 300, 400, 600)}
    scores = []
    for feasibility in (None, fits):
        study = boat.Study(model, minimize="latency", random_seed=0, feasibility=feasibility)
        for (threads, heap), succeeds in truly.items():
            if succeeds:
                study.tell({"threads": threads, "heap_mb": heap}, {"latency": 100 / threads + 2000 / heap})
            else:
                trial = study.start(study.space.validate({"threads": threads, "heap_mb": heap}), "told")
                study.fail(trial, "out of memory")
        far = [{"threads": 60.0, "heap_mb": 900.0}, {"threads": 60.0, "heap_mb": 1900.0}]
        scores.append(study.policy.feasible(study.evidence(), {})(SPACE.encode(far)) / CARE)
    generic, margin = np.exp(scores)
    assert margin[0] < 0.1 < 0.8 < margin[1]  # 1,450 MB are needed
    assert generic[0] > 0.5  # by what was seen, that much memory was always enough


def test_a_margin_knows_before_any_failure():
    model = boat.DAGModel(SPACE, [memory_mb, latency, needed_mb])
    study = boat.Study(model, minimize="latency", random_seed=0, feasibility=fits)
    study.tell({"threads": 4, "heap_mb": 1000}, run({"threads": 4, "heap_mb": 1000}))
    score = study.policy.feasible(study.evidence(), {})
    safe, hopeless = score(
        SPACE.encode([{"threads": 2.0, "heap_mb": 1500.0}, {"threads": 60.0, "heap_mb": 200.0}])
    )
    assert safe > -1.0
    assert hopeless < safe - 3.0


def test_what_is_no_margin_is_a_sentence():
    @boat.node
    def late(memory_mb):
        return 900 - memory_mb

    with pytest.raises(boat.ModelError, match="depends on memory_mb, which only a run measures"):
        boat.Study(MODEL, minimize="latency", feasibility=late)
    with pytest.raises(boat.ModelError, match=r"feasibility= is a @boat\.node whose function is above 0"):
        boat.Study(MODEL, minimize="latency", feasibility=truth)


def test_what_lies_beyond_failures_is_not_tried_again_and_again():
    """The objective promises most where every run fails; the optimum is at the edge."""
    study = boat.Study(
        boat.Space(x=boat.Float(0, 1), k=boat.Integer(1, 8)), minimize="latency", random_seed=1
    )
    for _ in range(20):
        trial = study.ask()
        x, k = trial.configuration["x"], trial.configuration["k"]
        if trial.number == 19:
            score = study.policy.feasible(study.evidence(), {})(study.space.encode([trial.configuration]))
        if x > 0.7:
            study.fail(trial, "out of memory")
        else:
            study.tell(trial, 10 - 3 * x + 0.1 * k)
    known = [trial for trial in study.trials if trial.origin == "suggested"]
    assert known[-1].suggestion["success"] == pytest.approx(np.exp(score[0] / CARE))
    assert all(0.0 < trial.suggestion["success"] <= 1.0 for trial in known[5:])
    assert any(f"; {100 * t.suggestion['success']:.0f} % sure to succeed" in t.why for t in known)
    suggested = [trial.configuration["x"] for trial in known]
    assert sum(x > 0.75 for x in suggested) <= 3  # with the noise taken for doubt, and less care, it was 5
    assert study.best.configuration["x"] > 0.69
