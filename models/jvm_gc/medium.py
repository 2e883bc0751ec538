"""Where the store of a run lies while it lives: in memory if there is room, else on a disk."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from boatppl.mounts import file_system
from models.jvm_gc.workload import Workload

PREFIX = "boatppl-jvm-"


class NoRoom(RuntimeError):
    """No medium has room for a run's store."""


@dataclass(frozen=True)
class Medium:
    """Where the store of a run lies while it lives. A study keeps to one: they are not comparable."""

    folder: Path
    kind: str  # "tmpfs" or "disk"


def choose_medium(workload: Workload) -> Medium:
    """Memory (/dev/shm) if it has room for a run's store, else the disk of the temporary folder.

    ``$BOATPPL_JVM_STORE`` names a folder to use instead. Raises NoRoom when nothing has room.
    """
    needed = workload.store_mb
    named = os.environ.get("BOATPPL_JVM_STORE")
    places = [Path(named)] if named else [Path("/dev/shm"), Path(tempfile.gettempdir())]
    for folder in places:
        if folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free / 1e6 > needed:
            return Medium(folder, "tmpfs" if file_system(folder.resolve()) in ("tmpfs", "ramfs") else "disk")
    listed = " and ".join(str(folder) for folder in places)
    raise NoRoom(
        f"a run's store needs {needed:.0f} MB free, which {listed} has not. Free some, or set "
        "BOATPPL_JVM_STORE to a folder that has."
    )


def sweep(folder: Path) -> None:
    """Remove the stores that killed processes left behind."""
    for left in folder.glob(f"{PREFIX}*"):
        owner = Path("/proc") / left.name.removeprefix(PREFIX).split("-")[0]
        if Path("/proc/self").exists() and not owner.exists():
            shutil.rmtree(left, ignore_errors=True)
