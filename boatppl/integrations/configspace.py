"""Spaces from ConfigSpace and to it; needs the package of that name: ``pip install boatppl[configspace]``."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ConfigSpace
import numpy as np

from boatppl.space import Boolean, Categorical, Float, Integer, Ordinal, Space
from boatppl.space.names import check_identifier
from boatppl.words import ModelError

Hyperparameter = Any  # ConfigSpace's classes have no common name that is public
Parameter = Float | Integer | Categorical | Ordinal | Boolean
FLOATS = (
    ConfigSpace.UniformFloatHyperparameter,
    ConfigSpace.NormalFloatHyperparameter,
    ConfigSpace.BetaFloatHyperparameter,
)
INTEGERS = (
    ConfigSpace.UniformIntegerHyperparameter,
    ConfigSpace.NormalIntegerHyperparameter,
    ConfigSpace.BetaIntegerHyperparameter,
)
SEVERAL = (list, tuple, set, frozenset)  # what holds several values in when=


def from_configspace(space: ConfigSpace.ConfigurationSpace) -> Space:
    """Return the space that a ConfigSpace describes, with its conditions and forbidden clauses.

    Constants, and choices of one thing, are left out: there is nothing to choose. A prior distribution of a
    hyperparameter, or weights of choices, give its range alone. A choice of True and False is a Boolean, an
    ordinal of decreasing numbers is read from its other end, and ``meta={"unit": "MB"}`` gives the unit. A
    child of an inactive parent is inactive.

    Raises
    ------
    ModelError
        For a hyperparameter of an unknown kind, with a name that can be no argument of a function, or with a
        range or choices that no parameter has; for one that is never active, or that ConfigSpace has active
        beside an inactive parent.
    ValueError
        For a space of constants alone, or forbidden clauses that leave next to nothing.

    Examples
    --------
    >>> theirs = ConfigSpace.ConfigurationSpace({"x": (0.0, 1.0), "gc": ["serial", "g1"]})
    >>> from_configspace(theirs).names
    ('gc', 'x')
    """
    fixed = {known.name: _plain(known.default_value) for known in space.values() if known.size == 1}
    parameters = {}
    for known in space.values():
        if known.name not in fixed:
            parameters[known.name] = _imported(known, space, fixed)
    found = Space(**parameters)
    forbidden = [_allows(space, clause, fixed) for clause in space.forbidden_clauses]
    return found.constrain(*filter(None, forbidden)) if any(forbidden) else found


def _imported(
    known: Hyperparameter, space: ConfigSpace.ConfigurationSpace, fixed: Mapping[str, Any]
) -> Parameter:
    try:
        check_identifier(known.name)
        return _ours(known, _when(space, known.name, fixed))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"hyperparameter {known.name!r} cannot be a parameter of boatppl: {error}"
        ) from error


def _ours(known: Hyperparameter, when: Any) -> Parameter:
    default = _plain(known.default_value)
    unit = (known.meta or {}).get("unit")
    if isinstance(known, INTEGERS + FLOATS):
        kind: Any = Integer if isinstance(known, INTEGERS) else Float
        log = bool(getattr(known, "log", False))
        return kind(known.lower, known.upper, log=log, unit=unit, default=default, when=when)
    if isinstance(known, ConfigSpace.OrdinalHyperparameter):
        values = [_plain(value) for value in known.sequence]
        if all(type(value) in (int, float) for value in values) and values[0] > values[-1]:
            values.reverse()
        found = Ordinal(values, unit=unit, default=default, when=when)
        if found.default_value != default:
            raise ModelError("an Ordinal's default=None means the middle value. Give None another name.")
        return found
    if isinstance(known, ConfigSpace.CategoricalHyperparameter):
        choices = [_plain(choice) for choice in known.choices]
        if all(isinstance(choice, bool) for choice in choices):
            return Boolean(default=default, when=when)
        if default is None:  # which means the first one to us
            choices.sort(key=lambda choice: choice is not None)
        return Categorical(choices, default=default, when=when)
    raise ModelError(f"it is a {type(known).__name__}, which has no counterpart.")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


# -- conditions


def _when(space: ConfigSpace.ConfigurationSpace, name: str, fixed: Mapping[str, Any]) -> Any:
    """The condition of a parameter: a dict where that can say it, or a function."""
    conditions = list(_conditions(space, name, fixed))
    if not conditions:
        return None
    for condition in conditions:
        _refuse_orphans(space, condition)
    said = _as_dict(conditions, fixed)
    if said is not None:
        return said
    names = sorted({parent for known in conditions for parent in _parents(known)} - fixed.keys())
    text = " and ".join(map(str, conditions))

    def holds(values: Mapping[str, Any]) -> bool:
        return all(known.satisfied_by_value({**fixed, **values}) for known in conditions)

    if names:
        return _function(holds, names, text)
    if holds({}):
        return None
    raise ModelError(f"it is never active, for {text} is never so. Leave it out.")


def _conditions(space: ConfigSpace.ConfigurationSpace, name: str, fixed: Mapping[str, Any]) -> Iterable[Any]:
    """Its condition and those of the constants in it, which are no parents in our space."""
    for condition in space.parent_conditions_of[name]:
        for parent in sorted(_parents(condition) & fixed.keys()):
            yield from _conditions(space, parent, fixed)
        yield condition


def _parents(condition: Any) -> set[str]:
    return {leaf.parent.name for leaf in getattr(condition, "dlcs", [condition])}


def _ancestors(space: ConfigSpace.ConfigurationSpace, name: str) -> set[str]:
    above = {parent for condition in space.parent_conditions_of[name] for parent in _parents(condition)}
    return above.union(*(_ancestors(space, parent) for parent in above))


def _refuse_orphans(space: ConfigSpace.ConfigurationSpace, condition: Any) -> None:
    """Raise a ModelError where a child may be active although a parent is not: "or" and "is not" allow it."""
    parents = _parents(condition)
    for parent in sorted(parents):
        above = space.parent_conditions_of[parent]
        resting = {name for name in parents if name == parent or parent in _ancestors(space, name)}
        resting |= {name for name in parents if _same(space.parent_conditions_of[name], above)}
        if above and _may_hold(condition, resting, above):
            raise ModelError(
                f"{condition} holds in ConfigSpace also where {parent!r} is inactive; expected a condition "
                f"that its parents must be active for. Add `{above[0]}` to it by an AndConjunction, or split "
                "the hyperparameter in two."
            )


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether conditions of two children ask for the same."""
    return any(one.equivalent_condition_on_parent(other) for one in some for other in others)


