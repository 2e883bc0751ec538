"""Does ``study.diagnose()`` name what is wrong? Planted faults and right models, over seeds.

``python -m benchmarks.faults [seeds] [system ...]`` prints for each kind of fault how often the planted node
and cause were named first, and how often a right model was called wrong.
"""

import sys
import time
from collections import Counter

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


def main(arguments: list[str]) -> None:
    """Print the table."""
    seeds = int(arguments[0]) if arguments else 8
    chosen = arguments[1:] or list(SYSTEMS)
    right, planted = Counter(), Counter()
    for system in chosen:
        for case in SYSTEMS[system]():
            began = time.perf_counter()
            inference, hits, misses = Inference(case.model, 0), 0, []
            for seed in range(seeds):
                found = diagnosed(case, seed, inference=inference)
                hit = named(case, found)
                hits += hit
                misses += [] if hit else [f"{seed}: {said(found)}"]
                (right if case.node is None else planted)[hit] += 1
            spent = (time.perf_counter() - began) / seeds
            print(f"{system:10} {case.kind:18} {hits:3}/{seeds}  {spent:.1f} s   {' | '.join(misses[:3])}",
                  flush=True)  # fmt: skip
    for what, count in (("faults named first", planted), ("right models left alone", right)):
        total = sum(count.values())
        print(f"{what}: {count[True]} of {total} ({count[True] / max(total, 1):.0%})")


if __name__ == "__main__":
    main(sys.argv[1:])
