"""Pictures on the other backends of arviz-plots: Plotly, Bokeh, and none, which keeps what would be drawn.

A picture is drawn once, on Matplotlib axes. For another backend these are of a figure that nobody sees
(:class:`boatppl.plots.canvas.Sheet`), and what stands on them is handed on by ``transcribe`` to arviz-plots'
common drawing interface: lines, dots, bands, text, ticks, labels. What that lacks (logarithmic axes, names in
a legend, cells of a map, colour bars) is in a module for each backend here, all with the same functions.
"""

from boatppl.plots.backend.choice import Backend, chosen, interface, opened
from boatppl.plots.backend.transcribe import transcribe

__all__ = ["Backend", "chosen", "interface", "opened", "transcribe"]
