"""Does ``study.diagnose()`` name what is wrong? Planted faults and right models, over seeds.

``python -m benchmarks.faults [seeds] [system ...]`` prints for each kind of fault how often the planted node
and cause were named first, and how often a right model was called wrong.
"""

import sys
import time
from collections.abc import Iterable

import numpy as np

from benchmarks.faulty_systems import SYSTEMS, Case
from boatppl.diagnose import Diagnosis, diagnose
from boatppl.evidence import evidence
from boatppl.fit import Inference
from boatppl.suggest import Goal
from boatppl.trial import State, Trial, Trials

RUNS = 30


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


def main(arguments: list[str]) -> None:
    """Print the table."""
    seeds = int(arguments[0]) if arguments else 8
    right: list[str | None] = []
    planted: list[str | None] = []
    for system in arguments[1:] or list(SYSTEMS):
        for case in SYSTEMS[system]():
            began = time.perf_counter()
            found = tried(case, range(seeds))
            (right if case.node is None else planted).extend(found)
            misses, spent = [each for each in found if each], (time.perf_counter() - began) / seeds
            hits = f"{seeds - len(misses):3}/{seeds}"
            print(f"{system:10} {case.kind:18} {hits}  {spent:.1f} s   {' | '.join(misses[:3])}", flush=True)
    for what, each in (("faults named first", planted), ("right models left alone", right)):
        print(f"{what}: {each.count(None)} of {len(each)} ({each.count(None) / max(len(each), 1):.0%})")


if __name__ == "__main__":
    main(sys.argv[1:])
