"""Steady state lost in service: the event on that very call, and the four policies. Only own work counts."""

import threading

import pytest

from jitwarmup import MeasurementFailed, OneTimeWork, State, by_shape, warmed
from jitwarmup.engine.demotion import EAGER_FALLBACK
from jitwarmup.keys.single_flight import Claim
from jitwarmup.probes import Observation

RECOMPILE = Observation(work=(OneTimeWork(kind="dynamo.recompile", duration_s=0.1, reason="size of x changed"),))
FALLBACK = Observation(work=(OneTimeWork(kind="dynamo.eager_fallback", reason="recompile limit reached"),))
FOREIGN = Observation(work=(OneTimeWork(kind="dynamo.recompile", scope="foreign"),))
SHARED = Observation(work=(OneTimeWork(kind="dynamo.recompile", scope="shared"),))
QUIET = Observation()


def warm_one(watch, **options):
    runs = []
    function = warmed(iterations=1, **options)(lambda: runs.append(1) or len(runs))
    function.warm()
    return function, runs


def lost(events) -> list[dict]:
    return [event for event in events if event["event"] == "jitwarmup.steady_state.lost"]


@pytest.mark.parametrize("emit", ["calls", "summary"])
def test_mark_is_degraded_until_three_clean_calls_in_a_row(watch, events, emit) -> None:
    function, _ = warm_one(watch, emit=emit)
    watch.seen = [RECOMPILE, QUIET, QUIET, RECOMPILE, QUIET, QUIET, QUIET]
    states = []
    for _ in range(7):
        function()
        states.append(function.state)
    assert states == [State.DEGRADED] * 6 + [State.WARM]
    assert len(lost(events)) == 2
    assert function.ready
    assert lost(events)[0]["reason"] == "size of x changed"
    assert function.status()["last_reason"] is None


def test_the_reason_is_told_while_it_is_degraded(watch) -> None:
    function, _ = warm_one(watch)
    watch.seen = [RECOMPILE]
    function()
    assert function.status()["last_reason"] == "size of x changed"


def test_a_compile_that_took_the_time_of_all_open_runs_counts(watch, events) -> None:
    function, _ = warm_one(watch)
    watch.seen = [SHARED]
    function()
    assert len(lost(events)) == 1
    assert function.state is State.DEGRADED


@pytest.mark.parametrize("seen", [FOREIGN, QUIET])
def test_work_of_others_counts_for_nothing(watch, events, seen) -> None:
    function, _ = warm_one(watch, on_loss="raise")
    watch.seen = [seen]
    assert function() == 3
    assert lost(events) == []
    assert function.state is State.WARM


def test_a_call_that_failed_is_no_clean_call(watch) -> None:
    broken = []

    @warmed(iterations=1)
    def function():
        if broken:
            raise ValueError

    function.warm()
    watch.seen = [RECOMPILE]
    function()
    broken.append(1)
    for _ in range(5):
        with pytest.raises(ValueError):
            function()
    assert function.state is State.DEGRADED


def test_unready_takes_readiness_back_until_it_is_warmed_again(watch, events) -> None:
    function, runs = warm_one(watch, on_loss="unready")
    assert function.ready
    watch.seen = [RECOMPILE]
    function()
    assert (function.ready, function.state) == (False, State.DEGRADED)
    for _ in range(5):
        function()
    assert (function.ready, function.state) == (False, State.DEGRADED)
    assert len(runs) == 2 + 6  # calls went on, each one run
    function.warm()
    assert (function.ready, function.state) == (True, State.WARM)
    assert len(lost(events)) == 1


def test_raise_raises_on_that_call_after_the_event(watch, events) -> None:
    function, _ = warm_one(watch, on_loss="raise")
    watch.seen = [RECOMPILE]
    with pytest.raises(MeasurementFailed, match=r"paid for one-time work on this call \(dynamo.recompile\)"):
        function()
    assert [event["event"] for event in events][-2:] == ["jitwarmup.call", "jitwarmup.steady_state.lost"]
    assert function() == 4


def test_the_users_own_exception_goes_before_ours(watch) -> None:
    fail = []

    @warmed(iterations=1, on_loss="raise")
    def function():
        if fail:
            raise KeyError

    function.warm()
    fail.append(1)
    watch.seen = [RECOMPILE]
    with pytest.raises(KeyError):
        function()


