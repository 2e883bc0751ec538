"""Running a trial for real: programs that hang, fork, flood, crash and lie; arguments that no shell sees."""

import faulthandler
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatppl.command import Command, CommandError, TimedOut
from boatppl.processes import is_gone
from boatppl.runner import Outcome, run_callable
from boatppl.trial import Aborted, State

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes by /proc")


def program(text: str, *arguments: str, **options: object) -> Command:
    """A Python program as a Command; its braces are not placeholders, its arguments' are."""
    return Command(
        [sys.executable, "-I", "-c", "exec(" + repr(text).replace("{", "\\x7b") + ")", *arguments], **options
    )


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def outcome_of(outcome: Outcome) -> tuple[State, object, str | None]:
    return outcome.state, outcome.measurements, outcome.reason


# ---- callables


@pytest.mark.parametrize("isolate", [False, True])
class TestCallables:
    def test_what_it_returns_is_handed_on_unchecked(self, isolate):
        for returned in (
            3.5,
            {"p99": 1.25, "gc": "no number"},
            None,
            {"x": float("nan"), "y": float("-inf")},
            True,
        ):
            outcome = run_callable(lambda _, value=returned: value, {}, isolate=isolate)
            assert outcome.state is State.COMPLETE
            np.testing.assert_equal(outcome.measurements, returned)
            assert outcome.reason is outcome.traceback is None

    def test_arrays_and_numpy_scalars(self, isolate):
        result = {"time": np.array([0.1, np.nan, 1e-300]), "grid": np.eye(2), "n": np.float64(0.1)}
        outcome = run_callable(lambda _: result, {}, isolate=isolate)
        np.testing.assert_equal(outcome.measurements, result)

    def test_it_gets_its_own_configuration(self, isolate):
        configuration = {"x": 3, "share": np.array([0.5, 0.5])}
        outcome = run_callable(lambda c: c.pop("x") + c["share"].sum(), configuration, isolate=isolate)
        assert outcome.measurements == 4.0
        assert configuration["x"] == 3

    def test_an_exception_is_a_failed_trial_with_its_traceback(self, isolate):
        def run(configuration):
            raise ValueError("no room for 3 rows")

        outcome = run_callable(run, {}, isolate=isolate)
        assert outcome_of(outcome) == (State.FAILED, None, "ValueError: no room for 3 rows")
        assert 'raise ValueError("no room for 3 rows")' in outcome.traceback

    def test_sys_exit_is_a_failed_trial(self, isolate):
        outcome = run_callable(lambda _: sys.exit(3), {}, isolate=isolate)
        assert outcome_of(outcome) == (State.FAILED, None, "it called sys.exit: 3")

    def test_an_exception_that_says_nothing_or_too_much_is_a_failed_trial(self, isolate):
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("no")

        def run(error):
            raise error

        for error in (Mute(), Aborted("x" * 10**8), ValueError("x" * 10**8)):
            outcome = run_callable(lambda _, error=error: run(error), {}, isolate=isolate)
            assert outcome.state is (State.ABORTED if isinstance(error, Aborted) else State.FAILED)
            assert len(outcome.reason) < 20_000
            assert len(outcome.traceback or "") <= 100_000
        assert run_callable(lambda _: run(Mute()), {}).reason == "Mute: its message cannot be printed"

    def test_ctrl_c_passes_through(self, isolate):
        def run(configuration):
            raise KeyboardInterrupt

        if isolate:  # Ctrl-C at the keyboard does not get there: it is the run's own
            assert run_callable(run, {}, isolate=True).reason == "KeyboardInterrupt"
        else:
            with pytest.raises(KeyboardInterrupt):
                run_callable(run, {})

    def test_the_time_is_taken(self, isolate):
        assert 0.1 <= run_callable(lambda _: time.sleep(0.1), {}, isolate=isolate).seconds < 5


@pytest.mark.parametrize(
    ("die", "how"),
    [
        (lambda: (faulthandler.disable(), os.kill(os.getpid(), signal.SIGSEGV)), "signal SIGSEGV"),
        (lambda: os._exit(7), "exit code 7"),
        (lambda: os.kill(os.getpid(), signal.SIGRTMIN + 1), f"signal {signal.SIGRTMIN + 1}"),
    ],
)
def test_a_crash_of_an_isolated_run_is_a_failed_trial(die, how):
    outcome = run_callable(lambda _: die(), {}, isolate=True)
    assert outcome_of(outcome) == (State.FAILED, None, f"its process ended without a result: {how}")


