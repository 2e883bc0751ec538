"""boatppl: a probabilistic-programming language on PyMC for structured Bayesian optimisation."""

from boatppl import plots
from boatppl.check import Check, check
from boatppl.command import Command
from boatppl.dag import DAGModel
from boatppl.limit import limit
from boatppl.measurement import MeasurementError
from boatppl.node import derived, generic, node, shared
from boatppl.optimize import optimize
from boatppl.residual import GP
from boatppl.result import Result
from boatppl.session import resolve_orphans
from boatppl.space import Boolean, Categorical, Context, Float, Integer, Ordinal, Simplex, Space, Subset
from boatppl.stopping import stop_when
from boatppl.storage import StorageError
from boatppl.study import Study
from boatppl.trial import Aborted, State, Trial, Trials
from boatppl.words import ModelError

__all__ = [
    "GP",
    "Aborted",
    "Boolean",
    "Categorical",
    "Check",
    "Command",
    "Context",
    "DAGModel",
    "Float",
    "Integer",
    "MeasurementError",
    "ModelError",
    "Ordinal",
    "Result",
    "Simplex",
    "Space",
    "State",
    "StorageError",
    "Study",
    "Subset",
    "Trial",
    "Trials",
    "check",
    "derived",
    "generic",
    "limit",
    "node",
    "optimize",
    "plots",
    "resolve_orphans",
    "shared",
    "stop_when",
]
