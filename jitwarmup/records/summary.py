"""The figures of a sample of timings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    Figures over a sample of ``n`` timings, in seconds. What the sample is too small for is None.

    Fields:
        median_s: the median; ``ci_low_s`` and ``ci_high_s`` are the ends of its interval.
        ci_level: the level that the interval really achieves (five values cannot give 0.95: they give 0.9375).
        mean_s: arithmetic mean; ``min_s`` and ``max_s`` are the shortest and the longest.
        stdev_s: sample standard deviation (divides by n - 1).
        mad_s: median absolute deviation from the median, unscaled.
        p90_s: 90th percentile, as ``p95_s`` and ``p99_s``.
        scope: ``process``: what holds within this process; or ``processes``: the timings are medians of processes.
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
