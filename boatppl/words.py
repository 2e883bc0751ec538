"""The sentences that errors are made of."""

import difflib
from collections.abc import Iterable
from numbers import Integral


class ModelError(ValueError):
    """A model, node or option that cannot work: what it is, what was expected, what came, the remedy."""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name (``cutoff=1``: only an equal one)."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def listed(names: Iterable[str]) -> str:
    """Return names as ``a, b and c``."""
    names = [str(name) for name in names]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def expected_one_of(known: Iterable[object], got: object) -> str:
    """Return ``one of 'a', 'b'; got 'c'`` with the nearest known name."""
    known = list(known)
    hint = nearest(got, [k for k in known if isinstance(k, str)]) if isinstance(got, str) else ""
    return f"one of {', '.join(map(repr, known))}; got {got!r}{hint}"


def check_count(option: str, value: object, *, least: int) -> None:
    """Raise a ModelError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ModelError(f"{option} is a whole number of at least {least}; got {value!r}.")


def check_flag(option: str, value: object) -> None:
    """Raise a ModelError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise ModelError(f"{option} is True or False; got {value!r}.")
