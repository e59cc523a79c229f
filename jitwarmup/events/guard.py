"""
A sink must not break or lose the user's function; ``SafeEmitter`` is the fence around every one of them.

A sink that raises loses the event: it is counted, and the first is noted on stderr. Nobody can interrupt a slow sink in
the caller's own thread, so whoever has one wraps it in ``QueueSink``.
"""

from __future__ import annotations

import atexit
import itertools
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import Context, copy_context
from typing import Any, Final
from weakref import WeakSet

from jitwarmup.events.sinks import write_line
from jitwarmup.host.fork_safe import Locked, after_fork_in_child, snapshot_of
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Emitter

QUEUE: Final = 1000  # events that may wait for a slow sink
EXIT_S: Final = 1.0  # what slow sinks together get at a normal exit

Waiting = tuple[Context, str, str, Mapping[str, Any]]
_NOTED: set[str] = set()  # sinks whose first loss was noted on stderr: once a process, not once a block


class Lossy(Locked):
    """Counts the events it loses; the first of a kind of sink is noted on stderr, never with the error's message."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._lost = 0

    @property
    def lost(self) -> int:
        """Events lost so far, such as those that the sink raised on."""
        return self._lost

    def lose(self, what: str) -> None:
        """Count one loss; ``what`` completes the sentence 'the log sink X ...'."""
        with self._lock:
            self._lost += 1
            first = self._name not in _NOTED
            _NOTED.add(self._name)
        if first:
            write_line(f"jitwarmup: the log sink {self._name} {what}; its event is lost, further ones are only counted")


def name_of(thing: Any) -> str:
    """Module and qualified name of an object's type; of a function, its own. Never a repr, which may show values."""
    owner = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{owner.__module__}.{owner.__qualname__}"


class SafeEmitter(Lossy):
    """Around an emitter: never raises an ``Exception``. ``KeyboardInterrupt`` and the like pass."""

    def __init__(self, emitter: Emitter) -> None:
        super().__init__(name_of(emitter))
        self._emitter = emitter

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Emit, whatever the sink does."""
        try:
            self._emitter.emit(event, level, fields)
        except Exception as error:  # noqa: BLE001 - a sink's failure must not become the user's
            self.lose(f"raised {type(error).__name__}")

    @contextmanager
    def warming(self, fields: Mapping[str, Any]) -> Iterator[None]:
        """
        Around validation and warm-up: enters what the emitter's own ``warming(fields)`` gives, if it has one.

        That context manager can neither raise into the user's code nor swallow what is raised inside.
        """
        span = ExitStack()
        try:
            if callable(warming := getattr(self._emitter, "warming", None)):
                span.enter_context(warming(fields))
        except Exception as error:  # noqa: BLE001 - as in emit
            self.lose(f"raised {type(error).__name__} on entry")
        try:
            yield
        finally:
            try:
                span.close()
            except Exception as error:  # noqa: BLE001 - as in emit
                self.lose(f"raised {type(error).__name__} on exit")


def is_emitter(given: Any) -> bool:
    """Whether it is an object with ``emit``; a ``logging.Handler`` has one too, of another kind."""
    return not isinstance(given, type) and callable(getattr(given, "emit", None)) and not hasattr(given, "createLock")


class Fanout:
    """
    An emitter that hands each event to several, in the order given; one that fails is counted and passed over.

    To keep the usual log as well, give ``default_emitter()`` as one of them.
    """

    def __init__(self, *emitters: Emitter) -> None:
        for emitter in emitters:
            if not is_emitter(emitter):
                raise ArgumentError(
                    f"Fanout got {name_of(emitter)}; wanted an object with emit(event, level, fields). "
                    "Wrap a logger with as_emitter(logger)."
                )
        self.sinks = tuple(SafeEmitter(emitter) for emitter in emitters)

    @property
    def lost(self) -> int:
        """Events that an emitter raised on, summed over all of them."""
        return sum(sink.lost for sink in self.sinks)

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Hand the event to every emitter."""
        for sink in self.sinks:
            sink.emit(event, level, fields)

    @contextmanager
    def warming(self, fields: Mapping[str, Any]) -> Iterator[None]:
        """Around validation and warm-up: enters the ``warming(fields)`` of every emitter that has one."""
        with ExitStack() as stack:
            for sink in self.sinks:
                stack.enter_context(sink.warming(fields))
            yield


class QueueSink:
    """
    Feeds a slow sink from a daemon thread over a bounded queue: ``emit`` takes microseconds, whatever the sink does.

    Each event keeps the context variables of its caller. A full queue loses the new event and counts it in ``lost``.
    At normal exit the sinks get a second for what still waits. A forked child starts with an empty queue.
    """

    def __init__(self, emitter: Emitter, *, size: int = QUEUE) -> None:
        self._sink = SafeEmitter(emitter)
        self._size = size
        self._begin()
        after_fork_in_child(self._begin)
        _QUEUES.add(self)

    def _begin(self) -> None:
        self._queue: queue.SimpleQueue[Waiting | threading.Event] = queue.SimpleQueue()  # bears a signal in its put()
        self._starts = itertools.count()
        self._started = False

    @property
    def lost(self) -> int:
        """Events that did not fit or that the sink raised on, so far."""
        return self._sink.lost

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Put the event into the queue, or lose it where the queue is full."""
        if not self._started and next(self._starts) == 0:
            self._started = True
            threading.Thread(target=self._feed, args=(self._queue,), name="jitwarmup-events", daemon=True).start()
        if self._queue.qsize() < self._size:
            self._queue.put((copy_context(), event, level, fields))
        else:
            self._sink.lose("stands still")

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until what is in the queue now is through; whether that came in time."""
        if not self._started:
            return True
        through = threading.Event()
        self._queue.put(through)
        return through.wait(timeout_s)

    def _feed(self, waiting: queue.SimpleQueue[Waiting | threading.Event]) -> None:
        while True:
            item = waiting.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            context, event, level, fields = item
            context.run(self._sink.emit, event, level, fields)


_QUEUES: WeakSet[QueueSink] = WeakSet()


@atexit.register
def _flush_all() -> None:
    deadline = time.monotonic() + EXIT_S
    for sink in snapshot_of(_QUEUES):
        sink.flush(max(0.0, deadline - time.monotonic()))
