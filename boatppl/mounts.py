"""Which file system a path lies on."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")


def file_system(path: Path) -> str | None:
    """Return the kind of file system that a path is on, such as ``nfs4``; None where it is not known."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:  # no Linux
        return None
    kinds = {}
    for line in lines:
        place, _, rest = line.partition(" - ")
        if len(fields := place.split(" ")) > 4 and rest:
            kinds[re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4])] = rest.split(" ")[0]
    return next((kinds[str(folder)] for folder in (path, *path.parents) if str(folder) in kinds), None)
