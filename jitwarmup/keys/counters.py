"""
Hits and misses of live calls: each is counted once, whatever became of it.

A hit costs one step of an ``itertools.count``, which is atomic; only misses take a lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jitwarmup.analysis.costs import exclusive_costs
from jitwarmup.host.fork_safe import Locked
from jitwarmup.records.runs import Coverage, Missed, Run

OTHER = "other"
KEYS_AT_MOST = 1024  # an unbounded key function must not become a leak


class HitCounter(Locked):
    """Hits and misses of one warmed function."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Count from nothing."""
        self._hits = itertools.count()
        self.hit: Callable[[], Any] = self._hits.__next__
        self._misses: dict[str | None, Missed] = {}

    @property
    def hits(self) -> int:
        """Hits so far. Its repr is the only way to look at a count without moving it: ``count(7)``."""
        return int(repr(self._hits)[6:-1])

    def miss(self, label: str | None, runs: Sequence[Run]) -> int:
        """Count a miss; returns how many its key has now."""
        with self._lock:
            if label not in self._misses and len(self._misses) > KEYS_AT_MOST:
                label = None  # instances come and go, and their keys' labels with them
            first_s = sum(run.duration_s for run in runs) if runs else None
            old = self._misses.get(label) or Missed(key=label or OTHER, count=0, first_s=first_s)
            paid = old.paid_s + sum(paid_s(run) for run in runs)
            self._misses[label] = replace(old, count=old.count + 1, paid_s=paid)
            return old.count + 1

    def read(self, name: str) -> Coverage:
        """The coverage so far."""
        with self._lock:
            keys = dict(self._misses)
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


def paid_s(run: Run) -> float:
    """Seconds of own one-time work of a run, nested work counted once."""
    return sum(exclusive_costs([work for work in run.work if work.recurrence == "one_time"], run.duration_s).values())
