"""How the ranks of one measurement compare."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from jitwarmup.records.codec import Record
from jitwarmup.records.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTimes(Record):
    """
    How the ranks of a measurement compare, over its finished measured runs.

    ``rank`` is the rank that made the report, ``members`` all that measured in step, ``median_s`` the median seconds of
    each in that order. ``straggler`` is the rank that was the slowest most often (of equals the one with the longer
    median), ``straggler_share`` in how many of the runs; ``skew_s`` the median over the runs of the slowest rank's time
    minus the fastest's. A rank that the others wait for in a collective of the function itself looks no slower than they
    do: they were waiting, and that is their time, too.
    """

    rank: int
    members: tuple[int, ...]
    median_s: tuple[float, ...] = ()
    straggler: int | None = None
    straggler_share: float | None = None
    skew_s: float | None = None

    @classmethod
    def of(cls, runs: Sequence[Run], *, rank: int, members: tuple[int, ...]) -> Self:
        """The comparison; times are absent where no run was measured."""
        times = [run.rank_durations_ns for run in runs if run.rank_durations_ns is not None]
        if not times:
            return cls(rank=rank, members=members)
        medians = tuple(statistics.median(column) / 1e9 for column in zip(*times, strict=True))
        worst = Counter(max(range(len(row)), key=row.__getitem__) for row in times)
        at = max(worst, key=lambda place: (worst[place], medians[place]))
        return cls(
            rank=rank,
            members=members,
            median_s=medians,
            straggler=members[at],
            straggler_share=worst[at] / len(times),
            skew_s=statistics.median(max(row) - min(row) for row in times) / 1e9,
        )
