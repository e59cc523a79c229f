"""Descriptors below a warmed function, the names of what its calls make, and keys of instances that cannot be followed."""

import asyncio
import dataclasses
import functools
import gc
import inspect
import warnings

import pytest

from jitwarmup import ArgumentError, State, warmed
from jitwarmup.testing import capture_events

pytestmark = pytest.mark.usefixtures("events")


def test_a_single_dispatch_method_registers():
    class Runs:
        @warmed(iterations=1)
        @functools.singledispatchmethod
        def run(self, x):
            return "any"

        @run.register
        def _(self, x: int):
            return "int"

        @run.register(str)
        def _(self, x):
            return "str"

    made = Runs()
    assert [made.run(1.5), made.run(1), made.run("a")] == ["any", "int", "str"]
    with capture_events() as events:
        Runs().run(1)
    assert {event["callable"].rpartition(".")[2] for event in events} == {"run"}


def test_a_single_dispatch_function_registers():
    @warmed(iterations=1)
    @functools.singledispatch
    def run(x):
        return "any"

    @run.register
    def _(x: int):
        return "int"

    assert [run(1.5), run(1)] == ["any", "int"]


def test_a_partial_method_binds():
    class Runs:
        def run(self, x, y):
            return x, y

        one = warmed(iterations=1)(functools.partialmethod(run, 1))

    assert Runs().one(2) == (1, 2)


class Reads:
    """A descriptor that gives a value, and no method."""

    def __get__(self, instance, owner=None):
        return 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (functools.cached_property, "cached_property"),
        (property, "property"),
        (lambda function: Reads(), "Reads"),
    ],
    ids=["cached_property", "property", "descriptor"],
)
def test_what_gives_a_value_and_no_method_is_refused_at_decoration(make, words):
    def size(self):
        raise AssertionError("nothing is run")

    with pytest.raises(ArgumentError, match=words) as raised:
        warmed(iterations=1)(make(size))
    assert "decorate" in str(raised.value) or "below" in str(raised.value) or "function" in str(raised.value)


def test_below_a_property_it_works():
    class Sized:
        @property
        @warmed(iterations=1)
        def size(self):
            return 4

        @functools.cached_property
        @warmed(iterations=1)
        def width(self):
            return 5

    assert (Sized().size, Sized().width) == (4, 5)


class Bindable:
    """As asgiref's `sync_to_async`: an object that is called asynchronously, and binds."""

    def __init__(self, function):
        self.function = function

    async def __call__(self, *args):
        return self.function(*args)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self.__call__, instance)


def test_a_callable_object_that_binds_keeps_its_kind(counted):
    runs = counted(abs)
    function = warmed(iterations=1)(Bindable(runs))
    assert inspect.iscoroutinefunction(function)
    assert asyncio.run(function(-1)) == 1
    assert runs.runs == 3

    class Holder:
        run = warmed(iterations=0)(Bindable(lambda self, x: (type(self).__name__, x)))

    assert asyncio.run(Holder().run(5)) == ("Holder", 5)


def test_generators_of_callable_objects_that_bind_keep_their_kind():
    class Streaming(Bindable):
        def __call__(self, n):
            yield from range(n)

    class AsyncStreaming(Bindable):
        async def __call__(self, n):
            for i in range(n):
                yield i

    async def collect():
        return [item async for item in warmed(iterations=1)(AsyncStreaming(None))(3)]

    assert list(warmed(iterations=1)(Streaming(None))(3)) == [0, 1, 2]
    assert asyncio.run(collect()) == [0, 1, 2]


# ------------------------------------------------------------------------------------------------- names


async def answer(x=1):
    return x


def tokens(x=1):
    yield x


async def async_tokens(x=1):
    yield x


@pytest.mark.parametrize("state", ["cold", "warm"])
@pytest.mark.parametrize("function", [answer, tokens, async_tokens], ids=["coroutine", "generator", "async generator"])
@pytest.mark.parametrize("emit", ["calls", "off"])
def test_what_a_call_makes_carries_the_functions_name(function, state, emit):
    ours = warmed(iterations=1, emit=emit)(function)
    if state == "warm":
        done = ours.warm()
        if inspect.iscoroutine(done):
            asyncio.run(done)
    made, plain = ours(), function()
    assert (made.__name__, made.__qualname__) == (plain.__name__, plain.__qualname__)
    assert repr(made).split(" at ")[0].split()[-1] == repr(plain).split(" at ")[0].split()[-1]
    for one in (made, plain):
        if not inspect.isasyncgen(one):
            one.close()


def test_a_method_carries_its_qualified_name():
    class Service:
        @warmed(iterations=1)
        async def summarise(self, text):
            return text

    made = Service().summarise("x")
    assert made.__qualname__.endswith("Service.summarise")
    made.close()


def test_a_task_is_shown_by_the_functions_name():
    async def main():
        task = asyncio.create_task(warmed(iterations=1)(answer)())
        shown = repr(task)
        await task
        return shown

    assert "answer()" in asyncio.run(main())


def test_what_was_never_awaited_is_named():
    gc.collect()  # what other tests left
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warmed(iterations=1)(answer)()
        gc.collect()
    assert [str(one.message) for one in caught] == ["coroutine 'answer' was never awaited"]


# --------------------------------------------------------------------------------------- slotted instances


def test_a_new_slotted_instance_is_never_warm_because_a_dead_one_was(counted):
    runs = counted(lambda self: 5)

    @dataclasses.dataclass(slots=True)
    class Slotted:
        n: int = 0
        run = warmed(iterations=1)(runs)

    states = []
    for _ in range(20):
        made = Slotted()
        states.append(made.run.state)
        assert made.run() == 5
        del made
    assert states == [State.COLD] + [State.WARM] * 19  # one key for the class: all its instances share it
    assert runs.runs == 1 + 1 + 20
    assert [made.run.state for made in (Slotted(), Slotted(), Slotted())] == [State.WARM] * 3
    assert len(Slotted.run.status()["keys"]) == 1


def test_a_slotted_instance_that_can_be_referenced_weakly_has_a_key_of_its_own():
    @dataclasses.dataclass(slots=True, weakref_slot=True)
    class Slotted:
        n: int = 0

        @warmed(iterations=1)
        def run(self):
            return self.n

    first, second = Slotted(1), Slotted(2)
    assert (first.run(), first.run.state, second.run.state) == (1, State.WARM, State.COLD)
    del first
    gc.collect()
    assert Slotted(3).run.state is State.COLD
