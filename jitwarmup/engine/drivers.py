"""
Drivers carry procedures out against the user's function, one for each kind of callable.

A driver sends a procedure what came of its last request and carries out the next one: wait, or run the function. The
result is unwrapped outside of every generator of ours, so that even a StopIteration of the user's arrives as it is.
A driver keeps no value alive: an outcome belongs to the procedure as soon as it is sent.

What functions and coroutines share is written once, as generators that yield only what a task waits for: awaited
(`in_task`) where runs are asynchronous, run at a stroke (`at_once`) where they are not and nothing is ever yielded.
"""

from __future__ import annotations

import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from jitwarmup.engine.callables import CallableKind
from jitwarmup.engine.commands import CallResult, Procedure, RunRequest, rescue
from jitwarmup.engine.timed_region import CALL, MEASURE, RunOutcome, TimedRegion, TimedStream, UntimedRegion
from jitwarmup.events.guard import FAULTS
from jitwarmup.host.interrupts import InterruptWatch
from jitwarmup.keys.single_flight import Wait

_T = TypeVar("_T")
Make = Callable[[], Procedure]
Carrying = Generator[Any, Any, _T]


def advance(procedure: Procedure, sent: Any) -> Wait | RunRequest | CallResult:
    """The procedure's next request, or its result."""
    try:
        request: Wait | RunRequest = procedure.send(sent)
    except StopIteration as stop:
        result: CallResult = stop.value
        return result
    return request


def carry(procedure: Procedure, kind: CallableKind, sent: Any = None, *, runs: bool = True) -> Carrying[Any]:
    """Carry a procedure out to its result, or to a run that is not made here: any without ``runs``, a live one of a stream."""
    asynchronous, streams = kind.asynchronous, kind.streams
    made: RunRequest | None = None
    while True:
        try:
            request = advance(procedure, sent)
            sent = None
            if isinstance(request, Wait):
                sent = (yield from request.sleep().__await__()) if asynchronous else request.block()
            elif isinstance(request, CallResult):
                return request
            elif not runs or (streams and request.live):
                request.procedure = procedure
                return request
            else:
                made = request
                sent = yield from (drained if streams else once)(request, asynchronous=asynchronous)
        except BaseException as fault:  # noqa: BLE001 - raised again there, unless the user's call can go on without it
            procedure, sent, made = rescue(made, fault), None, None


in_task = types.coroutine(carry)


def at_once(carrying: Carrying[Any]) -> Any:
    """Carry out what waits for nothing in a task."""
    try:
        next(carrying)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a run that is not asynchronous has waited in a task")


def through(procedure: Procedure, sent: Any = None) -> RunRequest | CallResult:
    """The procedure's next run or result, after the waits before it; for code that makes the runs itself."""
    try:
        request: RunRequest | CallResult = at_once(carry(procedure, CallableKind.FUNCTION, sent, runs=False))
    except BaseException:
        procedure.close()  # interrupted while it waited: the other ranks get the notice now, not when the traceback is dropped
        raise
    return request


async def athrough(procedure: Procedure, sent: Any = None) -> RunRequest | CallResult:
    """The same in a task."""
    try:
        request: RunRequest | CallResult = await in_task(procedure, CallableKind.COROUTINE, sent, runs=False)
    except BaseException:
        procedure.close()
        raise
    return request


def call(make: Make, kind: CallableKind = CallableKind.FUNCTION) -> Any:
    """Driver for ``def``, and for streams whose items nobody receives (``warm`` and ``measure`` of a generator)."""
    procedure = make()
    try:
        result = at_once(carry(procedure, kind))
    finally:
        procedure.close()
    return result.value if result.error is None else result.unwrap()


async def acall(make: Make, kind: CallableKind = CallableKind.COROUTINE) -> Any:
    """Driver for ``async def``, and for async streams whose items nobody receives."""
    procedure = make()
    try:
        result = await in_task(procedure, kind)
    finally:
        procedure.close()
    return result.value if result.error is None else result.unwrap()


def once(request: RunRequest, *, asynchronous: bool) -> Carrying[RunOutcome]:
    """One run of a function or coroutine function."""
    region: TimedRegion = UntimedRegion()
    if request.instruments is not None:
        name = CALL if request.live else MEASURE
        region = TimedRegion(request.instruments, request.step, request.clock, name=name)
    request.region = region
    try:
        with interrupts_of(request, asynchronous=asynchronous) as watch, region:
            try:
                value = request.function(*request.args, **request.kwargs)
                region.value = (yield from value.__await__()) if asynchronous else value
            except BaseException as error:  # noqa: BLE001 - the user's, for the procedure to hand on
                region.error = error
            region.held = True
        return outcome_of(region, watch)
    finally:
        if region.open:
            region.abandon()


def interrupts_of(request: RunRequest, *, asynchronous: bool) -> AbstractContextManager[InterruptWatch | None]:
    """What hears the interrupts of a run that more runs may follow; of the caller's own the function's answer arrives as it is."""
    own = request.live and not request.validates
    return nullcontext() if own else InterruptWatch(asynchronous=asynchronous)


def outcome_of(region: TimedRegion, watch: InterruptWatch | None) -> RunOutcome:
    """What came of a run, and whether it has answered an interrupt."""
    outcome = region.outcome()
    outcome.answered = watch is not None and watch.answered and outcome.error is None
    return outcome


def stream_of(request: RunRequest) -> TimedStream:
    """The window of a run that yields items."""
    region: TimedStream = UntimedRegion()
    if request.instruments is not None:
        region = TimedStream(request.instruments, request.step, request.clock)
    request.region = region
    return region


