"""Scheduling distributed SGD: schedules, clusters, the simulation's physics, the model and its peers."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from boatppl.propagate import prior
from boatppl.rows import arrive, every_row
from boatppl.suggest import Goal, Improvement
from boatppl.transform import Transform
from models.sgd_scheduling import simulator, transfer
from models.sgd_scheduling.best_known import TABLE, best_known, read, schedule_in, typical, typically_best
from models.sgd_scheduling.best_known import main as best_known_main
from models.sgd_scheduling.cluster import BYTES_PER_GBIT, make_cluster
from models.sgd_scheduling.compare import best_so_far, summary, trials_of
from models.sgd_scheduling.measurements import observed
from models.sgd_scheduling.model import scheduling_model
from models.sgd_scheduling.peers import k_fastest
from models.sgd_scheduling.schedule import Schedule, configuration_of, schedule_of, whole_samples
from models.sgd_scheduling.simulator import INCAST, Simulation, _flow_rates
from models.sgd_scheduling.spaces import space

FOLDER = Path(simulator.__file__).parent


# -- schedules ----------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=30).filter(lambda w: sum(w) > 1e-3), st.integers(1, 5000)
)
def test_whole_samples_sum_to_the_batch_and_are_within_one_of_their_share(weights, batch):
    samples = whole_samples(np.array(weights), batch)
    assert samples.sum() == batch
    assert (np.abs(samples - batch * np.array(weights) / np.sum(weights)) < 1 + 1e-6).all()


def test_a_configuration_reads_as_the_schedule_that_wrote_it():
    written = configuration_of([True, False, True], [False, True, True], [1, 5, 3])
    schedule = schedule_of(space(3).validate(written), 80)
    assert schedule.samples.tolist() == [20, 0, 60]
    assert schedule.serves.tolist() == [False, True, True]
    assert schedule.works.tolist() == [True, False, True]


def test_an_empty_role_is_an_error_and_no_configuration():
    with pytest.raises(ValueError, match="3 workers and 0 servers"):
        Schedule(np.array([1, 2, 3]), np.zeros(3, bool))
    machines = space(3)
    idle = machines.default | {"works": [False] * 3}
    with pytest.raises(ValueError, match="works must take at least 1 of 3, got 0"):
        machines.validate(idle)
    with pytest.raises(ValueError, match="nobody works"):
        schedule_of(idle, 80)


@pytest.mark.parametrize("n", [3, 30])
def test_the_default_is_equal_shares_with_everyone_working_and_serving(n):
    schedule = schedule_of(space(n).default, 10 * n)
    assert (schedule.samples == 10).all()
    assert schedule.serves.all()


# -- clusters -----------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "seed"), [(10, 0), (10, 1), (10, 2), (30, 0), (100, 0), (300, 0)])
def test_the_catalogue_misleads_by_30_percent_and_ranks_are_uncorrelated(n, seed):
    cluster = make_cluster(n, seed)
    for truth in (cluster.speed / cluster.suggested_speed, cluster.down / (BYTES_PER_GBIT * cluster.gbit)):
        assert ((truth <= 0.7) | (truth >= 1.3 * 0.9)).all()
    assert (np.abs(cluster.speed / cluster.suggested_speed - 1) >= 0.3).all()
    assert abs(spearmanr(cluster.speed, cluster.down).statistic) < 0.2


def test_a_seed_is_a_cluster():
    assert (make_cluster(10, 3).speed == make_cluster(10, 3).speed).all()
    assert not np.allclose(make_cluster(10, 3).speed, make_cluster(10, 4).speed)


# -- the simulation -----------------------------------------------------------------------


def rates(src, dst, up, down):
    rate = np.empty(len(src))
    _flow_rates(
        np.array(src), np.array(dst), np.ones(len(src)), np.array(up, float), np.array(down, float), rate
    )
    return rate


def test_flows_share_links_max_min_fairly():
    # a link of 9 MB/s with three flows, one held to 1 MB/s by its far end: the others share the rest
    got = rates([0, 0, 0], [1, 2, 3], [9e6, 9, 9, 9], [1e8, 1e6, 1e8, 1e8])
    full = 9e6 / (1 + INCAST * np.log(3))
    np.testing.assert_allclose(got, [1e6, (full - 1e6) / 2, (full - 1e6) / 2])


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_no_link_is_overfull_and_every_flow_has_a_full_one_on_which_none_is_faster(seed):
    rng = np.random.default_rng(seed)
    n = 6
    src, dst = np.nonzero(rng.random((n, n)) < 0.6)
    src, dst = src[src != dst], dst[src != dst]
    up, down = rng.uniform(1e6, 2e7, n), rng.uniform(1e6, 2e7, n)
    got = rates(src, dst, up, down)
    full = {}
    for ends, capacity in ((src, up), (dst, down)):
        for machine in range(n):
            mine = got[ends == machine]
            limit = capacity[machine] / (1 + INCAST * np.log(max(len(mine), 1)))
            assert mine.sum() <= limit * (1 + 1e-9)
            full[id(ends), machine] = mine.sum() > limit * (1 - 1e-9), mine.max(initial=0)
    for f, rate in enumerate(got):
        ends = [full[id(src), src[f]], full[id(dst), dst[f]]]
        assert any(is_full and rate >= fastest * (1 - 1e-9) for is_full, fastest in ends)


def alone(**changes):
    cluster = make_cluster(10, 0)
    return Simulation(replace(cluster, **changes))


def test_one_worker_and_one_other_server_take_what_arithmetic_says():
    simulation = alone()
    c = simulation.cluster
    on = np.eye(10, dtype=bool)
    got = simulation.exact(configuration_of(on[2], on[4], on[2]))
    transfer = c.parameter_bytes / min(c.up[4], c.down[2]) + c.parameter_bytes / min(c.up[2], c.down[4])
    work = c.batch * (1 + 0.4 * (c.batch / c.memory[2] - 1)) + c.startup[2]
    compute = work / c.speed[2] + c.dispatch[2] + simulator.CALL_S
    total = transfer + compute + c.parameter_bytes / c.summing[4]
    assert got["transfer_time"][2] == pytest.approx(
        transfer, rel=0.01
    )  # flows end within a share of their end
    assert got["compute_time"][2] == pytest.approx(compute, rel=1e-6)
    assert got["iteration_time"] == pytest.approx(total, rel=0.01)
    assert np.isnan(np.delete(got["compute_time"], 2)).all()


def test_a_machine_that_serves_itself_transfers_nothing():
    on = np.eye(10, dtype=bool)[3]
    assert alone().exact(configuration_of(on, on, on))["transfer_time"][3] == 0


def test_times_scale_as_seconds_do():
    cluster = make_cluster(10, 1)
    twice = {name: 2 * getattr(cluster, name) for name in ("speed", "up", "down", "summing")}
    half = {"wire_cost": cluster.wire_cost / 2, "dispatch": cluster.dispatch * 0}
    slow = Simulation(replace(cluster, dispatch=cluster.dispatch * 0)).exact(space().default)
    fast = Simulation(replace(cluster, **twice, **half)).exact(space().default)
    assert fast["iteration_time"] == pytest.approx(slow["iteration_time"] / 2, rel=0.01)  # calls do not scale


def test_a_workers_time_is_pull_compute_push_and_barrier():
    got = Simulation(make_cluster(10, 2)).exact(space().default)
    parts = sum(got[name] for name in ("pull_time", "compute_time", "push_time", "barrier_time"))
    np.testing.assert_allclose(parts, got["iteration_time"])
    np.testing.assert_allclose(got["transfer_time"], got["pull_time"] + got["push_time"])
    assert np.nanmin(got["barrier_time"]) > 0


def test_noise_is_a_function_of_seed_and_call():
    runs = [Simulation(make_cluster(10, 2), seed=s) for s in (7, 7, 8)]
    first = [run(space().default)["iteration_time"] for run in runs]
    assert first[0] == first[1] != first[2]
    assert runs[0](space().default)["iteration_time"] != first[0]
    assert first[0] == pytest.approx(runs[0].exact(space().default)["iteration_time"], rel=0.15)


def test_the_best_known_schedule_is_much_better_than_the_default_and_adds_up():
    simulation = Simulation(make_cluster(10, 2))
    best = best_known(simulation, evaluations=3000, restarts=2)
    assert best.seconds == simulation.measure(best.schedule, None)["iteration_time"]
    assert best.seconds < 0.5 * simulation.exact(space().default)["iteration_time"]
    assert best.schedule.samples.sum() == simulation.cluster.batch


def test_a_schedule_that_runs_measure_least_is_another_than_that_without_noise():
    simulation = Simulation(make_cluster(10, 2), seed=5)
    schedule = best_known(simulation, evaluations=3000, restarts=2).schedule
    seconds = typical(simulation, schedule)
    assert seconds > 1.02 * simulation.measure(schedule, None)["iteration_time"]
    again = Simulation(make_cluster(10, 2), seed=6)
    assert typical(again, schedule) == seconds  # whatever the study's own noise is
    assert seconds == pytest.approx(typical(simulation, schedule, runs=200), rel=0.03)
    least, found = typically_best(simulation, schedule, evaluations=2000)
    assert least == typical(simulation, found) <= seconds


# -- the peers ----------------------------------------------------------------------------


def test_k_fastest_goes_by_measured_speed_and_equalises_it():
    simulation = Simulation(make_cluster(10, 0))
    schedules = list(k_fastest(10, simulation.exact(space().default), 0))
    assert len(schedules) == 10
    for k, configuration in zip(range(10, 0, -1), schedules, strict=True):
        schedule = simulation.schedule(space().validate(configuration))
        assert schedule.works.sum() == schedule.serves.sum() == k
        assert (schedule.works == schedule.serves).all()
    top = simulation.schedule(schedules[-1]).works.argmax()
    assert top == simulation.cluster.speed.argmax()
    times = simulation.exact(schedules[0])["compute_time"]
    assert np.ptp(times) < 0.5 * np.ptp(simulation.exact(space().default)["compute_time"])


def test_best_so_far_is_the_exact_value_of_what_measured_best():
    rows = [{"trial": i, "measured": m, "exact": e} for i, (m, e) in enumerate([(5, 6), (4, 7), (4.5, 1)])]
    assert best_so_far(rows) == [6, 7, 7]


def test_a_climb_goes_on_from_a_table_and_never_makes_it_worse(tmp_path):
    table = tmp_path / "known.csv"
    given = ["--machines", "40", "--seeds", "1", "--restarts", "1", "--table", str(table)]
    best_known_main([*given, "--evaluations", "1600"])
    (before,) = read(table)
    best_known_main([*given, "--evaluations", "400"])  # it is there, and left alone
    assert read(table) == [before]
    best_known_main([*given, "--evaluations", "400", "--further"])
    (after,) = read(table)
    assert float(after["seconds"]) < float(before["seconds"])
    assert after["evaluations"] == "2000"
    assert {key for key in after if after[key] != before[key]} <= {
        *("seconds", "samples", "serves", "evaluations")
    }
    seconds = Simulation(make_cluster(40, 0)).measure(schedule_in(after), None)["iteration_time"]
    assert seconds == pytest.approx(float(after["seconds"]), abs=1e-4)


def test_the_best_known_schedule_is_the_best_whoever_found_it():
    run = {"machines": "10", "seed": "0", "tuner": "random", "ask_s": "0"}
    found = [{"trial": "0", "measured": "9", "exact": "9", "typical": "9"}]
    found.append({"trial": "1", "measured": "1", "exact": "1", "typical": "1"})  # of 2.4 s that are on file
    without_noise = summary([run | row for row in found], 10)[2]
    assert "+0%" in without_noise
    assert without_noise.endswith(" 2")


# -- the model ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return scheduling_model(space(), make_cluster(10, 0))


def at(model, name, configuration, values=(), **variables):
    """A node's parametric part ``(row,)`` in its unit, given draws of its variables by name."""
    unit = model.space.encode([model.space.validate(configuration)])
    known = model.inputs(unit) | dict(values)
    known.setdefault("assigned", model.evaluate_derived("assigned", known))
    graph = model.nodes[name]
    rows = every_row(1, graph.node.over, model.sizes)
    wires = arrive(known, graph.evaluator.keys, model.sources, rows)
    drawn = {key: np.array([value], float) for key, value in variables.items()}
    for variable in graph.evaluator.variables:
        drawn.setdefault(variable, np.ones(1))
    mean, _ = graph.evaluator(drawn, wires, rows.elements, len(rows))
    return model.nodes[name].node.transform, np.broadcast_to(mean, (1, len(rows)))[0]


