"""
Two sides compared: cold, first-after-ready, steady, its own time and its CPU seconds apart, each as a ratio with an interval.

A difference is *called* only where its interval leaves 1 out. The level is 99 %: a gate that is wrong in one build of
twenty is soon switched off. Neighbouring timings are alike, so blocks of them are resampled and not single ones
(moving blocks: Kuensch 1989; a plain bootstrap covered 55-70 % where it promised 95 %, steady-state.md section 6). Where
both sides were interleaved, the pairs are resampled, and what the host did to both falls out.

Two statistics are looked at: the ratio of the medians, and the typical ratio of a run of B to a run of A (the shift of
Hodges and Lehmann 1963, which belongs to the tests of Mann and Whitney and of Wilcoxon): where times have two levels,
the median jumps between them, and of +20 % it saw 14 % where the rank test saw 66 %.

The steady time that decides is the wall time. Own time, with what others took taken off, is shown beside it and has a
veto: where the two disagree, and where too little is known, the answer is ``undecided``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Literal

from jitwarmup.analysis.resampling import (
    LEVEL,
    RUNS,
    SEED,
    SHIFTS,
    apart_by,
    blocks,
    independent,
    interval,
    log_ratio,
    typical,
)
from jitwarmup.analysis.sides import Difference, Measured, Series, differences
from jitwarmup.analysis.stats import CONTENDED, LEAST_WIDTH
from jitwarmup.records.codec import Record

PAIRS = 8  # fewer pairs cannot leave 1 out at this level by sign alone: 2 * (1/2)^7 is above 1 %
MOST = 4000  # values of a side that are resampled; the newest of more
SHIFTED = 50  # values of a side up to which the shift is looked at; of more the median is sure enough of itself
PRECISE = math.log(1.2)  # an interval that reaches a difference of a fifth is no proof that there is none
PROCESS_SPREAD = 2.58 * 0.04  # at this level: medians of processes of one program spread by 1 to 4 % (layout, ...)

Call = Literal["slower", "faster", "same", "undecided"]
Method = Literal["pairs", "runs", "processes", "single", "absent"]
Why = Literal[
    "", "absent", "single", "few", "alike", "processes", "noise", "busy", "disagree", "own_time", "environment"
]
METRICS = ("cold", "first", "steady", "own_time", "cpu", "first_item", "item_gap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio(Record):
    """
    One metric of B over A.

    Fields:
        metric: one of `METRICS`; ``steady``, ``first_item`` and ``item_gap`` are wall times.
        a_s: median seconds of A; of B ``b_s``.
        ratio: of the medians, B over A; ``low`` and ``high`` are the ends of its interval. None where there is too little
            to tell: a single cold run has no interval.
        most: upper end of the one-sided 95 % interval: slower than this B is not.
        shift: the typical ratio of a run of B to a run of A, with ``shift_low`` and ``shift_high``; None of long series.
        level: of the two-sided intervals.
        n: how many values were compared, of the side that has fewer.
        method: what was resampled.
        verdict: whether the sides differ beyond the noise.
        why: of what is undecided, the reason; ``own_time``: the wall times are too noisy, and own time told.
    """

    metric: str
    a_s: float | None = None
    b_s: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    most: float | None = None
    shift: float | None = None
    shift_low: float | None = None
    shift_high: float | None = None
    level: float = LEVEL
    n: int = 0
    method: Method = "absent"
    verdict: Call = "undecided"
    why: Why = "absent"

    @property
    def size(self) -> float | None:
        """How much slower or faster a called difference is: the ratio, or the shift where only that was called."""
        sees = self.low is None or self.high is None or not self.low <= 1 <= self.high
        return self.ratio if sees or self.shift is None or self.verdict not in ("slower", "faster") else self.shift

    def undecided(self, why: Why) -> Ratio:
        """The same without a verdict; what stands undecided keeps its reason."""
        return self if self.verdict == "undecided" else replace(self, verdict="undecided", why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Record):
    """
    B against A.

    Fields:
        a: name of the baseline; ``b`` of what is compared with it.
        ratios: one for each metric that a side has.
        interleaved: whether both were run in turn, in one process.
        processes: of A and of B.
        failed: measurements that ended with an exception, of A and of B.
        compiles: kind -> its counts (A, B); None where one side could not look.
        differs: what of the environments differs and can move times; then nothing is called unless it was allowed.
        allowed: whether it was.
    """

    a: str
    b: str
    ratios: tuple[Ratio, ...]
    interleaved: bool
    processes: tuple[int, int] = (1, 1)
    failed: tuple[int, int] = (0, 0)
    compiles: Mapping[str, tuple[int, int]] | None = field(default_factory=dict)
    differs: tuple[Difference, ...] = ()
    allowed: bool = False
    schema: str = "jitwarmup.comparison/1"

    @property
    def refused(self) -> bool:
        """Whether nothing is called, since the environments differ."""
        return bool(self.differs) and not self.allowed

    def of(self, metric: str) -> Ratio:
        """The ratio of one metric."""
        return next((ratio for ratio in self.ratios if ratio.metric == metric), Ratio(metric=metric))


def compare(a: Measured, b: Measured, *, allow_different_host: bool = False) -> Comparison:
    """Everything that both sides know, B over A. ``allow_different_host`` calls differences between environments too."""
    in_turn = bool(pairs_of(a, b, "seconds"))
    steady, own = of_runs("steady", a, b, "seconds"), of_runs("own_time", a, b, "own")
    steady = by_wall_time(steady, own)
    if steady.method == "runs" and max(a.contended, b.contended) > CONTENDED and own.verdict != steady.verdict:
        steady = steady.undecided("busy")  # the load met one side, or both by chance; own time does not vouch for it
    ratios = [
        of_singles("cold", a.cold_s, b.cold_s),
        of_singles("first", a.first_s, b.first_s),
        steady,
        own,
        of_runs("cpu", a, b, "cpu"),
        of_series("first_item", a.first_item, b.first_item),
        of_series("item_gap", a.item_gap, b.item_gap),
    ]
    differs = () if in_turn else differences(a.environment, b.environment)
    if differs and not allow_different_host:
        ratios = [ratio.undecided("environment") for ratio in ratios]
    compiles = None
    if a.compiles is not None and b.compiles is not None:
        kinds = sorted({**a.compiles, **b.compiles})
        compiles = {kind: (a.compiles.get(kind, 0), b.compiles.get(kind, 0)) for kind in kinds}
    return Comparison(
        a=a.name,
        b=b.name,
        ratios=tuple(ratio for ratio in ratios if ratio.a_s is not None or ratio.b_s is not None),
        interleaved=in_turn,
        processes=(a.processes, b.processes),
        failed=(a.failed, b.failed),
        compiles=compiles,
        differs=differs,
        allowed=allow_different_host,
    )


def by_wall_time(wall: Ratio, own: Ratio) -> Ratio:
    """
    The verdict on the steady time: that of the wall time, unless own time says otherwise.

    On a busy host wall times alone are never precise. Where they are only too noisy, and lean the same way, own time tells
    the difference, or that there is none; no gate passes by it.
    """
    if own.ratio is None:
        return wall
    if wall.why == "noise" and own.verdict == "same" and wall.low is not None and wall.low <= 1:
        return replace(wall, verdict="same", why="")
    calls = {one.verdict for one in (wall, own)} - {"undecided"}
    if wall.why == "noise" and own.verdict == ("slower" if (wall.ratio or 1.0) > 1 else "faster"):
        return replace(wall, verdict=own.verdict, why="own_time")
    if len(calls) > 1 or (wall.why == "noise" and calls):
        return replace(wall, verdict="undecided", why="disagree")
    return wall


# ------------------------------------------------------------------ the three ways


def of_runs(metric: str, a: Measured, b: Measured, which: str) -> Ratio:
    """The steady runs by one of their times: in pairs where they were run in turn."""
    paired = pairs_of(a, b, which)
    if paired:
        return of_pairs(metric, paired)
    return of_series(metric, *(tuple(Series(seconds=getattr(one, which)) for one in side.steady) for side in (a, b)))


def pairs_of(a: Measured, b: Measured, which: str = "seconds") -> list[tuple[float, float]]:
    """The pairs of runs that were made in turn, in one process; none where the sides were not interleaved."""
    if len(a.steady) != 1 or len(b.steady) != 1:
        return []
    mine, theirs = by_place(a.steady[0], which), by_place(b.steady[0], which)
    shared = sorted(mine.keys() & theirs.keys())
    for here, after in pairwise(shared):
        if max(mine[here][0], theirs[here][0]) > min(mine[after][0], theirs[after][0]):
            return []
    return [(mine[at][1], theirs[at][1]) for at in shared] if len(shared) > 1 else []


def by_place(series: Series, which: str) -> dict[int, tuple[float, float]]:
    """Place in the plan -> (started at, seconds)."""
    return dict(zip(series.places, zip(series.started_at, getattr(series, which), strict=False), strict=False))


def of_pairs(metric: str, pairs: Sequence[tuple[float, float]]) -> Ratio:
    """Of runs made in turn the median of the ratios within pairs."""
    steps = [math.log(b / a) for a, b in pairs if a > 0 and b > 0]
    known = Ratio(
        metric=metric,
        a_s=median([a for a, _ in pairs]),
        b_s=median([b for _, b in pairs]),
        ratio=math.exp(median(steps)) if steps else None,
        n=len(steps),
        method="pairs",
        why="few",
    )
    if len(steps) < PAIRS:
        return known
    if independent([math.exp(step) for step in steps]) < RUNS:
        return replace(known, why="alike")
    if len(steps) <= SHIFTED:
        known = with_shift(known, typical(steps), list(map(typical, blocks(steps, draws=SHIFTS))), LEAST_WIDTH)
    return called(known, [median(drawn) for drawn in blocks(steps)], LEAST_WIDTH)


def of_series(metric: str, a: Sequence[Series], b: Sequence[Series]) -> Ratio:
    """
    The ratio of the medians; of processes enough on both sides, their medians are what is resampled.

    Of fewer the runs are, as far as they differ within their process, and how far processes lie apart is taken from others.
    """
    mine, theirs = positive(a), positive(b)
    least = min(len(mine), len(theirs))
    if least >= RUNS:
        levels = [list(map(level_of, mine)), list(map(level_of, theirs))]
        return of_values(metric, list(map(median, mine)), list(map(median, theirs)), "processes", levels=levels)
    apart = PROCESS_SPREAD * math.sqrt(1 / len(mine) + 1 / len(theirs)) if least else 0.0
    return of_values(metric, levelled(mine), levelled(theirs), "runs", apart)


def level_of(values: Sequence[float]) -> float:
    """The level of one process: where its times have two levels, what lies between them, and not one or the other."""
    return math.exp(typical([math.log(value) for value in values])) if len(values) <= SHIFTED else median(values)


def levelled(processes: Sequence[Sequence[float]]) -> list[float]:
    """The values of all processes, each process brought to the level of all."""
    levels = [median(one) for one in processes]
    return [value * median(levels) / level for one, level in zip(processes, levels, strict=True) for value in one]


def of_singles(metric: str, a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of the medians of values of which each process gives one."""
    mine, theirs = [value for value in a if value > 0], [value for value in b if value > 0]
    return of_values(metric, mine, theirs, "single" if min(len(mine), len(theirs)) == 1 else "processes")


