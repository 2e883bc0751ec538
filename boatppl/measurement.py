"""Between a run and the log: what passes is a float or a float array of the right shape, by a known name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boatppl.text import message, readable
from boatppl.values import UNREADABLE, printed, real_array
from boatppl.words import listed, nearest

LARGEST = 1e100  # what a measurement may be: the square of its spread must be a number
Measurement = float | NDArray[np.float64]  # () or the shape of the node's dims


class MeasurementError(ValueError):
    """What a run returned cannot be a measurement. The sentence names the node and the remedy."""


def validate_measurements(
    raw: object, known: Mapping[str, tuple[int, ...]], objective: str | None = None
) -> dict[str, Measurement]:
    """Check what a run returned and give it as floats and float arrays.

    Parameters
    ----------
    raw
        A dict from node names to numbers or arrays, or one plain number for the objective. Nodes may be left
        out; names that no node has are kept (a later model may have them), unless they look misspelt.
    known
        The expected shape for every name that may be measured: ``()`` for a number, ``(10,)`` for a vector
        over ten machines.
    objective
        The node a plain number is for.

    Returns
    -------
    dict
        Only what was measured: NaN inside an array stays as a missing element, an array of NaN alone is left
        out.

    Raises
    ------
    MeasurementError
        For a name that looks like a node's misspelt, a wrong shape, None, NaN, infinity, or what is no real
        number.

    Examples
    --------
    >>> validate_measurements(3, {"cost": ()}, "cost")
    {'cost': 3.0}
    >>> validate_measurements({"p9": 3}, {"p99": ()})
    Traceback (most recent call last):
    ...
    boatppl.measurement.MeasurementError: The run measured 'p9', which is no node (known: p99).
    Did you mean 'p99'?
    """
    if raw is None:
        raise MeasurementError(
            f"The run returned None; expected a number or a dict of node names to numbers ({listed(known)}). "
            f"Does the function end with return?"
        )
    if not isinstance(raw, Mapping):
        if objective is None or objective not in known:
            raise MeasurementError(
                f"The run returned {printed(raw)}, and a plain number says nothing of which node it "
                f"measures. Return a dict from node names to numbers ({listed(known)})."
            )
        raw = {objective: raw}
    raw, checked = _as_dict(raw), {}
    nodes = f" (known: {listed(known)})" if known else ""
    for name, value in raw.items():
        if not isinstance(name, str) or name.startswith("$") or readable(name) != name:
            raise MeasurementError(
                f"The run measured {printed(name)}, which is no node{nodes}: a name is text without $ in "
                "front."
            )
        expected = known.get(name)
        hint = nearest(name, [n for n in known if n not in raw], cutoff=0.8)
        if expected is None and hint:
            raise MeasurementError(f"The run measured {name!r}, which is no node{nodes}.{hint}")
        measured = as_measurement(name, value, expected=None if expected is None else tuple(expected))
        if np.nanmax(np.abs(measured), initial=0.0) > LARGEST:
            raise MeasurementError(
                f"{name}: expected at most {LARGEST:g} in size, got {printed(value)}: nothing can be learned "
                "beside it. Raise an exception where the run failed, instead of giving it a large value."
            )
        if isinstance(measured, float) or not np.isnan(measured).all():
            checked[name] = measured
    return checked


def as_measurement(name: str, value: object, *, expected: tuple[int, ...] | None = None) -> Measurement:
    """Check one measurement; ``expected`` is its shape, None for any."""
    what = "a finite number" if expected == () else "finite numbers"
    array = real_array(value)
    if array is None:
        remedy = "Leave the node out of the dict" if value is None else "Convert it to float"
        raise MeasurementError(
            f"{name}: expected {what}, got {printed(value)}. {remedy} before returning it."
        )
    if expected is not None and array.shape != expected:
        wanted = "one number" if expected == () else f"an array of shape {expected}"
        remedy = "Reduce it to one number" if expected == () else "Give NaN for missing elements"
        got = "one number" if array.ndim == 0 else f"shape {array.shape}"
        raise MeasurementError(f"{name}: expected {wanted}, got {got}: {printed(value)}. {remedy}.")
    if array.ndim == 0 and np.isnan(array):
        raise MeasurementError(f"{name}: expected {what}, got NaN. Leave out what was not measured.")
    if np.isinf(array).any():
        raise MeasurementError(
            f"{name}: expected {what}, got {printed(value)}. Leave out what was not measured; raise an "
            f"exception where the run failed."
        )
    if array.ndim == 0:
        return float(array)
    array = array.astype(np.float64)  # always a copy: what the run does with its own array later is not ours
    array.flags.writeable = False
    return array


def _as_dict(raw: Mapping[Any, Any]) -> dict[Any, Any]:
    """Copy what a run returned; its names become plain texts."""
    try:
        return {str.__str__(n) if isinstance(n, str) else n: value for n, value in dict(raw).items()}
    except UNREADABLE as error:
        raise MeasurementError(
            f"The run returned an object of class {type(raw).__name__} that cannot be read as a dict: "
            f"{type(error).__name__}: {message(error)}. Return a plain dict from node names to numbers."
        ) from error
