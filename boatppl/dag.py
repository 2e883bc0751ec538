"""``DAGModel``: nodes over a space, wired by name; the face of a model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pymc as pm

from boatppl.draw import as_mermaid, as_text
from boatppl.graph import DAG, NodeGraph
from boatppl.node import Node, generic
from boatppl.picture import as_html
from boatppl.space import Space
from boatppl.trial import Trial
from boatppl.twin import to_pymc
from boatppl.words import ModelError, listed, nearest


class DAGModel(DAG):
    """Nodes over a space, wired by their functions' argument names into a directed acyclic graph.

    Parameters
    ----------
    space
        The :class:`boatppl.Space` of the parameters and contexts.
    parts
        What :func:`node`, :func:`derived`, :func:`shared` and :func:`generic` made, in any order.
    coords
        The names of the elements along each dim, as in PyMC.
    data
        Fixed data: name -> number, or name -> (dim or dims, array).

    Raises
    ------
    ModelError
        For an unknown wire, a circle, two parts of one name, a function that returns no tensor, a discrete
        free variable, a non-finite log density at the prior's centre, or a parametric part that is not
        finite on 99 % of prior draws.

    Notes
    -----
    A ``pm.Deterministic`` of variables alone is in the posterior; one that depends on a wire differs from row
    to row and is left out: make it a :func:`derived` or a node.

    Examples
    --------
    >>> import pymc as pm
    >>> import boatppl as boat
    >>> @boat.node(unit="1/s", transform="log")
    ... def gc_rate(eden_mb):
    ...     malloc_rate = pm.Uniform("malloc_rate", 0, 5000)
    ...     return malloc_rate / eden_mb
    >>> model = boat.DAGModel(boat.Space(eden_mb=boat.Float(4, 80, log=True, unit="MB")), [gc_rate])
    >>> list(model)
    ['gc_rate']
    """

    def __getitem__(self, name: str) -> "NodeView":
        if name not in self.nodes:
            hint = nearest(str(name), self.nodes)
            raise ModelError(f"{name!r} is no node of this model.{hint} Nodes: {listed(self.nodes)}.")
        return NodeView(self, self.nodes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": as_text(self), "text/html": as_html(self), "text/vnd.mermaid": as_mermaid(self)}

    def _repr_html_(self) -> str:
        return as_html(self)

    def to_mermaid(self) -> str:
        """Return the DAG as a Mermaid flowchart."""
        return as_mermaid(self)


@dataclass(frozen=True, eq=False)
class NodeView:
    """One node of a model, to open and look at."""

    model: DAG
    graph: NodeGraph

    def to_pymc(self, trials: Iterable[Trial] = ()) -> pm.Model:
        """Return the node's block as a plain ``pm.Model`` given measured trials
        (:func:`boatppl.twin.to_pymc`)."""
        return to_pymc(self.model, self.graph.name, trials)

    def __repr__(self) -> str:
        return as_text(self.model, only=self.graph.name)


def generic_model(space: Space, objective: str, like: Node | None = None) -> DAGModel:
    """Return the model that knows nothing: one node over every parameter and context of the space.

    It inherits ``like``'s transform and robustness, whether it has noise at all, and whether a time limit
    bounds it: ``like`` is the developer's node of the same measurement. The last few are kept: a space that
    is tuned again is not compiled again.
    """
    options: dict[str, Any] = {}
    if like is not None:
        options = {"unit": like.unit, "transform": like.transform, "robust": like.robust}
        options |= {"noise": 0 if like.deterministic else None, "censored": like.censored}
    key = (id(space), objective, *options.values())  # no other space has the id while the model keeps this
    if key not in _GENERIC:
        inputs = [*space.parameters, *space.contexts]
        _GENERIC[key] = DAGModel(space, [generic(objective, inputs, **options)])
        while len(_GENERIC) > _KEPT:
            del _GENERIC[next(iter(_GENERIC))]
    return _GENERIC[key]


_KEPT = 8
_GENERIC: dict[tuple[Any, ...], DAGModel] = {}
