"""Spaces from ConfigSpace and to it: the same configurations are legal on both sides."""

import numpy as np
import pytest

import boatppl as boat

ConfigSpace = pytest.importorskip("ConfigSpace")

from boatppl.integrations.configspace import from_configspace, to_configspace  # noqa: E402

SPACE = boat.Space(
    heap_mb=boat.Integer(64, 4096, log=True, default=512),
    ratio=boat.Float(0.1, 0.9),
    gc=boat.Categorical(("serial", "parallel", "g1")),
    eager=boat.Boolean(default=True),
    threads=boat.Ordinal((1, 2, 4, 8), default=2, when={"gc": ["parallel", "g1"]}),
    region_mb=boat.Integer(1, 32, log=True, when={"gc": "g1", "eager": True}),
)


def test_a_space_comes_back_from_a_configspace_as_it_was():
    back = from_configspace(to_configspace(SPACE))
    assert back.default == SPACE.default
    kinds = {name: type(known) for name, known in SPACE.parameters.items()} | {"eager": boat.Categorical}
    assert {name: type(known) for name, known in back.parameters.items()} == kinds
    rows = SPACE.sample(200, 1)
    configurations = SPACE.decode(rows)
    there = back.encode(configurations)
    assert back.decode(there) == configurations
    for name in ("threads", "region_mb"):
        np.testing.assert_array_equal(back.active(there, name), SPACE.active(rows, name))


def test_what_configspace_draws_is_in_our_space_and_active_alike():
    theirs = to_configspace(SPACE)
    theirs.seed(0)
    for drawn in theirs.sample_configuration(50):
        ours = SPACE.validate({**SPACE.default, **dict(drawn)}, strict=False)
        row = SPACE.encode([ours])
        for name in SPACE.names:
            assert bool(SPACE.active(row, name)[0]) == (name in drawn)


def test_forbidden_clauses_relations_and_other_conditions_are_kept():
    theirs = ConfigSpace.ConfigurationSpace(
        {"a": (1, 8), "b": (1, 8), "kind": ["x", "y", "z"], "rate": (0.0, 1.0), "version": "2.1"}
    )
    late = ConfigSpace.Integer("late", (1, 3))
    deep = ConfigSpace.Float("deep", (0.0, 1.0))
    theirs.add(late, deep)
    theirs.add(ConfigSpace.GreaterThanCondition(late, theirs["rate"], 0.5))
    theirs.add(ConfigSpace.EqualsCondition(deep, late, 2))
    theirs.add(ConfigSpace.ForbiddenGreaterThanRelation(theirs["a"], theirs["b"]))
    theirs.add(
        ConfigSpace.ForbiddenAndConjunction(
            ConfigSpace.ForbiddenEqualsClause(theirs["kind"], "x"),
            ConfigSpace.ForbiddenInClause(theirs["a"], [1, 2]),
        )
    )
    ours = from_configspace(theirs)
    assert "version" not in ours
    for configuration in ours.decode(ours.sample(300, 0)):
        assert configuration["a"] <= configuration["b"]
        assert not (configuration["kind"] == "x" and configuration["a"] in (1, 2))
    row = {**ours.default, "rate": 0.9, "late": 2, "deep": 0.7}
    assert ours.active(ours.encode([row]), "deep")[0]
    assert not ours.active(ours.encode([row | {"rate": 0.1}]), "deep")[0]  # its parent is inactive
    assert not ours.active(ours.encode([row | {"late": 3}]), "deep")[0]


def test_a_normal_prior_gives_its_range_and_one_without_bounds_is_refused():
    bounded = ConfigSpace.NormalFloatHyperparameter("x", mu=0.5, sigma=0.1, lower=0, upper=1)
    ours = from_configspace(ConfigSpace.ConfigurationSpace({"x": bounded}))
    assert (ours.parameters["x"].low, ours.parameters["x"].high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (boat.Space(share=boat.Simplex(3, dim="m")), "ConfigSpace has no Simplex, which 'share' is"),
        (boat.Space(x=boat.Float(0, 1), load=boat.Context(0, 1)), "no contexts .* the context 'load'"),
        (
            boat.Space(x=boat.Float(0, 1)).constrain(lambda x: x < 0.5),
            "constraints that are functions: `x < 0.5`",
        ),
        (
            boat.Space(x=boat.Float(0, 1), y=boat.Float(0, 1, when=lambda x: x > 0.5)),
            "when= of y is a function, which ConfigSpace cannot keep",
        ),
    ],
)
def test_what_configspace_cannot_say_is_a_sentence(space, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        to_configspace(space)


def test_fixed_parameters_become_constants():
    theirs = to_configspace(SPACE.fix(gc="g1", heap_mb=256))
    assert theirs["gc"].value == "g1"
    assert theirs["heap_mb"].value == 256
    assert "threads" in theirs.sample_configuration()  # its condition is met for good
    other = to_configspace(SPACE.fix(gc="serial"))
    assert other["threads"].value == 2  # it never moves
