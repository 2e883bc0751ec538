"""What an engineer writes of a generational collector under a store, without having seen the simulator.

Rates by sizes, pauses by what is copied, latency by both: five lines of textbook (Jones, Hosking & Moss, *The
Garbage Collection Handbook*, 2nd ed. 2023, ch. 9), none of them a formula of :mod:`benchmarks.cassandra`.
"""

import pymc as pm
import pytensor.tensor as pt

import boatppl as boat

FLAGS = ["young_mb", "survivor_ratio", "tenuring"]


def cassandra_model(space: boat.Space) -> boat.DAGModel:
    """Return the model over a space with young_mb, survivor_ratio and tenuring."""

    @boat.derived(unit="MB")
    def eden_mb(young_mb, survivor_ratio):
        return young_mb * survivor_ratio / (survivor_ratio + 2)

    @boat.node(unit="1/s", transform="log")
    def gc_rate(eden_mb):
        malloc_rate = pm.Uniform("malloc_rate", 0, 5000)  # MB/s
        return malloc_rate / eden_mb

    @boat.node(unit="MB/s", transform="log1p", residual=boat.GP(inputs=FLAGS))
    def promoted_mb_s(tenuring):
        first = pm.LogNormal("first", 3, 1.5)  # MB/s that outlive their first collection
        halved = pm.LogNormal("halved", 1, 1)  # collections until half of them are dead
        return first * 2 ** (-tenuring / halved)

    @boat.node(unit="ms", transform="log", residual=boat.GP(inputs=FLAGS))
    def gc_pause(gc_rate, promoted_mb_s, eden_mb):
        fixed = pm.LogNormal("fixed", 0.5, 1)  # ms
        per_mb = pm.LogNormal("per_mb", -4, 1.5)  # ms/MB of eden
        per_promoted = pm.LogNormal("per_promoted", -1, 1.5)  # ms/MB
        return fixed + per_mb * eden_mb + per_promoted * promoted_mb_s / gc_rate

    @boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["gc_rate", "gc_pause", "promoted_mb_s"]))
    def p99(gc_rate, gc_pause):
        service = pm.LogNormal("service", 1, 1)  # ms
        hit = pt.exp(-10 / (gc_rate * gc_pause + 1e-3))  # 1 % of all requests or more fall into a pause
        return service + gc_pause * hit

    return boat.DAGModel(space, [eden_mb, gc_rate, promoted_mb_s, gc_pause, p99])
