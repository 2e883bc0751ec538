"""Pictures show the study's own numbers, where they were asked to, legible on light and on dark."""

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
from arviz_plots import PlotCollection
from bokeh.embed import json_item
from bokeh.models import ColorBar, Legend, LogScale, Span
from bokeh.plotting import figure
from matplotlib.colors import to_rgb
from matplotlib.testing import set_font_settings_for_testing
from matplotlib.testing.compare import calculate_rms, compare_images

import boatppl as boat
from boatppl import fit, plots
from boatppl.explain import variance_shares
from boatppl.hedge import Forecast, weights
from boatppl.infer import BlockPosterior, Verdict, climb
from boatppl.plots import attribution
from boatppl.plots.backend.transcribe import spans
from boatppl.plots.canvas import BLUE, GREY, RED
from boatppl.plots.convergence import convergence
from boatppl.plots.dag import ALARM
from boatppl.plots.importance import importance
from boatppl.plots.ladder import ladder
from boatppl.plots.parallel import good
from boatppl.plots.predicted import LEFT_OUT, Predicted, draw, predicted
from boatppl.plots.residuals import residual_along
from boatppl.plots.slices import expected_improvement
from boatppl.plots.unknowns import prior_posterior
from boatppl.plots.view import view
from boatppl.result import Result
from boatppl.result.html import COLOURS
from boatppl.space import Simplex
from boatppl.transform import Transform
from boatppl.validate import folds
from boatppl.words import ModelError

BASELINES = Path(__file__).parent / "data" / "plots"
TOLERANCE = 6.0  # root mean square over pixels of 0-255: anti-aliasing and fonts of another Matplotlib

SPACE = boat.Space(
    eden=boat.Integer(4, 64, log=True, unit="MB", default=8),
    threads=boat.Integer(1, 8, default=4),
    gc=boat.Categorical(["serial", "parallel"], default="serial"),
)


@boat.derived(unit="%")
def busy(rate):
    return 0.5 * rate


@boat.node(unit="1/s", transform="log")
def rate(eden):
    malloc = pm.LogNormal("malloc", 5, 1)
    return malloc / eden


@boat.node(unit="ms", transform="log", residual=boat.GP(["rate", "gc"]))
def p99(rate, busy):
    base = pm.LogNormal("base", 1, 1)
    each = pm.LogNormal("each", 0, 1)
    return base + each * rate + 0 * busy


MODEL = boat.DAGModel(SPACE, [busy, rate, p99])


def run(configuration, rng):
    rate = 200 / configuration["eden"] * np.exp(0.03 * rng.normal())
    slower = 1.3 if configuration["gc"] == "serial" else 1.0
    return {"rate": rate, "p99": slower * (2 + 1.5 * rate) * np.exp(0.03 * rng.normal())}


@pytest.fixture(scope="module")
def study():
    """A real one: ten runs, three of them suggested and predicted before, and one failure."""
    rng = np.random.default_rng(0)
    study = boat.Study(MODEL, minimize="p99", random_seed=0, n_initial=2)
    for eden, threads, gc in ((8, 4, "serial"), (16, 2, "parallel"), (4, 8, "parallel"), (32, 1, "serial"),
                              (24, 5, "parallel"), (12, 7, "serial")):  # fmt: skip
        configuration = {"eden": eden, "threads": threads, "gc": gc}
        study.tell(configuration, run(configuration, rng))
    study.fail(study.start({"eden": 64, "threads": 8, "gc": "serial"}, "told"), "out of memory")
    for _ in range(3):
        trial = study.ask()
        study.tell(trial, run(trial.configuration, rng))
    study.tell(study.start(SPACE.default, "confirm"), run(SPACE.default, rng))
    return study


def steady(density, tables, seed, length, **_):
    """Draws that are the same on every machine, around the mode, in place of the sampler's."""
    origin = density.start(tables)
    mode = climb(density.bind(tables), origin)
    position = mode + 0.15 * np.random.default_rng(len(origin)).normal(size=(length.total, len(mode)))
    variables, scales = density.constrain(position), density.robust_scales(position, tables)
    verdict = Verdict(1.0, length.total, 0, length.total)
    return BlockPosterior(density, tables, position, variables, scales, {}, length, verdict, origin)


@pytest.fixture(scope="module")
def fixed(study):
    """A study of fixed runs and fixed draws, so that its pictures are the same everywhere."""
    fixed = boat.Study(MODEL, minimize="p99", random_seed=0, n_initial=2)
    for name, inference in fixed.rivals.inference.items():
        inference.densities = study.rivals.inference[name].densities  # compiled once for the module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "sample", steady)
        patch.setattr(folds, "sample", steady)
        for number, (eden, threads, gc, wrong) in enumerate(
            [(8, 4, "serial", 1.0), (4, 8, "parallel", 1.02), (16, 2, "parallel", 0.98),
             (32, 1, "serial", 1.0), (48, 5, "parallel", 1.01), (20, 7, "serial", 0.99),
             (60, 3, "parallel", 1.3), (40, 6, "serial", 1.02)]
        ):  # fmt: skip
            configuration = {"eden": eden, "threads": threads, "gc": gc}
            value = (2 + 300 / eden) * (1.3 if gc == "serial" else 1.0) * wrong
            trial = fixed.start(configuration, "suggested" if number > 2 else "design", said(value, number))
            fixed.tell(trial, {"rate": 200 / eden * wrong**0.5, "p99": value})
        fixed.fail(fixed.start({"eden": 64, "threads": 8, "gc": "serial"}, "design"), "out of memory")
        yield fixed


