"""
Two sides compared: cold, first-after-ready and steady apart, each as a ratio with an interval from resampling.

A difference is *called* only where the interval leaves 1 out. Its level is 99 %: a gate that is wrong in one build of
twenty is soon switched off. Neighbouring timings are alike, so blocks of them are resampled and not single ones
(moving blocks: Kuensch 1989; a plain bootstrap covered 55-70 % where it promised 95 %, steady-state.md section 6). Where
both sides were interleaved, the pairs are resampled, and what the host did to both falls out. Waits for a processor are
taken off where both sides tell them: with them +20 % was missed in 5 of 40 busy pairs, without in none.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from jitwarmup.analysis.sides import Measured, Series
from jitwarmup.analysis.stats import LEAST_WIDTH, effective_size, median, quantile
from jitwarmup.records.codec import Record

LEVEL = 0.99
DRAWS = 2000
SEED = 20  # the same files give the same words
PAIRS = 8  # fewer pairs cannot leave 1 out at this level by sign alone: 2 * (1/2)^7 is above 1 %
RUNS = 5  # on each side without pairs: two sets of five fall apart by chance in 2 of 252 orders
MOST = 4000  # values of a side that are resampled; the newest of more

Call = Literal["slower", "faster", "same", "unknown"]
Method = Literal["pairs", "runs", "processes", "single", "absent"]
METRICS = ("cold", "first", "steady", "first_item", "item_gap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio(Record):
    """
    One metric of B over A. ``verdict`` says whether they differ beyond the noise; ``method`` what was resampled.

    ``low`` and ``high`` are None where there is too little to tell: a single cold run has no interval.
    """

    metric: str
    a_s: float | None = None
    b_s: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    n: int = 0
    method: Method = "absent"
    verdict: Call = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Record):
    """B against A. ``compiles`` maps a kind to its counts (A, B); None where one side could not look."""

    a: str
    b: str
    ratios: tuple[Ratio, ...]
    interleaved: bool
    processes: tuple[int, int] = (1, 1)
    failed: tuple[int, int] = (0, 0)
    compiles: Mapping[str, tuple[int, int]] | None = field(default_factory=dict)
    schema: str = "jitwarmup.comparison/1"

    def of(self, metric: str) -> Ratio:
        """The ratio of one metric."""
        return next((ratio for ratio in self.ratios if ratio.metric == metric), Ratio(metric=metric))


def compare(a: Measured, b: Measured) -> Comparison:
    """Everything that both sides know, B over A."""
    a, b = unless_unknown(a, b)
    paired = pairs_of(a, b)
    ratios = [
        of_singles("cold", a.cold_s, b.cold_s),
        of_singles("first", a.first_s, b.first_s),
        of_pairs("steady", paired) if paired else of_series("steady", a.steady, b.steady),
        of_series("first_item", a.first_item, b.first_item),
        of_series("item_gap", a.item_gap, b.item_gap),
    ]
    return Comparison(
        a=a.name,
        b=b.name,
        ratios=tuple(ratio for ratio in ratios if ratio.a_s is not None or ratio.b_s is not None),
        interleaved=bool(paired),
        processes=(a.processes, b.processes),
        failed=(a.failed, b.failed),
        compiles=counts(a, b),
    )


def unless_unknown(a: Measured, b: Measured) -> tuple[Measured, Measured]:
    """Both sides without their waits for a processor, which are the host's and not the function's, where both tell."""
    if not all(series.quiet for side in (a, b) for series in side.steady):
        return a, b
    calm = [tuple(replace(series, seconds=series.quiet) for series in side.steady) for side in (a, b)]
    return replace(a, steady=calm[0]), replace(b, steady=calm[1])


def counts(a: Measured, b: Measured) -> Mapping[str, tuple[int, int]] | None:
    """Compiles by kind on both sides."""
    if a.compiles is None or b.compiles is None:
        return None
    return {kind: (a.compiles.get(kind, 0), b.compiles.get(kind, 0)) for kind in sorted({**a.compiles, **b.compiles})}


# ------------------------------------------------------------------ the three ways


def pairs_of(a: Measured, b: Measured) -> list[tuple[float, float]]:
    """The pairs of runs that were made in turn, in one process; none where the sides were not interleaved."""
    if len(a.steady) != 1 or len(b.steady) != 1:
        return []
    mine, theirs = by_place(a.steady[0]), by_place(b.steady[0])
    shared = sorted(mine.keys() & theirs.keys())
    for here, after in itertools.pairwise(shared):
        if max(mine[here][0], theirs[here][0]) > min(mine[after][0], theirs[after][0]):
            return []
    return [(mine[at][1], theirs[at][1]) for at in shared] if len(shared) > 1 else []


def by_place(series: Series) -> dict[int, tuple[float, float]]:
    """Place in the plan -> (started at, seconds)."""
    return dict(zip(series.places, zip(series.started_at, series.seconds, strict=False), strict=False))


def of_pairs(metric: str, pairs: Sequence[tuple[float, float]]) -> Ratio:
    """The median of the ratios within pairs."""
    steps = [math.log(b / a) for a, b in pairs if a > 0 and b > 0]
    a_s, b_s = median([a for a, _ in pairs]), median([b for _, b in pairs])
    if len(steps) < PAIRS:
        return ratio_of(metric, a_s, b_s, math.exp(median(steps)) if steps else None, None, len(steps), "pairs")
    drawn = list(map(statistics.median, blocks(steps)))
    return ratio_of(metric, a_s, b_s, math.exp(median(steps)), bounds(drawn, LEAST_WIDTH), len(steps), "pairs")


def of_series(metric: str, a: Sequence[Series], b: Sequence[Series]) -> Ratio:
    """The ratio of the medians; of several processes on both sides, their medians are what is resampled."""
    mine, theirs = positive(a), positive(b)
    if not mine or not theirs:
        return ratio_of(metric, middle(mine), middle(theirs), None, None, 0, "absent")
    if min(len(mine), len(theirs)) > 1:
        return of_singles(metric, [median(one) for one in mine], [median(one) for one in theirs])
    ours, others = [value for one in mine for value in one], [value for one in theirs for value in one]
    a_s, b_s = median(ours), median(others)
    enough = min(len(ours), len(others)) >= RUNS
    drawn = list(map(log_ratio, blocks(ours), blocks(others, SEED + 1))) if enough else []
    return ratio_of(metric, a_s, b_s, b_s / a_s, bounds(drawn, 2 * LEAST_WIDTH), min(len(ours), len(others)), "runs")


def of_singles(metric: str, a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of the medians of values of which each process gives one."""
    mine, theirs = [value for value in a if value > 0], [value for value in b if value > 0]
    if not mine or not theirs:
        return ratio_of(metric, middle([mine]), middle([theirs]), None, None, 0, "absent")
    least = min(len(mine), len(theirs))
    drawn = list(map(log_ratio, blocks(mine), blocks(theirs, SEED + 1))) if least >= RUNS else []
    method: Method = "single" if least == 1 else "processes"
    a_s, b_s = median(mine), median(theirs)
    return ratio_of(metric, a_s, b_s, b_s / a_s, bounds(drawn, 2 * LEAST_WIDTH), least, method)


