"""
``emit="summary"``: calls are counted and summarised once a minute, at ``flush()`` and at a normal exit.

Count, sum, minimum and maximum are exact over all calls since the last summary; percentiles are over the last 10,000.
"""

from __future__ import annotations

import atexit
import math
import time
import weakref
from collections import deque
from typing import Any, Protocol, Self

from jitwarmup.analysis.stats import quantile
from jitwarmup.events import schema
from jitwarmup.host.fork_safe import Locked, after_fork_in_child, snapshot_of
from jitwarmup.records.runs import Run

PERIOD_S = 60.0
RECENT = 10_000
SHARES = {"median_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}


class Summarised(Protocol):
    """The function whose calls are summarised."""

    @property
    def instruments(self) -> object: ...

    def without_call(self) -> Self: ...

    def emit(self, event: str, **facts: Any) -> None: ...


class CallSummary(Locked):
    """Durations of calls between two summaries of one function."""

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._timed_function: Summarised | None = None
        self._clear()
        after_fork_in_child(self._clear)  # what was counted before is the parent's to emit

    def _clear(self) -> None:
        self._recent.clear()
        self.calls = 0
        self.errors = 0
        self.contaminated = 0
        self.sum_ns = 0
        self.min_ns: float = math.inf
        self.max_ns = 0
        self.due = time.monotonic() + PERIOD_S

    def add(self, timed_function: Summarised, run: Run) -> None:
        """Count one call of any outcome; failed ones are counted apart, and a stream that was left early nowhere."""
        if run.outcome == "ok":
            self.count(timed_function, run.duration_ns, contaminated=run.contaminated)
        elif run.outcome != "closed":
            with self._lock:
                self._begin(timed_function)
                self.errors += 1
            if time.monotonic() >= self.due:
                self.flush()

    def count(self, timed_function: Summarised, ns: int, *, contaminated: bool = False) -> None:
        """Count one call that ended well; emit when a minute has passed."""
        with self._lock:
            if self._timed_function is None or self._timed_function.instruments is not timed_function.instruments:
                self._begin(timed_function)
            self.calls += 1
            self.sum_ns += ns
            if contaminated:
                self.contaminated += 1
            if ns < self.min_ns:  # noqa: PLR1730 - on the path of every call, where min() costs twice as much
                self.min_ns = ns
            if ns > self.max_ns:  # noqa: PLR1730 - see above
                self.max_ns = ns
            self._recent.append(ns)
        if time.monotonic() >= self.due:
            self.flush()

    def _begin(self, timed_function: Summarised) -> None:
        """Remember whose calls these are, for the exit too, and where the newest call's events go."""
        self._timed_function = timed_function.without_call()
        PENDING.add(self)

    def flush(self) -> None:
        """Emit what was counted, and begin anew; nothing where nothing was counted."""
        with self._lock:
            timed_function, fields = self._timed_function, self._fields()
            self._clear()
        if timed_function is not None and fields["count"] + fields["errors"] > 0:
            timed_function.emit(schema.SUMMARY, **fields)

    def _fields(self) -> dict[str, Any]:
        recent = sorted(self._recent)
        extremes = {"min_s": self.min_ns, "max_s": self.max_ns, "mean_s": self.sum_ns / max(1, self.calls)}
        return {
            "count": self.calls,
            "errors": self.errors,
            "contaminated_count": self.contaminated,
            "sum_s": self.sum_ns / 1e9,
            **{name: ns / 1e9 if self.calls else None for name, ns in extremes.items()},
            "recent": len(recent),
            **{name: quantile(recent, share) / 1e9 for name, share in SHARES.items() if recent},
        }


PENDING: weakref.WeakSet[CallSummary] = weakref.WeakSet()


@atexit.register
def flush_all() -> None:
    """At a normal exit, emit what has not been emitted."""
    for summary in snapshot_of(PENDING):
        summary.flush()
