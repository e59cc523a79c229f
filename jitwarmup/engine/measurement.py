"""
One plan being carried out: it collects the runs, turns the monitor, and speaks at the ends of phases.

Between the validation run and the end of warm-up nothing is said. The courses in ``calls`` decide what a failure means
to their caller; here is what is common to all of them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from jitwarmup.edges.environment import environment
from jitwarmup.edges.events import schema
from jitwarmup.edges.monitors.verdicts import with_devices
from jitwarmup.edges.probes import Served, exclusive_costs
from jitwarmup.engine.flow import Flow, Step
from jitwarmup.engine.inputs import Inputs, rewinds_process
from jitwarmup.engine.ledger import Entry, Lease, Ledger, Wait
from jitwarmup.engine.plan import Options
from jitwarmup.engine.rules import engaged, seeks_proof, would_have_said
from jitwarmup.engine.session import Session
from jitwarmup.engine.switch import SWITCH
from jitwarmup.engine.tell import decision_fields, run_fields, say, warmup_fields
from jitwarmup.engine.window import Taken
from jitwarmup.model.audit import audit
from jitwarmup.model.errors import ArgumentError, MeasurementFailed
from jitwarmup.model.ports import Clock, Note
from jitwarmup.model.recurrence import learn_recurrence
from jitwarmup.model.report import SENTINEL_S, Failure, Report, compose, ledger_of, text_of
from jitwarmup.model.runs import Decision, Phase, Run, State, Warmup
from jitwarmup.model.verdict import Reason, Verdict

NOT_ACCEPTED = "NotAccepted"
CAUSES = {"dynamo", "inductor", "cudagraph", "allocator"}  # probes whose silence is worth something


class Colour(Enum):
    """What kind of callable the user's function is."""

    PLAIN = "def"
    COROUTINE = "async def"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    @property
    def asynchronous(self) -> bool:
        """Whether its runs are awaited."""
        return self in (Colour.COROUTINE, Colour.ASYNC_GENERATOR)

    @property
    def streams(self) -> bool:
        """Whether its runs yield items."""
        return self in (Colour.GENERATOR, Colour.ASYNC_GENERATOR)


@dataclass(frozen=True, slots=True)
class Subject:
    """The function that is run, how, and with which ports. Holds no argument."""

    name: str
    function: Callable[..., Any]
    colour: Colour
    options: Options
    session: Session
    ledger: Ledger

    def alone(self) -> Subject:
        """The same without what a `Task` knows of one call, to be kept for longer."""
        return Subject(self.name, self.function, self.colour, self.options, self.session, self.ledger)

    def say(self, event: str, *, error: BaseException | None = None, **fields: Any) -> None:
        """Emit one event about this function; what an exception says only where the user asked for it."""
        if self.options.name is not None:
            fields["label"] = self.options.name
        if error is not None and self.options.log_messages:
            fields["error_message"] = text_of(error)
        say(self.session, event, callable=self.name, **fields)


@dataclass(frozen=True, slots=True)
class Task(Subject):
    """One call of the function, with everything that was decided about it before the first run."""

    inputs: Inputs
    entry: Entry | None
    listener: Callable[[Run], None] | None = None  # a command of ours that draws between runs
    report_id: str | None = None  # of the block around the call

    @property
    def key(self) -> str:
        """The key's label."""
        return key_of(self.entry)

    def say(self, event: str, **fields: Any) -> None:
        """Emit one event about this call, of the block around it unless it belongs to a measurement."""
        if self.report_id is not None:
            fields.setdefault("report_id", self.report_id)
        Subject.say(self, event, **fields)


def key_of(entry: Entry | None) -> str:
    """A key's label; ``other`` beyond the bound on keys."""
    return entry.label if entry is not None else "other"


@dataclass(slots=True)
class Take:
    """The wish to run the user's function once, in a window; answered with what was taken."""

    session: Session | None  # None: the call steps aside, no window
    step: Step
    clock: Clock
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    live: bool = False
    drain: int | None = None
    left_s: float | None = None
    kept: list[Any] | None = None  # a stream's items, where they may have to be handed on; None again where it was cut


Course = Generator[Wait | Take, Any, Any]


def one(command: Take) -> Generator[Take, Taken, Taken]:
    """Have one run made."""
    return (yield command)


def audited(command: Take) -> Generator[Take, Taken, Taken]:
    """Have one run made that tells whether compiled code really ran; the hook is put in and out around the window."""
    audit = Served()
    looks = audit.start()
    try:
        taken = yield command
    finally:
        audit.stop()
    if looks:
        taken.run = replace(taken.run, compiled_calls=audit.served, uncompiled_calls=audit.missed)
    return taken


