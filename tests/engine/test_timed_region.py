"""
The timed region, and the monitor around it: one shared log of clock, fence, monitor and user code.

    measured run:  window+ fence now user fence now window-
    extra run:     fence now user fence now, while the monitor is paused
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from functools import partial

import pytest

from jitwarmup import Phase, State, is_warming, steady_state, warmed
from jitwarmup.host.scope import CURRENT, current
from jitwarmup.testing import FakeClock, RecordingMonitor

EXTRA = "fence now user fence now"
MEASURED = "window+ fence now user fence now window-"
KINDS = ["plain", "coroutine", "generator", "async_generator"]


class Boom(Exception):
    pass


class TimedFunction:
    """A function of each kind that writes into the log, and fails where it is told to."""

    def __init__(self, log, *, fail_at=None, error=Boom) -> None:
        self.log = log
        self.fail_at = fail_at
        self.error = error
        self.runs = 0
        self.monitor = None
        self.paused = []

    def step(self):
        self.runs += 1
        self.log.append("user")
        if self.monitor is not None:
            self.paused.append((is_warming(), self.monitor.paused))
        if self.fail_at == self.runs - 1:
            raise self.error

    def of(self, kind):
        """A function, not a method: a method whose object's lists grow is run once."""
        step = self.step

        def plain():
            step()

        async def coroutine():
            await asyncio.sleep(0)
            step()

        def generator():
            step()
            yield from ()

        async def async_generator():
            await asyncio.sleep(0)
            step()
            for item in ():
                yield item

        return {each.__name__: each for each in (plain, coroutine, generator, async_generator)}[kind]


def carry_out(function, kind):
    """One plain call, to its end."""
    if kind == "plain":
        return function()
    if kind == "coroutine":
        return asyncio.run(function())
    if kind == "generator":
        return list(function())

    async def collect():
        return [item async for item in function()]

    return asyncio.run(collect())


def finish(value):
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


@contextlib.contextmanager
def under(log, **options):
    """A block whose clock and monitor write into the log; what the block itself wrote is not in it."""
    monitor = log.monitor(**options)
    with steady_state(clock=log.clock(), monitor=monitor, iterations=2, measurements=2) as steady:
        log.clear()
        yield steady, monitor
        before = log.copy()
    log[:] = before
    assert monitor.paused == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_call_reads_everything_in_order_and_pauses_the_monitor_for_extra_runs(kind, log) -> None:
    subject = TimedFunction(log)
    function = warmed(subject.of(kind))
    with under(log) as (_, subject.monitor):
        carry_out(function, kind)
        assert log.text() == f"pause {EXTRA} {EXTRA} {EXTRA} resume {MEASURED}"
        log.clear()
        carry_out(function, kind)
        assert log.text() == MEASURED
    assert subject.paused == [(True, 1)] * 3 + [(False, 0)] * 2


