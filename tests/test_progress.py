import io
import os
import pty
import re
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.progress import Notebook, PlainLines, Silent, Terminal, display, open_progress
from boatppl.progress.display import Journey
from boatppl.progress.table import TextTable, TrialTable
from boatppl.trial import State

JVM = boat.Space(
    young_mb=boat.Integer(4, 80, log=True, unit="MB", default=32),
    survivor_ratio=boat.Integer(1, 16, log=True, default=8),
    tenuring=boat.Integer(0, 15, default=15),
)


def words(text):
    return text.split()


def study_of(space=JVM, **options):
    return boat.Study(space, **{"minimize": "p99", "random_seed": 1, **options})


def told(study, values, start=0):
    """Ask for trials and tell them values; text is why one failed."""
    for value in values:
        trial = study.ask_one()
        yield study.fail(trial, value) if isinstance(value, str) else study.tell(trial, value)


def suggested(study, **known):
    known = {"predicted": {"low": 7.1, "median": 9.4, "high": 12.8}, "expected_gain": 11.84,
             "probability": 0.81, **known}  # fmt: skip
    return study.start({"young_mb": 58, "survivor_ratio": 2, "tenuring": 15}, "suggested", known)


# -- the table --------------------------------------------------------------------------


def test_a_line_says_what_was_predicted_measured_and_why():
    study = study_of()
    first, second = *told(study, [24.1]), study.tell(suggested(study), 8.9)
    table = TextTable(study)
    assert table.head().split() == words("# trial young ratio tenuring predicted p99 measured best why")
    assert table.line(first, 24.1).split() == words(
        "0 default 32 8 15 24.1 24.1 the configuration in use today"
    )
    assert table.line(second, 8.9).split() == words(
        "1 suggested 58 2 15 9.4 [7.1-12.8] 8.9 8.9 expected gain 11.8, 81 % sure"
    )


def test_numbers_stand_under_the_end_of_their_title():
    study = study_of()
    [trial] = told(study, [24.1])
    table = TextTable(study)
    head, line = table.head(), table.line(trial, 24.1)
    for title, text in {"young": "32", "tenuring": "15", "measured": "24.1"}.items():
        end = head.index(title) + len(title)
        assert line[:end].endswith(text)


def test_the_units_are_in_the_head_once():
    space = boat.Space(heap=boat.Integer(1, 64, unit="GB"))

    @boat.node(unit="ms", transform="log")
    def p99(heap):
        return 30.0 / heap

    study = study_of(boat.DAGModel(space, [p99]))
    head = TextTable(study).head()
    assert "heap, GB" in head
    assert "predicted p99, ms" in head


def test_a_failure_is_one_short_line():
    study = study_of()
    *_, failed = told(study, [24.1, "OSError: disk full\nTraceback:\n" + "  very long\n" * 30])
    line = TextTable(study).line(failed, 24.1)
    assert "\n" not in line
    assert "failed" in line
    assert "OSError: disk full Traceback" in line
    assert len(line) <= 120


def why_of(study, **known):
    return TrialTable(study).cells(study.tell(suggested(study, **known), 8.9), None)[-1]


def test_the_reason_is_always_true():
    study = study_of()
    nothing = why_of(study, expected_gain=0.0, probability=0.0)
    assert nothing == "no configuration is expected to be better: the likeliest one, under 1 % sure"
    again = why_of(study, expected_gain=0.0, probability=0.0, repeated=2, among=3)
    assert again.endswith("again, as the least measured (2 times) of the 3 that may be best")
    assert "(once)" in why_of(study, repeated=1, among=2)
    doubt = {"full_rate": 0.81, "pause": 0.19}
    assert why_of(study, doubt=doubt).endswith("81 % sure; 81 % of the doubt is in full_rate")
    assert "doubt" not in why_of(study, doubt={"p99": 1.0})  # of one node it says nothing
    assert "doubt" not in why_of(study, doubt={"a": 0.4, "b": 0.3, "c": 0.3})


def test_a_trial_says_why_it_was_chosen():
    study = study_of()
    doubt = {"full_rate": 0.71, "pause": 0.25, "p99": 0.04}
    trial = suggested(study, doubt=doubt, probability=0.62)
    assert (
        trial.why == "exploiting: expected gain 11.8, 62 % sure; the doubt is in full_rate 71 %, pause 25 %"
    )
    unlikely = suggested(
        study, doubt={}, probability=0.2, proposed_by="generic", weights={"a": 1, "generic": 0}
    )
    assert unlikely.why == "exploring: expected gain 11.8, 20 % sure; proposed by generic"
    assert suggested(study, expected_gain=0.0, probability=0.0).why.startswith("no configuration is expected")
    assert "as the least measured (once)" in suggested(study, repeated=1, among=2).why
    assert study.tell({**JVM.default}, 3.0).why == "told"


