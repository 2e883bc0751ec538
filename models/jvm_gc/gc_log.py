"""Parse the unified garbage-collection log of HotSpot (JDK 17 and later) into measurements of a window.

The log is written with ``-Xlog:gc*:file=...:timenanos,tags``: each line carries the clock of
``System.nanoTime()``, so that it can be cut at exactly the window in which the latencies were measured.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

_LINE = re.compile(r"^\[(\d+)ns\]\[([a-z0-9,]+)\s*\] (.*)$")
_NUMBERED = re.compile(r"^GC\((\d+)\) (.*)$")
_PAUSE = re.compile(r"^Pause (\w+).*? (\d+)M->(\d+)M\(\d+M\) ([\d.]+)ms$")
_GENERATION = re.compile(r"^(DefNew|Tenured|PSYoungGen|PSOldGen|ParOldGen): (\d+)K\(\d+K\)->(\d+)K\(\d+K\)")
_REGIONS = re.compile(r"^(Eden|Survivor|Old|Humongous) regions: (\d+)->(\d+)")
_REGION_SIZE = re.compile(r"^Heap Region Size: (\d+)M")
_BACK_TO_BACK_NS = 1e6
_YOUNG = {"DefNew", "PSYoungGen", "Eden", "Survivor"}


@dataclass(frozen=True)
class Collection:
    """One stop-the-world pause. Occupancies in MB (2**20 bytes); NaN where the log has none."""

    kind: str  # "young", "full" or "other" (the short pauses of a concurrent cycle)
    end_ns: int
    pause_ms: float
    young_before: float
    young_after: float
    old_before: float
    old_after: float
    heap_before: float
    heap_after: float

    @property
    def promoted(self) -> float:
        """MB that a young collection moved to the old generation."""
        return max(0.0, self.old_after - self.old_before)

    @property
    def copied(self) -> float:
        """MB that a young collection copied: the survivors and what it promoted."""
        return self.young_after + self.promoted


def parse(lines: Iterable[str]) -> list[Collection]:
    """All pauses of a log, in order of time. Lines of other kinds, and a torn last line, are passed over."""
    collections = []
    # collection's number -> generation -> MB before and after
    occupied: dict[str, dict[str, tuple[float, float]]] = {}
    region_mb = 1.0
    for line in lines:
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            continue
        moment, text = int(match[1]), match[3]
        if size := _REGION_SIZE.match(text):
            region_mb = float(size[1])
        numbered = _NUMBERED.match(text)
        if numbered is None:
            continue
        number, text = numbered[1], numbered[2]
        generations = occupied.setdefault(number, {})
        if generation := _GENERATION.match(text):
            generations[generation[1]] = (int(generation[2]) / 1024, int(generation[3]) / 1024)
        elif regions := _REGIONS.match(text):
            generations[regions[1]] = (int(regions[2]) * region_mb, int(regions[3]) * region_mb)
        elif match[2] == "gc" and (pause := _PAUSE.match(text)):
            collections.append(_collection(moment, pause, occupied.pop(number)))
    return _merge_failed(sorted(collections, key=lambda collection: collection.end_ns))


def _merge_failed(collections: list[Collection]) -> list[Collection]:
    """A young collection that freed nothing and ends in a full one is the first part of that one's pause.

    It happens when the old generation has no room for what should be promoted (``Promotion failed``).
    """
    merged: list[Collection] = []
    for collection in collections:
        previous = merged[-1] if merged else None
        if (
            collection.kind == "full"
            and previous is not None
            and previous.kind == "young"
            and previous.heap_after >= previous.heap_before
            and collection.end_ns - collection.pause_ms * 1e6 - previous.end_ns < _BACK_TO_BACK_NS
        ):
            merged.pop()
            pause, before = previous.pause_ms + collection.pause_ms, previous.heap_before
            collection = replace(collection, pause_ms=pause, heap_before=before)
        merged.append(collection)
    return merged


def _collection(end_ns: int, pause: re.Match[str], generations: dict[str, tuple[float, float]]) -> Collection:
    young = [generations[name] for name in generations if name in _YOUNG]
    old = [generations[name] for name in generations if name not in _YOUNG]
    nothing = [(float("nan"), float("nan"))]
    young_before, young_after = map(sum, zip(*(young or nothing), strict=True))
    old_before, old_after = map(sum, zip(*(old or nothing), strict=True))
    heap_before, heap_after = float(pause[2]), float(pause[3])
    if young and old:  # in kilobytes or regions: finer than the summary's whole megabytes
        heap_before, heap_after = young_before + old_before, young_after + old_after
    kind = {"Young": "young", "Full": "full"}.get(pause[1], "other")
    return Collection(
        kind,
        end_ns,
        float(pause[4]),
        young_before,
        young_after,
        old_before,
        old_after,
        heap_before,
        heap_after,
    )


def measurements(collections: list[Collection], begin_ns: int, end_ns: int) -> dict[str, float]:
    """What the collector did between two moments of ``System.nanoTime()``.

    Rates are per second of the window, pauses in ms, memory in MB. A mean over no collection is no number:
    its key is missing (``gc_pause`` without a young collection, ``full_pause`` and ``live_mb`` without a
    full one, ``max_pause`` without any, ``allocation_mb_s`` where fewer than two collections bracket any of
    the window).
    """
    seconds = (end_ns - begin_ns) / 1e9
    inside = [c for c in collections if begin_ns <= c.end_ns < end_ns]
    young = [c for c in inside if c.kind == "young"]
    full = [c for c in inside if c.kind == "full"]
    result = {
        "gc_rate": len(young) / seconds,
        "full_rate": len(full) / seconds,
        "copied_mb_s": sum(c.copied for c in young) / seconds,
        "promoted_mb_s": sum(c.promoted for c in young) / seconds,
    }
    if inside:
        result["max_pause"] = max(c.pause_ms for c in inside)
    if young:
        result["gc_pause"] = sum(c.pause_ms for c in young) / len(young)
    if full:
        result["full_pause"] = sum(c.pause_ms for c in full) / len(full)
        result["live_mb"] = sum(c.heap_after for c in full) / len(full)
    allocated = _allocation_rate(collections, begin_ns, end_ns)
    if allocated is not None:
        result["allocation_mb_s"] = allocated
    return {name: value for name, value in result.items() if value == value}


def _allocation_rate(collections: list[Collection], begin_ns: int, end_ns: int) -> float | None:
    """MB/s: what the heap grew by between collections, over the part of the window that collections bracket.

    An interval that straddles an edge of the window counts with the share of it that lies inside.
    """
    allocated = covered = 0.0
    for earlier, later in pairwise(collections):
        length = later.end_ns - earlier.end_ns
        inside = min(later.end_ns, end_ns) - max(earlier.end_ns, begin_ns)
        if length > 0 and inside > 0:
            allocated += (later.heap_before - earlier.heap_after) * inside / length
            covered += inside / 1e9
    return allocated / covered if covered > 0 else None
