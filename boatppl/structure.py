"""The structure of a model: the names of its parts, where wires come from, order and blocks."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from boatppl.node import Derived, Node, Shared
from boatppl.space import Categorical, Ordinal, Simplex, Space, Vector
from boatppl.wiring import Source
from boatppl.words import ModelError, listed, nearest

Part = Node | Derived | Shared

# The axes of predictions and posteriors: a quantity of that name would stand in two places of a dataset.
RESERVED = ("chain", "draw", "sample", "trial", "row", "configuration", "residual_input", "residual_column")


class Structure:
    """The parts of a model by name, checked; nothing is run yet. See :class:`boatppl.DAGModel`.

    ``sources`` says where each wire comes from, ``order`` names the parts so that each comes after what it
    uses, ``block_numbers`` the block of every node and shared part, ``sizes`` the length of each dim.
    """

    def __init__(
        self,
        space: Space,
        parts: Sequence[Part],
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        listable = isinstance(parts, Iterable) and not isinstance(parts, str)
        if not (isinstance(space, Space) and listable):
            got = f"{parts!r} for the list" if isinstance(space, Space) else f"{space!r} for the space"
            raise ModelError(
                "DAGModel takes a boat.Space and a list of parts, as in DAGModel(space, [gc_rate, p99]); got "
                f"{got}."
            )
        if not (data is None or (isinstance(data, Mapping) and all(isinstance(name, str) for name in data))):
            raise ModelError(
                "data= is a dict from names to numbers or to (dim or dims, array), such as "
                f"{{'cores': ('machine', [4, 8])}}; got {data!r}."
            )
        self.space = space
        self.parts = _by_name(parts)
        self.data = {name: _data(name, value) for name, value in (data or {}).items()}
        self.coords = _coords(coords, _lengths(space, self.data), self.parts)
        self.sizes = {dim: len(names) for dim, names in self.coords.items()}
        self.sources = self._sources()
        self._check_wires()
        self.order = self._topological_order()
        self.block_numbers = self._find_blocks()

    def _sources(self) -> dict[str, Source]:
        """Return where each wire comes from; every name has one meaning."""
        found: dict[str, Source] = {}
        for name, parameter in self.space.parameters.items():
            dims = _own_dim(name, parameter) if isinstance(parameter, Vector) else ()
            self._add(found, Source(name, "parameter", dims, self._shape(dims), codes=_codes(parameter)))
        for name in self.space.contexts:
            self._add(found, Source(name, "context"))
        for name, (dims, value) in self.data.items():
            self._add(found, Source(name, "data", dims, value.shape, value=value))
        for name, part in self.parts.items():
            dims = part.over + part.dims
            self._add(found, Source(name, type(part).__name__.lower(), dims, self._shape(dims)))
        return found

    def _shape(self, dims: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self.sizes[dim] for dim in dims)

    def _add(self, found: dict[str, Source], source: Source) -> None:
        taken = {**dict.fromkeys(RESERVED, "an axis of predictions"), **dict.fromkeys(self.coords, "a dim")}
        taken |= {name: f"a {other.kind}" for name, other in found.items()}
        if source.name in taken:
            raise ModelError(
                f"{source.kind} {source.name!r} has the name of {taken[source.name]}; every name has one "
                "meaning: rename one."
            )
        found[source.name] = source

    # -- wires ------------------------------------------------------------

    def _check_wires(self) -> None:
        for part in self.parts.values():
            for name in part.wires:
                if name not in self.sources:
                    raise ModelError(
                        f"{part!r} takes {name!r}, which is no parameter, context, data, derived quantity, "
                        f"shared unknown or node of this model.{nearest(name, self.sources)} Known: "
                        f"{listed(self.sources)}. Rename the argument, or add what is missing to the parts."
                    )
                if isinstance(part, Derived) and self.sources[name].kind == "shared":
                    raise ModelError(
                        f"{part!r} takes the shared unknown {name!r}, but a derived quantity is a "
                        f"deterministic function of what is known or measured. Make {part.name!r} a "
                        "@boat.shared (a latent quantity)."
                    )
            if isinstance(part, Node) and part.residual is not None:
                for name in part.residual.inputs or ():
                    self._check_input(part, name)

    def _check_input(self, node: Node, name: str) -> None:
        """Raise a ModelError unless ``name`` may be an input of the node's residual."""
        source = self.sources.get(name)
        if source is None:
            raise ModelError(
                f"the residual of {node!r} has the input {name!r}, which is not in this model."
                f"{nearest(name, self.sources)} Known: {listed(self.sources)}."
            )
        if source.kind == "shared":
            raise ModelError(
                f"the residual of {node!r} has the input {name!r}, which is shared, and so unknown: inputs "
                "are parameters, contexts, nodes, derived quantities and data. Name what it is computed "
                f"from: {listed(self.origins([name])) or 'nothing, so leave it out'}."
            )
        if name == node.name:
            raise ModelError(f"the residual of {node!r} has itself as an input: take {name!r} out.")
        origins = self.origins([name])
        if all(self.sources[o].kind == "data" for o in origins) and not self._varies(name, node.over):
            raise ModelError(
                f"the residual of {node!r} has the {source.kind} {name!r} as an input, which is the same in "
                f"every row: an input varies between configurations, or along a dim of over=. Take {name!r} "
                "out."
            )
        blank = [o for o in origins if isinstance(part := self.parts.get(o), Node) and part.standardised]
        if source.kind == "derived" and blank:
            raise ModelError(
                f"the residual of {node!r} has the derived {name!r} as an input, which is computed from the "
                f"generic {blank[0]!r}: nothing is known of its scale before it is measured. Name "
                f"{blank[0]!r} itself."
            )

    def residual_inputs(self, node: Node) -> tuple[str, ...]:
        """Return what the node's residual is a function of, without what is the same in all its rows."""
        if node.residual is None:
            return ()
        wanted = node.residual.inputs
        names = self.origins(node.arguments) if wanted is None else wanted
        found = tuple(name for name in names if self._varies(name, node.over))
        if not found and wanted is None and node.residual.is_described:
            raise ModelError(
                f"residual= of {node!r} has nothing that it could be a function of: expected an input that "
                f"differs between runs, got {listed(names) or 'no arguments'}. Name parameters, contexts or "
                "nodes: boat.GP(inputs=[...]); or leave residual= out."
            )
        return found

    def _varies(self, name: str, over: tuple[str, ...]) -> bool:
        source = self.sources[name]
        if source.kind == "parameter":
            return name in self.space.slices  # fixed parameters have no coordinate
        if source.kind not in ("data", "derived") or set(source.dims) & set(over):
            return True
        origins = self.origins([name]) if source.kind == "derived" else ()
        return any(self._varies(origin, ()) for origin in origins)

    def origins(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return names, with what derived and shared ones are computed from in their place."""
        found: dict[str, None] = {}
        for name in names:
            part = self.parts.get(name)
            if isinstance(part, Derived | Shared):
                found |= dict.fromkeys(self.origins(part.arguments))
            else:
                found[name] = None
        return tuple(found)

    def unit_of(self, name: str) -> str:
        """Return the unit of a part, parameter or context; empty where it has none."""
        known: dict[str, Any] = {**self.parts, **self.space.parameters, **self.space.contexts}
        return getattr(known.get(name), "unit", None) or ""

    def parents(self, name: str) -> tuple[str, ...]:
        """Return everything a part uses: its wires and its residual's inputs."""
        part = self.parts[name]
        inputs = part.residual.inputs if isinstance(part, Node) and part.residual is not None else None
        return tuple(dict.fromkeys((*part.wires, *(inputs or ()))))

    # -- order and blocks ------------------------------------------------------------

    def _topological_order(self) -> tuple[str, ...]:
        """Return the parts so that each comes after its parents, otherwise as they were given (Kahn 1962)."""
        position = {name: i for i, name in enumerate(self.parts)}
        waits = {name: {p for p in self.parents(name) if p in self.parts} for name in self.parts}
        ready = [position[name] for name, needed in waits.items() if not needed]
        names, order = list(self.parts), []
        while ready:
            done = names[heapq.heappop(ready)]
            order.append(done)
            for name, needed in waits.items():
                if done in needed:
                    needed.remove(done)
                    if not needed:
                        heapq.heappush(ready, position[name])
        if len(order) < len(names):
            raise ModelError(
                f"the model has a circle: {' -> '.join(_circle(waits))}. A part may only use what is known "
                "before it; take one of these wires out."
            )
        return tuple(order)

    def _find_blocks(self) -> dict[str, int]:
        """Return part -> block number: nodes joined by the shared unknowns that they use."""
        group = {name: {name} for name, part in self.parts.items() if not isinstance(part, Derived)}
        for name in group:
            for used in self.parts[name].wires:
                if isinstance(self.parts.get(used), Shared):
                    group[name] |= group[used]
                    for member in group[name]:
                        group[member] = group[name]
        for name, part in self.parts.items():
            if isinstance(part, Shared) and not any(isinstance(self.parts[n], Node) for n in group[name]):
                raise ModelError(f"{part!r} is used by no node: name it as an argument, or take it out.")
        numbers: dict[int, int] = {}
        return {
            name: numbers.setdefault(id(group[name]), len(numbers)) for name in self.order if name in group
        }


def _by_name(parts: Sequence[Part]) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for part in parts:
        if not isinstance(part, Node | Derived | Shared):
            raise ModelError(
                f"DAGModel takes what @boat.node, @boat.derived and @boat.shared made; got {part!r}. "
                "Decorate the function."
            )
        if part.name in found:
            raise ModelError(
                f"two parts of the model are called {part.name!r}; every name has one meaning: rename one."
            )
        found[part.name] = part
    if not any(isinstance(part, Node) for part in found.values()):
        raise ModelError("a model needs at least one @boat.node; got none.")
    return found


def _own_dim(name: str, parameter: Vector) -> tuple[str, ...]:
    return (parameter.dim or f"{name}_{'share' if isinstance(parameter, Simplex) else 'member'}",)


def _codes(parameter: Any) -> dict[Any, float]:
    """Return choice -> the number that arrives, for parameters whose values are no numbers."""
    if isinstance(parameter, Categorical):
        return {choice: i for i, choice in enumerate(parameter.choices)}
    if isinstance(parameter, Ordinal) and not parameter.numeric:
        return {value: i for i, value in enumerate(parameter.values)}
    return {}


def _data(name: str, value: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Return dims and array of one entry of ``data=``: a number, or ``(dim or dims, array)``."""
    dims: tuple[str, ...] = ()
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str | tuple | list):
        dims, value = ((value[0],) if isinstance(value[0], str) else tuple(value[0])), value[1]
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise ModelError(f"data {name!r} is numbers; got {value!r}.") from error
    if array.ndim != len(dims) or not np.isfinite(array).all():
        raise ModelError(
            f"data {name!r} is finite numbers with a dim for each axis, such as ('machine', [4, 8]); got "
            f"shape {array.shape} with dims "
            f"{dims}{'' if np.isfinite(array).all() else ' and values that are not finite'}."
        )
    return dims, array


def _lengths(
    space: Space, data: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
) -> list[tuple[str, str, int]]:
    """Return (who, dim, length) for everything that gives a dim its length."""
    vectors = {name: p for name, p in space.parameters.items() if isinstance(p, Vector)}
    found = [(f"parameter {name!r}", _own_dim(name, p)[0], p.n) for name, p in vectors.items()]
    return found + [
        (f"data {name!r}", dim, length)
        for name, (dims, value) in data.items()
        for dim, length in zip(dims, value.shape, strict=True)
    ]


def _coords(
    given: Mapping[str, Sequence[Any]] | None,
    lengths: Sequence[tuple[str, str, int]],
    parts: Mapping[str, Part],
) -> dict[str, list[Any]]:
    """Return the names of the elements along each dim; dims without names are numbered."""
    known = {} if given is None else given
    if not isinstance(known, Mapping) or not all(
        isinstance(dim, str) and isinstance(names, Iterable) and not isinstance(names, str)
        for dim, names in known.items()
    ):
        raise ModelError(
            "coords= is a dict from each dim to the names along it, such as {'machine': ['a', 'b']}; got "
            f"{given!r}."
        )
    coords = {dim: list(names) for dim, names in known.items()}
    said = {dim: f"coords={{{dim!r}: ...}}" for dim in coords}
    for dim, names in coords.items():
        if len(set(names)) < len(names):
            raise ModelError(f"coords of {dim!r} are different names, one for each element; got {names}.")
    for who, dim, length in lengths:
        if length != len(coords.setdefault(dim, list(range(length)))):
            raise ModelError(
                f"{who} has {length} elements along {dim!r}, but {said[dim]} has {len(coords[dim])}: make "
                "them equal."
            )
        said.setdefault(dim, who)
    for part in parts.values():
        for dim in (*part.over, *part.dims):
            if dim not in coords:
                raise ModelError(
                    f"{part!r} uses the dim {dim!r}, which nothing gives a length: pass "
                    f"coords={{{dim!r}: [...]}} to DAGModel.{nearest(dim, coords)}"
                )
    for dim in coords:
        if dim in RESERVED or not dim.isidentifier():
            raise ModelError(
                f"the dim {dim!r} needs another name: an identifier other than {listed(RESERVED)}."
            )
    return coords


def _circle(waits: Mapping[str, set[str]]) -> list[str]:
    """Return one circle among parts that wait for each other, in the direction of the wires."""
    name = next(name for name, needed in waits.items() if needed)
    path: list[str] = []
    while name not in path:
        path.append(name)
        name = next(p for p in sorted(waits[name]) if waits[p])
    return [*path[path.index(name) :], name][::-1]
