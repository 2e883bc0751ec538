"""Values, intervals and durations in a few characters."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

ELEMENTS = 3  # of a vector that are shown
KEPT = 5_000  # characters of an exception's beginning, and of its end


def shown(value: Any, digits: int = 4) -> str:
    """Return a value of a parameter or measurement in a few characters.

    >>> shown(24.1234), shown(123456.0), shown(65536), shown(True), shown([0.1, 0.25, 0.05, 0.6])
    ('24.12', '123456', '65536', 'True', '[0.1 0.25 0.05 …]')
    >>> shown([True, False, True]), shown([True] * 10)  # a subset: which are taken
    ('{0 2}', '{0 1 2 …}')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | str):
        return str(value)
    if isinstance(value, float):
        whole = math.isfinite(value) and 10**digits <= abs(value) < 1e7
        return f"{value:.0f}" if whole else f"{value:.{digits}g}"
    if isinstance(value, list) and value and all(isinstance(item, bool) for item in value):
        taken = [str(i) for i, item in enumerate(value) if item]
        return f"{{{' '.join(taken[:ELEMENTS])}{' …' * (len(taken) > ELEMENTS)}}}"
    if isinstance(value, Sequence | np.ndarray):
        items = " ".join(shown(item, 2) for item in value[:ELEMENTS])
        return f"[{items} …]" if len(value) > ELEMENTS else f"[{items}]"
    return str(value)


def interval(low: float, high: float, digits: int = 3) -> str:
    """Return a range; with ``..`` where a hyphen could be read as a sign.

    >>> interval(7.1, 12.8), interval(-2.0, 1.0), interval(1e-7, 2e-7)
    ('7.1-12.8', '-2..1', '1e-07..2e-07')
    """
    ends = shown(float(low), digits), shown(float(high), digits)
    return (".." if "-" in "".join(ends) else "-").join(ends)


def plus_minus(mean: float, sd: float) -> str:
    """Return mean and standard deviation, rounded to what the standard deviation leaves certain.

    >>> plus_minus(212.4, 9.2), plus_minus(0.41234, 0.0131), plus_minus(48210.0, 730.0), plus_minus(2.0, 0.0)
    ('212 ± 9', '0.412 ± 0.013', '48200 ± 700', '2 ± 0')
    """
    if not (math.isfinite(mean) and math.isfinite(sd) and sd > 0):
        return f"{shown(float(mean))} ± {shown(float(sd))}"
    power = math.floor(math.log10(sd))
    places = -power + (1 if sd / 10.0**power < 2.0 else 0)  # two digits for 10-19, else one
    largest = max(abs(mean), sd)
    if largest >= 1e7 or largest < 1e-4:
        shift = math.floor(math.log10(largest))
        kept = max(places + shift, 0)
        return f"({mean / 10.0**shift:.{kept}f} ± {sd / 10.0**shift:.{kept}f})e{shift:+03d}"
    return f"{round(mean, places):.{max(places, 0)}f} ± {round(sd, places):.{max(places, 0)}f}"


def one_line(text: str, width: int | None = None) -> str:
    """Return text without line breaks, cut to a width.

    >>> one_line("a long reason:\\n  disk full", 14)
    'a long reason…'
    """
    text = " ".join(text.split())
    return text if width is None or len(text) <= width else text[: max(width - 1, 0)].rstrip() + "…"


def readable(text: str) -> str:
    """Return text with what no file can hold written out: halves of surrogate pairs, as in names of files
    that are no UTF-8.

    >>> readable("disk full"), readable("no file caf\\udce9")
    ('disk full', 'no file caf\\\\udce9')
    """
    return text.encode(errors="backslashreplace").decode()


def message(error: BaseException) -> str:
    """Return what an exception says, the middle of a long one left out; some cannot say anything.

    >>> message(ValueError("disk full")), len(message(ValueError("x" * 10**6)))
    ('disk full', 10003)
    """
    try:
        text = str(error)
    except Exception:
        return "its message cannot be printed"
    return text if len(text) <= 2 * KEPT else f"{text[:KEPT]} … {text[-KEPT:]}"


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(7.2), duration(200), duration(7500)
    ('7 s', '3 min 20 s', '2 h 05 min')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ending(stopped: str) -> str:
    """Return why a session stopped, as a sentence.

    >>> ending("5 trials were run"), ending("after 9 trials: 96 % sure to be within 2 % of the best")
    ('stopped: 5 trials were run', 'stopped after 9 trials: 96 % sure to be within 2 % of the best')
    """
    return f"stopped {stopped}" if stopped.startswith("after ") else f"stopped: {stopped}"
