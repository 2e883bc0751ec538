import math
import threading
from datetime import timedelta

import numpy as np
import pytest

import boatppl as boat
from boatppl import fit
from boatppl.optimize import seconds_of

SPACE = boat.Space(x=boat.Float(0, 1, default=0.9), y=boat.Integer(1, 8, default=8))


def run(configuration):
    return {"loss": 1 + (configuration["x"] - 0.3) ** 2 + 0.1 * abs(configuration["y"] - 3)}


def quiet(**options):
    return {"minimize": "loss", "random_seed": 1, "progress": False, "control_every": 0, **options}


def test_generic_first_finds_the_optimum_and_beats_the_default():
    result = boat.optimize(run, SPACE, n_trials=16, **quiet())
    assert result.best_value == pytest.approx(1.0, abs=0.05)
    assert result.best_configuration["y"] == 3
    assert result.best_measured == pytest.approx(run(result.best_configuration)["loss"])
    assert len(result.trials) == 16
    assert result.trials["predicted"].notna().sum() == 12
    assert "with the default" in repr(result)


def test_a_run_that_fails_is_a_failed_trial_and_the_study_goes_on():
    outcomes = iter([ValueError("boom"), math.nan, None, "text", {"los": 1.0}, {"loss": math.inf}])

    def troublesome(configuration):
        outcome = next(outcomes, None) if configuration["x"] != 0.9 else 2.0
        if isinstance(outcome, Exception):
            raise outcome
        return (
            run(configuration)
            if outcome is None and configuration["y"] > 8
            else outcome or run(configuration)
        )

    result = boat.optimize(troublesome, SPACE, n_trials=9, **quiet())
    states = list(result.trials["state"])
    assert states.count("failed") == 5
    assert states.count("complete") == 4
    reasons = " ".join(str(reason) for reason in result.trials["reason"])
    for words in ("boom", "NaN", "Did you mean 'loss'", "inf"):
        assert words in reasons


def test_ctrl_c_returns_the_result_so_far_and_the_trial_is_aborted(tmp_path):
    calls = []

    def interrupted(configuration):
        calls.append(configuration)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(configuration)

    path = tmp_path / "study.db"
    result = boat.optimize(interrupted, SPACE, n_trials=9, storage=path, **quiet())
    assert result.stopped == "interrupted"
    assert list(result.trials["state"]) == ["complete"] * 3 + ["aborted"]
    again = boat.optimize(run, SPACE, n_trials=6, storage=path, **quiet())
    assert list(again.trials["state"]).count("complete") == 6


def test_control_and_confirmation_runs_are_counted_apart():
    result = boat.optimize(run, SPACE, n_trials=6, **quiet(control_every=3), confirm=2)
    origins = list(result.trials["origin"])
    assert origins.count("control") == 1  # none after the last trial
    assert origins[-4:] == ["confirm"] * 4
    confirmed = [trial.configuration for trial in result.study.trials[-4:]]
    assert confirmed.count(SPACE.default) == 2
    assert len(result.trials) == 6 + 1 + 4
    [control] = [trial for trial in result.study.trials if trial.origin == "control"]
    assert control.configuration == SPACE.default
    first, second = confirmed[:2], confirmed[2:]
    [best] = [configuration for configuration in first if configuration != SPACE.default]
    assert second == first[::-1]  # alternately, and neither is always the first
    assert best in [trial.configuration for trial in result.study.trials[:6]]


def test_nothing_is_compiled_or_sampled_beside_a_trial_on_this_machine(monkeypatch):
    busy, beside, done = [], [], []

    def watched(function):
        def call(*args, **kwargs):
            busy.append(function)
            try:
                return function(*args, **kwargs)
            finally:
                done.append(busy.pop())

        return call

    sampler, compiler = fit.sample, fit.Inference.compile
    monkeypatch.setattr(fit, "sample", watched(sampler))
    monkeypatch.setattr(fit.Inference, "compile", watched(compiler))

    def measured(configuration):
        before = len(done)
        threading.Event().wait(0.02)
        beside.append(bool(busy) or len(done) > before)
        return run(configuration)

    boat.optimize(measured, SPACE, n_trials=3, **quiet(n_initial=2))
    assert beside == [False] * 3
    assert {sampler, compiler} <= set(done)  # it was watched


@pytest.mark.parametrize("overlap", [False, True])
def test_only_with_overlap_compilation_begins_with_the_session(overlap, monkeypatch):
    begun, seen = threading.Event(), []
    monkeypatch.setattr(boat.Study, "compile", lambda study: begun.set())

    def measured(configuration):
        seen.append(begun.wait(5.0 if overlap else 0.1))
        return run(configuration)

    boat.optimize(measured, SPACE, n_trials=1, **quiet(overlap=overlap))
    assert seen == [overlap]


