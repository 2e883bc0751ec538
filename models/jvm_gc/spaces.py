"""What can be tuned: SerialGC's three flags, or those together with the choice of the collector."""

import boatppl as boat
from models.jvm_gc.workload import Workload

SMALLEST_YOUNG = 4  # MB


def _young_range(workload: Workload) -> tuple[int, int, int]:
    """Lowest, highest and default size of the young generation in MB; the old one keeps a sixth of the heap.

    The default is HotSpot's: NewRatio=2, a third of the heap.
    """
    return SMALLEST_YOUNG, workload.heap_mb * 5 // 6, workload.heap_mb // 3


def space(workload: Workload | None = None) -> boat.Space:
    """The flags of SerialGC at the workload's fixed heap; the default is what SerialGC does untouched.

    young_mb [MB] is -Xmn, survivor_ratio is eden / one survivor space, tenuring is the number of
    collections an object survives before it is promoted.
    """
    low, high, default = _young_range(workload or Workload())
    return boat.Space(
        young_mb=boat.Integer(low, high, log=True, unit="MB", default=default),
        survivor_ratio=boat.Integer(1, 16, log=True, default=8),
        tenuring=boat.Integer(0, 15, default=15),
    )


def collector_space(workload: Workload | None = None) -> boat.Space:
    """The collector itself and each one's flags: sizes for serial and parallel, a pause goal [ms] for g1."""
    low, high, default = _young_range(workload or Workload())
    sized = {"collector": ["serial", "parallel"]}
    return boat.Space(
        collector=boat.Categorical(("serial", "parallel", "g1"), default="serial"),
        young_mb=boat.Integer(low, high, log=True, unit="MB", default=default, when=sized),
        survivor_ratio=boat.Integer(1, 16, log=True, default=8, when=sized),
        tenuring=boat.Integer(0, 15, default=15, when=sized),
        pause_goal_ms=boat.Integer(1, 200, log=True, unit="ms", default=200, when={"collector": "g1"}),
    )
