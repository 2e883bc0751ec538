"""Tables of a comparison: how fast each tuner arrived, what it recommended, who won."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median as middle

import numpy as np

from benchmarks.censored import bootstrap, median, quantile, ratio_of_medians
from benchmarks.figures import markdown_table
from benchmarks.problems import Problem
from benchmarks.race import SHARES, Trace
from benchmarks.runs import MILESTONES
from benchmarks.tuners import ENTRANTS
from boatppl.words import listed

CLAIM, OF_GENERIC = 6.0, 0.8  # DESIGN's promises
ENOUGH = 20  # seeds, below which nothing is claimed
DECISIVE = 0.05  # the share by which tuners are ranked
NOTHING = 1e-4  # a lesser gap counts as this one where ratios are taken


def by_tuner(traces: Sequence[Trace]) -> dict[str, list[Trace]]:
    """Return the runs of each tuner, in the order of the entrants."""
    names = sorted({item.tuner for item in traces}, key=list(ENTRANTS).index)
    return {name: [item for item in traces if item.tuner == name] for name in names}


def seeds_of(traces: Sequence[Trace]) -> dict[str, int]:
    """Return how many studies each tuner made of the problem of which it made fewest."""
    made = Counter((item.tuner, item.problem) for item in traces)
    return {tuner: min(n for (name, _), n in made.items() if name == tuner) for tuner in by_tuner(traces)}


def paired(groups: Mapping[str, Sequence[Trace]], names: Sequence[str]) -> list[list[Trace]]:
    """Return the runs of some tuners on the seeds that all of them have, in the same order."""
    seeds = sorted(set.intersection(*({item.seed for item in groups[name]} for name in names)))
    return [[item for seed in seeds for item in groups[name] if item.seed == seed] for name in names]


def table(traces: Sequence[Trace], each: float = 0.0) -> str:
    """Return the table of one problem; ``each``: seconds of one run of the system."""
    head = ["tuner", "seeds", "budget", *(f"trials to {share:.0%}" for share in SHARES), "s to 5%", "area"]
    head += [*(f"at {n}" for n in MILESTONES), "last", "ended early"]
    ours = min(item.budget for item in traces)  # areas are compared over the same trials
    rows = [[name, *_cells(runs, ours, each)] for name, runs in by_tuner(traces).items()]
    return markdown_table(head, rows)


def _cells(runs: Sequence[Trace], ours: int, each: float) -> list[str]:
    """The cells of one tuner."""
    budget = max(run.budget for run in runs)
    cells = [str(len(runs)), str(budget)]
    for share in SHARES:
        counts = [run.trials_to(share) for run in runs]
        quarter, half, three = (_trials(quantile(counts, q), runs) for q in (0.25, 0.5, 0.75))
        cells.append(f"{half} [{quarter}-{three}]")
    late = [run.seconds_to(DECISIVE, each) for run in runs]
    cells.append(f"{median(late):.1f}" if np.isfinite(median(late)) else "never")
    cells.append(f"{middle(run.area(ours) for run in runs):.2f}")
    for n in MILESTONES:
        cells.append(_percent(median([run.gap_at(n) for run in runs])) if n <= budget else "-")
    cells.append(_percent(median([run.gap_at(len(run.gaps) or 1) for run in runs])))
    ended = [run.stopped for run in runs if run.stopped not in ("", "arrived")]
    cells.append("; ".join(f"{ended.count(why)}x {why}" for why in dict.fromkeys(ended)) or "")
    return cells


def _trials(count: float, runs: Sequence[Trace]) -> str:
    """A count of trials; where it is of runs that never arrived, the least that one of those made."""
    return f"{count:.0f}" if np.isfinite(count) else f">{_fewest(runs)}"


def _fewest(runs: Sequence[Trace]) -> int:
    return min((len(run.gaps) for run in runs if run.stopped != "arrived"), default=0)


def _percent(gap: float) -> str:
    return f"{100 * gap:.1f}%" if np.isfinite(gap) else "none"


def capped(runs: Sequence[Trace], share: float) -> list[float]:
    """Trials to a share, infinite where a run never arrived; nothing is dropped."""
    return [run.trials_to(share) for run in runs]


def best_of(groups: Mapping[str, Sequence[Trace]], names: Sequence[str]) -> str | None:
    """Return the tuner of the least median trials to 5 %; between equals the one of which more runs arrived,
    then of the least area; None of none."""
    if not names:
        return None

    def rank(name: str) -> tuple[float, float, float]:
        runs = groups[name]
        ours = min(run.budget for runs in groups.values() for run in runs)
        late = capped(runs, DECISIVE)
        return median(late), float(np.mean(np.isinf(late))), middle(run.area(ours) for run in runs)

    return min(names, key=rank)


def best_peer(groups: Mapping[str, Sequence[Trace]]) -> str | None:
    """Return the best of those that are not ours; None of none."""
    return best_of(groups, [name for name in groups if not ENTRANTS[name].ours])


def verdict(traces: Sequence[Trace]) -> str:
    """Return who was first on a problem, and the ratio with what may be claimed of it.

    "No tuner" means that nobody's median run arrived.
    """
    groups = by_tuner(traces)
    first, rival = best_of(groups, list(groups)), best_peer(groups)
    if first is None or np.isinf(median(capped(groups[first], DECISIVE))):
        lines = [f"No tuner's median came to within {DECISIVE:.0%}."]
    else:
        lines = [f"First to {DECISIVE:.0%} of the optimum: **{first}**."]
    for mine in ("structured", "generic"):
        if mine in groups and rival is not None:
            lines.append(_ratio(groups, mine, rival))
    return " ".join(lines)


def _ratio(groups: Mapping[str, Sequence[Trace]], mine: str, rival: str) -> str:
    """Say how many times our trials the best peer needed, over the seeds that both have.

    A peer's run that never arrived counts as one trial more than it made: the ratio is a lower bound then.
    """
    ours, theirs = paired(groups, (mine, rival))
    if not ours:
        return f"{mine} and {rival} have no seed in common."
    counts = ([_at_least(run) for run in theirs], capped(ours, DECISIVE))
    if np.isinf(median(counts[1])):
        return f"{mine} itself did not get there in {_fewest(ours)} trials; the best peer is {rival}."
    budget = max(run.budget for run in theirs)

    def ratio(a: Sequence[float], b: Sequence[float]) -> float:
        return ratio_of_medians(a, b, budget)

    pairs = list(zip(*counts))
    low, high = bootstrap([range(len(pairs))], lambda k: ratio(*zip(*(pairs[int(i)] for i in k))))
    more = " or more" if np.isinf(median(capped(theirs, DECISIVE))) else ""
    return (
        f"The best peer, {rival}, needed {ratio(*counts):.1f}{more} times the trials of {mine} "
        f"(90 % bootstrap over {len(pairs)} paired seeds: {low:.1f}-{high:.1f})."
    )


def _at_least(run: Trace) -> float:
    """Trials to 5 %, or one more than were made."""
    n = run.trials_to(DECISIVE)
    return n if np.isfinite(n) else len(run.gaps) + 1.0


def overall(traces: Sequence[Trace], problems: Mapping[str, Problem]) -> str:
    """Return the arrivals, and the two goals as far as these problems are about them."""
    parts = [arrivals(traces), claims(traces, problems), generic_goal(traces, problems)]
    return "\n\n".join(part for part in parts if part) + "\n"


def by_problem(traces: Sequence[Trace]) -> Iterator[tuple[str, dict[str, list[Trace]]]]:
    """Yield each problem and the runs of each tuner on it."""
    for problem in dict.fromkeys(item.problem for item in traces):
        yield problem, by_tuner([item for item in traces if item.problem == problem])


def arrivals(traces: Sequence[Trace]) -> str:
    """Return one row a problem: median trials to 5 % of each tuner (and the median gap at the end, where that
    run did not get there), the winner marked."""
    names, rows = list(by_tuner(traces)), []
    for problem, groups in by_problem(traces):
        first = best_of(groups, list(groups))
        cells = []
        for name in names:
            if name not in groups:
                cells.append("-")
                continue
            half = median(capped(groups[name], DECISIVE))
            text = _trials(half, groups[name])
            if np.isinf(half):
                text += f" ({_percent(middle(run.gap_at(run.budget) for run in groups[name]))})"
            cells.append(f"**{text}**" if name == first and np.isfinite(half) else text)
        rows.append([problem, *cells])
    return markdown_table(["median trials to 5%", *names], rows)


def claims(traces: Sequence[Trace], problems: Mapping[str, Problem]) -> str:
    """Return how many times the trials of structured the best peer needed, where a model is known."""
    found = []
    for problem, groups in by_problem(traces):
        rival = best_peer(groups)
        if rival and problems[problem].kind == "structured" and "structured" in groups:
            found.append(f"- {problem}: {_ratio(groups, 'structured', rival)}{_doubted(problems[problem])}")
    goal = f"Goal: at least {CLAIM:.0f} times fewer trials where the engineer's model is known.\n\n"
    return goal + "\n".join(found) if found else ""


def _doubted(problem: Problem) -> str:
    """Say that nothing is claimed where the truth is less certain than what tuners are ranked by."""
    if problem.doubt <= DECISIVE:
        return ""
    return (
        f" No claim: what counts as the truth was measured, too, and is uncertain by {problem.doubt:.0%}; to "
        f"{DECISIVE:.0%} of its least value come {_near(problem)}."
    )


def _near(problem: Problem) -> str:
    """How many configurations of a finite set are within the share by which tuners are ranked."""
    near = sum(problem.gap(choice) <= DECISIVE for choice in problem.choices or ())
    return f"{near} of {len(problem.choices or ())} configurations"


def generic_goal(traces: Sequence[Trace], problems: Mapping[str, Problem]) -> str:
    """Return on how many problems without a model ours is no worse than any peer, over the seeds that both
    have.

    A peer that has fewer seeds of a problem than others (and than are enough) settles nothing there.
    """
    met, behind, left_out = 0, [], set()
    for problem, groups in by_problem(traces):
        if problems[problem].kind != "generic" or "generic" not in groups:
            continue
        beside = {n: paired(groups, ("generic", n)) for n in groups if not ENTRANTS[n].ours}
        enough = min(ENOUGH, max((len(ours) for ours, _ in beside.values()), default=0))
        counted = {name: pair for name, pair in beside.items() if len(pair[0]) >= enough > 0}
        left_out |= beside.keys() - counted.keys()
        better = [name for name, pair in counted.items() if not _no_worse(*pair)]
        met += bool(counted) and not better
        behind += [f"{listed(better)} on {problem}"] if better else []
    of = met + len(behind)
    if not of:
        return ""
    kept = "kept" if met >= OF_GENERIC * of else "not kept"
    ahead = f" Ahead of it: {'; '.join(behind)}." if behind else ""
    fewer = f" Not counted where they have fewer seeds: {listed(sorted(left_out))}." if left_out else ""
    return (
        f"Goal: generic no worse than the best peer's median on {OF_GENERIC:.0%} of the generic problems: "
        f"{met} of {of}, {kept}.{ahead}{fewer}"
    )


def recommended(traces: Sequence[Trace], trials: int) -> str:
    """Return one row a problem: the median gap of what each tuner recommends after so many trials, the least
    marked; and on how many ours is the least."""
    names, rows, least = list(by_tuner(traces)), [], 0
    for problem, groups in by_problem(traces):
        gaps = {name: median([run.gap_at(trials) for run in runs]) for name, runs in groups.items()}
        first = min(gaps, key=lambda name: gaps[name])
        least += ENTRANTS[first].ours
        texts = {name: _percent(gap) for name, gap in gaps.items()} | {first: f"**{_percent(gaps[first])}**"}
        rows.append([problem, *(texts.get(name, "-") for name in names)])
    table = markdown_table([f"gap after {trials} trials", *names], rows)
    goal = f"Goal: what generic recommends best of all: on {least} of {len(rows)}."
    return " ".join(filter(None, [f"{table}\n\n{goal}", off(traces, trials)]))


def off(traces: Sequence[Trace], trials: int, where: str = "over all of them") -> str:
    """Say how far off is what generic recommends on some problems, beside the peer that is least off."""
    names = [name for name in by_tuner(traces) if not ENTRANTS[name].ours]
    ratios = {name: found for name in names if len(found := _off_beside(traces, trials, name))}
    if not ratios:
        return ""
    rival = max(ratios, key=lambda name: ratios[name].mean())
    mean = np.exp(ratios[rival].mean())
    low, high = np.exp(bootstrap([ratios[rival]], lambda drawn: float(np.mean(drawn))))
    return (
        f"The gap of generic is {mean:.2f} times that of the best peer, {rival}, {where} "
        f"(geometric mean, 90 % bootstrap over {len(ratios[rival])} paired seeds: {low:.2f}-{high:.2f})."
    )


def _off_beside(traces: Sequence[Trace], trials: int, peer: str) -> np.ndarray:
    """Return the mean over problems of the log ratio of generic's gap to a peer's ``(seed,)``, of seeds that
    both have of every problem."""
    found: dict[int, list[float]] = {}
    problems = list(by_problem(traces))
    for _, groups in problems:
        if "generic" in groups and peer in groups:
            for ours, theirs in zip(*paired(groups, ("generic", peer)), strict=True):
                gaps = [max(run.gap_at(trials), NOTHING) for run in (ours, theirs)]
                found.setdefault(ours.seed, []).append(float(np.log(gaps[0] / gaps[1])))
    return np.array([np.mean(logs) for logs in found.values() if len(logs) == len(problems)])


def _no_worse(ours: Sequence[Trace], theirs: Sequence[Trace]) -> bool:
    """Whether our median trials to 5 % are at most theirs; where neither arrives in our budget, the gap there
    counts."""
    budget = min(run.budget for run in ours)
    mine, other = median(capped(ours, DECISIVE)), median(capped(theirs, DECISIVE))
    if mine > budget and other > budget:
        at = [median([run.gap_at(budget) for run in runs]) for runs in (ours, theirs)]
        return at[0] <= at[1]
    return mine <= other


def _arrived(runs: Sequence[Trace]) -> str:
    """How many of the runs came to 5 %."""
    return f"{sum(np.isfinite(run.trials_to(DECISIVE)) for run in runs)} of {len(runs)}"


def brief(traces: Sequence[Trace]) -> str:
    """Return one row a problem and tuner: trials to within each share, and how many runs came to 5 %."""
    head = ["problem", "tuner", *(f"trials to {share:.0%}" for share in SHARES), "came to 5%", "last"]
    rows = []
    for problem, groups in by_problem(traces):
        for name, runs in groups.items():
            cells = _cells(runs, runs[0].budget, 0.0)
            counts, last = cells[2:5], cells[-2]
            rows.append([problem, name, *counts, _arrived(runs), last])
    return markdown_table(head, rows)


def course(traces: Sequence[Trace], at: Sequence[int]) -> str:
    """Return one row a tuner of one problem: the median gap after so many trials, and how many runs came to
    5 %."""
    rows = []
    for name, runs in by_tuner(traces).items():
        gaps = [_percent(middle(run.gap_at(n) for run in runs)) for n in at]
        rows.append([name, *gaps, _arrived(runs)])
    return markdown_table(["tuner", *(f"after {n}" for n in at), "came to 5%"], rows)


def lead(traces: Sequence[Trace], n: int) -> str:
    """Say how many times as much the best tuner without structure has after ``n`` trials as structured, on
    one problem whose gaps are shares of its optimum, and how many times a perfect tuner would."""
    groups = by_tuner(traces)
    others = [name for name in groups if not ENTRANTS[name].model]
    rival = min(others, key=lambda name: middle(run.gap_at(n) for run in groups[name]))
    ours, theirs = ([1 + run.gap_at(n) for run in runs] for runs in paired(groups, ("structured", rival)))
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    low, high = bootstrap([ratios], lambda drawn: float(np.median(drawn)))
    over = f"median over {len(ratios)} seeds, 90 % bootstrap interval {low:.2f}-{high:.2f}"
    known = "is known: more was not to be had" if min(ours) >= 1 else "was known before these runs"
    return (
        f"After {n} trials the best of the others, {rival}, has {middle(ratios):.2f} times what structured "
        f"has ({over}), and {middle(theirs):.2f} times the best that {known}."
    )


def costs(traces: Sequence[Trace]) -> str:
    """Return what each tuner costs, the medians over all its runs: seconds to begin (of the study, or of the
    peer's process), of its slowest trial, of a trial as trials grow; and the most memory."""
    head = ["tuner", "s to begin", "slowest trial", "s / trial at 10", "at 30", "at 100", "at 200", "MB"]
    rows = []
    for name, runs in by_tuner(traces).items():
        made = [run for run in runs if run.seconds]
        cells = [middle(run.opened for run in made), middle(max(run.seconds) for run in made)] if made else []
        texts = [f"{cell:.2f}" for cell in cells] or ["-", "-"]
        for n in (10, 30, 100, 200):
            near = [
                s for run in made if len(run.seconds) >= n for s in run.seconds[n - 1 - n // 5 : n + n // 5]
            ]
            texts.append(f"{middle(near):.2f}" if near else "-")
        most = [run.memory for run in made if np.isfinite(run.memory)]
        rows.append([name, *texts, f"{max(most):.0f}" if most else "-"])
    return markdown_table(head, rows)


def settings(traces: Sequence[Trace]) -> str:
    """Return what each tuner was run with, and its versions as it said them."""
    rows = []
    for name, runs in by_tuner(traces).items():
        said = dict.fromkeys(", ".join(f"{k} {v}" for k, v in run.versions.items()) for run in runs)
        rows.append([name, ENTRANTS[name].settings, "; ".join(text for text in said if text)])
    return markdown_table(["tuner", "settings", "versions"], rows)
