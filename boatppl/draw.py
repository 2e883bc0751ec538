"""A model as text and as a Mermaid flowchart."""

import re
from collections.abc import Iterable
from typing import Any

from boatppl.graph import DAG
from boatppl.node import Derived, Node, Shared
from boatppl.source import Written, written
from boatppl.words import listed

WIDTH = 150  # of a printed model, in characters
LONG = 44  # a formula of more characters has what belongs to it on the line below


def as_text(model: DAG, only: str | None = None) -> str:
    """Return a model, or one of its nodes, as aligned lines: names, units, formulas, residuals and priors."""
    shared = (
        [name for name in model.parts[only].wires if only and isinstance(model.parts.get(name), Shared)]
        if only
        else []
    )
    rows = [_row(model, name) for name in model.order if only is None or name in (only, *shared)]
    widths = [max([len(row[i]) for row in rows if len(row[i]) <= LONG], default=0) for i in range(4)]
    lines = [line for row in rows for line in _aligned(row, widths)]
    if only is not None:
        return "\n".join(lines)
    described = model.space.describe()
    ranges = [line for line in described if not line.startswith("subject to")]
    head = [
        *_wrapped(ranges, "  ", 120),
        *(line for line in described if line not in ranges),
        *_data(model),
        *_inherited(model),
    ]
    return "\n".join([f"DAGModel: {_counts(model)}", *(f"  {line}" for line in head), *lines])


def _wrapped(pieces: Iterable[str], between: str, width: int) -> list[str]:
    """Return pieces on lines of a width, none of them broken."""
    lines: list[str] = []
    for piece in pieces:
        if lines and len(lines[-1]) + len(between) + len(piece) <= width:
            lines[-1] += between + piece
        else:
            lines.append(piece)
    return [f"{line}{between.rstrip()}" for line in lines[:-1]] + lines[-1:]


def formula(part: Node | Derived | Shared) -> str:
    """Return what a part's function returns, as its author wrote it; its wires where that cannot be read."""
    if isinstance(part, Node) and part.standardised:
        return "level"
    return _read(part).formula or f"{part.name}({', '.join(part.arguments)})"


def residual(model: DAG, name: str) -> str:
    """Return the residual as ``+ GP(young_mb, survivor_ratio)``, nothing for a purely parametric node; that
    it is missing where a node that may have one has nothing that it could be a function of."""
    if model.inputs_of(name):
        return f"+ GP({', '.join(model.inputs_of(name))})"
    part = model.parts[name]
    return "(no residual: no inputs)" if isinstance(part, Node) and part.residual is not None else ""


def priors(model: DAG, name: str) -> list[str]:
    """Return the priors of the developer's own variables in a part, as ``malloc_rate ~ Uniform(0, 5000)``."""
    part = model.parts[name]
    if isinstance(part, Node) and part.standardised:  # dimensionless: nothing the developer knows
        return []
    known = _read(part).priors
    lines = []
    for full in model.unknowns[name]:
        variable = full.rpartition("::")[2]
        prior = known.get(variable) or _as_pymc_says(model.blocks[model.block_numbers[name]].model[full])
        lines.append(f"{variable} ~ {prior}")
    return lines


def _as_pymc_says(variable: Any) -> str:
    """Return a prior whose source cannot be read: PyMC's own text, with plain numbers."""
    text = variable.str_repr().partition(" ~ ")[2]
    return re.sub(r"\d(\.\d+)?e[+]\d+", lambda number: f"{float(number[0]):.0f}", text)


def _read(part: Node | Derived | Shared) -> Written:
    return written(part.function)


def _inherited(model: DAG) -> list[str]:
    known = model.inherited
    if known is None:
        return []
    told = f"with what an earlier study says of {listed(known.unknowns)}"
    return [f"{told}, a run there counting {known.weight:g} of one here"]


def _counts(model: DAG) -> str:
    counts = {
        "parameter": len(model.space.parameters),
        "context": len(model.space.contexts),
        "derived": len(model.derived),
        "shared": sum(isinstance(part, Shared) for part in model.parts.values()),
        "node": len(model.nodes),
    }
    words = [_number(n, word) for word, n in counts.items() if n]
    return f"{', '.join(words)} in {_number(len(model.blocks), 'block')}"


def _number(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 and word not in ('derived', 'shared') else ''}"


def _data(model: DAG) -> list[str]:
    """Return what is along each dim, and the data."""
    lines = [f"{dim}: {len(names)} elements" for dim, names in model.coords.items()]
    data = [f"{name} along {' and '.join(dims)}" if dims else name for name, (dims, _) in model.data.items()]
    return lines + ([f"data: {', '.join(data)}"] if data else [])


Row = tuple[str, str, str, str, list[str]]


