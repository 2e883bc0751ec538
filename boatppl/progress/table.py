"""The table of trials: which columns a study needs, and what stands in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boatppl.space import Space
from boatppl.study import Study
from boatppl.table import orphans
from boatppl.text import interval, one_line, shown
from boatppl.trial import State, Trial
from boatppl.why import REASONS, gain
from boatppl.words import listed

WIDTH = 120  # of a line of text, in characters
WHY = 38  # characters that the reason has at least; on a narrow screen it has NARROW_WHY
NARROW, NARROW_WHY = 110, 10
TITLE = 24  # characters of the objective's title
VALUE = 20  # characters of a value
PRIOR = 20  # characters of a prediction by the priors
MOST = 12  # parameters that have columns of their own
SAMPLE = 64  # configurations from which the width of a parameter's values is read
MOVES = "largest moves from the default"


@dataclass(frozen=True)
class Column:
    """A column of text: numbers stand right and are never cut, words left."""

    title: str
    width: int
    left: bool = False

    def cell(self, text: str) -> str:
        """Return text as wide as the column."""
        return one_line(text, self.width).ljust(self.width) if self.left else text.rjust(self.width)


class TrialTable:
    """What stands in the table of a study's trials.

    ``parameters`` have a column each; where a space has too many of them, one column says which moved most
    from the default (``parameters`` is then empty).
    """

    def __init__(self, study: Study) -> None:
        self.study, self.space = study, study.space
        self.goal = study.goal.name
        self.unit = study.model.unit_of(study.goal.name)
        moving = [name for name in self.space.names if name not in self.space.fixed]
        self.parameters = moving if len(moving) <= MOST else []
        self.default = self.space.encode([self.space.default])[0]

    @property
    def titles(self) -> list[str]:
        """Return what stands above the columns; units are said here, once."""
        unit = f", {self.unit}" if self.unit else ""
        named = [titled(self.space, name) for name in self.parameters] or [MOVES]
        return ["#", "trial", *named, f"predicted {self.goal}{unit}", "measured", "best", "why"]

    def cells(self, trial: Trial, best: float | None, moves: int | None = None) -> list[str]:
        """Return the texts of a finished trial; ``best`` is the best value so far, ``moves`` a width."""
        value = self.study.objective_of(trial)
        return [
            str(trial.number),
            trial.origin,
            *self._parameters(trial.configuration, moves),
            predicted(trial),
            outcome(trial.state) if value is None else shown(value),
            "" if best is None else shown(best),
            why(self.study, trial),
        ]

    def _parameters(self, configuration: Mapping[str, Any], moves: int | None) -> list[str]:
        unit = self.space.encode([configuration])
        if not self.parameters:
            return [largest_moves(self.space, configuration, np.abs(unit[0] - self.default), moves)]
        return [
            shown(configuration[name]) if self.space.active(unit, name)[0] else "·"
            for name in self.parameters
        ]


def titled(space: Space, name: str) -> str:
    """Return a parameter's name, and its unit where the name does not say it."""
    unit = getattr(space.parameters[name], "unit", None)
    return name if not unit or name.lower().endswith(unit.lower()) else f"{name}, {unit}"


def largest_moves(
    space: Space, configuration: Mapping[str, Any], moves: np.ndarray, width: int | None
) -> str:
    """Return the values farthest from the default, ``moves (coordinate,)`` on the unit cube, as many as
    fit."""
    farthest = {name: float(np.max(moves[part])) for name, part in space.slices.items()}
    moved = [name for name, distance in farthest.items() if distance > 1e-9]
    names = sorted(moved, key=lambda name: -farthest[name])
    pieces = [f"{name} {shown(configuration[name], 3)}" for name in names]
    if not pieces:
        return "none"
    for count in range(len(pieces), 0, -1):
        more = f" +{len(pieces) - count}" if count < len(pieces) else ""
        text = ", ".join(pieces[:count]) + more
        if count <= 4 if width is None else len(text) <= width:
            return text
    return text


# -- as text ----------------------------------------------------------------------------


