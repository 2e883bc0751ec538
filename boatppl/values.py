"""Values that never change, whatever a run or a caller does with its own."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

UNREADABLE = (Exception, SystemExit)  # what the methods of an object that a run returned may raise


class ReadOnly(dict[str, Any]):
    """A dict that never changes. Not a MappingProxyType: workers pickle it and json.dumps takes it."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            "What a trial is and measured never changes; change a copy of it, such as "
            "dict(trial.configuration), and tell another run as a trial of its own."
        )

    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = __ior__ = _refuse

    def __reduce__(self) -> tuple[type["ReadOnly"], tuple[dict[str, Any]]]:
        return ReadOnly, (dict(self),)


def frozen(value: Any) -> Any:
    """Copy nested dicts, lists and tuples so that no dict or array in them can be changed."""
    if isinstance(value, Mapping):
        return ReadOnly({key: frozen(item) for key, item in value.items()})
    if type(value) in (list, tuple):
        return type(value)(map(frozen, value))
    return own(value) if isinstance(value, np.ndarray) else value


def own(value: Any) -> Any:
    """Copy an array and make it read-only; a NumPy scalar becomes the Python value it stands for."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
    return value


def same(a: Any, b: Any) -> bool:
    """Equal by value: arrays by shape and elements, NaN equal to NaN; 1, 1.0 and True apart, as in JSON."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        return both and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and bool(a == b)


def real_array(value: object) -> NDArray[Any] | None:
    """``value`` as an array of real numbers, or None: booleans, text, complex and objects are none."""
    if value is None or isinstance(value, str | bytes | Mapping | set):
        return None
    try:
        array = as_array(value)
    except UNREADABLE:  # ragged lists, objects that refuse, each in its own way
        return None
    if array.dtype.kind not in "iuf" or array.size == 0:
        return None
    return in_double(array)


def in_double(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array in double precision; what is too large for it is infinite."""
    if array.dtype != np.longdouble:
        return array.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        return array.astype(np.float64)


def as_array(value: Any) -> NDArray[Any]:
    """Convert what converts; masked elements are missing ones (NumPy would give what stands behind)."""
    if isinstance(value, np.ma.MaskedArray):
        return np.asarray(value.astype(np.float64).filled(np.nan))  # type: ignore[attr-defined]
    return np.asarray(value)


def printed(value: object) -> str:
    """Return what an object prints as, cut short, with its class; objects that cannot be printed say so."""
    try:
        text = repr(value)
    except UNREADABLE:
        return f"something that cannot be printed ({type(value).__name__})"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
