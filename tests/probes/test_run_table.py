"""The table of runs under way: whose work is, and who overlaps whom."""

import asyncio
import contextvars
import os
import threading

import pytest

from jitwarmup import OneTimeWork
from jitwarmup.host.scope import CURRENT, RunContext, ancestors, current
from jitwarmup.probes.run_table import RunTable, relation

WORK = OneTimeWork(kind="gc.collect")


@pytest.fixture
def hub():
    yield RunTable()
    CURRENT.set(None)


def entered(hub):
    token = RunContext()
    hub.enter(token)
    return token


def described(token):
    return [(event.work.kind, own) for event, own in token.hook_events]


def in_thread(function):
    """Run without the caller's context, as ``threading.Thread`` does."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_what_a_hook_sees_is_own_in_the_runs_context(hub):
    token = entered(hub)
    hub.push("gc", WORK)
    hub.leave(token)
    assert described(token) == [("gc.collect", True)]


def test_what_happens_outside_every_run_is_nobodys(hub):
    hub.push("gc", WORK)
    token = entered(hub)
    hub.leave(token)
    hub.push("gc", WORK)
    assert described(token) == []


def test_a_thread_without_the_context_is_foreign(hub):
    token = entered(hub)
    in_thread(lambda: hub.push("gc", WORK))
    hub.leave(token)
    assert described(token) == [("gc.collect", False)]


def test_a_thread_with_the_context_is_own(hub):
    token = entered(hub)
    context = contextvars.copy_context()
    in_thread(lambda: context.run(hub.push, "gc", WORK))
    hub.leave(token)
    assert described(token) == [("gc.collect", True)]


def test_an_inner_runs_work_is_the_outer_ones_too(hub):
    outer = entered(hub)
    inner = entered(hub)
    hub.push("gc", WORK)
    hub.leave(inner)
    hub.leave(outer)
    assert described(inner) == described(outer) == [("gc.collect", True)]
    assert not outer.overlapped
    assert not inner.overlapped


def test_what_a_later_run_sees_is_not_the_former_ones(hub):
    first = entered(hub)
    hub.leave(first)
    second = entered(hub)
    hub.push("gc", WORK)
    hub.leave(second)
    assert described(first) == []
    assert ancestors(second) == [second]


def test_the_context_is_restored_by_value_when_runs_end_out_of_order(hub):
    outer = entered(hub)
    inner = entered(hub)
    hub.leave(outer)
    hub.leave(inner)
    third = entered(hub)
    assert ancestors(third) == [third]
    hub.leave(third)


def test_runs_beside_each_other_overlap_and_runs_within_each_other_do_not(hub):
    first = entered(hub)
    second = []
    in_thread(lambda: second.append(entered(hub)))
    hub.leave(first)
    hub.leave(second[0])
    third = entered(hub)
    hub.leave(third)
    assert (first.overlapped, second[0].overlapped, third.overlapped) == (True, True, False)


def test_an_overlap_is_remembered_after_the_other_run_is_over(hub):
    first = entered(hub)
    in_thread(lambda: hub.leave(entered(hub)))
    assert not first.overlapped
    hub.leave(first)
    assert first.overlapped


def test_tasks_are_told_apart(hub):
    async def task(barrier, push):
        token = entered(hub)
        await barrier.wait()
        if push:
            hub.push("gc", WORK)
        await barrier.wait()
        hub.leave(token)
        return token

    async def main():
        barrier = asyncio.Barrier(2)
        return await asyncio.gather(task(barrier, push=True), task(barrier, push=False))

    busy, idle = asyncio.run(main())
    assert described(busy) == [("gc.collect", True)]
    assert described(idle) == [("gc.collect", False)]
    assert busy.overlapped
    assert idle.overlapped


def test_a_suspended_run_hears_nothing_and_is_own_again_afterwards(hub):
    stream = entered(hub)
    hub.suspend(stream)
    assert CURRENT.get() is None
    hub.push("gc", WORK)
    step = stream.next_step()
    hub.resume(step)
    hub.push("gc", WORK)
    hub.leave(step)
    assert described(stream) == [("gc.collect", True)]
    assert not hub.live


def test_a_stream_that_is_stepped_within_another_run_gives_that_runs_context_back(hub):
    stream = entered(hub)
    hub.suspend(stream)
    consumer = entered(hub)
    step = stream.next_step()
    hub.resume(step)
    assert ancestors(CURRENT.get()) == [stream, consumer]
    hub.suspend(step)
    assert CURRENT.get() is consumer
    hub.leave(consumer)
    step = step.next_step()
    hub.resume(step)
    assert ancestors(CURRENT.get()) == [stream]
    hub.leave(step)
    assert not stream.overlapped


def test_what_a_streams_body_opened_in_an_earlier_step_is_still_around_its_later_ones(hub):
    stream = entered(hub)
    inner = entered(hub)
    hub.suspend(stream)
    step = stream.next_step()
    hub.resume(step)
    hub.push("gc", WORK)
    hub.leave(step)
    hub.leave(inner)
    assert described(inner) == described(stream) == [("gc.collect", True)]
    assert current() is None


def test_two_streams_stepped_within_each_other_make_no_circle(hub):
    first, second = entered(hub), entered(hub)
    for _ in range(2):
        for stream in (first, second):
            hub.suspend(stream)
            step = stream.next_step()
            hub.resume(step)
            assert ancestors(step)[0] is stream
            hub.suspend(step)
    hub.leave(second)
    hub.leave(first)
    assert current() is None


def test_a_compile_knows_its_owner_and_its_duration(hub):
    token = entered(hub)
    hub.compile_started("DYNAMO", "0/0")
    compiled = hub.compile_ended("0/0")
    hub.leave(token)
    assert compiled.owners == (token, token)
    assert compiled.duration_ns > 0
    assert compiled.ended > token.seq
    assert relation(token, compiled.owners[0]) == "own"
    assert not hub.open


def test_an_end_without_a_start_is_ignored(hub):
    assert hub.compile_ended("0/0") is None


def test_two_compiles_that_overlap_pair_by_counting(hub):
    """Torch tells the first start and the last end only: one pair, with an owner and an id at each end."""
    token = entered(hub)
    hub.compile_started("DYNAMO", "0/0")
    ends = []
    in_thread(lambda: ends.append(hub.compile_ended("1/0")))
    hub.leave(token)
    assert ends[0].ids == ("0/0", "1/0")
    assert ends[0].owners == (token, None)


def test_a_compile_of_another_thread_is_of_all_runs_that_are_open(hub):
    token = entered(hub)
    ends = []
    in_thread(lambda: (hub.compile_started("DYNAMO", "0/0"), ends.append(hub.compile_ended("0/0"))))
    hub.leave(token)
    assert relation(token, ends[0].owners[0]) == "shared"


def test_a_start_whose_end_never_came_is_forgotten(hub):
    hub.compile_started("DYNAMO", "0/0")
    in_thread(lambda: hub.compile_started("DYNAMO", "0/1"))
    assert len(hub.open) == 2
    hub.forget_stale()
    assert not hub.open


def test_a_compile_under_way_in_a_living_thread_is_not_forgotten(hub):
    started, done = threading.Event(), threading.Event()

    def work():
        hub.compile_started("DYNAMO", "0/0")
        started.set()
        done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    started.wait(10)
    hub.forget_stale()
    left = len(hub.open)
    done.set()
    thread.join()
    assert left == 1


def test_many_threads_open_and_close_at_once_without_losing_a_run(hub):
    wrong = []

    def work():
        for _ in range(300):
            token = entered(hub)
            hub.push("gc", WORK)
            hub.leave(token)
            if [own for _, own in token.hook_events].count(True) != 1:
                wrong.append(token)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not hub.live


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_no_runs_of_its_parent(child):
    script = """
        import json, os
        from jitwarmup.host.scope import RunContext
        from jitwarmup.probes.run_table import RUNS
        RUNS.enter(RunContext()); RUNS.compile_started("DYNAMO", "0/0")
        reads, writes = os.pipe()
        if os.fork() == 0:
            os.write(writes, json.dumps([len(RUNS.live), len(RUNS.open)]).encode())
            os._exit(0)
        os.wait()
        print(json.dumps([json.loads(os.read(reads, 100)), [len(RUNS.live), len(RUNS.open)]]))
    """
    assert child(script) == [[0, 0], [1, 1]]


def test_a_run_that_opens_while_another_is_told_loses_nobody(hub):
    """A collection inside ``list()`` can let another thread in: the table changes size under us."""

    class Values:
        tries = 0

        def __iter__(self):
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError("dictionary changed size during iteration")
            return iter([token])

    class Changing(dict):
        def values(self):
            return changing

    changing = Values()
    hub.live = Changing()
    token = entered(hub)
    hub.push("gc", WORK)
    assert described(token) == [("gc.collect", True)]
    changing.tries = -100
    hub.push("gc", WORK)
    hub.leave(token)
    assert len(token.hook_events) == 1
