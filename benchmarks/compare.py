"""``python -m benchmarks.compare``: tuners on the same problems, seeds and budgets.

After every trial each tuner says which configuration it would recommend; what counts is the noise-free value
there. All begin with the default configuration. Peers and our generic tuner see the objective alone (the
function-network method also the graph and every node). Where it matters how much later a peer arrives, it
gets ten times our trials. Every run is written as it ends, so a comparison that was stopped goes on where it
was; what is compared stands in :mod:`benchmarks.plans`.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.curves import draw
from benchmarks.machine import described, load
from benchmarks.peers.environment import Unavailable
from benchmarks.plans import PLANS, QUICK, Plan
from benchmarks.race import Trace, trace
from benchmarks.rows import append, read
from benchmarks.runs import COLUMNS, days, row_of, trace_of
from benchmarks.standings import ENOUGH, costs, overall, seeds_of, settings, table, verdict
from benchmarks.suite import suite
from benchmarks.tuners import ENTRANTS
from boatppl.words import expected_one_of, listed

RESULTS = Path(__file__).parent / "results" / "compare"


def compare(plan: Plan, done: Sequence[Mapping[str, str]]) -> Iterator[Trace]:
    """Yield every run of the plan that is not done; a tuner that cannot be had is named and left out."""
    began, missing = time.monotonic(), set()
    keys = {(row["problem"], row["tuner"], row["seed"], row["budget"]) for row in done}
    for problem, tuner, seed, budget in plan.runs(suite()):
        if tuner in missing or (problem.name, tuner, str(seed), str(budget)) in keys:
            continue
        if time.monotonic() - began > 60 * plan.minutes:
            print(f"{plan.minutes:g} minutes are over; run it again and it goes on from here.")
            return
        try:
            early = plan.early and not ENTRANTS[tuner].ours
            yield trace(problem.of(seed), tuner, seed, budget, plan.limit, early)
        except Unavailable as error:
            print(f"left out: {error}")
            missing.add(tuner)


EXPLAINED = """\
Trials until the recommended configuration's noise-free value is within a share of the
optimum (of the typical value where the optimum is 0): median [quartiles]; `>` where the run ended first,
and nothing is dropped. `s to 5%` is the tuner's own time (and the runs', where the system is real), `area`
the mean gap over our budget as a share of the default's, `at n` the median gap after n trials, `last` the
one at the end. {ends}
"""
EARLY = "A peer's run ends once its recommendation has been within 1 % for three trials on end."
LATE = "Every run goes on to its end."


COSTS = """\
Medians over all runs: seconds to begin (the model, or the peer's process), of the slowest trial (compilation
included), of a trial as trials grow: asking, telling and recommending. MB is the most resident memory of the
process; ours is the bench itself, with every problem.
"""


def cautions(traces: Sequence[Trace], about: Mapping[str, str]) -> list[str]:
    """Return what a reader must know before the tables: a busy machine, and tuners with too few seeds."""
    found, few = [], {name: n for name, n in seeds_of(traces).items() if n < ENOUGH}
    most = float(about.get("load while it ran", "0").split()[-1])
    if most > float(about.get("cores", "inf")):
        found.append(
            f"**A busy machine**: the load was up to {most:.0f} on {about['cores']} cores. Seconds are too "
            "long, and tuners that a time limit ended made fewer trials than they would have made.\n"
        )
    if few:
        named = listed(f"{name} ({n})" for name, n in few.items())
        found.append(
            f"**Too few seeds** of {named}: a claim needs {ENOUGH}, so that no ratio beside these is one.\n"
        )
    return found


def report(name: str, traces: Sequence[Trace], about: Mapping[str, str]) -> str:
    """Return the whole comparison that a plan's name stands for as Markdown; its picture is ``name``.png."""
    known = suite()
    command = f"python -m benchmarks.compare {'--' * (name == 'quick')}{name}"
    explained = EXPLAINED.format(ends=EARLY if PLANS.get(name, QUICK).early else LATE)
    parts = [f"# Tuners compared: {name}\n\nMade by `{command}`.\n\n{explained}"]
    parts += cautions(traces, about)
    parts.append(f"## All problems\n\n{overall(traces, known)}")
    parts.append(f"![The median gap of every tuner over trials]({name}.png)\n")
    for problem in known.values():
        mine = [item for item in traces if item.problem == problem.name]
        if not mine:
            continue
        said = f"{len(problem.space.names)} parameters; noise: {problem.noise or 'none'}"
        said += f"; the truth is uncertain by {problem.doubt:.0%}" if problem.doubt else ""
        parts.append(f"## {problem.name}\n\n{said}. {verdict(mine)}\n\n{table(mine, problem.seconds)}\n")
    parts.append(f"## Costs\n\n{COSTS}\n{costs(traces)}\n")
    parts.append(f"## Settings\n\n{settings(traces)}\n")
    parts.append("## Where\n\n" + "\n".join(f"- {name}: {value}" for name, value in about.items()) + "\n")
    return "\n".join(parts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("plans", nargs="*", metavar="PLAN", help=f"of {listed(PLANS)}; none named: all")
    parser.add_argument("--quick", action="store_true", help="few problems and tuners: under 10 minutes")
    parser.add_argument(
        "--problems", nargs="+", default=(), metavar="PROBLEM", help="of the plan's, only these"
    )
    parser.add_argument("--tuners", nargs="+", default=(), metavar="TUNER", help="of the plan's, these")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--limit", type=float, help="seconds of its own a tuner may take for one run")
    parser.add_argument("--minutes", type=float, help="no run of a plan begins after these minutes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of PLAN.csv, .md and .png")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are there")
    options = parser.parse_args()
    for name, known in (("plans", PLANS), ("problems", suite()), ("tuners", ENTRANTS)):
        for unknown in sorted(set(getattr(options, name)) - set(known)):
            parser.error(f"{name[:-1]} expects {expected_one_of(known, unknown)}.")
    return options


def main() -> None:
    """Carry out the plans, print their tables and keep them in ``benchmarks/results/compare``."""
    options = _options()
    given = {name: getattr(options, name) for name in ("seeds", "limit", "minutes")}
    chosen = {"quick": QUICK} if options.quick else {name: PLANS[name] for name in options.plans or PLANS}
    for name, plan in chosen.items():
        part = plan.of(options.problems, options.tuners)
        if not part.problems or not part.tuners:
            continue  # the plan is about others: its table stays as it is
        part = replace(part, **{key: value for key, value in given.items() if value is not None})
        carry_out(part, options.results / name, options.fresh)


def carry_out(plan: Plan, stem: Path, fresh: bool = False) -> None:
    """Make what is not done of a plan; write its runs, tables and pictures (``stem`` with .csv, .md, .png).

    ``fresh``: forget the runs that are there.
    """
    about, runs = described(), stem.with_suffix(".csv")
    if fresh:
        runs.unlink(missing_ok=True)
    for item in compare(plan, read(runs, COLUMNS)):
        now = {"load": load(), "date": about["date"], "commit": about["commit"]}
        append(runs, COLUMNS, [row_of(item, plan.trials, now)])
        said = f"gap {item.gap_at(len(item.gaps) or 1):.1%} after {len(item.gaps)} trials {item.stopped}"
        print(f"{item.problem} {item.tuner} seed {item.seed}: {said}, {sum(item.seconds):.0f} s", flush=True)
    rows = read(runs, COLUMNS)
    if not rows:
        return  # why there are none has been said
    traces = [trace_of(row) for row in rows]
    loads = sorted(float(row["load"]) for row in rows)
    about |= {"runs": str(len(rows)), "load while it ran": f"{loads[0]} to {loads[-1]}"}
    about["dates of the runs"] = days(rows)
    about["commits"] = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    text = report(stem.name, traces, about)
    stem.with_suffix(".md").write_text(text)
    draw(traces, stem.with_suffix(".png"))
    print(f"\n{text}")


if __name__ == "__main__":
    main()