def positive(series: Sequence[Series]) -> list[list[float]]:
    """The values that have a logarithm, at most `MOST` of each process."""
    found = [[value for value in one.seconds if value > 0 and math.isfinite(value)][-MOST:] for one in series]
    return [one for one in found if one]


def middle(series: Sequence[Sequence[float]]) -> float | None:
    """The median of all values; None where there is none."""
    values = [value for one in series for value in one]
    return median(values) if values else None


def ratio_of(  # noqa: PLR0917 - a row of a table
    metric: str,
    a_s: float | None,
    b_s: float | None,
    ratio: float | None,
    edges: tuple[float, float] | None,
    n: int,
    method: Method,
) -> Ratio:
    """A ratio and what may be said of it."""
    low, high = edges if edges is not None else (None, None)
    verdict: Call = "unknown"
    if low is not None and high is not None:
        verdict = "slower" if low > 1 else "faster" if high < 1 else "same"
    return Ratio(metric=metric, a_s=a_s, b_s=b_s, ratio=ratio, low=low, high=high, n=n, method=method, verdict=verdict)


# ------------------------------------------------------------------ resampling


def blocks(values: Sequence[float], seed: int = SEED) -> Iterator[list[float]]:
    """Resamples of a series by circular blocks, as long as neighbours are alike."""
    chance, count = random.Random(seed), len(values)  # noqa: S311 - resampling, not cryptography
    length = max(1, round(count / effective_size(values)))
    ring = [*values, *values[:length]]
    starts, wanted = range(count), -(-count // length)
    for _ in range(DRAWS if count < 200 else DRAWS // 4):
        drawn = chance.choices(starts, k=wanted)
        yield [value for at in drawn for value in ring[at : at + length]][:count]


def log_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Logarithm of the ratio of the medians."""
    return math.log(statistics.median(b) / statistics.median(a))


def bounds(logs: Sequence[float], least: float) -> tuple[float, float] | None:
    """The ratio's interval from resampled logarithms, no narrower than ``least`` on each side of its middle."""
    if not logs:
        return None
    centre = median(logs)
    low, high = quantile(logs, (1 - LEVEL) / 2), quantile(logs, (1 + LEVEL) / 2)
    return math.exp(min(low, centre - least)), math.exp(max(high, centre + least))
