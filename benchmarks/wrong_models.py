"""``python -m benchmarks.wrong_models``: what a wrong model costs, and what a right one brings.

Three systems, each with the model an engineer would write and the same model made wrong on purpose, one way
at a time. Tuned three ways: by the model alone, by the generic model alone, and hedged (the default). What
counts is how many trials each needs until its recommendation's noise-free value is within 5 % of the optimum;
a run that never gets there counts as one trial more than the budget.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

import boatppl as boat
from benchmarks import rows
from benchmarks.censored import bootstrap, first_within
from benchmarks.figures import markdown_table
from benchmarks.machine import described
from benchmarks.wrong_systems import FIRST_HALF, OTHER_SYSTEM, RIGHT, SECOND_HALF, SYSTEMS, WRONG

RESULTS = Path(__file__).parent / "results"
FILE = RESULTS / "wrong_models.csv"
WITHIN = 0.05  # of the optimum
WAYS = ("structured", "generic", "hedged")
COLUMNS = ("system", "kind", "way", "seed", "budget", "trials", "gap")
HEDGED_TO_GENERIC, HEDGED_TO_STRUCTURED = 1.2, 1.1  # the bars: for any wrong model, and for the right one


@dataclass(frozen=True)
class Case:
    """One study to run. The generic way knows no model, so its kind is that of the system alone."""

    system: str
    kind: str
    way: str
    seed: int
    budget: int

    @property
    def key(self) -> tuple[str, ...]:
        """How the results file names it."""
        return (self.system, self.kind, self.way, str(self.seed), str(self.budget))


@dataclass(frozen=True)
class Arrival:
    """After how many trials a study first recommended a configuration that is good enough (infinity: never),
    and the last recommendation's gap as a share of the optimum."""

    case: Case
    trials: float
    gap: float

    def row(self) -> dict[str, str]:
        """Return it as a row of the file."""
        values = [*self.case.key, str(self.trials), str(self.gap)]
        return dict(zip(COLUMNS, values, strict=True))


def cases(kinds: Sequence[str], systems: Sequence[str], seeds: int, budget: int) -> Iterator[Case]:
    """Yield every study, seed after seed, so that an interrupted suite has whole seeds: what the bars need,
    then the wrong models alone."""
    for seed, system in product(range(1, seeds + 1), systems):
        for kind in dict.fromkeys(of_the_system(kind) for kind in kinds):
            yield Case(system, kind, "generic", seed, budget)
        for kind in kinds:
            yield Case(system, kind, "hedged", seed, budget)
            if kind == RIGHT:
                yield Case(system, kind, "structured", seed, budget)
    for seed, system, kind in product(range(1, seeds + 1), systems, kinds):
        if kind != RIGHT:
            yield Case(system, kind, "structured", seed, budget)


def of_the_system(kind: str) -> str:
    """Return the kind under which the generic way is run: the same unless the system itself is another."""
    return kind if kind in OTHER_SYSTEM else RIGHT


def arrive(case: Case) -> Arrival:
    """Tune until the recommendation has been good enough for three trials on end, or the budget is spent.

    Noise is a function of the seed and the trial alone.
    """
    system = SYSTEMS[case.system]
    space = system.problem.space
    model = space if case.way == "generic" else system.model(space, case.kind)
    study = boat.Study(
        model,
        minimize=system.problem.objective,
        random_seed=case.seed,
        hedge=case.way == "hedged",  # of the space alone it says nothing
        transform="log" if case.way == "generic" else None,  # as the generic one beside the right model
    )
    names, gaps = list(study.model.nodes), []
    for i in range(case.budget):
        trial = study.ask()
        measured = system.run(case.kind, trial.configuration, np.random.default_rng([case.seed, i]))
        study.tell(trial, {name: measured[name] for name in names})
        gaps.append(system.gap(case.kind, study.best.configuration))
        if len(gaps) >= 3 and max(gaps[-3:]) <= WITHIN:
            break
    return Arrival(case, first_within(gaps, WITHIN), float(f"{gaps[-1]:.4g}"))


def ratio(ours: Sequence[float], theirs: Sequence[float], budget: int) -> float:
    """Return the geometric mean of ours / theirs, pair by pair; what never arrived took ``budget + 1``
    trials.

    >>> round(ratio([10, 20], [5, float("inf")], 39), 3)
    1.0
    """
    logs = np.log(np.minimum(ours, budget + 1.0)) - np.log(np.minimum(theirs, budget + 1.0))
    return float(np.exp(np.mean(logs)))


