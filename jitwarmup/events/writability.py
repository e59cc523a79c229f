"""
Lines for people and scripts, written without ever making the writer wait for long.

A pipe whose reader stands still blocks every writer once its 64 KiB are full. ``poll`` says beforehand whether a pipe
takes ``PIPE_BUF`` (4,096) bytes, which is more than any of our lines; files are always ready.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any, Final, TextIO

PATIENCE_S: Final = 0.1  # how long a reader may stand still before a line is given up


class LineWriter:
    """
    Writes lines on a stream, or on stderr as it is at that moment; never raises. Also what structlog calls a logger.

    It waits for a reader once; while that goes on standing still, later lines are given up without waiting.
    """

    def __init__(self, stream: TextIO | None = None, patience_s: float = PATIENCE_S) -> None:
        self._stream = stream
        self._patience_s = patience_s
        self._stalled = False

    def write(self, line: str) -> None:
        """Write the line and its end at once, so that lines of several writers do not mix."""
        stream = sys.stderr if self._stream is None else self._stream
        if stream is None:
            return
        try:
            self._stalled = not is_writable(stream, 0.0 if self._stalled else self._patience_s)
            if not self._stalled:
                stream.write(line + "\n")
                stream.flush()
        except (OSError, ValueError):  # a closed stream or pipe, a full disk: a line is not worth an exception
            pass

    log = msg = debug = info = warn = warning = error = err = exception = critical = fatal = failure = write


def is_writable(stream: Any, patience_s: float) -> bool:
    """Whether a stream or descriptor takes a line now or within ``patience_s``, or fails at once; True if unknown."""
    try:
        fd = stream if isinstance(stream, int) else stream.fileno()
        if not hasattr(select, "poll"):
            return os.name == "nt" or bool(select.select([], [fd], [], patience_s)[1])
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(patience_s * 1000))
    except (AttributeError, OSError, ValueError):  # a notebook's stream, StringIO, pytest's capture, a closed file
        return True


write_line: Final = LineWriter().write
