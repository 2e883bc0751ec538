"""The bench: problems whose optimum is known, figures said rightly, and peers driven over a pipe."""

import csv
import re
import sys
from dataclasses import replace
from io import StringIO

import numba
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import boatppl as boat
from benchmarks import race
from benchmarks.censored import bootstrap, first_within, median, quantile, ratio_of_medians
from benchmarks.compare import compare, report
from benchmarks.curves import draw
from benchmarks.figures import Figure, comma_separated, markdown
from benchmarks.functions import index_space
from benchmarks.peers import environment as environments
from benchmarks.peers.peer import Peer, PeerError, gathered, spec_of, spread
from benchmarks.peers.protocol import Cube, levels
from benchmarks.plans import PLANS, QUICK, Plan
from benchmarks.problems import machines_model, machines_run, machines_space
from benchmarks.promises import run_task
from benchmarks.race import Trace, trace
from benchmarks.rows import append, read
from benchmarks.runs import COLUMNS, changes, curve, row_of, trace_of
from benchmarks.standings import (
    best_of,
    by_tuner,
    claims,
    course,
    generic_goal,
    lead,
    off,
    overall,
    recommended,
    verdict,
)
from benchmarks.suite import CASSANDRA_OPTIMUM, suite
from benchmarks.tasks import compilations
from benchmarks.tuners import ENTRANTS
from models.sgd_scheduling import best_known

PROBLEMS = suite()
INF = float("inf")


@pytest.mark.parametrize("name", PROBLEMS)
def test_nothing_is_better_than_the_optimum(name):
    problem = PROBLEMS[name]
    slow = {"cassandra": 10, "scheduling-10": 100, "scheduling-100": 40, "scheduling-300": 20}  # simulations
    n = slow.get(name, 400)
    gaps = [problem.gap(problem.nearest(configuration)) for configuration in problem.space.design(n, 0)]
    assert min(gaps) >= 0.0
    assert problem.gap(problem.nearest(problem.space.default)) > 0.1  # there is something to tune


