"""``python -m benchmarks.readme``: put the measured figures into README.md, from the repository's tables.

No figure of the README is typed by hand: a test compares what stands there with what the tables say now.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks import faults, wrong_models
from benchmarks.figures import Figure, markdown_table
from benchmarks.functions import NOISES
from benchmarks.race import Trace
from benchmarks.rows import read as rows_of
from benchmarks.runs import COLUMNS, days, trace_of
from benchmarks.standings import (
    arrivals,
    brief,
    claims,
    course,
    generic_goal,
    lead,
    off,
    recommended,
    seeds_of,
)
from benchmarks.suite import suite
from benchmarks.wrong_systems import RIGHT, SECOND_HALF, WRONG
from boatppl.words import listed
from models.jvm_gc import acceptance
from models.sgd_scheduling import compare as scheduling
from models.sgd_scheduling import transfer
from models.sgd_scheduling.best_known import read

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = Path(__file__).parent / "results"
COMPARISONS = RESULTS / "compare"
GENERIC_PLANS = ("generic", "generic-noisy", "generic-mixed")
PROMISES = RESULTS / "promises.csv"
BEGIN = "<!-- figures: written by python -m benchmarks.readme -->"
END = "<!-- end of the figures -->"
NUMBERS = ("bound", "found")
KINDS = [RIGHT, *WRONG]

JVM = """\
**A real JVM, live** (`python -m models.jvm_gc.acceptance`; every seed stands in
[models/jvm_gc/acceptance.md](models/jvm_gc/acceptance.md)). SerialGC's flags at a fixed heap, at most
{trials} runs a search; then what it recommends and SerialGC's defaults are measured anew, {rounds} times in
random order, under load that no search saw. The ratio is p99 with the defaults / p99 of what is recommended.
**The workload was sized so that the collector's flags matter**: this says what tuning does there, not what it
would do for you. Where several methods were run, the one with the highest ratio is in bold, ours or not.
*Zero trials* is what the model recommends from its priors alone, before any run; *without residuals* are its
formulas without Gaussian processes."""

UNEQUAL = """\
Methods were run with different numbers of seeds, at different times: not yet a comparison seed by seed."""

SIMULATED = """\
**Scheduling SGD, a simulation** (`python -m models.sgd_scheduling.compare`): no cluster was run. Seconds an
iteration of the schedule that measured best so far, medians over clusters; then after how many trials each
cluster's schedule was near the best known one (`-`: not within the trials made). *Without noise* nothing
varies; *as runs measure* is what runs of a schedule typically say, beside the best schedule by that."""

COMPARED = """\
Made {days}; every run with versions, settings, costs and pictures:
[{name}.md](benchmarks/results/compare/{name}.md)."""

COLLECTORS = """\
**Garbage collectors, two simulations and a record** (`python -m benchmarks.compare collectors`). *cassandra*:
a store whose three flags give about 19 ms at the 99th percentile by default and 7 at best; *collector*: a
smaller one; these two share no formula with the models. *jvm-recorded*: real runs of a JVM, three of every
configuration; one is held out and is the truth, a trial draws one of the others. Trials until what is
recommended is within a share of the optimum, medians [quartiles]; `>`: not within the trials made. *generic*
is ours without the model."""

TOGETHER = """\
**Scheduling SGD beside generic tuners, a simulation** (`python -m benchmarks.compare scheduling-10`). Ten
machines: ten shares of the batch, who works and who serves; {seeds} clusters. Trials until an iteration with
what each tuner recommends takes at most 10, 5, 1 % longer than with the best known schedule, without noise;
*last*: how much longer in the end; medians. *generic* is ours without the model."""

MORE_MACHINES = """\
**Scheduling SGD on {in_words} machines, a simulation** (`python -m benchmarks.compare {name}`): {coordinates}
coordinates; {seeds} clusters. By how much an iteration with what each tuner recommends takes longer than with
the best known schedule: medians."""

INHERITED = """\
**The same machines train another network, a simulation** (`python -m models.sgd_scheduling.transfer`). Ten
machines whose speeds an earlier study of {trials} trials has learned, with `prior_from=` that study and
without, on {clusters} clusters; what is recommended, without noise."""

NETWORKED = """\
**Function networks, simulations** (`python -m benchmarks.compare networks`). Nodes are measured, nothing
scatters (all are told so), and nothing is known but the graph. *structured* is the default, hedged with the
generic model, *structured-alone* is without it (`hedge=False`), and *function-network* the method of
Astudillo and Frazier (2021) on BoTorch, written for this comparison. Trials until what is recommended is
within a share of the optimum (of the typical value where that is 0), medians [quartiles] of {seeds} studies;
`>`: not within the trials made."""

DECOMPOSED = """\
**Branin-Hoo in two terms, a simulation** (`python -m benchmarks.compare branin-terms`): the decomposition of
the original's example, of which a term is measured too, with its shape known and no coefficient."""

