"""The structure of a model: what its parts are called, where wires come from, in which order, in which blocks."""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boatppl.node import Derived, Node, Shared
from boatppl.space import Space
from boatppl.wiring import Source
from boatppl.words import ModelError, listed, nearest

Part = Node | Derived | Shared


class Structure:
    """The parts of a model by name, checked; nothing is run yet. See :class:`boatppl.DAGModel` for the parameters."""

    def __init__(
        self,
        space: Space,
        parts: Sequence[Part],
        *,
        coords: Mapping[str, Sequence[Any]] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.space = space
        self.parts = _by_name(parts)
        self.data = {name: _data(name, value) for name, value in (data or {}).items()}
        self.coords = self._coords(coords)
        self.sizes = {dim: len(names) for dim, names in self.coords.items()}
        self.sources = self._sources()
        self._check_wires()
        self.order = self._topological_order()
        self.block_numbers = self._find_blocks()

    def _coords(self, coords: Mapping[str, Sequence[Any]] | None) -> dict[str, list[Any]]:
        found = {dim: list(names) for dim, names in (coords or {}).items()}
        lengths = {dim: len(names) for dim, names in found.items()}
        for name, parameter in self.space.parameters.items():
            dim, size = getattr(parameter, "dim", None), getattr(parameter, "n", None)
            if dim is not None:
                _check_length(lengths, dim, size, f"parameter {name!r}")
                found.setdefault(dim, list(range(size)))
        for name, (dims, value) in self.data.items():
            for dim, size in zip(dims, value.shape, strict=True):
                _check_length(lengths, dim, size, f"data {name!r}")
                found.setdefault(dim, list(range(size)))
        for part in self.parts.values():
            for dim in (*getattr(part, "over", ()), *getattr(part, "dims", ())):
                if dim not in found:
                    raise ModelError(
                        f"{part!r} uses the dim {dim!r}, which nothing gives a length: pass coords={{{dim!r}: [...]}} to "
                        f"DAGModel.{nearest(dim, found)}"
                    )
        return found

    def _sources(self) -> dict[str, Source]:
        sources: dict[str, Source] = {}
        for name, parameter in self.space.parameters.items():
            dim = getattr(parameter, "dim", None)
            choices = getattr(parameter, "choices", ())
            dims = (dim,) if dim else (f"{name}_share",) if hasattr(parameter, "n") else ()
            if dims and dims[0] not in self.coords:
                self.coords[dims[0]] = list(range(parameter.n))
                self.sizes[dims[0]] = parameter.n
            sources[name] = Source(name, "parameter", dims, {str(c): i for i, c in enumerate(choices)})
        sources |= {name: Source(name, "context") for name in self.space.contexts}
        for name, (dims, value) in self.data.items():
            _check_new(name, "data", sources)
            sources[name] = Source(name, "data", dims, value=value)
        for name, part in self.parts.items():
            kind = type(part).__name__.lower()
            _check_new(name, kind, sources)
            dims = part.dims if isinstance(part, Shared) else part.over
            sources[name] = Source(name, kind, dims + (part.dims if isinstance(part, Derived) else ()))
        return sources

    def _check_wires(self) -> None:
        for part in self.parts.values():
            forbidden = {"shared"} if isinstance(part, Derived) else set()
            for name in part.arguments:
                if name not in self.sources:
                    raise ModelError(
                        f"{part!r} takes {name!r}, which is no parameter, context, data, derived quantity, shared unknown or "
                        f"node of this model.{nearest(name, self.sources)} Known: {listed(self.sources)}."
                    )
                if self.sources[name].kind in forbidden:
                    raise ModelError(
                        f"{part!r} takes the shared unknown {name!r}, but a derived quantity is a deterministic function of "
                        f"parameters and nodes. Make {part.name!r} a @boat.shared (a latent quantity)."
                    )
            if isinstance(part, Node) and part.residual is not None:
                self._check_inputs(part, part.residual.inputs or ())

    def _check_inputs(self, node: Node, inputs: Sequence[str]) -> None:
        for name in inputs:
            source = self.sources.get(name)
            if source is None:
                raise ModelError(
                    f"the residual of {node!r} has the input {name!r}, which is not in this model."
                    f"{nearest(name, self.sources)} Known: {listed(self.sources)}."
                )
            if source.kind in ("derived", "shared"):
                raise ModelError(
                    f"the residual of {node!r} has the input {name!r}, which is {source.kind}: inputs are parameters, contexts, "
                    f"nodes and data. Name what {name!r} is computed from: {listed(self.origins([name]))}."
                )
            if name == node.name:
                raise ModelError(f"the residual of {node!r} has itself as an input.")

    def origins(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return names with derived and shared ones replaced by the parameters, contexts, nodes and data they use."""
        found: dict[str, None] = {}
        for name in names:
            part = self.parts.get(name)
            if isinstance(part, Derived | Shared):
                found |= dict.fromkeys(self.origins(part.arguments))
            else:
                found[name] = None
        return tuple(found)

    def parents(self, name: str) -> tuple[str, ...]:
        """Return what a part uses: its function's, its noise function's and its residual's inputs."""
        part = self.parts[name]
        names = dict.fromkeys(part.arguments)
        if isinstance(part, Node):
            if callable(part.noise) and hasattr(part.noise, "__code__"):
                names |= dict.fromkeys(part.noise.__code__.co_varnames[: part.noise.__code__.co_argcount])
            if part.residual is not None:
                names |= dict.fromkeys(part.residual.inputs or ())
        return tuple(names)

    def _topological_order(self) -> tuple[str, ...]:
        position = {name: i for i, name in enumerate(self.parts)}
        waits = {name: {p for p in self.parents(name) if p in self.parts} for name in self.parts}
        ready = [position[name] for name, needed in waits.items() if not needed]
        heapq.heapify(ready)
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
                f"the model has a circle: {' -> '.join(_circle(waits))}. A node may only use what is known before it; take "
                f"one of these wires out."
            )
        return tuple(order)

    def _find_blocks(self) -> dict[str, int]:
        """Return part name -> block number: nodes joined by the shared unknowns that they use (union-find)."""
        root = {name: name for name, part in self.parts.items() if not isinstance(part, Derived)}

        def find(name: str) -> str:
            while root[name] != name:
                name = root[name]
            return name

        for name in root:
            for used in self.parts[name].arguments:
                if isinstance(self.parts.get(used), Shared):
                    root[find(name)] = find(used)
        numbers: dict[str, int] = {}
        result = {}
        for name in self.order:
            if name in root:
                result[name] = numbers.setdefault(find(name), len(numbers))
        for name, part in self.parts.items():
            users = [n for n in result if result[n] == result.get(name) and isinstance(self.parts[n], Node)]
            if isinstance(part, Shared) and not users:
                raise ModelError(f"{part!r} is used by no node: take it out of the model or name it as an argument.")
        return result


def _by_name(parts: Sequence[Part]) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for part in parts:
        if not isinstance(part, Node | Derived | Shared):
            raise ModelError(
                f"DAGModel takes what @boat.node, @boat.derived and @boat.shared made; got {part!r}. "
                f"Decorate the function."
            )
        if part.name in found:
            raise ModelError(f"two parts of the model are called {part.name!r}; every name has one meaning: rename one.")
        found[part.name] = part
    if not any(isinstance(part, Node) for part in found.values()):
        raise ModelError("a model needs at least one @boat.node; got none.")
    return found


def _data(name: str, value: Any) -> tuple[tuple[str, ...], np.ndarray]:
    dims, array = value if isinstance(value, tuple) and len(value) == 2 else ((), value)
    dims = (dims,) if isinstance(dims, str) else tuple(dims)
    array = np.asarray(array, float)
    if array.ndim != len(dims) or not np.isfinite(array).all():
        raise ModelError(
            f"data {name!r} is finite numbers with a dim for each axis, such as ('machine', [4, 8]); got shape "
            f"{array.shape} with dims {dims}."
        )
    return dims, array


def _check_length(lengths: dict[str, int], dim: str, size: int, who: str) -> None:
    if lengths.setdefault(dim, size) != size:
        raise ModelError(f"{who} has {size} elements along {dim!r}, but {lengths[dim]} were expected.")


def _check_new(name: str, kind: str, sources: Mapping[str, Source]) -> None:
    if name in sources:
        raise ModelError(f"{kind} {name!r} has the name of a {sources[name].kind}; every name has one meaning: rename one.")


def _circle(waits: Mapping[str, set[str]]) -> list[str]:
    name = next(name for name, needed in waits.items() if needed)
    path: list[str] = []
    while name not in path:
        path.append(name)
        name = next(p for p in sorted(waits[name]) if waits[p])
    return [*path[path.index(name) :], name][::-1]
