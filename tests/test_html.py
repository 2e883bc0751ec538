"""What spaces, trials and studies show in a notebook: everything that matters, escaped, without a fit."""

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import boatppl as boat
from boatppl.fit import Inference
from boatppl.progress import Notebook
from boatppl.progress.display import Journey
from boatppl.result import Result
from boatppl.trial import State, Trial


class Balanced(HTMLParser):
    """Collects texts and fails where a tag is closed that was not the last to be opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.tags, self.pictures = [], [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] != "style":
            self.texts.append(data)


def words(thing):
    return " ".join(Balanced(thing._repr_html_()).texts)


def rows(thing):
    found = re.findall(r"<tr>(.*?)</tr>", thing._repr_html_())
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in found]


SPACE = boat.Space(
    heap=boat.Integer(100, 2000, log=True, unit="MB", default=500),
    gc=boat.Categorical(["serial", "<g1>"]),
    region=boat.Ordinal([1, 2, 4], when={"gc": "<g1>"}),
    threads=boat.Integer(1, 8),
    load=boat.Context(10, 1000, unit="1/s"),
)


def test_a_space_shows_ranges_units_defaults_conditions_and_constraints():
    space = SPACE.fix(threads=2).constrain(lambda heap, region: heap > 100 * region)
    shown = words(space)
    assert "Space: 4 parameters, 1 of them fixed" in shown
    assert ["heap", "Integer", "100..2000 MB, log", "500 MB", ""] in rows(space)
    assert ["threads", "Integer", "fixed at 2", "", ""] in rows(space)
    assert "gc = <g1>" in shown
    assert "&lt;g1&gt;" in space._repr_html_()
    assert "subject to heap > 100 * region" in shown
    assert "set by the world" in shown


def test_a_trial_shows_what_was_set_predicted_and_measured():
    told = {"predicted": {"low": 5.0, "median": 6.5, "high": 8.0}}
    trial = Trial(3, {"heap": 300}, {"load": 20.0}, suggestion=told)
    done = trial.finish(State.COMPLETE, {"p99": 7.25, "each": [1.0, 2.0]}, marks=["late"])
    assert words(trial).startswith("Trial 3, running, suggested")
    for text in ("heap", "300", "load", "20", "p99", "7.25", "[1 2]", "6.5", "late"):
        assert text in words(done)
    failed = trial.finish(State.FAILED, reason="<disk> full")
    assert "<disk> full" in words(failed)
    assert "measured" not in words(failed)


@pytest.fixture
def study():
    return boat.Study(boat.Space(x=boat.Float(0, 1, unit="s")), maximize="speed", random_seed=0)


def test_an_empty_study_shows_its_aim(study):
    assert words(study) == repr(study)


def test_a_study_shows_its_last_trials_and_the_best_of_them_without_a_fit(study, monkeypatch):
    monkeypatch.setattr(Inference, "posterior", None)
    for place in range(14):
        study.tell({"x": place / 20}, 10.0 + place if place < 13 else 1.0)
    study.fail(study.start({"x": 0.9}, "told"), "no disk")
    shown = words(study)
    assert "best measured: 22 in trial 12" in shown
    assert "the last 12 of 15 trials" in shown
    listed = rows(study)[1:]
    assert [int(row[0]) for row in listed] == list(range(3, 15))
    assert listed[0] == ["3", "told", "complete", "0.15", "13", ""]
    assert listed[-1] == ["14", "told", "failed", "0.9", "", "no disk"]
    assert "x, s" in shown


def test_colours_are_the_pages_own(study):
    for thing in (SPACE, study, Trial(0, {"x": 1.0})):
        style = re.search(r"<style>(.*?)</style>", thing._repr_html_(), re.DOTALL)[1]
        named = set(re.findall(r"(?<!-)(?:color|background): (\S+?)(?: !important)?[; ]", style))
        assert named == {"inherit", "none"}


# What Jupyter leaves in a notebook that somebody else has executed. It takes SVG out, and its words stay.
KEPT = {"b", "div", "img", "p", "pre", "span", "style", "table", "tbody", "td", "th", "thead", "tr"}


def shown_everywhere(study):
    """HTML of everything that shows itself, and of a session's progress."""
    bundles = []

    def show(bundle):
        bundles.append(bundle)
        return bundles.append

    with Notebook(Journey(study), show) as view:
        view.close("enough")
    things = (SPACE, SPACE.fix(threads=2), study, study.trials[0], study.model, Result(study, "enough"))
    return [*(thing._repr_html_() for thing in things), bundles[-1]["text/html"]]


def test_a_notebook_that_is_not_trusted_shows_the_same(study):
    for place in range(3):
        study.tell({"x": place / 20}, 10.0 + place)
    drawings = 0
    for html in shown_everywhere(study):
        seen = Balanced(html)
        assert seen.tags <= KEPT
        for picture in seen.pictures:
            drawings += 1
            assert picture.startswith("data:image/svg+xml;base64,")
            svg = base64.b64decode(picture.partition(",")[2]).decode()
            assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
            assert "currentColor" not in svg  # an image knows nothing of its page
    assert drawings == 2  # the model, and the curve


def test_lines_and_words_of_a_drawing_stand_on_light_and_on_dark(study):
    """Words that stand on boxes of the drawing's own have the boxes' ink."""
    for place in range(3):
        study.tell({"x": place / 20}, 10.0 + place)
    for picture in Balanced(shown_everywhere(study)[-1]).pictures:
        svg = ElementTree.fromstring(base64.b64decode(picture.partition(",")[2]))
        colours = {item.get(kind) for item in svg.iter() for kind in ("fill", "stroke")} - {None, "none"}
        for colour in colours:
            assert 0.2 < np.mean(to_rgb(colour)) < 0.8
