"""Numbers with units, for people."""

from __future__ import annotations

SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def span(seconds: float | None) -> str:
    """Seconds in the unit that suits them, to three digits; a dash where there is no number."""
    if seconds is None:
        return "-"
    for scale, unit in SCALES:
        if abs(seconds) >= 0.9995 * scale:  # what rounds up to 1000 of a unit is 1 of the next
            return f"{seconds / scale:.3g} {unit}" if abs(seconds) < 999.5 else f"{seconds:.0f} s"
    return "0 s" if seconds == 0 else f"{seconds / 1e-9:.3g} ns"


def table(rows: list[tuple[str, str]]) -> str:
    """Two columns, the second flush right."""
    left = max(len(name) for name, _ in rows)
    right = max(len(value) for _, value in rows)
    return "\n".join(f"{name:{left}}  {value:>{right}}" for name, value in rows)
