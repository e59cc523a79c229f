"""Numbers with units, for people."""

from __future__ import annotations

SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def span(seconds: float | None) -> str:
    """Seconds in the unit that suits them, to three digits; a dash where there is no number."""
    if seconds is None:
        return "-"
    for scale, unit in SCALES:
        if abs(seconds) >= scale:
            return f"{seconds / scale:.3g} {unit}" if abs(seconds) < 1000 else f"{seconds:.0f} s"
    return "0 s" if seconds == 0 else f"{seconds / 1e-9:.3g} ns"
