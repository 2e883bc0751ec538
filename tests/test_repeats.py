"""Nodes without noise: what is believed of them, and what contradicts it."""

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.repeats import contradictions
from boatppl.trial import State, Trial

SPACE = boat.Space(x=boat.Float(0, 1, default=0.9), z=boat.Float(0, 1, default=0.5))


@boat.node(noise=0)
def inner(x):
    return pm.Normal("slope", 0, 1) * x


@boat.derived
def twice(inner):
    return 2 * inner


@boat.node(noise=0, residual=boat.GP(inputs=["twice", "z"]))
def outer(twice):
    return pm.Normal("factor", 1, 1) * twice


MODEL = boat.DAGModel(SPACE, [inner, twice, outer])


def told(number, x, z, **measurements):
    return Trial(number, {"x": x, "z": z}, state=State.COMPLETE, measurements=measurements)


def bowl(configuration):
    return (configuration["x"] - 0.3) ** 2 + 0.5 * np.sin(5 * configuration["z"])


def study(noise, n=12, **options):
    found = boat.Study(SPACE, minimize="cost", noise=noise, random_seed=1, **options)
    for _ in range(n):
        trial = found.ask()
        found.tell(trial, {"cost": bowl(trial.configuration)})
    return found


@pytest.mark.parametrize(
    ("runs", "nodes"),
    [
        ([told(0, 0.1, 0.2, inner=1.0, outer=2.0), told(1, 0.1, 0.2, inner=1.0, outer=2.0)], []),
        ([told(0, 0.1, 0.2, inner=1.0), told(1, 0.1, 0.9, inner=1.1)], ["inner"]),  # z does not arrive there
        ([told(0, 0.1, 0.2, inner=1.0, outer=2.0), told(1, 0.1, 0.9, inner=1.0, outer=3.0)], []),  # but here
        ([told(0, 0.1, 0.2, inner=1.0, outer=2.0), told(1, 0.3, 0.2, inner=1.0, outer=3.0)], ["outer"]),
        ([told(0, 0.1, 0.2, inner=1.0), told(1, 0.1, 0.2, inner=1.0 + 1e-9)], []),  # rounding
        ([told(0, 0.1, 0.2, outer=2.0), told(1, 0.1, 0.2, inner=1.0)], []),
    ],
)
def test_what_repeats_its_inputs_and_differs_is_found(runs, nodes):
    assert [each.node for each in contradictions(MODEL, runs)] == nodes


def test_parents_that_nobody_measured_may_have_differed():
    runs = [told(0, 0.1, 0.5, outer=1.0), told(1, 0.9, 0.5, outer=2.0)]
    assert list(contradictions(MODEL, runs)) == []


def test_where_noise_is_learned_nothing_is_contradicted():
    model = boat.DAGModel(SPACE, [boat.generic("inner", ["x", "z"])])
    runs = [told(0, 0.1, 0.2, inner=1.0), told(1, 0.1, 0.2, inner=5.0)]
    assert not list(contradictions(model, runs))


def test_a_contradiction_is_said_when_it_is_told_and_by_the_diagnosis(caplog):
    found = study(0)
    assert not caplog.records
    found.tell(dict(found.trials[3].configuration), {"cost": 7.0})
    assert "trials 3 and 12 with the same inputs measured" in caplog.text
    assert "Leave noise= out" in caplog.text
    first = found.diagnose().findings[0]
    assert (first.node, first.cause) == ("cost", "repeats")
    caplog.clear()
    found.tell({"x": 0.111, "z": 0.5}, {"cost": 0.3})  # said once
    assert not caplog.records


def test_a_node_without_noise_passes_through_its_measurements():
    exact, learned = study(0), study(None)
    rows = [trial.configuration for trial in exact.trials]
    values = np.array([trial.measurements["cost"] for trial in exact.trials])
    drawn = exact.predict(rows)["cost"]
    spread = np.ptp(values)
    assert np.abs(np.asarray(drawn) - values).max() < 0.02 * spread
    assert "noise" not in exact.posterior["cost/posterior"]
    assert "noise" in learned.posterior["cost/posterior"]


def test_nobody_speaks_of_the_noise_of_what_has_none():
    found = boat.Study(MODEL, minimize="outer", random_seed=0)
    for configuration in SPACE.design(12, 0):
        slope = 1.3 * configuration["x"]
        found.tell(configuration, {"inner": slope, "outer": 2 * slope})
    assert [(f.node, f.cause) for f in found.diagnose() if f.cause != "unidentified"] == []


def test_the_generic_rival_has_no_noise_where_the_objective_has_none():
    without, with_noise = (
        boat.Study(boat.DAGModel(SPACE, [boat.node(noise=noise)(inner.function)]), minimize="inner")
        for noise in (0, None)
    )
    assert without.rivals.models["generic"].nodes["inner"].node.deterministic
    assert not with_noise.rivals.models["generic"].nodes["inner"].node.deterministic


def test_a_study_remembers_that_it_had_no_noise(tmp_path, caplog):
    study(0, n=2, storage=tmp_path / "study.db")
    again = boat.Study(SPACE, minimize="cost", noise=0, storage=tmp_path / "study.db")
    assert len(again.trials) == 2
    assert not caplog.records
    boat.Study(SPACE, minimize="cost", storage=tmp_path / "study.db")
    assert "noise" in caplog.text


def test_noise_is_of_a_space_alone():
    with pytest.raises(boat.ModelError, match="noise= are of the generic model of a space alone"):
        boat.Study(MODEL, minimize="outer", noise=0)