def said(value, number):
    """What a suggestion would have logged before a run that measured a value."""
    if number < 3:
        return None
    centre = np.log(value) + 0.1 * (-1) ** number

    def forecast(shift, spread):
        return Forecast(Transform("log"), (centre + shift,), (spread,)).to_record()

    low, median, high = np.exp(centre + np.array([-0.16, 0.0, 0.16]))
    return {
        "predicted": {"low": low, "median": median, "high": high},
        "forecasts": {"structured": forecast(0.0, 0.1), "generic": forecast(0.2, 0.3)},
    }


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


# name -> how it is drawn into axes, how many it takes, and the units that its labels must carry
DRAWN = {
    "convergence": (lambda s, a: plots.plot_convergence(s, ax=a[0]), 1, ["[ms]"]),
    "weights": (lambda s, a: plots.plot_weights(s, ax=a[0]), 1, []),
    "predicted_measured": (lambda s, a: plots.plot_predicted_measured(s, axes=a), 2, ["[ms]", "[1/s]"]),
    "slice": (lambda s, a: plots.plot_slice(s, "eden", ax=a[0]), 1, ["[ms]", "[MB]"]),
    "slice_choice": (lambda s, a: plots.plot_slice(s, "gc", "busy", ax=a[0]), 1, ["[%]"]),
    "map": (lambda s, a: plots.plot_map(s, "eden", "gc", count=8, axes=a), 2, ["[ms]", "[MB]"]),
    "acquisition": (lambda s, a: plots.plot_acquisition(s, "eden", count=20, ax=a[0]), 1, ["[MB]"]),
    "acquisition_map": (
        lambda s, a: plots.plot_acquisition(s, "eden", "threads", count=8, ax=a[0]), 1, ["[MB]"]),
    "parallel": (lambda s, a: plots.plot_parallel(s, count=12, ax=a[0]), 1, ["[ms]", "[MB]"]),
    "importance": (lambda s, a: plots.plot_importance(s, ax=a[0]), 1, []),
    "residual_share": (lambda s, a: plots.plot_residual_share(s, ax=a[0]), 1, []),
    "residual_along": (lambda s, a: plots.plot_residual_along(s, "p99", axes=a), 3, ["[MB]"]),
    "attribution": (lambda s, a: plots.plot_attribution(s, ax=a[0]), 1, []),
    "dag": (lambda s, a: plots.plot_dag(s, 6, ax=a[0]), 1, ["ms", "MB", "1/s"]),
}  # fmt: skip


# Numbers of other rooms, which may get better there: their pictures are drawn from these.
POINTS = np.array([[7.0, 10.0, 31.0, 30.0], [8.5, 16.0, 36.0, 50.0], [10.0, 25.0, 41.0, 90.0]])
MISSED = Predicted("p99", LEFT_OUT, np.arange(4), np.array([9.0, 14.0, 30.0, 55.0]), POINTS)
FIXED = {
    "predicted_measured": (lambda s, a: draw(a[0], MISSED, "ms", log=True), 1, []),
    "attribution": (lambda s, a: attribution.draw(a[0], {"rate": 0.7, "p99": 0.3}, "p99"), 1, []),
}


def sheet(count, style="default", width=3.6):
    """Axes in a row in a figure of a style."""
    with plt.style.context(style):
        figure, axes = plt.subplots(
            1, count, figsize=(width * count, 2.7), dpi=70, layout="constrained", squeeze=False
        )
    return figure, axes[0]


def texts(figure):
    return [text for text in figure.findobj(plt.Text) if text.get_visible() and text.get_text().strip()]


# -- into a target, on light and on dark --------------------------------------------------


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_is_drawn_into_its_target_and_can_be_read(name, style, fixed):
    """Drawn under another style than the target was made in: the target's colours are what counts."""
    drawer, count, units = DRAWN[name]
    figure, axes = sheet(count, style, width=8.0 if name == "dag" else 3.6)
    returned = drawer(fixed, axes)
    assert plt.get_fignums() == [figure.number]
    assert list(np.ravel(np.asarray(returned, object))) == list(axes)
    assert all(ax.has_data() or ax.patches for ax in axes)
    shown = texts(figure)
    everything = " ".join(text.get_text() for text in shown)
    assert all(unit in everything for unit in units)
    if name not in ("dag", "residual_share"):  # their text stands on boxes of its own colour
        background = np.array(to_rgb(axes[0].get_facecolor()))
        contrast = [np.abs(np.array(to_rgb(text.get_color())) - background).max() for text in shown]
        assert min(contrast) > 0.5


@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_looks_as_it_was_looked_at(name, fixed, tmp_path):
    """Compared with pictures that a person has seen; BOATPPL_BASELINES=1 writes them anew."""
    same(name, "default", (DRAWN | FIXED)[name], fixed, tmp_path)


@pytest.mark.parametrize("name", ["convergence", "parallel"])
def test_dark_pictures_look_as_they_were_looked_at(name, fixed, tmp_path):
    same(f"{name}_dark", "dark_background", DRAWN[name], fixed, tmp_path)


def same(name, style, drawn, fixed, tmp_path):
    drawer, count, _ = drawn
    with plt.style.context(["default", style]):  # a library that was imported may have set its own
        set_font_settings_for_testing()
        figure, axes = sheet(count, style, width=8.0 if name == "dag" else 3.6)
        drawer(fixed, axes)
        compared(figure, name, tmp_path)


def compared(figure, name, tmp_path):
    figure.savefig(tmp_path / f"{name}.png", metadata={"Software": None})
    if os.environ.get("BOATPPL_BASELINES"):
        (tmp_path / f"{name}.png").replace(BASELINES / f"{name}.png")
        return
    assert compare_images(str(BASELINES / f"{name}.png"), str(tmp_path / f"{name}.png"), TOLERANCE) is None


def test_the_prior_and_posterior_look_as_they_were_looked_at(fixed, tmp_path):
    with plt.style.context("default"):
        set_font_settings_for_testing()
        collection = plots.plot_prior_posterior(
            fixed.sample(40, 60, 2), "malloc", figure_kwargs={"figsize": (3.6, 2.7), "dpi": 70}
        )
        compared(collection.viz["figure"].item(), "prior_posterior", tmp_path)


