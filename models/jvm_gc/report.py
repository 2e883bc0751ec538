"""The demo's report: one picture and one page of what was learned, for light pages and for dark ones."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

import boatppl as boat
from boatppl import plots

BLUE = "#3b82c4"  # stands on white and on black
DARK = {"figure.facecolor": "#15181d", "axes.facecolor": "#15181d", "savefig.facecolor": "#15181d"}
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1.5em; }
@media (prefers-color-scheme: dark) { body { background: #15181d; color: #dfe3e8; } }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
img { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
pre { overflow-x: auto; font-size: .86em; line-height: 1.35; } summary { cursor: pointer; }
.replay { border-left: 4px solid #d98032; padding-left: .8em; font-weight: 600; }
"""
ABOUT = (
    "The workload was sized so that the collector's flags matter: it shows what tuning does where the "
    "collector is the bottleneck, not that yours is."
)

ALT = "The search; p99 predicted and measured; what was learned of the store; p99 over the young generation"


def write_report(
    result: boat.Result, evidence: Sequence[str], folder: Path, replayed: str = ""
) -> list[Path]:
    """Write ``report.png``, the same for dark pages, and ``report.html`` into a folder; return the paths of
    the picture and of the page.

    ``evidence`` are the sentences on what was measured after the search; ``replayed`` is what to say of runs
    that are not live, at the top of the page and of the picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tree = result.posterior
    for name, style in (
        ("report.png", ["default"]),
        ("report-dark.png", ["default", "dark_background", DARK]),
    ):
        with plt.style.context(style):
            _picture(result, tree, replayed).savefig(folder / name, dpi=130)
            plt.close("all")
    page = folder / "report.html"
    page.write_text(_page(result, tree, evidence, replayed))
    return [folder / "report.png", page]


def _picture(result: boat.Result, tree: Any, replayed: str) -> plt.Figure:
    figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    plots.plot_convergence(result, ax=axes[0, 0])
    axes[0, 0].set_title("The search", loc="left")
    plots.plot_predicted_measured(result, result.study.goal.name, axes=axes[0, 1])
    if "gc_rate" in tree.children:
        _malloc(axes[1, 0], tree)
        _slice(axes[1, 1], result)
    else:
        plots.plot_importance(result, ax=axes[1, 0])
        plots.plot_slice(result, "collector", ax=axes[1, 1])
    figure.suptitle("A JVM's collector, tuned" + (f"\n{replayed}" if replayed else ""))
    return figure


def _malloc(axes: Axes, tree: Any) -> None:
    """The malloc rate's posterior beside its prior."""
    draws = tree["gc_rate"]["posterior"]["malloc_rate"].values.ravel()
    low, high = np.quantile(draws, [0.05, 0.95])
    axes.hist(draws, bins=40, density=True, color=BLUE, label="posterior")
    axes.axhline(1 / 5000, color="0.5", ls="--", label="prior: anything from 0 to 5000")
    axes.set(
        xlabel="malloc_rate [MB/s]",
        yticks=[],
        title=f"Learned: the store allocates {low:.0f}-{high:.0f} MB/s",
    )
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _slice(axes: Axes, result: boat.Result) -> None:
    """p99 over young_mb, also where a replay has no run to offer."""
    study, best = result.study, dict(result.best_configuration)
    parameter: Any = study.space.parameters["young_mb"]
    grid = np.unique(np.geomspace(parameter.low, parameter.high, 40).round().astype(int))
    draws = study.predict([{**best, "young_mb": int(value)} for value in grid], noise=False)["p99"].values
    low, middle, high = np.nanquantile(draws, [0.05, 0.5, 0.95], axis=0)
    axes.fill_between(grid, low, high, color=BLUE, alpha=0.28, lw=0, label="90 %")
    axes.plot(grid, middle, color=BLUE, label="median")
    axes.axvline(best["young_mb"], color="0.5", ls=":", label=f"best, {best['young_mb']} MB")
    others = ", ".join(f"{name} {value}" for name, value in best.items() if name != "young_mb")
    axes.set(
        xlabel="young_mb [MB]",
        ylabel="p99 [ms]",
        xscale="log",
        yscale="log",
        title=f"What the model believes at {others}",
    )
    axes.set_xticks([value for value in (4, 8, 16, 32, 64, 96) if grid[0] <= value <= grid[-1]])
    axes.set_yticks([value for value in (2, 3, 5, 10, 20, 30, 50, 100) if low.min() <= value <= high.max()])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def _page(result: boat.Result, tree: Any, evidence: Sequence[str], replayed: str) -> str:
    said = f'<p class="replay">{html.escape(replayed)}</p>' if replayed else ""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in evidence)
    summaries = "".join(
        f"<details><summary>{name}</summary><pre>{html.escape(str(az.summary(tree[name])))}</pre></details>"
        for name, node in tree.children.items()
        if "posterior" in node.children
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>boatppl: a JVM's collector, tuned</title><style>{STYLE}</style>"
        f"<h1>A JVM's collector, tuned</h1>{said}"
        f"{result._repr_html_()}<h2>Measured after the search</h2><ul>{items}</ul><p>{ABOUT}</p>"
        '<picture><source srcset="report-dark.png" media="(prefers-color-scheme: dark)">'
        f'<img src="report.png" alt="{ALT}"></picture>'
        f'<h2>Trials</h2><div class="wide">{result.study._repr_html_()}</div>'
        f'<h2>The model</h2><div class="wide">{result.study.model._repr_html_()}</div>'
        f"<h2>Everything that was learned, node by node</h2>{summaries}</html>\n"
    )
