"""Pictures of a study: read-only, one function each, named as the field names them.

Every function takes a study (or the result of :func:`boatppl.optimize`) and a target to draw into (``ax=``,
``axes=`` or ``plot_collection=``; fresh ones by default), and returns what it drew on. Intervals are 90 %.
Colours stand on light and on dark; text takes the target's own colour.

``backend=`` is that of ``arviz_plots``: ``"matplotlib"``, ``"plotly"``, ``"bokeh"`` or ``"none"``; by default
``arviz.rcParams["plot.backend"]``, or the backend of the target. A target is what that calls a plot:
Matplotlib axes, ``collection.viz["plot"].item()`` of a ``PlotCollection`` drawn by Plotly, a Bokeh figure, a
list to which ``"none"`` adds what it would draw. Fresh Plotly plots are of one figure (``plot.figure``);
several Bokeh figures are laid out by ``bokeh.layouts.row(*plots)``.
Plotly and Bokeh are extras: ``pip install 'boatppl[plotly]'``. They show what Matplotlib does, in their own
style.

What ArviZ draws already is not drawn here again: ``result.posterior["gc_rate"]`` goes to
``az.plot_trace_dist``, ``az.plot_forest``, ``az.plot_ppc_dist``, ``az.plot_loo_pit`` and the rest as it is.
"""

from boatppl.plots.attribution import plot_attribution
from boatppl.plots.convergence import plot_convergence, plot_weights
from boatppl.plots.dag import plot_dag
from boatppl.plots.importance import plot_importance
from boatppl.plots.parallel import plot_parallel
from boatppl.plots.predicted import plot_predicted_measured
from boatppl.plots.residuals import plot_residual_along, plot_residual_share
from boatppl.plots.slices import plot_acquisition, plot_map, plot_slice
from boatppl.plots.unknowns import plot_prior_posterior

__all__ = [
    "plot_acquisition",
    "plot_attribution",
    "plot_convergence",
    "plot_dag",
    "plot_importance",
    "plot_map",
    "plot_parallel",
    "plot_predicted_measured",
    "plot_prior_posterior",
    "plot_residual_along",
    "plot_residual_share",
    "plot_slice",
    "plot_weights",
]
