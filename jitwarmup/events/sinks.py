"""
Where events go: a structlog logger, a standard logger, short lines on stderr, or a test's list.

None adds a handler or writes to stdout of its own accord, and nothing configures anything but ``configure_json``, which
a script calls. A line never makes its writer wait for long: a pipe whose reader stands still would block every writer
once its 64 KiB are full. ``poll`` says beforehand whether a pipe takes ``PIPE_BUF`` (4,096) bytes, which is more than
any of our lines; files are always ready.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CoroutineType
from typing import Any, Final, TextIO

from jitwarmup.events.sanitize import to_json
from jitwarmup.events.schema import CALL
from jitwarmup.events.text import short_line
from jitwarmup.host.event_loops import asyncio_here
from jitwarmup.host.fork_safe import Locked
from jitwarmup.host.interrupts import is_interrupt
from jitwarmup.records.text import one_line

LEVEL_NUMBERS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
FIRST: Final = ("timestamp", "level", "event")  # where a reader of the raw JSON lines looks
MOST_FUNCTIONS: Final = 1024  # the functions whose lines are counted apart; the rest share one count
PATIENCE_S: Final = 0.1  # how long a reader may stand still before a line is given up


class Readers:
    """Whether those who read what we write go on; waited for once, and no longer while they stand still."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._stalled = False

    def go_on(self, streams: Iterable[Any]) -> bool:
        """Whether each stream takes a line."""
        patience_s = 0.0 if self._stalled else self._patience_s
        self._stalled = not all(is_writable(stream, patience_s) for stream in streams)
        return not self._stalled


class LineWriter:
    """
    Writes lines on a stream, or on stderr as it is at that moment; never raises. Also what structlog calls a logger.

    It waits for a reader once; while that goes on standing still, later lines are given up without waiting.
    """

    def __init__(self, stream: TextIO | None = None, patience_s: float = PATIENCE_S) -> None:
        self._stream = stream
        self._readers = Readers(patience_s)

    def write(self, line: str) -> None:
        """Write the line and its end at once, so that lines of several writers do not mix."""
        stream = sys.stderr if self._stream is None else self._stream
        if stream is None:
            return
        try:
            if self._readers.go_on((stream,)):
                stream.write(one_line(line) + "\n")
                stream.flush()
        except BaseException as error:  # a closed pipe, a full disk, a notebook's stream: no line is worth an exception
            if is_interrupt(error):
                raise

    log = msg = debug = info = warn = warning = error = err = exception = critical = fatal = failure = write


def is_writable(stream: Any, patience_s: float) -> bool:
    """Whether a stream takes a line now or within ``patience_s``, or fails at once; True if unknown."""
    try:
        fd = stream.fileno()
        if not hasattr(select, "poll"):
            return os.name == "nt" or bool(select.select([], [fd], [], patience_s)[1])
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(patience_s * 1000))
    except Exception as error:  # a notebook's stream, StringIO, pytest's capture, a closed file
        if is_interrupt(error):
            raise
        return True


write_line: Final = LineWriter().write
OF_THE_LOG: Final = Readers()  # one for all: each emitter of the log lives for one event


def streams_of(logger: Any) -> Iterator[Any]:
    """What a standard logger's handlers, or a logger of structlog's that prints, write to."""
    if (stream := getattr(logger, "_file", None)) is not None:
        yield stream
    step = logger if hasattr(logger, "handlers") else None
    while step is not None:
        yield from (stream for handler in step.handlers if (stream := getattr(handler, "stream", None)) is not None)
        step = step.parent if step.propagate else None


def make_sure_of(logger: Any) -> None:
    """Raise BlockingIOError where the log's reader stands still: a full pipe or a stopped terminal would hold its writer."""
    if not OF_THE_LOG.go_on(streams_of(logger)):
        raise BlockingIOError


class StructlogEmitter:
    """Sends each event through a structlog logger: its name is the event, its fields the event dict."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Log it at its level; an asynchronous logger is asked for its synchronous half."""
        try:
            bound = self._log.bind()
            make_sure_of(getattr(bound, "_logger", None))
            result = getattr(bound, level)(event, **fields)
        except RuntimeError:
            if (half := self.synchronous_half()) is None:
                raise
            result = getattr(half, level)(event, **fields)
        if isinstance(result, CoroutineType):  # structlog.stdlib.AsyncBoundLogger; nobody here could await it
            result.close()
            getattr(self._log.bind().sync_bl, level)(event, **fields)

    def synchronous_half(self) -> Any:
        """Of an asynchronous logger in a thread where no loop runs, which it wants to be bound in; None of any other."""
        if asyncio_here() is not None:
            return None

        async def bound() -> Any:
            return getattr(self._log.bind(), "sync_bl", None)

        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(bound())
        finally:
            loop.close()


class LoggingEmitter:
    """Sends each event to a standard logger: the message is the short line, the fields are in ``extra``."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Log it at its level, and make no line where that level is off. ``extra`` has the event's name as ``event``."""
        number = LEVEL_NUMBERS[level]
        if self._logger.isEnabledFor(number):
            make_sure_of(self._logger)
            self._logger.log(number, short_line(event, fields), extra={"event": event, **fields})


class StderrLines(Locked):
    """
    Writes short lines on stderr, for a bare script or notebook.

    Lines about calls thin out: of each function the first ten, then every tenth up to 100, every hundredth up to 1,000
    and so on. Where stderr is closed, absent, full or its reader stands still, nothing is written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[str, int] = {}

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Write its line, unless it is one of the calls that are left out, or for debugging (another rank's events)."""
        if level == "debug":
            return
        number = 1
        if event == CALL:
            function = fields.get("callable", "")
            with self._lock:
                if function not in self._calls and len(self._calls) >= MOST_FUNCTIONS:
                    function = "other"
                self._calls[function] = number = self._calls.get(function, 0) + 1
        step = 10 ** (len(str(number)) - 1)
        if number % step == 0:
            thinned = f", of those that follow every {step}th is shown" if number == step else ""
            write_line(short_line(event, fields) + (f" (call {number}{thinned})" if number >= 10 else ""))


class Recorder:
    """
    Keeps each event as one whole dict: its fields, with ``event`` and ``level`` first. Threads may share it.

    Iterates and indexes as the list of these dicts.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Keep a copy of the event."""
        self.events.append({"event": event, "level": level, **fields})

    def named(self, event: str) -> list[dict[str, Any]]:
        """The events of one name, in the order they came."""
        return [entry for entry in list(self.events) if entry["event"] == event]

    def clear(self) -> None:
        """Forget all events."""
        self.events.clear()

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(list(self.events))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.events[index]


def configure_json(stream: TextIO | None = None) -> None:
    """
    Configure structlog for a script: one JSON object a line, on ``stream`` or on stderr as it is at that moment.

    Each line has ``timestamp`` (ISO 8601, UTC), ``level`` and ``event``, then the fields. Meant for scripts, notebooks
    and the command line: it configures structlog for the whole process, so a library must not call it. A line that
    finds the stream closed, or its reader standing still, is left out.
    """
    import structlog

    writer = LineWriter(stream)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            lambda _logger, _method, fields: {name: fields[name] for name in FIRST if name in fields} | dict(fields),
            structlog.processors.JSONRenderer(serializer=lambda fields, **_: to_json(fields)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        context_class=dict,
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
