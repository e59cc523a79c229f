"""A soak in small (the million is in tests/bench/production.py): nothing lost, nothing twice, memory flat."""

import gc
import threading

import pytest

from jitwarmup import warmed
from jitwarmup.host import process_size

THREADS, EACH = 8, 2_000


def serve(function, count):
    threads = [threading.Thread(target=lambda: [function(call) for call in range(count)]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_calls_of_many_threads_are_each_counted_and_told_once(events) -> None:
    function = warmed(iterations=1, key=lambda x: x % 2)(lambda x: x)
    function.warm_all([0, 1])
    serve(function, EACH // 4)
    calls = [event for event in events if event["event"] == "jitwarmup.call"]
    assert len(calls) == THREADS * EACH // 4
    assert {event["key"] for event in calls} == {"key-1", "key-2"}
    assert function.coverage().hits == len(calls)


def test_summaries_count_every_call_once_and_memory_stays_flat(events) -> None:
    function = warmed(emit="summary", iterations=1)(lambda x: x)
    function.warm(1)
    serve(function, EACH)
    gc.collect()
    before = process_size.read()
    serve(function, EACH)
    gc.collect()
    after = process_size.read()
    function.flush()
    summaries = [event for event in events if event["event"] == "jitwarmup.summary"]
    assert sum(event["count"] for event in summaries) == 2 * THREADS * EACH
    assert function.coverage().hits == 2 * THREADS * EACH
    if before.memory_bytes is None:
        pytest.skip("memory cannot be read here")
    assert after.memory_bytes - before.memory_bytes < 1 << 20
    assert after.descriptors == before.descriptors


def test_a_service_that_makes_objects_for_ever_does_not_grow() -> None:
    """A warmed method of one object per request: keys and misses go when the objects go."""

    class Request:
        @warmed(iterations=0, emit="summary")
        def answer(self):
            return 1

    for _ in range(1500):
        Request().answer()
    core = Request.answer._core
    assert len(core.registry.entries) <= 2
    assert len(core.registry.counts._misses) <= 2
    assert Request.answer.coverage().calls == 1500
