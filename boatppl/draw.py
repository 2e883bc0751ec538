"""A model as text, as a Mermaid flowchart and as HTML."""

import html
import re

from boatppl.graph import DAG, NodeGraph
from boatppl.node import Derived, Shared, formula

MERMAID_SHAPES = {"parameter": ("[", "]"), "context": ("[/", "/]"), "derived": ("([", "])"), "shared": ("{{", "}}"), "data": ("[(", ")]")}


def as_text(model: DAG, only: str | None = None) -> str:
    """Return a model, or one of its nodes, as aligned lines: names, units, formulas, residuals and priors."""
    rows = [_row(model, name) for name in model.order if only in (None, name)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if only is not None:
        return "\n".join(lines)
    counts = [
        (len(model.space.parameters), "parameter"),
        (len(model.derived), "derived"),
        (sum(isinstance(part, Shared) for part in model.parts.values()), "shared"),
        (len(model.nodes), "node"),
        (len(model.blocks), "block"),
    ]
    words = [f"{n} {word}{'s' if n != 1 and word not in ('derived', 'shared') else ''}" for n, word in counts if n]
    head = f"DAGModel: {', '.join(words[:-1])} in {words[-1]}"
    return "\n".join([head, *("  " + line for line in model.space.describe()), *lines])


def _row(model: DAG, name: str) -> tuple[str, str, str, str]:
    part = model.parts[name]
    unit = part.unit or ""
    if isinstance(part, Derived):
        return name, unit, f"= {formula(part)}", "derived"
    if isinstance(part, Shared):
        return name, unit, f"= {formula(part)}", f"shared   {', '.join(priors(model, name))}"
    graph = model.nodes[name]
    notes = [f"{part.transform} scale" if part.transform else "", "robust" if part.robust else ""]
    notes += [f"over {', '.join(part.over)}" if part.over else ""]
    details = "   ".join(filter(None, [residual(graph), ", ".join(priors(model, name)), ", ".join(filter(None, notes))]))
    return name, unit, f"= {formula(part)}", details


def residual(graph: NodeGraph) -> str:
    """Return the residual as ``+ GP(young_mb, survivor_ratio)``; nothing for a purely parametric node."""
    return f"+ GP({', '.join(item.name for item in graph.inputs)})" if graph.inputs else ""


def priors(model: DAG, name: str) -> list[str]:
    """Return the priors of the developer's own variables in a part, as ``malloc_rate ~ Uniform(0, 5000)``."""
    block = model.blocks[model.block_numbers[name]]
    lines = []
    for variable in block.model.free_RVs:
        owners = [n for n, g in model.nodes.items() if variable.name in g.variables]
        shared = not any(f"{owner}::" in variable.name for owner in owners) and len(block.nodes) > 1
        mine = shared if isinstance(model.parts[name], Shared) else name in owners and not shared
        last = variable.name.split("::")[-1]
        if mine and last not in ("amplitude", "lengthscale", "noise"):
            text = re.sub(r"\s+", " ", variable.str_repr() if hasattr(variable, "str_repr") else variable.name)
            lines.append(text)
    return lines


def as_mermaid(model: DAG) -> str:
    """Return the DAG as a Mermaid flowchart; solid arrows are wires, dotted ones residual inputs only."""
    lines = ["flowchart LR"]
    for name, source in model.sources.items():
        unit = getattr(model.parts.get(name), "unit", None) or getattr(model.space.parameters.get(name), "unit", None)
        left, right = MERMAID_SHAPES.get(source.kind, ("(", ")"))
        text = f"<b>{name}</b>" + (f"<br/>{unit}" if unit else "")
        if source.kind in ("node", "derived"):
            text += f"<br/>{_escape(formula(model.parts[name]))}"  # type: ignore[arg-type]
        lines.append(f'  {name}{left}"{text}"{right}:::{source.kind}')
    for name in model.order:
        wires = model.parts[name].arguments
        lines += [f"  {wire} --> {name}" for wire in wires]
        lines += [f"  {item} -.-> {name}" for item in model.inputs_of(name) if item not in wires and item not in model.origins(wires)]
    lines += [
        "  classDef parameter fill:#e8eef7,stroke:#4a6fa5,color:#1b2a41",
        "  classDef context fill:#f3ecf8,stroke:#7d5ba6,color:#1b2a41",
        "  classDef data fill:#eeeeee,stroke:#777777,color:#1b2a41",
        "  classDef derived fill:#fff8e1,stroke:#b08900,color:#1b2a41",
        "  classDef shared fill:#fdeaea,stroke:#b23a48,color:#1b2a41",
        "  classDef node fill:#e6f4ea,stroke:#2d6a4f,color:#1b2a41,stroke-width:2px",
    ]
    return "\n".join(lines)


def _escape(text: str) -> str:
    return html.escape(text).replace('"', "#quot;")


def as_html(model: DAG) -> str:
    """Return the DAG drawn as SVG (no program or network is needed) above its text."""
    return f"<div>{as_svg(model)}<pre>{html.escape(as_text(model))}</pre></div>"


def as_svg(model: DAG) -> str:
    """Return the DAG as SVG: columns by depth, arrows from what is used to what uses it."""
    depth: dict[str, int] = {}
    for name, source in model.sources.items():
        if source.kind in ("parameter", "context", "data"):
            depth[name] = 0
    for name in model.order:
        depth[name] = 1 + max([depth[p] for p in (*model.parts[name].arguments, *model.inputs_of(name)) if p in depth] + [0])
    columns: dict[int, list[str]] = {}
    for name, column in depth.items():
        columns.setdefault(column, []).append(name)
    tallest = max(len(names) for names in columns.values())
    place = {}
    for column, names in columns.items():
        for i, name in enumerate(names):
            place[name] = (20 + column * 190, 20 + (i + (tallest - len(names)) / 2) * 62)
    arrows, boxes = [], []
    for name in model.order:
        wires = set(model.parts[name].arguments)
        for other in dict.fromkeys((*model.parts[name].arguments, *model.inputs_of(name))):
            (x0, y0), (x1, y1) = place[other], place[name]
            dashed = "" if other in wires else ' stroke-dasharray="4 3" opacity="0.5"'
            arrows.append(
                f'<path d="M{x0 + 150} {y0 + 20} C{x0 + 175} {y0 + 20} {x1 - 30} {y1 + 20} {x1 - 2} {y1 + 20}" '
                f'fill="none" stroke="#888" marker-end="url(#boat-arrow)"{dashed}/>'
            )
    for name, (x, y) in place.items():
        boxes.append(_box(model, name, x, y))
    width, height = 40 + (max(columns) + 1) * 190, 30 + tallest * 62
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        '<defs><marker id="boat-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="#888"/></marker></defs>{"".join(arrows)}{"".join(boxes)}</svg>'
    )


