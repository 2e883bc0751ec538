"""Functions written for one element: what arrives there, unknowns per element, and vectors elsewhere."""

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.priors import draw_prior
from boatppl.rows import arrive, assemble, every_row
from boatppl.table import measured, residual_features, tables
from boatppl.transform import Transform
from boatppl.trial import State, Trial
from boatppl.wiring import Key

NAMES = ["a", "b", "c"]
CORES = np.array([2.0, 4.0, 8.0])
SPACE = boat.Space(share=boat.Simplex(3, dim="machine"), batch=boat.Integer(1, 64, log=True))
SHARES = [[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]]


@boat.node(over="machine", unit="s")
def compute_time(share, cores, batch):
    return batch * share / cores


@boat.derived
def slowest(compute_time):
    return compute_time.max()


@boat.node(unit="s")
def step(slowest, batch):
    return slowest + batch


def distributed(*parts, **options):
    options = {"coords": {"machine": NAMES}, "data": {"cores": ("machine", CORES)}} | options
    return boat.DAGModel(SPACE, list(parts), **options)


def encoded(dag, batch=(4, 16)):
    """Rows of the unit cube for the two divisions of work in SHARES."""
    configurations = [{"share": s, "batch": b} for s, b in zip(SHARES, batch, strict=True)]
    return dag.space.encode([dag.space.validate(c) for c in configurations])


def means(dag, name, values, variables=None):
    """A node's mean as ``(draw, configuration, *over)`` given quantities and draws of its variables."""
    graph, n = dag.nodes[name], len(SHARES)
    rows = every_row(n, graph.node.over, dag.sizes)
    wires = arrive(values, graph.evaluator.keys, dag.sources, rows)
    mean, _ = graph.evaluator({"noise": np.ones(1), **(variables or {})}, wires, rows.elements, len(rows))
    return assemble(mean, n, graph.node.over, dag.sizes)


# -- what arrives -------------------------------------------------------------------------


def test_wires_of_the_dim_arrive_as_one_elements_scalar():
    dag = distributed(compute_time)
    assert dag.nodes["compute_time"].evaluator.keys == [Key("batch", ()), Key("cores", ()), Key("share", ())]
    got = means(dag, "compute_time", dag.inputs(encoded(dag)))
    np.testing.assert_allclose(got[0], np.array([[4.0], [16.0]]) * np.array(SHARES) / CORES, rtol=1e-9)


def test_elsewhere_the_vector_arrives():
    dag = distributed(compute_time, slowest, step)
    assert [key.dims for key in dag.derived["slowest"].keys] == [("machine",)]
    values = dag.inputs(encoded(dag))
    values["compute_time"] = np.arange(12.0).reshape(2, 2, 3)  # (draw, configuration, machine)
    got = dag.evaluate_derived("slowest", values)
    np.testing.assert_array_equal(got, [[2.0, 5.0], [8.0, 11.0]])


def test_vectors_may_be_taken_apart():
    @boat.node
    def seconds(share):
        first, second, third = share
        return first + 10 * second + 100 * third

    dag = distributed(seconds)
    np.testing.assert_allclose(means(dag, "seconds", dag.inputs(encoded(dag)))[0], [53.2, 31.6])


def test_a_vector_from_a_node_of_one_number_is_an_error():
    @boat.node
    def seconds(share, cores):
        return share / cores

    with pytest.raises(
        boat.ModelError, match=r"returns shape \(3,\), expected one number. share arrives as a vector"
    ):
        distributed(seconds)


def test_local_dims_name_the_remedy():
    @boat.node(over="machine")
    def seconds(share):
        return share * pm.LogNormal("speed", 0, 1, dims="machine").sum()

    with pytest.raises(
        boat.ModelError, match=r"variable 'speed' has dims=\['machine'\].*@boat.shared\(dims='machine'\)"
    ):
        distributed(seconds)


