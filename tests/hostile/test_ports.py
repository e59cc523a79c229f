"""Ports bear garbage: what a probe, rule, clock, key, monitor, sink or hook raises or returns never reaches the caller."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import math
import signal
import sys
import threading

import pytest

from jitwarmup import State, steady_state, warmed
from jitwarmup.events import Fanout, QueueSink, SafeEmitter, set_emitters
from jitwarmup.events.guard import FAULTS
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork
from jitwarmup.testing import FakeClock, RecordingMonitor

RAISED = [ValueError, SystemExit, GeneratorExit, asyncio.CancelledError]
GARBAGE = [None, 7, -1, math.nan, "x", b"x", [], [None], {}, object(), type, ..., 1e308]


@pytest.fixture(autouse=True)
def _faults_are_wanted():
    yield
    FAULTS.by_place.clear()
    set_emitters()


class Probe:
    """Does what it should, but for one method."""

    name = "mine"

    def __init__(self, method, does):
        self.readings = 0
        if method is not None:
            setattr(self, method, does)

    def arm(self):
        return ArmState("armed")

    def snapshot(self):
        self.readings += 1
        return self.readings

    def delta(self, before, after):
        return [OneTimeWork(kind="mine.work", count=after - before)]

    def disarm(self):
        """Nothing was installed."""


def raising(error):
    def does(*_):
        raise error

    return does


def returning(value):
    return lambda *_: value


METHODS = ("arm", "stamp", "snapshot", "delta", "attributed", "disarm")
DOES = [*((f"raises {each.__name__}", raising(each)) for each in RAISED)]
DOES += [(f"returns {each!r:.20}", returning(each)) for each in GARBAGE]
DOES += [
    ("returns work of no kind", returning([OneTimeWork(kind=None)])),
    ("returns nan seconds", returning([OneTimeWork(kind="mine.work", duration_s=math.nan)])),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("does", [does for _, does in DOES], ids=[name for name, _ in DOES])
def test_a_probe_that_gives_garbage_is_out_and_the_call_goes_on(method, does, events):
    @warmed(iterations=1)
    def f(x):
        return x

    with steady_state(probes=[Probe(method, does)]) as steady:
        assert [f(1), f(2), f(3)] == [1, 2, 3]
        report = steady.measure(lambda: 7)
    assert report.failure is None
    assert report.measured
    out = report.verdict.unwatched.get("mine", "")
    assert not out or out.startswith((f"{method} ", "delta " if method == "snapshot" else method))


def test_a_probe_that_gives_none_says_why_it_is_out(events):
    with steady_state(probes=[Probe("delta", returning(None))]) as steady:
        report = steady.measure(lambda: 7)
    assert report.verdict.unwatched["mine"] == "delta returned NoneType"


@pytest.mark.parametrize("does", [does for _, does in DOES], ids=[name for name, _ in DOES])
def test_a_rule_that_gives_garbage_ends_the_warm_up_and_the_call_goes_on(does, events):
    f = warmed(iterations=does)(lambda x: x)
    assert [f(1), f(2)] == [1, 2]
    assert f.state is State.WARM
    assert f.measure(3).decision.path == "rule_failed"
    assert sum(FAULTS.by_place.values()) >= 2


@pytest.mark.parametrize("good", range(6))
@pytest.mark.parametrize("error", RAISED)
def test_a_clock_that_fails_at_any_reading_is_out_and_the_systems_goes_on(error, good, events):
    class Clock(FakeClock):
        left = good

        def now(self):
            self.left -= 1
            if self.left < 0:
                raise error
            return super().now()

    with steady_state(clock=Clock()) as steady:
        report = steady.measure(lambda: 7)
    assert report.failure is None
    assert all(0 <= run.duration_ns < 60e9 for run in report.runs)


@pytest.mark.parametrize(
    "value",
    [each for each in GARBAGE if not isinstance(each, int)],
    ids=lambda value: f"{type(value).__name__} {value}" if isinstance(value, float | str) else type(value).__name__,
)
def test_a_clock_that_tells_no_time_is_out(value, events):
    class Clock(FakeClock):
        def now(self):
            return value

    f = warmed(iterations=1)(lambda x: x)
    with steady_state(clock=Clock()):
        assert [f(1), f(2)] == [1, 2]


@pytest.mark.parametrize("error", RAISED)
def test_a_key_whose_label_raises_gets_a_number(error, events):
    class Key:
        @property
        def label(self):
            raise error

    key = Key()
    f = warmed(iterations=1, key=lambda _: key)(lambda x: x)
    assert f(1) == 1
    assert events[-1]["key"] == "key-1"


@pytest.mark.parametrize("broken", ["start", "stop", "pause", "resume", "window+", "window-"])
@pytest.mark.parametrize("error", RAISED)
def test_what_a_monitor_raises_is_noted_be_it_an_exception_or_not(error, broken, events):
    def fail(what):
        if what == broken:
            raise error

    monitor = RecordingMonitor(fail=fail, running=broken not in ("start", "stop"))
    f = warmed(iterations=1, monitor=monitor)(lambda x: x)
    assert [f(1), f(2)] == [1, 2]
    with steady_state(monitor=monitor) as steady:
        report = steady.measure(lambda: 7)
    assert report.failure is None


# ------------------------------------------------------------------ sinks


class Sink:
    """Raises at every event, or calls a function there."""

    def __init__(self, does):
        self.does = does
        self.events = []

    def emit(self, event, level, fields):
        self.events.append(event)
        self.does()


@pytest.mark.parametrize("error", [*RAISED, MemoryError, RecursionError])
def test_what_a_sink_raises_is_counted_be_it_an_exception_or_not(error):
    sink = Sink(raising(error))
    set_emitters(SafeEmitter(safe := SafeEmitter(sink)))
    f = warmed(iterations=1)(lambda x: x)
    assert [f(1), f(2)] == [1, 2]
    assert safe.lost == len(sink.events) == 4


@pytest.mark.parametrize("where", ["emit", "warming", "enter", "exit"])
def test_the_users_interrupt_passes_a_sink(where):
    class Spanning(Sink):
        @contextlib.contextmanager
        def warming(self, _fields):
            if where == "enter":
                raise KeyboardInterrupt
            yield
            if where == "exit":
                raise KeyboardInterrupt

    sink = Spanning(raising(KeyboardInterrupt) if where == "emit" else returning(None))
    if where == "warming":
        sink.warming = raising(KeyboardInterrupt)
    f = warmed(iterations=1)(lambda x: x)
    with steady_state() as steady:
        set_emitters(sink)
        with pytest.raises(KeyboardInterrupt):
            f(1)
        set_emitters()
    assert steady.block is not None
    assert f(2) == 2


def test_a_logging_handler_that_calls_other_warmed_functions_ends():
    f, g, h = (warmed(iterations=1, name=name)(lambda x: x) for name in "fgh")
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())
            assert [g(1), h(1)] == [1, 1]

    logger, handler = logging.getLogger("jitwarmup"), Handler()
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        assert [f(1), f(2)] == [1, 2]
    finally:
        logger.removeHandler(handler)
        logger.setLevel("NOTSET")
    assert len(lines) == 4, "its own events came, those of what the handler called are lost and counted"


def test_a_queue_whose_sink_calls_a_warmed_function_comes_to_an_end():
    g = warmed(iterations=1)(lambda x: x)
    sink = Sink(lambda: g(1))
    queue = QueueSink(sink)
    set_emitters(queue)
    warmed(iterations=1)(lambda x: x)(1)
    assert queue.flush(30)
    assert len(sink.events) == 3


def test_an_event_within_an_event_reaches_no_sink_and_several_sinks_all_get_the_first():
    g = warmed(iterations=1, name="g")(lambda x: x)
    sinks = [Sink(lambda: g(1)), Sink(returning(None))]
    set_emitters(Fanout(*sinks))
    warmed(iterations=1)(lambda x: x)(1)
    assert [len(sink.events) for sink in sinks] == [3, 3]


@pytest.mark.parametrize("error", [*RAISED, RuntimeError])
def test_a_stderr_that_raises_anything_costs_lines_and_nothing_else(error, monkeypatch):
    class Stream:
        write = flush = fileno = staticmethod(raising(error))

    monkeypatch.setattr(sys, "stderr", Stream())
    f = warmed(iterations=1)(lambda x: x)
    assert [f(1), f(2)] == [1, 2]
    queue = QueueSink(Sink(raising(ValueError)))
    set_emitters(queue)
    assert [f(1), f(2)] == [1, 2]
    assert queue.flush(30)
    assert queue.lost == 2


# ------------------------------------------------------------------ exceptions that come from outside


class SoftTimeLimit(Exception):
    """As a task queue's: an Exception, raised by a signal handler."""


