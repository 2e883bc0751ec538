"""Parameters on the number line: `Float` and `Integer`, which the tuner sets, and `Context`, which the world
sets.

Every kind of parameter speaks the same seven sentences, so that the unit cube needs to know no kind by name:

- a *plain value* is what a configuration holds (`float`, `int`, `str`, `bool`, `list` of shares);
- a *wire* is the number (or vector) a model's function receives, `(configuration,)` or `(configuration, n)`;
- a *unit* block is what the tuner moves, `(configuration, width)` in [0, 1];
- a *feature* block is what a residual compares, `(configuration, columns)`.

Floats are kept to 12-13 significant digits, so that a configuration survives the way to the unit cube and
back exactly, although `exp(log(x))` does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
When = Mapping[str, Any] | Callable[..., Any]

LARGEST_INTEGER = 2**44  # beyond it exp(log(k)) misses k by more than half
LINEAR_DIGITS, LOG_DIGITS = 13, 12
LARGEST, NARROWEST = 1e100, 1e-10  # of a bound, and of a range beside its bounds
_EXACT_POWERS = 10.0 ** np.arange(23)  # 10**22 is the last power of ten that a double holds exactly


def number(value: Any, what: str) -> float:
    """`value` as a finite float. Raises TypeError or ValueError with `what` as the sentence's subject."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{what} must be a number, got {value!r} ({type(value).__name__}).")
    if not math.isfinite(value):
        raise ValueError(f"{what} must be finite, got {value!r}.")
    return float(value)


def whole(value: Any, what: str) -> int:
    """`value` as an int; whole floats such as 32.0 (a table's column) are taken, 32.5 is not."""
    as_float = number(value, what)
    if as_float != math.floor(as_float):
        raise ValueError(f"{what} must be a whole number, got {value!r}.")
    return int(value)


def within(values: Floats, low: float, high: float) -> Floats:
    """`values` clipped; several times as fast as `numpy.clip` on the short arrays of a search."""
    return np.minimum(np.maximum(values, low), high)


def at_places(values: Floats, places: NDArray[np.int64] | int) -> Floats:
    """`values` rounded to decimal `places` (may be negative), each the double nearest to its decimal."""
    if isinstance(places, int) and 0 <= places <= 22:
        return np.rint(values * _EXACT_POWERS[places]) / _EXACT_POWERS[places]
    where = np.broadcast_to(np.asarray(places), values.shape)
    up = _EXACT_POWERS[np.clip(where, 0, 22)]
    down = _EXACT_POWERS[np.clip(-where, 0, 22)]
    result = np.rint(values * up / down) / up * down
    far = np.abs(where) > 22
    if far.any():
        result[far] = [
            round(v, int(p)) for v, p in zip(values[far].tolist(), where[far].tolist(), strict=True)
        ]
    return result


