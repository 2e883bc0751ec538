"""A space, as a notebook shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from boatppl.html.page import page, paragraph, short, table

TITLES = ("parameter", "kind", "range", "default", "when")


def as_html(
    parameters: Mapping[str, Any],
    contexts: Mapping[str, Any],
    conditions: Mapping[str, str],
    fixed: Mapping[str, Any],
    default: Mapping[str, Any],
    constraints: Sequence[str],
) -> str:
    """Return a space's parameters and contexts as a table, and its constraints below."""
    rows = []
    for name, parameter in parameters.items():
        unit = getattr(parameter, "unit", None)
        end = f" {unit}" if unit else ""
        range_text = f"fixed at {short(fixed[name])}{end}" if name in fixed else parameter.text()
        known = "" if name in fixed else short(default[name]) + end
        rows.append([name, type(parameter).__name__, range_text, known, conditions.get(name, "")])
    rows += [[name, "Context", context.text(), "set by the world", ""] for name, context in contexts.items()]
    count = f"{len(parameters)} parameter{'s' if len(parameters) != 1 else ''}"
    held = f", {len(fixed)} of them fixed" if fixed else ""
    below = [paragraph(f"subject to {text}", "dim") for text in constraints]
    return page(paragraph(f"Space: {count}{held}", "head"), table(TITLES, rows), *below)
