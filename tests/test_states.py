"""A study against a model of it: any sequence of ask, tell, fail, abort, kill and resume."""

import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

import boatppl as boat
from boatppl.evidence import APART
from boatppl.processes import identity
from boatppl.session import resolve_orphans
from boatppl.storage.rows import row_of

SPACE = boat.Space(x=boat.Integer(0, 40, default=40), y=boat.Integer(0, 40, default=0))
FINAL = (boat.State.FAILED, boat.State.TIMED_OUT, boat.State.ABORTED)
NUMBERS = st.floats(-1e100, 1e100, allow_nan=False)


class Life(RuleBasedStateMachine):
    """What the study must hold, number -> (state, configuration, measured), beside the study itself."""

    asked = Bundle("asked")

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "study.db"
        self.expected, self.study = {}, None
        self.resume()

    @rule()
    def resume(self):
        """The process ends, and another one opens the file."""
        if self.study is not None:
            self.study.storage.close()
        self.study = boat.Study(SPACE, minimize="loss", storage=self.path, random_seed=1, n_initial=60)

    @rule(target=asked)
    def ask(self):
        waiting = [
            number
            for number, (state, configuration, _) in self.expected.items()
            if state is boat.State.ABORTED
            and max(n for n, (_, c, _) in self.expected.items() if c == configuration) == number
            and self.tries(configuration) <= 3
        ]
        known = [c for state, c, _ in self.expected.values() if state is not boat.State.ABORTED]
        trial = self.study.ask()
        assert trial.number == len(self.expected)
        if waiting:
            assert trial.configuration == self.expected[waiting[0]][1]
        else:
            assert trial.configuration not in known
        self.expected[trial.number] = (boat.State.RUNNING, trial.configuration, {})
        return trial

    def tries(self, configuration):
        return sum(c == configuration and s is boat.State.ABORTED for s, c, _ in self.expected.values())

    @rule(trial=consumes(asked), value=NUMBERS, more=st.booleans())
    def tell(self, trial, value, more):
        if self.expected[trial.number][0] is not boat.State.RUNNING:
            return
        told = {"loss": value, **({"extra": 2 * value / 3} if more else {})}
        for _ in range(2):  # the second time changes nothing
            assert self.study.tell(trial, told).measurements == told
        with pytest.raises(boat.StorageError, match="A finished trial never changes"):
            self.study.tell(trial, {"loss": 0.0 if value else 1.0})
        self.expected[trial.number] = (boat.State.COMPLETE, trial.configuration, told)

    @rule(trial=consumes(asked), state=st.sampled_from(FINAL))
    def fail(self, trial, state):
        if self.expected[trial.number][0] is not boat.State.RUNNING:
            return
        self.study.fail(trial, "why", state)
        self.expected[trial.number] = (state, trial.configuration, {})
        if state is boat.State.ABORTED:  # and its result comes after all
            late = self.study.tell(trial, 1.0)
            assert "late" in late.marks
            self.expected[late.number] = (boat.State.COMPLETE, trial.configuration, {"loss": 1.0})

    @rule(x=st.integers(0, 60), value=NUMBERS)
    def tell_elsewhere(self, x, value):
        trial = self.study.tell({"x": x, "y": 7}, value)
        assert ("out of range" in trial.marks) == (x > 40)
        self.expected[trial.number] = (boat.State.COMPLETE, {"x": x, "y": 7}, {"loss": value})

    @rule(trial=consumes(asked), policy=st.sampled_from(["retry", "fail"]))
    def orphan(self, trial, policy):
        """The process that asked is killed; another one finds its trial."""
        if self.expected[trial.number][0] is not boat.State.RUNNING:
            return
        machine, _, place = identity().rpartition(" ")
        gone = replace(trial, host=f"{machine} {place.partition('.')[0]}.1")
        with self.study.storage._transaction("write") as connection:
            connection.execute("DELETE FROM trials WHERE number = ?", (trial.number,))
            values = row_of("study", gone)
            connection.execute(f"INSERT INTO trials VALUES ({', '.join('?' * len(values))})", values)
        self.resume()
        found = resolve_orphans(self.study, policy)
        assert [t.number for t in found] == [trial.number]
        assert found[0].state is boat.State.FAILED or policy == "retry"
        self.expected[trial.number] = (found[0].state, trial.configuration, {})

    @rule(value=st.sampled_from([float("nan"), float("inf"), None, "fast", [1.0, 2.0]]))
    def tell_nonsense(self, value):
        if self.study.trials.running:
            with pytest.raises(boat.MeasurementError):
                self.study.tell(next(iter(self.study.trials.running)), {"loss": value})

    @invariant()
    def the_study_and_its_file_hold_what_was_told(self):
        if self.study is None:
            return
        stored = self.study.storage.trials("study")
        for trials in (stored, self.study.trials):
            found = {t.number: (t.state, t.configuration, t.measurements) for t in trials}
            assert found == self.expected
        counted = [s for s, _, _ in self.expected.values() if s not in ("aborted", "running")]
        assert self.study.n_counted == len(counted)
        assert not any(trial.origin in APART for trial in stored)

    def teardown(self):
        if self.study is not None:
            self.resume()
            self.the_study_and_its_file_hold_what_was_told()
            self.study.storage.close()
            self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