class Odd(dict):
    def items(self):
        raise RuntimeError("no items")


class Unreadable(Odd):
    keys = __iter__ = Odd.items


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (object(), "the objective: expected finite numbers, got <object object .*Convert it to float before"),
        (1j, "the objective: expected finite numbers, got 1j"),
        ({1: 2.0}, r"The run measured 1 \(int\), which is no node: a name is text"),
        ({"x": b"bytes"}, "x: expected finite numbers, got b'bytes'"),
        ({"x": np.array([1.0, None])}, r"x: expected finite numbers, got array\(\[1.0, None"),
        ({"x": 1.0, "y": 10**10_000}, "y: expected finite numbers, got something that cannot be printed"),
        ({"x": np.longdouble("1e4000")}, None),  # infinite as a double, which the tuner says
        (Unreadable(x=1.0), "of class Unreadable that cannot be read as a dict: RuntimeError: no items"),
    ],
    ids=range(8),
)
def test_what_cannot_come_back_from_a_child_is_named(result, sentence):
    outcome = run_callable(lambda _: result, {}, isolate=True)
    assert (outcome.state is State.FAILED) == (sentence is not None)
    assert sentence is None or re.match(f".*{sentence}", outcome.reason)


def test_long_doubles_and_dicts_of_a_class_of_their_own_come_back_from_a_child():
    result = Odd(x=np.longdouble(1.5), y=np.array([1, 2], dtype=np.longdouble), z=np.float16(0.5))
    outcome = run_callable(lambda _: result, {}, isolate=True)
    assert outcome.measurements["x"] == 1.5
    assert outcome.measurements["y"].tolist() == [1.0, 2.0]
    assert outcome.measurements["z"] == 0.5


def test_a_run_in_a_child_ends_well_where_the_system_reaps_children():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run_callable(lambda _: 3, {}, timeout=20).measurements == 3
        assert run_callable(lambda _: time.sleep(60), {}, timeout=0.2).state is State.TIMED_OUT
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_large_result_comes_back_whole():
    result = {"time": np.arange(300_000) / 7}
    np.testing.assert_equal(run_callable(lambda _: result, {}, timeout=60).measurements, result)


def test_an_isolated_run_changes_nothing_here():
    seen: list[int] = []
    assert run_callable(lambda _: seen.append(1) or len(seen), {}, isolate=True).measurements == 1
    assert seen == []


def test_what_a_child_says_is_kept_and_not_shown(capfd):
    def run(configuration):
        print("heap", configuration["heap"])
        os.write(2, b"from a library \xff\n")
        subprocess.run(["echo", "from a program"], check=True)
        print("at the end", file=sys.stderr)
        return 1.0

    outcome = run_callable(run, {"heap": 64}, isolate=True)
    assert (outcome.measurements, outcome.reason) == (1.0, None)
    assert outcome.output == "heap 64\nfrom a library \ufffd\nfrom a program\nat the end\n"
    assert capfd.readouterr() == ("", "")
    assert run_callable(lambda _: print(" ") or 1.0, {}, isolate=True).output is None


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda: 1.0, State.COMPLETE),
        (lambda: 1 / 0, State.FAILED),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), State.FAILED),
        (lambda: time.sleep(600), State.TIMED_OUT),
    ],
)
def test_the_end_of_a_flood_of_words_is_kept_however_it_ends(end, state):
    def run(configuration):
        for _ in range(3000):
            print("x" * 999)
        print("the end", flush=True)
        return end()

    outcome = run_callable(run, {}, timeout=1.0 if state is State.TIMED_OUT else 60.0)
    assert outcome.state is state
    assert outcome.output.endswith("x\nthe end\n")
    assert len(outcome.output) == 20_000


@pytest.mark.parametrize("isolate", [True, False])
def test_what_was_left_running_and_says_yes_for_ever_does_not_hold_a_run(isolate):
    start = time.monotonic()
    if isolate:
        assert (
            run_callable(lambda _: subprocess.Popen(["yes"]).poll() or 1.0, {}, isolate=True).measurements
            == 1
        )
    else:
        run_callable(Command(["sh", "-c", "yes & exit 0"], parse=lambda _: 1.0), {})
    assert time.monotonic() - start < 10


STARTED = "sleep 600 & echo $! >> {pids}; (env -i setsid sh -c 'echo $$ >> {pids}; exec sleep 600' &) ; "
KILLED = """
import subprocess, sys
from boatppl.command import Command
from boatppl.runner import run_callable
script = sys.argv[2] + "echo $$ >> {0}; wait; sleep 600".format(sys.argv[3])
argv = ["sh", "-c", script]
run_callable(Command(argv) if sys.argv[1] == "command" else lambda _: subprocess.run(argv), {}, timeout=600)
"""


