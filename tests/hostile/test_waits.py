"""
Twenty places where other people's code runs in the middle of ours, and calls a warmed function there.

Every call ends, with its own value; each under a watchdog that fails the test with all stacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import gc
import hashlib
import io
import logging
import random
import signal
import sys
import tempfile
import threading
import weakref

import pytest
import structlog

from jitwarmup import steady_state, warmed
from jitwarmup.engine.rules import Fixed
from jitwarmup.events.emit import set_emitters
from jitwarmup.testing import FakeClock, RecordingMonitor

PATIENCE_S = 30.0
AT_MOST = 3  # calls of one callback inside of each other: a callback that always calls again never ends


class Pause:
    def __await__(self):
        yield


def stepped(coroutine):
    """Driven by hand, since a callback cannot await."""
    for _ in range(100_000):
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
    raise AssertionError("a coroutine that is driven by hand does not end")


async def all_of(stream):
    return [item async for item in stream]


class Value:
    """What the functions return; ``gone`` is called when one goes."""

    gone = None

    def __init__(self, x) -> None:
        self.x = x

    def __del__(self) -> None:
        if self.gone is not None:
            self.gone()


class Kind:
    """A kind of callable: how it is made, called by its user, and called where nobody can await."""

    @staticmethod
    def function(made):
        def answer(x, *_):
            return made(x)

        return answer

    @staticmethod
    def coroutine(made):
        async def answer(x, *_):
            await Pause()
            return made(x)

        return answer

    @staticmethod
    def generator(made):
        def answer(x, *_):
            yield made(x)

        return answer

    @staticmethod
    def async_generator(made):
        async def answer(x, *_):
            await Pause()
            yield made(x)

        return answer


CALL = {
    "function": lambda f, *args: f(*args),
    "coroutine": lambda f, *args: stepped(f(*args)),
    "generator": lambda f, *args: next(iter(list(f(*args)))),
    "async_generator": lambda f, *args: stepped(all_of(f(*args)))[0],
}


async def in_a_task(kind, f, *args):
    return await f(*args) if kind == "coroutine" else (await all_of(f(*args)))[0]


def from_outside(kind, f, *args):
    """As a user calls it."""
    return asyncio.run(in_a_task(kind, f, *args)) if kind in ("coroutine", "async_generator") else CALL[kind](f, *args)


@contextlib.contextmanager
def watchdog():
    """Fails what does not end, with the stacks of all threads."""
    main, over, stacks = threading.main_thread().ident, threading.Event(), []

    def fail(*_):
        raise AssertionError("stands still:\n" + stacks[0])

    def watch():
        if not over.wait(PATIENCE_S):
            with tempfile.TemporaryFile("w+") as file:
                faulthandler.dump_traceback(file, all_threads=True)
                file.seek(0)
                stacks.append(file.read())
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, fail)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


class Calls:
    """What a callback does: call a warmed function (those of ``targets`` in turn, inside of each other), and check it."""

    def __init__(self, kind) -> None:
        self.kind, self.targets, self.depth, self.made, self.wrong = kind, [], 0, 0, []

    def __call__(self, *_, **__):
        if not self.targets or self.depth >= AT_MOST or self.made >= 40:
            return True
        target = self.targets[self.depth % len(self.targets)]
        self.depth += 1
        self.made += 1
        number = 1000 + self.made
        try:
            if CALL[self.kind](target, number).x != number:
                self.wrong.append(number)
        except BaseException as error:
            self.wrong.append(error)
        finally:
            self.depth -= 1
        return True


# ---------------------------------------------------------------- the places: options, a context manager, or both


@contextlib.contextmanager
def added(sink):
    set_emitters(sink)
    try:
        yield
    finally:
        set_emitters()


class Sink:
    def __init__(self, calls, *, spans=False) -> None:
        self.calls = calls
        if spans:
            self.warming = self.span

    def emit(self, event, level, fields) -> None:
        self.calls()

    @contextlib.contextmanager
    def span(self, fields):
        self.calls()
        yield
        self.calls()


class Handler(logging.Handler):
    def __init__(self, calls) -> None:
        super().__init__()
        self.calls = calls

    def emit(self, record) -> None:
        self.calls()


@contextlib.contextmanager
def logged(calls):
    logger, handler = logging.getLogger("jitwarmup"), Handler(calls)
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextlib.contextmanager
def structlogged(calls):
    structlog.configure(processors=[lambda _l, _n, fields: calls() and fields, lambda *_: ""])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        structlog.reset_defaults()


class Clock(FakeClock):
    def __init__(self, calls) -> None:
        super().__init__(step_ns=1000)
        self.calls = calls

    def now(self):
        self.calls()
        return super().now()


class Probe:
    name = "calling"

    def __init__(self, calls) -> None:
        self.calls = calls

    def arm(self):
        from jitwarmup.probes.base import ARMED

        self.calls()
        return ARMED

    def disarm(self) -> None: ...

    def snapshot(self):
        self.calls()

    def delta(self, before, after):
        self.calls()
        return ()


class Generator(random.Random):
    calls = None

    def setstate(self, state) -> None:
        super().setstate(state)
        if self.calls is not None:
            self.calls()


class Label:
    def __init__(self, calls) -> None:
        self.calls = calls

    @property
    def label(self):
        self.calls()
        return "labelled"

    def __hash__(self):
        return 1

    def __eq__(self, other):
        self.calls()
        return isinstance(other, Label)


class Stderr(io.StringIO):
    def __init__(self, calls) -> None:
        super().__init__()
        self.calls = calls

    def write(self, text):
        self.calls()
        return super().write(text)


class Rule(Fixed):
    def __init__(self, calls) -> None:
        super().__init__(1)
        object.__setattr__(self, "calls", calls)

    def __call__(self, runs):
        self.calls()
        return super().__call__(runs)


@contextlib.contextmanager
def on_signal(calls):
    """A handler that calls, and a signal whenever something is emitted."""
    before = signal.signal(signal.SIGUSR2, lambda *_: calls() and None)
    try:
        with added(Sink(lambda: signal.raise_signal(signal.SIGUSR2))):
            yield
    finally:
        signal.signal(signal.SIGUSR2, before)


@contextlib.contextmanager
def collected(calls):
    def look(phase, info) -> None:
        calls()

    gc.callbacks.append(look)
    try:
        with added(Sink(lambda: gc.collect(0))):
            yield
    finally:
        gc.callbacks.remove(look)


@contextlib.contextmanager
def finalised(calls):
    Value.gone = calls
    try:
        yield
    finally:
        Value.gone = None


@contextlib.contextmanager
def redirected(calls):
    root = logging.getLogger()
    before, handlers, root.handlers = sys.stderr, root.handlers, []  # with logging configured, nothing goes to stderr
    sys.stderr = Stderr(calls)
    try:
        yield
    finally:
        sys.stderr, root.handlers = before, handlers


def monitored(what):
    return lambda calls: RecordingMonitor(fail=lambda note: calls() and None if note == what else None)


def options(**makers):
    return lambda calls: {name: make(calls) for name, make in makers.items()}


def context(make):
    return lambda calls: {"context": make(calls)}


COUNTED = [(place, "summary") for place in ("sink", "flush", "signal handler", "__del__", "weak reference")]


class Spans(Sink):
    """Calls where a warm-up begins and ends, and not at events."""

    def __init__(self, calls) -> None:
        super().__init__(calls, spans=True)

    def emit(self, event, level, fields) -> None: ...


class Flushing(Sink):
    """As at the exit: what was counted is emitted."""

    def emit(self, event, level, fields) -> None:
        for each in self.calls.targets:
            each.flush()
        self.calls()


def weakly(calls):
    """A weak reference's callback, when a run's value goes."""
    made = Value.__init__

    def watched(self, x):
        made(self, x)
        references.append(weakref.ref(self, calls))

    references = []

    @contextlib.contextmanager
    def watching():
        Value.__init__ = watched
        try:
            yield
        finally:
            Value.__init__ = made

    return watching()


def generator(calls):
    found = Generator(1)
    found.calls = calls
    return found


PLACES = {
    "accept": options(accept=lambda calls: lambda value: calls()),
    "fresh": options(fresh=lambda calls: lambda *args: (calls() and args, {})),
    "rule": options(iterations=Rule),
    "key": options(key=lambda calls: lambda *args: calls() and None),
    "label": options(key=lambda calls: lambda *args: Label(calls)),
    "reusable": options(reusable=lambda calls: lambda value: calls(), argument=lambda calls: hashlib.sha256()),
    "dry_run": options(dry_run=lambda calls: calls),
    "monitor pause": options(monitor=monitored("pause")),
    "monitor resume": options(monitor=monitored("resume")),
    "window opens": options(monitor=monitored("window+")),
    "window closes": options(monitor=monitored("window-")),
    "sink": context(lambda calls: added(Sink(calls))),
    "warming": context(lambda calls: added(Spans(calls))),
    "logging handler": context(logged),
    "structlog processor": context(structlogged),
    "stderr": context(redirected),
    "clock": context(lambda calls: steady_state(clock=Clock(calls))),
    "probe": context(lambda calls: steady_state(probes=[Probe(calls)])),
    "signal handler": context(on_signal),
    "collector": context(collected),
    "__del__": context(finalised),
    "weak reference": context(weakly),
    "setstate": options(argument=generator),
    "flush": context(lambda calls: added(Flushing(calls))),
}


def built(kind, place, calls, emit):
    """The function, the context that has its callback, and its further arguments."""
    given = PLACES[place](calls)
    around, argument = given.pop("context", contextlib.nullcontext()), given.pop("argument", None)
    if place == "dry_run":  # of the function's own kind
        given["dry_run"] = getattr(Kind, kind)(calls)
    function = warmed(**{"iterations": 1, "emit": emit, **given})(getattr(Kind, kind)(Value))
    return function, around, () if argument is None else (argument,)


@pytest.mark.parametrize("kind", CALL)
@pytest.mark.parametrize(("place", "emit"), [*((place, "calls") for place in PLACES), *COUNTED])
@pytest.mark.parametrize("target", ["itself", "another", pytest.param("each other", marks=pytest.mark.slow)])
def test_a_call_from_within_ends_with_its_own_value(kind, place, target, emit):
    calls, back = Calls(kind), Calls(kind)
    function, around, argument = built(kind, place, calls, emit)
    other, _, _ = built(kind, place, back, emit)
    calls.targets = {"itself": [function], "another": [other], "each other": [other, function]}[target]
    back.targets = [function] if target == "each other" else []
    with watchdog(), around:
        assert from_outside(kind, function, 1, *argument).x == 1
        assert from_outside(kind, function, 2, *argument).x == 2
    assert calls.made, "the callback never came"
    assert (calls.wrong, back.wrong) == ([], [])
    calls.targets = back.targets = []
    for each in (function, other):
        assert from_outside(kind, each, 3, *argument).x == 3
        assert all(entry.in_flight is None for entry in each._core.registry.met(None))


@pytest.mark.parametrize("kind", CALL)
@pytest.mark.parametrize("place", ["accept", "monitor pause", "sink", "__del__"])
@pytest.mark.parametrize("how", ["warm", "measure"])
def test_what_is_asked_for_by_name_from_within_ends_too(kind, place, how):
    found = []

    class Asking(Calls):
        def __call__(self, *_, **__):
            if self.targets and not self.made:
                self.made = 1
                got = getattr(function, how)(7)
                found.append(stepped(got) if kind in ("coroutine", "async_generator") else got)
            return True

    calls = Asking(kind)
    function, around, _ = built(kind, place, calls, "calls")
    calls.targets = [function]
    with watchdog(), around:
        assert from_outside(kind, function, 1).x == 1
    assert from_outside(kind, function, 2).x == 2
    if how == "warm":
        assert [warmup.skipped for warmup in found] in (["being_warmed"], [None])
    else:
        assert [report.failure for report in found] == [None]


# ---------------------------------------------------------------- leaders who could not go on


def cold():
    """A coroutine function that stands still twice in each run."""

    async def answer(x):
        await Pause()
        return x

    return warmed(iterations=1)(answer)


def test_a_coroutine_left_in_its_task_is_not_waited_for_by_that_task():
    function = cold()

    async def main():
        left = function(1)
        left.send(None)
        return await function(2), stepped(left)

    with watchdog():
        assert asyncio.run(main()) == (2, 1)


def test_a_task_that_is_over_leads_no_more_whatever_it_left_behind():
    function, left = cold(), []

    async def leave():
        left.append(function(1))
        left[0].send(None)

    async def main():
        await asyncio.create_task(leave())
        return await function(2), function.state, stepped(left[0])

    with watchdog():
        assert asyncio.run(main()) == (2, "warm", 1)


def test_a_task_is_found_to_be_over_by_those_who_wait_already():
    function, left = cold(), []

    async def leave():
        left.append(function(1))
        left[0].send(None)
        await asyncio.sleep(0.05)

    async def main():
        leaving = asyncio.create_task(leave())
        await asyncio.sleep(0)
        value = await function(2)
        await leaving
        return value

    with watchdog():
        assert asyncio.run(main()) == 2
    left[0].close()


def test_a_loop_inside_of_a_loop_does_not_wait_for_the_one_beneath():
    function = cold()

    def inner():
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            return asyncio.run(function(2))
        finally:
            asyncio._set_running_loop(before)

    async def main():
        task = asyncio.create_task(function(1))
        await asyncio.sleep(0)
        return inner(), await task

    with watchdog():
        assert asyncio.run(main()) == (2, 1)


def test_a_thread_waits_for_a_task_whose_loop_goes_on_and_not_for_one_whose_loop_stops_meanwhile():
    function, loop = cold(), asyncio.new_event_loop()
    values, begun = [], threading.Event()

    async def begin():
        task = loop.create_task(function(1))
        await asyncio.sleep(0)
        begun.set()
        while not function._core.registry.met(None)[0].in_flight._wakers:
            await asyncio.sleep(0)
            task.get_coro()
        return task

    async def held(x):
        gate = asyncio.Event()
        if x == 1:
            await gate.wait()
        return x

    function = warmed(iterations=1)(held)
    other = threading.Thread(target=lambda: begun.wait(PATIENCE_S) and values.append(asyncio.run(function(2))))
    other.start()
    with watchdog():
        task = loop.run_until_complete(begin())  # and stands still, as soon as somebody waits for its task
        other.join()
    assert values == [2]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_stream_that_was_begun_is_not_waited_for_by_its_consumer():
    function = warmed(iterations=1)(lambda x: (yield from (x, x + 1)))
    with watchdog():
        for item in function(1):
            assert list(function(item)) == [item, item + 1]


def test_a_greenlet_is_not_waited_for_by_another_one_of_its_thread():
    greenlet = pytest.importorskip("greenlet")
    main = greenlet.getcurrent()

    @warmed(iterations=1)
    def answer(x):
        if greenlet.getcurrent() is not main:
            main.switch()
        return x

    values = []
    with watchdog():
        leader = greenlet.greenlet(lambda: values.append(answer(1)))
        leader.switch()
        assert contextvars.Context().run(answer, 2) == 2
        while not leader.dead:
            leader.switch()
    assert values == [1]


def test_two_threads_whose_handlers_call_each_others_function_end():
    here = threading.local()
    meet = threading.Barrier(2)
    functions, values = {}, []

    class Crossing:
        def emit(self, event, level, fields) -> None:
            if event == "jitwarmup.validation.completed" and not getattr(here, "inside", False):
                here.inside = True
                meet.wait(PATIENCE_S)  # both lead now
                values.append(functions[1 - here.number](5))

    for number in range(2):
        functions[number] = warmed(iterations=1)(lambda x: x)

    def run(number) -> None:
        here.number = number
        values.append(functions[number](number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    with watchdog(), added(Crossing()):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(values) == [0, 1, 5, 5]
