"""Runs with the same inputs: what a node that is said to be without noise may not measure differently."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boatppl.graph import DAG
from boatppl.measurement import Measurement
from boatppl.trial import Trial
from boatppl.words import listed

SAME = 1e-6  # the relative difference of what is the same but for rounding


@dataclass(frozen=True)
class Contradiction:
    """A node said to be without noise, two runs with the same inputs, and what they measured."""

    node: str
    first: Trial
    second: Trial

    @property
    def sentence(self) -> str:
        """What is contradicted, with the numbers: a clause without a full stop."""
        one, other = self.first.measurements[self.node], self.second.measurements[self.node]
        said = f"{one:.4g} and {other:.4g}" if isinstance(one, float) else "different values"
        return (
            f"noise=0 says that a run repeated measures the same, but trials {self.first.number} and "
            f"{self.second.number} with the same inputs measured {said}"
        )


def contradictions(model: DAG, trials: Sequence[Trial]) -> Iterator[Contradiction]:
    """Yield, for every node said to be without noise, the last run that repeats the inputs of an earlier one
    and measured something else."""
    for name, node in model.nodes.items():
        if not node.node.deterministic:
            continue
        origins = model.origins((*node.node.wires, *model.inputs_of(name)))
        wanted = {name, *(origin for origin in origins if origin in model.nodes)}
        seen: dict[Any, Trial] = {}
        found = None
        for trial in trials:
            if not wanted <= set(trial.measurements):
                continue  # what was not measured may have differed
            first = seen.setdefault(_inputs(origins, trial), trial)
            if not _same(first.measurements[name], trial.measurements[name]):
                found = Contradiction(name, first, trial)
        if found is not None:
            yield found


def remedy(node: str) -> str:
    """What to do about a contradiction: a sentence without its full stop."""
    return f"Leave noise= out, so that it is learned, or give {node} the input that differs between them"


def warning(found: Sequence[Contradiction]) -> str:
    """Return the contradictions as sentences for a log."""
    nodes = [each.node for each in found]
    return " ".join(f"{each.node}: {each.sentence}." for each in found) + f" {remedy(listed(nodes))}."


def _inputs(origins: Sequence[str], trial: Trial) -> tuple[Any, ...]:
    """What arrived at a node, to be compared; data, which every run shares, are None."""
    known: Mapping[str, Any] = {**trial.measurements, **trial.context, **trial.configuration}
    values = (known.get(name) for name in origins)
    return tuple(v.tobytes() if isinstance(v, np.ndarray) else str(v) for v in values)


def _same(one: Measurement, other: Measurement) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=SAME, atol=0.0, equal_nan=True)
