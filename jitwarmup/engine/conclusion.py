"""What came of a plan when its runs are over: the failure, the verdict, the report."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jitwarmup.analysis.audit import audit
from jitwarmup.analysis.compose import compose, costs_of, facts_of, ledger_of, timed
from jitwarmup.analysis.growth import growths
from jitwarmup.analysis.ranks import RemoteError
from jitwarmup.analysis.recurrence import learn_recurrence
from jitwarmup.analysis.stops import mark_stops
from jitwarmup.engine.agreement import RankAgreement, failure_elsewhere
from jitwarmup.engine.commands import SKIPS, WELL, WRONG, Call, CallResult, Ending, KeptItems, refused
from jitwarmup.engine.rules import would_have_said
from jitwarmup.engine.timed_region import overhead_s
from jitwarmup.gpu.reasons import with_devices
from jitwarmup.host.clock import SystemClock
from jitwarmup.host.environment import environment
from jitwarmup.host.process_size import Size, series_of
from jitwarmup.keys.single_flight import BEING_WARMED
from jitwarmup.keys.state import WarmupOutcome
from jitwarmup.probes import asked_for, unseen
from jitwarmup.records.errors import MeasurementFailed, RankFailed
from jitwarmup.records.failure import Failure
from jitwarmup.records.first_run import FirstRun
from jitwarmup.records.protocols import RunAnnotation
from jitwarmup.records.report import RankTimes, Report
from jitwarmup.records.runs import Decision, Phase, Run, State, Warmup
from jitwarmup.records.verdict import Reason, Verdict

NOT_ACCEPTED = "NotAccepted"
INTERRUPTED: tuple[State, WarmupOutcome] = (State.COLD, "interrupted")
FAILED: tuple[State, WarmupOutcome] = (State.FAILED, "failed")


@dataclass(eq=False)
class Plan:
    """
    What is known so far of one plan that is carried out: a `Measurement`.

    Fields:
        inherited: how many of ``runs`` an earlier warm-up made, that was interrupted.
        sizes: of the process after each run that was made here.
        kept: the items of a stream's validation run, where they are what the caller gets.
        remote_error: of the rank that failed, where another one did.
        agreed_verdict: of all ranks.

    """

    call: Call
    report_id: str
    rng_restored: bool = False
    runs: list[Run] = field(default_factory=list)
    inherited: int = 0
    sizes: list[Size] = field(default_factory=list)
    annotations: list[tuple[Run, RunAnnotation]] = field(default_factory=list)
    value: Any = None
    kept: KeptItems | None = None
    error: BaseException | None = None
    failure: Failure | None = None
    end: Ending = Ending.DONE
    decision: Decision | None = None
    agreement: RankAgreement | None = None
    remote_error: RemoteError | None = None
    agreed_verdict: Verdict | None = None

    @property
    def made(self) -> list[Run]:
        """The runs that were made here."""
        return self.runs[self.inherited :]

    @property
    def spent_s(self) -> float:
        """Seconds that validation and warm-up took so far."""
        return sum(run.duration_s for run in self.runs if run.phase is not Phase.MEASURE)

    @property
    def others_left(self) -> bool:
        """Whether it ended because another rank went its own way: an interruption here too, and all may try again."""
        return self.end is Ending.ELSEWHERE and isinstance(self.error, RankFailed) and self.error.left

    @property
    def argument_class(self) -> str | None:
        """Where nothing is known of an argument: its class."""
        unknown = self.call.inputs.unknown
        return f"{unknown.__module__}.{unknown.__qualname__}" if unknown and self.end is Ending.UNKNOWN else None

    def warmup(self) -> Warmup:
        """The record of the warm-up so far."""
        runs = tuple(run for run in self.runs if run.phase is not Phase.MEASURE)
        return Warmup(
            callable=self.call.name,
            key=self.call.key,
            runs=runs,
            duration_s=self.spent_s,
            decision=self.decision,
            ledger=ledger_of(runs, costs_of(runs), None),
            skipped=self.end.value if self.end in SKIPS else None,
            argument_class=self.argument_class,
            rng_restored=self.rng_restored,
        )


def of_validation(plan: Plan, *, own: bool) -> CallResult | None:
    """
    What the validation run gave, where the caller of a plain call gets it; None: a run of its own is to be made.

    ``own``: it was made with the caller's own arguments and function.
    """
    end, kept, options, streams = plan.end, plan.kept, plan.call.options, plan.call.kind.streams
    validated_only = bool(plan.runs) and plan.runs[-1].phase is Phase.VALIDATE
    checked = options.dry_run is not None or options.accept is not None or plan.agreement is not None
    at_once = checked or not streams or kept == deque()  # else its consumer meets the items first, in a run of its own
    if end is Ending.INTERRUPTED or (end is Ending.FAILED and validated_only and at_once):
        return CallResult(error=plan.error, items=kept or deque())
    first = end in (*SKIPS, Ending.REFUSED) or (end is Ending.ELSEWHERE and validated_only)
    if first and own and (kept is not None or not streams or end is Ending.ANSWERED):
        return CallResult(plan.value, items=kept or deque())
    return None


def state_after(plan: Plan) -> tuple[State, WarmupOutcome]:
    """
    State of the key after a warm-up that ended early. A failed validation leaves it cold: the next call tries again.

    So does an interruption on another rank: its own key is cold, and its next call will wait for ours.
    """
    if plan.end in (Ending.INTERRUPTED, Ending.ANSWERED) or not plan.runs or plan.others_left:
        return INTERRUPTED
    return FAILED if plan.runs[-1].phase is Phase.WARM else (State.COLD, "failed")


def note_failure(plan: Plan) -> None:
    """Turn what went wrong into the report's failure: the one place where a user's exception becomes data."""
    if plan.end not in WRONG:
        return
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


def labelled(runs: Sequence[Run]) -> tuple[Run, ...]:
    """All runs with what only their neighbours tell: which work comes back on every run, and where the process stood still."""
    return mark_stops(learn_recurrence(runs))


def first_of(plan: Plan) -> FirstRun | None:
    """The key's first run in this process; where this plan made it, with what its runs show of programs before it."""
    entry = plan.call.entry
    first = next((run for run in plan.runs if run.phase is Phase.VALIDATE), None)
    known = entry.first if entry is not None else None
    if first is not None and (known is None or known.run.started_at == first.started_at):
        watched = plan.call.instruments.probe_set.watched()
        found = FirstRun(first, warm_before="dynamo" in watched and was_warm(plan.runs, plan.call.function))
        if known is None:
            return found
        known.warm_before = found.warm_before
    return known


