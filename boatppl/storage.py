"""Every trial in one SQLite file, on the disk before the call that logs it returns.

One file holds several studies by name. What is in it is plain text: JSON columns that any SQLite browser
shows, each row with a digest, so that a damaged row is named and never read wrongly. Nothing is ever
unpickled.

Durability is SQLite's write-ahead log with ``synchronous=FULL``: a killed process loses no acknowledged
trial, and its unfinished ones stay RUNNING for the study to reconcile. Writers in other processes wait
their turn (``BEGIN IMMEDIATE``), and a trial's number is given out inside the transaction that inserts it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from boatppl.mounts import file_system
from boatppl.trial import Trial, Trials
from boatppl.words import listed

__all__ = ["SessionRecord", "Storage", "StorageError", "StudyRecord", "Taken", "open_storage"]

APPLICATION_ID = 0x424F4154  # "BOAT" in SQLite's header, so that `file` and other programs can tell
SCHEMA_VERSION = 5
BUSY_SECONDS = 60.0  # how long to wait for another process's transaction; each takes milliseconds
FROM_BACKUP = "Take the file from a backup, or start a study of another name."

SCHEMA = """
CREATE TABLE studies (
    name TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    objective TEXT NOT NULL,
    direction TEXT NOT NULL,
    space TEXT NOT NULL,
    model TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE TABLE settings (
    study TEXT NOT NULL REFERENCES studies (name),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (study, key)
) STRICT;
CREATE TABLE trials (
    study TEXT NOT NULL REFERENCES studies (name),
    number INTEGER NOT NULL,
    configuration TEXT NOT NULL,
    context TEXT NOT NULL,
    state TEXT NOT NULL,
    measurements TEXT NOT NULL,
    reason TEXT NOT NULL,
    origin TEXT NOT NULL,
    suggestion TEXT NOT NULL,
    seed TEXT NOT NULL,
    started TEXT NOT NULL,
    finished TEXT NOT NULL,
    host TEXT NOT NULL,
    marks TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (study, number)
) STRICT;
"""
# What came with version 2: who opened a study, with which model. A model is text that is kept once.
SESSIONS = """
CREATE TABLE models (
    fingerprint TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE TABLE sessions (
    study TEXT NOT NULL REFERENCES studies (name),
    number INTEGER NOT NULL,
    started TEXT NOT NULL,
    host TEXT NOT NULL,
    model TEXT NOT NULL REFERENCES models (fingerprint),
    digest TEXT NOT NULL,
    PRIMARY KEY (study, number)
) STRICT;
"""
# What came with version 3: what the programs of trials said.
OUTPUTS = """
CREATE TABLE outputs (
    study TEXT NOT NULL REFERENCES studies (name),
    number INTEGER NOT NULL,
    output TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (study, number)
) STRICT;
"""
# What came with version 4: the time limit that ended a trial, NULL where none did.
LIMITS = """
ALTER TABLE trials ADD COLUMN timeout TEXT;
"""
# What came with version 5: when each process last said that it lives, for those who cannot see it.
LEASES = """
CREATE TABLE leases (
    study TEXT NOT NULL REFERENCES studies (name),
    host TEXT NOT NULL,
    renewed TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (study, host)
) STRICT;
"""
MIGRATIONS = {1: SESSIONS, 2: OUTPUTS, 3: LIMITS, 4: LEASES}  # version -> what makes the next one of it
NETWORK = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs",
    "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "beegfs", "gpfs",
)  # fmt: skip
# Each holds one field of Trial.to_record() as JSON.
COLUMNS = (
    "configuration", "context", "state", "measurements", "reason", "origin", "suggestion", "seed", "started",
    "finished", "host", "marks",
)  # fmt: skip


# Held in every transaction and while this process forks: a child that inherits SQLite in the middle of a
# transaction of another thread may wait for ever for a lock that nobody holds.
_WHOLE = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_WHOLE.acquire, after_in_parent=_WHOLE.release, after_in_child=_WHOLE.release)


class StorageError(RuntimeError):
    """A study's file cannot be used, or contradicts what is to be written. Says which, and the remedy."""


class Taken(StorageError):
    """Another process has logged a trial of the same configuration a moment before."""


@dataclass(frozen=True)
class StudyRecord:
    """What the file says about a study: what it optimises, and of which space and model it was made.

    ``space`` and ``model`` are fingerprints: text that differs when the thing described does. They are
    those of the study's creation, or of the last :meth:`Storage.describe`; comparing them is the study's
    business.
    """

    name: str
    created: datetime  # UTC
    objective: str
    direction: str  # "minimize" or "maximize"
    space: str
    model: str


@dataclass(frozen=True)
class SessionRecord:
    """One opening of a study: when (UTC), where, and with which model (its fingerprint and description)."""

    number: int
    started: datetime
    host: str
    model: str
    description: dict[str, Any]


def open_storage(path: str | os.PathLike[str] | None = None) -> Storage:
    """Open a study file, or make it; None gives one in memory, by the same code.

    Parameters
    ----------
    path
        The file; its folder must exist. ``path-wal`` and ``path-shm`` stand beside it while it is open.

    Raises
    ------
    StorageError
        For a folder, a file that is no study file or is damaged, one that a newer boatppl wrote, or a place
        where nothing can be written. Every later write raises it when the file, or one of the two beside it,
        was removed, moved or replaced while it was open.

    Examples
    --------
    >>> storage = open_storage()
    >>> study = storage.open_study("jvm", objective="p99", direction="minimize")
    >>> trial = storage.append("jvm", Trial(0, {"young_mb": 32}))
    >>> from boatppl.trial import State
    >>> trial = storage.finish("jvm", trial.finish(State.COMPLETE, {"p99": 24.1}))
    >>> storage.trials("jvm")[0].measurements
    {'p99': 24.1}
    """
    return Storage(path)


class Storage:
    """An open study file. Safe for several threads of the process that opened it; see "
    ":func:`open_storage`."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        if not (path is None or isinstance(path, str | os.PathLike)):
            raise StorageError(f"storage= is the path of a file, such as 'study.db', or None; got {path!r}.")
        self.path = None if path is None else _whole(path)
        self._lock = threading.RLock()
        self._process = os.getpid()
        if self.path is not None:
            with _sentences(self.path, "be opened"):
                _refuse_what_is_no_file(self.path)
            _refuse_network(self.path)
            if not self.path.exists():
                _create(self.path)
        with _sentences(self.path, "be opened"):
            self._connection = _connect(":memory:" if self.path is None else str(self.path))
            opened = {
                place: _identity(place) for place in _places(self.path)[:1]
            }  # at once: what has this name a moment later may be another file
        # A study that is simply forgotten closes its file too, without a ResourceWarning.
        self._close = weakref.finalize(self, self._connection.close)
        try:
            if self.path is None:
                _lay_out(self._connection)
            else:
                _verify(self._connection, self.path)
            self._opened = {place: _identity(place) for place in _places(self.path)} | opened
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file. Everything is in it already; closing twice is harmless."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Storage({'in memory' if self.path is None else str(self.path)!r})"

    # ---- studies

    def studies(self) -> list[StudyRecord]:
        """Every study in the file, by name."""
        with self._transaction("read") as connection:
            rows = connection.execute("SELECT * FROM studies ORDER BY name").fetchall()
        return [self._study_record(row) for row in rows]

    def open_study(
        self, name: str, *, objective: str, direction: str, space: str = "", model: str = ""
    ) -> StudyRecord:
        """Give the study ``name``, made now if the file has none of that name.

        Raises
        ------
        StorageError
            When the study in the file has another objective or direction: its trials would be misread.
        """
        now = datetime.now(UTC).isoformat()
        with self._transaction("write") as connection:
            connection.execute(
                "INSERT INTO studies VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*(values := (name, now, objective, direction, space, model)), _digest(*values)),
            )
            record = self._study(connection, name)
            if (record.objective, record.direction) != (objective, direction):
                raise StorageError(
                    f"{self._where}: study {name!r} is there to {record.direction} {record.objective!r}; "
                    f"asked for was to {direction} {objective!r}. Give this study another name, or another "
                    "file."
                )
        return record

    def describe(self, name: str, *, space: str, model: str) -> StudyRecord:
        """Note that the study goes on with another space or model (their fingerprints)."""
        with self._transaction("write") as connection:
            known = self._study(connection, name)
            digest = _digest(name, known.created.isoformat(), known.objective, known.direction, space, model)
            connection.execute(
                "UPDATE studies SET space = ?, model = ?, digest = ? WHERE name = ?",
                (space, model, digest, name),
            )
        return replace(known, space=space, model=model)

    def begin_session(self, name: str, host: str, model: str, description: dict[str, Any]) -> SessionRecord:
        """Note that a study is opened with a model; give the session.

        ``model`` is the fingerprint of ``description``, which is plain values.
        """
        now, text = datetime.now(UTC).isoformat(), _dumps(description, f"model of study {name!r}")
        with self._transaction("write") as connection:
            self._study(connection, name)
            connection.execute(
                "INSERT INTO models VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (model, text, _digest(model, text)),
            )
            (last,) = connection.execute(
                "SELECT max(number) FROM sessions WHERE study = ?", (name,)
            ).fetchone()
            values = (name, 0 if last is None else last + 1, now, host, model)
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", (*values, _digest(*values)))
        return SessionRecord(values[1], datetime.fromisoformat(now), host, model, description)

    def sessions(self, name: str) -> list[SessionRecord]:
        """Every session of a study, in order: when, where, and with which model it was opened."""
        with self._transaction("read") as connection:
            self._study(connection, name)
            models = {row["fingerprint"]: row for row in connection.execute("SELECT * FROM models")}
            rows = connection.execute(
                "SELECT * FROM sessions WHERE study = ? ORDER BY number", (name,)
            ).fetchall()
        return [_session(self._where, row, models.get(row["model"])) for row in rows]

    # ---- settings

    def set_setting(self, study: str, key: str, value: Any) -> None:
        """Keep a JSON value with the study: its seed, the scales frozen at its start."""
        text = _dumps(value, f"setting {key!r} of study {study!r}")
        with self._transaction("write") as connection:
            self._study(connection, study)
            connection.execute(
                "INSERT OR REPLACE INTO settings VALUES (?, ?, ?, ?)",
                (study, key, text, _digest(study, key, text)),
            )

    def get_setting(self, study: str, key: str, default: Any = None) -> Any:
        """Give the value that :meth:`set_setting` kept, or ``default``."""
        return self.settings(study).get(key, default)

    def settings(self, study: str) -> dict[str, Any]:
        """Everything that :meth:`set_setting` kept with the study."""
        with self._transaction("read") as connection:
            self._study(connection, study)
            rows = connection.execute(
                "SELECT * FROM settings WHERE study = ? ORDER BY key", (study,)
            ).fetchall()
        for row in rows:
            if row["digest"] != _digest(study, row["key"], row["value"]):
                raise StorageError(
                    f"{self._where}: setting {row['key']!r} of study {study!r} is damaged (its digest does "
                    f"not fit). {FROM_BACKUP}"
                )
        return {row["key"]: json.loads(row["value"]) for row in rows}

    # ---- trials

    def append(self, study: str, trial: Trial, *, unless_taken: bool = False) -> Trial:
        """Log a new trial, running or finished, and give it back as logged.

        Its number is the next free one of the study, ``trial.number`` or a higher one: another process may
        have taken that in the meantime. The trial is on the disk when this returns.

        Raises
        ------
        StorageError
            When it cannot be written.
        Taken
            With ``unless_taken``, when a trial from ``trial.number`` on has the same configuration and
            context: it was logged by another process after this one was chosen.
        """
        with self._transaction("write") as connection:
            self._study(connection, study)
            (last,) = connection.execute(
                "SELECT max(number) FROM trials WHERE study = ?", (study,)
            ).fetchone()
            asked = trial.number
            number = asked if last is None else max(asked, last + 1)
            trial = trial if trial.number == number else replace(trial, number=number)
            values = _row(study, trial)
            if unless_taken and number > asked:
                same = "study = ? AND number >= ? AND configuration = ? AND context = ?"
                found = connection.execute(
                    f"SELECT number FROM trials WHERE {same}", (study, asked, *values[2:4])
                ).fetchone()
                if found is not None:
                    raise Taken(f"{self._where}: trial {found['number']} has this configuration already.")
            connection.execute(f"INSERT INTO trials VALUES ({', '.join('?' * len(values))})", values)
        return trial

    def finish(self, study: str, trial: Trial) -> Trial:
        """Log the outcome of a running trial and give the trial as logged.

        Telling twice with equal measurements, state and context changes nothing: the first telling is given
        back.

        Raises
        ------
        StorageError
            When the trial is not there, or finished with another outcome.
        """
        if trial.is_running:
            raise StorageError(f"{self._where}: trial {trial.number} is still running; finish it first.")
        with self._transaction("write") as connection:
            known = self._trial(connection, study, trial.number)
            if not known.is_running:
                if known.same_outcome(trial):
                    return known
                raise StorageError(
                    f"{self._where}: trial {trial.number} of study {study!r} is {known.state} already with "
                    f"{known.measurements}; told now: {trial.state} with {trial.measurements}. A finished "
                    "trial never changes: tell a repeated run as a new trial."
                )
            changes = ", ".join(f"{column} = ?" for column in (*COLUMNS, "digest", "timeout"))
            _, _, *values = _row(study, trial)
            connection.execute(
                f"UPDATE trials SET {changes} WHERE study = ? AND number = ?", (*values, study, trial.number)
            )
        return trial

    def trials(self, study: str) -> Trials:
        """Read the whole log of a study.

        Raises
        ------
        StorageError
            For an unknown study, or a trial that does not read back as it was written: it is named.
        """
        with self._transaction("read") as connection:
            self._study(connection, study)
            rows = connection.execute("SELECT * FROM trials WHERE study = ?", (study,)).fetchall()
        return Trials(self._from_row(row) for row in rows)

    def renew(self, study: str, host: str) -> None:
        """Note that a process (:func:`boatppl.processes.identity`) lives now."""
        values = (study, host, datetime.now(UTC).isoformat())
        with self._transaction("write") as connection:
            self._study(connection, study)
            connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (*values, _digest(*values))
            )

    def leases(self, study: str) -> dict[str, datetime]:
        """Return when each process that shares a study last said that it lives (UTC)."""
        with self._transaction("read") as connection:
            self._study(connection, study)
            rows = connection.execute("SELECT * FROM leases WHERE study = ?", (study,)).fetchall()
        for row in rows:
            if row["digest"] != _digest(*tuple(row)[:-1]):
                raise StorageError(
                    f"{self._where}: the lease of {row['host']!r} in study {study!r} is damaged (its digest "
                    f"does not fit). {FROM_BACKUP}"
                )
        return {row["host"]: datetime.fromisoformat(row["renewed"]) for row in rows}

    def keep_output(self, study: str, number: int, output: str) -> None:
        """Keep what the program of a trial said."""
        values = (study, number, output.encode(errors="replace").decode())
        with self._transaction("write") as connection:
            self._study(connection, study)
            connection.execute(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?)", (*values, _digest(*values))
            )

    def outputs(self, study: str) -> dict[int, str]:
        """Return what the programs of the trials said, by number; trials without a program have none."""
        with self._transaction("read") as connection:
            self._study(connection, study)
            rows = connection.execute(
                "SELECT * FROM outputs WHERE study = ? ORDER BY number", (study,)
            ).fetchall()
        for row in rows:
            if row["digest"] != _digest(*tuple(row)[:-1]):
                raise StorageError(
                    f"{self._where}: the output of trial {row['number']} of study {study!r} is damaged (its "
                    f"digest does not fit). {FROM_BACKUP}"
                )
        return {row["number"]: row["output"] for row in rows}

    # ---- inside

    @property
    def _where(self) -> str:
        return "The study in memory" if self.path is None else str(self.path)

    @contextlib.contextmanager
    def _transaction(self, purpose: str) -> Iterator[sqlite3.Connection]:
        """One thread at a time; committed and synced when the block ends, undone when it raises."""
        if os.getpid() != self._process:
            raise StorageError(
                f"{self._where} was opened by another process ({self._process}) and SQLite's files do not "
                "survive a fork. Open the study, or the storage, again in this process."
            )
        if not self._close.alive:
            raise StorageError(f"{self._where} is closed. Open it again with open_storage.")
        verb = "be read" if purpose == "read" else "be written to"
        with _WHOLE, self._lock, _sentences(self.path, verb):
            self._connection.execute("BEGIN" if purpose == "read" else "BEGIN IMMEDIATE")
            try:
                if purpose == "write":
                    _refuse_another_file(self._opened)
                yield self._connection
                self._connection.execute("COMMIT")
                if (
                    purpose == "write"
                ):  # again: gone in the meantime, and what is in no file is not said to be
                    _refuse_another_file(self._opened)
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _study(self, connection: sqlite3.Connection, name: str) -> StudyRecord:
        row = connection.execute("SELECT * FROM studies WHERE name = ?", (name,)).fetchone()
        if row is None:
            names = [known for (known,) in connection.execute("SELECT name FROM studies ORDER BY name")]
            raise StorageError(
                f"{self._where} holds no study {name!r}; it holds {listed(map(repr, names)) or 'none'}. "
                f"Make it with open_study."
            )
        return self._study_record(row)

    def _study_record(self, row: sqlite3.Row) -> StudyRecord:
        *values, digest = row
        if digest != _digest(*values):
            raise StorageError(
                f"{self._where}: the entry of study {row['name']!r} is damaged (its digest does not fit). "
                f"{FROM_BACKUP}"
            )
        name, created, *rest = values
        return StudyRecord(name, datetime.fromisoformat(created), *rest)

    def _trial(self, connection: sqlite3.Connection, study: str, number: int) -> Trial:
        self._study(connection, study)
        row = connection.execute(
            "SELECT * FROM trials WHERE study = ? AND number = ?", (study, number)
        ).fetchone()
        if row is None:
            raise StorageError(
                f"{self._where}: study {study!r} has no trial {number}. Log it with append before it is "
                "finished."
            )
        return self._from_row(row)

    def _from_row(self, row: sqlite3.Row) -> Trial:
        try:
            texts, limit = [row[column] for column in COLUMNS], _given(row["timeout"])
            if row["digest"] != _digest(row["study"], row["number"], *texts, *limit):
                raise ValueError("its digest does not fit its columns")
            fields = {column: json.loads(text) for column, text in zip(COLUMNS, texts, strict=True)}
            fields["timeout"] = json.loads(limit[0]) if limit else None
            return Trial.from_record({"number": row["number"], **fields})
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise StorageError(
                f"{self._where}: trial {row['number']} of study {row['study']!r} is damaged ({error}). Take "
                "the file from a backup, or delete that row with an SQLite browser."
            ) from error


def _session(where: str, row: sqlite3.Row, model: sqlite3.Row | None) -> SessionRecord:
    *values, digest = row
    whole = model is not None and model["digest"] == _digest(model["fingerprint"], model["description"])
    if model is None or not whole or digest != _digest(*values):
        raise StorageError(
            f"{where}: session {row['number']} of study {row['study']!r} is damaged (its digest "
            f"does not fit). {FROM_BACKUP}"
        )
    _, number, started, host, fingerprint = values
    known = json.loads(model["description"])
    return SessionRecord(number, datetime.fromisoformat(started), host, fingerprint, known)


def _row(study: str, trial: Trial) -> tuple[str | int | None, ...]:
    """The values of a row in ``trials``: study, number, COLUMNS, digest, timeout."""
    record = trial.to_record()
    texts = [_dumps(record[column], f"{column} of trial {trial.number}") for column in COLUMNS]
    limit = None if trial.timeout is None else _dumps(trial.timeout, f"timeout of trial {trial.number}")
    return (study, trial.number, *texts, _digest(study, trial.number, *texts, *_given(limit)), limit)


def _given(limit: str | None) -> tuple[str, ...]:
    """A limit as a part of a row's digest: none where there is none, as in rows of the versions before 4."""
    return () if limit is None else (limit,)


def _dumps(value: Any, what: str) -> str:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as of a file name that is no UTF-8: escaped, then
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise StorageError(
            f"The {what} cannot be kept as JSON: {error}. Give finite plain values."
        ) from error
    return text


def _digest(*parts: str | int) -> str:
    """64 bits over the parts and their borders."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def _connect(address: str, **options: Any) -> sqlite3.Connection:
    """Open without implicit transactions: every BEGIN in this module is written out."""
    connection = sqlite3.connect(
        address, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, **options
    )
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _lay_out(connection: sqlite3.Connection) -> None:
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    connection.executescript(marks + SCHEMA + "".join(MIGRATIONS.values()))


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Make an older file one of today's schema, in one transaction: a kill leaves the old one or the new."""
    with _sentences(path, "be brought to today's schema"):
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may be first
            for old in range(version, SCHEMA_VERSION):
                for statement in filter(str.strip, MIGRATIONS[old].split(";")):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _whole(path: str | os.PathLike[str]) -> Path:
    """The place that a path leads to, links followed: what holds of the file holds there."""
    try:
        return Path(path).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a zero byte, nobody's home
        raise StorageError(f"storage={str(path)!r} leads nowhere: {error}. Choose another path.") from error


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        raise StorageError(f"{path} is a folder; expected a file, such as {path / 'study.db'}.")
    if not path.parent.is_dir():
        raise StorageError(f"{path} cannot be made: the folder {path.parent} does not exist. Make it first.")
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is no regular file; expected one, or a name that is free.")


def _refuse_network(path: Path) -> None:
    """Refuse a file that other machines may have open: the write-ahead log is shared through memory."""
    kind = file_system(path)
    if kind in NETWORK:
        raise StorageError(
            f"{path} is on a network file system ({kind}), where SQLite cannot keep its promises. Choose a "
            "place on a disk of this machine, and copy the file when nothing has it open."
        )


def _places(path: Path | None) -> list[Path]:
    """A study's file and those that SQLite keeps beside it while it is open."""
    return [] if path is None else [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the file of this name from every other one; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _refuse_another_file(opened: Mapping[Path, tuple[int, int] | None]) -> None:
    """Refuse to go on when a name has lost its file: the open one takes every write and nobody finds it."""
    for path, identity in opened.items():
        if identity is not None and (now := _identity(path)) != identity:
            raise StorageError(
                f"{path} was {'removed or moved' if now is None else 'replaced by another file'} while the "
                "study had it open, and what is written now would be lost; expected the same file until the "
                "study is closed. Move the file back, or open the study anew under another name (storage=) "
                "and tell again what study.trials of this session still shows."
            )


def _create(path: Path) -> None:
    """Make a whole study file beside ``path`` and give it the name at once: a kill leaves all of it or "
    "nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    with _sentences(path, "be made"):
        try:
            connection = _connect(str(draft))
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                _lay_out(connection)
            finally:
                connection.close()
            # link, not rename: another process may have made the file in the meantime, and then it stays.
            try:
                path.hardlink_to(draft)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                draft.rename(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        finally:
            draft.unlink(missing_ok=True)


def _verify(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is no study file, is damaged or newer than this code, or cannot be written."""
    if path.stat().st_size == 0:
        raise StorageError(
            f"{path} is empty: a study file never is, so this one lost its contents, or was made by another "
            "program. Take it from a backup, or delete it to start anew."
        )
    with _sentences(path, "be read"):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StorageError(
            f"{path} is an SQLite file of another program, no study file. Choose another name."
        )
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"{path} was written by a newer boatppl (schema {version}; this one reads up to "
            f"{SCHEMA_VERSION}). Upgrade boatppl, or choose another file."
        )
    with _sentences(path, "be read"):
        whole = _tables(connection) == _expected(version)
    if not whole:  # a bent name of a column would be met as anything later
        raise StorageError(f"{path} is damaged: its tables are not those of a study file. {FROM_BACKUP}")
    with _sentences(path, "be read"):
        # The full check, not the quick one: it compares rows with their index, so that a row cannot leave
        # its study unseen. 10,000 trials take about 0.1 s.
        problems = [text for (text,) in connection.execute("PRAGMA integrity_check(3)")]
    if problems != ["ok"]:
        raise StorageError(
            f"{path} is damaged: {'; '.join(problems)}. Take it from a backup; `sqlite3 {path.name} "
            ".recover` may save part of it."
        )
    with _sentences(path, "be written to"):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    if version < SCHEMA_VERSION:
        _migrate(connection, path)


def _tables(connection: sqlite3.Connection) -> list[str]:
    """What makes the tables of a file."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [sql for (sql,) in rows]


@functools.cache
def _expected(version: int) -> list[str]:
    """What makes the tables of a file of a schema version."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA + "".join(MIGRATIONS[old] for old in range(1, version)))
        return _tables(connection)


@contextlib.contextmanager
def _sentences(path: Path | None, verb: str) -> Iterator[None]:
    """Give SQLite's and the system's errors as a StorageError with the file and a remedy."""
    where = "The study in memory" if path is None else str(path)
    try:
        yield
    except (sqlite3.Error, UnicodeError) as error:  # bent bytes are met as text, too
        raise StorageError(f"{where} cannot {verb}: {error}. {_remedy(error)}") from error
    except OSError as error:
        raise StorageError(f"{where} cannot {verb}: {error.strerror or error}. {_remedy(error)}") from error


def _remedy(error: Exception) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or isinstance(error, UnicodeDecodeError):
        return "It is damaged or no study file: take it from a backup, or choose another name."
    if name.startswith("SQLITE_FULL"):
        return "Make space on the disk; what was logged before is safe."
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"Another process has held it for over {BUSY_SECONDS:.0f} s: end that one, or use another file."
        )
    return "Check that the folder and the file can be written, or choose a file elsewhere."
