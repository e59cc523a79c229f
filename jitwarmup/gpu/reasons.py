"""What readings say about a measurement: was the device held back, were its clocks settled, was it alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from jitwarmup.records.runs import DeviceReading
from jitwarmup.records.verdict import Reason, Verdict

FULL_CLOCK = 0.985  # a limit that leaves this share of the clock is ordinary regulation, not throttling
THROTTLING = ("power", "thermal", "board")
SETTLED_MHZ_SHARE = 0.01
THROTTLED = 0.01  # share of a window under a limit from which the device, not the code, sets the pace


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
    result = [celsius for reading in readings for celsius in reading.temperature_c if celsius is not None]
    return result[-1] - result[0] if len(result) > 1 else None


def foreign_pids(readings: Iterable[DeviceReading]) -> tuple[int, ...]:
    """Processes that used the devices beside ours, at any edge of these windows."""
    return tuple(sorted({pid for reading in readings for one in (reading, *reading.others) for pid in one.other_pids}))


def device_reasons(readings: Sequence[DeviceReading]) -> tuple[Reason, ...]:
    """What the devices did to a measurement, as a verdict's reasons; nothing where nothing was read."""
    shares = [share for reading in readings if (share := throttled_share(reading)) is not None]
    found = [Reason(kind="throttled", numbers={"share": max(shares)})] if shares and max(shares) > THROTTLED else []
    if clock_settled(readings) is False:
        clocks = [float(reading.sm_clock_mhz[1]) for reading in readings if reading.sm_clock_mhz[1] is not None]
        found.append(Reason(kind="clock_not_settled", numbers={"min_mhz": min(clocks), "max_mhz": max(clocks)}))
    drift = temperature_drift_c(readings)
    if drift:
        found.append(Reason(kind="temperature_drift", numbers={"drift_c": float(drift)}))
    others = foreign_pids(readings)
    if others:
        found.append(Reason(kind="device_shared", numbers={"processes": float(len(others))}))
    return tuple(found)


def with_devices(verdict: Verdict, readings: Sequence[DeviceReading]) -> Verdict:
    """The verdict with what the devices did; a measurement on a throttled device is not called steady."""
    reasons = device_reasons(readings)
    held_back = verdict.state == "steady" and any(reason.kind == "throttled" for reason in reasons)
    return replace(verdict, state="unsteady" if held_back else verdict.state, reasons=(*verdict.reasons, *reasons))
