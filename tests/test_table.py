"""Tables: which rows a node is fitted from, what stands in them, and why others are not used."""

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.graph import NodeGraph
from boatppl.measurement import MeasurementError
from boatppl.rows import every_row
from boatppl.table import feature_groups, measured, residual_features, tables, transform_of
from boatppl.transform import Transform
from boatppl.trial import State, Trial
from boatppl.wiring import Key

SPACE = boat.Space(
    young_mb=boat.Float(4, 64, log=True),
    gc=boat.Categorical(["serial", "g1"]),
    load=boat.Context(1_000, 9_000),
)


@boat.derived
def eden_mb(young_mb):
    return young_mb / 2


@boat.node(transform="log")
def gc_rate(eden_mb):
    return pm.Uniform("malloc_rate", 0, 5000) / eden_mb


@boat.node(transform="sqrt")
def full_rate(young_mb):
    return pm.HalfNormal("promoted", 1) / young_mb


@boat.node(transform="log", residual=boat.GP(inputs=["gc_rate", "gc", "load"]))
def p99(gc_rate, full_rate):
    return pm.LogNormal("base", 0, 1) + gc_rate + full_rate


DAG = boat.DAGModel(SPACE, [eden_mb, gc_rate, full_rate, p99])


def trial(number, young_mb=16.0, gc="serial", load=5_000.0, **measurements):
    configuration = {"young_mb": young_mb, "gc": gc}
    return Trial(number, configuration, {"load": load}, State.PARTIAL, measurements)


def test_rows_hold_what_was_measured_and_what_arrived():
    data = measured(DAG, [trial(3, 16.0, gc_rate=2.0), trial(5, 32.0, gc_rate=1.0)])
    table = tables(DAG, data)["gc_rate"]
    np.testing.assert_array_equal(table.trials, [3, 5])
    np.testing.assert_array_equal(table.natural, [2.0, 1.0])
    np.testing.assert_allclose(table.y, np.log([2.0, 1.0]))
    np.testing.assert_allclose(table.wires[Key("eden_mb", ())], [8.0, 16.0])
    np.testing.assert_allclose(table.Z, [[0.5], [0.75]])  # log scale: 16 is half-way from 4 to 64
    assert len(table) == 2
    assert table.unused == {}


def test_residual_columns_are_scaled_and_grouped():
    graph = DAG.nodes["p99"]
    np.testing.assert_array_equal(feature_groups(DAG, graph), [0, 1, 1, 2])
    rows = [trial(0, gc="g1", load=3_000.0, gc_rate=2.0, full_rate=0.0, p99=9.0)]
    [Z] = tables(DAG, measured(DAG, rows))["p99"].Z
    item = graph.inputs[0]
    root = 1 / np.sqrt(2)
    np.testing.assert_allclose(Z, [(np.log(2.0) - item.center) / item.width, 0.0, root, 0.25])


def test_missing_measurements_drop_only_what_needs_them():
    rows = [
        trial(0, gc_rate=2.0, full_rate=0.0, p99=9.0),
        trial(1, gc_rate=2.0, full_rate=0.0),
        trial(2, full_rate=0.0, p99=9.0),
        trial(3, p99=9.0),
        trial(4, gc_rate=3.0, p99=9.0),
    ]
    by_node = tables(DAG, measured(DAG, rows))
    np.testing.assert_array_equal(by_node["gc_rate"].trials, [0, 1, 4])
    np.testing.assert_array_equal(by_node["full_rate"].trials, [0, 1, 2])
    np.testing.assert_array_equal(by_node["p99"].trials, [0])
    assert by_node["p99"].unused == {
        "gc_rate missing": (2,),
        "gc_rate and full_rate missing": (3,),
        "full_rate missing": (4,),
    }


def test_zeros_are_measurements_where_the_transform_takes_them():
    by_node = tables(DAG, measured(DAG, [trial(0, full_rate=0.0), trial(1, gc_rate=0.0)]))
    np.testing.assert_array_equal(by_node["full_rate"].y, [0.0])
    assert len(by_node["gc_rate"]) == 0
    assert by_node["gc_rate"].unused == {"outside the domain of transform 'log'": (1,)}


def test_a_derived_value_that_is_not_finite_is_named():
    @boat.derived
    def pause_share(gc_rate):
        return 1 / (gc_rate - 2.0)

    @boat.node
    def cost(pause_share):
        return pause_share

    dag = boat.DAGModel(SPACE, [eden_mb, gc_rate, pause_share, cost])
    table = tables(dag, measured(dag, [trial(0, gc_rate=2.0, cost=1.0), trial(1, cost=1.0)]))["cost"]
    assert table.unused == {"pause_share not finite": (0,), "gc_rate missing": (1,)}


