"""Hearing what a process says until it has ended, is too late, or is to stop."""

import os
import selectors
import threading
import time
from collections.abc import Callable, Iterable

from boatppl.trial import Aborted

LOGGED_BYTES = 20_000  # of what a run said that are kept as the log of its trial
AFTERWARDS = 1 << 20  # bytes that are still read when it has ended: as many as pipes hold


class Stream:
    """The read end of a pipe and the last bytes that came, ``most`` of them."""

    def __init__(self, number: int, most: int | None = LOGGED_BYTES) -> None:
        self.number, self.most = number, most
        self.heard = bytearray()

    def fileno(self) -> int:
        """Return the file descriptor, as ``select`` asks for it."""
        return self.number

    def read(self) -> int:
        """Read what is there, and return how many bytes: none at the pipe's end."""
        chunk = os.read(self.number, 1 << 16)
        self.heard += chunk
        if self.most is not None:
            del self.heard[: -self.most]
        return len(chunk)

    @property
    def text(self) -> str:
        """What was heard, as text."""
        return self.heard.decode(errors="replace")


def listen(
    streams: Iterable[Stream],
    ended: Callable[[], bool],
    *,
    limit: float | None = None,
    stop: threading.Event | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> bool:
    """Read until the process has ``ended`` and is silent, or ``enough`` was heard; return whether that was
    within ``limit`` seconds.

    Raises
    ------
    Aborted
        Where another thread sets ``stop``.
    """
    deadline = float("inf") if limit is None else time.monotonic() + limit
    left = AFTERWARDS  # what the process left running may hold the pipes open, and write, for ever
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while not enough():
            if stop is not None and stop.is_set():
                raise Aborted("the session was interrupted")
            over = ended()  # asked before the last look: then what is there is all there is
            wait = 0.0 if over else max(0.0, min(0.2, deadline - time.monotonic()))
            ready = selector.select(wait if selector.get_map() else min(wait, 0.01))
            for key, _ in ready:
                number = key.fileobj.read()  # type: ignore[union-attr]
                left -= number * over
                if not number:
                    selector.unregister(key.fileobj)
            if (over and (not ready or left <= 0)) or time.monotonic() >= deadline:
                return over or enough()
    return True
