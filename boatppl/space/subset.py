"""`Subset`: which of several things are taken, such as the machines that work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import chain, combinations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from boatppl.space.discrete import Boolean
from boatppl.space.names import check_identifier
from boatppl.space.numeric import Floats, When, whole


@dataclass(frozen=True)
class Subset:
    """Which of `n` things are taken, at least `least` of them; a configuration holds a list of Booleans.

    Models receive a vector of 1 and 0 along `dim`. Residuals compare how many differ: opposite subsets are at
    distance 1.

    Parameters
    ----------
    n
        How many things there are, at least two.
    dim
        The dim of the model the things run along, such as "machine".
    least
        How many are taken at least.
    default
        A Boolean for each, or one for all; all are taken when left out.
    when
        A condition, as for `Float`.

    Raises
    ------
    ValueError, TypeError
        For numbers that leave nothing to choose, or a default that takes too few.

    Notes
    -----
    A coordinate above 1/2 takes its thing. Where that is too few, the largest coordinates take theirs.

    Examples
    --------
    >>> Subset(3, dim="machine", least=1).text()
    'at least 1 of 3 over machine'
    """

    n: int
    _: KW_ONLY
    dim: str | None = None
    least: int = 0
    default: Sequence[bool] | bool | None = None
    when: When | None = field(default=None, hash=False)

    continuous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", whole(self.n, "Subset: n"))
        object.__setattr__(self, "least", whole(self.least, "Subset: least"))
        if self.n < 2:
            raise ValueError(f"Subset: n must be at least 2 things, got {self.n}. For one, use Boolean().")
        if not 0 <= self.least < self.n:
            raise ValueError(
                f"Subset: least must be from 0 to {self.n - 1}, so that something can be chosen, got "
                f"{self.least}."
            )
        if self.dim is not None:
            check_identifier(self.dim)
        if self.default is not None:
            alike = isinstance(self.default, bool | np.bool_)
            said = [self.default] * self.n if alike else self.default
            object.__setattr__(self, "default", tuple(self.canonical("the default", said)))

    @property
    def width(self) -> int:
        """How many coordinates there are."""
        return self.n

    @property
    def columns(self) -> int:
        """How many feature columns there are."""
        return self.n

    @property
    def levels(self) -> int | None:
        """How many subsets there are."""
        return sum(math.comb(self.n, taken) for taken in range(self.least, self.n + 1))

    @property
    def default_value(self) -> list[bool]:
        """The default, or what stands in for it."""
        return [True] * self.n if self.default is None else self.canonical("the default", self.default)

    def canonical(self, name: str, value: Any, *, strict: bool = True) -> list[bool]:
        """`value` as a list of n plain bools, at least `least` of them True."""
        if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
            raise TypeError(f"{name} must be a list of {self.n} Booleans, got {value!r}.")
        if len(value) != self.n:
            raise ValueError(f"{name} must have {self.n} Booleans, got {len(value)}.")
        taken = [Boolean().canonical(f"{name}[{i}]", one) for i, one in enumerate(value)]
        if sum(taken) < self.least:
            raise ValueError(f"{name} must take at least {self.least} of {self.n}, got {sum(taken)}.")
        return taken

    def in_range(self, value: Any) -> bool:
        """Whether a plain value lies within the range."""
        return True

    def wires_of(self, values: Sequence[Any]) -> Floats:
        """Plain values to wires."""
        return np.array(values, dtype=np.float64).reshape(len(values), self.n)

    def values_of(self, wire: Floats) -> list[Any]:
        """Wires to plain values."""
        return (wire > 0.5).tolist()

    def array_of(self, wire: Floats) -> NDArray[Any]:
        """Plain values of wires as one array, for functions that take arrays."""
        return wire > 0.5

    def from_unit(self, unit: Floats, *, relax: bool = False) -> Floats:
        """Unit block (configuration, n) to zeros and ones (configuration, n); with `relax` to the straight
        line through both."""
        if relax:
            return 2.0 * unit - 0.5
        taken = unit >= 0.5
        few = np.flatnonzero(taken.sum(axis=1) < self.least)
        if len(few):
            largest = np.argsort(-unit[few], axis=1, kind="stable")[:, : self.least]
            taken[few[:, None], largest] = True
        return taken.astype(np.float64)

    def to_unit(self, wire: Floats) -> Floats:
        """Wires to the unit block (configuration, n): middles of the halves."""
        return (wire + 0.5) / 2.0

    def snap(self, unit: Floats) -> Floats:
        """The unit block a configuration is encoded as; idempotent."""
        return self.to_unit(self.from_unit(unit))

    def every(self) -> Floats:
        """Every subset as a row of the unit block (subset, n): only where `levels` is small."""
        sizes = range(self.least, self.n + 1)
        chosen = list(chain.from_iterable(combinations(range(self.n), taken) for taken in sizes))
        wire = np.zeros((len(chosen), self.n))
        for row, members in zip(wire, chosen, strict=True):
            row[list(members)] = 1.0
        return self.to_unit(wire)

    def feature(self, wire: Floats) -> Floats:
        """Zeros and ones over sqrt(n) (configuration, n): opposite subsets are at distance 1."""
        return wire / math.sqrt(self.n)

    def pull(
        self, unit: Floats, wire: Floats | None, feature: Floats | None, *, relax: bool = False
    ) -> Floats:
        """Zero unless `relax`, which takes membership for a number from 0 to 1."""
        if not relax:
            return np.zeros_like(unit)
        parts = (wire, None if feature is None else feature / math.sqrt(self.n))
        return 2.0 * sum((part for part in parts if part is not None), np.zeros_like(unit))

    def text(self) -> str:
        """The range, for people."""
        return (f"at least {self.least} of " if self.least else "any of ") + (
            f"{self.n}" + (f" over {self.dim}" if self.dim else "")
        )
