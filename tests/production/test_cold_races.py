"""Threads and tasks that race a cold compiled function: one warm-up, one compile; a new shape still compiles."""

import asyncio
import threading

import torch

from jitwarmup import State, warmed

THREADS, TASKS = 64, 1000


def race(function, x):
    """All threads at once; their results, and whatever was raised."""
    barrier, results, errors = threading.Barrier(THREADS), [], []

    def call():
        barrier.wait()
        try:
            results.append(function(x))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results, errors


def names(events) -> list[str]:
    return [event["event"] for event in events]


def test_64_threads_share_one_warm_up_and_one_compile(compiled, events, capsys) -> None:
    control = compiled()
    race(control.call, torch.ones(8))
    ours = compiled()
    function = warmed(iterations=2)(ours.call)
    results, errors = race(function, torch.ones(8))
    with capsys.disabled():
        print(f"\n{THREADS} threads on a cold compiled function: {ours.graphs} compile; control {control.graphs}")
    assert errors == []
    assert len(results) == THREADS
    assert all(torch.equal(result, torch.full((8,), 3.0)) for result in results)
    assert ours.graphs == 1
    assert names(events).count("jitwarmup.warmup.completed") == 1
    assert names(events).count("jitwarmup.call") == THREADS
    assert function.state is State.WARM
    assert torch.equal(function(torch.ones(9)), torch.full((9,), 3.0))
    assert ours.graphs == 2


def test_a_thousand_tasks_share_one_warm_up_and_one_compile(compiled, events) -> None:
    ours = compiled()

    @warmed(iterations=2)
    async def answer(x):
        await asyncio.sleep(0)
        return ours.call(x)

    async def main():
        return await asyncio.gather(*(answer(torch.ones(8)) for _ in range(TASKS)))

    results = asyncio.run(main())
    assert all(torch.equal(result, torch.full((8,), 3.0)) for result in results)
    assert ours.graphs == 1
    assert names(events).count("jitwarmup.warmup.completed") == 1
    assert answer.coverage().calls == TASKS
    asyncio.run(main_with(answer, torch.ones(9)))
    assert ours.graphs == 2


async def main_with(function, x):
    return await function(x)


def test_a_thousand_tasks_warm_a_plain_function_off_the_loop_once(compiled) -> None:
    ours = compiled()
    function = warmed(iterations=1)(ours.call)

    async def main():
        x = torch.ones(8)
        await asyncio.gather(*(function.awarm(x) for _ in range(TASKS)))
        return function(x)

    assert torch.equal(asyncio.run(main()), torch.full((8,), 3.0))
    assert ours.graphs == 1
