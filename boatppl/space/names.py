"""What may name a parameter: names are wires, so they must be able to be arguments of functions."""

from __future__ import annotations

import keyword


def check_identifier(name: str) -> None:
    """Raises ValueError unless `name` can be the argument of a function."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(
            f"{name!r} cannot name a parameter: names are arguments of your functions, so use letters, "
            "digits and underscores, begin with no digit and take no Python keyword."
        )
