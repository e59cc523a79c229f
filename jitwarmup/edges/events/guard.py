"""
A sink must not break, hold up or lose the user's function; this is the fence around every one of them.

    raises    the event is lost, counted, and said once on stderr
    is slow   the first event takes what it takes (nobody can interrupt a sink in the caller's own thread); from then on
              the sink is fed by a daemon thread over a bounded queue, and what does not fit is lost, counted, said once

Files and pipes of ours (``files.py``, ``ways.write_line``) ask beforehand whether there is room, so they have a bound
from the first event on; so has any sink wrapped in ``Handover`` from the start.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context, copy_context
from typing import Any, Final

from jitwarmup.edges.events.losses import Losses, name_of, write_line
from jitwarmup.edges.events.spans import harmless
from jitwarmup.model.ports import Emitter

BOUND_S: Final = 1.0  # an event that takes a sink longer than this makes it a slow one
QUEUE: Final = 1000  # events that may wait for a slow sink

_Item = tuple[Context, str, str, Mapping[str, Any]]


class Guarded:
    """
    Around an emitter: never raises an ``Exception``, and is slow at most once.

    ``lost`` counts the events that did not get through. ``KeyboardInterrupt`` and the like pass.
    """

    def __init__(self, emitter: Emitter, *, bound_s: float = BOUND_S) -> None:
        self._emitter = emitter
        self._bound_s = bound_s
        self._losses = Losses(name_of(emitter))
        self._slow: Handover | None = None

    @property
    def lost(self) -> int:
        """Events that the sink did not take, so far."""
        return self._losses.count + (self._slow.lost if self._slow else 0)

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Emit, whatever the sink does."""
        if self._slow is not None:
            self._slow.emit(event, level, fields)
            return
        began = time.monotonic()
        try:
            self._emitter.emit(event, level, fields)
        except Exception as error:  # noqa: BLE001 - a sink's failure must not become the user's
            self._losses.add(f"raised {type(error).__name__}")
        took = time.monotonic() - began
        if took > self._bound_s:
            self._hand_over(took)

    @contextmanager
    def warming(self, fields: Mapping[str, Any]) -> Iterator[None]:
        """Around validation and warm-up: enters what the emitter's own ``warming`` gives, if it has one (see ``Hooks``)."""
        begin = getattr(self._emitter, "warming", None)
        span: AbstractContextManager[Any] | None = None
        try:
            span = begin(fields) if callable(begin) else None
        except Exception as error:  # noqa: BLE001 - as in emit
            self._losses.add(f"raised {type(error).__name__}")
        with harmless(span, self._losses):
            yield

    def flush(self, timeout_s: float = BOUND_S) -> bool:
        """Wait until a slow sink has taken everything; whether it did in time."""
        return self._slow is None or self._slow.flush(timeout_s)

    def _hand_over(self, took: float) -> None:
        write_line(
            f"jitwarmup: the log sink {name_of(self._emitter)} took {took:.1f} s for one event; it gets a thread now"
        )
        self._slow = Handover(self._emitter)


class Handover:
    """
    Feeds a slow sink from a daemon thread over a bounded queue: ``emit`` takes microseconds, whatever the sink does.

    Each event keeps the context variables of its caller. A full queue loses the new event and counts it in ``lost``.
    At normal exit the sink gets ``bound_s`` seconds for what still waits. A forked child starts with an empty queue.
    """

    def __init__(self, emitter: Emitter, *, size: int = QUEUE, bound_s: float = BOUND_S) -> None:
        self._losses = Losses(name_of(emitter))
        self._emitter = emitter
        self._size = size
        self._begin()
        atexit.register(self.flush, bound_s)

    @property
    def lost(self) -> int:
        """Events that did not fit or that the sink did not take, so far."""
        return self._losses.count

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Put the event into the queue, or lose it where the queue is full."""
        if self._pid != os.getpid():
            self._begin()
        try:
            self._queue.put_nowait((copy_context(), event, level, fields))
        except queue.Full:
            self._losses.add("stands still")

    def flush(self, timeout_s: float = BOUND_S) -> bool:
        """Wait until the queue is empty and its last event is through; whether that came in time."""
        deadline = time.monotonic() + timeout_s
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks and (left := deadline - time.monotonic()) > 0:
                self._queue.all_tasks_done.wait(left)
            return not self._queue.unfinished_tasks

    def _begin(self) -> None:
        """Make queue and thread of this process; a fork leaves the parent's thread, and maybe its locks, behind."""
        self._pid = os.getpid()
        self._queue: queue.Queue[_Item] = queue.Queue(self._size)
        threading.Thread(target=self._work, args=(self._queue,), name="jitwarmup-events", daemon=True).start()

    def _work(self, waiting: queue.Queue[_Item]) -> None:
        while True:
            context, event, level, fields = waiting.get()
            try:
                context.run(self._emitter.emit, event, level, fields)
            except Exception as error:  # noqa: BLE001 - a sink's failure must not end its thread
                self._losses.add(f"raised {type(error).__name__}")
            finally:
                waiting.task_done()
