"""
``emit="summary"``: calls are counted and summarised once a minute, at ``flush()`` and when the process ends (`at_exit`).

Count, sum, minimum and maximum are exact over all calls since the last summary; percentiles are over the last 10,000.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

from jitwarmup.analysis.stats import quantile
from jitwarmup.events import schema
from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of
from jitwarmup.keys.at_exit import LEAVING, PERIOD_S
from jitwarmup.keys.state import note_change
from jitwarmup.records.runs import Run

RECENT = 10_000
FOLD = 64  # calls that wait until they are added up, some microseconds of one call in so many
SHARES = {"median_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}


class Summarised(Protocol):
    """The function whose calls are summarised."""

    @property
    def instruments(self) -> object: ...

    def without_call(self) -> Self: ...

    def emit(self, event: str, **facts: Any) -> None: ...


@dataclass(slots=True, eq=False)  # compared by no Python code, which `_take` relies on
class Sums:
    """Calls added up."""

    calls: int = 0
    errors: int = 0
    contaminated: int = 0
    sum_ns: int = 0
    min_ns: float = math.inf
    max_ns: int = 0

    @classmethod
    def of(cls, calls: Iterable[int | Sums | None]) -> Sums:
        """Calls, and calls that are added up already."""
        total = cls()
        for call in calls:
            total.merge(call) if isinstance(call, Sums) else total.add(call)
        return total

    def add(self, ns: int | None) -> None:
        """One call: its duration, ``~duration`` where it was contaminated, None where it failed."""
        if ns is None:
            self.errors += 1
            return
        if ns < 0:
            self.contaminated += 1
            ns = ~ns
        self.calls += 1
        self.sum_ns += ns
        self.min_ns = min(self.min_ns, ns)
        self.max_ns = max(self.max_ns, ns)

    def merge(self, other: Sums) -> None:
        """Add what another one holds."""
        self.calls += other.calls
        self.errors += other.errors
        self.contaminated += other.contaminated
        self.sum_ns += other.sum_ns
        self.min_ns = min(self.min_ns, other.min_ns)
        self.max_ns = max(self.max_ns, other.max_ns)


class CallSummary:
    """
    Durations of calls between two summaries of one function.

    A call takes no lock, since a signal handler or finalizer may call the same function in the middle of it. It is
    handed in by one step, and taken by one step that no signal handler comes between; should one raise before what was
    taken is added up, it is handed in again.
    """

    def __init__(self) -> None:
        self._clear()
        after_fork_in_child(self._clear)  # what was counted before is the parent's to emit

    def _clear(self) -> None:
        self._timed_function: Summarised | None = None
        self._calls: deque[int | Sums | None] = deque()  # as `Sums.of` takes them
        self._recent: deque[int] = deque(maxlen=RECENT)
        self.due = time.monotonic() + PERIOD_S

    def add(self, timed_function: Summarised, run: Run) -> None:
        """Count one call of any outcome; failed ones are counted apart, and a stream that was left early nowhere."""
        if run.outcome == "ok":
            self.count(timed_function, run.duration_ns, contaminated=run.contaminated)
        elif run.outcome != "closed":
            self._begin(timed_function)
            self._hand_in(None)

    def count(self, timed_function: Summarised, ns: int, *, contaminated: bool = False) -> None:
        """Count one call that ended well; emit when a minute has passed."""
        if self._timed_function is None or self._timed_function.instruments is not timed_function.instruments:
            self._begin(timed_function)
        self._hand_in(~ns if contaminated else ns)

    def _hand_in(self, call: int | None) -> None:
        self._calls.append(call)
        if len(self._calls) >= FOLD:
            LEAVING.undisturbed(self._add_up)
        now = time.monotonic()
        if now >= self.due or now < LEAVING.hurry_until:
            self.flush()

    def _take(self, calls: list[int | Sums | None]) -> None:
        """Move what was handed in into a list, which runs no Python code."""
        with suppress(IndexError):
            calls.extend(iter(self._calls.popleft, self))

    def _add_up(self) -> None:
        calls: list[int | Sums | None] = []
        try:
            self._take(calls)
            sums = Sums.of(calls)
            self._recent.extend(max(call, ~call) for call in calls if isinstance(call, int))
            calls = [sums]
        finally:
            self._calls.extend(calls)

    def _begin(self, timed_function: Summarised) -> None:
        """Remember whose calls these are, for the exit too, and where the newest call's events go."""
        self._timed_function = timed_function.without_call()
        LEAVING.pending.add(self)
        LEAVING.arm()
        note_change()

    def flush(self) -> None:
        """Emit what was counted, and begin anew; nothing where nothing was counted."""
        LEAVING.undisturbed(self._flush)

    def _flush(self) -> None:
        self.due = time.monotonic() + PERIOD_S
        calls: list[int | Sums | None] = []
        try:
            self._add_up()
            self._take(calls)
            recent, self._recent = sorted(snapshot_of(self._recent)), deque(maxlen=RECENT)
            total = Sums.of(calls)
            calls = []
        finally:
            self._calls.extend(calls)
        if self._timed_function is not None and total.calls + total.errors > 0:
            self._timed_function.emit(schema.SUMMARY, **fields_of(total, recent))


def fields_of(total: Sums, recent: list[int]) -> dict[str, Any]:
    """A summary's own fields."""
    extremes = {"min_s": total.min_ns, "max_s": total.max_ns, "mean_s": total.sum_ns / max(1, total.calls)}
    return {
        "count": total.calls,
        "errors": total.errors,
        "contaminated_count": total.contaminated,
        "sum_s": total.sum_ns / 1e9,
        **{name: ns / 1e9 if total.calls else None for name, ns in extremes.items()},
        "recent": len(recent),
        **{name: quantile(recent, share) / 1e9 for name, share in SHARES.items() if recent},
    }
