"""A program as an objective: filled in, started without a shell, limited, and read."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from boatppl.processes import check_seconds, end_tree, how_it_ended, new_mark, too_long
from boatppl.streams import LOGGED_BYTES, Stream, listen
from boatppl.trial import Aborted
from boatppl.words import listed, nearest

__all__ = ["Command", "CommandError", "TimedOut"]

LAUNCH = Path(__file__).with_name("launch.py")
JSON_CHARACTERS = 1_000_000  # of the end of stdout in which measurements are looked for
JSON_WORK = 20 * JSON_CHARACTERS  # how many may be read in vain: a million open braces must not cost an hour
JSON_DROPPED = 1_000  # how many that are done with are kept before they are cut off
# What else follows a brace is an error, and to raise one for each of a million braces takes seconds.
OBJECT_START = re.compile(r'\{(?=[ \t\n\r]*+(?:\}|"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\n\r]*+:))')
PLACEHOLDER = re.compile(
    r"\{\{(?P<literal>[A-Za-z_]\w*(?::[^{}\"]*)?)\}\}"  # {{name}} is the text {name}
    r"|\{(?P<name>[A-Za-z_]\w*)(?::(?P<format>[^{}\"]*))?\}"
)


class CommandError(RuntimeError):
    """The program did not start, did not end well, or said no measurements."""


class TimedOut(CommandError):
    """The run was ended by its time limit of so many ``seconds``."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclass(frozen=True)
