"""Several trials at a time, trials that were lost, and sessions that were cut short."""

import itertools
import os
import random
import re
import signal
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import boatppl as boat
from benchmarks.pathological import HARMLESS, OBJECTIVES
from boatppl.infer import sample
from boatppl.processes import identity, is_gone
from boatppl.progress import Silent
from boatppl.retry import LOST
from boatppl.session import Session, resolve_orphans
from boatppl.storage import open_storage
from boatppl.storage.rows import row_of
from boatppl.workers import Here, Job

SPACE = boat.Space(x=boat.Float(0, 1, default=0.9), y=boat.Integer(1, 8, default=8))
FORK = get_context("fork")  # the functions of this file are there at once
QUIET = {"minimize": "loss", "random_seed": 1, "progress": False, "control_every": 0}


def loss(configuration):
    return {"loss": 1 + (configuration["x"] - 0.3) ** 2 + 0.1 * abs(configuration["y"] - 3)}


def states(result):
    return list(result.trials["state"])


def configurations(study, *, state=boat.State.COMPLETE):
    return [trial.configuration for trial in study.trials if trial.state is state]


# -- several at a time


def test_as_many_trials_run_at_a_time_as_there_are_workers_and_each_is_another_one():
    all_here, together, most, lock = threading.Barrier(3), [], [], threading.Lock()

    def run(configuration):
        with lock:
            together.append(1)
            most.append(len(together))
        all_here.wait(60)  # it breaks where fewer than three run at a time
        with lock:
            together.pop()
        return loss(configuration)

    with ThreadPoolExecutor(3) as executor:
        result = boat.optimize(run, SPACE, n_trials=12, executor=executor, **QUIET)
    assert max(most) == 3
    assert states(result) == ["complete"] * 12
    assert len({tuple(c.items()) for c in configurations(result.study)}) == 12
    assert result.best_value < 1.1


def test_a_free_worker_gets_a_new_trial_while_another_one_is_still_running():
    slow_done, told_meanwhile = threading.Event(), []

    def run(configuration):
        if configuration == SPACE.default:
            slow_done.wait(30)
        return loss(configuration)

    def told(study, trial):
        told_meanwhile.append(trial.number)
        if len(told_meanwhile) == 6:
            slow_done.set()

    result = boat.optimize(run, SPACE, n_trials=8, n_workers=2, callbacks=[told], **QUIET)
    assert 0 not in told_meanwhile[:6]
    assert states(result) == ["complete"] * 8


def test_a_suggestion_knows_what_is_pending():
    seen = []

    def run(configuration):
        time.sleep(0.02)
        return loss(configuration)

    def told(study, trial):
        seen.append([t.configuration for t in study.trials.running])

    boat.optimize(run, SPACE, n_trials=9, n_workers=3, callbacks=[told], **QUIET)
    assert max(map(len, seen)) == 2
    assert all(len({tuple(c.items()) for c in pending}) == len(pending) for pending in seen)


def test_processes_run_what_is_at_the_top_of_a_module_and_refuse_what_cannot_be_sent():
    with ProcessPoolExecutor(2, mp_context=FORK) as executor:
        result = boat.optimize(loss, SPACE, n_trials=4, executor=executor, **QUIET)
        assert states(result) == ["complete"] * 4
        with pytest.raises(boat.ModelError, match=r"run cannot be sent to the processes.*ThreadPoolExecutor"):
            boat.optimize(lambda c: 1.0, SPACE, n_trials=4, executor=executor, **QUIET)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"executor": 4},
            r"executor= is a concurrent.futures.Executor, such as ThreadPoolExecutor\(4\).*; got 4",
        ),
        ({"n_workers": 0}, "n_workers is a whole number of at least 1; got 0"),
        ({"executor": Executor()}, "say how many trials .* with n_workers="),
        ({"resources": {"machine": 1}}, "resources= are those of a Dask cluster's workers"),
        ({"orphans": "forget"}, "orphans= is one of 'retry', 'fail'; got 'forget'"),
        ({"memory": -1}, "memory= is a positive number of bytes; got -1"),
    ],
)
def test_what_is_no_executor_is_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        boat.optimize(loss, SPACE, n_trials=2, **options, **QUIET)


