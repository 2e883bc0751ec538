"""What a person sees while it runs: a line for every trial, and what is going on now where there is a
terminal."""

import sys
from typing import Any, TextIO

from boatppl.study import Study
from boatppl.trial import State, Trial


class Progress:
    """Write a table, one line a trial; the current activity is a transient last line in a terminal."""

    def __init__(self, study: Study, out: TextIO | None) -> None:
        self.study, self.out = study, out
        self.live = out is not None and out.isatty()
        self.header = False
        self.shown = 0  # characters of the transient line

    def status(self, text: str) -> None:
        """Say what is going on now."""
        if self.live and self.out is not None:
            self._erase()
            self.out.write(f"   {text} ...")
            self.out.flush()
            self.shown = len(text) + 7

    def trial(self, trial: Trial) -> None:
        """Add the line of a finished trial."""
        if self.out is None:
            return
        self._erase()
        if not self.header:
            self.out.write(self._titles() + "\n")
            self.header = True
        self.out.write(self._line(trial) + "\n")
        self.out.flush()

    def close(self, result: Any) -> None:
        """Say why the study stopped."""
        if self.out is not None:
            self._erase()
            self.out.write(f" stopped: {result.stopped}\n")
            self.out.flush()

    def _erase(self) -> None:
        if self.shown and self.out is not None:
            self.out.write("\r" + " " * self.shown + "\r")
            self.shown = 0

    def _titles(self) -> str:
        goal = self.study.goal.name
        cells = [f"{name[:10]:>10}" for name in self.study.space.names]
        return (
            f"{'#':>3} {'':9}{' '.join(cells)}  {'predicted ' + goal:>24} {'measured':>10} {'best':>10}  why"
        )

    def _line(self, trial: Trial) -> str:
        cells = [f"{shown(trial.configuration[name]):>10}" for name in self.study.space.names]
        value = self.study.objective_of(trial)
        measured = str(trial.state) if value is None else shown(value)
        best = self.study.quick_best()
        return (
            f"{trial.number:>3} {trial.origin:<9}{' '.join(cells)}  {predicted(trial):>24} {measured:>10} "
            f"{'' if best is None else shown(best):>10}  {why(trial)}"
        )


def open_progress(study: Study, wanted: bool) -> Progress:
    """Return the progress display for where this process runs."""
    return Progress(study, sys.stdout if wanted else None)


def shown(value: Any) -> str:
    """Return a value of a parameter or measurement in a few characters."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:.4g}"
    return "[" + " ".join(f"{item:.2g}" for item in value[:3]) + (" ..." if len(value) > 3 else "") + "]"


def predicted(trial: Trial) -> str:
    """Return the prediction made before the run: median and 90 % interval."""
    known = (trial.suggestion or {}).get("predicted")
    if not known:
        return ""
    return f"{shown(known['median'])} [{shown(known['low'])}-{shown(known['high'])}]"


def why(trial: Trial) -> str:
    """Return why the configuration was chosen, or what went wrong with it."""
    if trial.state in (State.FAILED, State.TIMED_OUT, State.ABORTED):
        return trial.reason or ""
    if trial.origin == "suggested" and trial.suggestion:
        gain, probability = trial.suggestion["expected_gain"], trial.suggestion["probability"]
        return f"expected gain {shown(gain)}, {probability:.0%} sure of one"
    return {
        "default": "the configuration in use today",
        "design": "quasi-random start",
        "control": "the default again, as a control for drift",
        "confirm": "measured again",
    }.get(trial.origin, trial.origin)
