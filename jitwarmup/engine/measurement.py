"""
One plan being carried out: it collects the runs, turns the monitor, and speaks at the ends of phases.

Between the validation run and the end of warm-up nothing is said. The courses in ``calls`` decide what a failure means
to their caller; here is what is common to all of them.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from itertools import takewhile
from types import TracebackType
from typing import Any, Self

from jitwarmup.analysis.ranks import TEXT, RankEnding, RankReport, RemoteError, of_rank
from jitwarmup.analysis.recurrence import learn_recurrence
from jitwarmup.engine.account import NOT_ACCEPTED, Account
from jitwarmup.engine.agreement import RankAgreement
from jitwarmup.engine.commands import Call, Ending, Procedure, RunRequest, audited, check_colour, one, planned, refused
from jitwarmup.engine.steps import Flow, Step
from jitwarmup.engine.timed_region import RunOutcome
from jitwarmup.host import process_size
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.registry import Claim, Wait
from jitwarmup.keys.status import tell_other_ranks
from jitwarmup.records.errors import RankFailed
from jitwarmup.records.protocols import Clock
from jitwarmup.records.report import text_of
from jitwarmup.records.runs import Phase, Run, State

ENDINGS: dict[Ending, RankEnding] = {
    Ending.DONE: "ok",
    Ending.FAILED: "failed",
    Ending.REFUSED: "refused",
    Ending.MUTATED: "mutated",
}


class Measurement(Account):
    """
    The runs of one plan, as they come. Arguments are those of `Account`.

    Entered before anything is begun, and twice (``with measurement, measurement:``): an interrupt may come at the very
    beginning of an exit. On every way out the monitor is right again, and whatever leaves the plan on the way is told to
    the other ranks, which would wait for the next run.
    """

    def __init__(self, task: Call, lease: Claim | None, clock: Clock, report_id: str | None = None) -> None:
        super().__init__(task, lease, clock, report_id)
        self.silent = False
        self.hooks = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unmute()
        if error is not None:
            self.leave("left early" if isinstance(error, GeneratorExit) else type(error).__name__)

    # ------------------------------------------------------------------ the runs

    def follow(self, steps: Flow) -> Procedure:
        """Carry out the steps; afterwards ``end`` says how it went."""
        run: Run | None = None
        while True:
            try:
                step = steps.send(run) if run is not None else next(steps)
            except StopIteration as stop:
                self.decision = stop.value
                return
            self.turn_to(step)
            run = yield from self.take(step)
            if self.end is not Ending.DONE:
                return

    def take(self, step: Step) -> Generator[Wait | RunRequest, Any, Run]:
        """Make one run and look at what came of it."""
        task = self.task
        extra = step.phase is not Phase.MEASURE
        args, kwargs = task.inputs.extra(silent=extra)
        task.inputs.rewind()  # after `fresh`, which may draw too
        function = task.options.dry_run if extra and task.options.dry_run is not None else task.function
        command = RunRequest(task.session, step, self.clock, function, args, kwargs)
        if extra:
            command.drain, command.left_s = task.options.drain, self.left_s()
        if self.replay and step.phase is Phase.VALIDATE:
            command.kept = []
        del args, kwargs
        taken = yield from audited(command) if step.phase is Phase.WARM and step.index == 0 else one(command)
        run = yield from self.record(step, taken)
        self.kept = command.kept if self.end in (Ending.MUTATED, Ending.REFUSED, Ending.ELSEWHERE) else None
        return run

    def record(self, step: Step, taken: RunOutcome) -> Generator[Wait, Any, Run]:
        """Note a run, and whether it is the last one; its value is dropped unless it is the validation's."""
        run: Run = taken.run
        if taken.error is not None:
            self.error = taken.error
            self.end = Ending.FAILED if isinstance(taken.error, Exception) else Ending.INTERRUPTED
        elif step.phase is Phase.VALIDATE:
            run = self.judge(run, taken.value)
        if self.together is not None:
            run = yield from self.agree(self.together, run, taken)
        taken.value = taken.error = None
        self.sizes.append(process_size.read())
        self.notes += [(run, note) for note in taken.notes]
        self.runs.append(run)
        run = self.runs[-1] = learn_recurrence(self.runs)[-1]
        if self.lease is not None:
            self.lease.finished(self.runs)
        if self.task.listener is not None:
            self.task.listener(run)
        if step.phase is Phase.VALIDATE and self.end in (Ending.DONE, Ending.MUTATED):
            self.say_validated(run)
        return run

    # ------------------------------------------------------------------ several ranks

    def meet(self) -> None:
        """From here on the plan is carried out together with the other ranks, where there are any."""
        ranks = self.task.session.ranks()
        self.together = RankAgreement(ranks) if ranks is not None else None

    def join(self) -> Generator[Wait, Any, None]:
        """Before the first run: wait for the other ranks, and go on from the runs that all have."""
        self.meet()
        if self.together is not None:
            # others know no runs that were made before there were several ranks
            ours = tuple(takewhile(lambda run: run.rank_durations_ns is not None, self.runs))
            begin = self.together.begin(self.task.name, self.task.options, finished=len(ours))
            self.runs = self.runs[: (yield from begin)]
            self.inherited = len(self.runs)

    def leave(self, why: str) -> None:
        """Go one's own way; the other ranks, if there are any, hear of it."""
        if self.together is not None:
            self.together.leave(f"{why}, after {len(self.runs)} runs")

    def agree(self, together: RankAgreement, run: Run, taken: RunOutcome) -> Generator[Wait, Any, Run]:
        """The run that all ranks decide on. Interrupted, this rank leaves: nobody who interrupts wants to wait."""
        if self.end is Ending.INTERRUPTED:
            together.leave(f"{run.error_type} in {run.phase} run {run.index}")
            return run
        said = RankReport.of(run, ending=ENDINGS[self.end], watched=self.watches_causes, words=self.own_words(run))
        common = yield from together.after(run, said)
        if common.elsewhere is not None and self.end in (Ending.DONE, Ending.MUTATED):
            self.end, self.error, self.words = Ending.ELSEWHERE, common.elsewhere, common.words
        elif common.mutated and self.end is Ending.DONE:
            self.end = Ending.MUTATED
        if self.end in (Ending.ELSEWHERE, Ending.MUTATED) and run.phase is Phase.VALIDATE:
            self.value = taken.value  # it may be the only run that is made here
        lost = self.end is Ending.ELSEWHERE and common.run.outcome == "ok"
        return replace(common.run, outcome="error", error_type=RankFailed.__name__) if lost else common.run

    def own_words(self, run: Run) -> RemoteError | None:
        """What other ranks' reports say of this rank's failure."""
        if run.outcome == "ok":
            return None
        if self.error is None:
            return RemoteError(type=NOT_ACCEPTED, message=str(refused(self.task)))
        text = "".join(traceback.format_exception(self.error))
        return RemoteError(type=type(self.error).__name__, message=text_of(self.error)[:TEXT], traceback=text[-TEXT:])

    def agree_verdict(self) -> Generator[Wait, Any, None]:
        """When the runs are over: one verdict of all ranks."""
        together = self.together
        if together is None or together.lost is not None or self.end is Ending.INTERRUPTED or not self.runs:
            return
        if self.end in (Ending.FAILED, Ending.REFUSED, Ending.ELSEWHERE):
            self.fail()
        self.common = yield from together.verdict(self.verdict(learn_recurrence(self.runs)))
        if self.common is None and self.end is Ending.DONE:
            self.end, self.error = Ending.ELSEWHERE, together.lost

    # ------------------------------------------------------------------ the value

    def judge(self, run: Run, value: Any) -> Run:
        """Look at the validation run's value: its colour, what the user accepts, and whether arguments were changed."""
        check_colour(self.task, value)
        try:
            accepted = self.task.options.accept is None or self.task.options.accept(value)
        except Exception as error:  # noqa: BLE001 - the check is a part of the validation: its failure is handed on as it is
            self.error, self.end = error, Ending.FAILED
            return replace(run, outcome="error", error_type=type(error).__name__)
        if not accepted:
            self.end = Ending.REFUSED
            self.value = value
            return replace(run, outcome="error", error_type=NOT_ACCEPTED)
        if self.task.inputs.changed():
            self.end = Ending.MUTATED
            self.value = value
        return run

    def left_s(self) -> float | None:
        """Seconds of the budget left for a stream's extra run, None for no limit; ranks would not stop at the same item."""
        budget = self.task.options.budget_s
        return None if budget is None or self.together is not None else max(0.0, budget - self.spent_s())

    # ------------------------------------------------------------------ phases

    def hush(self) -> None:
        """Before the first run: the random streams are noted, and the monitor is paused."""
        self.task.inputs.remember(process_wide=self.rng_restored)
        self.mute()

    def mute(self) -> None:
        """Pause the monitor, once; hooks that span a warm-up begin."""
        if not self.silent:
            self.silent = True
            fields = {"callable": self.task.name, "report_id": self.report_id, "key": self.task.key}
            if not SWITCH.reasons:
                self.hooks.enter_context(self.task.session.emitter.warming(fields))
            if self.task.session.monitor is not None:
                self.task.session.monitor.pause(self)

    def unmute(self) -> None:
        """Give our pause back, once; hooks that span a warm-up end."""
        if self.silent:
            if self.task.session.monitor is not None:
                self.task.session.monitor.resume(self)
            self.hooks.close()
            self.silent = False  # last: interrupted before it, all of this is done again

    def turn_to(self, step: Step) -> None:
        """A phase begins: tell the ledger, turn the monitor, speak of the phase that ended."""
        if step.rearm:
            self.runs = [replace(run, discarded=run.discarded or run.phase is Phase.MEASURE) for run in self.runs]
            self.decision = None
            self.mute()
        if step.phase is not Phase.MEASURE and self.lease is not None:
            self.lease.progress(
                State.WARMING if step.phase is Phase.WARM else State.VALIDATING, planned(self.task.options)
            )
        if step.phase is Phase.MEASURE and self.silent:
            self.unmute()
            self.settle_warm()

    def settle_warm(self) -> None:
        """Warm-up has ended well: the key is warm, and it is said."""
        self.decision_so_far()
        warmup = self.warmup()
        if self.lease is not None:
            proven = self.decision is not None and self.decision.state == "proven"
            own = None if self.together is None else of_rank(warmup.runs, self.together.rank)
            self.lease.settle(State.STEADY if proven else State.WARM, "warm", warmup, own=own)
            self.task.ledger.rounds.append(self.sizes[-1] if self.sizes else process_size.read())
            tell_other_ranks()
        self.say_warmed(warmup)
        self.say_proof()
