from __future__ import annotations

import time

from opentelemetry._logs import SeverityNumber

from jitwarmup.events import GenAI, schema
from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs


class FakeProvider:
    """Stands for a LoggerProvider and its logger: keeps what is emitted."""

    def __init__(self) -> None:
        self.records: list[dict[str, object]] = []

    def get_logger(self, name, *rest, **more):
        assert name == "jitwarmup"
        return self

    def emit(self, **record):
        self.records.append(record)


def test_an_event_is_a_record_with_an_event_name():
    provider = FakeProvider()
    fields = schema.build(schema.CALL, {"callable": "f", "duration_s": 1.5, "outcome": "ok", "items": 3})
    before = time.time_ns()
    OpenTelemetryLogs(provider).emit(schema.CALL, "info", fields)
    (record,) = provider.records
    assert before <= record.pop("timestamp") <= time.time_ns()
    assert record == {
        "event_name": schema.CALL,
        "severity_number": SeverityNumber.INFO,
        "severity_text": "INFO",
        "body": "jitwarmup.call f 1.5 s, 3 items",
        "attributes": {
            "jitwarmup.schema": "jitwarmup/1",
            "code.function.name": "f",
            "jitwarmup.duration_s": 1.5,
            "jitwarmup.outcome": "ok",
            "jitwarmup.items": 3,
        },
    }


def test_every_level_has_its_severity():
    provider = FakeProvider()
    out = OpenTelemetryLogs(provider)
    for event, level, fields in [(event.name, event.level, {"callable": "f"}) for event in schema.EVENTS]:
        out.emit(event, level, fields)
    assert {record["severity_text"]: record["severity_number"].value for record in provider.records} == {
        "INFO": 9,
        "WARNING": 13,
        "ERROR": 17,
    }


def test_the_names_can_be_chosen():
    provider = FakeProvider()
    fields = schema.build(schema.CALL, {"callable": "f", "duration_s": 1.5, "outcome": "ok", "items": 3})
    OpenTelemetryLogs(provider, names=GenAI(model="m")).emit(schema.CALL, "info", fields)
    assert provider.records[0]["attributes"]["gen_ai.usage.output_tokens"] == 3


def test_without_an_sdk_nothing_happens():
    OpenTelemetryLogs().emit(schema.CALL, "info", {"callable": "f"})
