"""
An interrupt at every place where CPython lets one come, in our own code and in what it calls.

CPython looks for signals when a Python function is entered, when a builtin has returned, and when a loop turns: the
events ``call`` and ``c_return`` of a profiler, and a traced jump. So a profiler and a tracer can play the signal. Where
a generator is closed or thrown into, no signal is looked for before its handler: that ``call`` is no place (what a
profiler raises there passes every handler by, which no signal does).

Whatever happens, the interrupt reaches the caller, and afterwards no run is under way, no key is claimed, the monitor
is as it was, other ranks wait for nobody, and the next caller is served at once.
"""

from __future__ import annotations

import _thread
import dis
import functools
import operator
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, Self

import pytest

import jitwarmup
from jitwarmup import steady_state, warmed
from jitwarmup.engine import instruments, options
from jitwarmup.gpu import shared
from jitwarmup.host import scope
from jitwarmup.host.scope import current
from jitwarmup.probes import ProbeSet, compiled_calls, run_table
from jitwarmup.records.protocols import Exchanged
from jitwarmup.testing import RecordingMonitor

PLACES = 120  # that are tried of one spelling at most
SERVED_S = 30.0  # only a lock that was never given back is waited for longer
OURS = str(Path(jitwarmup.__file__).parent)
USERS = (__file__, sys.modules["jitwarmup.testing"].__file__)  # an interrupt in the user's own code is told elsewhere