class Foreign(Executor):
    """Somebody's executor of one worker: it runs at once, and some of its futures end in an error."""

    def __init__(self, errors):
        self.errors = errors

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        error = next(self.errors, None)
        if error is None:
            future.set_result(function(*args, **kwargs))
        else:
            future.set_exception(error)
        return future


def test_any_executor_will_do_and_the_way_to_a_worker_may_fail_without_harm():
    errors = itertools.chain([None, OSError("no route to host"), None, OSError("no route to host")])
    result = boat.optimize(loss, SPACE, n_trials=5, executor=Foreign(errors), n_workers=1, **QUIET)
    assert states(result).count("aborted") == 2
    assert states(result).count("complete") == 5
    assert "its worker could not run it: OSError: no route to host" in set(result.trials["reason"])
    alone = boat.optimize(loss, SPACE, n_trials=5, **QUIET)
    assert configurations(result.study) == configurations(alone.study)


def test_an_executor_that_takes_nothing_ends_the_session_with_a_sentence():
    executor = ThreadPoolExecutor(2)
    executor.shutdown()
    result = boat.optimize(loss, SPACE, n_trials=5, executor=executor, **QUIET)
    assert "the executor takes no more runs: cannot schedule new futures after shutdown" in result.stopped
    assert not result.study.trials.running


def test_what_a_program_said_is_in_the_log_of_its_trial():
    script = 'echo begun; echo careful >&2; test {y} -lt 8 && echo "{\\"loss\\": 1}" || exit 3'
    result = boat.optimize(boat.Command(["sh", "-c", script]), SPACE, n_trials=2, **QUIET)
    assert states(result) == ["failed", "complete"]
    said = result.study.outputs
    assert said[0] == "begun\n\n--- stderr ---\ncareful\n"
    assert said[1].startswith('begun\n{"loss": 1}\n')
    result = boat.optimize(lambda _: print("begun") or 1.0, SPACE, n_trials=2, isolate=True, **QUIET)
    assert result.study.outputs == {0: "begun\n", 1: "begun\n"}


class Refusing(dict):
    """What no careless line survives."""

    def refuse(self, *arguments, **options):
        raise RuntimeError("no")

    items = __array__ = __repr__ = __str__ = refuse


def raising(error):
    def run(configuration):
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (raising(OSError("no file caf\udce9")), r"OSError: no file caf\\udce9"),  # a name that is no UTF-8
        (raising(OSError("\0\x1b[2J")), "OSError: \0\x1b"),
        (lambda configuration: {"loss": Refusing()}, "loss|cannot be measured"),
        (lambda configuration: {"loss": 1.0, "$float": "inf"}, "without \\$ in front"),
        (lambda configuration: {"loss": 1.0, "caf\udce9": 1.0}, r"'caf\\udce9' \(str\), which is no node"),
        (lambda configuration: np.ma.masked, "loss: expected a finite number, got NaN"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"isolate": True}, {"n_workers": 2}], ids=str)
def test_what_cannot_be_printed_or_kept_ends_no_session(tmp_path, run, reason, options):
    path = tmp_path / "study.db"
    result = boat.optimize(run, SPACE, n_trials=2, storage=path, **QUIET, **options)
    assert states(result) == ["failed", "failed"]
    with open_storage(path) as storage:
        assert all(re.search(reason, trial.reason) for trial in storage.trials("study"))


@pytest.mark.filterwarnings("ignore:coroutine")
def test_no_bad_objective_stops_a_study_in_the_tuners_own_process(tmp_path):
    path, names = tmp_path / "study.db", iter(HARMLESS)
    options = {"n_trials": len(HARMLESS), "n_initial": len(HARMLESS), "storage": path}
    with np.errstate(all="ignore"):
        boat.optimize(lambda c: OBJECTIVES[next(names)](c), SPACE, **options, **QUIET)
    with open_storage(path) as storage:
        trials = dict(zip(HARMLESS, storage.trials("study"), strict=True))
    good = {
        *("a name with a zero byte", "a name with a line break"),
        *("an array without a dimension", "a long double", "half a double"),
    }
    for name, trial in trials.items():
        assert str(trial.state) == ("complete" if name in good else "failed"), name
        assert bool(trial.reason) == (name not in good), name
        assert len(trial.reason or "") < 11_000, name


