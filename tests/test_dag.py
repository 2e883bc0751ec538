"""The structure of a model: order, blocks, names, coords, scales, priors; specifications are left alone."""

import copy

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import boatppl as boat
from boatppl.dag import generic_model
from boatppl.priors import RESOLUTION, draw_prior

SPACE = boat.Space(
    young_mb=boat.Integer(4, 80, log=True, unit="MB"),
    survivor_ratio=boat.Integer(1, 16, log=True),
    tenuring=boat.Integer(0, 15),
    load=boat.Context(1_000, 20_000),
)


@boat.derived
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log")
def gc_rate(eden_mb):
    return pm.Uniform("malloc_rate", 0, 5000) / eden_mb


@boat.node(unit="ms", transform="log")
def p99(gc_rate, eden_mb, load):
    return pm.LogNormal("base", 0, 1) + gc_rate * eden_mb / load


# -- order, wires, blocks -----------------------------------------------------------------


def test_order_follows_the_wires_whatever_order_is_given():
    for parts in ([p99, gc_rate, eden_mb], [eden_mb, gc_rate, p99]):
        assert boat.DAGModel(SPACE, parts).order == ("eden_mb", "gc_rate", "p99")


def test_residual_inputs_default_to_what_arguments_are_computed_from():
    dag = boat.DAGModel(SPACE, [p99, gc_rate, eden_mb])
    assert dag.inputs_of("gc_rate") == ("young_mb", "survivor_ratio")
    assert dag.inputs_of("p99") == ("gc_rate", "young_mb", "survivor_ratio", "load")
    assert dag.inputs_of("eden_mb") == ()


def test_what_never_varies_is_no_residual_input():
    @boat.node
    def seconds(young_mb, tenuring, cores):
        return young_mb * tenuring * cores

    dag = boat.DAGModel(SPACE.fix(tenuring=3), [seconds], data={"cores": 4})
    assert dag.inputs_of("seconds") == ("young_mb",)
    assert dag.data["cores"] == ((), np.array(4.0))


def test_nodes_without_common_unknowns_are_blocks_of_their_own():
    dag = boat.DAGModel(SPACE, [p99, gc_rate, eden_mb])
    assert [block.name for block in dag.blocks] == ["gc_rate", "p99"]
    assert {v.name for v in dag.blocks[1].model.free_RVs} == {"base", "amplitude", "lengthscale", "noise"}


def test_shared_unknowns_join_blocks_also_through_each_other_and_through_noise():
    @boat.shared
    def a():
        return pm.LogNormal("a", 0, 1)

    @boat.shared
    def b(a):
        return a * pm.LogNormal("b", 0, 1)

    def spread(c, young_mb):
        return c * young_mb

    @boat.shared
    def c():
        return pm.HalfNormal("c", 1.0)

    @boat.node
    def one(a, young_mb):
        return a * young_mb

    @boat.node(noise=spread)
    def two(b, young_mb):
        return b * young_mb

    @boat.node
    def three(c, young_mb):
        return c * young_mb

    @boat.node
    def four(young_mb):
        return pm.Normal("d", 0, 1) * young_mb

    dag = boat.DAGModel(SPACE, [one, two, three, four, a, b, c])
    assert sorted(block.name for block in dag.blocks) == ["four", "one+two+three"]
    assert set(dag.nodes["two"].evaluator.variables) == {"a", "b", "c"}


def test_model_is_a_collection_of_nodes():
    dag = boat.DAGModel(SPACE, [p99, gc_rate, eden_mb])
    assert list(dag) == ["gc_rate", "p99"]
    assert len(dag) == 2
    assert "p99" in dag
    with pytest.raises(boat.ModelError, match=r"'gc_rat' is no node.*Did you mean 'gc_rate'"):
        dag["gc_rat"]


# -- names and mistakes -------------------------------------------------------------------


def make(function, decorate=boat.node, name=None):
    function.__name__ = name or function.__name__
    return decorate(function)


def circle_a(circle_b):
    return circle_b


def circle_b(circle_a):
    return circle_a


