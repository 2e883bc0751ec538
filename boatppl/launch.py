"""The first lines of a measured program's process: limits are set, then the program takes the process over.

Run as a script by :mod:`boatppl.command`, never imported: ``python launch.py MEMORY PARENT PIPE MARK LC_CTYPE
program ...``. A process of its own is the one place where limits can be set without running Python between
fork and exec in a program with threads; and it stays, to end with the program what that leaves behind.
"""

import os
import resource
import signal
import sys

sys.path.append(os.path.dirname(__file__))  # noqa: PTH120  # nothing of boatppl needs to be installed here
from processes import supervise  # type: ignore[import-not-found]


def become(memory: int, pipe: int, locale: str, argv: list[str]) -> None:
    """Set the limits and become the program; where it cannot be started, write the number of the error and a
    sentence to the pipe, which the program does not inherit."""
    # Python's own start changed these three; the program shall find what it would find from a shell.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not locale:
        os.environ.pop("LC_CTYPE", None)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.set_inheritable(pipe, False)
    try:
        os.execvp(argv[0], argv)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or 0
        os.write(pipe, f"{number} {argv[0]!r} cannot be started: {error}.".encode(errors="replace"))
        os._exit(127)


def main() -> None:
    """Read the arguments and run the program under supervision."""
    memory, parent, pipe, mark, locale, *argv = sys.argv[1:]
    supervise(int(parent), mark, lambda: become(int(memory), int(pipe), locale, argv))


if __name__ == "__main__":
    main()
