"""Batches of draws and rows: against numpy by hand, and the laws of adjoints."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytensor.compile.mode import Mode
from pytensor.scalar.basic import Cast
from pytensor.tensor.elemwise import Elemwise

import boatppl as boat
from boatppl.compile.batch import BY_NUMPY
from boatppl.priors import RESOLUTION
from boatppl.rows import Rows, arrive, assemble, every_row, scatter
from boatppl.wiring import Key, Source

SIZES = {"machine": 3, "disk": 2}
DIMS = [(), ("machine",), ("disk",), ("machine", "disk"), ("disk", "machine")]


# -- rows ---------------------------------------------------------------------------------


def test_rows_are_every_configuration_and_element():
    rows = every_row(2, ("machine", "disk"), SIZES)
    assert len(rows) == 12
    np.testing.assert_array_equal(rows.configuration, [0] * 6 + [1] * 6)
    np.testing.assert_array_equal(rows.elements["machine"], [0, 0, 1, 1, 2, 2] * 2)
    np.testing.assert_array_equal(rows.elements["disk"], [0, 1] * 6)
    kept = rows[rows.elements["disk"] == 1]
    np.testing.assert_array_equal(kept.elements["machine"], [0, 1, 2, 0, 1, 2])


def test_assemble_undoes_every_row():
    grid = np.arange(24.0).reshape(2, 2, 3, 2)
    rows = every_row(2, ("machine", "disk"), SIZES)
    flat = grid[:, rows.configuration, rows.elements["machine"], rows.elements["disk"]]
    np.testing.assert_array_equal(assemble(flat, 2, ("machine", "disk"), SIZES), grid)


def test_what_is_the_same_at_every_configuration_arrives_at_every_row():
    sources = {"cores": Source("cores", "data", ("machine",), (3,))}
    values = {"cores": np.array([[[2.0, 4.0, 8.0]]])}
    rows = every_row(2, ("machine",), SIZES)
    [got] = arrive(values, [Key("cores", ())], sources, rows).values()
    np.testing.assert_array_equal(got, [[2, 4, 8, 2, 4, 8]])


@settings(deadline=None, max_examples=60)
@given(
    dims=st.sampled_from(DIMS),
    over=st.sampled_from(DIMS),
    draws=st.integers(1, 3),
    n=st.integers(1, 4),
    keep=st.floats(0.2, 1.0),
    seed=st.integers(0, 1000),
)
def test_scatter_is_the_adjoint_of_arrive(dims, over, draws, n, keep, seed):
    """<scatter(a), b> = <a, arrive(b)>, for some or all rows in any order."""
    rng = np.random.default_rng(seed)
    rows = every_row(n, over, SIZES)
    chosen = rng.permutation(len(rows))[: max(1, int(keep * len(rows)))]
    rows = Rows(rows.configuration[chosen], {d: i[chosen] for d, i in rows.elements.items()})
    key = Key("x", tuple(d for d in dims if d not in over))
    shape = (n, *(SIZES[d] for d in dims))
    b = rng.normal(size=(draws, *shape))
    sources = {"x": Source("x", "node", dims, shape[1:])}
    [arrived] = arrive({"x": b}, [key], sources, rows).values()
    a = rng.normal(size=arrived.shape)
    scattered = scatter(a, shape, dims, key.dims, rows)
    assert scattered.shape == b.shape
    np.testing.assert_allclose(np.sum(scattered * b), np.sum(a * arrived), rtol=1e-10, atol=1e-12)


def test_scatter_of_no_rows_is_zero():
    rows = Rows(np.zeros(0, int), {})
    np.testing.assert_array_equal(scatter(np.zeros((2, 0)), (3,), (), (), rows), np.zeros((2, 3)))


# -- expressions ----------------------------------------------------------------------------

SPACE = boat.Space(
    x=boat.Float(0.5, 2.0),
    y=boat.Float(0.5, 2.0),
    n=boat.Integer(1, 9),
    gc=boat.Categorical(["serial", "g1"]),
    share=boat.Simplex(3, dim="machine"),
)


@boat.shared(dims="machine")
def speed():
    return pm.LogNormal("speeds", 0, 1, dims="machine")


@boat.shared(dims=["machine", "disk"])
def strain(share, x):
    return x * share[:, None] * pm.LogNormal("strains", 0, 1, dims=["machine", "disk"])


def of_scalars(x, y, n):
    return pt.exp(pm.Normal("a", 0, 1) * x) * pt.sqrt(y) + n**2


def of_choices(gc, x):
    return pt.switch(pt.eq(gc, gc.codes.g1), x**2, 3 * x)


def of_vectors(share, cores, x):
    return (share**2 / cores).sum() * x + share.max()


def of_one_element(share, cores, x):
    return pt.log(share + x) / cores


def of_shared_elements(share, speed, x):
    return share / speed + x * pm.Normal("b", 0, 1)


def of_shared_parts(strain, y):
    return pt.sin(strain).sum() * y


def of_shared_latent(strain, y):
    return pt.cos(strain) + y


def of_unknowns_alone():
    return pm.Normal("level", 0, 1)


def of_nothing():
    return 3.0


def of_data_alone(cores):
    return 2.0 * cores


KINDS = {
    of_scalars: (),
    of_choices: (),
    of_vectors: (),
    of_one_element: ("machine",),
    of_shared_elements: ("machine",),
    of_shared_parts: ("disk",),
    of_shared_latent: ("machine", "disk"),
    of_unknowns_alone: (),
    of_nothing: (),
    of_data_alone: ("machine",),
}


def noise(y, cores):
    return y * pm.HalfNormal("sd", 1.0) + cores.sum()


def noise_of_one(y, cores):
    return y * pm.HalfNormal("sd", 1.0) + cores


def build(function):
    """A model with one node of the function, and its evaluator of (mean, noise)."""
    over = KINDS[function]
    sd = noise_of_one if "machine" in over else noise
    node = boat.node(over=over, noise=sd)(function)
    used = [part for part in (speed, strain) if part.name in node.arguments]
    dag = boat.DAGModel(
        SPACE,
        [node, *used],
        coords={"machine": list("abc"), "disk": list("xy")},
        data={"cores": ("machine", [2.0, 4.0, 8.0])},
    )
    return dag, dag.nodes[function.__name__]


def some_inputs(dag, graph, draws=2, n=3, seed=4):
    rng = np.random.default_rng(seed)
    rows = every_row(n, graph.node.over, dag.sizes)
    wires = arrive(dag.inputs(dag.space.sample(n, 1)), graph.evaluator.keys, dag.sources, rows)
    variables = {
        name: np.exp(rng.normal(size=(draws, *(3 if d == "machine" else 2 for d in dims))))
        for name in graph.evaluator.variables
        for dims in [dag.blocks[0].model.named_vars_to_dims.get(name) or ()]
    }
    return variables, wires, rows


@pytest.mark.parametrize("function", KINDS, ids=lambda f: f.__name__)
def test_a_batch_is_its_rows_and_draws_one_by_one(function):
    dag, graph = build(function)
    variables, wires, rows = some_inputs(dag, graph)
    together = graph.evaluator(variables, wires, rows.elements, len(rows))
    assert [output.shape for output in together] == [(2, len(rows))] * 2
    for draw in range(2):
        for row in range(len(rows)):
            alone = graph.evaluator(
                {name: value[[draw]] for name, value in variables.items()},
                {key: value[:, [row]] for key, value in wires.items()},
                {dim: index[[row]] for dim, index in rows.elements.items()},
                1,
            )
            for one, many in zip(alone, together, strict=True):
                np.testing.assert_allclose(one[0, 0], many[draw, row], rtol=1e-12)


def test_values_by_hand():
    dag, graph = build(of_shared_elements)
    speeds, b = np.array([[1.0, 2.0, 4.0], [3.0, 5.0, 7.0]]), np.array([0.5, -1.0])
    share = np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])
    x, y = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    rows = every_row(2, ("machine",), dag.sizes)
    quantities = {"share": share[None], "x": x[None], "y": y[None], "cores": np.array([[[2.0, 4.0, 8.0]]])}
    wires = arrive(quantities, graph.evaluator.keys, dag.sources, rows)
    variables = {"speeds": speeds, "b": b, "sd": np.array([0.1, 0.2])}
    mean, sd = graph.evaluator(variables, wires, rows.elements, len(rows))
    np.testing.assert_allclose(
        mean.reshape(2, 2, 3), share / speeds[:, None] + (x * b[:, None])[:, :, None], rtol=1e-12
    )
    expected = (y * np.array([[0.1], [0.2]]))[:, :, None] + np.array([2.0, 4.0, 8.0])
    floor = RESOLUTION[False] * graph.scale
    np.testing.assert_allclose(sd.reshape(2, 2, 3), np.hypot(expected, floor), rtol=1e-12)


@pytest.mark.parametrize("function", KINDS, ids=lambda f: f.__name__)
def test_pullback_is_the_derivative(function):
    dag, graph = build(function)
    evaluator = graph.evaluator
    variables, wires, rows = some_inputs(dag, graph)
    rng = np.random.default_rng(8)
    wires = {key: np.repeat(value, 2, axis=0) for key, value in wires.items()}
    weights = [rng.normal(size=(2, len(rows))) for _ in range(2)]
    slopes = evaluator.pullback(variables, wires, weights, rows.elements, len(rows))
    assert set(slopes) == set(evaluator.keys)

    def total(at):
        outputs = evaluator(variables, at, rows.elements, len(rows))
        return sum(float(np.sum(w * o)) for w, o in zip(weights, outputs, strict=True))

    for key, value in wires.items():
        assert slopes[key].shape == value.shape
        direction, step = rng.normal(size=value.shape), 1e-6
        if key.name == "gc":
            continue  # a code does not move smoothly
        up, down = ({**wires, key: value + sign * step * direction} for sign in (1, -1))
        numeric = (total(up) - total(down)) / (2 * step)
        np.testing.assert_allclose(np.sum(slopes[key] * direction), numeric, rtol=1e-6, atol=1e-7)


def test_slopes_are_left_to_numpy_and_not_run_number_by_number():
    x = pt.tensor3("x")
    slope = pytensor.grad(pt.log(x.sum(axis=2)).sum(), x)
    function = pytensor.function([x], slope, mode=BY_NUMPY)
    assert not [node for node in function.maker.fgraph.apply_nodes if node.op == pt.second]


@pytest.mark.parametrize(
    "formula",
    [
        pt.softplus,
        lambda x: pt.log1mexp(-pt.abs(x)),
        lambda x: pt.clip(x, -1.0, 0.5),
        lambda x: pt.clip(x, 2.0, -1.0),  # crossed: PyTensor says what it is
    ],
    ids=["softplus", "log1mexp", "clip", "crossed"],
)
def test_what_numpy_has_no_function_for_is_not_run_number_by_number_either(formula):
    x = pt.vector("x")
    wanted = [formula(x), pytensor.grad(formula(x).sum(), x)]
    function = pytensor.function([x], wanted, mode=BY_NUMPY)
    scalar = [node.op for node in function.maker.fgraph.apply_nodes if isinstance(node.op, Elemwise)]
    assert not [op for op in scalar if op.nfunc_spec is None and not isinstance(op.scalar_op, Cast)]
    at = np.array(
        [-np.inf, -750.0, -40.0, -1.0, -1e-9, 1e-9, 0.3, 0.5, 2.0, 20.0, 36.0, 750.0, np.inf, np.nan]
    )
    its_own = pytensor.function([x], wanted, mode=Mode("py", optimizer=None))(at)
    for mine, its in zip(function(at), its_own, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-14, atol=1e-300)


def test_pullback_of_a_derived_vector():
    @boat.derived(dims="machine")
    def load(share, cores, x):
        return x * share**2 / cores

    @boat.node(over="machine")
    def seconds(load):
        return load

    data = {"cores": ("machine", [2.0, 4.0, 8.0])}
    dag = boat.DAGModel(SPACE, [load, seconds], data=data)
    evaluator, rows = dag.derived["load"], every_row(2, (), dag.sizes)
    wires = arrive(dag.inputs(dag.space.sample(2, 1)), evaluator.keys, dag.sources, rows)
    weight = np.arange(6.0).reshape(1, 2, 3)
    slopes = evaluator.pullback({}, wires, [weight], {}, 2)
    share, x = wires[Key("share", ("machine",))], wires[Key("x", ())]
    cores = np.array([2.0, 4.0, 8.0])
    np.testing.assert_allclose(slopes[Key("share", ("machine",))], weight * 2 * x[..., None] * share / cores)
    np.testing.assert_allclose(slopes[Key("x", ())], (weight * share**2 / cores).sum(axis=-1))


def test_draws_of_wires_and_draws_of_variables_go_together():
    dag, graph = build(of_scalars)
    rows = every_row(2, (), dag.sizes)
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    wires = {
        key: {"x": x, "y": np.ones((1, 2)), "n": np.zeros((1, 2))}[key.name]
        for key in graph.evaluator.keys
        if key.name != "cores"
    }
    mean, _ = graph.evaluator({"a": np.array([0.1, 0.2]), "sd": np.ones(2)}, wires, rows.elements, 2)
    np.testing.assert_allclose(mean, np.exp(np.array([[0.1], [0.2]]) * x))


def test_no_rows_give_no_values():
    dag, graph = build(of_one_element)
    variables, wires, _ = some_inputs(dag, graph)
    none = {key: value[:, :0] for key, value in wires.items()}
    mean, _ = graph.evaluator(variables, none, {"machine": np.zeros(0, int)}, 0)
    assert mean.shape == (2, 0)
