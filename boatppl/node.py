"""The developer's functions: ``@node``, ``@derived`` and ``@shared``. Argument names are the wires."""

import inspect
import keyword
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import pymc as pm

from boatppl.residual import GP, check_prior
from boatppl.transform import KINDS
from boatppl.words import ModelError, expected_one_of

#: How many seconds a unit of time has: what a time limit is in the unit of a censored node.
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _not_called(part: Any, /, *values: Any, **named: Any) -> NoReturn:
    """Say what to do instead of calling a part as if it were its function."""
    raise ModelError(
        f"{part!r} is no function to call: it is wired by its name. Give the function that needs it an "
        f"argument named {part.name}, and the value arrives there. The undecorated function is "
        f"{part.name}.function."
    )


@dataclass(frozen=True, eq=False)
class Node:
    """One measured quantity: a parametric part, a residual and noise. Made by :func:`node`.

    On the transformed scale ``T(y) = T(f(inputs)) + g(z) + noise`` (DESIGN, *Mathematics*).
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    unit: str | None = None
    transform: str | None = None
    robust: bool = False
    residual: GP | None = GP()
    noise: Any = None
    over: tuple[str, ...] = ()
    standardised: bool = False
    censored: bool = False

    @property
    def dims(self) -> tuple[str, ...]:
        """The dims of what the function returns: none, one number for each element of ``over``."""
        return ()

    @property
    def deterministic(self) -> bool:
        """Whether a run repeated is said to measure the same: ``noise=0``."""
        return _is_zero(self.noise)

    @property
    def noise_arguments(self) -> tuple[str, ...]:
        """The wires of the noise function; none where ``noise=`` is a prior."""
        return tuple(inspect.signature(self.noise).parameters) if inspect.isfunction(self.noise) else ()

    @property
    def wires(self) -> tuple[str, ...]:
        """Everything that arrives: the arguments of the function and of the noise function."""
        return tuple(dict.fromkeys((*self.arguments, *self.noise_arguments)))

    __call__ = _not_called

    def __repr__(self) -> str:
        return f"node {self.name}({', '.join(self.arguments)})"


@dataclass(frozen=True, eq=False)
class Derived:
    """A deterministic function of parameters and nodes: not measured. Made by :func:`derived`."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    unit: str | None = None
    over: tuple[str, ...] = ()
    dims: tuple[str, ...] = ()
    transform: str | None = None

    @property
    def wires(self) -> tuple[str, ...]:
        """Everything that arrives."""
        return self.arguments

    __call__ = _not_called

    def __repr__(self) -> str:
        return f"derived {self.name}({', '.join(self.arguments)})"