@pytest.mark.parametrize("decorated", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_measurement_does_the_same_for_each_of_its_runs(kind, decorated, log) -> None:
    subject = TimedFunction(log)
    function = warmed(subject.of(kind)) if decorated else subject.of(kind)
    with under(log) as (steady, subject.monitor):
        report = finish(steady.measure(function))
    assert log.text() == f"pause {EXTRA} {EXTRA} {EXTRA} resume {MEASURED} {MEASURED}"
    assert subject.paused == [(True, 1)] * 3 + [(False, 0)] * 2
    streams = "generator" in kind
    assert [run.device is None for run in report.measured] == [streams] * 2, (
        "a stream's reading would be its consumer's"
    )
    assert all(run.device is None for run in report.runs[:3])


def test_trials_do_the_same_for_each_pass(log) -> None:
    with under(log) as (steady, monitor):
        paused = []
        for trial in steady.trials():
            with trial:
                log.append("user")
                paused.append((trial.phase, is_warming(), monitor.paused))
    assert log.text() == f"pause {EXTRA} {EXTRA} {EXTRA} resume {MEASURED} {MEASURED}"
    assert paused == [(Phase.VALIDATE, True, 1), *[(Phase.WARM, True, 1)] * 2, *[(Phase.MEASURE, False, 0)] * 2]


def test_a_block_around_a_function_pauses_for_the_warm_up_on_entry_and_times_its_body(log) -> None:
    subject = TimedFunction(log)
    monitor = subject.monitor = log.monitor()
    with steady_state(subject.of("plain"), clock=log.clock(), monitor=monitor, iterations=1):
        log.append("body")
    assert log.text() == f"pause {EXTRA} {EXTRA} resume {MEASURED.replace('user', 'body')}"


def test_items_of_a_stream_are_clocked_and_never_fenced(log) -> None:
    def stream():
        for _ in range(2):
            log.append("user")
            yield

    with under(log):
        for _ in warmed(iterations=0)(stream)():
            log.append("consumer")
    step = "now user now"
    extra = f"fence {step} {step} now fence now"
    live = f"window+ fence {step} consumer {step} consumer now fence now window-"
    assert log.text() == f"pause {extra} {extra} {extra} resume {live}"


@pytest.mark.parametrize("fail_at", [0, 1, 3, 4])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        *itertools.product(KINDS, [Boom, KeyboardInterrupt, asyncio.CancelledError, SystemExit]),
        ("plain", StopIteration),  # in every other kind Python itself turns it into a RuntimeError
    ],
)
def test_a_measurement_that_ends_early_leaves_everything_right(kind, fail_at, error, log) -> None:
    subject = TimedFunction(log, fail_at=fail_at, error=error)
    with under(log) as (steady, subject.monitor):
        if issubclass(error, Exception):
            report = finish(steady.measure(subject.of(kind)))
        else:
            with pytest.raises(error):
                finish(steady.measure(subject.of(kind)))
            (report,) = steady.reports
        assert current().settings is not None, "we are back in the block, not inside a run"
    runs = [EXTRA] * min(3, fail_at + 1) + ["resume"] + [MEASURED] * (fail_at - 2)
    assert log.text() == " ".join(["pause", *runs])
    assert all(paused == warming for warming, paused in subject.paused)
    phase = [Phase.VALIDATE, Phase.WARM, Phase.WARM, Phase.MEASURE, Phase.MEASURE][fail_at]
    assert report.runs[-1].phase is phase
    assert report.runs[-1].outcome == ("error" if issubclass(error, Exception) else "cancelled")
    assert report.runs[-1].error_type == error.__name__
    assert (report.failure is not None) == issubclass(error, Exception)


