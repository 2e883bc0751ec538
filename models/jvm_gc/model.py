"""What an engineer knows about a generational collector under a key-value store, as a structured model.

Written from the mechanics of HotSpot's serial collector (Jones, Hosking & Moss, *The Garbage Collection
Handbook*, 2nd ed. 2023, ch. 9; Oracle, *HotSpot Virtual Machine Garbage Collection Tuning Guide*,
"Generations" and "Sizing the generations") and of queues behind pauses (Tene, "How NOT to measure latency",
2013), before anything was tuned with it. Every prior spans at least a factor of ten between its 5 % and 95 %
points (that of a share, in its odds); its source is beside it.

    young, ratio -> eden -> young collections a second <- allocation rate
    survivors, how they die -> copied MB/s, promoted MB/s -> pauses, full collections a second -> p99
"""

import pymc as pm
import pytensor.tensor as pt

import boatppl as boat
from boatppl import DAGModel, Space


@boat.derived(unit="MB")
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.derived(unit="MB")
def survivor_mb(young_mb, survivor_ratio):
    return young_mb / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log1p", robust=True)  # 0 where every collection had to be a full one
def gc_rate(eden_mb):
    # Servers allocate tens of MB/s to a few GB/s (Blackburn et al., "The DaCapo benchmarks", OOPSLA 2006,
    # fig. 2; Lengauer et al., "A comprehensive Java benchmark study", ICPE 2017, table 3).
    malloc_rate = pm.Uniform("malloc_rate", 0, 5000)  # MB/s
    return malloc_rate / eden_mb


@boat.shared(unit="MB")
def surviving_mb():
    """What outlives a young collection for the first time: 1 to 20 % of an eden of tens of MB (Handbook, sec.
    9.6)."""
    return pm.LogNormal("surviving_mb", 0.7, 1.0)


@boat.shared
def stays():
    """The share of survivors that outlive the next collection too: anything (the weak generational hypothesis
    is silent)."""
    return pm.Beta("stays", 1.5, 1.5)


@boat.node(unit="MB/s", transform="log1p")
def copied_mb_s(gc_rate, survivor_mb, tenuring, surviving_mb, stays):
    ages = (
        surviving_mb * (1 - stays ** (tenuring + 1)) / (1 - stays)
    )  # what every age up to the threshold adds up to
    kept = _at_most(ages, 0.5 * survivor_mb)  # TargetSurvivorRatio is 50: beyond it the threshold is lowered
    return gc_rate * (kept + surviving_mb)


@boat.node(unit="MB/s", transform="sqrt")
def promoted_mb_s(gc_rate, survivor_mb, tenuring, surviving_mb, stays):
    ages = surviving_mb * (1 - stays ** (tenuring + 1)) / (1 - stays)
    of_age = surviving_mb * stays**tenuring
    overflow = _positive(ages - 0.5 * survivor_mb, 0.5)
    return gc_rate * pt.minimum(of_age + overflow, surviving_mb)


@boat.shared(unit="ms")
def young_pause_ms(copied_mb_s, gc_rate):
    fixed = pm.LogNormal(
        "fixed_ms", -0.7, 0.8
    )  # stopping threads and scanning roots: 0.1-2 ms (Handbook, sec. 11.2)
    per_mb = pm.LogNormal(
        "ms_per_mb", 0.0, 0.8
    )  # copying small objects runs at 0.2-5 GB/s (Handbook, sec. 4.4)
    return fixed + per_mb * copied_mb_s / (gc_rate + 0.1)


@boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["copied_mb_s", "gc_rate"]))
def gc_pause(young_pause_ms):
    return young_pause_ms


@boat.node(unit="1/s", transform="sqrt", residual=boat.GP(inputs=["promoted_mb_s", "young_mb"]))
def full_rate(promoted_mb_s, young_mb, heap_mb):
    live_mb = pm.LogNormal(
        "live_mb", 2.5, 0.8
    )  # what is always alive: the store's cache and the program, 3-45 MB
    free = _positive(heap_mb - young_mb - live_mb, 2.0) + 0.5
    return promoted_mb_s / free


@boat.shared(unit="ms")
def full_pause_ms():
    """Mark-compact of tens of MB: 10-300 ms (Tuning Guide, "The serial collector"; Handbook, sec. 3.6)."""
    return pm.LogNormal("full_pause_ms", 4.0, 0.8)


@boat.node(unit="ms", transform="log")
def full_pause(full_pause_ms):
    return full_pause_ms


@boat.node(
    unit="ms", transform="log", robust=True, residual=boat.GP(inputs=["gc_rate", "copied_mb_s", "full_rate"])
)
def p99(gc_rate, young_pause_ms, full_rate, full_pause_ms):
    service = pm.LogNormal("service_ms", 0.0, 1.0)  # the store without the collector: 0.2-5 ms
    stretch = 1 + pm.LogNormal(
        "queue_stretch", 0.0, 0.8
    )  # the queue behind a pause drains at 1/(1 - utilisation)
    young = _worst_percent(young_pause_ms, gc_rate, stretch)
    full = _worst_percent(full_pause_ms, full_rate, stretch)
    return service + young + full


def _worst_percent(pause_ms, rate, stretch):
    """Delay that 1 % of all arrivals exceed, when pauses of ``pause_ms`` come ``rate`` times a second.

    An arrival in a pause waits for its rest, uniform on (0, pause), and the backlog stretches the time in
    which arrivals are late: P(delay > d) = rate * stretch * (pause - d). Setting it to 0.01 gives d = pause -
    10 ms / (rate * stretch).
    """
    return _positive(pause_ms - 10.0 / (rate * stretch + 1e-3), 1.0)


def _positive(x, width):
    """The positive part of x, rounded over ``width`` so that it has a slope everywhere."""
    return width * pt.softplus(x / width)


def _at_most(x, limit):
    """The smaller of x and its limit, as a smooth saturation."""
    return x * limit / (x + limit)


PARTS = [
    eden_mb,
    survivor_mb,
    gc_rate,
    surviving_mb,
    stays,
    copied_mb_s,
    promoted_mb_s,
    young_pause_ms,
    gc_pause,
    full_rate,
    full_pause_ms,
    full_pause,
    p99,
]


def jvm_model(space: Space, heap_mb: float = 96) -> DAGModel:
    """Return the model of the collector over a space with young_mb, survivor_ratio and tenuring, at a fixed
    heap (MB)."""
    return DAGModel(space, PARTS, data={"heap_mb": heap_mb})
