"""A promise and what was measured of it; tables of them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    ``bound`` is the most that was promised (None where nothing was), ``found`` what was measured (None where
    it could not be), ``at_least`` says that the measurement was stopped there, so that the truth is above.
    """

    promise: str
    what: str
    bound: float | None
    found: float | None
    unit: str
    note: str = ""
    at_least: bool = False

    @property
    def kept(self) -> str:
        """``yes``, ``no``, or ``-`` where there is no promise or no measurement."""
        if self.bound is None or self.found is None:
            return "-"
        return "yes" if self.found <= self.bound and not self.at_least else "no"

    @property
    def promised_text(self) -> str:
        """The promise in words."""
        return "-" if self.bound is None else f"at most {_number(self.bound)}{_suffix(self.unit)}"

    @property
    def found_text(self) -> str:
        """The measurement in words."""
        if self.found is None:
            return "not measured"
        return f"{'over ' if self.at_least else ''}{_number(self.found)}{_suffix(self.unit)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == 0 or abs(value) >= 100 or value == round(value) else f"{value:.2g}"


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with columns aligned as text.

    >>> print(markdown_table(["a", "bb"], [["1", "2"]]))
    | a | bb |
    |---|----|
    | 1 | 2  |
    """
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def markdown(figures: Sequence[Figure], about: Mapping[str, str]) -> str:
    """Return the table of promises with where it was measured below it."""
    rows = [[f.promise, f.what, f.promised_text, f.found_text, f.kept, f.note] for f in figures]
    table = markdown_table(["promise", "measured as", "promised", "found", "kept", "note"], rows)
    where = "\n".join(f"- {name}: {value}" for name, value in about.items())
    return (
        f"# Promises and what was measured\n\nMade by `make bench`.\n\n{table}\n\n{where}\n{_caution(about)}"
    )


def _caution(about: Mapping[str, str]) -> str:
    """Say so where the machine had more to do than it has cores."""
    loads = [float(about[when]) for when in ("load before", "load after") if when in about]
    if not loads or max(loads) <= int(about["cores"]):
        return ""
    return (
        "\nOther programs used this machine meanwhile (load above the number of cores): times are too long.\n"
    )


def comma_separated(figures: Sequence[Figure], about: Mapping[str, str]) -> str:
    """Return the figures as CSV, one a row, with where they were measured in every row."""
    out = StringIO()
    rows = [{**asdict(figure), "kept": figure.kept, **about} for figure in figures]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
