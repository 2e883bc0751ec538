"""Parameters that choose from a list: `Categorical`, `Ordinal`, `Boolean`. `numeric` has the shared words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Never

import numpy as np
from numpy.typing import NDArray

from boatppl.space.numeric import Floats, When, number
from boatppl.text import readable
from boatppl.words import nearest


def _choice(kind: str, value: Any) -> Any:
    """One choice as a plain Python value that a file can hold."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is not None and not isinstance(plain, (str, int, float, bool)):
        raise TypeError(
            f"{kind}: each choice must be a text, a number, a bool or None, got {value!r} "
            f"({type(value).__name__}). "
            "Choose by name and look the object up in your run function."
        )
    if isinstance(plain, float) and not math.isfinite(plain):
        raise ValueError(f"{kind}: choices must be finite, got {plain!r}.")
    if isinstance(plain, str) and readable(plain) != plain:
        raise ValueError(f"{kind}: choices must be whole characters, got half of one in {plain!r}.")
    return plain


def _choices(kind: str, given: Any, others: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    one_list = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes)
    if others:
        meant = f"default={others[0]!r}" if one_list else f"boat.{kind}({[given, *others]!r})"
        raise TypeError(
            f"{kind} takes one list of choices and then options by name; got {1 + len(others)} positions. "
            f"Did you mean {meant}?"
        )
    if not one_list:
        raise TypeError(f"{kind}: expected a list of choices, got {given!r}.")
    choices = tuple(_choice(kind, value) for value in given)
    if len(choices) < 2:
        raise ValueError(f"{kind}: needs at least two choices, got {list(choices)!r}.")
    for i, value in enumerate(choices):
        if value in choices[:i]:
            raise ValueError(
                f"{kind}: choices must differ, but {value!r} is there twice (1 and True are equal)."
            )
    return choices


def _position(name: str, value: Any, choices: tuple[Any, ...]) -> int:
    """Where `value` stands among the choices, with a sentence that names the nearest one if it does not."""
    plain = value.item() if isinstance(value, np.generic) else value
    is_bool = isinstance(plain, bool)
    for i, choice in enumerate(choices):
        if isinstance(choice, bool) == is_bool and choice == plain:
            return i
    listing = ", ".join(repr(choice) for choice in choices)
    hint = nearest(plain, [c for c in choices if isinstance(c, str)]) if isinstance(plain, str) else ""
    raise ValueError(f"{name} must be one of {listing}, got {value!r}.{hint}")


def _bins_from(unit: Floats, count: int) -> Floats:
    """Unit block (configuration, 1) to positions (configuration,) by `count` bins of equal width."""
    return np.clip(np.floor(unit[:, 0] * count), 0.0, count - 1.0)


def _bins_to(positions: Floats, count: int) -> Floats:
    return ((positions + 0.5) / count)[:, None]


