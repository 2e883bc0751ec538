"""Truths about configurations: constraints and conditions, written as functions of named parameters.

A function is run on plain Python values, one configuration at a time. Two shortcuts keep thousands of
configurations cheap and never change the answer: where the arguments have few values all answers are
tabulated once, and where the function takes arrays and agrees with itself on a probe of single configurations
it is given whole columns.
"""

from __future__ import annotations

import hashlib
import inspect
import linecache
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import and_, or_
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boatppl.space.numeric import Floats, Integer
from boatppl.space.parameters import Boolean, Categorical, Ordinal, Parameter, Vector
from boatppl.words import listed, nearest

_LARGEST_TABLE = 4096
_PROBES = 64
_Listed = (Categorical, Ordinal, Boolean, Integer)  # kinds whose values can be counted


@dataclass(frozen=True, eq=False)
class Predicate:
    """A function of named parameters that is True or False for each configuration.

    function : the developer's function, called by keyword with plain values.
    parameters : its arguments, in order.
    role : "constraint" or "condition", for sentences.
    text : its source as far as it is known, for people.
    table : the answers for every combination of values, one axis per argument, where these are few.
    takes_arrays : whether whole columns may be passed.
    """

    function: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    role: str
    text: str
    table: NDArray[np.bool_] | None = None
    takes_arrays: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters it is about."""
        return tuple(self.parameters)

    def __call__(self, configuration: Mapping[str, Any]) -> bool:
        """The answer for one configuration of plain values. Raises ValueError if the function fails."""
        arguments = {name: configuration[name] for name in self.parameters}
        try:
            answer = self.function(**arguments)
        except Exception as error:
            raise ValueError(
                f"the {self.role} `{self.text}` raised {type(error).__name__}: {error} at {arguments}. "
                "It must give True or False for every configuration within the ranges."
            ) from error
        if not isinstance(answer, (bool, np.bool_)):
            raise ValueError(
                f"the {self.role} `{self.text}` must give True or False, got {answer!r} at {arguments}."
            )
        return bool(answer)

    def holds(self, wires: Mapping[str, Floats]) -> NDArray[np.bool_]:
        """The answers (configuration,) for wires (configuration,) or (configuration, n)."""
        if self.table is not None:
            codes = [p.codes(wires[name]) for name, p in self.parameters.items() if isinstance(p, _Listed)]
            if all(
                ((code >= 0) & (code < size)).all()
                for code, size in zip(codes, self.table.shape, strict=True)
            ):
                return self.table[tuple(codes)]
        if self.takes_arrays:
            answer = self._on_arrays(wires)
            if answer is not None:
                return answer
        return self._one_by_one(wires)

    def _one_by_one(self, wires: Mapping[str, Floats]) -> NDArray[np.bool_]:
        columns = [p.values_of(wires[name]) for name, p in self.parameters.items()]
        rows = zip(*columns, strict=True)
        return np.array([self(dict(zip(self.parameters, row, strict=True))) for row in rows], dtype=bool)

    def _on_arrays(self, wires: Mapping[str, Floats]) -> NDArray[np.bool_] | None:
        """The answers from one call on columns, or None where the function does not take them."""
        columns = {name: p.array_of(wires[name]) for name, p in self.parameters.items()}
        size = len(next(iter(columns.values())))
        try:
            with np.errstate(all="raise"):
                answer = self.function(**columns)
        except Exception:  # whatever a function does with an array it was not written for
            return None
        is_answer = isinstance(answer, np.ndarray) and answer.shape == (size,) and answer.dtype == np.bool_
        return answer if is_answer else None


def predicate(
    function: Callable[..., Any], known: Mapping[str, Parameter], contexts: Mapping[str, Any], role: str
) -> Predicate:
    """A `Predicate` whose arguments are checked against the `known` parameters, with its shortcut chosen.

    Arguments with a default value are constants of the function, not parameters. Raises TypeError for
    something that is no function of named arguments and ValueError for an unknown name.
    """
    text = source_of(function)
    names = _argument_names(function, role, text)
    for name in names:
        if name in contexts:
            raise ValueError(
                f"the {role} `{text}` uses {name!r}, which is a context: unknown when a tuner chooses. "
                "Use parameters only."
            )
        if name not in known:
            raise ValueError(
                f"the {role} `{text}` uses {name!r}, which is no parameter.{nearest(name, known)} "
                f"Parameters: {listed(known)}."
            )
    return _with_shortcut(Predicate(function, {name: known[name] for name in names}, role, text))


def equals(
    name: str, when: Mapping[str, Any], known: Mapping[str, Parameter], contexts: Mapping[str, Any]
) -> Predicate:
    """The condition of parameter `name` given as `{"gc": "g1"}`, or with lists; all names must agree."""
    if not when:
        raise ValueError(f"when= of {name} is empty. Leave it out, or name a parent: when={{'gc': 'g1'}}.")
    allowed: dict[str, list[Any]] = {}
    for parent, values in when.items():
        if parent in contexts:
            raise ValueError(
                f"when= of {name} names {parent!r}, which is a context: conditions depend on parameters only."
            )
        if parent not in known:
            raise ValueError(
                f"when= of {name} names {parent!r}, which is no parameter.{nearest(parent, known)} "
                f"Parameters: {listed(known)}."
            )
        kind = known[parent]
        if not isinstance(kind, _Listed):
            raise TypeError(
                f"when= of {name} compares {parent!r}, a {type(kind).__name__}, with a value, "
                f"which it hardly ever equals. Write a function: when=lambda {parent}: {parent} > ..."
            )
        many = isinstance(values, (list, tuple, set, frozenset))
        allowed[parent] = [
            kind.canonical(f"{parent} in when= of {name}", v)
            for v in (sorted(values, key=str) if many else [values])
        ]

    def holds(**values: Any) -> Any:
        return reduce(
            and_, (reduce(or_, (values[p] == v for v in options)) for p, options in allowed.items())
        )

    text = " and ".join(
        f"{parent} = {options[0]}" if len(options) == 1 else f"{parent} in {{{', '.join(map(str, options))}}}"
        for parent, options in allowed.items()
    )
    return _with_shortcut(Predicate(holds, {parent: known[parent] for parent in allowed}, "condition", text))


def _with_shortcut(bare: Predicate) -> Predicate:
    """`bare` with a table where combinations are few, else with columns where a probe finds them safe."""
    parameters = list(bare.parameters.values())
    if any(isinstance(p, Vector) for p in parameters):  # the function takes lists
        return bare
    sizes = [p.levels for p in parameters if p.levels is not None]
    if len(sizes) == len(parameters) and math.prod(sizes) <= _LARGEST_TABLE:
        table = _tabulate(bare, sizes)
        return Predicate(bare.function, bare.parameters, bare.role, bare.text, table=table)
    rng = np.random.default_rng(0)
    probe = {name: p.from_unit(rng.random((_PROBES, p.width))) for name, p in bare.parameters.items()}
    quick = bare._on_arrays(probe)
    takes_arrays = quick is not None and bool((quick == bare._one_by_one(probe)).all())
    return Predicate(bare.function, bare.parameters, bare.role, bare.text, takes_arrays=takes_arrays)


def _tabulate(bare: Predicate, sizes: list[int]) -> NDArray[np.bool_]:
    values = []
    for p, size in zip(bare.parameters.values(), sizes, strict=True):
        middles = (np.arange(size, dtype=np.float64) + 0.5) / size
        if isinstance(p, Integer):
            values.append(list(range(p.low, p.high + 1)))
        else:
            values.append(p.values_of(p.from_unit(middles[:, None])))
    answers = [bare(dict(zip(bare.parameters, row, strict=True))) for row in product(*values)]
    return np.array(answers, dtype=bool).reshape(sizes)


def _argument_names(function: Any, role: str, text: str) -> list[str]:
    if not callable(function):
        raise TypeError(
            f"a {role} must be a function of parameters, such as `lambda a, b: a < b`, got {function!r}."
        )
    names = []
    for argument in inspect.signature(function).parameters.values():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD, argument.POSITIONAL_ONLY):
            raise TypeError(f"the {role} `{text}` must name its parameters one by one, without *, ** or /.")
        if argument.default is argument.empty:
            names.append(argument.name)
    if not names:
        raise TypeError(f"the {role} `{text}` names no parameter. Give it arguments: `lambda a, b: a < b`.")
    return names


def source_of(function: Any) -> str:
    """The body of a lambda or the name of a function, for sentences and fingerprints.

    >>> source_of(lambda a, b: a < b)
    'a < b'
    """
    name = getattr(function, "__name__", type(function).__name__)
    if name != "<lambda>":
        return str(name)
    return _body(function.__code__) or name


def _body(code: CodeType) -> str | None:
    """The source text that the instructions of `code` cover, on one line, if its file is at hand."""
    spans = [span for span in code.co_positions() if None not in span and span[3] != span[2]]
    if not spans or code.co_filename == "<string>":  # text from exec: another text may bear that name by now
        return None
    first = min((line, column) for line, _, column, _ in spans)
    last = max((line, column) for _, line, _, column in spans)
    lines = [linecache.getline(code.co_filename, i) for i in range(first[0], last[0] + 1)]  # type: ignore[arg-type,operator]
    if not all(lines):
        return None
    encoded = [line.encode() for line in lines]  # columns count bytes
    encoded[-1] = encoded[-1][: last[1]]
    encoded[0] = encoded[0][first[1] :]
    return " ".join(b"".join(encoded).decode(errors="replace").split()) or None


def digest_of(function: Callable[..., Any], text: str) -> str:
    """A short digest of what a function does as far as can be seen.

    That is its source (else its instructions) and the plain values it closes over.
    """
    state = dict(getattr(function, "__dict__", {}))
    if not hasattr(
        function, "__code__"
    ):  # an object that can be called is known by its class and its plain values
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    try:
        if code is None or code.co_filename == "<string>":
            source = None
        else:
            source = _body(code) if code.co_name == "<lambda>" else inspect.getsource(function)
    except (OSError, TypeError):
        source = None
    if source is None and code is not None:
        source = code.co_code.hex() + repr([c for c in code.co_consts if not isinstance(c, CodeType)])
    held = state | _closed_over(function) if code is not None else state
    plain = (int, float, str, bool, type(None))
    parts = [
        text,
        source or "",
        *(f"{name}={held[name]!r}" for name in sorted(held) if isinstance(held[name], plain)),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _closed_over(function: Callable[..., Any]) -> dict[str, Any]:
    """The values a function takes from around it: closure, globals, defaults of arguments."""
    around = inspect.getclosurevars(function)
    defaults = {a.name: a.default for a in inspect.signature(function).parameters.values()}
    return {**around.nonlocals, **around.globals, **defaults}