def test_every_function_s_docstring_has_pictures_that_are_compared():
    shown = {
        name: re.findall(r"\.\. image:: /generated/plots/(\w+)\.png\n", getattr(plots, name).__doc__)
        for name in plots.__all__
    }
    assert [name for name, pictures in shown.items() if not pictures] == []
    held = {*DRAWN, "prior_posterior"}
    assert {picture for pictures in shown.values() for picture in pictures} <= held
    assert held <= {path.stem for path in BASELINES.glob("*.png")}


def test_the_comparison_tells_pictures_apart():
    image = {path.stem: plt.imread(path)[..., :3] * 255 for path in BASELINES.glob("*.png")}
    assert {*DRAWN} <= image.keys()
    assert calculate_rms(image["slice"], image["acquisition"]) > 3 * TOLERANCE
    assert calculate_rms(image["convergence"], image["convergence_dark"]) > 3 * TOLERANCE


def test_a_fresh_target_is_made_where_none_is_given_and_a_result_is_as_good_as_its_study(fixed):
    ax = plots.plot_residual_share(Result(fixed, "enough"))
    assert plt.get_fignums() == [ax.figure.number]
    assert plots.plot_residual_along(fixed, "rate").shape == (3,)


# -- other backends -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(fixed):
    """Elements of each panel, drawn once for each picture by the backend that draws nothing."""
    found = {}

    def keep(name):
        if name not in found:
            panels = [[] for _ in range(DRAWN[name][1])]
            returned = DRAWN[name][0](fixed, panels)
            assert returned is panels[0] or all(a is b for a, b in zip(returned, panels, strict=True))
            found[name] = panels
        return found[name]

    return keep


def of(panel, function, **options):
    return [e for e in panel if e["function"] == function and options.items() <= e.items()]


def one_of(panel, function, **options):
    [element] = of(panel, function, **options)
    return element


def rules(panel):
    return [e for e in panel if e["function"] in ("vline", "hline")]


def steps_of(panel):
    step, band = one_of(panel, "step"), one_of(panel, "fill_between_y")
    return step["x"], step["y"], band["y_bottom"][-1], band["y_top"][-1]


def intervals(element):
    """Ends of intervals that were drawn as one line with gaps."""
    return np.stack([element["y"][::3], element["y"][1::3]])


def bars(panel, **options):
    """Lengths of horizontal bars, by their row."""
    found = of(panel, "fill_between_y", **options)
    return {round((e["y_bottom"][0] + e["y_top"][0]) / 2): np.ptp(e["x"]) for e in found}


def test_none_keeps_convergence(fixed, kept):
    [panel], found = kept("convergence"), convergence(view(fixed))
    np.testing.assert_allclose(one_of(panel, "scatter", label="measured")["y"], found.measured)
    x, y, low, high = steps_of(panel)
    np.testing.assert_array_equal(x, found.steps)
    np.testing.assert_allclose([*y, low, high], [*found.best[1], found.best[0, -1], found.best[2, -1]])
    np.testing.assert_allclose(one_of(panel, "line", label="default")["y"], found.default[1])
    failed = one_of(panel, "scatter", label="failed")
    assert list(failed["x"]) == [8]
    assert failed["y"] > found.measured.max()
    assert one_of(panel, "yscale")["scale"] == "log"
    assert one_of(panel, "ylabel")["string"] == "p99 [ms]"


def test_none_keeps_weights(fixed, kept):
    [panel] = kept("weights")
    last = {e["label"].split()[0]: e["y"][-1] for e in of(panel, "scatter") if "label" in e}
    assert last == pytest.approx(fixed.weights)
    assert [len(e["y"]) for e in of(panel, "scatter", facecolor="none")] == [1, 1]
    assert one_of(panel, "ylim")["lims"] == (-0.02, 1.02)


def test_none_keeps_predictions(fixed, kept):
    for panel, found in zip(kept("predicted_measured"), predicted(view(fixed), ["rate", "p99"]), strict=True):
        dots = of(panel, "scatter")
        assert sorted(x for e in dots for x in e["x"]) == pytest.approx(sorted(found.measured))
        assert sorted(y for e in dots for y in e["y"]) == pytest.approx(sorted(found.points[1]))
        ends = np.concatenate([intervals(e) for e in of(panel, "line") if e["color"] != GREY], axis=1)
        assert sorted(ends.ravel()) == pytest.approx(sorted(found.points[[0, 2]].ravel()))
        assert one_of(panel, "title")["string"].startswith(f"{found.name}: {found.inside.sum()} of ")


def test_none_keeps_slices(fixed, kept):
    [panel], [choice] = kept("slice"), kept("slice_choice")
    line, band = one_of(panel, "line", color=BLUE), one_of(panel, "fill_between_y")
    rows = [{**fixed.best.configuration, "eden": round(x)} for x in line["x"]]
    draws = fixed.predict(rows, noise=False)["p99"]
    expected = draws.quantile([0.05, 0.5, 0.95], "sample").values
    np.testing.assert_allclose([band["y_bottom"], line["y"], band["y_top"]], expected, rtol=1e-9)
    np.testing.assert_array_equal(band["x"], line["x"])
    assert one_of(panel, "vline")["x"] == fixed.best.configuration["eden"]
    marks = one_of(panel, "scatter", marker="|")
    assert sorted(marks["x"]) == pytest.approx(sorted(t.configuration["eden"] for t in view(fixed).trials))
    assert (np.ptp(marks["y"]), marks["y"][0] < expected.min()) == (pytest.approx(0), True)
    assert one_of(choice, "xticks")["labels"] == ["serial", "parallel"]
    rows = [{**fixed.best.configuration, "gc": gc} for gc in ("serial", "parallel")]
    expected = fixed.predict(rows, noise=False)["busy"].quantile([0.05, 0.95], "sample").values
    np.testing.assert_allclose(intervals(one_of(choice, "line")), expected, rtol=1e-9)


