"""The parser of collection logs: real lines of every collector, and a log whose sums can be done by hand."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest

from models.jvm_gc.gc_log import Collection, measurements, parse

DATA = Path(__file__).parent / "data"
LOGS = sorted(DATA.glob("gc_*.log"))
SECOND = 10**9

# Two young collections 0.5 s apart, one that fails for want of room and turns into a full one, one after it.
BY_HAND = """
[1000000000ns][gc,heap        ] GC(0) DefNew: 20480K(29504K)->2048K(29504K) Eden: 20480K(26240K)->0K(26240K)
[1000000000ns][gc,heap        ] GC(0) Tenured: 10240K(65536K)->12288K(65536K)
[1000000000ns][gc             ] GC(0) Pause Young (Allocation Failure) 30M->14M(92M) 4.000ms
[1500000000ns][gc,heap        ] GC(1) DefNew: 22528K(29504K)->3072K(29504K) Eden: 20480K(26240K)->0K(26240K)
[1500000000ns][gc,heap        ] GC(1) Tenured: 12288K(65536K)->16384K(65536K)
[1500000000ns][gc             ] GC(1) Pause Young (Allocation Failure) 34M->19M(92M) 6.000ms
[2000000000ns][gc,heap        ] GC(2) DefNew: 23552K(29504K)->23552K(29504K) Eden: 20480K(26240K)
[2000000000ns][gc,heap        ] GC(2) Tenured: 16384K(65536K)->18432K(65536K)
[2000000000ns][gc             ] GC(2) Pause Young (Allocation Failure) 39M->41M(92M) 3.000ms
[2020100000ns][gc,heap        ] GC(3) DefNew: 23552K(29504K)->0K(29504K) Eden: 20480K(26240K)->0K(26240K)
[2020100000ns][gc,heap        ] GC(3) Tenured: 18432K(65536K)->8192K(65536K)
[2020100000ns][gc             ] GC(3) Pause Full (Allocation Failure) 41M->8M(92M) 20.000ms
[2520100000ns][gc,heap        ] GC(4) DefNew: 20480K(29504K)->1024K(29504K) Eden: 20480K(26240K)->0K(26240K)
[2520100000ns][gc,heap        ] GC(4) Tenured: 8192K(65536K)->8192K(65536K)
[2520100000ns][gc             ] GC(4) Pause Young (Allocation Failure) 28M->9M(92M) 2.000ms
"""


def test_a_log_done_by_hand() -> None:
    collections = parse(BY_HAND.splitlines())
    assert [c.kind for c in collections] == ["young", "young", "full", "young"]
    assert [c.promoted for c in collections if c.kind == "young"] == [2, 4, 0]
    assert [c.copied for c in collections if c.kind == "young"] == [4, 7, 1]

    found = measurements(collections, SECOND, 3 * SECOND)
    allocated = (34 - 14) + (39 - 19) + (28 - 8)  # MB between collections, over 1.5201 s
    assert found == pytest.approx(
        {
            "gc_rate": 1.5,
            "full_rate": 0.5,
            "copied_mb_s": 6,
            "promoted_mb_s": 3,
            "gc_pause": 4,
            "full_pause": 23,  # the failed young collection is the first part of the full one
            "max_pause": 23,
            "live_mb": 8,
            "allocation_mb_s": allocated / 1.5201,
        }
    )


def test_the_window_is_cut_at_its_edges() -> None:
    collections = parse(BY_HAND.splitlines())
    early = measurements(collections, SECOND, 3 * SECOND // 2)
    assert early["gc_rate"] == 2  # the collection at 1.5 s belongs to the next window
    late = measurements(collections, 3 * SECOND // 2, 2 * SECOND)
    assert late["gc_rate"] == 2
    assert late["full_rate"] == 0
    assert late["allocation_mb_s"] == pytest.approx(20 / 0.5201)  # the interval to the full one, in part


@pytest.mark.parametrize("missing", ["gc_pause", "full_pause", "max_pause", "live_mb", "allocation_mb_s"])
def test_a_mean_over_nothing_is_left_out(missing: str) -> None:
    empty = measurements(parse(BY_HAND.splitlines()), 10 * SECOND, 11 * SECOND)
    assert missing not in empty
    assert empty["gc_rate"] == empty["full_rate"] == empty["promoted_mb_s"] == 0


def test_a_torn_last_line_and_foreign_lines_are_passed_over() -> None:
    lines = [
        "Java says hello",
        *BY_HAND.splitlines(),
        "[2620100000ns][gc             ] GC(5) Pause Young (Alloc",
    ]
    assert parse(lines) == parse(BY_HAND.splitlines())


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
class TestRealLogs:
    def test_every_pause_is_found_and_in_order(self, log: Path) -> None:
        text = log.read_text()
        ended = re.findall(r"\] GC\(\d+\) Pause (\w+).* \d+M->\d+M\(\d+M\) ([\d.]+)ms", text)
        collections = parse(text.splitlines())
        full = [c for c in collections if c.kind == "full"]
        assert len(full) == sum(kind == "Full" for kind, _ in ended) > 0
        # merging failed young collections loses no time
        assert sum(c.pause_ms for c in collections) == pytest.approx(sum(float(ms) for _, ms in ended))
        assert all(earlier.end_ns < later.end_ns for earlier, later in pairwise(collections))

    def test_occupancies_agree_with_the_summary_line(self, log: Path) -> None:
        text = log.read_text()
        summary = {
            int(end): float(after)
            for end, after in re.findall(r"\[(\d+)ns\].*Pause (?:Young|Full).* \d+M->(\d+)M\(\d+M\)", text)
        }
        region = 1.0 if "g1" in log.stem else 0.0  # g1 counts whole regions
        for c in parse(text.splitlines()):
            if c.kind != "other":
                assert c.heap_after == pytest.approx(summary[c.end_ns], abs=1 + 5 * region)

    def test_the_mutator_only_allocates(self, log: Path) -> None:
        for earlier, later in pairwise(parse(log.read_text().splitlines())):
            assert later.heap_before >= earlier.heap_after - 1

    def test_no_full_collection_counts_as_a_young_one(self, log: Path) -> None:
        collections = parse(log.read_text().splitlines())
        for c in collections:
            assert c.kind != "young" or c.heap_after < c.heap_before or "g1" in log.stem
        if "promotion_failed" in log.stem:
            assert all(c.kind == "full" for c in collections[1:])

    def test_windows_add_up(self, log: Path) -> None:
        collections = parse(log.read_text().splitlines())
        begin, end = collections[0].end_ns, collections[-1].end_ns + 1
        middle = (begin + end) // 2
        whole = measurements(collections, begin, end)
        first, second = measurements(collections, begin, middle), measurements(collections, middle, end)
        for name in ("gc_rate", "full_rate", "copied_mb_s", "promoted_mb_s"):
            halves = first[name] * (middle - begin) + second[name] * (end - middle)
            assert whole[name] * (end - begin) == pytest.approx(halves)


def test_a_collection_without_occupancies_still_counts() -> None:
    nan = math.nan
    bare = Collection("young", SECOND, 3.0, nan, nan, nan, nan, 30.0, 10.0)
    found = measurements([bare], 0, 2 * SECOND)
    assert found["gc_rate"] == 0.5
    assert found["gc_pause"] == 3.0
    assert "copied_mb_s" not in found  # unknown is not zero
