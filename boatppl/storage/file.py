"""A study's file: made whole or not at all, and refused where it is none, damaged, or out of reach."""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from boatppl.mounts import file_system
from boatppl.storage.errors import StorageError
from boatppl.storage.schema import APPLICATION_ID, SCHEMA_VERSION, expected, lay_out, migrate, tables

BUSY_SECONDS = 60.0  # how long to wait for another process's transaction; each takes milliseconds
FROM_BACKUP = "Take the file from a backup, or start a study of another name."
LINKED_SECONDS = 1.0  # that a file which is just being made may have two names
UNWRITABLE = ("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_FULL")
SHARED_MEMORY = ("/dev/shm",)
NETWORK = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs",
    "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "beegfs", "gpfs",
)  # fmt: skip


def connect(address: str, **options: Any) -> sqlite3.Connection:
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


def snapshot(path: Path) -> sqlite3.Connection:
    """Return a copy in memory of a file as it is now.

    Where SQLite cannot open it (it writes beside it; the disk may be full, the folder not ours) it is copied
    into shared memory first, with the log that an unclosed file has.
    """
    memory = connect(":memory:")
    try:
        try:
            _copy(path, memory)
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith(UNWRITABLE):
                raise
            with tempfile.TemporaryDirectory(dir=next(filter(os.path.isdir, SHARED_MEMORY), None)) as folder:
                for place in places(path)[:2]:
                    with contextlib.suppress(FileNotFoundError):
                        shutil.copyfile(place, Path(folder, place.name))
                _copy(Path(folder, path.name), memory)
    except BaseException:
        memory.close()
        raise
    return memory


def _copy(path: Path, memory: sqlite3.Connection) -> None:
    with contextlib.closing(connect(str(path))) as file:
        file.backup(memory)


def whole_path(path: str | os.PathLike[str]) -> Path:
    """The place that a path leads to, links followed: what holds of the file holds there."""
    if str(path) == ":memory:" or re.match(r"[a-z]+:(//|.*\?)", str(path)):
        raise StorageError(
            f"storage={str(path)!r} is no path; expected that of a file, such as 'study.db', or None for a "
            "study in memory."
        )
    try:
        return Path(path).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a zero byte, nobody's home
        raise StorageError(f"storage={str(path)!r} leads nowhere: {error}. Choose another path.") from error


def refuse_what_is_no_file(path: Path) -> None:
    """Refuse a folder, and what is in none."""
    if path.is_dir():
        raise StorageError(f"{path} is a folder; expected a file, such as {path / 'study.db'}.")
    if not path.parent.is_dir():
        raise StorageError(f"{path} cannot be made: the folder {path.parent} does not exist. Make it first.")
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is no regular file; expected one, or a name that is free.")


def refuse_second_name(path: Path) -> None:
    """Refuse a file that has another name, a hard link: its log is kept beside one name only."""
    deadline = time.monotonic() + LINKED_SECONDS
    while path.stat().st_nlink > 1:  # for a moment, while another process makes it
        if time.monotonic() > deadline:
            raise StorageError(
                f"{path} has another name, too (a hard link), and SQLite keeps what was written last beside "
                "the name that it was opened by. Remove the other name, or copy the file rather than link it."
            )
        time.sleep(0.02)


def refuse_network(path: Path) -> None:
    """Refuse a file that other machines may have open: the write-ahead log is shared through memory."""
    kind = file_system(path)
    if kind in NETWORK:
        raise StorageError(
            f"{path} is on a network file system ({kind}), where SQLite cannot keep its promises. Choose a "
            "place on a disk of this machine, and copy the file when nothing has it open."
        )


def places(path: Path | None) -> list[Path]:
    """A study's file and those that SQLite keeps beside it while it is open."""
    return [] if path is None else [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]


def identity(path: Path) -> tuple[int, int] | None:
    """What tells the file of this name from every other one; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def refuse_another_file(opened: Mapping[Path, tuple[int, int] | None]) -> None:
    """Refuse to go on when a name has lost its file: the open one takes every write and nobody finds it."""
    for path, known in opened.items():
        if known is not None and (now := identity(path)) != known:
            raise StorageError(
                f"{path} was {'removed or moved' if now is None else 'replaced by another file'} while the "
                "study had it open, and what is written now would be lost; expected the same file until the "
                "study is closed. Move the file back, or open the study anew under another name (storage=) "
                "and tell again what study.trials of this session still shows."
            )


def create(path: Path) -> None:
    """Make a whole study file beside ``path`` and give it the name at once: a kill leaves all of it or "
    "nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    with sentences(path, "be made"):
        try:
            connection = connect(str(draft))
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                lay_out(connection)
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


def verify(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is no study file, is damaged or newer than this code, or cannot be written."""
    if path.stat().st_size == 0:
        raise StorageError(
            f"{path} is empty: a study file never is, so this one lost its contents, or was made by another "
            "program. Take it from a backup, or delete it to start anew."
        )
    with sentences(path, "be read"):
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
    with sentences(path, "be read"):
        whole = tables(connection) == expected(version)
    if not whole:  # a bent name of a column would be met as anything later
        raise StorageError(f"{path} is damaged: its tables are not those of a study file. {FROM_BACKUP}")
    with sentences(path, "be read"):
        # The full check, not the quick one: it compares rows with their index, so that a row cannot leave
        # its study unseen. 10,000 trials take about 0.1 s.
        problems = [text for (text,) in connection.execute("PRAGMA integrity_check(3)")]
    if problems != ["ok"]:
        raise StorageError(
            f"{path} is damaged: {'; '.join(problems)}. Take it from a backup; `sqlite3 {path.name} "
            ".recover` may save part of it."
        )
    with sentences(path, "be written to"):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    if version < SCHEMA_VERSION:
        with sentences(path, "be brought to today's schema"):
            migrate(connection)


@contextlib.contextmanager
def sentences(path: Path | None, verb: str) -> Iterator[None]:
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
    return (
        "Check that the folder and the file can be written and the disk has space, or choose a file "
        "elsewhere; `python -m boatppl show` reads a file where nothing can be written, too."
    )
