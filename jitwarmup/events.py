"""
Sinks, hooks and processors for the events of jitwarmup, for whoever wants more than the log they go to anyway.

    from jitwarmup.events import HookFactory, JsonLines, PrometheusMetrics, set_hooks

    set_hooks(HookFactory(PrometheusMetrics), JsonLines("/var/log/service/events.jsonl"))

Importing it imports neither structlog, prometheus_client nor OpenTelemetry; those come with the sink that needs them.
"""

from __future__ import annotations

from jitwarmup.edges.events.emit import adapt, default_emitter, set_hooks
from jitwarmup.edges.events.files import JsonLines
from jitwarmup.edges.events.guard import Guarded, Handover
from jitwarmup.edges.events.hooks import WARMUP_STARTED, Details, HookFactory, Hooks
from jitwarmup.edges.events.metrics import OpenTelemetryMetrics, PrometheusMetrics
from jitwarmup.edges.events.otel_logs import OpenTelemetryLogs
from jitwarmup.edges.events.processors import GenAI, add_trace_ids, nest_keys, to_otel
from jitwarmup.edges.events.publish import json_schema

__all__ = [
    "WARMUP_STARTED",
    "Details",
    "GenAI",
    "Guarded",
    "Handover",
    "HookFactory",
    "Hooks",
    "JsonLines",
    "OpenTelemetryLogs",
    "OpenTelemetryMetrics",
    "PrometheusMetrics",
    "adapt",
    "add_trace_ids",
    "default_emitter",
    "json_schema",
    "nest_keys",
    "set_hooks",
    "to_otel",
]
