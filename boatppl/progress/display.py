"""Where progress is shown: a terminal, a notebook, a file, or nowhere."""

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from boatppl.evidence import searched
from boatppl.html.page import image
from boatppl.progress.curve import BEST, MEASURED, Point, as_svg
from boatppl.progress.table import WIDTH, TextTable, TrialTable
from boatppl.study import Study
from boatppl.text import duration, ending, one_line, shown
from boatppl.trial import State, Trial

TICK = 0.5  # seconds between two refreshments of a terminal's last line
UNWRITABLE = (OSError, ValueError)  # a full disk, a pipe that nobody reads, a closed file: no reason to stop
TELLING = 3  # trials that say how long the others will take


class Display(Protocol):
    """Somebody who looks on. Leaving the ``with`` block ends everything that moves."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def status(self, text: str) -> None:
        """Say what is going on now."""
        ...

    def trial(self, trial: Trial) -> None:
        """Add a finished trial."""
        ...

    def close(self, stopped: str) -> None:
        """Say why the study stopped."""
        ...


@dataclass
class Journey:
    """How far a session is: trials and time used of what was given, those that failed, the best so far."""

    study: Study
    n_trials: int | None = None
    budget: float | None = None  # seconds
    began: float = field(default_factory=time.monotonic)
    best: float | None = None
    default: float | None = None
    before: int = field(init=False)  # trials of earlier sessions that count against a budget

    def __post_init__(self) -> None:
        self.before = self.study.n_counted

    def arrive(self, trial: Trial) -> None:
        """Take in a finished trial. Without an objective it teaches nothing about the best."""
        if self.study.objective_of(trial) is None:
            return
        if self.study.modelled_next:
            with suppress(Exception):  # without a posterior the measurements must do
                best = self.study.best
                self.best, self.default = best.value, best.default
                return
        values = {t.number: self.study.objective_of(t) for t in self.study.trials.finished}
        known = [value for value in values.values() if value is not None]
        self.best = max(known) if self.study.goal.maximize else min(known)
        self.default = next(
            (values[t.number] for t in self.study.trials.finished if t.origin == "default"), None
        )

    def parts(self) -> list[str]:
        """Return what is said of it: trials, failures, time left, best so far."""
        done = self.study.n_counted
        of = f" of {self.n_trials}" if self.n_trials is not None else ""
        parts = [f"{done}{of} trial{'s' if of or done != 1 else ''}"]
        failed = sum(t.state in (State.FAILED, State.TIMED_OUT) for t in searched(self.study.trials))
        if failed:
            parts.append(f"{failed} failed")
        parts += self._left(done)
        if self.best is not None:
            unit = f" {unit}" if (unit := self.study.model.unit_of(self.study.goal.name)) else ""
            against = "" if self.default is None else f" (default {shown(self.default, 3)})"
            against = " (the default)" if self.best == self.default else against
            parts.append(f"best {self.study.goal.name} {shown(self.best, 3)}{unit}{against}")
        return parts

    def _left(self, done: int) -> list[str]:
        """Return the time that is left: of the budget, or by how long the trials so far took."""
        spent = time.monotonic() - self.began
        if self.budget is not None:
            left = self.budget - spent
            return [f"{duration(left)} left" if left > 0 else "the time is up"]
        here = done - self.before
        if self.n_trials is None or here < TELLING or done >= self.n_trials:
            return []
        return [f"about {duration(spent / here * (self.n_trials - done))} left"]

    def ended(self, stopped: str) -> str:
        """Return the last sentence: why it stopped, and how much each rival model was listened to; on lines
        of their own, what was measured in vain."""
        shares = self.study.weights
        told = " / ".join(f"{name} {share:.2f}" for name, share in shares.items()) if len(shares) > 1 else ""
        return "\n".join(["; ".join(filter(None, [ending(stopped), told])), *self.study.unused()])


class Silent:
    """Nobody looks on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def status(self, text: str) -> None:
        """Say nothing."""

    def trial(self, trial: Trial) -> None:
        """Say nothing."""

    def close(self, stopped: str) -> None:
        """Say nothing."""


class PlainLines:
    """A line for every trial, as a file or a log keeps it."""

    def __init__(self, journey: Journey, out: TextIO, width: int = WIDTH) -> None:
        self.journey, self.out = journey, out
        self.table = TextTable(journey.study, width)
        self.headed = self.lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def status(self, text: str) -> None:
        """Say nothing: only what happened is worth a line."""

    def trial(self, trial: Trial) -> None:
        """Write the line of a finished trial."""
        self.journey.arrive(trial)
        if not self.headed:
            before = len(self.journey.study.trials.finished) - 1
            if before > 0:
                self._write(f"{before} trial{'s' if before > 1 else ''} of this study are there already")
            self._write(self.table.head())
            self.headed = True
        self._write(self.table.line(trial, self.journey.best))

    def close(self, stopped: str) -> None:
        """Write why the study stopped."""
        self._write(self.journey.ended(stopped))

    def _write(self, line: str) -> None:
        try:
            encoding = self.out.encoding or "utf-8"
            self.out.write(
                line.encode(encoding, "replace").decode(encoding) + "\n"
            )  # never fail for a letter
            self.out.flush()
        except UNWRITABLE as error:
            if not self.lost:
                logging.getLogger("boatppl").warning("Progress cannot be written any more: %s", error)
            self.lost = True