def _row(model: DAG, name: str) -> Row:
    """Return name, unit, formula, residual (or what else a part is) and what else is to be said of it."""
    part = model.parts[name]
    expression, details = formula(part), priors(model, name)
    text, process = f"= {expression}", residual(model, name)
    if details and details[0].startswith(f"{expression} ~"):  # the unknown itself
        text = details.pop(0).removeprefix(f"{name} ")
    if isinstance(part, Derived):
        process = "derived"
        details += [f"{part.transform} scale"] if part.transform else []
    elif isinstance(part, Shared):
        process = f"shared by {listed(user for user in model.parts if name in model.parts[user].wires)}"
    else:
        details += [f"{part.transform} scale"] if part.transform else []
        details += ["robust"] if part.robust else []
        details += ["censored"] if part.censored else []
        details += [f"noise = {_noise(part)}"] if part.noise_arguments else []
        details += ["no noise"] if part.deterministic else []
    details += [f"for each {' and '.join(part.over + part.dims)}"] if part.over + part.dims else []
    return name, part.unit or "", text, process, details


def _noise(node: Node) -> str:
    return written(node.noise).formula or f"{node.noise.__name__}({', '.join(node.noise_arguments)})"


def _aligned(row: Row, widths: list[int]) -> list[str]:
    """Return a row in columns; what does not fit beside its formula stands below it."""
    name, unit, text, process, details = row
    head = (
        f"  {name.ljust(widths[0])}  {unit.ljust(widths[1])}  "
        if widths[1]
        else f"  {name.ljust(widths[0])}  "
    )
    rest = f"{process.ljust(widths[3])}   {', '.join(details)}".strip()
    line = f"{head}{text.ljust(widths[2])}  {rest}".rstrip()
    if len(text) <= widths[2] and len(line) <= WIDTH:
        return [line]
    if not details and len(line) <= WIDTH:
        return [f"{head}{text}  {process}".rstrip()]
    first = f"{process.ljust(widths[3])}   " if process else ""
    below = _wrapped(details, ", ", WIDTH - len(head) - len(first) - 2)
    indent = " " * (len(head) + 2)
    lines = [f"{first}{below[0] if below else ''}", *(" " * len(first) + more for more in below[1:])]
    return [f"{head}{text}".rstrip(), *(f"{indent}{more}".rstrip() for more in lines)]


# -- Mermaid ----------------------------------------------------------------------------

SHAPES = {
    "parameter": ("[", "]"),
    "context": ("[/", "/]"),
    "derived": ("([", "])"),
    "shared": ("{{", "}}"),
    "data": ("[(", ")]"),
    "node": ("(", ")"),
}
COLOURS = {  # kind -> (fill, line): readable on light and on dark pages
    "parameter": ("#e8eef7", "#4a6fa5"),
    "context": ("#f3ecf8", "#7d5ba6"),
    "data": ("#eeeeee", "#777777"),
    "derived": ("#fff8e1", "#b08900"),
    "shared": ("#fdeaea", "#b23a48"),
    "node": ("#e6f4ea", "#2d6a4f"),
}
INK = "#1b2a41"


def as_mermaid(model: DAG) -> str:
    """Return the DAG as a Mermaid flowchart; solid arrows are wires, dotted ones residual inputs only."""
    lines = ["flowchart LR"]
    for name, source in model.sources.items():
        left, right = SHAPES[source.kind]
        label = "<br/>".join(
            filter(None, [f"<b>{name}</b>", *(_escaped(line) for line in caption(model, name))])
        )
        lines.append(f'  {name}{left}"{label}"{right}:::{source.kind}')
    for name in model.order:
        lines += [f"  {wire} --> {name}" for wire in model.parts[name].wires]
        lines += [f"  {item} -.-> {name}" for item in extra_inputs(model, name)]
    kinds = {source.kind for source in model.sources.values()}
    lines += [
        f"  classDef {kind} fill:{fill},stroke:{line},color:{INK}"
        for kind, (fill, line) in COLOURS.items()
        if kind in kinds
    ]
    return "\n".join(lines)


def extra_inputs(model: DAG, name: str) -> list[str]:
    """Return the residual inputs of a node that do not already reach it by wire."""
    reached = {*model.parts[name].wires, *model.origins(model.parts[name].wires)}
    return [item for item in model.inputs_of(name) if item not in reached]


def caption(model: DAG, name: str) -> list[str]:
    """Return the lines below a quantity's name in a picture: its range, or its unit and formula."""
    known: dict[str, Any] = {**model.space.parameters, **model.space.contexts}
    if name in model.space.fixed:
        return [f"= {model.space.fixed[name]}"]
    if name in known:
        return [known[name].text()]
    part = model.parts.get(name)
    if part is None:
        return [" × ".join(model.sources[name].dims)]
    each = f"for each {' and '.join(part.over + part.dims)}" if part.over + part.dims else ""
    text = _row(model, name)[2]
    return [", ".join(filter(None, [part.unit, each])), text.removeprefix("= ")]


def _escaped(text: str) -> str:
    for raw, safe in {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "#quot;"}.items():
        text = text.replace(raw, safe)
    return text
