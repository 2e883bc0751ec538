"""What the file promises: acknowledged is on the disk, what reads back is what was written, damage is named.

Processes are real and killed for good; files are really cut and bent.
"""

import ast
import io
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import arviz as az
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

import boatppl as boat
from boatppl.__main__ import main
from boatppl.mounts import file_system
from boatppl.storage import Storage, StorageError, Taken, open_storage
from boatppl.storage.schema import APPLICATION_ID, SCHEMA_VERSION
from boatppl.trial import State, Trial, Trials
from tests.test_trial import TRIALS

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def a_trial(number: int = 0) -> Trial:
    suggestion = {"predicted": 3.5, "why": "expected gain", "warm": [0.1 * number, 1 / 3]}
    return Trial(
        number, {"young_mb": 32 + number, "gc": "g1"}, suggestion=suggestion, seed=7, started=STARTED
    )


def told(trial: Trial, value: float = 0.1) -> Trial:
    measurements = {"p99": value + trial.number, "pause": [value, np.nan, 1e-300]}
    return trial.finish(State.COMPLETE, measurements, finished=STARTED, marks=["out of range"])


def filled(path: Path, n_trials: int = 20) -> Trials:
    """A closed file with a study "s" of finished trials and one running; gives its log."""
    with open_storage(path) as storage:
        storage.open_study("s", objective="p99", direction="minimize", space="space 1", model="model 1")
        storage.set_setting("s", "seed", 1)
        for number in range(n_trials):
            storage.finish("s", told(storage.append("s", a_trial(number))))
        storage.append("s", a_trial(n_trials))
        return storage.trials("s")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, path: Path) -> Iterator[Storage]:
    with open_storage(path if request.param == "file" else None) as storage:
        storage.open_study("s", objective="p99", direction="minimize", space="space 1", model="model 1")
        yield storage


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """Run ``work(write end of a pipe)`` in a child process; gives its id and the read end."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            work(write)
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(0)
    os.close(write)
    return child, read


def answer(process: tuple[int, int]) -> str:
    """All that the child wrote, when it has ended."""
    child, read = process
    with os.fdopen(read, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


# ---- round trips


def test_a_study_reads_back_as_it_was_written(path):
    trials = filled(path)
    with open_storage(path) as storage:
        assert storage.trials("s") == trials
        assert storage.trials("s")[3] == told(a_trial(3))
        assert storage.trials("s").running[20] == a_trial(20)
        assert storage.get_setting("s", "seed") == 1
        (record,) = storage.studies()
    assert (record.name, record.objective, record.direction) == ("s", "p99", "minimize")
    assert (record.space, record.model) == ("space 1", "model 1")
    assert record.created.tzinfo is not None
    assert [file.name for file in path.parent.iterdir()] == ["study.db"]  # no drafts and no journals left


@given(TRIALS)
def test_any_trial_reads_back_equal(trial):
    with open_storage() as storage:
        storage.open_study("s", objective="p99", direction="minimize")
        assert storage.append("s", trial) == trial
        assert storage.trials("s") == Trials([trial])


def test_settings_keep_any_json_value(storage):
    for value in ({"scale": [0.1, 1 / 3]}, None, "text", 2**80, {"scale": []}):
        storage.set_setting("s", "scales", value)
        assert storage.get_setting("s", "scales", default="absent") == value
    assert storage.get_setting("s", "other", default=5) == 5
    with pytest.raises(StorageError, match=r"setting 'scales' .* cannot be kept as JSON"):
        storage.set_setting("s", "scales", float("nan"))
    with pytest.raises(StorageError, match="cannot be kept as JSON"):
        storage.set_setting("s", "scales", object())
    assert storage.get_setting("s", "scales") == {"scale": []}


def test_one_file_holds_several_studies(storage):
    storage.open_study("other", objective="cost", direction="maximize")
    storage.append("s", a_trial(0))
    storage.append("other", a_trial(0))
    storage.append("other", a_trial(1))
    storage.set_setting("s", "seed", 1)
    assert [len(storage.trials(name)) for name in ("s", "other")] == [1, 2]
    assert [record.name for record in storage.studies()] == ["other", "s"]
    assert storage.get_setting("other", "seed") is None


# ---- studies


def test_opening_a_study_again_gives_it_as_it_is(storage):
    (first,) = storage.studies()
    again = storage.open_study("s", objective="p99", direction="minimize", space="space 2", model="model 2")
    assert again == first
    described = storage.describe("s", space="space 2", model="model 2")
    assert (described.space, described.model) == ("space 2", "model 2")
    assert storage.studies() == [described]
    assert described.created == first.created


@pytest.mark.parametrize(("objective", "direction"), [("cost", "minimize"), ("p99", "maximize")])
def test_a_study_with_another_aim_is_refused(storage, objective, direction):
    with pytest.raises(StorageError, match=r"is there to minimize 'p99'; asked for .* another name"):
        storage.open_study("s", objective=objective, direction=direction)


def test_an_unknown_study_is_named(storage):
    for use in (
        lambda: storage.trials("t"),
        lambda: storage.append("t", a_trial()),
        lambda: storage.set_setting("t", "seed", 1),
        lambda: storage.describe("t", space="", model=""),
        lambda: storage.finish("t", told(a_trial())),
        lambda: storage.settings("t"),
        lambda: storage.sessions("t"),
        lambda: storage.begin_session("t", "here 1.1", "m", {}),
        lambda: storage.renew("t", "here 1.1"),
        lambda: storage.leases("t"),
        lambda: storage.keep_output("t", 0, "text"),
        lambda: storage.outputs("t"),
    ):
        with pytest.raises(StorageError, match=r"holds no study 't'; it holds 's'"):
            use()


# ---- the log


def test_telling_twice_changes_nothing_and_otherwise_raises(storage):
    trial = storage.append("s", a_trial())
    first = storage.finish("s", told(trial))
    later = told(trial).finish(State.COMPLETE, first.measurements)  # equal values at another time
    assert storage.finish("s", later) == first
    assert storage.trials("s") == Trials([first])
    with pytest.raises(StorageError, match=r"trial 0 of study 's' is complete already with .*told now"):
        storage.finish("s", told(trial, value=0.2))
    with pytest.raises(StorageError, match="never changes"):
        storage.finish("s", trial.finish(State.FAILED, reason="it broke"))
    assert storage.trials("s") == Trials([first])


def test_finishing_what_is_not_there_or_not_finished(storage):
    with pytest.raises(StorageError, match="has no trial 0"):
        storage.finish("s", told(a_trial()))
    with pytest.raises(StorageError, match="still running"):
        storage.finish("s", storage.append("s", a_trial()))


def test_a_taken_number_gives_the_next_free_one(storage):
    assert [storage.append("s", a_trial(0)).number for _ in range(3)] == [0, 1, 2]
    assert storage.append("s", a_trial(7)).number == 7
    assert storage.append("s", a_trial(5)).number == 8  # numbers follow the order of the log


def test_what_cannot_be_logged_leaves_the_log_as_it_was(storage):
    with pytest.raises(TypeError, match="plain values"):
        storage.append("s", Trial(0, {"x": object()}))
    assert len(storage.trials("s")) == 0
    assert storage.append("s", a_trial()).number == 0


def test_threads_share_a_storage(storage):
    def work() -> None:
        for _ in range(15):
            storage.finish("s", told(storage.append("s", a_trial())))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [trial.number for trial in storage.trials("s").finished] == list(range(60))


# ---- processes


def test_processes_on_one_file_lose_no_trial(path):
    filled(path, n_trials=0)

    def work(pipe: int) -> None:
        with open_storage(path) as storage:
            for _ in range(20):
                trial = storage.finish("s", told(storage.append("s", a_trial())))
                os.write(pipe, f"{trial.number}\n".encode())

    numbers = [int(line) for process in [fork(work) for _ in range(3)] for line in answer(process).split()]
    assert sorted(numbers) == list(range(1, 61))
    with open_storage(path) as storage:
        assert [trial.number for trial in storage.trials("s").finished] == sorted(numbers)


def test_processes_that_make_the_file_at_once_make_one_file(path):
    def work(pipe: int) -> None:
        with open_storage(path) as storage:
            storage.open_study("s", objective="p99", direction="minimize")
            os.write(pipe, f"{storage.append('s', a_trial()).number} ".encode())

    numbers = [int(answer(process)) for process in [fork(work) for _ in range(4)]]
    assert sorted(numbers) == [0, 1, 2, 3]
    assert [file.name for file in path.parent.iterdir()] == ["study.db"]


def kill_at_random_moments(path: Path, n_kills: int) -> None:
    """Children log trials and acknowledge each; they are killed; all acknowledged must be there."""
    moments = random.Random(1)

    def work(pipe: int) -> None:
        with open_storage(path) as storage:
            storage.open_study("s", objective="p99", direction="minimize")
            os.write(pipe, b"open\n")
            for number in itertools.count(storage.trials("s").next_number):
                trial = storage.append("s", a_trial(number))
                storage.finish("s", told(trial))
                os.write(pipe, f"{trial.number}\n".encode())

    acknowledged: set[int] = set()
    for kill in range(n_kills):
        child, read = process = fork(work)
        if kill % 3:  # two in three once it is at work, one in three while it opens
            os.read(read, 5)
        time.sleep(moments.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        acknowledged |= {int(line) for line in answer(process).splitlines() if line not in ("open", "")}
        with open_storage(path) as storage:
            storage.open_study("s", objective="p99", direction="minimize")
            finished = storage.trials("s").finished
        assert acknowledged <= {trial.number for trial in finished}
        assert all(trial == told(a_trial(trial.number)) for trial in finished)
    assert len(acknowledged) > n_kills // 5  # it was at work; how far it comes depends on the disk


def test_kill_9_loses_no_acknowledged_trial(path):
    kill_at_random_moments(path, n_kills=12)


@pytest.mark.nightly
def test_500_kill_9_lose_no_acknowledged_trial(path):
    kill_at_random_moments(path, n_kills=500)


def test_a_forked_child_must_open_the_file_itself(storage):
    sentence = answer(fork(lambda pipe: storage.append("s", a_trial())))
    assert sentence.startswith("StorageError: ")
    assert "was opened by another process" in sentence
    assert storage.append("s", a_trial()).number == 0


def test_a_full_disk_loses_nothing(path):
    filled(path, n_trials=0)

    def work(pipe: int) -> None:
        import resource

        limit = path.stat().st_size + 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with open_storage(path) as storage:
            while True:
                os.write(pipe, f"{storage.append('s', a_trial()).number}\n".encode())

    *numbers, sentence = answer(fork(work)).splitlines()
    assert len(numbers) > 5
    assert sentence.startswith(f"StorageError: {path} cannot be written to: ")
    with open_storage(path) as storage:
        assert [trial.number for trial in storage.trials("s")] == [0, *map(int, numbers)]


# ---- a file that is taken away while it is open


def take_away(path: Path, what: str) -> None:
    if what == "replaced":
        filled(path.with_name("other.db"))
        path.with_name("other.db").replace(path)
    elif what == "moved":
        path.rename(path.with_name("away.db"))
    else:
        for side in {"removed": ["", "-wal", "-shm"], "removed log": ["-wal"], "removed index": ["-shm"]}[
            what
        ]:
            path.with_name(path.name + side).unlink()


TAKEN_AWAY = ["removed", "replaced", "moved", "removed log", "removed index"]


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_no_write_is_acknowledged_when_the_file_is_taken_away(path, what):
    study = boat.Study(boat.Space(x=boat.Float(0, 1)), minimize="cost", storage=path, random_seed=1)
    trial = study.ask()
    take_away(path, what)
    before = path.read_bytes() if path.exists() else b""
    wrong = r"study\.db\S* was (removed or moved|replaced by another file) while the study had it open.*anew"
    for write in (lambda: study.tell(trial, 1.0), study.ask, lambda: study.tell({"x": 0.2}, 3.0)):
        with pytest.raises(StorageError, match=wrong):
            write()
    assert [known.number for known in study.trials] == [0]  # what the session knew can still be read
    assert what != "replaced" or path.read_bytes() == before  # nothing of it is in the other one


@pytest.mark.parametrize("what", ["removed", "moved", "removed log"])
def test_a_file_that_is_taken_away_within_a_transaction_acknowledges_nothing(path, what):
    filled(path)

    def write(storage: Storage) -> None:
        with storage._transaction("write") as connection:
            connection.execute("UPDATE trials SET host = 'null' WHERE number = 20")
            take_away(path, what)

    with open_storage(path) as storage, pytest.raises(StorageError, match="had it open"):
        write(storage)


def test_a_file_that_is_moved_back_goes_on(path):
    with open_storage(path) as storage:
        storage.open_study("s", objective="p99", direction="minimize")
        path.rename(path.with_name("away.db"))
        with pytest.raises(StorageError, match="had it open"):
            storage.append("s", a_trial())
        path.with_name("away.db").rename(path)
        assert storage.append("s", a_trial()).number == 0
    with open_storage(path) as storage:
        assert len(storage.trials("s")) == 1


def test_a_link_and_other_openings_take_nothing_away(path, tmp_path):
    (tmp_path / "link.db").symlink_to(path)
    with open_storage(tmp_path / "link.db") as storage:
        storage.open_study("s", objective="p99", direction="minimize")
        for number in range(3):
            assert storage.append("s", a_trial(number)).number == 2 * number
            with open_storage(path) as other:  # another closes: the log stays where it is
                other.append("s", a_trial(number))
        (tmp_path / "link.db").unlink()  # the way, not the file
        assert storage.append("s", a_trial()).number == 6

        def in_a_child(pipe: int) -> None:
            with open_storage(path) as reopened:
                os.write(pipe, str(reopened.append("s", a_trial()).number).encode())

        assert answer(fork(in_a_child)) == "7"
        assert storage.append("s", a_trial()).number == 8


# ---- damage


def reads_rightly(path: Path, trials: Trials) -> bool:
    """Whether the file opens with the very log; False when it is refused; anything else fails the test."""
    try:
        with open_storage(path) as storage:
            assert storage.trials("s") == trials
            assert storage.get_setting("s", "seed") == 1
            assert [record.name for record in storage.studies()] == ["s"]
    except StorageError as refusal:
        return str(path) not in str(refusal)  # a refusal names the file
    return True


def test_a_cut_file_is_refused(path, tmp_path):
    trials, whole = filled(path), path.read_bytes()
    cut = tmp_path / "cut.db"
    lengths = sorted({0, 1, 15, 16, 17, 99, 100, 101, len(whole) - 1, *range(511, len(whole), 1021)})
    for length in lengths:
        cut.write_bytes(whole[:length])
        assert not reads_rightly(cut, trials), length
    cut.write_bytes(whole)
    assert reads_rightly(cut, trials)


def test_a_bent_byte_is_refused_or_harmless(path, tmp_path):
    trials, whole = filled(path), path.read_bytes()
    bent, random_ = tmp_path / "bent.db", random.Random(1)
    refused = 0
    for _ in range(300):
        position = random_.choice([k for k in (random_.randrange(len(whole)) for _ in range(50)) if whole[k]])
        byte = bytes([whole[position] ^ 1 << random_.randrange(8)])
        bent.write_bytes(whole[:position] + byte + whole[position + 1 :])
        refused += not reads_rightly(bent, trials)
    assert refused > 200


def test_a_cut_write_ahead_log_gives_the_log_up_to_there(path, tmp_path):
    storage = open_storage(path)
    with closing(storage):
        storage.open_study("s", objective="p99", direction="minimize")
        for number in range(10):
            storage.append("s", a_trial(number))
        trials = storage.trials("s")
        wal = path.with_name("study.db-wal").read_bytes()
        main = path.read_bytes()
    counts = []
    for length in range(0, len(wal), 5_003):
        (tmp_path / "cut.db").write_bytes(main)
        (tmp_path / "cut.db-wal").write_bytes(wal[:length])
        with open_storage(tmp_path / "cut.db") as cut:
            log = cut.trials("s") if cut.studies() else Trials()
        assert log == trials[: len(log)]
        counts.append(len(log))
        (tmp_path / "cut.db").unlink()
    assert counts == sorted(counts)
    assert counts[-1] >= 9


def edit(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("measurements", '{"p99": 1.0}'),  # well-formed, and not what was written
        ("measurements", '{"p99": '),
        ("state", '"running"'),
        ("seed", "NaN"),
        ("marks", "7"),
        ("digest", "0"),
    ],
)
def test_a_changed_trial_is_named(path, column, text):
    filled(path)
    edit(path, f"UPDATE trials SET {column} = ? WHERE number = 3", text)
    with open_storage(path) as storage, pytest.raises(StorageError, match="trial 3 of study 's' is damaged"):
        storage.trials("s")


def test_a_record_of_another_version_is_named(path):
    filled(path)
    storage = open_storage(path)
    with closing(storage), closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE trials RENAME COLUMN marks TO colours")
        connection.commit()
        with pytest.raises(StorageError, match=r"trial 0 of study 's' is damaged \(No item with that key"):
            storage.trials("s")


def test_a_changed_setting_or_study_is_named(path):
    filled(path)
    edit(path, "UPDATE settings SET value = '2'")
    with (
        open_storage(path) as storage,
        pytest.raises(StorageError, match="setting 'seed' of study 's' is damaged"),
    ):
        storage.get_setting("s", "seed")
    edit(path, "UPDATE studies SET space = 'space 9'")
    with open_storage(path) as storage, pytest.raises(StorageError, match="entry of study 's' is damaged"):
        storage.trials("s")


def test_a_newer_schema_is_refused(path):
    filled(path)
    edit(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StorageError, match=f"written by a newer boatppl \\(schema {SCHEMA_VERSION + 1}"):
        open_storage(path)


def test_files_of_others_are_refused_and_left_alone(path):
    edit(path, "CREATE TABLE studies (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="SQLite file of another program"):
        open_storage(path)
    assert path.read_bytes() == before
    for content in (b"young_mb,p99\n32,24.1\n" * 200, json.dumps({"trials": []}).encode(), os.urandom(9_000)):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="no study file"):
            open_storage(path)
        assert path.read_bytes() == content


def test_the_header_says_whose_file_it_is(path):
    filled(path)
    header = path.read_bytes()[:100]
    assert struct.unpack(">I", header[68:72]) == (APPLICATION_ID,)
    assert header[68:72] == b"BOAT"


def test_places_where_no_file_can_be(tmp_path, path):
    with pytest.raises(StorageError, match=r"is a folder; expected a file, such as .*study\.db"):
        open_storage(tmp_path)
    with pytest.raises(StorageError, match=r"nowhere does not exist. Make it first"):
        open_storage(tmp_path / "nowhere" / "study.db")
    for wrong in (3, b"study.db"):
        with pytest.raises(StorageError, match=r"storage= is the path of a file.*; got (3|b'study.db')"):
            open_storage(wrong)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="no regular file"):
        open_storage(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no files")
def test_a_place_that_takes_no_files():
    with pytest.raises(StorageError, match=r"^/proc/study.db cannot be made: .*choose a file elsewhere"):
        open_storage("/proc/study.db")


MOUNTS = """22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:50 / /mnt/my\\040results rw shared:2 - nfs4 server:/export rw,vers=4.2
41 40 0:51 / /mnt/my\\040results/fast rw - tmpfs tmpfs rw
42 27 0:52 / /home/me/cloud rw - fuse.sshfs me@far:/ rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/mnt/my results/a/study.db", "nfs4"),
        ("/mnt/my results/fast", "tmpfs"),
        ("/mnt/my results too/study.db", "ext4"),
        ("/home/me/cloud/study.db", "fuse.sshfs"),
    ],
)
def test_a_file_system_is_known_by_its_mount(place, kind, tmp_path, monkeypatch):
    monkeypatch.setattr("boatppl.mounts.MOUNTS", tmp_path / "mountinfo")
    assert file_system(Path(place)) is None
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert file_system(Path(place)) == kind