@pytest.mark.parametrize(
    ("parts", "options", "sentence"),
    [
        ([p99, gc_rate, eden_mb, p99], {}, r"two parts of the model are called 'p99'.*rename one"),
        ([eden_mb], {}, r"at least one @boat.node; got none"),
        ([circle_a], {}, r"takes what @boat.node.*Decorate the function"),
        (
            [boat.node(circle_a), boat.node(circle_b)],
            {},
            r"has a circle: circle_[ab] -> circle_[ab] -> circle_",
        ),
        (
            [make(lambda young_mb: young_mb, name="tenuring")],
            {},
            r"node 'tenuring' has the name of a parameter",
        ),
        ([make(lambda young_mb: young_mb, name="load")], {}, r"node 'load' has the name of a context"),
        (
            [make(lambda young_mb: young_mb, name="draw")],
            {},
            r"node 'draw' has the name of an axis of predictions",
        ),
        (
            [make(lambda young_mb: young_mb, name="machine")],
            {"coords": {"machine": ["a", "b"]}},
            r"node 'machine' has the name of a dim",
        ),
        ([gc_rate, eden_mb], {"data": {"young_mb": 3.0}}, r"data 'young_mb' has the name of a parameter"),
        (
            [gc_rate, eden_mb],
            {"data": {"cores": ("machine", 4.0)}},
            r"data 'cores' is finite numbers with a dim",
        ),
        ([gc_rate, eden_mb], {"data": {"cores": [1.0, 2.0]}}, r"got shape \(2,\) with dims \(\)"),
        ([gc_rate, eden_mb], {"data": {"cores": np.nan}}, r"data 'cores' is finite numbers"),
        ([gc_rate, eden_mb], {"data": {"cores": "four"}}, r"data 'cores' is numbers; got 'four'"),
        (
            [gc_rate, eden_mb],
            {"coords": {"machine": ["a", "b"]}, "data": {"cores": ("machine", [1, 2, 3])}},
            r"data 'cores' has 3 elements along 'machine', but coords=.* has 2: make them equal",
        ),
        (
            [gc_rate, eden_mb],
            {"data": {"cores": ("machine", [1, 2]), "memory": ("machine", [1, 2, 3])}},
            r"data 'memory' has 3 elements along 'machine', but data 'cores' has 2",
        ),
        ([gc_rate, eden_mb], {"coords": {"machine": ["a", "a"]}}, r"coords of 'machine' are different names"),
        ([gc_rate, eden_mb], {"coords": {"trial": ["a", "b"]}}, r"the dim 'trial' needs another name"),
        (gc_rate, {}, r"takes a boat.Space and a list of parts.*got node gc_rate\(eden_mb\) for the list"),
        (None, {}, r"takes a boat.Space and a list of parts.*got None for the list"),
        ([gc_rate, eden_mb], {"coords": {"machine": "ab"}}, r"coords= is a dict from each dim.*got .*'ab'"),
        ([gc_rate, eden_mb], {"coords": {"machine": 3}}, r"coords= is a dict from each dim to the names"),
        ([gc_rate, eden_mb], {"coords": ["machine"]}, r"coords= is a dict from each dim to the names"),
        ([gc_rate, eden_mb], {"data": [4.0]}, r"data= is a dict from names to numbers.*got \[4.0\]"),
        ([gc_rate, eden_mb], {"data": {3: 4.0}}, r"data= is a dict from names to numbers"),
        (
            [boat.node(over="machin")(eden_mb.function)],
            {"coords": {"machine": ["a"]}},
            r"uses the dim 'machin', which nothing gives a length.*Did you mean 'machine'",
        ),
    ],
)
def test_models_that_cannot_work_are_named(parts, options, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        boat.DAGModel(SPACE, parts, **options)


def test_a_model_that_is_given_the_wrong_way_round_is_named():
    with pytest.raises(
        boat.ModelError, match=r"DAGModel\(space, \[gc_rate, p99\]\); got \[node gc_rate.* for the space"
    ):
        boat.DAGModel([gc_rate, eden_mb], SPACE)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (["yung_mb"], r"has the input 'yung_mb', which is not in this model. Did you mean 'young_mb'"),
        (["rate"], r"has itself as an input"),
        (["shape"], r"has the input 'shape', which is shared.*computed from: young_mb"),
        (["cores"], r"has the data 'cores' as an input, which is the same in every row"),
        (["all_cores"], r"has the derived 'all_cores' as an input, which is the same in every row"),
        (["share"], r"derived share\(full\) is the input of a residual.*not finite.*'logit'; it must be bet"),
        (["late"], r"has a circle: (rate -> late -> rate|late -> rate -> late)"),
        (["whole"], r"has the derived 'whole' as an input.*the generic 'blank'.*Name 'blank' itself"),
    ],
)
def test_residual_inputs_are_checked(inputs, sentence):
    @boat.shared
    def shape(young_mb):
        return pm.Normal("shape", 0, 1) * young_mb

    @boat.node(residual=boat.GP(inputs=inputs))
    def rate(eden_mb, shape):
        return shape * eden_mb

    parts = [
        *(eden_mb, rate, shape, boat.generic("blank", ["tenuring"])),
        make(lambda cores: cores.sum(), boat.derived, "all_cores"),
        make(lambda tenuring: tenuring / 15, boat.derived(transform="logit"), "full"),
        make(lambda full: full, boat.derived(transform="logit"), "share"),
        make(lambda rate: rate, boat.derived, "late"),
        make(lambda blank: blank, boat.derived, "whole"),
    ]
    with pytest.raises(boat.ModelError, match=sentence):
        boat.DAGModel(SPACE, parts, data={"cores": ("machine", [1, 2])})