def test_none_keeps_maps(fixed, kept):
    left, right = kept("map")
    cells = one_of(left, "cells")
    eden = ladder(MODEL, "eden", fixed.best.configuration, 8).values
    held = fixed.best.configuration
    rows = [{**held, "gc": gc, "eden": value} for gc in ("serial", "parallel") for value in eden]
    low, middle, high = fixed.predict(rows, noise=False)["p99"].quantile([0.05, 0.5, 0.95], "sample").values
    np.testing.assert_allclose(cells["values"].ravel(), middle, rtol=1e-9)
    np.testing.assert_allclose(one_of(right, "cells")["values"].ravel(), high / low, rtol=1e-9)
    assert (len(cells["x"]), list(cells["y"])) == (9, [-0.5, 0.5, 1.5])
    assert [one_of(panel, "colour_bar")["label"] for panel in (left, right)] == [
        "median of p99 [ms]", "p99: 90 % interval, high / low"]  # fmt: skip
    star = one_of(left, "scatter", marker="*")
    assert (star["x"][0], star["y"][0]) == (held["eden"], ("serial", "parallel").index(held["gc"]))


def test_none_keeps_the_acquisition(fixed, kept):
    [panel], [field] = kept("acquisition"), kept("acquisition_map")
    line, band = one_of(panel, "line", color=BLUE), one_of(panel, "fill_between_y")
    unit = SPACE.encode([{**fixed.best.configuration, "eden": round(x)} for x in line["x"]])
    np.testing.assert_allclose(line["y"], expected_improvement(view(fixed), unit, {}), rtol=1e-9)
    np.testing.assert_allclose(band["y_top"] + band["y_bottom"], line["y"])  # down to 0
    ladders = [ladder(MODEL, name, fixed.best.configuration, 8) for name in ("threads", "eden")]
    rows = [{**fixed.best.configuration, "threads": t, "eden": e} for t in ladders[0].values
            for e in ladders[1].values]  # fmt: skip
    expected = expected_improvement(view(fixed), SPACE.encode(rows), {})
    np.testing.assert_allclose(one_of(field, "cells")["values"].ravel(), expected, rtol=1e-9)


def test_none_keeps_parallel_coordinates(fixed, kept):
    [panel] = kept("parallel")
    found = good(view(fixed), 12)
    lines = [e for e in of(panel, "line") if len(e["x"]) == 3 and "label" not in e]
    assert sorted(e["y"][0] for e in lines) == pytest.approx(sorted(found.unit[:, 0]))
    assert len({e["color"] for e in lines}) > 6
    [best] = SPACE.encode([fixed.best.configuration])
    np.testing.assert_allclose(one_of(panel, "line", label="incumbent")["y"], best)
    np.testing.assert_allclose(one_of(panel, "line", label="default")["y"], SPACE.encode([SPACE.default])[0])
    assert one_of(panel, "xticks")["labels"] == ["eden\n[MB]", "threads", "gc"]
    assert {"serial", "parallel", "64"} <= {word for e in of(panel, "text") for word in e["string"]}
    bar = one_of(panel, "colour_bar")
    assert bar["label"] == "median of p99 [ms]"
    assert all(found.value.min() <= value <= found.value.max() for value, _ in bar["ticks"])


def test_none_keeps_shares(fixed, kept):
    [panel] = kept("importance")
    found = importance(view(fixed).posterior(), "p99", {}, 0)
    total = np.median(found.total, axis=0)
    wide = bars(panel, color=BLUE)
    assert [wide.get(row, 0.0) for row in range(3)] == pytest.approx(sorted(total), abs=1e-12)
    assert {e.get("label") for e in of(panel, "fill_between_y")} >= {"with the others", "alone"}
    [panel] = kept("residual_share")
    for row, name in ((1, "rate"), (0, "p99")):
        share = variance_shares(view(fixed).posterior().nodes[name])
        widths = [bars(panel, color=colour)[row] for colour in COLOURS.values()]
        assert widths == pytest.approx([share.formula, share.residual, share.noise])
    [panel] = kept("attribution")
    said = attribution.error_shares(view(fixed))
    assert bars(panel) == pytest.approx(dict(zip((1, 0), said.values(), strict=True)))
    ticks = one_of(panel, "yticks")
    assert (ticks["ticks"], ticks["labels"]) == ([1.0, 0.0], ["rate measured", "p99's own"])


def test_none_keeps_what_formulas_left(fixed, kept):
    found = residual_along(view(fixed), "p99")
    for panel in kept("residual_along"):
        np.testing.assert_allclose(one_of(panel, "scatter")["y"], found.points[1])
        np.testing.assert_allclose(intervals(one_of(panel, "line")), found.points[[0, 2]])
        assert [e["y"] for e in rules(panel)] == [1.0]


def test_none_keeps_the_dag(fixed, kept):
    [panel] = kept("dag")
    words = [word for e in of(panel, "text") for word in e["string"]]
    assert sorted(words) == sorted(text.get_text() for text in plots.plot_dag(fixed, 6).texts)
    assert any(word.startswith("measured") for e in of(panel, "text", color=ALARM) for word in e["string"])
    boxes = [e for e in of(panel, "fill_between_y") if len(e["x"]) > 4]
    assert len(boxes) == len(MODEL.sources)
    heads = [e for e in of(panel, "fill_between_y") if len(e["x"]) <= 4]
    assert len(heads) == 5  # eden to rate, rate to busy and p99, busy and gc to p99
    assert one_of(panel, "remove_axis")["axis"] == "both"
    [edge] = of(panel, "line", color=RED)  # p99 was not as expected
    assert np.ptp(edge["x"]) > np.ptp(edge["y"]) > 0