def pids_in(path: Path, n: int) -> list[int]:
    """The numbers that ``n`` processes write into a file, when all have."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and len(found := path.read_text().split()) == n:
            return [int(pid) for pid in found]
        time.sleep(0.02)
    raise TimeoutError(f"{path} has {path.read_text().split() if path.exists() else 'not been written'}")


def dead(pids: list[int], within: float = 4.0) -> bool:
    deadline = time.monotonic() + within
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


@needs_proc
@pytest.mark.parametrize("kind", ["command", "callable"])
def test_a_tuner_that_is_killed_leaves_nothing_of_its_run_behind(kind, tmp_path):
    pids = tmp_path / "pids"
    tuner = subprocess.Popen([sys.executable, "-c", KILLED, kind, STARTED.format(pids=pids), str(pids)])
    try:
        left = pids_in(pids, 3)
        assert all(map(is_alive, left))
    finally:
        tuner.kill()
        tuner.wait()
    assert dead(left)


@needs_proc
@pytest.mark.parametrize("isolate", [True, False])
def test_a_daemon_without_environment_is_ended_with_its_run(isolate, tmp_path):
    pids = tmp_path / "pids"
    script = STARTED.format(pids=pids) + f"while [ $(wc -l < {pids}) -lt 2 ]; do sleep 0.01; done; exit 3"
    run = Command(["sh", "-c", script])
    if isolate:
        run = lambda _: subprocess.run(["sh", "-c", script], check=True)  # noqa: E731
    outcome = run_callable(run, {}, timeout=60)
    assert outcome.state is State.FAILED
    assert "exit" in outcome.reason
    assert dead(pids_in(pids, 2), within=0.5)


def test_nobody_answers_a_question_of_a_child():
    assert "EOF when reading a line" in run_callable(lambda _: input("heap? "), {}, timeout=60).reason


@needs_proc
def test_a_time_limit_ends_a_callable_and_all_it_started(tmp_path):
    def run(configuration):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it does not listen
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        children = [
            subprocess.Popen(["sleep", "600"]),
            subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600 & sleep 600"], **quiet),
            subprocess.Popen(["sleep", "600"], start_new_session=True),  # it left the group
        ]
        (tmp_path / "pids").write_text(" ".join(str(child.pid) for child in children) + f" {os.getpid()}")
        time.sleep(600)

    outcome = run_callable(run, {}, timeout=0.5)
    assert outcome.state is State.TIMED_OUT
    assert outcome.reason == "no result within 0.5 s; it was ended with everything it had started."
    assert 0.5 <= outcome.seconds < 3.0
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    assert not any(is_alive(pid) for pid in pids)


@needs_proc
def test_a_daemon_that_a_callable_forks_is_ended(tmp_path):
    place = tmp_path / "number"

    def run(configuration):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                place.write_text(str(os.getpid()))
                time.sleep(60)
            os._exit(0)
        os.wait()
        while not place.exists() or not place.read_text():
            time.sleep(0.01)
        return 1.0

    assert run_callable(run, {}, isolate=True).measurements == 1.0
    assert is_gone(f"{platform.node()} {place.read_text()}")


def test_a_callable_in_time_is_not_touched():
    assert run_callable(lambda c: c["x"], {"x": 2}, timeout=30).measurements == 2


def test_a_run_that_closes_every_file_times_out_or_fails():
    def run(configuration):
        os.closerange(3, 256)
        time.sleep(600)

    assert run_callable(run, {}, timeout=0.4).state is State.TIMED_OUT
    assert run_callable(lambda _: os.closerange(3, 256), {}, timeout=30).state is State.FAILED


def test_two_threads_may_run_trials_at_once():
    outcomes = {}

    def trial(number: int) -> None:
        outcomes[number] = run_callable(lambda c: c["x"] ** 2, {"x": number}, isolate=True)

    threads = [threading.Thread(target=trial, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: outcome.measurements for number, outcome in outcomes.items()} == {
        n: n**2 for n in range(6)
    }


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "5", True])
def test_a_time_limit_is_a_positive_number(timeout):
    with pytest.raises(ValueError, match="positive number of seconds"):
        run_callable(lambda _: 1, {}, timeout=timeout)
    with pytest.raises(ValueError, match="positive number of seconds"):
        Command(["true"], timeout=timeout)


# ---- programs: what they are given

HOSTILE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
ECHO = program(
    "import json, sys; print(json.dumps(dict(arguments=sys.argv[1:])))", "--gc={gc}", "{gc}", "{{gc}}"
)


@pytest.mark.parametrize(
    "value",
    [
        "$(touch /tmp/owned)",
        "; rm -rf x",
        "a b",
        "'\"`|&<>*?~!\\\n\t",
        "{gc}",
        "{{gc}}",
        "-x",
        "",
        "%s",
        "ü→\U0001f600",
    ],
)
def test_hostile_values_arrive_unchanged(value):
    assert ECHO({"gc": value}) == {"arguments": [f"--gc={value}", value, "{gc}"]}


@given(HOSTILE)
def test_any_value_is_put_into_its_argument_as_it_is(value):
    command = Command(["program", "a{x}b{x}", "{x}"])
    assert command.arguments({"x": value}) == ["program", f"a{value}b{value}", value]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("-Xmn{young}m", "-Xmn32m"),
        ("{rate:.2f}", "0.33"),
        ("{rate}", repr(1 / 3)),
        ("{flag}", "true"),
        ("{share}", "0.25,0.75"),
        ("{share:.1f}", "0.2,0.8"),
        ("{n}", "3"),
        ("{{rate:.2f}} {{young}}", "{rate:.2f} {young}"),
        ('{"x": {young}, "y": {"z": 1}, {}}', '{"x": 32, "y": {"z": 1}, {}}'),
        ("a{0}{ young }", "a{0}{ young }"),
    ],
)
def test_placeholders(template, text):
    configuration = {
        "young": 32,
        "rate": 1 / 3,
        "flag": np.True_,
        "share": np.array([0.25, 0.75]),
        "n": np.int64(3),
    }
    assert Command([template]).arguments(configuration) == [text]


def test_unknown_placeholders_are_named():
    command = Command(["java", "-Xmn{yuong_mb}m"], env={"OPTIONS": "{ratio}"})
    assert command.placeholders == ("yuong_mb", "ratio")
    with pytest.raises(
        ValueError, match=r"\{yuong_mb\}, which is no parameter .*Did you mean 'young_mb'\?.*\{\{yuong_mb\}\}"
    ):
        command.check_placeholders(["young_mb", "ratio"])
    assert Command(["java", "{a}"]).check_placeholders(["a", "b"]) is None
    outcome = run_callable(command, {"young_mb": 32, "ratio": 8})
    assert outcome.state is State.FAILED
    assert "which is no parameter" in outcome.reason


def test_environment_folder_and_standard_input(tmp_path):
    text = """
