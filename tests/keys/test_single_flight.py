"""Threads and tasks that race a cold key: one warm-up, nobody hangs, nobody gets another's exception."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jitwarmup import NotReady, State, is_warming, steady_state, warmed
from jitwarmup.keys.registry import KeyRegistry
from jitwarmup.keys.single_flight import Claim, WaitForWarmup
from jitwarmup.keys.state import InFlight
from jitwarmup.records.runs import Phase, Run


class Boom(Exception):
    pass


class Racing:
    """Counts runs under a lock; ``gate`` holds back runs until it is opened, ``fail_at`` fails them."""

    def __init__(self, *, fail_at=(), gate=None, error=Boom) -> None:
        self.lock = threading.Lock()
        self.started = threading.Event()
        self.fail_at = set(fail_at)
        self.gate = gate
        self.error = error
        self.runs = 0
        self.extra = 0

    def __call__(self, *args):
        with self.lock:
            run, self.runs = self.runs, self.runs + 1
            self.extra += is_warming()
        self.started.set()
        if self.gate is not None:
            assert self.gate.wait(60)
        if run in self.fail_at:
            raise self.error(run)
        return run


def race(function, threads, *args):
    """What each of so many threads got, all started at once."""
    barrier = threading.Barrier(threads)

    def call(_):
        barrier.wait()
        try:
            return function(*args)
        except Exception as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, range(threads)))


@pytest.mark.parametrize("attempt", range(5))
def test_64_threads_race_a_first_call_and_there_is_one_warm_up(attempt, names) -> None:
    user = Racing()
    got = race(warmed(user), 64)
    assert user.extra == 6
    assert user.runs == 7 + 63
    assert sorted(got) == list(range(6, 70)), "each caller got the value of a run of its own"
    assert names().count("validation.completed") == names().count("warmup.completed") == 1
    assert names().count("call") == 64


def test_500_tasks_race_a_first_call_and_there_is_one_warm_up(names) -> None:
    runs = []

    async def user():
        runs.append(is_warming())
        await asyncio.sleep(0)
        return len(runs)

    async def main():
        function = warmed(user)
        return await asyncio.gather(*(function() for _ in range(500)))

    asyncio.run(main())
    assert runs.count(True) == 6
    assert len(runs) == 7 + 499
    assert names().count("warmup.completed") == 1


def test_500_consumers_race_the_first_step_of_an_async_stream() -> None:
    runs = []

    async def user():
        runs.append(is_warming())
        await asyncio.sleep(0)
        yield 1

    async def consume(function):
        return [item async for item in function()]

    async def main():
        function = warmed(user)
        return await asyncio.gather(*(consume(function) for _ in range(500)))

    assert asyncio.run(main()) == [[1]] * 500
    assert (runs.count(True), len(runs)) == (6, 506)


def test_threads_race_the_first_step_of_a_stream() -> None:
    user = Racing()

    def stream():
        yield user()

    function = warmed(stream)
    got = race(lambda: list(function()), 32)
    assert (user.extra, user.runs) == (6, 7 + 31)
    assert all(len(items) == 1 for items in got)


def test_threads_and_event_loops_race_one_async_function() -> None:
    runs = []
    lock = threading.Lock()

    async def user():
        with lock:
            runs.append(is_warming())
        await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(function() for _ in range(20)))

    function = warmed(user)
    got = race(lambda: asyncio.run(main()), 8)
    assert got == [None] * 8
    assert (runs.count(True), len(runs)) == (6, 166)


def test_a_waiting_task_does_not_block_its_event_loop() -> None:
    gate = threading.Event()

    async def user():
        while not gate.is_set():  # noqa: ASYNC110 - the gate belongs to threads
            await asyncio.sleep(0.001)

    async def main():
        function = warmed(iterations=0)(user)
        tasks = [asyncio.create_task(function()) for _ in range(3)]
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0)
            ticks += 1
        gate.set()
        await asyncio.gather(*tasks)
        return ticks

    assert asyncio.run(asyncio.wait_for(main(), 60)) == 20


def test_after_a_failed_validation_each_waiter_makes_its_own_plain_run_and_gets_its_own_exception() -> None:
    gate = threading.Event()
    user = Racing(fail_at={0, 2}, gate=gate)
    function = warmed(user)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(function)
        assert user.started.wait(60)
        others = [pool.submit(function) for _ in range(3)]
        wait_until(lambda: len(flight_of(function)._wakers) == 3)
        gate.set()
        assert first.exception().args == (0,)
        results = [other.exception() or other.result() for other in others]
    assert user.runs == 4, "no waiter starts a warm-up of its own in their midst"
    assert sorted(result.args[0] if isinstance(result, Boom) else result for result in results) == [1, 2, 3]
    assert sum(isinstance(result, Boom) for result in results) == 1
    assert function.state is State.COLD


def test_after_a_failed_warm_up_the_waiters_run_plainly() -> None:
    gate = threading.Event()
    user = Racing(fail_at={1}, gate=gate)
    function = warmed(user)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(function) for _ in range(4)]
        wait_until(lambda: flight_of(function) is not None and len(flight_of(function)._wakers) == 3)
        gate.set()
        assert sorted(future.result() for future in futures) == [2, 3, 4, 5]
    assert function.state is State.FAILED


def flight_of(function):
    entries = list(function._core.registry.entries.values())
    return entries[0].in_flight if entries else None


def wait_until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.001)


def test_after_an_interruption_one_waiter_goes_on_as_leader_and_keeps_the_finished_runs() -> None:
    runs = []

    async def user():
        runs.append(1)
        if len(runs) == 3:
            hold.set()
            await asyncio.Event().wait()

    async def main():
        nonlocal hold
        hold = asyncio.Event()
        function = warmed(user)
        leader = asyncio.create_task(function())
        waiters = [asyncio.create_task(function()) for _ in range(5)]
        await hold.wait()
        assert function.state is State.WARMING
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        await asyncio.gather(*waiters)
        return function.state

    hold = None
    assert asyncio.run(asyncio.wait_for(main(), 60)) is State.WARM
    assert len(runs) == 3 + 4 + 5, "two finished, one cancelled, four more to go, one run for each waiter"


def test_a_cancelled_waiter_disturbs_nobody() -> None:
    runs = []

    async def main():
        gate = asyncio.Event()

        async def user():
            runs.append(1)
            await gate.wait()

        function = warmed(user)
        leader, waiter, other = (asyncio.create_task(function()) for _ in range(3))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(flight_of(function)._wakers) == 2
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert len(flight_of(function)._wakers) == 1, "who left is not woken"
        gate.set()
        await asyncio.gather(leader, other)

    asyncio.run(asyncio.wait_for(main(), 60))
    assert len(runs) == 8


def test_an_event_loop_that_closes_while_it_is_woken_keeps_nobody_else_from_waking() -> None:
    woken = []
    with ThreadPoolExecutor(1) as another:
        in_flight = another.submit(InFlight).result()
        loop = asyncio.new_event_loop()
        gone = loop.create_task(WaitForWarmup(in_flight, None).sleep())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        in_flight.join(lambda: woken.append(1))
        in_flight.end("warm")
    assert woken == [1]
    gone.get_coro().close()


def holding(**options):
    """A function that is being warmed up in a thread and held there."""
    gate = threading.Event()
    user = Racing(gate=gate)
    function = warmed(**options)(user)
    thread = threading.Thread(target=function)
    thread.start()
    assert user.started.wait(60)
    return function, user, gate, thread


def test_while_warming_pass_makes_a_plain_call(names) -> None:
    function, user, gate, thread = holding(while_warming="pass")
    user.gate = None
    assert function() == 1
    assert names() == ["call"]
    gate.set()
    thread.join()
    assert user.runs == 8


def test_while_warming_raise_says_not_ready_and_what_to_do() -> None:
    function, user, gate, thread = holding(while_warming="raise")
    with pytest.raises(NotReady, match=r"is being warmed up by another caller and while_warming='raise'.*\.ready"):
        function()
    gate.set()
    thread.join()
    assert user.runs == 7
    assert function() == 7


@pytest.mark.parametrize("kind", ["coroutine", "async_generator"])
def test_while_warming_holds_for_async_functions_too(kind) -> None:
    async def user():
        runs.append(1)
        await gate.wait()

    async def stream():
        await user()
        yield 1

    async def call(function):
        return [item async for item in function()] if kind == "async_generator" else await function()

    async def main(policy):
        nonlocal gate
        gate = asyncio.Event()
        runs.clear()
        function = warmed(while_warming=policy, iterations=0)(stream if kind == "async_generator" else user)
        leader = asyncio.create_task(call(function))
        await asyncio.sleep(0)
        other = asyncio.create_task(call(function))
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(leader, other, return_exceptions=True)
        return isinstance(results[1], NotReady), len(runs)

    runs, gate = [], None
    assert asyncio.run(main("pass")) == (False, 3)
    assert asyncio.run(main("raise")) == (True, 2)
    assert asyncio.run(main("wait")) == (False, 3)


def test_a_waiter_waits_at_most_the_budget_and_then_runs_plainly() -> None:
    function, user, gate, thread = holding(budget_s=0.05)
    user.gate = None
    began = time.monotonic()
    assert function() == 1
    assert time.monotonic() - began >= 0.05
    assert not gate.is_set(), "nobody but the budget ended the wait"
    gate.set()
    thread.join()


def test_a_waiting_task_waits_at_most_the_budget_too() -> None:
    runs = []

    async def main():
        gate = asyncio.Event()

        async def user():
            runs.append(1)
            if len(runs) == 1:
                await gate.wait()
            return len(runs)

        function = warmed(budget_s=0.02)(user)
        leader = asyncio.create_task(function())
        await asyncio.sleep(0)
        assert await function() == 2
        gate.set()
        await leader

    asyncio.run(asyncio.wait_for(main(), 60))


def test_warm_and_measure_wait_whatever_the_policy_says() -> None:
    function, _, gate, thread = holding(while_warming="raise", budget_s=0.01)
    with ThreadPoolExecutor(2) as pool:
        record, report = pool.submit(function.warm), pool.submit(function.measure)
        wait_until(lambda: len(flight_of(function)._wakers) == 2)
        gate.set()
        assert record.result().skipped is None
        assert report.result().latency.n == 20
    thread.join()


def test_different_keys_and_instances_are_warmed_side_by_side() -> None:
    gate = threading.Event()
    both = threading.Barrier(2)

    class Model:
        @warmed(iterations=0)
        def method(self):
            if is_warming():
                both.wait(60)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(Model().method) for _ in range(2)]:
            future.result(20)
    gate.set()


def test_one_block_measures_one_thing_at_a_time() -> None:
    from jitwarmup import Overlap

    async def main():
        async def user():
            await asyncio.sleep(0)

        async with steady_state(iterations=0, measurements=1) as steady:
            results = await asyncio.gather(steady.measure(user), steady.measure(user), return_exceptions=True)
            assert [isinstance(result, Overlap) for result in results] == [False, True]
            assert "one measurement at a time" in str(results[1])
            assert (await steady.measure(user)).latency.n == 1

    asyncio.run(main())


def test_landing_twice_counts_once() -> None:
    registry = KeyRegistry()
    entry = registry.entry((0, None))
    claim = Claim(registry, entry)
    with claim, claim:
        assert claim.take(demand=False) is None
        assert Claim(registry, entry).take(demand=True) is claim.in_flight
        claim.finish(State.WARM, "warm")
        claim.finish(State.FAILED, "failed")
        claim.progress(State.VALIDATING)
    assert entry.state is State.WARM
    assert claim.in_flight.outcome == "warm"
    assert not claim.in_flight.join(lambda: None)
    assert WaitForWarmup(claim.in_flight, None).block() is True


def test_two_sweeps_at_once_forget_only_who_is_gone() -> None:
    class Emptied:
        """Is swept by somebody else between the question and the answer."""

        def __init__(self, items):
            self.items = list(items)

        def __bool__(self):
            return bool(self.items) and (self.items.pop(0) is not None or True)

        def popleft(self):
            raise IndexError

    registry = KeyRegistry()
    kept = registry.entry((0, None))
    registry.dead = Emptied([1])
    registry.sweep()
    assert registry.entries == {(0, None): kept}


def test_only_good_runs_of_the_warm_up_are_kept_for_whoever_goes_on() -> None:
    registry = KeyRegistry()
    entry = registry.entry((0, None))
    claim = Claim(registry, entry)
    claim.take(demand=False)

    def run(phase, outcome="ok"):
        return Run(phase=phase, index=0, started_at=0.0, duration_ns=1, outcome=outcome)

    good = run(Phase.VALIDATE)
    claim.keep([good, run(Phase.WARM, "cancelled"), run(Phase.MEASURE)])
    assert entry.resumable_runs == (good,)


def test_threads_that_step_a_stream_whose_key_is_being_warmed_wait_for_it() -> None:
    gate = threading.Event()
    user = Racing(gate=gate)

    def stream():
        yield user()

    function = warmed(stream)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(lambda: list(function())) for _ in range(2)]
        wait_until(lambda: flight_of(function) is not None and len(flight_of(function)._wakers) == 1)
        gate.set()
        assert sorted(future.result(20) for future in futures) == [[6], [7]]
