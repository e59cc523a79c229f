"""One function an event: which fields it carries, and when it is left out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from jitwarmup.analysis.costs import exclusive_costs
from jitwarmup.analysis.drift import Moved
from jitwarmup.engine.agreement import RankAgreement, level_of
from jitwarmup.engine.commands import WELL, Call, Ending, TimedFunction, event_of, key_of, planned
from jitwarmup.engine.conclusion import Plan, first_of
from jitwarmup.engine.instruments import Instruments
from jitwarmup.events import schema
from jitwarmup.events.keys import device_fields, ledger_fields
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.state import KeyState
from jitwarmup.probes import Usage
from jitwarmup.records.errors import RankFailed
from jitwarmup.records.failure import Failure
from jitwarmup.records.report import SENTINEL_S, RankTimes, Report
from jitwarmup.records.runs import Decision, OneTimeWork, Phase, Run
from jitwarmup.records.verdict import Reason


def about(plan: Plan) -> dict[str, Any]:
    """What every event of a measurement carries; of several ranks the first emits at the event's level, the others at debug."""
    return {"report_id": plan.report_id, "key": plan.call.key, "level": level_of(plan.agreement)}


# ------------------------------------------------------------------ the events


def announce_validated(plan: Plan, run: Run) -> None:
    plan.call.emit(schema.VALIDATION_COMPLETED, **about(plan), **run_fields(run), **left_fields(plan, run))


def announce_ended_early(plan: Plan) -> None:
    """Validation or warm-up did not go well, or could not begin; a failed validation carries the sentinel."""
    run = plan.made[-1] if plan.made else None
    error_type = type(plan.error).__name__ if run is None else run.error_type or "Interrupted"
    error: dict[str, Any] = {"error": plan.error, "error_type": error_type, **failed_ranks(plan)}
    if run is not None and run.phase is Phase.VALIDATE and plan.end is not Ending.ANSWERED:
        plan.call.emit(schema.VALIDATION_FAILED, **about(plan), **run_fields(run), **error, latency_s=SENTINEL_S)
    elif run is None or run.phase is not Phase.MEASURE:
        place: dict[str, Any] = {} if run is None else {"phase": run.phase, "index": run.index}
        plan.call.emit(schema.WARMUP_FAILED, **about(plan), **error, **warmup_fields(plan), **place)


def announce_warmed(plan: Plan, grown: Sequence[Reason]) -> None:
    """The silent warm-up has ended."""
    fields = {**about(plan), **warmup_fields(plan), **growth_fields(grown)}
    unknown, announced = plan.argument_class, plan.call.registry.unknown_classes
    if unknown is not None and unknown not in announced:
        announced.add(unknown)
        fields["argument_class"] = unknown
    plan.call.emit(schema.WARMUP_COMPLETED, **fields)


def announce_proof(plan: Plan, decision: Decision) -> None:
    """Whether steady state was found, where the rule looked for it."""
    warm = [run.duration_s for run in plan.runs if run.phase is Phase.WARM and run.outcome == "ok"]
    proven = decision.state == "proven"
    numbers: dict[str, Any] = {f"decision_{name}": value for name, value in decision.numbers.items()}
    plan.call.emit(
        schema.STEADY_STATE_REACHED if proven else schema.STEADY_STATE_NOT_REACHED,
        **about(plan),
        iterations=len(warm),
        runs=len(plan.runs),
        median_s=statistics.median(warm[-5:]) if warm else None,
        path=decision.path or None,
        reason=None if proven else "the allowance was spent before steady state was proven",
        **numbers,
    )


def announce_measured(plan: Plan, report: Report) -> None:
    """The canonical line: exactly one per measurement."""
    fields = {**about(plan), **report_fields(report, measurements=plan.call.options.measurements)}
    if plan.end in (*WELL, Ending.LEFT):
        plan.call.emit(schema.MEASUREMENT_COMPLETED, **fields)
        return
    last = report.runs[-1]
    where: dict[str, Any] = {"phase": last.phase, "index": last.index, "error_type": last.error_type or "Interrupted"}
    plan.call.emit(schema.MEASUREMENT_FAILED, error=plan.error, **fields, **where)