# Without a carriage return, at which a stream would flush: a line is written together with its erasure.
ERASE = "\x1b[2K\x1b[G"


# A thread draws while trials are forked: a lock of the stream that it held at that moment would stay locked
# in the child, whose first print would wait for ever. So a fork waits until nothing is being drawn.
DRAWING = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=DRAWING.acquire, after_in_parent=DRAWING.release, after_in_child=DRAWING.release
    )


class Above:
    """A stream whose lines appear above the transient line, which is erased before each of them: so a run may
    print, also from a child process."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.fresh = stream, True

    def write(self, text: str) -> int:
        """Write text; a new line begins where the transient one stood."""
        with DRAWING:
            if text and self.fresh:
                self.stream.write(ERASE)
            written = self.stream.write(text)
            self.fresh = text.endswith("\n") if text else self.fresh
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Terminal:
    """A line for every trial, and below them a transient one, refreshed by a thread, that says what is going
    on now."""

    def __init__(self, journey: Journey, out: TextIO) -> None:
        self.journey, self.out = journey, out
        columns = shutil.get_terminal_size().columns
        self.lines = PlainLines(journey, out, max(60, min(WIDTH, columns - 1)))
        self.text, self.since = "", time.monotonic()
        self.ended = threading.Event()
        self.ticker = threading.Thread(target=self._tick, daemon=True, name="boatppl progress")
        self.others: list[Above] = []  # what else writes to this screen
        self.replaced = ExitStack()

    def __enter__(self) -> Self:
        for redirect, stream in ((redirect_stdout, sys.stdout), (redirect_stderr, sys.stderr)):
            if is_terminal(stream):
                self.others.append(Above(stream))
                self.replaced.enter_context(redirect(self.others[-1]))
        self.ticker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.ticker.join()
        self.replaced.close()
        self._erase()

    def status(self, text: str) -> None:
        """Say what is going on now."""
        with DRAWING:
            self.text, self.since = text, time.monotonic()
        self._draw()

    def trial(self, trial: Trial) -> None:
        """Write the line of a finished trial above the transient one."""
        self.status(f"learning from trial {trial.number}")
        self.journey.arrive(trial)
        self._erase()
        self.lines.trial(trial)

    def close(self, stopped: str) -> None:
        """Write why the study stopped."""
        self._erase()
        self.lines.close(stopped)

    def line(self) -> str:
        """Return the transient line: what is being done, for how long, and how far the session is."""
        took = duration(time.monotonic() - self.since)
        text = " · ".join([f"{self.text}, {took}", *self.journey.parts()])
        return one_line(text, max(shutil.get_terminal_size().columns - 2, 20))

    def _tick(self) -> None:
        while not self.ended.wait(TICK):
            self._draw()

    def _draw(self) -> None:
        with DRAWING:
            if self.text and all(other.fresh for other in self.others):
                self._send(f"{ERASE}{self.line()}")

    def _erase(self) -> None:
        with DRAWING:
            self.text = ""
            if all(other.fresh for other in self.others):
                self._send(ERASE)
            else:  # a line that a run began and did not end
                self._send("\n")
                for other in self.others:
                    other.fresh = True

    def _send(self, text: str) -> None:
        with suppress(*UNWRITABLE):
            self.out.flush()
            os.write(self.out.fileno(), text.encode(self.out.encoding or "utf-8", "replace"))


Show = Callable[[dict[str, str]], Callable[[dict[str, str]], None]]  # a first bundle -> what replaces it


class Notebook:
    """One display with the convergence and the table of trials, updated in place; it stays when the cell is
    interrupted."""

    def __init__(self, journey: Journey, show: Show) -> None:
        self.journey, self.show = journey, show
        self.table = TrialTable(journey.study)
        self.plain = TextTable(journey.study)
        self.rows: list[list[str]] = []
        self.lines: list[str] = []
        self.points: list[Point] = []
        self.update: Callable[[dict[str, str]], None] | None = None

    def __enter__(self) -> Self:
        for trial in self.journey.study.trials.finished:
            self._add(trial, None)
        return self

    def __exit__(self, *error: object) -> None:
        return

    def status(self, text: str) -> None:
        """Say what is going on now, and since when."""
        now = datetime.now().strftime("%H:%M:%S")
        self._render(" · ".join([f"{text}, since {now}", *self.journey.parts()]))

    def trial(self, trial: Trial) -> None:
        """Add the row of a finished trial."""
        self.status(f"learning from trial {trial.number}")
        self.journey.arrive(trial)
        self._add(trial, self.journey.best)
        self._render(" · ".join(self.journey.parts()))

    def close(self, stopped: str) -> None:
        """Say why the study stopped."""
        self._render(self.journey.ended(stopped))

    def _add(self, trial: Trial, best: float | None) -> None:
        self.rows.append(self.table.cells(trial, best))
        self.lines.append(self.plain.line(trial, best))
        self.points.append(Point(trial.number, self.journey.study.objective_of(trial), best))

    def _curve(self) -> str:
        goal, unit = self.table.goal, f", {self.table.unit}" if self.table.unit else ""
        drawing = as_svg(self.points, self.journey.default, f"{goal}{unit}")
        return image(drawing, f"{goal} over the trials", fit=True) if drawing else ""

    def _render(self, footer: str) -> None:
        bundle = {
            "text/html": as_html(self.table.titles, self.rows, footer, self._curve()),
            "text/plain": "\n".join([self.plain.head(), *self.lines, footer]),
        }
        if self.update is None:
            self.update = self.show(bundle)
        else:
            self.update(bundle)


# Colours are the page's own, lines a grey between: right on light and on dark pages. A long table is
# scrolled, and the reversed column keeps its end in sight; its head stays, on the page's own ground.
STYLE = """<style>
.boat-trials { display: flex; flex-direction: column-reverse; max-height: 40em; overflow: auto;
  color: inherit; font-size: 0.9em; }
