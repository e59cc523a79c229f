"""An interrupt that the function answers itself: that run is the last one, and its value the caller's."""

import asyncio
import functools
import signal
import threading

import anyio
import pytest

from jitwarmup import steady_state, warmed

pytestmark = pytest.mark.usefixtures("events")
FOREVER = 600.0  # that a run sleeps until it is cancelled


class Writer:
    """Its `at`-th run waits for a cancellation and answers it with what it has; `before` is called first in that run."""

    def __init__(self, at, before=lambda: None):
        self.at, self.before, self.runs = at, before, 0

    async def write(self):
        self.runs += 1
        if self.runs != self.at:
            return "whole", self.runs
        self.before()
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            return "stopped early", self.runs
        raise AssertionError("nobody cancelled it")


AT = pytest.mark.parametrize("at", [1, 2, 4, 5], ids=["validation", "warm-up", "last warm-up", "the caller's own"])
ITERATIONS = 3


async def by_wait_for(writer, function):
    loop = asyncio.get_running_loop()
    later = functools.partial(lambda now: now() + 2 * FOREVER, loop.time)
    writer.before = lambda: setattr(loop, "time", later)  # its time comes in that run, and not before
    return await asyncio.wait_for(function(), FOREVER)


async def by_timeout(writer, function):
    async with asyncio.timeout(None) as scope:
        writer.before = lambda: scope.reschedule(0)
        value = await function()
    assert scope.expired()  # and yet, as of a plain call, no TimeoutError: no CancelledError came out
    return value


async def by_a_group(writer, function):
    failed = asyncio.Event()

    async def sibling():
        await failed.wait()
        raise ValueError("words")

    writer.before = failed.set
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sibling())
            task = group.create_task(function())
    except* ValueError:
        pass
    return task.result()


async def by_a_scope_of_anyio(writer, function):
    with anyio.CancelScope() as scope:
        writer.before = scope.cancel
        return await function()
    raise AssertionError("the scope was left without a value")


async def by_another_task(writer, function):
    started = asyncio.Event()
    writer.before = started.set
    task = asyncio.create_task(function())
    await started.wait()
    task.cancel()
    return await task


WAYS = {
    "wait_for": by_wait_for,
    "timeout": by_timeout,
    "TaskGroup": by_a_group,
    "anyio": by_a_scope_of_anyio,
    "cancel": by_another_task,
}


@AT
@pytest.mark.parametrize("way", WAYS)
def test_a_cancellation_that_the_function_answers_ends_the_warm_up(way, at):
    async def main():
        writer = Writer(at)
        function = warmed(iterations=ITERATIONS)(writer.write)
        assert await WAYS[way](writer, function) == ("stopped early", at)
        return writer.runs

    assert asyncio.run(main()) == at


@AT
def test_the_task_is_as_cancelled_as_after_a_plain_call(at):
    async def main(decorate):
        writer = Writer(at)
        writer.before = lambda: asyncio.current_task().cancel()
        function = decorate(writer.write)
        values = [await function() for _ in range(at if decorate is plain else 1)]
        return values[-1], asyncio.current_task().cancelling(), writer.runs

    def plain(function):
        return function

    assert asyncio.run(main(warmed(iterations=ITERATIONS))) == asyncio.run(main(plain))


def test_a_cancellation_that_the_function_answers_and_takes_back_is_its_own_affair():
    async def main():
        writer = Writer(2)
        writer.before = lambda: asyncio.current_task().cancel()

        async def quiet():
            value = await writer.write()
            if asyncio.current_task().cancelling():
                asyncio.current_task().uncancel()
            return value

        await warmed(iterations=ITERATIONS)(quiet)()
        assert asyncio.current_task().cancelling() == 0

    asyncio.run(main())


@AT
def test_a_stream_that_answers_a_cancellation_is_the_last_one(at):
    async def main():
        runs = 0

        async def stream():
            nonlocal runs
            runs += 1
            yield "a"
            if runs == at:
                asyncio.current_task().cancel()
                try:
                    await asyncio.sleep(FOREVER)
                except asyncio.CancelledError:
                    yield "stopped early"
                    return
            yield "b"

        items = [item async for item in warmed(iterations=ITERATIONS)(stream)()]
        assert items == ["a", "stopped early"]
        assert asyncio.current_task().cancelling() == 1
        return runs

    assert asyncio.run(main()) == at


def test_a_cancellation_that_the_function_passes_on_reaches_the_caller():
    async def main():
        runs = 0

        async def write():
            nonlocal runs
            runs += 1
            if runs == 2:
                asyncio.current_task().cancel()
            await asyncio.sleep(0)
            return runs

        function = warmed(iterations=ITERATIONS)(write)
        with pytest.raises(asyncio.CancelledError):
            await function()
        asyncio.current_task().uncancel()
        assert runs == 2
        assert await function() > 2

    asyncio.run(main())


