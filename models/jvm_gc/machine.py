"""What the rest of the machine did while a run was measured: it bounds what a latency is worth."""

import os
import threading
import time
from pathlib import Path

_NAP = 0.001  # seconds
_LONG = 0.005  # a nap this much too long means that the machine stood still, not that the scheduler was busy


class Window:
    """Watches the machine from ``open()`` to ``close()`` on behalf of one process that is being measured.

    ``other_cpu``: cores that other processes used, time stolen by the host of a virtual machine included.
    ``stalled``: share of the window in which a thread that only sleeps was woken late, the sign of a
    machine that stood still (such a stall hits whatever runs, and looks like a pause of the collector).
    Both NaN until closed, other_cpu also where there is no /proc.
    """

    def __init__(self, pid: int) -> None:
        self.other_cpu = float("nan")
        self.stalled = float("nan")
        self._pid = pid
        self._before: tuple[float, float] | None = None
        self._late = 0.0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._nap, daemon=True)

    def open(self) -> None:
        """The measured window begins."""
        self._before = _cpu_seconds(self._pid)
        self._opened = time.monotonic()
        self._watch.start()

    def close(self) -> None:
        """The measured window ends; later calls change nothing."""
        if self._over.is_set() or not self._watch.is_alive():
            return
        seconds = time.monotonic() - self._opened
        after = _cpu_seconds(self._pid)
        self._over.set()
        self._watch.join()
        self.stalled = self._late / seconds
        if self._before and after:
            machine, own = after[0] - self._before[0], after[1] - self._before[1]
            self.other_cpu = max(0.0, (machine - own) / seconds)

    def _nap(self) -> None:
        before = time.monotonic()
        while not self._over.is_set():
            time.sleep(_NAP)
            now = time.monotonic()
            late = now - before - _NAP
            self._late += late if late > _LONG else 0.0
            before = now


def _cpu_seconds(pid: int) -> tuple[float, float] | None:
    """CPU seconds used on the whole machine (stolen ones included), and by the process and ourselves."""
    try:
        machine = [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        process = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        user, nice, system, _idle, _iowait, irq, softirq, steal = machine
        tick = os.sysconf("SC_CLK_TCK")
        own = (int(process[11]) + int(process[12])) / tick + time.process_time()
    except (OSError, IndexError, ValueError):
        return None  # not Linux, or the process is gone
    return (user + nice + system + irq + softirq + steal) / tick, own
