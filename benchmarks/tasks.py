"""Single measurements, each in a process of its own: ``python -m benchmarks.tasks NAME [JSON]`` prints JSON
lines.

A later line completes an earlier one, so that a measurement stopped by its limit still says how far it came.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

BEGAN = time.perf_counter()

import numba.core.event as numba_event  # noqa: E402  the import is part of what is measured
import numpy as np  # noqa: E402
from pytensor.compile.maker import FunctionMaker  # noqa: E402

import boatppl as boat  # noqa: E402

IMPORTED = time.perf_counter() - BEGAN

from benchmarks import problems  # noqa: E402
from benchmarks.machine import load, resident_mb  # noqa: E402
from benchmarks.peers.peer import Peer, spec_of  # noqa: E402
from boatppl.compile.density import BlockDensity  # noqa: E402
from boatppl.gp.entry import likelihood_address  # noqa: E402
from boatppl.table import measured, tables  # noqa: E402
from models.sgd_scheduling.cluster import make_cluster  # noqa: E402
from models.sgd_scheduling.measurements import observed  # noqa: E402
from models.sgd_scheduling.model import scheduling_model  # noqa: E402
from models.sgd_scheduling.simulator import Simulation  # noqa: E402
from models.sgd_scheduling.spaces import space as scheduling_space  # noqa: E402

OBJECTIVE = "p99"


def say(**found: Any) -> None:
    """Print what is known so far."""
    print(json.dumps(found), flush=True)


def timed(task: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds a task took and its result."""
    began = time.perf_counter()
    result = task()
    return time.perf_counter() - began, result


def suggested(study: boat.Study) -> tuple[float, boat.Trial]:
    """Return the seconds that a modelled suggestion took, and the trial; an initial one is an error."""
    seconds, trial = timed(study.ask)
    if trial.origin != "suggested":
        raise RuntimeError(f"trial {trial.number} is of origin {trial.origin!r}, so its time says nothing.")
    return seconds, trial


def compile_nodes() -> None:
    """Compile each node of the collector and run it once.

    The first node's time includes ``likelihood``, which serves every node with a residual: compiled once on a
    machine, and only read from the cache by later processes.
    """
    space = problems.collector_space()
    modelling, model = timed(lambda: problems.collector_model(space))
    nothing = tables(model, measured(model, []))
    likelihood, _ = timed(lambda: likelihood_address(0))
    seconds: dict[str, float] = {}
    for block in model.blocks:

        def build(block: Any = block) -> None:
            density = BlockDensity(block)
            density.bind(nothing)(density.start(nothing))

        seconds[block.name] = timed(build)[0] + (0.0 if seconds else likelihood)
    say(imported=IMPORTED, modelling=modelling, nodes=seconds, likelihood=likelihood)


def first_suggestion() -> None:
    """The first modelled ask() of a fresh process, compilation included, and the next ones."""
    rng, space = np.random.default_rng(0), problems.collector_space()
    study = boat.Study(problems.collector_model(space), minimize=OBJECTIVE, random_seed=1)
    for configuration in [space.default, *space.design(9, 0)]:
        study.tell(configuration, problems.collector_run(configuration, rng))
    asks = []
    for _ in range(3):
        seconds, trial = suggested(study)
        asks.append(seconds)
        study.tell(trial, problems.collector_run(trial.configuration, rng))
    say(asks=asks)


def first_trial() -> None:
    """How long after ``optimize()`` was called the first run starts."""
    modelling, model = timed(lambda: problems.collector_model(problems.collector_space()))
    starts = []

    def run(configuration: Mapping[str, Any]) -> dict[str, float]:
        starts.append(time.perf_counter())
        return problems.collector_run(configuration, np.random.default_rng(0))

    began = time.perf_counter()
    boat.optimize(run, model, minimize=OBJECTIVE, n_trials=1, random_seed=1, progress=False)
    say(imported=IMPORTED, modelling=modelling, seconds=starts[0] - began)


@contextmanager
def compilations() -> Iterator[dict[str, int]]:
    """Count what is compiled meanwhile: numba's own events, and the functions that PyTensor makes."""
    counts = {"numba": 0, "pytensor": 0}
    make = FunctionMaker.__init__

    def counted(self: Any, *arguments: Any, **options: Any) -> None:
        counts["pytensor"] += 1
        make(self, *arguments, **options)

    FunctionMaker.__init__ = counted
    try:
        with numba_event.install_recorder("numba:compile") as recorder:
            yield counts
    finally:
        FunctionMaker.__init__ = make
        counts["numba"] = sum(event.is_start for _, event in recorder.buffer)