def of_values(
    metric: str,
    a: Sequence[float],
    b: Sequence[float],
    method: Method,
    apart: float = 0.0,
    *,
    levels: Sequence[Sequence[float]] = (),
) -> Ratio:
    """
    The ratio of two medians, both sides resampled where they have values enough.

    ``apart``: how far the processes of both sides may lie apart; ``levels``: what the shift of processes is between.
    """
    a_s, b_s = median(a) if a else None, median(b) if b else None
    if a_s is None or b_s is None:
        return Ratio(metric=metric, a_s=a_s, b_s=b_s)
    least = min(len(a), len(b))
    known = Ratio(metric=metric, a_s=a_s, b_s=b_s, ratio=b_s / a_s, n=least, method=method, why="few")
    if method == "single":
        return replace(known, why="single")
    if least < RUNS:
        return known
    if method == "runs" and min(map(independent, (a, b))) < RUNS:
        return replace(known, why="alike")
    if method == "runs" and max(len(a), len(b)) <= SHIFTED:
        logs = [list(map(math.log, side)) for side in (a, b)]
        drawn = list(map(apart_by, blocks(logs[0], draws=SHIFTS), blocks(logs[1], SEED + 1)))
        known = with_shift(known, apart_by(*logs), drawn, 2 * LEAST_WIDTH, apart)
    if levels:
        drawn = list(map(log_ratio, blocks(levels[0]), blocks(levels[1], SEED + 1)))
        known = with_shift(known, log_ratio(*levels), drawn, 2 * LEAST_WIDTH)
    return called(known, list(map(log_ratio, blocks(a), blocks(b, SEED + 1))), 2 * LEAST_WIDTH, apart)


