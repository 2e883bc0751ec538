"""Pictures of a comparison: the median gap over trials, a panel a problem."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.race import Trace
from benchmarks.standings import by_tuner
from benchmarks.tuners import ENTRANTS

LEAST = 1e-4  # smaller gaps are drawn there
ACROSS = 3


def draw(traces: Sequence[Trace], path: Path) -> None:
    """Draw the median gap of every tuner's recommendation over trials, and keep it as PNG."""
    problems = list(dict.fromkeys(item.problem for item in traces))
    down = -(-len(problems) // ACROSS)
    figure = Figure(figsize=(5 * ACROSS, 3.4 * down), layout="constrained")
    colours = dict(zip(ENTRANTS, mpl.colormaps["tab20"].colors))
    lines = {}
    for k, problem in enumerate(problems):
        axes = figure.add_subplot(down, ACROSS, k + 1)
        for name, runs in by_tuner([item for item in traces if item.problem == problem]).items():
            longest = max(len(run.gaps) for run in runs)
            if not longest:
                continue
            gaps = [[run.gap_at(i + 1) for i in range(longest)] for run in runs]
            middle = np.maximum(np.quantile(gaps, 0.5, axis=0, method="higher"), LEAST)
            width = 2.5 if ENTRANTS[name].ours else 1.2
            line = axes.step(range(1, longest + 1), middle, where="post", lw=width, color=colours[name])
            lines[name] = line[0]
        axes.set(xscale="log", yscale="log", title=problem, xlabel="trials")
        axes.set_ylabel("gap, share of the optimum" if k % ACROSS == 0 else "")
        axes.grid(alpha=0.3)
    if lines:
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=7, frameon=False)
    figure.savefig(path, dpi=110)
