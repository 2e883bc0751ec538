"""What is being done now, for whoever looks on: compiling, sampling, searching.

Those who work say it; a session lends its ear. It is heard in the same thread (and context) only: what is
compiled beside a run says nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_EAR: ContextVar[Callable[[str], None] | None] = ContextVar("boatppl_stage", default=None)


def stage(text: str) -> None:
    """Say what begins now, such as ``compiling gc_rate``; without a listener nothing happens."""
    ear = _EAR.get()
    if ear is not None:
        ear(text)


@contextmanager
def heard(ear: Callable[[str], None]) -> Iterator[None]:
    """Have ``ear`` hear every stage that begins within.

    >>> with heard(print):
    ...     stage("sampling gc_rate")
    sampling gc_rate
    >>> stage("searching")
    """
    before = _EAR.set(ear)
    try:
        yield
    finally:
        _EAR.reset(before)