@dataclass(frozen=True, eq=False)
class Shared:
    """Unknowns, or a latent quantity, that several nodes use. Made by :func:`shared`."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    unit: str | None = None
    dims: tuple[str, ...] = ()

    @property
    def over(self) -> tuple[str, ...]:
        """No dims: a shared function is written for the whole vector."""
        return ()

    @property
    def wires(self) -> tuple[str, ...]:
        """Everything that arrives."""
        return self.arguments

    __call__ = _not_called

    def __repr__(self) -> str:
        return f"shared {self.name}({', '.join(self.arguments)})"


def node(
    function: Callable[..., Any] | None = None,
    /,
    *,
    unit: str | None = None,
    transform: str | None = None,
    robust: bool = False,
    residual: GP | None = GP(),
    noise: Any = None,
    over: str | Sequence[str] = (),
    censored: bool = False,
) -> Any:
    """Declare a node: the function is the parametric part of one measured quantity, written with PyMC.

    Parameters
    ----------
    unit
        The measurement's unit, for people.
    transform
        ``"log"``, ``"log1p"``, ``"sqrt"``, ``"logit"`` or None: the scale on which residual and noise are
        added.
    robust
        Student-t noise (4 degrees of freedom, as a scale mixture): one bad run does not move the posterior.
        Every row gets an unknown of its own, so a suggestion takes longer the more runs there are.
    residual
        :class:`GP`, or None for a purely parametric node.
    noise
        The prior of the standard deviation of run-to-run variation on the transformed scale
        (``pm.HalfNormal.dist(0.1)``), or a function wired as a node is that returns that standard deviation,
        or 0 where a run repeated with the same inputs measures the same. By default half-normal with a tenth
        of the spread that the priors give the formula over the space.
    over
        One dim or several: the function is written for one element and serves every element along the dims.
    censored
        The node is how long the run takes, in a unit of time (``unit="s"``): where a time limit ended a run
        (a trial that is TIMED_OUT, with its ``timeout``), its value is not known but surely above the limit.
        Such a row is fitted with an unknown of its own above that bound, so that slow configurations are
        neither left out nor taken to be as fast as the limit. It needs everything that arrives at the node:
        a parent node that the ended run did not measure leaves the row out.

    Raises
    ------
    ModelError
        For an option that is not of this list, or a function with other than plain named arguments.

    Examples
    --------
    >>> import pymc as pm
    >>> @node(unit="1/s", transform="log")
    ... def gc_rate(eden_mb):
    ...     malloc_rate = pm.Uniform("malloc_rate", 0, 5000)
    ...     return malloc_rate / eden_mb
    >>> gc_rate
    node gc_rate(eden_mb)
    """

    def declare(function: Callable[..., Any]) -> Node:
        name, arguments = _signature(function, "node")
        if transform not in KINDS:
            raise ModelError(f"transform= of node {name!r} is {expected_one_of(KINDS, transform)}.")
        if residual is not None and not isinstance(residual, GP):
            raise ModelError(f"residual= of node {name!r} is a boat.GP(...) or None; got {residual!r}.")
        if not isinstance(robust, bool):
            raise ModelError(f"robust= of node {name!r} is True or False; got {robust!r}.")
        _check_noise(name, noise, robust)
        dims = _dims(over, name)
        _check_unit(unit, name)
        _check_censored(name, censored, unit, dims)
        said = (name, function, arguments, unit, transform, robust, residual, noise, dims)
        return Node(*said, censored=censored)

    return declare if function is None else declare(function)


def derived(
    function: Callable[..., Any] | None = None,
    /,
    *,
    unit: str | None = None,
    over: str | Sequence[str] = (),
    dims: str | Sequence[str] = (),
    transform: str | None = None,
) -> Any:
    """Declare a derived quantity: a deterministic function of what is known or measured, without unknowns.

    ``over=`` writes it for one element of the dims; ``dims=`` names the dims of a vector that the function
    returns. ``transform=`` is the scale (as a node's) on which a residual that has it as an input compares
    it: ``"log"`` where twice as much counts the same everywhere.

    Examples
    --------
    >>> @derived(unit="MB")
    ... def eden_mb(young_mb, survivor_ratio):
    ...     return young_mb * survivor_ratio / (survivor_ratio + 2)
    >>> eden_mb
    derived eden_mb(young_mb, survivor_ratio)
    """

    def declare(function: Callable[..., Any]) -> Derived:
        name, arguments = _signature(function, "derived")
        _check_unit(unit, name)
        if transform not in KINDS:
            raise ModelError(f"transform= of derived {name!r} is {expected_one_of(KINDS, transform)}.")
        return Derived(name, function, arguments, unit, _dims(over, name), _dims(dims, name), transform)

    return declare if function is None else declare(function)


def shared(
    function: Callable[..., Any] | None = None,
    /,
    *,
    unit: str | None = None,
    dims: str | Sequence[str] = (),
) -> Any:
    """Declare unknowns that several nodes use; those nodes are inferred together, as one block.

    ``dims=`` names the dims of a vector of unknowns (one for each machine, say), as in PyMC. The function may
    also return a latent quantity: an expression of unknowns, parameters, measured nodes and other shared
    ones, which arrive by their names as everywhere. A suggestion takes longer the more unknowns a block has;
    what only one node uses is better declared in that node.

    Examples
    --------
    >>> import pymc as pm
    >>> @shared(dims="machine")
    ... def speed():
    ...     return pm.LogNormal("speed", 0, 1, dims="machine")
    >>> speed
    shared speed()
    """

    def declare(function: Callable[..., Any]) -> Shared:
        name, arguments = _signature(function, "shared")
        _check_unit(unit, name)
        return Shared(name, function, arguments, unit, _dims(dims, name))

    return declare if function is None else declare(function)


def generic(
    name: str,
    inputs: Sequence[str],
    *,
    unit: str | None = None,
    transform: str | None = None,
    robust: bool = False,
    kernel: str = "matern52",
    noise: Literal[0] | None = None,
    censored: bool = False,
) -> Node:
    """Return a node without any parametric knowledge: a constant and a residual over ``inputs``.

    It is standardised by its own measurements (no prior knows its unit), so its variables are dimensionless.
    Where ``transform`` is None it finds its scale, too: the natural one, or one that is bent, whichever makes
    the measurements likeliest (Snelson et al. 2004); and likewise the scale on which it compares each generic
    node among its inputs that has none. ``noise=0`` says that a run repeated measures the same; otherwise the
    noise is learned.
    """
    if transform not in KINDS:
        raise ModelError(f"transform= of node {name!r} is {expected_one_of(KINDS, transform)}.")
    if not isinstance(robust, bool):
        raise ModelError(f"robust= of node {name!r} is True or False; got {robust!r}.")
    if not (isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)):
        raise ModelError(f"a node's name is a Python identifier; got {name!r}.")
    _check_unit(unit, name)
    _check_censored(name, censored, unit, ())
    if noise is not None and not _is_zero(noise):
        raise ModelError(
            f"noise= of the generic node {name!r} is 0 (a run repeated measures the same) or None (it is "
            f"learned); got {noise!r}."
        )
    _check_noise(name, noise, robust)
    return Node(
        name,
        _no_knowledge,
        (),
        unit,
        transform,
        robust,
        GP(inputs=inputs, kernel=kernel),
        noise,
        standardised=True,
        censored=censored,
    )


def _is_zero(noise: Any) -> bool:
    return isinstance(noise, int | float) and not isinstance(noise, bool) and noise == 0


def _check_noise(name: str, noise: Any, robust: bool) -> None:
    """Raise a ModelError unless ``noise=`` is a prior, a function, 0 or None, and agrees with ``robust=``."""
    if inspect.isfunction(noise):
        _wires(noise, f"noise= of node {name!r}")
    elif _is_zero(noise):
        if robust:
            raise ModelError(
                f"node {name!r} has noise=0, so a run repeated measures the same, and robust=True, so a run "
                "may go wrong: drop one of the two."
            )
    elif isinstance(noise, int | float):
        raise ModelError(
            f"noise= of node {name!r} is a prior such as pm.HalfNormal.dist(0.1), a function, or 0 where a "
            f"run repeated measures the same; got {noise!r}."
        )
    else:
        check_prior(f"noise= of node {name!r}:", noise)


def _check_censored(name: str, censored: object, unit: str | None, over: tuple[str, ...]) -> None:
    """Raise a ModelError unless a time limit can bound the node."""
    if not isinstance(censored, bool):
        raise ModelError(f"censored= of node {name!r} is True or False; got {censored!r}.")
    if censored and unit not in SECONDS:
        raise ModelError(
            f"censored=True of node {name!r}: a time limit, in seconds, bounds how long a run takes, so "
            f"unit= is {expected_one_of(SECONDS, unit)}."
        )
    if censored and over:
        raise ModelError(
            f"censored=True of node {name!r}, which has a value for each {' and '.join(over)}: a time limit "
            "bounds how long the whole run takes, which is one number. Declare it of that one."
        )


def _no_knowledge() -> Any:
    return pm.Normal("level", 0.0, 1.0)


def _signature(function: Callable[..., Any], kind: str) -> tuple[str, tuple[str, ...]]:
    """Return the name and the wires of a developer's function."""
    if not inspect.isfunction(function):
        raise ModelError(f"@boat.{kind} decorates a function; got {function!r}.")
    if not function.__name__.isidentifier():
        raise ModelError(
            f"@boat.{kind} names the quantity after its function; a lambda has no name: use def."
        )
    return function.__name__, _wires(function, f"{kind} {function.__name__!r}")


def _wires(function: Callable[..., Any], what: str) -> tuple[str, ...]:
    """Return the names of a function's arguments."""
    arguments = inspect.signature(function).parameters
    for argument in arguments.values():
        plain = argument.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if not plain or argument.default is not inspect.Parameter.empty:
            raise ModelError(
                f"argument {argument} of {what}: wires are plain arguments without a default, named as the "
                f"parameter, context, data, derived quantity, shared unknown or node that arrives there."
            )
    return tuple(arguments)


def _check_unit(unit: object, name: str) -> None:
    if not (unit is None or isinstance(unit, str)):
        raise ModelError(f"unit= of {name!r} is a text such as 'MB', or None; got {unit!r}.")


def _dims(dims: str | Sequence[str], name: str) -> tuple[str, ...]:
    names = tuple(dims) if isinstance(dims, Iterable) and not isinstance(dims, str) else (dims,)
    if not all(isinstance(dim, str) for dim in names) or len(set(names)) != len(names):
        raise ModelError(f"the dims of {name!r} are one name or several different names; got {dims!r}.")
    return names