NOTHING_KNOWN = """\
**Nothing known, simulations** (`python -m benchmarks.compare generic`). Functions of 2 to 20 parameters whose
runs do not scatter; who can be told so is. *generic* is ours. Trials until what is recommended is within 5 %
of the optimum (of the typical value where that is 0), medians of {seeds} studies of {trials} trials; `>`: the
median run did not get there, and how far above it was at the end; the first is **bold**."""

SCATTERED = """\
**The same with noise, simulations** (`python -m benchmarks.compare generic-noisy`): normal, 5 or 20 % of the
function's spread over the space. How far the noise-free value of what each tuner recommends after {trials}
trials is above the optimum; medians of {seeds} studies, the least **bold**."""

MIXED = """\
**Choices and conditions, simulations** (`python -m benchmarks.compare generic-mixed`). *mixed* has numbers,
choices and flags, *index* a choice on which depends what else there is to choose; both scatter by a few
percent. As above: trials to 5 %, medians of {seeds} studies."""

HUNDRED_PARAMETERS = """\
**A hundred parameters and no model, a simulation** (`python -m benchmarks.compare generic-many`). Branin-Hoo
in two of 100 parameters. By how much the noise-free value of what each tuner recommends is above the optimum:
medians of {seeds} studies."""

HEDGED = """\
**When the model is wrong, simulations** (`python -m benchmarks.wrong_models`; the halves apart stand in
[benchmarks/results/wrong_models.md](benchmarks/results/wrong_models.md)).
Three systems with the model of an engineer, and the same made wrong on purpose. How many trials the default
(*hedged*) takes until what it recommends is within {within:g} % of the optimum, over the generic optimiser's
trials, and over those of the model alone: geometric means over pairs of studies with the same seed (90 %
bootstrap interval), at most {budget} trials each, and how many of them arrived. The bars: {to_generic:g}
for any wrong model, {to_structured:g} of the model alone for the right one. {later} were
written later, and nothing was chosen by them."""

FAULTS = """\
**Which part is wrong, simulations** (`python -m benchmarks.faults`; every case stands in
[benchmarks/results/faults.md](benchmarks/results/faults.md)): faults planted in simulated systems, and what
`study.diagnose()` names first."""

PROMISED = """\
**Speed** (`make bench-promises`; all of it, with remarks, stands in
[benchmarks/results/promises.md](benchmarks/results/promises.md)), measured {date} at commit {commit} on
{cores} cores ({machine}). What was promised and is not kept says so."""


def figures() -> str:
    """Return the section as Markdown: the live JVM, simulations where there are any, the promises."""
    parts = [
        BEGIN,
        _jvm(),
        *_simulated(),
        _compared("collectors", COLLECTORS, _claims),
        _compared("scheduling-10", TOGETHER, lambda *runs: f"{_claims(*runs)}\n\n{_filled(lead(*runs))}"),
        _compared("scheduling-100", MORE_MACHINES, _courses, in_words="a hundred", coordinates=299),
        _compared("scheduling-300", MORE_MACHINES, _courses, in_words="three hundred", coordinates=899),
        _inherited(),
        _compared("branin-terms", DECOMPOSED, _claims),
        _compared("networks", NETWORKED, lambda traces, trials: brief(traces)),
        _compared("generic", NOTHING_KNOWN, lambda traces, trials: arrivals(traces)),
        _compared("generic-noisy", SCATTERED, _recommended),
        _compared("generic-mixed", MIXED, lambda traces, trials: arrivals(traces)),
        _generic_goal(),
        _compared(
            "generic-many", HUNDRED_PARAMETERS, lambda traces, trials: course(traces, (1, 10, 20, 30, trials))
        ),
        _wrong(),
        _faults(),
        _promises(),
        END,
    ]
    return "\n\n".join(part for part in parts if part)


def _jvm() -> str:
    rows = acceptance.read(acceptance.FILE)
    trials = max(int(row["trials"]) for row in rows)
    parts = [JVM.format(trials=trials, rounds=acceptance.ROUNDS)]
    for workload in dict.fromkeys(row["workload"] for row in rows):
        mine = [row for row in rows if row["workload"] == workload]
        parts.append(f"`{workload}`:\n\n{acceptance.summary(mine)}")
        seeds = {method: {r["seed"] for r in mine if r["method"] == method} for method in _methods(mine)}
        if len({len(found) for found in seeds.values()}) > 1:
            parts.append(UNEQUAL)
    return "\n\n".join(parts)


def _methods(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in rows))


def _simulated() -> list[str]:
    if not scheduling.TABLE.exists():
        return []
    rows = read(scheduling.TABLE)
    parts = [SIMULATED]
    for machines in sorted({int(row["machines"]) for row in rows}):
        lines = "\n".join(scheduling.summary(rows, machines))
        parts.append(f"{machines} machines:\n\n```\n{lines}\n```")
    return parts