def test_what_a_run_does_to_its_process_changes_no_suggestion(monkeypatch):
    def run(configuration):
        measured = loss(configuration)
        OBJECTIVES["clearing all it can reach"](configuration)
        random.seed(0)
        return measured

    wanted = boat.optimize(loss, SPACE, n_trials=5, **QUIET)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.chdir(Path.cwd())
    state = np.random.get_state(), random.getstate()  # noqa: NPY002
    found = boat.optimize(run, SPACE, n_trials=5, **QUIET)
    np.random.set_state(state[0])  # noqa: NPY002
    random.setstate(state[1])
    assert [t.configuration for t in found.study.trials] == [t.configuration for t in wanted.study.trials]
    assert found.study.trials[4].origin == "suggested"


def test_a_memory_limit_holds_for_callables():
    def hungry(configuration):
        return {"loss": float(len(bytes(2**30 if configuration["y"] == 8 else 8)))}

    result = boat.optimize(hungry, SPACE, n_trials=2, memory=2**28, **QUIET)
    assert states(result) == ["failed", "complete"]
    assert "MemoryError" in result.study.trials[0].reason


def test_a_posterior_that_cannot_be_had_gives_way_to_a_point_of_the_design(caplog, monkeypatch):
    result = boat.optimize(loss, SPACE, n_trials=5, **QUIET)
    study = result.study

    def broken(*args):
        raise FloatingPointError("the factorisation failed")

    monkeypatch.setattr(study.rivals, "posteriors", broken)
    trial = study.ask()
    assert (trial.origin, trial.suggestion) == (
        "design",
        {"fallback": "FloatingPointError: the factorisation failed"},
    )
    assert trial.configuration not in [t.configuration for t in study.trials[:5]]
    assert "a point of the design is run instead" in caplog.text


def test_a_block_that_had_to_be_sampled_twice_is_named_in_the_log(monkeypatch):
    def twice(*args, **options):
        found = sample(*args, **options)
        return replace(found, verdict=replace(found.verdict, retried=True))

    monkeypatch.setattr("boatppl.fit.sample", twice)
    result = boat.optimize(loss, SPACE, n_trials=5, **QUIET)
    said = result.study.ask().suggestion
    assert re.fullmatch(r"R-hat \d\.\d+, .*; sampled twice", said["verdicts"]["generic"]["loss"])
    assert "fallback" not in said


def failing_from(monkeypatch, rows):
    """Let inference fail as a factorisation would: in every table of so many rows or more."""

    def sometimes(density, found, *args, **options):
        if max(map(len, found.values())) >= rows:
            raise FloatingPointError("the factorisation failed")
        return sample(density, found, *args, **options)

    monkeypatch.setattr("boatppl.fit.sample", sometimes)


def test_a_posterior_that_cannot_be_had_gives_way_to_the_previous_one_also_where_a_study_is_resumed(
    tmp_path, caplog, monkeypatch
):
    space, path = boat.Space(x=boat.Float(0, 1, default=0.9)), tmp_path / "study.db"

    def run(configuration):
        return 1 + (configuration["x"] - 0.3) ** 2

    options = {**QUIET, "storage": path}
    failing_from(monkeypatch, 5)
    whole = boat.optimize(run, space, n_trials=7, **{**options, "storage": None})
    said = [(trial.origin, (trial.suggestion or {}).get("fallback")) for trial in whole.study.trials]
    why = "generic: no posterior of all {} runs (FloatingPointError: the factorisation failed): that of {}"
    assert said[4] == ("suggested", None)
    assert said[5:] == [("suggested", why.format(5, 4)), ("suggested", why.format(6, 4))]
    assert "loss: no posterior of all 5 runs" in caplog.text
    boat.optimize(run, space, n_trials=6, **options)
    resumed = boat.optimize(run, space, n_trials=7, **options)  # with no posterior of its own before
    assert configurations(resumed.study) == configurations(whole.study)
    assert resumed.best.configuration in configurations(whole.study)


