"""A sink that never returns, and a log whose reader stands still: whom they hold, and what becomes of the events."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from jitwarmup import steady_state, warmed
from jitwarmup.events import Fanout, SafeEmitter, as_emitter, set_emitters

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _only_what_the_test_sets():
    yield
    set_emitters()


class Hanging:
    """A sink that does not return from its ``at``-th event until ``go`` is set."""

    def __init__(self, at=1):
        self.at, self.go, self.inside, self.came, self.lock = (
            at,
            threading.Event(),
            threading.Event(),
            [],
            threading.Lock(),
        )

    def emit(self, event, level, fields):
        with self.lock:
            self.came.append(fields.get("callable", event))
            number = len(self.came)
        if number == self.at:
            self.inside.set()
            self.go.wait()


def in_thread(act):
    """What it gave, as a list that is empty until then; and its thread."""
    out = []
    thread = threading.Thread(target=lambda: out.append(act()), daemon=True)
    thread.start()
    return out, thread


def ended(act):
    out, thread = in_thread(act)
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it is held"
    return out[0]


async def acoroutine(x):
    return x


def generator(x):
    yield x


async def agenerator(x):
    yield x


async def first_of(stream):
    return [item async for item in stream].pop()


KINDS = {
    "function": (lambda x: x, lambda f: f(7)),
    "coroutine": (acoroutine, lambda f: asyncio.run(f(7))),
    "generator": (generator, lambda f: list(f(7)).pop()),
    "async generator": (agenerator, lambda f: asyncio.run(first_of(f(7)))),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["set_emitters", "log"])
def test_a_sink_that_never_returns_from_its_first_event_holds_nobody(kind, given):
    sink, (function, call) = Hanging(), KINDS[kind]
    f = warmed(iterations=1)(function)

    def calls():
        with steady_state(log=sink if given == "log" else None):
            return [call(f) for _ in range(3)]

    if given == "set_emitters":
        set_emitters(sink)
    assert ended(calls) == [7, 7, 7]
    assert ended(lambda: call(f)) == 7
    assert len(sink.came) == 1
    sink.go.set()


def test_what_came_while_the_first_event_was_inside_comes_after_it_and_none_is_lost():
    sink = Hanging()
    fan = Fanout(sink)
    numbers = [f"{number}" for number in range(50)]
    ended(lambda: [fan.emit("a", "info", {"callable": number}) for number in numbers])
    sink.go.set()
    deadline = time.monotonic() + PATIENCE_S
    while len(sink.came) < 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sink.came == numbers
    fan.emit("a", "info", {"callable": "later"})
    assert sink.came[-1] == "later", "at once, in the thread of its caller"
    assert fan.lost == 0


def test_what_does_not_fit_while_the_first_event_is_inside_is_counted_and_that_is_announced_once(capsys):
    class Announced(Hanging):
        """Of a kind that nothing was announced of yet."""

    sink = Announced()
    fan = Fanout(sink)
    ended(lambda: [fan.emit("a", "info", {}) for _ in range(1101)])
    assert fan.lost == 100
    assert [line.partition("Announced ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "has not returned from its first event for 0.5 s; its events wait"
    ]
    sink.go.set()


def test_a_sink_that_hangs_later_holds_who_is_inside_and_nobody_who_comes_a_second_later():
    sink = Hanging(at=3)
    set_emitters(sink)
    f = warmed(iterations=1)(lambda x: x)
    held, thread = in_thread(lambda: f(1))
    assert sink.inside.wait(PATIENCE_S)
    time.sleep(1.1)
    assert ended(lambda: [f(number) for number in range(20)]) == list(range(20))
    assert (held, len(sink.came)) == ([], 3)
    sink.go.set()
    thread.join(PATIENCE_S)
    f(5)
    assert (held, len(sink.came)) == ([1], 4), "it is let in again"


def test_one_sink_in_several_places_is_tried_once():
    sink = Hanging()
    first, second = SafeEmitter(sink), SafeEmitter(sink)
    ended(lambda: (first.emit("a", "info", {}), second.emit("a", "info", {})))
    assert len(sink.came) == 1
    sink.go.set()


def test_the_first_event_has_its_callers_context():
    who = contextvars.ContextVar("who")
    asked = []

    class Asking:
        def emit(self, event, level, fields):
            asked.append(who.get())

    who.set("me")
    fan = Fanout(Asking())
    fan.emit("a", "info", {})
    fan.emit("a", "info", {})
    assert asked == ["me", "me"]


def test_a_sink_that_belongs_to_its_callers_thread_loses_nothing():
    database = sqlite3.connect(":memory:")
    database.execute("create table events (name)")
    tasks = []

    class Table:
        def emit(self, event, level, fields):
            database.execute("insert into events values (?)", (event,))

    class Sending:
        def emit(self, event, level, fields):
            tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(0, event)))

    async def main():
        fan = Fanout(Table(), Sending())
        for name in ("a", "b"):
            fan.emit(name, "info", {})
        return fan.lost, await asyncio.gather(*tasks)

    assert asyncio.run(main()) == (0, ["a", "b"])
    assert database.execute("select name from events").fetchall() == [("a",), ("b",)]


def test_an_interrupt_that_the_first_event_raises_reaches_its_caller():
    class Interrupting:
        def emit(self, event, level, fields):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SafeEmitter(Interrupting()).emit("a", "info", {})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_is_forked_while_the_first_event_is_inside_tries_anew():
    sink = Hanging()
    fan = Fanout(sink)
    ended(lambda: fan.emit("a", "info", {}))
    child = os.fork()
    if child == 0:
        fan.emit("b", "info", {"callable": "child"})
        os._exit(0 if sink.came == ["a", "child"] and fan.lost == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    sink.go.set()


# ------------------------------------------------------------------ full pipes and stopped terminals

LOGS = {
    "bare": "",
    "logging": "import logging; logging.basicConfig(level='INFO')",
    "logging above": "import logging; logging.getLogger().addHandler(logging.StreamHandler()); logging.getLogger('jitwarmup').setLevel('INFO')",
    "structlog prints": "import structlog; structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))",
    "structlog bytes": "import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer(serializer=lambda f, **_: repr(f).encode())], logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer))",
    "structlog over logging": "import logging, structlog; logging.basicConfig(level='INFO'); structlog.configure(processors=[structlog.stdlib.render_to_log_kwargs], logger_factory=structlog.stdlib.LoggerFactory())",
    "configure_json": "import jitwarmup; jitwarmup.configure_json()",
    "JsonLines": "from jitwarmup.events import JsonLines, set_emitters; set_emitters(JsonLines('/dev/fd/2'))",
    "a losing sink": "from jitwarmup.events import set_emitters\nclass S:\n    def emit(self, *_): raise OSError\nset_emitters(S())",
}
PROGRAM = """
import sys
{log}
from jitwarmup import warmed
f = warmed(iterations=1)(lambda x: x)
print("ready", flush=True)
sys.stdin.readline()
print([f(x) for x in range(300)] == list(range(300)), flush=True)
"""


def run_with_stderr(log, stderr, stop):
    """The child's verdict about its values, where its stderr takes nothing from the moment that it is ready."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(log=log)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n"
        stop()
        return child.communicate("go\n", timeout=PATIENCE_S)[0]
    finally:
        child.kill()


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize(
    "log",
    [
        pytest.param(log, marks=() if log in ("bare", "logging", "structlog prints") else pytest.mark.slow)
        for log in LOGS
    ],
)
def test_a_full_pipe_that_nobody_reads_holds_nobody(log):
    reader, writer = os.pipe()

    def fill():
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x")
        except BlockingIOError:
            os.set_blocking(writer, True)

    try:
        assert run_with_stderr(LOGS[log], writer, fill) == "True\n"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.skipif(sys.platform != "linux", reason="terminals of Linux")
@pytest.mark.parametrize("log", ["bare", pytest.param("logging", marks=pytest.mark.slow)])
def test_a_terminal_that_was_stopped_holds_nobody(log):
    import pty
    import termios

    ours, theirs = pty.openpty()
    try:
        assert run_with_stderr(LOGS[log], theirs, lambda: termios.tcflow(theirs, termios.TCOOFF)) == "True\n"
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_log_whose_reader_stands_still_counts_what_it_lost():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    logger = logging.Logger("of a full pipe")  # noqa: LOG001 - one that nobody else finds
    with os.fdopen(writer, "w") as stream:
        logger.addHandler(logging.StreamHandler(stream))
        safe = SafeEmitter(as_emitter(logger))
        for _ in range(5):
            safe.emit("jitwarmup.call", "info", {})
        assert safe.lost == 5
        os.read(reader, 1 << 16)
        safe.emit("jitwarmup.call", "info", {})
        assert safe.lost == 5, "it goes on"
    os.close(reader)
