"""A model as a picture: SVG drawn here, so that a notebook needs no program and no network."""

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from boatppl.draw import COLOURS, INK, as_text, caption, extra_inputs, priors
from boatppl.graph import DAG
from boatppl.html.page import image, preformatted

GREY = "#8a8f98"  # of arrows and legends: between white and black
GAP, MARGIN, LINE = 56, 16, 15  # between columns, around the picture, between lines of text, in pixels
CHARACTER = 6.3  # mean width of a character of the captions, in pixels
LONGEST = 34  # characters of a caption line
HEAD, DOTS = 6, "4 3"  # of arrows


@dataclass
class Box:
    """What stands at one place: a quantity, or (without lines) the bend of an arrow past a column."""

    lines: tuple[str, ...]
    x: float = 0.0
    y: float = 0.0  # of the middle
    width: float = 0.0
    height: float = 8.0


def as_html(model: DAG) -> str:
    """Return the picture above the text."""
    drawing = image(as_svg(model), f"the model's graph: {', '.join(model.sources)}")
    return f'<div style="overflow-x:auto">{drawing}</div>{preformatted(as_text(model))}'


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels from the upper left: a box for each quantity (and bend), a path of
    boxes for each arrow, and whether an arrow is ``solid`` (a wire) or dotted (a residual input only)."""

    boxes: Mapping[str, Box]
    paths: Mapping[tuple[str, str], list[str]]
    solid: Mapping[tuple[str, str], bool]

    @property
    def right(self) -> float:
        """Where the boxes end on the right, with the margin."""
        return max(box.x + box.width for box in self.boxes.values()) + MARGIN

    @property
    def below(self) -> float:
        """Where the boxes end below, with the margin."""
        return max(box.y + box.height / 2 for box in self.boxes.values()) + MARGIN


def layout(model: DAG, lines: Mapping[str, Sequence[str]]) -> Layout:
    """Place a box for every quantity, ``lines`` below its name, from left to right along the arrows."""
    arrows = {(wire, name): True for name in model.order for wire in model.parts[name].wires}
    arrows |= {(item, name): False for name in model.order for item in extra_inputs(model, name)}
    columns = _columns(model, list(arrows))
    boxes = {name: _box(name, lines[name]) for name in model.sources}
    paths = {arrow: _bends(arrow, columns, boxes) for arrow in arrows}
    layers = [
        [name for name in boxes if columns[name] == column] for column in range(max(columns.values()) + 1)
    ]
    links = [link for path in paths.values() for link in pairwise(path)]
    _order(layers, links)
    _place(layers, links, boxes)
    return Layout(boxes, paths, arrows)


def as_svg(model: DAG) -> str:
    """Return the DAG as SVG, from left to right: boxes in columns, arrows from what is used to its users."""
    places = layout(model, {name: caption(model, name) for name in model.sources})
    boxes = places.boxes
    drawn = [
        _arrow([boxes[name] for name in path], solid=places.solid[arrow])
        for arrow, path in places.paths.items()
    ]
    drawn += [_drawn(model, name, boxes[name]) for name in model.sources]
    legend, right = _legend(model, places.below, dotted=not all(places.solid.values()))
    width, height = max(right, places.right), places.below + 26
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    font = 'font-family="Helvetica, Arial, sans-serif" font-size="11"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{"".join(drawn)}{legend}</svg>'


# -- where things stand (Sugiyama, Tagawa & Toda 1981) ----------------------------------


def _columns(model: DAG, arrows: list[tuple[str, str]]) -> dict[str, int]:
    """Return the column of every quantity: right of all it uses; what uses nothing stands beside its user."""
    column = dict.fromkeys(model.sources, 0)
    for name in model.order:
        column[name] = 1 + max([column[used] for used, user in arrows if user == name], default=-1)
    for name in model.sources:
        users = [column[user] for used, user in arrows if used == name]
        if name not in [user for _, user in arrows] and users:
            column[name] = min(users) - 1
    return column


def _bends(arrow: tuple[str, str], columns: dict[str, int], boxes: dict[str, Box]) -> list[str]:
    """Return the places an arrow visits; one bend, made here, for each column that it passes."""
    start, end = arrow
    between = []
    for column in range(columns[start] + 1, columns[end]):
        bend = f"{start}>{column}"  # arrows from one start share their bends
        boxes.setdefault(bend, Box(()))
        columns[bend] = column
        between.append(bend)
    return [start, *between, end]


def _order(layers: list[list[str]], links: list[tuple[str, str]]) -> None:
    """Order each column by the mean place of its neighbours, to and fro, so that few arrows cross."""
    for sweep in range(12):
        forward = sweep % 2 == 0
        for beside, layer in pairwise(layers if forward else layers[::-1]):
            place = {name: i / max(len(beside) - 1, 1) for i, name in enumerate(beside)}
            own = {name: i / max(len(layer) - 1, 1) for i, name in enumerate(layer)}
            layer.sort(
                key=lambda name: _mean([place[n] for n in _beside(name, links) if n in place], own[name])
            )


def _place(layers: list[list[str]], links: list[tuple[str, str]], boxes: Mapping[str, Box]) -> None:
    """Give every box its place: near the mean height of its neighbours, never over another."""
    x = float(MARGIN)
    for layer in layers:
        widest = max(boxes[name].width for name in layer)
        top = float(MARGIN)
        for name in layer:
            box = boxes[name]
            box.x, box.width = x, widest
            box.y, top = top + box.height / 2, top + box.height + 14
        x += widest + GAP
    for _ in range(40):
        for layer in layers:
            wanted = [_mean([boxes[n].y for n in _beside(name, links)], boxes[name].y) for name in layer]
            _settle([boxes[name] for name in layer], wanted)
    top = min(box.y - box.height / 2 for box in boxes.values())
    for box in boxes.values():
        box.y += MARGIN - top


def _settle(column: list[Box], wanted: list[float]) -> None:
    """Move a column's boxes near the wanted heights, in order and without overlap."""
    lowest = -1e9
    for box, y in zip(column, wanted, strict=True):
        box.y = max(y, lowest + box.height / 2)
        lowest = box.y + box.height / 2 + 14
    excess = sum(box.y - y for box, y in zip(column, wanted, strict=True)) / len(column)
    for box in column:
        box.y -= excess


