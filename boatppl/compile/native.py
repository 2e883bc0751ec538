"""A block's density as C sees it: NUTS calls it without the interpreter, and from several threads at once.

The density of thirty rows takes 12 microseconds, and the way there through Python longer than that. Every
block's density has arguments of its own types. What hands them over is written in LLVM's own words, for a few
milliseconds of compilation, and finds the density by its address, so that is not linked and optimised again.
All else is compiled once on a machine.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions: numba infers the types, docstrings say the shapes.

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count
from typing import Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, cfunc, typeof, types
from numba.core import cgutils
from numba.core.callconv import excinfo_ptr_t
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array
from nutpie.compile_pymc import CompiledPyMCModel

from boatppl.compile.density import FLOOR, Bound

_NUMBERS: Final = types.CPointer(types.float64)
_WORDS: Final = types.CPointer(types.int64)
#: dimension, u, slope, value, data: what nutpie calls; 0 comes back.
_DENSITY: Final = types.int64(types.uint64, _NUMBERS, _NUMBERS, _NUMBERS, _WORDS)
#: dimension, dimension of the copy, u, copy, data
_COPY: Final = types.int64(types.uint64, types.uint64, _NUMBERS, _NUMBERS, _WORDS)
_PART: Final = types.Array(types.float64, 1, "C")
_WORD: Final = ir.IntType(64)
_BYTES: Final = 8  # of every number that a density takes
_COUNT: Final = count()  # names are looked up across libraries


def native(
    logp: Bound, centre: np.ndarray, scale: np.ndarray, latent: float, first: Callable[[Any], np.ndarray]
) -> CompiledPyMCModel:
    """Return what nutpie samples: the density of ``u (dimension,)`` where positions are ``centre + scale u``.

    ``scale (unknown, unknown)`` is of the unknowns, and what stands behind them in the position is scaled by
    ``latent``; ``first`` maps the seed of a chain to its first u. The trace has the draws as ``"u"``.
    """
    size, (address, call, library) = len(centre), _compiled(logp, centre)
    places = np.array([[part.start, part.stop - part.start] for part in logp.parts], np.int64)
    arrays = np.array([n for array in logp.arguments for n in (array.ctypes.data, *array.shape)], np.int64)
    numbers = np.array([*centre, *scale.ravel(), latent])
    kept = [places, arrays, numbers]  # what must live as long as the chains do is kept with the model
    return CompiledPyMCModel(
        dims=None,
        compiled_logp_func=_density(),
        compiled_expand_func=_copy(),
        initial_point_func=first,
        shared_data=dict(enumerate(kept)),
        shared_var_keys={},
        user_data=np.array([call, address, len(scale), *(array.ctypes.data for array in kept)], np.int64),
        n_expanded=size,
        shape_info=(["u"], [slice(0, size)], [(size,)]),
        logp_func=logp,
        expand_func=library,
        _n_dim=size,
        _shapes={"u": (size,)},
        _coords=None,
    )


def _compiled(logp: Bound, position: np.ndarray) -> tuple[int, int, Any]:
    """Return where the density is that was compiled for such arguments, where what calls it is, and in which
    library."""
    signature = (*[_PART for _ in logp.parts], *map(typeof, logp.arguments))
    overloads = logp.function.overloads
    if not any(tuple(key[0]) == signature for key in overloads):
        logp(position)
    [(key, found)] = [item for item in overloads.items() if tuple(item[0][0]) == signature]
    address = found.library.get_pointer_to_function(found.fndesc.mangled_name)
    return address, *_call(key[0], len(logp.parts), found.signature.return_type)


# -- what nutpie calls: compiled once on a machine ----------------------------------------


@lru_cache(maxsize=1)
def _density() -> Any:
    return cfunc(_DENSITY, cache=True)(_of_u)


@lru_cache(maxsize=1)
def _copy() -> Any:
    return cfunc(_COPY, cache=True)(_same)


def _of_u(dimension, u_, slope_, value_, data_):
    """The density of u and its slope; where it has none, ``FLOOR`` and zeros."""
    data = carray(data_, 6)
    unknowns = data[2]
    behind = dimension + unknowns * unknowns  # the last of the numbers
    numbers = carray(_numbers_at(data[5]), behind + 1)
    u, slope, value = carray(u_, dimension), carray(slope_, dimension), carray(value_, 1)
    gradient = np.empty(dimension)
    for i in range(unknowns):
        slope[i] = numbers[i]  # the position, until the slope is known
        for j in range(unknowns):
            slope[i] += numbers[dimension + i * unknowns + j] * u[j]
    for i in range(unknowns, dimension):
        slope[i] = numbers[i] + numbers[behind] * u[i]
    sound = _called(data[0], data[1], slope, data[3], data[4], value, gradient) == dimension
    sound = sound and math.isfinite(value[0]) and value[0] > FLOOR
    for i in range(dimension):
        sound = sound and math.isfinite(gradient[i])
    if not sound:
        value[0] = FLOOR
        for i in range(dimension):
            slope[i] = 0.0
        return 0
    for j in range(unknowns):
        slope[j] = 0.0
        for i in range(unknowns):
            slope[j] += gradient[i] * numbers[dimension + i * unknowns + j]
    for i in range(unknowns, dimension):
        slope[i] = numbers[behind] * gradient[i]
    return 0


def _same(dimension, _, u_, copy_, data_):
    """What a draw is kept as: u itself."""
    u, copy = carray(u_, dimension), carray(copy_, dimension)
    for i in range(dimension):
        copy[i] = u[i]
    return 0


@intrinsic
def _numbers_at(typingctx, address):
    """A pointer to the numbers at an address."""

    def code(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(_NUMBERS))

    return _NUMBERS(types.int64), code


@intrinsic
def _called(typingctx, call, address, position, places, arrays, value, gradient):
    """Call a density through :func:`_call`; return the length of the gradient that it has written."""

    def code(context, builder, signature, values):
        call, address, position, places, arrays, value, gradient = values
        data = [make_array(_PART)(context, builder, array).data for array in (position, value, gradient)]
        function = builder.inttoptr(call, _call_type(context).as_pointer())
        return builder.call(function, [address, data[0], places, arrays, data[1], data[2]])

    number = types.int64
    return number(number, number, _PART, number, number, _PART, _PART), code


# -- what hands over the arguments: compiled for their types ------------------------------


def _call_type(context: Any) -> ir.FunctionType:
    """address, position, places, arrays, value, gradient -> the gradient's length"""
    numbers = context.get_value_type(_NUMBERS)
    return ir.FunctionType(_WORD, [_WORD, numbers, _WORD, _WORD, numbers, numbers])


