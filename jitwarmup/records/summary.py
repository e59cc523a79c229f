"""What timings say, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    What ``n`` timings say, in seconds. What the sample is too small for is None.

    ``ci_low_s`` and ``ci_high_s`` bound the median with the level that was really achieved, ``ci_level`` (five values
    cannot give 95 %: they give 93.75 %). ``mad_s`` is the median absolute deviation, unscaled; ``stdev_s`` divides by
    n - 1. ``scope`` is ``process``: what holds within this process; or ``processes``: n counts process medians.
    """

    n: int
    median_s: float | None = None
    ci_low_s: float | None = None
    ci_high_s: float | None = None
    ci_level: float | None = None
    mean_s: float | None = None
    stdev_s: float | None = None
    mad_s: float | None = None
    min_s: float | None = None
    max_s: float | None = None
    p90_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    scope: str = "process"
