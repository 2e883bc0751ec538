"""Does ``study.diagnose()`` name what is wrong? Planted faults and right models, over seeds.

``python -m benchmarks.faults [seeds] [system ...]`` diagnoses every kind of fault of every system with as
many seeds, and right models with ten times as many, one seed after the other. What each diagnosis said first
is kept in ``faults.csv`` and summed up in ``faults.md`` of ``benchmarks/results``; what is there is not run
again.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import rows
from benchmarks.faulty_systems import SYSTEMS, Case
from benchmarks.figures import markdown_table
from benchmarks.machine import described
from boatppl.dag import DAGModel
from boatppl.diagnose import Diagnosis, diagnose
from boatppl.evidence import evidence
from boatppl.fit import Inference
from boatppl.suggest import Goal
from boatppl.trial import State, Trial, Trials

RUNS = 30
RIGHT = 10  # seeds of a right model for one of each kind of fault
FILE = Path(__file__).parent / "results" / "faults.csv"
COLUMNS = ("system", "kind", "planted", "seed", "right", "said", "seconds", "commit")
PARTS: Mapping[str, tuple[str, ...]] = {
    "first half (the diagnosis was written with them in sight)": ("collector",),
    "second half (written when it was done)": ("store", "cluster"),
    "third part (new systems; the diagnosis was mended by their first answers)": ("broker", "solver"),
    "fourth part (a new system; one of its answers mended the diagnosis)": ("web",),
}
HEADING = "# Planted faults\n\nMade by `python -m benchmarks.faults`.\n\n"


@dataclass(frozen=True)
class Answer:
    """What the diagnosis of one seeded case ``said`` first, and whether that was ``right``."""

    system: str
    kind: str
    planted: str
    seed: int
    right: bool
    said: str
    seconds: float
    commit: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it apart."""
        return self.system, self.kind, self.seed

    def row(self) -> dict[str, str]:
        """Return it as a row of the file."""
        right, seconds = "yes" if self.right else "no", f"{self.seconds:.1f}"
        values = [
            self.system, self.kind, self.planted, str(self.seed), right, self.said, seconds, self.commit
        ]  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))


def diagnosed(case: Case, seed: int, runs: int = RUNS, inference: Inference | None = None) -> Diagnosis:
    """The diagnosis of a case from ``runs`` runs of a quasi-random design."""
    rng, trials = np.random.default_rng([seed, 7]), []
    for number, configuration in enumerate(case.model.space.design(runs, seed)):
        trial = Trial(number, configuration)
        trials.append(trial.finish(State.COMPLETE, case.run(configuration, number, rng)))
    goal = Goal(case.objective)
    known = evidence(case.model, goal, Trials(trials))
    return diagnose(inference or Inference(case.model, 0), goal, known, seed)


def named(case: Case, found: Diagnosis) -> bool:
    """Whether the planted fault stands first; for a right model, whether nothing is said."""
    if case.node is None:
        return len(found) == 0
    if not len(found):
        return False
    first = found[0]
    right = first.node == case.node and first.cause == case.cause
    return right and (case.what is None or case.what == first.what)


def said(found: Diagnosis) -> str:
    """The first two findings in short."""
    return "; ".join(f"{f.node} {f.cause} {f.what} {f.nats:.1f}" for f in found.findings[:2]) or "nothing"


def tried(case: Case, seeds: Iterable[int]) -> list[str | None]:
    """For every seed None where the diagnosis is right, else what it said."""
    inference, found = Inference(case.model, 0), []
    for seed in seeds:
        diagnosis = diagnosed(case, seed, inference=inference)
        found.append(None if named(case, diagnosis) else f"{seed}: {said(diagnosis)}")
    return found


def wanted(systems: Sequence[str], seeds: int) -> Iterator[tuple[Case, int]]:
    """Yield every case with every seed: a seed after the other, so that whatever was run is balanced."""
    cases = [case for system in systems for case in SYSTEMS[system]()]
    for seed in range(seeds):
        for case in cases:
            numbers = range(RIGHT * seed, RIGHT * (seed + 1)) if case.node is None else [seed]
            yield from ((case, number) for number in numbers)


