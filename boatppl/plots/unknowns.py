"""What the developer's unknowns were believed to be, and what is known of them now: drawn by arviz-plots."""

from collections.abc import Sequence
from typing import Any

import arviz_plots
import numpy as np
import xarray as xr
from arviz_plots.plot_collection import PlotCollection

from boatppl.plots.backend import chosen, interface
from boatppl.plots.canvas import BLUE, GREY
from boatppl.plots.view import view
from boatppl.result import Result
from boatppl.study import Study
from boatppl.words import ModelError, listed, nearest

OWN = ("amplitude", "lengthscale", "noise")  # a node's unknowns that no developer wrote


def prior_posterior(tree: xr.DataTree, variables: Sequence[str] | None = None) -> xr.DataTree:
    """Return one tree with groups ``prior`` and ``posterior`` of unknowns of all nodes, in their own units.

    Each is named ``node: variable``, a shared one by itself. By default all that the developer wrote;
    ``variables`` names some, with or without their node.
    """
    groups: dict[str, dict[str, xr.DataArray]] = {"prior": {}, "posterior": {}}
    seen: dict[str, set[str]] = {}
    for node, child in tree.children.items():
        for full in map(str, child["posterior"].data_vars):
            variable = full.rpartition("::")[2]
            draws = child["posterior"].dataset[full]
            others = [other["posterior"].dataset for name, other in tree.children.items() if name != node]
            shared = any(full in other and draws.equals(other[full]) for other in others)
            label = variable if shared else f"{node}: {variable}"
            seen[label] = {label, variable, full, f"{node}::{variable}"}
            if variables is None and (variable in OWN or full not in child["prior"].data_vars):
                continue
            if variables is None or seen[label] & set(variables):
                for group, found in groups.items():
                    found[label] = child[group][full].rename(label)
    for name in variables or ():
        if not any(name in names for names in seen.values()):
            known = sorted({name for names in seen.values() for name in names if ":" not in name})
            raise ModelError(
                f"{name!r} is no unknown of the model.{nearest(name, known)} Known: {listed(known)}."
            )
    if not groups["posterior"]:
        raise ModelError("the developer wrote no unknowns in this model: there is nothing to compare.")
    return xr.DataTree.from_dict({group: xr.Dataset(found) for group, found in groups.items()})


def plot_prior_posterior(
    study: Study | Result | xr.DataTree,
    variables: str | Sequence[str] | None = None,
    *,
    plot_collection: PlotCollection | None = None,
    backend: str | None = None,
    **options: Any,
) -> PlotCollection:
    """Draw each unknown's posterior beside its prior, in its own unit, with ``arviz_plots``.

    .. image:: /generated/plots/prior_posterior.png

    Where the two are alike nothing was learned. A posterior that piles up at the edge of its prior says that
    the prior excludes what the data want. Each panel is cut to where the posterior and most of the prior
    are.

    Parameters
    ----------
    study
        A study, the result of :func:`boatppl.optimize`, or a posterior of either (``study.posterior``,
        ``study.sample(...)``): the tree is sampled for a study, which takes some seconds.
    variables
        Names of unknowns, with or without their node (``"malloc_rate"``, ``"gc_rate: malloc_rate"``); by
        default all that the developer wrote. ``"amplitude"``, ``"lengthscale"`` and ``"noise"`` are the
        residual's and noise's.
    plot_collection
        A ``PlotCollection`` to draw into.
    backend
        ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default the collection's, else ArviZ's.
    options
        Passed to ``arviz_plots.plot_prior_posterior``: ``kind``, ``visuals``, ``col_wrap``, ...

    Returns
    -------
    PlotCollection

    Raises
    ------
    ModelError
        For an unknown variable, a model without any, or a study in which nothing was measured.

    Examples
    --------
    >>> collection = boat.plots.plot_prior_posterior(result, "malloc_rate")  # doctest: +SKIP
    >>> collection.viz["figure"].item().savefig("malloc_rate.png")  # doctest: +SKIP
    """
    name = plot_collection.backend if plot_collection is not None else chosen(backend)
    if backend not in (None, name):
        raise ModelError(f"plot_collection= is of {name}, backend= says {backend!r}: leave backend= out.")
    common = interface(name)
    tree = study if isinstance(study, xr.DataTree) else _sampled(study)
    asked = [variables] if isinstance(variables, str) else variables
    found = prior_posterior(tree, asked)
    if plot_collection is None:
        options = {"col_wrap": 3, "color": [GREY, BLUE]} | options
    if plot_collection is None and name == "matplotlib":
        options["figure_kwargs"] = {"layout": "constrained"} | options.get("figure_kwargs", {})
    options |= {"plot_collection": plot_collection, "backend": name}  # its annotation leaves two of them out
    collection = arviz_plots.plot_prior_posterior(found, **options)
    _cut(collection, found, common)
    return collection


def _sampled(study: Study | Result) -> xr.DataTree:
    if isinstance(study, Result):
        return study.posterior
    return view(study).study.posterior


def _cut(collection: PlotCollection, found: xr.DataTree, common: Any) -> None:
    """Cut every panel to the posterior and the bulk of the prior: heavy tails would hide both."""
    for name in map(str, found["posterior"].data_vars):
        plots = collection.viz["plot"]
        plots = plots.get(name, plots)
        prior, now = np.ravel(found["prior"][name]), np.ravel(found["posterior"][name])
        low, high = np.quantile(prior, [0.01, 0.95])
        low, high = min(low, now.min()), max(high, now.max())
        for target in plots.values.ravel():
            common.xlim((low - 0.03 * (high - low), high + 0.03 * (high - low)), target)
