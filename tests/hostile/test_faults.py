"""
Once the user's function has returned, its value is safe: whatever of ours then fails, the caller gets it, and the next too.

The functions are found by a profiler hook and not by a list: whatever is entered after the user's code is made to raise,
one at a time. A generator of ours that merely goes on is not entered; what it calls is.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import traceback
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any, Self

import pytest

import jitwarmup
from jitwarmup import steady_state, warmed
from jitwarmup.api.block import Block
from jitwarmup.engine.commands import CallResult
from jitwarmup.events.guard import FAULTS
from jitwarmup.host.clock import SystemClock
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Exchanged

try:
    import _testcapi
except ImportError:
    _testcapi = None

PACKAGE = str(Path(jitwarmup.__file__).parent)
GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
KINDS = ("def", "async def", "generator", "async generator")

THE_USERS = {CallResult.unwrap.__code__}  # it raises the user's own exception


def of_the_fence(error: BaseException) -> bool:
    """What the fence raises is the user's: work that he started has failed on the device."""
    return any(frame.f_code is SystemClock.fence.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


class Fault(RuntimeError):
    """What a function of ours raises here."""


class Boom(Exception):
    """What the user's function raises."""


class World:
    """A warmed function of one kind; ``armed`` makes the hook look, and ``over`` says that user code has ended."""

    def __init__(self, kind: str, emit: str, *, fails: bool = False) -> None:
        self.kind, self.fails, self.over = kind, fails, False
        self.later = 0  # runs that end before ``over`` is said
        functions = {"def": self.plain, "async def": self.coroutine, "generator": self.stream}
        self.function = warmed(iterations=2, emit=emit)(functions.get(kind, self.astream))

        self.no_memory_at: int | None = None  # the allocation that fails, counted from the end of user code

    def end(self, value: Any) -> Any:
        self.over, self.later = self.later <= 0, self.later - 1
        if self.fails:
            raise Boom
        if self.no_memory_at is not None:
            _testcapi.set_nomemory(self.no_memory_at, self.no_memory_at + 1)
            self.no_memory_at = None
        return value

    @property
    def plain(self) -> Any:
        end = self.end

        def plain(x: int) -> int:
            return end(x)

        return plain

    @property
    def coroutine(self) -> Any:
        end = self.end

        async def coroutine(x: int) -> int:
            await asyncio.sleep(0)
            return end(x)

        return coroutine

    @property
    def stream(self) -> Any:
        end = self.end

        def stream(x: int) -> Any:
            yield x
            yield x + 1
            return end(x)

        return stream

    @property
    def astream(self) -> Any:
        end = self.end

        async def astream(x: int) -> Any:
            yield x
            yield x + 1
            end(x)

        return astream

    def call(self, x: int) -> list[Any]:
        """Everything that the caller of one plain call gets: items, value, exception."""
        got: list[Any] = []

        async def drawn() -> None:
            async for item in self.function(x):
                got.append(item)

        def drained() -> Any:
            got.append((yield from self.function(x)))

        try:
            if self.kind == "def":
                got.append(self.function(x))
            elif self.kind == "async def":
                got.append(sent(self.function(x)))
            elif self.kind == "generator":
                for item in drained():
                    got.append(item)
            else:
                sent(drawn())
        except Boom:
            got.append(Boom)
        return got


def sent(coroutine: Any) -> Any:
    """Drive a coroutine that waits for nobody, without an event loop's own calls in the profile."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        return stop.value


class Profiler:
    """Notes the functions of ours that are entered after user code; raises in the one that is the ``target``, once."""

    def __init__(self, world: World, target: CodeType | None = None) -> None:
        self.world, self.target = world, target
        self.found: dict[CodeType, None] = {}
        self.begun: set[FrameType] = set()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_flags & GENERATORS:
            if frame in self.begun:
                return
            self.begun.add(frame)
        if self.world.over:
            self.found[code] = None
            if code is self.target:
                sys.setprofile(None)
                del frame  # with it this would look like a signal's handler
                raise Fault

    def __enter__(self) -> Self:
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def profiled(world: World, *, warm: bool, target: CodeType | None = None) -> tuple[list[Any], Profiler]:
    """One call, first or warm, with the hook; the function fails in that call only, where it shall fail at all."""
    fails, world.fails = world.fails, False
    if warm:
        world.call(1)
    world.over, world.fails = False, fails
    with Profiler(world, target) as profiler:
        got = world.call(1)
    world.over, world.fails = False, False
    return got, profiler


@pytest.fixture(autouse=True)
def _faults_are_wanted():
    """No collection in between, whose callback is ours too, and no tracer (coverage), which allocates in our frames."""
    gc.disable()
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
    gc.enable()
    FAULTS.by_place.clear()


CASES = [
    pytest.param(kind, emit, warm, fails, marks=[] if emit == "calls" and not fails and fast else pytest.mark.slow)
    for kind in KINDS
    for emit in ("calls", "summary", "off")
    for warm in (False, True)
    for fails in (False, True)
    for fast in (warm or not kind.startswith("async"),)
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what runs in a finaliser
@pytest.mark.parametrize(("kind", "emit", "warm", "fails"), CASES)
def test_whatever_of_ours_fails_after_the_users_code_the_caller_gets_what_it_gave(kind, emit, warm, fails, events):
    plain, whole = profiled(World(kind, emit, fails=fails), warm=warm)
    expected = {"def": [1], "async def": [1], "generator": [1, 2, 1], "async generator": [1, 2]}[kind]
    if fails:
        expected = [*(expected if kind == "async generator" else expected[:-1]), Boom]
    assert plain == expected
    assert emit == "off" or len(whole.found) > 10
    lost = {}
    for code in set(whole.found) - THE_USERS:
        world = World(kind, emit, fails=fails)
        try:
            got, _ = profiled(world, warm=warm, target=code)
        except Fault as fault:
            got = expected if of_the_fence(fault) else [fault]
        again = world.call(1)
        if got != expected or again != [1, 2, 1][: len(again)]:
            lost[f"{Path(code.co_filename).name} {code.co_qualname}"] = got, again
    assert lost == {}


@pytest.mark.skipif(_testcapi is None, reason="this Python was built without _testcapi")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("warm", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_allocation_that_fails_after_the_users_code_costs_no_value(kind, warm, events):
    expected = {"def": [1], "async def": [1], "generator": [1, 2, 1], "async generator": [1, 2]}[kind]
    lost = {}
    for at in range(3, 203):  # the first three are Python's own, for the StopIteration that ends the user's stream
        world = World(kind, "calls")
        if warm:
            world.call(1)
        world.no_memory_at = at
        try:
            got = world.call(1)
        except MemoryError as fault:
            ours = traceback.extract_tb(fault.__traceback__)[-1].filename.startswith(PACKAGE)
            got = [fault] if ours and not of_the_fence(fault) else expected
        finally:
            _testcapi.remove_mem_hooks()
        if got != expected or world.call(1) != expected:
            lost[at] = got
    assert lost == {}


@pytest.mark.parametrize("fails", [False, True])
def test_whatever_of_ours_fails_at_the_end_of_a_block_its_body_keeps_its_exception(fails, events):
    def entered(target: CodeType | None = None) -> tuple[Any, Profiler]:
        world, got = World("def", "calls", fails=fails), None
        profiler = Profiler(world, target)
        try:
            with steady_state():
                sys.setprofile(profiler)
                got = world.end(1)
        except Boom:
            got = Boom
        finally:
            sys.setprofile(None)
        return got, profiler

    expected, whole = entered()
    assert len(whole.found) > 10
    lost = {}
    for code in set(whole.found) - THE_USERS - {Block.__exit__.__code__}:
        try:
            got, _ = entered(code)
        except Fault as fault:
            got = expected if of_the_fence(fault) else fault
        if got != expected:
            lost[code.co_qualname] = got
    assert lost == {}


def explicit(kind: str, ask: str, target: CodeType | None = None) -> tuple[Any, World, Profiler]:
    """What ``.measure`` or ``.warm`` gave, and what was entered after the second of its runs."""
    world = World(kind, "calls")
    world.later = 1
    with Profiler(world, target) as profiler:
        try:
            got = getattr(world.function, ask)(1)
            got = sent(got) if inspect.iscoroutine(got) else got
        except (Fault, ArgumentError) as fault:  # where options are checked, the one became the other
            got = fault
    world.over = False
    return got, world, profiler


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        pytest.param(kind, ask, marks=[] if (kind, ask) == ("def", "warm") else pytest.mark.slow)
        for kind in KINDS
        for ask in ("measure", "warm")
        if ask == "warm" or kind in ("def", "async generator")
    ],
)
def test_whatever_of_ours_fails_in_a_measurement_it_ends_with_what_it_has(kind, ask, events):
    """A report of the finished runs, the record of a warm key; a key that is not warm yet ends with the fault, and cold."""
    whole, _, found = explicit(kind, ask)
    assert whole.callable
    lost = {}
    for code in set(found.found) - THE_USERS:
        got, world, _ = explicit(kind, ask, code)
        failed = isinstance(got, Fault | ArgumentError)
        allowed = failed and (of_the_fence(got) or isinstance(got, ArgumentError) or ask == "warm")
        if ask == "warm":
            allowed = allowed and world.function.state in ("cold", "failed")
        right = world.call(1) == {"def": [1], "async def": [1], "generator": [1, 2, 1]}.get(kind, [1, 2])
        if (failed and not allowed) or not right or (not failed and not got.runs):
            lost[f"{Path(code.co_filename).name} {code.co_qualname}"] = got, world.function.state
    assert lost == {}


def test_what_fresh_raises_in_the_middle_of_a_measurement_reaches_its_user(events):
    made = [((1,), {}), ((2,), {})]
    f = warmed(iterations=3, fresh=lambda x: made.pop())(lambda x: x)
    for ask in (f.measure, f.warm):
        with pytest.raises(IndexError):
            ask(1)
    assert not FAULTS.by_place


class Ranks:
    """Two ranks of which the other never comes after the first run."""

    rank, members = 0, (0, 1)

    def __init__(self) -> None:
        self.left: list[str] = []

    def exchange(self, message: bytes) -> Any:
        waits = asyncio.sleep(3600) if message.startswith(b"after") else asyncio.sleep(0)

        async def sleep() -> Exchanged:
            await waits
            return Exchanged((message, message))

        return SimpleNamespace(sleep=sleep)

    def leave(self, reason: str) -> None:
        self.left.append(reason)


def test_a_cancellation_while_others_are_waited_for_is_no_fault_of_ours(events):
    ranks, runs = Ranks(), []

    @warmed(iterations=1, ranks=ranks)
    async def f(x: int) -> int:
        runs.append(x)
        return x

    async def main() -> None:
        task = asyncio.create_task(f(1))
        while not runs:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert runs == [1]
    assert ranks.left
    assert not FAULTS.by_place
