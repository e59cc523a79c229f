from __future__ import annotations

import os
import threading
import time
from contextvars import ContextVar

import pytest
import structlog

from jitwarmup.events import QueueSink, SafeEmitter, as_emitter
from jitwarmup.events.sinks import Recorder

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


def test_a_raising_sink_is_counted_and_noted_once(capsys):
    guarded = SafeEmitter(Raising(ValueError("secret prompt")))
    for _ in range(5):
        guarded.emit("a", "info", FIELDS)
    captured = capsys.readouterr()
    assert guarded.lost == 5
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Raising raised ValueError" in captured.err
    assert "secret" not in captured.err


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        SafeEmitter(Raising(KeyboardInterrupt())).emit("a", "info", FIELDS)


def test_a_good_sink_is_left_alone(capsys):
    recorder = Recorder()
    guarded = SafeEmitter(recorder)
    guarded.emit("a", "info", FIELDS)
    assert (guarded.lost, len(recorder)) == (0, 1)
    assert capsys.readouterr().err == ""


def test_a_kind_of_sink_is_noted_once_a_process(capsys):
    def fail(*_):
        raise ValueError

    for number in range(3):
        log = structlog.wrap_logger(None, processors=[fail]).bind(number=number)
        SafeEmitter(as_emitter(log)).emit("a", "info", FIELDS)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_blocked_sink_holds_nobody_up_and_loses_only_what_does_not_fit(capsys):
    blocked = Blocked()
    queued = QueueSink(blocked, size=10)
    began = time.monotonic()
    for number in range(50):
        queued.emit(str(number), "info", FIELDS)
    assert time.monotonic() - began < 5
    assert 39 <= queued.lost <= 40  # ten wait; one more may be in the sink's hands already
    assert not queued.flush(0.01)
    blocked.go.set()
    assert queued.flush(10)
    assert len(blocked.came) + queued.lost == 50
    assert [int(entry["event"]) for entry in blocked.came] == list(range(len(blocked.came)))
    assert capsys.readouterr().err.count("stands still") == 1


def test_a_raising_sink_does_not_end_its_thread(capsys):
    queued = QueueSink(Raising(OSError(28, "No space left on device")))
    for _ in range(3):
        queued.emit("a", "info", FIELDS)
    assert queued.flush(10)
    assert queued.lost == 3
    assert "raised OSError" in capsys.readouterr().err


def test_the_callers_context_goes_along():
    who: ContextVar[str] = ContextVar("who")
    seen: list[str] = []

    class Asking:
        def emit(self, event, level, fields):
            seen.append(who.get())

    who.set("me")
    queued = QueueSink(Asking())
    queued.emit("a", "info", FIELDS)
    assert queued.flush(10)
    assert seen == ["me"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_thread_of_its_own():
    recorder = Recorder()
    queued = QueueSink(recorder)
    queued.emit("parent", "info", FIELDS)
    assert queued.flush(10)
    child = os.fork()
    if child == 0:
        queued.emit("child", "info", FIELDS)
        os._exit(0 if queued.flush(10) and len(recorder) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