def test_what_a_deadline_cut_off_is_made_so_again_by_a_resumed_study(tmp_path, monkeypatch, caplog):
    """The sampler has no time in trial 5, which fails: its fit is that of trial 6, too."""
    path, deadlines = tmp_path / "study.db", []

    def timed(*arguments, **options):
        return sample(*arguments, **options, deadline=0.0 if deadlines else 600.0)

    monkeypatch.setattr("boatppl.fit.sample", timed)

    def step(study, number):
        deadlines[:] = [0] * (number == 5)
        trial = study.ask()
        if number == 5:
            study.fail(trial, "it crashed")
        else:
            study.tell(trial, loss(trial.configuration))
        return trial

    options = {"minimize": "loss", "random_seed": 1, "n_initial": 4}
    whole = boat.Study(SPACE, **options)
    expected = [step(whole, number) for number in range(8)]
    found = []
    for number in range(8):  # each one by a session of its own; only the first ones have no time in trial 5
        found.append(step(boat.Study(SPACE, storage=path, **options), number))
    assert list(expected[5].suggestion["cut_off"].values()) == [0]
    assert "not ready in time" in expected[5].suggestion["fallback"]
    for trial in (expected[6], found[6]):
        assert "not ready in time" in trial.suggestion["fallback"]  # not timed again
    assert "cut_off" not in expected[6].suggestion
    assert "fallback" not in expected[7].suggestion
    assert [trial.configuration for trial in found] == [trial.configuration for trial in expected]
    assert "not ready in time" in caplog.text


def test_inference_that_never_works_ends_no_session(monkeypatch, capsys, caplog):
    failing_from(monkeypatch, 0)
    options = {**QUIET, "progress": True, "stop": boat.stop_when(), "confirm": 1}
    result = boat.optimize(loss, SPACE, n_trials=6, **options)
    assert states(result) == ["complete"] * 6
    assert set(result.trials["origin"][1:]) == {"design"}
    assert "loss" in capsys.readouterr().out
    assert "the stopping rule could not be judged: the factorisation failed" in caplog.text
    assert "nothing is confirmed: FloatingPointError" in caplog.text


# -- workers that die


def dies_once(configuration):
    """Ends its worker's process at y = 8, unless it was there before."""
    path = os.environ["BOAT_TEST_DIES"]
    if configuration["y"] == 8 and not os.path.exists(path):  # noqa: PTH110
        open(path, "w").close()  # noqa: PTH123
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(configuration)


def dies_at_8(configuration):
    if configuration["y"] == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return loss(configuration)


def test_a_trial_whose_worker_dies_is_aborted_and_retried(tmp_path, monkeypatch):
    monkeypatch.setenv("BOAT_TEST_DIES", str(tmp_path / "once"))
    with ProcessPoolExecutor(2, mp_context=FORK) as executor:
        result = boat.optimize(dies_once, SPACE, n_trials=6, executor=executor, **QUIET)
    lost = [trial for trial in result.study.trials if trial.state is boat.State.ABORTED]
    assert lost
    assert all(trial.marks == (LOST,) for trial in lost)
    assert "its worker ended before it did: BrokenProcessPool" in lost[0].reason
    assert states(result).count("complete") == 6
    assert SPACE.default in configurations(result.study)
    retried = [t for t in result.study.trials if (t.suggestion or {}).get("retry_of") == lost[0].number]
    assert [t.configuration for t in retried] == [lost[0].configuration]


def test_a_configuration_that_kills_its_worker_is_a_failure_and_its_neighbours_are_not():
    with ProcessPoolExecutor(3, mp_context=FORK) as executor:
        result = boat.optimize(dies_at_8, SPACE, n_trials=6, executor=executor, **QUIET)
    failed = configurations(result.study, state=boat.State.FAILED)
    assert SPACE.default in failed
    assert all(configuration["y"] == 8 for configuration in failed)
    assert states(result).count("complete") + len(failed) == 6


def test_what_keeps_being_lost_is_to_blame_in_the_end(tmp_path):
    path, numbers = tmp_path / "study.db", []
    for _ in range(3):
        with open_storage(path) as storage:
            study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=1)
            numbers.append(study.ask().number)
            pretend_ended(storage, numbers[-1])
            resolve_orphans(boat.Study(SPACE, minimize="loss", storage=path))
    trials = boat.Study(SPACE, minimize="loss", storage=path).trials
    assert [str(trial.state) for trial in trials] == ["aborted", "aborted", "failed"]
    assert len({trial.configuration["x"] for trial in trials}) == 1
    assert "so it was 3 times" in trials[2].reason


