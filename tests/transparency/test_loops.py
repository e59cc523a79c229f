"""Whatever event loop runs: racing callers share one warm-up, and nobody meets an error of our waiting."""

import asyncio
import threading

import anyio
import pytest
import trio

from jitwarmup import NotReady, steady_state, warmed

pytestmark = pytest.mark.usefixtures("events")
CALLERS = 50
ITERATIONS = 1


async def in_a_nursery(call):
    values = []

    async def one(n):
        values.append(await call(n))

    async with trio.open_nursery() as nursery:
        for n in range(CALLERS):
            nursery.start_soon(one, n)
    return values


async def in_a_group_of_anyio(call):
    values = []

    async def one(n):
        values.append(await call(n))

    async with anyio.create_task_group() as group:
        for n in range(CALLERS):
            group.start_soon(one, n)
    return values


async def in_a_group(call):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(n)) for n in range(CALLERS)]
    return [task.result() for task in tasks]


LOOPS = {
    "trio": (trio.run, trio.sleep, in_a_nursery),
    "anyio on trio": (lambda main: anyio.run(main, backend="trio"), anyio.sleep, in_a_group_of_anyio),
    "anyio on asyncio": (lambda main: anyio.run(main, backend="asyncio"), anyio.sleep, in_a_group_of_anyio),
    "asyncio": (lambda main: asyncio.run(main()), asyncio.sleep, in_a_group),
}


@pytest.fixture(params=LOOPS)
def loop(request):
    """How to run, to sleep and to race in one of the loops."""
    return LOOPS[request.param]


class Answer:
    """An async function that counts its runs, and those that go on at once."""

    def __init__(self, sleep, fails=0):
        self.sleep, self.fails = sleep, fails
        self.runs = self.now = self.most = 0

    async def __call__(self, n):
        self.runs += 1
        self.now += 1
        self.most = max(self.most, self.now)
        first = self.runs <= self.fails
        try:
            await self.sleep(0.01 if self.runs <= 1 + ITERATIONS else 0)
        finally:
            self.now -= 1
        if first:
            raise ValueError(n)
        return n


def test_racing_callers_share_one_warm_up(loop):
    run, sleep, race = loop
    answer = Answer(sleep)
    values = run(lambda: race(warmed(iterations=ITERATIONS)(answer)))
    assert sorted(values) == list(range(CALLERS))
    assert answer.runs == 1 + ITERATIONS + CALLERS


def test_racing_callers_of_a_stream_share_one_warm_up(loop):
    run, sleep, race = loop
    runs = 0

    async def stream(n):
        nonlocal runs
        runs += 1
        yield n
        await sleep(0.001)
        yield n

    function = warmed(iterations=ITERATIONS)(stream)

    async def take(n):
        return [item async for item in function(n)]

    values = run(lambda: race(take))
    assert sorted(values) == [[n, n] for n in range(CALLERS)]
    assert runs == 1 + ITERATIONS + CALLERS


def test_after_a_failure_each_waiter_makes_its_own_plain_run(loop):
    run, sleep, race = loop
    answer = Answer(sleep, fails=1)
    function = warmed(iterations=ITERATIONS)(answer)

    async def call(n):
        try:
            return await function(n)
        except ValueError as error:
            return error.args

    values = run(lambda: race(call))
    assert sum(isinstance(value, tuple) for value in values) == 1
    assert len({value[0] if isinstance(value, tuple) else value for value in values}) == CALLERS


def test_a_plain_function_is_warmed_off_the_loop(loop):
    here, threads = threading.get_ident(), []

    @warmed(iterations=2)
    def work(n):
        threads.append(threading.get_ident())
        return n

    async def main():
        done = await work.awarm(1)
        return done, work(2)

    warmup, value = loop[0](main)
    assert (len(warmup.runs), value) == (3, 2)
    assert here not in threads[:3]
    assert threads[3:] == [here]


