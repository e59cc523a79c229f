"""Whose work it is: a compile anywhere in the process took the time of every run that was open, and marks them."""

import asyncio
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from jitwarmup import State, steady_state, until_steady, warmed
from jitwarmup.testing import FakeClock, capture_events

SIZES = range(2, 8)


pytestmark = pytest.mark.usefixtures("fresh_programs")


def in_executor(work):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def in_a_thread_of_its_own(work):
    held = []
    thread = threading.Thread(target=lambda: held.append(work()))
    thread.start()
    thread.join()
    return held[0]


def in_a_queue_worker(work):
    asked, answered = queue.Queue(), queue.Queue()
    threading.Thread(target=lambda: answered.put(asked.get()()), daemon=True).start()
    asked.put(work)
    return answered.get(timeout=60)


def in_to_thread(work):
    return asyncio.run(asyncio.to_thread(work))


def in_run_in_executor(work):
    async def main():
        return await asyncio.get_running_loop().run_in_executor(None, work)

    return asyncio.run(main())


def in_a_warmed_function(work):
    return warmed(iterations=0)(work)()


WAYS = {
    "inline": lambda work: work(),
    "executor": in_executor,
    "thread": in_a_thread_of_its_own,
    "queue worker": in_a_queue_worker,
    "to_thread": in_to_thread,
    "run_in_executor": in_run_in_executor,
    "nested warmed function": in_a_warmed_function,
}
WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def sized(way):
    """Each run meets a new size up to the last, then the same again and again; each new one is compiled."""
    program = torch.compile(lambda x: x.sin() * 2, backend="eager", dynamic=False)
    sizes = iter([*SIZES, *[SIZES[-1]] * 100])
    return lambda: way(lambda: program(torch.ones(next(sizes))).shape[0])


@WAY
def test_a_recompile_marks_the_run_that_waited_for_it_whoever_made_it(way):
    with steady_state(iterations=2, measurements=8, clock=FakeClock(1_000_000)) as steady:
        report = steady.measure(sized(way))
    assert [run.contaminated for run in report.measured] == [True] * 3 + [False] * 5
    assert report.verdict.state == "contaminated"
    marked = [work for run in report.measured for work in run.work if work.kind == "dynamo.recompile"]
    assert len(marked) == 3
    assert all("size of x changed at dimension 0" in work.reason for work in marked)
    assert "dynamo.recompile" in report.ledger
    assert report.latency.n == 5


@WAY
def test_no_stretch_of_clean_runs_reaches_over_a_recompile(way):
    with steady_state(iterations=until_steady(), measurements=5, clock=FakeClock(1_000_000)) as steady:
        report = steady.measure(sized(way))
    assert not any(run.contaminated for run in report.measured)
    assert len(report.warmup) > len(SIZES) - 1


@WAY
def test_a_warm_key_loses_its_state_by_a_recompile_wherever_it_is_made(way):
    program = torch.compile(lambda x: x.cos() * 2, backend="eager", dynamic=False)
    serve = warmed(iterations=1)(lambda n: way(lambda: program(torch.ones(n)).shape[0]))
    with capture_events() as events:
        assert [serve(3), serve(3), serve(4)] == [3, 3, 4]
    calls = [event["contaminated"] for event in events if event["event"] == "jitwarmup.call" and "serve" not in event]
    assert calls[-1]
    assert serve.state is State.DEGRADED
