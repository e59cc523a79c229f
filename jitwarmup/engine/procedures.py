"""
What a call does, once for all colours: a plain call, ``.warm`` and ``.measure``, as courses.

A course is a generator that decides and never runs user code: it yields a `Wait` (`WaitForWarmup`: somebody else is warming this
key; `AllGather`: other ranks are to be heard) and `RunRequest` (run the function once, in a window), is sent what came of it, and
returns a `CallResult`. ``drive`` pumps it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from jitwarmup.engine import demotion
from jitwarmup.engine.announce import call_fields, report_fields
from jitwarmup.engine.commands import Call, CallResult, Ending, Procedure, RunRequest, TimedFunction, key_of, refused
from jitwarmup.engine.instruments import PLAIN_CLOCK
from jitwarmup.engine.live_call import LiveCall, asked_by_name
from jitwarmup.engine.measurement import Measurement
from jitwarmup.engine.rules import seeks_proof
from jitwarmup.engine.steps import Step, flow
from jitwarmup.engine.timed_region import CALL, RunOutcome, TimedRegion
from jitwarmup.events import schema
from jitwarmup.host.scope import enclosing_run
from jitwarmup.keys.registry import BEING_WARMED, Claim, KeyState, Landing, WaitForWarmup
from jitwarmup.records.errors import MeasurementFailed, RankFailed
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Phase, Run, State, Warmup

Keep = Callable[[Report], None] | None
INTERRUPTED: tuple[State, Landing] = (State.COLD, "interrupted")
FAILED: tuple[State, Landing] = (State.FAILED, "failed")
WENT_WRONG = (Ending.FAILED, Ending.REFUSED, Ending.ELSEWHERE)
STEP = Step(Phase.MEASURE, 0)  # a plain call is a measured run of its own


def plain(task: Call) -> Procedure:
    """``f(x)``: validate and warm up when the key is cold, then one timed run whose value is returned."""
    visit = LiveCall(task)
    try:
        if task.entry is not None and not task.entry.is_warm and not passes(task):
            lease = Claim(task.ledger, task.entry)
            with lease, lease:
                if (yield from turn(task, lease, demand=False)):
                    ended = yield from warm_for_call(task, lease, visit)
                    if ended is not None:
                        return ended
        return (yield from timed(task, visit))
    finally:
        visit.over()


def turn(task: Call, lease: Claim, *, demand: bool, wait: bool = True) -> Generator[WaitForWarmup, bool, bool]:
    """Whether the key is ours to warm, after waiting for others as the options say (on demand: as ``wait`` says)."""
    options = task.options
    policy = options.while_warming
    if demand:  # inside a run nobody waits: it might be the very run that is waited for
        policy = "wait" if wait and enclosing_run() is None else "pass"
    wait_s = None if demand else options.budget_s
    return (yield from task.ledger.turn(lease, policy=policy, wait_s=wait_s, demand=demand, name=task.name))


def passes(task: Call) -> bool:
    """Whether a plain call of this cold key shall run plainly, since warm-up was asked for by name and not for it."""
    entry, chosen = task.entry, task.options.on_new_key
    if entry is None or entry.is_warm or entry.asked or entry.flight is not None or entry.warmup is not None:
        return False
    return chosen != "warm" and (chosen == "pass" or asked_by_name(task))


def warm_at_once(task: Call) -> Procedure:
    """``warm`` that waits for nobody: in a worker thread, which is not to be held; the event loop does the waiting."""
    return warm(task, wait=False)


def warm_for_call(task: Call, lease: Claim, visit: LiveCall) -> Generator[Any, Any, CallResult | None]:
    """Warm up for a plain call; a Result where the call is over, None where its own run is still to be made."""
    measurement = Measurement(task, lease, task.session.plain_clock, task.report_id)
    own = task.options.fresh is None and task.options.dry_run is None
    measurement.replay = own and task.colour.streams
    try:
        yield from warming(measurement)
    except RankFailed as lost:  # the others did not come: what is asked for is the caller's own run, and it is made
        lease.settle(*(INTERRUPTED if lost.left else FAILED), reason=type(lost).__name__)
        measurement.say_nobody_came(lost)
    finally:
        visit.runs += measurement.made
    end = measurement.end
    if end is Ending.INTERRUPTED or (end is Ending.FAILED and measurement.runs[-1].phase is Phase.VALIDATE):
        return CallResult(error=measurement.error)
    first = end in (Ending.MUTATED, Ending.REFUSED) or (end is Ending.ELSEWHERE and validated_only(measurement))
    if first and own and (measurement.kept is not None or not task.colour.streams):
        return CallResult(measurement.value, items=measurement.kept or ())
    task.inputs.rewind()
    return None


def validated_only(measurement: Measurement) -> bool:
    """Whether the validation run was the last one."""
    return bool(measurement.runs) and measurement.runs[-1].phase is Phase.VALIDATE


def warming(measurement: Measurement) -> Procedure:
    """Validate and warm up, settle the key's state, and say how it went."""
    task, lease = measurement.task, measurement.lease
    task.inputs.refuse_once_only()
    with measurement, measurement:
        yield from measurement.join()
        measurement.hush()
        yield from measurement.follow(flow(measurement.rule, 0, history=measurement.runs))
    if measurement.end in (Ending.DONE, Ending.MUTATED):
        measurement.settle_warm()
        demotion.after_warmup(task, task.entry, measurement.made)
        return
    measurement.say_ended_early()
    if lease is not None:
        lease.settle(*landing(measurement), reason=measurement.reason_of_end())


