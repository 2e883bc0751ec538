"""What a person sees while it runs: a line for every trial, and what is going on now.

A terminal has a transient last line, a notebook one display that is updated, everything else plain lines.
"""

from boatppl.progress.display import Display, Notebook, PlainLines, Silent, Terminal, open_progress

__all__ = ["Display", "Notebook", "PlainLines", "Silent", "Terminal", "open_progress"]