@pytest.mark.parametrize("name", DRAWN)
def test_plotly_draws_into_its_plots_what_none_keeps(name, fixed, kept):
    common = import_module("arviz_plots.backend.plotly")
    figure, grid = common.create_plotting_grid(DRAWN[name][1], 1, DRAWN[name][1], squeeze=False)
    returned = DRAWN[name][0](fixed, list(grid[0]))
    assert list(np.ravel(np.asarray(returned, object))) == list(grid[0])
    for panel, plot in zip(kept(name), grid[0], strict=True):
        traces = figure.select_traces(row=plot.row, col=plot.col)
        for element in panel:
            match element["function"]:
                case "line" | "step" | "scatter" | "text":
                    alike(next(traces), element, x="x", y="y")
                case "fill_between_y":
                    alike(next(traces), element, x="x", y="y_bottom")
                    alike(next(traces), element, x="x", y="y_top")
                case "cells":
                    cells = next(traces)
                    alike(cells, element, x="x", y="y", customdata="values")
                    order = np.argsort(cells.z, axis=None)  # colours are in the order of the values
                    assert np.all(np.diff(element["values"].ravel()[order]) >= 0)
                case "colour_bar":
                    bar = next(traces).marker
                    assert bar.colorbar.title.text.replace("<br>", "\n") == element["label"]
                    assert set(bar.colorbar.ticktext) <= {text for _, text in element["ticks"]}
        assert next(traces, None) is None
    assert len(figure.layout.shapes) == sum(len(rules(panel)) for panel in kept(name))
    json.loads(figure.to_json())


@pytest.mark.parametrize("name", DRAWN)
def test_bokeh_draws_into_its_figures_what_none_keeps(name, fixed, kept):
    plots_ = [figure() for _ in kept(name)]
    returned = DRAWN[name][0](fixed, plots_)
    assert list(np.ravel(np.asarray(returned, object))) == plots_
    for panel, plot in zip(kept(name), plots_, strict=True):
        glyphs = iter(plot.renderers)
        for element in panel:
            match element["function"]:
                case "line" | "step" | "scatter" | "text":
                    alike(next(glyphs).data_source.data, element, x="x", y="y")
                case "fill_between_y":
                    alike(next(glyphs).data_source.data, element, x="x", y1="y_bottom", y2="y_top")
                case "cells":
                    seen = np.isfinite(element["values"])
                    np.testing.assert_array_equal(
                        next(glyphs).data_source.data["value"], element["values"][seen]
                    )
        assert next(glyphs, None) is None
        assert len(plot.select(Span)) == len(rules(panel))
        assert [bar.title for bar in plot.select(ColorBar)] == [e["label"] for e in of(panel, "colour_bar")]
        json.dumps(json_item(plot))


def alike(drawn, element, **names):
    for theirs, ours in names.items():
        np.testing.assert_array_equal(np.asarray(drawn[theirs], float), np.asarray(element[ours], float))


def test_fresh_plots_are_of_one_figure_and_no_other_is_left_open(fixed):
    left, right = plots.plot_map(fixed, "eden", "gc", count=4, backend="plotly")
    assert left.figure is right.figure
    found = [trace.marker.colorbar for trace in left.figure.select_traces({"type": "scatter"})]
    assert [bar.x for bar in found if bar.title.text] == [
        left.figure.layout.xaxis.domain[1],
        left.figure.layout.xaxis2.domain[1],
    ]
    assert left.figure.layout.xaxis.type == "log"
    low, high = 10 ** np.array(left.figure.layout.xaxis.range)
    assert 2 < low < 4 < 64 < high < 128
    with az.rc_context({"plot.backend": "bokeh"}):
        plot = plots.plot_slice(fixed, "eden")
    assert isinstance(plot.x_scale, LogScale)
    assert plot.yaxis.axis_label == "p99 [ms]"
    [legend] = plot.select(Legend)
    assert [item.label.value for item in legend.items] == ["measured here"]
    assert legend in plot.above
    assert isinstance(plots.plot_weights(fixed, backend="none"), list)
    assert plt.get_fignums() == []


def test_two_pictures_go_into_one_plot(fixed):
    first = plots.plot_slice(fixed, "eden", backend="plotly")
    count = len(first.figure.data)
    assert plots.plot_slice(fixed, "eden", at={"gc": "serial"}, ax=first) is first
    assert len(first.figure.data) > 1.5 * count


@pytest.mark.parametrize("backend", ["plotly", "bokeh", "none"])
def test_the_prior_and_posterior_on_other_backends(backend, fixed):
    collection = plots.plot_prior_posterior(fixed.sample(40, 60, 2), "malloc", backend=backend)
    assert collection.backend == backend
    plot = collection.viz["plot"]["rate: malloc"].item()
    if backend == "plotly":
        low, high = plot.figure.layout.xaxis.range
    elif backend == "bokeh":
        low, high = plot.x_range.start, plot.x_range.end
    else:
        low, high = one_of(plot, "xlim")["lims"]
    assert 0 < high < 3000  # the prior's tail is cut
    assert low < 200 < high