def drained(request: RunRequest, *, asynchronous: bool) -> Carrying[RunOutcome]:
    """One run of a stream to its end (or ``drain`` items, then closed); nobody receives the items."""
    region = stream_of(request)
    end = StopAsyncIteration if asynchronous else StopIteration
    try:
        with interrupts_of(request, asynchronous=asynchronous) as watch, region:
            try:
                stream = request.function(*request.args, **request.kwargs)
                while True:
                    item = (yield from anext(stream).__await__()) if asynchronous else next(stream)
                    if request.kept is not None and not request.kept.take(item):
                        request.kept = None
                    del item
                    region.leave_step()
                    done = satisfied(request, region)
                    region.enter_step()
                    if done:
                        request.kept = None
                        _ = (yield from stream.aclose().__await__()) if asynchronous else stream.close()
                        break
            except end as ended:
                region.value = getattr(ended, "value", None)
        return outcome_of(region, watch)
    finally:
        if region.open:
            region.abandon()


def satisfied(request: RunRequest, region: TimedStream) -> bool:
    """Whether an extra run has had enough items, or has used up the budget."""
    spent = request.left_s is not None and region.spent_ns / 1e9 >= request.left_s
    return spent or (request.drain is not None and region.items >= request.drain)


def stream(make: Make) -> Generator[Any, Any, Any]:  # noqa: C901, PLR0915 - as the docstring says
    """
    Driver for generators: extra runs are drained in silence, the caller's own run streams live.

    Every item at once, ``send``, ``throw``, ``close`` and return value too. The live run stands in this body, as it has
    to in ``astream``: a generator between the consumer and the user's async stream would lose what is sent and thrown.
    """
    procedure = make()
    region: TimedStream = UntimedRegion()
    watch: InterruptWatch | None = None
    try:
        request = at_once(carry(procedure, CallableKind.GENERATOR))
        while isinstance(live := request, RunRequest):
            try:
                region = stream_of(live)
                watching = interrupts_of(live, asynchronous=False)
                with region:
                    try:
                        inner = live.function(*live.args, **live.kwargs)
                        step, given = inner.send, None
                        while True:
                            with watching as watch:
                                item = step(given)
                            try:
                                region.leave_step()
                            except BaseException as fault:  # noqa: BLE001 - raised again where it is an interrupt
                                FAULTS.contain(fault)
                            try:
                                given = yield item
                                step = inner.send
                            except BaseException as thrown:  # noqa: BLE001 - what is thrown in, or closes it, is the generator's
                                step, given = inner.throw, thrown
                            del item
                            region.closed = isinstance(given, GeneratorExit)  # the consumer leaves
                            try:
                                region.enter_step()
                            except BaseException as fault:  # noqa: BLE001 - as above
                                FAULTS.contain(fault)
                    except StopIteration as stop:
                        region.value = stop.value
                    except BaseException as error:  # noqa: BLE001 - the user's, for the procedure to hand on
                        region.error = error
                    region.held = True
                request = at_once(carry(live.procedure, CallableKind.GENERATOR, outcome_of(region, watch)))
            except BaseException as fault:  # noqa: BLE001 - as above
                request = at_once(carry(rescue(live, fault), CallableKind.GENERATOR))
    finally:
        if region.open:
            region.abandon()
        procedure.close()
    try:
        while request.items:
            yield request.items.popleft()
    except GeneratorExit:  # the consumer leaves
        request.pass_on_interrupt()
        raise
    return request.value if request.error is None else request.unwrap()


async def astream(make: Make) -> AsyncGenerator[Any, Any]:  # noqa: C901, PLR0915 - as `stream`
    """Driver for async generators: as ``stream``, with ``asend``, ``athrow`` and ``aclose``."""
    procedure = make()
    region: TimedStream = UntimedRegion()
    watch: InterruptWatch | None = None
    try:
        request = await in_task(procedure, CallableKind.ASYNC_GENERATOR)
        while isinstance(live := request, RunRequest):
            try:
                region = stream_of(live)
                watching = interrupts_of(live, asynchronous=True)
                with region:
                    try:
                        inner = live.function(*live.args, **live.kwargs)
                        step, given = inner.asend, None
                        while True:
                            with watching as watch:
                                item = await step(given)
                            try:
                                region.leave_step()
                            except BaseException as fault:  # noqa: BLE001 - raised again where it is an interrupt
                                FAULTS.contain(fault)
                            try:
                                given = yield item
                                step = inner.asend
                            except BaseException as thrown:  # noqa: BLE001 - what is thrown in, or closes it, is the generator's
                                step, given = inner.athrow, thrown
                            del item
                            region.closed = isinstance(given, GeneratorExit)  # the consumer leaves
                            try:
                                region.enter_step()
                            except BaseException as fault:  # noqa: BLE001 - as above
                                FAULTS.contain(fault)
                    except BaseException as error:  # noqa: BLE001 - the user's, for the procedure to hand on
                        region.error = None if isinstance(error, StopAsyncIteration) else error
                    region.held = True
                request = await in_task(live.procedure, CallableKind.ASYNC_GENERATOR, outcome_of(region, watch))
            except BaseException as fault:  # noqa: BLE001 - as above
                request = await in_task(rescue(live, fault), CallableKind.ASYNC_GENERATOR)
    finally:
        if region.open:
            region.abandon()
        procedure.close()
    try:
        while request.items:
            yield request.items.popleft()
    except GeneratorExit:
        request.pass_on_interrupt()
        raise
    if request.error is not None:
        request.unwrap()
