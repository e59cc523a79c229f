"""
Sinks, hooks and processors for the events of jitwarmup, for whoever wants more than the log they go to anyway.

    from jitwarmup.events import HookFactory, JsonLines, PrometheusMetrics, set_hooks

    set_hooks(HookFactory(PrometheusMetrics), JsonLines("/var/log/service/events.jsonl"))

Names are found when they are first used: importing this imports neither structlog, prometheus_client nor OpenTelemetry.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitwarmup.events.emit import as_emitter as as_emitter
    from jitwarmup.events.emit import default_emitter as default_emitter
    from jitwarmup.events.emit import set_hooks as set_hooks
    from jitwarmup.events.fanout import WARMUP_STARTED as WARMUP_STARTED
    from jitwarmup.events.fanout import Details as Details
    from jitwarmup.events.fanout import HookFactory as HookFactory
    from jitwarmup.events.fanout import Hooks as Hooks
    from jitwarmup.events.guard import QueueSink as QueueSink
    from jitwarmup.events.guard import SafeEmitter as SafeEmitter
    from jitwarmup.events.json_lines import JsonLines as JsonLines
    from jitwarmup.events.json_schema import json_schema as json_schema
    from jitwarmup.events.metrics import OpenTelemetryMetrics as OpenTelemetryMetrics
    from jitwarmup.events.metrics import PrometheusMetrics as PrometheusMetrics
    from jitwarmup.events.otel_logs import OpenTelemetryLogs as OpenTelemetryLogs
    from jitwarmup.events.processors import GenAI as GenAI
    from jitwarmup.events.processors import add_trace_ids as add_trace_ids
    from jitwarmup.events.processors import nest_keys as nest_keys
    from jitwarmup.events.processors import to_otel as to_otel

_MODULES = {
    "WARMUP_STARTED": "fanout",
    "Details": "fanout",
    "GenAI": "processors",
    "SafeEmitter": "guard",
    "QueueSink": "guard",
    "HookFactory": "fanout",
    "Hooks": "fanout",
    "JsonLines": "json_lines",
    "OpenTelemetryLogs": "otel_logs",
    "OpenTelemetryMetrics": "metrics",
    "PrometheusMetrics": "metrics",
    "as_emitter": "emit",
    "add_trace_ids": "processors",
    "default_emitter": "emit",
    "json_schema": "json_schema",
    "nest_keys": "processors",
    "set_hooks": "emit",
    "to_otel": "processors",
}
__all__ = [*_MODULES]  # noqa: PLE0604 - one table says both what is public and where it lives


def __getattr__(name: str) -> Any:
    """Find a public name in its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'jitwarmup.events' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jitwarmup.events.{_MODULES[name]}"), name)
