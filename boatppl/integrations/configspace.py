"""Spaces from ConfigSpace and to it; needs the package of that name: ``pip install boatppl[configspace]``."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ConfigSpace

from boatppl.space import Boolean, Categorical, Float, Integer, Ordinal, Space
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


def from_configspace(space: ConfigSpace.ConfigurationSpace) -> Space:
    """Return the space that a ConfigSpace describes, with its conditions and forbidden clauses.

    Constants are left out: there is nothing to choose. A prior distribution of a hyperparameter gives its
    range alone. A child of an inactive parent is inactive, as it is there.

    Raises
    ------
    ModelError
        For a hyperparameter without bounds, or of an unknown kind.

    Examples
    --------
    >>> theirs = ConfigSpace.ConfigurationSpace({"x": (0.0, 1.0), "gc": ["serial", "g1"]})
    >>> from_configspace(theirs).names
    ('gc', 'x')
    """
    kept = {known.name: known for known in space.values() if not isinstance(known, ConfigSpace.Constant)}
    parameters = {name: _ours(known, _when(space, name)) for name, known in kept.items()}
    found = Space(**parameters)
    fixed = {known.name: known.value for known in space.values() if isinstance(known, ConfigSpace.Constant)}
    forbidden = [_allows(clause, fixed) for clause in space.forbidden_clauses]
    return found.constrain(*filter(None, forbidden)) if any(forbidden) else found


def _ours(known: Hyperparameter, when: Any) -> Parameter:
    default = known.default_value
    if isinstance(known, FLOATS + INTEGERS):
        if known.lower is None or known.upper is None:
            raise ModelError(f"hyperparameter {known.name!r} has no bounds; give it lower= and upper=.")
        log = bool(getattr(known, "log", False))
        if isinstance(known, INTEGERS):
            return Integer(int(known.lower), int(known.upper), log=log, default=int(default), when=when)
        return Float(float(known.lower), float(known.upper), log=log, default=float(default), when=when)
    if isinstance(known, ConfigSpace.OrdinalHyperparameter):
        return Ordinal(tuple(map(_plain, known.sequence)), default=_plain(default), when=when)
    if isinstance(known, ConfigSpace.CategoricalHyperparameter):
        return Categorical(tuple(map(_plain, known.choices)), default=_plain(default), when=when)
    raise ModelError(
        f"hyperparameter {known.name!r} is a {type(known).__name__}, which boatppl has no kind for."
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _when(space: ConfigSpace.ConfigurationSpace, name: str) -> Any:
    """The condition of a parameter and those of its parents: a dict where that can say it, or a function."""
    conditions = list(_conditions(space, name))
    if not conditions:
        return None
    said: dict[str, Any] = {}
    for condition in conditions:
        one = _as_dict(condition)
        if one is None or one.keys() & said.keys():
            names = sorted({parent.name for known in conditions for parent in _parents(known)})
            text = " and ".join(map(str, conditions))
            return _function(
                lambda values: all(known.satisfied_by_value(values) for known in conditions), names, text
            )
        said |= one
    return said


def _conditions(space: ConfigSpace.ConfigurationSpace, name: str) -> Iterable[Any]:
    for condition in space.parent_conditions_of[name]:
        for parent in _parents(condition):
            yield from _conditions(space, parent.name)
        yield condition


def _parents(condition: Any) -> list[Hyperparameter]:
    if hasattr(condition, "components"):
        return [parent for part in condition.components for parent in _parents(part)]
    return [condition.parent]


def _as_dict(condition: Any) -> dict[str, Any] | None:
    """``{"gc": "g1"}`` for a condition that says so."""
    if isinstance(condition, ConfigSpace.AndConjunction):
        parts = [_as_dict(part) for part in condition.components]
        known = [part for part in parts if part is not None]
        names = [name for part in known for name in part]
        whole = len(known) == len(parts) and len(set(names)) == len(names)
        return {name: value for part in known for name, value in part.items()} if whole else None
    if isinstance(getattr(condition, "parent", None), FLOATS):
        return None
    if isinstance(condition, ConfigSpace.EqualsCondition):
        return {condition.parent.name: _plain(condition.value)}
    if isinstance(condition, ConfigSpace.InCondition):
        return {condition.parent.name: [_plain(value) for value in condition.values]}
    return None


def _allows(clause: Any, fixed: Mapping[str, Any]) -> Callable[..., bool] | None:
    """A forbidden clause as a constraint; None where it is about constants alone."""
    names = sorted({name for name in _named(clause) if name not in fixed})
    if not names:
        return None
    return _function(
        lambda values: not clause.is_forbidden_value({**fixed, **values}), names, f"not {clause}"
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


def to_configspace(space: Space) -> ConfigSpace.ConfigurationSpace:
    """Return a space as a ConfigSpace; what never moves, such as a fixed parameter, becomes a constant.

    Raises
    ------
    ModelError
        For what ConfigSpace cannot say: a Simplex, contexts, and functions as conditions or constraints.
    """
    if space.contexts or space.constraints:
        what = [
            *(f"the context {name!r}" for name in space.contexts),
            *(f"`{c.text}`" for c in space.constraints),
        ]
        raise ModelError(f"ConfigSpace has no contexts and no constraints that are functions: {what[0]}.")
    found = ConfigSpace.ConfigurationSpace()
    still = {name: space.default[name] for name in space.parameters if name not in space.slices}
    for name, known in space.parameters.items():
        found.add(_theirs(name, known, still))
    for name in space.slices:
        known = space.parameters[name]
        if known.when is None:
            continue
        if not isinstance(known.when, Mapping):
            raise ModelError(
                f"when= of {name} is a function, which ConfigSpace cannot keep. Say it as a dict."
            )
        when = {parent: value for parent, value in known.when.items() if parent not in still}
        parts = [_condition(found, name, parent, value) for parent, value in when.items()]
        if parts:
            found.add(parts[0] if len(parts) == 1 else ConfigSpace.AndConjunction(*parts))
    return found


def _theirs(name: str, known: Any, still: Mapping[str, Any]) -> Hyperparameter:
    if name in still:
        return ConfigSpace.Constant(name, still[name])
    default = known.default_value
    if isinstance(known, Float):
        options = {"lower": known.low, "upper": known.high, "log": known.log, "default_value": default}
        return ConfigSpace.UniformFloatHyperparameter(name, **options)
    if isinstance(known, Integer):
        options = {"lower": known.low, "upper": known.high, "log": known.log, "default_value": default}
        return ConfigSpace.UniformIntegerHyperparameter(name, **options)
    if isinstance(known, Ordinal):
        return ConfigSpace.OrdinalHyperparameter(name, list(known.values), default_value=default)
    if isinstance(known, Categorical | Boolean):
        choices = list(known.choices) if isinstance(known, Categorical) else [False, True]
        return ConfigSpace.CategoricalHyperparameter(name, choices, default_value=default)
    raise ModelError(f"ConfigSpace has no {type(known).__name__}, which {name!r} is.")


def _condition(found: ConfigSpace.ConfigurationSpace, name: str, parent: str, value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return ConfigSpace.InCondition(found[name], found[parent], list(value))
    return ConfigSpace.EqualsCondition(found[name], found[parent], value)