def landing(measurement: Measurement) -> tuple[State, Landing]:
    """
    State of the key after a warm-up that ended early. A failed validation leaves it cold: the next call tries again.

    So does an interruption on another rank: its own key is cold, and its next call will wait for ours.
    """
    if measurement.end is Ending.INTERRUPTED or not measurement.runs or measurement.others_left:
        return INTERRUPTED
    return FAILED if measurement.runs[-1].phase is Phase.WARM else (State.COLD, "failed")


def timed(task: Call, visit: LiveCall) -> Generator[Any, Any, CallResult]:
    """One timed run of the caller's own arguments, and its event."""
    entry = task.entry
    was_warm = entry is not None and entry.is_warm
    unread = was_warm and task.options.emit == "off"
    args, kwargs = task.inputs.own()
    session = None if unread else task.session
    command = RunRequest(session, STEP, task.session.plain_clock, task.function, args, kwargs, live=True)
    del args, kwargs
    taken: RunOutcome = yield command
    if unread:
        return CallResult(taken.value, taken.error)
    visit.runs.append(taken.run)
    lost = say_call(task, entry, taken.run, was_warm=was_warm, error=taken.error)
    return CallResult(taken.value, taken.error if taken.error is not None else lost)


def aside(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Procedure:
    """A call that steps aside: the plain call, nothing read around it."""
    taken = yield RunRequest(None, STEP, PLAIN_CLOCK, function, args, kwargs, live=True)
    return CallResult(taken.value, taken.error)


def warm_call(subject: TimedFunction, entry: KeyState, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """
    A plain call of a plain function whose key is warm: what ``plain`` comes to then, in a straight line.

    Nothing is left to decide, and a course, a task and its inputs would cost more than the window itself.
    """
    if subject.options.emit == "off":
        return subject.function(*args, **kwargs)
    window = TimedRegion(subject.session, STEP, subject.session.plain_clock, name=CALL)
    try:
        with window:
            window.value = subject.function(*args, **kwargs)
    finally:
        window.abandon()
    subject.ledger.counts.hit()
    if subject.options.emit == "summary" and window.uneventful and not entry.habits and not entry.lost:
        subject.ledger.tally.count(subject, window.duration_ns)
        return window.value
    taken = window.taken()
    lost = say_call(subject, entry, taken.run, was_warm=True, error=taken.error)
    error = taken.error if taken.error is not None else lost
    return taken.value if error is None else CallResult(error=error).unwrap()


def say_call(
    subject: TimedFunction, entry: KeyState | None, run: Run, *, was_warm: bool, error: BaseException | None = None
) -> MeasurementFailed | None:
    """The event of one plain call, and of steady state lost in it; the error where ``on_loss`` asked for one."""
    emit = subject.options.emit
    if entry is not None:
        run = entry.habits.read(run)
    if emit == "summary":
        subject.ledger.tally.add(subject, run)
    elif emit == "calls":
        subject.say(schema.CALL, error=error, key=key_of(entry), **call_fields(run))
    if entry is None or emit == "off" or not (run.contaminated or entry.lost):
        return None
    return demotion.after_call(subject, entry, run, was_warm=was_warm)


def warm(task: Call, *, wait: bool = True) -> Procedure:
    """``f.warm(x)``: validate and warm up only. For a warm key nothing is done, nor where others are to be waited for."""
    entry = task.entry
    if entry is not None:
        entry.asked = True
    lease = Claim(task.ledger, entry)
    with lease, lease:
        if not (yield from turn(task, lease, demand=True, wait=wait)):
            return CallResult(known_warmup(task))
        measurement = Measurement(task, lease, task.session.clock, task.report_id)
        try:
            yield from warming(measurement)
        finally:
            task.inputs.rewind()
    if measurement.end in (Ending.DONE, Ending.MUTATED):
        return CallResult(measurement.warmup())
    return CallResult(error=refused(task) if measurement.end is Ending.REFUSED else measurement.error)


def known_warmup(task: Call) -> Warmup:
    """The record of a warm-up that need not or cannot be made now."""
    entry = task.entry
    if entry is not None and entry.warmup is not None and entry.flight is None:
        return entry.warmup
    return Warmup(callable=task.name, key=task.key, skipped="too_many_keys" if entry is None else BEING_WARMED)


def measure(task: Call, keep: Keep = None) -> Procedure:
    """``f.measure(x)``: the whole plan, whatever is warm already; a Report, also given to ``keep``."""
    lease = Claim(task.ledger, task.entry)
    with lease, lease:
        held = yield from turn(task, lease, demand=True)
        if held and task.entry is not None:
            task.entry.finished = ()
        measurement = Measurement(task, lease if held else None, task.session.clock)
        try:
            yield from measuring(measurement)
        except BaseException as error:
            conclude_interrupted(measurement, keep, error)
            raise
        finally:
            task.inputs.rewind()
    return conclude(measurement, keep)


def conclude_interrupted(measurement: Measurement, keep: Keep, error: BaseException) -> None:
    """Interrupted between two runs, or given up by whoever pumps: the finished runs are kept all the same."""
    if measurement.runs and not isinstance(error, Exception):
        measurement.end = Ending.INTERRUPTED
        conclude(measurement, keep)


def measuring(measurement: Measurement) -> Procedure:
    """Validate, warm up and measure; the key is warm as soon as measuring begins."""
    task = measurement.task
    redo = task.options.on_contamination == "redo" or seeks_proof(task.options.rule)
    task.inputs.refuse_once_only()
    with measurement, measurement:
        yield from measurement.join()
        measurement.hush()
        yield from measurement.follow(flow(measurement.rule, task.options.measurements, redo=redo))
        measurement.unmute()
        yield from measurement.agree_verdict()
    if measurement.end is Ending.MUTATED:
        measurement.settle_warm()
    elif measurement.end is Ending.DONE:
        demotion.after_warmup(task, task.entry, measurement.made)
    else:
        measurement.say_ended_early()
        if measurement.lease is not None:
            measurement.lease.settle(*landing(measurement), reason=measurement.reason_of_end())


def conclude(measurement: Measurement, keep: Keep = None) -> CallResult:
    """The report of a measurement and its canonical line; interruptions pass through."""
    if measurement.end in WENT_WRONG:
        measurement.fail()
    report = measurement.report()
    if keep is not None:
        keep(report)
    say_measured(measurement, report)
    if measurement.end is Ending.INTERRUPTED:
        return CallResult(error=measurement.error)
    paid = next((run for run in report.measured if run.contaminated), None)
    if paid is not None and measurement.task.options.on_contamination == "raise":
        return CallResult(error=contaminated(measurement.task, paid))
    return CallResult(report)


def contaminated(task: Call, run: Run) -> MeasurementFailed:
    """The error of ``on_contamination="raise"``."""
    kinds = ", ".join(dict.fromkeys(work.kind for work in run.work if work.recurrence == "one_time"))
    return MeasurementFailed(
        f"measured run {run.index} of {task.name} paid for one-time work ({kinds}) and on_contamination='raise' was "
        "chosen; warm up with until_steady() or with the shapes that are measured, or choose 'mark' or 'redo'"
    )


def say_measured(measurement: Measurement, report: Report) -> None:
    """The canonical line: exactly one per measurement."""
    fields = report_fields(report, measurements=measurement.task.options.measurements)
    if measurement.end in WENT_WRONG or measurement.end is Ending.INTERRUPTED:
        last = report.runs[-1]
        where = {"phase": last.phase, "index": last.index, "error_type": last.error_type or "Interrupted"}
        measurement.say(schema.MEASUREMENT_FAILED, error=measurement.error, **fields, **where)
    else:
        measurement.say(schema.MEASUREMENT_COMPLETED, **fields)


def trials(measurement: Measurement, keep: Keep) -> Procedure:
    """An inline block, repeated: the same plan, whose runs are made by ``with trial:``."""
    try:
        yield from measuring(measurement)
    finally:
        measurement.task.inputs.rewind()
    return conclude(measurement, keep)


def body(measurement: Measurement, run: Run, error: BaseException | None) -> Procedure:
    """The body of a block is over: note its run, as all ranks know it. A rank whose body failed waits for nobody."""
    if error is not None:
        measurement.error, measurement.end = error, Ending.FAILED
    together = measurement.together
    with measurement, measurement:
        if together is not None and error is not None:
            together.leave(f"{type(error).__name__} in a block")
        elif together is not None:
            run = yield from measurement.agree(together, run, RunOutcome(run, None, None))
        measurement.runs.append(run)
        if together is not None and error is None and len(measurement.runs) > 1:
            yield from measurement.agree_verdict()
    if measurement.end in WENT_WRONG:
        measurement.fail()
    return CallResult()


def prepare(measurement: Measurement) -> Procedure:
    """``with steady_state(fn, *args)``: validate and warm up on entry, so that the key is warm in the body."""
    task = measurement.task
    lease = Claim(task.ledger, task.entry)
    with lease, lease:
        measurement.lease = lease if (yield from turn(task, lease, demand=True)) else None
        try:
            yield from warming(measurement)
        finally:
            task.inputs.rewind()
    if measurement.end in (Ending.DONE, Ending.MUTATED):
        return CallResult()
    return CallResult(error=refused(task) if measurement.end is Ending.REFUSED else measurement.error)
