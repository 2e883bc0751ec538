"""`Simplex`: shares of a whole, such as the part of the data each machine gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from boatppl.space.names import check_identifier
from boatppl.space.numeric import Floats, When, number, whole

_PARTS = 1e12  # shares are kept as whole parts of this many, so that they sum to 1 after rounding too
_TOLERANCE = 1e-6


def _rounded(shares: Floats) -> Floats:
    """Shares (configuration, n) as whole parts of 10**12; the largest takes what rounding leaves over."""
    parts = np.rint(shares * _PARTS)
    rows = np.arange(len(parts))
    parts[rows, parts.argmax(axis=1)] += _PARTS - parts.sum(axis=1)
    return parts / _PARTS


@dataclass(frozen=True)
class Simplex:
    """`n` shares, none negative, that sum to 1; a configuration holds them as a list.

    Parameters
    ----------
    n
        How many shares, at least two.
    dim
        The dim of the model the shares run along, such as "machine".
    default
        The shares in use today; equal shares when left out.
    when
        A condition, as for `Float`.

    Notes
    -----
    The n - 1 coordinates break a stick from the left: what is left of it after piece i is `u_i ** (1 / (n -
    i))` of what was left before (i = 1 ... n - 1), so that uniform coordinates are Dirichlet(1, ..., 1)
    shares (Connor & Mosimann 1969). Telling what is left, not what is taken, keeps full precision where one
    share is nearly everything.
    """

    n: int
    _: KW_ONLY
    dim: str | None = None
    default: tuple[float, ...] | None = None
    when: When | None = field(default=None, hash=False)

    levels: ClassVar[int | None] = None
    continuous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", whole(self.n, "Simplex: n"))
        if self.n < 2:
            raise ValueError(f"Simplex: n must be at least 2 shares, got {self.n}.")
        if self.dim is not None:
            check_identifier(self.dim)
        if self.default is not None:
            object.__setattr__(self, "default", tuple(self.canonical("the default", self.default)))

    @property
    def width(self) -> int:
        """How many coordinates there are."""
        return self.n - 1

    @property
    def columns(self) -> int:
        """How many feature columns there are."""
        return self.n

    @property
    def default_value(self) -> list[float]:
        """The default, or what stands in for it."""
        if self.default is not None:
            return list(self.default)
        return self.values_of(np.full((1, self.n), 1.0 / self.n))[0]

    def canonical(self, name: str, value: Any, *, strict: bool = True) -> list[float]:
        """`value` as a list of n shares; sums within 1e-6 of 1 are scaled to 1, others are an error."""
        if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
            raise TypeError(f"{name} must be a list of {self.n} shares, got {value!r}.")
        if len(value) != self.n:
            raise ValueError(f"{name} must have {self.n} shares, got {len(value)}.")
        shares = np.array([number(share, f"each share of {name}") for share in value])
        if (shares < 0).any():
            raise ValueError(f"{name}: no share may be negative, got {shares.min():g}.")
        total = float(shares.sum())
        if abs(total - 1.0) > _TOLERANCE:
            raise ValueError(f"{name}: shares must sum to 1, got {total:.9g}. Divide them by their sum.")
        return self.values_of(shares[None] / total if abs(total - 1.0) > 1e-9 else shares[None])[0]

    def in_range(self, value: Any) -> bool:
        """Whether a plain value lies within the range."""
        return True

    def wires_of(self, values: Sequence[Any]) -> Floats:
        """Plain values to wires."""
        return np.array(values, dtype=np.float64).reshape(len(values), self.n)

    def values_of(self, wire: Floats) -> list[Any]:
        """Wires to plain values."""
        return _rounded(wire).tolist()

    def array_of(self, wire: Floats) -> NDArray[Any]:
        """Plain values of wires as one array, for functions that take arrays."""
        return _rounded(wire)

    def from_unit(self, unit: Floats, *, relax: bool = False) -> Floats:
        """Unit block (configuration, n - 1) to shares (configuration, n)."""
        kept, before = self._stick(unit)
        return np.concatenate([before[:, :-1] * (1.0 - kept), before[:, -1:]], axis=1)

    def to_unit(self, wire: Floats) -> Floats:
        """Wires to the unit block (configuration, width)."""
        left = np.cumsum(wire[:, ::-1], axis=1)[:, ::-1]  # (configuration, n): what is left before each piece
        kept = np.divide(left[:, 1:], left[:, :-1], out=np.ones_like(left[:, 1:]), where=left[:, :-1] > 0)
        return np.clip(kept, 0.0, 1.0) ** self._pieces_after

    def snap(self, unit: Floats) -> Floats:
        """Within [0, 1]; where the stick is used up, the pieces after it take nothing: coordinate 1."""
        inside = np.clip(unit, 0.0, 1.0)
        used_up = np.cumsum(inside == 0.0, axis=1) - (inside == 0.0) > 0
        return np.where(used_up, 1.0, inside)

    def feature(self, wire: Floats) -> Floats:
        """Wires to features (configuration, columns)."""
        return wire

    def pull(
        self, unit: Floats, wire: Floats | None, feature: Floats | None, *, relax: bool = False
    ) -> Floats:
        """Cotangents of shares (configuration, n), as wire or feature, to those of the unit block.

        With t the kept parts and R what is left before each piece, share i is R_i (1 - t_i); a backward
        recursion over Q, the cotangent of all that is left per unit of stick, gives d/du_j = t'_j R_j (Q_j -
        g_j).
        """
        if wire is None and feature is None:
            return np.zeros_like(unit)
        g = sum((part for part in (wire, feature) if part is not None), np.zeros((len(unit), self.n)))
        kept, before = self._stick(unit)
        result = np.empty_like(unit)
        rest = g[:, -1]
        for j in range(self.n - 2, -1, -1):
            result[:, j] = before[:, j] * (rest - g[:, j])
            rest = (1.0 - kept[:, j]) * g[:, j] + kept[:, j] * rest
        # the slope of u**(1/k) is infinite at 0: stop it where doubles still behave
        power = 1.0 / self._pieces_after
        return result * power * np.maximum(unit, 1e-12) ** (power - 1.0)

    def text(self) -> str:
        """The range, for people."""
        return f"{self.n} shares" + (f" over {self.dim}" if self.dim else "")

    def _stick(self, unit: Floats) -> tuple[Floats, Floats]:
        """Parts kept at each break (configuration, n - 1), what is left before each (configuration, n)."""
        kept = np.clip(unit, 0.0, 1.0) ** (1.0 / self._pieces_after)
        before = np.concatenate([np.ones((len(unit), 1)), np.cumprod(kept, axis=1)], axis=1)
        return kept, before

    @cached_property
    def _pieces_after(self) -> Floats:
        """Pieces that follow each break: n - 1, ..., 1."""
        return np.arange(self.n - 1, 0, -1, dtype=np.float64)
