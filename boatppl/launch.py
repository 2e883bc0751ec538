"""The first lines of a measured program's process: limits are set, then the program takes the process over.

Run as a script by :mod:`boatppl.command`, never imported: ``python launch.py MEMORY PARENT PIPE LC_CTYPE
program ...``. A process of its own is the one place where limits can be set without running Python between
fork and exec in a program with threads.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the limits and become the program; where it cannot be started, write the number of the error and a
    sentence to the pipe, which the program does not inherit."""
    memory, parent, pipe, locale, *argv = sys.argv[1:]
    if sys.platform == "linux":
        # The program ends with the tuner: a killed tuner leaves no server behind to disturb the next one's
        # runs.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it ended before the line above
            sys.exit(1)
    # Python's own start changed these three; the program shall find what it would find from a shell.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if not locale:
        os.environ.pop("LC_CTYPE", None)
    if int(memory):
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    os.set_inheritable(int(pipe), False)
    try:
        os.execvp(argv[0], argv)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or 0
        os.write(int(pipe), f"{number} {argv[0]!r} cannot be started: {error}.".encode(errors="replace"))
        os._exit(127)


if __name__ == "__main__":
    main()