def _beside(name: str, links: list[tuple[str, str]]) -> list[str]:
    return [b if a == name else a for a, b in links if name in (a, b)]


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


# -- drawing ----------------------------------------------------------------------------


def _box(name: str, captions: Sequence[str]) -> Box:
    below = [textwrap.wrap(line, LONGEST, max_lines=3, placeholder=" …") for line in captions]
    lines = (name, *(line for lines in below for line in lines))
    return Box(lines, width=max(CHARACTER * max(map(len, lines)) + 22, 90), height=LINE * len(lines) + 12)


def _drawn(model: DAG, name: str, box: Box) -> str:
    """Draw a quantity's box; pointing at it shows what did not fit, and priors."""
    kind = model.sources[name].kind
    fill, line = COLOURS[kind]
    about = [f"{kind} {name}", *caption(model, name), *(priors(model, name) if name in model.parts else [])]
    top, corner = box.y - box.height / 2, box.height / 2 if kind == "derived" else 6
    shape = (
        f'<rect x="{box.x:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{corner:.0f}" fill="{fill}" stroke="{line}" stroke-width="{2 if kind == "node" else 1}"/>'
    )
    text = "".join(
        _text(box.x + box.width / 2, top + 17 + LINE * i, words, INK, bold=i == 0)
        for i, words in enumerate(box.lines)
    )
    return f"<g><title>{html.escape(chr(10).join(filter(None, about)))}</title>{shape}{text}</g>"


def _text(x: float, y: float, words: str, colour: str, *, bold: bool = False, middle: bool = True) -> str:
    style = ' text-anchor="middle"' * middle + ' font-weight="bold"' * bold
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{style}>{html.escape(words)}</text>'


def _arrow(path: list[Box], *, solid: bool) -> str:
    """Draw a smooth line through the places of a path, level across each column, with a head at its end."""
    start, *bends, end = path
    x, y = start.x + start.width, start.y
    line = f"M{x:.1f} {y:.1f}"
    for place in [*bends, end]:
        stop = place.x - (HEAD if place is end else 0)
        middle = (x + stop) / 2
        line += f"C{middle:.1f} {y:.1f} {middle:.1f} {place.y:.1f} {stop:.1f} {place.y:.1f}"
        x, y = place.x + place.width, place.y
        line += f"H{x:.1f}" if place is not end else ""
    dots = "" if solid else f' stroke-dasharray="{DOTS}"'
    tip, half = end.x - 1, HEAD / 2
    head = f"M{tip - HEAD:.1f} {y - half:.1f}L{tip:.1f} {y:.1f}L{tip - HEAD:.1f} {y + half:.1f}z"
    return (
        f'<path d="{line}" fill="none" stroke="{GREY}" stroke-width="1.2"{dots}/>'
        f'<path d="{head}" fill="{GREY}"/>'
    )


def _legend(model: DAG, top: float, *, dotted: bool) -> tuple[str, float]:
    """Return the line below the picture that says what the colours are, and how far right it goes."""
    kinds = {source.kind for source in model.sources.values()}
    x, parts = float(MARGIN), []
    for kind in (kind for kind in COLOURS if kind in kinds):
        fill, line = COLOURS[kind]
        square = (
            f'<rect x="{x:.0f}" y="{top:.0f}" width="11" height="11" rx="2" fill="{fill}" stroke="{line}"/>'
        )
        parts += [square, _text(x + 16, top + 10, kind, GREY, middle=False)]
        x += 34 + CHARACTER * len(kind)
    if dotted:
        note = "residual input only"
        parts.append(f'<path d="M{x:.0f} {top + 6:.0f}h22" stroke="{GREY}" stroke-dasharray="{DOTS}"/>')
        parts.append(_text(x + 28, top + 10, note, GREY, middle=False))
        x += 40 + CHARACTER * len(note)
    return "".join(parts), x
