"""
Sinks and processors for the events of jitwarmup, for whoever wants more than the log they go to anyway.

    from jitwarmup.events import JsonLines, set_emitters
    from jitwarmup.integrations.prometheus import PrometheusMetrics

    set_emitters(PrometheusMetrics(), JsonLines("/var/log/service/events.jsonl"))

Names are found when they are first used: importing this imports neither structlog nor ``logging.handlers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jitwarmup.lazily import lazily

if TYPE_CHECKING:
    from jitwarmup.events.emit import as_emitter as as_emitter
    from jitwarmup.events.emit import default_emitter as default_emitter
    from jitwarmup.events.emit import set_emitters as set_emitters
    from jitwarmup.events.guard import Fanout as Fanout
    from jitwarmup.events.guard import QueueSink as QueueSink
    from jitwarmup.events.guard import SafeEmitter as SafeEmitter
    from jitwarmup.events.json_lines import JsonLines as JsonLines
    from jitwarmup.events.processors import GenAI as GenAI
    from jitwarmup.events.processors import add_trace_ids as add_trace_ids
    from jitwarmup.events.processors import nest_keys as nest_keys
    from jitwarmup.events.processors import to_otel as to_otel
    from jitwarmup.events.schema import json_schema as json_schema

WHERE, __getattr__, __dir__ = lazily(
    __name__,
    {
        "emit": "as_emitter default_emitter set_emitters",
        "guard": "Fanout QueueSink SafeEmitter",
        "json_lines": "JsonLines",
        "processors": "GenAI add_trace_ids nest_keys to_otel",
        "schema": "json_schema",
    },
)
__all__ = [*WHERE]  # noqa: PLE0604 - one table says both what is public and where it lives
