"""A fork after warming keeps the state; a fork during warming starts cold in the child, and harms nobody."""

import os
import threading

import pytest

from jitwarmup import State, warmed
from jitwarmup.testing import capture_events

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def in_child(check) -> str:
    """What ``check`` says in a forked child; an alarm ends a child that hangs."""
    import signal

    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            answer = str(check())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def test_a_fork_after_warming_keeps_the_state() -> None:
    runs = []
    function = warmed(iterations=1)(lambda: runs.append(1))
    function.warm()

    def check():
        function()
        return function.state, function.ready, len(runs)

    assert in_child(check) == str((State.WARM, True, 3))
    assert len(runs) == 2


def test_a_fork_during_warming_starts_cold_in_the_child_and_warms_there() -> None:
    """Another thread is in the middle of a warm-up, holds the lease, and locks of ours are held besides."""
    begun, go_on, results = threading.Event(), threading.Event(), []
    parent, runs = os.getpid(), []

    @warmed(iterations=1)
    def function():
        runs.append(1)
        if os.getpid() == parent and len(runs) == 1:
            begun.set()
            go_on.wait(30)
        return len(runs)

    leader = threading.Thread(target=lambda: results.append(function()))
    leader.start()
    begun.wait(30)
    waiter = threading.Thread(target=lambda: results.append(function()))
    waiter.start()
    ledger = function._core.registry

    def check():
        before = function.state, function.status()["last_reason"]
        runs.clear()
        function()
        return *before, function.state, len(runs), function.coverage().calls

    held, release = threading.Event(), threading.Event()

    def hold():
        with ledger.lock:
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    try:
        answer = in_child(check)
    finally:
        release.set()
        holder.join()
    assert answer == str((State.COLD, "forked while it was being warmed up", State.WARM, 3, 1))
    assert function.state is State.VALIDATING
    go_on.set()
    for thread in (leader, waiter):
        thread.join(30)
    assert sorted(results) == [3, 4]
    assert function.state is State.WARM


def test_a_function_that_forks_in_its_warm_up_goes_on_in_the_parent() -> None:
    @warmed(iterations=1)
    def function():
        return in_child(lambda: 7)

    assert function() == "7"
    assert function.state is State.WARM


def test_a_child_sums_up_its_own_calls_only() -> None:
    function = warmed(iterations=0, emit="summary")(lambda: None)
    function.warm()
    with capture_events() as events:

        def counts():
            function.flush()
            return [event["count"] for event in events.named("jitwarmup.summary")]

        def check():
            function()
            return counts()

        function()
        function()
        assert in_child(check) == "[1]"
        assert counts() == [2]
