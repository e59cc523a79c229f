"""
Whether a stream can take a line without making the writer wait.

A pipe whose reader stands still blocks every writer once its 64 KiB are full. ``poll`` says beforehand whether a pipe
has room for ``PIPE_BUF`` (4,096) bytes, which is more than any of our lines; files are always ready.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any, Final

PATIENCE_S: Final = 0.1  # how long a reader may stand still before a line is given up


class Patience:
    """Waits for a reader once; while it goes on standing still, later lines are given up without waiting."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._stalled = False

    def has_room(self, stream: Any) -> bool:
        """Whether a line can be written to a stream, or descriptor, now or soon; True where nobody can tell."""
        ready = has_room(stream, 0.0 if self._stalled else self._patience_s)
        self._stalled = not ready
        return ready


def has_room(stream: Any, patience_s: float) -> bool:
    """Whether a line can be written to a stream or descriptor now or within ``patience_s``; True where nobody can tell."""
    try:
        fd = stream if isinstance(stream, int) else stream.fileno()
        return _is_ready(fd, patience_s)
    except (AttributeError, OSError, ValueError):  # a notebook's stream, StringIO, pytest's capture, a closed file
        return True


def _is_ready(fd: int, patience_s: float) -> bool:
    """Also True when a write would fail at once."""
    if not hasattr(select, "poll"):
        return os.name == "nt" or bool(select.select([], [fd], [], patience_s)[1])
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(patience_s * 1000))


_PATIENCE: Final = Patience()


def write_line(line: str) -> None:
    """Write one line to stderr as it is now; never raises, and waits only briefly for a reader that stands still."""
    stream = sys.stderr
    try:
        if stream is not None and _PATIENCE.has_room(stream):
            stream.write(line + "\n")
            stream.flush()
    except (OSError, ValueError):  # a closed stream or pipe, a full disk: a line for people is not worth an exception
        pass
