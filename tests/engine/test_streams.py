"""Generators and async generators: everything a consumer may do to one reaches the user's, and nothing else does."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref

import pytest

from jitwarmup import State, is_warming, steady_state, warmed
from jitwarmup.host.scope import current
from jitwarmup.testing import FakeClock


class Boom(Exception):
    pass


def echo(first="hi"):
    """Says back what it is sent; an exception thrown in becomes an item; ``None`` ends it with a return value."""
    item = first
    while True:
        try:
            got = yield item
        except Boom as boom:
            got = f"caught {boom}"
        if got is None:
            return "bye"
        item = got


async def async_echo(first="hi"):
    item = first
    while True:
        try:
            got = yield item
        except Boom as boom:
            got = f"caught {boom}"
        if got is None:
            return
        item = got


def converse(stream):
    """What a consumer hears in a conversation that uses every method."""
    received = [next(stream), stream.send("a"), stream.throw(Boom("x")), stream.send("b")]
    try:
        stream.send(None)
    except StopIteration as stop:
        received.append(stop.value)
    return received


async def aconverse(stream):
    received = [await anext(stream), await stream.asend("a"), await stream.athrow(Boom("x")), await stream.asend("b")]
    with pytest.raises(StopAsyncIteration):
        await stream.asend(None)
    return received


def test_send_throw_and_the_return_value_pass_through() -> None:
    function = warmed(drain=2)(echo)
    assert converse(function()) == converse(echo()) == ["hi", "a", "caught x", "b", "bye"]
    assert converse(function("again")) == converse(echo("again"))


def test_asend_and_athrow_pass_through() -> None:
    async def main():
        function = warmed(drain=2)(async_echo)
        assert await aconverse(function()) == await aconverse(async_echo()) == ["hi", "a", "caught x", "b"]
        assert await aconverse(function("again")) == await aconverse(async_echo("again"))

    asyncio.run(main())


def test_yield_from_a_warmed_generator_delegates_everything() -> None:
    function = warmed(drain=1)(echo)

    def outer():
        return (yield from function())

    assert converse(outer()) == ["hi", "a", "caught x", "b", "bye"]


def test_an_exception_of_a_stream_reaches_its_consumer_after_the_items_before_it() -> None:
    runs = []

    def stream():
        runs.append(1)
        yield 1
        if len(runs) == 7:
            raise Boom("late")

    function = warmed(stream)
    running = function()
    assert next(running) == 1
    with pytest.raises(Boom, match="late"):
        next(running)
    with pytest.raises(StopIteration):
        next(running)


def test_an_uncaught_throw_ends_the_stream_with_that_very_exception() -> None:
    running = warmed(iterations=0)(lambda: iter(()))  # a plain function: nothing of it is a stream
    assert list(running()) == []
    stream = warmed(iterations=0, drain=1)(itertools_like)()
    next(stream)
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        stream.throw(error)
    assert caught.value is error


def itertools_like():
    yield from itertools.count()


def test_a_stream_that_ignores_close_is_told_so_as_python_would() -> None:
    def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    stream = warmed(iterations=0, drain=1, on_new_key="pass")(stubborn)()
    next(stream)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        stream.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failing_cleanup_reaches_whoever_closes_the_stream(asynchronous, events) -> None:
    def stream():
        try:
            yield 1
        finally:
            raise Boom("cleanup")

    async def async_stream():
        try:
            yield 1
        finally:
            raise Boom("cleanup")

    async def main():
        running = warmed(iterations=0, on_new_key="pass")(async_stream)()
        await anext(running)
        with pytest.raises(Boom, match="cleanup"):
            await running.aclose()

    if asynchronous:
        asyncio.run(main())
    else:
        running = warmed(iterations=0, on_new_key="pass")(stream)()
        next(running)
        with pytest.raises(Boom, match="cleanup"):
            running.close()
    assert [entry["outcome"] for entry in events.named("jitwarmup.call")] == ["error"]


def test_the_measured_run_streams_live_item_by_item() -> None:
    produced = []

    def stream():
        for number in range(3):
            produced.append((number, is_warming()))
            yield number

    running = warmed(iterations=1)(stream)()
    assert next(running) == 0
    assert produced == [(0, True), (1, True), (2, True)] * 2 + [(0, False)], "the second item is not made yet"
    assert list(running) == [1, 2]


def test_the_async_measured_run_streams_live_item_by_item() -> None:
    produced = []

    async def stream():
        for number in range(3):
            produced.append((number, is_warming()))
            yield number

    async def main():
        running = warmed(iterations=0)(stream)()
        assert await anext(running) == 0
        assert produced[3:] == [(0, False)]
        assert [item async for item in running] == [1, 2]

    asyncio.run(main())


def test_nothing_runs_before_the_first_step() -> None:
    runs = []

    def stream():
        runs.append(1)
        yield

    running = warmed(stream)()
    assert runs == []
    running.close()
    assert runs == []


@pytest.mark.parametrize("drain", [1, 2, 5])
def test_drain_cuts_extra_runs_after_so_many_items_and_closes_them(drain) -> None:
    seen = []

    def stream():
        made = []
        seen.append(made)
        try:
            for number in range(4):
                made.append(number)
                yield number
        finally:
            made.append("closed")

    assert list(warmed(iterations=1, drain=drain)(stream)()) == [0, 1, 2, 3]
    whole = [0, 1, 2, 3, "closed"]
    cut = [*range(min(drain, 4)), "closed"]
    assert seen == [cut, cut, whole]


def test_drain_cuts_extra_runs_of_async_streams_too() -> None:
    seen = []

    async def stream():
        made = []
        seen.append(made)
        try:
            for number in range(4):
                made.append(number)
                yield number
        finally:
            await asyncio.sleep(0)
            made.append("closed")

    async def main():
        return [item async for item in warmed(iterations=1, drain=2)(stream)()]

    assert asyncio.run(main()) == [0, 1, 2, 3]
    assert seen == [[0, 1, "closed"], [0, 1, "closed"], [0, 1, 2, 3, "closed"]]


def test_measured_runs_of_measure_are_drained_whole_whatever_drain_says() -> None:
    report = warmed(iterations=1, drain=1, measurements=2)(lambda_stream)
    report = report.measure()
    assert [run.items for run in report.runs] == [1, 1, 3, 3]


def lambda_stream():
    yield from "abc"


def test_the_budget_is_checked_between_the_items_of_extra_runs() -> None:
    clock, made = FakeClock(), []

    def stream():
        for number in range(100):
            clock.advance(1)
            made.append(is_warming())
            yield number

    with steady_state(clock=clock, budget_s=3.5):
        assert len(list(warmed(stream)())) == 100
    assert made.count(True) == 4, "the item that used the budget up was the last one that was drained"


def test_a_stream_closed_early_is_closed_in_its_event_and_in_no_summary(events) -> None:
    function = warmed(emit="summary")(echo_items)
    list(function())
    for _ in function():
        break
    gc.collect()
    function.flush()
    (summary,) = events.named("jitwarmup.summary")
    assert summary["count"] == 1
    assert summary["errors"] == 0, "leaving a stream is no error"
    stream_function = warmed(echo_items)
    list(stream_function())
    for _ in stream_function():
        break
    gc.collect()
    assert [entry["outcome"] for entry in events.named("jitwarmup.call")] == ["ok", "closed"]


def echo_items():
    yield from range(3)


def test_a_run_left_early_by_its_consumer_counts_as_a_call_and_the_key_stays_warm() -> None:
    function = warmed(echo_items)
    for _ in function():
        break
    gc.collect()
    assert function.state is State.WARM


def test_items_are_not_kept_alive() -> None:
    class Item:
        pass

    refs, alive_at_start = [], []

    def stream():
        alive_at_start.append(sum(ref() is not None for ref in refs))
        for _ in range(3):
            item = Item()
            refs.append(weakref.ref(item))
            yield item
            del item

    for item in warmed(iterations=2)(stream)():
        del item
    gc.disable()
    try:
        assert alive_at_start == [0, 0, 0, 0]
        assert all(ref() is None for ref in refs[:-1])
    finally:
        gc.enable()


def test_a_consumer_is_not_inside_the_run_while_it_holds_an_item() -> None:
    inner_runs = []
    inner = warmed(iterations=1)(lambda: inner_runs.append(is_warming()))
    for number, _ in enumerate(warmed(iterations=0)(echo_items)()):
        assert current() is None
        inner()
        assert len(inner_runs) == 3 + number


def test_a_warmed_call_inside_a_step_of_a_stream_is_plain() -> None:
    inner_runs = []
    inner = warmed(iterations=1)(lambda: inner_runs.append(1))

    def stream():
        inner()
        yield

    list(warmed(iterations=0)(stream)())
    assert len(inner_runs) == 2
    assert inner.state is State.COLD


def test_two_streams_of_one_function_interleave(events) -> None:
    function = warmed(iterations=0)(echo_items)
    list(function())
    pairs = list(zip(function(), function(), strict=True))
    assert pairs == [(0, 0), (1, 1), (2, 2)]
    assert current() is None
    assert [entry["items"] for entry in events.named("jitwarmup.call")] == [3, 3, 3]


@pytest.mark.parametrize("closing", [False, True])
def test_a_block_held_open_over_a_yield_inside_a_warmed_stream_hangs_nobody(closing) -> None:
    def stream():
        for number in range(2):
            with steady_state(name="inside"):
                yield number
                assert not is_warming() or number >= 0
            yield -number

    function = warmed(iterations=1)(stream)
    running = function()
    assert next(running) == 0
    warmed(iterations=0)(lambda: None)()
    if closing:
        running.close()
    else:
        assert list(running) == [0, 1, -1]
    assert current() is None


def test_a_stream_may_be_stepped_from_several_threads_and_contexts() -> None:
    import contextvars

    running = warmed(iterations=0)(echo_items)()
    got = [contextvars.copy_context().run(next, running) for _ in range(3)]
    assert got == [0, 1, 2]
    with pytest.raises(StopIteration):
        next(running)
    assert current() is None


def test_cancelling_the_consumer_of_an_async_stream_closes_it(events) -> None:
    closed = []

    async def stream():
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.append(is_warming())

    async def consume():
        async for _ in function():
            pass

    async def main():
        task = asyncio.create_task(consume())
        while not events.named("jitwarmup.warmup.completed"):  # noqa: ASYNC110 - nothing tells when it is said
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    function = warmed(iterations=0, drain=1)(stream)
    asyncio.run(main())
    assert closed == [True, False]
    assert [entry["outcome"] for entry in events.named("jitwarmup.call")] == ["cancelled"]