def grow(windows: Mapping[str, int], peer: str | None) -> None:
    """One study that grows: ``windows`` says at how many trials how many suggestions are timed.

    With ``peer`` (its Python) BoTorch is told the same and asked at the same moments.
    """
    rng, space = np.random.default_rng(0), problems.collector_space()
    model = problems.collector_model(space)
    study = boat.Study(model, minimize=OBJECTIVE, random_seed=1)
    spec = spec_of(
        space,
        OBJECTIVE,
        seed=1,
        n_initial=0,
        outputs=list(model.nodes),
        transforms=dict.fromkeys(model.nodes, "log"),
    )
    other = Peer(peer, "botorch_peer.py", spec) if peer else None
    design = iter([space.default, *space.design(1 + max(map(int, windows)), 0)])

    def tell(trial: Any, configuration: Mapping[str, Any]) -> None:
        values = problems.collector_run(configuration, rng)
        study.tell(trial, values)
        if other:
            other.tell(configuration, values)

    def ask() -> tuple[float, dict[str, float] | None]:
        seconds, trial = suggested(study)
        theirs = None
        if other:
            _, total, parts = other.ask()
            theirs = {"total": total, **parts}
        tell(trial, trial.configuration)
        return seconds, theirs

    for _ in range(3):
        configuration = next(design)
        tell(configuration, configuration)
    first, _ = ask()
    say(first=first, peer=other and other.versions)
    with compilations() as counts:
        for trials, asks in sorted((int(trials), asks) for trials, asks in windows.items()):
            while len(study.trials) < trials - asks // 2:
                configuration = next(design)
                tell(configuration, configuration)
            before = load()
            pairs = [ask() for _ in range(asks)]
            ours = [seconds for seconds, _ in pairs]
            theirs = [parts for _, parts in pairs if parts is not None]
            say(trials=trials, ours=ours, theirs=theirs, load=before)
    say(rows=len(study.trials), counts=counts)
    if other:
        other.close()


def rows(machines: int, trials: int) -> None:
    """``ask()`` with ``machines * trials`` rows in one node."""
    rng, space = np.random.default_rng(0), problems.machines_space(machines)
    study = boat.Study(problems.machines_model(space, machines), minimize="slowest", random_seed=1)
    for configuration in [space.default, *space.design(trials - 1, 0)]:
        study.tell(configuration, problems.machines_run(configuration, rng))
    compiling, _ = timed(study.compile)
    say(compiling=compiling)
    for _ in range(2):
        seconds, trial = suggested(study)
        say(seconds=seconds)
        study.tell(trial, problems.machines_run(trial.configuration, rng))


def schedule(machines: int, trials: int) -> None:
    """``ask()`` for the schedule of a simulated cluster, after ``trials`` runs."""
    simulation, space = Simulation(make_cluster(machines, 0), seed=0), scheduling_space(machines)
    run = observed(simulation)
    model = scheduling_model(space, simulation.cluster)
    study = boat.Study(model, minimize="iteration_time", random_seed=1)
    for configuration in [space.default, *space.design(trials - 1, 0)]:
        study.tell(configuration, run(configuration))
    say(compiling=timed(study.compile)[0], parameters=space.dimension)
    for _ in range(2):
        seconds, trial = suggested(study)
        say(seconds=seconds)
        study.tell(trial, run(trial.configuration))


def memory(trials: int, every: int) -> None:
    """Resident memory of a study while it grows to ``trials``; every ``every``-th trial was asked for."""
    rng, space = np.random.default_rng(0), problems.collector_space()
    study = boat.Study(problems.collector_model(space), minimize=OBJECTIVE, random_seed=1)
    design = iter([space.default, *space.design(trials + 1, 0)])
    start, began = None, time.perf_counter()
    while len(study.trials) < trials + 3:
        if len(study.trials) >= 3 and len(study.trials) % every == 0:
            _, trial = suggested(study)
            study.tell(trial, problems.collector_run(trial.configuration, rng))
            start = start if start is not None else resident_mb()
        else:
            configuration = next(design)
            study.tell(configuration, problems.collector_run(configuration, rng))
        if start is not None and len(study.trials) % 25 == 0:
            say(trials=len(study.trials), growth=resident_mb() - start, start=start)
    say(
        trials=len(study.trials),
        growth=resident_mb() - start,
        start=start,
        seconds=time.perf_counter() - began,
    )


TASKS = {
    task.__name__: task
    for task in (compile_nodes, first_suggestion, first_trial, grow, rows, schedule, memory)
}


def main(name: str, arguments: str = "{}") -> None:
    """Run one task."""
    TASKS[name](**json.loads(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
