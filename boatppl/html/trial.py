"""One trial, as a notebook shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from boatppl.html.page import page, paragraph, short, table

LABELS = {"low": "5 %", "median": "median", "high": "95 %"}


def as_html(
    head: str,
    *,
    configuration: Mapping[str, Any],
    context: Mapping[str, Any],
    measurements: Mapping[str, Any],
    predicted: Any,
    remarks: Sequence[str],
) -> str:
    """Return a trial: what was set and what came back side by side, remarks below.

    ``predicted`` is what was said of the objective before the run: a mapping from ``low``, ``median``,
    ``high``, a number, or None.
    """
    given = [[name, short(value)] for name, value in {**configuration, **context}.items()]
    came = [[name, short(value)] for name, value in measurements.items()]
    tables = table(("parameter", "value"), given, numbers=("value",))
    if came:
        tables += table(("measured", "value"), came, numbers=("value",))
    if isinstance(predicted, Mapping):
        said = [[LABELS[key], short(predicted[key])] for key in LABELS if key in predicted]
        tables += table(("predicted before", "objective"), said, numbers=("objective",))
    elif predicted is not None:
        tables += table(("predicted before", "objective"), [["median", short(predicted)]])
    below = [paragraph(text, "dim") for text in remarks]
    return page(paragraph(head, "head"), f'<div class="side">{tables}</div>', *below)
