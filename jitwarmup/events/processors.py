"""
Processors to choose from, in structlog's form ``(logger, method name, event dict) -> event dict``.

Put them before the renderer of ``structlog.configure`` or give them to ``JsonLines(processors=...)``. They touch only
events of jitwarmup and leave every other event of the application as it is. For Elastic use
``ecs_logging.StructlogFormatter``; for other vendors structlog's own processors do it, for example

    structlog.processors.EventRenamer("message")                          # Datadog, Google Cloud
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")     # Google Cloud
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

EventDict = MutableMapping[str, Any]

ENVELOPE: Final = frozenset(
    {"event", "level", "timestamp", "logger", "log_level", "trace_id", "span_id", "trace_flags", "exception"}
)
# Our key -> OpenTelemetry attribute, the one place that knows the conventions. Those of `hw.*` and `gen_ai.*` are in
# development and have moved before, so no number travels under such a name alone elsewhere: this is a processor to
# choose. Everything not named here becomes `jitwarmup.<key>`. Checked against opentelemetry-semantic-conventions by
# tests/backends/test_rotel.py.
OTEL_NAMES: Final[Mapping[str, str]] = {
    "callable": "code.function.name",
    "error_type": "error.type",
    "error_message": "exception.message",
    "device_uuid": "hw.id",
    "device_name": "hw.model",
    "device_energy_j": "hw.energy",
    "device_power_mean_w": "hw.power",
    "device_temperature_c": "hw.temperature",
    "device_memory_used_bytes": "hw.gpu.memory.usage",
}
GEN_AI_NAMES: Final[Mapping[str, str]] = {
    "first_item_s": "gen_ai.response.time_to_first_chunk",
    "items": "gen_ai.usage.output_tokens",
}
NESTED: Final = ("device_", "ledger_", "paid_", "decision_")


def is_ours(fields: Mapping[str, Any]) -> bool:
    return str(fields.get("schema", "")).startswith("jitwarmup/")


def to_otel(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """Rename the keys to OpenTelemetry attribute names; ``event``, ``level``, ``timestamp`` and trace ids stay."""
    return rename(fields, OTEL_NAMES) if is_ours(fields) else fields


class GenAI:
    """
    ``to_otel`` for a text generator: what it streams are tokens, so its items and first item have ``gen_ai`` names too.

    The names ``gen_ai.operation.name``, ``gen_ai.provider.name`` and ``gen_ai.request.model`` are added as given.
    """

    def __init__(
        self, *, model: str | None = None, operation: str = "text_completion", provider: str = "transformers"
    ) -> None:
        self.added = {"gen_ai.operation.name": operation, "gen_ai.provider.name": provider}
        if model is not None:
            self.added["gen_ai.request.model"] = model

    def __call__(self, _logger: Any, _method: str, fields: EventDict) -> EventDict:
        """Rename the keys and add the three names."""
        return rename(fields, {**OTEL_NAMES, **GEN_AI_NAMES}) | self.added if is_ours(fields) else fields


def rename(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The fields under other names; ``hw.type`` is added where a device is named."""
    renamed = {
        name if name in ENVELOPE else names.get(name, f"jitwarmup.{name}"): value for name, value in fields.items()
    }
    return renamed | {"hw.type": "gpu"} if "hw.id" in renamed else renamed


def nest_keys(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """
    Nest what is flat: dotted names at their dots, and ``device_``, ``ledger_``, ``paid_`` and ``decision_`` keys in one object each.

    A name that would have to be a value and an object at once keeps its dots.
    """
    if not is_ours(fields) and not is_ours({"schema": fields.get("jitwarmup.schema", "")}):
        return fields
    nested: dict[str, Any] = {}
    for name, value in fields.items():
        group = next((group for group in NESTED if name.startswith(group)), None)
        *path, last = [group[:-1], name[len(group) :]] if group else name.split(".")
        spot: Any = nested
        for step in path:
            spot = spot.setdefault(step, {}) if isinstance(spot, dict) else spot
        if isinstance(spot, dict) and last not in spot:
            spot[last] = value
        else:
            nested[name] = value
    return nested


def add_trace_ids(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """Add ``trace_id`` and ``span_id`` (hex) of the current OpenTelemetry span; nothing where there is none."""
    trace = sys.modules.get("opentelemetry.trace")
    context = trace and trace.get_current_span().get_span_context()
    if context is not None and context.is_valid:
        fields["trace_id"] = format(context.trace_id, "032x")
        fields["span_id"] = format(context.span_id, "016x")
    return fields
