"""Expressions over (draw, row): prediction, and its vector-Jacobian product for the search."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from boatppl.compile.batch import batch, interpreted, symbol
from boatppl.wiring import Key, Wiring

Values = Mapping[Key, np.ndarray]


class Evaluator:
    """Evaluate expressions of wires and variables over many draws and rows at once.

    Compiled on first use, once; PyTensor's ``FAST_COMPILE`` mode has no compile time to speak of, and the
    arrays are large enough that numpy does the work.

    Parameters
    ----------
    outputs
        Expressions of one row, as a developer's function returned them.
    wiring
        Whose placeholders they use.
    over
        The dims for one element of which they are written.
    variables
        The random variables among their ancestors, by name.
    """

    def __init__(
        self,
        outputs: Sequence[TensorVariable],
        wiring: Wiring,
        over: tuple[str, ...] = (),
        variables: Mapping[str, TensorVariable] | None = None,
    ) -> None:
        self.outputs = list(outputs)
        self.wiring = wiring
        self.over = over
        self.variables = dict(variables or {})
        self.keys = sorted(
            key for key in wiring.dependencies(self.outputs) if wiring.sources[key.name].kind != "shared"
        )
        self._forward: Any = None
        self._pullback: Any = None

    def __call__(
        self,
        variables: Mapping[str, np.ndarray],
        values: Values,
        elements: Mapping[str, np.ndarray] | None = None,
        rows: int = 1,
    ) -> list[np.ndarray]:
        """Return each output as ``(draw, row, *dims)``.

        ``variables``: name -> ``(draw, *shape)``; ``values``: key -> ``(draw or 1, row, *dims)``;
        ``elements``: dim -> ``(row,)``; ``rows``: how many rows there are.
        """
        if rows == 0:  # PyTensor's batched operations need a row to run on
            one = {key: np.ones((len(value), 1, *np.shape(value)[2:])) for key, value in values.items()}
            first = dict.fromkeys(self.over, np.zeros(1, np.int64))
            return [result[:, :0] for result in self(variables, one, first, 1)]
        if self._forward is None:
            inputs, outputs = self._graph()
            self._forward = interpreted(inputs, outputs)
        arguments, shape = self._arguments(variables, values, elements, rows)
        with np.errstate(all="ignore"):
            results = self._forward(*arguments)
        return [
            np.broadcast_to(result, (*shape, *result.shape[result.ndim - rank :]))
            for result, rank in zip(results, (out.ndim for out in self.outputs), strict=True)
        ]

    def pullback(
        self,
        variables: Mapping[str, np.ndarray],
        values: Values,
        cotangents: Sequence[np.ndarray],
        elements: Mapping[str, np.ndarray] | None = None,
        rows: int = 1,
    ) -> dict[Key, np.ndarray]:
        """Return d(sum of cotangent * output)/d(wire) as key -> ``(draw, row, *dims)``."""
        if self._pullback is None:
            inputs, outputs = self._graph()
            weights = [symbol(None, (None,) * (2 + out.ndim)) for out in self.outputs]
            total = sum(
                ((weight * output).sum() for weight, output in zip(weights, outputs, strict=True)),
                start=pt.constant(0.0),
            )
            wires = inputs[len(self.variables) : len(self.variables) + len(self.keys)]
            slopes = pytensor.grad(total, wires, disconnected_inputs="ignore", return_disconnected="zero")
            self._pullback = interpreted([*inputs, *weights], slopes)
        draws = max(len(cotangent) for cotangent in cotangents)
        arguments, shape = self._arguments(variables, values, elements, rows, draws)
        weights = [np.broadcast_to(weight, (*shape, *weight.shape[2:])) for weight in cotangents]
        with np.errstate(all="ignore"):
            results = self._pullback(*arguments, *map(np.ascontiguousarray, weights))
        return dict(zip(self.keys, results, strict=True))

    def _graph(self) -> tuple[list[TensorVariable], list[TensorVariable]]:
        variables = {
            name: symbol(name, (None, 1, *variable.type.shape)) for name, variable in self.variables.items()
        }
        wires = {key: symbol(key.name, (None, None, *self.wiring.shape(key))) for key in self.keys}
        elements = {dim: pt.lvector(dim) for dim in self.over}
        replace = {variable: variables[name] for name, variable in self.variables.items()}
        outputs = batch(self.outputs, self.wiring, self.over, wires, elements, replace, self.wiring.shared)
        outputs = [  # what depends on no draw or no row lacks that axis
            pt.shape_padleft(output, 2 + whole.ndim - output.ndim)
            for output, whole in zip(outputs, self.outputs, strict=True)
        ]
        return [*variables.values(), *wires.values(), *elements.values()], outputs

    def _arguments(
        self,
        variables: Mapping[str, np.ndarray],
        values: Values,
        elements: Mapping[str, np.ndarray] | None,
        rows: int,
        draws: int = 1,
    ) -> tuple[list[np.ndarray], tuple[int, int]]:
        lengths = [len(variables[name]) for name in self.variables] + [len(values[key]) for key in self.keys]
        draws = max([draws, *lengths])
        arguments = [np.asarray(variables[name], float)[:, None] for name in self.variables]
        for key in self.keys:
            value = np.asarray(values[key], float)
            arguments.append(np.ascontiguousarray(np.broadcast_to(value, (draws, rows, *value.shape[2:]))))
        arguments += [np.asarray((elements or {})[dim], np.int64) for dim in self.over]
        return arguments, (draws, rows)
