"""
The timed region. The only place that reads the clock around user code.

    probes, monitor edge, fence, clock | user code | fence, clock, monitor edge, probes

The fence is inside the time: device work that was started is waited for. Whatever leaves the user's code, an interrupt
included, is kept for the driver; the region itself raises nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from jitwarmup.engine.instruments import Instruments
from jitwarmup.engine.steps import Step
from jitwarmup.events.guard import FAULTS
from jitwarmup.gpu.shared import SharedWindow
from jitwarmup.host.clock import SystemClock
from jitwarmup.host.interrupts import from_outside
from jitwarmup.host.scope import RunContext
from jitwarmup.probes import ProbeSet
from jitwarmup.probes.contention import within
from jitwarmup.records.protocols import Clock, RunAnnotation
from jitwarmup.records.runs import Outcome, Phase, Run

OVERHEAD_RUNS = 40
MEASURE, CALL = "measure", "call"  # names of a monitor's windows


@dataclass(slots=True, eq=False)
class RunOutcome:
    """
    What came of one run: the Run (None where none was timed), and the value or the exception of the user's function.

    ``held`` while that one is here; it is dropped before the next run.
    """

    run: Any
    value: Any
    error: BaseException | None
    notes: Sequence[RunAnnotation] = ()
    answered: bool = False  # an interrupt came, and the function answered it with this value
    held: bool = True

    def drop(self) -> None:
        """Keep neither value nor exception alive."""
        self.value = self.error = None
        self.held = False


def outcome_of(error: BaseException | None) -> Outcome:
    """``error`` for an Exception, ``cancelled`` for an interruption (KeyboardInterrupt, cancellation, a time limit)."""
    if error is None:
        return "ok"
    return "cancelled" if interrupts(error) else "error"


def interrupts(error: BaseException) -> bool:
    """Whether what left the user's function ends the plan without having failed: no Exception, or none of its own."""
    return not isinstance(error, Exception) or from_outside(error)


class TimedRegion:
    """
    One timed run: ``with region: region.value = function(...)``, then ``region.outcome()``.

    ``held`` is set as soon as the user's function has returned or raised: from then on nothing of ours may lose what is
    in ``value`` or ``error``, then in ``concluded``.

    Args:
        instruments: what stands around the run.
        step: which run this is; a measured one opens the monitor's window.
        clock: the clock to use.
        context: what nested calls shall see; by default a run of this phase.
        name: of the monitor's window; a monitor may take more time around ``measure`` than around a call in service.

    """

    def __init__(
        self, instruments: Instruments, step: Step, clock: Clock, context: RunContext | None = None, name: str = MEASURE
    ) -> None:
        self.name = name
        self.instruments = instruments
        self.step = step
        self.clock = clock
        self.context = context if context is not None else RunContext(phase=step.phase)
        self.value: Any = None
        self.error: BaseException | None = None
        self.meter: SharedWindow | None = None
        self.open = False
        self.held = False
        self.concluded: RunOutcome | None = None

    device_failed = False  # at the fence before the run: in work that the user started before

    def __enter__(self) -> Self:
        try:
            self.prepare()
            try:
                self.clock.fence()
            except BaseException:
                self.device_failed = True
                raise
            self.started_at = time.time()
            self.t0 = self.clock.now()
        except BaseException:
            self.abandon()
            raise
        return self

    def prepare(self) -> None:
        """What is read before the fence and the clock."""
        self.open = True
        self.context.clock = self.clock
        self.instruments.probe_set.open(self.context, cpu=self.name != CALL)
        if self.instruments.monitor is not None and self.step.phase is Phase.MEASURE:
            self.meter = self.instruments.monitor.window(self.name)
            self.meter.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            error = self.error
        self.error = error
        self.held = True
        try:
            self.clock.fence()
        except BaseException as late:  # noqa: BLE001 - handed on as the run's own by the driver; an interrupt goes first
            fails = isinstance(error, Exception | GeneratorExit)
            if error is None or (fails and not isinstance(late, Exception)):
                self.error = late
        t1 = self.clock.now()
        self.conclude(t1 - self.t0)
        return True

    def abandon(self) -> None:
        """
        Close what is open still: the run never began, or an interrupt came between two steps of ours.

        Whoever makes a region calls this at last; one that was concluded is left as it is.
        """
        if not self.open:
            return
        try:
            try:
                if self.meter is not None:
                    self.meter.__exit__(None, None, None)
            finally:
                self.instruments.probe_set.close(self.context)
                self.open = False
        except BaseException as fault:  # noqa: BLE001 - raised again where it is an interrupt
            FAULTS.contain(fault)

    def conclude(self, duration_ns: int) -> None:
        """What is read after the clock."""
        self.duration_ns = duration_ns
        self.annotated = {} if self.context.notes is None else finished(self.context.notes, self.t0)
        if self.meter is not None:
            self.meter.__exit__(None, None, None)
        self.seen = self.instruments.probe_set.close(self.context)
        self.open = False

    @property
    def uneventful(self) -> bool:
        """Whether the run ended well and paid for nothing: all there is to know is how long it took."""
        return self.error is None and not self.seen.work

    def run(self, **streamed: Any) -> Run:
        """The Run that comes of it; made on demand, since a call that is only counted needs none."""
        seen = self.seen
        paid = bool(seen.work) and any(work.charged and work.recurrence == "one_time" for work in seen.work)
        fields = streamed or self.annotated
        cpu_s, wait_s, switches, process_cpu_s = within(
            self.duration_ns / 1e9, (seen.cpu_s, seen.wait_s, seen.switches, seen.process_cpu_s)
        )
        outcome = streamed.pop("outcome", None) or outcome_of(self.error)
        return Run(
            phase=self.step.phase,
            index=self.step.index,
            started_at=self.started_at,
            duration_ns=self.duration_ns,
            outcome=outcome,
            error_type=type(self.error).__name__ if self.error is not None and outcome != "closed" else None,
            work=seen.work,
            contaminated=paid and self.step.phase is Phase.MEASURE,
            device=self.meter.reading if self.meter is not None and not streamed else None,
            cpu_s=cpu_s,
            wait_s=wait_s,
            switches=switches,
            process_cpu_s=process_cpu_s,
            **fields,
        )

    def outcome(self) -> RunOutcome:
        """The outcome; the region keeps no value and no exception alive."""
        result = RunOutcome(self.run(), self.value, self.error, self.context.notes or ())
        self.context.notes = None
        self.concluded, self.value, self.error = result, None, None
        return result


