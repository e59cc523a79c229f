"""
What is run, and how the engine asks for a run: one user call as a `Call`, and the `RunRequest` that a driver carries out.

Nothing here runs anything.
"""

from __future__ import annotations

import marshal
import math
import os
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from jitwarmup.distributed import identity
from jitwarmup.engine.callables import CallableKind
from jitwarmup.engine.inputs import Inputs
from jitwarmup.engine.instruments import PLAIN_CLOCK, Instruments
from jitwarmup.engine.options import Options
from jitwarmup.engine.rules import Fixed
from jitwarmup.engine.steps import Step
from jitwarmup.engine.timed_region import RunOutcome, TimedRegion, TimedStream
from jitwarmup.events import schema
from jitwarmup.events.guard import FAULTS
from jitwarmup.host.interrupts import Contained
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.registry import KeyRegistry
from jitwarmup.keys.single_flight import Wait
from jitwarmup.keys.state import KeyState
from jitwarmup.probes import CompiledCallCounter
from jitwarmup.records.errors import MeasurementFailed
from jitwarmup.records.failure import text_of
from jitwarmup.records.protocols import Clock
from jitwarmup.records.runs import Phase, Run

PLAIN = Step(Phase.MEASURE, 0)  # a plain call is a measured run of its own

MOST_BYTES = 2**20  # of items that are kept while a stream runs in silence


