"""
Was the process stopped while a run was under way (SIGSTOP, a paused container, a suspended machine whose clock goes on)?

    wall of a run  =  CPU  +  waiting for a CPU  +  standing still

A function that sleeps, reads or waits for a device stands still in every run. A stop shows as one run that stood still
far longer than its neighbours; so does a wait that only that run had, which no number here tells apart. Either way the
time is none of the function's usual cost: ``ambient`` work of the kind ``process.stopped``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitwarmup.analysis.recurrence import one_time_of
from jitwarmup.analysis.stats import quantile
from jitwarmup.records.runs import OneTimeWork, Phase, Run

KIND = "process.stopped"
FEW = 5  # runs below which no neighbours tell what is usual
LEAST_S = 0.1  # beyond what is usual; shorter ones are pauses of the disk or the hypervisor
FAR = 10.0  # times what is usual


def stopped_s(still_s: Sequence[float]) -> list[float]:
    """Of runs that stood still for so many seconds: those beyond what is usual where they are far more, else 0."""
    if len(still_s) < FEW:
        return [0.0] * len(still_s)
    usual = quantile(still_s, 0.75)
    return [still - usual if still - usual >= LEAST_S and still >= FAR * usual else 0.0 for still in still_s]


def mark_stops(runs: Sequence[Run]) -> tuple[Run, ...]:
    """
    The runs of a measurement, labelled, where stops are work of those that they fell into.

    Runs that cannot tell are left as they are: what validated, failed or paid one-time work waits for causes of its own.
    """
    still = {at: seconds for at, run in enumerate(runs) if (seconds := still_s(run)) is not None}
    marked = list(runs)
    for at, stopped in zip(still, stopped_s([*still.values()]), strict=True):
        if stopped:
            work = OneTimeWork(kind=KIND, duration_s=stopped, recurrence="ambient")
            marked[at] = replace(runs[at], work=(*runs[at].work, work))
    return tuple(marked)


def still_s(run: Run) -> float | None:
    """Seconds in which the thread neither ran nor waited for a CPU; None where that is not known, or has a cause."""
    if (
        run.outcome != "ok"
        or run.phase is Phase.VALIDATE
        or one_time_of(run)
        or run.cpu_s is None
        or run.wait_s is None
    ):
        return None
    return max(0.0, run.duration_s - run.cpu_s - run.wait_s)
