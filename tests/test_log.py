"""How one study's trials stand in its file, and which of them are run again: no model, no inference."""

from dataclasses import replace

import numpy as np
import pytest

import boatppl as boat
from boatppl.log import UNWRITTEN, Log
from boatppl.processes import identity
from boatppl.retry import LOST, RETRIES, given_up, is_to_blame, to_retry
from boatppl.storage import StorageError, Taken, open_storage
from boatppl.trial import State, Trial, Trials

SPACE = boat.Space(x=boat.Integer(0, 9, default=3), gc=boat.Categorical(["serial", "g1"]))
SHAPES = {"loss": (), "load": (2,)}
HERE = {"x": 1, "gc": "g1"}


def a_log(storage, space=SPACE, model="one", shapes=SHAPES):
    """A session's log; ``model`` stands for what a model's description holds."""
    parameters = {name: {"text": str(p), "default": None} for name, p in space.parameters.items()}
    described = {
        "space": {"parameters": parameters, "constraints": [], "functions": space.fingerprint()},
        "models": {model: {"parts": {}, "data": {}, "coords": {}}},
    }
    storage.open_study("s", objective="loss", direction="minimize", space=space.fingerprint())
    return Log(storage, "s", space, shapes, described, seed=7)


@pytest.fixture
def storage():
    with open_storage() as storage:
        yield storage


def test_a_trial_is_in_the_store_before_it_is_handed_out(storage):
    log = a_log(storage)
    for number in range(3):
        trial = log.start(HERE | {"x": number}, {"rate": 2.0}, origin="design", suggestion={"why": "because"})
        assert storage.trials("s")[number] == log.trials[number] == trial
        assert (trial.number, trial.state, trial.origin) == (number, State.RUNNING, "design")
        assert (trial.context, trial.suggestion) == ({"rate": 2.0}, {"why": "because"})
        assert (trial.seed, trial.host) == (7, identity())
    done = log.finish(trial.finish(State.COMPLETE, {"loss": 1.0}))
    assert log.trials[2] == storage.trials("s")[2] == done
    assert [t.number for t in log.trials.running] == [0, 1]


def test_the_configuration_of_a_told_trial_is_never_taken_on_trust(storage):
    log = a_log(storage)
    trial = log.start(HERE, {}, origin="design")
    assert log.asked(replace(trial, host="a worker", reason="x")) == replace(trial, host="a worker")
    with pytest.raises(boat.ModelError, match="trial 0 of this study has the configuration"):
        log.asked(replace(trial, configuration=HERE | {"x": 2}))
    with pytest.raises(boat.ModelError, match="expected a trial that study"):
        log.asked(HERE)
    done = log.finish(trial.finish(State.COMPLETE, {"loss": 1.0}, marks=["slow"]))
    again = log.asked(trial)  # to be told again: as it was when it ran
    assert (again.state, again.measurements, again.finished) == (State.RUNNING, {}, None)
    assert log.finish(again.finish(State.COMPLETE, {"loss": 1.0})) == done


def test_a_late_result_has_one_trial_of_its_own(storage):
    log = a_log(storage)
    trial, other = (log.start(HERE | {"x": x}, {"rate": 1.0}, origin="design") for x in (1, 2))
    for lost in (trial, other):
        log.finish(lost.finish(State.ABORTED, {}, reason="lost"))
    late = log.late(other)
    assert (late.number, late.origin, late.suggestion) == (2, "told", {"late_of": 1})
    assert (late.configuration, late.context) == (other.configuration, other.context)
    log.finish(late.finish(State.COMPLETE, {"loss": 1.0}))
    assert log.late(other).number == 2
    assert log.late(trial).number == 3


def test_what_another_process_writes_is_seen_and_what_it_took_is_not_taken_again(tmp_path):
    with open_storage(tmp_path / "s.db") as first, open_storage(tmp_path / "s.db") as second:
        here, there = a_log(first), a_log(second)
        trial = there.start(HERE, {}, origin="design")
        assert len(here.trials) == 0
        with pytest.raises(Taken):
            here.start(HERE, {}, origin="design", unless_taken=True)
        assert here.start(HERE, {}, origin="design").number == 1
        here.refresh()
        assert [t.number for t in here.trials] == [0, 1]
        there.finish(trial.finish(State.COMPLETE, {"loss": 1.0}))
        here.refresh()
        assert here.trials[0].state is State.COMPLETE
        known = here.trials
        here.read()
        assert here.trials[0] is known[0]  # a finished one never changes: it is read once


