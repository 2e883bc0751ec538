"""What was found, as a notebook shows it."""

from collections.abc import Iterable, Sequence
from html import escape

from boatppl.explain import Variance
from boatppl.result.findings import Findings
from boatppl.result.sentences import (
    alternatives,
    estimate,
    headline,
    percent,
    runs,
)
from boatppl.text import ending, shown

# Text and backgrounds are the page's own; the rest is between black and white: right on light and dark pages.
COLOURS = {"formula": "#4a8fd6", "residual": "#d98032", "noise": "#8a8f98"}
STYLE = """<style>
.boat-result { color: inherit; line-height: 1.45; max-width: 60em; }
.boat-result p { margin: 0.35em 0; }
.boat-result .head { font-size: 1.1em; font-weight: 600; }
.boat-result .dim { opacity: .75; font-size: 0.92em; }
.boat-result .side { display: flex; flex-wrap: wrap; gap: 0.5em 3em; align-items: flex-start; }
.boat-result table { border-collapse: collapse; margin: 0.5em 0; color: inherit; background: none; }
.boat-result tr { background: none !important; }
.boat-result th, .boat-result td { padding: 0.15em 0.8em 0.15em 0; text-align: left !important; border: none;
  background: none; color: inherit; white-space: nowrap; }
.boat-result th { border-bottom: 1px solid rgba(128,128,128,.6); font-weight: 600; }
.boat-result tr + tr td { border-top: 1px solid rgba(128,128,128,.18); }
.boat-result .bar { display: inline-flex; width: 14em; height: 0.8em; border-radius: 2px; overflow: hidden;
  vertical-align: middle; }
.boat-result .key { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.3em 0 0; }
</style>"""


def as_html(found: Findings | None, otherwise: Sequence[str], stopped: str) -> str:
    """Return the findings as HTML; ``otherwise`` is said where there are none."""
    last = f'<p class="dim">{escape(ending(stopped))}</p>'
    if found is None:
        lines = "".join(f"<p>{escape(line)}</p>" for line in otherwise)
        return f'{STYLE}<div class="boat-result">{lines}{last}</div>'
    tables = "".join(filter(None, [_parameters(found), _learned(found), _variance(found)]))
    remarks = list(found.unused)
    if found.learned and not found.settled:
        remarks.insert(0, "the short chains do not agree: see result.posterior")
    dim = "".join(f'<p class="dim">{escape(line)}</p>' for line in remarks)
    return (
        f'{STYLE}<div class="boat-result"><p class="head">{escape(headline(found))}</p>'
        f'<p>{escape(runs(found))}</p><div class="side">{tables}</div>{dim}{last}</div>'
    )


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _parameters(found: Findings) -> str:
    rows = []
    for name, value in found.best.configuration.items():
        if name not in found.inactive:
            unit = f" {found.units[name]}" if found.units.get(name) else ""
            texts = [name, f"{shown(value)}{unit}", alternatives(value, found.as_good.get(name))]
            rows.append([*map(escape, texts), escape(shown(found.default[name]))])
    titles = ["parameter", "best", "as good", "default"]
    rows = [[row[0], f"<b>{row[1]}</b>", *row[2:]] for row in rows]
    if not any(row[2] for row in rows):  # no column for nothing
        titles, rows = [titles[0], titles[1], titles[3]], [[row[0], row[1], row[3]] for row in rows]
    return _table(titles, rows)


def _learned(found: Findings) -> str:
    if not found.learned:
        return ""
    rows = ([escape(item.name), escape(estimate(item)), escape(item.part)] for item in found.learned)
    return _table(["learned", "mean ± sd", "in"], rows)


def _variance(found: Findings) -> str:
    if not found.variance:
        return ""
    rows = (
        [escape(name), *(percent(getattr(share, part)) for part in COLOURS), _bar(share)]
        for name, share in found.variance.items()
    )
    keys = [
        f'<span class="key" style="background:{colour}"></span>{name}' for name, colour in COLOURS.items()
    ]
    return _table(["variance of", *keys, ""], rows)


def _bar(share: Variance) -> str:
    parts = zip(COLOURS.items(), (share.formula, share.residual, share.noise), strict=True)
    inside = "".join(
        f'<span style="width:{100 * part:.1f}%;background:{colour}" title="{name} {percent(part)}"></span>'
        for (name, colour), part in parts
    )
    return f'<span class="bar">{inside}</span>'
