"""Where trials run: in this thread, or on the workers of an executor."""

import pickle
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from typing import Any

from boatppl.command import Command
from boatppl.runner import Outcome, Record, of_record, record_of, run_callable
from boatppl.text import message
from boatppl.trial import State, Trial
from boatppl.words import ModelError, check_count

Finished = tuple[Trial, Outcome]


class NoMoreWorkers(RuntimeError):
    """The executor takes no more runs; the message says why."""


@dataclass(frozen=True)
class Job:
    """How trials are run, as :func:`boatppl.runner.run_callable` takes it."""

    run: Callable[[dict[str, Any]], Any]
    timeout: float | None = None
    isolate: bool = False
    memory: int | None = None

    def __call__(self, given: Mapping[str, Any], stop: threading.Event | None = None) -> Outcome:
        """Run one configuration (its context included): whatever happens, there is an outcome."""
        options: dict[str, Any] = {"timeout": self.timeout, "isolate": self.isolate, "memory": self.memory}
        return run_callable(self.run, given, stop=stop, **options)


class Here:
    """One trial after the other, in this thread."""

    capacity, remote = 1, False

    def __init__(self, job: Job) -> None:
        self.job = job
        self.running: list[Trial] = []

    def submit(self, trial: Trial, *, careful: bool = False) -> None:
        """Take a trial to run; it runs when its outcome is asked for."""
        self.running.append(trial)

    def next(self) -> Finished:
        """Run the trial."""
        outcome = self.job(self.running[0].configuration | self.running[0].context)
        return self.running.pop(0), outcome

    def abandon(self) -> list[Trial]:
        """Return what was begun and has no outcome, and forget it."""
        left, self.running = self.running, []
        return left

    def close(self) -> None:
        """There is nothing to close."""


class Pool:
    """Trials on the workers of a ``concurrent.futures.Executor``, several at a time.

    A process pool of which a worker died is broken for good: a new one like it takes its place. What ran in
    it is lost, whoever is to blame; so ``careful`` trials, which were lost before, run in a child process of
    the worker, and one that kills takes only itself with it.
    """

    def __init__(
        self, executor: Executor, capacity: int, job: Job, *, own: bool = False, remote: bool = False
    ) -> None:
        self.executor, self.capacity, self.job = executor, capacity, job
        self.own = own  # to be shut down at the end
        self.remote = remote  # on other machines, so that nothing here disturbs a run
        self.stop = threading.Event() if isinstance(executor, ThreadPoolExecutor) else None
        self.futures: dict[Future[Any], Trial] = {}

    @property
    def running(self) -> list[Trial]:
        """The trials without an outcome."""
        return list(self.futures.values())

    def submit(self, trial: Trial, *, careful: bool = False) -> None:
        """Start a trial. Raises NoMoreWorkers where the executor takes none."""
        careful = careful and isinstance(self.executor, ProcessPoolExecutor)
        job = replace(self.job, isolate=True) if careful else self.job
        given = trial.configuration | trial.context
        try:
            future = self._submit(job, given)
        except BrokenExecutor as error:
            self._mend(error)
            future = self._submit(job, given)
        except RuntimeError as error:  # it was shut down
            raise NoMoreWorkers(f"the executor takes no more runs: {error}") from error
        self.futures[future] = trial

    def _submit(self, job: Job, given: Mapping[str, Any]) -> Future[Any]:
        if self.stop is not None:
            return self.executor.submit(job, given, self.stop)
        return self.executor.submit(at_worker, job, given)

    def _mend(self, error: BrokenExecutor) -> None:
        pool = self.executor
        if not isinstance(pool, ProcessPoolExecutor):
            raise NoMoreWorkers(f"the executor is broken: {error}") from error
        # The standard library keeps what a pool was made with, and gives no other way to ask.
        known = [
            getattr(pool, f"_{name}") for name in ("max_workers", "mp_context", "initializer", "initargs")
        ]
        pool.shutdown(wait=False)
        self.executor, self.own = ProcessPoolExecutor(*known), True

    def next(self) -> Finished:
        """Wait for the next outcome; of several, that of the lowest number."""
        wait(self.futures, return_when=FIRST_COMPLETED)
        future = min((f for f in self.futures if f.done()), key=lambda f: self.futures[f].number)
        outcome = outcome_of(future)
        return self.futures.pop(future), outcome

    def abandon(self) -> list[Trial]:
        """End what is running, where that can be done, and return it."""
        left = self.running
        if left and self.stop is not None:
            self.stop.set()
        for future in self.futures:
            future.cancel()
        self.futures = {}
        return left

    def close(self) -> None:
        """Leave the executor; one of our own is shut down, without waiting for what was given up."""
        if self.own:
            self.executor.shutdown(wait=self.stop is None or not self.stop.is_set(), cancel_futures=True)