class TextTable:
    """The table as lines of at most ``width`` characters."""

    def __init__(self, study: Study, width: int = WIDTH) -> None:
        self.content = TrialTable(study)
        self.width, self.narrow = width, width < NARROW
        self.columns = self._columns(width)

    def head(self) -> str:
        """Return the line of titles."""
        return "  ".join(column.cell(column.title) for column in self.columns).rstrip()

    def line(self, trial: Trial, best: float | None) -> str:
        """Return the line of a finished trial."""
        cells = self.content.cells(trial, best, self.columns[2].width)
        if self.narrow:
            del cells[-2]
        row = zip(self.columns, cells, strict=True)
        text = "  ".join(column.cell(text) for column, text in row).rstrip()
        return text if len(text) <= self.width else f"{text[: self.width - 1].rstrip()}…"

    def _columns(self, width: int) -> list[Column]:
        """Return the columns: titles are shortened, longest first, until the line fits; the reason has the
        rest. A narrow screen has no column for the best: it is in the last line."""
        table, space = self.content, self.content.space
        number, trial, *_, forecast, measured, best, _ = table.titles
        fixed = [Column(number, 3), Column(trial, 9, left=True)]
        forecast = one_line(forecast, TITLE)
        forecasts = 18 if self.content.study.generic else PRIOR
        after = [Column(forecast, max(forecasts, len(forecast))), Column(measured, 9), Column(best, 7)]
        after = after[:-1] if self.narrow else after
        least = NARROW_WHY if self.narrow else WHY
        free = width - least - sum(column.width + 2 for column in fixed + after)
        parameters = fitted(parameter_columns(space, table.parameters), free)
        if not parameters:
            self.content.parameters = []
            parameters = [Column(MOVES, max(free - 2, 8), left=True)]
        used = sum(column.width + 2 for column in [*fixed, *parameters, *after])
        return [*fixed, *parameters, *after, Column("why", max(width - used, least), left=True)]


def parameter_columns(space: Space, names: Sequence[str]) -> list[tuple[Column, Column]]:
    """Return for every parameter its column with the whole title, and the narrowest one that its values
    allow."""
    rows = [space.default, *space.decode(space.sample(SAMPLE, 0))] if names else []
    found = []
    for name in names:
        parameter = space.parameters[name]
        needs = min(max(len(shown(row[name])) for row in rows), VALUE)
        words = isinstance(space.default[name], str)
        whole = titled(space, name)
        least = max(needs, 5)
        narrow = Column(shortened(name, getattr(parameter, "unit", None), least), least, words)
        found.append((Column(whole, max(needs, len(whole)), words), narrow))
    return found


def shortened(name: str, unit: str | None, width: int) -> str:
    """Return a name within a width: without its unit, else its last words, else its beginning.

    >>> shortened("young_mb", "MB", 5), shortened("survivor_ratio", None, 5), shortened("tenuring", None, 5)
    ('young', 'ratio', 'tenu…')
    """
    words = name.split("_")
    if unit and len(words) > 1 and words[-1].lower() == unit.lower():
        words = words[:-1]
    for first in range(len(words)):
        if len(text := "_".join(words[first:])) <= width:
            return text
    return one_line("_".join(words), width)


def fitted(pairs: Sequence[tuple[Column, Column]], free: int) -> list[Column]:
    """Return the parameters' columns within ``free`` characters: the widest titles are shortened first; none
    where even the narrow ones do not fit or two would be called the same."""
    chosen = [whole for whole, _ in pairs]
    while sum(column.width + 2 for column in chosen) > free:
        spare = [column.width - narrow.width for column, (_, narrow) in zip(chosen, pairs, strict=True)]
        if not spare or max(spare) <= 0:
            return []
        place = spare.index(max(spare))
        chosen[place] = pairs[place][1]
    titles = [column.title for column in chosen]
    return [
        column
        if titles.count(column.title) == 1
        else replace(column, title=one_line(whole.title, column.width))
        for column, (whole, _) in zip(chosen, pairs, strict=True)
    ]


# -- cells ------------------------------------------------------------------------------


def predicted(trial: Trial) -> str:
    """Return the prediction made before the run: median and 90 % interval; by the priors alone at first."""
    suggestion = trial.suggestion or {}
    known = suggestion.get("predicted")
    if not isinstance(known, Mapping):
        return ""
    early = suggestion.get("prior", False)
    digits = 2 if early else 3
    text = f"{shown(known['median'], digits)} [{interval(known['low'], known['high'], digits)}]"
    return f"(prior) {text}" if early else text


def outcome(state: State) -> str:
    """Return what stands in place of a measured objective."""
    return "missing" if state in (State.COMPLETE, State.PARTIAL) else str(state)


def why(study: Study, trial: Trial) -> str:
    """Return why the configuration was chosen, or what went wrong with it, in one line."""
    if trial.state in (State.FAILED, State.TIMED_OUT, State.ABORTED):
        return one_line(trial.reason or "")
    missing = [
        f"{name} missing: unused for {listed(children)}"
        for name, children in (orphans(study.model, trial) if trial.measurements else {}).items()
    ]
    known = trial.suggestion or {}
    chosen = gain(known) if "expected_gain" in known else REASONS.get(trial.origin, trial.origin)
    if known.get("proposed_by") not in (None, study.rivals.first):
        chosen += f" ({known['proposed_by']})"
    return one_line("; ".join([*trial.marks, *missing, chosen]))
