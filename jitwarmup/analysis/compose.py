"""From the runs of a finished measurement to its report: everything that follows from them is computed here, once."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jitwarmup.analysis.costs import exclusive_costs
from jitwarmup.analysis.rest import contention_share
from jitwarmup.analysis.stats import summarize
from jitwarmup.records.failure import Failure
from jitwarmup.records.protocols import RunAnnotation
from jitwarmup.records.report import SENTINEL_S, Report, Summary
from jitwarmup.records.runs import Phase, Run
from jitwarmup.records.verdict import Reason, Verdict


def latency_of(failure: Failure | None, clean: Summary, every: Summary) -> float | None:
    """The one number: see ``Report.latency_s``."""
    if clean.median_s is not None:
        return clean.median_s
    if failure is not None:
        return SENTINEL_S
    return every.median_s


def timed(runs: Sequence[Run]) -> list[Run]:
    """The measured runs that finished: streams closed early and failed runs enter no summary."""
    return [run for run in runs if run.phase is Phase.MEASURE and not run.discarded and run.outcome == "ok"]


def ledger_of(runs: Sequence[Run], costs: Sequence[Mapping[str, float]], steady_s: float | None) -> dict[str, float]:
    """
    Seconds of validation and warm-up by cause; the parts sum to the wall time of those runs.

    ``costs`` are, for each of those runs, the non-nested seconds by cause that the probes explained. ``run`` is the
    steady cost, never more than a run took beyond its explained work; the rest is ``unexplained``.
    """
    cold = [run for run in runs if run.phase is not Phase.MEASURE]
    if not cold:
        return {}
    steady = steady_s if steady_s is not None else min(run.duration_s for run in cold)
    ledger: dict[str, float] = {}
    usual = unexplained = 0.0
    for run, explained in zip(cold, costs, strict=True):
        for cause, spent in explained.items():
            ledger[cause] = ledger.get(cause, 0.0) + spent
        rest = max(0.0, run.duration_s - sum(explained.values()))
        usual += min(steady, rest)
        unexplained += rest - min(steady, rest)
    return {**ledger, "run": usual, "unexplained": unexplained}


def compose(
    *,
    callable: str,  # noqa: A002 - the contract's name
    runs: Sequence[Run],
    verdict: Verdict,
    failure: Failure | None,
    costs: Sequence[Mapping[str, float]],
    **rest: Any,
) -> Report:
    """Build the report of a finished measurement: everything that follows from the runs is computed here, once."""
    kept = timed(runs)
    counted = [run for run in kept if run.clean]
    clean = summary_of(counted)
    every = summary_of(kept)
    return Report(
        callable=callable,
        runs=tuple(runs),
        latency_s=latency_of(failure, clean, every),
        latency=clean,
        latency_all=every,
        own_time=known([run.own_time_s for run in counted]),
        cpu=known([run.all_cpu_s for run in counted]),
        verdict=verdict,
        ledger=ledger_of(runs, costs, clean.median_s or every.median_s),
        failure=failure,
        **items_of(counted or kept),
        **rest,
    )


def summary_of(runs: Sequence[Run]) -> Summary:
    """The summary of some runs; where they waited for a CPU, less is known of their median."""
    durations, waits = [run.duration_s for run in runs], [run.wait_s for run in runs if run.wait_s is not None]
    share = contention_share(durations, waits) if len(waits) == len(runs) else None
    return summarize(durations, contention_share=share)


def known(values_s: Sequence[float | None]) -> Summary | None:
    """The summary of what is known of every run; None where it is not, or there is none."""
    found = [value for value in values_s if value is not None]
    return summarize(found) if found and len(found) == len(values_s) else None


def items_of(runs: Sequence[Run]) -> dict[str, Any]:
    """First-item time, gaps and rate of streamed runs; nothing where nothing was streamed."""
    streamed = [run for run in runs if run.first_item_s is not None]
    if not streamed:
        return {}
    rates = [run.items / run.duration_s for run in streamed if run.items and run.duration_ns > 0]
    gaps = [gap for run in streamed for gap in run.item_gaps_s or ()]
    return {
        "first_item": summarize([run.first_item_s for run in streamed if run.first_item_s is not None]),
        "item_gap": summarize(gaps) if gaps else None,
        "items_per_s": statistics.median(rates) if rates else None,
    }


def costs_of(runs: Sequence[Run]) -> list[Mapping[str, float]]:
    """Seconds by cause of each run that was not measured; what comes back on every run is no cause."""
    return [costs_of_run(run) for run in runs if run.phase is not Phase.MEASURE]


def costs_of_run(run: Run) -> Mapping[str, float]:
    """Of several ranks the one whose work explains most: they work side by side, and the others wait for it."""
    once = [work for work in run.work if work.recurrence == "one_time"]
    by_rank = [[work for work in once if work.rank == rank] for rank in dict.fromkeys(work.rank for work in once)]
    costs = [exclusive_costs(work, run.duration_s) for work in by_rank]
    return max(costs, key=lambda cost: sum(cost.values()), default={})


def facts_of(
    annotations: Sequence[tuple[Run, RunAnnotation]], runs: Sequence[Run]
) -> tuple[dict[str, Any], tuple[Reason, ...]]:
    """What the notes of all runs tell together: facts, and advice."""
    facts: dict[str, Any] = {}
    advice: list[Reason] = []
    for note in {type(note): note for _, note in annotations}.values():
        try:
            found, fixes = note.facts(annotations, runs)
        except Exception as error:  # noqa: BLE001 - notes tell of a measurement, they must not break it
            found, fixes = {f"{type(note).__name__.lower()}_problem": type(error).__name__}, ()
        facts |= found
        advice += fixes
    return facts, tuple(advice)
