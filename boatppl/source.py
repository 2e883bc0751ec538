"""What the developer wrote: the returned expression and the priors of a function, read from its source."""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Written:
    """The source of one function: what it returns (``formula``), and variable -> its prior (``priors``).

    ``formula`` is None where there is no source to read, or where several returns leave it open.
    """

    formula: str | None
    priors: Mapping[str, str]


def written(function: Callable[..., Any]) -> Written:
    """Read a function's source: ``malloc_rate / eden_mb`` and ``{"malloc_rate": "Uniform(0, 5000)"}``."""
    definition, text = _definition(function)
    if definition is None:
        return Written(None, {})
    calls = [(name, node) for node in ast.walk(definition) if (name := _variable(node)) is not None]
    constants = _constants(function)
    priors = {name: _prior(call, text, constants) for name, call in calls if isinstance(call, ast.Call)}
    return Written(_formula(definition, text), priors)


def compared(function: Callable[..., Any]) -> str | None:
    """Return the first ``==`` or ``!=`` of arithmetic on a function's arguments and variables, if any.

    Python decides such a comparison when the function is run, and always in the same way.
    """
    definition, text = _definition(function)
    symbolic = set(inspect.signature(function).parameters)
    for node in _statements(definition) if definition is not None else ():
        if isinstance(node, ast.Assign) and (_variable(node.value) or _computed(node.value, symbolic)):
            symbolic |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.Compare) and any(isinstance(sign, ast.Eq | ast.NotEq) for sign in node.ops):
            sides = [side for side in (node.left, *node.comparators) if _computed(side, symbolic)]
            if sides:
                return _segment(node, text)
    return None


def content(function: Callable[..., Any]) -> str:
    """Return what a function does, as text: its source without comments, docstring, decorators and layout,
    the plain values that it takes from around it, and the functions of its own module that it calls.

    Its instructions where there is no source to read.
    """
    own = getattr(function, "__module__", None)
    used = [f for f in _around(function).values() if inspect.isfunction(f) and f.__module__ == own]
    functions: list[Callable[..., Any]] = [function, *(f for f in used if f is not function)]
    plain = {name: v for f in functions for name, v in _around(f).items() if isinstance(v, str | int | float)}
    return "\n".join([*map(_bare, functions), *(f"{name} = {plain[name]!r}" for name in sorted(plain))])


def _around(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what a function takes from around it, by name."""
    around = inspect.getclosurevars(function)
    return {**around.globals, **around.nonlocals}


def _bare(function: Callable[..., Any]) -> str:
    definition, _ = _definition(function)
    if definition is None:
        code = function.__code__
        return code.co_code.hex() + repr([c for c in code.co_consts if isinstance(c, str | int | float)])
    documented = ast.get_docstring(definition) is not None
    body = definition.body[documented:] or [ast.Pass()]
    return f"({ast.unparse(definition.args)}): " + "; ".join(map(ast.unparse, body))


def _computed(node: ast.expr, symbolic: set[str]) -> bool:
    """Whether an expression is arithmetic on symbolic names."""
    if isinstance(node, ast.BinOp):
        return _computed(node.left, symbolic) or _computed(node.right, symbolic)
    if isinstance(node, ast.UnaryOp):
        return _computed(node.operand, symbolic)
    return isinstance(node, ast.Name) and node.id in symbolic


def _definition(function: Callable[..., Any]) -> tuple[ast.FunctionDef | None, str]:
    """Return a function's syntax tree, None where there is no source, and the text it was read from."""
    try:
        source = inspect.getsource(function)
        # inside another function the source is indented: a block around it makes it whole
        text = f"if True:\n{source}" if source[0].isspace() else source
        tree = ast.parse(text)
    except (OSError, TypeError, SyntaxError):
        return None, ""
    found = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function.__name__)
    return next(found, None), text


def _statements(definition: ast.AST) -> Iterator[ast.AST]:
    """Walk a function's body without entering functions defined inside it."""
    for child in ast.iter_child_nodes(definition):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield from _statements(child)


def _formula(definition: ast.FunctionDef, text: str) -> str | None:
    """Return the one returned expression; a name that is bound once stands for its value."""
    body = list(_statements(definition))
    returned = [node.value for node in body if isinstance(node, ast.Return) and node.value is not None]
    if len(returned) != 1:
        return None
    value = returned[0]
    if isinstance(value, ast.Name):
        bound = [
            n for n in body if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id == value.id
        ]
        values = [n.value for n in body if isinstance(n, ast.Assign) and n.targets == bound]
        value = values[0] if values else value
    if any(_variable(node) is not None for node in ast.walk(value)):
        return ast.unparse(_Named().visit(copy.deepcopy(value)))
    return _segment(value, text)


def _variable(node: ast.AST) -> str | None:
    """Return the name in ``pm.Uniform("name", ...)``; None for anything else."""
    if not isinstance(node, ast.Call) or not node.args or not _distribution(node)[:1].isupper():
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _distribution(call: ast.Call) -> str:
    """Return ``Uniform`` for a call of ``pm.Uniform``."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _prior(call: ast.Call, text: str, constants: Mapping[str, float]) -> str:
    """Return ``Uniform(0, 5000)`` for ``pm.Uniform("malloc_rate", 0, 5000)``, plain numbers put in."""
    arguments = [_filled(argument, text, constants) for argument in call.args[1:]]
    arguments += [f"{k.arg}={_filled(k.value, text, constants)}" for k in call.keywords if k.arg]
    return f"{_distribution(call)}({', '.join(arguments)})"


def _filled(node: ast.expr, text: str, constants: Mapping[str, float]) -> str:
    """Return an expression with plain numbers in the place of their names."""
    names = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    if not names & constants.keys():
        return _segment(node, text)
    return ast.unparse(_Fill(constants).visit(copy.deepcopy(node)))


class _Fill(ast.NodeTransformer):
    def __init__(self, constants: Mapping[str, float]) -> None:
        self.constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace a known name by its number."""
        return ast.Constant(self.constants[node.id]) if node.id in self.constants else node


class _Named(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Replace ``pm.Uniform("name", ...)`` by ``name``."""
        name = _variable(node)
        return ast.Name(name) if name is not None else self._inside(node)

    def _inside(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        return node


def _constants(function: Callable[..., Any]) -> dict[str, float]:
    """Return the plain numbers that a function takes from around it."""
    outside = _around(function)
    return {name: v for name, v in outside.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _segment(node: ast.expr, text: str) -> str:
    """Return an expression as its author wrote it; one that takes several lines on one."""
    written = ast.get_source_segment(text, node)
    return ast.unparse(node) if written is None or "\n" in written else written
