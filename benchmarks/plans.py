"""The comparisons that ``python -m benchmarks.compare`` makes, by name: who on what, how long, how often."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from benchmarks.functions import NOISES, NOISY
from benchmarks.problems import Problem
from benchmarks.tuners import ENTRANTS


@dataclass(frozen=True)
class Plan:
    """What is compared.

    ``trials`` is our budget and ``times`` how many times that a peer gets; ``limit`` the seconds of its own
    that a tuner may take for a run; after ``minutes`` no further run begins. ``early``: whether a peer's run
    ends once it has arrived; where runs scatter it could still go astray, so what it recommends last counts.
    """

    problems: Sequence[str]
    tuners: Sequence[str]
    trials: int
    times: int = 1
    seeds: int = 20
    limit: float = 3600.0
    minutes: float = float("inf")
    early: bool = True

    def runs(self, known: Mapping[str, Problem]) -> Iterator[tuple[Problem, str, int, int]]:
        """Yield (problem, tuner, seed, budget), seed after seed: what is interrupted has whole seeds."""
        for seed, name, tuner in product(range(1, self.seeds + 1), self.problems, self.tuners):
            problem, entrant = known[name], ENTRANTS[tuner]
            if entrant.takes(problem):
                yield problem, tuner, seed, self.trials * (1 if entrant.ours else self.times)

    def of(self, problems: Sequence[str], tuners: Sequence[str]) -> "Plan":
        """Return the part of the plan that is about some problems and tuners; of none named, about all."""
        return replace(
            self,
            problems=[name for name in self.problems if not problems or name in problems],
            tuners=[name for name in self.tuners if not tuners or name in tuners],
        )


GENERIC = [name for name, entrant in ENTRANTS.items() if not entrant.model and not entrant.graph]
ALL = ["structured", *GENERIC]
KNOWING = ["structured", "structured-alone", "function-network"]  # are told the graph
CHEAP = ["structured", "generic", "optuna", "cma-es", "random"]  # asks in no time whatever the dimension
FUNCTIONS = (
    *("branin", "camel", "goldstein", "hartmann3", "shekel", "styblinski5", "michalewicz5", "griewank6"),
    *("hartmann6", "levy8", "ackley10", "ellipsoid20"),
)
FUNCTION_NETWORKS = ("dropwave", "alpine-network", "ackley-network", "rosenbrock-network")
SCATTERED = [f"{name}+{noise:.0%}" for noise in NOISES for name in NOISY]

QUICK = Plan(
    (
        "collector",
        "cassandra",
        "scheduling-10",
        "jvm-recorded",
        "dropwave",
        "branin",
        "hartmann6+20%",
        "mixed",
    ),
    ("structured", "generic", "botorch", "optuna", "optuna-gp", "smac", "cma-es", "random"),
    trials=20,
    times=10,
    seeds=2,
    limit=10.0,
    minutes=8.0,
)
PLANS: Mapping[str, Plan] = {
    "collectors": Plan(("cassandra", "collector", "jvm-recorded"), ALL, trials=30, times=10),
    "scheduling-10": Plan(("scheduling-10",), ALL, trials=12, times=10),
    "scheduling-100": Plan(("scheduling-100",), CHEAP, trials=15, seeds=10),
    "scheduling-300": Plan(("scheduling-300",), CHEAP, trials=20, seeds=10),
    "branin-terms": Plan(("branin-terms",), ALL, trials=20, times=10),
    "networks": Plan(FUNCTION_NETWORKS, KNOWING, trials=60, seeds=10),
    "generic": Plan(FUNCTIONS, GENERIC, trials=40),
    "generic-noisy": Plan(SCATTERED, GENERIC, trials=40, early=False),
    "generic-mixed": Plan(("mixed", "index"), GENERIC, trials=40),
    "generic-many": Plan(("branin-of-100",), ("generic", "botorch", "saasbo"), trials=50, seeds=10),
}