def event_of(event: str, level: str | None, fields: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """An event as emitters get it: name, level (by default its own), checked fields, this rank's identity among them."""
    fields.update(identity())
    built = schema.build(event, fields, log_messages="error_message" in fields)
    return event, level or schema.LEVELS[event], built


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFunction:
    """The function that is run, how, and with which instruments. Holds no argument."""

    name: str
    function: Callable[..., Any]
    kind: CallableKind
    options: Options
    instruments: Instruments
    registry: KeyRegistry
    report_id: str | None = None  # of the block around the call

    def without_call(self) -> TimedFunction:
        """The same without what a `Call` knows of one call, to be kept for longer."""
        kept = {each.name: getattr(self, each.name) for each in fields(TimedFunction) if each.name != "report_id"}
        return TimedFunction(**kept)

    def emit(self, event: str, *, error: BaseException | None = None, level: str | None = None, **facts: Any) -> None:
        """Emit one event about this function; an exception's message only where the user asked for it."""
        if SWITCH.reasons:
            return
        facts["callable"] = self.name
        if self.options.name is not None:
            facts["label"] = self.options.name
        if self.report_id is not None:
            facts.setdefault("report_id", self.report_id)
        if error is not None and self.options.log_messages:
            facts["error_message"] = text_of(error)
        self.instruments.emitter.emit(*event_of(event, level, facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(TimedFunction):
    """One call of the function, with everything that was decided about it before the first run."""

    inputs: Inputs
    entry: KeyState | None
    listener: Callable[[Run], None] | None = None  # a command of ours that draws between runs

    @property
    def key(self) -> str:
        """The key's label."""
        return key_of(self.entry)

    @property
    def streams_at_once(self) -> bool:
        """
        Whether the caller's own run of a stream has to be its validation run, since it may be the only run that is made.

        Several ranks make the same runs, whatever their arguments are; with ``dry_run`` another function is validated.
        """
        if not self.kind.streams or self.options.dry_run is not None or self.instruments.ranks() is not None:
            return False
        self.inputs.examine()
        return not self.inputs.repeatable


def key_of(entry: KeyState | None) -> str:
    """A key's label; ``other`` beyond the bound on keys."""
    return entry.label if entry is not None else "other"


class KeptItems(deque[Any]):
    """
    The items of a silent run of a stream, for the case that it turns out to be the only run: interrupted, or failed.

    Numbers, texts and containers of them, up to a bound; of anything else nobody knows what it holds, and a stream of frames would fill the
    memory. Of several ``ranks``, which have to make the same runs, all are kept.
    """

    def __init__(self, *, ranks: bool = False) -> None:
        super().__init__()
        self.left_bytes = math.inf if ranks else MOST_BYTES

    def take(self, item: Any) -> bool:
        """Keep one more; False where that is one too many."""
        if self.left_bytes is not math.inf:
            try:
                self.left_bytes -= len(marshal.dumps(item, 2))
            except ValueError:  # something else than numbers, text and containers of them
                self.left_bytes = -1
        self.append(item)
        return self.left_bytes >= 0


@dataclass(slots=True)
class RunRequest:
    """A request to run the user's function once, in a timed region; answered with a `RunOutcome`."""

    instruments: Instruments | None  # None: the call passes through, no timed region
    step: Step
    clock: Clock
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    live: bool = False
    validates: bool = False  # live, and the validation run too: whether it answers an interrupt is looked at
    drain: int | None = None
    left_s: float | None = None
    kept: KeptItems | None = None  # a stream's items, where they may be handed on; None again where they are not all
    region: TimedRegion | None = None  # that it was made in
    own: bool = False  # made with the caller's own arguments, so that what comes of it may be what the caller gets
    instead: Callable[[], Procedure] | None = None  # the caller's own run, should this one not be it
    conclude: Callable[[BaseException], Procedure] | None = None  # of no plain call: what its finished runs come to
    procedure: Any = None  # that it is answered to, where whoever called the driver makes the run

    @property
    def outcome(self) -> TimedRegion | RunOutcome | None:
        """What the user's function gave, as soon as it has returned or raised."""
        return None if self.region is None else self.region.concluded or self.region


@dataclass(slots=True, eq=False)
class CallResult:
    """What the caller gets: a value, or an exception that is raised outside of every generator of ours."""

    value: Any = None
    error: BaseException | None = None
    items: deque[Any] = field(default_factory=deque)  # of a stream whose silent validation run was its only run

    def unwrap(self) -> Any:
        """Return the value or raise the exception, as the user's function would have done, its context included."""
        if self.error is None:
            return self.value
        context = self.error.__context__
        try:
            raise self.error
        finally:
            self.error.__context__ = context  # where the caller handles another one, Python wrote that over it
            self.error = None  # an exception that refers to the frame that refers to it is garbage for the collector

    def pass_on_interrupt(self) -> None:
        """The consumer leaves before the error: he never meets it, unless it came to stop him."""
        if not isinstance(self.error, Exception):
            self.unwrap()


Procedure = Generator[Wait | RunRequest, Any, Any]


def audited(request: RunRequest) -> Generator[RunRequest, RunOutcome, RunOutcome]:
    """Have one run made that counts calls of compiled code; the hook is put in and out around the timed region."""
    audit = CompiledCallCounter()
    with audit, audit:
        looks = audit.start()
        outcome = yield request
    if looks:
        outcome.run = replace(outcome.run, compiled_calls=audit.served, uncompiled_calls=audit.missed)
    return outcome


def live_run(call: Call, instruments: Instruments | None, *, validates: bool = False) -> RunRequest:
    """The request for the caller's own run, of the caller's own arguments."""
    args, kwargs = call.inputs.own()
    clock = call.instruments.plain_clock
    return RunRequest(instruments, PLAIN, clock, call.function, args, kwargs, live=True, validates=validates)


def passthrough(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Procedure:
    """A call that passes through: the plain call, nothing read around it."""
    outcome = yield RunRequest(None, PLAIN, PLAIN_CLOCK, function, args, kwargs, live=True)
    return CallResult(outcome.value, outcome.error)


def rescue(request: RunRequest | None, fault: BaseException) -> Procedure:
    """
    The one place that keeps what fails of ours from the caller, once the user's code has been run.

    Gives the procedure that goes on in the place of the one that failed: it ends with what came of the caller's own run,
    or makes that run now. Raises the fault where it is not to be contained, or where nobody waits for a value.
    """
    region = None if request is None else request.region
    if request is not None and request.conclude and not (region is not None and region.device_failed):
        return request.conclude(fault)
    if request is None or not (request.live or request.instead) or (region is not None and region.device_failed):
        raise fault
    FAULTS.contain(fault)
    outcome = request.outcome
    whole = not isinstance(region, TimedStream) or request.live or request.kept is not None
    if outcome is not None and outcome.held and (request.live or request.own) and whole:
        return ended(CallResult(outcome.value, outcome.error, items=request.kept or deque()))
    return request.instead() if request.instead else passthrough(request.function, request.args, request.kwargs)


def ended(result: CallResult) -> Procedure:
    """Nothing is left to do."""
    yield from ()
    return result


def own_run(call: Call) -> Procedure:
    """The caller's own run after a warm-up that could not go on, with nothing read around it."""
    with Contained():
        call.inputs.rewind()
    return (yield from passthrough(call.function, *call.inputs.own()))


class Ending(Enum):
    """How the runs of a plan ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # by accept=
    MUTATED = "arguments_mutated"
    UNKNOWN = "arguments_unknown"
    STREAM = "returned_a_stream"
    ANSWERED = "interrupt_answered"  # by the function itself, with a value
    INTERRUPTED = "interrupted"
    ELSEWHERE = "another_rank"  # this rank's run went well; another rank's did not, or it is gone
    LEFT = "left_early"


ONLY_RUN = (Ending.MUTATED, Ending.UNKNOWN, Ending.STREAM)  # more than the validation run would do harm
WELL = (Ending.DONE, *ONLY_RUN)
SKIPS = (*ONLY_RUN, Ending.ANSWERED)
WRONG = (Ending.FAILED, Ending.REFUSED, Ending.ELSEWHERE)


def planned(options: Options) -> int | None:
    """Validation and warm-up runs in all, where a count decides; None where a rule does."""
    return 1 + options.rule.count if isinstance(options.rule, Fixed) else None


def refused(call: Call) -> MeasurementFailed:
    """The error for a value that ``accept=`` refused."""
    return MeasurementFailed(f"accept= refused the value of the validation run of {call.name}; nothing was warmed up")


def new_report_id() -> str:
    """An identity for a report; draws from the system, never from the user's random streams."""
    return os.urandom(16).hex()