def finished(notes: Sequence[RunAnnotation], t0_ns: int) -> dict[str, Any]:
    """Read the notes that were left in a run that began at ``t0_ns``; what they know of the Run (its items), together."""
    annotated: dict[str, Any] = {}
    for note in notes:
        try:
            annotated |= merged(annotated, note.finish(t0_ns))
        except BaseException as error:  # noqa: BLE001 - a note is about a run, it must not break it
            FAULTS.contain(error, of_port=True)
    return annotated


def merged(annotated: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Items of several streams in one run: the first item is the first one's, gaps and counts add up."""
    if not annotated or not more:
        return {**annotated, **more}
    return {
        "first_item_s": annotated["first_item_s"],
        "item_gaps_s": (*annotated["item_gaps_s"], *more["item_gaps_s"]),
        "items": annotated["items"] + more["items"],
    }


def nothing() -> int:
    """What is timed to know what timing adds."""
    return 0


@cache
def overhead_s() -> float:
    """Seconds that timing adds to a run: the median over one that does nothing, by the system's clock, once in a process."""
    bare = SimpleNamespace(probe_set=ProbeSet(()), monitor=None)
    times = [timed_nothing(bare, Step(Phase.WARM, index)) for index in range(OVERHEAD_RUNS)]
    return median(times[OVERHEAD_RUNS // 4 :]) / 1e9


def timed_nothing(instruments: Any, step: Step) -> int:
    """Nanoseconds of a run of nothing; what is read around a run stands between two of them, as it does between others."""
    region = TimedRegion(instruments, step, SystemClock())
    try:
        with region:
            try:
                region.value = nothing()
            except BaseException as error:  # noqa: BLE001 - as a driver has it
                region.error = error
            region.held = True
        region.outcome()
    finally:
        region.abandon()
    return region.duration_ns


class TimedStream(TimedRegion):
    """
    A timed run whose value is a stream: only the time inside its steps counts, never the consumer's.

    Fenced before the first step and after the last, never per item. The monitor's reading is not kept: it would hold
    what the consumer did between the items.
    """

    def __init__(self, instruments: Instruments, step: Step, clock: Clock) -> None:
        super().__init__(instruments, step, clock)
        self.spent_ns = 0
        self.items = 0
        self.first_ns: int | None = None
        self.gaps_ns: list[int] = []
        self.closed = False

    def __enter__(self) -> Self:
        super().__enter__()
        self.began_ns = self.t0
        return self

    def enter_step(self) -> None:
        """The stream's time goes on. Each step has a context of its own, since its body may keep one open over a yield."""
        self.context = self.context.next_step()
        self.instruments.probe_set.resume(self.context)
        self.t0 = self.clock.now()

    def leave_step(self) -> None:
        """The stream's own time stops with an item."""
        step_ns = self.clock.now() - self.t0
        self.instruments.probe_set.suspend(self.context)
        self.spent_ns += step_ns
        self.items += 1
        if self.first_ns is None:
            self.first_ns = self.spent_ns
        else:
            self.gaps_ns.append(step_ns)

    def conclude(self, duration_ns: int) -> None:
        """The last step, which gave no item, is over too."""
        self.instruments.probe_set.suspend(self.context)
        self.spent_ns += duration_ns
        self.t0 = self.began_ns  # notes are read against the beginning of the run, not of its last step
        super().conclude(self.spent_ns)

    def run(self, **streamed: Any) -> Run:
        """The Run, with what is known of its items."""
        left = self.closed and (self.error is None or isinstance(self.error, GeneratorExit))
        return super().run(
            outcome="closed" if left else outcome_of(self.error),
            first_item_s=None if self.first_ns is None else self.first_ns / 1e9,
            item_gaps_s=tuple(gap / 1e9 for gap in self.gaps_ns),
            items=self.items,
            **streamed,
        )


class UntimedRegion(TimedStream):
    """No timed region at all: a call that passes through is the plain call, and nothing is read around it."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.closed = False
        self.items = 0
        self.spent_ns = 0
        self.open = False
        self.held = False
        self.concluded = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error if error is not None else self.error
        self.held = True
        return True

    def enter_step(self) -> None:
        """Nothing is read."""

    def leave_step(self) -> None:
        """Nothing is read."""

    def outcome(self) -> RunOutcome:
        """The outcome, without a Run."""
        self.concluded = RunOutcome(None, self.value, self.error)
        return self.concluded