def test_a_store_on_a_network_file_system_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.setattr("boatppl.mounts.MOUNTS", tmp_path / "mountinfo")
    (tmp_path / "mountinfo").write_text(f"1 0 0:1 / {path.parent} rw - cifs //server/x rw\n")
    with pytest.raises(StorageError, match=r"is on a network file system \(cifs\).*a disk of this machine"):
        open_storage(path)
    assert not path.exists()


def test_a_link_is_followed_and_its_end_counts(path, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    (here / "study.db").symlink_to(there / "far.db")
    with open_storage(here / "study.db") as storage:
        storage.open_study("s", objective="p99", direction="minimize")
        assert {file.name for file in there.iterdir()} == {"far.db", "far.db-wal", "far.db-shm"}
    monkeypatch.setattr("boatppl.mounts.MOUNTS", tmp_path / "mountinfo")
    (tmp_path / "mountinfo").write_text(f"1 0 0:1 / {there} rw - nfs4 server:/x rw\n")
    with pytest.raises(StorageError, match=r"far.db is on a network file system \(nfs4\)"):
        open_storage(here / "study.db")


@pytest.mark.parametrize("name", ["a\0b", "~nobody-of-this-name/x.db", "x" * 300, "x/" * 3000])
def test_paths_that_lead_nowhere(tmp_path, name):
    with pytest.raises(StorageError, match=r"leads nowhere|cannot be (made|opened)|does not exist"):
        open_storage(name if name.startswith("~") else tmp_path / name)


def test_half_a_surrogate_pair_reads_back(storage):
    trial = Trial(0, {"file": "caf\udce9", "more": ["\ud800"]}, started=STARTED)
    storage.append("s", trial)
    done = storage.finish("s", trial.finish(State.FAILED, reason="no file caf\udce9"))
    assert storage.trials("s")[0] == done
    storage.set_setting("s", "key", "\ud800")
    assert storage.get_setting("s", "key") == "\ud800"
    for use in (
        lambda: storage.trials("\ud800"),
        lambda: storage.open_study("\ud800", objective="p99", direction="minimize"),
    ):
        with pytest.raises(StorageError, match="surrogates not allowed"):
            use()
    assert len(storage.studies()) == 1


def test_nothing_is_ever_unpickled():
    readers = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
    for file in Path(boat.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found = readers & {name.partition(".")[0] for name in names}
            # what is sent to an executor's processes is tried out, and thrown away
            assert not found or (file.name, found) == ("workers.py", {"pickle"}), file
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert {name for name in used if "pickle" in name} <= {"pickle.dumps"}, file
        given = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        assert "allow_pickle" not in given, file


def test_a_configuration_that_was_taken_a_moment_before_is_refused(storage):
    storage.append("s", a_trial(0))
    other = Trial(0, {"young_mb": 1, "gc": "g1"})
    assert storage.append("s", other, unless_taken=True).number == 1
    with pytest.raises(Taken, match="trial 1 has this configuration already"):
        storage.append("s", other, unless_taken=True)
    later = Trial(2, other.configuration)  # chosen when it was known
    assert storage.append("s", later, unless_taken=True).number == 2
    elsewhere = Trial(0, other.configuration, {"load": 3.0})
    assert storage.append("s", elsewhere, unless_taken=True).number == 3


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_study_is_refused(path, what):
    trials = filled(path)

    def work(pipe: int) -> None:
        if os.geteuid() == 0:
            os.setuid(65534)  # nobody: to root, everything can be written
        open_storage(Path(folder) / "study.db").append("s", a_trial())

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        (Path(folder) / "study.db").chmod(0o444 if what == "file" else 0o666)
        Path(folder).chmod(0o777 if what == "file" else 0o555)
        sentence = answer(fork(work))
        Path(folder).chmod(0o700)
        assert sentence.startswith("StorageError: ")
        assert "choose a file elsewhere" in sentence
        assert reads_rightly(Path(folder) / "study.db", trials)


def test_a_closed_storage_says_so(path):
    storage = open_storage(path)
    storage.close()
    storage.close()
    with pytest.raises(StorageError, match="is closed"):
        storage.studies()
    assert repr(storage) == f"Storage({str(path)!r})"
    assert repr(open_storage()) == "Storage('in memory')"


def test_a_relative_path_stays_where_it_was(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with open_storage("study.db") as storage:
        assert storage.path == path


def test_a_held_file_is_waited_for(path, monkeypatch):
    monkeypatch.setattr("boatppl.storage.file.BUSY_SECONDS", 0.1)
    filled(path)
    with open_storage(path) as storage, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"Another process has held it"):
            storage.append("s", a_trial())
        other.execute("ROLLBACK")
        assert storage.append("s", a_trial()).number == 21


# ---- python -m boatppl


def test_the_command_line_looks_and_changes_nothing(path, capsys):
    trials, before = filled(path, n_trials=3), path.read_bytes()
    said = {}
    for command in ("list", "show", "csv", "json", "check"):
        assert main([command, str(path)]) == 0
        said[command] = capsys.readouterr().out
    assert said["list"].startswith("s: minimize p99, made 20")
    assert said["list"].endswith("UTC, Trials: 4 (1 running, 3 complete)\n")
    assert "complete  suggested" in said["show"]
    assert len(said["show"].splitlines()) == 7
    frame = pd.read_csv(io.StringIO(said["csv"]), index_col="number")
    assert list(frame["p99"].dropna()) == [trial.measurements["p99"] for trial in trials.finished]
    assert Trials(Trial.from_record(json.loads(line)) for line in said["json"].splitlines()) == trials
    assert said["check"] == "s: 4 trials and 1 settings read back as they were written\n"
    assert path.read_bytes() == before


MODEL = boat.DAGModel(
    boat.Space(young_mb=boat.Integer(1, 2000, log=True)), [boat.generic("p99", ["young_mb"], transform="log")]
)


@pytest.mark.parametrize(("kind", "read"), [("netcdf", az.from_netcdf), ("zarr", az.from_zarr)])
def test_the_command_line_writes_what_arviz_reads(path, tmp_path, capsys, kind, read):
    trials, before = filled(path, n_trials=3), path.read_bytes()
    out = tmp_path / f"out.{kind}"
    assert main([kind, str(path), str(out)]) == 0
    tree = read(out)
    assert list(tree["observed_data"]["trial"].values) == [0, 1, 2, 3]
    told = [trial.measurements["p99"] for trial in trials.finished]
    np.testing.assert_array_equal(tree["observed_data"]["p99"].values, [*told, np.nan])
    given = [trial.configuration["young_mb"] for trial in trials]
    assert list(tree["constant_data"]["young_mb"].values) == given
    assert list(tree["constant_data"]["state"].values) == ["complete"] * 3 + ["running"]
    assert tree.attrs["minimize"] == "p99"
    assert main([kind, str(path), str(out)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert not [file.name for file in tmp_path.iterdir() if file.name.endswith(".new")]


def test_the_command_line_writes_the_posterior_of_a_model(tmp_path, capsys, monkeypatch):
    path, out = tmp_path / "tuned.db", tmp_path / "out.nc"
    study = boat.Study(MODEL, minimize="p99", storage=path, hedge=False, random_seed=1)
    for young_mb in (2, 8, 32, 128, 512):
        study.tell({"young_mb": young_mb}, 20.0 + young_mb**0.5)
    study.storage.close()
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "the_model", SimpleNamespace(model=MODEL, other=3))
    assert main(["netcdf", str(path), str(out), "--model", "the_model:model"]) == 0
    tree = az.from_netcdf(out)
    assert tree["p99"]["posterior"].sizes["chain"] == 4
    assert list(tree["p99"]["observed_data"]["trial"].values) == [0, 1, 2, 3, 4]
    assert path.read_bytes() == before
    capsys.readouterr()
    for named, sentence in [
        ("the_model:other", "int; expected a boat.DAGModel"),
        ("no_such:model", "--model is"),
    ]:
        assert main(["netcdf", str(path), str(tmp_path / "no.nc"), "--model", named]) == 1
        assert sentence in capsys.readouterr().err


def test_what_a_program_said_is_kept_with_its_trial(path, capsys):
    trials = filled(path, n_trials=2)
    with open_storage(path) as storage:
        storage.keep_output("s", 1, "starting\nout of memory \udcff\n")
        assert storage.outputs("s") == {1: "starting\nout of memory ?\n"}
        assert storage.trials("s") == trials
    assert main(["output", str(path)]) == 0
    assert capsys.readouterr().out == "=== s, trial 1 ===\nstarting\nout of memory ?\n\n"
    edit(path, "UPDATE outputs SET output = 'all is well'")
    assert main(["check", str(path)]) == 1
    assert "the output of trial 1 of study 's' is damaged" in capsys.readouterr().err


def test_a_second_name_of_a_file_is_refused(path, capsys):
    with open_storage(path) as storage:
        storage.open_study("s", objective="p99", direction="minimize")
        second = path.with_name("second.db")
        second.hardlink_to(path)
        with pytest.raises(StorageError, match=r"second\.db has another name, too \(a hard link\)"):
            open_storage(second)
        second.unlink()
        storage.append("s", a_trial())
    with open_storage(path) as storage:
        assert len(storage.trials("s")) == 1


@pytest.mark.parametrize("name", [":memory:", "file:x.db?mode=ro", "sqlite:///x.db"])
def test_what_is_an_address_elsewhere_is_no_path_here(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="is no path; expected that of a file"):
        open_storage(name)
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_is_no_error(path):
    filled(path, 300)
    shown = subprocess.Popen(
        [sys.executable, "-m", "boatppl", "json", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    shown.stdout.readline()
    shown.stdout.close()
    assert shown.stderr.read() == b""
    shown.stderr.close()
    assert shown.wait() == 0


def test_a_file_that_sqlite_cannot_open_is_read_all_the_same(path, capsys):
    """As on a full disk, or on somebody else's: nothing can be written beside a file that was not closed."""
    with open_storage(path) as storage:
        storage.open_study("s", objective="p99", direction="minimize")
        trial = storage.append("s", told(a_trial()))
        assert path.with_name("study.db-wal").stat().st_size > 0
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{path}.left{end}")
    left = path.with_name("study.db.left")
    left.with_name("study.db.left-shm").symlink_to(path.parent / "nowhere" / "shm")
    with pytest.raises(StorageError, match=r"cannot be .*reads a file where nothing can be written"):
        open_storage(left)
    with open_storage(left, read_only=True) as storage:
        assert list(storage.trials("s")) == [trial]
    assert main(["check", str(left)]) == 0
    assert capsys.readouterr().out.startswith("s: 1 trials")


def test_what_is_read_only_is_the_file_as_it_was_and_stays_so(path):
    trials = filled(path)
    with open_storage(path, read_only=True) as storage:
        with open_storage(path) as other:
            other.append("s", a_trial(50))
        assert storage.trials("s") == trials
        with pytest.raises(StorageError, match="cannot be written to"):
            storage.append("s", a_trial(60))
        with pytest.raises(StorageError, match="cannot be written to"):
            storage.finish("s", told(trials.running[-1]))
    with open_storage(path) as storage:
        assert [trial.number for trial in storage.trials("s")] == [*range(21), 50]
    assert [file.name for file in path.parent.iterdir()] == ["study.db"]


def test_the_command_line_says_what_is_wrong(path, capsys):
    assert main(["list", str(path)]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not path.exists()
    filled(path)
    assert main(["show", str(path), "--study", "t"]) == 1
    assert "holds no study 't'; it holds s." in capsys.readouterr().err
    with open_storage(path) as storage:
        storage.renew("s", "elsewhere 1.1")
        storage.append("s", told(Trial(30, {"x": 1}, started=STARTED)).finish(State.COMPLETE, {"a/b": 1.0}))
    assert main(["netcdf", str(path), str(path.parent / "nowhere" / "out")]) == 1
    assert "nowhere does not exist. Make it first." in capsys.readouterr().err
    for kind in ("netcdf", "zarr"):
        assert main([kind, str(path), str(path.with_name("out"))]) == 1
        assert "out cannot be written (ValueError: Given variables have" in capsys.readouterr().err
    assert [file.name for file in path.parent.iterdir()] == ["study.db"]
    edit(path, "UPDATE leases SET renewed = '2000-01-01T00:00:00+00:00'")
    assert main(["check", str(path)]) == 1
    assert "the lease of 'elsewhere 1.1' in study 's' is damaged" in capsys.readouterr().err
    edit(path, "UPDATE trials SET state = '\"failed\"' WHERE number = 3")
    assert main(["check", str(path)]) == 1
    assert "trial 3 of study 's' is damaged" in capsys.readouterr().err


# ---- sessions and older files


def older(path: Path) -> None:
    """The file that the boatppl of schema 1 wrote: a study of three trials and a running one."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((Path(__file__).parent / "data" / "schema_1.sql").read_text())
        connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
        connection.execute("PRAGMA journal_mode = WAL")


def test_a_file_of_the_first_schema_is_migrated_and_reads_back_as_it_was_written(path):
    older(path)
    with open_storage(path) as storage:
        (record,) = storage.studies()
        assert (record.name, record.objective) == ("old", "loss")
        trials = storage.trials("old")
        assert [str(trial.state) for trial in trials] == ["complete"] * 3 + ["running"]
        assert trials[0].configuration["x"] == 0.5
        assert storage.get_setting("old", "random_seed") == 3
        assert storage.sessions("old") == []
        assert storage.outputs("old") == {}
        assert storage.begin_session("old", "here 1", "m", {"a": 1}).number == 0
    with open_storage(path) as storage:  # again, with nothing left to do
        assert [session.model for session in storage.sessions("old")] == ["m"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_to_read_an_older_file_changes_nothing_in_it(path):
    older(path)
    before = path.read_bytes()
    with open_storage(path, read_only=True) as storage:
        assert len(storage.trials("old")) == 4
    assert path.read_bytes() == before


def test_a_migration_that_is_killed_leaves_the_old_file_or_the_new_one(path):
    for delay in (0.0, 0.001, 0.003, 0.01):
        path.unlink(missing_ok=True)
        older(path)

        def work(pipe: int) -> None:
            os.write(pipe, b"!")
            open_storage(path)

        child, read = fork(work)
        os.read(read, 1)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        with open_storage(path) as storage:
            assert len(storage.trials("old")) == 4
            assert storage.sessions("old") == []
        for side in ("-wal", "-shm"):
            path.with_name(path.name + side).unlink(missing_ok=True)


def test_sessions_are_numbered_and_keep_each_model_once(storage):
    for model in ("a", "a", "b"):
        storage.begin_session("s", f"host {model}", model, {"space": model})
    found = storage.sessions("s")
    assert [(s.number, s.model, s.host) for s in found] == [
        (0, "a", "host a"), (1, "a", "host a"), (2, "b", "host b")
    ]  # fmt: skip
    assert found[2].description == {"space": "b"}
    with pytest.raises(StorageError, match="holds no study"):
        storage.begin_session("t", "", "a", {})


def test_a_bent_session_is_named(path):
    with open_storage(path) as storage:
        storage.open_study("s", objective="p99", direction="minimize")
        storage.begin_session("s", "here 1", "a", {"space": 1})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE models SET description = '{\"space\":2}'")
        connection.commit()
    with open_storage(path) as storage, pytest.raises(StorageError, match="session 0 of study 's'"):
        storage.sessions("s")


def test_a_fork_waits_until_no_transaction_runs(path):
    begun, done = threading.Event(), []

    def write(storage):
        with storage._transaction("write"):
            begun.set()
            time.sleep(0.1)
            done.append(True)

    with open_storage(path) as storage:
        thread = threading.Thread(target=write, args=(storage,))
        thread.start()
        begun.wait(10)
        child = os.fork()
        if child == 0:
            os._exit(0 if done else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        thread.join()
        assert storage.studies() == []
