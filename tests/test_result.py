import re
from dataclasses import replace

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.result import Result, findings
from boatppl.result.findings import confirmed
from boatppl.result.sentences import headline

SPACE = boat.Space(
    eden=boat.Integer(4, 64, log=True, unit="MB", default=8), threads=boat.Integer(1, 8, default=4)
)


@boat.node(unit="1/s", transform="log")
def rate(eden):
    malloc = pm.LogNormal("malloc", 5, 1)
    return malloc / eden


@boat.node(unit="ms", transform="log")
def p99(rate):
    base = pm.LogNormal("base", 1, 1)
    each = pm.LogNormal("each", 0, 1)
    return base + each * rate


def measured(configuration, rng):
    rate = 200 / configuration["eden"] * np.exp(0.03 * rng.normal())
    return {"rate": rate, "p99": (2 + 1.5 * rate) * np.exp(0.03 * rng.normal())}


@pytest.fixture(scope="module")
def study():
    """Twelve runs, the best at eden 64, and two pairs of confirmation runs."""
    rng = np.random.default_rng(0)
    study = boat.Study(
        boat.DAGModel(SPACE, [rate, p99]), minimize="p99", random_seed=0, n_initial=3, hedge=False
    )
    for eden in (8, 4, 16, 32, 48, 64, 12, 24, 40, 6, 56):
        configuration = {"eden": eden, "threads": 1 + eden % 8}
        known = {"predicted": {"low": 5.0, "median": 6.5, "high": 8.0}} if eden == 64 else None
        study.tell(study.start(configuration, "suggested", known), measured(configuration, rng))
    for configuration in (SPACE.default, {"eden": 64, "threads": 1}) * 2:
        study.tell(study.start(configuration, "confirm"), measured(configuration, rng))
    return study


@pytest.fixture(scope="module")
def result(study):
    return Result(study, "15 trials were run")


def test_the_headline_is_the_best_against_the_default_and_how_sure(result):
    line = repr(result).splitlines()[0]
    pattern = (
        r"p99 ([\d.]+) ms against ([\d.]+) ms with the default: ([\d.]+)x better "
        r"\(90 % sure of ([\d.]+)-([\d.]+)x; re-measured 2 times each, alternately: ([\d.]+)-?([\d.]+)?x\)"
    )
    best, default, ratio, low, high, *pairs = (float(x) for x in re.fullmatch(pattern, line).groups() if x)
    assert best == pytest.approx(2 + 1.5 * 200 / 64, rel=0.05)
    assert default == pytest.approx(2 + 1.5 * 200 / 8, rel=0.05)
    assert low <= ratio <= high
    assert ratio == pytest.approx(default / best, rel=0.05)
    assert pairs == pytest.approx([ratio] * len(pairs), rel=0.15)


def test_the_best_prints_itself_on_one_line_in_the_unit(result):
    pattern = (
        r"eden 64, threads 1: p99 ([\d.]+) ms \[[\d.]+-[\d.]+\], measured [\d.]+ in trials 5, 12 and 14; "
        r"with the default ([\d.]+)"
    )
    best, default = map(float, re.fullmatch(pattern, repr(result.best)).groups())
    assert (best, default) == pytest.approx((result.best_value, result.best.default), rel=0.01)
    never_run = repr(replace(result.best, measured=None))
    assert "measured" not in never_run


def test_every_parameter_says_which_values_are_as_good(result):
    line = repr(result).splitlines()[1]
    assert re.fullmatch(r"eden 64( \(\d+-64 are as good\))?, threads 1 \(does not matter\)", line)


def test_prediction_and_measurement_of_the_best(result):
    line = repr(result).splitlines()[2]
    assert line.startswith("predicted 6.5 [5-8] ms before its run, measured ")
    assert "(mean of 3 runs)" in line


def test_what_was_learned_and_what_the_residual_explains(result):
    lines = repr(result).splitlines()
    malloc = re.fullmatch(r"learned: malloc ([\d.]+) ± ([\d.]+), base .* ± .*, each .* ± .*", lines[3])
    assert abs(float(malloc[1]) - 200) < 4 * float(malloc[2]) < 100
    assert lines[4] == "the residual explains under 1 % of rate, under 1 % of p99"
    assert lines[5] == "stopped: 15 trials were run"