def test_local_dims_of_another_dim_are_fine():
    @boat.node(over="machine")
    def seconds(share):
        return share * pm.LogNormal("speed", 0, 1, dims="part").sum()

    dag = distributed(seconds, coords={"machine": NAMES, "part": ["x", "y"]})
    speed = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = means(dag, "seconds", dag.inputs(encoded(dag)), {"speed": speed, "noise": np.ones(2)})
    np.testing.assert_allclose(got, np.array([3.0, 7.0])[:, None, None] * np.array(SHARES)[None])


@pytest.mark.parametrize("what", ["cores", "speed"])
def test_a_prior_on_one_element_names_the_remedy(what):
    @boat.shared(dims="machine")
    def speed():
        return pm.LogNormal("speeds", 0, 1, dims="machine")

    def by_cores(share, cores):
        return share * pm.LogNormal("x", cores, 1)

    def by_speed(share, speed):
        return share * pm.LogNormal("x", speed, 1)

    node = boat.node(over="machine")(by_cores if what == "cores" else by_speed)
    user = boat.node(over="machine")(lambda_named(lambda share, speed: share * speed))
    with pytest.raises(
        boat.ModelError, match=rf"prior of .*x' depends on one element of (data|shared) '{what}'"
    ):
        distributed(node, user, speed)


def lambda_named(function):
    function.__name__ = "user"
    return function


def test_priors_may_depend_on_data_and_on_variables():
    @boat.node
    def seconds(cores, batch):
        typical = pm.LogNormal("typical", np.log(2), 1)
        return pm.LogNormal("x", pm.math.log(cores.mean() * typical), 0.1) * batch

    dag = distributed(seconds, compute_time)
    draws = draw_prior(dag.nodes["seconds"].variables, 2000, 1)
    ratio = draws["x"] / draws["typical"]
    assert np.median(ratio) == pytest.approx(CORES.mean(), rel=0.05)


# -- shared unknowns per element ----------------------------------------------------------


@boat.shared(dims="machine")
def speed():
    return pm.LogNormal("speed_of", 0, 1, dims="machine")


def test_shared_unknowns_per_element_arrive_one_by_one_and_elsewhere_whole():
    @boat.node(over="machine")
    def seconds(share, speed):
        return share / speed

    @boat.node
    def total(speed):
        return speed.sum()

    dag = distributed(seconds, total, speed)
    draws = np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]])
    values = dag.inputs(encoded(dag))
    got = means(dag, "seconds", values, {"speed_of": draws, "seconds::noise": np.ones(2)})
    np.testing.assert_allclose(got, np.array(SHARES)[None] / draws[:, None])
    whole = means(dag, "total", values, {"speed_of": draws, "total::noise": np.ones(2)})
    np.testing.assert_allclose(whole, [[7.0, 7.0], [70.0, 70.0]])


def test_shared_latent_quantities_may_depend_on_parameters():
    @boat.shared(dims="machine")
    def strain(share, batch):
        return share * batch * pm.LogNormal("factor", 0, 1)

    @boat.node(over="machine")
    def seconds(strain, cores):
        return strain / cores

    @boat.node
    def total(strain):
        return strain.sum()

    dag = distributed(seconds, total, strain)
    assert dag.inputs_of("seconds") == ("share", "batch", "cores")
    assert dag.nodes["seconds"].evaluator.keys == [
        Key("batch", ()),
        Key("cores", ()),
        Key("share", ("machine",)),
    ]
    values, factor = dag.inputs(encoded(dag)), np.array([1.0, 3.0])
    got = means(dag, "seconds", values, {"factor": factor, "seconds::noise": np.ones(2)})
    one = np.array([[4.0], [16.0]]) * np.array(SHARES) / CORES
    np.testing.assert_allclose(got, factor[:, None, None] * one[None])
    whole = means(dag, "total", values, {"factor": factor, "total::noise": np.ones(2)})
    np.testing.assert_allclose(whole, factor[:, None] * np.array([[4.0, 16.0]]))


def test_shared_quantities_of_data_alone():
    @boat.shared(dims="machine")
    def known(cores):
        return cores / cores.sum()

    @boat.node(over="machine")
    def seconds(known):
        return 1.0 * known

    dag = distributed(seconds, known)
    got = means(dag, "seconds", dag.inputs(encoded(dag)))
    np.testing.assert_allclose(got[0], np.tile(CORES / CORES.sum(), (2, 1)))


