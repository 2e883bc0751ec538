"""The space: parameters, constraints, encoding to the unit cube, quasi-random designs."""

from boatppl.space.parameters import (
    Boolean,
    Categorical,
    Context,
    Float,
    Integer,
    Ordinal,
    Simplex,
    Subset,
    Vector,
)
from boatppl.space.space import Space

__all__ = [
    "Boolean",
    "Categorical",
    "Context",
    "Float",
    "Integer",
    "Ordinal",
    "Simplex",
    "Space",
    "Subset",
    "Vector",
]
