"""
Numbers over plain seconds: a summary with an honest interval, and the small robust statistics that rules are made of.

The interval of the median is the order-statistic one on the *effective* sample size, never narrower than +-1 %. Student
intervals and bootstraps of 10 neighbouring timings covered the long-run value in 55-70 % of cases at a nominal 95 %;
this one in 92-99 % (evidence: steady-state.md, section 6). Real steady states wander slowly, which no formula over 10
to 30 values can see: hence `LEAST_WIDTH`, and hence ``scope``, which says that another process may differ by more.

Everything is written for short sequences and the standard library only.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.report import Summary

LEAST_WIDTH = 0.01  # relative half-width below which no interval of one process is honest: the wander of a steady state
CONTENDED = 0.10  # share of wall time spent waiting for a processor above which the host is called busy
DOUBT, DOUBT_BUSY = 0.5, 1.0  # standard errors by which neighbours may be more alike than they look, on a busy host too
FEW = 6.0  # independent values below which no interval within the sample reaches 95 %
MAD_TO_SIGMA = 1.4826  # of a normal distribution


class Interval(NamedTuple):
    """Bounds and the level they achieve (a fraction)."""

    low: float
    high: float
    level: float


def summarize(values_s: Sequence[float], level: float = 0.95, *, contention_share: float | None = None) -> Summary:
    """
    Summary of timings in seconds, in the order in which they were taken (neighbours are asked how alike they are).

    ``contention_share`` is the share of their time spent waiting for a processor, where it is known: on a busy host the
    interval is wider, or its level lower. Raises ArgumentError for a level outside (0, 1). Values that are not finite are left out, and
    ``n`` is without them.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"got level={level!r}; wanted a fraction between 0 and 1; for 95 percent give level=0.95")
    values = finite(values_s)
    if not values:
        return Summary(n=0)
    low, high, achieved = median_interval(values, level, contention_share=contention_share) or (None, None, None)
    count, centre = len(values), median(values)
    return Summary(
        n=count,
        median_s=centre,
        ci_low_s=low,
        ci_high_s=high,
        ci_level=achieved,
        mean_s=fmean(values),
        stdev_s=statistics.stdev(values) if count >= 2 else None,
        mad_s=median([abs(value - centre) for value in values]) if count >= 2 else None,
        min_s=min(values),
        max_s=max(values),
        p90_s=quantile(values, 0.90) if count >= 10 else None,
        p95_s=quantile(values, 0.95) if count >= 20 else None,
        p99_s=quantile(values, 0.99) if count >= 100 else None,
    )