@dataclass(frozen=True, init=False)
class Categorical:
    """One of `choices`, without an order. Models receive its position (0, 1, ...), residuals a one-hot block.

    Parameters
    ----------
    choices
        At least two different texts, numbers, bools or None, in one list.
    default
        The choice in use today; the first when left out.
    when
        A condition, as for `Float`.
    """

    choices: tuple[Any, ...]
    default: Any = None
    when: When | None = field(default=None, hash=False)

    width: ClassVar[int] = 1
    continuous: ClassVar[bool] = False

    def __init__(
        self, choices: Sequence[Any], *others: Never, default: Any = None, when: When | None = None
    ) -> None:
        object.__setattr__(self, "choices", _choices("Categorical", choices, others))
        object.__setattr__(self, "when", when)
        kept = None if default is None else self.canonical("the default", default)
        object.__setattr__(self, "default", kept)

    @property
    def levels(self) -> int | None:
        """How many values there are."""
        return len(self.choices)

    @property
    def columns(self) -> int:
        """How many feature columns there are."""
        return len(self.choices)

    @property
    def default_value(self) -> Any:
        """The default, or what stands in for it."""
        return self.choices[0] if self.default is None else self.default

    def canonical(self, name: str, value: Any, *, strict: bool = True) -> Any:
        """`value` as the configuration holds it."""
        return self.choices[_position(name, value, self.choices)]

    def in_range(self, value: Any) -> bool:
        """Whether a plain value lies within the range."""
        return True

    def wires_of(self, values: Sequence[Any]) -> Floats:
        """Plain values to wires."""
        return np.array([self._position_of(value) for value in values], dtype=np.float64)

    def values_of(self, wire: Floats) -> list[Any]:
        """Wires to plain values."""
        return [self.choices[code] for code in wire.astype(np.int64).tolist()]

    def array_of(self, wire: Floats) -> NDArray[Any]:
        """Plain values of wires as one array, for functions that take arrays."""
        return self._lookup[wire.astype(np.int64)]

    def codes(self, wire: Floats) -> NDArray[np.int64]:
        """Wires to positions (configuration,) among the values."""
        return wire.astype(np.int64)

    def from_unit(self, unit: Floats, *, relax: bool = False) -> Floats:
        """Unit block (configuration, width) to wires."""
        return _bins_from(unit, len(self.choices))

    def to_unit(self, wire: Floats) -> Floats:
        """Wires to the unit block (configuration, width)."""
        return _bins_to(wire, len(self.choices))

    def snap(self, unit: Floats) -> Floats:
        """The unit block a configuration is encoded as; idempotent."""
        return self.to_unit(self.from_unit(unit))

    def feature(self, wire: Floats) -> Floats:
        """One-hot (configuration, choice) over sqrt(2): two different choices are at distance 1."""
        return self._one_hot[wire.astype(np.int64)]

    def pull(
        self, unit: Floats, wire: Floats | None, feature: Floats | None, *, relax: bool = False
    ) -> Floats:
        """Nothing moves smoothly: zero."""
        return np.zeros_like(unit)

    def text(self) -> str:
        """The range, for people."""
        return ", ".join(str(choice) for choice in self.choices)

    def _position_of(self, value: Any) -> int:
        try:
            return self._codes[type(value), value]
        except (KeyError, TypeError):
            return _position("the choice", value, self.choices)

    @cached_property
    def _codes(self) -> dict[tuple[type, Any], int]:
        return {(type(choice), choice): i for i, choice in enumerate(self.choices)}

    @cached_property
    def _lookup(self) -> NDArray[Any]:
        lookup = np.empty(len(self.choices), dtype=object)
        lookup[:] = self.choices
        return lookup

    @cached_property
    def _one_hot(self) -> Floats:
        return np.eye(len(self.choices)) / math.sqrt(2.0)


