"""A run of a comparison as a row of its file, and back."""

import json
from collections.abc import Mapping, Sequence

from benchmarks.race import SHARES, Trace

MILESTONES = (10, 20, 30, 50)
COLUMNS = (
    *("problem", "tuner", "seed", "budget", "trials", "stopped", "value", "final gap"),
    *(f"trials to {share:.0%}" for share in SHARES),
    *(f"seconds to {share:.0%}" for share in SHARES),
    "area",
    *(f"gap at {n}" for n in MILESTONES),
    *("memory", "opened", "seconds", "s at 10", "s at 30", "s at 100"),
    *("load", "date", "commit", "versions", "curve", "spent"),
)


def row_of(item: Trace, ours: int, about: Mapping[str, str]) -> dict[str, str]:
    """Return a run as a row; ``ours`` is our own budget, over which the area is taken."""
    return {
        "problem": item.problem,
        "tuner": item.tuner,
        "seed": str(item.seed),
        "budget": str(item.budget),
        "trials": str(len(item.gaps)),
        "stopped": item.stopped,
        "value": f"{item.value:.6g}",
        "final gap": f"{item.gap_at(len(item.gaps) or 1):.4g}",
        **{f"trials to {share:.0%}": f"{item.trials_to(share):.0f}" for share in SHARES},
        **{f"seconds to {share:.0%}": f"{item.seconds_to(share):.4g}" for share in SHARES},
        "area": f"{item.area(ours):.4g}",
        **{f"gap at {n}": f"{item.gap_at(n):.4g}" for n in MILESTONES},
        "memory": f"{item.memory:.0f}",
        "opened": f"{item.opened:.3g}",
        "seconds": f"{sum(item.seconds):.4g}",
        **{f"s at {n}": _around(item.seconds, n) for n in (10, 30, 100)},
        "load": about["load"],
        "date": about["date"],
        "commit": about["commit"],
        "versions": json.dumps(dict(item.versions)),
        "curve": changes(item.gaps),
        "spent": " ".join(f"{second:.3g}" for second in item.seconds),
    }


def _around(seconds: Sequence[float], n: int) -> str:
    """The median of the seconds around trial ``n``, a fifth to each side; empty where the run did not get
    there."""
    near = sorted(seconds[n - 1 - n // 5 : n + n // 5])
    return f"{near[len(near) // 2]:.3g}" if len(seconds) >= n else ""


def changes(gaps: Sequence[float]) -> str:
    """Return a curve as the trials where it changes: ``1:0.5 4:0.031``.

    >>> changes([0.5, 0.5, 0.25])
    '1:0.5 3:0.25'
    """
    kept = [(i + 1, gap) for i, gap in enumerate(gaps) if i == 0 or gap != gaps[i - 1]]
    return " ".join(f"{trial}:{gap:.5g}" for trial, gap in kept)


def curve(text: str, trials: int) -> list[float]:
    """Return the gaps after each trial from the places where they change: the inverse of :func:`changes`.

    >>> curve("1:0.5 3:0.25", 4)
    [0.5, 0.5, 0.25, 0.25]
    """
    found: list[float] = []
    for part in text.split():
        trial, gap = part.split(":")
        found += [found[-1]] * (int(trial) - 1 - len(found)) if found else []
        found.append(float(gap))
    return found + [found[-1]] * (trials - len(found)) if found else []


def days(rows: Sequence[Mapping[str, str]]) -> str:
    """Return when runs were made: ``2026-11-21`` or ``2026-11-21 to 2026-11-23``."""
    found = [row["date"][:10] for row in rows]
    return " to ".join(dict.fromkeys([min(found), max(found)]))


def trace_of(row: Mapping[str, str]) -> Trace:
    """Return a row as a run: :func:`row_of`'s inverse, to the digits written."""
    return Trace(
        row["problem"],
        row["tuner"],
        int(row["seed"]),
        tuple(curve(row["curve"], int(row["trials"]))),
        tuple(map(float, row["spent"].split())),
        float(row["opened"]),
        row["stopped"],
        int(row["budget"]),
        float(row["value"]),
        json.loads(row["versions"]),
        float(row["memory"]),
    )
