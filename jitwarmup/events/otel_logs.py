"""
Events as OpenTelemetry log records with an EventName, through the Logs API (the extra ``jitwarmup[otel]``).

An OpenTelemetry event is a log record whose EventName is set; span events and the former Events API are on their way out
(`evidence/logs-and-aggregators.md` 0.2), so nothing here touches a span. The current span's ids are added by the SDK.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from jitwarmup.events.metrics import version
from jitwarmup.events.processors import EventDict, to_otel
from jitwarmup.events.text import short_line

SEVERITY: Final[Mapping[str, int]] = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}


class OpenTelemetryLogs:
    """
    An emitter that sends each event as a log record: EventName, severity, the short line as body, fields as attributes.

    ``provider`` is a LoggerProvider, None the application's own; ``names`` turns our keys into attribute names
    (``processors.to_otel``, or a ``GenAI``). Without an SDK the API does nothing.
    """

    def __init__(self, provider: Any = None, *, names: Any = to_otel) -> None:
        from opentelemetry import _logs

        self._severity = {level: _logs.SeverityNumber(number) for level, number in SEVERITY.items()}
        self._log = _logs.get_logger("jitwarmup", version(), logger_provider=provider)
        self._names = names

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Hand the record to the Logs API."""
        attributes: EventDict = self._names(None, level, dict(fields))
        self._log.emit(
            timestamp=time.time_ns(),
            severity_number=self._severity[level],
            severity_text=level.upper(),
            body=short_line(event, fields),
            attributes=attributes,
            event_name=event,
        )
