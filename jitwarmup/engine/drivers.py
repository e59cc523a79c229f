"""
Pumps: the courses of ``calls`` carried out against the user's function, once per colour.

Each pump sends a course what came of its last wish and fulfils the next one: pause, or run the function in a window. The
result is unwrapped outside of every generator of ours, so that even a StopIteration of the user's arrives as it is.
A pump keeps no value alive: what was taken belongs to the course as soon as it is sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from typing import Any

from jitwarmup.engine.commands import CallableKind, CallResult, Procedure, RunRequest
from jitwarmup.engine.timed_region import CALL, MEASURE, RunOutcome, TimedRegion, TimedStream, UntimedRegion
from jitwarmup.keys.registry import Wait

Command = Wait | RunRequest | CallResult
Make = Callable[[], Procedure]


def advance(course: Procedure, sent: Any) -> Command:
    """The course's next wish, or its result."""
    try:
        command: Command = course.send(sent)
    except StopIteration as stop:
        result: CallResult = stop.value
        return result
    return command


def through(course: Procedure, sent: Any = None) -> RunRequest | CallResult:
    """The course's next run or result, after the pauses before it; for whoever makes the runs by himself."""
    try:
        command = advance(course, sent)
        while isinstance(command, Wait):
            command = advance(course, command.block())
    except BaseException:
        course.close()  # interrupted while it waited: it says so now, not when the traceback is dropped
        raise
    return command


async def athrough(course: Procedure, sent: Any = None) -> RunRequest | CallResult:
    """The same in a task; the event loop goes on."""
    try:
        command = advance(course, sent)
        while isinstance(command, Wait):
            command = advance(course, await command.sleep())
    except BaseException:
        course.close()
        raise
    return command


def call(make: Make, colour: CallableKind = CallableKind.PLAIN) -> Any:
    """Pump for ``def``, and for streams whose items nobody receives (``warm`` and ``measure`` of a generator)."""
    course = make()
    sent: Any = None
    try:
        while True:
            command = advance(course, sent)
            sent = None
            if isinstance(command, CallResult):
                break
            if isinstance(command, Wait):
                sent = command.block()
            else:
                sent = drained(command) if colour.streams else once(command)
    finally:
        course.close()
    return command.unwrap()


def single_window(command: RunRequest) -> TimedRegion:
    """The window of a run that returns its value at once."""
    if command.session is None:
        return UntimedRegion()
    return TimedRegion(command.session, command.step, command.clock, name=CALL if command.live else MEASURE)


def stream_window(command: RunRequest) -> TimedStream:
    """The window of a run that yields items."""
    return UntimedRegion() if command.session is None else TimedStream(command.session, command.step, command.clock)


def once(command: RunRequest) -> RunOutcome:
    """One run of a plain function."""
    window = single_window(command)
    try:
        with window:
            window.value = command.function(*command.args, **command.kwargs)
        return window.taken()
    finally:
        window.abandon()


async def acall(make: Make, colour: CallableKind = CallableKind.COROUTINE) -> Any:
    """Pump for ``async def``, and for async streams whose items nobody receives."""
    course = make()
    sent: Any = None
    try:
        while True:
            command = advance(course, sent)
            sent = None
            if isinstance(command, CallResult):
                break
            if isinstance(command, Wait):
                sent = await command.sleep()
            else:
                sent = await (adrained(command) if colour.streams else aonce(command))
    finally:
        course.close()
    return command.unwrap()


async def aonce(command: RunRequest) -> RunOutcome:
    """One run of a coroutine function."""
    window = single_window(command)
    try:
        with window:
            window.value = await command.function(*command.args, **command.kwargs)
        return window.taken()
    finally:
        window.abandon()


def satisfied(command: RunRequest, window: TimedStream) -> bool:
    """Whether an extra run has had enough items, or has used up the budget."""
    spent = command.left_s is not None and window.spent_ns / 1e9 >= command.left_s
    return spent or (command.drain is not None and window.items >= command.drain)


def keep(command: RunRequest, item: Any) -> None:
    """Drop an item of an extra run, unless it may turn out to be the only run that is made."""
    if command.kept is not None:
        command.kept.append(item)


def drained(command: RunRequest) -> RunOutcome:
    """One run of a generator to its end (or ``drain`` items, then closed); nobody receives the items."""
    window = stream_window(command)
    try:
        drain(window, command)
        return window.taken()
    finally:
        window.abandon()


