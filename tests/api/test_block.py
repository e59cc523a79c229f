"""Blocks and inline trials: settings, reports, and everything that can be done to them in the wrong order."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading

import pytest

from jitwarmup import (
    ArgumentError,
    MeasurementFailed,
    OneTimeWork,
    Overlap,
    Phase,
    State,
    is_warming,
    steady_state,
    until_steady,
    warmed,
)
from jitwarmup.probes import Observation
from jitwarmup.records.protocols import Exchanged
from jitwarmup.testing import FakeClock, capture_events


class Boom(Exception):
    pass


class Counter:
    def __init__(self):
        self.runs = 0

    def __call__(self, *args, **kwargs):
        self.runs += 1
        return self.runs


def warm_ups() -> int:
    """How many warm-up runs a function makes here: 5, unless a block around says otherwise."""
    return len(warmed(lambda: None).warm().runs) - 1


def nothing_is_left() -> bool:
    """Whether neither a run nor a block is around: a call here warms up and is timed, and belongs to no report."""
    function = warmed(lambda: None)
    with capture_events() as events:
        function()
    return function.state is State.WARM and warm_ups() == 5 and "report_id" not in events[-1]


@pytest.fixture
def user():
    return Counter()


def test_a_block_without_a_function_times_its_body_as_it_is(user, names) -> None:
    with steady_state() as steady:
        assert steady.block is None
        user()
    assert user.runs == 1
    assert steady.block.phase is Phase.MEASURE
    assert steady.block.outcome == "ok"
    assert steady.block.duration_ns > 0
    assert steady.reports == ()
    assert names() == ["block.completed"]


def test_a_block_around_a_function_warms_it_on_entry_and_does_not_call_it_again(user, names, events) -> None:
    with steady_state(user, 1, iterations=3) as steady:
        assert user.runs == 4
        assert names() == ["validation.completed", "warmup.completed"]
    assert user.runs == 4
    assert names()[2:] == ["block.completed"]
    (report,) = steady.reports
    assert [len(report.of_phase(phase)) for phase in Phase] == [1, 3, 1]
    assert report.measured == (steady.block,)
    assert report.latency_s == steady.block.duration_s
    assert {entry["report_id"] for entry in events} == {report.report_id}


def test_keyword_arguments_of_the_function_go_through_a_partial() -> None:
    seen = []
    with steady_state(functools.partial(lambda *args, **kwargs: seen.append((args, kwargs)), k=1), 2, iterations=0):
        pass
    assert seen == [((2,), {"k": 1})]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_async_with_takes_functions_of_every_kind(asynchronous) -> None:
    runs = []

    async def user():
        runs.append(is_warming())

    async def main():
        async with steady_state(user if asynchronous else functools.partial(runs.append, True), iterations=2) as steady:
            assert runs == [True] * 3
            await asyncio.sleep(0)
        return steady

    assert asyncio.run(main()).block.outcome == "ok"


def test_a_plain_with_refuses_async_functions_before_anything_is_run() -> None:
    async def user(): ...

    async def stream():
        yield

    for function, kind in ((user, "async def"), (stream, "async generator")):
        steady = steady_state(function)
        with pytest.raises(ArgumentError, match=rf"got an {kind} function, which it cannot await; wanted 'async with"):
            steady.__enter__()

        async def main(steady=steady):
            async with steady:
                pass

        asyncio.run(main())


@pytest.mark.parametrize("again", ["inside", "after", "async"])
def test_entering_a_block_twice_is_refused(again) -> None:
    steady = steady_state()

    async def enter():
        async with steady:
            pass

    with steady:
        if again == "inside":
            with pytest.raises(Overlap, match="was entered before; wanted one 'with' for each"):
                steady.__enter__()
    with pytest.raises(Overlap, match="make a new one"):
        asyncio.run(enter()) if again == "async" else steady.__enter__()
    assert nothing_is_left()


def test_measure_and_trials_are_for_open_blocks_only(user) -> None:
    steady = steady_state()
    for _ in range(2):
        with pytest.raises(ArgumentError, match="is not open; wanted its measure"):
            steady.measure(user)
        with pytest.raises(ArgumentError, match="is not open"):
            steady.trials()
        if steady.block is None:
            with steady:
                pass
    steady.__exit__(None, None, None)
    assert user.runs == 0


def test_what_cannot_be_measured_is_refused(user) -> None:
    with steady_state() as steady:
        for wrong, words in ((3, "got 3; wanted a function"), (Counter, "got the class Counter"), ("x", "got 'x'")):
            with pytest.raises(ArgumentError, match=words):
                steady.measure(wrong)
    for wrong in (3, Counter, classmethod(user)):
        with pytest.raises(ArgumentError, match="got "):
            steady_state(wrong)
    with pytest.raises(ArgumentError, match="got arguments without a function"):
        steady_state(None, 1)


def test_explicit_settings_hold_inner_over_outer_over_decorator_over_default() -> None:
    def runs(**options):
        user = Counter()
        return user, warmed(**options)(user)

    with steady_state(iterations=1, measurements=4) as outer:
        user, function = runs(iterations=7, measurements=9)
        function()
        assert user.runs == 1 + 1 + 1
        with steady_state(iterations=3) as inner:
            user, function = runs(iterations=7)
            function()
            assert user.runs == 1 + 3 + 1
            assert function.measure().latency.n == 4, "what the inner block does not say, the outer one does"
            assert inner.measure(Counter()).latency.n == 4
            assert len(inner.measure(Counter()).warmup) == 3
            assert len(outer.measure(Counter()).warmup) == 1
        user, function = runs()
        function()
        assert user.runs == 3
    user, function = runs(iterations=7)
    function()
    assert user.runs == 1 + 7 + 1


def test_the_blocks_monitor_log_and_clock_are_used_by_warmed_functions_inside(log) -> None:
    class Log(list):
        def emit(self, event, level, fields):
            if event == "jitwarmup.call":
                self.append(fields)

    calls, clock = Log(), FakeClock()
    monitor, own = log.monitor(), log.monitor()
    function = warmed(iterations=0, monitor=own)(lambda: clock.advance(2))
    with steady_state(monitor=monitor, log=calls, clock=clock):
        function()
    assert calls[0]["duration_s"] == 2.0
    assert calls[0]["device_uuid"] == "fake"
    assert monitor.log is own.log
    with steady_state(monitor=None, log=calls, clock=clock):
        function()
    assert "device_uuid" not in calls[1], "None given explicitly is a setting too"


def test_every_event_inside_a_block_carries_its_report_id(events) -> None:
    function = warmed(iterations=0)(lambda: None)
    with steady_state(name="mine") as steady:
        function()
        function()
        report = steady.measure(lambda: None)
    block = events.named("jitwarmup.block.completed")[0]
    calls = events.named("jitwarmup.call")
    assert [call["report_id"] for call in calls] == [block["report_id"]] * 2
    assert events.named("jitwarmup.warmup.completed")[0]["report_id"] == block["report_id"]
    assert events.named("jitwarmup.measurement.completed")[0]["report_id"] == report.report_id != block["report_id"]
    assert (block["callable"], block["label"]) == ("mine", "mine")
    function()
    assert "report_id" not in events[-1], "outside it belongs to nothing"


def test_a_name_stands_in_the_place_of_the_functions_own(events) -> None:
    with steady_state(name="mine", iterations=0, measurements=1) as steady:
        assert steady.measure(Counter()).callable == "mine"
        inner = warmed(iterations=0)(lambda: None)
        inner()
        for trial in steady.trials():
            with trial:
                pass
    assert steady.reports[-1].callable == "mine"
    assert events.named("jitwarmup.measurement.completed")[0]["callable"] == "mine"
    assert events.named("jitwarmup.call")[0]["callable"].endswith("<lambda>"), "calls inside keep theirs"
    with steady_state(Counter(), name="other", iterations=0):
        pass
    assert events.named("jitwarmup.block.completed")[-1]["callable"] == "other"


def test_an_exception_in_a_body_passes_and_its_report_with_failure_is_in_reports(names) -> None:
    steady, error = steady_state(), Boom("x")
    with pytest.raises(Boom) as caught, steady:
        raise error
    assert caught.value is error
    (report,) = steady.reports
    assert report.failure.type == "Boom"
    assert report.latency_s == -1.0
    assert steady.block.outcome == "error"
    assert names() == ["block.failed"]
    assert nothing_is_left()


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_an_interrupt_in_a_body_passes_too(error, names) -> None:
    steady = steady_state(lambda: None, iterations=0)
    with pytest.raises(error), steady:
        raise error
    assert steady.block.outcome == "cancelled"
    assert names()[-1] == "block.failed"
    assert nothing_is_left()


def test_a_function_that_fails_on_entry_raises_there_and_the_body_never_runs(log, names) -> None:
    def user():
        raise Boom

    monitor = log.monitor(running=False)
    with pytest.raises(Boom), steady_state(user, monitor=monitor):
        pytest.fail("the body must not run")
    assert names() == ["validation.failed", "block.failed"]
    assert log.text() == "start pause resume stop"
    assert nothing_is_left()
    with pytest.raises(ArgumentError, match="an iterator"), steady_state(user, iter(())):
        pytest.fail("the body must not run")


def test_a_warmed_function_that_is_measured_is_warm_afterwards_and_its_wrapped_one_was_run(user, names) -> None:
    function = warmed(user)
    with steady_state(iterations=1, measurements=2) as steady:
        steady.measure(function, 1)
    assert user.runs == 4
    assert function.state is State.WARM
    assert names().count("call") == 0, "within measure there is no line for each call"
    function(1)
    assert user.runs == 5


def test_methods_are_measured_bound() -> None:
    class Model:
        @warmed
        def method(self, x):
            return (self, x)

    model = Model()
    with steady_state(iterations=0, measurements=1) as steady:
        assert steady.measure(model.method, 1).failure is None
        assert steady.measure(Model.method, model, x=1).failure is None
    assert model.method.state is State.WARM


def test_tasks_threads_and_generators_that_outlive_a_block_are_harmless(user) -> None:
    function = warmed(iterations=0)(user)

    def generator():
        while True:
            yield warm_ups()

    async def later(gate):
        await gate.wait()
        function()
        return warm_ups()

    async def main():
        gate = asyncio.Event()
        with steady_state(iterations=3):
            task = asyncio.create_task(later(gate))
            await asyncio.sleep(0)
            running = generator()
            assert next(running) == 3
            thread = threading.Thread(target=function)
        gate.set()
        assert await task == 5
        assert next(running) == 5
        thread.start()
        thread.join()
        running.close()

    asyncio.run(main())
    assert user.runs == 2 + 1


def test_a_generator_that_opens_a_block_and_is_left_leaves_nothing_behind() -> None:
    def generator():
        with steady_state(iterations=1):
            yield 1

    running = generator()
    next(running)
    del running
    gc.collect()
    assert nothing_is_left()


class Neighbour:
    """Two ranks, of which the other says what this one says; ``interrupt`` comes while it is waited for."""

    rank, members, active, interrupt = 0, (0, 1), True, False

    def exchange(self, message):
        return Answer(self, message)

    def leave(self, reason):
        self.left = reason


class Answer:
    def __init__(self, ranks, message):
        self.ranks, self.message = ranks, message

    def block(self):
        if self.ranks.interrupt:
            raise KeyboardInterrupt
        return Exchanged(messages=(self.message, self.message))


def test_interrupted_while_it_waits_for_other_ranks_at_its_end_a_block_still_knows_its_body(names) -> None:
    ranks = Neighbour()
    steady = steady_state(lambda: None, iterations=1, ranks=ranks)
    with pytest.raises(KeyboardInterrupt), steady:
        ranks.interrupt = True
    assert steady.block.phase is Phase.MEASURE
    assert ranks.left == "left early, after 2 runs"
    assert names()[-1] == "block.completed"
    assert nothing_is_left()


def test_blocks_may_be_left_in_any_order() -> None:
    one, two = steady_state(iterations=1), steady_state(iterations=2)
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert warm_ups() == 2
    two.__exit__(None, None, None)
    assert nothing_is_left()


# ------------------------------------------------------------------ trials


def test_trials_are_the_same_plan_over_an_inline_block(names, events) -> None:
    clock, phases = FakeClock(), []
    with steady_state(clock=clock, iterations=2, measurements=3, name="loop") as steady:
        for trial in steady.trials():
            with trial:
                phases.append((trial.phase, is_warming()))
                clock.advance(1 if is_warming() else 2)
            clock.advance(50)
    assert phases == [(Phase.VALIDATE, True), *[(Phase.WARM, True)] * 2, *[(Phase.MEASURE, False)] * 3]
    (report,) = steady.reports
    assert report.latency_s == 2.0
    assert report.callable == "loop"
    assert names() == ["validation.completed", "warmup.completed", "measurement.completed", "block.completed"]
    assert events[2]["report_id"] == report.report_id
    assert steady.block.duration_s == 3 + 6 + 300


def test_async_trials() -> None:
    async def main():
        async with steady_state(iterations=1, measurements=2) as steady:
            for trial in steady.trials():
                async with trial:
                    await asyncio.sleep(0)
        return steady.reports[0]

    assert asyncio.run(main()).latency.n == 2


@pytest.mark.parametrize("passes", [1, 2, 3, 4])
def test_leaving_trials_by_break_gives_an_undecided_report(passes, names) -> None:
    with steady_state(iterations=1, measurements=3) as steady:
        for count, trial in enumerate(steady.trials(), 1):
            with trial:
                pass
            if count == passes:
                break
    (report,) = steady.reports
    assert len(report.runs) == passes, "the pass that was left by break was made all the same"
    assert report.verdict.state == "undecided"
    assert report.verdict.reasons[0].kind == "left_early"
    assert report.failure is None
    assert names().count("measurement.completed") == 1


def test_a_break_after_the_last_pass_is_no_early_leave() -> None:
    with steady_state(iterations=0, measurements=1) as steady:
        for count, trial in enumerate(steady.trials()):
            with trial:
                pass
            if count == 1:
                break
    (report,) = steady.reports
    assert report.latency.n == 1
    assert "left_early" not in [reason.kind for reason in report.verdict.reasons]


def test_a_loop_that_is_kept_is_concluded_when_the_block_ends() -> None:
    with steady_state(iterations=1) as steady:
        loop = steady.trials()
        with next(loop):
            pass
    (report,) = steady.reports
    assert report.verdict.reasons[0].kind == "left_early"
    with pytest.raises(StopIteration):
        next(loop)


def test_a_loop_that_is_left_before_its_first_trial_is_nothing(names) -> None:
    with steady_state() as steady:
        for _ in steady.trials():
            break
        for trial in steady.trials():
            with trial:
                break
    assert len(steady.reports) == 1
    assert names().count("measurement.completed") == 1


@pytest.mark.parametrize("fail_at", [0, 1, 3])
@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
def test_an_exception_in_a_trial_passes_and_its_report_is_in_reports(fail_at, error, names) -> None:
    steady = steady_state(iterations=2, measurements=2)

    def use():
        with steady:
            for count, trial in enumerate(steady.trials()):
                with trial:
                    if count == fail_at:
                        raise error

    with pytest.raises(error):
        use()
    report = steady.reports[0]
    assert len(report.runs) == fail_at + 1
    assert (report.failure is not None) == (error is Boom)
    assert names()[-2:] == ["measurement.failed", "block.failed"]
    assert nothing_is_left()


def test_an_exception_outside_of_the_trial_but_in_the_loop_leaves_it_early() -> None:
    steady = steady_state(iterations=1)

    def use():
        with steady:
            for trial in steady.trials():
                with trial:
                    pass
                raise Boom

    with pytest.raises(Boom):
        use()
    assert steady.reports[0].verdict.reasons[0].kind == "left_early"


def test_a_trial_that_is_skipped_is_refused_with_the_way_out() -> None:
    with steady_state(iterations=1) as steady:
        loop = steady.trials()
        next(loop)
        with pytest.raises(ArgumentError, match=r"a trial \(validate\) was skipped; wanted 'with trial:'"):
            next(loop)
        for trial in steady.trials():
            with trial:
                break
    assert nothing_is_left()


def test_a_trial_used_outside_its_loop_or_twice_is_refused() -> None:
    with steady_state(iterations=0, measurements=1) as steady:
        kept = []
        for trial in steady.trials():
            kept.append(trial)
            with trial:
                with pytest.raises(Overlap, match="this trial was entered before"):
                    trial.__enter__()
            with pytest.raises(Overlap, match="this trial was entered before"):
                trial.__enter__()
        for trial in kept:
            with pytest.raises(Overlap):
                trial.__enter__()
        loop = steady.trials()
        unused = next(loop)
        loop.close()
        with pytest.raises(ArgumentError, match="used outside its loop; wanted 'for trial in"):
            unused.__enter__()
        unused.__exit__(None, None, None)


def test_two_measurements_in_one_block_at_once_are_refused(user) -> None:
    with steady_state(iterations=0, measurements=1) as steady:
        for trial in steady.trials():
            with trial:
                with pytest.raises(Overlap, match="measuring already; wanted one measurement at a time"):
                    steady.measure(user)
            with pytest.raises(Overlap, match="measuring already"):
                next(steady.trials())
        assert steady.measure(user).latency.n == 1, "afterwards it is free again"
    assert user.runs == 2


def test_until_steady_and_budget_hold_in_blocks_too() -> None:
    clock = FakeClock()
    with steady_state(clock=clock, iterations=until_steady(at_least=2, at_most=6), measurements=2) as steady:
        report = steady.measure(lambda: clock.advance(1))
    assert report.decision.state == "proven"
    assert len(report.warmup) <= 6
    with steady_state(clock=clock, budget_s=2.5, measurements=1) as steady:
        report = steady.measure(lambda: clock.advance(1))
    assert len(report.warmup) == 2, "a run that has begun is not interrupted"
    assert report.decision.path == "budget"


def work(kind="dynamo.recompile", **more):
    return Observation(work=(OneTimeWork(kind=kind, **more),))


def test_one_time_work_marks_measured_runs_and_the_clean_ones_make_the_summary(watch) -> None:
    clock = FakeClock()
    watch.seen = [Observation(), Observation(), work(), Observation(), Observation()]
    with steady_state(clock=clock, iterations=0, measurements=4) as steady:
        report = steady.measure(lambda: clock.advance(5 if len(watch.seen) == 3 else 1))
    assert [run.contaminated for run in report.measured] == [False, True, False, False]
    assert (report.latency.n, report.latency_all.n) == (3, 4)
    assert (report.latency.max_s, report.latency_all.max_s) == (1.0, 5.0)
    assert report.latency_s == 1.0
    assert report.verdict.watched == ("scripted",)
    assert report.verdict.unwatched == {"absent": "not loaded"}


def test_where_every_run_is_contaminated_latency_is_the_median_of_all(watch) -> None:
    clock, ticks = FakeClock(), iter(range(10))
    watch.seen = [Observation(), *(work(scope="own") for _ in range(3))]
    with steady_state(clock=clock, iterations=0, measurements=3) as steady:
        report = steady.measure(lambda: clock.advance(next(ticks)))
    assert report.latency.n == 0
    assert report.latency_s == report.latency_all.median_s == 2.0


def test_redo_voids_measured_runs_with_one_time_work_and_keeps_them_in_runs(watch, names) -> None:
    watch.seen = [Observation(), Observation(), Observation(), work(), Observation(), Observation(), Observation()]
    with steady_state(iterations=1, measurements=2, on_contamination="redo") as steady:
        report = steady.measure(lambda: None)
    assert [(run.phase, run.discarded) for run in report.runs] == [
        (Phase.VALIDATE, False),
        (Phase.WARM, False),
        (Phase.MEASURE, True),
        (Phase.MEASURE, True),
        (Phase.WARM, False),
        (Phase.MEASURE, False),
        (Phase.MEASURE, False),
    ]
    assert [run.index for run in report.runs if run.phase is Phase.MEASURE] == [0, 1, 2, 3]
    assert report.latency.n == 2
    assert names().count("measurement.completed") == 1


def test_one_time_work_on_a_call_after_warm_up_is_said(watch, events) -> None:
    function = warmed(iterations=0)(lambda: None)
    function()
    watch.seen = [work(reason="size of x changed from 1 to 2")]
    function()
    (lost,) = events.named("jitwarmup.steady_state.lost")
    assert (lost["reason"], lost["work"]) == ("size of x changed from 1 to 2", ["dynamo.recompile"])
    watch.seen = [work(scope="foreign")]
    function()
    assert len(events.named("jitwarmup.steady_state.lost")) == 1


def test_on_contamination_raise_raises_after_the_canonical_line(watch, names) -> None:
    watch.seen = [Observation(), work(), Observation()]
    with steady_state(iterations=0, measurements=2, on_contamination="raise") as steady:
        with pytest.raises(
            MeasurementFailed, match=r"measured run 0 of .* paid for one-time work \(dynamo.recompile\)"
        ):
            steady.measure(lambda: None)
    assert len(steady.reports) == 1
    assert names().count("measurement.completed") == 1


def test_an_async_block_whose_function_fails_on_entry_raises_there(names) -> None:
    async def user():
        raise Boom

    async def main():
        async with steady_state(user):
            pytest.fail("the body must not run")

    with pytest.raises(Boom):
        asyncio.run(main())
    assert names() == ["validation.failed", "block.failed"]


def test_a_block_around_a_warm_function_runs_its_plan_all_the_same(user) -> None:
    function = warmed(iterations=0)(user)
    function()
    with steady_state(function, iterations=2):
        assert user.runs == 2 + 3
    assert function.state is State.WARM

    def failing():
        raise Boom

    failed = warmed(iterations=0, on_new_key="pass")(failing)
    with pytest.raises(Boom), steady_state(failed):
        pytest.fail("the body must not run")


def test_a_plan_on_a_warm_key_that_fails_leaves_the_key_warm() -> None:
    runs = iter([1, 1, 0, 1])
    function = warmed(iterations=0)(lambda: 1 / next(runs))
    function()
    assert function.measure().failure.phase is Phase.VALIDATE
    assert function.state is State.WARM