import json, os, sys
print(json.dumps({"a": os.environ["A"], "here": os.getcwd(), "read": sys.stdin.read()}))
"""
    command = program(text, env={"A": "-Xmn{young}m"}, cwd=tmp_path)
    assert command({"young": 32}) == {"a": "-Xmn32m", "here": str(tmp_path.resolve()), "read": ""}


def test_the_program_finds_what_it_would_find_from_a_shell(monkeypatch):
    monkeypatch.delenv("LC_CTYPE", raising=False)
    monkeypatch.setenv("LC_ALL", "")
    monkeypatch.setenv("LANG", "C")
    shell = Command(["sh", "-c", "grep SigIgn /proc/self/status; env"], parse=str)({})
    assert "LC_CTYPE" not in shell
    ignored = int(shell.split()[1], 16)
    assert not any(ignored >> number - 1 & 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("java -Xmn{young}m", r"takes a list.*No shell reads it"),
        ([], "takes a list"),
        (["java", 3], r"arguments are text; got 3 \(int\)"),
    ],
)
def test_arguments_are_a_list_of_text(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Command(arguments)


@pytest.mark.parametrize("env", [["A=1"], {"A": 1}, {1: "a"}, "A=1"])
def test_an_environment_is_a_dict_of_text(env):
    with pytest.raises(ValueError, match=r"Command's env is a dict of text.*; got"):
        Command(["true"], env=env)


@pytest.mark.parametrize("limit", [{"memory": 0}, {"max_output": -1}, {"memory": "1 GB"}])
def test_limits_are_positive(limit):
    with pytest.raises(ValueError, match="positive number of bytes"):
        Command(["true"], **limit)


# ---- programs: what they say


def test_the_last_json_object_is_the_measurement():
    text = """
