"""
One plan being carried out: it collects the runs, pauses the monitor, and knows what came of them.

Between the validation run and the end of warm-up nothing is emitted. The procedures decide what a failure means to their
caller; here is what is common to all of them.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import takewhile
from types import TracebackType
from typing import Any, Self

from jitwarmup.analysis.growth import growths
from jitwarmup.analysis.ranks import TEXT, RankEnding, RankReport, RemoteError, of_rank
from jitwarmup.analysis.recurrence import RecurringWork
from jitwarmup.engine import announce
from jitwarmup.engine.agreement import RankAgreement
from jitwarmup.engine.callables import check_kind, lazy
from jitwarmup.engine.commands import (
    ONLY_RUN,
    WELL,
    Call,
    Ending,
    KeptItems,
    Procedure,
    RunRequest,
    audited,
    new_report_id,
    planned,
    refused,
)
from jitwarmup.engine.conclusion import NOT_ACCEPTED, Plan, labelled, note_failure, verdict_of
from jitwarmup.engine.inputs import rewinds_process
from jitwarmup.engine.rules import engaged, seeks_proof
from jitwarmup.engine.steps import Step, Steps
from jitwarmup.engine.timed_region import RunOutcome, interrupts
from jitwarmup.events.guard import FAULTS
from jitwarmup.host import process_size
from jitwarmup.host.arguments.results import still_to_come
from jitwarmup.host.identities import new_identities
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.single_flight import Claim, Wait
from jitwarmup.records.errors import RankFailed
from jitwarmup.records.failure import text_of
from jitwarmup.records.protocols import Clock
from jitwarmup.records.runs import Decision, Phase, Run, State

CAUSES = {"dynamo", "inductor", "cudagraph", "allocator"}  # probes whose silence is worth something
MOST_ITEMS, MOST_S = 1_000, 60.0  # of a silent run of a stream that nobody bounds, which may be an endless one
ENDINGS: dict[Ending, RankEnding] = {
    Ending.DONE: "ok",
    Ending.FAILED: "failed",
    Ending.REFUSED: "refused",
    **dict.fromkeys(ONLY_RUN, "mutated"),
}


class Measurement(Plan):
    """
    The runs of one plan as they come, and what follows from them.

    Entered before anything is begun, and twice (``with measurement, measurement:``): an interrupt may come at the very
    beginning of an exit. On every way out the monitor is resumed, and where the plan ends early the other ranks,
    which would wait for the next run, get a notice.

    ``claim`` is the right to warm the call's key, None where it is warm already; ``report_id`` is that of the block
    around, by default one of its own.
    """

    def __init__(self, call: Call, claim: Claim | None, clock: Clock, report_id: str | None = None) -> None:
        resumable = call.entry.resumable_runs if claim is not None and call.entry is not None else ()
        super().__init__(call, report_id or new_report_id(), runs=list(resumable), inherited=len(resumable))
        self.claim = claim
        self.clock = clock
        self.recurring = RecurringWork()
        self.replay = False  # a stream's silent run may turn out to be the only run: its items are kept, up to a bound
        self.instead: Callable[[], Procedure] | None = None  # of a plain call: its own run, should the warm-up break
        self.conclude: Callable[[BaseException], Procedure] | None = None  # of no plain call: where ours fails
        self.asks_fresh = False  # what that raises is the user's
        self.pausing = False
        self.measures = False  # a report is wanted, not a value
        self.spans = ExitStack()  # emitters that span the warm-up
        self.new_ids = ExitStack()  # spans made in a run whose random streams are rewound are not one span
        call.instruments.probe_set.arm()
        self.rng_restored = rewinds_process(call.options.rng, asynchronous=call.kind.asynchronous)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume_monitor()
        if error is not None and self.agreement is not None:
            why = "left early" if isinstance(error, GeneratorExit) else type(error).__name__
            self.agreement.leave(f"{why}, after {len(self.runs)} runs")

    # ------------------------------------------------------------------ the runs

    def follow(self, steps: Steps) -> Procedure:
        """Carry out the steps; afterwards ``end`` is how it went."""
        run: Any = None
        while True:
            try:
                step = steps.send(run)
            except StopIteration as stop:
                self.decision = stop.value
                return
            self.enter_phase(step)
            run = yield from self.take(step)
            if self.end is not Ending.DONE:
                return

    def take(self, step: Step) -> Generator[Wait | RunRequest, Any, Run]:
        """Make one run and look at what came of it."""
        call = self.call
        extra = step.phase is not Phase.MEASURE
        self.asks_fresh = call.inputs.fresh is not None
        args, kwargs = call.inputs.extra(silent=extra)
        self.asks_fresh = False
        call.inputs.rewind()  # after `fresh`, which may draw too
        function = call.options.dry_run if extra and call.options.dry_run is not None else call.function
        request = RunRequest(call.instruments, step, self.clock, function, args, kwargs)
        if extra:
            self.bound(request)
        request.instead, request.conclude = self.instead, self.conclude
        untouched = call.options.fresh is None and call.options.dry_run is None
        request.own = step.phase is Phase.VALIDATE and untouched
        del args, kwargs
        if step.phase is Phase.WARM and step.index == 0:
            outcome: RunOutcome = yield from audited(request)
        else:
            outcome = yield request
        run = yield from self.record(step, outcome)
        self.kept = request.kept if self.end is not Ending.DONE else None
        return run

    def bound(self, request: RunRequest) -> None:
        """How far an extra run of a stream is drained, and whether its items are kept."""
        options = self.call.options
        request.drain = options.drain
        request.kept = KeptItems(ranks=self.agreement is not None) if self.replay else None
        if self.agreement is not None:  # ranks would not stop at the same item
            return
        if options.budget_s is not None:
            request.left_s = max(0.0, options.budget_s - self.spent_s)
        elif options.drain is None and options.accept is None and not self.measures:
            request.drain, request.left_s = MOST_ITEMS, MOST_S

    def record(self, step: Step, outcome: RunOutcome) -> Generator[Wait, Any, Run]:
        """Note a run, and whether it is the last one; its value is dropped unless it is the validation's."""
        run: Run = outcome.run
        if outcome.error is not None:
            self.error = outcome.error
            self.end = Ending.INTERRUPTED if interrupts(outcome.error) else Ending.FAILED
        elif outcome.answered:
            self.end, self.value = Ending.ANSWERED, outcome.value
        elif step.phase is Phase.VALIDATE:
            run = self.judge(run, outcome.value)
        if self.agreement is not None:
            run = yield from self.agree(self.agreement, run, outcome)
        if self.end is Ending.DONE or self.instead is None:  # else it may be what the caller gets
            outcome.drop()
        self.sizes.append(process_size.read())
        self.annotations += [(run, note) for note in outcome.notes]
        run = self.recurring.observe(run)
        self.runs.append(run)
        entry = self.call.entry
        if entry is not None and entry.first is None:
            self.call.registry.note_first(entry, run)
        if self.claim is not None and step.phase is not Phase.MEASURE:  # measured runs are not kept
            self.claim.keep(self.runs)
        if self.call.listener is not None:
            self.call.listener(run)
        if step.phase is Phase.VALIDATE and self.end in WELL:
            with FAULTS:
                announce.announce_validated(self, run)
        return run

    def judge(self, run: Run, value: Any) -> Run:
        """Look at the validation run's value: its kind, what the user accepts, and whether arguments were changed."""
        check_kind(self.call.name, self.call.kind, value)
        try:
            accepted = self.call.options.accept is None or bool(self.call.options.accept(value))
        except Exception as error:  # noqa: BLE001 - the check is a part of the validation: its failure is handed on as it is
            self.error, self.end = error, Ending.FAILED
            return replace(run, outcome="error", error_type=type(error).__name__)
        if not accepted:
            self.end = Ending.REFUSED
            self.value = value
            return replace(run, outcome="error", error_type=NOT_ACCEPTED)
        if (stream := still_to_come(value)) is not None:
            if self.measures:
                raise lazy(self.call.name, self.call.kind, stream)
            self.end = Ending.STREAM
        elif self.call.inputs.changed():
            self.end = Ending.MUTATED
        elif self.call.inputs.unknown is not None:
            self.end = Ending.UNKNOWN
        if self.end is not Ending.DONE:
            self.value = value
        return run

    def rule(self, runs: Sequence[Run]) -> Decision:
        """
        The rule of the options, within the budget, told whether causes are watched (a module may appear in a run).

        One that raises or gives no Decision is out: the warm-up ends with the runs that were made.
        """
        options = self.call.options
        watched = self.watches_causes if self.agreement is None else self.agreement.watched
        try:
            return checked(engaged(options.rule, budget_s=options.budget_s, causes_watched=watched)(runs))
        except BaseException as fault:  # noqa: BLE001 - raised again where it is an interrupt
            FAULTS.contain(fault, of_port=True)
        return Decision(state="spent", path="rule_failed")

    @property
    def watches_causes(self) -> bool:
        """Whether a probe looks whose silence is worth something."""
        return bool(CAUSES & set(self.call.instruments.probe_set.watched()))

    # ------------------------------------------------------------------ several ranks

    def meet(self) -> None:
        """From here on the plan is carried out together with the other ranks, where there are any."""
        ranks = self.call.instruments.ranks()
        self.agreement = RankAgreement(ranks) if ranks is not None else None

    def join(self) -> Generator[Wait, Any, None]:
        """Before the first run: wait for the other ranks, and go on from the runs that all have."""
        self.meet()
        if self.agreement is not None:
            # others know no runs that were made before there were several ranks
            ours = tuple(takewhile(lambda run: run.rank_durations_ns is not None, self.runs))
            begin = self.agreement.begin(self.call.name, self.call.options, finished=len(ours))
            self.runs = self.runs[: (yield from begin)]
            self.inherited = len(self.runs)
        for run in self.runs:
            self.recurring.observe(run)

    def agree(self, agreement: RankAgreement, run: Run, outcome: RunOutcome) -> Generator[Wait, Any, Run]:
        """The run that all ranks decide on. Interrupted, this rank leaves: nobody who interrupts wants to wait."""
        if self.end in (Ending.INTERRUPTED, Ending.ANSWERED):
            agreement.leave(f"{run.error_type or self.end.value} in {run.phase} run {run.index}")
            return run
        report = RankReport.of(run, ending=ENDINGS[self.end], watched=self.watches_causes, words=self.own_words(run))
        agreed_run = yield from agreement.after(run, report)
        if agreed_run.elsewhere is not None and self.end in WELL:
            self.end, self.error, self.remote_error = Ending.ELSEWHERE, agreed_run.elsewhere, agreed_run.words
        elif agreed_run.mutated and self.end is Ending.DONE:
            self.end = Ending.MUTATED
        if self.end in (Ending.ELSEWHERE, *ONLY_RUN) and run.phase is Phase.VALIDATE:
            self.value = outcome.value  # it may be the only run that is made here
        lost = self.end is Ending.ELSEWHERE and agreed_run.run.outcome == "ok"
        return replace(agreed_run.run, outcome="error", error_type=RankFailed.__name__) if lost else agreed_run.run

    def own_words(self, run: Run) -> RemoteError | None:
        """What the reports of the other ranks hold of a failure here."""
        if run.outcome == "ok":
            return None
        if self.error is None:
            return RemoteError(type=NOT_ACCEPTED, message=str(refused(self.call)))
        text = "".join(traceback.format_exception(self.error))
        return RemoteError(type=type(self.error).__name__, message=text_of(self.error)[:TEXT], traceback=text[-TEXT:])

    def agree_verdict(self) -> Generator[Wait, Any, None]:
        """When the runs are over: one verdict of all ranks."""
        agreement = self.agreement
        if agreement is None or agreement.lost is not None or self.end is Ending.INTERRUPTED or not self.runs:
            return
        note_failure(self)
        self.agreed_verdict = yield from agreement.verdict(verdict_of(self, labelled(self.runs)))
        if self.agreed_verdict is None and self.end is Ending.DONE:
            self.end, self.error = Ending.ELSEWHERE, agreement.lost

    # ------------------------------------------------------------------ phases

    def prepare(self) -> None:
        """Before the first run: the monitor is paused, and the random streams are noted."""
        if self.rng_restored:
            self.new_ids.enter_context(new_identities())
        self.pause_monitor()  # before the streams are noted: what hooks draw is not drawn again
        self.call.inputs.remember(process_wide=self.rng_restored)

    def pause_monitor(self) -> None:
        """Pause the monitor, once; hooks that span a warm-up begin."""
        if not self.pausing:
            self.pausing = True
            fields = {"callable": self.call.name, "report_id": self.report_id, "key": self.call.key}
            if not SWITCH.reasons:
                self.spans.enter_context(self.call.instruments.emitter.warming(fields))
            if self.call.instruments.monitor is not None:
                self.call.instruments.monitor.pause(self)

    def resume_monitor(self) -> None:
        """Give our pause back, once; hooks that span a warm-up end."""
        if self.pausing:
            if self.call.instruments.monitor is not None:
                self.call.instruments.monitor.resume(self)
            if self.end is not Ending.DONE:  # the last run may be the caller's, and so is what it drew
                self.spans.close()
            else:
                self.call.inputs.rewind()
                self.spans.close()
                self.call.inputs.remember(process_wide=self.rng_restored)  # what hooks drew is not drawn again
            self.pausing = False  # last: interrupted before it, all of this is done again

    def enter_phase(self, step: Step) -> None:
        """A phase begins: note it in the key's state, pause or resume the monitor, announce the phase that ended."""
        if step.rearm:
            self.runs = [replace(run, discarded=run.discarded or run.phase is Phase.MEASURE) for run in self.runs]
            self.decision = None
            self.pause_monitor()
        if step.phase is not Phase.MEASURE and self.claim is not None:
            state = State.WARMING if step.phase is Phase.WARM else State.VALIDATING
            self.claim.progress(state, planned(self.call.options))
        if step.phase is Phase.MEASURE and self.pausing:
            self.resume_monitor()
            self.finish_warmup()

    def finish_warmup(self) -> None:
        """Warm-up has ended well: the key is warm, and it is announced."""
        if self.decision is None and self.end is Ending.DONE:
            self.decision = self.rule(self.runs)
        warmup = self.warmup()
        if self.claim is not None:
            proven = self.decision is not None and self.decision.state == "proven"
            own = None if self.agreement is None else of_rank(warmup.runs, self.agreement.rank)
            self.claim.finish(State.STEADY if proven else State.WARM, "warm", warmup, own=own)
            self.call.registry.rounds.append(self.sizes[-1] if self.sizes else process_size.read())
        with FAULTS:
            grown = growths(process_size.series_of(self.call.registry.rounds)) if self.claim is not None else []
            announce.announce_warmed(self, grown)
            if self.decision is not None and seeks_proof(self.call.options.rule):
                announce.announce_proof(self, self.decision)


def checked(decision: Any) -> Decision:
    """What a rule gave, where it is a decision."""
    if isinstance(decision, Decision) and decision.state in ("more", "proven", "spent"):
        return decision
    raise TypeError