class End(Enum):
    """How the runs of a plan ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # accept= said no
    MUTATED = "arguments_mutated"
    INTERRUPTED = "interrupted"
    LEFT = "left_early"


class Measurement:
    """
    The runs of one plan, as they come.

    Args:
        task: what is run.
        lease: the right to warm the task's key, or None where the key is warm already.
        clock: times the runs.
        report_id: of the block that the measurement belongs to; by default it has one of its own.

    """

    def __init__(self, task: Task, lease: Lease | None, clock: Clock, report_id: str | None = None) -> None:
        self.task = task
        self.lease = lease
        self.clock = clock
        self.report_id = report_id or new_id()
        self.runs: list[Run] = list(task.entry.finished) if lease is not None and task.entry is not None else []
        self.error: BaseException | None = None
        self.value: Any = None
        self.decision: Decision | None = None
        self.failure: Failure | None = None
        self.end = End.DONE
        self.replay = False
        self.kept: list[Any] | None = None
        self.notes: list[tuple[Run, Note]] = []
        self.silent = False
        self.hooks = ExitStack()
        task.session.watch.arm()
        self.rng_restored = rewinds_process(task.options.rng, asynchronous=task.colour.asynchronous)

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

    def rule(self, runs: Sequence[Run]) -> Decision:
        """The rule of the options, within the budget, told whether causes are watched (a module may appear in a run)."""
        options = self.task.options
        watched = CAUSES & set(self.task.session.watch.watched())
        return engaged(options.rule, budget_s=options.budget_s, causes_watched=bool(watched))(runs)

    def left_s(self) -> float | None:
        """Seconds of the budget that validation and warm-up have left, None for no limit."""
        budget = self.task.options.budget_s
        return None if budget is None else max(0.0, budget - self.spent_s())

    def spent_s(self) -> float:
        """Seconds that validation and warm-up took so far."""
        return sum(run.duration_s for run in self.runs if run.phase is not Phase.MEASURE)

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
        if step.phase is Phase.WARM and self.lease is not None:
            self.lease.progress(State.WARMING)
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
        self.say_warmed(warmup)
        self.say_proof()

    # ------------------------------------------------------------------ what came of it

    def warmup(self) -> Warmup:
        """The record of the warm-up so far."""
        runs = tuple(run for run in self.runs if run.phase is not Phase.MEASURE)
        return Warmup(
            callable=self.task.name,
            key=self.task.key,
            runs=runs,
            duration_s=self.spent_s(),
            decision=self.decision,
            ledger=ledger_of(runs, costs_of(runs), None),
            skipped=End.MUTATED.value if self.end is End.MUTATED else None,
            rng_restored=self.rng_restored,
        )

    def fail(self) -> None:
        """Turn what ended the runs into the report's failure: the one place where a user's exception becomes data."""
        if self.end is End.REFUSED:
            self.error = refused(self.task)
        if self.error is not None and self.failure is None:
            self.failure = Failure.of(self.runs[-1], self.error)
            if self.end is End.REFUSED:
                self.failure = replace(self.failure, type=NOT_ACCEPTED)

    def verdict(self, runs: Sequence[Run]) -> Verdict:
        """What may be said of the series."""
        watch = self.task.session.watch
        failure = cut_short = None
        if self.failure is not None:
            failure = Reason(
                kind=f"failed_in_{self.failure.phase}",
                numbers={"index": float(self.failure.index)},
                subject=self.failure.type,
            )
        elif self.end is not End.DONE:
            cut_short = Reason(kind=self.end.value)
        verdict = audit(
            runs,
            watched=watch.watched(),
            unwatched={**watch.unwatched(), **self.unwatched()},
            failure=failure,
            cut_short=cut_short,
        )
        return with_devices(verdict, [run.device for run in runs if run.device is not None])

    def unwatched(self) -> dict[str, str]:
        """Why the monitor could not read, where it could not."""
        monitor = self.task.session.monitor
        return {} if monitor is None else {f"monitor.{place}": why for place, why in monitor.problems.items()}

    def report(self) -> Report:
        """The report of all runs; which work comes back on every run has been learnt from them."""
        runs = learn_recurrence(self.runs)
        facts, advice = facts_of(self.notes, runs)
        first, last = runs[0], runs[-1]
        return compose(
            callable=self.task.name,
            report_id=self.report_id,
            started_at=first.started_at,
            duration_s=max(0.0, last.started_at - first.started_at) + last.duration_s,
            runs=runs,
            verdict=self.verdict(runs),
            failure=self.failure,
            costs=costs_of(runs),
            decision=self.decision,
            would_have_said=would_have_said(runs) if self.end is End.DONE else None,
            skipped=End.MUTATED.value if self.end is End.MUTATED else None,
            rng_restored=self.rng_restored,
            environment=environment(),
            facts=facts,
            advice=advice,
            device=next((run.device for run in reversed(runs) if run.device is not None), None),
        )

    # ------------------------------------------------------------------ what is said

    def say_validated(self, run: Run) -> None:
        """The validation run went well."""
        self.say(schema.VALIDATION_COMPLETED, **run_fields(run))

    def say_ended_early(self) -> None:
        """Validation or warm-up did not go well; a failed validation carries the sentinel."""
        run = self.runs[-1]
        error = {"error_type": run.error_type}
        if run.phase is Phase.VALIDATE:
            self.say(schema.VALIDATION_FAILED, error=self.error, **run_fields(run), **error, latency_s=SENTINEL_S)
        elif run.phase is Phase.WARM:
            where = {"phase": run.phase, "index": run.index}
            fields = warmup_fields(self.warmup(), monitor_paused=self.monitor_paused)
            self.say(schema.WARMUP_FAILED, error=self.error, **error, **where, **fields)

    def say_warmed(self, warmup: Warmup) -> None:
        """The silent warm-up has ended."""
        self.say(schema.WARMUP_COMPLETED, **warmup_fields(warmup, monitor_paused=self.monitor_paused))

    def say_proof(self) -> None:
        """Whether steady state was found, where the rule looked for it."""
        decision = self.decision_so_far()
        if decision is None or not seeks_proof(self.task.options.rule):
            return
        event = schema.STEADY_STATE_REACHED if decision.state == "proven" else schema.STEADY_STATE_NOT_REACHED
        self.say(event, **decision_fields(decision, self.runs))

    def decision_so_far(self) -> Decision | None:
        """What the rule says of the runs so far; None where it was never asked."""
        if self.decision is None and self.end is End.DONE:
            self.decision = self.rule(self.runs)
        return self.decision

    def say(self, event: str, **fields: Any) -> None:
        """Emit one event of this measurement."""
        self.task.say(event, report_id=self.report_id, key=self.task.key, **fields)

    @property
    def monitor_paused(self) -> bool:
        """Whether there is a monitor, and it took our pause."""
        monitor = self.task.session.monitor
        return monitor is not None and "pause" not in monitor.problems


def costs_of(runs: Sequence[Run]) -> list[Mapping[str, float]]:
    """Seconds by cause of each run that was not measured; what comes back on every run is no cause."""
    cold = [run for run in runs if run.phase is not Phase.MEASURE]
    once = [[work for work in run.work if work.recurrence == "one_time"] for run in cold]
    return [exclusive_costs(work, run.duration_s) for work, run in zip(once, cold, strict=True)]


def facts_of(notes: Sequence[tuple[Run, Note]], runs: Sequence[Run]) -> tuple[dict[str, Any], tuple[Reason, ...]]:
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


def check_colour(task: Task, value: Any) -> None:
    """
    Refuse a plain function whose value is only the promise of work: its runs would time nothing.

    Raises:
        ArgumentError: names the colour that was found.

    """
    if task.colour is not Colour.PLAIN:
        return
    kinds: dict[str, Callable[[object], bool]] = {
        "a coroutine": inspect.iscoroutine,
        "an async generator": inspect.isasyncgen,
        "a generator": inspect.isgenerator,
        "an awaitable": inspect.isawaitable,
    }
    found = next((name for name, test in kinds.items() if test(value)), None)
    if found is None:
        return
    if inspect.iscoroutine(value) or inspect.isgenerator(value):
        value.close()
    wanted = {"a coroutine": "async def", "an awaitable": "async def", "a generator": "def with yield"}
    raise ArgumentError(
        f"{task.name} is a plain function that returned {found}, so its runs would time nothing; wanted a function "
        f"declared as what it is ({wanted.get(found, 'async def with yield')}): decorate the inner function, or wrap it "
        "in one of that colour"
    )


def refused(task: Task) -> MeasurementFailed:
    """The error for a value that ``accept=`` said no to."""
    return MeasurementFailed(f"accept= refused the value of the validation run of {task.name}; nothing was warmed up")
