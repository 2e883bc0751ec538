"""What is said of a study that goes on with another space or model; nothing where nothing has changed."""

import logging
import sqlite3
from pathlib import Path

import pymc as pm
import pytest

import boatppl as boat
from boatppl.fingerprint import changes, described, fingerprint
from boatppl.storage.schema import APPLICATION_ID

SPACE = boat.Space(x=boat.Float(0.5, 4, unit="MB", default=2.0), gc=boat.Categorical(["serial", "g1"]))
FACTOR = 2.0


def by(x):
    return FACTOR * x


@boat.node(unit="1/s", transform="log")
def rate(x):
    """A comment and a docstring are nobody's formula."""
    load = pm.LogNormal("load", 3, 1)
    return load / by(x)


@boat.node
def cost(rate, x):
    return rate + pm.LogNormal("slope", 0, 1) * x


def model(*parts, space=SPACE, **options):
    return boat.DAGModel(space, parts or [rate, cost], **options)


def said(old, new):
    return changes(described({"structured": old}), described({"structured": new}))


def test_equal_models_are_equal_whoever_made_them():
    def made():
        @boat.node(unit="1/s", transform="log")
        def rate(x):  # another comment
            load = pm.LogNormal("load", 3, 1)
            return load / by(x)  # fmt: skip

        return model(rate, cost)

    first, second = described({"structured": model()}), described({"structured": made()})
    assert first == second
    assert fingerprint(first) == fingerprint(second)


def one(**options):
    @boat.node(**options)
    def p99(x):
        return pm.LogNormal("k", 0, 1) * x

    return p99


def two():
    @boat.node
    def p99(x):
        return pm.LogNormal("k", 0, 2) * x

    return p99


def three():
    @boat.node
    def p99(x):
        return pm.LogNormal("k", 0, 1) * x**2

    return p99


@pytest.mark.parametrize(
    ("old", "new", "clauses"),
    [
        ([rate], [rate, cost], ["node cost is new"]),
        ([rate, cost], [rate], ["node cost is gone"]),
        ([one()], [one()], []),
        ([one()], [two()], ["node p99 has changed"]),  # only a prior did
        ([one()], [three()], ["node p99 was k * x and is k * x ** 2"]),
        ([one()], [one(robust=True)], ["robust= of node p99 was False and is True"]),
        ([one()], [one(transform="log")], ["transform= of node p99 was None and is log"]),
        (
            [one()],
            [one(residual=None)],
            ["residual= of node p99 was GP(matern52) and is None"],
        ),
        (
            [one(noise=pm.HalfNormal.dist(0.1))],
            [one(noise=pm.HalfNormal.dist(0.2))],
            ["noise= of node p99 was HalfNormal(0.0, 0.1) and is HalfNormal(0.0, 0.2)"],
        ),
    ],
)
def test_what_changed_in_a_model_is_said(old, new, clauses):
    assert said(model(*old), model(*new)) == clauses


def test_values_from_around_a_function_belong_to_it(monkeypatch):
    before = described({"structured": model()})
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert changes(before, described({"structured": model()})) == ["node rate has changed"]


def test_what_changed_in_a_space_is_said():
    other = boat.Space(
        x=boat.Float(0.5, 8, unit="MB", default=2.0), gc=boat.Categorical(["serial", "g1", "z"]),
        n=boat.Integer(1, 4),
    ).constrain(lambda x, n: x < 2 * n)  # fmt: skip
    clauses = said(model(), model(space=other))
    assert clauses == [
        "parameter n is new",
        "x [0.5..4 MB] is now [0.5..8 MB]",
        "gc {serial, g1} is now {serial, g1, z}",
        "'subject to x < 2 * n' is new",
    ]
    default = boat.Space(**{**SPACE.parameters, "x": boat.Float(0.5, 4, unit="MB", default=3.0)})
    assert said(model(), model(space=default)) == ["the default of x was 2.0 and is 3.0"]
    assert said(model(), model(space=SPACE.fix(gc="g1"))) == ["gc {serial, g1} is now = g1 (fixed)"]
    assert said(model(data={"k": 1.0}), model(data={"k": 2.0})) == ["data k have changed"]


def test_a_study_that_goes_on_says_what_changed_and_keeps_its_runs(tmp_path, caplog):
    path = tmp_path / "study.db"
    generic = boat.Study(SPACE, minimize="cost", storage=path, random_seed=0)
    for x in (1.0, 2.0, 3.0, 4.0):
        generic.tell({"x": x, "gc": "g1"}, {"cost": 9.0 / x + x, "rate": 9.0 / x})
    narrower = boat.Space(x=boat.Float(0.5, 2.5, unit="MB"), gc=boat.Categorical(["serial", "g1"]))
    with caplog.at_level(logging.WARNING, "boatppl"):
        study = boat.Study(model(space=narrower), minimize="cost", storage=path)
    sentence = (
        "study 'study' goes on although it has changed: x [0.5..4 MB] is now [0.5..2.5 MB]; the default of x "
        "was 2.0 and is None; node rate is new; node cost is new. Its 4 trials are kept, 2 marked 'out of "
        "range'."
    )
    assert caplog.messages == [sentence]
    assert sentence in repr(study)
    known = study.evidence()
    nodes = study.rivals.posterior("structured", known.trials, known.objective).nodes
    # new nodes start with what was measured
    assert (len(nodes["rate"].table), len(nodes["cost"].table)) == (4, 4)


def test_a_study_that_did_not_change_says_nothing_and_goes_on_bit_for_bit(tmp_path, caplog):
    path = tmp_path / "study.db"
    with caplog.at_level(logging.WARNING, "boatppl"):
        whole = boat.Study(SPACE, minimize="cost", random_seed=0)
        for i in range(7):
            part = boat.Study(SPACE, minimize="cost", storage=path, random_seed=0)
            trials = [study.ask() for study in (whole, part)]
            assert trials[0].configuration == trials[1].configuration
            for study, trial in zip((whole, part), trials, strict=True):
                study.tell(trial, trial.configuration["x"] + 0.1 * i)
    assert caplog.messages == []
    assert "changed" not in repr(part)
    assert [session.number for session in part.storage.sessions("study")] == list(range(7))


def test_a_study_of_the_first_schema_goes_on(tmp_path, caplog):
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript((Path(__file__).parent / "data" / "schema_1.sql").read_text())
    connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    connection.close()
    space = boat.Space(x=boat.Float(0, 1, default=0.5), n=boat.Integer(1, 8))
    study = boat.Study(space, minimize="loss", storage=path, name="old")
    assert study.random_seed == 3
    assert len(study.evidence().objective) == 3
    assert caplog.messages == []
    study.ask()
    wider = boat.Space(x=boat.Float(0, 2, default=0.5), n=boat.Integer(1, 8))
    boat.Study(wider, minimize="loss", storage=path, name="old")
    assert "x [0..1] is now [0..2]" in caplog.messages[0]
