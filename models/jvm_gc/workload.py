"""The load that the store is put under while its collector is measured: specs, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Workload:
    """A table, an open-loop load on it and the heap that must hold both.

    Arrivals are Poisson and never wait for one another; keys are zipfian; an operation is a point read or
    an update of a whole row. The heap is fixed: it belongs to what is measured, not to what is tuned.
    """

    rows: int = 40_000
    row_bytes: int = 1_000
    rate: float = 14_000.0  # arrivals per second
    heap_mb: int = 96
    read_share: float = 0.5  # the other operations are updates
    zipf: float = 0.99  # exponent of the popularity of keys: 0 is uniform, below 1
    warmup_s: float = 1.0
    measured_s: float = 5.0
    cache_kb: int = 8_192  # the store's page cache
    workers: int = 1  # threads that serve the arrivals, first come first served

    def __post_init__(self) -> None:
        for name in ("rows", "row_bytes", "rate", "heap_mb", "measured_s", "cache_kb", "workers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"a workload's {name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.read_share <= 1 or not 0 <= self.zipf < 1 or self.warmup_s < 0:
            raise ValueError(
                f"a workload needs read_share in [0, 1], zipf in [0, 1) and warmup_s >= 0, got "
                f"{self.read_share}, {self.zipf} and {self.warmup_s}"
            )

    @property
    def store_mb(self) -> float:
        """Room that one run needs on its medium: the store appends pages and drops none for 45 s."""
        data = self.rows * self.row_bytes / 1e6
        page_mb = 0.02 + 2 * self.row_bytes / 1e6  # an update rewrites a page of about 16 KB
        updates = self.rate * (1 - self.read_share) * (self.warmup_s + self.measured_s)
        return 100 + 3 * data + updates * page_mb


WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        "small-rows": Workload(),
        "tiny-rows": Workload(rows=80_000, row_bytes=400, rate=16_000.0, heap_mb=128),
    }
)