def _may_hold(condition: Any, resting: set[str], above: Sequence[Any]) -> bool:
    """Whether a condition can hold where the parameters ``resting`` are inactive, for what is ``above`` them
    does not hold."""
    if _same(above, [condition]):
        return False
    if isinstance(condition, ConfigSpace.AndConjunction):
        return all(_may_hold(part, resting, above) for part in condition.components)
    if isinstance(condition, ConfigSpace.OrConjunction):
        return any(_may_hold(part, resting, above) for part in condition.components)
    return condition.parent.name not in resting or isinstance(condition, ConfigSpace.NotEqualsCondition)


def _as_dict(conditions: Iterable[Any], fixed: Mapping[str, Any]) -> dict[str, Any] | None:
    """``{"gc": "g1"}`` for conditions that say so; None for others."""
    said: dict[str, Any] = {}
    for condition in conditions:
        if isinstance(condition, ConfigSpace.AndConjunction):
            one = _as_dict(condition.components, fixed)
        else:
            one = None if _parents(condition) & fixed.keys() else _leaf_as_dict(condition)
        if one is None or one.keys() & said.keys():
            return None
        said |= one
    return said


def _leaf_as_dict(condition: Any) -> dict[str, Any] | None:
    if isinstance(getattr(condition, "parent", None), FLOATS):
        return None
    if isinstance(condition, ConfigSpace.EqualsCondition):
        return {condition.parent.name: _plain(condition.value)}
    if isinstance(condition, ConfigSpace.InCondition):
        return {condition.parent.name: [_plain(value) for value in condition.values]}
    return None


# -- forbidden clauses


def _allows(
    space: ConfigSpace.ConfigurationSpace, clause: Any, fixed: Mapping[str, Any]
) -> Callable[..., bool] | None:
    """A forbidden clause as a constraint; None where it is about constants alone."""
    named = set(_named(clause))
    concerned = named.union(*(_ancestors(space, name) for name in named))
    if concerned <= fixed.keys():
        return None

    def holds(values: Mapping[str, Any]) -> bool:
        known = {**fixed, **values}
        active = {name for name in named if _is_active(space, name, known)}
        return not _forbids(clause, known, active)

    constants = ", ".join(f"{name} = {fixed[name]!r}" for name in sorted(concerned & fixed.keys()))
    return _function(
        holds, sorted(concerned - fixed.keys()), f"not {clause}" + f" where {constants}" * bool(constants)
    )


def _forbids(clause: Any, values: Mapping[str, Any], active: set[str]) -> bool:
    """An inactive hyperparameter has no value that could be forbidden."""
    if isinstance(clause, ConfigSpace.ForbiddenAndConjunction):
        return all(_forbids(part, values, active) for part in clause.components)
    if isinstance(clause, ConfigSpace.ForbiddenOrConjunction):
        return any(_forbids(part, values, active) for part in clause.components)
    return active.issuperset(_named(clause)) and bool(clause.is_forbidden_value(values))


def _is_active(space: ConfigSpace.ConfigurationSpace, name: str, values: dict[str, Any]) -> bool:
    return all(
        condition.satisfied_by_value(values)
        and all(_is_active(space, parent, values) for parent in _parents(condition))
        for condition in space.parent_conditions_of[name]
    )


def _named(clause: Any) -> Iterable[str]:
    for part in getattr(clause, "components", ()):
        yield from _named(part)
    for place in ("hyperparameter", "left", "right"):
        if hasattr(clause, place):
            yield getattr(clause, place).name


