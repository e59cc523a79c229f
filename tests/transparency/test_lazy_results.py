"""A result that is still to come: the first run's is handed on, nothing more is run, and `measure` refuses it."""

import asyncio
import contextlib
import itertools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from types import SimpleNamespace

import pytest
import torch

from jitwarmup import ArgumentError, steady_state, warmed
from jitwarmup.testing import capture_events


class Stream:
    """An iterator over what a thread makes, as transformers' TextIteratorStreamer is."""

    def __init__(self):
        self.queue = Queue()

    def __iter__(self):
        return self

    def __next__(self):
        item = self.queue.get(timeout=20)
        if item is None:
            raise StopIteration
        return item


class AsyncStream:
    def __init__(self):
        self.items = [1, 2, 3]

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.items:
            raise StopAsyncIteration
        return self.items.pop(0)


class Popping:
    def __init__(self, items):
        self.items = list(items)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.items:
            raise StopIteration
        return self.items.pop(0)


class Ones(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([1, 2, 3])


@contextlib.contextmanager
def session(items):
    yield list(items)


def finished(value):
    done = Future()
    done.set_result(value)
    return done


def entered(manager):
    with manager as value:
        return value


LAZY = {
    "map": (lambda xs: map(int, xs), list),
    "filter": (lambda xs: filter(None, xs), list),
    "zip": (lambda xs: zip(xs, strict=True), list),
    "list iterator": (iter, list),
    "islice": (lambda xs: itertools.islice(xs, 2), list),
    "chain": (lambda xs: itertools.chain(xs, xs), list),
    "iterator class": (Popping, list),
    "loader's iterator": (lambda xs: iter(torch.utils.data.DataLoader(Ones(), batch_size=None)), list),
    "future": (finished, lambda done: done.result(20)),
    "context manager": (session, entered),
    "async iterator": (lambda xs: AsyncStream(), lambda stream: len(stream.items)),
}


AROUND = {
    "itself": (lambda value: value, lambda held: held),
    "in a tuple": (lambda value: (5, value), lambda held: held[1]),
    "in a dict": (lambda value: {"stream": value}, lambda held: held["stream"]),
    "in a list in a dict": (lambda value: {"streams": [value]}, lambda held: held["streams"][0]),
}


def skipped_of(events):
    return [event.get("skipped") for event in events if event["event"] == "jitwarmup.warmup.completed"]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", LAZY)
def test_a_first_call_hands_on_the_first_runs_value(counted, name, around):
    make, take = LAZY[name]
    wrap, unwrap = AROUND[around]
    runs = counted(lambda xs: wrap(make(xs)))
    function = warmed(iterations=3)(runs)
    with capture_events() as events:
        assert take(unwrap(function([1, 2, 3]))) == take(make([1, 2, 3]))
    assert runs.runs == 1
    assert skipped_of(events) == ["returned_a_stream"]
    with capture_events() as events:
        assert take(unwrap(function([1, 2, 3]))) == take(make([1, 2, 3]))
    assert runs.runs == 2


WORDS = {"future": "(?i)future", "context manager": "context manager", "async iterator": "(?i)iterator|AsyncStream"}


@pytest.mark.parametrize("name", LAZY)
def test_measure_says_what_was_returned(events, name):
    make, _ = LAZY[name]
    kind = type(make([1])).__name__
    with pytest.raises(ArgumentError, match=WORDS.get(name, f"iterator|{kind}")):
        warmed(iterations=1)(lambda xs: make(xs)).measure([1, 2, 3])
    with steady_state(iterations=1, measurements=2) as steady, pytest.raises(ArgumentError):
        steady.measure(make, [1, 2, 3])


def test_a_result_that_holds_what_is_still_to_come_is_not_measured_either(events):
    with pytest.raises(ArgumentError, match=r"(?i)future"):
        warmed(iterations=1)(lambda: (1, Future())).measure()
    with pytest.raises(ArgumentError, match="iterator"):
        warmed(iterations=1)(lambda: {"stream": map(int, "12")}).measure()


def test_warm_runs_it_once_and_says_so(counted):
    runs = counted(lambda: map(int, "12"))
    assert warmed(iterations=2)(runs).warm().skipped == "returned_a_stream"
    assert runs.runs == 1


def test_an_asyncio_future_of_an_async_function_is_handed_on(counted):
    async def main():
        loop = asyncio.get_running_loop()

        async def begin(n):
            promise = loop.create_future()
            loop.call_soon(promise.set_result, n)
            return promise

        runs = counted(begin)
        with capture_events() as events:
            assert await (await warmed(iterations=2)(runs)(7)) == 7
        assert runs.runs == 1
        assert skipped_of(events) == ["returned_a_stream"]
        with pytest.raises(ArgumentError, match=r"(?i)future"):
            await warmed(iterations=2)(begin).measure(7)

    asyncio.run(main())


def test_a_task_that_a_function_starts_is_started_once(counted):
    async def main():
        async def work(n):
            await asyncio.sleep(0)
            return n

        async def begin(n):
            return {"task": asyncio.create_task(work(n))}

        runs = counted(begin)
        with capture_events():
            assert await (await warmed(iterations=2)(runs)(7))["task"] == 7
        assert runs.runs == 1

    asyncio.run(main())


def test_work_that_an_executor_was_given_is_given_once(counted, events):
    with ThreadPoolExecutor(1) as pool:
        runs = counted(lambda n: pool.submit(int, n))
        assert warmed(iterations=3)(runs)("7").result(20) == 7
    assert runs.runs == 1


def test_the_thread_of_a_streamer_is_started_once():
    begun, threads, at_once = [], [], threading.Semaphore(1)
    alone = []

    def produce(stream):
        alone.append(at_once.acquire(blocking=False))
        for n in range(3):
            stream.queue.put(n)
        stream.queue.put(None)
        at_once.release()

    @warmed(iterations=5)
    def chat(prompt):
        begun.append(prompt)
        stream = Stream()
        threads.append(threading.Thread(target=produce, args=(stream,), daemon=True))
        threads[-1].start()
        return stream

    with capture_events() as events:
        assert list(chat("hi")) == [0, 1, 2]
        assert begun == ["hi"]
        assert skipped_of(events) == ["returned_a_stream"]
        assert list(chat("again")) == [0, 1, 2]
    assert begun == ["hi", "again"]
    for thread in threads:
        thread.join(20)
    assert all(alone)


def test_a_context_manager_of_a_warmed_function_is_entered_once(events):
    log = []

    @warmed(iterations=2)
    @contextlib.contextmanager
    def connection(name):
        log.append(f"open {name}")
        yield name
        log.append(f"close {name}")

    with connection("a") as name:
        assert name == "a"
    assert log == ["open a", "close a"]


def test_what_is_only_iterable_is_no_stream(counted, events):
    for value in ([1], (1, 2), {"a": 1}, "text", range(3), SimpleNamespace(stream=1), torch.ones(2), {1: 2}.items()):
        runs = counted(lambda value=value: value)
        assert warmed(iterations=2)(runs)() is value
        assert runs.runs == 4


@pytest.mark.slow  # transformers is seconds to import
def test_a_pipeline_over_an_iterable_is_handed_on(counted, events, guard):
    with guard(250):
        from transformers.pipelines.pt_utils import PipelineIterator

    runs = counted(lambda xs: PipelineIterator(torch.utils.data.DataLoader(xs, batch_size=None), lambda x: x + 1, {}))
    assert list(warmed(iterations=2)(runs)([1, 2])) == [2, 3]
    assert runs.runs == 1