print('warming up {a: 1} {')
print('{"progress": 1}')
print('[1, {"not": "outermost"}] done')
print('''{
  "p99": 12.5,
  "inner": {"p99": 1}
} and some words {''')
"""
    assert program(text)({}) == {"p99": 12.5, "inner": {"p99": 1}}


def test_parse_takes_the_output():
    assert program("print('p99 12.5 ms')", parse=lambda text: float(text.split()[1]))({}) == 12.5
    outcome = run_callable(program("print('nothing')", parse=lambda text: float(text)), {})
    assert outcome.state is State.FAILED
    assert outcome.reason.startswith("ValueError: could not convert string")


@pytest.mark.parametrize("said", ["", "no braces", "{ {{ {", "[1, 2]", '{"a": ' * 50_000])
def test_no_measurements_is_a_failed_trial(said, tmp_path):
    (tmp_path / "said").write_text(said)
    outcome = run_callable(Command(["cat", str(tmp_path / "said")]), {})
    assert outcome.state is State.FAILED
    assert outcome.reason.startswith(
        "cat printed no whole JSON object to take measurements from. Print one such as"
    )


@pytest.mark.parametrize(
    ("said", "measured"),
    [
        ('{"p99": 1.5}\n{}', {"p99": 1.5}),  # an empty one says nothing
        ('{"p99": 1.5}\n{"a": {"p99": 2}, "cost":', None),  # what is inside one that is cut off is a part
        ('{"p99": 1.5}\n{"a": ' + "9" * 5000 + "}", {"p99": 1.5}),
        ('done in {"p99": 3}} ms', {"p99": 3}),
    ],
)
def test_the_last_whole_object_that_says_something_is_the_measurement(said, measured, tmp_path):
    (tmp_path / "said").write_text(said)
    outcome = run_callable(Command(["cat", str(tmp_path / "said")]), {})
    assert outcome.measurements == measured
    assert (outcome.reason is None) == (measured is not None)


@pytest.mark.parametrize("noise", ["{\n", "{", '{"":1,\n', '{"', '{"a": [\n'])
def test_a_flood_of_open_braces_is_read_within_seconds(noise, tmp_path):
    (tmp_path / "said").write_text(noise * (2**20 // len(noise)) + '\n"}]"\n{"p99": 12.5}\n')
    began = time.process_time()
    outcome = run_callable(Command(["cat", str(tmp_path / "said")]), {})
    assert time.process_time() - began < 10  # quadratic in the braces it takes minutes
    if "[" not in noise:  # what nests deeper than Python reads is given up on
        assert outcome.measurements == {"p99": 12.5}


def test_another_exit_code_fails_with_the_end_of_stderr():
    text = "import sys; print('{\"p99\": 1}'); print('first\\nheap too small', file=sys.stderr); sys.exit(3)"
    outcome = run_callable(program(text), {})
    assert outcome.state is State.FAILED
    assert "failed with exit code 3. The end of its stderr: first\nheap too small" in outcome.reason
    with pytest.raises(CommandError, match="signal SIGKILL"):
        program("import os; os.kill(os.getpid(), 9)")({})


def test_a_program_that_is_not_there_is_no_fault_of_the_configuration(tmp_path):
    (tmp_path / "plain").write_text("no program")
    for argv, why in (["/no/such/program"], "No such file"), ([tmp_path / "plain"], "Permission denied"):
        with pytest.raises(Aborted, match=rf"'{argv[0]}' cannot be started: .*{why}"):
            Command(argv)({})
    with pytest.raises(Aborted, match=r"'true' could not be started: .*nowhere"):
        Command(["true"], cwd="/nowhere")({})


def test_a_program_whose_end_nobody_can_see_is_not_run():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:  # subprocess would say that it ended well
        with pytest.raises(Aborted, match="ignores SIGCHLD"):
            Command(["sh", "-c", "exit 3"], parse=len)({})
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_configuration_with_which_no_program_starts_is_at_fault():
    with pytest.raises(CommandError, match=r"'/no/such/jdk' cannot be started: .*No such file"):
        Command(["/no/such/{vm}"])({"vm": "jdk"})
    with pytest.raises(CommandError, match=r"could not be started: .*null byte"):
        Command(["echo", "{x}"])({"x": "a\0b"})
    with pytest.raises(CommandError, match=r"could not be started: .*too long"):
        Command(["echo", "{x}"])({"x": "a" * 10_000_000})
    assert run_callable(Command(["sh", "-c", "no-such-program"]), {}).state is State.FAILED


def test_output_is_capped_and_never_blocks():
    text = """