def limit(_number, _frame):
    raise SoftTimeLimit


class Handlers:
    def method(self, _number, _frame):
        raise SoftTimeLimit

    def __call__(self, *_given):
        raise SoftTimeLimit


HANDLERS = [limit, Handlers().method, Handlers(), lambda *_: limit(*_)]


@pytest.fixture(params=HANDLERS, ids=["function", "method", "object", "lambda"])
def alarm(request):
    former = signal.signal(signal.SIGUSR1, request.param)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_time_limit_that_meets_an_extra_run_is_an_interruption(at, alarm, events):
    runs = []

    def f(x):
        runs.append(x)
        if len(runs) == at:
            alarm()
        return x

    f = warmed(iterations=3, reusable=lambda _: True)(f)
    with pytest.raises(SoftTimeLimit):
        f(1)
    assert f.state is State.COLD
    assert events[-1]["event"].endswith(".failed")
    assert f(2) == 2
    assert len(runs) == 1 + 5, "the finished runs count"


def test_a_time_limit_ends_a_measurement_and_reaches_its_caller(alarm, events):
    runs = []

    def f():
        runs.append(1)
        if len(runs) == 9:
            alarm()

    with steady_state() as steady, pytest.raises(SoftTimeLimit):
        steady.measure(f)
    assert [len(report.runs) for report in steady.reports] == [9]


