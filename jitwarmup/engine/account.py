"""
The account of one plan: its runs so far, what they come to (warm-up, verdict, report), and what is said of them.

``measurement`` carries the plan out and writes into it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jitwarmup.analysis.audit import audit
from jitwarmup.analysis.compose import compose, ledger_of, timed
from jitwarmup.analysis.growth import growths
from jitwarmup.analysis.ranks import RemoteError
from jitwarmup.analysis.recurrence import learn_recurrence
from jitwarmup.engine.agreement import RankAgreement, level_of
from jitwarmup.engine.announce import decision_fields, growth_fields, run_fields, warmup_fields
from jitwarmup.engine.commands import Call, Ending, refused
from jitwarmup.engine.inputs import rewinds_process
from jitwarmup.engine.rules import engaged, seeks_proof, would_have_said
from jitwarmup.events import schema
from jitwarmup.gpu.reasons import with_devices
from jitwarmup.host.environment import environment
from jitwarmup.host.process_size import Size
from jitwarmup.keys.single_flight import Claim
from jitwarmup.probes import exclusive_costs
from jitwarmup.records.errors import RankFailed
from jitwarmup.records.protocols import Clock, RunAnnotation
from jitwarmup.records.ranks import RankTimes
from jitwarmup.records.report import SENTINEL_S, Failure, Report
from jitwarmup.records.runs import Decision, Phase, Run, Warmup
from jitwarmup.records.verdict import Reason, Verdict

NOT_ACCEPTED = "NotAccepted"
CAUSES = {"dynamo", "inductor", "cudagraph", "allocator"}  # probes whose silence is worth something


class Account:
    """
    The runs of one plan as far as they were made, and what follows from them.

    Args:
        task: what is run.
        lease: the right to warm the task's key, or None where the key is warm already.
        clock: times the runs.
        report_id: of the block that the measurement belongs to; by default it has one of its own.

    """

    def __init__(self, call: Call, claim: Claim | None, clock: Clock, report_id: str | None = None) -> None:
        self.call = call
        self.claim = claim
        self.clock = clock
        self.report_id = report_id or new_id()
        self.runs: list[Run] = list(call.entry.resumable_runs) if claim is not None and call.entry is not None else []
        self.inherited = len(self.runs)
        self.sizes: list[Size] = []
        self.error: BaseException | None = None
        self.value: Any = None
        self.decision: Decision | None = None
        self.failure: Failure | None = None
        self.end = Ending.DONE
        self.replay = False
        self.kept: list[Any] | None = None
        self.notes: list[tuple[Run, RunAnnotation]] = []
        self.agreement: RankAgreement | None = None
        self.words: RemoteError | None = None  # of the rank that failed, where another one did
        self.agreed_run: Verdict | None = None  # the verdict of all ranks
        call.instruments.probe_set.arm()
        self.rng_restored = rewinds_process(call.options.rng, asynchronous=call.kind.asynchronous)

    def rule(self, runs: Sequence[Run]) -> Decision:
        """The rule of the options, within the budget, told whether causes are watched (a module may appear in a run)."""
        options = self.call.options
        watched = self.watches_causes if self.agreement is None else self.agreement.watched
        return engaged(options.rule, budget_s=options.budget_s, causes_watched=watched)(runs)

    @property
    def watches_causes(self) -> bool:
        """Whether a probe looks whose silence is worth something."""
        return bool(CAUSES & set(self.call.instruments.probe_set.watched()))

    def spent_s(self) -> float:
        """Seconds that validation and warm-up took so far."""
        return sum(run.duration_s for run in self.runs if run.phase is not Phase.MEASURE)

    # ------------------------------------------------------------------ what came of it

    @property
    def made(self) -> list[Run]:
        """The runs that were made here, not by an earlier warm-up that was interrupted."""
        return self.runs[self.inherited :]

    def reason_of_end(self) -> str:
        """How the runs ended, in words that hold no value."""
        kind = self.runs[-1].error_type if self.runs else None
        return f"{self.end.value}: {kind}" if kind is not None else self.end.value

    def warmup(self) -> Warmup:
        """The record of the warm-up so far."""
        runs = tuple(run for run in self.runs if run.phase is not Phase.MEASURE)
        return Warmup(
            callable=self.call.name,
            key=self.call.key,
            runs=runs,
            duration_s=self.spent_s(),
            decision=self.decision,
            ledger=ledger_of(runs, costs_of(runs), None),
            skipped=Ending.MUTATED.value if self.end is Ending.MUTATED else None,
            rng_restored=self.rng_restored,
        )

    def fail(self) -> None:
        """Turn what ended the runs into the report's failure: the one place where a user's exception becomes data."""
        if self.end is Ending.REFUSED:
            self.error = refused(self.call)
        if self.end is Ending.ELSEWHERE:
            self.failure = self.failure or failure_elsewhere(self.runs[-1], self.error, self.words)
        if self.error is not None and self.failure is None:
            self.failure = Failure.of(self.runs[-1], self.error)
            if self.agreement is not None:
                self.failure = replace(self.failure, rank=self.agreement.rank)
            if self.end is Ending.REFUSED:
                self.failure = replace(self.failure, type=NOT_ACCEPTED)

    def verdict(self, runs: Sequence[Run]) -> Verdict:
        """What may be said of the series."""
        probe_set = self.call.instruments.probe_set
        failure = cut_short = None
        if self.failure is not None:
            failure = Reason(
                kind=f"failed_in_{self.failure.phase}",
                numbers={"index": float(self.failure.index)},
                subject=self.failure.type,
            )
        elif self.end is not Ending.DONE:
            cut_short = Reason(kind=self.end.value)
        if self.failure is not None and self.failure.rank is not None and failure is not None:
            failure = replace(failure, numbers={**failure.numbers, "rank": float(self.failure.rank)})
        verdict = audit(
            runs,
            watched=probe_set.watched(),
            unwatched={**probe_set.unwatched(), **self.unwatched()},
            failure=failure,
            cut_short=cut_short,
        )
        verdict = with_devices(verdict, [run.device for run in runs if run.device is not None])
        grown = self.grown()
        return replace(verdict, reasons=(*verdict.reasons, *grown)) if grown else verdict

    def grown(self) -> list[Reason]:
        """What the process kept of each measured run, where it grew on and on."""
        pairs = zip(self.made, self.sizes, strict=False)  # a block's own run has no size
        return growths(series_of([size for run, size in pairs if run.phase is Phase.MEASURE and not run.discarded]))

    def unwatched(self) -> dict[str, str]:
        """Why the monitor could not read, where it could not."""
        monitor = self.call.instruments.monitor
        return {} if monitor is None else {f"monitor.{place}": why for place, why in monitor.problems.items()}

    def report(self) -> Report:
        """The report of all runs; which work comes back on every run has been learnt from them."""
        runs = learn_recurrence(self.runs)
        facts, advice = facts_of(self.notes, runs)
        first, last = runs[0], runs[-1]
        return compose(
            callable=self.call.name,
            report_id=self.report_id,
            started_at=first.started_at,
            duration_s=max(0.0, last.started_at - first.started_at) + last.duration_s,
            runs=runs,
            verdict=self.agreed_run or self.verdict(runs),
            failure=self.failure,
            costs=costs_of(runs),
            decision=self.decision,
            would_have_said=would_have_said(runs) if self.end is Ending.DONE else None,
            skipped=Ending.MUTATED.value if self.end is Ending.MUTATED else None,
            rng_restored=self.rng_restored,
            environment=environment(),
            facts=facts,
            advice=advice,
            ranks=self.rank_times(runs),
            device=next((run.device for run in reversed(runs) if run.device is not None), None),
        )

    @property
    def others_left(self) -> bool:
        """Whether it ended because another rank went its own way: an interruption here too, and all may try again."""
        return self.end is Ending.ELSEWHERE and isinstance(self.error, RankFailed) and self.error.left

    def failed_ranks(self) -> dict[str, list[str]]:
        """Of several ranks those that failed, as an event tells them."""
        if self.agreement is None:
            return {}
        ranks = self.error.ranks if isinstance(self.error, RankFailed) else (self.agreement.rank,)
        return {"failed_ranks": list(map(str, ranks))} if ranks else {}

    def rank_times(self, runs: Sequence[Run]) -> RankTimes | None:
        """How the ranks compare; None for one process alone."""
        if self.agreement is None:
            return None
        return RankTimes.of(timed(runs), rank=self.agreement.rank, members=self.agreement.members)

    # ------------------------------------------------------------------ what is said

    def announce_validated(self, run: Run) -> None:
        """The validation run went well."""
        self.emit(schema.VALIDATION_COMPLETED, **run_fields(run))

    def announce_ended_early(self) -> None:
        """Validation or warm-up did not go well; a failed validation carries the sentinel."""
        run = self.runs[-1]
        error = {"error_type": run.error_type, **self.failed_ranks()}
        if run.phase is Phase.VALIDATE:
            self.emit(schema.VALIDATION_FAILED, error=self.error, **run_fields(run), **error, latency_s=SENTINEL_S)
        elif run.phase is Phase.WARM:
            where = {"phase": run.phase, "index": run.index}
            fields = warmup_fields(self.warmup(), monitor_paused=self.monitor_paused)
            self.emit(schema.WARMUP_FAILED, error=self.error, **error, **where, **fields)

    def announce_nobody_came(self, lost: RankFailed) -> None:
        """The warm-up of several ranks could not begin."""
        fields = warmup_fields(self.warmup(), monitor_paused=self.monitor_paused)
        self.error = lost
        self.emit(schema.WARMUP_FAILED, error=lost, error_type=type(lost).__name__, **self.failed_ranks(), **fields)

    def announce_warmed(self, warmup: Warmup) -> None:
        """The silent warm-up has ended."""
        grown = growths(series_of(self.call.registry.rounds)) if self.claim is not None else []
        fields = warmup_fields(warmup, monitor_paused=self.monitor_paused)
        self.emit(schema.WARMUP_COMPLETED, **fields, **growth_fields(grown))

    def announce_proof(self) -> None:
        """Whether steady state was found, where the rule looked for it."""
        decision = self.decision_so_far()
        if decision is None or not seeks_proof(self.call.options.rule):
            return
        event = schema.STEADY_STATE_REACHED if decision.state == "proven" else schema.STEADY_STATE_NOT_REACHED
        self.emit(event, **decision_fields(decision, self.runs))

    def decision_so_far(self) -> Decision | None:
        """What the rule says of the runs so far; None where it was never asked."""
        if self.decision is None and self.end is Ending.DONE:
            self.decision = self.rule(self.runs)
        return self.decision

    def emit(self, event: str, **fields: Any) -> None:
        """Emit one event of this measurement; of several ranks the first speaks, the others add theirs at debug."""
        self.call.emit(event, level=level_of(self.agreement), report_id=self.report_id, key=self.call.key, **fields)

    @property
    def monitor_paused(self) -> bool:
        """Whether there is a monitor, and it took our pause."""
        monitor = self.call.instruments.monitor
        return monitor is not None and "pause" not in monitor.problems


def series_of(sizes: Iterable[Size]) -> dict[str, list[int | None]]:
    """Sizes of the process, one series each."""
    seen = list(sizes)
    return {name: [getattr(size, name) for size in seen] for name in ("memory_bytes", "graphs", "descriptors")}


def costs_of(runs: Sequence[Run]) -> list[Mapping[str, float]]:
    """Seconds by cause of each run that was not measured; what comes back on every run is no cause."""
    return [costs_of_run(run) for run in runs if run.phase is not Phase.MEASURE]


def costs_of_run(run: Run) -> Mapping[str, float]:
    """Of several ranks the one whose work explains most: they work side by side, and the others wait for it."""
    once = [work for work in run.work if work.recurrence == "one_time"]
    by_rank = [[work for work in once if work.rank == rank] for rank in dict.fromkeys(work.rank for work in once)]
    costs = [exclusive_costs(work, run.duration_s) for work in by_rank]
    return max(costs, key=lambda cost: sum(cost.values()), default={})


def failure_elsewhere(run: Run, error: BaseException | None, words: RemoteError | None) -> Failure:
    """The failure of a measurement whose last run went well here: what the rank that failed says of it."""
    ranks = error.ranks if isinstance(error, RankFailed) else ()
    return Failure(
        phase=run.phase,
        index=run.index,
        type=words.type if words is not None else type(error).__name__,
        message=words.message if words is not None else str(error),
        traceback=words.traceback if words is not None else "",
        rank=ranks[0] if ranks else None,
        exception=error,
    )


def facts_of(
    notes: Sequence[tuple[Run, RunAnnotation]], runs: Sequence[Run]
) -> tuple[dict[str, Any], tuple[Reason, ...]]:
    """What the notes of all runs tell together: facts, and advice."""
    facts: dict[str, Any] = {}
    advice: list[Reason] = []
    for note in {type(note): note for _, note in notes}.values():
        try:
            told, fixes = note.facts(notes, runs)
        except Exception as error:  # noqa: BLE001 - notes tell of a measurement, they must not break it
            told, fixes = {f"{type(note).__name__.lower()}_problem": type(error).__name__}, ()
        facts |= told
        advice += fixes
    return facts, tuple(advice)


def new_id() -> str:
    """An identity for a report; draws from the system, never from the user's random streams."""
    return os.urandom(16).hex()