# -- aborted runs


def test_an_aborted_run_is_retried_and_not_learned_from():
    asked, moods = (
        [],
        itertools.chain(["fine", "fine", "down", "fine", "fine", "down"], itertools.repeat("fine")),
    )

    def run(configuration):
        asked.append(configuration)
        if next(moods) == "down":
            raise boat.Aborted("the network is down")
        return loss(configuration)

    result = boat.optimize(run, SPACE, n_trials=7, **QUIET)
    alone = boat.optimize(loss, SPACE, n_trials=7, **QUIET)
    assert [i for i, state in enumerate(states(result)) if state == "aborted"] == [2, 5]
    assert asked[2] == asked[3]
    assert asked[5] == asked[6]
    assert configurations(result.study) == configurations(alone.study)
    assert not result.study.evidence().failed
    assert "the network is down" in set(result.trials["reason"])


def test_a_program_says_with_code_75_that_it_wants_to_be_retried(tmp_path):
    script = f"test -e {tmp_path}/there && echo '{{\"loss\": 1}}' || {{ touch {tmp_path}/there; exit 75; }}"
    result = boat.optimize(boat.Command(["sh", "-c", script]), SPACE, n_trials=1, **QUIET)
    assert states(result) == ["aborted", "complete"]
    assert "sh says to try again later" in result.study.trials[0].reason


@pytest.mark.parametrize(
    ("run", "alike"),
    [
        (lambda configuration: configuration["z"], True),
        (lambda configuration: {"los": 1.0}, True),
        (lambda configuration: [][configuration["y"]], True),
        (lambda configuration: int(f"no {configuration}"), False),  # each for a reason of its own
        (lambda configuration: 1.0 if configuration["y"] == 8 else 1 / 0, False),
    ],
)
def test_runs_that_fail_all_alike_are_called_doubtful_once_and_go_on(caplog, run, alike):
    result = boat.optimize(run, SPACE, n_trials=5, **QUIET)
    assert len(result.trials) == 5
    said = [line for line in caplog.messages if "failed for one and the same reason" in line]
    assert len(said) == alike


def test_nothing_but_aborted_trials_ends_the_session_and_says_why():
    def run(configuration):
        raise boat.Aborted("the licence server does not answer")

    result = boat.optimize(run, SPACE, n_trials=5, **QUIET)
    assert states(result) == ["aborted"] * 3
    expected = "3 trials in a row were aborted, the last one because the licence server does not answer"
    assert result.stopped == expected


def test_ctrl_c_ends_the_programs_of_every_worker(tmp_path):
    (tmp_path / "begun").mkdir()
    script = f"touch {tmp_path}/begun/{{x}}; sleep 600"

    def interrupt():
        while len(list((tmp_path / "begun").iterdir())) < 2:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        command = boat.Command(["sh", "-c", script])
        start = time.monotonic()
        result = boat.optimize(command, SPACE, n_trials=5, n_workers=2, **QUIET)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.stopped == "interrupted"
    assert states(result) == ["aborted", "aborted"]
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(10)
    assert time.monotonic() - start < 20


def test_a_callback_that_raises_leaves_no_trial_running():
    studies = []

    def told(study, trial):
        studies.append(study)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        boat.optimize(
            lambda c: time.sleep(0.1) or loss(c), SPACE, n_trials=5, n_workers=3, callbacks=[told], **QUIET
        )
    assert not studies[0].trials.running


@pytest.mark.parametrize("moment", ["submit", "tell"])
def test_ctrl_c_between_the_store_and_the_worker_leaves_no_trial_running(monkeypatch, moment):
    study = boat.Study(SPACE, minimize="loss", random_seed=1)
    mine = study.ask()  # somebody's own, which the session leaves alone

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    workers = Here(Job(loss))
    monkeypatch.setattr(workers if moment == "submit" else study, moment, interrupted)
    session = Session(study, workers, None, [], Silent())
    assert session.until(5, None, None, 0, False) == "interrupted"
    assert [trial.number for trial in study.trials.running] == [mine.number]
    assert study.trials[1].state is boat.State.ABORTED


# -- orphans: trials whose process is gone


