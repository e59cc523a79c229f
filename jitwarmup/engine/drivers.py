"""
Drivers carry procedures out against the user's function, one for each kind of callable.

A driver sends a procedure what came of its last request and carries out the next one: wait, or run the function. The
result is unwrapped outside of every generator of ours, so that even a StopIteration of the user's arrives as it is.
A driver keeps no value alive: an outcome belongs to the procedure as soon as it is sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from typing import Any

from jitwarmup.engine.callables import CallableKind
from jitwarmup.engine.commands import CallResult, Procedure, RunRequest
from jitwarmup.engine.timed_region import CALL, MEASURE, RunOutcome, TimedRegion, TimedStream, UntimedRegion
from jitwarmup.keys.single_flight import Wait

Command = Wait | RunRequest | CallResult
Make = Callable[[], Procedure]


def advance(procedure: Procedure, sent: Any) -> Command:
    """The procedure's next request, or its result."""
    try:
        request: Command = procedure.send(sent)
    except StopIteration as stop:
        result: CallResult = stop.value
        return result
    return request


def through(procedure: Procedure, sent: Any = None) -> RunRequest | CallResult:
    """The procedure's next run or result, after the waits before it; for code that makes the runs itself."""
    try:
        request = advance(procedure, sent)
        while isinstance(request, Wait):
            request = advance(procedure, request.block())
    except BaseException:
        procedure.close()  # interrupted while it waited: the other ranks get the notice now, not when the traceback is dropped
        raise
    return request


async def athrough(procedure: Procedure, sent: Any = None) -> RunRequest | CallResult:
    """The same in a task; the event loop goes on."""
    try:
        request = advance(procedure, sent)
        while isinstance(request, Wait):
            request = advance(procedure, await request.sleep())
    except BaseException:
        procedure.close()
        raise
    return request


def call(make: Make, kind: CallableKind = CallableKind.FUNCTION) -> Any:
    """Driver for ``def``, and for streams whose items nobody receives (``warm`` and ``measure`` of a generator)."""
    procedure = make()
    sent: Any = None
    try:
        while True:
            request = advance(procedure, sent)
            sent = None
            if isinstance(request, CallResult):
                break
            sent = request.block() if isinstance(request, Wait) else drained(request) if kind.streams else once(request)
    finally:
        procedure.close()
    return request.unwrap()


def region_of(request: RunRequest) -> TimedRegion:
    """The window of a run that returns its value at once."""
    if request.instruments is None:
        return UntimedRegion()
    return TimedRegion(request.instruments, request.step, request.clock, name=CALL if request.live else MEASURE)


def stream_of(request: RunRequest) -> TimedStream:
    """The window of a run that yields items."""
    return (
        UntimedRegion()
        if request.instruments is None
        else TimedStream(request.instruments, request.step, request.clock)
    )


def once(request: RunRequest) -> RunOutcome:
    """One run of a plain function."""
    region = region_of(request)
    try:
        with region:
            region.value = request.function(*request.args, **request.kwargs)
        return region.outcome()
    finally:
        region.abandon()


async def acall(make: Make, kind: CallableKind = CallableKind.COROUTINE) -> Any:
    """Driver for ``async def``, and for async streams whose items nobody receives."""
    procedure = make()
    sent: Any = None
    try:
        while True:
            request = advance(procedure, sent)
            sent = None
            if isinstance(request, CallResult):
                break
            if isinstance(request, Wait):
                sent = await request.sleep()
            else:
                sent = await (adrained(request) if kind.streams else aonce(request))
    finally:
        procedure.close()
    return request.unwrap()


async def aonce(request: RunRequest) -> RunOutcome:
    """One run of a coroutine function."""
    region = region_of(request)
    try:
        with region:
            region.value = await request.function(*request.args, **request.kwargs)
        return region.outcome()
    finally:
        region.abandon()


def satisfied(request: RunRequest, region: TimedStream) -> bool:
    """Whether an extra run has had enough items, or has used up the budget."""
    spent = request.left_s is not None and region.spent_ns / 1e9 >= request.left_s
    return spent or (request.drain is not None and region.items >= request.drain)


def keep(request: RunRequest, item: Any) -> None:
    """Drop an item of an extra run, unless it may turn out to be the only run that is made."""
    if request.kept is not None:
        request.kept.append(item)


def drained(request: RunRequest) -> RunOutcome:
    """One run of a generator to its end (or ``drain`` items, then closed); nobody receives the items."""
    region = stream_of(request)
    try:
        drain(region, request)
        return region.outcome()
    finally:
        region.abandon()