def was_warm(runs: Sequence[Run], function: Any) -> bool:
    """Whether compiled code served the first runs, though none of them compiled: its programs were there before."""
    audited = next((at for at, run in enumerate(runs) if run.compiled_calls is not None), None)
    begun = runs[: 1 if audited is None else audited + 1]
    if any(work.compiles and work.charged for run in begun for work in run.work):
        return False
    return bool(runs[audited].compiled_calls) if audited is not None else asked_for(function) == "torch.compile"


def verdict_of(plan: Plan, runs: Sequence[Run]) -> Verdict:
    """What the series of runs shows."""
    probe_set = plan.call.instruments.probe_set
    failure = cut_short = None
    if plan.failure is not None:
        known = {"index": plan.failure.index, "rank": plan.failure.rank}
        numbers = {name: float(number) for name, number in known.items() if number is not None}
        failure = Reason(kind=f"failed_in_{plan.failure.phase}", numbers=numbers, subject=plan.failure.type)
    elif plan.end is not Ending.DONE:
        cut_short = Reason(kind=plan.end.value)
    monitor = plan.call.instruments.monitor
    unread = {} if monitor is None else {f"monitor.{place}": why for place, why in monitor.problems.items()}
    verdict = audit(
        runs,
        watched=probe_set.watched(),
        unwatched={**probe_set.unwatched(), **unseen(probe_set), **unread},
        failure=failure,
        cut_short=cut_short,
        asked=asked_for(plan.call.function),
    )
    verdict = with_devices(verdict, [run.device for run in runs if run.device is not None])
    grown = growth_of(plan)
    return replace(verdict, reasons=(*verdict.reasons, *grown)) if grown else verdict


def growth_of(plan: Plan) -> list[Reason]:
    """What the process kept of each measured run, where it grew on and on."""
    pairs = zip(plan.made, plan.sizes, strict=False)  # a block's own run has no size
    return growths(series_of([size for run, size in pairs if run.phase is Phase.MEASURE and not run.discarded]))


def report_of(plan: Plan) -> Report:
    """The report of all runs, labelled."""
    runs = labelled(plan.runs)
    facts, advice = facts_of(plan.annotations, runs)
    known = first_of(plan)
    earlier = known is not None and all(run.started_at != known.run.started_at for run in runs)
    first, last, agreement = runs[0], runs[-1], plan.agreement
    return compose(
        callable=plan.call.name,
        report_id=plan.report_id,
        started_at=first.started_at,
        duration_s=max(0.0, last.started_at - first.started_at) + last.duration_s,
        runs=runs,
        verdict=plan.agreed_verdict or verdict_of(plan, runs),
        failure=plan.failure,
        first_run=known.run if known is not None and earlier else None,
        warm_before=known is not None and known.warm_before,
        costs=costs_of(runs),
        decision=plan.decision,
        would_have_said=would_have_said(runs) if plan.end is Ending.DONE else None,
        skipped=plan.end.value if plan.end in SKIPS else None,
        rng_restored=plan.rng_restored,
        environment=environment(),
        overhead_s=overhead_s() if isinstance(plan.call.instruments.clock, SystemClock) else None,
        facts=facts,
        advice=advice,
        ranks=agreement and RankTimes.of(timed(runs), rank=agreement.rank, members=agreement.members),
        device=next((run.device for run in reversed(runs) if run.device is not None), None),
    )


def warmed_up(plan: Plan) -> CallResult:
    """The record of a warm-up, or what ended it."""
    if plan.end in (*WELL, Ending.ANSWERED):
        return CallResult(plan.warmup())
    return CallResult(error=refused(plan.call) if plan.end is Ending.REFUSED else plan.error)


def known_warmup(call: Call) -> Warmup:
    """The record of a warm-up that need not or cannot be made now."""
    entry = call.entry
    if entry is not None and entry.warmup is not None and entry.in_flight is None:
        return entry.warmup
    return Warmup(callable=call.name, key=call.key, skipped="too_many_keys" if entry is None else BEING_WARMED)


def contaminated(call: Call, run: Run) -> MeasurementFailed:
    """The error of ``on_contamination="raise"``."""
    kinds = ", ".join(dict.fromkeys(work.kind for work in run.work if work.recurrence == "one_time"))
    return MeasurementFailed(
        f"measured run {run.index} of {call.name} paid for one-time work ({kinds}) and on_contamination='raise' was "
        "chosen; warm up with until_steady() or with the shapes that are measured, or choose 'mark' or 'redo'"
    )
