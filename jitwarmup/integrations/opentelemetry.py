"""
Metrics and log records for OpenTelemetry (the extra ``jitwarmup[otel]``).

    from jitwarmup.events import set_emitters
    from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs, OpenTelemetryMetrics

    set_emitters(OpenTelemetryLogs(), OpenTelemetryMetrics())

An OpenTelemetry event is a log record whose EventName is set; span events and the former Events API are on their way
out, so nothing here touches a span. Without an SDK the API does nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from opentelemetry import _logs, metrics

from jitwarmup.events.processors import EventDict, to_otel
from jitwarmup.events.text import short_line
from jitwarmup.integrations.metrics import BUCKETS, FROM_EVENTS, FROM_REGISTRY, EventMetrics, Metric, state_readings

SEVERITY: Final[Mapping[str, int]] = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
SCOPE: Final = ("jitwarmup", sys.modules["jitwarmup"].__version__)


class OpenTelemetryMetrics(EventMetrics):
    """
    An emitter that records the metrics through the OpenTelemetry API; state and ready are read when they are collected.

    ``provider`` is a MeterProvider; None means the application's own.
    """

    def __init__(self, provider: Any = None, *, buckets: Sequence[float] = BUCKETS) -> None:
        super().__init__()
        meter = metrics.get_meter(*SCOPE, meter_provider=provider)
        self._recorders = {metric: _recorder(meter, metric, buckets) for metric in FROM_EVENTS}
        for metric in FROM_REGISTRY:
            meter.create_observable_gauge(metric.otel, [partial(_observed, metric)], metric.unit, metric.text)

    def _record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self._recorders[metric](value, _attributes(labels))


def _recorder(meter: Any, metric: Metric, buckets: Sequence[float]) -> Any:
    more = {"explicit_bucket_boundaries_advisory": list(buckets)} if metric.kind == "histogram" else {}
    instrument = getattr(meter, f"create_{metric.kind}")(metric.otel, metric.unit, metric.text, **more)
    verb = {"histogram": "record", "counter": "add", "gauge": "set"}[metric.kind]
    return getattr(instrument, verb)


def _attributes(labels: Mapping[str, str]) -> dict[str, str]:
    return {"code.function.name" if name == "callable" else f"jitwarmup.{name}": text for name, text in labels.items()}


def _observed(wanted: Metric, _options: Any) -> Iterator[metrics.Observation]:
    for metric, value, labels in state_readings():
        if metric is wanted:
            yield metrics.Observation(value, _attributes(labels))


class OpenTelemetryLogs:
    """
    An emitter that sends each event as a log record: EventName, severity, the short line as body, fields as attributes.

    ``provider`` is a LoggerProvider, None the application's own; ``names`` turns our keys into attribute names
    (``processors.to_otel``, or a ``GenAI``). The current span's ids are added by the SDK.
    """

    def __init__(self, provider: Any = None, *, names: Any = to_otel) -> None:
        self._log = _logs.get_logger(*SCOPE, logger_provider=provider)
        self._names = names

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Hand the record to the Logs API."""
        attributes: EventDict = self._names(None, level, dict(fields))
        self._log.emit(
            timestamp=time.time_ns(),
            severity_number=_logs.SeverityNumber(SEVERITY[level]),
            severity_text=level.upper(),
            body=short_line(event, fields),
            attributes=attributes,
            event_name=event,
        )
