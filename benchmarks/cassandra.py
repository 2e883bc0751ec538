"""A store with a concurrent old-generation collector, simulated collection by collection.

Made before any model of it was written, and it shares no formula with :mod:`benchmarks.cassandra_model`:
objects are cohorts that are born, copied, promoted and die; pauses and concurrent phases are laid on a line
of time; requests arrive on that line and wait. Three flags are tuned, as in the original's study (Dalibard
et al. 2017); the sizes are chosen so that the defaults give about 19 ms at the 99th percentile and the best
about 7 ms.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

import numba
import numpy as np
from scipy.special import ndtri

import boatppl as boat
from benchmarks.problems import Configuration

HEAP = 4096.0  # MB
ALLOCATED = 640.0  # MB/s
SECONDS = 120.0
FLUSH = 1.6  # s from one flush of the write buffer to the next
BUFFERED, CACHED = 0.05, 0.004  # of what is allocated: lives until the flush; lives until it is evicted
REQUEST = 0.030  # s that a request's objects live
EVICTED = 400.0  # s
LIVE = 1955.0  # MB that never die
ARRIVALS = 4096
COHORTS = 64
BUSY = 0.55  # of the time there is a request to serve
SERVICE = 0.0007 + 0.00034 / (1.002 - (np.arange(ARRIVALS) + 0.5) / ARRIVALS) ** 0.42  # s, without pauses
CORES = 8.0
RUNS = 128  # that the value without noise is the mean of
LOAD = 0.04  # by which the load differs from run to run
FLAGS = ("young_mb", "survivor_ratio", "tenuring")


@numba.njit(cache=True)
def _copy(cohorts, births, ages, buffered, cached, tenuring, room, flushed):
    """Copy or promote every cohort, the youngest first.

    Returns the cohorts left, and MB copied, promoted, and promoted of the write buffer.
    """
    copied, moved, of_buffer, kept = 0.0, 0.0, 0.0, 0
    for k in range(cohorts - 1, -1, -1):
        if births[k] < flushed:
            buffered[k] = 0.0
        size = buffered[k] + cached[k]
        if ages[k] >= tenuring or size > room:
            moved += size
            of_buffer += buffered[k]
            buffered[k], cached[k] = 0.0, 0.0
        else:
            room -= size
            copied += size
    for k in range(cohorts):
        if buffered[k] + cached[k] > 1e-9 and kept < COHORTS - 1:
            births[kept], ages[kept] = births[k], ages[k] + 1
            buffered[kept], cached[kept] = buffered[k], cached[k]
            kept += 1
    return kept, copied, moved, of_buffer


@numba.njit(cache=True)
def _old(state, copied, young, moment, spans):
    """Let the old generation begin or end its concurrent work; returns the pause in s that this needs, or 0.

    ``state`` holds MB live, MB dead, until when it works (-1: it rests) and how many spans there are.
    """
    size, used = HEAP - young, state[0] + state[1]
    if state[2] < 0 and used > 0.75 * size:
        pause = 0.004 + 0.00002 * copied
        state[2] = moment + pause + 1.5 + state[0] / 500
        spans[int(state[3]), 0], spans[int(state[3]), 1] = moment + pause, state[2]
        state[3] += 1
        return pause
    if state[2] > 0 and (moment > state[2] or used > 0.97 * size):
        failed = used > 0.97 * size and moment < state[2]
        pause = 0.45 + state[0] / 2500 if failed else 0.006 + 0.00003 * young
        state[1] *= 0.0 if failed else 0.06
        spans[int(state[3]) - 1, 1], state[2] = moment + pause, -1.0
        return pause
    return 0.0


@numba.njit(cache=True)
def _collections(young, ratio, tenuring, allocated, phase, starts, lengths, spans):
    """Lay pauses on the line of time: their starts and lengths in s; ``spans`` gets (from, to) of concurrent
    work.

    Returns how many pauses and spans there were, how many pauses were of the young generation, and MB
    promoted.
    """
    eden, survivor = young * ratio / (ratio + 2), young / (ratio + 2)
    births, ages = np.zeros(COHORTS), np.zeros(COHORTS, np.int64)
    buffered, cached = np.zeros(COHORTS), np.zeros(COHORTS)
    state = np.array([LIVE, 0.2 * max(HEAP - young - LIVE, 0.0), -1.0, 0.0])
    cohorts, now, pauses, minor, promoted, waiting, since = 0, 0.0, 0, 0, 0.0, 0.0, 0.0
    while now < SECONDS and pauses < len(starts) - 3 and state[3] < len(spans):
        now += eden / allocated
        flushed = math.floor((now + phase) / FLUSH) * FLUSH - phase  # the last flush
        if since < flushed:  # what was promoted before it is dead now
            state[0], state[1], waiting = state[0] - waiting, state[1] + waiting, 0.0
        fresh = min(eden / allocated, max(now - flushed, 0.0))
        births[cohorts], ages[cohorts] = now, 0
        buffered[cohorts], cached[cohorts] = BUFFERED * allocated * fresh, CACHED * eden
        request = 0.30 * allocated * REQUEST * (1 - math.exp(-eden / (allocated * REQUEST)))
        room = survivor - request
        cohorts, copied, moved, of_buffer = _copy(
            cohorts + 1, births, ages, buffered, cached, tenuring, room, flushed
        )
        copied += request
        if of_buffer > 0:
            waiting, since = waiting + of_buffer, now
        state[0] += moved
        early = max(-room, 0.0)  # request objects that found no room: promoted, and dead soon
        state[1], promoted = state[1] + early, promoted + moved + early
        dying = max(state[0] - LIVE - waiting, 0.0) * (eden / allocated) / EVICTED
        state[0], state[1] = state[0] - dying, state[1] + dying
        card = 0.0000011 * (state[0] + state[1])
        starts[pauses], lengths[pauses] = now, 0.0042 + 0.00023 * copied + 0.0009 * (moved + early) + card
        now += lengths[pauses]
        pauses, minor = pauses + 1, minor + 1
        pause = _old(state, copied, young, now, spans)
        if pause > 0:
            starts[pauses], lengths[pauses] = now, pause
            now, pauses = now + pause, pauses + 1
    return pauses, int(state[3]), minor, promoted


@numba.njit(cache=True)
def _p99(starts, lengths, spans, end, shift, service):
    """The 99th percentile in s of requests that arrive evenly until ``end`` s.

    They wait for the rest of a pause, then behind its queue as it drains; concurrent work (spans) slows them.
    """
    n = len(service)
    latency, k, span = np.empty(n), -1, 0
    for i in range(n):
        at = (i + shift) * end / n
        while k + 1 < len(starts) and starts[k + 1] <= at:
            k += 1
        while span < len(spans) and spans[span, 1] <= at:
            span += 1
        value = service[int((i * 0.6180339887498949 + shift) % 1.0 * n)]  # unlike the arrivals' order
        if span < len(spans) and spans[span, 0] < at:
            value *= 1.7
        if k >= 0:
            since, length = at - starts[k], lengths[k]
            if since < length:
                value += length - since + BUSY * since / CORES * 2
            else:
                value += max(BUSY * length - (1 - BUSY) * (since - length), 0.0) / CORES * 2
        latency[i] = value
    place = int(0.99 * (n - 1))
    return np.partition(latency, place)[place]


def _measured(
    young: int, ratio: int, tenuring: int, allocated: float, phase: float, shift: float
) -> dict[str, float]:
    """What one run measures, given the rate of allocation, the flushes' phase and the arrivals' shift."""
    starts, lengths, spans = np.zeros(8_000), np.zeros(8_000), np.zeros((400, 2))
    pauses, working, minor, promoted = _collections(
        float(young), float(ratio), tenuring, allocated, phase, starts, lengths, spans
    )
    starts, lengths, seconds = starts[:pauses], lengths[:pauses], float(starts[pauses - 1])
    return {
        "gc_rate": minor / seconds,
        "gc_pause": 1000 * float(lengths.mean()),
        "promoted_mb_s": promoted / seconds,
        "p99": 1000 * _p99(starts, lengths, spans[:working], min(SECONDS, seconds), shift, SERVICE),
    }


def cassandra_run(configuration: Configuration, rng: np.random.Generator | None) -> dict[str, float]:
    """Young collections a second, mean pause in ms, MB/s promoted, 99th percentile of latency in ms.

    Runs differ in the load, the phase of the flushes and the arrivals. Without ``rng`` it is the mean over
    them.
    """
    young, ratio, tenuring = (int(configuration[name]) for name in FLAGS)
    if rng is None:
        return dict(_expected(young, ratio, tenuring))
    allocated = ALLOCATED * float(np.exp(LOAD * rng.normal()))
    return _measured(young, ratio, tenuring, allocated, FLUSH * float(rng.uniform()), float(rng.uniform()))


@lru_cache(maxsize=100_000)
def _expected(young: int, ratio: int, tenuring: int) -> Mapping[str, float]:
    """The mean over runs: loads, phases and arrivals in equal steps, in different orders."""
    steps = (np.arange(RUNS) + 0.5) / RUNS
    loads, arrivals = (np.random.default_rng(k).permutation(steps) for k in (1, 2))
    allocated = ALLOCATED * np.exp(LOAD * ndtri(loads))
    runs = [
        _measured(young, ratio, tenuring, float(allocated[i]), FLUSH * float(steps[i]), float(arrivals[i]))
        for i in range(RUNS)
    ]
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}


def cassandra_space() -> boat.Space:
    """The young generation's size, its survivor spaces, and how often an object is copied before it is
    promoted."""
    return boat.Space(
        young_mb=boat.Integer(128, 1536, log=True, unit="MB", default=320),
        survivor_ratio=boat.Integer(1, 16, log=True, default=8),
        tenuring=boat.Integer(0, 15, default=1),
    )