def drain(window: TimedStream, command: RunRequest) -> None:
    """Make the run."""
    window.begin()
    error: BaseException | None = None
    try:
        stream = command.function(*command.args, **command.kwargs)
        while True:
            keep(command, next(stream))
            window.leave_step(item=True)
            done = satisfied(command, window)
            window.enter_step()
            if done:
                command.kept = None
                stream.close()
                break
    except StopIteration as stop:
        window.value = stop.value
    except BaseException as caught:  # noqa: BLE001 - handed on as it is by whoever pumps the course
        error = caught
    window.leave_step(item=False)
    window.finish(error)


async def adrained(command: RunRequest) -> RunOutcome:
    """One run of an async generator to its end (or ``drain`` items, then closed); nobody receives the items."""
    window = stream_window(command)
    try:
        await adrain(window, command)
        return window.taken()
    finally:
        window.abandon()


async def adrain(window: TimedStream, command: RunRequest) -> None:
    """Make the run."""
    window.begin()
    error: BaseException | None = None
    try:
        stream = command.function(*command.args, **command.kwargs)
        while True:
            keep(command, await anext(stream))
            window.leave_step(item=True)
            done = satisfied(command, window)
            window.enter_step()
            if done:
                command.kept = None
                await stream.aclose()
                break
    except StopAsyncIteration:
        pass
    except BaseException as caught:  # noqa: BLE001 - handed on as it is by whoever pumps the course
        error = caught
    window.leave_step(item=False)
    window.finish(error)


def stream(make: Make) -> Generator[Any, Any, Any]:
    """Pump for generators: extra runs are drained in silence, the caller's own run streams live."""
    course = make()
    sent: Any = None
    window: TimedStream = UntimedRegion()
    try:
        while True:
            command = advance(course, sent)
            sent = None
            if isinstance(command, CallResult):
                break
            if isinstance(command, Wait):
                sent = command.block()
            elif not command.live:
                sent = drained(command)
            else:
                window = stream_window(command)
                with suppress(GeneratorExit):  # the consumer left; `live` has closed the user's stream and noted it
                    yield from live(window, command)
                sent = window.taken()
    finally:
        window.abandon()
        course.close()
    yield from command.items
    return command.unwrap()


def live(window: TimedStream, command: RunRequest) -> Generator[Any, Any, None]:
    """The caller's own run of a generator: every item at once, ``send``, ``throw``, ``close`` and return value too."""
    window.begin()
    error: BaseException | None = None
    try:
        inner = command.function(*command.args, **command.kwargs)
        step, given = inner.send, None
        while True:
            item = step(given)
            window.leave_step(item=True)
            try:
                given = yield item
                step = inner.send
            except GeneratorExit as left:
                window.enter_step()
                window.closed, error = True, left
                inner.close()
                break
            except BaseException as thrown:  # noqa: BLE001 - the consumer's throw() belongs to the user's generator
                step, given = inner.throw, thrown
            del item
            window.enter_step()
    except StopIteration as stop:
        window.value = stop.value
    except BaseException as caught:  # noqa: BLE001 - handed on as it is by whoever pumps the course
        error = caught
    window.leave_step(item=False)
    window.finish(error)


async def astream(make: Make) -> AsyncGenerator[Any, Any]:  # noqa: C901, PLR0915 - see below: it cannot be cut in two
    """
    Pump for async generators: as ``stream``, with ``asend``, ``athrow`` and ``aclose``.

    The live run stands in this body: a helper generator between the consumer and the user's stream would lose what is
    sent and thrown.
    """
    course = make()
    sent: Any = None
    window: TimedStream = UntimedRegion()
    try:
        while True:
            command = advance(course, sent)
            sent = None
            if isinstance(command, CallResult):
                break
            if isinstance(command, Wait):
                sent = await command.sleep()
                continue
            if not command.live:
                sent = await adrained(command)
                continue
            window = stream_window(command)
            window.begin()
            error: BaseException | None = None
            try:
                inner = command.function(*command.args, **command.kwargs)
                step, given = inner.asend, None
                while True:
                    item = await step(given)
                    window.leave_step(item=True)
                    try:
                        given = yield item
                        step = inner.asend
                    except GeneratorExit as left:
                        window.enter_step()
                        window.closed = True
                        error = left
                        await inner.aclose()
                        break
                    except BaseException as thrown:  # noqa: BLE001 - the consumer's athrow() is the user's generator's
                        step, given = inner.athrow, thrown
                    del item
                    window.enter_step()
            except StopAsyncIteration:
                pass
            except BaseException as caught:  # noqa: BLE001 - handed on as it is by whoever pumps the course
                error = caught
            window.leave_step(item=False)
            window.finish(error)
            sent = window.taken()
    finally:
        window.abandon()
        course.close()
    for item in command.items:
        yield item
    command.unwrap()