@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("fail_at", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_call_that_ends_early_leaves_everything_right(kind, fail_at, error, log) -> None:
    subject = TimedFunction(log, fail_at=fail_at, error=error)
    function = warmed(subject.of(kind))
    plainly_instead = error is Boom and fail_at in (1, 2)
    with under(log) as (_, subject.monitor):
        with contextlib.nullcontext() if plainly_instead else pytest.raises(error):
            carry_out(function, kind)
    extra = min(3, fail_at + 1)
    measured = [MEASURED] if plainly_instead or fail_at == 3 else []
    assert log.text() == " ".join(["pause", *[EXTRA] * extra, "resume", *measured])
    assert all(paused == warming for warming, paused in subject.paused)
    states = {0: State.COLD, 3: State.WARM}
    assert function.state is states.get(fail_at, State.FAILED if error is Boom else State.COLD)


@pytest.mark.parametrize("how", ["close", "drop", "throw"])
@pytest.mark.parametrize("items", [0, 1, 2])
def test_a_stream_that_is_left_early_is_closed_in_order(how, items, log, events) -> None:
    def stream():
        try:
            for number in range(3):
                log.append("user")
                yield number
        finally:
            log.append("closed")

    function = warmed(stream)
    with under(log) as (_, monitor):
        list(function())
        log.clear()
        running = function()
        for _ in range(items):
            next(running)
        if how == "close":
            running.close()
        elif how == "drop":
            del running
            gc.collect()
        else:
            with pytest.raises(Boom):
                running.throw(Boom)
        steps = ["now user now"] * items
        assert log.text() == (" ".join(["window+ fence", *steps, "now closed fence now window-"]) if items else "")
        assert monitor.paused == 0
    calls = [entry for entry in events if entry["event"] == "jitwarmup.call"]
    assert [entry["outcome"] for entry in calls[1:]] == ([] if not items else ["error" if how == "throw" else "closed"])
    assert all("error_type" not in entry for entry in calls[1:] if entry["outcome"] == "closed")


def test_an_async_stream_that_is_left_early_is_closed_in_order(log) -> None:
    async def stream():
        try:
            for number in range(3):
                await asyncio.sleep(0)
                log.append("user")
                yield number
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    async def main():
        async for _ in function():
            pass
        log.clear()
        running = function()
        await anext(running)
        await running.aclose()

    function = warmed(stream)
    with under(log):
        asyncio.run(main())
    assert log.text() == "window+ fence now user now now closed fence now window-"


def test_a_cancelled_task_leaves_the_monitor_right_in_every_phase(log) -> None:
    async def run(stop_at):
        started = asyncio.Event()
        runs = []

        async def user():
            runs.append(monitor.paused)
            if len(runs) > stop_at:
                started.set()
                await asyncio.Event().wait()

        async with steady_state(clock=log.clock(), monitor=monitor, iterations=1, measurements=1) as steady:
            task = asyncio.create_task(steady.measure(user))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert monitor.paused == 0
        return runs

    monitor = log.monitor()
    assert [asyncio.run(run(stop_at)) for stop_at in range(3)] == [[1], [1, 1], [1, 1, 0]]


class StubbornFence(FakeClock):
    """A clock whose fence fails when it is asked for the n-th time, as a device does that failed after it was started."""

    def __init__(self, fail_at: int, error: type[BaseException] = Boom) -> None:
        super().__init__()
        self.fail_at = fail_at
        self.error = error

    def fence(self) -> None:
        self.fail_at -= 1
        if self.fail_at == -1:
            raise self.error


@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_fence_after_a_run_raises_is_that_runs_own_failure(kind, error, log) -> None:
    subject = TimedFunction(log)
    monitor = log.monitor()
    function = warmed(iterations=0)(subject.of(kind))
    for fail_at in range(4):  # before and after the validation run, before and after the timed run
        function.reset()
        with steady_state(monitor=monitor), steady_state(clock=StubbornFence(fail_at + 1, error)):
            with pytest.raises(error):
                carry_out(function, kind)
            assert current().settings is not None
        assert monitor.paused == 0
    assert subject.runs == 0 + 1 + 1 + 2
    assert log.count("window+") == log.count("window-") == 4 * 2 + 2


def test_an_interrupt_at_the_fence_after_a_run_does_not_turn_later_calls_plain(log) -> None:
    subject = TimedFunction(log)
    function = warmed(iterations=0)(subject.of("plain"))
    with steady_state(clock=StubbornFence(2, KeyboardInterrupt)), pytest.raises(KeyboardInterrupt):
        function()
    assert current() is None
    function()
    assert function.state is State.WARM


def test_an_interrupt_at_the_fence_after_a_run_goes_before_what_the_function_raised(log) -> None:
    @warmed
    def failing() -> None:
        raise Boom

    with steady_state(clock=StubbornFence(2, KeyboardInterrupt)), pytest.raises(KeyboardInterrupt):
        failing()
    assert failing.state is State.COLD


def test_what_the_fence_after_a_body_raises_passes_and_is_in_the_report(events) -> None:
    steady = steady_state(clock=StubbornFence(1))
    with pytest.raises(Boom), steady:
        pass
    assert steady.block.outcome == "error"
    assert steady.reports[0].failure.type == "Boom"
    assert events[-1]["event"] == "jitwarmup.block.failed"


def test_what_the_fence_after_a_trial_raises_passes_and_is_in_the_report() -> None:
    steady = steady_state(clock=StubbornFence(2))

    def use():
        with steady:
            for trial in steady.trials():
                with trial:
                    pass

    with pytest.raises(Boom):
        use()
    assert [report.failure.type for report in steady.reports] == ["Boom", "Boom"]


def test_a_fence_that_fails_on_entry_stops_the_monitor_again(log) -> None:
    monitor = log.monitor(running=False)
    with pytest.raises(Boom), steady_state(clock=StubbornFence(0), monitor=monitor):
        pytest.fail("the body must not run")
    assert log.text() == "start window+ window- stop"


@pytest.mark.parametrize("error", [Boom, ValueError])
@pytest.mark.parametrize("broken", ["start", "stop", "pause", "resume", "window+", "window-"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_monitor_that_raises_anywhere_costs_its_reading_and_nothing_else(kind, broken, error, log) -> None:
    def fail(what):
        if what == broken:
            raise error("a secret")

    subject = TimedFunction(log)
    monitor = RecordingMonitor(fail=fail, running=broken not in ("start", "stop"))
    with steady_state(monitor=monitor, iterations=1, measurements=2) as steady:
        report = finish(steady.measure(subject.of(kind)))
        carry_out(warmed(iterations=1)(subject.of(kind)), kind)
    assert subject.runs == 4 + 3
    assert report.failure is None
    assert report.latency.n == 2
    if broken.startswith("window"):
        assert steady.block.device is None
        assert all(run.device is None for run in report.runs)
        assert any(error.__name__ in why for name, why in report.verdict.unwatched.items() if "monitor" in name)
    assert "a secret" not in str(report.to_dict())


def test_a_block_starts_and_stops_a_monitor_that_does_not_run_and_leaves_a_running_one_alone(log) -> None:
    with steady_state(monitor=log.monitor(running=False)):
        assert log.text() == "start window+"
    assert log.text() == "start window+ window- stop"
    log.clear()
    with steady_state(monitor=log.monitor(running=True)):
        pass
    assert log.text() == "window+ window-"
    log.clear()
    warmed(monitor=log.monitor(running=False), iterations=0)(lambda: None)()
    assert log.text() == "pause resume window+ window-", "a decorator never starts or stops one"


def test_one_monitor_paused_by_two_functions_resumes_when_both_are_done(log) -> None:
    monitor = log.monitor()

    async def main():
        gates = asyncio.Event(), asyncio.Event()
        functions = [warmed(monitor=monitor, iterations=0)(partial(asyncio.Event.wait, gate)) for gate in gates]
        tasks = [asyncio.create_task(function()) for function in functions]
        await asyncio.sleep(0)
        assert log.text() == "pause"
        gates[0].set()
        await tasks[0]
        assert log.text() == "pause", "the window of the first was not opened: the second still warms"
        gates[1].set()
        await tasks[1]

    asyncio.run(main())
    assert log.text() == "pause resume window+ window-"


def test_a_reading_cut_by_another_warm_up_says_so(log) -> None:
    other = warmed(monitor=(monitor := log.monitor()), iterations=0)(lambda: None)
    with steady_state(monitor=monitor) as steady:
        other()
    assert steady.block.device.status == "partial"
    assert steady.block.device.missing["window"] == "interrupted by the warm-up of another function"


def test_durations_are_clock_nanoseconds_and_started_at_is_epoch_seconds(log) -> None:
    clock = FakeClock()
    with steady_state(clock=clock, iterations=1, measurements=3) as steady:
        report = steady.measure(lambda: clock.advance(1.5))
        clock.advance(100)
    assert {run.duration_ns for run in report.runs} == {1_500_000_000}
    assert report.latency_s == 1.5
    assert all(1.5e9 < run.started_at < 5e9 for run in report.runs)
    assert steady.block.duration_s == 5 * 1.5 + 100, "a block includes all that its body paid"


def test_only_time_inside_a_streams_steps_counts() -> None:
    clock = FakeClock()

    def stream():
        for seconds in (3, 1, 2):
            clock.advance(seconds)
            yield seconds
        clock.advance(0.5)

    function = warmed(iterations=0)(stream)
    with steady_state(clock=clock, measurements=1) as steady:
        for _ in function():
            clock.advance(1000)
        report = steady.measure(function)
    (run,) = report.measured
    assert run.duration_s == 6.5
    assert (run.first_item_s, run.item_gaps_s, run.items) == (3.0, (1.0, 2.0), 3)
    assert report.first_item.median_s == 3.0
    assert report.item_gap.n == 2
    assert report.items_per_s == 3 / 6.5


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_event_of_a_streamed_call_holds_none_of_the_consumers_time(asynchronous, events) -> None:
    clock = FakeClock()

    def stream():
        given = 0
        while given is not None:
            clock.advance(1)
            given = yield

    async def async_stream():
        given = 0
        while given is not None:
            clock.advance(1)
            given = yield

    def consume():
        running = warmed(iterations=0, drain=2)(stream)()
        next(running)
        for number in range(4):
            clock.advance(1000)
            running.send(number)
        clock.advance(1000)
        with pytest.raises(StopIteration):
            running.send(None)

    async def aconsume():
        running = warmed(iterations=0, drain=2)(async_stream)()
        await anext(running)
        for number in range(4):
            clock.advance(1000)
            await running.asend(number)
        clock.advance(1000)
        with pytest.raises(StopAsyncIteration):
            await running.asend(None)

    with steady_state(clock=clock):
        asyncio.run(aconsume()) if asynchronous else consume()
    (call,) = events.named("jitwarmup.call")
    assert call["duration_s"] == 5.0
    assert call["items"] == 5
    assert call["first_item_s"] == 1.0


def test_nothing_of_a_window_is_left_behind_in_the_context() -> None:
    function = warmed(lambda: None)
    function()
    assert CURRENT.get() is None


def test_a_monitor_is_told_a_measured_run_from_a_call_in_service(log):
    """Only around measured runs may a monitor take its time (process lists, the driver's next sample)."""
    asked = []

    class DeviceReader(RecordingMonitor):
        def window(self, name):
            asked.append(name)
            return super().window(name)

    function = warmed(iterations=1, measurements=2, monitor=DeviceReader(log))(lambda: 1)
    function()
    function()
    function.measure()
    with steady_state(monitor=DeviceReader(log)):
        pass
    assert asked == ["call", "call", "measure", "measure", "block"]
