"""
What calls of one key pay every time, so that it is not taken for one-time work.

In a measurement this is learnt from all of its runs afterwards. In service there is no afterwards: a key remembers what
its newest runs had in common, warm-up first, and calls are read against that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jitwarmup.analysis.recurrence import ENOUGH, is_compiling
from jitwarmup.records.runs import OneTimeWork, Phase, Run

Counts = Mapping[str, int]


class RecurringWork:
    """The newest runs of a key, by what they paid for; compiling never becomes a habit."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        self._recent: deque[Counts] = deque(maxlen=ENOUGH)

    def __bool__(self) -> bool:
        """Whether any of the newest runs paid for anything."""
        return any(self._recent)

    def learn(self, runs: Sequence[Run]) -> None:
        """Remember the runs of a warm-up; the validation run only where there are few others."""
        settled = [run for run in runs if run.phase is not Phase.VALIDATE] or list(runs)
        for run in settled[-ENOUGH:]:
            self._recent.append(counts(run))

    def read(self, run: Run) -> Run:
        """A call with its habitual work marked as recurring; ``contaminated`` is what remains. Then remember it."""
        if not run.work and not self:
            return run
        usual = self.usual()
        self._recent.append(counts(run))
        if not run.work:
            return run
        work = tuple(replace(item, recurrence="recurring") if habitual(item, usual) else item for item in run.work)
        own = any(item.scope == "own" and item.recurrence == "one_time" for item in work)
        return replace(run, work=work, contaminated=own and run.phase is Phase.MEASURE)

    def usual(self) -> Counts:
        """Kinds in each of the newest runs, with the largest count seen."""
        if not self._recent:
            return {}
        kinds = set.intersection(*(set(found) for found in self._recent))
        return {kind: max(found[kind] for found in self._recent) for kind in kinds}


def counts(run: Run) -> Counts:
    """How often each kind of own work that is no compiling happened in a run."""
    found: dict[str, int] = {}
    for item in run.work:
        if item.scope == "own" and item.recurrence != "ambient" and not is_compiling(item.kind):
            found[item.kind] = found.get(item.kind, 0) + item.count
    return found


def habitual(item: OneTimeWork, usual: Counts) -> bool:
    """Whether a piece of work is what the key pays every time."""
    return item.recurrence == "one_time" and item.scope == "own" and item.count <= usual.get(item.kind, 0)