def test_the_model_assigns_what_the_scheduler_does(model):
    configuration = configuration_of([1] * 4 + [0] * 6, [1] * 10, np.arange(1, 11))
    unit = model.space.encode([model.space.validate(configuration)])
    assigned = model.evaluate_derived("assigned", model.inputs(unit))[0, 0]
    scheduled = schedule_of(configuration, make_cluster(10, 0).batch).samples
    np.testing.assert_allclose(assigned, scheduled, atol=1)
    assert model.inputs_of("compute_time") == ("assigned",)


def test_the_models_times_are_work_over_speed_and_bytes_over_the_slowest_link(model):
    samples, speed = np.arange(10.0) * 50, np.linspace(20, 400, 10)
    seconds = np.exp(
        at(
            model,
            "compute_time",
            space().default,
            {"assigned": samples[None, None]},
            machine_speed=speed,
            overhead_s=0.5,
        )[1]
    )
    np.testing.assert_allclose(seconds, 0.5 + samples / speed)
    bandwidth = np.array([50.0] + [1000.0] * 9)
    on = np.arange(10) > 0
    for serves, slowest in ((on | True, 100 / 50), (on, 10 / 9 * 100 / 1000)):
        configuration = configuration_of([1] * 10, serves, [1] * 10)
        [pull] = np.exp(at(model, "shortest_pull", configuration, link_bandwidth=bandwidth)[1])
        assert slowest <= pull < 1.09 * slowest
        known = {"shortest_pull": np.array([[pull]])}
        drawn = {"link_bandwidth": bandwidth, "transfer_time::pushes_crowded": 0.0}
        seconds = np.exp(at(model, "transfer_time", configuration, known, **drawn)[1])
        np.testing.assert_allclose(seconds, np.maximum(100 / bandwidth, pull) + 100 / bandwidth)


