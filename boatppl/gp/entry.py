"""Likelihoods called by address, so that whoever calls them does not compile them again.

Compiled code that calls a ``@njit`` function links and optimises all of it once more, in each caller and at
each level of calls. Through an address the callee is compiled once on a machine, whatever the models, and the
bound for many rows only where there are many rows.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions: numba infers the types, docstrings say the shapes.

import threading
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from boatppl.gp.inducing import log_marginal_inducing
from boatppl.gp.marginal import log_marginal

_SCALAR, _VECTOR, _MATRIX = types.float64, types.float64[::1], types.float64[:, ::1]
#: kind, residual, Z, groups, amplitude, lengthscale, noise_variance
_EXACT: Final = (types.int64, _VECTOR, _MATRIX, types.int64[::1], _SCALAR, _VECTOR, _VECTOR)
_BOUND: Final = (*_EXACT, _MATRIX)
_RESULT: Final = types.Tuple((_SCALAR, _VECTOR, _SCALAR, _VECTOR, _VECTOR))

_COMPILING = threading.Lock()


def likelihood_address(points: int) -> int:
    """Return where the likelihood with its gradient is: the exact one, or the bound where there are inducing
    points.

    It is compiled on the first call on a machine and read from numba's cache afterwards.
    """
    function, arguments = (log_marginal_inducing, _BOUND) if points else (log_marginal, _EXACT)
    with _COMPILING:
        function.compile(arguments)
        compiled = function.overloads[arguments]
        return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


def _caller(context: Any, builder: Any, arguments: tuple[types.Type, ...], values: Any) -> Any:
    """Call the address ``values[0]``, with the convention of numba's wrappers for C."""
    parameters = [context.get_value_type(argument) for argument in arguments]
    function = ir.FunctionType(context.get_value_type(_RESULT), parameters)
    return builder.call(builder.inttoptr(values[0], function.as_pointer()), values[1:])


@intrinsic
def call_exact(typingctx, address, kind, residual, Z, groups, amplitude, lengthscale, noise_variance):
    """:func:`~boatppl.gp.marginal.log_marginal` at an address."""

    def code(context, builder, signature, values):
        return _caller(context, builder, _EXACT, values)

    return _RESULT(types.int64, *_EXACT), code


@intrinsic
def call_bound(
    typingctx, address, kind, residual, Z, groups, amplitude, lengthscale, noise_variance, inducing
):
    """:func:`~boatppl.gp.inducing.log_marginal_inducing` at an address."""

    def code(context, builder, signature, values):
        return _caller(context, builder, _BOUND, values)

    return _RESULT(types.int64, *_BOUND), code
