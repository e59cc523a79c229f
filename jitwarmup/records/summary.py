"""Figures over a sample of timings, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    Figures over a sample of timings, in seconds. What the sample is too small for is None.

    Fields:
        n: number of timings.
        median_s: their median.
        ci_low_s: lower end of the interval of the median.
        ci_high_s: its upper end.
        ci_level: the level that the interval really achieves (five values cannot give 0.95: they give 0.9375).
        mean_s: arithmetic mean.
        stdev_s: sample standard deviation (divides by n - 1).
        mad_s: median absolute deviation from the median, unscaled.
        min_s: the shortest.
        max_s: the longest.
        p90_s: 90th percentile.
        p95_s: 95th percentile.
        p99_s: 99th percentile.
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