def at_worker(job: Job, given: Mapping[str, Any]) -> Record:
    """Run in a worker's process; what comes back is plain values."""
    return record_of(lambda: job(given))


def outcome_of(future: Future[Any]) -> Outcome:
    """Return what became of a run on a worker.

    An exception here is never the run's own: it was the worker, or the way to it.
    """
    try:
        found = future.result()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        name = type(error).__name__
        deaths = 1 if isinstance(error, BrokenExecutor | CancelledError) else 0
        if name == "KilledWorker":  # Dask had given it to other workers, too, and each of them died
            deaths = 1 + int(getattr(error, "allowed_failures", 0))
        why = "its worker ended before it did" if deaths else "its worker could not run it"
        said = message(error)
        return Outcome(State.ABORTED, reason=": ".join(filter(None, [why, name, said])), deaths=deaths)
    return found if isinstance(found, Outcome) else of_record(found)


def workers_of(
    executor: Any, n_workers: int | None, job: Job, resources: Mapping[str, float] | None = None
) -> Here | Pool:
    """Return where trials run: here, on threads of our own, on an executor, or on a Dask client's cluster.

    Raises
    ------
    ModelError
        For what is no executor, a run that cannot be sent to one, or an unknown number of workers.
    """
    if n_workers is not None:
        check_count("n_workers", n_workers, least=1)
    if executor is None:
        if resources is not None:
            raise ModelError("resources= are those of a Dask cluster's workers: give executor=client, too.")
        if n_workers in (None, 1):
            return Here(job)
        return Pool(ThreadPoolExecutor(int(n_workers or 1)), int(n_workers or 1), job, own=True)
    dask = hasattr(executor, "get_executor") and hasattr(executor, "nthreads")
    if resources is not None and not dask:
        raise ModelError(f"resources= are those of a Dask cluster's workers; got executor={executor!r}.")
    if dask:
        capacity = n_workers or _capacity(executor, resources or {})
        return Pool(
            executor.get_executor(pure=False, retries=0, resources=resources), capacity, job, remote=True
        )
    if not isinstance(executor, Executor):
        raise ModelError(
            "executor= is a concurrent.futures.Executor, such as ThreadPoolExecutor(4), or a "
            f"distributed.Client; got {executor!r}."
        )
    if isinstance(executor, ProcessPoolExecutor):
        _check_sent(job)
    known = n_workers or getattr(executor, "_max_workers", None)
    if known is None:
        raise ModelError(f"say how many trials {executor!r} may run at a time with n_workers=.")
    return Pool(executor, int(known), job)


def _capacity(client: Any, resources: Mapping[str, float]) -> int:
    """How many trials a Dask cluster runs at a time: its threads, or as often as its resources suffice."""
    if client.status != "running":
        raise ModelError(f"{client!r} is {client.status}; executor= is a Dask client that is connected.")
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not resources:
        return max(1, sum(worker["nthreads"] for worker in workers))
    fits = [min(int(worker["resources"].get(name, 0) // need) for name, need in resources.items())
            for worker in workers]  # fmt: skip
    if not sum(fits):
        raise ModelError(
            f"no worker of {client!r} has the resources {dict(resources)}. Start it as `dask worker ... "
            "--resources 'machine=1'`, or LocalCluster(resources={'machine': 1})."
        )
    return sum(fits)


def _check_sent(job: Job) -> None:
    try:
        pickle.dumps(job)
    except Exception as error:
        what = "Command's parse function" if isinstance(job.run, Command) else "run"
        raise ModelError(
            f"{what} cannot be sent to the processes of the executor: {error}. Define it at the top of a "
            "module, or use a ThreadPoolExecutor (with isolate=True each run has a process of its own)."
        ) from error
