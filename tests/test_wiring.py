"""Wiring: what arrives at a function, and every mistake named before any trial."""

import inspect
import math

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import boatppl as boat
from boatppl.rows import arrive, every_row

SPACE = boat.Space(
    young_mb=boat.Integer(4, 80, log=True, unit="MB"),
    gc=boat.Categorical(["serial", "g1", "g1-new"]),
    level=boat.Ordinal(["low", "high"]),
    region_mb=boat.Ordinal([1, 2, 8], when={"gc": "g1"}),
    compressed=boat.Boolean(),
    load=boat.Context(1_000, 20_000, unit="1/s"),
)


def model(*functions, space=SPACE, **options):
    """A model of plain functions, each made a node."""
    return boat.DAGModel(space, [boat.node(f) if inspect.isfunction(f) else f for f in functions], **options)


def value(dag, name, configuration, contexts=None):
    """The mean of a node without unknowns at one configuration."""
    unit = dag.space.encode([dag.space.validate(configuration)])
    graph, rows = dag.nodes[name], every_row(1, (), dag.sizes)
    wires = arrive(dag.inputs(unit, contexts or {"load": 2000.0}), graph.evaluator.keys, dag.sources, rows)
    mean, _ = graph.evaluator({"noise": np.ones(1)}, wires, {}, 1)
    return float(mean[0, 0])


# -- what arrives -------------------------------------------------------------------------


def test_numbers_arrive_in_their_unit():
    def seconds(young_mb, load, region_mb):
        return young_mb + load + region_mb

    dag = model(seconds)
    base = {"young_mb": 7, "gc": "g1", "level": "low", "region_mb": 8, "compressed": False}
    assert value(dag, "seconds", base) == 7 + 2000 + 8


def test_choices_arrive_as_codes_with_named_constants():
    def seconds(gc, level):
        by_gc = pt.switch(pt.eq(gc, gc.codes.g1), 10.0, pt.switch(pt.eq(gc, gc.codes["g1-new"]), 20.0, 30.0))
        return by_gc + pt.switch(pt.eq(level, level.codes.high), 1.0, 0.0)

    dag = model(seconds)
    base = {"young_mb": 7, "region_mb": 8, "compressed": False}
    assert value(dag, "seconds", {**base, "gc": "serial", "level": "low"}) == 30
    assert value(dag, "seconds", {**base, "gc": "g1", "level": "high"}) == 11
    assert value(dag, "seconds", {**base, "gc": "g1-new", "level": "high"}) == 21


def test_booleans_arrive_as_0_and_1():
    def seconds(compressed):
        return 1.0 + compressed

    base = {"young_mb": 7, "gc": "serial", "level": "low"}
    assert value(model(seconds), "seconds", {**base, "compressed": True}) == 2
    assert value(model(seconds), "seconds", {**base, "compressed": False}) == 1


def test_inactive_parameters_arrive_at_their_default_and_do_not_move_the_residual():
    def seconds(gc, region_mb):
        return gc + region_mb

    dag = model(seconds)
    rows = [{"young_mb": 7, "gc": "serial", "level": "low", "compressed": False}]
    unit = dag.space.encode([dag.space.validate({**rows[0], "region_mb": size}) for size in (1, 2, 8)])
    np.testing.assert_array_equal(dag.inputs(unit, {"load": 2e3})["region_mb"], [[2.0, 2.0, 2.0]])
    assert np.ptp(dag.space.features(unit, "region_mb", {"load": 2e3})) == 0


def test_an_unknown_code_names_the_nearest():
    def seconds(gc):
        return gc.codes.g2

    def otherwise(gc):
        return gc.codes["g1_new"]

    def number(young_mb):
        return young_mb.codes.g1

    with pytest.raises(AttributeError, match=r"a code of 'gc' is one of .* got 'g2'. Did you mean 'g1'\?"):
        model(seconds)
    with pytest.raises(boat.ModelError, match=r"got 'g1_new'. Did you mean 'g1-new'\?"):
        model(otherwise)
    with pytest.raises(AttributeError, match=r"'young_mb' has no codes: it arrives as a number"):
        model(number)


def test_codes_can_be_asked_for_and_listed():
    def seconds(gc):
        assert dir(gc.codes) == ["g1", "serial"]  # what is no identifier is reached by its text
        assert not hasattr(gc.codes, "z")
        return gc

    assert list(model(seconds)) == ["seconds"]


# -- mistakes, before any trial -----------------------------------------------------------