def test_measure_keeps_the_runs_so_far_and_says_why_it_ended():
    async def main():
        writer = Writer(1 + 1 + 3)
        writer.before = lambda: asyncio.current_task().cancel()
        report = await warmed(iterations=1, measurements=9)(writer.write).measure()
        assert writer.runs == 5
        assert len(report.runs) in (4, 5)  # the answered one is a run, and no sample
        assert report.failure is None
        assert "interrupt_answered" in [reason.kind for reason in report.verdict.reasons]
        assert "interrupt" in report.explain().lower()

    asyncio.run(main())


# ---------------------------------------------------------------------------------------------- Ctrl-C


class Loop:
    """Its `at`-th run is interrupted by Ctrl-C, and answers with what it has."""

    def __init__(self, at, answers=True):
        self.at, self.answers, self.runs = at, answers, 0

    def run(self):
        self.runs += 1
        if self.runs != self.at:
            return "whole", self.runs
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if not self.answers:
                raise
            return "stopped early", self.runs
        raise AssertionError("no interrupt came")


@pytest.fixture
def handler():
    """The user's own handler of Ctrl-C, which notes each and raises, as Python's does."""

    def handle(number, frame):
        handle.signals.append(number)
        raise KeyboardInterrupt

    handle.signals = []
    before = signal.signal(signal.SIGINT, handle)
    yield handle
    signal.signal(signal.SIGINT, before)


@AT
def test_a_ctrl_c_that_the_function_answers_ends_the_warm_up(at):
    loop, before = Loop(at), signal.getsignal(signal.SIGINT)
    assert warmed(iterations=ITERATIONS)(loop.run)() == ("stopped early", at)
    assert loop.runs == at
    assert signal.getsignal(signal.SIGINT) is before


@AT
def test_the_users_handler_hears_it_and_is_back_afterwards(at, handler):
    loop = Loop(at)
    assert warmed(iterations=ITERATIONS)(loop.run)() == ("stopped early", at)
    assert handler.signals == [signal.SIGINT]
    assert loop.runs == at
    assert signal.getsignal(signal.SIGINT) is handler


@AT
def test_a_ctrl_c_that_the_function_passes_on_reaches_the_caller(at, handler):
    loop = Loop(at, answers=False)
    with pytest.raises(KeyboardInterrupt):
        warmed(iterations=ITERATIONS)(loop.run)()
    assert handler.signals == [signal.SIGINT]
    assert loop.runs == at
    assert signal.getsignal(signal.SIGINT) is handler


@AT
def test_a_stream_that_answers_ctrl_c_is_the_last_one(at):
    loop = Loop(at)

    def stream():
        yield "a"
        yield loop.run()[0]

    assert list(warmed(iterations=ITERATIONS)(stream)()) == ["a", "stopped early"]
    assert loop.runs == at


def test_a_handler_that_only_notes_it_ends_nothing():
    signals, runs = [], []

    def run():
        runs.append(1)
        signal.raise_signal(signal.SIGINT)
        return len(signals)

    def handle(number, frame):
        signals.append(number)

    before = signal.signal(signal.SIGINT, handle)
    try:
        warmed(iterations=2)(run)()
        assert signal.getsignal(signal.SIGINT) is handle
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(signals) == len(runs)


@pytest.mark.parametrize("how", [signal.SIG_IGN, signal.SIG_DFL])
def test_who_ignores_ctrl_c_goes_on_ignoring_it(how):
    runs = []

    def run():
        runs.append(1)
        if how is signal.SIG_IGN:
            signal.raise_signal(signal.SIGINT)
        return 5

    before = signal.signal(signal.SIGINT, how)
    try:
        assert warmed(iterations=2)(run)() == 5
        assert signal.getsignal(signal.SIGINT) is how
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(runs) == 4


def test_a_handler_that_the_function_sets_is_there_afterwards_as_after_a_plain_call():
    def mine(number, frame):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        warmed(iterations=2)(lambda: signal.signal(signal.SIGINT, mine) and None)()
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_no_handler_is_touched(counted):
    before, found = signal.getsignal(signal.SIGINT), []
    runs = counted(lambda: found.append(signal.getsignal(signal.SIGINT)))
    thread = threading.Thread(target=warmed(iterations=2)(runs), daemon=True)
    thread.start()
    thread.join(20)
    assert found == [before] * 4
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("way", ["decorated", "block"])
def test_measure_keeps_the_runs_until_ctrl_c_and_says_so(way, handler):
    loop = Loop(1 + 1 + 3)
    if way == "decorated":
        report = warmed(iterations=1, measurements=9)(loop.run).measure()
    else:
        with steady_state(iterations=1, measurements=9) as steady:
            report = steady.measure(loop.run)
    assert loop.runs == 5
    assert len(report.runs) in (4, 5)  # the answered one is a run, and no sample
    assert "interrupt_answered" in [reason.kind for reason in report.verdict.reasons]
    assert signal.getsignal(signal.SIGINT) is handler
