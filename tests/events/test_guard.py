from __future__ import annotations

import gc
import os
import threading
import time
from contextvars import ContextVar

import pytest
import structlog

from jitwarmup.events import guard
from jitwarmup.events.emit import as_emitter
from jitwarmup.events.guard import QueueSink, SafeEmitter
from jitwarmup.events.recorder import Recorder

FIELDS = {"callable": "f"}


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def emit(self, event, level, fields):
        raise self.error


class Blocked:
    """A sink whose reader stands still until ``go`` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.came = Recorder()

    def emit(self, event, level, fields):
        self.go.wait(30)
        self.came.emit(event, level, fields)


def test_a_raising_sink_is_counted_and_said_once(capsys):
    guarded = SafeEmitter(Raising(ValueError("secret prompt")))
    for _ in range(5):
        guarded.emit("a", "info", FIELDS)
    said = capsys.readouterr()
    assert guarded.lost == 5
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Raising raised ValueError" in said.err
    assert "secret" not in said.err


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        SafeEmitter(Raising(KeyboardInterrupt())).emit("a", "info", FIELDS)


def test_a_good_sink_is_left_alone(capsys):
    recorder = Recorder()
    guarded = SafeEmitter(recorder)
    guarded.emit("a", "info", FIELDS)
    assert (guarded.lost, len(recorder), guarded.flush()) == (0, 1, True)
    assert capsys.readouterr().err == ""


def test_a_slow_sink_is_slow_once_and_then_fed_by_a_thread(capsys):
    threads: list[str] = []

    class Slow:
        def emit(self, event, level, fields):
            threads.append(threading.current_thread().name)

    guarded = SafeEmitter(Slow(), bound_s=-1.0)  # so short a bound that every sink is slow
    for _ in range(3):
        guarded.emit("a", "info", FIELDS)
    assert guarded.flush(10)
    assert threads == [threading.current_thread().name, "jitwarmup-events", "jitwarmup-events"]
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_known_of_a_sink_is_shared_by_all_guards_around_it(capsys):
    raising = Raising(ValueError())
    for _ in range(3):  # as where each call inside a block opens a session of its own
        SafeEmitter(raising).emit("a", "info", FIELDS)
    assert SafeEmitter(raising).lost == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_all_structlog_loggers_are_one_sink(capsys):
    def fail(*_):
        raise ValueError

    for number in range(3):
        log = structlog.wrap_logger(None, processors=[fail]).bind(number=number)
        SafeEmitter(as_emitter(log)).emit("a", "info", FIELDS)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_sink_that_is_gone_is_forgotten():
    recorder = Recorder()
    SafeEmitter(recorder)
    key = id(recorder)
    assert key in guard._KNOWN
    del recorder
    gc.collect()
    assert key not in guard._KNOWN


def test_emitters_that_compare_equal_or_have_slots_are_still_told_apart():
    class Slotted:
        __slots__ = ()
        __hash__ = None

        def __eq__(self, other):
            return True

        def emit(self, event, level, fields):
            raise ValueError

    first, second = SafeEmitter(Slotted()), SafeEmitter(Slotted())
    first.emit("a", "info", FIELDS)
    assert (first.lost, second.lost) == (1, 0)


def test_a_blocked_sink_holds_nobody_up_and_loses_only_what_does_not_fit(capsys):
    blocked = Blocked()
    handover = QueueSink(blocked, size=10)
    began = time.monotonic()
    for number in range(50):
        handover.emit(str(number), "info", FIELDS)
    assert time.monotonic() - began < 5
    assert 39 <= handover.lost <= 40  # ten wait; one more may be in the sink's hands already
    assert not handover.flush(0.01)
    blocked.go.set()
    assert handover.flush(10)
    assert len(blocked.came) + handover.lost == 50
    assert [int(entry["event"]) for entry in blocked.came] == list(range(len(blocked.came)))
    assert capsys.readouterr().err.count("stands still") == 1


def test_a_raising_sink_does_not_end_its_thread(capsys):
    handover = QueueSink(Raising(OSError(28, "No space left on device")))
    for _ in range(3):
        handover.emit("a", "info", FIELDS)
    assert handover.flush(10)
    assert handover.lost == 3
    assert "raised OSError" in capsys.readouterr().err


def test_the_callers_context_goes_along():
    who: ContextVar[str] = ContextVar("who")
    seen: list[str] = []

    class Asking:
        def emit(self, event, level, fields):
            seen.append(who.get())

    who.set("me")
    handover = QueueSink(Asking())
    handover.emit("a", "info", FIELDS)
    assert handover.flush(10)
    assert seen == ["me"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_thread_of_its_own():
    recorder = Recorder()
    handover = QueueSink(recorder)
    handover.emit("parent", "info", FIELDS)
    assert handover.flush(10)
    child = os.fork()
    if child == 0:
        handover.emit("child", "info", FIELDS)
        os._exit(0 if handover.flush(10) and len(recorder) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
