"""Laws of trials: equal by value, exact as records, an append-only log; and what may be a measurement."""

import copy
import dataclasses
import json
import math
import pickle
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import boatppl as boat
from boatppl.measurement import MeasurementError, validate_measurements
from boatppl.trial import State, Trial, Trials

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1, max_size=6)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VECTORS = hnp.arrays(
    np.float64, st.integers(1, 4), elements=st.floats(allow_nan=True, allow_infinity=False, width=64)
)
CHOICES = FINITE | st.integers() | st.booleans() | st.text(max_size=5) | st.none() | VECTORS
NESTED = st.recursive(
    CHOICES | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
TRIALS = st.builds(
    Trial,
    number=st.integers(0, 10**6),
    configuration=st.dictionaries(NAMES, CHOICES | st.tuples(FINITE, FINITE), max_size=4),
    context=st.dictionaries(NAMES, CHOICES, max_size=2),
    state=st.sampled_from(State),
    measurements=st.dictionaries(NAMES, FINITE | VECTORS, max_size=4),
    reason=st.none() | st.text(max_size=20),
    origin=st.sampled_from(["default", "design", "suggested", "told", "control"]),
    suggestion=st.none() | st.dictionaries(NAMES, NESTED, max_size=3),
    seed=st.none() | st.integers(0, 2**128),
    started=TIMES,
    finished=st.none() | TIMES,
    host=st.none() | st.text(max_size=5),
    marks=st.lists(st.text(max_size=5), max_size=3).map(tuple),
)


def through_json(trial: Trial) -> Trial:
    return Trial.from_record(json.loads(json.dumps(trial.to_record(), allow_nan=False)))


@given(TRIALS)
def test_a_record_brings_back_an_equal_trial(trial):
    back = through_json(trial)
    assert back == trial
    assert back.to_record() == trial.to_record()


@given(FINITE)
def test_floats_come_back_bit_for_bit(value):
    back = through_json(Trial(0, {"x": value}, measurements={"y": value, "z": np.array([value, np.nan])}))
    assert math.copysign(1, back.configuration["x"]) == math.copysign(1, value)
    assert back.configuration["x"] == back.measurements["y"] == back.measurements["z"][0] == value
    assert np.isnan(back.measurements["z"][1])


@pytest.mark.parametrize(
    "change",
    [
        {"number": 1},
        {"configuration": {"x": 1}},  # not the float 1.0: a Categorical may offer both
        {"configuration": {"x": 1.0, "v": np.array([1.0, 2.0])}},
        {"context": {"rate": 2.0}},
        {"state": State.FAILED},
        {"measurements": {"y": np.array([1.0, np.nan, 3.5])}},
        {"measurements": {"y": np.array([1.0, np.nan])}},
        {"measurements": {"y": 1.0}},
        {"reason": "why"},
        {"origin": "told"},
        {"suggestion": {"why": ["b"]}},
        {"suggestion": {"why": ("a",)}},
        {"seed": 2},
        {"finished": datetime(2026, 1, 3, tzinfo=UTC)},
        {"host": "b"},
        {"marks": ("m",)},
    ],
)
def test_trials_differ_when_any_field_does(change):
    trial = Trial(
        0,
        {"x": 1.0, "v": np.array([1.0, 3.0])},
        measurements={"y": np.array([1.0, np.nan, 3.0])},
        suggestion={"why": ["a"], "score": math.nan},
        seed=1,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        host="a",
    )
    assert trial == dataclasses.replace(trial)
    assert trial != dataclasses.replace(trial, **change)
    assert trial != "trial"


@pytest.mark.parametrize(
    ("finished", "shown"),
    [
        ({}, "Trial 7, running, design: x 1, share [0.5 0.3 0.2], load 5000"),
        (
            {"state": State.COMPLETE, "measurements": {"p99": 12.3456, "time": np.arange(9.0)}},
            "Trial 7, complete, design, 12.5 s: x 1, share [0.5 0.3 0.2], load 5000; p99 12.35, "
            "time [0 1 2 …]",
        ),
        (
            {"state": State.FAILED, "reason": "RuntimeError: disk\n  full", "marks": ("out of range",)},
            "Trial 7, failed, design, 12.5 s: x 1, share [0.5 0.3 0.2], load 5000; RuntimeError: disk full; "
            "out of range",
        ),
    ],
)
def test_a_trial_prints_as_one_line_that_a_person_reads(finished, shown):
    trial = Trial(
        7,
        {"x": 1.0, "share": [0.5, 0.3, 0.2]},
        {"load": 5000},
        origin="design",
        started=datetime(2026, 1, 1, tzinfo=UTC),
        suggestion={"why": "x" * 500},
    )
    if finished:
        trial = trial.finish(finished=datetime(2026, 1, 1, 0, 0, 12, 500_000, tzinfo=UTC), **finished)
    assert repr(trial) == str(trial) == shown


@given(TRIALS)
def test_any_trial_prints_its_number_and_state(trial):
    assert repr(trial).startswith(f"Trial {trial.number}, {trial.state}")


def test_a_trial_owns_its_values():
    shares, times, configuration = np.array([0.5, 0.5]), np.array([1.0, 2.0]), {"n": np.int64(3)}
    trial = Trial(0, configuration | {"share": shares}, measurements={"time": times})
    shares[0], times[0], configuration["n"] = 9, 9, 9
    assert trial.configuration["n"] == 3
    assert type(trial.configuration["n"]) is int
    assert trial.configuration["share"][0] == 0.5
    assert trial.measurements["time"][0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        trial.measurements["time"][0] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.state = State.COMPLETE
    with pytest.raises(TypeError, match="unhashable"):
        hash(trial)


CHANGES = [
    lambda known: known.__setitem__("y", 9.0),
    lambda known: known.__delitem__("y"),
    lambda known: known.update(y=9.0),
    lambda known: known.setdefault("new", 9.0),
    lambda known: known.pop("y"),
    lambda known: known.popitem(),
    lambda known: known.clear(),
    lambda known: known.__ior__({"y": 9.0}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_measured_and_suggested_cannot_be_changed(change):
    study = boat.Study(boat.Space(x=boat.Float(0, 1)), minimize="y", random_seed=1)
    told = study.tell(study.ask(), 2.0)
    with pytest.raises(TypeError, match="never changes; change a copy"):
        change(told.measurements)
    assert study.log.trials[0].measurements == {"y": 2.0}
    given = {"y": {"y": 1.0}}
    trial = Trial(0, {"y": 1}, context={"y": 2.0}, suggestion=given)
    for known in (trial.suggestion, trial.suggestion["y"], trial.configuration, trial.context):
        with pytest.raises(TypeError, match="never changes; change a copy"):
            change(known)
    given["y"]["y"] = 2.0
    assert trial.suggestion == {"y": {"y": 1.0}}
    draws = np.zeros(2)
    [kept] = Trial(0, {}, suggestion={"draws": [draws]}).suggestion["draws"]
    draws[0] = 1.0
    assert kept[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 2.0


@given(TRIALS)
def test_copies_of_a_trial_are_equal_and_read_only_too(trial):
    for twin in (pickle.loads(pickle.dumps(trial)), copy.deepcopy(trial), dataclasses.replace(trial)):
        assert twin == trial
        with pytest.raises(TypeError, match="never changes"):
            twin.measurements["y"] = 1.0
    mine = dict(trial.measurements) | {"y": 1.0}
    assert mine.pop("y") == 1.0


def test_a_time_limit_is_kept_as_a_plain_number_whatever_gave_it():
    ended = Trial(0, {"x": 1}).finish(State.TIMED_OUT, reason="too long", timeout=np.float32(2.5))
    assert type(ended.timeout) is float
    assert type(Trial(0, {"x": 1}, timeout=2).timeout) is float
    assert Trial.from_record(ended.to_record()) == ended


def test_finishing_keeps_what_was_known_before():
    trial = Trial(3, {"x": 1}, context={"rate": 1.0}, seed=5, suggestion={"predicted": 2.5}, marks=("a",))
    done = trial.finish(State.COMPLETE, {"y": 2}, context={"load": 2.0}, marks=("a", "b"))
    assert (done.number, done.seed, done.suggestion) == (3, 5, {"predicted": 2.5})
    assert done.context == {"rate": 1.0, "load": 2.0}
    assert done.marks == ("a", "b")
    assert done.measurements == {"y": 2.0}
    assert trial.is_running
    assert not done.is_running
    assert trial.seconds is None
    assert trial.finish(State.FAILED, finished=trial.started + timedelta(seconds=7)).seconds == 7.0
    with pytest.raises(ValueError, match="expected a final state"):
        trial.finish(State.RUNNING)


def test_same_outcome_ignores_times_and_reasons_only():
    trial = Trial(0, {"x": 1})
    told = trial.finish(State.COMPLETE, {"y": np.array([1.0, np.nan])})
    assert told.same_outcome(trial.finish(State.COMPLETE, {"y": np.array([1.0, np.nan])}, reason="again"))
    assert not told.same_outcome(trial.finish(State.COMPLETE, {"y": np.array([1.0, 2.0])}))
    assert not told.same_outcome(trial.finish(State.PARTIAL, {"y": np.array([1.0, np.nan])}))
    assert not told.same_outcome(trial.finish(State.COMPLETE, told.measurements, context={"rate": 1.0}))


def test_what_cannot_be_logged_says_so():
    with pytest.raises(MeasurementError, match=r"^p99: .*inf"):
        Trial(0, {}, measurements={"p99": math.inf})
    with pytest.raises(MeasurementError, match=r"^pause: .*inf"):
        Trial(0, {}, measurements={"pause": [1.0, -math.inf]})
    with pytest.raises(MeasurementError, match=r"^p99: .*NaN"):
        Trial(0, {}, measurements={"p99": math.nan})
    with pytest.raises(TypeError, match="plain values"):
        Trial(0, {"x": object()}).to_record()
    with pytest.raises(TypeError, match="for keys"):
        Trial(0, {}, suggestion={"a": {1: 2}}).to_record()
    with pytest.raises(TypeError, match="for keys"):
        Trial(0, {}, suggestion={"$float": 1}).to_record()
    with pytest.raises(ValueError, match="time zone"):
        Trial(0, {}, started=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match=r"missing \['marks'\], unknown \['colour'\]"):
        Trial.from_record({k: v for k, v in Trial(0, {}).to_record().items() if k != "marks"} | {"colour": 1})


class TestTrials:
    def log(self) -> Trials:
        trials = Trials(Trial(number, {"x": float(number)}) for number in (2, 0, 1))
        trials = trials.with_trial(trials[0].finish(State.COMPLETE, {"y": 5.0, "v": [1.0, 2.0]}))
        return trials.with_trial(trials[1].finish(State.FAILED, reason="it broke"))

    def test_order_of_arrival_does_not_matter(self):
        trials = [Trial(number, {}, started=datetime(2026, 1, 1, tzinfo=UTC)) for number in range(4)]
        assert Trials(trials) == Trials(reversed(trials))
        assert [trial.number for trial in Trials(reversed(trials))] == [0, 1, 2, 3]

    def test_by_number(self):
        trials = Trials([Trial(1, {}), Trial(4, {})])
        assert trials[4].number == 4
        assert trials[-1].number == 4
        assert trials[-2].number == 1
        assert trials[:1] == Trials([trials[1]])
        assert trials.next_number == 5
        assert Trials().next_number == 0
        with pytest.raises(IndexError, match="no trial 2 among these 2 trials; the last one is 4"):
            trials[2]
        with pytest.raises(IndexError, match="no trial -1 among these 0 trials"):
            Trials()[-1]

    def test_views(self):
        trials = self.log()
        assert [trial.number for trial in trials.finished] == [0, 1]
        assert [trial.number for trial in trials.running] == [2]
        assert [trial.number for trial in trials.with_measurement("v")] == [0]
        assert len(trials.with_measurement("nothing")) == 0
        assert repr(trials) == "Trials: 3 (1 running, 1 complete, 1 failed)"
        assert trials != [*trials]

    def test_the_log_is_append_only(self):
        trials = self.log()
        before = list(trials)
        assert trials.with_trial(trials[0]) == trials  # telling twice changes nothing
        with pytest.raises(ValueError, match="Trial 0 is complete already"):
            trials.with_trial(Trial(0, {"x": 0.0}).finish(State.COMPLETE, {"y": 6.0}))
        with pytest.raises(ValueError, match=r"\[1\] occur twice"):
            Trials([*trials, Trial(1, {})])
        assert len(trials.with_trial(Trial(3, {}))) == 4
        assert list(trials) == before

    def test_to_dataframe(self):
        suggested = Trial(
            3, {"x": 3.0}, suggestion={"predicted": {"median": 4.5}}, marks=("out of range", "b")
        )
        frame = self.log().with_trial(suggested).to_dataframe()
        assert list(frame.columns) == [
            "state",
            "origin",
            "x",
            "y",
            "v",
            "predicted",
            "seconds",
            "reason",
            "marks",
        ]
        assert list(frame.index) == [0, 1, 2, 3]
        assert frame.index.name == "number"
        assert list(frame["state"]) == ["complete", "failed", "running", "running"]
        assert frame.loc[0, "y"] == 5.0
        assert frame["y"].isna().sum() == 3
        np.testing.assert_array_equal(frame.loc[0, "v"], [1.0, 2.0])
        assert frame.loc[3, "predicted"] == 4.5
        assert frame.loc[3, "marks"] == "out of range, b"
        assert frame.loc[1, "reason"] == "it broke"
        assert frame["seconds"].notna().tolist() == [True, True, False, False]

    def test_an_empty_log_is_an_empty_frame(self):
        frame = Trials().to_dataframe()
        assert isinstance(frame, pd.DataFrame)
        assert len(frame) == 0


KNOWN = {"gc_rate": (), "p99": (), "time": (3,), "cross": (2, 2)}


def test_measurements_come_out_as_floats_and_float_arrays():
    given_times = np.array([1, 2, 3])
    checked = validate_measurements(
        {"gc_rate": np.float32(0.5), "p99": np.array(7), "time": given_times, "cross": [[1, 2], [3, np.nan]]},
        KNOWN,
    )
    assert {name: type(value) for name, value in checked.items()} == {
        "gc_rate": float,
        "p99": float,
        "time": np.ndarray,
        "cross": np.ndarray,
    }
    assert (checked["gc_rate"], checked["p99"]) == (0.5, 7.0)
    given_times[0] = 99
    np.testing.assert_array_equal(checked["time"], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(checked["cross"], [[1, 2], [3, np.nan]])


@pytest.mark.parametrize("number", [3, 3.0, np.int64(3), np.float32(3), np.array(3.0)])
def test_a_plain_number_is_the_objective(number):
    assert validate_measurements(number, KNOWN, "p99") == {"p99": 3.0}


def test_names_of_no_node_are_kept_for_a_later_model():
    # Nearly a node's name is a mistake only where that node is missing: p999 may stand beside p99.
    raw = {"p99": 1.0, "p999": 2.0, "heap_used": [1.0, 2.0]}
    checked = validate_measurements(raw, KNOWN)
    assert list(checked) == ["p99", "p999", "heap_used"]
    np.testing.assert_array_equal(checked["heap_used"], [1.0, 2.0])
    with pytest.raises(MeasurementError, match="Did you mean 'p99'"):
        validate_measurements({"p999": 2.0}, KNOWN)


def test_partial_dicts_are_legal_and_all_nan_is_not_measured():
    assert validate_measurements({}, KNOWN) == {}
    assert validate_measurements({"gc_rate": 1, "time": np.full(3, np.nan)}, KNOWN) == {"gc_rate": 1.0}
    assert np.isnan(validate_measurements({"time": [1, np.nan, 3]}, KNOWN)["time"][1])
    masked = np.ma.masked_array([1, 2, 3], mask=[False, True, False])
    np.testing.assert_array_equal(validate_measurements({"time": masked}, KNOWN)["time"], [1, np.nan, 3])


def test_what_no_node_is_called_is_kept_for_later_models():
    assert validate_measurements({"p99": 3, "zzz": 1.0}, KNOWN) == {"p99": 3.0, "zzz": 1.0}
    assert validate_measurements({"max_pause": 3}, {"full_pause": ()}) == {"max_pause": 3.0}


class Refusing:
    """What no careless line survives."""

    def refuse(self, *arguments, **options):
        raise RuntimeError("no")

    __array__ = __repr__ = __str__ = __float__ = __len__ = refuse


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (None, r"returned None; expected a number or a dict .*gc_rate.*return"),
        ({"gc_rat": 1.0}, r"'gc_rat', which is no node .*Did you mean 'gc_rate'\?"),
        ({3: 1.0}, r"measured 3 \(int\), which is no node \(known: gc_rate, p99, time and cross\)"),
        ({"heap_used": math.inf}, r"heap_used: expected finite numbers, got inf"),
        ({"p99": None}, r"p99: expected a finite number, got None .*Leave the node out"),
        ({"p99": math.nan}, r"p99: expected a finite number, got NaN"),
        ({"p99": math.inf}, r"p99: expected a finite number, got inf"),
        ({"time": [1, math.inf, 3]}, r"time: expected finite numbers, got \[1, inf, 3\]"),
        ({"p99": [1.0]}, r"p99: expected one number, got shape \(1,\).*Reduce it"),
        ({"time": [1.0, 2.0]}, r"time: expected an array of shape \(3,\), got shape \(2,\).*Give NaN"),
        ({"time": 1.0}, r"time: expected an array of shape \(3,\), got one number"),
        ({"p99": "12"}, r"p99: expected a finite number, got '12' \(str\). Convert it to float"),
        ({"p99": True}, r"p99: .*got True \(bool\)"),
        ({"p99": np.True_}, r"p99: .*True"),
        ({"p99": 1 + 0j}, r"p99: .*complex"),
        ({"p99": object}, r"p99: .*type"),
        ({"p99": {"value": 1.0}}, r"p99: .*dict"),
        ({"time": [1, [2], 3]}, r"time: .*list"),
        ({"time": []}, r"time: .*list"),
        ({"time": np.array([1, None, 3])}, r"time: .*ndarray"),
        ("12", r"p99: .*'12' \(str\)"),
        ({"p99": 1.0, "$float": 2.0}, r"measured '\$float' \(str\), which is no node .*without \$ in front"),
        ({"p99": np.ma.masked}, r"p99: expected a finite number, got NaN"),
        ({"p99": Refusing()}, r"p99: .*got something that cannot be printed \(Refusing\)"),
        (Refusing(), r"p99: .*got something that cannot be printed \(Refusing\)"),
        ({Refusing(): 1.0}, r"measured something that cannot be printed \(Refusing\), which is no node"),
    ],
)
def test_what_is_no_measurement_is_refused_with_a_sentence(raw, sentence):
    with pytest.raises(MeasurementError, match=sentence):
        validate_measurements(raw, KNOWN, "p99")


@pytest.mark.parametrize("objective", [None, "slowest"])
def test_a_plain_number_without_a_measured_objective(objective):
    with pytest.raises(MeasurementError, match=r"plain number says nothing of which node"):
        validate_measurements(3.0, KNOWN, objective)
