"""
What a call does, once for all kinds of callable: a plain call, ``.warm`` and ``.measure``, as procedures.

A procedure is a generator that decides and never runs user code: it yields a `Wait` (`WaitForWarmup`: somebody else is
warming this key; `AllGather`: the other ranks report) or a `RunRequest` (run the function once, in a timed region), is
sent what came of it, and returns a `CallResult`. A driver carries it out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from jitwarmup.analysis.recurrence import paid_by
from jitwarmup.engine import announce, demotion
from jitwarmup.engine.commands import (
    ONLY_RUN,
    PLAIN,
    WELL,
    Call,
    CallResult,
    Ending,
    Procedure,
    TimedFunction,
    live_run,
    own_run,
)
from jitwarmup.engine.conclusion import (
    FAILED,
    INTERRUPTED,
    contaminated,
    known_warmup,
    labelled,
    note_failure,
    of_validation,
    report_of,
    state_after,
    warmed_up,
)
from jitwarmup.engine.demotion import LiveCall, passes
from jitwarmup.engine.measurement import Measurement
from jitwarmup.engine.rules import seeks_proof
from jitwarmup.engine.steps import Step, plan_steps
from jitwarmup.engine.timed_region import CALL, RunOutcome, TimedRegion, interrupts
from jitwarmup.events.guard import FAULTS
from jitwarmup.host.scope import enclosing_run, note_paid
from jitwarmup.keys.single_flight import Claim, WaitForWarmup
from jitwarmup.keys.state import UNREAD, KeyState
from jitwarmup.records.errors import ArgumentError, MeasurementFailed, RankFailed
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Phase, Run

Keep = Callable[[Report], None] | None
VALIDATION = Step(Phase.VALIDATE, 0)


def plain(call: Call) -> Procedure:
    """``f(x)``: validate and warm up when the key is cold, then one timed run whose value is returned."""
    visit = LiveCall(call)
    try:
        visit.announce_miss()
        if call.entry is not None and not call.entry.is_warm and not passes(call):
            live, claim = False, Claim(call.registry, call.entry, asynchronous=call.kind.asynchronous)
            with claim, claim:
                if (yield from acquire(call, claim, demand=False)):
                    live = call.streams_at_once
                    if not live and (ended := (yield from warm_for_call(call, claim, visit))) is not None:
                        return ended
            if live:
                return (yield from streamed_first(call, visit))
        return (yield from timed(call, visit))
    finally:
        visit.over()


def acquire(call: Call, claim: Claim, *, demand: bool, wait: bool = True) -> Generator[WaitForWarmup, bool, bool]:
    """Whether the key is ours to warm, after waiting for others by the options (on demand: by ``wait``)."""
    options = call.options
    policy = options.while_warming
    if demand:  # inside a run nobody waits: it might be the very run that is waited for
        policy = "wait" if wait and enclosing_run() is None else "pass"
    wait_s = None if demand else options.budget_s
    return (yield from claim.acquire(policy=policy, wait_s=wait_s, demand=demand, name=call.name))


def warm_for_call(call: Call, claim: Claim, visit: LiveCall) -> Generator[Any, Any, CallResult | None]:
    """Warm up for a plain call; a Result where the call is over, None where its own run is still to be made."""
    measurement = Measurement(call, claim, call.instruments.plain_clock, call.report_id)
    own = call.options.fresh is None and call.options.dry_run is None
    measurement.replay = own and call.kind.streams
    measurement.instead = functools.partial(own_run, call)
    with measurement.new_ids:  # until the last rewind
        try:
            yield from carried_out(measurement)
        except RankFailed as lost:  # the others did not come: what is asked for is the caller's own run, and it is made
            claim.finish(*(INTERRUPTED if lost.left else FAILED), reason=type(lost).__name__)
            measurement.error = lost
            announce.announce_ended_early(measurement)
        except Exception as fault:
            if measurement.made and not interrupts(fault):  # it would fail again at each call
                claim.finish(*FAILED, reason=type(fault).__name__)
            raise
        finally:
            visit.runs += measurement.made
        given = of_validation(measurement, own=own)
        if given is None:
            call.inputs.rewind()
        return given


def streamed_first(call: Call, visit: LiveCall) -> Generator[Any, Any, CallResult]:
    """The first call of a stream whose arguments a run may change: the caller's own run, live, validates; then warm-up."""
    outcome: RunOutcome = yield live_run(call, call.instruments, validates=True)
    result = CallResult(outcome.value, outcome.error)
    if outcome.run.outcome in ("closed", "cancelled"):
        visit.runs.append(outcome.run)
        after_run(call, call.entry, outcome.run, was_warm=False)
        return result  # the key stays cold
    measurement = Measurement(call, None, call.instruments.plain_clock, call.report_id)
    outcome.run = replace(outcome.run, phase=Phase.VALIDATE, contaminated=False)
    try:
        yield from measurement.record(VALIDATION, outcome)
        if measurement.end not in WELL:
            announce.announce_ended_early(measurement)
            return CallResult(result.value, measurement.error)
        claim = Claim(call.registry, call.entry)  # not before: nobody shall wait for a consumer
        with claim, claim:
            if (yield from claim.acquire(policy="pass", wait_s=None, demand=False, name=call.name)):
                measurement.claim = claim
                yield from rewound(measurement)
    finally:
        visit.runs += measurement.made
    return CallResult(error=measurement.error) if measurement.end is Ending.INTERRUPTED else result