def test_a_shared_vector_needs_its_dims():
    @boat.shared(dims="machine")
    def wrong():
        return pm.LogNormal("w", 0, 1, shape=2)

    @boat.node(over="machine")
    def seconds(wrong):
        return wrong

    with pytest.raises(
        boat.ModelError, match=r"returns shape \(2,\), expected shape \(3,\) for dims=\('machine',\)"
    ):
        distributed(seconds, wrong)


# -- derived ------------------------------------------------------------------------------


def test_derived_over_and_derived_with_dims_agree():
    @boat.derived(over="machine")
    def load(share, cores):
        return share / cores

    @boat.derived(dims="machine")
    def load_too(share, cores):
        return share / cores

    @boat.node(over="machine")
    def seconds(load, load_too):
        return load + load_too

    dag = distributed(seconds, load, load_too)
    values = dag.inputs(encoded(dag))
    for name in ("load", "load_too"):
        values[name] = dag.evaluate_derived(name, values)
        np.testing.assert_allclose(values[name][0], np.array(SHARES) / CORES)
    np.testing.assert_allclose(means(dag, "seconds", values)[0], 2 * np.array(SHARES) / CORES)
    assert dag.inputs_of("seconds") == ("share", "cores")


# -- several dims -------------------------------------------------------------------------


def test_over_several_dims():
    disks = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    @boat.node(over=["machine", "disk"])
    def seconds(share, speed_of_disk, size):
        return share * 100 + speed_of_disk * 10 + size

    @boat.node(over="disk")
    def per_disk(seconds, size):
        return seconds.sum() + size

    dag = distributed(
        seconds,
        per_disk,
        coords={"machine": NAMES, "disk": ["x", "y"]},
        data={"speed_of_disk": (("machine", "disk"), disks), "size": ("disk", [0.25, 0.5])},
    )
    assert dag.sources["seconds"].shape == (3, 2)
    values = dag.inputs(encoded(dag))
    one = np.array(SHARES)[:, :, None] * 100 + disks * 10 + np.array([0.25, 0.5])
    np.testing.assert_allclose(means(dag, "seconds", values)[0], one)
    values["seconds"] = one[None]
    np.testing.assert_allclose(means(dag, "per_disk", values)[0], one.sum(axis=1) + np.array([0.25, 0.5]))


def test_dims_in_another_order_than_over():
    @boat.node(over=["disk", "machine"])
    def seconds(grid):
        return 1.0 * grid

    grid = np.arange(6.0).reshape(3, 2)
    data = {"grid": (("machine", "disk"), grid)}
    dag = distributed(seconds, coords={"machine": NAMES, "disk": ["x", "y"]}, data=data)
    np.testing.assert_array_equal(means(dag, "seconds", dag.inputs(encoded(dag)))[0][0], grid.T)


# -- residual inputs and tables -----------------------------------------------------------


def trials(*measurements):
    return [
        Trial(i, {"share": SHARES[i], "batch": (4, 16)[i]}, {}, State.PARTIAL, m)
        for i, m in enumerate(measurements)
    ]


def test_an_elements_share_and_its_features_are_residual_inputs():
    node = boat.node(over="machine", residual=boat.GP(inputs=["share", "cores"]))(compute_time.function)
    dag = distributed(node)
    rows = every_row(2, ("machine",), dag.sizes)
    Z = residual_features(
        dag,
        dag.nodes["compute_time"],
        dag.inputs(encoded(dag)),
        encoded(dag),
        {},
        {"cores": Transform()},
        rows,
    )
    expected = np.column_stack([np.ravel(SHARES), np.tile((CORES - 2) / 6, 2)])
    np.testing.assert_allclose(Z[0], expected, atol=1e-9)


