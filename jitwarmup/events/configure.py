"""JSON lines on stderr for a script, through structlog. The one place of the library that configures anything."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

from jitwarmup.events.sanitize import to_json
from jitwarmup.events.writability import Patience

FIRST = ("timestamp", "level", "event")  # where a reader of the raw lines looks


def configure_json(stream: TextIO | None = None) -> None:
    """
    Configure structlog for a script: one JSON object a line, on ``stream`` or on stderr as it is at that moment.

    Each line has ``timestamp`` (ISO 8601, UTC), ``level`` and ``event``, then the fields. Meant for scripts, notebooks
    and the command line: it configures structlog for the whole process, so a library must not call it. A line that
    finds the stream closed, or its reader standing still, is left out.
    """
    import structlog

    patience = Patience()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            lead,
            structlog.processors.JSONRenderer(serializer=lambda fields, **_: to_json(fields)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        context_class=dict,
        logger_factory=lambda *_: Lines(stream, patience),
        cache_logger_on_first_use=False,
    )


def lead(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that puts ``timestamp``, ``level`` and ``event`` first."""
    return {name: fields[name] for name in FIRST if name in fields} | dict(fields)


class Lines:
    """The logger under structlog's: writes each line in one piece and never raises."""

    def __init__(self, stream: TextIO | None = None, patience: Patience | None = None) -> None:
        self._stream = stream
        self._patience = patience or Patience()

    def msg(self, line: str) -> None:
        """Write the line and its end at once, so that lines of several writers do not mix."""
        stream = sys.stderr if self._stream is None else self._stream
        try:
            if stream is not None and self._patience.has_room(stream):
                stream.write(line + "\n")
                stream.flush()
        except (OSError, ValueError):  # closed, full, broken: a script's log must not end the script
            pass

    log = debug = info = warn = warning = error = err = exception = critical = fatal = failure = msg
