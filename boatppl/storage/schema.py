"""The tables of a study file, version by version."""

import contextlib
import functools
import sqlite3

APPLICATION_ID = 0x424F4154  # "BOAT" in SQLite's header, so that `file` and other programs can tell
SCHEMA_VERSION = 5

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


def lay_out(connection: sqlite3.Connection) -> None:
    """Make the tables of today's version."""
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    connection.executescript(marks + SCHEMA + "".join(MIGRATIONS.values()))


def migrate(connection: sqlite3.Connection) -> None:
    """Make an older file one of today's schema, in one transaction: a kill leaves the old one or the new."""
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


def tables(connection: sqlite3.Connection) -> list[str]:
    """What makes the tables of a file."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [sql for (sql,) in rows]


@functools.cache
def expected(version: int) -> list[str]:
    """What makes the tables of a file of a schema version."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA + "".join(MIGRATIONS[old] for old in range(1, version)))
        return tables(connection)
