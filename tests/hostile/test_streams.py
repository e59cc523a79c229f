"""Generators and async generators whose first call is used in every way: it cannot be told from a plain call."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import textwrap
import tracemalloc
import types
import weakref
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from jitwarmup import State, is_warming, steady_state, warmed
from jitwarmup.engine.measurement import MOST_ITEMS, MOST_S
from jitwarmup.testing import FakeClock

pytestmark = pytest.mark.usefixtures("events")
MANY = 25  # steps after which a consumer has enough of a stream


class Boom(Exception):
    pass


# ------------------------------------------------------------------ programs

LEAVES = st.sampled_from(
    [
        "log(('got', (yield {n})))",
        "log(('got', (yield [{n}])))",
        "log('did {n}')",
        "value.append({n})",
        "await_something()",
        "raise Boom({n})",
        "raise Boom({n}) from KeyError({n})",
        "raise StopIteration({n})",
        "raise GeneratorExit",
        "return {n}",
        "{{}}[{n}]",
    ]
)
CATCHES = st.sampled_from(["except Boom:", "except GeneratorExit:", "except Exception:", "finally:"])


def indented(body):
    return textwrap.indent("\n".join(body), "    ")


def attempt(body, catch, handler):
    return f"try:\n{indented(body)}\n{catch}\n{indented(handler)}"


ITEMS = st.just("log(('got', (yield {n})))")  # else most programs end before their consumer does
BODY = st.recursive(
    st.lists(st.one_of(ITEMS, ITEMS, LEAVES), min_size=1, max_size=4),
    lambda body: st.lists(st.one_of(ITEMS, LEAVES, st.builds(attempt, body, CATCHES, body)), min_size=1, max_size=3),
    max_leaves=4,
)
STEPS = st.lists(
    st.sampled_from(["next", "next", "next", "send", "throw Boom", "throw GeneratorExit", "close"]), max_size=5
)
ENDS = st.sampled_from(["to the end", "close", "drop"])


def program(body, log, *, asynchronous):
    """A stream function of these lines; what a silent run does is not noted."""
    source = indented(body)
    count = itertools.count()
    while "{n}" in source:
        source = source.replace("{n}", str(next(count)), 1)
    source = source.replace("{{}}", "{}")
    pause = "await asyncio.sleep(0)" if asynchronous else "pass"
    source = source.replace("await_something()", pause)
    if asynchronous:
        source = "\n".join(
            line if "return" not in line else line.split("return")[0] + "return" for line in source.splitlines()
        )
    text = f"{'async ' if asynchronous else ''}def stream(value):\n{source}\n    if False:\n        yield\n"
    names = {"Boom": Boom, "asyncio": asyncio, "log": lambda what: is_warming() or log.append(("stream", what))}
    exec(compile(text, "<program>", "exec"), names)  # noqa: S102 - the text is made above
    return names["stream"]


def of_error(error, depth=6):
    """An exception with its context and cause, in words."""
    if error is None or not depth:
        return None
    around = (error.__suppress_context__, of_error(error.__context__, depth - 1), of_error(error.__cause__, depth - 1))
    return (type(error).__name__, error.args, *around)


async def used(stream, steps, end, log, *, asynchronous):
    """Use a stream by the steps, and then to its end; note what comes of each."""

    async def step(name, *args):
        answer = getattr(stream, f"a{name}" if asynchronous else name)(*args)
        return (await answer) if asynchronous else answer

    script = [*steps, *{"to the end": ["next"] * MANY, "close": ["close"], "drop": []}[end]]
    for number, each in enumerate(script):
        name, *thrown = each.split()
        args = {"send": [number], "throw": [{"Boom": Boom, "GeneratorExit": GeneratorExit}[t](number) for t in thrown]}
        try:
            if name == "next":
                found = await anext(stream) if asynchronous else next(stream)
            else:
                found = await step(name, *args.get(name, []))
            log.append(("item", found))
        except (StopIteration, StopAsyncIteration) as over:
            log.append(("over", getattr(over, "value", None)))
            if each == "next":
                return
        except BaseException as error:
            log.append(("raised", of_error(error)))


def history(function, make, steps, end, log, *, asynchronous, handling):
    """All that happened, in its order: what the stream did, what its consumer got."""

    async def main():
        value = make()
        stream = None
        try:
            if handling:
                raise LookupError("the caller's own")
        except LookupError:
            stream = function(value)
            await used(stream, steps, end, log, asynchronous=asynchronous)
        else:
            stream = function(value)
            await used(stream, steps, end, log, asynchronous=asynchronous)
        with contextlib.suppress(BaseException):
            if asynchronous:
                await stream.aclose()
            else:
                stream.close()
        log.append(("argument", value))

    asyncio.run(main())
    return log


@dataclass
class Holder:
    """An argument that can change."""

    members: list[int]

    def append(self, number):
        self.members.append(number)


VALUES = {"list": list, "object": lambda: Holder([]), "number": lambda: 7, "tuple": lambda: (1, "a")}
CHANGE = ("list", "object")


def compare(*, body, steps, end, kind, asynchronous, handling, iterations):
    logs, lines = [], body
    if kind not in CHANGE:  # what is no Exception is an interrupt of the silent run, and raised at once
        lines = [line.replace("raise GeneratorExit", "raise Boom({n})") for line in body]
    for decorate in (lambda function: function, warmed(iterations=iterations)):
        log = []
        function = decorate(program(lines, log, asynchronous=asynchronous))
        logs.append(history(function, VALUES[kind], steps, end, log, asynchronous=asynchronous, handling=handling))
    if kind not in CHANGE:  # a silent run came before: what it did is nobody's, but for the end
        logs = [[entry for entry in log if entry[0] != "stream"] for log in logs]
    plain, first = logs
    assert first == plain
    event(f"{len(plain)} events")


PROGRAMS = given(
    body=BODY,
    steps=STEPS,
    end=ENDS,
    kind=st.sampled_from(sorted(VALUES)),
    asynchronous=st.booleans(),
    handling=st.booleans(),
    iterations=st.sampled_from([0, 0, 1]),
)
SETTINGS = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
}
QUIET = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


@QUIET
@settings(max_examples=150, **SETTINGS)
@PROGRAMS
def test_a_first_call_of_a_stream_is_what_a_plain_call_is(**drawn):
    compare(**drawn)


@QUIET
@pytest.mark.slow
def test_a_first_call_of_a_stream_is_what_a_plain_call_is_over_2000_programs():
    @settings(max_examples=2_000, **SETTINGS)
    @PROGRAMS
    def search(**drawn):
        compare(**drawn)

    search()


# ------------------------------------------------------------------ what is kept, and who waits


def taken(stream):
    """Use every item of a stream, sync or async."""
    if not hasattr(stream, "__anext__"):
        return list(stream)

    async def main():
        return [item async for item in stream]

    return asyncio.run(main())


class Frame:
    """An item that can be looked for."""


@pytest.mark.parametrize("value", [7, [7]], ids=["cannot change", "may change"])
def test_no_frame_of_a_first_call_is_kept(value):
    alive, most = [], 0

    def frames(_):
        nonlocal most
        for _ in range(50):
            frame = Frame()
            alive.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in alive[-60:]))
            yield frame

    for frame in warmed(iterations=1)(frames)(value):
        del frame
    assert len(alive) > 50
    assert most <= 2


@pytest.mark.parametrize("value", [7, [7]], ids=["cannot change", "may change"])
def test_a_first_call_needs_no_more_memory_than_a_plain_one(value):
    def texts(_):
        for number in range(100):
            yield str(number % 10) * 1_000_000

    tracemalloc.start()
    try:
        for _ in warmed(iterations=1)(texts)(value):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000, "of 100,000,000"


@pytest.mark.parametrize("value", [7, [7]], ids=["cannot change", "may change"])
def test_an_endless_stream_is_given_item_by_item(value):
    made = 0

    def endless(_):
        nonlocal made
        while True:
            made += 1
            yield made

    function = warmed(iterations=2)(endless)
    stream = function(value)
    silent = 3 * MOST_ITEMS if value == 7 else 0
    assert [next(stream), next(stream)] == [silent + 1, silent + 2]
    stream.close()
    assert function.state is (State.WARM if value == 7 else State.COLD)


def test_a_slow_endless_stream_is_cut_by_its_own_time():
    clock, made = FakeClock(), 0

    def ticks():
        nonlocal made
        while True:
            clock.advance(1)
            made += 1
            yield made

    with steady_state(clock=clock):
        assert next(warmed(iterations=1)(ticks)()) == 2 * MOST_S + 1


def test_two_streams_of_one_function_side_by_side_wait_for_nobody():
    function = warmed(iterations=1)(lambda_items)
    assert list(zip(function([3]), function([3]), strict=True)) == [(0, 0), (1, 1), (2, 2)]
    assert function.state is State.WARM


def lambda_items(numbers):
    yield from range(numbers[0])


def test_a_stream_that_is_never_ended_holds_nobody_up():
    function = warmed(iterations=1)(lambda_items)
    held = function([3])
    assert next(held) == 0
    assert list(function([3])) == [0, 1, 2]
    assert function.state is State.WARM
    assert list(held) == [1, 2]


def test_the_caller_of_a_stream_that_may_change_its_argument_gets_its_own_run_and_warm_up_follows(events):
    made = []

    def stream(numbers):
        for number in numbers:
            made.append((number, is_warming()))
            yield number

    function = warmed(iterations=2)(stream)
    running = function([1, 2])
    assert [next(running), next(running)] == [1, 2]
    assert made == [(1, False), (2, False)]
    assert function.state is State.COLD
    assert list(running) == []
    assert made[2:] == [(1, True), (2, True)] * 2
    assert function.state is State.WARM
    assert [each["event"].split(".", 1)[1] for each in events] == ["validation.completed", "warmup.completed"]


def test_a_chat_that_is_left_early_has_no_answer_in_its_history(events):
    def chat(history):
        words = []
        for word in ("good", "morning"):
            words.append(word)
            yield word
        history.append(" ".join(words))

    function, history = warmed(iterations=2)(chat), []
    for _ in function(history):
        break
    assert history == []
    assert [each["event"] for each in events.named("jitwarmup.call")] == ["jitwarmup.call"]
    assert list(function(history)) == ["good", "morning"]
    assert history == ["good morning"]
    assert function.state is State.WARM, "it changed its argument: nothing more was run"
    assert events.named("jitwarmup.warmup.completed")[0]["skipped"] == "arguments_mutated"


FIXED = [7, "text", None, (1, "a", (2,)), frozenset([1]), dt.date(2026, 1, 1), range(3), types]
CHANGES = [[1], {}, ([1],), bytearray(b"a"), Holder([]), {1}, (Holder([]),)]


@pytest.mark.parametrize("value", [*FIXED, *CHANGES], ids=repr)
def test_silent_runs_are_made_first_exactly_where_no_argument_can_change(value):
    seen = []

    def stream(_):
        seen.append(is_warming())
        yield 1

    next(warmed(stream)(value))
    assert seen == ([True] * 6 + [False] if any(value is each for each in FIXED) else [False])


def test_an_interrupt_of_a_silent_run_is_never_lost():
    runs = []

    def stream(at):
        runs.append(1)
        yield 1
        yield 2
        if len(runs) == at:
            raise KeyboardInterrupt

    leaving = warmed(stream)(1)
    assert next(leaving) == 1
    with pytest.raises(KeyboardInterrupt):
        leaving.close()
    runs.clear()
    staying, met = warmed(stream)(2), []
    with pytest.raises(KeyboardInterrupt):
        met.extend(staying)
    assert met == [1, 2]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_swallows_its_closing_ends_as_plainly(asynchronous, events):
    def swallows(value):
        try:
            yield 1
        except GeneratorExit:
            return

    async def aswallows(value):
        try:
            yield 1
        except GeneratorExit:
            return

    async def main():
        stream = warmed(aswallows)([])
        await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await stream.athrow(GeneratorExit)

    if asynchronous:
        asyncio.run(main())
    else:
        stream = warmed(swallows)([])
        next(stream)
        with pytest.raises(StopIteration):
            stream.throw(GeneratorExit)
    assert [each["outcome"] for each in events.named("jitwarmup.call")] == ["closed"]


def test_an_interrupt_of_the_warm_up_after_a_stream_reaches_its_consumer_and_the_next_call_goes_on():
    runs = []

    def stream(_):
        runs.append(is_warming())
        yield len(runs)
        if len(runs) == 3:
            raise KeyboardInterrupt

    function = warmed(iterations=3)(stream)
    running = function([])
    assert next(running) == 1
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert function.state is State.COLD
    assert list(function([])) == [4]
    assert function.state is State.WARM


def test_tasks_that_stream_side_by_side_each_get_their_own_run():
    async def stream(numbers):
        for number in numbers:
            await asyncio.sleep(0)
            yield number

    async def main():
        function = warmed(iterations=1)(stream)

        async def task(*numbers):
            return [item async for item in function(list(numbers))]

        found = await asyncio.gather(*(task(number, number + 1) for number in range(20)))
        assert found == [[number, number + 1] for number in range(20)]
        assert function.state is State.WARM

    asyncio.run(main())
