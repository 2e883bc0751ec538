"""Runs that came to nothing through no fault of their configuration, and what becomes of them.

An aborted trial is run again: a new trial of the same configuration, before anything else is chosen. What is
to be retried follows from the log alone, so a resumed study retries what an uninterrupted one would.
"""

from collections.abc import Mapping
from typing import Any

from boatppl.evidence import APART, INFEASIBLE, OUT_OF_RANGE, OUTSIDE
from boatppl.trial import State, Trial, Trials

LOST = "lost"  # the mark of a trial whose process or worker ended before it did
LOST_TIMES = 3  # a configuration that was lost so often is to blame: each time it was what ran
RETRIES = 3  # of a trial that was aborted for another reason


def to_retry(trials: Trials, context: Mapping[str, Any]) -> Trial | None:
    """Return the first aborted trial that is to be run again in a context, None where there is none.

    Runs that were told, controls and confirmations are not retried, nor is what no longer fits the space.
    """
    for trial in trials:
        fits = not set(trial.marks) & {OUT_OF_RANGE, INFEASIBLE, OUTSIDE}
        searched = trial.origin not in (*APART, "told")
        if trial.state is State.ABORTED and searched and fits and trial.context == dict(context):
            alike = _alike(trial, trials)
            tries = sum(other.state is State.ABORTED for other in alike)
            if alike[-1] is trial and tries <= RETRIES:
                return trial
    return None


def given_up(trial: Trial) -> bool:
    """Whether a trial was ended without its outcome: what it measured all the same may still come."""
    return trial.state is State.ABORTED or LOST in trial.marks


def is_to_blame(trial: Trial, trials: Trials, deaths: int = 1) -> bool:
    """Whether a configuration has lost its process or worker too often, ``deaths`` of them just now."""
    before = sum(LOST in other.marks for other in _alike(trial, trials) if other.number != trial.number)
    return before + deaths >= LOST_TIMES


def _alike(trial: Trial, trials: Trials) -> list[Trial]:
    return [t for t in trials if t.configuration == trial.configuration and t.context == trial.context]