@pytest.mark.parametrize("port", ["sink", "rule", "probe", "monitor"])
def test_a_time_limit_that_meets_a_port_is_not_taken_for_the_ports_own(port, alarm, events):
    monitor = RecordingMonitor(fail=lambda what: alarm() if port == "monitor" and what == "window-" else None)
    rule = (lambda _runs: alarm()) if port == "rule" else 1
    f = warmed(iterations=rule, monitor=monitor)(lambda x: x)
    probes = [Probe("delta", lambda *_: alarm())] if port == "probe" else []
    log = Sink(alarm) if port == "sink" else None
    with pytest.raises(SoftTimeLimit), steady_state(probes=probes, log=log):
        f(1)
    assert monitor.paused == 0


def test_what_a_function_raises_itself_is_its_own_failure(events):
    def f(x):
        limit(10, None)

    f = warmed(iterations=1)(f)
    report = f.measure(1)
    assert report.failure.type == "SoftTimeLimit"


def test_what_another_thread_raises_in_an_extra_run_is_an_interruption(events):
    here = ctypes.c_ulong(threading.get_ident())
    runs = []

    def send():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(SoftTimeLimit))

    def f(x):
        runs.append(x)
        if len(runs) == 2:
            threading.Timer(0.05, send).start()
            while True:
                pass
        return x

    f = warmed(iterations=3, reusable=lambda _: True)(f)
    with pytest.raises(SoftTimeLimit):
        f(1)
    assert f.state is State.COLD
    assert f(2) == 2
