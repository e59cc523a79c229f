"""Seconds in a form that people read: one formatter for views and events."""

from __future__ import annotations

from datetime import UTC, datetime

SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def span(seconds: float | None, digits: int = 3) -> str:
    """Seconds in the unit that suits them, to three digits; a dash where there is no number."""
    if seconds is None:
        return "-"
    for scale, unit in SCALES:
        if abs(seconds) >= 0.9995 * scale:  # what rounds up to 1000 of a unit is 1 of the next
            return f"{seconds / scale:.{digits}g} {unit}" if abs(seconds) < 999.5 else f"{seconds:.0f} s"
    return "0 s" if seconds == 0 else f"{seconds / 1e-9:.{digits}g} ns"


LAST_S = 253_402_300_799.0  # the end of the year 9999


def moment(since_epoch_s: float) -> datetime:
    """A point in time (UTC), of any number of seconds: before 1970 and after 9999 the nearest that a calendar has."""
    return datetime.fromtimestamp(min(max(since_epoch_s, 0.0), LAST_S), UTC)
