"""One tuner on one problem with one seed: what is kept of it, and when it may end early."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.censored import first_within
from benchmarks.machine import peak_mb
from benchmarks.peers.peer import PeerError
from benchmarks.problems import Problem
from benchmarks.tuners import ENTRANTS, Tuner

SHARES = (0.10, 0.05, 0.01)  # of the optimum (or of the problem's scale)
STEADY = 3  # trials on end within the least share: then nothing more is learnt of a run


@dataclass(frozen=True)
class Trace:
    """One tuner on one problem with one seed.

    ``gaps`` after each trial: how far the recommendation's noise-free value is above the optimum, as a share
    of the scale. ``seconds`` that each trial took the tuner: to ask, to be told and to recommend. ``value``
    is the noise-free value of the last recommendation. ``stopped`` says why a run ended before its budget:
    ``arrived``, ``time limit of ... s`` or ``failed: ...``; empty where it did not. ``memory`` is the peak
    in MB of the tuner's process; ours is the bench's own.
    """

    problem: str
    tuner: str
    seed: int
    gaps: tuple[float, ...]
    seconds: tuple[float, ...]
    opened: float = 0.0
    stopped: str = ""
    budget: int = 0
    value: float = float("nan")
    versions: Mapping[str, str] = field(default_factory=dict)
    memory: float = float("nan")

    def trials_to(self, share: float) -> float:
        """Return after how many trials the recommendation first was within a share; infinity: never."""
        return first_within(self.gaps, share)

    def seconds_to(self, share: float, each: float = 0.0) -> float:
        """Return the tuner's seconds until then, with ``each`` more for every trial's run."""
        n = self.trials_to(share)
        return float("inf") if np.isinf(n) else sum(self.seconds[: int(n)]) + each * n

    def gap_at(self, trial: int) -> float:
        """Return the gap after a trial. A run that arrived stays where it was; one that was stopped or failed
        keeps its last recommendation."""
        return self.gaps[min(trial, len(self.gaps)) - 1] if self.gaps else float("inf")

    def area(self, trials: int) -> float:
        """Return the mean gap over the first trials as a share of the default's: 0 at once, 1 never."""
        first = self.gaps[0] if self.gaps else 1.0
        return float(np.mean([min(self.gap_at(i + 1), first) for i in range(trials)]) / max(first, 1e-12))


def trace(
    problem: Problem, name: str, seed: int, n_trials: int, limit: float = float("inf"), early: bool = False
) -> Trace:
    """Run a tuner; the noise of trial ``i`` depends on the seed and ``i`` alone.

    ``limit``: seconds of its own that a tuner may take. ``early``: end once the recommendation is within the
    least share and stays there. A peer that fails keeps what it had. Raises Unavailable for one that cannot
    be had.
    """
    gaps: list[float] = []
    seconds: list[float] = []
    stopped, value = "", float("nan")
    began = time.perf_counter()
    try:
        tuner = ENTRANTS[name].tuner(problem, seed, n_trials)
    except PeerError as error:
        return Trace(problem.name, name, seed, (), (), stopped=f"failed: {_said(error)}", budget=n_trials)
    opened = time.perf_counter() - began
    try:
        for i in range(n_trials):
            spent, recommended = _step(problem, tuner, np.random.default_rng([seed, i]))
            value = problem.truth(recommended)
            gaps.append(problem.gap(recommended))
            seconds.append(spent)
            if early and _arrived(gaps) and i + 1 < n_trials:
                stopped = "arrived"
            elif sum(seconds) > limit and i + 1 < n_trials:
                stopped = f"time limit of {limit:g} s"
            if stopped:
                break
    except PeerError as error:
        stopped = f"failed: {_said(error)}"
    finally:
        memory = peak_mb(tuner.process)
        tuner.close()
    traced = (tuple(gaps), tuple(seconds), opened, stopped, n_trials, value, tuner.versions, memory)
    return Trace(problem.name, name, seed, *traced)


def _step(problem: Problem, tuner: Tuner, rng: np.random.Generator) -> tuple[float, dict]:
    """Make one trial; return the tuner's seconds, and what it recommends after it as it can be run."""
    began = time.perf_counter()
    ran = problem.nearest(tuner.ask())
    asked = time.perf_counter() - began
    measurements = problem.run(ran, rng)
    began = time.perf_counter()
    tuner.tell(ran, measurements)
    recommended = tuner.best()
    return asked + time.perf_counter() - began, problem.nearest(recommended)


def _said(error: PeerError) -> str:
    return " ".join(str(error).split())[:160]


def _arrived(gaps: Sequence[float]) -> bool:
    return len(gaps) >= STEADY and all(gap <= min(SHARES) for gap in gaps[-STEADY:])