def test_what_is_observed_can_be_told_of_any_schedule(model):
    on = np.eye(10, dtype=bool)[3]  # its own server: nothing moves
    for configuration in (space().default, configuration_of(on, on, on)):
        told = observed(Simulation(make_cluster(10, 0)))(configuration)
        assert set(model.nodes) <= set(told)
        for name, node in model.nodes.items():
            values = np.asarray(told[name])
            assert np.isfinite(Transform(node.node.transform).forward(values[np.isfinite(values)])).all()
    assert np.isfinite(told["compute_time"]).tolist() == on.tolist()


def test_the_model_sees_the_catalogue_only(model):
    assert set(model.data) == {"cores", "ghz", "gbit", "batch", "parameters_mb"}


def test_a_worker_whose_share_rounds_to_nothing_holds_nobody_up(model):
    configuration = configuration_of(np.ones(10), np.ones(10), np.where(np.arange(10) == 3, 1e-6, 1.0))
    told = observed(Simulation(make_cluster(10, 0)))(configuration)
    assert np.isnan(told["compute_time"]).tolist() == (np.arange(10) == 3).tolist()
    unit = model.space.encode([model.space.validate(configuration)])
    known = {name: told[name][None, None] for name in ("compute_time", "transfer_time")}
    known["assigned"] = model.evaluate_derived("assigned", model.inputs(unit))
    slowest = model.evaluate_derived("slowest_worker", known)
    np.testing.assert_allclose(slowest, np.nanmax(told["compute_time"] + told["transfer_time"]))


