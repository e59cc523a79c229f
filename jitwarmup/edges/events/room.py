"""
Whether a stream can take a line without making the writer wait.

A pipe whose reader stands still blocks every writer once its 64 KiB are full. ``poll`` says beforehand whether a pipe
has room for ``PIPE_BUF`` (4,096) bytes, which is more than any of our lines; files are always ready.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any, Final

PATIENCE_S: Final = 0.1  # how long a reader may stand still before a line is given up


def has_room(stream: Any, patience_s: float = PATIENCE_S) -> bool:
    """Whether a line can be written to the stream now or within ``patience_s``; True where nobody can tell."""
    fileno: Callable[[], int] | None = getattr(stream, "fileno", None)
    if fileno is None:
        return True
    try:
        return fd_has_room(fileno(), patience_s)
    except (OSError, ValueError):  # io.UnsupportedOperation is both: a notebook's stream, StringIO, pytest's capture
        return True


def fd_has_room(fd: int, patience_s: float = PATIENCE_S) -> bool:
    """Whether ``fd`` can be written to now or within ``patience_s``; also True when a write would fail at once."""
    if not hasattr(select, "poll"):
        return os.name == "nt" or bool(select.select([], [fd], [], patience_s)[1])
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0) or poll.poll(patience_s * 1000))
