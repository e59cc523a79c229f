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


def test_a_thousand_tasks_share_one_warm_up_and_use_few_threads() -> None:
    runs, most = [], []

    def body():
        runs.append(1)
        most.append(threading.active_count())

    function = warmed(iterations=2)(body)

    async def main():
        return await asyncio.gather(*(function.awarm() for _ in range(1000)))

    found = asyncio.run(main())
    assert len(runs) == 3
    assert all(len(warmup.runs) == 3 for warmup in found)


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
