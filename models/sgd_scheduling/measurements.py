"""What a study is told of a run, simulated or real: the run's measurements and one more."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

CLOCK_S = 1e-3  # a machine that is its own server moves nothing: no time is told as shorter than this

Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def observed(run: Run) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a run that also tells ``shortest_pull``: when the first worker had all parameters, in s."""

    def told(configuration: Mapping[str, Any]) -> dict[str, Any]:
        measured = dict(run(configuration))
        measured["transfer_time"] = np.maximum(measured["transfer_time"], CLOCK_S)  # NaN stays NaN
        measured["shortest_pull"] = max(float(np.nanmin(measured["pull_time"])), CLOCK_S)
        return measured

    return told
