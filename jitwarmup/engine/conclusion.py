"""What came of a plan when its runs are over: the failure, the verdict, the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from jitwarmup.analysis.audit import audit
from jitwarmup.analysis.compose import compose, costs_of, facts_of, timed
from jitwarmup.analysis.growth import growths
from jitwarmup.analysis.ranks import RemoteError
from jitwarmup.analysis.recurrence import learn_recurrence
from jitwarmup.engine.agreement import RankAgreement, failure_elsewhere
from jitwarmup.engine.commands import Call, Ending, refused
from jitwarmup.engine.rules import would_have_said
from jitwarmup.gpu.reasons import with_devices
from jitwarmup.host.environment import environment
from jitwarmup.host.process_size import Size, series_of
from jitwarmup.records.protocols import RunAnnotation
from jitwarmup.records.report import Failure, RankTimes, Report
from jitwarmup.records.runs import Decision, Phase, Run
from jitwarmup.records.verdict import Reason, Verdict

NOT_ACCEPTED = "NotAccepted"


class Plan(Protocol):
    """What is looked at: a `Measurement`."""

    call: Call
    report_id: str
    runs: list[Run]
    sizes: list[Size]
    annotations: list[tuple[Run, RunAnnotation]]
    error: BaseException | None
    failure: Failure | None
    end: Ending
    decision: Decision | None
    agreement: RankAgreement | None
    agreed_verdict: Verdict | None
    remote_error: RemoteError | None
    rng_restored: bool

    @property
    def made(self) -> list[Run]: ...


def note_failure(plan: Plan) -> None:
    """Turn what ended the runs into the report's failure: the one place where a user's exception becomes data."""
    if plan.end is Ending.REFUSED:
        plan.error = refused(plan.call)
    if plan.end is Ending.ELSEWHERE:
        plan.failure = plan.failure or failure_elsewhere(plan.runs[-1], plan.error, plan.remote_error)
    if plan.error is not None and plan.failure is None:
        plan.failure = Failure.of(plan.runs[-1], plan.error)
        if plan.agreement is not None:
            plan.failure = replace(plan.failure, rank=plan.agreement.rank)
        if plan.end is Ending.REFUSED:
            plan.failure = replace(plan.failure, type=NOT_ACCEPTED)


def verdict_of(plan: Plan, runs: Sequence[Run]) -> Verdict:
    """What the series of runs shows."""
    probe_set = plan.call.instruments.probe_set
    failure = cut_short = None
    if plan.failure is not None:
        failure = Reason(
            kind=f"failed_in_{plan.failure.phase}",
            numbers={"index": float(plan.failure.index)},
            subject=plan.failure.type,
        )
    elif plan.end is not Ending.DONE:
        cut_short = Reason(kind=plan.end.value)
    if plan.failure is not None and plan.failure.rank is not None and failure is not None:
        failure = replace(failure, numbers={**failure.numbers, "rank": float(plan.failure.rank)})
    verdict = audit(
        runs,
        watched=probe_set.watched(),
        unwatched={**probe_set.unwatched(), **unwatched(plan)},
        failure=failure,
        cut_short=cut_short,
    )
    verdict = with_devices(verdict, [run.device for run in runs if run.device is not None])
    grown = growth_of(plan)
    return replace(verdict, reasons=(*verdict.reasons, *grown)) if grown else verdict


def growth_of(plan: Plan) -> list[Reason]:
    """What the process kept of each measured run, where it grew on and on."""
    pairs = zip(plan.made, plan.sizes, strict=False)  # a block's own run has no size
    return growths(series_of([size for run, size in pairs if run.phase is Phase.MEASURE and not run.discarded]))


def unwatched(plan: Plan) -> dict[str, str]:
    """Why the monitor could not read, where it could not."""
    monitor = plan.call.instruments.monitor
    return {} if monitor is None else {f"monitor.{place}": why for place, why in monitor.problems.items()}


def report_of(plan: Plan) -> Report:
    """The report of all runs; which work comes back on every run has been learnt from them."""
    runs = learn_recurrence(plan.runs)
    facts, advice = facts_of(plan.annotations, runs)
    first, last = runs[0], runs[-1]
    return compose(
        callable=plan.call.name,
        report_id=plan.report_id,
        started_at=first.started_at,
        duration_s=max(0.0, last.started_at - first.started_at) + last.duration_s,
        runs=runs,
        verdict=plan.agreed_verdict or verdict_of(plan, runs),
        failure=plan.failure,
        costs=costs_of(runs),
        decision=plan.decision,
        would_have_said=would_have_said(runs) if plan.end is Ending.DONE else None,
        skipped=Ending.MUTATED.value if plan.end is Ending.MUTATED else None,
        rng_restored=plan.rng_restored,
        environment=environment(),
        facts=facts,
        advice=advice,
        ranks=rank_times(plan, runs),
        device=next((run.device for run in reversed(runs) if run.device is not None), None),
    )


def rank_times(plan: Plan, runs: Sequence[Run]) -> RankTimes | None:
    """How the ranks compare; None for one process alone."""
    if plan.agreement is None:
        return None
    return RankTimes.of(timed(runs), rank=plan.agreement.rank, members=plan.agreement.members)
