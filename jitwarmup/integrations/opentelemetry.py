"""
Metrics, log records and spans of warm-ups for OpenTelemetry (the extra ``jitwarmup[otel]``).

    from jitwarmup.events import set_emitters
    from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs, OpenTelemetryMetrics, OpenTelemetryTraces

    set_emitters(OpenTelemetryLogs(), OpenTelemetryMetrics(), OpenTelemetryTraces())

An OpenTelemetry event is a log record whose EventName is set. Spans are made of warm-ups alone, never of plain calls,
which are the application's to trace. Without an SDK the API does nothing.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from opentelemetry import _logs, metrics, trace

from jitwarmup.events import schema as s
from jitwarmup.events.processors import OTEL_NAMES, EventDict, rename, to_otel
from jitwarmup.events.text import short_line
from jitwarmup.host.fork_safe import Locked
from jitwarmup.integrations.metrics import (
    BUCKETS,
    FROM_EVENTS,
    FROM_REGISTRY,
    EventMetrics,
    Metric,
    cost_readings,
    state_readings,
)

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


OPEN_AT_MOST: Final = 64  # warm-ups whose end is not announced yet
ENDS: Final = (s.WARMUP_COMPLETED, s.WARMUP_FAILED, s.VALIDATION_FAILED)


class OpenTelemetryTraces(Locked):
    """
    An emitter that gives each warm-up a span, a child of the request that pays for it, which gets a link to it.

        jitwarmup warm-up             an event ``jitwarmup.one_time_work`` for each cause, with its seconds
        +- jitwarmup validate
        +- jitwarmup warm

    ``provider`` is a TracerProvider, None the application's own.
    """

    def __init__(self, provider: Any = None) -> None:
        super().__init__()
        self._tracer = trace.get_tracer(*SCOPE, tracer_provider=provider)
        self._open: OrderedDict[str, tuple[trace.Span, int]] = OrderedDict()  # and when its last phase ended

    @contextmanager
    def warming(self, fields: Mapping[str, Any]) -> Iterator[None]:
        """Around validation and warm-up: the span is the current one, and ends with the event of the warm-up's end."""
        payer = trace.get_current_span()
        known = {name: value for name, value in fields.items() if value is not None}
        span = self._tracer.start_span("jitwarmup warm-up", attributes=rename(known, OTEL_NAMES))
        if payer.get_span_context().is_valid:
            payer.add_link(span.get_span_context())
        with self._lock:
            self._open[str(fields["report_id"])] = span, time.time_ns()
            late = self._open.popitem(last=False) if len(self._open) > OPEN_AT_MOST else None
        if late is not None:
            late[1][0].end()
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:  # noqa: ARG002 - spans have no level
        """End the phase, or the warm-up, that the event tells of."""
        if event != s.VALIDATION_COMPLETED and event not in ENDS:
            return
        with self._lock:
            found = self._open.pop(str(fields.get("report_id")), None)
        if found is None:
            return
        (span, began), now = found, time.time_ns()
        validation = event in (s.VALIDATION_COMPLETED, s.VALIDATION_FAILED)
        name = "jitwarmup validate" if validation else "jitwarmup warm"
        self._tracer.start_span(name, trace.set_span_in_context(span), start_time=began).end(now)
        if event == s.VALIDATION_COMPLETED:
            with self._lock:
                self._open[str(fields["report_id"])] = span, now
            return
        for _, seconds, labels in cost_readings(event, fields):
            span.add_event("jitwarmup.one_time_work", _attributes(labels) | {"jitwarmup.duration_s": seconds}, now)
        if event != s.WARMUP_COMPLETED:
            span.set_status(trace.StatusCode.ERROR, str(fields.get("error_type", "")))
        span.end(now)
