"""
Hits and misses of live calls: each is counted once, whatever became of it.

Takes no lock, since a signal handler or finalizer may call the same function in the middle of a call: each count is one
step of an ``itertools.count``.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from jitwarmup.analysis.costs import exclusive_costs
from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of, taken
from jitwarmup.records.runs import Coverage, Missed, Run

OTHER = "other"
KEYS_AT_MOST = 1024  # an unbounded key function must not become a leak
FOLD = 64  # sums that wait until they are added up


class KeyMisses:
    """Misses of one key: how many, what the first one took, and what all of them paid for one-time work."""

    def __init__(self, first_s: float | None) -> None:
        self.first_s = first_s
        self.count = itertools.count()
        self.paid: deque[float] = deque()

    def pay(self, seconds: float) -> None:
        """Add what one call paid."""
        self.paid.append(seconds)
        if len(self.paid) >= FOLD:
            self.paid.append(sum(islice(taken(self.paid), FOLD)))


class HitCounter:
    """Hits and misses of one warmed function."""

    def __init__(self) -> None:
        self.clear()
        after_fork_in_child(self.clear)  # what was counted before is the parent's

    def clear(self) -> None:
        """Count from nothing."""
        self._hits = itertools.count()
        self.hit: Callable[[], Any] = self._hits.__next__
        self._misses: dict[str | None, KeyMisses] = {}
        self._announced: dict[str | None, object] = {}

    @property
    def hits(self) -> int:
        """Hits so far."""
        return counted(self._hits)

    def first_miss(self, label: str | None) -> bool:
        """Whether nobody has asked this of the key before: a miss is announced once, before it runs."""
        mark = object()
        return self._announced.setdefault(None if len(self._announced) > KEYS_AT_MOST else label, mark) is mark

    def miss(self, label: str | None, runs: Sequence[Run]) -> int:
        """Count a miss; returns how many its key has now."""
        if label not in self._misses and len(self._misses) > KEYS_AT_MOST:
            label = None  # instances come and go, and their keys' labels with them
        misses = self._misses.setdefault(label, KeyMisses(sum(run.duration_s for run in runs) if runs else None))
        if paid := sum(paid_s(run) for run in runs):
            misses.pay(paid)
        return next(misses.count) + 1

    def read(self, name: str) -> Coverage:
        """The coverage so far."""
        keys = {
            label: Missed(
                key=label or OTHER,
                count=counted(one.count),
                first_s=one.first_s,
                paid_s=math.fsum(snapshot_of(one.paid)),
            )
            for label, one in snapshot_of(self._misses.items())
        }
        hits, misses = self.hits, sum(missed.count for missed in keys.values())
        other = keys.pop(None, None)
        return Coverage(
            callable=name,
            calls=hits + misses,
            hits=hits,
            share=hits / (hits + misses) if hits + misses else None,
            missed=tuple(sorted(keys.values(), key=lambda missed: -missed.count)),
            other=other.count if other is not None else 0,
        )


def counted(counter: Iterator[int]) -> int:
    """The steps of an ``itertools.count``. Its repr is the only way to look at it without moving it: ``count(7)``."""
    return int(repr(counter)[6:-1])


def paid_s(run: Run) -> float:
    """Seconds of own one-time work of a run, nested work counted once."""
    return sum(exclusive_costs([work for work in run.work if work.recurrence == "one_time"], run.duration_s).values())
