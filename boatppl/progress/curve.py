"""The convergence of a session as a small picture: what was measured, the best so far, the default."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from boatppl.text import shown

WIDTH, HEIGHT = 560.0, 130.0  # pixels
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 10.0, 22.0
STEEP = 5.0  # the largest value over the smallest from which on the scale is logarithmic
MEASURED, BEST, GREY = "#d98032", "#4a8fd6", "#8a8f98"  # all stand on light and on dark pages


@dataclass(frozen=True)
class Point:
    """One finished trial: the objective as measured, None where the run has none, and the best so far."""

    number: int
    measured: float | None
    best: float | None


def as_svg(points: Sequence[Point], default: float | None, title: str) -> str:
    """Return the picture, nothing before two values are there. Its colours stand on light and on dark."""
    measured = [point for point in points if point.measured is not None]
    values = [point.measured for point in measured if point.measured is not None]
    values += [point.best for point in points if point.best is not None]
    values += [default] if default is not None else []
    if len(measured) < 2 or not all(map(math.isfinite, values)) or min(values) == max(values):
        return ""
    low, high = min(values), max(values)
    steep = low > 0 and high > STEEP * low
    first, last = points[0].number, max(points[-1].number, points[0].number + 1)

    def x(number: int) -> float:
        return LEFT + 6 + (WIDTH - LEFT - RIGHT - 12) * (number - first) / (last - first)

    def y(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if steep else (value - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    pieces = [_line(LEFT, HEIGHT - BOTTOM + 6, WIDTH - RIGHT, HEIGHT - BOTTOM + 6)]
    pieces += [_text(LEFT - 6, y(value) + 4, shown(value, 3), "end") for value in (low, high)]
    pieces += [_text(x(n), HEIGHT - 3, str(n), "middle") for n in (first, points[-1].number)]
    pieces.append(_text((LEFT + WIDTH) / 2, HEIGHT - 3, title, "middle"))
    if default is not None:
        pieces.append(_line(LEFT, y(default), WIDTH - RIGHT, y(default), ' stroke-dasharray="2 4"'))
    known = [(x(point.number), y(point.best)) for point in points if point.best is not None]
    if len(known) > 1:
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in known)
        pieces.append(f'<polyline points="{path}" fill="none" stroke="{BEST}" stroke-width="2"/>')
    dots = ((point.number, point.measured) for point in measured if point.measured is not None)
    pieces += [_dot(x(number), y(value), f"trial {number}: {shown(value)}") for number, value in dots]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" '
        f'viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="11">'
        f"{''.join(pieces)}</svg>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{GREY}"{more}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{GREY}">{escape(text)}</text>'


def _dot(x: float, y: float, hint: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{MEASURED}"><title>{escape(hint)}</title></circle>'
