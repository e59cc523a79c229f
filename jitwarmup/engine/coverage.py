"""
Coverage: each live call is counted once, as a hit (its key was warm when it came) or as a miss, whatever became of it.

A hit costs one step of an ``itertools.count``, which is atomic; only misses take a lock.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jitwarmup.edges.events import schema
from jitwarmup.edges.probes import exclusive_costs
from jitwarmup.model.coverage import Coverage, Missed
from jitwarmup.model.runs import OneTimeWork, Run, State

if TYPE_CHECKING:
    from jitwarmup.engine.ledger import Entry
    from jitwarmup.engine.task import Task

OTHER = "other"
KEYS_AT_MOST = 1024  # an unbounded key function must not become a leak


class Misses:
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


class Counts:
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
        self._misses: dict[str | None, Misses] = {}

    @property
    def hits(self) -> int:
        """Hits so far. Its repr is the only way to look at a count without moving it: ``count(7)``."""
        return int(repr(self._hits)[6:-1])

    def miss(self, entry: Entry | None, runs: Sequence[Run]) -> int:
        """Count a miss; returns how many its key has now."""
        with self._lock:
            label = None if entry is None else entry.label
            if label not in self._misses and len(self._misses) > KEYS_AT_MOST:
                label = None  # instances come and go, and their keys' labels with them
            misses = self._misses.setdefault(label, Misses())
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


class Visit:
    """One live call, from when it comes to when it is over; ``runs`` are those it had to make."""

    __slots__ = ("entry", "hit", "reason", "runs", "task")

    def __init__(self, task: Task) -> None:
        entry = task.entry
        self.task = task
        self.entry = entry
        self.hit = entry is not None and entry.is_warm
        self.reason = None if self.hit else why_cold(entry)
        self.runs: list[Run] = []

    def over(self) -> None:
        """Count it; the first miss of a key is told where keys are warmed by name, not by their first call."""
        task, counts = self.task, self.task.ledger.counts
        if task.options.emit == "off":
            return
        if self.hit:
            counts.hit()
            return
        first = counts.miss(self.entry, self.runs) == 1
        if first and (task.options.on_new_key == "pass" or asked_by_name(task)):
            warm = sum(entry.is_warm for entry in task.ledger.met(None))
            task.say(schema.COVERAGE_MISSED, key=task.key, missed_count=1, keys_warm=warm, reason=self.reason)


def asked_by_name(task: Task) -> bool:
    """Whether ``.warm`` was called for any key of the task's instance."""
    token = None if task.entry is None else task.entry.token
    return any(entry.asked for entry in task.ledger.met(token))


def why_cold(entry: Entry | None) -> str:
    """Why a key is not warm, in fixed words."""
    if entry is None:
        return "more keys than are kept"
    if entry.flight is not None:
        return "being warmed up"
    if entry.state is State.FAILED:
        return "its warm-up failed"
    return "asked for and not warmed up yet" if entry.asked else "never warmed up"


def paid_s(run: Run) -> float:
    """Seconds of own one-time work of a run, nested work counted once."""
    once: list[OneTimeWork] = [work for work in run.work if work.recurrence == "one_time"]
    return sum(exclusive_costs(once, run.duration_s).values()) if once else 0.0