def test_rows_that_could_not_be_used_are_said():
    study = boat.Study(boat.DAGModel(SPACE, [rate, p99]), minimize="p99", random_seed=0)
    rng = np.random.default_rng(0)
    for eden in (8, 16, 64):
        study.tell({"eden": eden, "threads": 4}, measured({"eden": eden}, rng))
    study.tell({"eden": 32, "threads": 4}, {"p99": 11.0})
    assert "1 of 4 rows of p99 unused: rate missing" in repr(Result(study, "done"))


def test_html_says_the_same_and_takes_colours_from_the_page(result):
    html = result._repr_html_()
    for text in ("malloc", "does not matter", "re-measured 2 times each", "under 1 %", "stopped: 15 trials",
                 "formula</th>", "<td>under 1 %</td>"):  # fmt: skip
        assert text in html
    assert html.count("<table>") == html.count("</table>") == 3
    assert "background: none" in html
    assert "white;" not in html
    assert "black" not in html


# -- edges ------------------------------------------------------------------------------


def generic(values, **options):
    study = boat.Study(SPACE, minimize="loss", random_seed=0, **options)
    for eden, value in values.items():
        study.tell({"eden": eden, "threads": 4}, value)
    return study


def test_nothing_better_than_the_default():
    text = repr(Result(generic({8: 1.0, 16: 5.0, 32: 6.0, 64: 7.0}), "done"))
    assert text.splitlines()[0].endswith("with the default: nothing better was found")
    assert "learned" not in text


def test_nothing_was_measured():
    study = generic({})
    study.fail(study.ask_one(), "OSError: no\nspace <left>")
    result = Result(study, "interrupted")
    assert repr(result).splitlines() == [
        "loss was measured in none of 1 trials: there is no best one",
        "trial 0 failed: OSError: no space <left>",
        "stopped: interrupted",
    ]
    assert "no space &lt;left&gt;" in result._repr_html_()
    assert repr(Result(generic({}), "interrupted")).startswith("loss was measured in none of 0 trials")


def test_a_gain_that_is_not_sure_is_not_called_one(result):
    best = replace(result.best, value=9.0, default=9.5, gain=(-0.2, 0.5, 1.0), ratio=(0.98, 1.05, 1.11))
    found = replace(result.findings, best=best, confirmed=None)
    assert headline(found).endswith("with the default: not surely better (90 % sure of 0.98-1.11x)")
    below = replace(found, best=replace(best, ratio=None))
    assert headline(below).endswith("with the default: not surely better (90 % sure of -0.2..1 ms)")


def test_gains_of_what_may_be_negative_are_differences():
    study = generic({8: 1.0, 16: -5.0, 32: -6.0, 64: -7.0})
    line = repr(Result(study, "done")).splitlines()[0]
    assert re.search(r"with the default: [\d.]+ better \(90 % sure of [\d.]+-[\d.]+\)$", line)


def test_pairs_of_confirmation_are_of_the_best_and_the_default_only(study):
    rng = np.random.default_rng(1)
    other = generic({})
    assert confirmed(other, study.best) is None
    values = {"default": [10.0, 20.0], "best": [5.0, 4.0]}
    for i in range(2):
        for configuration, key in ((SPACE.default, "default"), (dict(study.best.configuration), "best")):
            other.tell(other.start(configuration, "confirm"), values[key][i])
    other.tell(other.start({"eden": 5, "threads": 5}, "confirm"), rng.uniform())
    assert confirmed(other, study.best).ratios == (2.0, 5.0)


def test_more_is_better_when_maximising():
    study = boat.Study(SPACE, maximize="speed", random_seed=0)
    for eden in (8, 16, 32, 64):
        study.tell({"eden": eden, "threads": 4}, float(eden))
    for configuration in (SPACE.default, {"eden": 64, "threads": 4}):
        study.tell(study.start(configuration, "confirm"), float(configuration["eden"]))
    found = findings(study)
    assert found.confirmed.ratios == (8.0,)
    assert "x better" in repr(Result(study, "done")).splitlines()[0]
