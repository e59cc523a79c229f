"""Where the monitor's time comes from; a test may turn it."""

from __future__ import annotations

import time
from typing import Protocol


class Clocks(Protocol):
    """What the monitor asks for time."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds, of the clock that times the runs."""
        ...

    def stamps_ns(self) -> dict[str, int]:
        """What each clock that a driver may stamp its samples with says now."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class HostClocks:
    """The clocks of this machine."""

    def now_ns(self) -> int:
        """`time.perf_counter_ns`, which is CLOCK_MONOTONIC on Linux and so the same in every process."""
        return time.perf_counter_ns()

    def stamps_ns(self) -> dict[str, int]:
        """Realtime and, where they exist, boottime and monotonic."""
        stamps = {"realtime": time.time_ns(), "monotonic": time.monotonic_ns()}
        if hasattr(time, "CLOCK_BOOTTIME"):
            stamps["boottime"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return stamps

    def sleep(self, seconds: float) -> None:
        """`time.sleep`."""
        time.sleep(seconds)
