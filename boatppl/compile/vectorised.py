"""Array functions for scalar operations of PyTensor that have none of NumPy's or SciPy's.

Without one, PyTensor calls such an operation in Python number by number, which takes longer than all the
rest of a formula.
"""

from typing import Any

import numpy as np
from pytensor.graph.basic import Apply
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.scalar.basic import Clip
from pytensor.scalar.math import Log1mexp, Softplus
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.variable import TensorVariable


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x))."""
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


def log1mexp(x: np.ndarray) -> np.ndarray:
    """Return log(1 - exp(x)) of negative numbers (Maechler 2012, eq. 7)."""
    return np.where(x > -np.log(2.0), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


def clip(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return ``low`` below it, ``high`` above it: PyTensor's order, which ``np.clip`` has not where they are
    crossed."""
    return np.where(x < low, low, np.where(x > high, high, x))


FUNCTIONS = {Softplus: softplus, Log1mexp: log1mexp, Clip: clip}


@node_rewriter([Elemwise])
def _give_function(graph: FunctionGraph, node: Apply) -> list[TensorVariable] | None:
    op: Any = node.op
    function = FUNCTIONS.get(type(op.scalar_op))
    if function is None or op.nfunc_spec is not None:
        return None
    named = f"{function.__module__}.{function.__name__}"
    wide = Elemwise(op.scalar_op, op.inplace_pattern, nfunc_spec=(named, len(node.inputs), 1))
    return [wide(*node.inputs)]


#: Gives every operation of a graph the function that it has here.
vectorise = dfs_rewriter(_give_function, name="vectorise")
