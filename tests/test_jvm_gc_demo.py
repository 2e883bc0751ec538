"""The demo without a JVM: what it prints and writes, and what it says of pairs and of failures."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import matplotlib
import numpy as np
import pytest

import boatppl as boat
from models.jvm_gc import acceptance, demo, report
from models.jvm_gc.medium import Medium
from models.jvm_gc.record import PARAMETERS, TABLE
from models.jvm_gc.replay import Replay, load
from models.jvm_gc.spaces import collector_space, space
from models.jvm_gc.system import RunFailed
from models.jvm_gc.workload import WORKLOADS, Workload


@pytest.mark.nightly
def test_a_replay_says_so_first_and_last_and_shows_what_was_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ["--report", str(tmp_path), "--storage", str(tmp_path / "demo.db")]
    assert demo.main(["--replay", "--trials", "3", *kept]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[-1] == demo.REPLAYED
    assert sum(line.split()[:1] in (["0"], ["1"], ["2"]) for line in lines) == 3  # each trial is a line
    for collector in demo.UNTOUCHED:
        assert any(re.match(rf"untouched {collector}: p99 [\d.]+ ms", line) for line in lines)
    page = (tmp_path / "report.html").read_text()
    for said in (demo.REPLAYED, "untouched g1", "malloc_rate", "sized so that", "prefers-color-scheme: dark"):
        assert said in page
    for picture in ("report.png", "report-dark.png"):
        assert (tmp_path / picture).read_bytes()[:4] == b"\x89PNG"


def test_importing_the_demo_leaves_the_notebooks_backend_alone() -> None:
    before = matplotlib.get_backend()
    matplotlib.use("svg")
    try:
        importlib.reload(report)
        assert matplotlib.get_backend() == "svg"
    finally:
        matplotlib.use(before)


@pytest.mark.parametrize("arguments", [["--replay", "--collectors"], ["--replay", "--workload", "tiny-rows"]])
def test_what_was_not_recorded_is_not_replayed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if "tiny-rows" in arguments and ",tiny-rows," in TABLE.read_text().replace("\n", "\n,"):
        pytest.skip("it was recorded meanwhile")
    assert demo.main(arguments) == 1
    assert re.search("cannot be had|no replay of tiny-rows", capsys.readouterr().err)


def test_live_fails_where_there_is_no_jvm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOATPPL_H2_JAR", "/nowhere/h2.jar")
    monkeypatch.setenv("LIVE", "1")
    assert demo.main([]) == 1
    out, err = capsys.readouterr()
    assert "nothing was tuned" in err
    assert not out


def test_the_recorded_space_is_what_was_measured() -> None:
    table = Replay(load())
    recorded = demo.recorded_space(space(), table)
    assert recorded.default == space().default
    assert all(recorded.feasible_configuration(known) for known in table.configurations)
    assert not recorded.feasible_configuration({"young_mb": 33, "survivor_ratio": 8, "tenuring": 15})


def test_every_collector_of_the_second_space_is_recorded_untouched() -> None:
    choices = collector_space().parameters["collector"].choices
    untouched = {run.configuration["collector"] for run in load() if len(run.configuration) == 1}
    assert set(choices) == untouched == set(demo.UNTOUCHED)
    assert "collector" in PARAMETERS


def test_pairs_are_judged_by_their_log_ratios() -> None:
    pairs = [(20.0, 10.0), (30.0, 10.0), (24.0, 10.0)]
    ratio, bound = demo.lower_bound(pairs)
    logs = np.log([2.0, 3.0, 2.4])
    assert ratio == pytest.approx(np.exp(logs.mean()))
    assert bound == pytest.approx(np.exp(logs.mean() - 2.919986 * logs.std(ddof=1) / 3**0.5))
    assert demo.lower_bound([(20.0, 10.0)] * 8) == (pytest.approx(2.0), pytest.approx(2.0))
    assert demo.lower_bound([(20.0, 10.0)])[1] == 0.0  # one pair bounds nothing
    assert demo.lower_bound([*pairs, (20.0, float("inf"))])[1] == 0.0  # nor does a best that fails


def test_a_failed_run_of_a_pair_is_the_worst() -> None:
    def run(configuration: object) -> dict[str, float]:
        raise RunFailed("overloaded")

    assert demo.p99_or_worst(run, {}) == float("inf")
    assert "could not carry the load" in demo.untouched_sentence("g1", [float("inf")] * 3)


def test_both_orders_occur_within_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def run(configuration: dict[str, int]) -> dict[str, float]:
        asked.append(configuration["young_mb"])
        return {"p99": float(configuration["young_mb"])}

    pairs = demo.measure_pairs(run, {"young_mb": 5}, {"young_mb": 20}, 8, seed=1)
    assert pairs == [(20.0, 5.0)] * 8
    firsts = asked[::2]
    assert {5, 20} == set(firsts)
    assert all({first, second} == {5, 20} for first, second in zip(firsts, asked[1::2], strict=True))


class Store:
    """Stands where a JVM would, and writes down what it is asked."""

    java, h2, medium = Path("java"), Path("h2.jar"), Medium(Path("/dev/shm"), "tmpfs")
    made: ClassVar[list["Store"]] = []

    def __init__(self, workload: Workload, *, seed: int, **found: object) -> None:
        self.workload, self.seed, self.asked = workload, seed, list[dict[str, Any]]()
        self.made.append(self)

    def __call__(self, configuration: Mapping[str, Any]) -> dict[str, float]:
        self.asked.append(dict(configuration))
        return {"p99": {5: 8.0, 32: 20.0}.get(configuration.get("young_mb", 0), 12.0)}


def test_live_evidence_is_measured_anew_in_eight_pairs_and_one_long_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "JvmGc", Store)
    Store.made.clear()
    options = demo._parser().parse_args(["--seed", "3"])
    where, workload = space(), WORKLOADS["small-rows"]
    live = demo._live(options, workload)
    best = {**where.default, "young_mb": 5}
    result = SimpleNamespace(best_configuration=best)
    lines = demo._evidence(result, live, live, where, workload, options)
    search, fresh, long = Store.made
    seeds = [range(store.seed, store.seed + 1_000) for store in Store.made]
    assert not set(seeds[0]) & ({*seeds[1]} | {*seeds[2]})  # load that the search never saw
    assert not search.asked
    sizes = [asked["young_mb"] for asked in fresh.asked[:16]]
    assert all({first, second} == {5, 32} for first, second in zip(sizes[::2], sizes[1::2], strict=True))
    assert fresh.asked[16:] == [{"collector": "parallel"}] * 3 + [{"collector": "g1"}] * 3
    assert (fresh.workload, long.workload) == (workload, replace(workload, measured_s=45.0))
    assert sorted(asked["young_mb"] for asked in long.asked) == [5, 32]
    assert lines[0].startswith("8 pairs under load the search never saw: p99 8.0 ms against 20.0 ms")
    assert lines[0].endswith("2.50x better (95 % sure of at least 2.50x)")
    assert lines[1] == "one pair of 45 s: 8.0 ms against 20.0 ms, 2.50x better"
    assert [line.partition(":")[0] for line in lines[2:]] == ["untouched parallel", "untouched g1"]


def test_a_file_never_mixes_systems_workloads_or_media_in_a_study() -> None:
    def name(*arguments: str, live: object = Store) -> str:
        return demo.study_name(demo._parser().parse_args(list(arguments)), live)

    disk = SimpleNamespace(medium=Medium(Path("/tmp"), "disk"))
    names = [name(), name("--workload", "tiny-rows"), name("--collectors"), name(live=disk), name(live=None)]
    assert len({*names, name("--seed", "5")}) == 6
    assert name("--trials", "20") == name()  # the same system: the study goes on


def test_an_interrupted_study_goes_on_and_a_finished_one_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "demo.db"
    assert demo.next_study(file, "a", 2) == ("a", 0)
    study = boat.Study(space(), minimize="p99", storage=file, name="a", random_seed=1)
    study.tell(study.ask(), {"p99": 1.0})
    study.fail(study.ask(), "interrupted from the keyboard", boat.State.ABORTED)
    study.ask()  # the process died
    assert demo.next_study(file, "a", 2) == ("a", 1)
    assert demo.next_study(file, "b", 2) == ("b", 0)
    study.tell(study.ask(), {"p99": 1.0})
    assert demo.next_study(file, "a", 2) == ("a (2)", 0)
    assert demo.next_study(file, "a", 3) == ("a", 2)


def test_a_peer_that_wins_is_reported_as_winning() -> None:
    rows = [
        {"seed": seed, "method": method, "baseline_ms": 20.0, "best_ms": best}
        for seed in (1, 2)
        for method, best in (("structured", 8.0), ("random", 5.0))
        for _ in range(8)
    ]
    table = acceptance.summary(rows)
    assert "| **random** | 2 | 4.00 |" in table
    assert "| structured | 2 | 2.50 |" in table


def test_a_seed_whose_baseline_was_disturbed_is_left_out_and_named() -> None:
    rows = [
        {"seed": seed, "method": "random", "baseline_ms": baseline, "best_ms": 10.0}
        for seed, baseline in ((1, 20.0), (2, 21.0), (3, 55.0))
        for _ in range(8)
    ]
    table = acceptance.summary(rows)
    assert "| random | 2 | 2.05 |" in table
    assert "random of seed 3" in table