def structured():
    @boat.node(unit="ms", transform="log")
    def pause(young_mb):
        return pm.LogNormal("each", 0, 1) * young_mb

    @boat.node(unit="ms", transform="log")
    def p99(pause):
        return 2.0 + pause

    return study_of(boat.DAGModel(JVM, [pause, p99]))


def test_what_the_priors_say_is_shown_as_such():
    study = structured()
    trial = study.tell(study.ask(), {"pause": 20.0, "p99": 24.0})
    table = TextTable(study)
    assert re.search(r" 15 +\(prior\) [\d.]+ \[[\d.]+-[\d.]+\]  ", table.line(trial, 24.0))
    assert len(table.line(trial, 24.0)) <= 120


def test_what_a_missing_parent_costs_is_said_with_the_trial_and_at_the_end():
    study = structured()
    for young_mb in (8, 16, 32):
        study.tell({**JVM.default, "young_mb": young_mb}, {"pause": young_mb, "p99": 2.0 + young_mb})
    trial = study.tell({**JVM.default, "young_mb": 64}, {"p99": 66.0})
    assert "pause missing: unused for p99" in TextTable(study, 160).line(trial, 10.0)
    assert Journey(study).ended("done").splitlines()[1:] == ["1 of 4 rows of p99 unused: pause missing"]


def test_the_rival_that_proposed_and_marks_are_said():
    @boat.node(transform="log")
    def p99(young_mb):
        return 900.0 / young_mb

    study = study_of(boat.DAGModel(JVM, [p99]))
    trial = study.tell(suggested(study, proposed_by="generic"), 8.9, marks=["disturbed"])
    assert TrialTable(study).cells(trial, None)[-1] == "disturbed; expected gain 11.8, 81 % sure (generic)"


@pytest.mark.parametrize("width", [79, 120])
@pytest.mark.parametrize(
    "space",
    [
        JVM,
        boat.Space(**{f"a_rather_long_name_{i}": boat.Float(0.0001, 1, log=True) for i in range(6)}),
        boat.Space(**{f"p{i}": boat.Integer(0, 10**9) for i in range(11)}),
        boat.Space(**{f"p{i}": boat.Float(0, 1) for i in range(32)}),
        boat.Space(share=boat.Simplex(10), kind=boat.Categorical(["a very long name of a choice", "b"])),
    ],
    ids=["jvm", "long names", "wide values", "many", "simplex"],
)
def test_lines_fit_whatever_the_space(space, width):
    study = study_of(space)
    table = TextTable(study, width)
    for trial in told(study, [24.1, 12.3, "it failed " * 20]):
        assert len(table.line(trial, 12.3)) <= width
    assert len(table.head()) <= width
    assert len(set(table.content.titles)) == len(table.content.titles)


def test_of_many_parameters_the_farthest_from_the_default_are_shown():
    space = boat.Space(**{f"p{i}": boat.Float(0, 1, default=0.5) for i in range(32)})
    study = study_of(space)
    near = space.default | {"p7": 1.0, "p3": 0.6, "p30": 0.4}
    trial = study.tell(near, 3.0)
    cells = TrialTable(study).cells(trial, None)
    assert cells[2] == "p7 1, p3 0.6, p30 0.4"
    assert study.space.default["p7"] == 0.5
    default = study.tell(space.default, 3.0)
    assert TrialTable(study).cells(default, None)[2] == "none"


def test_inactive_parameters_and_long_vectors_are_short():
    space = boat.Space(
        gc=boat.Categorical(["serial", "g1"], default="serial"),
        region=boat.Integer(1, 32, when={"gc": "g1"}),
        share=boat.Simplex(10),
    )
    study = study_of(space)
    [trial] = told(study, [5.0])
    cells = TrialTable(study).cells(trial, None)
    assert cells[2:5] == ["serial", "·", "[0.1 0.1 0.1 …]"]


# -- where it is shown ------------------------------------------------------------------


def screen(raw):
    """What a terminal shows of some bytes: every line after its last erasure."""
    text = raw.decode().replace("\r\n", "\n")
    return [line.rpartition(display.ERASE)[2] for line in text.split("\n")]


