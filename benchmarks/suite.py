"""Every problem of the comparisons by name."""

from collections.abc import Mapping

from benchmarks.cassandra import cassandra_run, cassandra_space
from benchmarks.cassandra_model import cassandra_model
from benchmarks.functions import functions
from benchmarks.networks import networks
from benchmarks.problems import Problem, problems
from benchmarks.recorded_jvm import recorded_jvm
from benchmarks.scheduling import schedulings

# Found by looking at every configuration (tests/test_benchmarks.py looks again around it).
CASSANDRA_OPTIMUM = 7.0


def cassandra() -> Problem:
    """The simulated store with its engineer's model."""
    flags = ("young_mb", "survivor_ratio", "tenuring")
    return Problem(
        "cassandra",
        cassandra_space(),
        "p99",
        cassandra_run,
        known_optimum=CASSANDRA_OPTIMUM,
        structured=cassandra_model,
        network={
            "gc_rate": flags[:2],
            "promoted_mb_s": flags,
            "gc_pause": ("gc_rate", "promoted_mb_s", *flags),
            "p99": ("gc_rate", "gc_pause", "promoted_mb_s"),
        },
        noise="load log-normal, 4 %; phase of the flushes",
        kind="structured",
    )


def suite() -> Mapping[str, Problem]:
    """Return all problems: those with structure first."""
    systems = [problems()["collector"], cassandra(), recorded_jvm(), *schedulings().values()]
    return {problem.name: problem for problem in [*systems, *networks().values(), *functions().values()]}
