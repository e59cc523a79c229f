"""Threads, tasks, signals, finalizers and forks at random moments: every value right, nothing stands still, no count lost."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import faulthandler
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from jitwarmup import warmed
from jitwarmup.events.emit import captured, set_emitters
from jitwarmup.events.guard import QueueSink
from jitwarmup.events.json_lines import JsonLines
from jitwarmup.testing import RecordingMonitor, capture_events

PATIENCE_S = 30.0
STORM_S = float(os.environ.get("JITWARMUP_STORM_S", "3"))  # of each seed of the storm of threads and tasks
KEYS = 50


@pytest.fixture(autouse=True)
def _stacks_of_what_stands_still():
    faulthandler.dump_traceback_later(3 * PATIENCE_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    set_emitters()


@contextlib.contextmanager
def switching_fast(seconds=1e-6):
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


# ---------------------------------------------------------------- threads and tasks


class Service:
    """Four kinds of callable over many keys, and methods of instances that come and go; counts the warm-ups of a key."""

    def __init__(self, emit) -> None:
        self.validated = collections.Counter()

        def note(*key):
            self.validated[key] += 1  # under the interpreter's lock; of one key never twice at once
            return True

        def options(kind):
            return {"iterations": 1, "emit": emit, "key": lambda x: x % KEYS, "accept": lambda x: note(kind, x % KEYS)}

        @warmed(**options("def"))
        def function(x):
            return x

        @warmed(**options("async"))
        async def coroutine(x):
            await asyncio.sleep(0)
            return x

        class Short:
            def __init__(self, x) -> None:
                self.x = x

            @warmed(iterations=1, emit=emit)
            def method(self):
                return self.x

        @warmed(iterations=1, emit=emit, key=lambda x: x % KEYS)
        def generator(x):
            yield x
            yield -x

        @warmed(iterations=1, emit=emit, key=lambda x: x % KEYS)
        async def async_generator(x):
            yield x
            await asyncio.sleep(0)
            yield -x

        self.function, self.coroutine, self.short = function, coroutine, Short
        self.generator, self.async_generator = generator, async_generator

    def in_thread(self, chance, until) -> None:
        while time.monotonic() < until:
            x = chance.randrange(10_000)
            assert self.function(x) == x
            assert list(self.generator(x)) == [x, -x]
            short = self.short(x)
            assert (short.method(), short.method()) == (x, x)

    async def in_task(self, chance, until) -> None:
        while time.monotonic() < until:
            x = chance.randrange(10_000)
            assert await self.coroutine(x) == x
            assert [item async for item in self.async_generator(x)] == [x, -x]
            assert self.function(x) == x
            await asyncio.sleep(0)


def storm(seed, seconds, threads, tasks, emit):
    service, errors = Service(emit), []
    until = time.monotonic() + seconds

    def guarded(act, *args) -> None:
        try:
            act(*args)
        except BaseException as error:
            errors.append(error)

    async def all_tasks(number) -> None:
        chances = [random.Random(f"{seed} {number} {task}") for task in range(tasks // 2)]
        await asyncio.gather(*(service.in_task(chance, until) for chance in chances))

    workers = [
        threading.Thread(
            target=guarded, args=(service.in_thread, random.Random(f"{seed} {number}"), until), daemon=True
        )
        for number in range(threads)
    ]
    loops = [
        threading.Thread(target=guarded, args=(lambda n=n: asyncio.run(all_tasks(n)),), daemon=True) for n in range(2)
    ]
    validations = Validations()
    faulthandler.dump_traceback_later(seconds + 4 * PATIENCE_S, exit=True)
    with switching_fast(), captured(validations):
        for thread in (*workers, *loops):
            thread.start()
        for thread in (*workers, *loops):
            thread.join(seconds + 3 * PATIENCE_S)
    assert not any(thread.is_alive() for thread in (*workers, *loops)), "a thread stands still"
    assert errors == []
    assert validations.of_key
    assert set(validations.of_key.values()) == {1}, "one warm-up per key"
    assert service.validated
    assert set(service.validated.values()) == {1}
    for each in (service.function, service.coroutine, service.generator, service.async_generator):
        assert all(entry.in_flight is None for entry in each._core.registry.met(None))


class Validations:
    """Counts the validations of each key of a function; keeps no event, of which a minute makes hundreds of thousands."""

    def __init__(self) -> None:
        self.of_key, self.lock = collections.Counter(), threading.RLock()

    def emit(self, event, level, fields) -> None:
        if event == "jitwarmup.validation.completed" and "method" not in fields["callable"]:
            with self.lock:
                self.of_key[fields["callable"], fields["key"]] += 1


def test_threads_and_tasks_race_for_a_second():
    storm(0, seconds=1.0, threads=16, tasks=20, emit="summary")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_64_threads_and_200_tasks_race(seed):
    """
    Four kinds of callable, 50 keys, instances that come and go by the thousand, a switch interval of 1e-6.

    Three seconds a seed; ``JITWARMUP_STORM_S=60 pytest -m slow tests/hostile/test_storms.py -k 200_tasks`` is the whole.
    """
    storm(seed, seconds=STORM_S, threads=64, tasks=200, emit=("calls", "summary")[seed % 2])


@pytest.mark.slow
@pytest.mark.parametrize("emit", ["off", "calls"])
def test_a_new_instance_is_never_warm(emit):
    """At whatever address: its first call validates, warms up once and is made once."""

    class Instance:
        runs = 0

        @warmed(iterations=1, emit=emit)
        def method(self):
            self.runs += 1
            return self.runs

    wrong = []

    def churn(until) -> None:
        while time.monotonic() < until:
            one = Instance()
            one.method()
            if one.runs != 3:
                wrong.append(one.runs)

    with switching_fast(), capture_events() as events:
        threads = [threading.Thread(target=churn, args=(time.monotonic() + 8,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del events.events[:]
    assert wrong == []


# ---------------------------------------------------------------- signals and finalizers


class Nowhere:
    def emit(self, event, level, fields) -> None: ...


SINKS = {
    "json lines": lambda tmp: JsonLines(tmp / "events.jsonl"),
    "queue": lambda _: QueueSink(Nowhere()),
    "nowhere": lambda _: Nowhere(),
}


@contextlib.contextmanager
def signals(handle, every_s=0.0002):
    """
    Signals without end, one into each handler too. The next one after that comes when the handler is over: a handler that
    takes longer than the time between two (under coverage) would be all that ever runs.
    """
    inside, over = 0, False

    def handler(*args) -> None:
        nonlocal inside
        inside += 1
        try:
            if inside == 1 and not over:
                signal.setitimer(signal.ITIMER_REAL, every_s)
            handle(*args)
        finally:
            inside -= 1
            if not inside and not over:
                signal.setitimer(signal.ITIMER_REAL, every_s)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, every_s)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Collected:
    """Garbage in a cycle, whose end the collector sees to."""

    def __init__(self, act) -> None:
        self.act, self.me = act, self

    def __del__(self) -> None:
        self.act()


def weather(emit, sink, act, tmp, wanted):
    """So many signals into calls of one function; how many came back, its monitor, and what was summed up."""
    monitor, summed, made, wrong, inside, hits = RecordingMonitor(), [], [0], [], [0], [0]

    class Summed:
        def emit(self, event, level, fields) -> None:
            if event == "jitwarmup.summary":
                summed.append(fields["count"])

    set_emitters(SINKS[sink](tmp), Summed())

    @warmed(iterations=1, emit=emit, monitor=monitor, key=lambda x: x % 7)
    def function(x):
        return x

    def again() -> None:
        x = random.randrange(7)
        if function(x) != x:
            wrong.append(x)
        made[0] += 1

    def handle(*_) -> None:
        hits[0] += 1
        if inside[0] > 1:
            return
        inside[0] += 1
        try:
            if act == "calls":
                again()
            elif act == "flushes":
                function.flush()
            elif act == "collects":
                Collected(again)
                gc.collect(0)
        finally:
            inside[0] -= 1

    calls = 0
    until = time.monotonic() + PATIENCE_S
    with signals(handle):
        while hits[0] < wanted and time.monotonic() < until:
            for x in range(7):
                if function(x) != x:
                    wrong.append(x)
                calls += 1
    function.flush()
    assert wrong == []
    assert hits[0] >= min(wanted, 200)
    assert monitor.paused == 0
    assert all(entry.in_flight is None for entry in function._core.registry.met(None))
    counted = function.coverage().calls
    if emit == "summary":
        assert sum(summed) == counted
    if emit != "off":  # a call within the run of another one is a part of that
        assert calls <= counted <= calls + made[0]


class Shot(Exception):
    """As a soft time limit: raised by a signal handler, at any moment."""


def shots(emit, sink, error, tmp, monkeypatch, *, wanted):
    """So many signals whose handler raises, at random moments of calls and warm-ups: each ends one call and nothing else."""
    monkeypatch.setattr(
        sys, "unraisablehook", lambda _: None
    )  # met in a weak reference's callback, as it is without us
    chance, monitor, summed, wrong = random.Random(f"{emit} {sink} {error}"), RecordingMonitor(), [], []
    aimed, fired, began, returned = False, 0, 0, 0

    class Summed:
        def emit(self, event, level, fields) -> None:
            if event == "jitwarmup.summary":
                summed.append(fields["count"])

    set_emitters(SINKS[sink](tmp), Summed())

    @warmed(iterations=2, emit=emit, monitor=monitor, key=lambda x: x % 7)
    def function(x):
        return x

    def handle(*_) -> None:
        nonlocal aimed, fired
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.003))
        if aimed:
            aimed = False
            fired += 1
            raise error

    def check() -> None:
        counted = function.coverage().calls
        if emit != "off" and not returned <= counted <= began:
            wrong.append(f"counted {counted}, returned {returned}, began {began}")
        if emit == "summary" and not returned <= sum(summed) <= began:
            wrong.append(f"summed up {sum(summed)}, returned {returned}, began {began}")
        if monitor.paused > 0:
            wrong.append("paused")
        if any(entry.in_flight is not None for entry in function._core.registry.met(None)):
            wrong.append("claimed")

    def reset() -> None:
        """Warm-ups are to be met too."""
        nonlocal began, returned
        function.flush()
        check()
        function.reset()
        summed.clear()
        began = returned = 0

    def one(x) -> None:
        nonlocal aimed, returned, began
        began += 1
        try:
            aimed = True
            value = function(x)
            aimed = False
        except error:
            return
        returned += 1
        if value != x:
            wrong.append(x)

    before = signal.signal(signal.SIGALRM, handle)
    until = time.monotonic() + PATIENCE_S
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        while fired < wanted and time.monotonic() < until and not wrong:
            for x in chance.sample(range(7), 7):
                one(x)
            if chance.random() < 0.02:
                reset()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    reset()
    assert wrong == []
    assert fired >= min(wanted, 100)
    assert [function(x) for x in range(70)] == list(range(70))
    assert function.ready


class OutOfTime(TimeoutError):
    """An OSError, as what fails in a system's own calls."""


