"""A share of a processor for each machine, by the control groups of the kernel (version 1 or 2)."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

GROUPS = Path("/sys/fs/cgroup")
PERIOD = 20_000  # microseconds: the grain of a quota


class Processors:
    """Machine ``i`` may use at most ``shares[i]`` of one processor, once its process was :meth:`put` there.

    Raises
    ------
    RuntimeError
        Where no control group may be made.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        self._shares = [float(share) for share in shares]
        self._groups: list[Path] = []

    def __enter__(self) -> Self:
        first = GROUPS / "cpu" if (GROUPS / "cpu" / "cgroup.procs").exists() else GROUPS
        try:
            for i, share in enumerate(self._shares):
                group = first / f"boatppl-{os.getpid()}-{i}"
                group.mkdir()
                self._groups.append(group)
                quota = max(int(share * PERIOD), 1000)
                if (group / "cpu.max").exists():
                    (group / "cpu.max").write_text(f"{quota} {PERIOD}")
                else:
                    (group / "cpu.cfs_period_us").write_text(str(PERIOD))
                    (group / "cpu.cfs_quota_us").write_text(str(quota))
        except OSError as error:
            self.__exit__(None, None, None)
            raise RuntimeError(
                f"no control group for processor quotas may be made here ({error}). Speeds imposed by "
                "waiting (speeds='waiting') need none."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for group in self._groups:
            group.rmdir()
        self._groups = []

    def put(self, machine: int, pid: int) -> None:
        """Let a process count for a machine."""
        (self._groups[machine] / "cgroup.procs").write_text(str(pid))
