"""
``with steady_state(...)``: the same engine around code that is not decorated, and settings for what is inside.

The block itself is one timed window (``block``). Inside, ``measure`` runs a plan on any callable, and ``trials`` runs it
on an inline block.
"""

from __future__ import annotations

import asyncio
import functools
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from jitwarmup.api import processes as others
from jitwarmup.api.interleave import interleave, unbound
from jitwarmup.api.trials import Trial, TrialLoop
from jitwarmup.api.warmed import Warmed
from jitwarmup.engine import drivers, procedures
from jitwarmup.engine.announce import announce_block, call_fields, rank_fields
from jitwarmup.engine.commands import new_report_id
from jitwarmup.engine.conclusion import report_of
from jitwarmup.engine.function import WarmedFunction
from jitwarmup.engine.instruments import Instruments, open_instruments
from jitwarmup.engine.measurement import Measurement
from jitwarmup.engine.options import UNSET, BlockSettings, Options, check_function, enclosing_settings
from jitwarmup.engine.steps import Step
from jitwarmup.engine.timed_region import RunOutcome, TimedRegion
from jitwarmup.events import schema
from jitwarmup.events.emit import Silence
from jitwarmup.host.scope import RunContext, note_divergence
from jitwarmup.records.errors import ArgumentError, Overlap
from jitwarmup.records.protocols import Ranks
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Phase, Run


