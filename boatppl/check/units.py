"""A lint of units: what a formula adds up must have one unit, and what it returns that of its node.

A unit is text for people, such as ``MB`` or ``1/s``; read as a product of powers it is enough to see that ms
and MB are no sum. What has no unit (numbers, unknowns of a model) may be in any.
"""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from pymc.distributions.distribution import SymbolicRandomVariable
from pytensor.graph.basic import Constant
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.type import TensorType
from pytensor.tensor.variable import TensorVariable

from boatppl.graph import DAG

Unit = Mapping[str, Fraction] | None  # symbol -> power; None: any
SAME = {"Add", "Sub", "Maximum", "Minimum", "ScalarMaximum", "ScalarMinimum"}
FACTORS = [
    *(10.0**k for k in range(1, 13)),
    *(1024.0**k for k in range(1, 5)),
    8.0,
    24.0,
    60.0,
    3600.0,
    86400.0,
]
CONVERSIONS = [*FACTORS, *(1.0 / factor for factor in FACTORS)]
PASSED = {"Neg", "Abs", "Cast", "Identity", "Second", "Ceil", "Floor"}


def units(model: DAG) -> Iterator[tuple[str, str]]:
    """Yield (part, complaint) for every sum of two units, and for results in another unit than declared."""
    known: dict[str, Unit] = {}
    for name in model.sources:
        declared = {**model.space.parameters, **model.space.contexts}.get(name)
        known[name] = parse(getattr(declared, "unit", None))
    for name in model.order:
        declared = getattr(model.parts[name], "unit", None)
        known[name] = parse(declared)
        expression = _expression(model, name)
        if expression is None:
            continue
        complaints: list[str] = []
        found = _unit(expression, _placeholders(model, known), complaints, {})
        yield from ((name, complaint) for complaint in dict.fromkeys(complaints))
        if known[name] is None:
            known[name] = found
        elif found is not None and found != known[name] and not complaints:
            yield name, f"returns {text(found)}, but its unit is {declared}"


def parse(unit: str | None) -> Unit:
    """Read a unit: ``MB/s`` is MB to the power 1 and s to the power -1.

    >>> {symbol: int(power) for symbol, power in parse("MB/s").items()}
    {'MB': 1, 's': -1}
    >>> parse(None) is None, parse("1/s") == parse("s^-1")
    (True, True)
    """
    if not unit or not unit.strip():
        return None
    found: dict[str, Fraction] = {}
    sign = 1
    for token in re.findall(r"[/*·]|[^\s/*·]+", unit):
        if token in "/*·":
            sign = -1 if token == "/" else 1
            continue
        symbol, _, power = token.partition("^")
        if not re.fullmatch(r"[0-9.]+", symbol):
            exponent = int(power) if re.fullmatch(r"-?\d+", power) else 1
            found[symbol] = found.get(symbol, Fraction(0)) + sign * exponent
        sign = 1
    return {symbol: power for symbol, power in found.items() if power}


def text(unit: Mapping[str, Fraction]) -> str:
    """Write a unit as people do.

    >>> text(parse("s^-1*MB")), text(parse("1/s")), text({})
    ('MB/s', '1/s', 'a plain number')
    """
    over = [_power(symbol, power) for symbol, power in unit.items() if power > 0]
    under = [_power(symbol, -power) for symbol, power in unit.items() if power < 0]
    if not over and not under:
        return "a plain number"
    return "/".join(["*".join(over) or "1", *under])


def _power(symbol: str, power: Fraction) -> str:
    return symbol if power == 1 else f"{symbol}^{power}"


def _expression(model: DAG, name: str) -> TensorVariable | None:
    """Return what a part's function returned, before the transform; None where that is not known."""
    if name in model.derived:
        return model.derived[name].outputs[0]
    if name not in model.nodes:
        return None
    graph = model.nodes[name]
    kind = graph.node.transform
    if kind is None:
        return None if graph.node.standardised else graph.mean
    apply = graph.mean.owner
    return None if kind == "logit" or apply is None else apply.inputs[0]


def _placeholders(model: DAG, known: Mapping[str, Unit]) -> dict[Any, Unit]:
    return {wire: known[key.name] for key, wire in model.wiring.placeholders.items()}


def _unit(variable: Any, wires: Mapping[Any, Unit], complaints: list[str], seen: dict[Any, Unit]) -> Unit:
    """Return the unit of an expression; add to ``complaints`` where it sums two of them."""
    if variable in wires:
        return wires[variable]
    if not isinstance(variable.type, TensorType) or _is_unknown(variable):
        return None
    if isinstance(variable, Constant):  # 1000 or 60 may turn one unit into another
        return None if np.any(np.isin(np.abs(variable.data), CONVERSIONS)) else {}
    if variable in seen or variable.owner is None:
        return seen.get(variable)
    apply = variable.owner
    inner = [_unit(item, wires, complaints, seen) for item in apply.inputs]
    operation = type(getattr(apply.op, "scalar_op", apply.op)).__name__
    seen[variable] = _combined(operation, apply, inner, complaints)
    return seen[variable]


def _is_unknown(variable: Any) -> bool:
    """Whether this is one of the model's unknowns: what its prior is made of has no part in the formula."""
    operation = getattr(variable.owner, "op", None)
    return isinstance(operation, RandomVariable | SymbolicRandomVariable)


def _combined(operation: str, apply: Any, inner: list[Unit], complaints: list[str]) -> Unit:
    if operation == "Switch":
        inner, operation = inner[1:], "Add"
    if operation in SAME and len(inner) > 1:
        there = [unit for unit in inner if unit]  # a plain number may be of any unit, as 1 + x often is
        for other in there[1:]:
            if other != there[0]:
                complaints.append(f"adds or compares {text(there[0])} and {text(other)}")
                return None
        return there[0] if there and all(unit is not None for unit in inner) else None
    if operation == "Mul" and all(unit is not None for unit in inner):
        return _product([(unit or {}, 1) for unit in inner])
    if operation == "TrueDiv" and None not in inner:
        return _product([(inner[0] or {}, 1), (inner[1] or {}, -1)])
    power = {"Sqr": Fraction(2), "Sqrt": Fraction(1, 2), "Reciprocal": Fraction(-1)}.get(operation)
    if operation == "Pow" and isinstance(apply.inputs[1], Constant):
        power = Fraction(float(np.ravel(apply.inputs[1].data)[0])).limit_denominator(12)
    if power is not None and inner[0] is not None:
        return {symbol: exponent * power for symbol, exponent in inner[0].items()}
    whole = type(apply.op).__name__ in ("DimShuffle", "Subtensor", "Max", "Min", "Sum", "Mean")
    return inner[0] if operation in (*PASSED, *SAME) or whole else None


def _product(factors: list[tuple[Mapping[str, Fraction], int]]) -> Unit:
    total: dict[str, Fraction] = {}
    for unit, sign in factors:
        for symbol, power in unit.items():
            total[symbol] = total.get(symbol, Fraction(0)) + sign * power
    return {symbol: power for symbol, power in total.items() if power}
