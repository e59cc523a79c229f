"""A ``with`` block that is one timed region, with settings for what is inside; see `steady_state`."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from jitwarmup.analysis.recurrence import RecurringWork
from jitwarmup.api.trials import TrialLoop
from jitwarmup.api.warmed import Warmed
from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.announce import announce_block, call_fields, rank_fields
from jitwarmup.engine.callables import CallableKind
from jitwarmup.engine.commands import CallResult, Procedure, new_report_id
from jitwarmup.engine.conclusion import report_of
from jitwarmup.engine.function import WarmedFunction
from jitwarmup.engine.instruments import Instruments, open_instruments
from jitwarmup.engine.measurement import Measurement
from jitwarmup.engine.options import UNSET, BlockSettings, Options, check_function, enclosing_settings
from jitwarmup.engine.steps import Step
from jitwarmup.engine.timed_region import RunOutcome, TimedRegion, interrupts
from jitwarmup.events import schema
from jitwarmup.events.guard import FAULTS
from jitwarmup.host import event_loops
from jitwarmup.host.scope import RunContext, note_divergence
from jitwarmup.records.errors import ArgumentError, Overlap
from jitwarmup.records.protocols import Ranks
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Phase, Run


class Block:
    """The edges of a ``with`` block: what is prepared on entry, and what is concluded and announced on exit."""

    _region: TimedRegion | None = None
    _instruments: Instruments  # once it was entered

    def __init__(self, function: Any, args: tuple[Any, ...], settings: BlockSettings) -> None:
        self.block: Run | None = None
        self._reports: list[Report] = []
        self._settings = settings
        self._function = None if function is None else as_warmed(function)
        self._kind = CallableKind.FUNCTION if self._function is None else self._function._core.kind
        self._args = args
        self._lock = threading.Lock()
        self._entered = False
        self._measurement: Measurement | None = None  # of the entry, then of the body
        self._owes_stop = False
        self._diverged: tuple[tuple[int, ...], ...] = ()
        self._loops: weakref.WeakSet[TrialLoop] = weakref.WeakSet()
        self._report_id = new_report_id()

    @property
    def reports(self) -> tuple[Report, ...]:
        """What was measured in the block, in order."""
        return tuple(self._reports)

    # ------------------------------------------------------------------ the block

    def __enter__(self) -> Self:
        if self._kind.asynchronous:
            raise ArgumentError(
                f"a plain 'with steady_state({self._name}, ...)' got an {self._kind.value} function, "
                "which it cannot await; wanted 'async with steady_state(...)'"
            )
        self._open()
        try:
            drivers.call(self._entry, self._kind)
            return self._begin()
        except BaseException as error:
            self._fail_on_entry(error)
            raise

    async def __aenter__(self) -> Self:
        self._open()
        try:
            if self._kind.asynchronous:
                await drivers.acall(self._entry, self._kind)
            else:
                drivers.call(self._entry, self._kind)
            return self._begin()
        except BaseException as error:
            self._fail_on_entry(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome: RunOutcome | None = None
        try:
            outcome = self._body_over(error)
            try:
                drivers.through(self._noting(outcome))
            finally:
                self._conclude(outcome)
        except BaseException as fault:  # noqa: BLE001 - raised again where it is an interrupt, or another rank's failure
            self._give_up(fault)
            FAULTS.contain(fault)
        if error is None and outcome is not None and outcome.error is not None:
            raise outcome.error  # the device failed after the body had started the work

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome: RunOutcome | None = None
        try:
            outcome = self._body_over(error)
            try:
                await drivers.athrough(self._noting(outcome))
            finally:
                self._conclude(outcome)
        except BaseException as fault:  # noqa: BLE001 - raised again where it is an interrupt, or another rank's failure
            self._give_up(fault)
            FAULTS.contain(fault)
        if error is None and outcome is not None and outcome.error is not None:
            raise outcome.error  # as above

    def _body_over(self, error: BaseException | None) -> RunOutcome | None:
        """The timed region ends; None where it never began, or ended before."""
        region = self._region
        if region is None:
            return None
        self._region = None
        try:
            region.__exit__(None, error, None)
            for loop in tuple(self._loops):
                loop.leave()
            self._diverged = region.context.diverged  # ranks that were lost in the body are not waited for at its end
            outcome = region.outcome()
            entry = self._measurement.call.entry if self._measurement is not None else None
            history = RecurringWork(in_service=True) if entry is None else entry.recurring
            outcome.run = history.label_body(outcome.run, region.context.paid_inside or {})
            return outcome
        finally:
            region.abandon()

    def _open(self) -> None:
        """Claim the block."""
        with self._lock:
            if self._entered:
                raise Overlap(
                    "this steady_state() block was entered before; wanted one 'with' for each: make a new one with "
                    "steady_state(...)"
                )
            self._entered = True
        self._instruments = open_instruments(self._settings.over(enclosing_settings()), explicit=True)

    def _entry(self) -> Procedure:
        """Start the monitor where nobody has, then validate and warm up the function, if any."""
        instruments = self._instruments
        if instruments.monitor is not None:
            self._owes_stop = True  # until it is known: interrupted meanwhile, a stop too many does no harm
            self._owes_stop = instruments.monitor.start(self)
        if self._function is None:
            return CallResult()
        prefix, args = self._function._split(self._args)
        call = self._function._core.call(prefix, args, {}, explicit=True, settings=self._settings)
        measurement = self._measurement = Measurement(call, None, instruments.clock, self._report_id)
        return (yield from procedures.prepare(measurement))

    def _begin(self) -> Self:
        """The body begins: from here on it is timed, and its settings hold."""
        context = RunContext(settings=self._settings.for_calls_inside(self._report_id))
        step, clock = Step(Phase.MEASURE, 0), self._instruments.clock
        region = TimedRegion(self._instruments, step, clock, context=context, name="block")
        region.__enter__()
        self._region = region
        return self

    def _stop(self) -> None:
        """Stop the monitor where this block started it, and let go of the block's own probes."""
        if self._owes_stop and self._instruments.monitor is not None:
            self._instruments.monitor.stop(self)
        if self._settings.probe_set is not UNSET:
            self._instruments.probe_set.disarm()  # this block's own probes; the usual ones stay for everybody

    def _fail_on_entry(self, error: BaseException) -> None:
        """Validation or warm-up on entry failed: the body is never run."""
        self._give_up(error)
        agreement = self._measurement.agreement if self._measurement is not None else None
        fields = {"callable": self._name, "report_id": self._report_id, "error_type": type(error).__name__}
        announce_block(self._instruments, schema.BLOCK_FAILED, agreement, reports=0, **fields)

    def _give_up(self, error: BaseException) -> None:
        """
        Nobody comes back to this block. Ranks that would wait for it at the block's end get a notice of an interrupt.

        May be called twice. What failed in a run, or on another rank, the ranks know from their agreements.
        """
        self._stop()
        ranks = self._instruments.ranks()
        agreement = self._measurement.agreement if self._measurement is not None else None
        noticed = agreement is not None and agreement.left
        if ranks is not None and not noticed and interrupts(error):
            ranks.leave(f"{type(error).__name__} at the edge of a block")

    def __del__(self) -> None:
        """Interrupted at the very beginning of its exit, or never left: what it holds open is closed all the same."""
        region, self._region = self._region, None
        if region is not None:
            region.abandon()
            self._give_up(KeyboardInterrupt())

    def _noting(self, outcome: RunOutcome | None) -> Procedure:
        """Note the body's run with the warm-up on entry, or as inline code; nothing where there is no more to tell."""
        if outcome is None:
            return CallResult()
        ranks = self._instruments.ranks()
        if self._function is None and outcome.error is None and (self._diverged or ranks is None):
            self._note_divergence(ranks)
            return CallResult()
        measurement = self._measurement or inline_function(self._instruments, self._name, self._settings)
        self._measurement = measurement
        measurement.report_id = self._report_id
        if self._diverged:
            self._note_divergence(ranks)
            measurement.agreement = None
        elif measurement.agreement is None:
            measurement.meet()
        return (yield from procedures.body(measurement, outcome.run, outcome.error))

    def _note_divergence(self, ranks: Ranks | None) -> None:
        """Only some of the ranks may have lost each other in the body: the others would wait at its end."""
        if self._diverged and ranks is not None and ranks.members not in self._diverged:
            note_divergence(ranks.members)
            ranks.leave("lost other ranks in a block")

    def _conclude(self, outcome: RunOutcome | None) -> None:
        """Keep what the block measured, and emit its one event."""
        if outcome is None:
            return
        measurement = self._measurement
        self._stop()
        runs = measurement.runs if measurement is not None else []
        noted = bool(runs) and runs[-1].phase is Phase.MEASURE  # interrupted before, the last one is of the warm-up
        self.block = runs[-1] if noted else outcome.run
        failure = measurement.failure if measurement is not None else None
        if measurement is not None and runs and (self._function is not None or failure is not None):
            self._reports.append(report_of(measurement))
        fields = call_fields(self.block) | rank_fields(failure, None)
        fields |= {"callable": self._name, "label": self._settings.get("name")}
        fields |= {"report_id": self._report_id, "reports": len(self._reports)}
        if failure is not None:
            fields["error_type"] = failure.type
        event = schema.BLOCK_FAILED if failure is not None or outcome.error is not None else schema.BLOCK_COMPLETED
        announce_block(self._instruments, event, measurement.agreement if measurement is not None else None, **fields)

    @property
    def _name(self) -> str:
        own = "steady_state" if self._function is None else self._function._core.name
        return self._settings.get("name") or own


def as_warmed(function: Any) -> Warmed[Any, Any]:
    """A callable, made fit for the engine where it is a plain one."""
    if isinstance(function, Warmed):
        return function
    check_function(function, descriptors=False)
    return Warmed(function, Options())


def inline_function(instruments: Instruments, name: str, settings: BlockSettings) -> Measurement:
    """A measurement of inline code, which has no function and no key."""
    rng = "leave" if event_loops.here() else None  # other tasks draw between our runs
    core = WarmedFunction(lambda: None, Options(name=settings.get("name"), rng=rng))
    core.name = name
    settings = replace(settings, accept=UNSET)  # inline code has no value
    call = core.call((), (), {}, explicit=True, settings=settings)
    return Measurement(call, None, instruments.clock)
