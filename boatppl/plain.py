"""Plain JSON for whatever a trial holds: strict, and exact both ways.

What JSON has no word for becomes an object whose first key starts with "$". The non-finite floats that
Python's json writes by default are read by nothing else.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from boatppl.values import as_array, in_double, printed

LONGEST = 2_000  # bits of a whole number: Python writes no longer ones without being asked to


def to_json(value: Any) -> Any:
    """Give what ``json.dumps(allow_nan=False)`` takes and :func:`from_json` turns back, every float exact.

    Takes numbers, text, lists, tuples, dicts by name, numeric arrays and what converts to one; datetimes
    become text.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> from_json(to_json({"share": (0.1, np.float64(0.9))}))
    {'share': (0.1, 0.9)}
    """
    if isinstance(value, np.generic):
        value = float(value) if isinstance(value, np.longdouble) else value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int) and value.bit_length() <= LONGEST:
        return value
    if hasattr(value, "__array__"):
        value = as_array(value)  # pandas and xarray: their labels are the model's, not the trial's
    if isinstance(value, np.ndarray) and value.dtype == np.longdouble:
        value = in_double(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return {"$array": to_json(value.tolist()), "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, tuple):
        return {"$tuple": [to_json(item) for item in value]}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        value = dict(value)  # a class of its own may give other items than it holds
        wrong = [key for key in value if not isinstance(key, str) or key.startswith("$")]
        if wrong:
            raise TypeError(
                f"A trial's dicts have names without $ in front for keys; got {printed(wrong[0])}."
            )
        return {key: to_json(item) for key, item in value.items()}
    raise TypeError(
        f"A trial is kept as plain values (numbers, text, lists, dicts, arrays); got {printed(value)}. "
        f"Convert it before it goes into a configuration or a suggestion."
    )


def from_json(value: Any) -> Any:
    """Give back what :func:`to_json` was given: arrays, tuples and non-finite floats included."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(from_json(item) for item in value["$tuple"])
    if "$array" in value:
        return np.array(from_json(value["$array"]), dtype=value["dtype"]).reshape(value["shape"])
    return {key: from_json(item) for key, item in value.items()}