def measure(systems: Sequence[str], seeds: int, path: Path) -> list[Answer]:
    """Diagnose the cases that ``path`` does not have yet, append each as it ends, and return them all."""
    found = {answer.key: answer for answer in read(path)}
    asked = list(wanted(systems, seeds))
    inferences: dict[DAGModel, Inference] = {}
    commit = described()["commit"]
    for case, seed in asked:
        if (case.system, case.kind, seed) in found:
            continue
        inference = inferences.setdefault(case.model, Inference(case.model, 0))
        inference.compile()
        began = time.perf_counter()
        diagnosis = diagnosed(case, seed, inference=inference)
        spent = time.perf_counter() - began
        planted = "" if case.node is None else f"{case.node} {case.cause} {case.what or ''}".strip()
        answer = Answer(
            case.system, case.kind, planted, seed, named(case, diagnosis), said(diagnosis), spent, commit
        )
        found[answer.key] = answer
        rows.append(path, COLUMNS, [answer.row()])
        if not answer.right:
            print(f"{answer.system} {answer.kind} {seed}: {answer.said}", flush=True)
    return [found[case.system, case.kind, seed] for case, seed in asked]


def read(path: Path) -> list[Answer]:
    """Return the answers of a file; none where there is no file."""
    return [
        Answer(
            row["system"], row["kind"], row["planted"], int(row["seed"]), row["right"] == "yes",
            row["said"], float(row["seconds"]), row["commit"],
        )
        for row in rows.read(path, COLUMNS)
    ]  # fmt: skip


def share(answers: Sequence[Answer]) -> str:
    """Return how many answers are right: ``95 of 100 (95%)``."""
    right = sum(answer.right for answer in answers)
    return f"{right} of {len(answers)} ({right / len(answers):.0%})" if answers else "-"


def totals(answers: Sequence[Answer]) -> str:
    """Return the parts apart and together, beside the bars."""
    lines = []
    for name, systems in {**PARTS, "all": tuple(SYSTEMS)}.items():
        mine = [answer for answer in answers if answer.system in systems]
        planted, right = ([a for a in mine if bool(a.planted) == wanted] for wanted in (True, False))
        lines.append([name, ", ".join(systems), share(planted), share(right)])
    bars = ["fault named first (bar 90%)", "right model left alone (bar 95%)"]
    return markdown_table(["", "systems", *bars], lines)


def summary(answers: Sequence[Answer]) -> str:
    """Return the totals, every kind, and every answer that was wrong."""
    kinds = list(dict.fromkeys((a.system, a.kind, a.planted) for a in answers))
    each = []
    for system, kind, planted in kinds:
        mine = [a for a in answers if (a.system, a.kind) == (system, kind)]
        seconds = f"{np.median([a.seconds for a in mine]):.1f}"
        each.append([system, kind, planted or "nothing", share(mine), seconds])
    wrong = [[a.system, a.kind, str(a.seed), a.planted or "nothing", a.said] for a in answers if not a.right]
    return "\n\n".join(
        [
            totals(answers),
            markdown_table(["system", "kind", "planted", "named", "s (median)"], each),
            "Answers that were wrong (the number is the evidence in nats):",
            markdown_table(["system", "kind", "seed", "planted", "said"], wrong),
        ]
    )


def main(arguments: list[str]) -> None:
    """Measure, print and write."""
    seeds, systems = int(arguments[0]) if arguments else 3, arguments[1:] or list(SYSTEMS)
    about = described()
    answers = measure(systems, seeds, FILE)
    where = "\n".join(f"- {name}: {value}" for name, value in about.items())
    text = f"{RUNS} runs of a quasi-random design a case.\n\n{summary(answers)}\n\n{where}\n"
    print(text)
    if set(systems) == set(SYSTEMS):
        FILE.with_suffix(".md").write_text(HEADING + text)


if __name__ == "__main__":
    main(sys.argv[1:])