@pytest.fixture
def terminal():
    """A stream that is a terminal, and a function that reads what was written to it."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    out = os.fdopen(slave, "w", encoding="utf-8")

    def written():
        chunks = []
        while True:
            try:
                chunks.append(os.read(master, 65536))
            except BlockingIOError:
                return b"".join(chunks)

    yield out, written
    out.close()
    os.close(master)


def test_a_terminal_has_lines_and_a_last_line_that_goes(terminal, monkeypatch):
    out, written = terminal
    monkeypatch.setattr(display, "TICK", 0.02)
    monkeypatch.setenv("COLUMNS", "130")
    study = study_of()
    with Terminal(Journey(study, n_trials=5, budget=600.0), out) as view:
        view.status("running trial 0")
        view.since -= 61.0
        time.sleep(0.2)
        seen = written()
        assert screen(seen)[-1].startswith("running trial 0, 1 min 01 s · 0 of 5 trials · 9 min 59 s left")
        assert seen.count(b"running trial 0") >= 3  # refreshed by itself
        for trial in told(study, [24.1, 8.9]):
            view.trial(trial)
        view.status("choosing the next configuration")
        seen += written()
        assert screen(seen)[-1].endswith("2 of 5 trials · 9 min 59 s left · best p99 8.9 (default 24.1)")
        view.close("2 trials were run")
    lines = screen(seen + written())
    assert [line.split()[0] for line in lines[:4]] == ["#", "0", "1", "stopped:"]
    assert lines[4:] == [""]


def test_what_a_run_prints_stands_above_the_last_line(terminal, monkeypatch):
    out, written = terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(display, "TICK", 0.02)
    monkeypatch.setattr(sys, "stdout", out)
    study = study_of()
    with Terminal(Journey(study, n_trials=5), out) as view:
        view.status("running trial 0")
        print("one\ntwo")
        print("begun", end="")
        seen = written()
        time.sleep(0.1)
        print(" and ended", flush=True)
        child = os.fork()
        if not child:
            print("from a child", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        time.sleep(0.1)
        print("left open", end="")
        for trial in told(study, [24.1]):
            view.trial(trial)
    assert sys.stdout is out
    lines = screen(seen + written())
    assert lines[:5] == ["one", "two", "begun and ended", "from a child", "left open"]
    assert [line.split()[0] for line in lines[5:7]] == ["#", "0"]
    assert lines[7:] == [""]


def test_the_last_line_never_wraps(terminal, monkeypatch):
    out, written = terminal
    monkeypatch.setenv("COLUMNS", "40")
    with Terminal(Journey(study_of(), n_trials=5, budget=600.0), out) as view:
        view.status("running trial 0")
    seen = written().decode()
    assert max(len(line) for line in re.split(r"[\r\n]|\x1b\[2K\x1b\[G", seen)) < 40


def test_an_error_in_the_loop_leaves_no_thread_and_a_clean_line(terminal):
    out, written = terminal

    def loop():
        with Terminal(Journey(study_of()), out) as view:
            view.status("running trial 0")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        loop()
    assert not [t for t in threading.enumerate() if t.name == "boatppl progress"]
    assert screen(written()) == [""]


def test_a_log_has_plain_lines_only_and_says_what_was_there_before():
    study = study_of()
    list(told(study, [24.1, 8.9]))
    out = io.StringIO()
    with PlainLines(Journey(study, 5), out) as view:
        view.status("running trial 2")
        for trial in told(study, [7.0, 9.0]):
            view.trial(trial)
        view.close("4 trials were run")
    lines = out.getvalue().splitlines()
    assert lines[0] == "2 trials of this study are there already"
    assert [line.split()[0] for line in lines[1:]] == ["#", "2", "3", "stopped:"]
    assert "\x1b" not in out.getvalue()


def raising(error):
    def fail(*_):
        raise error

    return fail


def test_a_letter_that_the_stream_does_not_know_is_no_error():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    study = study_of()
    with PlainLines(Journey(study), out) as view:
        for trial in told(study, [24.1, "größer " * 30]):
            view.trial(trial)
    assert b"gr??er" in raw.getvalue()


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ValueError("closed file")])
def test_a_stream_that_nobody_reads_any_more_ends_no_study(error, caplog):
    out = io.StringIO()
    study = study_of()
    with PlainLines(Journey(study), out) as view:
        trials = told(study, [24.1, 8.9])
        view.trial(next(trials))
        out.write = raising(error)
        view.trial(next(trials))
        view.close("2 trials were run")
    assert [record.getMessage() for record in caplog.records] == [
        f"Progress cannot be written any more: {error}"
    ]


def test_the_best_is_the_posteriors_once_there_is_one_and_failures_do_not_move_it():
    study = study_of(boat.Space(x=boat.Float(0, 1, default=0.9)), n_initial=3)
    journey = Journey(study)
    rng = np.random.default_rng(0)
    for trial in told(study, [24.0, 23.5, "failed"]):
        journey.arrive(trial)
    assert (journey.best, journey.default) == (23.5, 24.0)
    for x in rng.uniform(size=4):
        trial = study.tell({"x": x}, 20.0 + 3 * x)
        journey.arrive(trial)
    assert journey.best == pytest.approx(study.best.value)
    before = journey.best
    journey.arrive(study.fail(study.start({"x": 0.1}, "suggested"), "disk full", State.FAILED))
    assert journey.best == before


def test_a_notebook_has_one_display_that_is_replaced():
    study = study_of()
    list(told(study, [24.1]))
    bundles, shows = [], []

    def show(bundle):
        shows.append(bundle)
        bundles.append(bundle)
        return bundles.append

    with Notebook(Journey(study, 4), show) as view:
        view.status("choosing the next configuration")
        for trial in told(study, [8.9, "<b>disk</b>\nfull"]):
            view.trial(trial)
        view.status("running trial 3")
        view.close("interrupted")
    assert len(shows) == 1
    assert "24.1" in shows[0]["text/html"]  # the trial of an earlier session
    last = bundles[-1]["text/html"]
    assert last.count("<tr>") == 1 + 3
    assert last.count("<table>") == 1
    assert "&lt;b&gt;disk&lt;/b&gt; full" in last
    assert "stopped: interrupted" in last
    assert "running trial 3, since" in bundles[-2]["text/html"]
    plain = bundles[-1]["text/plain"].splitlines()
    assert [line.split()[0] for line in plain] == ["#", "0", "1", "2", "stopped:"]


def test_it_says_how_many_failed_and_how_long_the_rest_will_take():
    study = study_of()
    list(told(study, [24.1, "disk full"]))
    journey = Journey(study, n_trials=10)
    list(told(study, [8.9, 9.9]))
    assert journey.parts() == ["4 of 10 trials", "1 failed"]  # two trials say too little of the time
    study.fail(study.ask_one(), "too slow", State.TIMED_OUT)
    study.fail(study.ask_one(), "the network was down", State.ABORTED)
    journey.began = time.monotonic() - 60.0
    assert journey.parts() == ["5 of 10 trials", "2 failed", "about 1 min 40 s left"]
    journey.budget = 100.0
    assert journey.parts()[2] == "39 s left"  # what was given


def test_it_says_what_the_tuner_is_doing(monkeypatch):
    footers = []

    def see(bundle):
        text = bundle["text/plain"].splitlines()[-1].split(" · ")[0].split(",")[0]
        if not footers or footers[-1] != text:
            footers.append(text)

    def show(bundle):
        see(bundle)
        return see

    @boat.node(transform="log")
    def latency(x):
        return pm.LogNormal("each", 0, 1) + x

    monkeypatch.setattr(display, "notebook_display", lambda: show)
    model = boat.DAGModel(boat.Space(x=boat.Float(0, 1)), [latency])
    boat.optimize(lambda c: 1 + c["x"], model, minimize="latency", n_trials=2, hedge=False, random_seed=1)
    assert footers[:9] == [
        "choosing the next configuration", "running trial 0", "learning from trial 0", "1 of 2 trials",
        "choosing the next configuration", "compiling latency", "sampling latency", "searching the space",
        "running trial 1",
    ]  # fmt: skip


def test_progress_is_shown_where_the_process_runs(terminal, monkeypatch):
    study = study_of()
    assert isinstance(open_progress(study, False), Silent)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert isinstance(open_progress(study, True), PlainLines)
    monkeypatch.setattr(sys, "stdout", terminal[0])
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_progress(study, True), Terminal)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_progress(study, True), PlainLines)
    monkeypatch.setattr(sys, "stdout", None)  # a program without a console
    assert isinstance(open_progress(study, True), Silent)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    # IPython without a kernel is a terminal or a script; with one it is Jupyter.
    shell = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(open_progress(study, True), PlainLines)
    shell.kernel = "there"
    assert isinstance(open_progress(study, True), Notebook)


def test_without_progress_nothing_is_written(capfd):
    boat.optimize(lambda c: {"p99": float(c["tenuring"])}, JVM, minimize="p99", n_trials=3, progress=False)
    assert capfd.readouterr() == ("", "")
