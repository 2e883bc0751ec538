"""The best known schedule of a simulated cluster, by annealing and by sweeps on the simulation without noise.

    python -m models.sgd_scheduling.best_known --machines 10 --seeds 10

With ``--further`` the clusters that are there are climbed on from where they stand.

It sees what no tuner sees (any number of runs without noise, the true speeds, and every worker's own times to
balance the shares by) and writes ``best_known_simulated.csv``, a row for each cluster. It is an upper bound
on the optimum: the best of several restarts, whose spread is written beside it.

What an iteration without noise takes is not what a run measures: where every worker is ready at the same
moment, noise makes one of them late. So where there are few machines, the schedule is annealed again, by what
runs of it typically measure, and that is written too.
"""

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from models.sgd_scheduling.cluster import make_cluster
from models.sgd_scheduling.schedule import Schedule, whole_samples
from models.sgd_scheduling.simulator import Simulation

TABLE = Path(__file__).parent / "best_known_simulated.csv"
TYPICAL = ("typical", "typical_samples", "typical_serves")
COLUMNS = (
    *("machines", "seed", "seconds", "worst_restart", "default", "evaluations", "samples", "serves"),
    *TYPICAL,
)
HOT, COLD = 0.3, 0.0005  # temperatures: shares of the objective
WARM = 0.02  # the first temperature where the walk begins at a good schedule
TYPICAL_UP_TO = 30  # machines; beyond them, what is typical takes too long
RUNS, FRESH = 41, 1_000_000  # that say what is typical, and a seed of their noise that no study has
SKETCHED = 11  # runs that say what is typical while a walk lasts
SWEPT = 10  # numbers of workers, and of servers, that a sweep tries
PREFERENCES = np.linspace(0.0, 1.0, 5)  # for a fast network over a fast processor, in choosing workers
GREED = 7.0  # odds of the most promising machine over the least, in a climb
BALANCINGS = 3  # of the shares, for each of them
Choice = tuple[np.ndarray, np.ndarray, np.ndarray]  # who works, who serves, weights


@dataclass(frozen=True, eq=False)
class Best:
    """A schedule, its noise-free seconds an iteration, and those of each restart ``(restart,)``."""

    schedule: Schedule
    seconds: float
    restarts: np.ndarray
    evaluations: int