def test_a_session_says_what_has_changed_since_the_last_one(storage):
    log = a_log(storage)
    assert log.changed == ()
    log.finish(log.start({"x": 8, "gc": "g1"}, {}, origin="told").finish(State.COMPLETE, {"loss": 1.0}))
    assert a_log(storage).changed == ()
    narrower = boat.Space(x=boat.Integer(0, 5, default=3), gc=boat.Categorical(["serial", "g1"]))
    log = a_log(storage, narrower)
    assert len(log.changed) == 1
    assert log.resumption() == (
        f"study 's' goes on although it has changed: {log.changed[0]}. Its 1 trial is kept, 1 marked 'out of "
        "range'."
    )
    log.start({"x": 1, "gc": "g1"}, {}, origin="told")
    assert a_log(storage, narrower, model="two").changed == ("the model has changed",)
    assert [session.number for session in storage.sessions("s")] == [0, 1, 2, 3]
    assert storage.studies()[0].space == narrower.fingerprint()
    assert "Its 2 trials are kept, 1 marked" in a_log(storage, narrower).resumption()


def test_a_study_of_which_only_the_space_was_kept_says_that_it_has_changed(storage):
    storage.open_study("s", objective="loss", direction="minimize", space="another one")
    assert a_log(storage).changed == ("the space has changed",)
    with open_storage() as older:
        older.open_study("s", objective="loss", direction="minimize")
        assert a_log(older).changed == ()


WIDER = boat.Space(
    x=boat.Integer(0, 9, default=3), gc=boat.Categorical(["serial", "g1"]), y=boat.Float(0, 1, default=0.25)
)