def test_the_whole_batch_is_done_however_small_the_shares_of_the_workers(model):
    shares = np.where(np.arange(10) == 3, 1.0, 1e-11)  # only the idle machine has one
    configuration = configuration_of(np.arange(10) < 2, np.ones(10), shares)
    unit = model.space.encode([model.space.validate(configuration)])
    assigned = model.evaluate_derived("assigned", model.inputs(unit))
    assert assigned.sum() == pytest.approx(make_cluster(10, 0).batch)
    assert schedule_of(configuration, 100).samples.sum() == 100


def test_a_search_reads_the_residual_over_machines_from_a_table_and_sees_the_same(model):
    believed = prior(model, 16, seed=1)
    luck, points = believed.luck(2), model.space.sample(3, 3)
    _, exact = believed.realise(points, "iteration_time", luck, 4)
    search = exact.to_search()
    assert search.nodes["compute_time"].tabulated is not None
    unit = model.space.sample(20, 5)
    assert np.ptp(exact.nodes["compute_time"].residual.predict(np.linspace(0, 1, 9)[:, None])[0]) > 0.1
    forward, read = (one.propagate(unit, "iteration_time", luck) for one in (exact, search))
    (mean, _), (read_mean, _) = forward.objective(), read.objective()
    assert np.abs(read_mean - mean).max() < 1e-3  # of a log: a thousandth of the time
    slope, read_slope = (
        one.pullback(found, luck, np.ones_like(mean), np.zeros_like(mean))
        for one, found in ((exact, forward), (search, read))
    )
    assert np.abs(read_slope - slope).max() < 1e-2 * np.abs(slope).max()


