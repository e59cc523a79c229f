"""
Two sides compared: cold, first-after-ready and steady apart, each as a ratio with an interval from resampling.

A difference is *called* only where the interval leaves 1 out. Its level is 99 %: a gate that is wrong in one build of
twenty is soon switched off. Neighbouring timings are alike, so blocks of them are resampled and not single ones
(moving blocks: Kuensch 1989; a plain bootstrap covered 55-70 % where it promised 95 %, steady-state.md section 6). Where
both sides were interleaved, the pairs are resampled, and what the host did to both falls out. Waits for a processor are
taken off where both sides tell them: with them +20 % was missed in 5 of 40 busy pairs, without in none.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from statistics import median
from typing import Literal

from jitwarmup.analysis.sides import Measured, Series
from jitwarmup.analysis.stats import LEAST_WIDTH, effective_size, quantile
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
        of_pairs(paired) if paired else of_series("steady", a.steady, b.steady),
        of_series("first_item", a.first_item, b.first_item),
        of_series("item_gap", a.item_gap, b.item_gap),
    ]
    compiles = None
    if a.compiles is not None and b.compiles is not None:
        kinds = sorted({**a.compiles, **b.compiles})
        compiles = {kind: (a.compiles.get(kind, 0), b.compiles.get(kind, 0)) for kind in kinds}
    return Comparison(
        a=a.name,
        b=b.name,
        ratios=tuple(ratio for ratio in ratios if ratio.a_s is not None or ratio.b_s is not None),
        interleaved=bool(paired),
        processes=(a.processes, b.processes),
        failed=(a.failed, b.failed),
        compiles=compiles,
    )


def unless_unknown(a: Measured, b: Measured) -> tuple[Measured, Measured]:
    """Both sides without their waits for a processor, which are the host's and not the function's, where both tell."""
    if not all(series.quiet for side in (a, b) for series in side.steady):
        return a, b
    calm = [tuple(replace(series, seconds=series.quiet) for series in side.steady) for side in (a, b)]
    return replace(a, steady=calm[0]), replace(b, steady=calm[1])


# ------------------------------------------------------------------ the three ways


def pairs_of(a: Measured, b: Measured) -> list[tuple[float, float]]:
    """The pairs of runs that were made in turn, in one process; none where the sides were not interleaved."""
    if len(a.steady) != 1 or len(b.steady) != 1:
        return []
    mine, theirs = by_place(a.steady[0]), by_place(b.steady[0])
    shared = sorted(mine.keys() & theirs.keys())
    for here, after in pairwise(shared):
        if max(mine[here][0], theirs[here][0]) > min(mine[after][0], theirs[after][0]):
            return []
    return [(mine[at][1], theirs[at][1]) for at in shared] if len(shared) > 1 else []


def by_place(series: Series) -> dict[int, tuple[float, float]]:
    """Place in the plan -> (started at, seconds)."""
    return dict(zip(series.places, zip(series.started_at, series.seconds, strict=False), strict=False))


def of_pairs(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """Of steady runs the median of the ratios within pairs."""
    steps = [math.log(b / a) for a, b in pairs if a > 0 and b > 0]
    known = Ratio(
        metric="steady",
        a_s=median([a for a, _ in pairs]),
        b_s=median([b for _, b in pairs]),
        ratio=math.exp(median(steps)) if steps else None,
        n=len(steps),
        method="pairs",
    )
    return called(known, [median(drawn) for drawn in blocks(steps)] if len(steps) >= PAIRS else [], LEAST_WIDTH)


def of_series(metric: str, a: Sequence[Series], b: Sequence[Series]) -> Ratio:
    """The ratio of the medians; of several processes on both sides, their medians are what is resampled."""
    mine, theirs = positive(a), positive(b)
    if min(len(mine), len(theirs)) > 1:
        return of_singles(metric, [median(one) for one in mine], [median(one) for one in theirs])
    return of_values(metric, list(chain(*mine)), list(chain(*theirs)), "runs")


def of_singles(metric: str, a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of the medians of values of which each process gives one."""
    mine, theirs = [value for value in a if value > 0], [value for value in b if value > 0]
    return of_values(metric, mine, theirs, "single" if min(len(mine), len(theirs)) == 1 else "processes")


def of_values(metric: str, a: Sequence[float], b: Sequence[float], method: Method) -> Ratio:
    """The ratio of two medians, both sides resampled where they have values enough."""
    a_s, b_s = median(a) if a else None, median(b) if b else None
    if a_s is None or b_s is None:
        return Ratio(metric=metric, a_s=a_s, b_s=b_s)
    least = min(len(a), len(b))
    known = Ratio(metric=metric, a_s=a_s, b_s=b_s, ratio=b_s / a_s, n=least, method=method)
    drawn = list(map(log_ratio, blocks(a), blocks(b, SEED + 1))) if least >= RUNS else []
    return called(known, drawn, 2 * LEAST_WIDTH)


def positive(series: Sequence[Series]) -> list[list[float]]:
    """The values that have a logarithm, at most `MOST` of each process."""
    found = [[value for value in one.seconds if value > 0 and math.isfinite(value)][-MOST:] for one in series]
    return [one for one in found if one]


def called(known: Ratio, logs: Sequence[float], least: float) -> Ratio:
    """A ratio with its interval from resampled logarithms, no narrower than ``least`` on each side, and the verdict."""
    if not logs:
        return known
    centre = median(logs)
    low = math.exp(min(quantile(logs, (1 - LEVEL) / 2), centre - least))
    high = math.exp(max(quantile(logs, (1 + LEVEL) / 2), centre + least))
    return replace(known, low=low, high=high, verdict="slower" if low > 1 else "faster" if high < 1 else "same")


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
    return math.log(median(b) / median(a))
