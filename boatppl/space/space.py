"""`Space`: all parameters with their ranges and the known constraints between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boatppl.html.space import as_html
from boatppl.space import design, spec
from boatppl.space.conditions import condition_of, condition_order, settle
from boatppl.space.cube import UnitCube, check_context_name
from boatppl.space.names import check_identifier
from boatppl.space.numeric import Floats, within
from boatppl.space.parameters import KINDS, Context, Parameter
from boatppl.space.predicate import Predicate, predicate
from boatppl.words import listed, nearest


class Space:
    """The parameters a tuner may set, by name, and what is known of how they fit together.

    A space never changes: `constrain` and `fix` return new ones. Names are wires, so they must be
    identifiers.

    >>> from boatppl.space import Categorical, Integer, Ordinal, Space
    >>> space = Space(
    ...     young_mb=Integer(4, 80, log=True, unit="MB"),
    ...     gc=Categorical(["serial", "g1"]),
    ...     region_mb=Ordinal([1, 2, 4], when={"gc": "g1"}),
    ... )
    >>> space.default
    {'young_mb': 18, 'gc': 'serial', 'region_mb': 2}
    >>> space.decode([[0.0, 0.9, 0.9]])
    [{'young_mb': 4, 'gc': 'g1', 'region_mb': 4}]

    Inside, configurations are rows of the unit cube, `unit` (configuration, coordinate): a coordinate per
    moving parameter (n - 1 for a simplex, n for a subset), none for fixed ones and for those whose condition
    the fixed ones rule out.

    Raises ValueError or TypeError with a sentence for a name that is no identifier, something that is no
    parameter, an unknown name or a circle in conditions.
    """

    parameters: Mapping[str, Parameter]
    contexts: Mapping[str, Context]
    fixed: Mapping[str, Any]
    constraints: tuple[Predicate, ...]

    def __init__(self, /, *unnamed: object, **parameters: Parameter | Context) -> None:
        if unnamed:
            raise TypeError(
                "a space takes its parameters by name, Space(young_mb=Integer(4, 80)), or those of a dict as "
                f"Space(**parameters); got {unnamed[0]!r} without a name."
            )
        for name, parameter in parameters.items():
            check_identifier(name)
            if type(parameter) not in KINDS.values():
                raise TypeError(
                    f"{name} must be one of {listed(KINDS)}, got {parameter!r}.{_kind_hint(name, parameter)}"
                )
        contexts = {name: p for name, p in parameters.items() if isinstance(p, Context)}
        chosen = {name: p for name, p in parameters.items() if not isinstance(p, Context)}
        if not chosen:
            raise ValueError(
                "a space needs at least one parameter to choose: Space(young_mb=Integer(4, 80))."
            )
        conditions = {
            name: condition_of(name, p.when, chosen, contexts)
            for name, p in chosen.items()
            if p.when is not None
        }
        condition_order(conditions)
        self._become(chosen, contexts, conditions, {}, ())

    def _become(
        self,
        parameters: Mapping[str, Parameter],
        contexts: Mapping[str, Context],
        conditions: Mapping[str, Predicate],
        fixed: Mapping[str, Any],
        constraints: tuple[Predicate, ...],
    ) -> None:
        resting = {name: fixed.get(name, p.default_value) for name, p in parameters.items()}
        held, open_conditions, ruled_out = settle(conditions, fixed, resting)
        cube = UnitCube(parameters, contexts, open_conditions, held, resting)
        self.__dict__.update(
            parameters=MappingProxyType(dict(parameters)),
            contexts=MappingProxyType(dict(contexts)),
            fixed=MappingProxyType(dict(fixed)),
            constraints=constraints,
            _conditions=conditions,
            _cube=cube,
            _ruled_out=frozenset(ruled_out),
        )
        self.__dict__["_default"] = _default(self)

    def _with(self, *, fixed: Mapping[str, Any], constraints: tuple[Predicate, ...]) -> Space:
        space = object.__new__(Space)
        space._become(self.parameters, self.contexts, self._conditions, fixed, constraints)
        return space

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"a Space never changes, so {name!r} cannot be set; fix() and constrain() return new spaces."
        )

    # --- new spaces ---

    def constrain(self, *functions: Callable[..., Any]) -> Space:
        """A new space that also satisfies `functions`, each True or False for named parameters.

        `space.constrain(lambda young_mb, heap_mb: young_mb < heap_mb)`. They receive plain Python values, one
        configuration at a time; inactive parameters come at their default, arguments with a default value are
        constants.

        Raises ValueError for an unknown name, a default given explicitly that breaks a constraint, or a
        constraint that fewer than one configuration in 10,000 satisfies; TypeError for something that is no
        such function.
        """
        if not functions:
            raise TypeError(
                "constrain needs a function, such as `lambda young_mb, heap_mb: young_mb < heap_mb`."
            )
        space = self
        for function in functions:
            added = predicate(function, self.parameters, self.contexts, "constraint")
            space = space._with(fixed=space.fixed, constraints=(*space.constraints, added))
        return space

    def fix(self, **values: Any) -> Space:
        """A new space that holds `values`: they stay in every configuration and leave the search.

        Raises ValueError for an unknown name, a value out of range, or values that no configuration may have.
        """
        for name in values:
            self._check_parameter(name)
        fixed = {name: self.parameters[name].canonical(name, value) for name, value in values.items()}
        return self._with(fixed={**self.fixed, **fixed}, constraints=self.constraints)

    # --- configurations ---

    @property
    def names(self) -> tuple[str, ...]:
        """The names a configuration has, in order; contexts are not among them."""
        return tuple(self.parameters)

    @property
    def default(self) -> dict[str, Any]:
        """The configuration in use today: given defaults, else middles (of the log range), feasible."""
        return {name: list(v) if isinstance(v, list) else v for name, v in self._default.items()}

    def validate(self, configuration: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
        """`configuration` with plain Python values in the space's order, inactive parameters at their
        default.

        Inactive and fixed parameters may be left out. With `strict=False` numbers out of range and
        configurations that break a constraint are kept, as for runs that happened elsewhere.

        Raises TypeError for a wrong type; ValueError for an unknown or missing name, a value out of range, a
        fixed parameter at another value, or a broken constraint.
        """
        if not isinstance(configuration, Mapping):
            raise TypeError(f"a configuration is a dict of {listed(self.names)}, got {configuration!r}.")
        for name in configuration:
            self._check_parameter(name, "the configuration names ")
        plain: dict[str, Any] = {}
        active: dict[str, bool] = {}
        order = condition_order(self._conditions)
        for name in [*order, *(n for n in self.parameters if n not in order)]:
            condition = self._conditions.get(name)
            active[name] = condition is None or (all(active[p] for p in condition.names) and condition(plain))
            plain[name] = self._value(name, configuration, active[name], strict)
        result = {name: plain[name] for name in self.parameters}
        if strict:
            for constraint in self.constraints:
                if not constraint(result):
                    culprits = {name: result[name] for name in constraint.names}
                    raise ValueError(
                        f"the configuration breaks the constraint `{constraint.text}`: {culprits}."
                    )
        return result

    def validate_context(self, context: Mapping[str, Any] | None) -> dict[str, float]:
        """`context` with a plain float for each context, in order. Raises ValueError or TypeError for
        others."""
        if not (context is None or isinstance(context, Mapping)):
            raise TypeError(f"a context is a dict such as {{'load': 1000.0}}, got {context!r}.")
        given = {} if context is None else dict(context)
        for name in given:
            check_context_name(name, self.contexts)
        for name in self.contexts:
            if name not in given:
                raise ValueError(
                    f"the context {name!r} is missing: give context={{{name!r}: ...}} "
                    f"({self.contexts[name].text()})."
                )
        return {name: kind.canonical(name, given[name]) for name, kind in self.contexts.items()}

    def in_range(self, configuration: Mapping[str, Any]) -> bool:
        """Whether every number lies within its range; constraints are not asked."""
        plain = self.validate(configuration, strict=False)
        return all(parameter.in_range(plain[name]) for name, parameter in self.parameters.items())

    def feasible_configuration(self, configuration: Mapping[str, Any]) -> bool:
        """Whether `configuration` satisfies every constraint."""
        plain = self.validate(configuration, strict=False)
        return all(constraint(plain) for constraint in self.constraints)

    # --- the unit cube ---

    @property
    def dimension(self) -> int:
        """How many coordinates move."""
        return self._cube.dimension

    @property
    def coordinates(self) -> tuple[str, ...]:
        """A name per coordinate: the parameter's, numbered for a simplex or subset."""
        return self._cube.coordinates

    @property
    def continuous(self) -> NDArray[np.bool_]:
        """Which coordinates (coordinate,) move values smoothly: those of `Float` and `Simplex`."""
        return self._cube.continuous.copy()

    @property
    def slices(self) -> dict[str, slice]:
        """The coordinates of each moving parameter."""
        return dict(self._cube.slices)

    def encode(self, configurations: Sequence[Mapping[str, Any]]) -> Floats:
        """Configurations as `validate` gives them to unit rows (configuration, coordinate).

        Numbers out of range come to lie outside [0, 1], in order. `decode(encode([c])) == [c]` for c in
        range.
        """
        return self._cube.encode(configurations)

    def decode(self, unit: ArrayLike) -> list[dict[str, Any]]:
        """Unit rows (configuration, coordinate), clipped to [0, 1], to configurations."""
        return self._cube.decode(unit)

    def snap(self, unit: ArrayLike) -> Floats:
        """The row each configuration is encoded as: `encode(decode(unit))`, fast. Idempotent."""
        return self._cube.snap(unit)

    def wires(
        self, unit: ArrayLike, context: Mapping[str, Any] | None = None, *, relax: bool = False
    ) -> dict[str, Floats]:
        """What a model's functions receive: name -> (configuration,), or (configuration, n) for a vector.

        Numbers come in their unit, choices as positions, Booleans as 0/1, an Ordinal as its number or rank,
        inactive parameters at their default. `context`: name -> number or (configuration,). `relax` leaves
        Integers unrounded.
        """
        return self._cube.wires(unit, context, relax=relax)

    def features(
        self, unit: ArrayLike, name: str, context: Mapping[str, Any] | None = None, *, relax: bool = False
    ) -> Floats:
        """What a residual compares, (configuration, column): numbers scaled to [0, 1] (log where log),
        Booleans 0/1, choices one-hot over sqrt(2), shares of a simplex, subsets over sqrt(n); inactive
        parameters at their default. Contexts likewise."""
        return self._cube.features(unit, name, context, relax=relax)

    def feature_columns(self, name: str) -> int:
        """How many columns `features` gives for a parameter or context."""
        self._cube.check_name(name)
        return {**self.parameters, **self.contexts}[name].columns

    def active(self, unit: ArrayLike, name: str) -> NDArray[np.bool_]:
        """Where (configuration,) parameter `name` matters; everywhere for unconditional ones and contexts."""
        self._cube.check_name(name)
        rows = self._cube.array(unit)
        always = np.full(len(rows), name not in self._ruled_out)
        return self._cube.read(rows)[1].get(name, always)

    def with_parents(self, names: Iterable[str]) -> frozenset[str]:
        """Parameters `names` and those that decide whether they are active."""
        return frozenset(self._cube.restricted(names).parameters)

    def pullback(
        self,
        unit: ArrayLike,
        wires: Mapping[str, Floats] | None = None,
        features: Mapping[str, Floats] | None = None,
        *,
        relax: bool = False,
    ) -> Floats:
        """Cotangents of `wires` (configuration,[ n]) and `features` (configuration, column), by name, to
        those of the unit rows (configuration, coordinate): the transposed Jacobian times them.

        Zero for coordinates that do not move smoothly (`relax` counts Integers and Subsets among those that
        do), for inactive parameters, and for contexts and fixed parameters, which have no coordinate.
        """
        return self._cube.pullback(unit, wires or {}, features or {}, relax=relax)

    def feasible(self, unit: ArrayLike) -> NDArray[np.bool_]:
        """Whether (configuration,) the configurations of the rows satisfy every constraint."""
        rows = self._cube.array(unit)
        result = np.ones(len(rows), dtype=bool)
        if self.constraints:
            wires, _ = self._cube.read(within(rows, 0.0, 1.0))
            for constraint in self.constraints:
                result &= constraint.holds(wires)
        return result

    # --- sets of configurations ---

    def sample(self, n: int, seed: Any) -> Floats:
        """`n` feasible rows (n, coordinate) of a scrambled Sobol sequence, distinct while the space has that
        many.

        seed : an int, or a `numpy.random.Generator`. Raises ValueError if under 1 in 10,000 points is
            feasible.
        """
        return design.sample(self._cube, self.feasible, n, seed)

    def design(self, n: int, seed: Any) -> list[dict[str, Any]]:
        """`n` feasible configurations spread over the space: `decode(sample(n, seed))`."""
        return self.decode(self.sample(n, seed))

    def neighbours(self, row: ArrayLike, rng: np.random.Generator, n: int) -> Floats:
        """Up to `n` feasible snapped rows (n, coordinate) near `row` (coordinate,), all different from it.

        Every other choice, integers at +-1, 2, 4, ..., Gaussian steps of many sizes for floats; swaps,
        transfers and disturbances of shares; things put into a subset, out of it or for each other; and moves
        of two parameters at once.
        """
        return design.neighbours(self._cube, self.feasible, np.asarray(row, dtype=np.float64), rng, n)

    @cached_property
    def size(self) -> int | float:
        """How many configurations there are: exact up to 65,536 cells, beyond that the number of cells, which
        conditions and constraints can only lower; infinite with a moving Float or Simplex."""
        cells = design.grid_size(self._cube)
        if cells > design.LARGEST_GRID or not (self._cube.conditions or self.constraints):
            return cells
        return len(design.grid(self._cube, self.feasible))

    # --- for people and files ---

    def describe(self) -> list[str]:
        """A line for each parameter, context and constraint, such as `young_mb [4..80 MB, log]`."""
        return spec.describe(self.parameters, self.contexts, self._conditions, self.fixed, self.constraints)

    def to_spec(self) -> dict[str, Any]:
        """The space as plain values that JSON holds. Functions are there by their text only."""
        return spec.to_spec(
            {**self.parameters, **self.contexts}, self._conditions, self.fixed, self.constraints
        )

    @classmethod
    def from_spec(cls, content: Mapping[str, Any]) -> Space:
        """The space that `to_spec` wrote. Raises ValueError if it had Python functions."""
        parameters, fixed = spec.from_spec(content)
        space = cls(**parameters)
        return space.fix(**fixed) if fixed else space

    def fingerprint(self) -> str:
        """A short text, equal for equal spaces (functions: equal source and closed-over plain values)."""
        by_function = [c for name, c in self._conditions.items() if callable(self.parameters[name].when)]
        return spec.fingerprint(self.to_spec(), [*by_function, *self.constraints])

    def __repr__(self) -> str:
        return "Space(\n" + "".join(f"    {line}\n" for line in self.describe()) + ")"

    def _repr_html_(self) -> str:
        conditions = {name: condition.text for name, condition in self._conditions.items()}
        texts = [constraint.text for constraint in self.constraints]
        return as_html(self.parameters, self.contexts, conditions, self.fixed, self._default, texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.fingerprint() == other.fingerprint()

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __contains__(self, name: object) -> bool:
        return name in self.parameters or name in self.contexts

    # --- inside ---

    _conditions: Mapping[str, Predicate]
    _cube: UnitCube
    _ruled_out: frozenset[str]
    _default: dict[str, Any]

    def _check_parameter(self, name: str, lead: str = "") -> None:
        which = ", which" if lead else ""
        if name in self.contexts:
            raise ValueError(
                f"{lead}{name!r}{which} is a context; the world sets it: give it as "
                f"context={{{name!r}: ...}}."
            )
        if name not in self.parameters:
            raise ValueError(
                f"{lead}{name!r}{which} is no parameter.{nearest(name, self.parameters)} "
                f"Parameters: {listed(self.parameters)}."
            )

    def _value(self, name: str, given: Mapping[str, Any], active: bool, strict: bool) -> Any:
        """The plain value of one parameter of a configuration under validation."""
        parameter = self.parameters[name]
        if name in self.fixed:
            if name in given and parameter.canonical(name, given[name], strict=False) != self.fixed[name]:
                raise ValueError(
                    f"{name} is fixed at {self.fixed[name]!r} in this space, got {given[name]!r}. "
                    "Use the space in which it is free."
                )
            return self.fixed[name]
        if not active:
            return parameter.default_value
        if name not in given:
            hint = nearest(name, [n for n in given if n not in self.parameters])
            raise ValueError(
                f"the configuration misses {name!r} ({parameter.text()}).{hint} Give every parameter: "
                f"space.default | {{{name!r}: ...}} fills in the others."
            )
        return parameter.canonical(name, given[name], strict=strict)


def _kind_hint(name: str, given: Any) -> str:
    if isinstance(given, (int, float, str, bool)):
        return f" A value is held with space.fix({name}={given!r})."
    if isinstance(given, type):
        return f" Call it: {name}={given.__name__}(...)."
    if isinstance(given, (list, tuple)):
        return " A list of choices is Categorical([...])."
    return ""


def _default(space: Space) -> dict[str, Any]:
    """The default configuration. Raises ValueError where constraints leave none."""
    wanted = {name: space.fixed.get(name, p.default_value) for name, p in space.parameters.items()}
    if not space.constraints:
        return wanted
    broken = [constraint for constraint in space.constraints if not constraint(wanted)]
    said = {name for name, p in space.parameters.items() if name in space.fixed or p.default is not None}
    for constraint in broken:
        if said.issuperset(constraint.names):
            values = ", ".join(f"{name}={wanted[name]!r}" for name in constraint.names)
            raise ValueError(
                f"the default breaks the constraint `{constraint.text}`: {values}. "
                "Change the default or the constraint."
            )
    newest = space.constraints[-1].text
    try:
        space.sample(8, seed=0)
    except design.Infeasible as error:
        raise ValueError(
            f"with the constraint `{newest}` the space is practically infeasible: {error}"
        ) from error
    if not broken:
        return wanted
    concerned = {name for constraint in space.constraints for name in constraint.names}
    for kept in (
        said | (set(space.names) - concerned),
        said,
    ):  # move what no constraint speaks of only if need be
        row = design.nearest_feasible(space._cube, space.feasible, space.encode([wanted]), kept)
        if row is not None:
            return space.decode(row)[0]
    raise ValueError(
        f"no configuration keeps the given defaults of {listed(sorted(said))} and satisfies `{newest}`. "
        "Change a default or the constraint."
    )