class SteadyState:
    """
    A block. Made by ``steady_state``; entered once.

    ``block`` is the Run of the body after the exit; ``reports`` what was measured in it.
    """

    _region: TimedRegion | None = None

    def __init__(self, function: Any, args: tuple[Any, ...], settings: BlockSettings) -> None:
        self.block: Run | None = None
        self._reports: list[Report] = []
        self._settings = settings
        self._function = function
        self._args = args
        self._lock = threading.Lock()
        self._entered = False
        self._instruments: Instruments | None = None
        self._prepared: Measurement | None = None
        self._latest: Measurement | None = None  # of the entry, then of the body
        self._owes_stop = False
        self._diverged: tuple[tuple[int, ...], ...] = ()
        self._loops: list[weakref.ref[TrialLoop]] = []
        self._report_id = new_report_id()

    @property
    def reports(self) -> tuple[Report, ...]:
        """What was measured in the block, in order."""
        return tuple(self._reports)

    # ------------------------------------------------------------------ the block

    def __enter__(self) -> Self:
        core = self._core_of_function()
        if core is not None and core.kind.asynchronous:
            raise ArgumentError(
                f"a plain 'with steady_state({core.name}, ...)' got an {core.kind.value} function, which it cannot "
                "await; wanted 'async with steady_state(...)'"
            )
        instruments = self._open()
        try:
            self._start(instruments)
            if core is not None:
                measurement = self._measurement_of(core, instruments)
                drivers.call(lambda: procedures.prepare(measurement), core.kind)
            return self._begin(instruments)
        except BaseException as error:
            self._fail_on_entry(instruments, error)
            raise

    async def __aenter__(self) -> Self:
        core = self._core_of_function()
        instruments = self._open()
        try:
            self._start(instruments)
            if core is not None:
                measurement = self._measurement_of(core, instruments)
                if core.kind.asynchronous:
                    await drivers.acall(lambda: procedures.prepare(measurement), core.kind)
                else:
                    drivers.call(lambda: procedures.prepare(measurement), core.kind)
            return self._begin(instruments)
        except BaseException as error:
            self._fail_on_entry(instruments, error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome: RunOutcome | None = None
        try:
            outcome = self._body_over(kind, error, trace)
            if outcome is None:
                return
            measurement = self._measurement_of_body(outcome)
            try:
                if measurement is not None:
                    drivers.through(procedures.body(measurement, outcome.run, outcome.error))
            finally:
                self._conclude(measurement, outcome)
        except BaseException as interrupt:
            self._give_up(interrupt)
            raise
        if error is None and outcome.error is not None:
            raise outcome.error  # the device failed after the body had started the work

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome: RunOutcome | None = None
        try:
            outcome = self._body_over(kind, error, trace)
            if outcome is None:
                return
            measurement = self._measurement_of_body(outcome)
            try:
                if measurement is not None:
                    await drivers.athrough(procedures.body(measurement, outcome.run, outcome.error))
            finally:
                self._conclude(measurement, outcome)
        except BaseException as interrupt:
            self._give_up(interrupt)
            raise
        if error is None and outcome.error is not None:
            raise outcome.error  # as above

    def _body_over(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> RunOutcome | None:
        """The timed region ends; None where it never began, or ended before."""
        region = self._region
        if region is None:
            return None
        self._region = None
        try:
            region.__exit__(kind, error, trace)
            for loop in (ref() for ref in self._loops):
                if loop is not None:
                    loop.leave()
            self._diverged = region.context.diverged  # ranks that were lost in the body are not waited for at its end
            return region.outcome()
        finally:
            region.abandon()

    def _open(self) -> Instruments:
        """Claim the block."""
        with self._lock:
            if self._entered:
                raise Overlap(
                    "this steady_state() block was entered before; wanted one 'with' for each: make a new one with "
                    "steady_state(...)"
                )
            self._entered = True
        self._instruments = open_instruments(self._settings.over(enclosing_settings()), explicit=True)
        return self._instruments

    def _start(self, instruments: Instruments) -> None:
        """Start the monitor where nobody has."""
        if instruments.monitor is not None:
            self._owes_stop = True  # until it is known: interrupted meanwhile, a stop too many does no harm
            self._owes_stop = instruments.monitor.start(self)

    def _begin(self, instruments: Instruments) -> Self:
        """The body begins: from here on it is timed, and its settings hold."""
        context = RunContext(settings=self._settings.for_calls_inside(self._report_id))
        region = TimedRegion(instruments, Step(Phase.MEASURE, 0), instruments.clock, context=context, name="block")
        region.__enter__()
        self._region = region
        return self

    def _stop(self, instruments: Instruments) -> None:
        """Stop the monitor where this block started it, and let go of the block's own probes."""
        if self._owes_stop and instruments.monitor is not None:
            instruments.monitor.stop(self)
        if self._settings.probe_set is not UNSET:
            instruments.probe_set.disarm()  # this block's own probes; the usual ones stay for everybody

    def _fail_on_entry(self, instruments: Instruments, error: BaseException) -> None:
        """Validation or warm-up on entry failed: the body is never run."""
        self._give_up(error)
        fields: dict[str, Any] = {"report_id": self._report_id, "reports": 0, "error_type": type(error).__name__}
        agreement = self._prepared.agreement if self._prepared is not None else None
        announce_block(instruments, schema.BLOCK_FAILED, agreement, callable=self._name, **fields)

    def _give_up(self, error: BaseException) -> None:
        """
        Nobody comes back to this block. Ranks that would wait for it at the block's end get a notice of an interrupt.

        May be called twice. What failed in a run, or on another rank, the ranks know from their agreements.
        """
        instruments = self._instruments
        assert instruments is not None  # noqa: S101 - it was opened
        self._stop(instruments)
        ranks = instruments.ranks()
        agreement = self._latest.agreement if self._latest is not None else None
        noticed = agreement is not None and agreement.left
        if ranks is not None and not noticed and not isinstance(error, Exception):
            ranks.leave(f"{type(error).__name__} at the edge of a block")

    def __del__(self) -> None:
        """Interrupted at the very beginning of its exit, or never left: what it holds open is closed all the same."""
        region, self._region = self._region, None
        if region is not None:
            region.abandon()
            self._give_up(KeyboardInterrupt())

    def _measurement_of_body(self, outcome: RunOutcome) -> Measurement | None:
        """What the body's run belongs to: the warm-up on entry, or inline code; None where there is no more to tell."""
        assert self._instruments is not None  # noqa: S101 - an open block has one
        ranks = self._instruments.ranks()
        if self._prepared is None and outcome.error is None and (self._diverged or ranks is None):
            self._note_divergence(ranks)
            return None
        measurement = self._latest = self._prepared or inline_function(self._instruments, self._name, self._settings)
        measurement.report_id = self._report_id
        if self._diverged:
            self._note_divergence(ranks)
            measurement.agreement = None
        elif measurement.agreement is None:
            measurement.meet()
        return measurement

    def _note_divergence(self, ranks: Ranks | None) -> None:
        """Only some of the ranks may have lost each other in the body: the others would wait at its end."""
        if self._diverged and ranks is not None and ranks.members not in self._diverged:
            note_divergence(ranks.members)
            ranks.leave("lost other ranks in a block")

    def _conclude(self, measurement: Measurement | None, outcome: RunOutcome) -> None:
        """Keep what the block measured, and emit its one event."""
        instruments = self._instruments
        assert instruments is not None  # noqa: S101 - an open block has one
        self._stop(instruments)
        noted = measurement.runs if measurement is not None else []
        self.block = noted[-1] if noted else outcome.run
        failure = measurement.failure if measurement is not None and noted else None
        if measurement is not None and noted and (self._prepared is not None or failure is not None):
            self._reports.append(report_of(measurement))
        fields = call_fields(self.block) | rank_fields(failure, None)
        fields |= {"callable": self._name, "label": self._settings.get("name")}
        fields |= {"report_id": self._report_id, "reports": len(self._reports)}
        if failure is not None:
            fields["error_type"] = failure.type
        event = schema.BLOCK_FAILED if failure is not None or outcome.error is not None else schema.BLOCK_COMPLETED
        agreement = measurement.agreement if measurement is not None else None
        announce_block(instruments, event, agreement, **fields)

    # ------------------------------------------------------------------ what is measured inside

    def measure(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """
        Run the whole plan on any callable: validate, warm up, measure.

        Args:
            function: any callable, decorated or not; of a decorated one its ``__wrapped__`` is measured and its key
                is warm afterwards.
            *args: its arguments.
            **kwargs: its keyword arguments.

        Returns:
            A Report; an awaitable of one where the function is asynchronous.

        Raises:
            ArgumentError: the function or its arguments cannot be measured, or the block is not open.
            Overlap: this block is measuring something already.

        """
        warmed = function if isinstance(function, Warmed) else self._warmed(function)
        procedure = functools.partial(procedures.measure, keep=self._reports.append)
        if not warmed._core.kind.asynchronous:
            with self._one_at_a_time():
                work = self._packed(function, args, kwargs)
                return self._repeated(warmed._carry_out(procedure, args, kwargs, self._settings, explicit=True), work)

        async def measured() -> Report:
            with self._one_at_a_time():
                work = self._packed(function, args, kwargs)
                return self._repeated(
                    await warmed._carry_out(procedure, args, kwargs, self._settings, explicit=True), work
                )

        return measured()

    def interleave(self, *functions: Callable[..., Any]) -> Any:
        """
        Measure several functions side by side, run by run, so that what the host does meets all of them alike.

        Args:
            functions: callables, decorated or not; arguments through ``functools.partial``.

        Returns:
            A tuple with a Report for each; an awaitable of it where the functions are asynchronous.

        Raises:
            ArgumentError: the functions are of different kinds, or one cannot be measured.
            Overlap: this block is measuring something already.

        """
        ready = [self._with_arguments(function) for function in functions]
        if not any(call.func._core.kind.asynchronous for call in ready):
            with self._one_at_a_time():
                return interleave(ready, self._settings, self._reports.append)

        async def measured() -> tuple[Report, ...]:
            with self._one_at_a_time():
                reports: tuple[Report, ...] = await interleave(ready, self._settings, self._reports.append)
                return reports

        return measured()

    def _with_arguments(self, call: Any) -> Any:
        """The same call of a warmed function."""
        function, args, kwargs = unbound(call)
        warmed = function if isinstance(function, Warmed) else self._warmed(function)
        return functools.partial(warmed, *args, **kwargs)

    def _packed(self, *call: Any) -> bytes | None:
        """The call as other processes will get it, refused before it is run where it cannot be sent; None for none."""
        alone = self._instruments is None or self._instruments.ranks() is None
        if self._processes > 1 and not alone:
            raise ArgumentError(
                f"processes={self._processes} got a job of several ranks too; wanted one of them: a fresh "
                "process has no place in the job. Leave processes out, or measure each rank by itself with ranks=None"
            )
        return others.packed(call, self._settings) if self._processes > 1 else None

    def _repeated(self, report: Report, work: bytes | None) -> Report:
        """The report, after the measurement was repeated in other processes where that was asked for."""
        if work is None:
            return report
        repeated = others.repeat(report, work, self._processes, measure_packed)
        self._reports[-1] = repeated
        return repeated

    def trials(self) -> Iterator[Trial]:
        """
        Repeat an inline block: validate, warm up, then measure.

            for trial in steady.trials():
                with trial:
                    model.generate(**inputs)

        Raises:
            ArgumentError: the block is not open, or a trial was skipped.
            Overlap: this block is measuring something already, or a trial is entered twice.

        """
        self._check_open()
        assert self._instruments is not None  # noqa: S101 - an open block has one
        loop = TrialLoop(inline_function(self._instruments, self._name, self._settings), self._reports.append)
        self._loops.append(weakref.ref(loop))
        return self._iterate(loop)

    def _iterate(self, loop: TrialLoop) -> Iterator[Trial]:
        """Trials until the plan is carried out; leaving the loop early ends it."""
        with self._one_at_a_time():
            try:
                while (trial := loop.advance()) is not None:
                    yield trial
            finally:
                loop.leave()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Refuse a second measurement in the same block while one is under way."""
        self._check_open()
        if not self._lock.acquire(blocking=False):
            raise Overlap(
                "this steady_state() block is measuring already; wanted one measurement at a time: wait for it, or give "
                "each thread or task a block of its own"
            )
        try:
            yield
        finally:
            self._lock.release()

    def _check_open(self) -> None:
        if self._region is None:
            raise ArgumentError(
                "this steady_state() block is not open; wanted its measure() and trials() inside "
                "'with steady_state(...) as steady:'"
            )

    # ------------------------------------------------------------------ helpers

    def _core_of_function(self) -> WarmedFunction | None:
        """The function given to the block, if any."""
        if self._function is None:
            return None
        warmed = self._function if isinstance(self._function, Warmed) else self._warmed(self._function)
        self._function = warmed
        return warmed._core

    def _warmed(self, function: Any) -> Warmed[Any, Any]:
        """A plain callable, made fit for the engine."""
        check_function(function, descriptors=False)
        return Warmed(function, Options())

    def _measurement_of(self, core: WarmedFunction, instruments: Instruments) -> Measurement:
        """The measurement whose validation and warm-up are made on entry."""
        prefix, args = self._function._split(self._args)
        call = core.call(prefix, args, {}, explicit=True, settings=self._settings)
        self._prepared = self._latest = Measurement(call, None, instruments.clock, self._report_id)
        return self._prepared

    @property
    def _processes(self) -> int:
        found: int = self._settings.get("processes", 1)
        return found

    @property
    def _name(self) -> str:
        own = self._function._core.name if isinstance(self._function, Warmed) else "steady_state"
        return self._settings.get("name") or own


def inline_function(instruments: Instruments, name: str, settings: BlockSettings) -> Measurement:
    """A measurement of inline code, which has no function and no key."""
    rng = "leave" if in_event_loop() else None  # other tasks draw between our runs
    core = WarmedFunction(nothing, Options(name=settings.get("name"), rng=rng))
    core.name = name
    settings = replace(settings, accept=UNSET)  # inline code has no value
    call = core.call((), (), {}, explicit=True, settings=settings)
    return Measurement(call, None, instruments.clock)


def in_event_loop() -> bool:
    """Whether the calling code is run by asyncio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def nothing() -> None:
    """Stands where a function would."""


def measure_packed(work: bytes) -> float | None:
    """In a fresh process: measure, in silence, and give the median back."""
    (function, args, kwargs), settings = pickle.loads(work)  # noqa: S301 - from the pipe of our own parent
    with SteadyState(None, (), BlockSettings(**settings, log=Silence())) as steady:
        report: Report = steady.measure(function, *args, **kwargs)
    return report.latency_s


def steady_state(
    function: Callable[..., Any] | None = None,
    /,
    *args: Any,
    iterations: Any = UNSET,
    measurements: int = UNSET,
    monitor: Any = UNSET,
    probes: Any = UNSET,
    log: Any = UNSET,
    clock: Any = UNSET,
    ranks: Any = UNSET,
    name: str | None = UNSET,
    budget_s: float | None = UNSET,
    on_contamination: str = UNSET,
    accept: Callable[[Any], bool] | None = UNSET,
    processes: int = UNSET,
    log_messages: bool = UNSET,
) -> SteadyState:
    """
    A block whose body is timed at steady state, and in which things are measured.

    With a function, entering validates it and warms it up (monitor paused), and the body is the timed region; keyword
    arguments go through ``functools.partial``. Without one the body is timed as it is. Settings given explicitly hold
    for warmed functions called inside: inner block > outer block > decorator > default. ``async with`` works too.

    Args:
        function: what to warm up on entry, or None.
        args: its arguments.
        iterations: warm-up runs (5), or a rule.
        measurements: timed runs of ``measure`` and ``trials`` (20).
        monitor: an object with pause, resume and window(name); started and stopped here if it is not running.
        probes: further probes of one-time work.
        log: where events go: an Emitter, a structlog logger or a ``logging.Logger``.
        clock: an object with ``now() -> int`` (ns) and ``fence()``.
        ranks: the ranks that measure in step: a torch.distributed group, a DeviceMesh or a ``RankGroup``; by default all
            where torch.distributed is initialised. None to agree with nobody (a block that one rank alone enters).
        name: shown in the place of the function's own name.
        budget_s: seconds for validation and warm-up together.
        on_contamination: a measured run with one-time work: ``"mark"``, ``"redo"`` or ``"raise"``.
        accept: ``accept(value)`` -> bool over the validation run's value.
        processes: processes that ``measure`` is made in (1), this one included; ``report.processes`` summarises them.

        log_messages: put exception messages into events too; they may hold prompts and other argument values.

    Raises:
        ArgumentError: a setting cannot work.

    """
    if function is None and args:
        raise ArgumentError("steady_state() got arguments without a function; wanted steady_state(function, *args)")
    settings = BlockSettings.checked(
        iterations=iterations,
        measurements=measurements,
        monitor=monitor,
        probes=probes,
        log=log,
        clock=clock,
        ranks=ranks,
        name=name,
        budget_s=budget_s,
        on_contamination=on_contamination,
        accept=accept,
        processes=processes,
        log_messages=log_messages,
    )
    if function is not None and not isinstance(function, Warmed):
        check_function(function, descriptors=False)
    return SteadyState(function, args, settings)