import sys
for _ in range(3000):
    print("x" * 1000)
    print("y" * 1000, file=sys.stderr)
print('{"a": 1}')
"""
    sizes = []
    command = program(text, max_output=5_000, parse=lambda text: sizes.append(len(text)) or text[-9:-1])
    assert command({}) == '{"a": 1}'
    assert sizes == [5_000]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS holds on Linux")
def test_a_memory_limit_holds():
    text = "x = bytearray(int({megabytes}) << 20); print('{{\"ok\": 1}}')"
    command = Command([sys.executable, "-I", "-c", text], memory=500 << 20)
    assert command({"megabytes": 1}) == {"ok": 1}
    with pytest.raises(CommandError, match="MemoryError"):
        command({"megabytes": 2_000})


# ---- programs: their ends


@needs_proc
def test_a_time_limit_ends_a_program_and_all_it_started(tmp_path):
    script = f"""
    trap '' TERM
    echo '{{"p99": 1}}'; echo working >&2
    sleep 600 & echo $! >> {tmp_path}/pids
    setsid sleep 600 & echo $! >> {tmp_path}/pids
    (setsid sh -c 'sleep 600 & echo $! >> {tmp_path}/pids') &
    echo $$ >> {tmp_path}/pids
    sleep 600
    """
    outcome = run_callable(Command(["sh", "-c", script]), {}, timeout=0.7)
    assert outcome.state is State.TIMED_OUT
    assert outcome.reason.startswith("no result within 0.7 s; it was ended with everything it had started.")
    assert "working" in outcome.reason
    assert 0.7 <= outcome.seconds < 3.0
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    assert not any(is_alive(pid) for pid in pids)


def test_a_program_that_listens_may_clean_up(tmp_path):
    text = f"""
import signal, sys, time
def clean(*_):
    open({str(tmp_path / "cleaned")!r}, "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, clean)
print("ready", flush=True)
time.sleep(600)
"""
    with pytest.raises(TimedOut):
        program(text, timeout=0.7)({})
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize(
    ("own", "given_", "shorter"), [(0.3, 50, 0.3), (50, 0.3, 0.3), (None, 0.3, 0.3), (0.3, None, 0.3)]
)
def test_the_shorter_time_limit_holds(own, given_, shorter):
    outcome = run_callable(Command(["sleep", "600"], timeout=own), {}, timeout=given_)
    assert outcome.state is State.TIMED_OUT
    assert outcome.reason.startswith(f"no result within {shorter} s")


@needs_proc
def test_what_a_program_leaves_running_is_ended_and_does_not_hold_the_trial(tmp_path):
    script = f"""sleep 600 & echo $! > {tmp_path}/pid; echo '{{"p99": 1}}'"""
    start = time.monotonic()
    assert Command(["sh", "-c", script])({}) == {"p99": 1}
    assert time.monotonic() - start < 3
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_program_that_closes_its_streams_is_waited_for():
    start = time.monotonic()
    Command(["sh", "-c", "echo '{}'; exec >&- 2>&-; sleep 0.3"])({})
    assert time.monotonic() - start >= 0.3


@needs_proc
@pytest.mark.parametrize("kind", ["command", "callable"])
def test_ctrl_c_ends_the_program_first(kind, tmp_path):
    script = f"echo $$ > {tmp_path}/pid; sleep 600"
    run = (
        Command(["sh", "-c", script])
        if kind == "command"
        else lambda _: subprocess.call(["sh", "-c", script])
    )

    def interrupt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        while not ended.is_set():  # Python loses one that arrives inside a finalizer: a person presses again
            os.kill(os.getpid(), signal.SIGINT)
            ended.wait(10)

    ended = threading.Event()
    thread = threading.Thread(target=interrupt)
    # Whoever starts the suite in the background may have it ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_callable(run, {}, isolate=True)
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert not is_alive(int((tmp_path / "pid").read_text()))


@needs_proc
@pytest.mark.parametrize("kind", ["command", "callable"])
def test_a_killed_tuner_leaves_no_program_behind(kind, tmp_path):
    def tune() -> None:
        text = (
            f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        )
        run = program(text) if kind == "command" else lambda _: exec(text)
        run_callable(run, {}, isolate=True)

    tuner = os.fork()
    if tuner == 0:
        tune()
        os._exit(0)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    os.kill(tuner, signal.SIGKILL)
    os.waitpid(tuner, 0)
    deadline = time.monotonic() + 5
    while is_alive(pid := int((tmp_path / "pid").read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)
