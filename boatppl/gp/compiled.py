"""How the package's compiled functions are compiled and kept on disk."""

import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

from numba import njit
from numba.core.caching import FunctionCache

_FILES = sorted(files("boatppl.gp").iterdir(), key=lambda file: file.name)
#: Digest of this package's source.
SOURCES: Final = hashlib.sha256(
    b"".join(file.read_bytes() for file in _FILES if file.name.endswith(".py"))
).hexdigest()


class _Cache(FunctionCache):
    """Numba's, which asks only whether the function's own file has changed, while what it calls is compiled
    into it: a changed kernel would be found nowhere."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), SOURCES)


def cached(*, fastmath: set[str] | bool = False) -> Callable[..., Any]:
    """Compile a function that Python calls too; its code is kept on disk as long as this package's source is
    the same."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)(function)
        dispatcher._cache = _Cache(function)
        return dispatcher

    return decorate


def inner(*, fastmath: set[str] | bool = False) -> Callable[..., Any]:
    """Compile a function that only compiled code calls: part of its callers, so neither cached by itself nor
    given a door for Python, which would take a fifth of the time."""
    compiled: Callable[..., Any] = njit(
        nogil=True, error_model="numpy", fastmath=fastmath, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )
    return compiled