@lru_cache(maxsize=256)
@global_compiler_lock
def _call(arguments: types.BaseTuple, parts: int, result: types.Type) -> tuple[int, Any]:
    """Return the address of what calls a density of some argument types, and the library that keeps it there.

    The first arguments are ``parts`` of the position: ``places`` has where each begins and its length,
    ``arrays`` the address and shape of every other argument. The convention is numba's own: where the density
    raises, its result is empty, and nothing is said.
    """
    context = cpu_target.target_context.subtarget(enable_nrt=True)
    library = context.codegen().create_library("boatppl_call")
    module = library.create_ir_module("boatppl_call")
    function = ir.Function(module, _call_type(context), name=f"boatppl_call_{next(_COUNT)}")
    builder = ir.IRBuilder(function.append_basic_block())
    address, position, places, arrays, value, gradient = function.args
    begins, extents = _words(builder, places), _words(builder, arrays)

    def view(type_: Any, pointer: Any, shape: list[Any]) -> Any:
        strides = [_WORD(_BYTES)]
        for length in shape[:0:-1]:
            strides.insert(0, builder.mul(strides[0], length))
        array = make_array(type_)(context, builder)
        populate_array(array, pointer, shape, strides[: len(shape)], _BYTES, None)
        return array._getvalue()

    given = []
    for type_ in list(arguments)[:parts]:
        given.append(view(type_, builder.gep(position, [next(begins)]), [next(begins)]))
    for type_ in list(arguments)[parts:]:
        pointer = builder.inttoptr(next(extents), context.get_data_type(type_.dtype).as_pointer())
        given.append(view(type_, pointer, [next(extents) for _ in range(type_.ndim)]))
    convention = context.call_conv
    density = convention.get_function_type(result, (arguments,)).as_pointer()
    returned = cgutils.alloca_once(builder, convention.get_return_type(result).pointee, zfill=True)
    raised = cgutils.alloca_once(builder, excinfo_ptr_t, zfill=True)
    packed = context.get_arg_packer((arguments,)).as_arguments(
        builder, [context.make_tuple(builder, arguments, given)]
    )
    builder.call(builder.inttoptr(address, density), [returned, raised, *packed])
    found = context.get_returned_value(builder, result, builder.load(returned))
    total, slope = (
        make_array(type_)(context, builder, builder.extract_value(found, place))
        for place, type_ in enumerate(result)
    )
    there = builder.icmp_unsigned("!=", builder.ptrtoint(total.data, _WORD), _WORD(0))
    length = builder.select(there, slope.nitems, _WORD(0))
    with builder.if_then(there):
        builder.store(builder.load(total.data), value)
        cgutils.raw_memcpy(builder, gradient, slope.data, slope.nitems, _BYTES)
    context.nrt.decref(builder, result, found)
    builder.ret(length)
    library.add_ir_module(module)
    library.add_linking_library(rtsys.library)
    library.finalize()
    return library.get_pointer_to_function(function.name), library


def _words(builder: Any, address: Any) -> Iterator[Any]:
    """Yield the words that stand one after the other from an address on."""
    table, place = builder.inttoptr(address, _WORD.as_pointer()), 0
    while True:
        yield builder.load(builder.gep(table, [_WORD(place)]))
        place += 1
