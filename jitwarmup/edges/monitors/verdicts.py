"""What readings say about a measurement: was the device held back, were its clocks settled, was it alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jitwarmup.edges.monitors.reading import FULL_CLOCK, SETTLED_MHZ_SHARE, THROTTLING
from jitwarmup.model.runs import DeviceReading


def throttled_share(reading: DeviceReading) -> float | None:
    """
    The share of the window under a power, thermal or board limit with the clock below 98.5 % of its maximum.

    A power cap at full clock is ordinary regulation and counts as 0. None where limits or clocks were not read.
    """
    seconds = [reading.throttled_s[name] for name in THROTTLING if name in reading.throttled_s]
    clocks = [clock for clock in reading.sm_clock_mhz if clock is not None]
    if not seconds or not clocks or not reading.sm_clock_max_mhz or not reading.duration_s:
        return None
    if min(clocks) >= FULL_CLOCK * reading.sm_clock_max_mhz:
        return 0.0
    return min(1.0, max(seconds) / reading.duration_s)


def clock_settled(readings: Sequence[DeviceReading]) -> bool | None:
    """Whether the SM clock at the ends of the windows stayed within 1 % of itself; None for fewer than two."""
    clocks = [reading.sm_clock_mhz[1] for reading in readings if reading.sm_clock_mhz[1] is not None]
    if len(clocks) < 2:
        return None
    return (max(clocks) - min(clocks)) <= SETTLED_MHZ_SHARE * max(clocks)


def temperature_drift_c(readings: Sequence[DeviceReading]) -> int | None:
    """How much warmer the device ended than it began, in degrees; None where it was not read at both ends."""
    told = [celsius for reading in readings for celsius in reading.temperature_c if celsius is not None]
    return told[-1] - told[0] if len(told) > 1 else None


def foreign_pids(readings: Iterable[DeviceReading]) -> tuple[int, ...]:
    """Processes that used the devices beside ours, at any edge of these windows."""
    return tuple(sorted({pid for reading in readings for one in (reading, *reading.others) for pid in one.other_pids}))
