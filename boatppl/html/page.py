"""What every piece of HTML here is made of: one style, tables, and values in a few characters."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

ELEMENTS = 4  # of a vector that are shown

# Text and backgrounds are the page's own; lines are between black and white: right on light and dark pages.
STYLE = """<style>
.boat { color: inherit; line-height: 1.45; max-width: 70em; }
.boat p { margin: 0.3em 0; }
.boat .head { font-size: 1.1em; font-weight: 600; }
.boat .dim { opacity: .75; font-size: 0.92em; }
.boat .side { display: flex; flex-wrap: wrap; gap: 0.5em 3em; align-items: flex-start; }
.boat .wide { overflow-x: auto; }
.boat table { border-collapse: collapse; margin: 0.4em 0; color: inherit; background: none;
  font-size: inherit; }
.boat tr { background: none !important; }
.boat th, .boat td { padding: 0.15em 1em 0.15em 0; text-align: left !important; border: none;
  background: none; color: inherit; white-space: nowrap; }
.boat td:last-child:not(.number) { white-space: normal; min-width: 8em; }
.boat th { border-bottom: 1px solid rgba(128,128,128,.6); font-weight: 600; }
.boat tr + tr td { border-top: 1px solid rgba(128,128,128,.18); }
.boat .number { text-align: right !important; font-variant-numeric: tabular-nums; }
</style>"""


def page(*pieces: str) -> str:
    """Return pieces of HTML in the common style."""
    return f'{STYLE}<div class="boat">{"".join(pieces)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    """Return plain text as a paragraph; ``kind`` is a class of the style (``head``, ``dim``)."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def image(svg: str, about: str, *, fit: bool = False) -> str:
    """Return a drawing as an image, of its own size or (``fit``) no wider than the page; ``about`` says what
    it shows.

    Not as SVG within the page: Jupyter takes SVG out of a notebook that was executed by somebody else, and
    leaves its words behind in one heap. So a drawing takes no colours from the page; it uses some that stand
    on light and on dark.
    """
    data = base64.b64encode(svg.encode()).decode()
    style = "max-width: 100%" if fit else "max-width: none"
    return f'<img alt="{escape(about)}" style="{style}" src="data:image/svg+xml;base64,{data}">'


def preformatted(text: str) -> str:
    """Return plain text whose columns stand: in the page's fixed font, scrolled where it is wide."""
    font = "font-family: var(--jp-code-font-family, monospace), monospace; font-size: 0.9em; line-height: 1.4"
    return f'<pre style="{font}; white-space: pre; overflow-x: auto">{escape(text)}</pre>'


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> str:
    """Return a table of plain texts; columns whose title is in ``numbers`` stand right, empty ones are left
    out."""
    rows = [list(row) for row in rows]
    kept = [place for place in range(len(titles)) if any(row[place] for row in rows)]
    kinds = {place: ' class="number"' if titles[place] in numbers else "" for place in kept}
    head = "".join(f"<th{kinds[place]}>{escape(titles[place])}</th>" for place in kept)
    cells = ("".join(f"<td{kinds[place]}>{escape(row[place])}</td>" for place in kept) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def short(value: Any) -> str:
    """Return a value in a few characters.

    >>> short(24.1234), short(65536), short(True), short([0.1, 0.25, 0.05, 0.5, 0.1]), short(None)
    ('24.12', '65536', 'True', '[0.1 0.25 0.05 0.5 …]', '')
    """
    if value is None:
        return ""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    if isinstance(value, list | tuple | np.ndarray):
        items = " ".join(short(item) for item in list(value)[:ELEMENTS])
        return f"[{items} …]" if len(value) > ELEMENTS else f"[{items}]"
    return str(value)
