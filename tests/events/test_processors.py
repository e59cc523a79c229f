from __future__ import annotations

import json
import sys

import pytest
import structlog

from jitwarmup.events import GenAI, add_trace_ids, nest_keys, schema, to_otel

CALL = {
    "event": schema.CALL,
    "level": "info",
    "timestamp": "2026-01-01T00:00:00Z",
    "schema": "jitwarmup/1",
    "callable": "module.generate",
    "duration_s": 1.5,
    "outcome": "ok",
    "first_item_s": 0.5,
    "items": 20,
    "work": ["import"],
    "device_uuid": "GPU-1",
    "device_name": "H200",
    "device_energy_j": 60.0,
    "device_throttled_power_s": 0.5,
}
FOREIGN = {"event": "request", "path": "/", "device_uuid": "x", "a.b": 1}


@pytest.mark.parametrize("process", [to_otel, GenAI(), nest_keys])
def test_events_of_the_application_are_left_as_they_are(process):
    assert process(None, "info", dict(FOREIGN)) == FOREIGN


def test_keys_get_opentelemetry_names():
    assert to_otel(None, "info", dict(CALL)) == {
        "event": schema.CALL,
        "level": "info",
        "timestamp": "2026-01-01T00:00:00Z",
        "jitwarmup.schema": "jitwarmup/1",
        "code.function.name": "module.generate",
        "jitwarmup.duration_s": 1.5,
        "jitwarmup.outcome": "ok",
        "jitwarmup.first_item_s": 0.5,
        "jitwarmup.items": 20,
        "jitwarmup.work": ["import"],
        "hw.id": "GPU-1",
        "hw.model": "H200",
        "hw.type": "gpu",
        "hw.energy": 60.0,
        "jitwarmup.device_throttled_power_s": 0.5,
    }


def test_a_text_generator_gets_genai_names_too():
    named = GenAI(model="smollm2")(None, "info", dict(CALL))
    assert {name: value for name, value in named.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "transformers",
        "gen_ai.request.model": "smollm2",
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.usage.output_tokens": 20,
    }
    assert "gen_ai.request.model" not in GenAI()(None, "info", dict(CALL))


def test_no_name_is_the_beginning_of_another_so_every_event_can_be_nested(every_event):
    for _, _, fields in every_event():
        for rename in (to_otel, GenAI(model="m")):
            names = rename(None, "info", dict(fields))
            assert not [(a, b) for a in names for b in names if b.startswith(f"{a}.")]
            nested = nest_keys(None, "info", dict(names))
            assert not [name for name in nested if "." in name]
            assert sorted(leaves(nested)) == sorted(str(value) for value in names.values())


def leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    return [str(value)]


def test_our_groups_nest_without_dots_too():
    nested = nest_keys(None, "info", dict(CALL))
    assert nested["device"] == {"uuid": "GPU-1", "name": "H200", "energy_j": 60.0, "throttled_power_s": 0.5}
    assert nested["duration_s"] == 1.5


def test_a_name_that_would_be_value_and_object_at_once_keeps_its_dots():
    fields = {"schema": "jitwarmup/1", "a": 1, "a.b": 2, "c.d.e": 3, "c.d": 4}
    assert nest_keys(None, "info", fields) == {
        "schema": "jitwarmup/1",
        "a": 1,
        "a.b": 2,
        "c": {"d": {"e": 3}},
        "c.d": 4,
    }


def test_trace_ids_are_those_of_the_current_span():
    from opentelemetry import trace

    context = trace.SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert add_trace_ids(None, "info", {"event": "e"}) == {
            "event": "e",
            "trace_id": f"{0xABC:032x}",
            "span_id": f"{0xDEF:016x}",
        }
    assert add_trace_ids(None, "info", {"event": "e"}) == {"event": "e"}


def test_without_opentelemetry_there_are_no_trace_ids(monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert add_trace_ids(None, "info", {"event": "e"}) == {"event": "e"}


def test_the_recipes_for_other_vendors_give_the_shape_they_document():
    lines: list[str] = []

    class Keep:
        def info(self, line):
            lines.append(line)

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: Keep(),
    )
    structlog.get_logger().info(schema.CALL, schema="jitwarmup/1", duration_s=1.5)
    entry = json.loads(lines[0])
    assert entry.pop("time").endswith("Z")
    assert entry == {"message": schema.CALL, "level": "info", "schema": "jitwarmup/1", "duration_s": 1.5}
