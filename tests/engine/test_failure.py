"""What fails, and to whom it is told: every way of failing of the contract."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from jitwarmup import ArgumentError, JitwarmupError, MeasurementFailed, Phase, Report, State, steady_state, warmed


class Boom(Exception):
    pass


class Failing:
    """Fails in the runs that it is told of, counted from 0; each failure is an exception of its own."""

    def __init__(self, *fail_at, error=Boom) -> None:
        self.fail_at = set(fail_at)
        self.error = error
        self.runs = 0
        self.raised = []

    def __call__(self, *args):
        run, self.runs = self.runs, self.runs + 1
        if run in self.fail_at:
            self.raised.append(self.error(f"in run {run}"))
            raise self.raised[-1]
        return run


def test_the_validation_runs_exception_reaches_its_caller_untouched_and_the_next_call_tries_again(
    events, names
) -> None:
    user = Failing(0)
    function = warmed(user)
    with pytest.raises(Boom) as caught:
        function()
    assert caught.value is user.raised[0]
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert user.runs == 1, "nothing is warmed"
    assert names() == ["validation.failed"]
    (failed,) = events
    assert (failed["latency_s"], failed["error_type"], failed["phase"], failed["level"]) == (
        -1.0,
        "Boom",
        "validate",
        "error",
    )
    assert function.state is State.COLD
    assert function() == 7
    assert function.ready


def test_a_failing_extra_run_of_a_plain_call_marks_the_key_failed_and_gives_the_caller_one_plain_run(
    events, names
) -> None:
    user = Failing(3)
    function = warmed(user)
    assert function() == 4, "one validation, two warm-ups, the failing one, one plain run"
    assert function.state is State.FAILED
    assert not function.ready
    assert names() == ["validation.completed", "warmup.failed", "call"]
    failed = events[1]
    assert (failed["phase"], failed["index"], failed["error_type"], failed["level"]) == ("warm", 2, "Boom", "warning")
    assert [function(), function()] == [5, 6], "calls of a failed key stay plain"
    assert function.state is State.FAILED
    function.warm()
    assert user.runs == 7 + 6
    assert function.state is State.WARM
    assert function.ready


def test_the_caller_whose_warm_up_failed_gets_its_own_runs_exception() -> None:
    user = Failing(3, 4)
    with pytest.raises(Boom) as caught:
        warmed(user)()
    assert caught.value is user.raised[1]


def test_warm_raises_what_a_run_raised_and_the_key_is_failed_or_cold() -> None:
    for fail_at, state in ((0, State.COLD), (2, State.FAILED)):
        user = Failing(fail_at)
        function = warmed(user)
        with pytest.raises(Boom) as caught:
            function.warm()
        assert caught.value is user.raised[0]
        assert function.state is state


@pytest.mark.parametrize("fail_at", [0, 3, 6, 25])
def test_measure_never_raises_for_an_exception_of_the_function(fail_at, events, names) -> None:
    user = Failing(fail_at)
    report = warmed(user).measure()
    phase = Phase.VALIDATE if fail_at == 0 else Phase.WARM if fail_at < 6 else Phase.MEASURE
    assert user.runs == fail_at + 1
    failure = report.failure
    assert (failure.phase, failure.type, failure.message) == (phase, "Boom", f"in run {fail_at}")
    assert failure.index == {0: 0, 3: 2, 6: 0, 25: 19}[fail_at]
    assert "Boom: in run" in failure.traceback
    assert report.verdict.state == "invalid"
    assert report.verdict.reasons[0].kind == f"failed_in_{phase}"
    assert names()[-1] == "measurement.failed"
    assert names().count("measurement.failed") == 1
    assert events[-1]["phase"] == phase
    with pytest.raises(Boom) as caught:
        report.raise_for_failure()
    assert caught.value is user.raised[0]
    assert report.latency.n == max(0, fail_at - 6), "samples taken before the failure are kept"


@pytest.mark.parametrize(("fail_at", "sentinel"), [(0, True), (3, True), (6, True), (7, False)])
def test_latency_is_minus_one_exactly_when_it_failed_without_a_clean_run(fail_at, sentinel) -> None:
    report = warmed(Failing(fail_at)).measure()
    assert (report.latency_s == -1.0) is sentinel
    assert report.latency_s == -1.0 or report.latency_s == report.latency.median_s > 0


def test_a_loaded_report_raises_measurement_failed_in_place_of_the_original() -> None:
    report = Report.from_dict(warmed(Failing(0)).measure().to_dict())
    with pytest.raises(MeasurementFailed, match=r"phase validate run 0 with Boom: in run 0; .*traceback"):
        report.raise_for_failure()
    good = warmed(Failing()).measure()
    good.raise_for_failure()
    Report.from_dict(good.to_dict()).raise_for_failure()


def test_the_frames_of_a_failure_are_cleared_so_that_no_value_is_kept_alive() -> None:
    import weakref

    class Tensor:
        pass

    refs = []

    def user():
        big = Tensor()
        refs.append(weakref.ref(big))
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise Boom("outer") from inner

    report = warmed(user).measure()
    assert refs[0]() is None
    assert report.failure.exception.__traceback__ is not None


def test_an_exception_whose_text_cannot_be_made_is_a_failure_like_any_other() -> None:
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no words")

        def __bool__(self):
            return False

    report = warmed(Failing(0, error=Mute)).measure()
    assert report.failure.type == "Mute"
    assert isinstance(report.failure.message, str)
    with pytest.raises(Mute):
        report.raise_for_failure()
    with pytest.raises(Mute):
        warmed(Failing(0, error=Mute))()


def test_accept_makes_a_wrong_value_a_failed_validation(events, names) -> None:
    user = Failing()
    function = warmed(accept=lambda value: value > 2)(user)
    assert function() == 0, "the caller of a plain call gets what its one run gave"
    assert user.runs == 1
    assert names() == ["validation.failed"]
    assert events[0]["error_type"] == "NotAccepted"
    assert function.state is State.COLD
    assert [function(), function()] == [1, 2]
    assert function() == 9
    assert function.state is State.WARM


def test_accept_with_fresh_still_gives_the_caller_the_run_of_its_own_arguments() -> None:
    user = []
    function = warmed(accept=lambda value: value == "x", fresh=lambda *args: (("made",), {}))(
        lambda x: user.append(x) or x
    )
    assert function("mine") == "mine"
    assert user == ["made", "mine"]


@pytest.mark.parametrize("kind", ["generator", "async_generator"])
def test_a_stream_whose_value_is_refused_still_reaches_its_caller(kind) -> None:
    runs = []

    def stream():
        runs.append(1)
        yield from "abc"

    async def async_stream():
        runs.append(1)
        for item in "abc":
            yield item

    async def collect():
        return [item async for item in warmed(accept=lambda value: False)(async_stream)()]

    got = list(warmed(accept=lambda value: False)(stream)()) if kind == "generator" else asyncio.run(collect())
    assert "".join(got) == "abc"
    assert len(runs) == 1


def test_accept_in_warm_and_measure_says_what_was_refused() -> None:
    function = warmed(accept=lambda value: False)(Failing())
    with pytest.raises(MeasurementFailed, match=r"accept= refused the value of the validation run of .*Failing"):
        function.warm()
    report = function.measure()
    assert report.failure.type == "NotAccepted"
    assert report.failure.phase is Phase.VALIDATE
    assert report.latency_s == -1.0
    assert len(report.runs) == 1
    with pytest.raises(MeasurementFailed):
        report.raise_for_failure()


def test_accept_of_a_block_is_for_what_the_block_itself_measures() -> None:
    user = Failing()
    with steady_state(accept=lambda value: False, iterations=0) as steady:
        assert steady.measure(user).failure.type == "NotAccepted"
        assert warmed(user)() == 2, "calls inside are not its business"
        with contextlib.suppress(StopIteration):
            for trial in steady.trials():
                with trial:
                    pass
    assert steady.reports[-1].failure is None, "an inline block has no value that could be refused"
    with pytest.raises(MeasurementFailed, match="accept= refused"):
        with steady_state(user, accept=lambda value: False):
            pytest.fail("the body must not run")


def test_an_accept_that_raises_is_a_failed_validation_with_its_own_exception(names) -> None:
    function = warmed(accept=lambda value: 1 / value)(Failing())
    with pytest.raises(ZeroDivisionError):
        function()
    assert names() == ["validation.failed"]
    assert function.state is State.COLD
    assert function() == 7
    report = warmed(accept=lambda value: 1 / value)(Failing()).measure()
    assert report.failure.type == "ZeroDivisionError"
    assert report.latency_s == -1.0


async def coroutine(): ...


async def async_generator():
    yield


class Awaitable:
    def __await__(self):
        yield


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (coroutine, "a coroutine"),
        (lambda: (x for x in ()), "a generator"),
        (async_generator, "an async generator"),
        (Awaitable, "an awaitable"),
    ],
)
@pytest.mark.parametrize("spell", ["__call__", "warm", "measure"])
def test_a_plain_function_that_returns_a_promise_is_told_the_kind(make, found, spell) -> None:
    runs = []
    function = warmed(lambda: (runs.append(1), make())[1])
    with pytest.raises(ArgumentError, match=rf"is a plain function that returned {found}.*wanted a function declared"):
        getattr(function, spell)()
    assert len(runs) == 1
    assert function.state is State.COLD
    assert not function.ready


def test_a_users_stop_iteration_passes_through_a_plain_function_untouched() -> None:
    user = Failing(0, 8, error=StopIteration)
    function = warmed(user)
    with pytest.raises(StopIteration) as caught:
        function()
    assert caught.value is user.raised[0]
    function()
    with pytest.raises(StopIteration) as caught:
        function()
    assert caught.value is user.raised[1]
    assert next(iter([function()])) == 9


def test_a_users_stop_iteration_in_an_extra_run_fails_the_key_only() -> None:
    function = warmed(Failing(2, error=StopIteration))
    assert function() == 3
    assert function.state is State.FAILED
    assert warmed(Failing(2, error=StopIteration)).measure().failure.type == "StopIteration"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_warm_up_goes_on_from_its_finished_runs(error, events) -> None:
    user = Failing(0, 2, 5, error=error)
    function = warmed(user)
    for _ in range(3):
        with pytest.raises(error):
            function()
        assert function.state is State.COLD
    assert function() == 9, "validated in run 1; warm in 3, 4, 6, 7 and 8; timed in 9"
    (done,) = events.named("jitwarmup.warmup.completed")
    assert done["iterations"] == 5
    assert function.state is State.WARM


def test_callers_with_short_timeouts_get_there_too() -> None:
    runs = []

    async def user():
        runs.append(1)
        if len(runs) % 2 == 0:
            await asyncio.Event().wait()

    async def main():
        function = warmed(user)
        for attempt in range(20):
            try:
                await asyncio.wait_for(function(), 0.01)
            except TimeoutError:
                continue
            return attempt
        return None

    assert asyncio.run(main()) == 6, "each attempt finishes one run of the six; the seventh makes the timed one"


def test_measure_begins_anew_after_an_interrupted_warm_up() -> None:
    user = Failing(3, error=KeyboardInterrupt)
    function = warmed(user)
    with pytest.raises(KeyboardInterrupt):
        function()
    report = function.measure()
    assert [len(report.of_phase(phase)) for phase in Phase] == [1, 5, 20]


def test_an_interrupted_measurement_keeps_its_finished_runs_and_says_its_one_line(events, names) -> None:
    user = Failing(8, error=KeyboardInterrupt)
    with steady_state() as steady:
        with pytest.raises(KeyboardInterrupt):
            steady.measure(user)
    (report,) = steady.reports
    assert report.latency.n == 2
    assert report.latency_s > 0
    assert report.verdict.state == "undecided"
    assert report.verdict.reasons[0].kind == "interrupted"
    assert report.failure is None
    assert names().count("measurement.failed") == 1
    assert events.named("jitwarmup.measurement.failed")[0]["error_type"] == "KeyboardInterrupt"


def test_the_random_state_after_a_failure_is_that_of_one_plain_call() -> None:
    def user():
        random.random()
        if not done:
            raise Boom

    done = []
    random.seed(1)
    with pytest.raises(Boom):
        user()
    wanted = random.random()
    random.seed(1)
    with pytest.raises(Boom):
        warmed(user)()
    assert random.random() == wanted


@pytest.mark.parametrize("place", ["key", "fresh"])
def test_a_helper_of_the_user_that_raises_does_so_before_any_run_and_leaves_the_key_cold(place, log) -> None:
    user = Failing()
    options = {place: Failing(0, error=ValueError)}
    monitor = log.monitor()
    function = warmed(monitor=monitor, **options)(user)
    with pytest.raises(ValueError, match="in run 0"):
        function()
    assert user.runs == 0
    assert monitor.paused == 0
    assert function.state is State.COLD


def test_an_emitter_that_raises_breaks_nothing() -> None:
    class Broken:
        def emit(self, event, level, fields):
            raise Boom(event)

    user = Failing()
    with steady_state(log=Broken(), iterations=1, measurements=1) as steady:
        assert warmed(user)() == 2
        assert steady.measure(user).failure is None


def test_every_error_of_ours_is_in_the_tree() -> None:
    import jitwarmup

    for name in ("ArgumentError", "NotReady", "Overlap", "MonitorStateError", "MeasurementFailed"):
        kind = getattr(jitwarmup, name)
        assert issubclass(kind, JitwarmupError)
        assert issubclass(kind, TypeError if name == "ArgumentError" else RuntimeError)
