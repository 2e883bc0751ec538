"""What was found, in sentences."""

from collections.abc import Sequence

from boatppl.explain import AsGood, Learned
from boatppl.incumbent import Best
from boatppl.result.findings import Findings
from boatppl.study import Study
from boatppl.text import interval, one_line, plus_minus, shown
from boatppl.trial import State
from boatppl.words import listed

WIDTH = 110  # of a line, in characters
FEW = 4  # elements of a vector that are listed


def sentences(found: Findings) -> list[str]:
    """Return what was found, a sentence a line."""
    lines = [headline(found), *wrapped(parameter_texts(found)), runs(found)]
    if found.learned:
        doubt = "" if found.settled else " (the short chains do not agree: see result.posterior)"
        first, *rest = wrapped(learned_texts(found), WIDTH - 9)
        lines += [f"learned: {first}", *(f"         {line}" for line in rest)]
        lines[-1] += doubt
    if found.variance:
        shares = (f"{percent(share.residual)} of {name}" for name, share in found.variance.items())
        lines.append(f"the residual explains {', '.join(shares)}")
    return [*lines, *found.unused]


def wrapped(pieces: Sequence[str], width: int = WIDTH) -> list[str]:
    """Return pieces with commas between them on lines of a width, none of them broken."""
    lines = [""]
    for i, piece in enumerate(pieces):
        piece += "," if i < len(pieces) - 1 else ""
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > width:
            lines.append("")
        lines[-1] += f" {piece}" if lines[-1] else piece
    return lines


def headline(found: Findings) -> str:
    """Return the best against the default, and how sure that is."""
    best, unit = found.best, f" {found.unit}" if found.unit else ""
    value = f"{found.objective} {shown(best.value, 3)}{unit}"
    if found.is_default:
        return f"{value} with the default: nothing better was found"
    surely = [sure_gain(best, unit)]
    if found.confirmed is not None:
        ratios = found.confirmed.ratios
        often = f"{len(ratios)} time{'s' if len(ratios) > 1 else ''} each, alternately"
        surely.append(f"re-measured {often}: {times(min(ratios), max(ratios))}")
    against = f"{value} against {shown(best.default, 3)}{unit} with the default"
    return f"{against}: {gain(best, unit)} ({'; '.join(surely)})"


def gain(best: Best, unit: str) -> str:
    """Return how much better the best is: how many times where all values are above 0, else by how much."""
    if best.gain[0] <= 0:
        return "not surely better"
    return (
        f"{shown(best.gain[1], 3)}{unit} better" if best.ratio is None else f"{times(best.ratio[1])} better"
    )


def sure_gain(best: Best, unit: str) -> str:
    """Return the 90 % interval of the gain."""
    if best.ratio is None:
        return f"90 % sure of {interval(best.gain[0], best.gain[2])}{unit}"
    return f"90 % sure of {times(*best.ratio[::2])}"


def times(*ratios: float) -> str:
    """Return how many times better, or a range of it.

    >>> times(2.04), times(2.4, 3.04), times(21.3), times(0.98, 1.64)
    ('2.0x', '2.4-3.0x', '21x', '0.98-1.64x')
    """
    near = min(ratios) < 1.5
    texts = [f"{r:.2f}" if near else f"{r:.1f}" if r < 10 else shown(r, 2) for r in ratios]
    return f"{'-'.join(dict.fromkeys(texts))}x"


def parameter_texts(found: Findings) -> list[str]:
    """Return each parameter's best value and the values that are as good."""
    texts, said = [], False
    for name, value in found.best.configuration.items():
        if name in found.inactive:
            continue
        text = f"{name} {shown(value)}"
        others = alternatives(value, found.as_good.get(name))
        if others:
            text += f" ({others}{'' if said or others == NO_MATTER else ' are as good'})"
            said = said or others != NO_MATTER
        texts.append(text)
    return texts


NO_MATTER = "does not matter"


def alternatives(value: object, known: AsGood | None) -> str:
    """Return the values that are as good as the best one's, or that it does not matter."""
    if known is None or len(known.values) < 2:
        return ""
    if known.all:
        return NO_MATTER
    first, last = known.values[0], known.values[-1]
    if isinstance(value, list) and isinstance(value[0], bool):  # a subset: those of which it does not matter
        free = [str(i) for i, ends in enumerate(zip(first, last, strict=True)) if ends[0] != ends[1]]
        return f"with or without {', '.join([*free[:FEW], *(['…'] if len(free) > FEW else [])])}"
    if isinstance(value, list):  # shares: a range for each
        ranges = [interval(low, high, 2) for low, high in zip(first, last, strict=True)]
        return ", ".join([*ranges[:FEW], *(["…"] if len(ranges) > FEW else [])])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return interval(first, last)
    return ", ".join(shown(item) for item in known.values)


def runs(found: Findings) -> str:
    """Return what was predicted before the best was run, what was measured and what is now believed."""
    best, unit = found.best, f" {found.unit}" if found.unit else ""
    pieces = []
    if found.predicted is not None:
        low, median, high = (found.predicted[key] for key in ("low", "median", "high"))
        pieces.append(f"predicted {shown(median, 3)} [{interval(low, high)}]{unit} before its run")
    if best.measured is not None:
        several = f" (mean of {len(best.trials)} runs)" if len(best.trials) > 1 else ""
        pieces.append(f"measured {shown(best.measured, 3)}{unit}{several}")
    pieces.append(f"90 % sure that its true value is in {interval(*best.interval)}{unit}")
    return ", ".join(pieces)


def learned_texts(found: Findings) -> list[str]:
    """Return each unknown as ``malloc_rate 212 ± 9``; with its node where two have one name."""
    names = [item.name for item in found.learned]
    return [
        f"{item.name if names.count(item.name) == 1 else f'{item.part}::{item.name}'} {estimate(item)}"
        for item in found.learned
    ]


def estimate(item: Learned) -> str:
    """Return posterior mean ± standard deviation; of a long vector the range of both."""
    mean, sd = item.mean.ravel(), item.sd.ravel()
    if mean.size == 1:
        return plus_minus(float(mean[0]), float(sd[0]))
    if mean.size <= FEW:
        return f"[{', '.join(plus_minus(float(m), float(s)) for m, s in zip(mean, sd, strict=True))}]"
    spread = interval(mean.min(), mean.max())
    return f"{spread} (sd {interval(sd.min(), sd.max(), 2)}, {mean.size} elements)"


def percent(share: float) -> str:
    """Return a share as a person says it.

    >>> percent(0.184), percent(0.002)
    ('18 %', 'under 1 %')
    """
    return "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def nothing_measured(study: Study) -> list[str]:
    """Say that there is no result, and what went wrong last."""
    finished = study.trials.finished
    lines = [f"{study.goal.name} was measured in none of {len(finished)} trials: there is no best one"]
    failed = [trial for trial in finished if trial.state in (State.FAILED, State.TIMED_OUT) and trial.reason]
    returned = sorted({name for trial in finished for name in trial.measurements})
    if returned and not failed:
        lines.append(f"the runs returned {listed(returned)}: let them return {study.goal.name}")
    for trial in failed[-1:]:
        lines.append(f"trial {trial.number} {trial.state}: {one_line(trial.reason or '', 200)}")
    return lines
