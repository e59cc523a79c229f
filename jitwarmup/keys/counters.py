"""
Hits and misses of live calls: each is counted once, whatever became of it.

A hit costs one step of an ``itertools.count``, which is atomic; only misses take a lock.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from jitwarmup.probes import exclusive_costs
from jitwarmup.records.runs import Coverage, Missed, OneTimeWork, Run

OTHER = "other"
KEYS_AT_MOST = 1024  # an unbounded key function must not become a leak


class MissCounter:
    """What the calls paid that did not find one key warm."""

    __slots__ = ("count", "first_s", "paid_s")

    def __init__(self) -> None:
        self.count = 0
        self.first_s: float | None = None
        self.paid_s = 0.0

    def add(self, runs: Sequence[Run]) -> None:
        """Count one call and the runs it had to make."""
        self.count += 1
        if self.count == 1 and runs:
            self.first_s = sum(run.duration_s for run in runs)
        self.paid_s += sum(paid_s(run) for run in runs)


class HitCounter:
    """Hits and misses of one warmed function."""

    def __init__(self) -> None:
        self.renew()
        self.clear()

    def renew(self) -> None:
        """A new lock, in a forked child."""
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Count from nothing."""
        self._hits = itertools.count()
        self.hit: Callable[[], Any] = self._hits.__next__
        self._misses: dict[str | None, MissCounter] = {}

    @property
    def hits(self) -> int:
        """Hits so far. Its repr is the only way to look at a count without moving it: ``count(7)``."""
        return int(repr(self._hits)[6:-1])

    def miss(self, label: str | None, runs: Sequence[Run]) -> int:
        """Count a miss; returns how many its key has now."""
        with self._lock:
            if label not in self._misses and len(self._misses) > KEYS_AT_MOST:
                label = None  # instances come and go, and their keys' labels with them
            misses = self._misses.setdefault(label, MissCounter())
            misses.add(runs)
            return misses.count

    def read(self, name: str) -> Coverage:
        """The coverage so far."""
        with self._lock:
            found = {key: (m.count, m.first_s, m.paid_s) for key, m in self._misses.items()}
        hits, missed = self.hits, sum(count for count, _, _ in found.values())
        other = found.pop(None, (0, None, 0.0))[0]
        keys = [
            Missed(key=key or OTHER, count=n, first_s=first, paid_s=paid) for key, (n, first, paid) in found.items()
        ]
        return Coverage(
            callable=name,
            calls=hits + missed,
            hits=hits,
            share=hits / (hits + missed) if hits + missed else None,
            missed=tuple(sorted(keys, key=lambda one: -one.count)),
            other=other,
        )


def paid_s(run: Run) -> float:
    """Seconds of own one-time work of a run, nested work counted once."""
    once: list[OneTimeWork] = [work for work in run.work if work.recurrence == "one_time"]
    return sum(exclusive_costs(once, run.duration_s).values()) if once else 0.0