def _runs(plan: str) -> list[dict[str, str]]:
    return rows_of(COMPARISONS / f"{plan}.csv", COLUMNS)


def _compared(name: str, text: str, shown: Callable[[Sequence[Trace], int], str], **said: object) -> str:
    """Return what one comparison of tuners was, and what is shown of its runs and our trials in each.

    The text has places for how many trials and seeds there were, and its own, which ``said`` fills.
    """
    rows = _runs(name)
    traces = [trace_of(row) for row in rows]
    if not traces:
        return ""
    trials = min(item.budget for item in traces)
    said |= {"name": name, "trials": trials, "seeds": _seeds(traces), "days": days(rows)}
    parts = [_filled(text.format(**said)), shown(traces, trials), _filled(COMPARED.format(**said))]
    return "\n\n".join(parts)


def _seeds(traces: Sequence[Trace]) -> str:
    """Return how many studies each tuner made of a problem: ``20 (hebo 5)``."""
    made = seeds_of(traces)
    most = max(made.values())
    fewer = ", ".join(f"{tuner} {n}" for tuner, n in made.items() if n < most)
    return f"{most} ({fewer})" if fewer else f"{most}"


def _claims(traces: Sequence[Trace], trials: int) -> str:
    """Return trials to each share, and how many times ours the best peer needed."""
    return f"{brief(traces)}\n\n{claims(traces, suite())}"


def _recommended(traces: Sequence[Trace], trials: int) -> str:
    """Return what each tuner recommends, and how far off ours is where there is most noise."""
    most = f"{max(NOISES):.0%}"
    loud = [item for item in traces if item.problem.endswith(f"+{most}")]
    table, goal = recommended(traces, trials).rsplit("\n\n", 1)
    return f"{table}\n\n{_filled(f'{goal} {off(loud, trials, where=f"with {most} noise")}')}"


def _generic_goal() -> str:
    """Return on how many of all generic problems ours is no worse than the best peer."""
    return _filled(
        generic_goal([item for plan in GENERIC_PLANS for item in map(trace_of, _runs(plan))], suite())
    )


def _inherited() -> str:
    rows = read(transfer.TABLE)
    text = INHERITED.format(trials=transfer.TRIALS, clusters=len({row["seed"] for row in rows}))
    lines = "\n".join(transfer.summary(rows))
    return f"{_filled(text)}\n\n```\n{lines}\n```"


def _different(traces: Sequence[Trace], part: str) -> list[str]:
    return list(dict.fromkeys(getattr(item, part) for item in traces))


def _course(traces: Sequence[Trace], trials: int) -> str:
    return course(traces, (1, 10, 20, 30, trials))


def _courses(traces: Sequence[Trace], trials: int) -> str:
    at = [*(n for n in (1, 5, 10, 20) if n < trials), trials]
    return f"{course(traces, at)}\n\n{_filled(lead(traces, trials))}"


def _wrong() -> str:
    found = wrong_models.read(wrong_models.FILE)
    if not any(a.case.way == "hedged" for a in found):
        return ""
    budget = max(a.case.budget for a in found)
    text = HEDGED.format(
        within=100 * wrong_models.WITHIN,
        budget=budget,
        to_generic=wrong_models.HEDGED_TO_GENERIC,
        to_structured=wrong_models.HEDGED_TO_STRUCTURED,
        later=listed(SECOND_HALF).capitalize(),
    )
    found.sort(key=lambda a: KINDS.index(a.case.kind))
    return f"{_filled(text)}\n\n{wrong_models.summary(found, budget)}"


def _faults() -> str:
    answers = faults.read(faults.FILE)
    return f"{FAULTS}\n\n{faults.totals(answers)}" if answers else ""


def _promises() -> str:
    with PROMISES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [_figure(row) for row in rows]
    table = markdown_table(
        ["promise", "measured as", "promised", "found", "kept"],
        [[f.promise, f.what, f.promised_text, f.found_text, f.kept] for f in found if f.bound is not None],
    )
    return f"{PROMISED.format(**rows[0])}\n\n{table}"


def _figure(row: Mapping[str, str]) -> Figure:
    bound, found = (float(row[name]) if row[name] else None for name in NUMBERS)
    at_least = row["at_least"] == "True"
    return Figure(row["promise"], row["what"], bound, found, row["unit"], row["note"], at_least)


def replaced(text: str, section: str) -> str:
    """Return a text with the section between the two marks in place of what stood there.

    Raises ValueError for a text without the marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no place for the figures; expected the lines {BEGIN} and {END}.")
    return before + section + after


def _filled(text: str) -> str:
    """Return a paragraph in lines as wide as the README's."""
    return fill(text, 118, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Write the section into README.md."""
    README.write_text(replaced(README.read_text(), figures()))


if __name__ == "__main__":
    main()
