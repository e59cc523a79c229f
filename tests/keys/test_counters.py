"""Coverage is exact to the call: hits, misses, what they paid, one event for each missed key."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from jitwarmup import Coverage, OneTimeWork, warmed
from jitwarmup.keys.single_flight import Claim
from jitwarmup.probes import Observation
from jitwarmup.records.errors import NotReady


def identity(x):
    return x


def missed(events) -> list[dict]:
    return [event for event in events if event["event"] == "jitwarmup.coverage.missed"]


@pytest.mark.parametrize("emit", ["calls", "summary"])
def test_a_thousand_calls_over_twenty_shapes_with_fifteen_warmed(emit, events) -> None:
    function = warmed(key=lambda x: x, emit=emit, iterations=1)(identity)
    function.warm_all(list(range(15)))
    for call in range(1000):
        function((call * 7) % 20)
    found = function.coverage()
    assert (found.calls, found.hits, found.share, found.other) == (1000, 750, 0.75, 0)
    assert {one.key: one.count for one in found.missed} == {f"key-{n}": 50 for n in range(16, 21)}
    assert Counter(event["key"] for event in missed(events)) == {f"key-{n}": 1 for n in range(16, 21)}
    assert Coverage.from_dict(found.to_dict()) == found


@pytest.mark.parametrize("emit", ["calls", "summary"])
def test_counts_are_exact_over_threads(emit) -> None:
    function = warmed(key=lambda x: x, emit=emit, iterations=0)(identity)
    function.warm(0)

    def serve():
        for call in range(1000):
            function(call % 4)

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = function.coverage()
    assert (found.calls, found.hits) == (8000, 2000)
    assert [one.count for one in found.missed] == [2000, 2000, 2000]


def test_the_first_call_warms_its_key_and_is_a_miss_without_an_event(events) -> None:
    function = warmed(iterations=1)(identity)
    function(1)
    function(1)
    found = function.coverage()
    assert (found.calls, found.hits, found.missed[0].key) == (2, 1, "default")
    assert missed(events) == []


def test_before_the_first_call_there_is_no_share() -> None:
    found = warmed()(identity).coverage()
    assert (found.calls, found.share, found.missed) == (0, None, ())


def test_a_miss_tells_what_the_caller_paid(watch) -> None:
    compile_work = OneTimeWork(kind="dynamo.capture", duration_s=1e-7)
    watch.seen = [Observation(work=(compile_work,)), Observation(), Observation()]
    function = warmed(iterations=1)(identity)
    function(1)
    (one,) = function.coverage().missed
    assert one.count == 1
    assert one.first_s is not None
    assert 0 < one.paid_s <= 1e-7
    assert one.paid_s < one.first_s


def test_warm_measure_and_calls_that_step_aside_are_no_live_calls() -> None:
    function = warmed(iterations=1)(identity)
    function.warm(1)
    function.measure(1)
    warmed(iterations=1)(lambda: function(1))()  # inside a run it is the plain call
    assert function.coverage().calls == 0


def test_with_emit_off_nothing_is_counted(events) -> None:
    function = warmed(emit="off", key=lambda x: x, iterations=0)(identity)
    function.warm(0)
    function(0)
    function(1)
    assert function.coverage().calls == 0
    assert missed(events) == []


def test_calls_that_failed_or_were_turned_away_are_counted_too() -> None:
    def fail(x):
        raise ValueError

    function = warmed(while_warming="raise")(fail)
    with pytest.raises(ValueError):
        function(1)
    entry = function._core.entry((), (1,), {})
    with ThreadPoolExecutor(1) as another:  # nobody waits for himself
        claim = another.submit(Claim, function._core.registry, entry).result()
        claim.take(demand=False)
        with pytest.raises(NotReady):
            function(1)
        claim.finish(entry.state, "failed")
    assert function.coverage().calls == 2
    assert function.coverage().missed[0].count == 2


def test_keys_beyond_the_bound_are_counted_as_other() -> None:
    function = warmed(key=lambda x: x, iterations=0)(identity)
    for number in range(1030):
        function(number)
    found = function.coverage()
    assert (found.calls, found.other) == (1030, 6)
    assert sum(one.count for one in found.missed) == 1024


def test_the_event_says_why_the_key_was_not_warm(events) -> None:
    function = warmed(key=lambda x: x, iterations=0)(identity)
    function.warm(0)
    function(1)
    (event,) = missed(events)
    assert event["reason"] == "never warmed up"
    assert event["keys_warm"] == 1


def test_reset_counts_from_nothing() -> None:
    function = warmed(iterations=0)(identity)
    function(1)
    function.reset()
    assert function.coverage().calls == 0


async def _twice(function):
    await function(1)
    await function(1)


def test_async_functions_and_streams_are_counted_alike() -> None:
    import asyncio

    @warmed(iterations=0)
    async def answer(x):
        return x

    @warmed(iterations=0)
    def stream(x):
        yield x

    asyncio.run(_twice(answer))
    for _ in range(2):
        list(stream(1))
    next(stream(1))  # left early: it was served all the same
    assert (answer.coverage().calls, answer.coverage().hits) == (2, 1)
    assert (stream.coverage().calls, stream.coverage().hits) == (3, 2)
