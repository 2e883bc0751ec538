"""The variables that a developer's function made: which are allowed, and what they may depend on."""

from collections.abc import Iterable, Sequence

import numpy as np
import pymc as pm
import pytensor
from pymc.distributions.distribution import SymbolicRandomVariable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.variable import TensorVariable

from boatppl.node import Derived, Node, Shared
from boatppl.priors import INTERPRETED
from boatppl.structure import RESERVED
from boatppl.wiring import Graph, Wiring
from boatppl.words import ModelError, listed


def admit(graph: Graph, model: pm.Model, known: Iterable[str], wiring: Wiring) -> tuple[str, ...]:
    """Check what a function registered in its block's model, and return the names of its unknowns.

    Deterministics that depend on a wire have no single value: they leave the model.

    Raises
    ------
    ModelError
        For a discrete or nameless unknown, a local ``dims=`` of ``over=``, a prior, potential or observation
        that depends on a wire, a reserved name, or data made inside the function.
    """
    part = graph.part
    fresh = [variable for name, variable in model.named_vars.items() if name not in set(known)]
    for variable in fresh:
        _check_name(part, variable, wiring)
        if variable in model.deterministics:
            if wiring.dependencies([variable]):
                model.deterministics.remove(variable)
                del model.named_vars[variable.name]
        elif variable in model.data_vars:
            raise ModelError(
                f"{part!r} makes the data {variable.name!r} inside the function; give it to the model as "
                f"DAGModel(..., data={{{variable.name!r}: ...}}) and take it as an argument."
            )
        else:
            _check_prior(part, variable, wiring)
    unknowns = [variable for variable in fresh if variable in model.free_RVs]
    for variable in unknowns:
        _check_unknown(part, variable, model)
    outputs = [graph.expression] if graph.noise is None else [graph.expression, graph.noise]
    _check_registered(part, outputs, model)
    return tuple(variable.name for variable in unknowns)


def _check_name(part: Node | Derived | Shared, variable: TensorVariable, wiring: Wiring) -> None:
    name = variable.name.rpartition("::")[2]
    taken = {*RESERVED, part.name} if isinstance(part, Node) else set(RESERVED)
    if isinstance(part, Node):
        taken |= {"amplitude", "lengthscale"} if part.residual is not None else set()
        taken |= set() if part.noise_arguments else {"noise"}
    if name in taken:
        raise ModelError(
            f"{part!r} has a variable called {name!r}, which is the name of the node itself, of its "
            "residual or noise, or of an axis of the posterior: rename it."
        )
    other = wiring.sources.get(name)
    ours = isinstance(part, Node) and part.standardised  # the level of a generic node is nobody's name
    if other is not None and other.name != part.name and not ours:
        raise ModelError(
            f"{part!r} has a variable called {name!r}, which is a {other.kind} of this model: every name has "
            f"one meaning. Rename the variable, or take {name!r} as an argument if that is what it is."
        )


def _check_unknown(part: Node | Derived | Shared, variable: TensorVariable, model: pm.Model) -> None:
    """Raise a ModelError for an unknown of a derived quantity, a discrete one, or one per element."""
    if isinstance(part, Derived):
        raise ModelError(
            f"{part!r} has the unknown {variable.name!r}, but a derived quantity is a deterministic "
            "function of what is known or measured. Make it a @boat.node (measured) or a @boat.shared "
            "(latent)."
        )
    if not variable.dtype.startswith("float"):
        raise ModelError(
            f"{part!r}: variable {variable.name!r} is discrete ({variable.dtype}); blocks are inferred with "
            "NUTS, which needs continuous unknowns. Marginalise it, or use a continuous prior."
        )
    local = sorted(set(model.named_vars_to_dims.get(variable.name) or ()) & set(part.over))
    if local:
        raise ModelError(
            f"{part!r} is written for one element of {part.over}, but variable {variable.name!r} has "
            f"dims={local}: variables made inside the function are one for all elements. Declare one "
            f"unknown per element with @boat.shared(dims={local[0]!r})."
        )


def _check_prior(part: Node | Derived | Shared, variable: TensorVariable, wiring: Wiring) -> None:
    """Raise a ModelError where a prior, potential or observation depends on a wire."""
    for key in wiring.dependencies([variable]):
        source = wiring.sources[key.name]
        if source.kind in ("data", "shared"):
            raise ModelError(
                f"{part!r}: the prior of {variable.name!r} depends on one element of {source.kind} "
                f"{key.name!r}, but variables made inside the function are one for all elements of "
                f"{part.over}. Declare one unknown per element with @boat.shared(dims=...)."
            )
        raise ModelError(
            f"{part!r}: the prior of {variable.name!r} depends on the {source.kind} {key.name!r}. Priors, "
            f"potentials and observations may depend on variables and data, never on parameters, contexts, "
            f"derived quantities or nodes: use {key.name!r} in the returned expression instead."
        )


def _check_registered(
    part: Node | Derived | Shared, outputs: Sequence[TensorVariable], model: pm.Model
) -> None:
    """Raise a ModelError for a distribution in the expression that has no name and so is no unknown."""
    for variable in ancestors(outputs, blockers=model.basic_RVs):
        operation = getattr(variable.owner, "op", None)
        if isinstance(operation, RandomVariable | SymbolicRandomVariable) and variable not in model.basic_RVs:
            raise ModelError(
                f"{part!r} uses a distribution without a name ({operation}): an unknown is registered as "
                f"pm.Normal('name', ...); .dist(...) is for options such as noise=."
            )


def check_centre(model: pm.Model, names: Sequence[str]) -> None:
    """Raise a ModelError unless every prior and potential is finite at the centre of the prior.

    ``names`` are the block's parts, for the message. The centre is PyMC's initial point.
    """
    where = listed(names)
    variables = [*model.free_RVs, *model.observed_RVs, *model.potentials]
    if not variables:
        return
    try:
        point = model.initial_point()
        terms = pytensor.function(
            model.value_vars, model.logp(sum=False), mode=INTERPRETED, on_unused_input="ignore"
        )(**point)
    except Exception as error:
        raise ModelError(
            f"{where}: the prior has no log density at its centre ({error}). Check the arguments of the "
            f"priors of {listed(variable.name for variable in variables)}."
        ) from error
    for variable, term in zip(variables, terms, strict=True):
        if not np.isfinite(term).all():
            raise ModelError(
                f"{where}: the log density of {variable.name!r} is {np.sum(term)} at the prior's centre, "
                "expected a finite number. Check the prior's arguments."
            )