def interval(ours: Sequence[float], theirs: Sequence[float], budget: int) -> tuple[float, float, float]:
    """Return the ratio and its 90 % bootstrap interval, studies resampled in pairs."""
    pairs = list(zip(ours, theirs, strict=True))
    index = list(range(len(pairs)))

    def of(chosen: np.ndarray) -> float:
        picked = [pairs[int(i)] for i in chosen]
        return ratio([a for a, _ in picked], [b for _, b in picked], budget)

    return (of(np.array(index)), *bootstrap([index], of))


def summary(found: Sequence[Arrival], budget: int) -> str:
    """Return a table with a row for each kind: both ratios with their intervals, and how often each way
    arrived."""
    trials = {(a.case.system, a.case.kind, a.case.way, a.case.seed): a.trials for a in found}
    head = ["model", "pairs", "hedged / generic", "hedged / structured", "arrived: structured", "generic"]
    lines = []
    for kind in dict.fromkeys(a.case.kind for a in found if a.case.way == "hedged"):
        hedged = {place[::3]: n for place, n in trials.items() if place[1:3] == (kind, "hedged")}
        against = (of_the_system(kind), "generic"), (kind, "structured")
        others = [{place[::3]: n for place, n in trials.items() if place[1:3] == other} for other in against]
        pairs = [[place for place in hedged if place in other] for other in others]
        ratios = [
            _said(*interval([hedged[p] for p in both], [other[p] for p in both], budget)) if both else "-"
            for other, both in zip(others, pairs, strict=True)
        ]
        arrived = [
            f"{np.isfinite([known[p] for p in both]).mean():.0%}" if both else "-"
            for known, both in zip([*others[::-1], hedged], [*pairs[::-1], pairs[0]], strict=True)
        ]
        lines.append([kind, " / ".join(str(len(both)) for both in pairs), *ratios, *arrived])
    return markdown_table([*head, "hedged"], lines)


def _halves(found: Sequence[Arrival], budget: int) -> str:
    """The right model, then the kinds written before and after the code was frozen, apart."""
    parts = []
    for title, kinds in (
        ("The right model", (RIGHT,)),
        ("Written while the code was", tuple(FIRST_HALF)),
        ("Written after it", tuple(SECOND_HALF)),
    ):
        mine = [a for a in found if a.case.kind in kinds or a.case.way == "generic"]
        if any(a.case.way == "hedged" for a in mine):
            parts.append(f"## {title}\n\n{summary(mine, budget)}")
    return "\n\n".join(parts)


def _said(value: float, low: float, high: float) -> str:
    return f"{value:.2f} ({low:.2f}-{high:.2f})"


def suite(
    wanted: Sequence[Case], path: Path, workers: int, report: Callable[[str], None] = print
) -> list[Arrival]:
    """Run the cases that ``path`` does not have yet, and append each as it ends."""
    found = read(path)
    done = {arrival.case.key for arrival in found}
    left = [case for case in wanted if case.key not in done]
    with ExitStack() as stack:
        run = stack.enter_context(ProcessPoolExecutor(workers)).map if workers > 1 else map
        for arrival in run(arrive, left):
            found.append(arrival)
            rows.append(path, COLUMNS, [arrival.row()])
            report(f"{' '.join(arrival.case.key)}: {arrival.trials:g} trials, gap {arrival.gap:.1%}")
    keys = {case.key for case in wanted}
    return [arrival for arrival in found if arrival.case.key in keys]


def read(path: Path) -> list[Arrival]:
    """Return the arrivals of a file; none where there is no file."""
    return [
        Arrival(
            Case(row["system"], row["kind"], row["way"], int(row["seed"]), int(row["budget"])),
            float(row["trials"]),
            float(row["gap"]),
        )
        for row in rows.read(path, COLUMNS)
    ]


def main() -> None:
    """Run the suite and print its table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wrong_models", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--kinds", nargs="+", choices=[RIGHT, *WRONG], default=[RIGHT, *WRONG])
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="sum up what is there, and run nothing")
    options = parser.parse_args()
    wanted = list(cases(options.kinds, options.systems, options.seeds, options.trials))
    about = described()
    path = options.results / FILE.name
    found = read(path) if options.report else suite(wanted, path, options.workers)
    where = "\n".join(f"- {name}: {value}" for name, value in about.items())
    text = (
        f"# Wrong models\n\n{' '.join(__doc__.split(': ', 1)[1].split())}\n\n"
        f"Bars: hedged / generic at most {HEDGED_TO_GENERIC} for every kind, hedged / structured at most "
        f"{HEDGED_TO_STRUCTURED} for the right model. Geometric means (90 % bootstrap interval).\n\n"
        f"{_halves(found, options.trials)}\n\n{where}\n"
    )
    (options.results / "wrong_models.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