def branches(gc):
    if gc == "g1":
        return 1.0
    return 2.0


def branches_otherwise(gc):
    return 1.0 if gc != "g1" else 2.0


def one_of(young_mb):
    return 1.0 if young_mb in (4, 8) else 2.0


def compares(young_mb):
    return 1.0 if young_mb < 8 else 2.0


def truth(compressed):
    return 1.0 if compressed else 2.0


def largest(young_mb):
    return max(young_mb, 8)


def computes(young_mb):
    return math.log(young_mb)


def compares_a_sum(young_mb, region_mb):
    total = young_mb + region_mb
    return 1.0 if 2 * total == 8 else 2.0


def compares_a_variable(young_mb):
    slope = pm.LogNormal("slope", 0, 1)
    return young_mb if slope == 1 else slope * young_mb


PYTHON = [branches, branches_otherwise, one_of, compares, truth, largest, computes]


@pytest.mark.parametrize("function", [*PYTHON, compares_a_sum, compares_a_variable])
def test_python_on_a_wire_is_detected(function):
    with pytest.raises(boat.ModelError, match=r"run once.* before any value is known.*pt\.switch"):
        model(function)


def test_python_on_what_is_known_is_fine():
    machines, mode = ["a", "b"], "fast"

    def seconds(young_mb):
        factor = 2.0 if mode == "fast" else 1.0
        for name in machines:
            if name == "a" and young_mb.ndim == 0:
                factor = factor + 1.0
        return factor * young_mb

    base = {"young_mb": 7, "gc": "serial", "level": "low", "compressed": False}
    assert value(model(seconds), "seconds", base) == 21


def test_the_comparison_that_would_be_silent_names_the_code():
    with pytest.raises(boat.ModelError, match=r"`gc == 'g1'`.*pt.eq\(gc, gc.codes\['g1'\]\)"):
        model(branches)


def unknown_wire(yung_mb):
    return yung_mb


def nothing(young_mb):
    young_mb + 1


def a_text(young_mb):
    return "young_mb"


def a_function(young_mb):
    return lambda: young_mb


def a_list(young_mb):
    return [young_mb, object()]


def two_numbers(young_mb):
    return young_mb, young_mb


def discrete(young_mb):
    return pm.Poisson("n", 3) * young_mb


def flat(young_mb):
    return pm.Flat("x") * young_mb


def prior_on_parameter(young_mb):
    return pm.Normal("x", young_mb, 1.0)


def prior_on_context(load):
    return pm.Normal("x", load, 1.0)


def prior_on_parameter_by_way(young_mb):
    middle = pm.Normal("middle", 0.0, 1.0)
    return pm.Normal("x", middle * young_mb, 1.0)


def potential_on_wire(young_mb):
    x = pm.Normal("x", 0.0, 1.0)
    pm.Potential("penalty", -pt.square(x - young_mb))
    return x


def observed_on_wire(young_mb):
    x = pm.Normal("x", 0.0, 1.0)
    pm.Normal("seen", x * young_mb, 1.0, observed=[1.0])
    return x


def backwards(young_mb):
    return pm.Uniform("x", 5.0, 0.0) * young_mb


def impossible(young_mb):
    x = pm.Normal("x", 0.0, 1.0)
    pm.Potential("never", pt.log(x * 0.0))
    return x * young_mb


def negative_sd(young_mb):
    return pm.Normal("x", 0.0, -1.0) * young_mb


def data_inside(young_mb):
    return pm.Data("sizes", [1.0, 2.0])[0] * young_mb


def nameless(young_mb):
    return pm.Normal.dist(0.0, 1.0) * young_mb


def same_name_twice(young_mb):
    return pm.Normal("x", 0.0, 1.0) + pm.Normal("x", 0.0, 1.0) * young_mb


def called_noise(young_mb):
    return pm.HalfNormal("noise", 1.0) * young_mb


def called_amplitude(young_mb):
    return pm.HalfNormal("amplitude", 1.0) * young_mb


def called_lengthscale(young_mb):
    return pm.HalfNormal("lengthscale", 1.0) * young_mb


def called_draw(young_mb):
    return pm.HalfNormal("draw", 1.0) * young_mb


