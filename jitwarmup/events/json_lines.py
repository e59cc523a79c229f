"""
Events as JSON lines in one file that several processes may share.

Each line, under 4,096 bytes, is one write to a file opened for appending: the kernel puts it at the end as a whole,
whoever else writes (on a local file system; NFS makes no such promise). Rotation is logrotate's: a file that was moved
away is opened anew, ``copytruncate`` works too. A pipe without a reader, or whose reader stands still, loses the event.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any
from weakref import finalize

from jitwarmup.events.guard import Lossy
from jitwarmup.events.sanitize import to_json
from jitwarmup.host.interrupts import is_interrupt

Processor = Callable[[Any, str, MutableMapping[str, Any]], Mapping[str, Any]]


class JsonLines(Lossy, AbstractContextManager["JsonLines"]):
    """
    An emitter that appends one JSON object a line to ``path``: ``timestamp``, ``level``, ``event``, then the fields.

    ``processors`` are structlog's kind (logger, method name, event dict) and run on each event before it is written.
    It never raises from ``emit``: a disk that is full, a pipe without a reader or a path that cannot be opened loses the
    event, counts it in ``lost`` and is noted once on stderr. Threads and forked processes may share it.
    """

    def __init__(self, path: str | os.PathLike[str], *, processors: Iterable[Processor] = ()) -> None:
        self.path = os.fspath(path)
        super().__init__(self.path)
        self._processors = tuple(processors)
        self._file = _Appender(self.path, delay=True)
        finalize(self, self._file.close)

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Append the event's line."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")  # as structlog's TimeStamper(fmt="iso", utc=True)
        entry: Mapping[str, Any] = {"timestamp": now, "level": level, "event": event, **fields}
        try:
            for process in self._processors:
                entry = process(None, level, dict(entry))
            self._file.append(to_json(entry).encode("ascii") + b"\n")
        except BaseException as error:  # a disk, a pipe and a user's processor may fail in any way
            if type(error).__name__ == "DropEvent":  # structlog's way of leaving an event out is a BaseException
                return
            if is_interrupt(error):
                raise
            self.lose(f"could not be written ({type(error).__name__})")

    def close(self) -> None:
        """Close the file; a later event opens it again."""
        self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()


class _Appender(WatchedFileHandler):
    """The standard library's file that notices rotation, written to in whole lines instead of log records."""

    stream: Any
    _owner = 0  # the process that opened it

    def append(self, line: bytes) -> None:
        """Write the line at once, to the file that the path names by now."""
        with self.lock or nullcontext():  # not by acquire(): interrupted right after it, nobody would release
            self.reopenIfNeeded()
            if self.stream is None or self._owner != os.getpid():  # forked processes would share one position
                self.stream = self._open()
                self._owner = os.getpid()
                self._statstream()
            self._write(line)
            while self._is_glued(line):
                self._write(line)

    def _write(self, line: bytes) -> None:
        if self.stream.write(line) != len(line):  # None where a pipe has no room
            raise OSError("the line was cut short")

    def _is_glued(self, line: bytes) -> bool:
        """Whether the line just written follows one that another process could not finish (a full disk)."""
        try:
            start: int = self.stream.seek(0, os.SEEK_CUR) - len(line)
            return start > 0 and os.pread(self.stream.fileno(), 1, start - 1) not in (b"\n", b"")
        except OSError:  # a pipe, a file that may only be written
            return False

    def _open(self) -> Any:
        """Unbuffered, so that a failed line is not written later; never waits for a pipe's reader."""
        return open(self.baseFilename, "ab+", buffering=0, opener=_open_at_once)


def _open_at_once(path: str, flags: int) -> int:
    """A file for reading as well, where it may be; a pipe for writing alone, since its own reader would be none."""
    if Path(path).exists() and not (Path(path).is_file() and os.access(path, os.R_OK)):
        flags = flags & ~os.O_RDWR | os.O_WRONLY
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o644)
