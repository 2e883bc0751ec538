"""Limits that must be in force before numpy and numba are imported, for every test process.

Two pytest workers on two cores: BLAS or numba threads beside them only fight the samplers' chains.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")  # no window on a machine without a screen

from hypothesis import settings

# The same examples on every run; no deadline, since two workers share the machine with the compiler.
settings.register_profile("boatppl", deadline=None, derandomize=True, max_examples=50, database=None)
settings.load_profile("boatppl")
