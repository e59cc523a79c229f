"""
One plan being carried out: it collects the runs, turns the monitor, and speaks at the ends of phases.

Between the validation run and the end of warm-up nothing is said. The courses in ``calls`` decide what a failure means
to their caller; here is what is common to all of them.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from jitwarmup.edges import process_size
from jitwarmup.engine.account import NOT_ACCEPTED, Account
from jitwarmup.engine.flow import Flow, Step
from jitwarmup.engine.ledger import Lease
from jitwarmup.engine.switch import SWITCH
from jitwarmup.engine.task import Course, End, Take, Task, audited, check_colour, one, planned
from jitwarmup.engine.window import Taken
from jitwarmup.model.ports import Clock
from jitwarmup.model.recurrence import learn_recurrence
from jitwarmup.model.runs import Phase, Run, State


class Measurement(Account):
    """The runs of one plan, as they come. Arguments are those of `Account`."""

    def __init__(self, task: Task, lease: Lease | None, clock: Clock, report_id: str | None = None) -> None:
        super().__init__(task, lease, clock, report_id)
        self.silent = False
        self.hooks = ExitStack()

    # ------------------------------------------------------------------ the runs

    def follow(self, steps: Flow) -> Course:
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
            if self.end is not End.DONE:
                return

    def take(self, step: Step) -> Generator[Take, Taken, Run]:
        """Make one run and look at what came of it."""
        task = self.task
        extra = step.phase is not Phase.MEASURE
        args, kwargs = task.inputs.extra(silent=extra)
        task.inputs.rewind()  # after `fresh`, which may draw too
        function = task.options.dry_run if extra and task.options.dry_run is not None else task.function
        command = Take(task.session, step, self.clock, function, args, kwargs)
        if extra:
            command.drain, command.left_s = task.options.drain, self.left_s()
        if self.replay and step.phase is Phase.VALIDATE:
            command.kept = []
        del args, kwargs
        taken = yield from audited(command) if step.phase is Phase.WARM and step.index == 0 else one(command)
        run = self.record(step, taken)
        self.kept = command.kept if self.end in (End.MUTATED, End.REFUSED) else None
        return run

    def record(self, step: Step, taken: Taken) -> Run:
        """Note a run, and whether it is the last one; its value is dropped unless it is the validation's."""
        run = taken.run if self.task.session.ranks is None else self.task.session.ranks.agree(taken.run)
        if taken.error is not None:
            self.error = taken.error
            self.end = End.FAILED if isinstance(taken.error, Exception) else End.INTERRUPTED
        elif step.phase is Phase.VALIDATE:
            run = self.judge(run, taken.value)
        taken.value = taken.error = None
        self.sizes.append(process_size.read())
        self.notes += [(run, note) for note in taken.notes]
        self.runs.append(run)
        run = self.runs[-1] = learn_recurrence(self.runs)[-1]
        if self.lease is not None:
            self.lease.finished(self.runs)
        if self.task.listener is not None:
            self.task.listener(run)
        if step.phase is Phase.VALIDATE and self.end in (End.DONE, End.MUTATED):
            self.say_validated(run)
        return run

    def judge(self, run: Run, value: Any) -> Run:
        """Look at the validation run's value: its colour, what the user accepts, and whether arguments were changed."""
        check_colour(self.task, value)
        try:
            accepted = self.task.options.accept is None or self.task.options.accept(value)
        except Exception as error:  # noqa: BLE001 - the check is a part of the validation: its failure is handed on as it is
            self.error, self.end = error, End.FAILED
            return replace(run, outcome="error", error_type=type(error).__name__)
        if not accepted:
            self.end = End.REFUSED
            self.value = value
            return replace(run, outcome="error", error_type=NOT_ACCEPTED)
        if self.task.inputs.changed():
            self.end = End.MUTATED
            self.value = value
        return run

    def left_s(self) -> float | None:
        """Seconds of the budget that validation and warm-up have left, None for no limit."""
        budget = self.task.options.budget_s
        return None if budget is None else max(0.0, budget - self.spent_s())

    # ------------------------------------------------------------------ phases

    @contextmanager
    def silence(self) -> Generator[None, None, None]:
        """The monitor is paused and the random streams are noted; both are right again on every way out."""
        self.task.inputs.remember(process_wide=self.rng_restored)
        self.mute()
        try:
            yield
        finally:
            self.unmute()

    def mute(self) -> None:
        """Pause the monitor, once; hooks that span a warm-up begin."""
        if not self.silent:
            self.silent = True
            fields = {"callable": self.task.name, "report_id": self.report_id, "key": self.task.key}
            if not SWITCH.reasons:
                self.hooks.enter_context(self.task.session.emitter.warming(fields))
            if self.task.session.monitor is not None:
                self.task.session.monitor.pause()

    def unmute(self) -> None:
        """Give our pause back, once; hooks that span a warm-up end."""
        if self.silent:
            self.silent = False
            if self.task.session.monitor is not None:
                self.task.session.monitor.resume()
            self.hooks.close()

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
            self.lease.settle(State.STEADY if proven else State.WARM, "warm", warmup)
            self.task.ledger.rounds.append(self.sizes[-1] if self.sizes else process_size.read())
        self.say_warmed(warmup)
        self.say_proof()
