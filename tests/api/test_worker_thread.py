"""``awarm``: off the loop, with the context; waiters need no thread; nobody hangs."""

import asyncio
import contextvars
import threading

import pytest

from jitwarmup import State, warmed

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


def test_a_plain_function_warms_in_a_worker_thread_with_the_callers_context() -> None:
    seen = []
    function = warmed(iterations=1)(lambda: seen.append((threading.current_thread(), VARIABLE.get())))

    async def main():
        VARIABLE.set("mine")
        return await function.awarm()

    warmup = asyncio.run(main())
    assert len(warmup.runs) == 2
    assert function.state is State.WARM
    assert all(thread is not threading.main_thread() and value == "mine" for thread, value in seen)


def test_the_loop_goes_on_meanwhile() -> None:
    ticked = threading.Event()
    function = warmed(iterations=0)(lambda: ticked.wait(30))

    async def main():
        task = asyncio.create_task(function.awarm())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, ticked.set)
        await task

    asyncio.run(main())
    assert ticked.is_set()


def test_an_async_function_is_awaited() -> None:
    @warmed(iterations=1)
    async def answer():
        return threading.current_thread() is threading.main_thread()

    assert len(asyncio.run(answer.awarm()).runs) == 2


def test_a_thousand_tasks_share_one_warm_up_and_leave_the_other_threads_free() -> None:
    runs, go_on = [], threading.Event()
    function = warmed(iterations=2)(lambda: runs.append(go_on.wait(30)))

    async def main():
        tasks = [asyncio.create_task(function.awarm()) for _ in range(1000)]
        await asyncio.sleep(0.05)
        # the pool has a few threads, one of which is warming up
        await asyncio.wait_for(asyncio.to_thread(go_on.set), 60)
        return await asyncio.gather(*tasks)

    found = asyncio.run(main())
    assert runs == [True] * 3
    assert all(len(warmup.runs) == 3 for warmup in found)


def test_a_pool_of_one_thread_is_enough_for_all() -> None:
    """However they race, nobody holds the one thread while waiting for somebody who needs it."""
    from concurrent.futures import ThreadPoolExecutor

    function = warmed(iterations=1, key=lambda x: x % 3)(lambda x: x)

    async def main():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with asyncio.timeout(30):
            await asyncio.gather(*(function.awarm(n) for n in range(300)))

    asyncio.run(main())
    assert function.ready


def test_a_worker_thread_is_never_held_by_somebody_who_waits() -> None:
    """Two callers are in the queue of a pool of two before either has begun: one warms up, the other must not block."""
    from concurrent.futures import ThreadPoolExecutor

    begin, go_on = threading.Event(), threading.Event()
    function = warmed(iterations=0)(lambda: go_on.wait(30))

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        for _ in range(2):
            loop.run_in_executor(None, begin.wait, 30)
        tasks = [asyncio.create_task(function.awarm()) for _ in range(2)]
        await asyncio.sleep(0.01)
        begin.set()
        await asyncio.sleep(0.05)
        await asyncio.wait_for(asyncio.to_thread(go_on.set), 60)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert function.ready


@pytest.mark.parametrize("error", [ValueError, StopIteration])
def test_an_exception_reaches_the_awaiting_task(error) -> None:
    def fail():
        raise error("no")

    function = warmed()(fail)

    async def main():
        try:
            await asyncio.wait_for(function.awarm(), 30)
        except error as caught:
            return type(caught)
        except RuntimeError as caught:  # what Python makes of a StopIteration that leaves a coroutine
            return type(caught.__cause__)

    assert asyncio.run(main()) is error
    assert function.state is State.COLD


def test_cancelling_the_task_leaves_a_right_state() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def body():
        begun.set()
        go_on.wait(30)

    function = warmed(iterations=0)(body)

    async def main():
        task = asyncio.create_task(function.awarm())
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert function.state is State.VALIDATING
        go_on.set()
        await asyncio.wait_for(function.awarm(), 30)

    asyncio.run(main())
    assert function.state is State.WARM
