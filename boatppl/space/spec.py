"""A space as text: lines for people, plain values for files, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from boatppl.space.numeric import Context
from boatppl.space.parameters import KINDS, Categorical, Parameter
from boatppl.space.predicate import Predicate, digest_of

VERSION = 1


def describe(
    parameters: Mapping[str, Parameter],
    contexts: Mapping[str, Context],
    conditions: Mapping[str, Predicate],
    fixed: Mapping[str, Any],
    constraints: Sequence[Predicate],
) -> list[str]:
    """See `Space.describe`."""
    lines = []
    for name, parameter in parameters.items():
        if name in fixed:
            unit = getattr(parameter, "unit", None)
            line = f"{name} = {fixed[name]}" + (f" {unit}" if unit else "") + " (fixed)"
        else:
            opening, closing = "{}" if isinstance(parameter, Categorical) else "[]"
            line = f"{name} {opening}{parameter.text()}{closing}"
        lines.append(line + (f" when {conditions[name].text}" if name in conditions else ""))
    lines += [f"{name} [{context.text()}]" for name, context in contexts.items()]
    return lines + [f"subject to {constraint.text}" for constraint in constraints]


def to_spec(
    parameters: Mapping[str, Parameter | Context],
    conditions: Mapping[str, Predicate],
    fixed: Mapping[str, Any],
    constraints: Sequence[Predicate],
) -> dict[str, Any]:
    """See `Space.to_spec`."""
    entries = []
    for name, parameter in parameters.items():
        entry: dict[str, Any] = {"name": name, "kind": type(parameter).__name__}
        for field in fields(parameter):
            value = getattr(parameter, field.name)
            if field.name == "when":
                value = _when_spec(value, conditions.get(name))
            entry[field.name] = list(value) if isinstance(value, tuple) else value
        entries.append(entry)
    return {
        "version": VERSION,
        "parameters": entries,
        "fixed": dict(fixed),
        "constraints": [constraint.text for constraint in constraints],
    }


def _when_spec(when: Any, condition: Predicate | None) -> Any:
    if when is None or condition is None:
        return None
    if not isinstance(when, Mapping):
        return {"function": condition.text, "parameters": list(condition.names)}
    many = (list, tuple, set, frozenset)
    return {
        "equals": {parent: sorted(v, key=str) if isinstance(v, many) else v for parent, v in when.items()}
    }


def from_spec(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and fixed values of a spec. Raises ValueError for another version or one with functions."""
    if content.get("version") != VERSION:
        raise ValueError(f"expected a space of version {VERSION}, got version {content.get('version')!r}.")
    if content["constraints"]:
        raise ValueError(
            "this space has constraints, which are Python functions and not in the file: "
            f"{', '.join(content['constraints'])}. "
            "Build the space in Python; its fingerprint says whether it is the same."
        )
    parameters = {}
    for entry in content["parameters"]:
        options = {key: value for key, value in entry.items() if key not in ("name", "kind")}
        when = options.get("when")
        if when is not None and "function" in when:
            raise ValueError(
                f"{entry['name']} has the condition `{when['function']}`, a Python function that is not in "
                "the file. Build the space in Python, or write the condition as a dict."
            )
        if when is not None:
            options["when"] = when["equals"]
        first = [options.pop(key) for key in ("low", "high", "choices", "values", "n") if key in options]
        parameters[entry["name"]] = KINDS[entry["kind"]](*first, **options)
    return parameters, dict(content["fixed"])


def fingerprint(content: Mapping[str, Any], predicates: Sequence[Predicate]) -> str:
    """See `Space.fingerprint`: 16 hexadecimal digits."""
    digests = [f"{p.role} {digest_of(p.function, p.text)}" for p in predicates]
    text = json.dumps(content, sort_keys=True, default=str) + "\n".join(digests)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
