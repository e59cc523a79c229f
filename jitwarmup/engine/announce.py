"""What events tell of runs, warm-ups and reports: the fields, chosen once for all spellings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from jitwarmup.distributed import identity
from jitwarmup.engine.instruments import Instruments
from jitwarmup.events import schema
from jitwarmup.events.device import device_fields, ledger_fields
from jitwarmup.host.switch import SWITCH
from jitwarmup.records.ranks import RankTimes
from jitwarmup.records.report import Failure, Report
from jitwarmup.records.runs import Decision, Phase, Run, Warmup
from jitwarmup.records.verdict import Reason


def emit(instruments: Instruments, event: str, *, level: str | None = None, **fields: Any) -> None:
    """Emit one event, with this rank's identity where there are several; switched off, nothing is said."""
    if SWITCH.reasons:
        return
    fields.update(identity())
    instruments.emitter.emit(
        event, level or schema.LEVELS[event], schema.build(event, fields, log_messages="error_message" in fields)
    )


def run_fields(run: Run) -> dict[str, Any]:
    """One run: how long, how it ended, what it paid for, and how much of it the machine's other work took."""
    fields = common_fields(run)
    fields["phase"] = run.phase.value
    if run.cpu_s is not None:
        fields["cpu_s"] = run.cpu_s
    if run.switches is not None:
        fields["switches"] = run.switches
    return fields


def common_fields(run: Run) -> dict[str, Any]:
    """What every run tells; one dict and no absent keys, since one is made for every call."""
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
    """One plain call."""
    fields = common_fields(run)
    fields["contaminated"] = run.contaminated
    if run.error_type is not None:
        fields["error_type"] = run.error_type
    return fields | device_fields(run.device) if run.device is not None else fields


def warmup_fields(warmup: Warmup, *, monitor_paused: bool) -> dict[str, Any]:
    """One silent warm-up."""
    decision = warmup.decision
    return {
        "iterations": sum(run.phase is Phase.WARM for run in warmup.runs),
        "runs": len(warmup.runs),
        "duration_s": warmup.duration_s,
        "cold_s": warmup.runs[0].duration_s if warmup.runs else None,
        "last_s": warmup.runs[-1].duration_s if warmup.runs else None,
        "monitor_paused": monitor_paused,
        "skipped": warmup.skipped,
        "rng_restored": warmup.rng_restored,
        "path": decision.path if decision is not None and decision.path else None,
        **ledger_fields(warmup.ledger),
    }


def growth_fields(grown: Sequence[Reason]) -> dict[str, Any]:
    """What the process gained by each run, where it grew on and on."""
    told = {"memory_grows": "memory_grows_bytes", "graphs_grow": "graphs_grow", "descriptors_grow": "descriptors_grow"}
    return {
        name: next(iter(reason.numbers.values())) for reason in grown if (name := told.get(reason.kind)) is not None
    }


def decision_fields(decision: Decision, runs: Sequence[Run]) -> dict[str, Any]:
    """What a rule that looks for proof has found."""
    warm = [run.duration_s for run in runs if run.phase is Phase.WARM and run.outcome == "ok"]
    proven = decision.state == "proven"
    return {
        "iterations": len(warm),
        "runs": len(runs),
        "median_s": statistics.median(warm[-5:]) if warm else None,
        "path": decision.path or None,
        "reason": None if proven else "the allowance was spent before steady state was proven",
        **{f"decision_{name}": value for name, value in decision.numbers.items()},
    }


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
    cold = report.validation
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
        **{name: getattr(summary, name) for name in SPREAD},
        "cold_s": cold.duration_s if cold is not None else None,
        "warmup_s": sum(report.ledger.values()) if report.ledger else None,
        "speedup": cold.duration_s / summary.median_s if cold is not None and summary.median_s else None,
        "watched": list(report.verdict.watched),
        "unwatched": sorted(report.verdict.unwatched),
        "first_item_s": report.first_item.median_s if report.first_item is not None else None,
        "item_gap_s": report.item_gap.median_s if report.item_gap is not None else None,
        "items_per_s": report.items_per_s,
        "contended_share": report.contended_share,
        "skipped": report.skipped,
        "rng_restored": report.rng_restored,
        **rank_fields(report.failure, report.ranks),
        **work_ranks(report.measured),
        **growth_fields(report.verdict.reasons),
        **ledger_fields(report.ledger),
        **device_fields(report.device),
    }


SPREAD = (
    "median_s",
    "ci_low_s",
    "ci_high_s",
    "ci_level",
    "mean_s",
    "stdev_s",
    "mad_s",
    "min_s",
    "max_s",
    "p90_s",
    "p95_s",
    "p99_s",
)