def announce_call(function: TimedFunction, entry: KeyState | None, run: Run, error: BaseException | None) -> None:
    function.emit(schema.CALL, error=error, key=key_of(entry), **call_fields(run))


def announce_lost(
    function: TimedFunction,
    entry: KeyState,
    run: Run,
    paid: Sequence[OneTimeWork],
    *,
    reason: str,
    spent: Usage | None,
    advice: str | None,
) -> None:
    """Steady state was lost, on this very call."""
    costs: dict[str, Any] = dict(ledger_fields(exclusive_costs(paid, run.duration_s), "paid"))
    function.emit(
        schema.STEADY_STATE_LOST,
        key=key_of(entry),
        duration_s=run.duration_s,
        work=list(dict.fromkeys(work.kind for work in paid)),
        reason=reason,
        advice=advice,
        recompiles=sum(work.count for work in paid if work.kind == "dynamo.recompile"),
        **costs,
        **usage_fields(spent),
    )


def announce_drift(function: TimedFunction, entry: KeyState, moved: Moved) -> None:
    """Clean calls have become slower for good, or are as fast as before."""
    lost = moved.state == "drifted"
    function.emit(
        schema.STEADY_STATE_LOST if lost else schema.STEADY_STATE_REACHED,
        key=key_of(entry),
        reason="drift" if lost else "drift is over",
        factor=moved.factor,
    )


def announce_limit(function: TimedFunction, entry: KeyState, spent: Usage, reason: str) -> None:
    """Most of torch's recompile limit is used up."""
    function.emit(schema.STEADY_STATE_LOST, key=key_of(entry), reason=reason, **usage_fields(spent))


def announce_missed(call: Call, reason: str) -> None:
    """A live call met a key that was not warm, for the first time."""
    warm = sum(entry.is_warm for entry in call.registry.met(None))
    call.emit(schema.COVERAGE_MISSED, key=call.key, missed_count=1, keys_warm=warm, reason=reason)


def announce_block(instruments: Instruments, event: str, agreement: RankAgreement | None, **fields: Any) -> None:
    """A ``with`` block has ended, or failed on entry."""
    if not SWITCH.reasons:
        instruments.emitter.emit(*event_of(event, level_of(agreement), fields))


# ------------------------------------------------------------------ the fields


def failed_ranks(plan: Plan) -> dict[str, list[str]]:
    """Of several ranks those that failed."""
    if plan.agreement is None:
        return {}
    ranks = plan.error.ranks if isinstance(plan.error, RankFailed) else (plan.agreement.rank,)
    return {"failed_ranks": list(map(str, ranks))} if ranks else {}


def usage_fields(spent: Usage | None) -> dict[str, Any]:
    """How much of torch's recompile limit is used up."""
    return {} if spent is None else {"used": spent.used, "limit": spent.limit}


def run_fields(run: Run) -> dict[str, Any]:
    """One run: how long, how it ended, what it paid for, and how much of it the machine's other work took."""
    return {**common_fields(run), "phase": run.phase.value, "cpu_s": run.cpu_s, "switches": run.switches}


def left_fields(plan: Plan, run: Run) -> dict[str, Any]:
    """What the silent warm-up will take, where a count decides and there will be one."""
    runs = planned(plan.call.options)
    if runs is None or plan.end is not Ending.DONE:
        return {}
    each_s = run.duration_s - sum(exclusive_costs(run.work, run.duration_s).values())
    return {"runs_left": runs - 1, "left_s": (runs - 1) * each_s}


def common_fields(run: Run) -> dict[str, Any]:
    """The fields of every run; one dict and no absent keys, since one is made for every call."""
    fields: dict[str, Any] = {"duration_s": run.duration_ns / 1e9, "outcome": run.outcome}
    if run.work:
        fields["work"] = list(dict.fromkeys(work.kind for work in run.work))
        fields["work_count"] = sum(work.count for work in run.work)
    if run.items is not None:
        fields["first_item_s"] = run.first_item_s
        fields["items"] = run.items
        fields["items_per_s"] = run.items / run.duration_s if run.items and run.duration_ns else None
    if run.wait_s is not None and run.duration_ns:
        fields["wait_s"] = run.wait_s
        fields["contended_share"] = min(1.0, run.wait_s * 1e9 / run.duration_ns)
    return fields


