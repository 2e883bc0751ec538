"""When to stop: as soon as the best run is surely good enough.

The rule must hold after two trials running: one lucky posterior is no proof. How sure one was is noted with
the trial that is chosen next, so the rule is a function of the log, and a resumed study stops where an
uninterrupted one would.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any

from boatppl.evidence import searched
from boatppl.text import shown
from boatppl.trial import Trials
from boatppl.words import ModelError, check_flag


@dataclass(frozen=True)
class StopWhen:
    """Stop when the posterior is sure of ``probability`` that the best run loses at most ``regret``."""

    regret: float
    probability: float
    relative: bool

    def target(self, unit: str | None = None) -> str:
        """Return what one must be sure of.

        >>> stop_when(0.02).target(), stop_when(0.5, relative=False).target("ms")
        ('within 2 % of the best', 'within 0.5 ms of the best')
        """
        if self.relative:
            return f"within {shown(100 * self.regret, 3)} % of the best"
        return f"within {shown(self.regret, 3)}{f' {unit}' if unit else ''} of the best"

    def note(self, sure: float) -> dict[str, Any]:
        """Return what is kept with the next trial: how sure one was when it was chosen."""
        return {"sure": {"regret": self.regret, "relative": self.relative, "probability": sure}}

    def held(self, trials: Trials) -> bool:
        """Whether the rule held when the last of the finished trials was chosen."""
        chosen = searched(trials)
        known = (chosen[-1].suggestion or {}).get("sure", {}) if chosen else {}
        same = known == self.note(known.get("probability", 0.0))["sure"]
        return same and known["probability"] >= self.probability


def stop_when(regret: float = 0.02, probability: float = 0.95, *, relative: bool = True) -> StopWhen:
    """Return a rule for ``optimize(stop=...)``: stop when the best run is surely near the best of the space.

    The rule must hold after two trials running. It is judged by the posterior of the noise-free objective,
    with the rival models weighted by how well they have predicted, so a wrong model that is sure of itself
    stops nothing before it is right.

    Parameters
    ----------
    regret
        How much worse than the best configuration of the space the best run may be.
    probability
        How sure the posterior must be.
    relative
        Whether ``regret`` is a share of the best, which needs an objective above 0; else it is in the
        objective's unit.

    Raises
    ------
    ModelError
        For numbers that make no sense.

    Examples
    --------
    >>> stop_when(regret=0.02, probability=0.95)
    StopWhen(regret=0.02, probability=0.95, relative=True)
    """
    for name, value in {"regret": regret, "probability": probability}.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ModelError(f"stop_when({name}=) is a number; got {value!r}.")
    check_flag("stop_when(relative=)", relative)
    if not 0 < float(regret) < float("inf"):
        raise ModelError(f"stop_when(regret=) is above 0, such as 0.02 for 2 %; got {regret!r}.")
    if not 0.5 <= float(probability) < 1:
        raise ModelError(
            f"stop_when(probability=) is at least 0.5 and below 1, such as 0.95; got {probability!r}. One is "
            "never quite sure."
        )
    return StopWhen(float(regret), float(probability), relative)
