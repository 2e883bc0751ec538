"""Build a peer's environment: a virtualenv of its own under ``benchmarks/.environments``, made once.

What goes into it is in ``NAME.txt``. A line ``# over: OTHER`` puts it on top of another environment, whose
packages it sees (the peers on PyTorch share one PyTorch of over a gigabyte); a line ``# without
dependencies`` installs what is listed and nothing that it asks for.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / ".environments"
SECONDS = 900  # a peer is large
OVER, ALONE = "# over:", "# without dependencies"


class Unavailable(RuntimeError):
    """A peer's environment cannot be built here; the message says why."""


def environment(name: str) -> Path:
    """Return the Python of the environment with ``<name>.txt`` installed, built if it is not there.

    Raises
    ------
    Unavailable
        Where no Python found on PATH, in pyenv or running us can install it.
    """
    wanted = (HERE / f"{name}.txt").read_text()
    folder = ENVIRONMENTS / name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    reasons = []
    for candidate in _pythons():
        reason = _build(candidate, folder, HERE / f"{name}.txt", wanted)
        if reason is None:
            stamp.write_text(wanted)
            return python
        reasons.append(f"{candidate}: {reason}")
    raise Unavailable(f"{name} could not be installed ({'; '.join(reasons)})")


def _pythons() -> Iterator[str]:
    """Interpreters worth trying, Python 3.11 first: its wheels are the most widely kept."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob("3.11*/bin/python"), reverse=True)
    found = [shutil.which("python3.11"), *map(str, kept), sys.executable]
    yield from dict.fromkeys(path for path in found if path is not None and _runs(path))


def _runs(python: str) -> bool:
    """A version manager's shim may stand for nothing."""
    return subprocess.run([python, "-c", "import venv"], capture_output=True, timeout=60).returncode == 0


def _build(python: str, folder: Path, requirements: Path, wanted: str) -> str | None:
    """Build the environment; return None or the last words of what failed."""
    below = [line.removeprefix(OVER).strip() for line in wanted.splitlines() if line.startswith(OVER)]
    lower = [environment(name) for name in below]
    if lower:
        python = str(lower[0].resolve())  # one PyTorch, so one Python
    reason = _done([python, "-m", "venv", "--clear", str(folder)])
    if reason is None and lower:
        seen = next((folder / "lib").glob("python3*/site-packages")) / "below.pth"
        seen.write_text("\n".join(map(_packages, lower)) + "\n")
    alone = ["--no-deps"] if ALONE in wanted else []
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *alone, "-r", str(requirements)]
    return reason or _done(pip)


def _packages(python: Path) -> str:
    """Return where the packages are, however the folder was reached: it is written down for good."""
    return str(next((python.parent.parent.resolve() / "lib").glob("python3*/site-packages")))


def _done(step: list[str]) -> str | None:
    """Run one step; return None or the last words of what failed."""
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(step, capture_output=True, text=True, timeout=SECONDS, env=quiet)
    except subprocess.TimeoutExpired:
        return f"not done after {SECONDS} s"
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return (errors or [done.stderr.strip()])[-1][:200]
