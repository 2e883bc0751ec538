"""An open study file, and what is asked of it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self

from boatppl.storage.errors import StorageError, Taken
from boatppl.storage.file import (
    connect,
    create,
    identity,
    places,
    refuse_another_file,
    refuse_network,
    refuse_second_name,
    refuse_what_is_no_file,
    sentences,
    snapshot,
    verify,
    whole_path,
)  # fmt: skip
from boatppl.storage.rows import (
    COLUMNS,
    SessionRecord,
    StudyRecord,
    digest_of,
    dumps,
    row_of,
    session_of,
    study_of,
    trial_of,
    whole,
)
from boatppl.storage.schema import lay_out
from boatppl.trial import Trial, Trials
from boatppl.words import listed

# Held in every transaction and while this process forks: a child that inherits SQLite in the middle of a
# transaction of another thread may wait for ever for a lock that nobody holds.
_WHOLE = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_WHOLE.acquire, after_in_parent=_WHOLE.release, after_in_child=_WHOLE.release)


def open_storage(path: str | os.PathLike[str] | None = None, *, read_only: bool = False) -> Storage:
    """Open a study file, or make it; None gives one in memory, by the same code.

    Parameters
    ----------
    path
        The file; its folder must exist. ``path-wal`` and ``path-shm`` stand beside it while it is open.
    read_only
        Read the file as it is now, and be done with it: nothing can be written, and need not be (the disk may
        be full). What others write later is not seen.

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
    return Storage(path, read_only=read_only)


