"""The unit cube: configurations as rows of numbers in [0, 1], and what models and residuals read off them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boatppl.space.conditions import condition_order
from boatppl.space.numeric import Context, Floats, Integer, within
from boatppl.space.parameters import Parameter, Vector
from boatppl.space.predicate import Predicate
from boatppl.space.subset import Subset
from boatppl.words import listed, nearest

Masks = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class UnitCube:
    """The map between configurations and the unit cube, for one set of parameters, conditions and held
    values.

    parameters : every parameter in the space's order.
    contexts : what the world sets.
    conditions : for each conditional parameter the predicate that makes it matter.
    held : plain values of parameters that never move; they have no coordinate.
    resting : the plain value each parameter has where it is inactive.
    """

    parameters: Mapping[str, Parameter]
    contexts: Mapping[str, Context]
    conditions: Mapping[str, Predicate]
    held: Mapping[str, Any]
    resting: Mapping[str, Any]

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The coordinates of each moving parameter."""
        slices, start = {}, 0
        for name, parameter in self.parameters.items():
            if name not in self.held:
                slices[name] = slice(start, start + parameter.width)
                start += parameter.width
        return slices

    @cached_property
    def dimension(self) -> int:
        """How many coordinates there are."""
        return sum(self.parameters[name].width for name in self.slices)

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """A name per coordinate; those of a vector are numbered."""
        names: list[str] = []
        for name in self.slices:
            parameter = self.parameters[name]
            many = isinstance(parameter, Vector)
            names += [f"{name}[{i}]" for i in range(parameter.width)] if many else [name]
        return tuple(names)

    @cached_property
    def continuous(self) -> NDArray[np.bool_]:
        """Which coordinates move values smoothly (coordinate,)."""
        flags = [
            np.full(self.parameters[name].width, self.parameters[name].continuous) for name in self.slices
        ]
        return np.concatenate([np.zeros(0, dtype=bool), *flags])

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Conditional parameters, parents before children."""
        return tuple(name for name in condition_order(self.conditions) if name in self.conditions)

    def array(self, unit: ArrayLike) -> Floats:
        """`unit` as an array (configuration, coordinate); raises ValueError for another shape or NaN."""
        rows = np.asarray(unit, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(
                f"unit must have shape (configuration, {self.dimension}), one column for each of "
                f"{listed(self.coordinates)}; got shape {rows.shape}."
                + (" Write unit[None] for a single row." if rows.shape == (self.dimension,) else "")
            )
        if np.isnan(rows).any():
            raise ValueError("unit holds NaN; every coordinate must be a number.")
        return rows

    def encode(self, configurations: Sequence[Mapping[str, Any]]) -> Floats:
        """See `Space.encode`."""
        wires: dict[str, Floats] = {}
        for name, parameter in self.parameters.items():
            try:
                wires[name] = parameter.wires_of([configuration[name] for configuration in configurations])
            except (KeyError, TypeError, ValueError) as error:
                what = "misses it" if isinstance(error, KeyError) else str(error)
                raise ValueError(
                    f"cannot encode {name}: a configuration {what} — pass it through space.validate first."
                ) from error
        result = np.empty((len(configurations), self.dimension))
        active = self._rest(wires)
        for name, block in self.slices.items():
            rows = self.parameters[name].to_unit(wires[name])
            result[:, block] = (
                rows
                if name not in active
                else np.where(active[name][:, None], rows, self._resting_unit[name])
            )
        return result

    def decode(self, unit: ArrayLike) -> list[dict[str, Any]]:
        """Unit rows to configurations within the ranges, in the space's order."""
        wires, _ = self.read(within(self.array(unit), 0.0, 1.0))
        columns = [p.values_of(wires[name]) for name, p in self.parameters.items()]
        names = tuple(self.parameters)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def snap(self, unit: ArrayLike) -> Floats:
        """The canonical row of each configuration: middles of bins, inactive parameters at rest."""
        rows = within(self.array(unit), 0.0, 1.0)
        result = np.empty_like(rows)
        for name, block in self.slices.items():
            result[:, block] = self.parameters[name].snap(rows[:, block])
        if self.conditions:
            _, active = self.read(rows)
            self._rest_unit(result, active)
        return result

    def read(self, unit: Floats, *, relax: bool = False) -> tuple[dict[str, Floats], Masks]:
        """Wires by name, and for conditional parameters the mask (configuration,) of where they are active.

        `relax` leaves Integers and memberships unrounded; conditions are always read from rounded values.
        """
        wires: dict[str, Floats] = {}
        for name, parameter in self.parameters.items():
            if name in self.held:
                wires[name] = np.repeat(self._resting_wire[name], len(unit), axis=0)
            else:
                wires[name] = parameter.from_unit(unit[:, self.slices[name]])
        active = self._rest(wires)
        if relax:
            for name in self.slices:
                parameter = self.parameters[name]
                if isinstance(parameter, Integer | Subset):
                    soft = parameter.from_unit(unit[:, self.slices[name]], relax=True)
                    on = active.get(name, np.ones(len(unit), bool)).reshape(-1, *[1] * (soft.ndim - 1))
                    wires[name] = np.where(on, soft, wires[name])
        return wires, active

    def wires(self, unit: ArrayLike, context: Mapping[str, Any] | None, *, relax: bool) -> dict[str, Floats]:
        """See `Space.wires`."""
        rows = self.array(unit)
        wires, _ = self.read(rows, relax=relax)
        wires.update({name: self.context_wire(name, context, len(rows)) for name in self.contexts})
        for name in context or {}:
            check_context_name(name, self.contexts)
        return wires

    def features(
        self, unit: ArrayLike, name: str, context: Mapping[str, Any] | None, *, relax: bool
    ) -> Floats:
        """See `Space.features`."""
        rows = self.array(unit)
        self.check_name(name)
        if name in self.contexts:
            return self.contexts[name].feature(self.context_wire(name, context, len(rows)))
        wires, _ = self.restricted({name}).read(rows[:, self._columns_of(name)], relax=relax)
        return self.parameters[name].feature(wires[name])

    def pullback(
        self, unit: ArrayLike, wires: Mapping[str, Floats], features: Mapping[str, Floats], *, relax: bool
    ) -> Floats:
        """See `Space.pullback`."""
        rows = self.array(unit)
        for name in {*wires, *features}:
            self.check_name(name)
        _, active = self.read(rows) if self.conditions else ({}, {})
        result = np.zeros_like(rows)
        for name, block in self.slices.items():
            if name not in wires and name not in features:
                continue
            pulled = self.parameters[name].pull(
                rows[:, block], wires.get(name), features.get(name), relax=relax
            )
            result[:, block] = pulled if name not in active else pulled * active[name][:, None]
        return result

    def context_wire(self, name: str, context: Mapping[str, Any] | None, count: int) -> Floats:
        """The values (configuration,) of one context, from a scalar or an array."""
        if context is None or name not in context:
            hint = "" if context is None else nearest(name, context)
            raise ValueError(
                f"the context {name!r} is missing: give context={{{name!r}: ...}} "
                f"({self.contexts[name].text()}), one number or one for each of {count} configurations.{hint}"
            )
        values = np.asarray(context[name], dtype=np.float64)
        if values.ndim > 1 or (values.ndim == 1 and len(values) != count):
            raise ValueError(
                f"the context {name!r} must be one number or one for each configuration, "
                f"shape ({count},); got shape {values.shape}."
            )
        if not np.isfinite(values).all() or (self.contexts[name].log and (values <= 0).any()):
            raise ValueError(
                f"the context {name!r} must be finite{' and above 0' * self.contexts[name].log}."
            )
        return np.broadcast_to(values, (count,)).astype(np.float64)

    def check_name(self, name: str) -> None:
        """Raises ValueError unless `name` is a parameter or a context."""
        if name not in self.parameters and name not in self.contexts:
            known = [*self.parameters, *self.contexts]
            raise ValueError(
                f"{name!r} is neither parameter nor context.{nearest(name, known)} Known: {listed(known)}."
            )

    def restricted(self, names: Iterable[str]) -> UnitCube:
        """The cube of `names` and the parents that decide whether they are active."""
        wanted = set(names)
        open_names = list(wanted)
        while open_names:
            condition = self.conditions.get(open_names.pop())
            fresh = [] if condition is None else [n for n in condition.names if n not in wanted]
            wanted.update(fresh)
            open_names += fresh
        key = frozenset(wanted)
        if key not in self._parts:
            keep = [name for name in self.parameters if name in wanted]
            self._parts[key] = UnitCube(
                parameters={name: self.parameters[name] for name in keep},
                contexts={},
                conditions={name: self.conditions[name] for name in keep if name in self.conditions},
                held={name: self.held[name] for name in keep if name in self.held},
                resting={name: self.resting[name] for name in keep},
            )
        return self._parts[key]

    def _columns_of(self, name: str) -> NDArray[np.intp]:
        part = self.restricted({name})
        blocks = [np.arange(self.slices[n].start, self.slices[n].stop) for n in part.slices]
        return np.concatenate([np.zeros(0, dtype=np.intp), *blocks])

    def _rest(self, wires: dict[str, Floats]) -> Masks:
        """Puts inactive parameters to rest in `wires`; gives the masks of where each is active."""
        active: Masks = {}
        for name in self.order:
            condition = self.conditions[name]
            mask = condition.holds(wires)
            for parent in condition.names:
                if parent in active:
                    mask = mask & active[parent]
            active[name] = mask
            wide = mask if wires[name].ndim == 1 else mask[:, None]
            wires[name] = np.where(wide, wires[name], self._resting_wire[name])
        return active

    def _rest_unit(self, unit: Floats, active: Masks) -> None:
        for name, mask in active.items():
            if name in self.slices:
                unit[np.ix_(~mask, np.arange(self.dimension)[self.slices[name]])] = self._resting_unit[name]

    @cached_property
    def _resting_wire(self) -> dict[str, Floats]:
        """(1,) or (1, n) for each parameter."""
        return {name: p.wires_of([self.resting[name]]) for name, p in self.parameters.items()}

    @cached_property
    def _resting_unit(self) -> dict[str, Floats]:
        """(1, width) for each parameter."""
        return {name: p.to_unit(self._resting_wire[name]) for name, p in self.parameters.items()}

    @cached_property
    def _parts(self) -> dict[frozenset[str], UnitCube]:
        return {}


def check_context_name(name: str, contexts: Mapping[str, Context]) -> None:
    """Raises ValueError unless `name` is a context."""
    if name not in contexts:
        known = f"Contexts: {listed(contexts)}." if contexts else "This space has none."
        raise ValueError(f"{name!r} is no context.{nearest(name, contexts)} {known}")