@pytest.mark.parametrize(
    ("space", "configuration", "marks"),
    [
        (SPACE, {"x": 8, "gc": "g1"}, ()),
        (WIDER, {"x": 8, "gc": "g1", "y": 0.25}, ("before y",)),
        (SPACE.constrain(lambda x: x < 9), {"x": 8, "gc": "g1"}, ()),
        (SPACE.constrain(lambda x: x < 5), {"x": 8, "gc": "g1"}, ("violates a constraint",)),
        (boat.Space(x=boat.Integer(0, 5)), {"x": 8}, ("with gc=g1", "out of range")),
        (boat.Space(x=boat.Integer(0, 9), gc=boat.Categorical(["a", "b"])),
         {"x": 8, "gc": "g1"}, ("outside the space",)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("running", [True, False])
def test_a_trial_is_read_as_what_it_means_today(storage, space, configuration, marks, running):
    trial = a_log(storage).start({"x": 8, "gc": "g1"}, {}, origin="told")
    if not running:
        storage.finish("s", trial.finish(State.COMPLETE, {"loss": 1.0}, marks=["slow"]))
        marks = ("slow", *marks)
    log = a_log(storage, space)
    assert (log.trials[0].configuration, log.trials[0].marks) == (configuration, marks)
    log.read()
    assert log.trials[0].marks == marks
    assert storage.trials("s")[0].configuration == {"x": 8, "gc": "g1"}  # the store does not change


def test_measurements_of_another_shape_are_left_out_and_named(storage):
    log = a_log(storage)
    values = {"loss": 1.0, "load": np.array([1.0, 2.0]), "more": np.ones(3)}
    log.finish(log.start(HERE, {}, origin="told").finish(State.COMPLETE, values))
    assert a_log(storage).trials[0].measurements.keys() == values.keys()
    [trial] = a_log(storage, shapes={"loss": (2,), "load": ()}).trials
    assert trial.measurements.keys() == {"more"}
    assert trial.marks == ("loss and load of another shape",)


# -- what is run again


def ended(number, state=State.ABORTED, x=1, **options):
    trial = Trial(number, HERE | {"x": x}, **options)
    return trial if state is State.RUNNING else trial.finish(state, {}, reason="why", marks=trial.marks)


@pytest.mark.parametrize(
    ("trials", "number"),
    [
        ([], None),
        ([ended(0)], 0),
        ([ended(0, State.FAILED)], None),
        ([ended(0, State.TIMED_OUT), ended(1, x=2)], 1),
        ([ended(0), ended(1, x=2)], 0),  # the first one first
        ([ended(0), ended(1, State.COMPLETE), ended(2, x=2)], 2),  # its retry came to an end
        ([ended(0), ended(1, State.RUNNING)], None),  # its retry runs
        ([ended(0), ended(1)], 1),
        ([ended(n) for n in range(RETRIES)], RETRIES - 1),
        ([ended(n) for n in range(RETRIES + 1)], None),  # it was retried often enough
        ([ended(0, origin="told")], None),
        ([ended(0, origin="control")], None),
        ([ended(0, origin="confirm")], None),
        ([ended(0, origin="default")], 0),
        ([ended(0, marks=("out of range",))], None),
        ([ended(0, marks=("violates a constraint", "slow"))], None),
        ([ended(0, marks=("outside the space",))], None),
        ([ended(0, marks=("slow",))], 0),
        ([ended(0, context={"rate": 1.0})], None),  # this is asked in no context
    ],
)
def test_what_is_run_again_follows_from_the_log(trials, number):
    def asked_in(context, trials):
        trial = to_retry(Trials(trials), context)
        return None if trial is None else trial.number

    assert asked_in({}, trials) == number
    elsewhere = [replace(trial, context={**trial.context, "load": 2.0}) for trial in trials]
    assert asked_in({}, elsewhere) is None
    if not any(trial.context for trial in trials):
        assert asked_in({"load": 2.0}, elsewhere) == number


def test_what_lost_its_worker_three_times_is_to_blame():
    lost = [ended(0, marks=(LOST,)), ended(1, marks=(LOST,)), ended(2, x=2, marks=(LOST,)), ended(3)]
    for before, deaths, blame in ((1, 1, False), (1, 2, True), (2, 1, True), (3, 1, True), (4, 1, True)):
        known = [*lost[:before], now := ended(9, State.RUNNING)]
        assert is_to_blame(now, Trials(known), deaths) is blame, (before, deaths)
    assert not is_to_blame(lost[1], Trials(lost))  # itself does not count twice
    assert not is_to_blame(ended(9, State.RUNNING, x=2), Trials(lost))
    assert not is_to_blame(ended(9, State.RUNNING, context={"rate": 1.0}), Trials(lost))


def test_only_what_was_given_up_may_still_be_told():
    assert given_up(ended(0))
    assert given_up(ended(0, State.FAILED, marks=(LOST,)))
    assert not given_up(ended(0, State.FAILED))
    assert not given_up(ended(0, State.RUNNING))


def test_a_trial_that_is_not_there_is_named(storage):
    log = a_log(storage)
    with pytest.raises((StorageError, IndexError), match="no trial 5"):
        log.asked(Trial(5, HERE))


def test_many_runs_with_other_values_of_a_parameter_that_is_gone_are_one_clause(storage):
    log = a_log(storage)
    for x in range(6):
        log.finish(log.start({"x": x, "gc": "g1"}, {}, origin="told").finish(State.COMPLETE, {"loss": 1.0}))
    without = boat.Space(gc=boat.Categorical(["serial", "g1"]))
    assert a_log(storage, without).resumption().endswith("Its 6 trials are kept, 6 marked 'with x'.")


def test_what_could_not_be_written_is_written_when_it_can_be(tmp_path, monkeypatch):
    with open_storage(tmp_path / "study.db") as storage:
        storage.open_study("s", objective="loss", direction="minimize")
        log = a_log(storage)
        trial = log.start(HERE, {}, origin="told")
        (pages,) = storage._connection.execute("PRAGMA page_count").fetchone()
        storage._connection.execute(f"PRAGMA max_page_count = {pages}")  # a full disk
        measured = trial.finish(State.COMPLETE, {"loss": 2.0}, marks=["x" * 100_000])
        with pytest.raises(StorageError, match="Make space on the disk"):
            log.finish(measured)
        with pytest.raises(StorageError, match="Make space on the disk"):  # the end of its session
            log.finish(trial.finish(State.ABORTED, reason="interrupted"))
        log.refresh()
        assert log.trials[0].is_running
        storage._connection.execute("PRAGMA max_page_count = 1000000")
        log.refresh()
        assert log.trials[0] == measured
        assert not UNWRITTEN


def test_what_could_not_be_written_and_was_given_up_meanwhile_is_forgotten(tmp_path):
    with open_storage(tmp_path / "study.db") as storage:
        storage.open_study("s", objective="loss", direction="minimize")
        log = a_log(storage)
        trial = log.start(HERE, {}, origin="told")
        given_up = storage.finish("s", trial.finish(State.ABORTED, reason="its process ended"))
        UNWRITTEN[storage.path, "s", 0] = trial.finish(State.COMPLETE, {"loss": 2.0})
        log.refresh()
        assert log.trials[0] == given_up
        assert not UNWRITTEN