def test_a_convex_outline_is_a_band():
    x, low, high = spans(np.array([[0.0, 1.0], [2.0, 0.0], [3.0, 2.0], [1.0, 3.0]]))
    np.testing.assert_allclose([x, low, high], [[0, 1, 2, 3], [1, 0.5, 0, 2], [1, 3, 2.5, 2]])
    x, low, high = spans(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0], [0.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose([x, low, high], [[0, 4], [0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("target", "backend", "sentence"),
    [
        (None, "plotli", r"backend= is one of.*mean 'plotly'"),
        ([], "bokeh", r"the target is of none, backend= says 'bokeh'"),
        (plt, None, r"cannot draw into a module: expected Matplotlib axes"),
    ],
)
def test_backends_that_cannot_be_are_said(target, backend, sentence, fixed):
    with pytest.raises(ModelError, match=sentence):
        plots.plot_weights(fixed, ax=target, backend=backend)


def test_targets_agree_and_what_is_not_installed_is_named(fixed, monkeypatch):
    with pytest.raises(ModelError, match="axes= has targets of several backends: matplotlib and none"):
        plots.plot_map(fixed, "eden", "gc", count=4, axes=[sheet(1)[1][0], []])
    collection = plots.plot_prior_posterior(fixed.sample(40, 60, 2), "malloc", backend="none")
    with pytest.raises(ModelError, match="plot_collection= is of none, backend= says 'plotly'"):
        plots.plot_prior_posterior(fixed, "malloc", plot_collection=collection, backend="plotly")
    monkeypatch.setitem(sys.modules, "arviz_plots.backend.bokeh", None)
    with pytest.raises(ModelError, match=r"needs a package that is not installed.*'boatppl\[bokeh\]'"):
        plots.plot_weights(fixed, backend="bokeh")


# -- the numbers are the study's ----------------------------------------------------------


def test_convergence_shows_the_measurements_and_the_best_by_todays_posterior(study):
    found = convergence(view(study))
    done = [trial for trial in study.trials if "p99" in trial.measurements]
    np.testing.assert_array_equal(found.measured, [trial.measurements["p99"] for trial in done])
    assert list(found.failed) == [6]
    assert list(found.numbers[found.apart]) == [10]
    known = study.evidence()
    posteriors = study.rivals.posteriors(known.trials, known.objective)
    unit = SPACE.encode([*(trial.configuration for trial in done), SPACE.default])
    draws = study.rivals.noise_free(posteriors, study.weights, unit, {}).draws
    medians = np.median(draws, axis=0)
    np.testing.assert_allclose(found.best[1], np.minimum.accumulate(medians[:-1]))
    chosen = int(np.argmin(medians[:-1]))
    np.testing.assert_allclose(found.best[[0, 2], -1], np.quantile(draws[:, chosen], [0.05, 0.95]))
    assert found.default[1] == medians[-1]
    assert found.best[1, -1] == pytest.approx(study.best.value, rel=0.05)  # other draws of the residual
    assert done[chosen].configuration == study.best.configuration


def test_convergence_of_a_maximised_study_goes_up():
    space = boat.Space(x=boat.Float(0, 1))
    study = boat.Study(space, maximize="speed", random_seed=0)
    for x in (0.5, 0.1, 0.9, 0.3):
        study.tell({"x": x}, 10 * x)
    assert np.all(np.diff(convergence(view(study)).best[1]) >= 0)
    found = good(view(study), 5)
    assert np.all(np.diff(found.value) <= 0)  # the best are first


def test_weights_end_where_the_study_is(study):
    ax = plots.plot_weights(study)
    last = {line.get_label().split()[0]: line.get_ydata()[-1] for line in ax.lines if " " in line.get_label()}
    assert last == pytest.approx(study.weights)
    scored = next(line for line in ax.lines if " " in line.get_label())
    assert list(scored.get_xdata()) == [7, 8, 9]
    first = [line.get_ydata()[0] for line in ax.lines if len(line.get_xdata()) == 4]
    assert first == pytest.approx(list(weights([], study.rivals.prior).values()))


def test_predictions_of_the_objective_are_those_of_the_log(study):
    [found] = predicted(view(study), ["p99"])
    assert list(found.trials) == [7, 8, 9]
    for trial, point, value in zip(found.trials, found.points.T, found.measured, strict=True):
        record = study.trials[int(trial)].suggestion["predicted"]
        assert list(point) == [record["low"], record["median"], record["high"]]
        assert value == study.trials[int(trial)].measurements["p99"]


def test_predictions_of_a_node_are_those_of_cross_validation(study):
    [found] = predicted(view(study), ["rate"])
    scores = study.cross_validate().nodes["rate"]
    np.testing.assert_array_equal(found.measured, scores.measured)
    spread = found.points[2] - found.points[0]
    assert np.max(np.abs(found.points[1] - scores.predicted) / spread) < 0.08
    sure = np.abs(np.abs(scores.below - 0.5) - 0.45) > 0.02
    np.testing.assert_array_equal(found.inside[sure], (np.abs(scores.below - 0.5) <= 0.45)[sure])


def test_misses_are_red_and_counted():
    _, [ax] = sheet(1)
    points = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    draw(ax, Predicted("p99", LEFT_OUT, np.arange(2), np.array([2.5, 9.0]), points), "ms")
    red = [line for line in ax.lines if line.get_color() == RED and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in red] == [[9.0]]
    assert "1 of 2" in ax.get_title()


def test_a_slice_is_what_the_study_predicts(study):
    ax = plots.plot_slice(study, "eden", "rate", at={"gc": "serial"}, count=12)
    line = ax.lines[0]
    held = dict(study.best.configuration) | {"gc": "serial"}
    rows = [held | {"eden": int(eden)} for eden in line.get_xdata()]
    draws = study.predict(rows, noise=False)["rate"]
    np.testing.assert_allclose(line.get_ydata(), draws.quantile(0.5, "sample"), rtol=1e-9)
    edge = ax.collections[0].get_paths()[0].vertices[:, 1]
    low, high = draws.quantile([0.05, 0.95], "sample").values
    assert [edge.min(), edge.max()] == pytest.approx([low.min(), high.max()])


def test_a_map_is_what_the_study_predicts(study):
    left, right = plots.plot_map(study, "eden", "threads", count=4)
    ladders = [ladder(MODEL, name, study.best.configuration, 4).values for name in ("threads", "eden")]
    held = dict(study.best.configuration)
    rows = [held | {"threads": threads, "eden": eden} for threads in ladders[0] for eden in ladders[1]]
    low, middle, high = study.predict(rows, noise=False)["p99"].quantile([0.05, 0.5, 0.95], "sample").values
    np.testing.assert_allclose(left.collections[0].get_array().ravel(), middle, rtol=1e-9)
    np.testing.assert_allclose(right.collections[0].get_array().ravel(), high / low, rtol=1e-9)


def test_what_a_constraint_forbids_stays_blank():
    space = boat.Space(x=boat.Float(0, 1), y=boat.Float(0, 1)).constrain(lambda x, y: x + y < 1.2)
    study = boat.Study(space, minimize="cost", random_seed=0)
    for row in space.design(4, 0):
        study.tell(row, row["x"] + row["y"])
    field = plots.plot_map(study, "x", "y", count=7)[0].collections[0].get_array()
    x, y = np.meshgrid(np.linspace(0, 1, 7), np.linspace(0, 1, 7))
    np.testing.assert_array_equal(np.ma.getmaskarray(field), x + y >= 1.2)


def test_the_acquisition_is_where_the_study_would_gain(fixed):
    ax = plots.plot_acquisition(fixed, "eden", count=61)
    line = max(ax.lines, key=lambda line: len(line.get_xdata()))
    unit = SPACE.encode([dict(fixed.best.configuration) | {"eden": int(e)} for e in line.get_xdata()])
    np.testing.assert_allclose(line.get_ydata(), expected_improvement(view(fixed), unit, {}), rtol=1e-9)
    gain = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert 0 <= gain[4] < 1e-3 * max(gain.values())  # known to be bad
    assert max(gain, key=gain.get) > 30


def test_no_gain_is_said(study):
    """Along eden everything is known, and the best was run."""
    found = expected_improvement(view(study), SPACE.encode([{**study.best.configuration, "eden": 4}]), {})
    assert found == pytest.approx(0.0, abs=1e-9)
    ax = plots.plot_acquisition(study, "eden", at={"gc": "serial"}, count=8)
    assert ax.get_title() == "nothing left to gain here"


def test_good_configurations_are_the_best_of_what_was_run_and_sampled(study):
    found = good(view(study), 10)
    assert len(found.value) == 10
    assert np.all(np.diff(found.value) >= 0)
    everywhere = np.median(study.predict(SPACE.decode(SPACE.sample(64, 5)), noise=False)["p99"], axis=0)
    assert found.value.max() < np.quantile(everywhere, 0.2)
    best = study.best.configuration
    assert any(SPACE.decode(row[None])[0] == best for row in found.unit[found.ran])
    heights = [line.get_ydata() for line in plots.plot_parallel(study, count=10).lines]
    assert any(np.allclose(height, SPACE.encode([best])[0]) for height in heights if len(height) == 3)


@boat.node(residual=None)
def added(x, z):
    return 3 * x + z


@boat.node(residual=None)
def multiplied(x, z):
    return (x - 0.5) * (z - 0.5)


def test_importance_recovers_shares_that_are_known():
    model = boat.DAGModel(boat.Space(x=boat.Float(0, 1), z=boat.Float(0, 1)), [added, multiplied])
    study = boat.Study(model, minimize="added", random_seed=0, hedge=False)
    for x in (0.0, 0.5, 1.0):
        study.tell({"x": x, "z": x}, {"added": 4 * x, "multiplied": (x - 0.5) ** 2})
    posterior = view(study).posterior()
    found = importance(posterior, "added", {}, 0)
    assert found.names == ("x", "z")
    assert np.median(found.total, axis=0) == pytest.approx([0.9, 0.1], abs=0.01)
    assert np.median(found.alone, axis=0) == pytest.approx([0.9, 0.1], abs=0.02)
    found = importance(posterior, "multiplied", {}, 0)
    assert np.median(found.total, axis=0) == pytest.approx([1.0, 1.0], abs=0.12)  # only together
    assert np.median(found.alone, axis=0) == pytest.approx([0.0, 0.0], abs=0.06)


def test_importance_goes_through_the_dag(study):
    found = importance(view(study).posterior(), "p99", {}, 0)
    total = dict(zip(found.names, np.median(found.total, axis=0), strict=True))
    assert total["eden"] > 0.9  # p99 has eden only through rate
    assert total["threads"] == 0.0
    assert 0 < total["gc"] < 0.2


def test_prior_and_posterior_are_those_of_the_tree(study):
    tree = study.sample(40, 60, 2)
    found = prior_posterior(tree)
    assert list(found["posterior"].data_vars) == ["rate: malloc", "p99: base", "p99: each"]
    for group in ("prior", "posterior"):
        np.testing.assert_array_equal(found[group]["rate: malloc"], tree["rate"][group]["malloc"])
    alike = prior_posterior(tree, ["amplitude"])["prior"].data_vars  # of one name, but not one unknown
    assert list(alike) == ["rate: amplitude", "p99: amplitude"]
    collection = plots.plot_prior_posterior(tree, "malloc", kind="ecdf")
    assert isinstance(collection, PlotCollection)
    [ax] = np.ravel(collection.viz["plot"]["rate: malloc"].values)
    assert ax.get_title() == "rate: malloc"
    low, high = np.min(tree["rate"]["posterior"]["malloc"]), np.max(tree["rate"]["posterior"]["malloc"])
    assert ax.get_xlim()[0] < low < high < ax.get_xlim()[1]
    again = plots.plot_prior_posterior(tree, "malloc", plot_collection=collection, kind="ecdf")
    assert again is collection
    with pytest.raises(ModelError, match=r"'maloc' is no unknown.*mean 'malloc'.*Known:"):
        plots.plot_prior_posterior(tree, "maloc")


def test_residual_shares_are_the_bars(study):
    ax = plots.plot_residual_share(study)
    posterior = view(study).posterior()
    bars = {
        (part.get_label(), row): bar.get_width() for part in ax.containers for row, bar in enumerate(part)
    }
    for row, name in enumerate(("rate", "p99")):
        share = variance_shares(posterior.nodes[name])
        for part in ("formula", "residual", "noise"):
            assert bars[part, row] == pytest.approx(getattr(share, part))


def test_the_residual_is_measured_over_formula(study):
    axes = plots.plot_residual_along(study, "rate")
    node = view(study).posterior().nodes["rate"]
    done = [trial for trial in study.trials if "rate" in trial.measurements]
    formula = node.variables["malloc"][:, None] / np.array([t.configuration["eden"] for t in done])
    expected = np.median(np.array([t.measurements["rate"] for t in done]) / formula, axis=0)
    dots = next(line for line in axes[0].lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_xdata(), [t.configuration["eden"] for t in done])
    np.testing.assert_allclose(dots.get_ydata(), expected, rtol=1e-6)  # between two draws: log or not
    assert [ax.get_title() for ax in axes] == ["eden", "threads: not used by rate", "gc: not used by rate"]
    through = [ax.get_title() for ax in plots.plot_residual_along(study, "p99")]
    assert through == ["eden (through rate)", "threads: not used by p99", "gc"]


def test_attribution_is_the_diagnosis_s(study):
    ax = plots.plot_attribution(study)
    said = study.diagnose().attribution
    names = ["rate measured" if name == "rate" else "p99's own" for name in said]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(list(said.values()))


def test_the_dag_shows_what_flowed_and_marks_what_was_not_expected(fixed):
    ax = plots.plot_dag(fixed, 6)
    words = [text.get_text() for text in ax.texts]
    trial = fixed.trials[6]
    assert f"{trial.configuration['eden']} MB" in words
    assert trial.configuration["gc"] in words
    assert f"measured {trial.measurements['p99']:.3g} ms" in words
    draws = fixed.predict(trial.configuration)
    for name, unit in (("rate", "1/s"), ("p99", "ms"), ("busy", "%")):
        low, median, high = np.quantile(draws[name].values, [0.05, 0.5, 0.95])
        assert any(text.startswith(f"{median:.3g} [") and text.endswith(unit) for text in words)
        red = [text.get_text() for text in ax.texts if text.get_color() == "#b3261e"]
        if name in MODEL.nodes:
            share = variance_shares(view(fixed).posterior().nodes[name]).residual
            assert f"residual {100 * share:.0f} %" in words
        if name in trial.measurements:
            outside = not low <= trial.measurements[name] <= high
            assert outside == (f"measured {trial.measurements[name]:.3g} {unit}" in red)
    assert len(plots.plot_dag(fixed).texts) < len(ax.texts)  # the incumbent alone: nothing measured


# -- errors -------------------------------------------------------------------------------


def test_nothing_measured_is_said():
    study = boat.Study(MODEL, minimize="p99", random_seed=0)
    study.fail(study.start(SPACE.default, "default"), "no disk")
    for drawer, _, _ in DRAWN.values():
        with pytest.raises(ModelError, match=r"nothing to draw yet.*'p99'"):
            drawer(study, [None, None, None])
    assert plt.get_fignums() == []  # no empty figure is left behind


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda s: plots.plot_slice(s, "eden", "p9"), r"'p9' is no node or derived.*'p99'\?.*Known: rate"),
        (lambda s: plots.plot_slice(s, "edn"), r"'edn' is no parameter or context.*mean 'eden'"),
        (lambda s: plots.plot_slice(s, "eden", rival="genric"), r"rival= is one of.*mean 'generic'"),
        (lambda s: plots.plot_map(s, "eden", "eden"), "two different parameters"),
        (lambda s: plots.plot_map(s, "eden", "gc", axes=[plt.gca()]), "axes= has 1 axes; expected 2"),
        (lambda s: plots.plot_residual_along(s, "rat"), r"'rat' is no node.*mean 'rate'"),
        (lambda s: plots.plot_residual_along(s, "busy"), "'busy' is derived"),
        (lambda s: plots.plot_predicted_measured(s, "busy"), "'busy' is derived"),
        (lambda s: plots.plot_predicted_measured(s, ["rate", "p98"]), r"'p98' is no node.*mean 'p99'"),
        (lambda s: plots.plot_dag(s, 99), "no trial 99"),
        (lambda s: plots.plot_dag(s, "best"), "expected a configuration"),
        (lambda s: plots.plot_parallel(s, count=0), "count is a whole number"),
        (lambda s: plots.plot_importance(s, "p9"), "'p9' is no node"),
        (lambda s: plots.plot_convergence(MODEL), "expected a Study, or the Result.*DAGModel"),
    ],
)
def test_mistakes_are_sentences(call, sentence, fixed):
    with pytest.raises(ModelError, match=sentence):
        call(fixed)


def test_a_node_alone_has_no_attribution_and_a_simplex_no_slice():
    space = boat.Space(share=Simplex(3), x=boat.Float(0, 1), on=boat.Subset(2))
    study = boat.Study(space, minimize="cost", random_seed=0)
    for row in space.design(4, 0):
        study.tell(row, row["x"] + row["share"][0])
    with pytest.raises(ModelError, match="depends on no other node"):
        plots.plot_attribution(study)
    with pytest.raises(ModelError, match="is a Simplex: its values are in no order"):
        plots.plot_slice(study, "share")
    ax = plots.plot_parallel(study, count=5)
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["share[0]", "share[1]", "share[2]", "x", "on[0]", "on[1]"]
    assert {text.get_text() for text in ax.texts} >= {"in", "out"}