FILLS = {
    "parameter": ("#e8eef7", "#4a6fa5"),
    "context": ("#f3ecf8", "#7d5ba6"),
    "data": ("#eeeeee", "#777777"),
    "derived": ("#fff8e1", "#b08900"),
    "shared": ("#fdeaea", "#b23a48"),
    "node": ("#e6f4ea", "#2d6a4f"),
}


def _box(model: DAG, name: str, x: float, y: float) -> str:
    kind = model.sources[name].kind
    fill, stroke = FILLS[kind]
    part = model.parts.get(name)
    unit = getattr(part, "unit", None) or getattr(model.space.parameters.get(name), "unit", None) or ""
    title = html.escape(f"{kind} {name}" + (f" = {formula(part)}" if part is not None else ""))
    heading = html.escape(name if len(name) <= 20 else name[:19] + "…")
    return (
        f'<g><title>{title}</title><rect x="{x}" y="{y}" width="150" height="40" rx="6" fill="{fill}" stroke="{stroke}"/>'
        f'<text x="{x + 75}" y="{y + 17}" text-anchor="middle" font-weight="bold" fill="#1b2a41">{heading}</text>'
        f'<text x="{x + 75}" y="{y + 32}" text-anchor="middle" font-size="10" fill="#445">{html.escape(f"{kind} {unit}".strip())}</text></g>'
    )