class Interrupter:
    """Raises KeyboardInterrupt at the n-th place; with n = 0 it only counts them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.places = 0
        self.where: str | None = None
        self.unraisable = False  # it came while CPython cleared something away, and CPython dropped it

    def __enter__(self) -> Self:
        self.hook, sys.unraisablehook = sys.unraisablehook, self.drop
        self.tracer, self.profiler = sys.gettrace(), sys.getprofile()  # coverage's, perhaps
        sys.settrace(self.trace)
        sys.setprofile(self.profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.profiler)
        sys.settrace(self.tracer)
        sys.unraisablehook = self.hook

    def drop(self, outcome_of: Any) -> None:
        self.unraisable = self.unraisable or outcome_of.exc_type is KeyboardInterrupt

    def profile(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "c_return" or (event == "call" and frame.f_lasti in offsets_of(frame.f_code, "RESUME")):
            self.place(frame, f"{event} {getattr(arg, '__name__', '')}")

    def trace(self, frame: FrameType, event: str, arg: object) -> Any:
        """Looks at each instruction of code that has a loop."""
        jumps = offsets_of(frame.f_code, "JUMP_BACKWARD")  # where a loop turns
        frame.f_trace_lines, frame.f_trace_opcodes = False, bool(jumps)
        if event == "opcode" and frame.f_lasti in jumps:
            self.place(frame, "loop")
        return self.trace if jumps else None

    def place(self, frame: FrameType, what: str) -> None:
        path = frame.f_code.co_filename
        if path in USERS:
            return
        self.places += 1
        if self.places == self.at:
            self.where = f"{path.removeprefix(OURS)}:{frame.f_lineno} {frame.f_code.co_qualname} {what}"
            sys.setprofile(None)
            sys.settrace(None)
            raise KeyboardInterrupt


@functools.cache
def offsets_of(code: CodeType, opname: str) -> frozenset[int]:
    """Where a function has one kind of instruction."""
    return frozenset(step.offset for step in dis.get_instructions(code) if step.opname == opname)


class OneOfTwo:
    """A rank whose neighbour says what it says; ``owes`` while the neighbour counts on it."""

    rank, members, active = 0, (0, 1), True

    def __init__(self) -> None:
        self.met = 0
        self.left = False

    def exchange(self, message: bytes) -> Any:
        return RankReport(self, message)

    def leave(self, reason: str) -> None:
        self.left = True


class RankReport:
    """One exchange: the neighbour says the same."""

    def __init__(self, ranks: OneOfTwo, message: bytes) -> None:
        self.ranks, self.message = ranks, message

    def block(self) -> Exchanged:
        self.ranks.met += 1
        return Exchanged(messages=(self.message, self.message))


class World:
    """A monitor, a neighbouring rank, and ways to call what uses them."""

    def __init__(self) -> None:
        self.monitor = RecordingMonitor()
        self.ranks = OneOfTwo()
        self.functions = {
            "plain": warmed(iterations=1, measurements=2, monitor=self.monitor)(plain),
            "quiet": warmed(iterations=1, emit="summary")(plain),
            "stream": warmed(iterations=1, monitor=self.monitor)(stream),
            "coroutine": warmed(iterations=1, monitor=self.monitor)(coroutine),
            "astream": warmed(iterations=1, monitor=self.monitor)(astream),
            "ranked": warmed(iterations=1, measurements=1, ranks=self.ranks)(plain),
        }

    def spelling(self, name: str) -> Callable[[], Any]:
        """What is interrupted."""
        functions = self.functions
        return {
            "first call": lambda: functions["plain"](1),
            "warm call": lambda: functions["plain"](1),
            "counted call": lambda: functions["quiet"](1),
            "warm": lambda: functions["plain"].warm(1),
            "measure": lambda: functions["plain"].measure(1),
            "stream": lambda: list(functions["stream"](1)),
            "stream left": lambda: next(functions["stream"](1)),
            "stream warm": lambda: functions["stream"].warm(1),
            "coroutine": lambda: sent(functions["coroutine"](1)),
            "astream": lambda: sent(drawn(functions["astream"](1))),
            "astream warm": lambda: sent(functions["astream"].warm(1)),
            "block": self.block,
            "block of a function": lambda: self.block(functions["plain"], 1),
            "trials": self.trials,
            "ranked call": lambda: functions["ranked"](1),
            "ranked measure": lambda: functions["ranked"].measure(1),
            "ranked block": lambda: self.block(functions["ranked"], 1, ranks=self.ranks),
            "ranked trials": lambda: self.trials(ranks=self.ranks),
        }[name]

    def block(self, *call: Any, **settings: Any) -> None:
        with steady_state(*call, iterations=1, monitor=self.monitor, **settings):
            pass

    def trials(self, **settings: Any) -> None:
        with steady_state(iterations=1, measurements=1, monitor=self.monitor, **settings) as steady:
            for trial in steady.trials():
                with trial:
                    pass

    def wrong(self) -> Iterator[str]:
        """What an interrupt left behind."""
        if current() is not None:
            yield "the caller is inside a run or block"
        if run_table.RUNS.live:
            yield "a run is under way for the probes"
        if self.monitor.paused != 0:
            yield f"the monitor is paused {self.monitor.paused} times"
        if self.monitor.log.count("window+") > self.monitor.log.count("window-"):
            yield "a window of the monitor is open"
        hooks = sys.modules["torch._C._dynamo.eval_frame"]
        if compiled_calls._SLOT or getattr(hooks, "hook", None) is not None:
            yield "a run is audited"
        for name, function in self.functions.items():
            if any(entry.in_flight is not None for entry in function._core.registry.met(None)):
                yield f"the key of {name} is claimed"


def plain(x):
    return x


def stream(x):
    yield x
    yield x


async def coroutine(x):
    return x


async def astream(x):
    yield x
    yield x


async def drawn(items):
    return [item async for item in items]


def sent(awaitable: Any) -> None:
    """Run a coroutine that waits for nothing."""
    with pytest.raises(StopIteration):
        awaitable.send(None)


def forget() -> None:
    """Begin with nothing open, whatever the last interrupt left."""
    scope.CURRENT.set(None)
    run_table.RUNS.live.clear()
    compiled_calls._SLOT.clear()


def interrupted(name: str, at: int) -> tuple[Interrupter, World, BaseException | None]:
    """Interrupt one spelling at one place."""
    forget()
    world = World()
    call = world.spelling(name)
    if name in ("warm call", "counted call"):
        call()
    caught: BaseException | None = None
    with Interrupter(at) as interrupter:
        try:
            call()
        except BaseException as error:
            caught = error.with_traceback(None)
    return interrupter, world, caught


def another_is_served(world: World, name: str) -> bool:
    """Whether somebody else is served soon, by the same functions."""
    done = threading.Event()

    def other() -> None:
        world.spelling(name)()
        done.set()

    threading.Thread(target=other, daemon=True).start()
    return done.wait(SERVED_S)


def outcome_of(name: str, at: int, meetings: int) -> tuple[str, list[str]]:
    """Where the interrupt came, and what is wrong after it."""
    interrupter, world, caught = interrupted(name, at)
    if interrupter.where is None:
        return "nowhere", []
    wrong = list(world.wrong())
    if not interrupter.unraisable and not isinstance(caught, KeyboardInterrupt):
        wrong.append(f"the interrupt became {caught!r}")
    if 0 < world.ranks.met < meetings and not world.ranks.left:
        wrong.append(f"the other rank waits at meeting {world.ranks.met + 1} of {meetings}")
    forget()
    if not another_is_served(world, name):
        wrong.append("the next caller is not served")
    return interrupter.where, wrong


SLOW = {
    "measure",
    "block",
    "block of a function",
    "trials",
    "ranked measure",
    "ranked block",
    "ranked trials",
    "ranked call",
}
SPELLINGS = (
    *("first call", "warm call", "counted call", "warm", "measure", "block", "block of a function", "trials"),
    *("stream", "stream left", "stream warm", "coroutine", "astream", "astream warm"),
    *("ranked call", "ranked measure", "ranked block", "ranked trials"),
)


class Hooks(ModuleType):
    """Where torch keeps its guard hook: one slot of the process."""

    def __init__(self) -> None:
        super().__init__("hooks")
        self.hook: Any = None

    def set_guard_complete_hook(self, hook: Any) -> Any:
        former, self.hook = self.hook, hook
        return former


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """A torch that has been loaded, as far as an audited run looks at it."""
    made = Hooks()
    monkeypatch.setitem(sys.modules, "torch._C._dynamo.eval_frame", made)
    monkeypatch.setitem(sys.modules, "torch._dynamo", sys.modules.get("torch._dynamo", made))
    return made


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProbeSet]:
    """The probes are real here: what they keep of a run is a part of what must not stay."""
    real = ProbeSet(())
    monkeypatch.setattr(shared, "PATIENCE_S", 2 * SERVED_S)
    monkeypatch.setattr(instruments, "probe_set_of", lambda probes: real)
    monkeypatch.setattr(options, "probe_set_of", lambda probes: real)
    yield real
    forget()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a coroutine that never began
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SPELLINGS]
)
def test_an_interrupt_anywhere_leaves_nothing_behind(name: str) -> None:
    whole, world, caught = interrupted(name, 0)
    assert caught is None
    assert whole.places > 30
    places = range(1, whole.places + 1)
    tried = places if len(places) <= PLACES else sorted(random.Random(9).sample(places, PLACES))
    found: dict[str, list[str]] = {}
    for at in tried:
        where, wrong = outcome_of(name, at, world.ranks.met)
        if wrong:
            found[where] = wrong
    assert found == {}


@pytest.mark.parametrize("leave", ["close", "throw"])
@pytest.mark.parametrize("name", ["stream", "astream"])
def test_a_signal_that_is_pending_as_a_stream_is_left_leaves_nothing_behind(name: str, leave: str) -> None:
    world = World()
    items = world.functions[name](1)
    error = [ValueError] if leave == "throw" else []
    if name == "stream":
        next(items)
        left = functools.partial(getattr(items, leave), *error)
    else:
        sent(anext(items))
        left = functools.partial(getattr(items, f"a{leave}")(*error).send, None)
    assert "a window of the monitor is open" in world.wrong()
    with pytest.raises(KeyboardInterrupt):
        list(map(operator.call, [_thread.interrupt_main, left]))  # no bytecode between the two: it comes inside
    assert list(world.wrong()) == []
    assert another_is_served(world, name)