@pytest.mark.parametrize(
    ("emit", "sink", "error"),
    [("summary", "nowhere", Shot), ("calls", "queue", OutOfTime), ("off", "nowhere", KeyboardInterrupt)],
)
def test_signal_handlers_that_raise(error, emit, sink, tmp_path, monkeypatch):
    shots(emit, sink, error, tmp_path, monkeypatch, wanted=200)


@pytest.mark.slow
@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("emit", ["calls", "summary", "off"])
@pytest.mark.parametrize("error", [Shot, OutOfTime, KeyboardInterrupt])
def test_18_000_signal_handlers_that_raise(error, emit, sink, tmp_path, monkeypatch):
    shots(emit, sink, error, tmp_path, monkeypatch, wanted=int(STORM_S / 3 * 667))


COLLECTING = """
import gc, signal, time
from jitwarmup import warmed

class Shot(Exception): ...

def shoot(*_):
    raise Shot

warmed(iterations=1, emit="off")(lambda x: x)(1)
for error, handle in ((Shot, shoot), (KeyboardInterrupt, signal.default_int_handler)):
    signal.signal(signal.SIGALRM, handle)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for _ in range(20):
        until = time.monotonic() + 30
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            while time.monotonic() < until:
                gc.collect(0)
        except error:
            continue
        raise SystemExit(f"{error} is lost")
"""


