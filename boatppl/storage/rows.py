"""Rows of a study file: JSON columns with a digest, so that a damaged one is named and never read wrongly."""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from boatppl.storage.errors import StorageError
from boatppl.storage.file import FROM_BACKUP
from boatppl.trial import Trial

# Each holds one field of Trial.to_record() as JSON.
COLUMNS = (
    "configuration", "context", "state", "measurements", "reason", "origin", "suggestion", "seed", "started",
    "finished", "host", "marks",
)  # fmt: skip


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


def whole(where: str, row: sqlite3.Row, what: str) -> list[Any]:
    """Give the values of a row; raise a StorageError that names it where its digest does not fit them."""
    *values, digest = row
    if digest != digest_of(*values):
        raise StorageError(f"{where}: {what} is damaged (its digest does not fit). {FROM_BACKUP}")
    return values


def study_of(where: str, row: sqlite3.Row) -> StudyRecord:
    """Read a row of ``studies``."""
    name, created, *rest = whole(where, row, f"the entry of study {row['name']!r}")
    return StudyRecord(name, datetime.fromisoformat(created), *rest)


def trial_of(where: str, row: sqlite3.Row) -> Trial:
    """Read a row of ``trials``."""
    try:
        texts, limit = [row[column] for column in COLUMNS], _given(row["timeout"])
        if row["digest"] != digest_of(row["study"], row["number"], *texts, *limit):
            raise ValueError("its digest does not fit its columns")
        fields = {column: json.loads(text) for column, text in zip(COLUMNS, texts, strict=True)}
        fields["timeout"] = json.loads(limit[0]) if limit else None
        return Trial.from_record({"number": row["number"], **fields})
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise StorageError(
            f"{where}: trial {row['number']} of study {row['study']!r} is damaged ({error}). Take "
            "the file from a backup, or delete that row with an SQLite browser."
        ) from error


def session_of(where: str, row: sqlite3.Row, model: sqlite3.Row | None) -> SessionRecord:
    """Read a row of ``sessions``, and the one of ``models`` that it names."""
    *values, digest = row
    intact = model is not None and model["digest"] == digest_of(model["fingerprint"], model["description"])
    if model is None or not intact or digest != digest_of(*values):
        raise StorageError(
            f"{where}: session {row['number']} of study {row['study']!r} is damaged (its digest "
            f"does not fit). {FROM_BACKUP}"
        )
    _, number, started, host, fingerprint = values
    known = json.loads(model["description"])
    return SessionRecord(number, datetime.fromisoformat(started), host, fingerprint, known)


def row_of(study: str, trial: Trial) -> tuple[str | int | None, ...]:
    """The values of a row in ``trials``: study, number, COLUMNS, digest, timeout."""
    record = trial.to_record()
    texts = [dumps(record[column], f"{column} of trial {trial.number}") for column in COLUMNS]
    limit = None if trial.timeout is None else dumps(trial.timeout, f"timeout of trial {trial.number}")
    return (study, trial.number, *texts, digest_of(study, trial.number, *texts, *_given(limit)), limit)


def _given(limit: str | None) -> tuple[str, ...]:
    """A limit as a part of a row's digest: none where there is none, as in rows of the versions before 4."""
    return () if limit is None else (limit,)


def dumps(value: Any, what: str) -> str:
    """Give compact JSON; ``what`` is named where there is none."""
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


def digest_of(*parts: str | int) -> str:
    """64 bits over the parts and their borders."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