class Storage:
    """An open study file. Safe for several threads of the process that opened it; see "
    ":func:`open_storage`."""

    def __init__(self, path: str | os.PathLike[str] | None = None, *, read_only: bool = False) -> None:
        if not (path is None or isinstance(path, str | os.PathLike)):
            raise StorageError(f"storage= is the path of a file, such as 'study.db', or None; got {path!r}.")
        self.path = None if path is None else whole_path(path)
        self._lock = threading.RLock()
        self._process = os.getpid()
        if self.path is not None:
            with sentences(self.path, "be opened"):
                refuse_what_is_no_file(self.path)
            refuse_network(self.path)
            if not self.path.exists():
                create(self.path)
            if not read_only:
                refuse_second_name(self.path)
        in_file = self.path is not None and not read_only
        with sentences(self.path, "be opened"):
            if self.path is not None and read_only:
                self._connection = snapshot(self.path)
            else:
                self._connection = connect(":memory:" if self.path is None else str(self.path))
            kept = places(self.path) if in_file else []
            # At once: what has this name a moment later may be another file.
            opened = {place: identity(place) for place in kept[:1]}
        # A study that is simply forgotten closes its file too, without a ResourceWarning.
        self._close = weakref.finalize(self, self._connection.close)
        try:
            if self.path is None:
                lay_out(self._connection)
            else:
                verify(self._connection, self.path)
            if read_only:
                self._connection.execute("PRAGMA query_only = ON")
            self._opened = {place: identity(place) for place in kept} | opened
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
        return [study_of(self._where, row) for row in rows]

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
                (*(values := (name, now, objective, direction, space, model)), digest_of(*values)),
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
            digest = digest_of(
                name, known.created.isoformat(), known.objective, known.direction, space, model
            )
            connection.execute(
                "UPDATE studies SET space = ?, model = ?, digest = ? WHERE name = ?",
                (space, model, digest, name),
            )
        return replace(known, space=space, model=model)

    def begin_session(self, name: str, host: str, model: str, description: dict[str, Any]) -> SessionRecord:
        """Note that a study is opened with a model; give the session.

        ``model`` is the fingerprint of ``description``, which is plain values.
        """
        now, text = datetime.now(UTC).isoformat(), dumps(description, f"model of study {name!r}")
        with self._transaction("write") as connection:
            self._study(connection, name)
            connection.execute(
                "INSERT INTO models VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (model, text, digest_of(model, text)),
            )
            (last,) = connection.execute(
                "SELECT max(number) FROM sessions WHERE study = ?", (name,)
            ).fetchone()
            values = (name, 0 if last is None else last + 1, now, host, model)
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", (*values, digest_of(*values))
            )
        return SessionRecord(values[1], datetime.fromisoformat(now), host, model, description)

    def sessions(self, name: str) -> list[SessionRecord]:
        """Every session of a study, in order: when, where, and with which model it was opened."""
        with self._transaction("read") as connection:
            self._study(connection, name)
            models = {row["fingerprint"]: row for row in connection.execute("SELECT * FROM models")}
            rows = connection.execute(
                "SELECT * FROM sessions WHERE study = ? ORDER BY number", (name,)
            ).fetchall()
        return [session_of(self._where, row, models.get(row["model"])) for row in rows]

    # ---- settings

    def set_setting(self, study: str, key: str, value: Any) -> None:
        """Keep a JSON value with the study: its seed, the scales frozen at its start."""
        text = dumps(value, f"setting {key!r} of study {study!r}")
        with self._transaction("write") as connection:
            self._study(connection, study)
            connection.execute(
                "INSERT OR REPLACE INTO settings VALUES (?, ?, ?, ?)",
                (study, key, text, digest_of(study, key, text)),
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
            whole(self._where, row, f"setting {row['key']!r} of study {study!r}")
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
            values = row_of(study, trial)
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
            _, _, *values = row_of(study, trial)
            connection.execute(
                f"UPDATE trials SET {changes} WHERE study = ? AND number = ?", (*values, study, trial.number)
            )
        return trial

    def trials(self, study: str, known: Trials | None = None) -> Trials:
        """Read the log of a study: all of it, or what is not ``known`` and finished, which never changes.

        Raises
        ------
        StorageError
            For an unknown study, or a trial that does not read back as it was written: it is named.
        """
        finished = Trials() if known is None else known.finished
        numbers = json.dumps([trial.number for trial in finished])
        with self._transaction("read") as connection:
            self._study(connection, study)
            rows = connection.execute(
                "SELECT * FROM trials WHERE study = ? AND number NOT IN (SELECT value FROM json_each(?))",
                (study, numbers),
            ).fetchall()
        return Trials([*finished, *(trial_of(self._where, row) for row in rows)])

    def renew(self, study: str, host: str) -> None:
        """Note that a process (:func:`boatppl.processes.identity`) lives now."""
        values = (study, host, datetime.now(UTC).isoformat())
        with self._transaction("write") as connection:
            self._study(connection, study)
            connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (*values, digest_of(*values))
            )

    def leases(self, study: str) -> dict[str, datetime]:
        """Return when each process that shares a study last said that it lives (UTC)."""
        with self._transaction("read") as connection:
            self._study(connection, study)
            rows = connection.execute("SELECT * FROM leases WHERE study = ?", (study,)).fetchall()
        for row in rows:
            whole(self._where, row, f"the lease of {row['host']!r} in study {study!r}")
        return {row["host"]: datetime.fromisoformat(row["renewed"]) for row in rows}

    def keep_output(self, study: str, number: int, output: str) -> None:
        """Keep what the program of a trial said."""
        values = (study, number, output.encode(errors="replace").decode())
        with self._transaction("write") as connection:
            self._study(connection, study)
            connection.execute(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?)", (*values, digest_of(*values))
            )

    def outputs(self, study: str) -> dict[int, str]:
        """Return what the programs of the trials said, by number; trials without a program have none."""
        with self._transaction("read") as connection:
            self._study(connection, study)
            rows = connection.execute(
                "SELECT * FROM outputs WHERE study = ? ORDER BY number", (study,)
            ).fetchall()
        for row in rows:
            whole(self._where, row, f"the output of trial {row['number']} of study {study!r}")
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
        with _WHOLE, self._lock, sentences(self.path, verb):
            self._connection.execute("BEGIN" if purpose == "read" else "BEGIN IMMEDIATE")
            try:
                if purpose == "write":
                    refuse_another_file(self._opened)
                yield self._connection
                self._connection.execute("COMMIT")
                if (
                    purpose == "write"
                ):  # again: gone in the meantime, and what is in no file is not said to be
                    refuse_another_file(self._opened)
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
        return study_of(self._where, row)

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
        return trial_of(self._where, row)