def test_the_improvement_has_a_slope_where_the_objective_has_no_residual(model):
    """Every draw knows the iteration's time: where none gains, only smoothing says which way is up."""
    believed, space = prior(model, 16, seed=1), model.space
    assert believed.nodes["iteration_time"].predictor is None
    run, unit = space.sample(3, 3), space.sample(4, 5)
    improvement = Improvement(believed, Goal("iteration_time"), run, run[:0], 3)
    improvement.best = improvement.best - 10.0  # of a log: out of reach
    values, slopes = improvement.with_gradient(unit)
    np.testing.assert_allclose(values, improvement(unit))
    assert np.isfinite(values).all()
    shares = space.slices["share"]
    assert (np.abs(slopes[:, shares]).max(axis=1) > 1e-3).all()
    for j in range(shares.start, shares.stop):
        step = 1e-6 * np.eye(space.dimension)[j]
        expected = (improvement(unit + step) - improvement(unit - step)) / 2e-6
        np.testing.assert_allclose(slopes[:, j], expected, rtol=1e-3, atol=1e-3 * np.abs(slopes).max())


@pytest.mark.nightly
def test_five_trials_of_a_hundred_simulated_machines_come_near_the_best_known_schedule(tmp_path):
    rows = trials_of("structured", 100, 0, tmp_path, None)
    known = {row["seed"]: float(row["seconds"]) for row in read(TABLE) if row["machines"] == "100"}
    assert best_so_far(rows)[4] < 1.25 * known["0"]
    assert best_so_far(rows)[-1] < 1.10 * known["0"]


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 2])
def test_ten_trials_of_a_simulated_cluster_come_near_the_best_known_schedule(tmp_path, seed):
    rows = trials_of("structured", 10, seed, tmp_path, None)
    known = {row["seed"]: float(row["seconds"]) for row in read(TABLE) if row["machines"] == "10"}
    assert best_so_far(rows)[-1] < 1.15 * known[str(seed)]


@pytest.mark.nightly  # four studies of a large model: half a minute
def test_the_other_network_runs_on_the_same_machines():
    first = make_cluster(4, 0)
    second = transfer.other_network(first)
    assert (second.parameter_bytes, second.batch) == (3 * first.parameter_bytes, first.batch // 2)
    np.testing.assert_array_equal(second.speed, first.speed)
    earlier, _ = transfer.tuned(first, noise=0, seed=0, trials=3)
    study, seconds = transfer.tuned(second, noise=1, seed=1, trials=2, prior_from=earlier)
    assert {"machine_speed", "link_bandwidth"} <= {*study.model.inherited.unknowns}
    assert len(seconds) == 2
    assert seconds[1] < seconds[0]


def test_the_saving_is_counted_in_trials_to_5_percent():
    rows = [
        {"seed": "0", "prior_from": way, "recommended": str(value), "best_known": "2.0"}
        for way, path in (("no", [4.0] * 5 + [2.08] * 5), ("yes", [4.0] + [2.1] * 9))
        for value in path
    ]
    without, with_it = transfer.summary(rows)
    assert "best known after 2, 4, 10 trials: 100%, 100%, 4% (medians); trials to 5 %: 6" in without
    assert with_it.endswith("trials to 5 %: 2")


def test_the_simulation_is_frozen():
    """The model was written after it: a change here makes every recorded figure void."""
    frozen = {
        "simulator.py": "b96eee3667b0ac7c",
        "cluster.py": "9c638899fccc4caf",
    }
    for name, digest in frozen.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16] == digest