def test_a_subset_arrives_as_zeros_and_ones_and_is_a_residual_input():
    """One element's is 0 or 1; the whole is a column for each element, as the space scales them."""

    @boat.node(over="machine")
    def busy(works, cores):
        return works * cores

    @boat.node
    def working(works):
        return works.sum()

    space = boat.Space(works=boat.Subset(3, dim="machine", least=1))
    dag = boat.DAGModel(space, [busy, working], coords={"machine": NAMES}, data={"cores": ("machine", CORES)})
    on = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    rows = [{"works": one.astype(bool).tolist()} for one in on]
    unit = space.encode(rows)
    np.testing.assert_array_equal(means(dag, "busy", dag.inputs(unit))[0], on * CORES)
    np.testing.assert_array_equal(means(dag, "working", dag.inputs(unit))[0], [2.0, 1.0])
    told = [Trial(i, row, {}, State.PARTIAL, {"busy": CORES, "working": 1.0}) for i, row in enumerate(rows)]
    by_node = tables(dag, measured(dag, told))
    assert (dag.inputs_of("busy"), dag.inputs_of("working")) == (("works", "cores"), ("works",))
    np.testing.assert_array_equal(by_node["busy"].Z[:, 0], on.ravel())
    np.testing.assert_allclose(by_node["working"].Z, on / np.sqrt(3))
    alone = boat.DAGModel(boat.Space(works=boat.Subset(3)), [working])
    assert alone.sources["works"].dims == ("works_member",)


def test_an_elements_derived_quantity_is_a_residual_input():
    """One element's where the node is written over the dim, elsewhere a column for each element."""

    @boat.derived(dims="machine")
    def samples(share, batch):
        return share * batch

    each = boat.node(over="machine", residual=boat.GP(inputs=["samples"]))(compute_time.function)
    whole = boat.node(residual=boat.GP(inputs=["samples"]))(lambda_named(lambda batch: batch))
    dag = distributed(samples, each, whole)
    data = measured(dag, trials({"compute_time": np.ones(3), "user": 1.0}, {"user": 2.0}))
    by_node, item = tables(dag, data), dag.nodes["user"].inputs[0]
    expected = (np.array(SHARES) * [[4.0], [16.0]] - item.center) / item.width
    np.testing.assert_allclose(by_node["compute_time"].Z, expected[0][:, None], rtol=1e-9)
    np.testing.assert_allclose(by_node["user"].Z, expected, rtol=1e-9)
    np.testing.assert_array_equal(by_node["user"].groups, [0, 0, 0])


def test_a_missing_element_drops_only_its_row():
    dag = distributed(compute_time, slowest, step)
    first = {"compute_time": np.array([1.0, np.nan, 3.0]), "step": 3.0}
    second = {"compute_time": np.array([4.0, 5.0, 6.0]), "step": 6.0}
    data = measured(dag, trials(first, second))
    by_node = tables(dag, data)
    np.testing.assert_array_equal(by_node["compute_time"].natural, [1, 3, 4, 5, 6])
    np.testing.assert_array_equal(by_node["compute_time"].rows.elements["machine"], [0, 2, 0, 1, 2])
    np.testing.assert_array_equal(by_node["compute_time"].trials, [0, 0, 1, 1, 1])
    np.testing.assert_allclose(by_node["compute_time"].wires[Key("cores", ())], CORES[[0, 2, 0, 1, 2]])
    assert by_node["compute_time"].unused == {}
    np.testing.assert_array_equal(by_node["step"].natural, [6.0])
    np.testing.assert_array_equal(by_node["step"].wires[Key("slowest", ())], [6.0])
    assert by_node["step"].unused == {"compute_time missing": (0,)}


def test_a_missing_element_of_a_parent_drops_the_childs_row_of_that_element():
    @boat.node(over="machine")
    def cost(compute_time):
        return compute_time

    dag = distributed(compute_time, cost)
    full = np.array([7.0, 8.0, 9.0])
    data = measured(dag, trials({"compute_time": np.array([1.0, np.nan, np.nan]), "cost": full}))
    table = tables(dag, data)["cost"]
    np.testing.assert_array_equal(table.natural, [7.0])
    assert table.unused == {"compute_time missing": (0, 0)}