def test_a_residual_may_be_over_a_derived_quantity():
    """Scaled over the space and the priors, on the derived quantity's own scale; left out where it is
    fixed."""
    known = boat.derived(transform="log")(eden_mb.function)
    node = boat.node(transform="log", residual=boat.GP(inputs=["eden_mb", "tenuring"]))(gc_rate.function)
    dag = boat.DAGModel(SPACE, [known, node])
    assert dag.inputs_of("gc_rate") == ("eden_mb", "tenuring")
    assert "  eden_mb -.-> gc_rate" not in dag.to_mermaid().splitlines()  # it is wired there anyway
    item = dag.nodes["gc_rate"].inputs[0]
    every = np.log(dag.evaluate_derived("eden_mb", dag.inputs(SPACE.sample(4096, 1), {"load": 2e3})))
    within = (every - item.center) / item.width
    np.testing.assert_allclose(np.quantile(within, [0.05, 0.95]), [0, 1], atol=0.2)
    fixed = boat.DAGModel(SPACE.fix(young_mb=8, survivor_ratio=4), [known, node])
    assert fixed.inputs_of("gc_rate") == ("tenuring",)
    with pytest.raises(
        boat.ModelError, match=r"transform= of derived 'eden_mb' is one of .*got 'lg'.* 'log'"
    ):
        boat.derived(transform="lg")(eden_mb.function)


def test_a_derived_input_alone_is_drawn_dotted():
    node = boat.node(residual=boat.GP(inputs=["eden_mb"]))(make(lambda load: load, lambda f: f, "late"))
    assert "  eden_mb -.-> late" in boat.DAGModel(SPACE, [eden_mb, node]).to_mermaid().splitlines()


def test_a_circle_through_a_residual_is_a_circle():
    @boat.node(residual=boat.GP(inputs=["p99"]))
    def gc_rate(young_mb):
        return young_mb

    @boat.node
    def p99(gc_rate):
        return gc_rate

    with pytest.raises(boat.ModelError, match="circle: gc_rate -> p99 -> gc_rate"):
        boat.DAGModel(SPACE, [gc_rate, p99])


def test_unknown_wires_of_a_noise_function_are_named():
    def spread(yung_mb):
        return yung_mb

    node = boat.node(noise=spread)(gc_rate.function)
    with pytest.raises(boat.ModelError, match=r"takes 'yung_mb'.*Did you mean 'young_mb'"):
        boat.DAGModel(SPACE, [eden_mb, node])