def test_callbacks_see_every_trial_and_the_time_budget_ends_the_loop():
    seen = []
    result = boat.optimize(
        run, SPACE, budget=0.5, callbacks=[lambda study, trial: seen.append(trial.number)], **quiet()
    )
    assert seen == list(range(len(result.trials)))
    assert len(seen) >= 4
    assert "time budget" in result.stopped


def test_a_time_limit_ends_a_run_that_hangs():
    def sometimes_hangs(configuration):
        while configuration["y"] == 8 and configuration["x"] != 0.9:
            pass
        return run(configuration)

    result = boat.optimize(sometimes_hangs, SPACE.fix(y=8), n_trials=2, timeout=2.0, **quiet(n_initial=2))
    assert list(result.trials["state"]) == ["complete", "timed out"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30min", 1800), ("2h", 7200), (5, 5), (timedelta(hours=1), 3600)]
)
def test_budgets(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "soon", "10 parsecs", "inf", ".s", "-5s", "1e3s", 0, -1, True, None, [1], math.inf, math.nan,
        timedelta(seconds=-1), f"{'9' * 400}s",
    ],
)  # fmt: skip
def test_what_is_no_budget_is_a_sentence(text):
    with pytest.raises(boat.ModelError, match=r"'30min' or '2h'; got .* n_trials="):
        seconds_of(text)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_trials": 0}, "n_trials is a whole number of at least 1; got 0"),
        ({"n_trials": -3}, "n_trials is a whole number of at least 1; got -3"),
        ({"n_trials": 2.5}, "n_trials is a whole number of at least 1; got 2.5"),
        ({"callbacks": print}, r"callbacks= is a list of functions.*; got <built-in function print>"),
        ({"callbacks": [3]}, r"callbacks= is a list of functions.*; got \[3\]"),
        ({"callbacks": None}, "callbacks= is a list of functions.*; got None"),
        ({"callbacks": [lambda trial: 0]}, r"with the study and a finished trial; <lambda>\(trial\)"),
        ({"context": 3}, "context= is a dict with the value of every context variable.*; got 3"),
        ({"isolate": "yes"}, "isolate= is True or False; got 'yes'"),
        ({"overlap": 1}, "overlap= is True or False; got 1"),
        ({"hedge": "no"}, "hedge= is True or False; got 'no'"),
        ({"progress": "bar"}, "progress= is True or False; got 'bar'"),
        ({"name": 3}, "name= is the study's name in its file, a text.*; got 3"),
        ({"timeout": "5s"}, "timeout is a positive number of seconds; got '5s'"),
        ({"minimize": 3}, "minimize='...'"),
    ],
)
def test_every_option_of_a_wrong_kind_is_a_sentence_before_any_run(options, sentence):
    ran = []
    with pytest.raises(ValueError, match=sentence):
        boat.optimize(ran.append, SPACE, **{**quiet(), "n_trials": 1, **options})
    assert not ran


@pytest.mark.parametrize("model", [None, 3, "space", [], {"a": 3}])
def test_what_is_no_model_is_a_sentence(model):
    with pytest.raises(boat.ModelError, match="a study takes a Space, a DAGModel, or a list or dict of"):
        boat.optimize(run, model, n_trials=1, **quiet())


def test_a_store_that_is_no_path_and_a_context_that_is_no_dict_are_sentences():
    with pytest.raises(boat.StorageError, match=r"storage= is the path of a file.*; got 3"):
        boat.Study(SPACE, minimize="loss", storage=3)
    with pytest.raises(TypeError, match=r"a context is a dict such as .*, got 3"):
        boat.optimize(run, SPACE, n_trials=1, context=lambda: 3, **quiet())


def test_counts_of_numpy_are_counts():
    assert len(boat.optimize(run, SPACE, n_trials=np.int64(1), **quiet()).trials) == 1


def test_no_budget_at_all_is_refused():
    with pytest.raises(boat.ModelError, match="n_trials=20"):
        boat.optimize(run, SPACE, minimize="loss")


def test_the_table_of_trials_is_printed_as_they_come(capsys):
    boat.optimize(run, SPACE, n_trials=5, minimize="loss", random_seed=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["#", "trial", "x", "y"]
    assert "the configuration in use today" in lines[1]
    assert "expected gain" in lines[5]
    assert lines[-1].strip() == "stopped: 5 trials were run"


def test_noise_does_not_make_the_luckiest_run_the_best():
    rng = np.random.default_rng(0)
    study = boat.Study(boat.Space(x=boat.Float(0, 1, default=0.3)), minimize="loss", random_seed=0)
    for i in range(30):
        x = i / 29
        study.tell({"x": x}, 1 + 3 * (x - 0.3) ** 2 + 0.3 * rng.normal() - (2.2 if i == 29 else 0.0))
    luckiest = min(study.trials, key=lambda trial: trial.measurements["loss"])
    assert luckiest.configuration["x"] == 1.0
    assert abs(study.best.configuration["x"] - 0.3) < 0.25
