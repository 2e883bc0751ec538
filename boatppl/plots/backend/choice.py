"""Which backend a picture is drawn on."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from arviz_base import rcParams
from matplotlib.axes import Axes

from boatppl.words import ModelError, expected_one_of

BACKENDS = ("matplotlib", "plotly", "bokeh", "none")
PACKAGE = "boatppl.plots.backend"


@dataclass(frozen=True)
class Backend:
    """One backend: arviz-plots' ``common`` interface to it, and ``own``, what that lacks (modules)."""

    name: str
    common: Any
    own: Any


def interface(name: str) -> Any:
    """Return arviz-plots' common interface to a backend.

    Raises
    ------
    ModelError
        Where its library is not installed.
    """
    try:
        return import_module(f"arviz_plots.backend.{name}")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"backend={name!r} needs a package that is not installed ({error.name}): "
            f"pip install 'boatppl[{name}]'."
        ) from error


def opened(name: str) -> Backend:
    """Return a backend other than Matplotlib; raises as :func:`interface`."""
    return Backend(name, interface(name), import_module(f"{PACKAGE}.{name}"))


def chosen(backend: str | None, target: Any = None) -> str:
    """Return the backend that was asked for, else the target's, else ArviZ's ``rcParams["plot.backend"]``.

    Raises
    ------
    ModelError
        For an unknown one, and for a target of another one.
    """
    if backend is not None and backend not in BACKENDS:
        raise ModelError(f"backend= is {expected_one_of(BACKENDS, backend)}.")
    own = None if target is None else backend_of(target)
    if backend is not None and own not in (None, backend):
        raise ModelError(
            f"the target is of {own}, backend= says {backend!r}. Leave backend= out to draw into the target."
        )
    return backend or own or str(rcParams["plot.backend"])


def backend_of(target: Any) -> str:
    """Return the backend that a target belongs to: arviz-plots' plot of a ``PlotCollection``, of any kind."""
    if isinstance(target, Axes):
        return "matplotlib"
    if isinstance(target, list):
        return "none"
    home = type(target).__module__.split(".")
    if type(target).__name__ == "PlotlyPlot":
        return "plotly"
    if home[0] == "bokeh" and hasattr(target, "add_glyph"):
        return "bokeh"
    raise ModelError(
        f"cannot draw into a {type(target).__name__}: expected Matplotlib axes, a Bokeh figure, a plot that "
        f"arviz-plots made with Plotly (collection.viz['plot'].item()), or a list for the backend 'none'."
    )