class Command:
    """An objective that is a program: started once for every trial, without a shell.

    Parameters
    ----------
    argv
        The program and its arguments. ``{young_mb}`` stands for the parameter's value, ``{rate:.1f}`` for a
        formatted one, ``{{young_mb}}`` for the text in single braces; other braces stay as they are. A
        value is put into its argument as it is, whatever characters it has. Booleans are written ``true``
        and ``false``, vectors with commas.
    parse
        Takes what the program wrote to its standard output and gives the measurements: a Python function of
        yours that runs in this process when the program has ended. No ``timeout`` ends it, nor does any other
        limit here. Without it the measurements are the last JSON object there.
    timeout
        Seconds, after which the program and everything it started are ended.
    env
        Variables added to the environment; placeholders work as in ``argv``.
    cwd
        The folder to run in.
    memory
        Most bytes of address space for each process of the program (``RLIMIT_AS``).
    max_output
        How many bytes of standard output are kept: the last ones.

    Raises
    ------
    ValueError
        For arguments that are no list of text, and limits that are not positive.

    Examples
    --------
    >>> Command(["/bin/echo", '{"cost": {x}}'])({"x": 3})
    {'cost': 3}
    """

    argv: Sequence[str | os.PathLike[str]]
    parse: Callable[[str], Any] | None = field(default=None, kw_only=True)
    timeout: float | None = field(default=None, kw_only=True)
    env: Mapping[str, str] | None = field(default=None, kw_only=True)
    cwd: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    memory: int | None = field(default=None, kw_only=True)
    max_output: int = field(default=10_000_000, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.argv, str) or not self.argv:
            raise ValueError(
                f"Command takes a list, the program and its arguments; got {self.argv!r}. No shell reads "
                f"it: write Command(['program', '--flag={{parameter}}'])."
            )
        wrong = [argument for argument in self.argv if not isinstance(argument, str | os.PathLike)]
        if wrong:
            raise ValueError(f"Command's arguments are text; got {wrong[0]!r} ({type(wrong[0]).__name__}).")
        object.__setattr__(self, "argv", tuple(os.fspath(argument) for argument in self.argv))
        variables = self.env.items() if isinstance(self.env, Mapping) else [(self.env, None)]
        if self.env is not None and not all(isinstance(text, str) for pair in variables for text in pair):
            raise ValueError(
                "Command's env is a dict of text, such as {'JAVA_OPTS': '-Xmn{young_mb}m'}; got "
                f"{self.env!r}. Write numbers as text."
            )
        check_seconds(self.timeout)
        for name in ("memory", "max_output"):
            check_bytes(f"Command's {name}", getattr(self, name))

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names in braces, in order of appearance."""
        texts = [*map(str, self.argv), *(self.env or {}).values()]
        return tuple(dict.fromkeys(name for text in texts for name in _names(text)))

    def check_placeholders(self, names: Iterable[str]) -> None:
        """Raise ValueError for a placeholder that is none of ``names``."""
        names = list(names)
        for placeholder in self.placeholders:
            if placeholder not in names:
                raise ValueError(
                    f"Command has the placeholder {{{placeholder}}}, which is no parameter (known: "
                    f"{listed(names)}).{nearest(placeholder, names)} Write {{{{{placeholder}}}}} for the "
                    "text itself."
                )

    def arguments(self, configuration: Mapping[str, Any]) -> list[str]:
        """Give the arguments for one configuration. Raises ValueError for a placeholder that it lacks."""
        self.check_placeholders(configuration)
        return [_fill(str(argument), configuration) for argument in self.argv]

    def __call__(self, configuration: Mapping[str, Any]) -> Any:
        """Run once and give the measurements; see :meth:`run`."""
        return self.run(configuration)

    def run(
        self,
        configuration: Mapping[str, Any],
        *,
        timeout: float | None = None,
        stop: threading.Event | None = None,
        heard: Callable[[str], None] | None = None,
    ) -> Any:
        """Run once and give the measurements. The shorter of the two time limits holds.

        ``heard`` is called with the end of what the program said, whatever becomes of it.

        Raises
        ------
        Aborted
            When it exits with code 75 (``EX_TEMPFAIL``, "try again later"), or another thread sets ``stop``;
            when it cannot be started (it is not there, the machine has no memory left), which is no fault of
            the configuration unless a placeholder names the program.
        TimedOut
            When the time limit passed; everything it started has been ended.
        CommandError
            When it exits with another code than 0 or a signal, or says no measurements; when it cannot be
            started with such arguments.
        """
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            raise Aborted(
                "this process ignores SIGCHLD, so that nobody can say how a program ended; expected the "
                "usual: signal.signal(signal.SIGCHLD, signal.SIG_DFL)"
            )
        limits = [limit for limit in (timeout, self.timeout) if limit is not None]
        limit = min(limits, default=None)
        argv, mark = self.arguments(configuration), new_mark()
        variables = {name: _fill(text, configuration) for name, text in (self.env or {}).items()}
        not_begun, pipe = os.pipe()
        try:
            process = self._start(argv, {**os.environ, **variables, mark: "1"}, pipe, mark)
        except (OSError, ValueError) as error:  # no such folder, a zero byte in an argument
            os.close(not_begun)
            raise self._not_started(error, f"{argv[0]!r} could not be started: {error}.") from error
        finally:
            os.close(pipe)
        output, errors = Stream(_number(process.stdout), self.max_output), Stream(_number(process.stderr))
        failure = Stream(not_begun)

        def ended() -> bool:
            return process.poll() is not None

        with process, os.fdopen(not_begun):
            try:
                in_time = listen([output, errors, failure], ended, limit=limit, stop=stop)
            finally:
                end_tree(process.pid, mark, ended)
        if failure.heard:
            number, _, why = failure.text.partition(" ")
            raise self._not_started(OSError(int(number), ""), why)
        if heard is not None:
            heard(_said(output, errors))
        if not in_time:
            raise TimedOut(f"{too_long(limit)}{_tail('stderr', errors.text)}", limit)
        if process.returncode == os.EX_TEMPFAIL:
            raise Aborted(f"{argv[0]} says to try again later.{_tail('stderr', errors.text)}")
        if process.returncode:
            said = _tail("stderr", errors.text) or _tail("stdout", output.text)
            raise CommandError(f"{argv[0]} failed with {how_it_ended(process.returncode)}.{said}")
        return self.parse(output.text) if self.parse else _last_json_object(argv[0], output.text, errors.text)

    def _start(
        self, argv: list[str], environment: dict[str, str], pipe: int, mark: str
    ) -> subprocess.Popen[bytes]:
        """Start the program in a session of its own; why it did not become the program comes on the pipe."""
        limits = [str(self.memory or 0), str(os.getpid()), str(pipe), mark, environment.get("LC_CTYPE", "")]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCH), *limits, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=self.cwd,
            start_new_session=True,
            pass_fds=[pipe],
        )

    def _not_started(self, error: Exception, why: str) -> CommandError | Aborted:
        """A program that is not there is no fault of the configuration, unless that names the program; an
        argument that no program takes is."""
        named = isinstance(error, OSError) and error.errno != errno.E2BIG
        return Aborted(why) if named and not _names(str(self.argv[0])) else CommandError(why)


def check_bytes(option: str, value: object) -> None:
    """Raise ValueError for a limit that is no positive number of bytes; None is no limit."""
    if value is not None and (isinstance(value, bool) or not (isinstance(value, int) and value > 0)):
        raise ValueError(f"{option} is a positive number of bytes; got {value!r}.")


def _number(pipe: IO[bytes] | None) -> int:
    return -1 if pipe is None else pipe.fileno()


def _names(text: str) -> list[str]:
    """The names of parameters in the braces of one argument."""
    return [match["name"] for match in PLACEHOLDER.finditer(text) if match["name"]]


def _fill(template: str, configuration: Mapping[str, Any]) -> str:
    """Replace the placeholders of one argument; a value's own braces are not looked at again."""

    def value(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        return _written(configuration[match["name"]], match["format"])

    return PLACEHOLDER.sub(value, template)


def _written(value: Any, specification: str | None) -> str:
    if isinstance(value, np.ndarray | list | tuple):
        return ",".join(_written(item, specification) for item in np.asarray(value).tolist())
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, specification) if specification else str(value)


