"""A program as an objective: filled in, started without a shell, limited, and read."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from boatppl.processes import check_seconds, end_tree, how_it_ended, new_mark, too_long
from boatppl.trial import Aborted
from boatppl.words import listed, nearest

__all__ = ["Command", "CommandError", "TimedOut"]

LAUNCH = Path(__file__).with_name("launch.py")
STDERR_BYTES = 20_000
LOGGED_BYTES = 20_000  # of stdout that are kept as the log of a trial
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
        found = (match["name"] for text in texts for match in PLACEHOLDER.finditer(text))
        return tuple(dict.fromkeys(name for name in found if name))

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
            When it exits with code 75 (``EX_TEMPFAIL``, "try again later"), or another thread sets ``stop``.
        TimedOut
            When the time limit passed; everything it started has been ended.
        CommandError
            When it cannot be started, exits with another code than 0 or a signal, or says no measurements.
        """
        limits = [limit for limit in (timeout, self.timeout) if limit is not None]
        limit = min(limits, default=None)
        argv = self.arguments(configuration)
        mark = new_mark()
        variables = {name: _fill(text, configuration) for name, text in (self.env or {}).items()}
        environment = {**os.environ, **variables, mark: "1"}
        locale = environment.get("LC_CTYPE", "")
        launch = [
            sys.executable,
            "-I",
            "-S",
            str(LAUNCH),
            str(self.memory or 0),
            str(os.getpid()),
            locale,
            *argv,
        ]
        try:
            process = subprocess.Popen(
                launch,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=self.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # no such folder, a zero byte in an argument
            raise CommandError(f"{argv[0]} could not be started: {error}.") from error
        with process:
            try:
                output, errors, in_time = _collect(process, limit, self.max_output, stop)
            finally:
                end_tree(process.pid, mark, lambda: process.poll() is not None)
        if heard is not None:
            heard(_said(output, errors))
        if not in_time:
            raise TimedOut(f"{too_long(limit)}{_tail('stderr', errors)}", limit)
        if process.returncode == os.EX_TEMPFAIL:
            raise Aborted(f"{argv[0]} says to try again later.{_tail('stderr', errors)}")
        if process.returncode:
            said = _tail("stderr", errors) or _tail("stdout", output)
            raise CommandError(f"{argv[0]} failed with {how_it_ended(process.returncode)}.{said}")
        text = output.decode(errors="replace")
        return _last_json_object(argv[0], text, errors) if self.parse is None else self.parse(text)


def check_bytes(option: str, value: object) -> None:
    """Raise ValueError for a limit that is no positive number of bytes; None is no limit."""
    if value is not None and (isinstance(value, bool) or not (isinstance(value, int) and value > 0)):
        raise ValueError(f"{option} is a positive number of bytes; got {value!r}.")


def check_stop(stop: threading.Event | None) -> None:
    """Raise Aborted where another thread has asked for the end."""
    if stop is not None and stop.is_set():
        raise Aborted("the session was interrupted")


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


def _collect(
    process: subprocess.Popen[bytes], limit: float | None, max_output: int, stop: threading.Event | None
) -> tuple[bytes, bytes, bool]:
    """Read stdout and stderr, the last bytes of each; and say whether the program ended in time."""
    deadline = float("inf") if limit is None else time.monotonic() + limit
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in (
            (process.stdout, (output, max_output)),
            (process.stderr, (errors, STDERR_BYTES)),
        ):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, kept)
        while True:
            check_stop(stop)
            # Asked before the last look: then what is there is all there is.
            over = process.poll() is not None
            wait = 0.0 if over else max(0.0, min(0.2, deadline - time.monotonic()))
            ready = selector.select(wait if selector.get_map() else min(wait, 0.01))
            for key, _ in ready:
                buffer, most = key.data
                if chunk := os.read(key.fd, 1 << 16):
                    buffer += chunk
                    del buffer[: max(0, len(buffer) - most)]
                else:
                    selector.unregister(key.fileobj)
            # Over and silent: what it left running may hold the streams open for ever.
            if (over and not ready) or time.monotonic() >= deadline:
                return bytes(output), bytes(errors), over


def _said(output: bytes, errors: bytes) -> str:
    """The end of both streams, for the log of the trial."""
    last, first = output[-LOGGED_BYTES:].decode(errors="replace"), errors.decode(errors="replace")
    return last + (f"\n--- stderr ---\n{first}" if first.strip() else "")


def _last_json_object(program: str, text: str, errors: bytes) -> dict[str, Any]:
    """The last outermost JSON object in the text; words around it are skipped."""
    text = text[-JSON_CHARACTERS:]
    decoder, found, position, work = json.JSONDecoder(), None, 0, 0
    while start := OBJECT_START.search(text, position):
        position = start.start()
        if position > JSON_DROPPED:  # an error counts the lines before it: of the whole text, quadratic
            text, position = text[position:], 0
        try:
            found, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            work, position = work + error.pos - position, position + 1
        except RecursionError:
            work, position = work + JSON_CHARACTERS, position + 1
        if work > JSON_WORK:
            found = None
            break
    if not isinstance(found, dict):
        raise CommandError(
            f"{program} printed no JSON object to take measurements from. Print one such as "
            f'{{"p99": 12.5}}, or give Command(parse=...).'
            f"{_tail('stdout', text.encode())}{_tail('stderr', errors)}"
        )
    return found


def _tail(stream: str, content: bytes) -> str:
    """The end of what a program said, for an error's sentence."""
    lines = content.decode(errors="replace").strip().splitlines()[-8:]
    return f" The end of its {stream}: " + "\n".join(lines)[-800:] if lines else ""