def test_racing_warmers_of_a_plain_function_share_one_warm_up(loop):
    run, _, race = loop
    runs = []

    @warmed(iterations=ITERATIONS)
    def work(n):
        runs.append(n)
        return n

    async def call(n):
        await work.awarm(n)
        return work.ready

    assert all(run(lambda: race(call)))
    assert len(runs) == 1 + ITERATIONS


def test_while_a_plain_function_is_warmed_the_loop_goes_on(loop):
    run, sleep, _ = loop
    begun, went_on = threading.Event(), threading.Event()

    @warmed(iterations=0)
    def work():
        begun.set()
        assert went_on.wait(20), "the loop stood still"

    async def beside():
        while not begun.is_set():
            await sleep(0.001)
        went_on.set()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(beside)
            await work.awarm()

    run(main)
    assert went_on.is_set()


def test_an_exception_of_a_plain_function_comes_out_of_awarm_as_it_is(loop):
    def work():
        raise StopIteration("words")

    async def main():
        with pytest.raises((StopIteration, RuntimeError)) as raised:
            await warmed(iterations=1)(work).awarm()
        return raised.value

    error = loop[0](main)
    assert isinstance(error.__cause__ or error, StopIteration)


def test_many_inputs_are_warmed(loop):
    run, sleep, _ = loop
    answer = Answer(sleep)
    plain = warmed(iterations=1, key=lambda n: n)(lambda n: n)

    async def main():
        function = warmed(iterations=1, key=lambda n: n)(answer)
        return len((await function.warm_all([1, 2, 3])).done), len((await plain.awarm_all([1, 2, 3])).done)

    assert run(main) == (3, 3)


def test_measure_and_blocks_work(loop):
    run, sleep, _ = loop
    answer = Answer(sleep)

    async def main():
        report = await warmed(iterations=1, measurements=3)(answer).measure(5)
        async with steady_state(answer, 5, iterations=1) as steady:
            value = await answer(7)
        return report, steady.block, value

    report, block, value = run(main)
    assert (len(report.runs), report.failure, value) == (5, None, 7)
    assert block.outcome == "ok"


def test_a_waiter_that_is_cancelled_leaves_the_others_as_they_are(loop):
    run, sleep, _ = loop
    answer = Answer(sleep)
    function = warmed(iterations=ITERATIONS)(answer)
    values = []

    async def one(n):
        values.append(await function(n))

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(one, 0)
            await sleep(0)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await function(1)
            assert scope.cancelled_caught
            group.start_soon(one, 2)

    run(main)
    assert sorted(values) == [0, 2]


def test_a_leader_that_is_cancelled_hands_over(loop):
    run, sleep, _ = loop
    values = []

    async def main():
        begun = anyio.Event()  # anyio finds out which loop runs
        runs = 0

        async def answer(n):
            nonlocal runs
            runs += 1
            begun.set()
            await sleep(0 if runs > 1 else 600)
            return n

        function = warmed(iterations=ITERATIONS)(answer)

        async def one(n):
            values.append(await function(n))

        async with anyio.create_task_group() as group:
            leaders = anyio.CancelScope()

            async def lead():
                with leaders:
                    await function(0)

            group.start_soon(lead)
            await begun.wait()
            for n in range(1, 9):
                group.start_soon(one, n)
            await sleep(0.01)
            leaders.cancel()

    run(main)
    assert sorted(values) == list(range(1, 9))


@pytest.mark.parametrize("while_warming", ["pass", "raise"])
def test_who_does_not_want_to_wait_does_not(loop, while_warming):
    run, sleep, race = loop
    answer = Answer(sleep)
    function = warmed(iterations=ITERATIONS, while_warming=while_warming)(answer)

    async def call(n):
        try:
            return await function(n)
        except NotReady:
            return "not ready"

    values = run(lambda: race(call))
    assert ("not ready" in values) == (while_warming == "raise")
    assert len(values) == CALLERS
