"""Batching: an expression written for one trial and element becomes one over rows, or draws and rows."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import FAST_COMPILE
from pytensor.graph.replace import vectorize_graph
from pytensor.tensor.variable import TensorVariable

from boatppl.compile.vectorised import vectorise
from boatppl.wiring import Key, Wiring

# Slopes are full of `second`, which has no NumPy function either: it is taken out.
BY_NUMPY = FAST_COMPILE.including("local_second_to_alloc").register((vectorise, 100.0))


def symbol(name: str | None, shape: tuple[int | None, ...]) -> TensorVariable:
    """Return a float64 input of a graph under any name: ``pt.tensor`` takes none that is also a dtype's."""
    return pt.TensorType("float64", shape=shape)(name)


def interpreted(
    inputs: Sequence[TensorVariable], outputs: Sequence[TensorVariable]
) -> Callable[..., list[Any]]:
    """Return a function of arrays that are what the inputs say, run by NumPy: nothing is compiled for it.

    Threads take turns: PyTensor keeps what lies between inputs and outputs in places that they would share.
    """
    function = pytensor.function(
        list(inputs), list(outputs), mode=BY_NUMPY, on_unused_input="ignore", trust_input=True
    )
    turn = threading.Lock()

    def call(*arguments: np.ndarray) -> list[Any]:
        with turn:
            results: list[Any] = function(*arguments)
        return results

    return call


def batch(
    outputs: Sequence[TensorVariable],
    wiring: Wiring,
    over: tuple[str, ...],
    wires: Mapping[Key, TensorVariable],
    elements: Mapping[str, TensorVariable],
    replace: Mapping[Any, TensorVariable],
    shared: Mapping[str, TensorVariable],
) -> list[TensorVariable]:
    """Return the outputs with leading batch dimensions.

    Parameters
    ----------
    outputs
        Expressions of the wiring's placeholders (and of the keys of ``replace``).
    over
        The dims for one element of which the function is written.
    wires
        What each placeholder becomes: its dims behind the batch dimensions ``(row,)`` or ``(draw, row)``.
    elements
        For each dim of ``over`` the element of each row: ``(row,)`` int64.
    replace
        Variables and what they become.
    shared
        The expressions of shared quantities, from which one element a row is taken.
    """
    table = {wiring.placeholders[key]: value for key, value in wires.items()} | dict(replace)
    for key, placeholder in wiring.dependencies(outputs).items():
        if wiring.sources[key.name].kind == "shared":
            whole = shared[key.name]
            [batched] = vectorize_graph([whole], table)
            dims = wiring.sources[key.name].dims
            indexed = tuple(dim for dim in dims if dim in over)
            table[placeholder] = _take(batched, batched.ndim - whole.ndim, dims, indexed, elements)
    return vectorize_graph(list(outputs), table)


def _take(
    batched: TensorVariable,
    lead: int,
    dims: tuple[str, ...],
    indexed: tuple[str, ...],
    elements: Mapping[str, TensorVariable],
) -> TensorVariable:
    """Take each row's element: ``(lead..., *dims)`` becomes ``(lead..., row, remaining dims)``."""
    front = [lead + dims.index(dim) for dim in indexed]
    order = [*range(lead), *front, *[axis for axis in range(lead, batched.ndim) if axis not in front]]
    moved = batched.transpose(*order) if order != list(range(batched.ndim)) else batched
    index = tuple(elements[dim] for dim in indexed)
    if lead == 0:
        return moved[index]
    # what is the same for every row has one row: its axis is 1 long
    row = pt.arange(index[0].shape[0]) % moved.shape[lead - 1]
    return moved[(*[slice(None)] * (lead - 1), row, *index)]