def test_an_interrupt_that_comes_during_a_collection_is_not_lost():
    """Python raises it in our callback, which it lets nothing out of. By itself: other tools have callbacks that lose it."""
    subprocess.run([sys.executable, "-c", COLLECTING], check=True, timeout=4 * PATIENCE_S)


@pytest.mark.parametrize("act", ["calls", "flushes", "collects"])
def test_signals_in_the_middle_of_summed_up_calls(act, tmp_path):
    weather("summary", "nowhere", act, tmp_path, 1500)


@pytest.mark.parametrize("sink", ["json lines", "queue"])
def test_signals_in_the_middle_of_emission(sink, tmp_path):
    weather("calls", sink, "calls", tmp_path, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("act", ["returns", "calls", "flushes", "collects"])
@pytest.mark.parametrize("emit", ["calls", "summary", "off"])
def test_60_000_signals(emit, act, sink, tmp_path):
    weather(emit, sink, act, tmp_path, 1667)  # 36 times


def test_a_signal_at_every_line_of_a_warm_call_that_calls_again():
    """As a signal could come: between any two lines of ours, while whatever is held there is held."""
    function = warmed(iterations=1, emit="summary")(lambda x: x)
    function(0)
    lines, made, inside = 0, [0], [False]

    def trace(frame, event, arg):
        nonlocal lines
        if inside[0] or not frame.f_globals.get("__name__", "").startswith("jitwarmup."):
            return trace
        lines += event == "line"
        inside[0] = True
        try:
            assert function(1) == 1
            made[0] += 1
        finally:
            inside[0] = False
        return trace

    with capture_events() as events:
        function.flush()
        sys.settrace(trace)
        try:
            assert function(2) == 2
        finally:
            sys.settrace(None)
        function.flush()
    assert lines > 30
    counted = function.coverage().calls  # a call within the run of another one is a part of that
    assert sum(event["count"] for event in events.named("jitwarmup.summary")) == counted
    assert made[0] // 2 < counted <= made[0] + 2


# ---------------------------------------------------------------- forks


def forks(emit, count, tmp):
    """Children that are forked while threads call and warm up; how each of them ended."""
    set_emitters(JsonLines(tmp / "events.jsonl"))
    functions = [
        warmed(iterations=1, name=f"f{n}", emit=emit, rng="restore", key=lambda x: x % KEYS)(lambda x: x)
        for n in range(6)
    ]
    over, ends, wrong = threading.Event(), [], []
    faulthandler.register(signal.SIGALRM, chain=True)

    def busy(function) -> None:
        number = 0
        while not over.is_set():
            number += 1
            if function(number) != number:
                wrong.append(number)
            if number % 40 == 0:
                function.reset()

    threads = [threading.Thread(target=busy, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    try:
        for _ in range(count):
            child = os.fork()
            if not child:
                signal.alarm(int(PATIENCE_S))  # the stacks, then the end; faulthandler's own timer bears no fork
                right = all(function(x) == x for function in functions for x in range(3))
                functions[0].flush()
                os._exit(0 if right else 3)
            ends.append(os.waitpid(child, 0)[1])
    finally:
        over.set()
        for thread in threads:
            thread.join()
        faulthandler.unregister(signal.SIGALRM)
    assert wrong == []
    assert set(ends) == {0}, "a child that stands still ends with its stacks on stderr"


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forks_in_the_middle(tmp_path):
    forks("summary", 10, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("emit", ["calls", "summary"])
def test_200_forks_in_the_middle(emit, tmp_path):
    forks(emit, 100, tmp_path)
