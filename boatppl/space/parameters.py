"""All kinds of parameters under one name."""

from __future__ import annotations

from boatppl.space.discrete import Boolean, Categorical, Ordinal
from boatppl.space.numeric import Context, Float, Integer
from boatppl.space.simplex import Simplex
from boatppl.space.subset import Subset

Vector = Simplex | Subset  # a value is a list, with an element for each of n things
Parameter = Float | Integer | Categorical | Ordinal | Boolean | Vector
KINDS: dict[str, type] = {
    kind.__name__: kind for kind in (Float, Integer, Categorical, Ordinal, Boolean, Simplex, Subset, Context)
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
    "Subset",
    "Vector",
]