@dataclass(frozen=True, init=False)
class Ordinal:
    """One of `values`, in their order. Models receive the value itself where all are numbers, else the rank.

    A residual compares ranks, so the list itself says which steps are equal: `Ordinal([1, 2, 4, 8])` is
    logarithmic.

    Parameters
    ----------
    values
        At least two, in one list: numbers in increasing order or texts in the order that is meant.
    unit, default, when
        As for `Float`; without a default the middle value is taken.
    """

    values: tuple[Any, ...]
    unit: str | None = None
    default: Any = None
    when: When | None = field(default=None, hash=False)

    width: ClassVar[int] = 1
    columns: ClassVar[int] = 1
    continuous: ClassVar[bool] = False

    def __init__(
        self,
        values: Sequence[Any],
        *others: Never,
        unit: str | None = None,
        default: Any = None,
        when: When | None = None,
    ) -> None:
        object.__setattr__(self, "values", _choices("Ordinal", values, others))
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "when", when)
        if self.unit is not None and not isinstance(self.unit, str):
            raise TypeError(f"Ordinal: unit must be a text such as 'MB', got {self.unit!r}.")
        if self.numeric and any(b <= a for a, b in zip(self.values, self.values[1:], strict=False)):
            raise ValueError(f"Ordinal: numbers must be in increasing order, got {list(self.values)!r}.")
        kept = None if default is None else self.canonical("the default", default)
        object.__setattr__(self, "default", kept)

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers, so that a model receives them as they are."""
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values)

    @property
    def levels(self) -> int | None:
        """How many values there are."""
        return len(self.values)

    @property
    def default_value(self) -> Any:
        """The default, or what stands in for it."""
        return self.values[(len(self.values) - 1) // 2] if self.default is None else self.default

    def canonical(self, name: str, value: Any, *, strict: bool = True) -> Any:
        """`value` as the configuration holds it."""
        if self.numeric:
            number(value, name)
        return self.values[_position(name, value, self.values)]

    def in_range(self, value: Any) -> bool:
        """Whether a plain value lies within the range."""
        return True

    def wires_of(self, values: Sequence[Any]) -> Floats:
        """Plain values to wires."""
        return self._wires[[_position("the value", value, self.values) for value in values]]

    def values_of(self, wire: Floats) -> list[Any]:
        """Wires to plain values."""
        return [self.values[rank] for rank in self.codes(wire).tolist()]

    def array_of(self, wire: Floats) -> NDArray[Any]:
        """Plain values of wires as one array, for functions that take arrays."""
        if self.numeric:
            return wire
        lookup = np.empty(len(self.values), dtype=object)
        lookup[:] = self.values
        return lookup[self.codes(wire)]

    def codes(self, wire: Floats) -> NDArray[np.int64]:
        """Wires to ranks (configuration,)."""
        return np.searchsorted(self._wires, wire).astype(np.int64)

    def from_unit(self, unit: Floats, *, relax: bool = False) -> Floats:
        """Unit block (configuration, width) to wires."""
        return self._wires[_bins_from(unit, len(self.values)).astype(np.int64)]

    def to_unit(self, wire: Floats) -> Floats:
        """Wires to the unit block (configuration, width)."""
        return _bins_to(self.codes(wire).astype(np.float64), len(self.values))

    def snap(self, unit: Floats) -> Floats:
        """The unit block a configuration is encoded as; idempotent."""
        return _bins_to(_bins_from(unit, len(self.values)), len(self.values))

    def feature(self, wire: Floats) -> Floats:
        """Rank over the highest rank, (configuration, 1)."""
        return (self.codes(wire) / (len(self.values) - 1.0))[:, None]

    def pull(
        self, unit: Floats, wire: Floats | None, feature: Floats | None, *, relax: bool = False
    ) -> Floats:
        """Nothing moves smoothly: zero."""
        return np.zeros_like(unit)

    def text(self) -> str:
        """The range, for people."""
        return " < ".join(str(value) for value in self.values) + (f" {self.unit}" if self.unit else "")

    @cached_property
    def _wires(self) -> Floats:
        """What a model receives at each rank (rank,)."""
        return np.array(self.values if self.numeric else range(len(self.values)), dtype=np.float64)


@dataclass(frozen=True)
class Boolean:
    """True or False; models and residuals receive 1 or 0. Without a default it is False."""

    _: KW_ONLY
    default: bool | None = None
    when: When | None = field(default=None, hash=False)

    width: ClassVar[int] = 1
    columns: ClassVar[int] = 1
    levels: ClassVar[int | None] = 2
    continuous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.default is not None:
            object.__setattr__(self, "default", self.canonical("the default", self.default))

    @property
    def default_value(self) -> bool:
        """The default, or what stands in for it."""
        return bool(self.default)

    def canonical(self, name: str, value: Any, *, strict: bool = True) -> bool:
        """`value` as a plain bool; 0 and 1 are taken, as tables hold them."""
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        if isinstance(value, (int, float, np.integer, np.floating)) and value in (0, 1):
            return bool(value)
        raise TypeError(f"{name} must be True or False, got {value!r}.")

    def in_range(self, value: Any) -> bool:
        """Whether a plain value lies within the range."""
        return True

    def wires_of(self, values: Sequence[Any]) -> Floats:
        """Plain values to wires."""
        return np.array(values, dtype=np.float64)

    def values_of(self, wire: Floats) -> list[Any]:
        """Wires to plain values."""
        return (wire > 0.5).tolist()

    def array_of(self, wire: Floats) -> NDArray[Any]:
        """Plain values of wires as one array, for functions that take arrays."""
        return wire > 0.5

    def codes(self, wire: Floats) -> NDArray[np.int64]:
        """Wires to positions (configuration,) among the values."""
        return wire.astype(np.int64)

    def from_unit(self, unit: Floats, *, relax: bool = False) -> Floats:
        """Unit block (configuration, width) to wires."""
        return _bins_from(unit, 2)

    def to_unit(self, wire: Floats) -> Floats:
        """Wires to the unit block (configuration, width)."""
        return _bins_to(wire, 2)

    def snap(self, unit: Floats) -> Floats:
        """The unit block a configuration is encoded as; idempotent."""
        return self.to_unit(self.from_unit(unit))

    def feature(self, wire: Floats) -> Floats:
        """Wires to features (configuration, columns)."""
        return wire[:, None]

    def pull(
        self, unit: Floats, wire: Floats | None, feature: Floats | None, *, relax: bool = False
    ) -> Floats:
        """Nothing moves smoothly: zero."""
        return np.zeros_like(unit)

    def text(self) -> str:
        """The range, for people."""
        return "False, True"
