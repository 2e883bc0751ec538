"""A session of trials: ask, run, tell, until the budget is spent; one trial at a time or several."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Any

from boatppl.evidence import APART, searched
from boatppl.measurement import MeasurementError
from boatppl.policy import kept
from boatppl.processes import identity, is_gone
from boatppl.progress import Display
from boatppl.retry import LOST, LOST_TIMES, is_to_blame
from boatppl.runner import Outcome
from boatppl.stage import heard
from boatppl.stopping import StopWhen
from boatppl.storage import StorageError
from boatppl.study import Study
from boatppl.text import one_line
from boatppl.trial import State, Trial
from boatppl.words import ModelError, expected_one_of, listed
from boatppl.workers import Here, NoMoreWorkers, Pool

Callback = Callable[[Study, Trial], None]
GivenContext = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None

INTERRUPTED = "interrupted"
ORPHANS = ("retry", "fail")
RENEWED_EVERY = 60.0  # seconds: how often a living session says so
ALIKE = 3  # trials that fail alike, the first ones, before that is said
ABORTED_RUNNING = 3  # aborted trials of every worker in a row that end a session


class Session:
    """One session of trials of a study, on workers that run them."""

    def __init__(
        self,
        study: Study,
        workers: Here | Pool,
        context: GivenContext,
        callbacks: Sequence[Callback],
        progress: Display,
        orphans: str = "retry",
        orphans_after: float | None = None,
    ) -> None:
        self.study, self.workers, self.context = study, workers, context
        self.callbacks, self.progress = callbacks, progress
        self.orphans, self.orphans_after = orphans, orphans_after
        self.aborted: list[str | None] = []  # why the last trials were aborted, one after the other
        self.before = {trial.number for trial in study.trials.running}

    # -- the search

    def until(
        self,
        n_trials: int | None,
        limit: float | None,
        rule: StopWhen | None,
        control_every: int,
        overlap: bool,
    ) -> str:
        """Run trials until the count or the time is reached, or the rule holds; return why it stopped."""
        ruling, began, why = Ruling(self.study, rule), time.monotonic(), None
        if overlap:
            threading.Thread(target=self.study.compile, daemon=True).start()
        with suppress(KeyboardInterrupt), heard(self.progress.status), self._alive():
            while True:
                resolve_orphans(self.study, self.orphans, older_than=self.orphans_after)
                why = why or self._hopeless() or self._late(began, limit) or ruling.holds()
                while why is None and self._free:
                    if self._control_due(control_every, n_trials):
                        why = self._submit(self.repetition(self.study.space.default, "control"))
                    elif self._wanted(n_trials) and (why := self._late(began, limit)) is None:
                        self.progress.status("choosing the next configuration")
                        context = given(self.context)
                        why = self._submit(self.study.ask_one(context=context, note=ruling.note))
                    else:
                        break
                if not self.workers.running:
                    return why or f"{self.study.n_counted} trials were run{ruling.remark}"
                self._next()
        return INTERRUPTED

    def confirm(self, n: int) -> None:
        """Run the best configuration and the default alternately, ``n`` times each."""
        try:
            if self.study.quick_best() is None:
                return
            best = self.study.best.configuration
        except Exception as error:  # no posterior to say which: what was run is in the log all the same
            logging.getLogger("boatppl").warning("nothing is confirmed: %s: %s", type(error).__name__, error)
            return
        with suppress(KeyboardInterrupt), heard(self.progress.status), self._alive():
            for i in range(n):
                for configuration in (best, self.study.space.default)[:: 1 if i % 2 else -1]:
                    if self._submit(self.repetition(configuration, "confirm")) is None:
                        self._next()

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Say now and then that this session lives; at its end, however it comes, give up what still runs."""
        lease = Lease(self.study)
        try:
            yield
        finally:
            lease.end()
            self._abandon()

    def repetition(self, configuration: Mapping[str, Any], origin: str) -> Trial:
        """Return a trial of a configuration once more, counted apart."""
        context = self.study.space.validate_context(given(self.context))
        return self.study.start(configuration, origin, None, context)

    # -- what may start

    @property
    def _free(self) -> bool:
        return len(self.workers.running) < self.workers.capacity

    def _wanted(self, n_trials: int | None) -> bool:
        """Whether a trial more is wanted, with those that run: here, or in another living process."""
        if n_trials is None:
            return True
        mine = [trial.number for trial in self.workers.running]
        running = [t for t in self.study.trials.running if t.origin not in APART]
        elsewhere = [t for t in running if t.host != identity() and not is_gone(t.host)]
        ours = [t for t in running if t.number in mine]
        return self.study.n_counted + len(ours) + len(elsewhere) < n_trials

    def _control_due(self, every: int, n_trials: int | None) -> bool:
        """Whether the default is to be run again now; none comes after the last trial."""
        done = self.study.n_counted
        if not every or not done or done % every or done == n_trials:
            return False
        last = searched(self.study.trials)[-1].number
        return not any(t.origin == "control" and t.number > last for t in kept(self.study.trials))

    def _late(self, began: float, limit: float | None) -> str | None:
        if limit is None or time.monotonic() - began < limit:
            return None
        return f"the time budget of {limit:.0f} s is spent"

    def _hopeless(self) -> str | None:
        """Why it makes no sense to go on: nothing but aborted trials."""
        if len(self.aborted) < ABORTED_RUNNING * self.workers.capacity:
            return None
        return f"{len(self.aborted)} trials in a row were aborted, the last one because {self.aborted[-1]}"

    # -- running and telling

    def _submit(self, trial: Trial) -> str | None:
        """Start a trial; return why none can be started any more."""
        try:
            self.workers.submit(trial, careful="retry_of" in (trial.suggestion or {}))
        except NoMoreWorkers as error:
            self.progress.trial(self.study.fail(trial, str(error), State.ABORTED))
            return str(error)
        numbers = sorted(running.number for running in self.workers.running)
        self.progress.status(f"running trial{'s' if len(numbers) > 1 else ''} {listed(map(str, numbers))}")
        return None

    def _next(self) -> None:
        """Wait for an outcome and tell the study."""
        trial, outcome = self.workers.next()
        told = self._tell(trial, outcome)
        self.aborted = [*self.aborted, told.reason] if told.state is State.ABORTED else []
        self._doubt(told)
        self.progress.trial(told)
        for callback in self.callbacks:
            callback(self.study, told)

    def _doubt(self, told: Trial) -> None:
        """Say so where the first runs fail all alike: that is more often the run's fault than theirs."""
        finished = [trial for trial in self.study.trials.finished if trial.state is not State.ABORTED]
        if len(finished) == ALIKE and {(t.state, t.reason) for t in finished} == {
            (State.FAILED, told.reason)
        }:
            logging.getLogger("boatppl").warning(
                "the first %d trials failed for one and the same reason: %s. If it is the run that is wrong, "
                "and not these configurations, end the session (Ctrl-C), mend it, and begin a new study.",
                ALIKE, one_line(told.reason or "", 200),
            )  # fmt: skip

    def _tell(self, trial: Trial, outcome: Outcome) -> Trial:
        why = outcome.reason or "no reason was given"
        if outcome.output is not None:
            self.study.storage.keep_output(self.study.name, trial.number, outcome.output)
        trial = replace(trial, host=outcome.host or trial.host)
        if outcome.deaths:
            return lose(self.study, trial, why, outcome.deaths)
        if outcome.state is not State.COMPLETE:
            return self.study.fail(trial, why, outcome.state, timeout=outcome.timeout)
        try:
            return self.study.tell(trial, outcome.measurements)
        except MeasurementError as error:
            return self.study.fail(trial, str(error))

    def _abandon(self) -> None:
        """Give up what is still running: Ctrl-C, or an exception of somebody's callback.

        That may have come at any moment: between the store and the worker, too.
        """
        begun = [t for t in self.study.trials.running if t.number not in self.before and t.host == identity()]
        for trial in {t.number: t for t in [*self.workers.abandon(), *begun]}.values():
            self.progress.trial(self.study.fail(trial, "interrupted from the keyboard", State.ABORTED))