def pretend_ended(storage, number, *, host=None, ago=0.0):
    """Write into the store that the trial was asked for, so many seconds ago, by a process that has ended."""
    machine, _, place = identity().rpartition(" ")
    host = host or f"{machine} {place.partition('.')[0]}.1"  # our number, but it started long ago
    trial = storage.trials("study")[number]
    trial = replace(trial, started=trial.started - timedelta(seconds=ago))
    with storage._transaction("write") as connection:
        connection.execute("DELETE FROM trials WHERE number = ?", (number,))
        values = row_of("study", replace(trial, host=host))
        connection.execute(f"INSERT INTO trials VALUES ({', '.join('?' * len(values))})", values)


def test_a_process_is_known_by_its_number_and_its_start():
    machine, _, place = identity().rpartition(" ")
    number, _, start = place.partition(".")
    assert not is_gone(identity())
    assert is_gone(f"{machine} {number}.{int(start) - 1}")  # its number was given out again
    assert not is_gone(f"{machine} {number}")  # as older files have it
    assert not is_gone(f"elsewhere {number}.1")
    assert not is_gone(None)
    child = os.fork()
    if child == 0:
        os._exit(0)
    time.sleep(0.1)
    assert is_gone(f"{machine} {child}.1")  # a zombie
    os.waitpid(child, 0)
    assert is_gone(f"{machine} {child}")


@pytest.mark.parametrize(("policy", "state"), [("retry", "aborted"), ("fail", "failed")])
def test_orphans_are_resolved_by_the_declared_policy(tmp_path, policy, state):
    path = tmp_path / "study.db"
    study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=1)
    trial = study.ask()
    with open_storage(path) as storage:
        pretend_ended(storage, trial.number)
    result = boat.optimize(loss, SPACE, n_trials=3, storage=path, orphans=policy, **QUIET)
    first = result.study.trials[0]
    assert (str(first.state), first.reason) == (state, "its process ended before it did")
    assert (trial.configuration in configurations(result.study)) == (policy == "retry")
    assert states(result).count("complete") == (3 if policy == "retry" else 2)


def test_trials_of_living_processes_and_other_machines_are_left_alone_and_counted(tmp_path):
    path = tmp_path / "study.db"
    study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=1)
    elsewhere = study.ask()
    with open_storage(path) as storage:
        pretend_ended(storage, elsewhere.number, host="elsewhere 1.1")
    result = boat.optimize(loss, SPACE, n_trials=4, storage=path, **QUIET)
    assert states(result) == ["running"] + ["complete"] * 3
    study.tell(elsewhere, loss(elsewhere.configuration))
    assert study.n_counted == 4


def test_a_session_gives_up_what_it_cannot_see_after_a_silence(tmp_path):
    path = tmp_path / "study.db"
    study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=1)
    unseen = study.ask()
    with open_storage(path) as storage:
        pretend_ended(storage, unseen.number, host="elsewhere 1.1", ago=4000)
    left = boat.optimize(loss, SPACE, n_trials=2, storage=path, orphans_after=5000, **QUIET)
    assert states(left) == ["running", "complete"]
    result = boat.optimize(loss, SPACE, n_trials=3, storage=path, orphans_after=3600, **QUIET)
    assert states(result) == ["aborted"] + ["complete"] * 3
    assert result.study.trials[2].configuration == unseen.configuration  # it is run again before others
    with pytest.raises(boat.ModelError, match="orphans_after= is seconds, at least 180"):
        boat.optimize(loss, SPACE, n_trials=3, orphans_after=60, **QUIET)


