"""A guard against hangs, and a comparison of a first call with a plain call on equal arguments."""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

from jitwarmup import ArgumentError, warmed
from jitwarmup.testing import capture_events

GUARD_S = 30.0  # nothing here takes a second; what takes this long waits for what never comes
ITERATIONS = 2
ALL_RUNS = 1 + ITERATIONS + 1


@contextmanager
def guarded(seconds: float = GUARD_S) -> Iterator[None]:
    """A block that waits for ever fails, and the tests after it run: the main thread's waits hear signals."""

    def hangs(*_: object) -> None:
        pytest.fail(f"it hangs: nothing came of it in {seconds:g} s")

    before = signal.signal(signal.SIGALRM, hangs)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # that of pytest-timeout, perhaps
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def guard():
    """The context manager `guard(seconds=30)`."""
    return guarded


@pytest.fixture(autouse=True)
def _no_test_hangs(request: pytest.FixtureRequest) -> Iterator[None]:
    with nullcontext() if "guard" in request.fixturenames else guarded():  # these know how long they may take
        yield


@pytest.fixture
def counted():
    """A function of the same kind that counts its runs in `.runs`."""

    def count(function):
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def counting(*args, **kwargs):
                counting.runs += 1
                return await function(*args, **kwargs)

        else:

            @functools.wraps(function)
            def counting(*args, **kwargs):
                counting.runs += 1
                return function(*args, **kwargs)

        counting.runs = 0
        return counting

    return count


@contextmanager
def made(maker) -> Iterator[object]:
    """The argument; a maker that yields closes it afterwards."""
    if inspect.isgeneratorfunction(maker):
        with contextmanager(maker)() as value:
            yield value
    else:
        yield maker()


async def outcome(function, maker, look):
    """What a call on a new argument gives, and what the argument looks like afterwards."""
    with made(maker) as value:
        try:
            found = function(value)
            given = await found if inspect.isawaitable(found) and not isinstance(found, asyncio.Future) else found
        except Exception as error:  # compared, not hidden
            return "raised", error, names_in(value)
        return "returned", given, look(value)


def run(function, maker, look):
    """In a loop where the function wants one."""
    steps = outcome(function, maker, look)
    if inspect.iscoroutinefunction(function):
        return asyncio.run(steps)
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a plain function awaited something")


@pytest.fixture
def check(counted):
    """
    Compare a first call with a plain call, each on an argument of its own.

    Outcomes: ``warmed``: value and state are a plain call's, and every run was made; ``mutated``: they are, and the first
    run was the only one; ``refused``: ArgumentError before anything ran, which names the class and the way out;
    ``refused or same``: one or the other.
    """

    def compare(maker, function, wanted, look=lambda value: None, **options):
        plain = run(function, maker, look)
        assert plain[0] == "returned", plain
        runs = counted(function)
        with capture_events() as events:
            first = run(warmed(iterations=ITERATIONS, **options)(runs), maker, look)
        if isinstance(first[1], ArgumentError):
            assert wanted.startswith("refused"), f"refused: {first[1]}"
            assert runs.runs == 0, "it was refused after it had run"
            words = str(first[1])
            assert any(name in words for name in first[2]), words
            assert "fresh=" in words or "reusable=" in words
        else:
            assert wanted != "refused", f"it was not refused, and gave {first[:1]} after {runs.runs} runs"
            assert first == plain
            if wanted != "refused or same":
                assert runs.runs == (1 if wanted == "mutated" else ALL_RUNS)
        skipped = [event.get("skipped") for event in events if event["event"] == "jitwarmup.warmup.completed"]
        return SimpleNamespace(runs=runs.runs, skipped=skipped, events=list(events))

    return compare


def names_in(value) -> set[str]:
    """The names of its class and of the classes of what it holds."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return {type(one).__name__ for one in (value, *held)}
