"""No loop, a loop that stands still, a loop of another kind: nobody waits in vain, nobody meets an error of our waiting."""

import asyncio
import contextlib
import threading

import anyio
import pytest
import trio

from jitwarmup import warmed

pytestmark = pytest.mark.usefixtures("events")
ITERATIONS = 1
RUN = {"asyncio": lambda main: asyncio.run(main()), "trio": trio.run}


def stepped(coroutine):
    """Driven by hand, as some frameworks and tests do: there is no loop to ask."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value


class Pause:
    def __await__(self):
        yield


def test_a_coroutine_driven_by_hand_that_would_wait_is_a_plain_call():
    async def answer(n):
        await Pause()
        return n

    function = warmed(iterations=ITERATIONS)(answer)
    first, second = function(1), function(2)
    first.send(None)  # the leader is under way, and left
    assert stepped(second) == 2
    assert stepped(first) == 1
    assert stepped(function(3)) == 3


def test_a_coroutine_driven_by_hand_does_not_wait_for_a_leader_in_another_thread():
    begun, go_on = threading.Event(), threading.Event()
    values = []

    async def answer(n):
        begun.set()
        while n == 1 and not go_on.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.001)
        return n

    function = warmed(iterations=ITERATIONS)(answer)
    leader = threading.Thread(target=lambda: values.append(asyncio.run(function(1))), daemon=True)
    leader.start()
    assert begun.wait(20)
    try:
        assert stepped(function(2)) == 2
    finally:
        go_on.set()
        leader.join(20)
    assert values == [1]


def test_the_leader_of_a_loop_that_stands_still_is_not_waited_for():
    async def answer(n):
        await asyncio.sleep(0)
        return n

    function = warmed(iterations=ITERATIONS)(answer)

    async def begin():
        task = asyncio.create_task(function(1))
        await asyncio.sleep(0)
        return task

    with contextlib.closing(asyncio.new_event_loop()) as standing:
        task = standing.run_until_complete(begin())
        assert asyncio.run(function(2)) == 2
        assert standing.run_until_complete(task) == 1


def test_a_caller_under_trio_waits_for_a_leader_under_asyncio_and_the_other_way_round():
    for lead, follow in (("asyncio", "trio"), ("trio", "asyncio")):
        begun, go_on = threading.Event(), threading.Event()
        runs, values = [], []

        async def answer(n, *, begun=begun, go_on=go_on, runs=runs):
            runs.append(n)
            begun.set()
            while not go_on.is_set():  # noqa: ASYNC110 - it is set in another thread
                await anyio.sleep(0.001)
            return n

        function = warmed(iterations=ITERATIONS)(answer)

        def call(n, loop, *, function=function, values=values):
            values.append(RUN[loop](lambda: function(n)))

        threads = [threading.Thread(target=call, args=(1, lead), daemon=True)]
        threads[0].start()
        assert begun.wait(20)
        threads.append(threading.Thread(target=call, args=(2, follow), daemon=True))
        threads[1].start()
        threads[1].join(0.05)  # long enough to come to its waiting, mostly; right in either case
        go_on.set()
        for thread in threads:
            thread.join(20)
        assert sorted(values) == [1, 2]
        assert len(runs) == 1 + ITERATIONS + 2