def across_processes(medians_s: Sequence[float], level: float = 0.95) -> Summary:
    """
    Summary of the medians of several processes, with Student's t interval on their logarithms.

    A single process covers the cross-process value in only 57-60 % of cases, three processes by this in 93 %, five in
    98 % (steady-state.md, section 6). ``n`` counts processes; medians that are not positive and finite are left out.
    """
    medians = [value for value in finite(medians_s) if value > 0]
    found = replace(summarize(medians, level), scope="processes")
    if len(medians) < 2:
        return found
    logs = [math.log(value) for value in medians]
    centre = fmean(logs)
    half = t_quantile(level, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    low, high, _ = _floored(median(medians), math.exp(centre - half), math.exp(centre + half), level)
    return replace(found, ci_low_s=low, ci_high_s=high, ci_level=level)


def median_interval(
    values: Sequence[float], level: float = 0.95, *, contention_share: float | None = None
) -> Interval | None:
    """
    Order-statistic interval of the median on the effective sample size, at least +-1 %; None for fewer than two values.

    With n effective values and k the largest rank whose two binomial tails fit into 1 - level, the bounds are the
    sample's quantiles (k - 1/2)/n and its mirror; rank 1 is the extremes, beyond which nothing is known. The level
    reported is the binomial's; of fewer than six effective values it is 1 - 2^(1-n), which moves with n in no steps.
    Neighbours are given half a standard error of the doubt how alike they are, and a whole one above a contention share
    of 10 %, since the load of a host wanders.
    """
    if len(values) < 2:
        return None
    busy = contention_share is not None and contention_share > CONTENDED
    size = effective_size(values, DOUBT_BUSY if busy else DOUBT)
    rank, achieved = _binomial_rank(int(size), 1 - level) if size >= FEW else (1, -math.expm1((1 - size) * math.log(2)))
    ordered = sorted(values)
    edge = 0.0 if rank == 1 else (rank - 0.5) / int(size) * len(ordered) - 0.5
    return _floored(median(ordered), _at(ordered, edge), _at(ordered, len(ordered) - 1 - edge), achieved)


def effective_size(values: Sequence[float], doubt: float = 0.0) -> float:
    """
    How many independent values the sequence is worth, at least 2: by its lag-1 correlation, less its small-sample bias.

    ``doubt`` is how many of its standard errors the correlation is taken to be greater.
    """
    count = len(values)
    if min(values) == max(values):
        return count
    found = lag1(values)
    unbiased = min(max(found + (1 + 4 * found) / count, 0.0), 0.95)
    correlation = min(unbiased + doubt * math.sqrt((1 - unbiased * unbiased) / count), 0.95)
    return min(count, max(2.0, count * (1 - correlation) / (1 + correlation)))


def finite(values: Iterable[float]) -> list[float]:
    """The values that are numbers and finite, in order."""
    return [float(value) for value in values if math.isfinite(value)]


def quantile(values: Sequence[float], share: float) -> float:
    """Quantile by linear interpolation (numpy's default, type 7) of at least one value."""
    return _at(sorted(values), share * (len(values) - 1))


def cov(values: Sequence[float]) -> float:
    """Coefficient of variation: stdev / |mean|; 0 where all values are equal, ``inf`` around a zero mean."""
    if len(values) < 2 or min(values) == max(values):
        return 0.0
    centre = abs(fmean(values))
    return statistics.stdev(values) / centre if centre else math.inf


def lag1(values: Sequence[float]) -> float:
    """Lag-1 autocorrelation; 0 where the values do not vary."""
    centre = fmean(values) if values else 0.0
    apart = [value - centre for value in values]
    spread = math.fsum(part * part for part in apart)
    return math.fsum(one * two for one, two in pairwise(apart)) / spread if spread else 0.0


def noise_of_log(values: Sequence[float]) -> float:
    """Robust sigma of the logarithms from their first differences, so that steps and drift hardly enter it."""
    steps = [math.log(two) - math.log(one) for one, two in pairwise(values) if one > 0 and two > 0]
    return MAD_TO_SIGMA * median([abs(step) for step in steps]) / math.sqrt(2) if steps else 0.0


def mann_kendall_z(values: Sequence[float]) -> float:
    """Mann-Kendall trend score with continuity correction, ties accounted for; negative means falling."""
    score, ordered = 0, list[float]()  # the values before each one, in order: n log n, not all pairs
    for value in values:
        score += bisect_left(ordered, value) + bisect_right(ordered, value) - len(ordered)
        insort(ordered, value)
    variance = (_kendall(len(values)) - sum(map(_kendall, Counter(values).values()))) / 18
    sign = (score > 0) - (score < 0)
    return (score - sign) / math.sqrt(variance) if variance > 0 else 0.0


def theil_sen(values: Sequence[float]) -> float:
    """Median slope over all pairs, per step, of at least two values."""
    places = range(len(values))
    return median([(values[later] - values[at]) / (later - at) for at in places for later in places[at + 1 :]])


def t_quantile(level: float, freedom: int) -> float:
    """
    Two-sided quantile of Student's t: the t with P(|T| <= t) = level, for whole degrees of freedom.

    Bisection over the closed form of Abramowitz and Stegun 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _t_within(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan(angle))."""
    odd = freedom % 2
    sine, cosine = math.sin(angle), math.cos(angle)
    term = total = cosine if odd else 1.0
    for step in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (step - 1) / step
        total += term
    if not odd:
        return sine * total
    return 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))


def _floored(centre: float, low: float, high: float, level: float) -> Interval:
    slack = LEAST_WIDTH * abs(centre)
    return Interval(low=min(low, centre - slack), high=max(high, centre + slack), level=level)


def _binomial_rank(size: int, allowance: float) -> tuple[int, float]:
    """The largest rank k >= 1 with P(B < k) + P(B > size - k) <= allowance for B ~ Bin(size, 1/2), and the level it gives."""
    rank = max(0, size // 2 - 6 * math.isqrt(size))  # twelve sigma below the middle: what lies beneath is below 1e-30
    ways = math.comb(size, rank)
    below, whole = ways, 2**size
    while 2 * (below + ways * (size - rank) // (rank + 1)) / whole <= allowance:
        ways = ways * (size - rank) // (rank + 1)
        below, rank = below + ways, rank + 1
    return rank + 1, max(0.0, 1 - 2 * below / whole)


def _at(ordered: Sequence[float], position: float) -> float:
    """Value at a fractional 0-based position of a sorted sequence."""
    position = min(max(position, 0.0), len(ordered) - 1.0)
    at = int(position)
    low, high = ordered[at], ordered[min(at + 1, len(ordered) - 1)]
    return min(high, low + (high - low) * (position - at))


def _kendall(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)
