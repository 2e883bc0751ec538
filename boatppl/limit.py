"""Limits on what is measured: ``boat.limit("memory_mb", upper=800)``."""

from dataclasses import dataclass
from math import inf, isfinite
from numbers import Real

from boatppl.words import ModelError, listed


@dataclass(frozen=True)
class Limit:
    """Bounds of a measured or derived quantity, in its unit; made by :func:`limit`."""

    name: str
    lower: float | None = None
    upper: float | None = None

    def __str__(self) -> str:
        bounds = [f"at least {self.lower:g}"] if self.lower is not None else []
        bounds += [f"at most {self.upper:g}"] if self.upper is not None else []
        return f"{self.name} {listed(bounds)}"

    @property
    def size(self) -> float:
        """The size of its bounds: what an excess is a share of."""
        return max(abs(self.lower or 0.0), abs(self.upper or 0.0)) or 1.0

    def excess(self, value: float) -> float:
        """Return by how much a value breaks the limit, in its unit; 0 where it keeps it, infinite for NaN."""
        if not isfinite(value):
            return inf
        below = 0.0 if self.lower is None else self.lower - value
        above = 0.0 if self.upper is None else value - self.upper
        return max(below, above, 0.0)


def limit(name: str, *, lower: float | None = None, upper: float | None = None) -> Limit:
    """Return a limit for ``optimize(limits=[...])``: the optimum is looked for where it is kept.

    Every run measures the quantity ``name``: a node, a derived quantity, or, where the model has none of that
    name, what the runs return under it (a generic model of it is then learned). How likely a configuration is
    to keep the limit follows from the posterior, along the DAG, and multiplies the expected improvement
    (Gardner et al. 2014). It bounds the quantity itself, run-to-run variation averaged out.

    Parameters
    ----------
    lower, upper
        In the quantity's unit: one of them or both.

    Raises
    ------
    ModelError
        For bounds that are no numbers, or that nothing can keep.

    Examples
    --------
    >>> print(limit("memory_mb", upper=800))
    memory_mb at most 800
    """
    if not isinstance(name, str):
        raise ModelError(f"limit takes the name of what is limited, such as 'memory_mb'; got {name!r}.")
    for option, value in {"lower": lower, "upper": upper}.items():
        real = isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
        if not (value is None or real):
            raise ModelError(f"limit({name!r}, {option}=) is a finite number; got {value!r}.")
    if lower is None and upper is None:
        raise ModelError(f"limit({name!r}) bounds nothing; give lower=, upper= or both.")
    if lower is not None and upper is not None and lower >= upper:
        raise ModelError(f"limit({name!r}) has lower={lower:g} above upper={upper:g}: nothing keeps it.")
    return Limit(name, None if lower is None else float(lower), None if upper is None else float(upper))
