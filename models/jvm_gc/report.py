"""The demo's report: one picture and one page of what was learned."""

import html
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import arviz as az
import matplotlib.pyplot as plt
import numpy as np

import boatppl as boat

INK, BEST, PALE = "#1b2a41", "#2d6a4f", "#9db4c0"


def write_report(result: boat.Result, evidence: Sequence[str], folder: Path, live: bool) -> list[Path]:
    """Write ``report.png`` and ``report.html`` into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, page = folder / "report.png", folder / "report.html"
    posterior = result.posterior
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    _convergence(axes[0, 0], result)
    _predicted(axes[0, 1], result)
    _malloc(axes[1, 0], posterior)
    _slice(axes[1, 1], result)
    figure.suptitle(
        "A JVM's collector, tuned" + ("" if live else " (replayed from recorded runs)"), color=INK
    )
    figure.savefig(picture, dpi=120)
    plt.close(figure)
    summaries = "".join(
        f"<h3>{name}</h3><pre>{html.escape(str(az.summary(posterior[name])))}</pre>"
        for name in posterior.children
    )
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title>boatppl: a JVM's collector</title>"
        f"<style>body{{font:15px sans-serif;max-width:70em;margin:2em auto;color:{INK}}}"
        f"img{{max-width:100%}}</style>"
        f"<h1>A JVM's collector, tuned{'' if live else ' (REPLAY of recorded runs)'}</h1>"
        f"<pre>{html.escape(repr(result))}\n{html.escape(chr(10).join(evidence))}</pre>"
        f"<img src='report.png' alt='convergence, predictions, malloc rate, slice'>"
        f"<h2>Trials</h2>{result.trials.to_html(float_format='%.3g')}"
        f"<h2>The model</h2>{result.study.model._repr_html_()}"
        f"<h2>What was learned</h2>{summaries}"
    )
    return [picture, page]


def _convergence(axes: plt.Axes, result: boat.Result) -> None:
    trials = result.trials.dropna(subset=["p99"])
    axes.plot(trials.index, trials["p99"], "o", color=PALE, label="measured")
    axes.step(trials.index, trials["p99"].cummin(), where="post", color=BEST, label="least measured so far")
    axes.axhline(trials["p99"].iloc[0], color=INK, lw=0.8, ls=":", label="SerialGC's defaults")
    axes.set(xlabel="trial", ylabel="p99 (ms)", yscale="log", title="Search")
    axes.legend(frameon=False)


def _predicted(axes: plt.Axes, result: boat.Result) -> None:
    known = [
        t for t in result.study.trials if (t.suggestion or {}).get("predicted") and "p99" in t.measurements
    ]
    if not known:
        axes.set_axis_off()
        return
    predicted = [t.suggestion["predicted"] for t in known]
    middle = np.array([p["median"] for p in predicted])
    below = middle - [p["low"] for p in predicted]
    above = np.array([p["high"] for p in predicted]) - middle
    actual = [t.measurements["p99"] for t in known]
    axes.errorbar(middle, actual, xerr=[below, above], fmt="o", color=BEST, ecolor=PALE)
    ends = [min([*actual, *middle]) * 0.8, max([*actual, *middle]) * 1.25]
    axes.plot(ends, ends, color=INK, lw=0.8)
    axes.set(
        xlabel="predicted before the run (ms, 90 %)",
        ylabel="measured (ms)",
        xscale="log",
        yscale="log",
        title="p99: predicted and measured",
    )


def _malloc(axes: plt.Axes, posterior: object) -> None:
    draws = posterior["gc_rate"]["posterior"]["malloc_rate"].values.ravel()  # type: ignore[index]
    axes.hist(draws, bins=40, color=BEST, alpha=0.8, density=True)
    low, high = np.quantile(draws, [0.05, 0.95])
    axes.set(
        xlabel="malloc_rate (MB/s)",
        yticks=[],
        title=f"Learned: the store allocates {low:.0f}-{high:.0f} MB/s",
    )


def _slice(axes: plt.Axes, result: boat.Result) -> None:
    study, best = result.study, dict(result.best_configuration)
    parameter = study.space.parameters["young_mb"]
    grid = np.unique(np.geomspace(parameter.low, parameter.high, 30).round().astype(int))
    draws = study.predict([{**best, "young_mb": int(value)} for value in grid], noise=False)["p99"].values
    low, middle, high = np.nanquantile(draws, [0.05, 0.5, 0.95], axis=0)
    axes.fill_between(grid, low, high, color=PALE, alpha=0.5, label="90 %")
    axes.plot(grid, middle, color=BEST, label="median")
    axes.axvline(best["young_mb"], color=INK, lw=0.8, ls=":")
    others = ", ".join(f"{name} {value}" for name, value in best.items() if name != "young_mb")
    axes.set(
        xlabel="young_mb (MB)",
        ylabel="p99 (ms)",
        xscale="log",
        yscale="log",
        title=f"What the model believes at {others}",
    )
    axes.legend(frameon=False)
