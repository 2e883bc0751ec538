"""A study, as a notebook shows it: nothing is fitted for that."""

from collections.abc import Mapping
from typing import Any

from boatppl.html.page import page, paragraph, short, table
from boatppl.trial import Trials

LAST = 12  # trials that are listed
MOST = 8  # parameters that have a column


def as_html(
    head: str,
    trials: Trials,
    objective: Mapping[int, float],
    *,
    name: str,
    unit: str,
    maximize: bool,
    parameters: Mapping[str, str],
    weights: Mapping[str, float],
) -> str:
    """Return a study: its latest trials, what was measured best, and how much each rival is listened to.

    ``objective`` is trial number -> value of the quantity ``name`` in ``unit``; ``parameters`` are the names
    that move, with their units.
    """
    pieces = [paragraph(head, "head")]
    end = f" {unit}" if unit else ""
    if objective:
        best = (max if maximize else min)(objective, key=lambda number: objective[number])
        value = f"{short(objective[best])}{end}"
        pieces.append(paragraph(f"best measured: {value} in trial {best}; by the posterior: study.best"))
    if len(weights) > 1 and objective:
        shares = " / ".join(f"{rival} {share:.2f}" for rival, share in weights.items())
        pieces.append(paragraph(f"listening to {shares}"))
    if len(trials):
        pieces.append(_trials(trials, objective, f"{name}, {unit}" if unit else name, parameters))
    hidden = len(trials) - LAST
    if hidden > 0:
        pieces.append(paragraph(f"the last {LAST} of {len(trials)} trials; study.trials has all", "dim"))
    return page(*pieces)


def _trials(trials: Trials, objective: Mapping[int, float], goal: str, parameters: Mapping[str, str]) -> str:
    columns = dict(list(parameters.items())[:MOST])
    titles = [f"{name}, {unit}" if unit else name for name, unit in columns.items()]
    rows = []
    for trial in trials[-LAST:]:
        values = [short(trial.configuration.get(name)) for name in columns]
        said: Any = (trial.suggestion or {}).get("predicted")
        median = said.get("median") if isinstance(said, Mapping) else said
        value = objective.get(trial.number)
        remark = trial.reason or ", ".join(trial.marks)
        outcome = [short(median), short(value), remark[:60]]
        rows.append([str(trial.number), trial.origin, str(trial.state), *values, *outcome])
    numbers = ["#", *titles, "predicted", goal]
    return table(["#", "trial", "state", *titles, "predicted", goal, "remark"], rows, numbers=numbers)