def test_rewarm_warms_up_on_the_next_call_and_stays_ready(watch, events) -> None:
    function, runs = warm_one(watch, on_loss="rewarm")
    assert function.ready
    watch.seen = [RECOMPILE]
    function()
    assert (function.state, function.ready) == (State.COLD, True)
    function()
    assert len(runs) == 2 + 1 + 3
    assert function.state is State.WARM
    assert function.coverage().calls == 2


def test_rewarm_warms_a_key_again_although_new_keys_pass(watch) -> None:
    runs = []
    function = warmed(iterations=1, on_loss="rewarm", key=lambda x: x)(lambda x: runs.append(x))
    function(2)
    function.warm(1)
    watch.seen = [RECOMPILE]
    function(2)
    runs.clear()
    function(2)
    assert runs == [2, 2, 2]


def test_a_stream_loses_it_at_its_end(watch, events) -> None:
    @warmed(iterations=0, on_loss="raise")
    def stream():
        yield 1

    stream.warm()
    watch.seen = [RECOMPILE]
    live = stream()
    assert next(live) == 1
    with pytest.raises(MeasurementFailed):
        next(live)
    assert len(lost(events)) == 1


def test_work_in_the_calls_of_a_failed_warm_up_is_no_loss(watch, events) -> None:
    function = warmed(iterations=1)(lambda: None)
    function._core.entry((), (), {}).state = State.FAILED
    watch.seen = [RECOMPILE]
    function()
    assert lost(events) == []
    assert function.state is State.FAILED


def test_a_key_that_somebody_is_warming_is_left_to_them(watch) -> None:
    function, _ = warm_one(watch, on_loss="rewarm")
    entry = function._core.entry((), (), {})
    entry.state = State.COLD
    claim = Claim(function._core.registry, entry)
    claim.take(demand=True)
    entry.state = State.WARMING
    from jitwarmup.engine import demotion

    demotion.demote(function._core.timed_function(), entry, "late news")
    assert (entry.state, entry.reason) == (State.WARMING, None)
    claim.finish(State.WARM, "warm")


# ------------------------------------------------------------------ torch's recompile limit


def test_a_fallback_degrades_for_good(watch) -> None:
    function, _ = warm_one(watch)
    watch.seen = [FALLBACK]
    for _ in range(10):
        function()
    assert function.state is State.DEGRADED
    assert function.status()["last_reason"] == EAGER_FALLBACK
    watch.seen = [RECOMPILE]
    for _ in range(10):
        function()
    assert (function.state, function.status()["last_reason"]) == (State.DEGRADED, EAGER_FALLBACK)
    function.reset()
    assert function.state is State.COLD


def test_a_fallback_in_the_warm_up_degrades_too(watch) -> None:
    watch.seen = [QUIET, FALLBACK]
    function = warmed(iterations=2)(lambda: None)
    function.warm()
    assert (function.state, function.status()["last_reason"]) == (State.DEGRADED, EAGER_FALLBACK)


def test_losses_and_clean_calls_of_many_threads_leave_a_right_state(watch) -> None:
    function, _ = warm_one(watch)
    lock = threading.Lock()
    close = watch.close

    def locked(token):
        with lock:
            return close(token)

    watch.close = locked
    watch.seen = [RECOMPILE, QUIET] * 50

    def serve():
        for _ in range(50):
            function()

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(3):
        function()
    assert function.state is State.WARM
    assert function.coverage().hits == 203
    watch.open_now = 0  # the scripted watch counts without a lock


@pytest.mark.parametrize("key", [None, by_shape])
def test_a_recompile_under_the_default_key_is_answered_once_with_the_key_that_would_help(key, watch, events):
    @warmed(iterations=0, key=key)
    def function(x):
        return x

    function(1)
    for kind in ("import", "dynamo.recompile", "dynamo.recompile"):
        watch.seen = [Observation(work=(OneTimeWork(kind=kind),))]
        function(1)
    advice = [event.get("advice") for event in events.named("jitwarmup.steady_state.lost")]
    assert [bool(text) for text in advice] == [False, key is None, False]
    assert key is not None or "key=by_shape" in advice[1]
