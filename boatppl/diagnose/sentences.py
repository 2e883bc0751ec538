"""What a finding says, with its number and its remedy."""

import numpy as np

from boatppl.diagnose.diagnosis import Finding
from boatppl.diagnose.formula import Conflict
from boatppl.infer import BlockPosterior
from boatppl.repeats import Contradiction, remedy


def part(share: float) -> str:
    """Return a share in words.

    >>> part(0.713), part(0.004)
    ('71%', 'less than 1%')
    """
    return f"{share:.0%}" if share >= 0.005 else "less than 1%"


def formula_lacks(node: str, what: str, share: float, where: str, used: bool, nats: float) -> Finding:
    """Return that the residual had to explain what the formula should."""
    lacks = f"has the wrong shape in {what}" if used else f"lacks {what}"
    return Finding(
        node,
        "formula",
        what,
        share,
        f"the residual explains {part(share)} of what was measured, most along {what}{where}: "
        f"the formula {lacks}",
        f"Change how {node} depends on {what}, or check that it should",
        nats,
    )


def missing_edge(node: str, what: str, share: float, where: str, nats: float) -> Finding:
    """Return that a node's error follows what it does not use."""
    return Finding(
        node,
        "missing edge",
        what,
        share,
        f"{part(share)} of what was measured follows {what}{where}, which {node} does not use",
        f"Make {what} an argument of {node} (or an input of its residual: boat.GP(inputs=[..., {what!r}]))",
        nats,
    )


def parent_error(node: str, what: str, share: float, nats: float) -> Finding:
    """Return that a parent is measured with error, which flattens the slope."""
    return Finding(
        node,
        "parent error",
        what,
        share,
        f"{part(share)} of what was measured follows the scatter of {what} from run to run the wrong way: "
        f"{what} is measured with error, and the slope of {node} in it comes out too flat",
        f"Measure {what} more exactly (longer, or averaged), or let {node} use what {what} is computed from",
        nats,
    )


def drift(node: str, share: float, nats: float) -> Finding:
    """Return that a node changes over time."""
    return Finding(
        node,
        "drift",
        "time",
        share,
        f"{part(share)} of what was measured follows the order of the runs: the system drifts",
        "Repeat the default now and then (control_every=), warm up, or give what changes as a boat.Context",
        nats,
    )


def uneven_noise(node: str, slope: float, transform: str | None, nats: float) -> Finding:
    """Return that the noise's deviation depends on the mean."""
    grows, ratio = slope > 0, float(np.exp(2.0 * abs(slope)))
    better = {None: "log", "sqrt": "log", "log1p": "log"}.get(transform) if grows else None
    weaker = {"log": "sqrt' or no transform", "sqrt": "None"}.get(transform or "") if not grows else None
    other = f"transform='{better or weaker}'" if (better or weaker) else "another transform="
    return Finding(
        node,
        "noise",
        "mean",
        ratio,
        f"the noise {'grows' if grows else 'falls'} with the mean: {ratio:.1f} times "
        f"{'larger' if grows else 'smaller'} at large values than at small ones",
        f"Use {other.replace(chr(39) + 'None' + chr(39), 'None')}, or write noise= as a function",
        nats,
    )


def outliers(node: str, errors: np.ndarray, trials: np.ndarray, nats: float) -> Finding:
    """Return that a few runs are far off."""
    worst = np.argsort(-np.abs(errors))[:3]
    far = [f"{trials[i]} ({errors[i]:+.1f} sd)" for i in worst if abs(errors[i]) > 2.5]
    return Finding(
        node,
        "outliers",
        ", ".join(str(trials[i]) for i in worst[: max(len(far), 1)]),
        float(np.abs(errors).max()),
        f"a few runs are far off: trials {', '.join(far) or trials[worst[0]]}; the noise is not normal",
        "Set robust=True, or find out what happened in these runs",
        nats,
    )


def prior_in_the_way(node: str, found: Conflict, share: float) -> Finding:
    """Return that a prior keeps the formula from fitting."""
    wanted = f"{found.label} = {found.wanted:.3g} ± {found.sd:.2g}"
    said = f"{found.low:.3g} to {found.high:.3g}"
    piled = f"; {share:.0%} of the posterior is piled up against the end" if share >= 0.05 else ""
    if found.edge:
        sentence = f"the measurements want {wanted}, beyond the edge of its prior ({said}){piled}"
    else:
        sentence = f"the measurements want {wanted}, and its prior (99 %: {said}) rules that out{piled}"
    return Finding(
        node,
        "prior edge" if found.edge else "prior conflict",
        found.label,
        found.wanted,
        sentence,
        f"Widen the prior of {found.label}, or check the formula, its units and its signs",
        found.nats,
    )


def unidentified(node: str, what: str, kept: float, other: str | None) -> Finding:
    """Return that the measurements say nothing of an unknown, or only of a combination of two."""
    if other is None:
        sentence = f"the measurements say next to nothing of {what}: its posterior is {kept:.0%} of its prior"
        remedy = f"Fix {what}, give it a prior from elsewhere, or run where it matters"
    else:
        sentence = f"{what} and {other} are not identified apart (correlation {kept:+.2f})"
        remedy = f"Fix one of {what} and {other}, or write the formula in what they make together"
    names = what if other is None else f"{what}, {other}"
    return Finding(node, "unidentified", names, kept, sentence, remedy, 1.0)


def repeats(found: Contradiction) -> Finding:
    """Return that runs with the same inputs differ where there is said to be no noise."""
    numbers = found.first.number, found.second.number
    said = found.sentence, remedy(found.node)
    return Finding(found.node, "repeats", "trials {} and {}".format(*numbers), 0.0, *said, np.inf)


def sampler_trouble(node: str, block: BlockPosterior) -> Finding:
    """Return that the chains do not agree."""
    verdict = block.verdict
    return Finding(
        node,
        "sampler",
        block.density.block.name,
        verdict.r_hat,
        f"the chains do not agree ({verdict})",
        "Look for two explanations of the same measurements (signs, swapped unknowns), or too wide priors",
        2.0,
    )
