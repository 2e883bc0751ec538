"""What an engineer knows of a store on a generational, mostly concurrent collector, before any run.

    young, ratio -> eden -> time between collections
    lifetimes in seconds, that time, tenuring, survivor space -> kept and promoted MB -> pauses
    promoted, what young leaves of the heap -> concurrent cycles, lost races -> full collections
    pauses that requests fall into, cycles that slow them -> p99

Written by somebody who had seen neither :mod:`benchmarks.cassandra` nor a run of it, from what an operator
knows of such a store and from the textbook (Jones, Hosking & Moss, *The Garbage Collection Handbook*, 2nd ed.
2023, ch. 9); the priors were checked by what they predict, of runs only the default's 20 ms was known.
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat

ONE_PERCENT = 10.0  # ms of each second: where the 99th percentile is


@boat.derived(unit="MB", transform="log")
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.derived(unit="MB", transform="log")
def survivor_mb(young_mb, survivor_ratio):
    return young_mb / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log", residual=boat.GP(inputs=["eden_mb"]))
def gc_rate(eden_mb):
    malloc_rate = pm.LogNormal("malloc_rate", np.log(500), 0.8)  # MB/s: 130 MB/s to 1.9 GB/s
    return malloc_rate / eden_mb


# Lifetimes. Little's law: what is alive of age at most a is rate * the integral of survival from 0 to a.
@boat.shared(unit="s")
def request_s():
    return pm.LogNormal("request_s", np.log(0.01), 0.7)  # a request's objects live about as long as it takes


@boat.shared(unit="MB/s")
def write_mb_s():
    return pm.LogNormal("write_mb_s", np.log(20), 0.8)  # into the write buffer, which dies at the flush


@boat.shared(unit="s")
def flush_s():
    return pm.LogNormal("flush_s", np.log(2.5), 0.5)  # from one flush to the next: a second or few


@boat.shared(unit="MB/s")
def cached_mb_s():
    return pm.LogNormal("cached_mb_s", np.log(3), 1.0)  # rows cached for longer than any object stays young


def _alive_mb(age, malloc_rate, request_s, write_mb_s, flush_s, cached_mb_s):
    """MB alive of age (s) at most ``age``: requests (exponential lifetimes), buffer (what was written at an
    even moment between flushes has a uniform lifetime; flushes are not quite regular, so its end is rounded),
    cache."""
    in_flight = malloc_rate * request_s * (1 - pt.exp(-age / request_s))
    unflushed = pt.softplus(8 * (1 - age / flush_s)) / pt.softplus(8.0)
    return in_flight + write_mb_s * flush_s / 2 * (1 - unflushed**2) + cached_mb_s * age


@boat.shared(unit="s")
def kept_s(gc_rate, eden_mb, survivor_mb, tenuring, request_s, write_mb_s, flush_s, cached_mb_s):
    """The age up to which objects stay young: tenuring collections, or less where so many do not fit."""
    fill = pm.Beta("survivor_fill", 6, 4)  # HotSpot aims at half a survivor space (TargetSurvivorRatio)
    wanted = tenuring / gc_rate
    alive = _alive_mb(wanted, gc_rate * eden_mb, request_s, write_mb_s, flush_s, cached_mb_s)
    fits = alive / (fill * survivor_mb)
    return wanted / (1 + fits**4) ** 0.25  # a smooth minimum: wanted, or the share of it that fits


@boat.shared(unit="MB")
def kept_mb(kept_s, gc_rate, eden_mb, request_s, write_mb_s, flush_s, cached_mb_s):
    return _alive_mb(kept_s, gc_rate * eden_mb, request_s, write_mb_s, flush_s, cached_mb_s)


@boat.node(unit="MB/s", transform="log1p", residual=boat.GP(inputs=["gc_rate", "survivor_mb", "tenuring"]))
def promoted_mb_s(kept_mb, kept_s, gc_rate, eden_mb, request_s, write_mb_s, flush_s, cached_mb_s):
    older = kept_s + 1 / gc_rate  # what is alive at the next collection and too old (or too much) to be kept
    alive = _alive_mb(older, gc_rate * eden_mb, request_s, write_mb_s, flush_s, cached_mb_s)
    return gc_rate * (alive - kept_mb)


# The old generation: idle until three quarters full, then a concurrent cycle, which may lose the race.
@boat.shared(unit="MB")
def live_mb():
    return pm.LogNormal("live_mb", np.log(1500), 0.3)  # alive for ever: 900 to 2,500 MB of 2,560 to 3,968


@boat.shared(unit="s")
def cycle_s():
    return pm.LogNormal("cycle_s", np.log(3), 0.6)  # marking and sweeping GBs with two threads: 1 to 8 s


@boat.shared(unit="ms")
def full_ms(live_mb):
    return live_mb * pm.LogNormal("full_ms_per_mb", 0.0, 0.5)  # one thread compacts about 1 GB/s


@boat.shared
def cycling(promoted_mb_s, young_mb, heap_mb, live_mb, cycle_s):
    """The share of time in which a cycle is at work: it waits room / promoted, then takes cycle_s."""
    room = _positive(0.75 * (heap_mb - young_mb) - live_mb, 100.0)
    return promoted_mb_s * cycle_s / (promoted_mb_s * cycle_s + room)


@boat.shared(unit="1/s")
def full_rate(cycling, promoted_mb_s, young_mb, heap_mb, live_mb, cycle_s):
    """Cycles a second * the share of them during which more is promoted than the old generation has left."""
    left = _positive(heap_mb - young_mb - pt.maximum(live_mb, 0.75 * (heap_mb - young_mb)), 50.0)
    race = (promoted_mb_s * cycle_s / left) ** 6  # 1: lost half of the times; cycles differ by 20 % or so
    return cycling / cycle_s * race / (1 + race)


@boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["gc_rate", "promoted_mb_s", "survivor_mb"]))
def gc_pause(kept_mb, promoted_mb_s, gc_rate, full_rate, full_ms):
    fixed = pm.LogNormal("fixed_ms", np.log(3), 0.7)  # stopping threads, roots, dirty cards of GBs of old
    per_mb = pm.LogNormal("copy_ms_per_mb", np.log(0.4), 0.6)  # eight threads copy small objects at 1-6 GB/s
    dearer = 1 + pm.LogNormal("promotion_dearer", np.log(0.5), 0.7)  # free lists instead of bump allocation
    young = fixed + per_mb * (kept_mb + dearer * promoted_mb_s / gc_rate)
    return young + full_ms * full_rate / (gc_rate + full_rate)  # the mean is over both kinds


@boat.node(
    unit="ms", transform="log", robust=True, residual=boat.GP(inputs=["gc_rate", "gc_pause", "promoted_mb_s"])
)
def p99(gc_rate, gc_pause, cycling, cycle_s, full_rate, full_ms):
    service = pm.LogNormal("service_ms", np.log(4), 0.7)  # p99 without any collector
    slower = pm.LogNormal("cycle_slows", np.log(0.5), 0.7)  # by that share while a cycle takes 2 of 8 cores
    spread = pm.LogNormal("pause_spread", np.log(0.2), 0.4)  # pauses differ: before and after a flush
    stretch = 1 + pm.LogNormal("backlog", np.log(0.3), 0.7)  # late for longer than the pause: rho / (1 - rho)
    short = gc_rate + 2 * cycling / cycle_s  # young ones, and one at each end of a cycle
    waits = _wait(gc_pause, short * stretch, spread) + _wait(full_ms, full_rate * stretch, spread)
    return service * (1 + slower * cycling / (cycling + 0.03)) + waits  # of no account below 1 % of the time


def _wait(pause_ms, rate, spread):
    """The wait that 1 % of all requests exceed.

    A pause L catches rate * L of all requests, each waits for the rest: P(wait > d) = rate * E[(L - d)+]. For
    L logistic around its mean with scale w this is rate * w * softplus((mean - d) / w); set to 1 % and solve.
    """
    w = spread * pause_ms
    x = ONE_PERCENT / ((rate + 1e-5) * w)
    return _positive(pause_ms - w * (x + pt.log(-pt.expm1(-x))), w)


def _positive(x, width):
    return width * pt.softplus(x / width)


FLAGS = [eden_mb, survivor_mb, gc_rate]
LIFETIMES = [request_s, write_mb_s, flush_s, cached_mb_s, kept_s, kept_mb, promoted_mb_s]
OLD_GENERATION = [live_mb, cycle_s, full_ms, cycling, full_rate]
PARTS = [*FLAGS, *LIFETIMES, *OLD_GENERATION, gc_pause, p99]


def cassandra_model(space: boat.Space) -> boat.DAGModel:
    """Return the model over a space with young_mb, survivor_ratio and tenuring, in a heap of 4,096 MB."""
    return boat.DAGModel(space, PARTS, data={"heap_mb": 4096.0})
