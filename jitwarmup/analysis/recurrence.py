"""
Which work comes back on every run is learnt from the runs, not declared by the probe that saw it.

A cost that each run pays anew (a KV cache made by every ``generate()``) belongs to the sample; one that the newest runs
did not pay was one-time work, however often it was seen before. Work of the runtime itself (garbage collection, page
faults) has no rhythm of its own and is ambient.

`RecurringWork` learns it run by run. A measurement labels each run as it comes, and all of them once more at its end
(`learn_recurrence`), when a cost may have come back often enough to be known in the earlier runs too. A warm key has no
end: its calls are read against the runs before them. The body of a block is other code than any run, so that it is known
by its kinds and not by its counts (`label_body`): by what the calls in it paid, then by the runs of its warm-up.

What is loaded once (modules, libraries) is known by its name: the next one is other work, however many came before it.
Where no run tells, a KV cache is taken to come back, since every ``generate()`` makes its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from statistics import median

from jitwarmup.records.checks import whole
from jitwarmup.records.runs import OneTimeWork, Phase, Run

AMBIENT = ("gc", "page_fault")
LOADED = ("import", "dlopen")
PRESUMED = "kv_cache.allocate"  # to come back, until a run tells otherwise
ENOUGH = 3  # equal runs in a row that make a cost a recurring one
ENOUGH_COMPILES = 10  # of compiles: torch gives up after 8, so fewer in a row may be new shapes only


class RecurringWork:
    """
    The incremental learner of recurring work; its state is bounded by the kinds of work of the newest runs.

    In a measurement, a kind of own work is recurring when each of the newest ``enough`` runs that warmed or measured to
    the end (of compiling kinds, 10) paid the same count of it; what a run pays above that count is one-time.

    With ``in_service`` it reads the calls of a warm key: a call is compared with the runs before it, of which there may
    be fewer than ``enough`` and whose largest count is the usual one; compiling never becomes usual.
    """

    __slots__ = ("_enough", "_in_service", "_seen", "streaks")

    def __init__(self, enough: int = ENOUGH, *, in_service: bool = False) -> None:
        self._enough = enough
        self._in_service = in_service
        self._seen = 0  # finished runs, of which no more than ``enough`` matter
        # Count and seconds of a kind in each of the newest runs. Replaced whole: several threads call a warm key.
        self.streaks: Mapping[str, tuple[tuple[int, float], ...]] = {}

    def observe(self, run: Run) -> Run:
        """Learn from a run, and give it back with its work labelled; O(1)."""
        if self._in_service:
            labelled = self.label(run)
            self._learn(run)
            return labelled
        self._learn(run)
        return self.label(run)

    def observe_warmup(self, runs: Sequence[Run]) -> None:
        """Learn from the runs of a warm-up that came before the calls; what a validation pays first is no usual cost."""
        for run in [run for run in runs if run.phase is not Phase.VALIDATE][-self._enough :]:
            self._learn(run)

    def label(self, run: Run) -> Run:
        """The run as what was learnt so far shows it; earlier labels of recurring work are not trusted."""
        if not run.work and not run.contaminated:
            return run
        usual = self.usual(kinds={identity(work) for work in run.work})
        left = Counter({kind: work.count for kind, work in usual.items()})
        if not self._seen:
            left[PRESUMED] = sum(work.count for work in run.work if work.kind == PRESUMED)
        return _labelled(run, usual, left)

    def label_body(self, run: Run, inside: Mapping[tuple[str, str], int]) -> Run:
        """
        The run of a block's body, after runs of the function it was entered with; none of them for inline code.

        ``inside``: how much of each (identity, recurrence) the runs within the body paid, as their own history labels it.
        """
        usual = self.usual()
        left: Counter[str] = Counter()
        for work in run.work:
            kind = identity(work)
            known = any((kind, recurrence) in inside for recurrence in ("one_time", "recurring"))
            if known or kind in usual or (kind == PRESUMED and not self._seen):
                left[kind] += work.count
        left.subtract({kind: count for (kind, recurrence), count in inside.items() if recurrence == "one_time"})
        return _labelled(run, usual, left)

    def usual(self, kinds: set[str] | None = None) -> dict[str, OneTimeWork]:
        """Of each recurring identity, what one run pays: the count, and the median of the seconds that are known."""
        found = {}
        for kind, streak in self.streaks.items():
            if (kinds is None or kind in kinds) and self._recurs(kind, streak):
                seconds = [spent for _, spent in streak]
                typical = median(seconds) if any(seconds) else None
                found[kind] = OneTimeWork(kind=kind, count=max(count for count, _ in streak), duration_s=typical)
        return found

    def _learn(self, run: Run) -> None:
        if run.outcome != "ok" or run.phase is Phase.VALIDATE:
            return
        self._seen = min(self._seen + 1, self._enough)
        paid: dict[str, tuple[int, float]] = {}
        for work in run.work:
            if work.charged and not _is_ambient(work) and not (self._in_service and work.compiles):
                count, seconds = paid.get(identity(work), (0, 0.0))
                paid[identity(work)] = (count + work.count, seconds + (work.duration_s or 0.0))
        # a kind that this run did not pay for has lost its streak
        streaks = self.streaks
        self.streaks = {kind: (*streaks.get(kind, ()), cost)[-self._wanted(kind) :] for kind, cost in paid.items()}

    def _wanted(self, kind: str) -> int:
        return max(self._enough, ENOUGH_COMPILES) if OneTimeWork(kind=kind).compiles else self._enough

    def _recurs(self, kind: str, streak: Sequence[tuple[int, float]]) -> bool:
        if self._in_service:
            return len(streak) >= self._seen
        return len(streak) == self._wanted(kind) and len({count for count, _ in streak}) == 1


def learn_recurrence(runs: Sequence[Run], enough: int = ENOUGH) -> tuple[Run, ...]:
    """
    The runs with every work's ``recurrence``, and every run's ``contaminated``, judged by the whole history.

    Pure, idempotent and linear: earlier labels are not trusted, so a cost that stopped coming back is one-time again.
    """
    whole("enough", enough, at_least=ENOUGH)
    finished = (run for run in reversed(runs) if run.outcome == "ok" and run.phase is not Phase.VALIDATE)
    history = list(islice(finished, max(enough, ENOUGH_COMPILES)))[::-1]  # older ones have no say
    first = next((run for run in runs if run.phase is Phase.VALIDATE and run.outcome == "ok"), None)
    if first is not None and 0 < len(history) < enough:  # a short plan: all of its runs must have paid the same
        history = [replace(first, phase=Phase.WARM), *history]
        enough = len(history)
    learner = RecurringWork(enough)
    for run in history:
        learner._learn(run)
    return tuple(learner.label(run) for run in runs)


def one_time_of(run: Run) -> tuple[OneTimeWork, ...]:
    """The work that this run paid for and that does not come back."""
    return tuple(work for work in run.work if work.charged and work.recurrence == "one_time")


def paid_by(runs: Sequence[Run]) -> Counter[tuple[str, str]]:
    """How much of each (identity, recurrence) these runs paid."""
    paid: Counter[tuple[str, str]] = Counter()
    for work in (work for run in runs for work in run.work if work.charged):
        paid[identity(work), work.recurrence] += work.count
    return paid


def identity(work: OneTimeWork) -> str:
    """What makes two pieces of work the same one: their kind, and of what is loaded its name."""
    return f"{work.kind} {work.reason}" if work.reason and work.kind in LOADED else work.kind


def _labelled(run: Run, usual: Mapping[str, OneTimeWork], left: Counter[str]) -> Run:
    """The run with ``left`` of each identity as recurring, and the rest as one-time work."""
    parts: dict[int, list[OneTimeWork]] = {}
    cheapest_first = sorted(enumerate(run.work), key=lambda placed: placed[1].duration_s or 0.0)
    for place, work in cheapest_first:  # the dear ones of a kind are the surplus: a build beside loads from a cache
        parts[place] = _parts(work, usual, left)
    result = replace(run, work=tuple(part for place in sorted(parts) for part in parts[place]))
    return replace(result, contaminated=run.phase is Phase.MEASURE and bool(one_time_of(result)))


def _is_ambient(work: OneTimeWork) -> bool:
    return work.recurrence == "ambient" or work.kind.startswith(AMBIENT)


def _parts(work: OneTimeWork, usual: Mapping[str, OneTimeWork], left: Counter[str]) -> list[OneTimeWork]:
    """The regular part, with no more seconds than one run usually pays, and the surplus."""
    if _is_ambient(work):
        return [replace(work, recurrence="ambient")]
    if not work.charged:
        return [work]
    kind = identity(work)
    regular = max(0, min(work.count, left[kind]))
    left[kind] -= regular
    if regular == work.count or not regular:
        return [replace(work, recurrence="recurring" if regular else "one_time")]
    usual_s = usual[kind].duration_s if kind in usual else None
    whole_s = work.duration_s
    part_s = None if whole_s is None else min(whole_s, whole_s * regular / work.count if usual_s is None else usual_s)
    rest_s = None if whole_s is None or part_s is None else whole_s - part_s
    return [
        replace(work, count=regular, duration_s=part_s, recurrence="recurring"),
        replace(work, count=work.count - regular, duration_s=rest_s, recurrence="one_time"),
    ]