def call_fields(run: Run) -> dict[str, Any]:
    fields = common_fields(run)
    fields["contaminated"] = run.contaminated
    if run.error_type is not None:
        fields["error_type"] = run.error_type
    return fields | device_fields(run.device) if run.device is not None else fields


def warmup_fields(plan: Plan) -> dict[str, Any]:
    warmup, decision, monitor = plan.warmup(), plan.decision, plan.call.instruments.monitor
    first = first_of(plan)
    return {
        "iterations": sum(run.phase is Phase.WARM for run in warmup.runs),
        "runs": len(warmup.runs),
        "duration_s": warmup.duration_s,
        "cold_s": None if first is None else first.cold_s,
        "last_s": warmup.runs[-1].duration_s if warmup.runs else None,
        "monitor_paused": monitor is not None and "pause" not in monitor.problems,
        "skipped": warmup.skipped,
        "rng_restored": warmup.rng_restored,
        "path": decision.path if decision is not None and decision.path else None,
        **ledger_fields(warmup.ledger),
    }


def growth_fields(grown: Sequence[Reason]) -> dict[str, Any]:
    """What the process gained by each run, where it grew on and on."""
    names = {"memory_grows": "memory_grows_bytes", "graphs_grow": "graphs_grow", "descriptors_grow": "descriptors_grow"}
    return {names[reason.kind]: next(iter(reason.numbers.values())) for reason in grown if reason.kind in names}


def rank_fields(failure: Failure | None, ranks: RankTimes | None) -> dict[str, Any]:
    """Of several ranks: which one failed, which one is slow, and by how much."""
    fields: dict[str, Any] = {}
    if failure is not None and failure.rank is not None:
        fields["failed_ranks"] = [str(failure.rank)]
    if ranks is not None and ranks.straggler is not None:
        fields["straggler_rank"] = ranks.straggler
        fields["straggler_share"] = ranks.straggler_share
        fields["rank_skew_s"] = ranks.skew_s
        fields["rank_fastest_s"], fields["rank_slowest_s"] = min(ranks.median_s), max(ranks.median_s)
    return fields


def work_ranks(runs: Sequence[Run]) -> dict[str, Any]:
    """The ranks that paid for one-time work in measured runs; nothing where there is but one process."""
    paid = {work.rank for run in runs if run.contaminated for work in run.work if work.recurrence == "one_time"}
    ranks = sorted(rank for rank in paid if rank is not None)
    return {"contaminated_ranks": list(map(str, ranks))} if ranks else {}


def report_fields(report: Report, *, measurements: int) -> dict[str, Any]:
    """One measurement: the canonical line."""
    summary = report.latency
    reasons = [reason.kind for reason in report.verdict.reasons]
    return {
        "latency_s": report.latency_s,
        "duration_s": report.duration_s,
        "runs": len(report.runs),
        "iterations": len(report.warmup),
        "measurements": measurements,
        "measured_runs": len(report.measured),
        "clean_runs": summary.n,
        "contaminated_runs": sum(run.contaminated for run in report.measured),
        "discarded_runs": sum(run.discarded for run in report.runs),
        "verdict": report.verdict.state,
        "verdict_reasons": list(dict.fromkeys(reasons)),
        **{each.name: getattr(summary, each.name) for each in fields(summary) if each.name.endswith(("_s", "_level"))},
        "cold_s": report.cold_s,
        "warmup_s": sum(report.ledger.values()) if report.ledger else None,
        "speedup": report.speedup,
        "watched": list(report.verdict.watched),
        "unwatched": sorted(report.verdict.unwatched),
        "first_item_s": report.first_item.median_s if report.first_item is not None else None,
        "item_gap_s": report.item_gap.median_s if report.item_gap is not None else None,
        "items_per_s": report.items_per_s,
        "contended_share": report.contended_share,
        "own_time_s": report.own_time.median_s if report.own_time is not None else None,
        "process_cpu_s": report.cpu.median_s if report.cpu is not None else None,
        "overhead_s": report.overhead_s,
        "skipped": report.skipped,
        "rng_restored": report.rng_restored,
        **rank_fields(report.failure, report.ranks),
        **work_ranks(report.measured),
        **growth_fields(report.verdict.reasons),
        **ledger_fields(report.ledger),
        **device_fields(report.device),
    }
