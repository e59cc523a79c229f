"""Exceptions of a warmed function read as after a plain call: context, cause, and the call that did not bind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import sys
import weakref

import pytest

from jitwarmup import steady_state, warmed

pytestmark = pytest.mark.usefixtures("events")


def bare():
    raise ValueError("bare")


def in_a_handler():
    try:
        {}["root cause"]
    except KeyError:
        raise ValueError("x")  # noqa: B904 - the context is what is looked at


def from_a_cause():
    raise ValueError("x") from OSError("cause")


def from_none():
    try:
        {}["root cause"]
    except KeyError:
        raise ValueError("x") from None


RAISED_BEFORE = ValueError("made before")


def made_before():
    raise RAISED_BEFORE


WAYS = [bare, in_a_handler, from_a_cause, from_none, made_before]


def of_kind(kind, raises, fail_at):
    """A function of a kind that fails in its n-th call, counted from 0."""
    runs = iter(range(1_000))

    def plain():
        return raises() if next(runs) >= fail_at else 1

    async def coroutine():
        await asyncio.sleep(0)
        return plain()

    def generator():
        yield plain()

    async def stream():
        yield plain()

    return {"def": plain, "async def": coroutine, "generator": generator, "async generator": stream}[kind]


async def carried(kind, function):
    if kind == "def":
        function()
    elif kind == "async def":
        await function()
    elif kind == "generator":
        list(function())
    else:
        [item async for item in function()]


def chain(error):
    """Each exception of the chain, with what is around it."""
    found = []
    while error is not None and len(found) < 9:
        found.append((type(error), error.args, error.__suppress_context__, type(error.__cause__)))
        error = error.__context__
    return found


def caught(kind, function, handling, calls):
    """The chain of what the last call raises, and what the handler of the caller's own holds afterwards."""

    async def main():
        for _ in range(calls - 1):
            await carried(kind, function)
        try:
            await carried(kind, function)
        except ValueError as error:
            return chain(error)

    async def around():
        if not handling:
            return await main(), None
        try:
            raise LookupError("outer")
        except LookupError as outer:
            found = await main()
            return found, (sys.exc_info()[1] is outer, chain(outer))

    RAISED_BEFORE.__context__ = None
    return asyncio.run(around())


@pytest.mark.parametrize("emit", ["calls", "summary", "off"])
@pytest.mark.parametrize("calls", [1, 2], ids=["first call", "warm call"])
@pytest.mark.parametrize("handling", [False, True], ids=["", "in a handler"])
@pytest.mark.parametrize("raises", WAYS)
@pytest.mark.parametrize("kind", ["def", "async def", "generator", "async generator"])
def test_an_exception_keeps_its_context(kind, raises, handling, calls, emit):
    plain = caught(kind, of_kind(kind, raises, calls - 1), handling, calls)
    function = warmed(iterations=0, emit=emit)(of_kind(kind, raises, 0 if calls == 1 else 2))
    assert caught(kind, function, handling, calls) == plain


async def coroutine(one, *, two=2): ...
def generator(one, *, two=2):
    yield


async def stream(one, *, two=2):
    yield


def plain(one, *, two=2): ...


class Model:
    async def method(self, one): ...


WRONG = [((), {}), ((1, 2), {}), ((1,), {"three": 3}), ((1,), {"one": 1})]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("function", [plain, coroutine, generator, stream, Model().method, functools.partial(stream)])
def test_arguments_that_do_not_bind_fail_at_the_call(function, wrong):
    args, kwargs = wrong
    with pytest.raises(TypeError) as theirs:
        function(*args, **kwargs)
    with pytest.raises(TypeError) as ours:
        warmed(function)(*args, **kwargs)
    assert (type(ours.value), ours.value.args) == (type(theirs.value), theirs.value.args)


def test_a_proxy_that_shows_the_code_of_its_function_is_called_once():
    calls = []

    class Proxy:
        """As wrapt makes them."""

        __code__, __defaults__, __kwdefaults__ = coroutine.__code__, None, {"two": 2}
        __name__ = __qualname__ = "coroutine"

        def __call__(self, *args):
            calls.append(args)
            return coroutine(*args)

    function = warmed(iterations=0)(Proxy())
    asyncio.run(await_(function, 1))
    calls.clear()
    asyncio.run(await_(function, 1))
    assert calls == [(1,)]


async def await_(function, *args):
    return await function(*args)


def test_a_warmed_function_reaches_a_third_of_the_depth(capsys):
    deepest = {}

    def depth(decorate):
        found = 0

        @decorate
        def down(level):
            nonlocal found
            found = max(found, level)
            down(level + 1)

        with contextlib.suppress(RecursionError):
            down(1)
        return found

    def wraps(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    for name, decorate in {"plain": lambda function: function, "wraps": wraps, "warmed": warmed(iterations=0)}.items():
        deepest[name] = depth(decorate)
    with capsys.disabled():
        print(f"\ndeepest call: {deepest}")
    assert deepest["warmed"] > deepest["plain"] / 3 - 20


# ------------------------------------------------------------------ what has caught an exception and goes on


def test_a_generator_that_caught_what_a_measured_function_raises_again_goes_on():
    def catching():
        try:
            raise LookupError("of the generator's own")
        except LookupError as error:
            yield error
        yield "goes on"

    ours = catching()
    stored = next(ours)

    def f():
        raise ValueError from stored

    with steady_state() as steady:
        assert steady.measure(f).failure.type == "ValueError"
    assert next(ours) == "goes on"


def test_what_a_generator_held_that_failed_is_released():
    class Tensor:
        pass

    held = []

    @warmed(iterations=1)
    def stream():
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        yield 1
        raise ValueError

    report = stream.measure()
    assert report.failure.exception is not None
    gc.collect()
    assert [each() for each in held] == [None] * len(held)


def test_a_level_of_recursion_costs_one_frame_more_than_a_plain_one():
    def frames():
        frame, count = sys._getframe(1), 0
        while frame is not None:
            frame, count = frame.f_back, count + 1
        return count

    @warmed(iterations=1)
    def down(n):
        return down(n - 1) if n else frames()

    class Tree:
        @warmed(iterations=1)
        def down(self, n):
            return self.down(n - 1) if n else frames()

    for one in (down, Tree().down):
        one(1)
        assert one(9) - one(5) == 4 * 2