def best_known(simulation: Simulation, evaluations: int = 30_000, restarts: int = 4, seed: int = 0) -> Best:
    """Return the best schedule of ``restarts`` annealings that share ``evaluations`` runs (Kirkpatrick et al.
    1983); every second one is a sweep and a climb instead, which are better where there are many machines."""
    found = []
    for restart in range(restarts):
        walk = _Walk(simulation, np.random.default_rng([seed, restart]))
        search = walk.climb if restart % 2 == 0 else walk.anneal
        found.append(search(evaluations // restarts))
    seconds = np.array([s for s, _ in found])
    return Best(found[int(seconds.argmin())][1], float(seconds.min()), seconds, evaluations)


def climbed(
    simulation: Simulation, schedule: Schedule, evaluations: int, seed: int
) -> tuple[float, Schedule]:
    """Return what so many runs of climbing from a schedule reach: noise-free seconds, and the schedule."""
    walk = _Walk(simulation, np.random.default_rng(seed))
    idle = schedule.samples == 0  # a share for it, should it be taken in
    expected = (
        simulation.cluster.speed * schedule.samples[~idle].sum() / simulation.cluster.speed[~idle].sum()
    )
    return walk.climb(evaluations, (~idle, schedule.serves, np.where(idle, expected, schedule.samples)))


def typical(simulation: Simulation, schedule: Schedule, runs: int = RUNS) -> float:
    """Return the s an iteration that a run of a schedule typically measures: the median of so many runs,
    whose noise is the same for every schedule and none that a study sees."""
    found = [simulation.measure(schedule, np.random.default_rng([FRESH, i])) for i in range(runs)]
    return float(np.median([one["iteration_time"] for one in found]))


def typically_best(simulation: Simulation, schedule: Schedule, evaluations: int) -> tuple[float, Schedule]:
    """Return a schedule like this one whose runs typically measure least, and what they do."""
    walk = _Walk(simulation, np.random.default_rng(0), by_runs=True)
    start = schedule.samples > 0, schedule.serves, np.maximum(schedule.samples, 1.0)
    _, found = walk.anneal(evaluations // SKETCHED, start, WARM)
    each = [(typical(simulation, one), one) for one in (schedule, found)]
    return min(each, key=lambda pair: pair[0])


class _Walk:
    """One annealing: sets of workers and servers, and weights ``(machine,)`` that are kept while idle."""

    def __init__(self, simulation: Simulation, rng: np.random.Generator, by_runs: bool = False) -> None:
        self.simulation, self.rng, self.n = simulation, rng, len(simulation.cluster)
        self.batch, self.by_runs = simulation.cluster.batch, by_runs
        self.runs = 0
        self.network = np.minimum(simulation.cluster.up, simulation.cluster.down)

    def anneal(self, steps: int, start: Choice | None = None, hot: float = HOT) -> tuple[float, Schedule]:
        """Return the best seconds and schedule of a walk, from everybody at equal shares unless told."""
        everyone = np.ones(self.n, bool)
        works, serves, weights = (everyone, everyone, np.ones(self.n)) if start is None else start
        here = self._seconds(works, serves, weights)
        best = here, self._schedule(works, serves, weights)
        for step in range(steps - 1):
            temperature = hot * (COLD / hot) ** (step / steps)
            proposal = self._move(works, serves, weights)
            if not (proposal[0].any() and proposal[1].any()):
                continue
            there = self._seconds(*proposal)
            if there < here or self.rng.random() < np.exp((here - there) / (temperature * here)):
                here, (works, serves, weights) = there, proposal
                if here < best[0]:
                    best = here, self._schedule(works, serves, weights)
        return best

    def climb(self, steps: int, start: Choice | None = None) -> tuple[float, Schedule]:
        """Return the best of a choice, a sweep's unless told, and of changes to it that each make it better;
        every choice with balanced shares."""
        best = self._settled(*start) if start is not None else self._swept()
        while self.runs + BALANCINGS <= steps:
            best = min(best, self._settled(*self._changed(*best[1])), key=lambda found: found[0])
        return best[0], self._schedule(*best[1])

    def _swept(self) -> tuple[float, Choice]:
        """Return the best of so many workers, by speed or network, and so many servers, by network."""
        speed = self.simulation.cluster.speed
        counts = np.unique(np.geomspace(max(1, self.n // 20), self.n, SWEPT).round().astype(int))
        best = self._settled(np.ones(self.n, bool), np.ones(self.n, bool), speed)
        for preference, workers, servers in product(PREFERENCES, counts, counts):
            value = (1 - preference) * np.log(speed) + preference * np.log(self.network)
            works, serves = value >= np.sort(value)[-workers], self.network >= np.sort(self.network)[-servers]
            best = min(best, self._settled(works, serves, speed), key=lambda found: found[0])
        return best

    def _changed(self, works: np.ndarray, serves: np.ndarray, weights: np.ndarray) -> Choice:
        """Take a machine into a role, leave one out, or exchange two: promising machines more often."""
        works, serves = works.copy(), serves.copy()
        roles = (works, self.simulation.cluster.speed * self.network), (serves, self.network)
        role, good = roles[int(self.rng.integers(2))]
        kind = self.rng.integers(3)
        left = self._likely(role, -good) if kind != 0 and role.sum() > 1 else None
        taken = self._likely(~role, good) if kind != 1 and not role.all() else None
        if left is not None:
            role[left] = False
        if taken is not None:
            role[taken] = True
        return works, serves, weights

    def _likely(self, among: np.ndarray, value: np.ndarray) -> int:
        """Return one of these machines: the best of them about ``GREED`` times as often as the worst."""
        machines = np.flatnonzero(among)
        odds = GREED ** (value[machines].argsort().argsort() / len(machines))
        return int(self.rng.choice(machines, p=odds / odds.sum()))

    def _settled(self, works: np.ndarray, serves: np.ndarray, weights: np.ndarray) -> tuple[float, Choice]:
        """Return the best seconds of a choice while its shares are balanced again and again, and with
        which."""
        found = []
        for _ in range(BALANCINGS):
            found.append((self._seconds(works, serves, weights), (works, serves, weights)))
            weights = self._balanced(weights)
        return min(found, key=lambda each: each[0])

    def _schedule(self, works: np.ndarray, serves: np.ndarray, weights: np.ndarray) -> Schedule:
        return Schedule(whole_samples(np.where(works, weights, 0.0), self.batch), serves)

    def _seconds(self, works: np.ndarray, serves: np.ndarray, weights: np.ndarray) -> float:
        schedule = self._schedule(works, serves, weights)
        self.seen, self.runs = self.simulation.measure(schedule, None), self.runs + 1
        if self.by_runs:
            return typical(self.simulation, schedule, SKETCHED)
        return float(self.seen["iteration_time"])

    def _move(
        self, works: np.ndarray, serves: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turn a machine's role or both, exchange two machines' roles, disturb a share, or balance them."""
        works, serves, weights = works.copy(), serves.copy(), weights.copy()
        i, j = self.rng.choice(self.n, 2, replace=False)
        kind = self.rng.integers(7)
        if kind in (0, 6):
            works[i] ^= True
            serves[i] = works[i] if kind == 6 else serves[i]
        elif kind == 1:
            serves[i] ^= True
        elif kind == 2:
            works[[i, j]] = works[[j, i]]
        elif kind == 3:
            serves[[i, j]] = serves[[j, i]]
        elif kind == 4:
            weights[i] *= np.exp(self.rng.normal() * 10 ** self.rng.uniform(-2.5, 0))
        else:
            weights = self._balanced(weights)
        return works, serves, weights

    def _balanced(self, weights: np.ndarray) -> np.ndarray:
        """Weights with which the workers of the last run would end more nearly together."""
        ready = self.seen["transfer_time"] + self.seen["compute_time"]
        with np.errstate(invalid="ignore"):
            factor = 1 + self.rng.random() * (np.nanmean(ready) - ready) / self.seen["compute_time"]
        return weights * np.where(np.isfinite(factor), np.clip(factor, 0.5, 2.0), 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table; clusters that it has already are left alone."""
    parser = argparse.ArgumentParser(prog="python -m models.sgd_scheduling.best_known", description=__doc__)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=30_000)
    parser.add_argument("--restarts", type=int, default=4, help="1 is a sweep and a climb without annealing")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--further", action="store_true", help="climb on in the clusters that are there")
    options = parser.parse_args(arguments)
    known = {(int(row["machines"]), int(row["seed"])): row for row in read(options.table)}
    for key in ((options.machines, seed) for seed in range(options.seeds)):
        if key in known and not options.further:
            continue
        simulation = Simulation(make_cluster(*key))
        if key in known:
            known[key] |= _further(simulation, known[key], options.evaluations)
        else:
            known[key] = _searched(simulation, options.evaluations, options.restarts)
            known[key] |= {"machines": str(key[0]), "seed": str(key[1])}
        _write(options.table, known.values())
        row = known[key]
        said = f"default {row['default']} s, best known {row['seconds']} s"
        print(f"simulated cluster {key[1]}: {said}", flush=True)
    return 0


def _searched(simulation: Simulation, evaluations: int, restarts: int) -> dict[str, str]:
    best = best_known(simulation, evaluations, restarts)
    everyone = np.ones(len(simulation.cluster))
    default = Schedule(whole_samples(everyone, simulation.cluster.batch), everyone > 0)
    row = {
        "worst_restart": f"{best.restarts.max():.4f}",
        "default": f"{simulation.measure(default, None)['iteration_time']:.4f}",
        "evaluations": str(best.evaluations),
    }
    return row | _described(simulation, best.seconds, best.schedule, evaluations)


def _further(simulation: Simulation, row: Mapping[str, str], evaluations: int) -> dict[str, str]:
    """Return what changes of a row by a climb from its schedule."""
    before = int(row["evaluations"])  # other moves than those of an earlier climb
    seconds, better = climbed(simulation, schedule_in(row), evaluations, seed=before)
    made = {"evaluations": str(before + evaluations)}
    if seconds < float(row["seconds"]):
        made |= _described(simulation, seconds, better, evaluations)
        if row["typical"] and float(row["typical"]) <= float(made["typical"]):
            made |= {name: row[name] for name in TYPICAL}
    return made


def _described(
    simulation: Simulation, seconds: float, schedule: Schedule, evaluations: int
) -> dict[str, str]:
    row = {"seconds": f"{seconds:.4f}"} | dict(zip(("samples", "serves"), _written(schedule), strict=True))
    if len(simulation.cluster) > TYPICAL_UP_TO:
        return row | dict.fromkeys(TYPICAL, "")
    at_best, best = typically_best(simulation, schedule, evaluations)
    return row | dict(zip(TYPICAL, (f"{at_best:.4f}", *_written(best)), strict=True))


def schedule_in(row: Mapping[str, str]) -> Schedule:
    """Return the best schedule of a row of the table."""
    return Schedule(np.array(row["samples"].split(), int), np.array(row["serves"].split(), int) > 0)


def _written(schedule: Schedule) -> tuple[str, str]:
    return " ".join(map(str, schedule.samples)), " ".join(str(int(on)) for on in schedule.serves)


def read(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none where there is no file."""
    if not table.exists():
        return []
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _write(table: Path, rows: Iterable[Mapping[str, str]]) -> None:
    with table.with_suffix(".new").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    table.with_suffix(".new").replace(table)


def append(table: Path, row: dict[str, object], columns: Sequence[str]) -> None:
    """Add a row to a table, and its head to a new one."""
    fresh = not table.exists()
    with table.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, columns)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    raise SystemExit(main())
