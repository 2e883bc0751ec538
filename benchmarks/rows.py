"""Rows of a CSV file that grows as they come, so that what was interrupted goes on where it stopped."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any


def read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a file, none where there is no file; a torn last line is left out."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row.get(name) is not None for name in columns)]


def append(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows to a file, which is begun with its head where it is not there; a torn last line is ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    elif not path.read_bytes().endswith(b"\n"):
        text.write("\n")
    writer.writerows(rows)
    with path.open("a", newline="") as file:
        file.write(text.getvalue())  # at once: two processes may share a file