def rewound(measurement: Measurement, measurements: int = 0) -> Procedure:
    """Carry a plan out; afterwards the random streams are where they were, however it ended."""
    with measurement.new_ids:
        try:
            yield from carried_out(measurement, measurements)
        finally:
            measurement.call.inputs.rewind()


def carried_out(measurement: Measurement, measurements: int = 0) -> Procedure:
    """
    Validate, warm up and measure (where ``measurements`` are wanted), set the key's state, and announce how it went.

    The key is warm as soon as measuring begins.
    """
    call, claim = measurement.call, measurement.claim
    proof = seeks_proof(call.options.rule)
    redo = proof or call.options.on_contamination == "redo"
    measurement.measures = measurements > 0
    if measurement.end is Ending.DONE:
        call.inputs.examine()
    with measurement, measurement:
        yield from measurement.join()
        measurement.prepare()
        steps = plan_steps(measurement.rule, measurements, history=measurement.runs, redo=redo, proof=proof)
        if measurement.end is Ending.DONE:
            yield from measurement.follow(steps)
        if measurements:
            measurement.resume_monitor()
            yield from measurement.agree_verdict()
    note_paid(paid_by(labelled(measurement.runs)[measurement.inherited :]))
    if measurement.end in WELL:
        if measurement.end in ONLY_RUN or not measurements:
            measurement.finish_warmup()
        with FAULTS:
            demotion.after_warmup(call, call.entry, measurement.made)
        return
    with FAULTS:
        announce.announce_ended_early(measurement)
    if claim is not None:
        kind = measurement.runs[-1].error_type if measurement.runs else None
        reason = measurement.end.value if kind is None else f"{measurement.end.value}: {kind}"
        claim.finish(*state_after(measurement), reason=reason)


def timed(call: Call, visit: LiveCall) -> Generator[Any, Any, CallResult]:
    """One timed run of the caller's own arguments, and its event."""
    entry = call.entry
    was_warm = entry is not None and entry.is_warm
    unread = was_warm and call.options.emit == "off"
    outcome: RunOutcome = yield live_run(call, None if unread else call.instruments)
    if unread:
        return CallResult(outcome.value, outcome.error)
    visit.runs.append(outcome.run)
    lost = after_run(call, entry, outcome.run, was_warm=was_warm, error=outcome.error)
    return CallResult(outcome.value, outcome.error if outcome.error is not None else lost)


