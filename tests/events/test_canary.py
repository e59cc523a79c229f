"""No prompt, output, argument value or exception message leaves through any event, any sink, or any sink's failure."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from pathlib import Path

import prometheus_client
import structlog
from strict import BUILD

from jitwarmup import configure_json
from jitwarmup.events import Fanout, JsonLines, QueueSink, SafeEmitter, emit, schema
from jitwarmup.events.sinks import Recorder, StderrLines
from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs, OpenTelemetryMetrics
from jitwarmup.integrations.prometheus import PrometheusMetrics

CANARY = "canary-7f3a"


class Prompt:
    """A value that shows its contents to whoever asks."""

    def __repr__(self):
        return CANARY

    __str__ = __repr__
    __format__ = lambda self, spec: CANARY  # noqa: E731

    def __float__(self):
        raise ValueError(CANARY)

    __index__ = __float__

    @property
    def dtype(self):
        raise ValueError(CANARY)


def poisoned(event: schema.Event) -> dict[str, object]:
    """Every key of the event with a value that must not get out, and keys that no event has."""
    fields: dict[str, object] = {}
    for key in schema.keys_of(event):
        name = key.name.replace("<", "").replace(">", "")
        fields[name] = [Prompt(), {"prompt": CANARY}] if key.type == "list" else Prompt()
    fields |= {"prompt": CANARY, "args": (CANARY,), "output": CANARY, "error_message": CANARY, CANARY: 1}
    return fields | {name: 1.0 for name in event.required if name.endswith("_s")} | {"count": 1, "outcome": "ok"}


@contextmanager
def listening(caplog, capfd, tmp_path: Path):
    """Collects everything that comes out anywhere: yields a function that gives it all as one text."""
    recorder, registry = Recorder(), prometheus_client.CollectorRegistry()

    def everything() -> str:
        captured = capfd.readouterr()
        records = [repr(vars(record)) + str(record.exc_info) + str(record.exc_text) for record in caplog.records]
        files = [path.read_text() for path in tmp_path.iterdir()]
        scraped = prometheus_client.generate_latest(registry).decode()
        return "\n".join([captured.out, captured.err, *records, *files, scraped, repr(recorder.events)])

    yield everything, recorder, registry


class FakeProvider:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def get_logger(self, *args, **more):
        return self

    def emit(self, **record):
        self.recorder.emit("otel", "info", record)


def test_the_canary_gets_out_nowhere(caplog, capfd, tmp_path, monkeypatch):
    caplog.set_level(logging.DEBUG)
    with listening(caplog, capfd, tmp_path) as (everything, recorder, registry):
        configure_json()
        sinks = [
            emit.default_emitter(),
            emit.as_emitter(structlog.get_logger()),
            emit.as_emitter(logging.getLogger("jitwarmup")),
            StderrLines(),
            JsonLines(tmp_path / "events.jsonl"),
            PrometheusMetrics(registry),
            OpenTelemetryMetrics(),
            OpenTelemetryLogs(FakeProvider(recorder)),
            Fanout(recorder),
        ]
        for event in schema.EVENTS:
            fields = BUILD(event.name, poisoned(event)) | {"callable": "module.generate"}
            for sink in sinks:
                SafeEmitter(sink).emit(event.name, event.level, fields)
        collected = everything()
    assert CANARY not in collected
    for event in schema.EVENTS:  # the test collects something: every event came out of several sinks
        assert collected.count(event.name) >= 5, event.name


class Failing:
    """A sink, processor and context manager in one, each of which fails with the canary."""

    def emit(self, event, level, fields):
        raise RuntimeError(CANARY)

    def __call__(self, *args):
        raise ValueError(CANARY)

    def __enter__(self):
        raise OSError(CANARY)

    def __exit__(self, *error):
        raise OSError(CANARY)


class FailingSpan(Recorder):
    def warming(self, fields):
        return Failing()


def failing(tmp_path: Path) -> list[SafeEmitter]:
    queued = QueueSink(Failing())
    queued.emit(schema.CALL, "info", {})
    queued.flush(10)
    return [
        SafeEmitter(Failing()),
        SafeEmitter(queued),
        SafeEmitter(Fanout(Failing(), FailingSpan())),
        SafeEmitter(JsonLines(tmp_path / "e", processors=[Failing()])),
        SafeEmitter(emit.as_emitter(structlog.wrap_logger(None, processors=[Failing()]))),
    ]


def test_no_failing_sink_shows_its_exceptions_message(caplog, capfd, tmp_path):
    caplog.set_level(logging.DEBUG)
    with listening(caplog, capfd, tmp_path) as (everything, _, _):
        for guarded in failing(tmp_path):
            with guarded.warming({"callable": "f"}):
                guarded.emit(schema.CALL, "info", {"callable": "f"})
        collected = everything()
    assert CANARY not in collected
    assert collected.count("the log sink") >= 4


def test_a_message_that_was_asked_for_is_there():
    fields = {"callable": "f", "latency_s": -1.0, "error_type": "E", "phase": "validate", "error_message": CANARY}
    assert CANARY in json.dumps(schema.build(schema.VALIDATION_FAILED, fields, log_messages=True))
