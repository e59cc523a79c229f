"""
A sink must not break, hold up or lose the user's function; this is the fence around every one of them.

    raises    the event is lost, counted, and said once on stderr
    is slow   the first event takes what it takes (nobody can interrupt a sink in the caller's own thread); from then on
              the sink is fed by a daemon thread over a bounded queue, and what does not fit is lost, counted, said once

Files and pipes of ours (``files.py``, ``losses.write_line``) ask beforehand whether there is room, so they have a bound
from the first event on; so has any sink wrapped in ``QueueSink`` from the start.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import Context, copy_context
from typing import Any, Final
from weakref import WeakSet, ref

from jitwarmup.events.dropped import Dropped, name_of, write_line
from jitwarmup.events.sinks import LoggingEmitter, StructlogEmitter
from jitwarmup.events.spans import harmless
from jitwarmup.records.protocols import Emitter

BOUND_S: Final = 1.0  # an event that takes a sink longer than this makes it a slow one
QUEUE: Final = 1000  # events that may wait for a slow sink

_Item = tuple[Emitter, Context, str, str, Mapping[str, Any]]


class SafeEmitter:
    """
    Around an emitter: never raises an ``Exception``, and is slow at most once.

    What it knows of a sink (``lost``, whether it is slow) is shared by every SafeEmitter around the same emitter, and by all
    loggers of structlog or of standard logging. ``KeyboardInterrupt`` and the like pass.
    """

    def __init__(self, emitter: Emitter, *, bound_s: float = BOUND_S) -> None:
        self._emitter = emitter
        self._bound_s = bound_s
        self._known = _known_of(emitter)

    @property
    def lost(self) -> int:
        """Events that the sink did not take, so far."""
        return self._known.losses.count

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Emit, whatever the sink does."""
        known = self._known
        if known.feeder is not None:
            known.feeder.put(self._emitter, event, level, fields)
            return
        began = time.monotonic()
        try:
            self._emitter.emit(event, level, fields)
        except Exception as error:  # noqa: BLE001 - a sink's failure must not become the user's
            known.losses.add(f"raised {type(error).__name__}")
        took = time.monotonic() - began
        if took > self._bound_s:
            known.hand_over(took)

    @contextmanager
    def warming(self, fields: Mapping[str, Any]) -> Iterator[None]:
        """Around validation and warm-up: enters what the emitter's own ``warming`` gives, if it has one (see ``Hooks``)."""
        begin = getattr(self._emitter, "warming", None)
        span: AbstractContextManager[Any] | None = None
        try:
            span = begin(fields) if callable(begin) else None
        except Exception as error:  # noqa: BLE001 - as in emit
            self._known.losses.add(f"raised {type(error).__name__}")
        with harmless(span, self._known.losses):
            yield

    def flush(self, timeout_s: float = BOUND_S) -> bool:
        """Wait until a slow sink has taken everything; whether it did in time."""
        return self._known.feeder is None or self._known.feeder.flush(timeout_s)


class QueueSink:
    """
    Feeds a slow sink from a daemon thread over a bounded queue: ``emit`` takes microseconds, whatever the sink does.

    Each event keeps the context variables of its caller. A full queue loses the new event and counts it in ``lost``.
    At normal exit the sink gets a second for what still waits. A forked child starts with an empty queue.
    """

    def __init__(self, emitter: Emitter, *, size: int = QUEUE) -> None:
        self._emitter = emitter
        self._losses = Dropped(name_of(emitter))
        self._feeder = _Feeder(self._losses, size)

    @property
    def lost(self) -> int:
        """Events that did not fit or that the sink did not take, so far."""
        return self._losses.count

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Put the event into the queue, or lose it where the queue is full."""
        self._feeder.put(self._emitter, event, level, fields)

    def flush(self, timeout_s: float = BOUND_S) -> bool:
        """Wait until the queue is empty and its last event is through; whether that came in time."""
        return self._feeder.flush(timeout_s)


class _Feeder:
    """A bounded queue of events and the thread that empties it."""

    def __init__(self, losses: Dropped, size: int) -> None:
        self._losses = losses
        self._size = size
        self._begin()
        _FEEDERS.add(self)

    def put(self, emitter: Emitter, event: str, level: str, fields: Mapping[str, Any]) -> None:
        if self._pid != os.getpid():
            self._begin()
        try:
            self._queue.put_nowait((emitter, copy_context(), event, level, fields))
        except queue.Full:
            self._losses.add("stands still")

    def flush(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks and (left := deadline - time.monotonic()) > 0:
                self._queue.all_tasks_done.wait(left)
            return not self._queue.unfinished_tasks

    def _begin(self) -> None:
        """Make queue and thread of this process; a fork leaves the parent's thread, and maybe its locks, behind."""
        self._pid = os.getpid()
        self._queue: queue.Queue[_Item] = queue.Queue(self._size)
        threading.Thread(target=_feed, args=(self._queue, self._losses), name="jitwarmup-events", daemon=True).start()


def _feed(waiting: queue.Queue[_Item], losses: Dropped) -> None:
    while True:
        emitter, context, event, level, fields = waiting.get()
        try:
            context.run(emitter.emit, event, level, fields)
        except Exception as error:  # noqa: BLE001 - a sink's failure must not end its thread
            losses.add(f"raised {type(error).__name__}")
        finally:
            waiting.task_done()


class _Known:
    """What is known of one sink: its losses, and its feeder once it was slow."""

    def __init__(self, sink: str) -> None:
        self.sink = sink
        self.losses = Dropped(sink)
        self.feeder: _Feeder | None = None

    def hand_over(self, took: float) -> None:
        """From now on feed it from a thread; at the end of the process, when no thread can start, leave it as it is."""
        write_line(
            f"jitwarmup: the log sink {self.sink} took {took:.1f} s for one event; it gets a thread of its own now"
        )
        with suppress(RuntimeError):
            self.feeder = _Feeder(self.losses, QUEUE)


_FEEDERS: WeakSet[_Feeder] = WeakSet()
_KNOWN: dict[int | type, tuple[ref[Any] | None, _Known]] = {}  # by identity: emitters may compare and hash as they like


def _known_of(emitter: Emitter) -> _Known:
    """What is known of the sink behind an emitter; forgotten with the emitter."""
    made_for_each_call = isinstance(emitter, StructlogEmitter | LoggingEmitter)  # around one and the same sink
    key = type(emitter) if made_for_each_call else id(emitter)
    weak, known = _KNOWN.get(key, (None, None))
    if known is None or (weak is not None and weak() is not emitter):
        known = _Known(name_of(emitter))
        with suppress(TypeError):  # what has no weak reference keeps what is known of it to this one SafeEmitter
            _KNOWN[key] = (None if made_for_each_call else ref(emitter, lambda _: _KNOWN.pop(key, None)), known)
    return known


@atexit.register
def _flush_all() -> None:
    deadline = time.monotonic() + BOUND_S
    for feeder in list(_FEEDERS):
        feeder.flush(max(0.0, deadline - time.monotonic()))