def positive(series: Sequence[Series]) -> list[list[float]]:
    """The values that have a logarithm, at most `MOST` of each process."""
    found = [[value for value in one.seconds if value > 0 and math.isfinite(value)][-MOST:] for one in series]
    return [one for one in found if one]


def with_shift(known: Ratio, shift: float, logs: Sequence[float], least: float, apart: float = 0.0) -> Ratio:
    """A ratio with the shift and its interval."""
    low, high, most = interval(logs, least, apart)
    return replace(known, shift=math.exp(shift), shift_low=low, shift_high=high, most=most)


def called(known: Ratio, logs: Sequence[float], least: float, apart: float = 0.0) -> Ratio:
    """A ratio with its interval from resampled logarithms, and the verdict of the median and of the shift together."""
    low, high, most = interval(logs, least, apart)
    known = replace(known, low=low, high=high, most=max(most, known.most or 0.0))
    shift_low, shift_high = known.shift_low or low, known.shift_high or high
    slower, faster = max(low, shift_low) > 1, min(high, shift_high) < 1
    if slower != faster:
        return replace(known, verdict="slower" if slower else "faster", why="")
    if apart:
        return replace(known, why="processes")
    if slower or max(-math.log(min(low, shift_low)), math.log(max(high, shift_high))) > PRECISE:
        return replace(known, why="noise")
    return replace(known, verdict="same", why="")