ARGUMENTS = {
    "branin": (np.pi, 2.275),
    "camel": (0.3898, -0.4126),
    "goldstein": (0, -1),
    "hartmann3": (0.114614, 0.555649, 0.852547),
    "hartmann6": (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
    "shekel": (4.000747, 3.9995095, 4.000747, 3.9995095),
    "styblinski5": (-2.903534,) * 5,
    "michalewicz5": (2.202906, 1.570796, 1.284992, 1.923058, 1.720470),
    "griewank6": (5,) * 6,
    "levy8": (4.3,) * 8,
    "ackley10": (1.3,) * 10,
    "ellipsoid20": (1.7,) * 20,
    "dropwave": (0, 0),
    "ackley-network": (0,) * 6,
    "alpine-network": (7.91705268,) * 6,
    "rosenbrock-network": (1,) * 5,
    "branin-terms": (9.42478, 2.475),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_optima_of_the_literature_are_reached_where_it_says(name):
    problem = PROBLEMS[name]
    configuration = dict(zip(problem.space.names, map(float, ARGUMENTS[name])))
    assert problem.gap(configuration) == pytest.approx(0, abs=2e-5)


@pytest.mark.parametrize("name", ["hartmann3", "michalewicz5"])
def test_no_neighbour_of_the_best_is_better_than_the_optimum(name):
    problem, rng = PROBLEMS[name], np.random.default_rng(0)
    best = min(problem.space.design(256, 1), key=problem.gap)
    row = problem.space.encode([best])[0]
    for scale in np.repeat([0.1, 0.03, 0.01, 0.003, 0.001], 150):
        near = problem.space.snap(row + scale * rng.normal(size=(1, len(row))))
        if problem.gap(problem.space.decode(near)[0]) < problem.gap(problem.space.decode(row[None])[0]):
            row = near[0]
    assert 0 <= problem.gap(problem.space.decode(row[None])[0]) < 0.25


def test_networks_end_in_the_function_they_are_made_of():
    x = {f"x{i}": v for i, v in enumerate((0.3, -0.7, 1.1, 0.4, -1.9))}
    total = sum(100 * (x[f"x{i + 1}"] - x[f"x{i}"] ** 2) ** 2 + (1 - x[f"x{i}"]) ** 2 for i in range(4))
    assert PROBLEMS["rosenbrock-network"].truth(x) == pytest.approx(total)
    for name in ("x", "y"):
        both = {"x": 1.5, "y": 4.0} | {name: 7.0}
        assert PROBLEMS["branin-terms"].truth(both) == pytest.approx(PROBLEMS["branin"].truth(both))


@pytest.mark.parametrize("name", [n for n, p in PROBLEMS.items() if p.network and n != "jvm-recorded"])
def test_a_network_names_what_is_measured_parents_before_children(name):
    problem = PROBLEMS[name]
    known = set(problem.space.names)
    for node, inputs in problem.network.items():
        assert set(inputs) <= known
        known.add(node)
    assert set(problem.network) == set(problem.run(problem.space.default, None))
    assert list(problem.network)[-1] == problem.objective
    assert set(problem.structured(problem.space).nodes) <= set(problem.network)


def test_the_store_is_where_it_was_meant_to_be():
    problem = PROBLEMS["cassandra"]
    assert problem.truth(problem.space.default) == pytest.approx(19, abs=1)
    assert pytest.approx(7, abs=0.7) == CASSANDRA_OPTIMUM


@pytest.mark.nightly
def test_the_stores_optimum_is_the_least_of_a_brute_force_search():
    best = min(
        (PROBLEMS["cassandra"].truth({"young_mb": int(y), "survivor_ratio": r, "tenuring": t}), int(y), r, t)
        for y in np.unique(np.geomspace(128, 1280, 40).round())
        for r in (1, 2, 3, 4, 6, 8, 10, 12, 14, 16)
        for t in (0, 1, 2, 3, 4, 6, 9, 15)
    )
    _, young, ratio, tenuring = best
    around = [
        PROBLEMS["cassandra"].truth({"young_mb": y, "survivor_ratio": r, "tenuring": t})
        for y in range(max(128, young - 20), min(1280, young + 20) + 1)
        for r in range(max(1, ratio - 1), min(16, ratio + 1) + 1)
        for t in range(max(0, tenuring - 1), min(15, tenuring + 1) + 1)
    ]
    assert min(best[0], *around) >= CASSANDRA_OPTIMUM
    assert min(best[0], *around) == pytest.approx(CASSANDRA_OPTIMUM, rel=0.01)


def test_the_recorded_jvm_draws_real_runs_and_never_the_held_out_ones():
    problem = PROBLEMS["jvm-recorded"]
    somewhere = problem.nearest({"young_mb": 59, "survivor_ratio": 5, "tenuring": 9})
    assert somewhere in problem.choices
    assert problem.nearest(problem.space.default) == problem.space.default
    first, again = (problem.run(somewhere, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    drawn = {problem.run(somewhere, np.random.default_rng(seed))["p99"] for seed in range(30)}
    assert problem.truth(somewhere) not in drawn
    assert problem.space.feasible_configuration(somewhere)
    assert len(drawn) <= 3


@pytest.mark.parametrize("name", ["mixed", "collector", "index"])
def test_noise_scatters_around_the_noise_free_value(name):
    problem, rng = PROBLEMS[name], np.random.default_rng(1)
    values = [problem.run(problem.space.default, rng)[problem.objective] for _ in range(3000)]
    assert np.median(values) == pytest.approx(problem.truth(problem.space.default), rel=0.02)
    assert np.std(np.log(values)) > 0.02


def test_added_noise_is_a_share_of_the_spread_over_the_space():
    problem, rng = PROBLEMS["hartmann3+20%"], np.random.default_rng(1)
    values = [problem.run(problem.space.default, rng)["value"] for _ in range(3000)]
    spread = np.std([PROBLEMS["hartmann3"].truth(c) for c in problem.space.design(512, 0)])
    assert np.std(values) == pytest.approx(0.2 * spread, rel=0.1)
    assert np.mean(values) == pytest.approx(PROBLEMS["hartmann3"].truth(problem.space.default), abs=0.02)


def test_the_collector_is_not_the_model_that_is_written_of_it():
    space = PROBLEMS["collector"].space
    run = PROBLEMS["collector"].run
    products = []
    for configuration in space.design(50, 0):
        young, ratio = configuration["young_mb"], configuration["survivor_ratio"]
        products.append(run(configuration, None)["gc_rate"] * young * ratio / (ratio + 2))
    assert max(products) > 1.2 * min(products)


def test_machines_measure_one_value_each():
    space = machines_space(10)
    assert machines_run(space.default, None)["compute_time"].shape == (10,)
    assert machines_model(space, 10).sizes["machine"] == 10


@pytest.mark.parametrize(
    ("bound", "found", "at_least", "kept"),
    [
        (3.0, 2.9, False, "yes"),
        (3.0, 3.1, False, "no"),
        (3.0, 2.9, True, "no"),
        (None, 1.0, False, "-"),
        (3.0, None, False, "-"),
    ],
)
def test_a_promise_is_kept_or_not(bound, found, at_least, kept):
    assert Figure("p", "w", bound, found, "s", at_least=at_least).kept == kept


def test_tables_say_what_was_promised_and_found():
    figures = [
        Figure("growth", "10,000 rows", 30.0, 60.0, "s", "stopped | there", True),
        Figure("memory", "m", 50, None, "MB"),
    ]
    text = markdown(figures, {"machine": "one"})
    assert "| at most 30 s  | over 60 s    | no   |" in text
    assert "stopped \\| there" in text
    assert "not measured" in text
    assert "- machine: one" in text
    rows = list(csv.DictReader(StringIO(comma_separated(figures, {"machine": "one"}))))
    assert [row["kept"] for row in rows] == ["no", "-"]
    assert [row["machine"] for row in rows] == ["one", "one"]


@pytest.mark.parametrize(("load", "said"), [("1.9", False), ("3.0", True)])
def test_a_busy_machine_is_said_to_be_one(load, said):
    about = {"cores": "2", "load before": "0.1", "load after": load}
    assert ("times are too long" in markdown([Figure("p", "w", 1, 2, "s")], about)) is said


def test_censored_trials_count_as_never():
    assert first_within([0.3, 0.1, 0.2], 0.1) == 2.0
    assert first_within([0.3], 0.1) == INF
    assert median([1, 2, INF]) == 2.0
    assert median([1, INF]) == INF
    assert quantile([1, 2, 3, INF], 0.25) == 1.0
    assert quantile([1, 2, 3, INF], 0.75) == INF
    assert ratio_of_medians([INF, INF], [5, 5], budget=30) == pytest.approx(31 / 5)
    assert ratio_of_medians([10, 10], [INF, INF], budget=30) == 0.0


def test_the_bootstrap_covers_a_median():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        low, high = bootstrap([rng.normal(size=25)], median, seed=seed)
        covered += low <= 0.0 <= high
    assert 80 <= covered <= 99


def test_a_peer_sees_every_configuration_as_it_is():
    space = PROBLEMS["mixed"].space
    cube = Cube(spec_of(space, "latency", seed=0, n_initial=1)["space"])
    assert cube.categorical == {2: 3}
    assert cube.binary == [3]
    for configuration in space.design(50, 0):
        row = cube.encode(configuration)
        back = cube.decode(row)
        assert all(0.0 <= value <= 2.0 for value in row)
        assert back.pop("cache_mb") == pytest.approx(configuration["cache_mb"])
        assert back == {name: value for name, value in configuration.items() if name != "cache_mb"}
    assert cube.decode([1.0, 1.0, 2, 1, 0.0])["block_kb"] == 256
    codecs = {cube.uniform([0.5, 0.5, u, 0.2, 0.5])["codec"] for u in (0.0, 0.5, 1.0)}
    assert codecs == {"none", "fast", "dense"}


def test_structured_alone_is_the_model_without_the_generic_rival():
    alone, hedged = ENTRANTS["structured-alone"], ENTRANTS["structured"]
    weights = [list(entrant.tuner(PROBLEMS["dropwave"], 1, 5)._study.weights) for entrant in (alone, hedged)]
    assert weights == [["structured"], ["structured", "generic"]]
    assert not alone.takes(PROBLEMS["hartmann6"])
    assert ENTRANTS["generic"].takes(PROBLEMS["hartmann6"])


def test_a_space_no_peer_takes_is_named():
    with pytest.raises(TypeError, match="level is a Ordinal"):
        spec_of(boat.Space(level=boat.Ordinal([1, 2, 4])), "value", seed=0, n_initial=1)


def test_a_peer_sees_shares_as_weights():
    space = machines_space(3)
    spec = spec_of(space, "slowest", seed=0, n_initial=1)
    assert [item["name"] for item in spec["space"]] == ["share_0", "share_1", "share_2"]
    assert spec["default"] == pytest.approx({"share_0": 0.5, "share_1": 0.5, "share_2": 0.5})
    for configuration in space.design(20, 0):
        flat = spread(space, configuration)
        assert all(0 <= weight <= 1 for weight in flat.values())
        assert gathered(space, flat)["share"] == pytest.approx(configuration["share"])
    assert gathered(space, dict.fromkeys(spec["default"], 0.0))["share"] == [1 / 3] * 3


def test_every_seed_of_the_scheduling_is_another_cluster():
    problem = PROBLEMS["scheduling-10"]
    rows = [row for row in best_known.read(best_known.TABLE) if row["machines"] == "10"]
    for seed, row in enumerate(rows, start=1):
        cluster = problem.of(seed)
        assert (cluster.name, cluster.optimum) == (problem.name, float(row["seconds"]))
        assert cluster.truth(cluster.space.default) == pytest.approx(float(row["default"]), abs=1e-4)
    again = problem.of(len(rows) + 1)
    assert again.optimum == problem.of(1).optimum == problem.optimum
    assert PROBLEMS["branin"].of(7) is PROBLEMS["branin"]


def test_a_peer_sees_a_subset_as_booleans_and_too_small_a_one_is_the_whole():
    problem = PROBLEMS["scheduling-10"]
    names = [item["name"] for item in spec_of(problem.space, "value", seed=0, n_initial=1)["space"]]
    assert names[10:] == [f"{role}_{i}" for role in ("works", "serves") for i in range(10)]
    for configuration in problem.space.design(20, 0):
        back = gathered(problem.space, spread(problem.space, configuration))
        assert (back["works"], back["serves"]) == (configuration["works"], configuration["serves"])
    nobody = spread(problem.space, problem.space.default) | {f"works_{i}": False for i in range(10)}
    asked = gathered(problem.space, nobody)
    assert problem.nearest(asked) == problem.nearest(problem.space.default)
    item = trace(problem, "random", 1, 4)
    assert len(item.gaps) == 4
    assert min(item.gaps) > 0
    run = problem.run(problem.space.default, np.random.default_rng(0))
    assert set(problem.structured(problem.space).nodes) <= set(run)


def test_a_peer_is_asked_and_told_over_a_pipe():
    space = PROBLEMS["mixed"].space
    spec = spec_of(space, "latency", seed=3, n_initial=1)
    with Peer(sys.executable, "random_peer.py", spec) as peer:
        assert peer.ask()[0] == dict(space.default)
        peer.tell(space.default, {"latency": np.float64(9.0)})
        configuration, seconds, _ = peer.ask()
        assert space.in_range(space.validate(configuration))
        assert seconds >= 0.0
        peer.tell(configuration, {"latency": 8.0})
        assert peer.best() == configuration
        with pytest.raises(PeerError, match="KeyError"):
            peer.tell(configuration, {})
    with pytest.raises(PeerError, match="ended"):
        Peer("false", "random_peer.py", spec)


def test_an_environment_that_cannot_be_built_says_why(tmp_path, monkeypatch):
    (tmp_path / "nothing.txt").write_text("./there-is-no-such-package\n")
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / "environments")
    monkeypatch.setattr(environments, "_pythons", lambda: iter([sys.executable]))
    with pytest.raises(environments.Unavailable, match="nothing could not be installed"):
        environments.environment("nothing")


def test_compilations_are_seen():
    with compilations() as counts:
        pass
    assert counts == {"numba": 0, "pytensor": 0}

    @numba.njit
    def one_more(x):
        return x + 1

    with compilations() as counts:
        one_more(1)
        x = pt.dscalar("x")
        pytensor.function([x], x + 1, mode="FAST_COMPILE")
    assert counts["numba"] >= 1
    assert counts["pytensor"] == 1


def test_a_task_that_fails_or_takes_too_long_is_not_a_figure():
    assert run_task("first_trial", limit=0.2).stopped == "stopped after 0 s"
    assert "KeyError" in run_task("no_such_task").stopped


def test_a_trace_depends_on_its_seed_alone():
    first, again = (trace(PROBLEMS["collector"], "random", 4, 6) for _ in range(2))
    assert first.gaps == again.gaps
    assert first.gaps[0] == PROBLEMS["collector"].gap(PROBLEMS["collector"].space.default)
    assert first.gaps != trace(PROBLEMS["collector"], "random", 5, 6).gaps


def test_every_tuner_begins_with_the_default_and_stays_in_a_finite_set():
    problem = PROBLEMS["jvm-recorded"]
    for name in ("random", "grid"):
        item = trace(problem, name, 1, 8)
        assert item.gaps[0] == problem.gap(problem.space.default)
        assert item.budget == len(item.gaps) == 8
        assert item.value == pytest.approx(problem.optimum * (1 + item.gaps[-1]))


def test_a_run_that_arrived_is_ended_and_one_that_failed_is_kept(monkeypatch):
    problem = replace(PROBLEMS["branin"], known_optimum=1e9)  # whatever is recommended is good enough
    assert trace(problem, "random", 1, 20, early=True).stopped == "arrived"
    assert len(trace(problem, "random", 1, 20).gaps) == 20
    assert trace(PROBLEMS["branin"], "random", 1, 20, limit=0.0).stopped == "time limit of 0 s"

    def breaks(*_):
        raise PeerError("it broke")

    steps = iter([race._step] * 2 + [breaks] * 9)
    monkeypatch.setattr(race, "_step", lambda *a, step=race._step: next(steps)(*a))
    broken = trace(PROBLEMS["branin"], "random", 1, 20)
    assert broken.stopped == "failed: it broke"
    assert len(broken.gaps) == 2
    assert broken.trials_to(1e-9) == INF


def test_a_conditional_space_reaches_a_peer_with_its_conditions():
    space = index_space()
    cube = Cube(spec_of(space, "latency", seed=0, n_initial=1)["space"])
    for configuration in space.design(60, 0):
        names = set(cube.active(configuration))
        assert ("load" in names) == (configuration["kind"] == "hash")
        assert ("runs" in names) == (configuration["kind"] == "log")
        back = cube.uniform(cube.flat(configuration))
        assert back["kind"] == configuration["kind"]
        assert back["prefix"] == configuration["prefix"]


def test_a_grid_is_about_as_large_as_the_budget_and_has_all_of_a_choice():
    spec = spec_of(PROBLEMS["mixed"].space, "latency", seed=0, n_initial=1)
    steps = levels(spec["space"], 200)
    assert steps[2:4] == [3, 2]
    assert 40 <= np.prod(steps) <= 200


def _item(tuner, seed, gaps, budget=None, **more):
    return Trace("branin", tuner, seed, tuple(gaps), (0.1,) * len(gaps), budget=budget or len(gaps), **more)


def test_an_area_is_a_share_of_the_defaults_gap():
    assert _item("random", 1, (0.5, 0.5)).area(4) == 1.0
    assert _item("random", 1, (0.5, 0.0)).area(4) == 0.25
    assert _item("random", 1, (0.5, 0.9, 0.0, 0.0)).area(4) == 0.5


def test_runs_survive_the_file_and_a_comparison_goes_on(tmp_path):
    item = _item("random", 3, (0.5, 0.5, 0.125, 0.125), versions={"python": "3"}, value=0.4, memory=50.0)
    path = tmp_path / "runs.csv"
    about = {"load": "0.1", "date": "d", "commit": "c"}
    append(path, COLUMNS, [row_of(item, 4, about)])
    with path.open("a") as file:
        file.write("branin,random,4")  # torn
    assert [trace_of(row) for row in read(path, COLUMNS)] == [item]
    append(path, COLUMNS, [row_of(item, 4, about)])
    assert [trace_of(row) for row in read(path, COLUMNS)] == [item, item]
    assert curve(changes(item.gaps), 4) == list(item.gaps)
    plan = Plan(("branin",), ("random", "structured"), trials=2, times=2, seeds=3)
    rest = list(compare(plan, read(path, COLUMNS)))
    assert [(run.tuner, run.seed, run.budget) for run in rest] == [("random", 1, 4), ("random", 2, 4)]
    assert list(compare(replace(plan, minutes=-1.0), [])) == []


def test_the_standings_claim_no_more_than_the_bootstrap_and_say_when_a_peer_wins():
    fast = [_item("structured", seed, (0.5, 0.04, 0.0)) for seed in range(5)]
    slow = [_item("random", seed, (0.5,) * 30) for seed in range(5)]
    rival = [_item("optuna", seed, (0.04, 0.0), 30, stopped="arrived") for seed in range(5)]
    assert best_of(by_tuner(fast + slow), ["structured", "random"]) == "structured"
    assert "random, needed 15.5 or more times the trials of structured" in verdict(fast + slow)
    late = [
        replace(item, gaps=(0.5,) * 9, stopped="time limit of 9 s") for item in slow
    ]  # nobody knows what came then
    assert "random, needed 5.0 or more times the trials of structured" in verdict(fast + late)
    assert "First to 5% of the optimum: **optuna**" in verdict(fast + slow + rival)
    assert "optuna, needed 0.5 times the trials of structured" in verdict(fast + slow + rival)
    never = [replace(item, tuner="generic") for item in slow]
    assert "generic itself did not get there in 30 trials" in verdict(never + rival)
    text = overall(never + rival, PROBLEMS)
    assert "0 of 1, not kept" in text
    assert "**1**" in text
    assert ">30" in text
    equal = [replace(item, tuner="generic", budget=30) for item in rival]
    assert "1 of 1, kept" in overall(equal + rival, PROBLEMS)


def test_the_best_peer_of_those_whose_median_never_arrives_is_the_one_that_arrives_most_often():
    steady = [_item("random", seed, (0.9,) + (0.2,) * 8) for seed in range(3)]
    lucky = [_item("optuna", seed, (0.9,) * 8 + ((0.04 if seed == 2 else 0.9),)) for seed in range(3)]
    assert best_of(by_tuner(steady + lucky), ["random", "optuna"]) == "optuna"
    assert best_of(by_tuner(steady + lucky[:2]), ["random", "optuna"]) == "random"


def test_what_is_recommended_is_the_median_gap_after_so_many_trials_and_ours_counts_where_it_is_least():
    ours = [_item("generic", seed, (0.5, gap)) for seed, gap in enumerate((0.1, 0.2, 0.9))]
    peer = [_item("random", seed, (0.5, 0.3)) for seed in range(3)]
    elsewhere = [
        replace(item, problem="camel") for item in (*peer, *(replace(i, gaps=(0.5, 0.4)) for i in ours))
    ]
    text = recommended([*ours, *peer, *elsewhere], 2)
    assert re.search(r"\| branin +\| \*\*20.0%\*\* +\| 30.0% ", text)
    assert re.search(r"\| camel +\| 40.0% +\| \*\*30.0%\*\* ", text)
    assert "best of all: on 1 of 2. " in text
    ratio = np.exp(np.mean([np.log([0.1 / 0.3, 0.2 / 0.3, 0.9 / 0.3]), np.log([0.4 / 0.3] * 3)]))
    assert f"The gap of generic is {ratio:.2f} times that of the best peer, random, over all" in text
    assert "over 3 paired seeds" in text
    exact = [replace(item, gaps=(0.5, 0.0)) for item in ours]
    assert "is 0.00 times" in off([*exact, *peer], 2, "there")  # a gap of 0 is none to divide by
    assert off(ours, 2) == ""
    assert generic_goal([*ours, *peer, *elsewhere], PROBLEMS).endswith(
        "1 of 2, not kept. Ahead of it: random on camel."
    )
    assert generic_goal([*ours, *peer], PROBLEMS).endswith("1 of 1, kept.")
    unlucky = [_item("generic", seed, (0.5, 0.9)) for seed in range(3, 9)]  # the peer has them not
    assert generic_goal([*ours, *peer, *unlucky], PROBLEMS).endswith("1 of 1, kept.")
    assert generic_goal([*unlucky, *peer], PROBLEMS) == ""
    once = _item("optuna", 0, (0.5, 0.04))
    assert generic_goal([*ours, *peer, once], PROBLEMS).endswith(
        "1 of 1, kept. Not counted where they have fewer seeds: optuna."
    )
    steady = [_item("random", seed, (0.35, 0.35)) for seed in range(3)]  # ranks first, and ends behind
    late = [_item("optuna", seed, (0.9, 0.15)) for seed in range(3)]
    assert generic_goal([*ours, *steady, *late], PROBLEMS).endswith(
        "not kept. Ahead of it: optuna on branin."
    )


def test_nothing_is_claimed_where_the_truth_is_less_certain_than_the_goal():
    runs = [_item(tuner, seed, (0.9, 0.01)) for tuner in ("structured", "random") for seed in range(3)]
    real = [replace(item, problem="jvm-recorded") for item in runs]
    assert "No claim" not in claims([replace(item, problem="collector") for item in runs], PROBLEMS)
    assert re.search(r"No claim: .* uncertain by 10%; .* 1 of 73 configurations\.", claims(real, PROBLEMS))


@pytest.mark.parametrize("plan", [QUICK, *PLANS.values()])
def test_plans_are_of_tuners_that_can_take_their_problems(plan):
    for name in plan.problems:
        takers = [tuner for tuner in plan.tuners if ENTRANTS[tuner].takes(PROBLEMS[name])]
        assert any(ENTRANTS[tuner].ours for tuner in takers)
        assert any(not ENTRANTS[tuner].ours for tuner in takers)


def test_a_part_of_a_plan_keeps_its_order_and_all_where_nothing_is_named():
    plan = PLANS["generic-mixed"]
    part = plan.of(["index"], ["random", "generic", "structured"])
    assert (list(part.problems), list(part.tuners)) == (["index"], ["generic", "random"])
    assert plan.of([], []) == replace(plan, problems=list(plan.problems), tuners=list(plan.tuners))


def test_the_lead_on_one_problem_is_over_the_best_of_the_others_seed_by_seed():
    ours = [_item("structured", seed, (1.0, 0.0, gap)) for seed, gap in enumerate((0.0, 0.25, 0.04))]
    best = [_item("optuna", seed, (1.0, 1.0, gap)) for seed, gap in enumerate((0.5, 0.5, 3.0))]
    worse = [_item("random", seed, (1.0, 1.0, 2.0)) for seed in range(3)]
    said = lead([*worse, *best, *ours], 3)
    assert "optuna, has 1.50 times what structured has (median over 3 seeds" in said
    assert "interval 1.20-3.85), and 1.50 times the best that is known" in said
    assert "optuna, has 2.00 times" in lead([*best, *ours], 2)
    assert "known: more was not to be had." in said
    beaten = [_item("structured", seed, (1.0, 0.0, -0.1)) for seed in range(3)]
    assert lead([*best, *beaten], 3).endswith("1.50 times the best that was known before these runs.")
    text = course([*best, *ours], (1, 3))
    assert re.search(r"\| structured +\| 100.0% +\| 4.0% +\| 3 of 3 ", text)
    assert re.search(r"\| optuna +\| 100.0% +\| 50.0% +\| 0 of 3 ", text)


def test_a_report_and_its_picture_hold_every_tuner(tmp_path):
    runs = [_item("generic", 1, (0.5, 0.04)), _item("random", 1, (0.5, 0.3), stopped="failed: it broke")]
    text = report("quick", runs, {"machine": "one"})
    assert "1x failed: it broke" in text
    assert re.search(r"\*\*Too few seeds\*\* of .*random \(1\).* so that no ratio beside these is one", text)
    assert "busy" not in text
    assert "load was up to 9 on 2 cores" in report(
        "quick", runs, {"cores": "2", "load while it ran": "0.1 to 9.0"}
    )
    assert ENTRANTS["generic"].settings in text
    assert re.search(r"\| generic +\| 0.00 +\| 0.10 +\| - ", text)
    draw(runs, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000