def _function(
    truth: Callable[[dict[str, Any]], bool], names: Iterable[str], text: str
) -> Callable[..., bool]:
    """A function of named parameters, as a :class:`Space` takes it."""

    def holds(**values: Any) -> bool:
        return bool(truth(values))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    holds.__name__ = text
    holds.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return holds


# -- the other way


def to_configspace(space: Space) -> ConfigSpace.ConfigurationSpace:
    """Return a space as a ConfigSpace; what never moves, such as a fixed parameter, becomes a constant.

    A unit is kept as ``meta={"unit": "MB"}``. ConfigSpace has numbers to 13 decimals: a default that nobody
    gave, the middle of a range, is rounded to them.

    Raises
    ------
    ModelError
        For what ConfigSpace cannot say: a Simplex, a Subset, contexts, functions as conditions or
        constraints, bounds and given defaults of more than 13 decimals, and choices that NumPy confuses.
    """
    if space.contexts or space.constraints:
        what = [
            *(f"the context {name!r}" for name in space.contexts),
            *(f"`{c.text}`" for c in space.constraints),
        ]
        raise ModelError(
            f"ConfigSpace has no contexts and no constraints that are functions: {what[0]}. Give it a space "
            "without."
        )
    found = ConfigSpace.ConfigurationSpace()
    whens = {name: _asked(space, name) for name in space.slices}
    for name, known in space.parameters.items():
        try:
            still = whens.get(name) is None
            new = ConfigSpace.Constant(name, space.default[name]) if still else _theirs(name, known)
        except (TypeError, ValueError) as error:
            why = error.__cause__ or error
            raise ModelError(f"ConfigSpace cannot hold {name!r} ({known.text()}): {why}") from error
        found.add(new)
    for name, when in whens.items():
        parts = [_condition(found, name, parent, value) for parent, value in (when or {}).items()]
        if parts:
            found.add(parts[0] if len(parts) == 1 else ConfigSpace.AndConjunction(*parts))
    return found


def _asked(space: Space, name: str) -> dict[str, Any] | None:
    """What the moving parents of a parameter must be, by name; None where it is never active."""
    when = space.parameters[name].when or {}
    if not isinstance(when, Mapping):
        raise ModelError(f"when= of {name} is a function, which ConfigSpace cannot keep. Say it as a dict.")
    asked: dict[str, Any] = {}
    for parent, value in when.items():
        needed = _asked(space, parent)
        kind, options = space.parameters[parent], value if isinstance(value, SEVERAL) else [value]
        if needed is None:
            return None
        if parent in space.slices:
            needed = {parent: value}
        elif space.default[parent] not in [kind.canonical(parent, one) for one in options]:
            return None  # else what a parent that never moves needs for itself
        for name, one in needed.items():
            asked[name] = _both(asked[name], one) if name in asked else one
    return None if [] in asked.values() else asked


def _both(one: Any, other: Any) -> list[Any]:
    first, second = (known if isinstance(known, SEVERAL) else [known] for known in (one, other))
    return [value for value in first if value in second]


def _theirs(name: str, known: Any) -> Hyperparameter:
    default = known.default_value
    meta: Any = {"unit": known.unit} if getattr(known, "unit", None) else None
    if isinstance(known, Float | Integer):
        kind: Any = ConfigSpace.UniformFloatHyperparameter
        if isinstance(known, Integer):
            kind = ConfigSpace.UniformIntegerHyperparameter
        found: Hyperparameter = kind(
            name, known.low, known.high, default_value=default, log=known.log, meta=meta
        )
        _refuse_rounding(known, found)
        return found
    if isinstance(known, Boolean):
        return ConfigSpace.CategoricalHyperparameter(name, [False, True], default_value=default)
    if not isinstance(known, Categorical | Ordinal):
        raise ModelError(f"it has no {type(known).__name__}.")
    if isinstance(known, Ordinal):
        choices = known.values
        found = ConfigSpace.OrdinalHyperparameter(name, list(choices), default_value=default, meta=meta)
    else:
        choices = known.choices
        found = ConfigSpace.CategoricalHyperparameter(name, list(choices), default_value=default)
    for i, choice in enumerate(choices):
        came = _plain(found.to_value(np.float64(i)))
        if came != choice or isinstance(came, bool) != isinstance(choice, bool):
            raise ModelError(
                f"it keeps choices in one NumPy array, where {choice!r} becomes {came!r}. Make all of them "
                "texts."
            )
    return found


def _refuse_rounding(known: Float | Integer, found: Hyperparameter) -> None:
    wanted = {"low": known.low, "high": known.high, "default": known.default}
    given = {"low": found.lower, "high": found.upper, "default": found.default_value}
    for what, value in wanted.items():
        if value is not None and given[what] != value:
            raise ModelError(
                f"it keeps 13 decimals, so that {what}={value!r} becomes {given[what]!r}. Use another unit."
            )


def _condition(found: ConfigSpace.ConfigurationSpace, name: str, parent: str, value: Any) -> Any:
    if isinstance(value, SEVERAL):
        return ConfigSpace.InCondition(found[name], found[parent], list(value))
    return ConfigSpace.EqualsCondition(found[name], found[parent], value)