def test_what_is_not_heard_of_for_too_long_is_given_up_and_a_late_result_is_kept(tmp_path):
    path = tmp_path / "study.db"
    study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=1)
    trials = study.ask(3)
    with open_storage(path) as storage:
        pretend_ended(storage, 0, host="elsewhere 7.1", ago=4000)
        pretend_ended(storage, 1, host="elsewhere 8.1", ago=4000)
        storage.renew("study", "elsewhere 8.1")  # it runs for long, and says that it lives
        pretend_ended(storage, 2, host=identity(), ago=4000)  # as this process does
    study.log.read()
    assert resolve_orphans(study) == []
    assert resolve_orphans(study, older_than=5000) == []
    [found] = resolve_orphans(study, older_than=3600)
    assert (found.number, found.state, found.marks) == (0, boat.State.ABORTED, (LOST,))
    assert found.reason == "nothing was heard of its process for 3600 s"
    again = study.ask()
    assert again.suggestion["retry_of"] == 0
    for _ in range(2):
        late = study.tell(trials[0], loss(trials[0].configuration))
        assert (late.number, late.marks) == (4, ("late",))
    with pytest.raises(boat.StorageError, match="A finished trial never changes"):
        study.tell(trials[0], 17.0)
    assert study.fail(trials[0], "it crashed").state is boat.State.ABORTED  # its retry will show that
    for wrong in (60, "1h"):
        with pytest.raises(boat.ModelError, match="older_than= is seconds, at least 180: a living session"):
            resolve_orphans(study, older_than=wrong)
    with study.storage._transaction("write") as connection:
        connection.execute("UPDATE leases SET renewed = '2000-01-01T00:00:00+00:00'")
    with pytest.raises(boat.StorageError, match=r"the lease of 'elsewhere 8.1' in study 'study' is damaged"):
        resolve_orphans(study, older_than=3600)


@pytest.mark.parametrize("policy", ["retry", "fail"])
def test_a_result_that_crosses_with_giving_it_up_is_kept(tmp_path, monkeypatch, policy):
    path = tmp_path / "study.db"
    study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=1)
    trial, finish = study.ask(), study.log.finish

    def a_moment_later(done):
        monkeypatch.undo()
        with open_storage(path) as storage:
            pretend_ended(storage, trial.number)
        assert resolve_orphans(boat.Study(SPACE, minimize="loss", storage=path), policy)
        return finish(done)

    monkeypatch.setattr(study.log, "finish", a_moment_later)
    told = study.tell(trial, 2.0)
    assert (told.number, told.measurements, told.marks) == (1, {"loss": 2.0}, ("late",))
    assert study.trials[0].marks == (LOST,)


def test_a_session_says_that_it_lives_while_it_runs(tmp_path, monkeypatch):
    path, heard = tmp_path / "study.db", []
    monkeypatch.setattr("boatppl.session.RENEWED_EVERY", 0.02)

    def run(configuration):
        with open_storage(path) as storage:
            deadline = time.monotonic() + 20
            while len(set(heard)) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
                heard.extend(storage.leases("study").items())
        return loss(configuration)

    boat.optimize(run, SPACE, n_trials=1, storage=path, **QUIET)
    assert {host for host, _ in heard} == {identity()}
    assert len(set(heard)) == 3
    assert abs(datetime.now(UTC) - heard[-1][1]) < timedelta(seconds=20)
    assert not [thread for thread in threading.enumerate() if "_renew" in thread.name]


# -- cut short


def test_the_stopping_rule_is_a_function_of_the_log(tmp_path):
    path, rule = tmp_path / "study.db", boat.stop_when(regret=0.05, probability=0.8)
    space = boat.Space(x=boat.Float(0, 1, default=0.9))

    def run(configuration):
        return 1 + (configuration["x"] - 0.3) ** 2

    options = {**QUIET, "stop": rule, "storage": path}
    whole = boat.optimize(run, space, n_trials=20, **{**options, "storage": None})
    assert whole.stopped.startswith("after")
    n = whole.study.n_counted
    for n_trials in range(1, n + 3):  # a session for every trial: none has two of its own
        result = boat.optimize(run, space, n_trials=n_trials, **options)
    assert len(result.trials) == n
    assert result.stopped == whole.stopped
    assert configurations(result.study) == configurations(whole.study)
    other = boat.stop_when(regret=0.04, probability=0.8)
    assert rule.held(result.study.trials)
    assert not other.held(result.study.trials)


def test_two_studies_on_one_file_never_take_the_same_configuration(tmp_path):
    path = tmp_path / "study.db"
    first, second = (boat.Study(SPACE, minimize="loss", storage=path, random_seed=0) for _ in range(2))
    choose, taken = second.policy.choose, []

    def meanwhile(*args):
        choice = choose(*args)
        if not taken:  # the other process is faster by a moment
            taken.append(first.ask())
        return choice

    second.policy.choose = meanwhile
    trial = second.ask()
    assert taken[0].configuration == SPACE.default
    assert trial.configuration != SPACE.default
    assert trial.number == 1
