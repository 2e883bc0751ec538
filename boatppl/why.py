"""Why a configuration was chosen, in words."""

from collections.abc import Mapping
from typing import Any

from boatppl.text import shown

REASONS = {
    "default": "the configuration in use today",
    "design": "quasi-random start",
    "control": "the default again, as a control for drift",
    "confirm": "measured again",
}
NEVER = 0.005  # a probability of less is said to be none
SURE = 0.995  # a probability of more is not worth a word
MOST_OF = 0.5  # of the doubt: a node that has less of it is not named in short
NAMED = 0.05  # of the doubt: a node that has less of it is not named at all


def reason(origin: str, suggestion: Mapping[str, Any] | None) -> str:
    """Return why a configuration was chosen: the gain that was expected, how probable it was, whether the
    choice explores or exploits, over which nodes the doubt is split, and what may go wrong.

    It exploits where it is more likely than not to be better than the best run so far. It explores where it
    is not, and the gain is expected of what is not known: of the nodes that are named.

    >>> known = {"expected_gain": 11.8, "probability": 0.31, "doubt": {"full_rate": 0.81, "pause": 0.19}}
    >>> reason("suggested", known)
    'exploring: expected gain 11.8, 31 % sure; the doubt is in full_rate 81 %, pause 19 %'
    >>> reason("suggested", {**known, "success": 0.92, "limits": {"memory_mb <= 800": 0.97}})[-53:]
    '; 92 % sure to succeed, 97 % sure of memory_mb <= 800'
    >>> both = {"weights": {"structured": 0.6, "generic": 0.4}, "proposed_by": "structured"}
    >>> reason("suggested", {**known, **both, "second_opinion": {"generic": 0.88}})[-67:]
    '; proposed by structured with generic, at 12 % less of its own gain'
    >>> reason("default", None)
    'the configuration in use today'
    """
    known = suggestion or {}
    if "expected_gain" not in known:
        return REASONS.get(origin, origin)
    text = hoped(known)
    if text is None:
        return f"{gain(known)}{_risks(known)}{_proposers(known)}"
    text = f"{'exploiting' if known['probability'] >= 0.5 else 'exploring'}: {text}"
    doubt = {name: share for name, share in (known.get("doubt") or {}).items() if share >= NAMED}
    if doubt:
        each = (f"{name} {100 * share:.0f} %" for name, share in doubt.items())
        text += f"; the doubt is in {', '.join(each)}"
    return f"{text}{_risks(known)}{_proposers(known)}"


def _risks(known: Mapping[str, Any]) -> str:
    """How sure it is that the run succeeds and keeps the limits; nothing where that is next to certain."""
    odds = {"to succeed": known.get("success", 1.0)}
    odds |= {f"of {limit}": kept for limit, kept in known.get("limits", {}).items()}
    risks = [f"{100 * p:.0f} % sure {what}" for what, p in odds.items() if p < SURE]
    return f"; {', '.join(risks)}" if risks else ""


def _proposers(known: Mapping[str, Any]) -> str:
    """Which of several rivals proposed the run, and with whose second opinion."""
    by = known.get("proposed_by")
    if by is None or len(known.get("weights", {})) < 2:
        return ""
    text = f"; proposed by {by}"
    for other, kept in known.get("second_opinion", {}).items():
        less = 100 * (1 - kept)
        text += f" with {other}" + (f", at {less:.0f} % less of its own gain" if kept < SURE else "")
    return text


def gain(known: Mapping[str, Any]) -> str:
    """Return in short what was hoped for of a suggestion, and which node the doubt was in."""
    if "repeated" in known:
        times = "once" if known["repeated"] == 1 else f"{known['repeated']} times"
        among = f"of the {known['among']} that may be best"
        return f"every configuration was run: again, as the least measured ({times}) {among}"
    text = hoped(known)
    if text is None:
        return "no configuration is expected to be better: the likeliest one, under 1 % sure"
    doubt = known.get("doubt") or {}
    node = next(iter(doubt), None)
    if len(doubt) > 1 and node is not None and doubt[node] >= MOST_OF:
        text += f"; {100 * doubt[node]:.0f} % of the doubt is in {node}"
    return text


def hoped(known: Mapping[str, Any]) -> str | None:
    """Return the expected gain and its probability; None where none is to be hoped for, or it is a repeat."""
    if "repeated" in known or known["probability"] < NEVER:
        return None
    return f"expected gain {shown(known['expected_gain'], 3)}, {100 * known['probability']:.0f} % sure"
