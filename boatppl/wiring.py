"""From functions to graphs: the developer's functions are run once, here; everything after interprets the graphs.

A wire is a symbolic placeholder. ``Key(name, dims)`` says in which form a quantity arrives: with the dims that are left
after those of ``over=`` are taken off, so a per-machine quantity has the key ``(name, ("machine",))`` where the whole
vector arrives and ``(name, ())`` where one machine's scalar does.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from boatppl.node import Derived, Node, Shared
from boatppl.words import ModelError

NAMES_OF_THE_RESIDUAL = ("amplitude", "lengthscale", "noise")


class Key(NamedTuple):
    """A quantity and the dims with which it arrives at a function."""

    name: str
    dims: tuple[str, ...]


class Wire(TensorVariable):
    """A placeholder for what arrives at a developer's function. Comparing it in Python is an error with a remedy."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str | int | float | np.generic):
            raise ModelError(
                f"`{self.name} == {other!r}` compares a wire in Python, but the function is run once, before any value "
                f"is known. Use pt.switch(pt.eq({self.name}, ...), a, b) (import pytensor.tensor as pt); the codes of a "
                f"categorical are in {self.name}.codes."
            )
        return self is other

    __hash__ = object.__hash__


@dataclass(frozen=True)
class Source:
    """Where a wire comes from: its kind, its dims, and (for a categorical) its codes."""

    name: str
    kind: str  # "parameter", "context", "data", "derived", "node" or "shared"
    dims: tuple[str, ...] = ()
    codes: Mapping[str, int] = field(default_factory=dict)
    value: np.ndarray | None = None  # of data


@dataclass(frozen=True, eq=False)
class Graph:
    """A function that was run: its expression and the placeholders it depends on."""

    part: Node | Derived | Shared
    expression: TensorVariable
    noise: TensorVariable | None
    wires: Mapping[Key, TensorVariable]


class Wiring:
    """The sources of one model by name, and the one placeholder of each form in which they arrive."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = dict(sources)
        self.placeholders: dict[Key, TensorVariable] = {}
        self.shared: dict[str, TensorVariable] = {}

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
            kind = pt.tensor("kind", dtype="float64", shape=(None,) * len(key.dims)).type
            wire = Wire(kind, None, None, name=key.name)
            codes = self.sources[key.name].codes
            if codes:
                wire.codes = _Codes(codes)
            self.placeholders[key] = wire
        return self.placeholders[key]

    def run(self, part: Node | Derived | Shared, function: Callable[..., Any], over: tuple[str, ...]) -> TensorVariable:
        """Run a developer's function once, inside the current PyMC model, and return its expression."""
        names = tuple(inspect.signature(function).parameters)
        try:
            result = function(*[self.arrive(name, over) for name in names])
        except TypeError as error:
            if "boolean" not in str(error).lower():
                raise
            raise ModelError(
                f"{part!r} branches in Python (if, and, or, not, max, min) on a wire or variable, but it is run once, "
                f"before any value is known. Use pt.switch(condition, a, b), pt.maximum or pt.minimum "
                f"(import pytensor.tensor as pt)."
            ) from error
        return self.checked(part, result, names)

    def checked(self, part: Node | Derived | Shared, result: Any, names: tuple[str, ...]) -> TensorVariable:
        """Return the result as a tensor; raise a ModelError unless it is one of the right rank."""
        if result is None or isinstance(result, str | bytes | Mapping) or callable(result):
            raise ModelError(
                f"{part!r} must return a tensor expression of its wires and variables; got {result!r}. "
                f"Is there a `return` at its end?"
            )
        try:
            tensor = pt.as_tensor_variable(result)
        except Exception as error:
            raise ModelError(f"{part!r} must return a tensor expression; got {result!r}.") from error
        rank = 0 if isinstance(part, Node) else len(part.dims)
        if tensor.ndim != rank and not (isinstance(part, Shared) and rank == 0):
            vectors = [n for n in names if self.sources[n].dims]
            raise ModelError(
                f"{part!r} returns {tensor.ndim} dimension(s), expected {rank}"
                + (f" for dims={part.dims}" if rank else ": one number")
                + (f". {vectors[0]} arrives as a vector along {self.sources[vectors[0]].dims}: " if vectors else ". ")
                + "reduce it (.sum(), .max()), or write the function for one element with over=."
            )
        return tensor.astype("float64")

    def graph(self, part: Node | Derived | Shared) -> Graph:
        """Run a part's function (and a node's noise function) and collect what it depends on."""
        over = () if isinstance(part, Shared) else part.over
        expression = self.run(part, part.function, over)
        noise = None
        if isinstance(part, Node) and inspect.isfunction(part.noise):
            noise = self.run(part, part.noise, over)
        if isinstance(part, Shared):
            self.shared[part.name] = expression
        outputs = [expression] if noise is None else [expression, noise]
        return Graph(part, expression, noise, self.dependencies(outputs))

    def dependencies(self, outputs: Sequence[TensorVariable]) -> dict[Key, TensorVariable]:
        """Return the placeholders among the ancestors of expressions, elements of shared quantities resolved."""
        found: dict[Key, TensorVariable] = {}
        reached = set(ancestors(list(outputs)))
        for key, wire in list(self.placeholders.items()):
            if wire in reached:
                found[key] = wire
                if self.sources[key.name].kind == "shared":
                    found |= self.dependencies([self.shared[key.name]])
        return found


class _Codes(SimpleNamespace):
    """The codes of a categorical: ``gc.codes["g1"]``, or ``gc.codes.g1`` where the choice is an identifier."""

    def __init__(self, codes: Mapping[str, int]) -> None:
        super().__init__(**{str(choice): code for choice, code in codes.items()})

    def __getitem__(self, choice: str) -> int:
        try:
            return int(getattr(self, str(choice)))
        except AttributeError:
            raise ModelError(f"{choice!r} is no choice; expected one of {', '.join(vars(self))}.") from None


def check_variables(part: Node | Shared, model: pm.Model, fresh: Sequence[TensorVariable], wiring: Wiring) -> None:
    """Raise a ModelError for new variables that are discrete, per element, or whose prior depends on a wire."""
    over = part.over if isinstance(part, Node) else ()
    for variable in fresh:
        if not variable.dtype.startswith("float"):
            raise ModelError(
                f"{part!r}: variable {variable.name!r} is discrete ({variable.dtype}); blocks are inferred with NUTS, which "
                f"needs continuous unknowns. Marginalise it, or use a continuous prior."
            )
        local = set(model.named_vars_to_dims.get(variable.name, ()) or ()) & set(over)
        if local:
            raise ModelError(
                f"{part!r} is written for one element of {over}, but variable {variable.name!r} has dims={sorted(local)}: "
                f"variables made inside the function are one for all elements. Declare one unknown per element with "
                f"@boat.shared(dims={sorted(local)[0]!r})."
            )
        for key in wiring.dependencies([variable]):
            kind = wiring.sources[key.name].kind
            raise ModelError(
                f"{part!r}: the prior of {variable.name!r} depends on the {kind} {key.name!r}. Priors may depend on "
                f"variables and data, never on parameters, derived quantities or nodes: multiply in the expression "
                f"instead of in the prior."
            )