def _check_range(kind: str, low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ValueError(
            f"{kind}: low must be below high, got low={low:g} and high={high:g}. "
            "A parameter with one value is held with space.fix(name=value)."
        )
    if max(abs(low), abs(high)) > LARGEST or (log is True and 0 < low < 1 / LARGEST):
        raise ValueError(
            f"{kind}: the range from {low:g} to {high:g} is too wide to compute with, expected bounds within "
            f"{LARGEST:g}{f' and above {1 / LARGEST:g}' if log else ''}. Use another unit, or the range that "
            "you would really try."
        )
    if high - low < NARROWEST * max(abs(low), abs(high)):
        raise ValueError(
            f"{kind}: the range from {low!r} to {high!r} is narrower than the 12 digits to which values are "
            "kept. Tune the difference from its middle instead."
        )
    if not isinstance(log, (bool, np.bool_)):
        raise TypeError(f"{kind}: log must be True or False, got {log!r}.")
    if log and low <= 0:
        raise ValueError(f"{kind}: log=True needs low above 0, got low={low:g}. Raise low or leave log out.")


def _check_unit(kind: str, unit: Any) -> None:
    if unit is not None and not isinstance(unit, str):
        raise TypeError(f"{kind}: unit must be a text such as 'MB', got {unit!r}.")


def _range_text(low: float, high: float, unit: str | None, log: bool) -> str:
    return f"{low:.12g}..{high:.12g}" + (f" {unit}" if unit else "") + (", log" if log else "")


def _scaled(wire: Floats, low: float, high: float, log: bool) -> Floats:
    """`wire` (...) mapped so that low is 0 and high is 1, along the logarithm where `log`."""
    if log:
        return np.log(wire / low) / math.log(high / low)
    return (wire - low) / (high - low)


@dataclass(frozen=True)
class Float:
    """A real number between `low` and `high`, both included.

    Parameters
    ----------
    low, high
        The range, in `unit`.
    log
        Whether equal ratios, not equal differences, are equal steps; needs low > 0.
    unit
        Text for people, such as "MB".
    default
        The value in use today; the middle of the (log) range when left out.
    when
        The condition under which the parameter matters: `{"gc": "g1"}`, `{"gc": ["g1", "zgc"]}` or a function
        of named parameters, `lambda gc: gc == "g1"`.

    Raises
    ------
    ValueError, TypeError
        For a range, a default or a unit that makes no sense.

    Examples
    --------
    >>> Float(0.1, 10, log=True).default_value
    1.0
    """

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    unit: str | None = None
    default: float | None = None
    when: When | None = field(default=None, hash=False)

    width: ClassVar[int] = 1
    columns: ClassVar[int] = 1
    levels: ClassVar[int | None] = None
    continuous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", number(self.low, "Float: low"))
        object.__setattr__(self, "high", number(self.high, "Float: high"))
        _check_range("Float", self.low, self.high, self.log)
        _check_unit("Float", self.unit)
        if self.default is not None:
            object.__setattr__(self, "default", self.canonical("the default", self.default))

    @property
    def default_value(self) -> float:
        """The default, or the middle of the (log) range."""
        if self.default is not None:
            return self.default
        middle = math.sqrt(self.low) * math.sqrt(self.high) if self.log else self.low / 2 + self.high / 2
        return float(self._rounded(np.array([middle]))[0])

    def canonical(self, name: str, value: Any, *, strict: bool = True) -> float:
        """`value` as a plain float; out of range is an error only if `strict`."""
        plain = number(value, f"{name}")
        if self.low <= plain <= self.high:
            return float(np.clip(self._rounded(np.array([plain])), self.low, self.high)[0])
        if strict:
            raise ValueError(f"{name} must lie in [{self.text()}], got {plain:.12g}.")
        if self.log and plain <= 0:
            raise ValueError(f"{name} has a logarithmic range and must be above 0, got {plain:.12g}.")
        return float(self._rounded(np.array([plain]))[0])

    def in_range(self, value: Any) -> bool:
        """Whether a plain value lies within the range."""
        return bool(self.low <= value <= self.high)

    def wires_of(self, values: Sequence[Any]) -> Floats:
        """Plain values to wires (configuration,)."""
        return np.array(values, dtype=np.float64)

    def values_of(self, wire: Floats) -> list[Any]:
        """Wires (configuration,) to plain values."""
        return self.array_of(wire).tolist()

    def array_of(self, wire: Floats) -> NDArray[Any]:
        """Plain values as one array (configuration,), for functions that take arrays."""
        rounded = self._rounded(wire)
        inside = (wire >= self._slack[0]) & (wire <= self._slack[1])
        kept = within(rounded, self.low, self.high)
        return kept if inside.all() else np.where(inside, kept, rounded)

    def from_unit(self, unit: Floats, *, relax: bool = False) -> Floats:
        """Unit block (configuration, 1) to wires (configuration,); beyond [0, 1] on along the same scale."""
        u = unit[:, 0]
        if self.log:
            return self.low * np.exp(u * math.log(self.high / self.low))
        return self.low * (1.0 - u) + self.high * u

    def to_unit(self, wire: Floats) -> Floats:
        """Wires to the unit block (configuration, 1), in [0, 1] exactly where the value is in range."""
        unit = self.feature(wire)
        inside = (wire >= self.low) & (wire <= self.high)
        return np.where(inside[:, None], np.clip(unit, 0.0, 1.0), unit)

    def snap(self, unit: Floats) -> Floats:
        """The unit block a configuration is encoded as; idempotent."""
        return within(unit, 0.0, 1.0)

    def feature(self, wire: Floats) -> Floats:
        """Wires (configuration,) to features (configuration, 1)."""
        return _scaled(wire, self.low, self.high, self.log)[:, None]

    def pull(
        self, unit: Floats, wire: Floats | None, feature: Floats | None, *, relax: bool = False
    ) -> Floats:
        """Cotangents of wire (configuration,) and feature (configuration, 1) to those of the unit block."""
        result = np.zeros_like(unit)
        if wire is not None:
            slope = (
                self.from_unit(unit) * math.log(self.high / self.low) if self.log else self.high - self.low
            )
            result[:, 0] += wire * slope
        return result if feature is None else result + feature

    def text(self) -> str:
        """The range, for people."""
        return _range_text(self.low, self.high, self.unit, self.log)

    def _rounded(self, values: Floats) -> Floats:
        if self.log:
            return at_places(values, LOG_DIGITS - 1 - np.floor(np.log10(values)).astype(np.int64))
        return at_places(values, self._places)

    @cached_property
    def _places(self) -> int:
        return LINEAR_DIGITS - 1 - math.floor(math.log10(max(abs(self.low), abs(self.high))))

    @cached_property
    def _slack(self) -> tuple[float, float]:
        """The range, a little wider: what the round trip through the cube may add belongs to the range."""
        return self.low - 1e-9 * abs(self.low), self.high + 1e-9 * abs(self.high)


@dataclass(frozen=True)
class Integer:
    """A whole number between `low` and `high`, both included; arguments as for `Float`.

    Each value owns a bin of the unit interval and is encoded at the bin's middle: bins of equal width, so
    every value is as likely as any other, or of equal width in the logarithm where `log` (bounds k - 1/2 and
    k + 1/2).
    """

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    unit: str | None = None
    default: int | None = None
    when: When | None = field(default=None, hash=False)

    width: ClassVar[int] = 1
    columns: ClassVar[int] = 1
    continuous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", whole(self.low, "Integer: low"))
        object.__setattr__(self, "high", whole(self.high, "Integer: high"))
        _check_range("Integer", self.low, self.high, self.log)
        if max(abs(self.low), abs(self.high)) > LARGEST_INTEGER:
            raise ValueError(
                f"Integer: bounds must stay within +-2**44, got {self.low} and {self.high}. "
                "Use a larger unit (MB instead of bytes) or Float."
            )
        _check_unit("Integer", self.unit)
        if self.default is not None:
            object.__setattr__(self, "default", self.canonical("the default", self.default))

    @property
    def levels(self) -> int | None:
        """How many values there are."""
        return self.high - self.low + 1

    @property
    def default_value(self) -> int:
        """The default, or the middle of the (log) range."""
        if self.default is not None:
            return self.default
        return round(math.sqrt(self.low * self.high)) if self.log else (self.low + self.high) // 2

    def canonical(self, name: str, value: Any, *, strict: bool = True) -> int:
        """`value` as a plain int; out of range is an error only if `strict`."""
        plain = whole(value, f"{name}")
        if not self.low <= plain <= self.high:
            if strict:
                raise ValueError(f"{name} must lie in [{self.text()}], got {plain}.")
            if self.log and plain <= 0:
                raise ValueError(f"{name} has a logarithmic range and must be above 0, got {plain}.")
            if abs(plain) > LARGEST_INTEGER:
                raise ValueError(f"{name} must stay within +-2**44, got {plain}.")
        return plain

    def in_range(self, value: Any) -> bool:
        """Whether a plain value lies within the range."""
        return bool(self.low <= value <= self.high)

    def wires_of(self, values: Sequence[Any]) -> Floats:
        """Plain values to wires."""
        return np.array(values, dtype=np.float64)

    def values_of(self, wire: Floats) -> list[Any]:
        """Wires to plain values."""
        return wire.astype(np.int64).tolist()

    def array_of(self, wire: Floats) -> NDArray[Any]:
        """Plain values of wires as one array, for functions that take arrays."""
        return wire

    def codes(self, wire: Floats) -> NDArray[np.int64]:
        """Wires to positions among the values (configuration,); outside 0..levels-1 when out of range."""
        return wire.astype(np.int64) - self.low

    def from_unit(self, unit: Floats, *, relax: bool = False) -> Floats:
        """Unit block (configuration, 1) to wires (configuration,); unrounded with `relax`."""
        u = unit[:, 0]
        start, width = self._edges()
        if relax:
            raw = np.exp(start + u * width) if self.log else start + u * width
            return within(raw, self.low, self.high)
        rounded = np.rint(np.exp(start + u * width)) if self.log else np.floor(start + 0.5 + u * width)
        return np.where((u >= 0) & (u <= 1), within(rounded, self.low, self.high), rounded)

    def to_unit(self, wire: Floats) -> Floats:
        """Wires to the unit block (configuration, width)."""
        start, width = self._edges()
        position = np.log(wire) if self.log else wire
        return ((position - start) / width)[:, None]

    def snap(self, unit: Floats) -> Floats:
        """The unit block a configuration is encoded as; idempotent."""
        return self.to_unit(self.from_unit(within(unit, 0.0, 1.0)))

    def feature(self, wire: Floats) -> Floats:
        """Wires to features (configuration, columns)."""
        return _scaled(wire, self.low, self.high, self.log)[:, None]

    def pull(
        self, unit: Floats, wire: Floats | None, feature: Floats | None, *, relax: bool = False
    ) -> Floats:
        """Zero unless `relax`; at the ends of the range the slope is the inner one."""
        result = np.zeros_like(unit)
        if not relax:
            return result
        _, width = self._edges()
        inside = self._inside(unit[:, 0])
        if wire is not None:
            result[:, 0] += wire * inside * (self.from_unit(unit, relax=True) * width if self.log else width)
        if feature is not None:
            result[:, 0] += feature[:, 0] * inside * width / self._feature_span()
        return result

    def text(self) -> str:
        """The range, for people."""
        return _range_text(self.low, self.high, self.unit, self.log)

    def _edges(self) -> tuple[float, float]:
        """Lower edge of the first bin and the width of all, on the (log) scale."""
        if self.log:
            start = math.log(self.low - 0.5)
            return start, math.log(self.high + 0.5) - start
        return self.low - 0.5, self.high - self.low + 1.0

    def _inside(self, u: Floats) -> NDArray[np.bool_]:
        ends = self.to_unit(np.array([self.low, self.high], dtype=np.float64))[:, 0]
        return (u >= ends[0] - 1e-12) & (u <= ends[1] + 1e-12)

    def _feature_span(self) -> float:
        return math.log(self.high / self.low) if self.log else float(self.high - self.low)


@dataclass(frozen=True)
class Context:
    """A number the world sets and the tuner only sees, such as the load; `low` and `high` scale it for
    residuals.

    Values outside the range are taken as they come (beyond 0 or 1 on the scale). Arguments as for `Float`.
    """

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    unit: str | None = None

    columns: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", number(self.low, "Context: low"))
        object.__setattr__(self, "high", number(self.high, "Context: high"))
        _check_range("Context", self.low, self.high, self.log)
        _check_unit("Context", self.unit)

    def from_unit(self, unit: Floats) -> Floats:
        """Numbers in [0, 1], of any shape, to values within the range."""
        if self.log:
            return self.low * np.exp(unit * math.log(self.high / self.low))
        return self.low * (1.0 - unit) + self.high * unit

    def canonical(self, name: str, value: Any) -> float:
        """`value` as a plain float."""
        plain = number(value, f"context {name}")
        if self.log and plain <= 0:
            raise ValueError(f"context {name} has a logarithmic range and must be above 0, got {plain:.12g}.")
        return plain

    def feature(self, wire: Floats) -> Floats:
        """Wires to features (configuration, columns)."""
        return _scaled(wire, self.low, self.high, self.log)[:, None]

    def text(self) -> str:
        """The range, for people."""
        return _range_text(self.low, self.high, self.unit, self.log) + ", context"