.boat-trials table { border-collapse: collapse; margin: 0 auto auto 0; color: inherit; background: none; }
.boat-trials tr { background: none !important; }
.boat-trials th, .boat-trials td { padding: 0.15em 0.5em; text-align: right; white-space: nowrap;
  border: none; background: none; color: inherit; font-variant-numeric: tabular-nums; }
.boat-trials th { border-bottom: 1px solid rgba(128,128,128,.6); font-weight: 600; position: sticky; top: 0;
  background: var(--jp-layout-color0, var(--vscode-editor-background, var(--background, Canvas)));
  white-space: normal; vertical-align: bottom; }
.boat-trials tr + tr td { border-top: 1px solid rgba(128,128,128,.18); }
.boat-trials .word { text-align: left !important; }
.boat-trials .why { text-align: left !important; white-space: normal; min-width: 14em; }
.boat-trials td.why { opacity: .8; }
.boat-status { margin: 0.4em 0 0.2em 0.5em; font-size: 0.9em; opacity: .85; white-space: pre-line; }
.boat-key { margin: 0 0 0.4em 0.5em; font-size: 0.85em; opacity: .85; }
.boat-key b { font-size: 1.3em; line-height: 1; }
</style>"""
KEY = (
    f'<div class="boat-key"><b style="color:{MEASURED}">•</b> measured &ensp;'
    f'<b style="color:{BEST}">–</b> best so far, by the posterior &ensp;<b>┄</b> default</div>'
)


def as_html(titles: list[str], rows: list[list[str]], footer: str, curve: str = "") -> str:
    """Return the curve, the table below it, and what is going on."""
    kinds = ["", "word", *[""] * (len(titles) - 3), "why"]

    def row(tag: str, cells: list[str]) -> str:
        inside = (
            f'<{tag} class="{kind}">{escape(cell)}</{tag}>' for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{''.join(inside)}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    picture = f"<div>{curve}</div>{KEY}" if curve else ""
    return (
        f'{STYLE}{picture}<div class="boat-trials"><table><thead>{row("th", titles)}</thead>'
        f'<tbody>{body}</tbody></table></div><div class="boat-status">{escape(footer)}</div>'
    )


def open_progress(
    study: Study, wanted: bool, n_trials: int | None = None, budget: float | None = None
) -> Display:
    """Return the display for where this process runs; ``budget`` in seconds."""
    if not wanted:
        return Silent()
    journey = Journey(study, n_trials, budget)
    show = notebook_display()
    if show is not None:
        return Notebook(journey, show)
    if not hasattr(sys.stdout, "write"):
        return Silent()
    if is_terminal(sys.stdout):
        return Terminal(journey, sys.stdout)
    return PlainLines(journey, sys.stdout)


def is_terminal(out: TextIO) -> bool:
    """Whether the last line of ``out`` can be written over."""
    try:
        seen = out.isatty()
    except (AttributeError, ValueError):  # None, as in a program without a console, or closed
        return False
    return seen and os.environ.get("TERM", "dumb") != "dumb"


def notebook_display() -> Show | None:
    """Return how to show something in the Jupyter cell that runs this; None outside of Jupyter."""
    interactive: Any = sys.modules.get("IPython")  # not imported: then this is no notebook
    shell = None if interactive is None else interactive.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None

    def show(bundle: dict[str, str]) -> Callable[[dict[str, str]], None]:
        handle = interactive.display.display(bundle, raw=True, display_id=True)
        return lambda newer: handle.update(newer, raw=True)

    return show