def warm_call(function: TimedFunction, entry: KeyState, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A plain call of a plain function whose key is warm: what ``plain`` comes to, without the cost of a procedure."""
    emit = function.options.emit
    if emit == "off":
        return function.function(*args, **kwargs)
    region = TimedRegion(function.instruments, PLAIN, function.instruments.plain_clock, name=CALL)
    lost = None
    try:
        with region:
            try:
                region.value = function.function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - raised below
                region.error = error
            region.held = True
        function.registry.counts.hit()
        if emit == "summary" and region.uneventful and not entry.recurring.streaks and entry.demotion is None:
            function.registry.summary.count(function, region.duration_ns)
            entry.unread.append((region.duration_ns, region.seen.wait_s))
            if len(entry.unread) >= UNREAD:
                lost = demotion.look_for_drift(function, entry)
        else:
            lost = after_run(function, entry, region.run(), was_warm=True, error=region.error)
    except BaseException as fault:
        if not region.held:
            raise
        FAULTS.contain(fault)
    finally:
        if region.open:
            region.abandon()
    if region.error is None and lost is None:
        return region.value
    result, region.error = CallResult(error=region.error or lost), None
    return result.unwrap()


def after_run(
    function: TimedFunction, entry: KeyState | None, run: Run, *, was_warm: bool, error: BaseException | None = None
) -> MeasurementFailed | None:
    """Count or announce one plain call, and note steady state lost in it; the error where ``on_loss`` asked for one."""
    emit = function.options.emit
    if entry is not None:
        run = entry.recurring.observe(run)
        if run.work:
            note_paid(paid_by([run]))
        if not was_warm and entry.first is None:
            function.registry.note_first(entry, run)
    if emit == "summary":
        function.registry.summary.add(function, run)
    elif emit == "calls":
        announce.announce_call(function, entry, run, error)
    if entry is None or emit == "off" or not (was_warm or run.contaminated or entry.demotion is not None):
        return None
    return demotion.after_call(function, entry, run, was_warm=was_warm)


def warm(call: Call, *, wait: bool = True) -> Procedure:
    """``f.warm(x)``: validate and warm up only. For a warm key nothing is done, nor where others are to be waited for."""
    entry = call.entry
    if entry is not None:
        entry.requested = True
    claim = Claim(call.registry, entry, asynchronous=call.kind.asynchronous)
    with claim, claim:
        if not (yield from acquire(call, claim, demand=True, wait=wait)):
            return CallResult(known_warmup(call))
        measurement = Measurement(call, claim, call.instruments.clock, call.report_id)
        measurement.conclude = functools.partial(left_early, measurement, lambda: CallResult(known_warmup(call)))
        yield from rewound(measurement)
    return warmed_up(measurement)


warm_at_once = functools.partial(warm, wait=False)  # in a worker thread, which is not to be held: the event loop waits


def measure(call: Call, keep: Keep = None) -> Procedure:
    """``f.measure(x)``: the whole plan, whatever is warm already; a Report, also given to ``keep``."""
    claim = Claim(call.registry, call.entry, asynchronous=call.kind.asynchronous)
    with claim, claim:
        held = yield from acquire(call, claim, demand=True)
        if held and call.entry is not None:
            call.entry.resumable_runs = ()
        measurement = Measurement(call, claim if held else None, call.instruments.clock)
        measurement.conclude = functools.partial(left_early, measurement, lambda: conclude(measurement, keep))
        try:
            yield from rewound(measurement, call.options.measurements)
        except BaseException as error:
            # between two runs, or given up by the driver
            if measurement.runs and interrupts(error) and measurement.end is not Ending.LEFT:
                measurement.end = Ending.INTERRUPTED
                conclude(measurement, keep)  # the finished runs are kept all the same
            raise
    return conclude(measurement, keep)


def left_early(measurement: Measurement, ended: Callable[[], CallResult], fault: BaseException) -> Procedure:
    """What ``.measure`` or ``.warm`` comes to where ours failed: the report of the finished runs, the record of a warm key."""
    yield from ()
    entry = measurement.call.entry
    enough = measurement.runs if measurement.measures else entry is not None and entry.is_warm
    if measurement.asks_fresh or not enough or isinstance(fault, ArgumentError):
        raise fault
    FAULTS.contain(fault)
    measurement.end = Ending.LEFT
    return ended()


def conclude(measurement: Measurement, keep: Keep = None) -> CallResult:
    """The report of a measurement and its canonical line; interruptions pass through."""
    note_failure(measurement)
    report = report_of(measurement)
    if keep is not None:
        keep(report)
    with FAULTS:
        announce.announce_measured(measurement, report)
    if measurement.end is Ending.INTERRUPTED:
        return CallResult(error=measurement.error)
    paid = next((run for run in report.measured if run.contaminated), None)
    if paid is not None and measurement.call.options.on_contamination == "raise":
        return CallResult(error=contaminated(measurement.call, paid))
    return CallResult(report)


def trials(measurement: Measurement, keep: Keep) -> Procedure:
    """An inline block, repeated: the same plan, whose runs are made by ``with trial:``."""
    yield from rewound(measurement, measurement.call.options.measurements)
    return conclude(measurement, keep)


def body(measurement: Measurement, run: Run, error: BaseException | None) -> Procedure:
    """The body of a block is over: note its run, as all ranks know it. A rank whose body failed waits for nobody."""
    if error is not None:
        measurement.error, measurement.end = error, Ending.FAILED
    agreement = measurement.agreement
    with measurement, measurement:
        if agreement is not None and error is not None:
            agreement.leave(f"{type(error).__name__} in a block")
        elif agreement is not None:
            run = yield from measurement.agree(agreement, run, RunOutcome(run, None, None))
        measurement.runs.append(run)
        if agreement is not None and error is None and len(measurement.runs) > 1:
            yield from measurement.agree_verdict()
    note_failure(measurement)
    return CallResult()


def prepare(measurement: Measurement) -> Procedure:
    """``with steady_state(fn, *args)``: validate and warm up on entry, so that the key is warm in the body."""
    call = measurement.call
    claim = Claim(call.registry, call.entry, asynchronous=call.kind.asynchronous)
    with claim, claim:
        measurement.claim = claim if (yield from acquire(call, claim, demand=True)) else None
        yield from rewound(measurement)
    return warmed_up(measurement)
