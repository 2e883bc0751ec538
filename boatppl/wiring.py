"""From functions to graphs: the developer's functions are run once, here; all else interprets the graphs.

A wire is a symbolic placeholder. ``Key(name, dims)`` says in which form a quantity arrives: with the dims
that are left after those of ``over=`` are taken off, so a per-machine quantity has the key ``(name,
("machine",))`` where the whole vector arrives and ``(name, ())`` where one machine's scalar does.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from boatppl.node import Derived, Node, Shared
from boatppl.source import compared
from boatppl.words import ModelError, nearest


class Key(NamedTuple):
    """A quantity and the dims with which it arrives at a function."""

    name: str
    dims: tuple[str, ...]


class Codes:
    """The constants of a categorical: ``gc.codes.g1``, or ``gc.codes["g1"]`` for any choice."""

    def __init__(self, wire: str, codes: Mapping[Any, float]) -> None:
        self._wire, self._codes = wire, dict(codes)

    def __getitem__(self, choice: Any) -> float:
        if choice not in self._codes:
            raise ModelError(self._unknown(choice))
        return self._codes[choice]

    def __getattr__(self, choice: str) -> float:
        if choice.startswith("_"):
            raise AttributeError(choice)
        if choice not in self._codes:
            raise AttributeError(self._unknown(choice))
        return self._codes[choice]

    def __dir__(self) -> list[str]:
        return [choice for choice in self._codes if isinstance(choice, str) and choice.isidentifier()]

    def _unknown(self, choice: Any) -> str:
        if not self._codes:
            return f"{self._wire!r} has no codes: it arrives as a number, as in pt.eq({self._wire}, 4)."
        names = [str(code) for code in self._codes]
        hint = nearest(str(choice), names, cutoff=0.4)  # codes are short
        return (
            f"a code of {self._wire!r} is one of {', '.join(map(repr, self._codes))}; got {choice!r}.{hint}"
        )


class Wire(TensorVariable):
    """A placeholder for what arrives at a developer's function; comparing it in Python is an error."""

    codes: Codes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str | int | float | np.generic | np.ndarray):
            wanted = f"{self.name}.codes[{other!r}]" if isinstance(other, str) else repr(other)
            raise ModelError(
                f"`{self.name} == {other!r}` compares a wire in Python, but the function is run once, "
                f"before any value is known. Use pt.switch(pt.eq({self.name}, {wanted}), a, b) (import "
                "pytensor.tensor as pt)."
            )
        return self is other

    __hash__ = object.__hash__


@dataclass(frozen=True)
class Source:
    """Where a wire comes from: its kind, its dims and their lengths, and its codes if it is categorical."""

    name: str
    kind: str  # "parameter", "context", "data", "derived", "node" or "shared"
    dims: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    codes: Mapping[Any, float] = field(default_factory=dict)
    value: np.ndarray | None = None  # of data


@dataclass(frozen=True, eq=False)
class Graph:
    """A function that was run: its expression and, where a node's noise is a function, that one's."""

    part: Node | Derived | Shared
    expression: TensorVariable
    noise: TensorVariable | None


