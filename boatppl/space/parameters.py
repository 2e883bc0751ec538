"""All kinds of parameters under one name."""

from __future__ import annotations

from boatppl.space.discrete import Boolean, Categorical, Ordinal
from boatppl.space.numeric import Context, Float, Integer
from boatppl.space.simplex import Simplex

Parameter = Float | Integer | Categorical | Ordinal | Boolean | Simplex
KINDS: dict[str, type] = {
    kind.__name__: kind for kind in (Float, Integer, Categorical, Ordinal, Boolean, Simplex, Context)
}

__all__ = [
    "KINDS",
    "Boolean",
    "Categorical",
    "Context",
    "Float",
    "Integer",
    "Ordinal",
    "Parameter",
    "Simplex",
]