class Lease:
    """Says every so often, in a thread of its own, that this process lives: a run may take hours. (A process
    that is stopped, or hangs without letting another thread on, says nothing more.)"""

    def __init__(self, study: Study) -> None:
        self.study, self._over = study, threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        if study.storage.path is not None:
            self._thread.start()

    def _renew(self) -> None:
        while not self._over.wait(RENEWED_EVERY):
            with suppress(StorageError):  # a busy file: the next time, then
                self.study.renew()

    def end(self) -> None:
        """Say nothing more."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)


class Ruling:
    """A stopping rule on its way."""

    def __init__(self, study: Study, rule: StopWhen | None) -> None:
        self.study, self.rule, self.remark = study, rule, ""
        self.note: dict[str, Any] = {}

    def holds(self) -> str | None:
        """Return why to stop now, None where it is too early; ``note`` is to be kept with the next trial."""
        rule, study = self.rule, self.study
        self.note = {}
        if rule is None or not study.modelled_next:
            return None
        try:
            sure = study.probability_within(rule.regret, relative=rule.relative)
        except ModelError as error:  # a negative objective is no reason to lose the session
            self.rule, self.remark = None, f"; the stopping rule could not be used: {error}"
            return None
        except Exception as error:  # no posterior to judge by, for now
            logging.getLogger("boatppl").warning("the stopping rule could not be judged: %s", error)
            return None
        self.note = rule.note(sure)
        if sure < rule.probability or not rule.held(study.trials):
            return None
        target = rule.target(study.model.unit_of(study.goal.name))
        return f"after {study.n_counted} trials: {100 * min(sure, 0.99):.0f} % sure to be {target}"


def given(context: GivenContext) -> Mapping[str, Any] | None:
    """Return the context of a trial that starts now."""
    return context() if callable(context) else context


def resolve_orphans(study: Study, policy: str = "retry", *, older_than: float | None = None) -> list[Trial]:
    """Finish the trials whose process ended before they did; return them.

    :func:`optimize` does so as it goes; call it where trials are asked for and told by processes of your own.
    Whether a process of this machine lives is seen, so no lease has to run out before its trials are retried,
    and none can run out under a long run. Of a process on another machine, or in another container, nothing
    can be seen, and one that hangs lives: those are what ``older_than`` is for. A result that comes late all
    the same is kept, as a trial of its own.

    Parameters
    ----------
    study
        The study, in a file that processes of this machine share.
    policy
        ``"retry"``: they are aborted and asked for again, three times at most. ``"fail"``: their
        configuration is to blame.
    older_than
        Seconds: also give up the trials of other processes of which nothing was heard for so long. A session
        of :func:`optimize` says every minute that it lives; a process of your own that asks and tells does
        so with :meth:`Study.renew`, and with every trial that it asks for: choose it longer than any run
        takes where it does not. The clocks of machines that share a file should agree.

    Raises
    ------
    ModelError
        For an unknown policy, or an ``older_than`` that a living session could fall short of.

    Examples
    --------
    >>> import boatppl as boat
    >>> study = boat.Study(boat.Space(x=boat.Float(0, 1)), minimize="loss")
    >>> trial = study.ask()
    >>> boat.resolve_orphans(study)  # this process lives
    []
    """
    if policy not in ORPHANS:
        raise ModelError(f"policy= is {expected_one_of(ORPHANS, policy)}.")
    check_silence("older_than", older_than)
    found = []
    for trial, why in _orphans(study, older_than):
        try:
            found.append(lose(study, trial, why, 1, fail=policy == "fail"))
        except StorageError:  # another process was faster, and did it in another way
            study.log.refresh()
    return found


def check_silence(option: str, seconds: object) -> None:
    """Raise a ModelError for a silence that a living session could fall into; None is no limit."""
    if seconds is not None and not (isinstance(seconds, Real) and float(seconds) >= 3 * RENEWED_EVERY):
        raise ModelError(
            f"{option}= is seconds, at least {3 * RENEWED_EVERY:.0f}: a living session says so every "
            f"{RENEWED_EVERY:.0f}; got {seconds!r}."
        )


def _orphans(study: Study, older_than: float | None) -> list[tuple[Trial, str]]:
    """Return the running trials whose process has ended, or was not heard of for so many seconds, and why."""
    running = study.trials.running
    found = [(trial, "its process ended before it did") for trial in running if is_gone(trial.host)]
    if older_than is None:
        return found
    leases, since = study.storage.leases(study.name), datetime.now(UTC) - timedelta(seconds=older_than)
    heard: dict[str | None, datetime] = {}  # of asking, too
    for trial in study.trials:
        known = leases.get(trial.host or "", trial.started)
        heard[trial.host] = max(known, trial.started, heard.get(trial.host, trial.started))
    silent = [t for t in running if t.host != identity() and not is_gone(t.host) and heard[t.host] < since]
    return [*found, *((t, f"nothing was heard of its process for {older_than:g} s") for t in silent)]


def lose(study: Study, trial: Trial, reason: str, deaths: int, *, fail: bool = False) -> Trial:
    """Store that a trial was lost with its process or worker: aborted, and failed where its configuration is
    to blame."""
    if fail:
        return study.fail(trial, reason, marks=[LOST])
    if is_to_blame(trial, study.trials, deaths):
        return study.fail(trial, f"{reason}; so it was {LOST_TIMES} times", marks=[LOST])
    return study.fail(trial, reason, State.ABORTED, marks=[LOST])