class Wiring:
    """The sources of one model by name, and the one placeholder of each form in which they arrive."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = dict(sources)
        self.placeholders: dict[Key, TensorVariable] = {}
        self.shared: dict[str, TensorVariable] = {}

    def graph(self, part: Node | Derived | Shared) -> Graph:
        """Run a part's function (and a node's noise function) once."""
        expression = _run(part, part.function, self)
        if isinstance(part, Shared):
            self.shared[part.name] = expression
        if isinstance(part, Node) and inspect.isfunction(part.noise):
            return Graph(part, expression, _run(part, part.noise, self, "its noise function"))
        return Graph(part, expression, None)

    def arrive(self, name: str, over: tuple[str, ...]) -> TensorVariable:
        """Return what arrives for the wire ``name`` at a function written for one element of ``over``."""
        source = self.sources[name]
        rest = tuple(dim for dim in source.dims if dim not in over)
        if source.kind == "data" and rest == source.dims:
            return pt.constant(source.value, name=name)
        if source.kind == "shared" and rest == source.dims:
            return self.shared[name]
        return self.placeholder(Key(name, rest))

    def placeholder(self, key: Key) -> TensorVariable:
        """Return the one placeholder of a key."""
        if key not in self.placeholders:
            source = self.sources[key.name]
            wire = Wire(pt.TensorType("float64", shape=self.shape(key)), None, None, name=key.name)
            wire.codes = Codes(key.name, source.codes)
            self.placeholders[key] = wire
        return self.placeholders[key]

    def shape(self, key: Key) -> tuple[int, ...]:
        """Return the lengths of a key's dims."""
        source = self.sources[key.name]
        return tuple(n for dim, n in zip(source.dims, source.shape, strict=True) if dim in key.dims)

    def dependencies(self, outputs: Sequence[TensorVariable]) -> dict[Key, TensorVariable]:
        """Return the placeholders among the ancestors of expressions; elements of shared ones resolved."""
        found: dict[Key, TensorVariable] = {}
        reached = set(ancestors(list(outputs)))
        for key, wire in list(self.placeholders.items()):
            if wire in reached:
                found[key] = wire
                if self.sources[key.name].kind == "shared":
                    found |= self.dependencies([self.shared[key.name]])
        return found


def _run(
    part: Node | Derived | Shared, function: Callable[..., Any], wiring: Wiring, what: str = "its function"
) -> TensorVariable:
    """Run a developer's function inside the current PyMC model and return its expression."""
    names = tuple(inspect.signature(function).parameters)
    try:
        result = function(*[wiring.arrive(name, part.over) for name in names])
    except TypeError as error:
        if "Name needs to be a string" in str(error):
            raise ModelError(
                f"{part!r} makes an unknown without a name ({error}). The first argument is its name, the "
                "others its prior's: pm.Normal('slope', 0, 1)."
            ) from error
        if "converted to Python" not in str(error):
            raise
        raise ModelError(
            f"{part!r} branches or computes in Python (if, and, or, not, max, min, range, float, math) on a "
            "wire or variable, but it is run once, before any value is known. Use pt.switch(condition, a, "
            "b), pt.maximum, pt.log and the like (import pytensor.tensor as pt)."
        ) from error
    except ValueError as error:
        if "already exists" not in str(error):
            raise
        raise ModelError(
            f"{part!r}: {error} Every unknown of a block has a name of its own: rename one."
        ) from error
    comparison = compared(function)
    if comparison is not None:
        raise ModelError(
            f"{part!r}: `{comparison}` compares in Python, but the function is run once, before any value is "
            f"known. Use pt.switch(pt.eq(..., ...), a, b) (import pytensor.tensor as pt)."
        )
    return _checked(part, what, result, names, wiring)


def _checked(
    part: Node | Derived | Shared, what: str, result: Any, names: tuple[str, ...], wiring: Wiring
) -> TensorVariable:
    """Return the result as a tensor; raise a ModelError unless it is one of the right rank and lengths."""
    if result is None or isinstance(result, str | bytes | Mapping) or callable(result):
        raise ModelError(
            f"{part!r}: {what} must return a tensor expression of its wires and variables; got {result!r}. "
            f"Is there a `return` at its end?"
        )
    try:
        tensor = pt.as_tensor_variable(result)
    except Exception as error:
        raise ModelError(f"{part!r}: {what} must return a tensor expression; got {result!r}.") from error
    source = wiring.sources[part.name]
    expected = source.shape[len(part.over) :]
    free = isinstance(part, Shared) and not expected  # a vector of unknowns without a name for its elements
    lengths = zip(tensor.type.shape, expected, strict=False)
    if not free and (tensor.ndim != len(expected) or any(got not in (None, n) for got, n in lengths)):
        vectors = [name for name in names if wiring.arrive(name, part.over).ndim]
        hint = f"{vectors[0]} arrives as a vector: " if vectors else ""
        shape = f"shape {expected} for dims={part.dims}" if part.dims else "one number"
        raise ModelError(
            f"{part!r}: {what} returns shape {tensor.type.shape}, expected {shape}. {hint}Reduce it (.sum(), "
            f".max()), write the function for one element with over=, or name the dims of a @boat.derived or "
            f"@boat.shared with dims=."
        )
    return tensor.astype("float64")