def test_a_derived_residual_input_is_scaled_the_same_whatever_is_measured():
    @boat.derived(transform="log")
    def spare(gc_rate, young_mb):
        return gc_rate * young_mb - 4.0

    @boat.node(residual=boat.GP(inputs=["spare", "gc"]))
    def cost(young_mb):
        return young_mb

    dag = boat.DAGModel(SPACE, [eden_mb, gc_rate, spare, cost])
    rows = [trial(i, gc_rate=rate, cost=1.0) for i, rate in enumerate([2.0, 9.0, 0.2])] + [trial(3, cost=1.0)]
    table = tables(dag, measured(dag, rows))["cost"]
    item = dag.nodes["cost"].inputs[0]
    np.testing.assert_allclose(table.Z[:, 0], (np.log([28.0, 140.0]) - item.center) / item.width)
    np.testing.assert_array_equal(tables(dag, measured(dag, rows[1:2]))["cost"].Z, table.Z[1:])
    assert table.unused == {"spare not finite": (2,), "gc_rate missing": (3,)}


def test_latent_quantities_of_nodes_miss_what_their_nodes_miss():
    @boat.shared
    def strain(gc_rate, eden_mb):
        return gc_rate * eden_mb * pm.LogNormal("factor", 0, 1)

    @boat.node(transform="log")
    def pause(strain):
        return strain

    dag = boat.DAGModel(SPACE, [eden_mb, gc_rate, strain, pause])
    assert dag.inputs_of("pause") == ("gc_rate", "young_mb")
    table = tables(dag, measured(dag, [trial(0, gc_rate=2.0, pause=1.0), trial(1, pause=1.0)]))["pause"]
    np.testing.assert_array_equal(table.wires[Key("gc_rate", ())], [2.0])
    assert table.unused == {"gc_rate missing": (1,)}


def test_no_trials_give_empty_tables_of_the_right_shape():
    table = tables(DAG, measured(DAG, []))["p99"]
    assert [array.shape for array in table.arguments()] == [(0,), (0, 4), (4,), (0,), (0,)]
    assert table.unused == {}


def test_measurements_of_another_shape_are_an_error():
    with pytest.raises(MeasurementError, match=r"trial 4 measured gc_rate with shape \(2,\), expected \(\)"):
        measured(DAG, [trial(4, gc_rate=np.array([1.0, 2.0]))])


def test_a_trial_needs_its_context():
    without = Trial(2, {"young_mb": 16.0, "gc": "g1"}, {}, State.PARTIAL, {"gc_rate": 1.0})
    with pytest.raises(boat.ModelError, match="trial 2 has no value of the context 'load'"):
        measured(DAG, [without])


def test_a_generic_node_is_standardised_by_its_measurements_and_its_children_see_that():
    parent = boat.generic("pause", ["young_mb"], transform="log")
    child = boat.generic("cost", ["pause", "gc"])
    dag = boat.DAGModel(SPACE, [parent, child])
    pauses = np.array([1.0, 2.0, 8.0])
    rows = [trial(i, pause=value, cost=float(i)) for i, value in enumerate(pauses)]
    data = measured(dag, rows)
    by_node = tables(dag, data)
    logs = np.log(pauses)
    expected = (logs - logs.mean()) / logs.std()
    np.testing.assert_allclose(by_node["pause"].y, expected)
    np.testing.assert_allclose(by_node["cost"].Z[:, 0], (expected + 2) / 4)
    assert transform_of(dag, "pause", data).kind == "log"


@pytest.mark.parametrize(("values", "spread"), [([5.0], 5.0), ([0.2, 0.2], 0.2), ([], 1.0)])
def test_standardising_few_or_equal_measurements(values, spread):
    dag = boat.DAGModel(SPACE, [boat.generic("cost", ["young_mb"])])
    data = measured(dag, [trial(i, cost=value) for i, value in enumerate(values)])
    assert transform_of(dag, "cost", data).spread == spread


def test_features_of_draws_broadcast_over_draws():
    graph: NodeGraph = DAG.nodes["p99"]
    unit = SPACE.encode([{"young_mb": 16.0, "gc": "g1"}] * 2)
    rates = np.exp(np.arange(6.0)).reshape(3, 2)
    values = {**DAG.inputs(unit, {"load": 1_000.0}), "gc_rate": rates}
    rows = every_row(2, (), {})
    Z = residual_features(
        DAG, graph, values, unit, {"load": np.full(2, 1e3)}, {"gc_rate": Transform("log")}, rows
    )
    assert Z.shape == (3, 2, 4)
    item = graph.inputs[0]
    np.testing.assert_allclose(Z[..., 0], (np.arange(6.0).reshape(3, 2) - item.center) / item.width)
    np.testing.assert_allclose(Z[..., 3], 0.0)
