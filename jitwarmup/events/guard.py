"""
Nothing of ours must break the user's function: ``SafeEmitter`` is the fence around every sink, ``FAULTS`` counts the rest.

A sink that raises loses the event: it is counted, and the first is noted on stderr. So is an event that comes while its
thread is emitting one (a logging handler that calls a warmed function): it would come again for each that it makes.
Nobody can interrupt a slow sink in the caller's own thread (`entrance` says whom it may hold), so whoever has one wraps
it in ``QueueSink``.
"""

from __future__ import annotations

import atexit
import itertools
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet

from jitwarmup.events.entrance import EMITTING, Entrance
from jitwarmup.events.sinks import write_line
from jitwarmup.host.fork_safe import Locked, after_fork_in_child, snapshot_of
from jitwarmup.host.interrupts import is_interrupt
from jitwarmup.records.errors import ArgumentError, JitwarmupError
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
        self.note(f"{what}; its event is lost, further ones are only counted")

    def note(self, what: str) -> None:
        """Announce it on stderr, where it is the first of this kind of sink."""
        with self._lock:
            first = self._name not in _NOTED
            _NOTED.add(self._name)
        if first:
            write_line(f"jitwarmup: the log sink {self._name} {what}")


def name_of(thing: Any) -> str:
    """Module and qualified name of an object's type; of a function, its own. Never a repr, which may show values."""
    owner = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{owner.__module__}.{owner.__qualname__}"


class Faults(Locked):
    """
    What failed in jitwarmup itself while the user's call went on, by place; the first of each is noted on stderr.

    ``with FAULTS:`` contains what fails in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_place: Counter[str] = Counter()

    def contain(self, error: BaseException, *, of_port: bool = False) -> None:
        """
        Count it, where the user's call can go on without what failed: code of ours, or the user's object in a port.

        Raises:
            BaseException: the error itself, where it is an interrupt, or said on purpose (a ``JitwarmupError``). Code of
                ours raises no cancellation of its own: there one is the caller's.

        """
        cancels = not (of_port or isinstance(error, Exception))
        if cancels or isinstance(error, JitwarmupError) or is_interrupt(error):
            raise error
        place = f"{type(error).__name__} in {innermost_place(error)}"
        with self._lock:
            self.by_place[place] += 1
            first = self.by_place[place] == 1
        if first:
            write_line(
                f"jitwarmup: {place}, after the function's own run; its result is safe, the next are only counted"
            )

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self.contain(error)
        return error is not None


def innermost_place(error: BaseException) -> str:
    """Where in jitwarmup it was raised: module and function."""
    place, trace = "jitwarmup", error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module.startswith("jitwarmup"):
            place = f"{module}.{trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return place


FAULTS: Final = Faults()


class SafeEmitter(Lossy):
    """Around an emitter: whatever it raises is counted; interrupts pass (`is_interrupt`)."""

    outermost = False

    def __init__(self, emitter: Emitter) -> None:
        super().__init__(name_of(emitter))
        self._emitter = emitter
        self._entrance = Entrance.of(emitter)

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Emit, whatever the sink does."""
        before = EMITTING.now
        if before and self.outermost:
            self.lose("had an event to emit while its thread was emitting another one")
            return
        try:
            EMITTING.now = True
            if self._entrance is None or self._entrance.admits((event, level, fields), self.lose, self.note):
                self._emitter.emit(event, level, fields)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.lose(f"raised {type(error).__name__}")
        finally:
            if self._entrance is not None:
                self._entrance.left()
            EMITTING.now = before

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
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.lose(f"raised {type(error).__name__} on entry")
        try:
            yield
        finally:
            try:
                span.close()
            except BaseException as error:
                if is_interrupt(error):
                    raise
                self.lose(f"raised {type(error).__name__} on exit")


class OutermostEmitter(SafeEmitter):
    """The first that an event meets in its thread; one that comes while the thread emits another is lost, and counted."""

    outermost = True


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
        self._sink = OutermostEmitter(emitter)  # of its thread
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
            try:
                threading.Thread(target=self._feed, args=(self._queue,), name="jitwarmup-events", daemon=True).start()
            except RuntimeError:  # no more threads, or none in this subinterpreter: the next event tries again
                self._begin()
                raise
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
def flush_queues() -> None:
    """Give slow sinks a second, together, for what still waits."""
    deadline = time.monotonic() + EXIT_S
    for sink in snapshot_of(_QUEUES):
        sink.flush(max(0.0, deadline - time.monotonic()))