def test_shared_unknowns_need_a_node_and_no_derived():
    @boat.shared
    def lonely():
        return pm.Normal("x", 0, 1)

    @boat.derived
    def twice(lonely):
        return 2 * lonely

    with pytest.raises(boat.ModelError, match="used by no node"):
        boat.DAGModel(SPACE, [eden_mb, gc_rate, lonely])
    with pytest.raises(boat.ModelError, match=r"derived twice\(lonely\) takes the shared unknown 'lonely'"):
        boat.DAGModel(SPACE, [eden_mb, gc_rate, lonely, twice])


# -- scales, noise and priors -------------------------------------------------------------


def test_the_scale_of_a_node_is_how_far_configurations_move_it():
    """T(f) = log(x): its spread over log-uniform x is that of a uniform variable on [log 4, log 80]."""
    space = boat.Space(x=boat.Float(4, 80, log=True))

    @boat.node(transform="log")
    def seconds(x):
        return x

    dag = boat.DAGModel(space, [seconds])
    assert dag.nodes["seconds"].scale == pytest.approx(np.log(20) / np.sqrt(12), rel=0.05)


def test_parents_are_scaled_to_about_the_unit_interval():
    dag = boat.DAGModel(SPACE, [p99, gc_rate, eden_mb])
    item = dag.nodes["p99"].inputs[0]
    draws = draw_prior(dag.nodes["gc_rate"].evaluator.variables, 500, 3)["malloc_rate"]
    values = np.log(draws[:, None] / 4 / np.geomspace(0.3, 18, 50))
    low, high = np.quantile((values - item.center) / item.width, [0.05, 0.95])
    assert -0.6 < low < 0.3
    assert 0.7 < high < 1.6


def test_priors_of_noise_and_residual_are_the_developers_own():
    amplitude, lengthscale, noise = pm.Gamma.dist(2, 4), pm.LogNormal.dist(-1, 0.3), pm.Exponential.dist(5)
    node = boat.node(residual=boat.GP(lengthscale=lengthscale, amplitude=amplitude), noise=noise)(
        eden_mb.function
    )
    dag = boat.DAGModel(SPACE, [node])
    own = dag.blocks[0].model
    for name, prior in {"amplitude": amplitude, "lengthscale": lengthscale, "noise": noise}.items():
        at = np.array([0.2, 0.7])
        expected = pm.logp(prior, at).eval()
        shaped = at if name == "lengthscale" else at[:1]
        got = pm.logp(own[name], shaped if name == "lengthscale" else shaped[0]).eval()
        np.testing.assert_allclose(got, expected if name == "lengthscale" else expected[0])
    assert own.named_vars_to_dims["lengthscale"] == ("eden_mb_input",)