def _said(output: Stream, errors: Stream) -> str:
    """The end of both streams, for the log of the trial."""
    last = output.heard[-LOGGED_BYTES:].decode(errors="replace")
    return last + (f"\n--- stderr ---\n{errors.text}" if errors.text.strip() else "")


def _last_json_object(program: str, text: str, errors: str) -> dict[str, Any]:
    """The last outermost JSON object in the text that says anything; words around it are skipped."""
    text = text[-JSON_CHARACTERS:]
    decoder, found, position, work = json.JSONDecoder(), None, 0, 0
    while start := OBJECT_START.search(text, position):
        position = start.start()
        if position > JSON_DROPPED:  # an error counts the lines before it: of the whole text, quadratic
            text, position = text[position:], 0
        try:
            value, position = decoder.raw_decode(text, position)
            found = value if value or found is None else found  # an empty one measures nothing
        except json.JSONDecodeError as error:
            if error.pos >= len(text.rstrip()):  # those inside it are parts of one that is cut off
                found = None
                break
            work, position = work + error.pos - position, position + 1
        except (RecursionError, ValueError):  # nested too deeply, a number of thousands of digits
            work, position = work + JSON_CHARACTERS, position + 1
        if work > JSON_WORK:
            found = None
            break
    if not isinstance(found, dict):
        raise CommandError(
            f"{program} printed no whole JSON object to take measurements from. Print one such as "
            f'{{"p99": 12.5}}, or give Command(parse=...).'
            f"{_tail('stdout', text)}{_tail('stderr', errors)}"
        )
    return found


def _tail(stream: str, text: str) -> str:
    """The end of what a program said, for an error's sentence."""
    lines = text.strip().splitlines()[-8:]
    return f" The end of its {stream}: " + "\n".join(lines)[-800:] if lines else ""
