"""LAPACK and BLAS routines by symbol, callable from cached ``@numba.njit`` code.

numba refuses to cache code that holds the address of a foreign function; it may hold its *name*, which the
linker resolves again in every process. So SciPy's routines are registered under names of ours when this
module is imported. Unlike ``np.linalg`` inside numba they report failure by a flag and never raise.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions: numba infers the types, docstrings say the shapes.

import llvmlite.binding  # type: ignore[import-untyped]
import numpy as np
from numba import types
from numba.extending import get_cython_function_address

from boatppl.gp.compiled import inner

_ROUTINES = {
    "dpotrf": ("scipy.linalg.cython_lapack", 5),
    "dpotri": ("scipy.linalg.cython_lapack", 5),
    "dtrsm": ("scipy.linalg.cython_blas", 11),
    "dsyrk": ("scipy.linalg.cython_blas", 10),
}


def _external(routine: str) -> types.ExternalFunction:
    """The routine as nopython code calls it: every argument is an address, given as an integer."""
    module, arguments = _ROUTINES[routine]
    symbol = f"boatppl_{routine}"
    llvmlite.binding.add_symbol(symbol, get_cython_function_address(module, routine))
    return types.ExternalFunction(symbol, types.void(*[types.uintp] * arguments))


_dpotrf = _external("dpotrf")
_dpotri = _external("dpotri")
_dtrsm = _external("dtrsm")
_dsyrk = _external("dsyrk")

# Fortran stores by column: the lower triangle of a C-ordered matrix is the upper one there.
_UPPER, _RIGHT_SIDE = np.uint8(ord("U")), np.uint8(ord("R"))
_PLAIN, _TRANSPOSED = np.uint8(ord("N")), np.uint8(ord("T"))


@inner()
def cholesky(A):
    """Overwrite the lower triangle of ``A`` (row, row) with L, A = L L^T; return 0, or the failing pivot.

    A NaN may pass unnoticed: test the result's diagonal.
    """
    integers = np.empty(2, np.int32)  # order, status
    integers[0] = A.shape[0]
    integers[1] = 0
    letters = np.empty(1, np.uint8)
    letters[0] = _UPPER
    order = integers.ctypes.data
    _dpotrf(letters.ctypes.data, order, A.ctypes.data, order, order + 4)
    return integers[1]


@inner()
def invert_from_cholesky(L):
    """Overwrite the lower triangle of L (row, row) with (L L^T)^-1; return 0, or the failing pivot."""
    integers = np.empty(2, np.int32)  # order, status
    integers[0] = L.shape[0]
    integers[1] = 0
    letters = np.empty(1, np.uint8)
    letters[0] = _UPPER
    order = integers.ctypes.data
    _dpotri(letters.ctypes.data, order, L.ctypes.data, order, order + 4)
    return integers[1]


@inner()
def solve_lower(L, X, transposed):
    """Overwrite ``X`` (row, point) with L^-1 X, or L^-T X if ``transposed``; L (row, row) is lower."""
    letters = np.empty(4, np.uint8)  # side, triangle, transposition, diagonal
    letters[0] = _RIGHT_SIDE
    letters[1] = _UPPER
    letters[2] = _TRANSPOSED if transposed else _PLAIN
    letters[3] = _PLAIN
    integers = np.empty(2, np.int32)
    integers[0] = X.shape[1]
    integers[1] = X.shape[0]
    one = np.empty(1)
    one[0] = 1.0
    letter = letters.ctypes.data
    points = integers.ctypes.data
    rows = points + 4
    l_data, x_data, factor = L.ctypes.data, X.ctypes.data, one.ctypes.data
    _dtrsm(letter, letter + 1, letter + 2, letter + 3, points, rows, factor, l_data, rows, x_data, points)


@inner()
def add_gram(X, out):
    """Add X X^T to the lower triangle of ``out`` (row, row), X (row, point)."""
    letters = np.empty(2, np.uint8)  # triangle, transposition
    letters[0] = _UPPER
    letters[1] = _TRANSPOSED
    integers = np.empty(2, np.int32)
    integers[0] = X.shape[0]
    integers[1] = X.shape[1]
    one = np.empty(1)
    one[0] = 1.0
    letter = letters.ctypes.data
    rows = integers.ctypes.data
    points = rows + 4
    x_data, out_data, factor = X.ctypes.data, out.ctypes.data, one.ctypes.data
    _dsyrk(letter, letter + 1, rows, points, factor, x_data, points, factor, out_data, rows)
