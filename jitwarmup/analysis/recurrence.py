"""
Which work comes back on every run is learnt from the runs, not declared by the probe that saw it.

A cost that each run pays anew (a KV cache made by every ``generate()``) belongs to the sample; one that the newest runs
did not pay was one-time work, however often it was seen before. Work of the runtime itself (garbage collection, page
faults) has no rhythm of its own and is ambient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from jitwarmup.analysis.stats import median
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.runs import OneTimeWork, Phase, Run

AMBIENT = ("gc", "page_fault")
COMPILING = ("dynamo", "aot", "inductor", "triton", "autotune", "cudagraph", "fx", "cpp")
ENOUGH = 3  # equal runs in a row that make a cost a recurring one
ENOUGH_COMPILES = 10  # of compiles: torch gives up after 8, so fewer in a row may be new shapes only


def learn_recurrence(runs: Sequence[Run], enough: int = ENOUGH) -> tuple[Run, ...]:
    """
    The runs with every work's ``recurrence``, and every run's ``contaminated``, told from the whole history.

    Own work of a kind with the same count in each of the newest ``enough`` runs (at least 3; of compiling kinds, 10)
    that warmed or measured to the end is ``recurring`` wherever that kind appears, up to that count; what a run has
    above it stays ``one_time``. Pure and idempotent: earlier labels are not trusted, so a cost that stopped coming
    back is one-time again.
    """
    if isinstance(enough, bool) or not isinstance(enough, int) or enough < ENOUGH:
        raise ArgumentError(f"got enough={enough!r}; wanted an int of at least {ENOUGH}; leave it out for {ENOUGH}")
    usual = _usual_work(runs, enough)
    return tuple(_relabelled(run, usual) for run in runs)


def is_compiling(kind: str) -> bool:
    """Whether this kind of work makes code: it must not pass for a running cost lightly."""
    return kind.split(".", 1)[0].startswith(COMPILING)


def own_one_time(run: Run) -> tuple[OneTimeWork, ...]:
    """The work that this run paid for itself and that does not come back."""
    return tuple(work for work in run.work if work.scope == "own" and work.recurrence == "one_time")


def _usual_work(runs: Sequence[Run], enough: int) -> Mapping[str, OneTimeWork]:
    """Of each recurring kind, what one run pays: the common count and the median of the seconds told."""
    done = [run for run in runs if run.phase is not Phase.VALIDATE and run.outcome == "ok"]
    usual = {}
    for kind in {work.kind for run in done[-1:] for work in run.work if work.scope == "own"}:
        wanted = max(enough, ENOUGH_COMPILES) if is_compiling(kind) else enough
        newest = done[-wanted:]
        counts = {_count(run, kind) for run in newest}
        if len(newest) == wanted and len(counts) == 1:
            usual[kind] = OneTimeWork(kind=kind, count=counts.pop(), duration_s=_typical_seconds(newest, kind))
    return usual


def _of_kind(run: Run, kind: str) -> list[OneTimeWork]:
    return [work for work in run.work if work.kind == kind and work.scope == "own"]


def _count(run: Run, kind: str) -> int:
    return sum(work.count for work in _of_kind(run, kind))


def _typical_seconds(runs: Iterable[Run], kind: str) -> float | None:
    told = [sum(work.duration_s or 0.0 for work in _of_kind(run, kind)) for run in runs]
    return median(told) if any(told) else None


def _relabelled(run: Run, usual: Mapping[str, OneTimeWork]) -> Run:
    left = Counter({kind: work.count for kind, work in usual.items()})
    parts: dict[int, list[OneTimeWork]] = {}
    cheapest_first = sorted(enumerate(run.work), key=lambda placed: placed[1].duration_s or 0.0)
    for place, work in cheapest_first:  # the dear ones of a kind are the surplus: a build beside loads from a cache
        parts[place] = _parts(work, usual, left)
    told = replace(run, work=tuple(part for place in sorted(parts) for part in parts[place]))
    return replace(told, contaminated=run.phase is Phase.MEASURE and bool(own_one_time(told)))


def _parts(work: OneTimeWork, usual: Mapping[str, OneTimeWork], left: Counter[str]) -> list[OneTimeWork]:
    if work.kind.startswith(AMBIENT):
        return [replace(work, recurrence="ambient")]
    if work.scope != "own":
        return [work]
    regular = min(work.count, left[work.kind])
    left[work.kind] -= regular
    if regular == work.count or not regular:
        return [replace(work, recurrence="recurring" if regular else "one_time")]
    return _split(work, regular, usual[work.kind].duration_s)


def _split(work: OneTimeWork, regular: int, usual_s: float | None) -> list[OneTimeWork]:
    """The regular part, with no more seconds than one run usually pays, and the surplus."""
    whole_s = work.duration_s
    part_s = None if whole_s is None else min(whole_s, whole_s * regular / work.count if usual_s is None else usual_s)
    rest_s = None if whole_s is None or part_s is None else whole_s - part_s
    return [
        replace(work, count=regular, duration_s=part_s, recurrence="recurring"),
        replace(work, count=work.count - regular, duration_s=rest_s, recurrence="one_time"),
    ]