def test_lengthscales_of_one_prior_are_independent():
    gp = boat.GP(lengthscale=pm.LogNormal.dist(0, 1), amplitude=pm.LogNormal.dist(0, 1))
    dag = boat.DAGModel(SPACE, [boat.node(residual=gp)(eden_mb.function)])
    draws = draw_prior(dag.nodes["eden_mb"].variables, 400, 5)
    joint = np.log(np.column_stack([draws["lengthscale"], draws["amplitude"]]))
    np.testing.assert_allclose(np.corrcoef(joint.T), np.eye(3), atol=0.2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"noise": pm.Normal.dist(0, 1)}, r"the prior of the noise gives values such as -.*positive"),
        ({"residual": boat.GP(amplitude=pm.Normal.dist(0, 1))}, r"the prior of the amplitude gives values"),
        ({"noise": pm.HalfNormal.dist(1, shape=3)}, r"prior of the noise has shape \(3,\), expected \(\)"),
        (
            {"residual": boat.GP(lengthscale=pm.HalfNormal.dist(1, shape=3))},
            r"prior of the lengthscale has shape \(3,\), expected \(2,\)",
        ),
    ],
)
def test_priors_that_cannot_be_standard_deviations(options, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        boat.DAGModel(SPACE, [boat.node(**options)(eden_mb.function)])


def test_noise_may_be_a_function_of_wires():
    def spread(young_mb, load):
        return pm.HalfNormal("noise", 0.1) * young_mb + load

    dag = boat.DAGModel(SPACE, [boat.node(noise=spread, residual=None)(eden_mb.function)])
    graph = dag.nodes["eden_mb"]
    wires = {
        key: np.full((1, 2), {"young_mb": 8.0, "survivor_ratio": 2.0, "load": 5.0}[key.name])
        for key in graph.evaluator.keys
    }
    mean, noise = graph.evaluator({"noise": np.array([0.5])}, wires, {}, 2)
    np.testing.assert_allclose(mean, [[4.0, 4.0]])
    floor = RESOLUTION[False] * graph.scale
    np.testing.assert_allclose(noise, np.hypot([[9.0, 9.0]], floor))


def test_a_noise_function_must_be_positive():
    def spread(young_mb):
        return young_mb - 40

    with pytest.raises(boat.ModelError, match=r"noise function is not a finite number above 0 on \d+%"):
        boat.DAGModel(SPACE, [boat.node(noise=spread)(eden_mb.function)])


def test_a_purely_parametric_node():
    dag = boat.DAGModel(SPACE, [boat.node(residual=None)(eden_mb.function)])
    graph = dag.nodes["eden_mb"]
    assert graph.inputs == ()
    assert graph.amplitude is None
    assert set(graph.variables) == {"noise"}


def test_specifications_serve_several_models_unchanged():
    parts = [eden_mb, boat.node(noise=pm.HalfNormal.dist(0.3))(gc_rate.function)]
    before = [copy.copy(vars(part)) for part in parts]
    rng = parts[1].noise.owner.inputs[0]
    state = copy.deepcopy(rng.get_value().bit_generator.state)
    models = [boat.DAGModel(SPACE, parts), boat.DAGModel(SPACE.fix(tenuring=2), parts)]
    assert [vars(part) for part in parts] == before
    assert rng.get_value().bit_generator.state == state
    assert parts[1].noise.name is None
    assert models[0].nodes["gc_rate"].scale == pytest.approx(models[1].nodes["gc_rate"].scale, rel=0.2)
    assert models[0].nodes["gc_rate"].noise is not models[1].nodes["gc_rate"].noise


def test_models_are_the_same_every_time():
    first, second = (boat.DAGModel(SPACE, [p99, gc_rate, eden_mb]) for _ in range(2))
    assert [n.scale for n in first.nodes.values()] == [n.scale for n in second.nodes.values()]
    assert first.nodes["p99"].inputs == second.nodes["p99"].inputs


# -- models that know nothing -------------------------------------------------------------


def test_generic_model_takes_over_what_the_objective_is():
    dag = generic_model(SPACE.fix(tenuring=3), "p99", like=p99)
    node = dag.nodes["p99"]
    assert dag.inputs_of("p99") == ("young_mb", "survivor_ratio", "load")
    assert (node.node.transform, node.node.unit, node.scale) == ("log", "ms", 1.0)


def test_generic_nodes_take_nodes_as_inputs():
    parts = [eden_mb, gc_rate, boat.generic("p99", ["gc_rate", "tenuring"]), boat.generic("cost", ["p99"])]
    dag = boat.DAGModel(SPACE, parts)
    assert [item.kind for item in dag.nodes["p99"].inputs] == ["node", "parameter"]
    assert (dag.nodes["cost"].inputs[0].center, dag.nodes["cost"].inputs[0].width) == (-2.0, 4.0)


def test_nodes_may_be_functions_of_nothing():
    @boat.node
    def constant():
        return pm.Normal("level", 3.0, 1.0)

    dag = boat.DAGModel(SPACE, [constant])
    assert dag.inputs_of("constant") == ()
    assert dag.nodes["constant"].scale == pytest.approx(0.25, rel=0.3)


def test_functions_run_once():
    calls = []

    @boat.node
    def seconds(young_mb):
        calls.append(young_mb)
        return pt.log(young_mb)

    boat.DAGModel(SPACE, [seconds])
    assert len(calls) == 1
