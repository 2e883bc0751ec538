"""What a study is made of, as plain values to keep; and what has changed from one session to the next."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from boatppl.dag import DAGModel
from boatppl.draw import formula
from boatppl.node import Derived, Node, Shared
from boatppl.residual import GP
from boatppl.rivals import GENERIC
from boatppl.source import content
from boatppl.space import Space

SHORT = 60  # characters of a formula that is quoted

Description = dict[str, Any]


def described(models: Mapping[str, DAGModel]) -> Description:
    """Return the space and the models of a study as plain values: equal for equal ones, whoever made them."""
    space = next(iter(models.values())).space
    found = {name: _model(model) for name, model in models.items()}
    return json.loads(json.dumps({"space": _space(space), "models": found}, default=str))


def fingerprint(description: Description) -> str:
    """Return a short text that differs where descriptions do: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def _space(space: Space) -> Description:
    names = [*space.parameters, *space.contexts]
    lines = space.describe()
    texts = {name: line.removeprefix(f"{name} ") for name, line in zip(names, lines, strict=False)}
    kinds = {entry["name"]: entry for entry in space.to_spec()["parameters"]}
    return {
        "parameters": {name: {"text": texts[name], "default": kinds[name].get("default")} for name in names},
        "constraints": lines[len(names) :],
        "functions": space.fingerprint(),
    }


def _model(model: DAGModel) -> Description:
    data = {name: [list(dims), _digest(value.tolist())] for name, (dims, value) in model.data.items()}
    coords = {dim: [str(name) for name in names] for dim, names in model.coords.items()}
    parts = {name: _part(part) for name, part in model.parts.items()}
    found: Description = {"parts": parts, "data": data, "coords": coords}
    return found | ({"inherited": asdict(model.inherited)} if model.inherited else {})


def _part(part: Node | Derived | Shared) -> Description:
    found: Description = {
        "kind": type(part).__name__.lower(),
        "formula": formula(part),
        "function": _digest(content(part.function)),
        "arguments": list(part.arguments),
        "unit": part.unit,
        "over": list(part.over),
        "dims": list(part.dims),
    }
    if isinstance(part, Node):
        noise: str | None = "0" if part.deterministic else None
        if not part.deterministic:
            noise = _digest(content(part.noise)) if part.noise_arguments else _prior(part.noise)
        found |= {
            "transform": part.transform,
            "robust": part.robust,
            "noise": noise,
            "residual": None if part.standardised else _residual(part.residual),
        }
        found |= {"censored": True} if part.censored else {}  # older studies never heard of it
    if isinstance(part, Derived) and part.transform is not None:  # nor of this
        found |= {"transform": part.transform}
    return found


def _residual(residual: GP | None) -> str | None:
    if residual is None:
        return None
    priors = {"lengthscale": _prior(residual.lengthscale), "amplitude": _prior(residual.amplitude)}
    said = [f"{option}={text}" for option, text in priors.items() if text is not None]
    inputs = "" if residual.inputs is None else ", ".join(residual.inputs)
    return f"GP({', '.join(filter(None, [inputs, residual.kernel, *said]))})"


def _prior(prior: Any) -> str | None:
    """Return ``HalfNormal(0, 0.1)`` for an option that is a PyMC distribution."""
    if prior is None:
        return None
    values = [getattr(argument, "data", argument) for argument in prior.owner.op.dist_params(prior.owner)]
    known = [str(np.asarray(value)) for value in values if isinstance(value, np.ndarray | float | int)]
    return f"{type(prior.owner.op).__name__.removesuffix('RV')}({', '.join(known)})"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


# -- what has changed -------------------------------------------------------------------


def changes(old: Description, new: Description) -> list[str]:
    """Say what differs, a clause each: ``x [0..1] is now [0..2]``, ``node p99 is new``."""
    found = list(_of_space(old["space"], new["space"]))
    names = [*{**old["models"], **new["models"]}]
    own = [name for name in names if name != GENERIC]  # the generic one follows from them
    many = len(own) > 1
    for name in own or names:
        nothing: Description = {"parts": {}, "data": {}, "coords": {}}
        before, after = (side["models"].get(name, nothing) for side in (old, new))
        found += [f"{clause} (in {name})" if many else clause for clause in _of_model(before, after)]
    return list(dict.fromkeys(found))


def _of_space(old: Description, new: Description) -> Iterator[str]:
    yield from _names("parameter", old["parameters"], new["parameters"])
    for name, now in new["parameters"].items():
        before = old["parameters"].get(name, now)
        if before["text"] != now["text"]:
            yield f"{name} {before['text']} is now {now['text']}"
        if before["default"] != now["default"]:
            yield f"the default of {name} was {before['default']} and is {now['default']}"
    yield from (f"{text!r} is gone" for text in old["constraints"] if text not in new["constraints"])
    yield from (f"{text!r} is new" for text in new["constraints"] if text not in old["constraints"])
    same = {key: old[key] == new[key] for key in old}
    if same["parameters"] and same["constraints"] and not same["functions"]:
        yield "a constraint or condition has changed"


def _names(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{kind} {name} is gone" for name in old if name not in new)
    yield from (f"{kind} {name} is new" for name in new if name not in old)


def _of_model(old: Description, new: Description) -> Iterator[str]:
    for kind in ("node", "derived", "shared"):
        parts = [{n: p for n, p in side["parts"].items() if p["kind"] == kind} for side in (old, new)]
        yield from _names(kind, *parts)
    for name, now in new["parts"].items():
        before = old["parts"].get(name, now)
        if before["kind"] == now["kind"] and before != now:
            yield from _of_part(f"{now['kind']} {name}", before, now)
    if old.get("inherited") != new.get("inherited"):
        yield "what an earlier study says of it (prior_from=) has changed"
    yield from _names("data", old["data"], new["data"])
    for what in ("data", "coords"):
        both = [name for name in new[what] if name in old[what]]
        yield from (f"{what} {name} have changed" for name in both if old[what][name] != new[what][name])


def _of_part(who: str, old: Description, new: Description) -> Iterator[str]:
    formulas = [old["formula"], new["formula"]]
    if formulas[0] != formulas[1] and max(map(len, formulas)) <= SHORT:
        yield f"{who} was {formulas[0]} and is {formulas[1]}"
    elif any(old[key] != new[key] for key in ("function", "arguments")):
        yield f"{who} has changed"
    for option in {**new, **old}:
        if option not in ("formula", "function", "arguments") and old.get(option) != new.get(option):
            yield f"{option}= of {who} was {old.get(option)} and is {new.get(option)}"
