"""The bench: problems whose optimum is known, figures said rightly, and peers driven over a pipe."""

import csv
import sys
from dataclasses import replace
from io import StringIO

import numba
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from benchmarks.censored import bootstrap, first_within, median, quantile, ratio_of_medians
from benchmarks.compare import Trace, summary, trace
from benchmarks.figures import Figure, comma_separated, markdown
from benchmarks.peers import environment as environments
from benchmarks.peers.peer import Peer, PeerError, spec_of
from benchmarks.peers.protocol import Cube
from benchmarks.problems import machines_model, machines_run, machines_space, problems
from benchmarks.promises import run_task
from benchmarks.tasks import compilations

PROBLEMS = problems()
INF = float("inf")


@pytest.mark.parametrize("name", PROBLEMS)
def test_nothing_is_better_than_the_optimum(name):
    problem = PROBLEMS[name]
    gaps = [problem.gap(configuration) for configuration in problem.space.design(400, 0)]
    assert min(gaps) >= 0.0
    assert problem.gap(problem.space.default) > 0.1  # there is something to tune


def test_optima_of_the_literature_are_reached_where_it_says():
    x = dict(zip((f"x{i}" for i in range(6)), (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)))
    assert PROBLEMS["hartmann6"].gap(x) == pytest.approx(0, abs=1e-5)
    for x, y in ((-np.pi, 12.275), (np.pi, 2.275), (9.42478, 2.475)):
        assert PROBLEMS["branin"].gap({"x": x, "y": y}) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["mixed", "collector"])
def test_noise_scatters_around_the_noise_free_value(name):
    problem, rng = PROBLEMS[name], np.random.default_rng(1)
    values = [problem.run(problem.space.default, rng)[problem.objective] for _ in range(3000)]
    assert np.median(values) == pytest.approx(problem.truth(problem.space.default), rel=0.02)
    assert np.std(np.log(values)) > 0.04


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


def test_a_space_no_peer_takes_is_named():
    with pytest.raises(TypeError, match="share is a Simplex"):
        spec_of(machines_space(3), "slowest", seed=0, n_initial=1)


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


def test_the_summary_counts_trials_and_claims_no_more_than_the_bootstrap():
    fast = [Trace("p", "structured", seed, (0.5, 0.04, 0.0), (0.1,) * 3) for seed in range(5)]
    slow = [Trace("p", "random", seed, (0.5, 0.5, 0.5), (0.0,) * 3) for seed in range(5)]
    text = summary(fast + slow, 3)
    assert "2 [2-2] (2-2)" in text
    assert "to 1%: random needs 1.3 times" in text
    assert "structured itself did not get there in 3 trials" in summary(
        slow + [replace(t, tuner="structured") for t in slow], 3
    )
    assert ">3 [>3->3]" in text
    assert "to 5%: random needs 2.0 times the trials of structured (one-sided 95 % bound 2.0" in text
