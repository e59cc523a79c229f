"""What a sink did not take: counted always, said once."""

from __future__ import annotations

import sys
from typing import Any

from jitwarmup.events.writability import Patience
from jitwarmup.host.fork_safe import Locked

_PATIENCE = Patience()


class Dropped(Locked):
    """Counts the events one sink lost; the first is said on stderr, with the reason's type and never its message."""

    def __init__(self, sink: str) -> None:
        super().__init__()
        self.count = 0
        self._sink = sink

    def add(self, what: str) -> None:
        """Count one loss; ``what`` completes the sentence 'the log sink X ...'."""
        with self._lock:
            self.count += 1
            first = self.count == 1
        if first:
            write_line(f"jitwarmup: the log sink {self._sink} {what}; its event is lost, further ones are only counted")


def name_of(thing: Any) -> str:
    """Module and qualified name of an object's type; of a function, its own. Never a repr, which may show values."""
    owner = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{owner.__module__}.{owner.__qualname__}"


def write_line(line: str) -> None:
    """Write one line to stderr as it is now; never raises, and waits only briefly for a reader that stands still."""
    stream = sys.stderr
    try:
        if stream is not None and _PATIENCE.has_room(stream):
            stream.write(line + "\n")
            stream.flush()
    except (OSError, ValueError):  # a closed stream or pipe, a full disk: a line for people is not worth an exception
        pass
