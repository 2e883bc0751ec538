"""What is wrong with a model, worst first, in sentences an engineer acts on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd

CAUSES: Mapping[str, str] = {
    "formula": "the residual explains what the formula should",
    "missing edge": "a node's error follows something that the node does not use",
    "parent error": "a node's error follows its parent's measurement error",
    "drift": "a node's error follows the order of the runs",
    "noise": "the noise grows or falls with the mean",
    "repeats": "runs with the same inputs differ where there is said to be no noise",
    "outliers": "a few runs are far off",
    "prior edge": "the measurements want an unknown beyond where its prior ends",
    "prior conflict": "the measurements want an unknown where its prior is next to nothing",
    "unidentified": "the measurements say nothing of an unknown",
    "sampler": "the chains do not agree",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    ``node`` where, ``cause`` one of :data:`CAUSES`, ``what`` the input, parent or unknown that it is about,
    ``number`` the size that the ``sentence`` names, ``remedy`` what to do, ``nats`` the evidence for it.
    """

    node: str
    cause: str
    what: str
    number: float
    sentence: str
    remedy: str
    nats: float

    def __str__(self) -> str:
        return f"{self.node}: {self.sentence}. {self.remedy}."


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The findings, worst first, and where the end-to-end error comes from.

    ``attribution``: node -> the share of the objective's mean squared end-to-end error that goes away when
    that node's measured values are put in the place of its predictions. What is left when every parent is
    known is the objective's own. ``unjudged``: nodes with too few rows.
    """

    objective: str
    findings: tuple[Finding, ...]
    attribution: Mapping[str, float]
    unjudged: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, number: int) -> Finding:
        return self.findings[number]

    def to_dataframe(self) -> pd.DataFrame:
        """One row a finding: node, cause, what, number, nats, sentence, remedy."""
        columns = ["node", "cause", "what", "number", "nats", "sentence", "remedy"]
        return pd.DataFrame([[getattr(f, c) for c in columns] for f in self.findings], columns=columns)

    def _ending(self) -> list[str]:
        lines = []
        shares = {name: share for name, share in self.attribution.items() if share >= 0.1}
        if shares:
            worst = sorted(shares, key=lambda name: -shares[name])
            said = ", ".join(f"{name} {shares[name]:.0%}" for name in worst)
            lines.append(f"the error of {self.objective} end to end would go away with the truth of: {said}")
        if self.unjudged:
            lines.append(f"too few runs to judge: {', '.join(self.unjudged)}")
        return lines

    def __repr__(self) -> str:
        found = [f"{i + 1}. {finding}" for i, finding in enumerate(self.findings)]
        return "\n".join([*(found or [NOTHING]), *self._ending()])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<li><b>{escape(f.node)}</b>: {escape(f.sentence)}. <i>{escape(f.remedy)}.</i></li>"
            for f in self.findings
        )
        found = f"<ol>{rows}</ol>" if rows else f"<p>{escape(NOTHING)}</p>"
        return found + "".join(f"<p>{escape(line)}</p>" for line in self._ending())


NOTHING = "nothing wrong was found"