def called_as_itself(young_mb):
    return pm.HalfNormal("called_as_itself", 1.0) * young_mb


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (unknown_wire, r"node unknown_wire\(yung_mb\) takes 'yung_mb'.*Did you mean 'young_mb'\?"),
        (nothing, r"node nothing\(young_mb\): its function must return a tensor.*got None.*`return`"),
        (a_text, r"must return a tensor expression.*got 'young_mb'"),
        (a_function, r"must return a tensor expression"),
        (a_list, r"must return a tensor expression"),
        (two_numbers, r"returns shape \(2,\), expected one number"),
        (discrete, r"variable 'n' is discrete \(int64\).*NUTS"),
        (flat, r"'x' cannot be drawn from.*proper prior"),
        (prior_on_parameter, r"the prior of 'x' depends on the parameter 'young_mb'"),
        (prior_on_context, r"the prior of 'x' depends on the context 'load'"),
        (prior_on_parameter_by_way, r"the prior of 'x' depends on the parameter 'young_mb'"),
        (potential_on_wire, r"the prior of 'penalty' depends on the parameter 'young_mb'"),
        (observed_on_wire, r"the prior of 'seen' depends on the parameter 'young_mb'"),
        (backwards, r"backwards: the prior has no log density at its centre \(lower <= upper\).*priors of x"),
        (impossible, r"the log density of 'never' is -inf at the prior's centre"),
        (negative_sd, r"no log density at its centre \(sigma > 0\)"),
        (data_inside, r"makes the data 'sizes' inside the function.*data=\{'sizes'"),
        (nameless, r"a distribution without a name.*pm.Normal\('name'"),
        (same_name_twice, r"x already exists.*rename one"),
        (called_noise, r"variable called 'noise'.*rename it"),
        (called_amplitude, r"variable called 'amplitude'"),
        (called_lengthscale, r"variable called 'lengthscale'"),
        (called_draw, r"variable called 'draw'"),
        (called_as_itself, r"variable called 'called_as_itself'"),
    ],
)
def test_mistakes_in_a_function_are_named(function, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        model(function)


def test_a_mistake_of_the_developer_keeps_its_own_error():
    def broken(young_mb):
        return young_mb.no_such_attribute

    with pytest.raises(AttributeError, match="no_such_attribute"):
        model(broken)


def test_names_of_the_residual_are_free_where_there_is_none():
    @boat.node(residual=None)
    def seconds(young_mb):
        return pm.HalfNormal("amplitude", 1.0) * young_mb

    assert list(boat.DAGModel(SPACE, [seconds]).nodes["seconds"].variables) == ["amplitude", "noise"]


def test_a_parametric_part_must_be_finite_over_the_space():
    @boat.node(transform="log")
    def seconds(young_mb):
        return pm.Normal("slope", 0.0, 1.0) * young_mb

    with pytest.raises(boat.ModelError, match=r"not finite on \d\d% of prior draws.*transform='log' .*log1p"):
        boat.DAGModel(SPACE, [seconds])

    @boat.node
    def ratio(compressed):
        return 1.0 / compressed

    with pytest.raises(boat.ModelError, match=r"ratio\(compressed\): its parametric part is not finite"):
        boat.DAGModel(SPACE, [ratio])


def test_a_share_of_one_percent_without_a_value_is_let_through():
    rare = boat.Space(x=boat.Float(0.0, 1.0))

    @boat.node(transform="log")
    def seconds(x):
        return pm.Normal("level", 3.2, 1.0) + 0 * x  # below 0 in 0.07 % of draws

    assert np.isfinite(boat.DAGModel(rare, [seconds]).nodes["seconds"].scale)


def test_nothing_is_known_of_a_generic_parent():
    @boat.node(transform="log")
    def p99(pause):
        return pause

    with pytest.raises(boat.ModelError, match=r"Nothing is known of the generic 'pause'.*transform='log'"):
        boat.DAGModel(SPACE, [boat.generic("pause", ["young_mb"]), p99])
    assert boat.DAGModel(SPACE, [boat.generic("pause", ["young_mb"], transform="log"), p99])


# -- what PyMC code may do ----------------------------------------------------------------


def test_deterministics_of_variables_stay_and_those_of_wires_leave():
    def seconds(young_mb):
        x = pm.LogNormal("x", 0.0, 1.0)
        pm.Deterministic("twice", 2 * x)
        pm.Deterministic("by_size", x * young_mb)
        return x * young_mb

    dag = model(seconds)
    assert [variable.name for variable in dag.blocks[0].model.deterministics] == ["twice"]
    assert "by_size" not in dag.blocks[0].model.named_vars


def test_potentials_and_observations_of_variables_are_in_the_density():
    def seconds(young_mb):
        x = pm.Normal("x", 0.0, 1.0)
        pm.Potential("penalty", -3.0 * pt.square(x))
        pm.Normal("calibration", x, 0.5, observed=[0.3, 0.4])
        return x * young_mb

    dag = boat.DAGModel(SPACE, [boat.node(residual=None)(seconds)])
    own = dag.blocks[0].model
    with pm.Model() as plain:
        x = pm.Normal("x", 0.0, 1.0)
        pm.Potential("penalty", -3.0 * pt.square(x))
        pm.Normal("calibration", x, 0.5, observed=[0.3, 0.4])
        pm.HalfNormal("noise", 0.1 * dag.nodes["seconds"].scale)
    point = {"x": 0.7, "noise_log__": -1.0}
    assert float(own.compile_logp()(point)) == pytest.approx(float(plain.compile_logp()(point)), rel=1e-12)


def test_variables_of_a_block_of_several_nodes_carry_their_node():
    @boat.shared
    def malloc():
        return pm.Uniform("rate", 0, 5000)

    @boat.node(transform="log")
    def gc_rate(young_mb, malloc):
        return malloc / young_mb * pm.LogNormal("factor", 0, 1)

    @boat.node(transform="log")
    def promoted(malloc):
        return malloc * pm.LogNormal("factor", 0, 1)

    dag = boat.DAGModel(SPACE, [malloc, gc_rate, promoted])
    assert len(dag.blocks) == 1
    names = {variable.name for variable in dag.blocks[0].model.free_RVs}
    own = {"factor", "amplitude", "lengthscale", "noise"}
    assert names == {"rate"} | {f"gc_rate::{n}" for n in own} | {"promoted::factor", "promoted::noise"}
    assert dag.nodes["gc_rate"].prefix == "gc_rate::"
    assert set(dag.nodes["promoted"].variables) == {"rate", "promoted::factor", "promoted::noise"}


def test_names_of_shared_unknowns_are_their_own():
    @boat.shared
    def first():
        return pm.Normal("x", 0.0, 1.0)

    @boat.node
    def seconds(first):
        return first + pm.Normal("x", 0.0, 1.0)

    with pytest.raises(boat.ModelError, match=r"x already exists.*rename one"):
        boat.DAGModel(SPACE, [first, seconds])


def test_a_derived_quantity_has_no_unknowns():
    @boat.derived
    def eden(young_mb):
        return young_mb * pm.Uniform("share", 0, 1)

    @boat.node
    def seconds(eden):
        return eden

    with pytest.raises(boat.ModelError, match=r"derived eden\(young_mb\) has the unknown 'share'"):
        boat.DAGModel(SPACE, [eden, seconds])


@pytest.mark.parametrize("name", ["young_mb", "load", "pause", "eden_mb", "shared_one"])
def test_a_variable_named_like_anything_else_of_the_model_is_refused(name):
    @boat.derived
    def eden_mb(young_mb):
        return young_mb / 2

    @boat.shared
    def shared_one():
        return pm.Normal("shared_one", 0, 1)  # its own name it may have

    def pause(eden_mb):
        return eden_mb

    def seconds(eden_mb):
        return pm.Normal(name, 0, 1) * eden_mb

    def user(shared_one, young_mb):
        return shared_one * young_mb

    kind = {"young_mb": "parameter", "load": "context", "pause": "node", "eden_mb": "derived"}
    sentence = rf"node seconds.* has a variable called '{name}', which is a {kind.get(name, 'shared')} of"
    with pytest.raises(boat.ModelError, match=sentence):
        model(eden_mb, shared_one, pause, seconds, user)


def test_a_node_of_unknowns_alone_says_that_it_has_no_residual():
    @boat.shared
    def constant():
        return pm.Normal("constant", 0, 1)

    def seconds(constant):
        return constant

    dag = model(constant, seconds)
    assert dag.nodes["seconds"].inputs == ()
    [line] = [line for line in repr(dag).splitlines() if "seconds  " in line]
    assert "(no residual: no inputs)" in line
    parametric = model(constant, boat.node(residual=None)(seconds))
    assert "residual" not in repr(parametric)
    asked = boat.node(residual=boat.GP(amplitude=pm.HalfNormal.dist(0.1)))(seconds)
    with pytest.raises(boat.ModelError, match=r"nothing that it could be a function of.*GP\(inputs="):
        model(constant, asked)