def drain(region: TimedStream, request: RunRequest) -> None:
    """Make the run."""
    region.begin()
    error: BaseException | None = None
    try:
        stream = request.function(*request.args, **request.kwargs)
        while True:
            keep(request, next(stream))
            region.leave_step(item=True)
            done = satisfied(request, region)
            region.enter_step()
            if done:
                request.kept = None
                stream.close()
                break
    except StopIteration as stop:
        region.value = stop.value
    except BaseException as caught:  # noqa: BLE001 - handed on as it is by the driver
        error = caught
    region.leave_step(item=False)
    region.finish(error)


async def adrained(request: RunRequest) -> RunOutcome:
    """One run of an async generator to its end (or ``drain`` items, then closed); nobody receives the items."""
    region = stream_of(request)
    try:
        await adrain(region, request)
        return region.outcome()
    finally:
        region.abandon()


async def adrain(region: TimedStream, request: RunRequest) -> None:
    """Make the run."""
    region.begin()
    error: BaseException | None = None
    try:
        stream = request.function(*request.args, **request.kwargs)
        while True:
            keep(request, await anext(stream))
            region.leave_step(item=True)
            done = satisfied(request, region)
            region.enter_step()
            if done:
                request.kept = None
                await stream.aclose()
                break
    except StopAsyncIteration:
        pass
    except BaseException as caught:  # noqa: BLE001 - handed on as it is by the driver
        error = caught
    region.leave_step(item=False)
    region.finish(error)


def stream(make: Make) -> Generator[Any, Any, Any]:
    """Driver for generators: extra runs are drained in silence, the caller's own run streams live."""
    procedure = make()
    sent: Any = None
    region: TimedStream = UntimedRegion()
    try:
        while True:
            request = advance(procedure, sent)
            sent = None
            if isinstance(request, CallResult):
                break
            if isinstance(request, Wait):
                sent = request.block()
            elif not request.live:
                sent = drained(request)
            else:
                region = stream_of(request)
                with suppress(GeneratorExit):  # the consumer left; `live` has closed the user's stream and noted it
                    yield from live(region, request)
                sent = region.outcome()
    finally:
        region.abandon()
        procedure.close()
    yield from request.items
    return request.unwrap()


def live(region: TimedStream, request: RunRequest) -> Generator[Any, Any, None]:
    """The caller's own run of a generator: every item at once, ``send``, ``throw``, ``close`` and return value too."""
    region.begin()
    error: BaseException | None = None
    try:
        inner = request.function(*request.args, **request.kwargs)
        step, given = inner.send, None
        while True:
            item = step(given)
            region.leave_step(item=True)
            try:
                given = yield item
                step = inner.send
            except GeneratorExit as left:
                region.enter_step()
                region.closed, error = True, left
                inner.close()
                break
            except BaseException as thrown:  # noqa: BLE001 - the consumer's throw() belongs to the user's generator
                step, given = inner.throw, thrown
            del item
            region.enter_step()
    except StopIteration as stop:
        region.value = stop.value
    except BaseException as caught:  # noqa: BLE001 - handed on as it is by the driver
        error = caught
    region.leave_step(item=False)
    region.finish(error)


async def astream(make: Make) -> AsyncGenerator[Any, Any]:  # noqa: C901, PLR0915 - see below: it cannot be cut in two
    """
    Driver for async generators: as ``stream``, with ``asend``, ``athrow`` and ``aclose``.

    The live run stands in this body: a helper generator between the consumer and the user's stream would lose what is
    sent and thrown.
    """
    procedure = make()
    sent: Any = None
    region: TimedStream = UntimedRegion()
    try:
        while True:
            request = advance(procedure, sent)
            sent = None
            if isinstance(request, CallResult):
                break
            if isinstance(request, Wait):
                sent = await request.sleep()
                continue
            if not request.live:
                sent = await adrained(request)
                continue
            region = stream_of(request)
            region.begin()
            error: BaseException | None = None
            try:
                inner = request.function(*request.args, **request.kwargs)
                step, given = inner.asend, None
                while True:
                    item = await step(given)
                    region.leave_step(item=True)
                    try:
                        given = yield item
                        step = inner.asend
                    except GeneratorExit as left:
                        region.enter_step()
                        region.closed = True
                        error = left
                        await inner.aclose()
                        break
                    except BaseException as thrown:  # noqa: BLE001 - the consumer's athrow() is the user's generator's
                        step, given = inner.athrow, thrown
                    del item
                    region.enter_step()
            except StopAsyncIteration:
                pass
            except BaseException as caught:  # noqa: BLE001 - handed on as it is by the driver
                error = caught
            region.leave_step(item=False)
            region.finish(error)
            sent = region.outcome()
    finally:
        region.abandon()
        procedure.close()
    for item in request.items:
        yield item
    request.unwrap()
