"""
Events as JSON lines in one file that several processes may share.

The file is opened with ``O_APPEND`` and each line, under 4,096 bytes, is one ``os.write``: the kernel puts it at the end
as a whole, whoever else writes (on a local file system; NFS makes no such promise). A process that is killed in the
middle loses at most the line it was writing. Rotation is logrotate's: a file that was moved away is noticed within a
second and a new one is opened, ``copytruncate`` works too. A named pipe or a terminal is never waited for longer than
0.1 s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

from jitwarmup.events.dropped import Dropped
from jitwarmup.events.render import find_dumps, now
from jitwarmup.events.writability import Patience
from jitwarmup.host.fork_safe import Locked

Processor = Callable[[Any, str, MutableMapping[str, Any]], Mapping[str, Any]]

CHECK_S: Final = 1.0  # how often it is asked whether the file is still the one the path names, and how soon to retry
MODE: Final = 0o644
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_FLAGS |= getattr(os, "O_BINARY", 0)


class JsonLines(Locked):
    """
    An emitter that appends one JSON object a line to ``path``: ``timestamp``, ``level``, ``event``, then the fields.

    ``processors`` are structlog's kind (logger, method name, event dict) and run on each event before it is written.
    It never raises from ``emit``: a disk that is full, a pipe without a reader or a path that cannot be opened loses the
    event, counts it in ``lost`` and is said once on stderr. Threads and forked processes may share it.
    """

    def __init__(self, path: str | os.PathLike[str], *, processors: Iterable[Processor] = ()) -> None:
        super().__init__()
        self.path = os.fspath(path)
        self._processors = tuple(processors)
        self._dumps = find_dumps()
        self._losses = Dropped(self.path)
        self._patience = Patience()
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None
        self._check_at = 0.0
        self._torn = False

    @property
    def lost(self) -> int:
        """Events that could not be written so far."""
        return self._losses.count

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Append the event's line."""
        entry: Mapping[str, Any] = {"timestamp": now(), "level": level, "event": event, **fields}
        try:
            for process in self._processors:
                entry = process(None, level, dict(entry))
            line = self._dumps(entry) + b"\n"
            with self._lock:
                self._write(line)
        except Exception as error:  # noqa: BLE001 - a disk, a pipe and a user's processor may fail in any way
            self._losses.add(f"could not be written ({type(error).__name__})")
        except BaseException as error:
            if type(error).__name__ != "DropEvent":  # structlog's way of leaving an event out is a BaseException
                raise

    def close(self) -> None:
        """Close the file; a later event opens it again."""
        with self._lock:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        if self._torn:  # a full disk cut our last line short; the rest of it must not swallow this one
            line = b"\n" + line
        written = self._try_write(self._opened(), line)
        self._torn = written < len(line) and (self._torn or written > 0)
        if written < len(line):
            raise OSError("the line was cut short")

    def _try_write(self, fd: int, line: bytes) -> int:
        try:
            return os.write(fd, line)
        except BlockingIOError:
            if not self._patience.has_room(fd):
                raise
            return os.write(fd, line)

    def _opened(self) -> int:
        """The open file, opened anew where the path names another one by now."""
        clock = time.monotonic()
        if clock >= self._check_at:
            self._check_at = clock + CHECK_S
            if self._fd is not None and self._identity != _identity(self.path):
                self._close()
            if self._fd is None:
                self._fd = os.open(self.path, _FLAGS, MODE)
                self._identity = _identity(self._fd)
        if self._fd is None:
            raise OSError("not open")
        return self._fd

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._identity, self._check_at, self._torn = None, None, 0.0, False


def _identity(file: str | int) -> tuple[int, int] | None:
    """Device and inode of a path or descriptor; None where there is no such file."""
    try:
        found = os.stat(file)  # noqa: PTH116 - a descriptor has no Path
    except OSError:
        return None
    return found.st_dev, found.st_ino
