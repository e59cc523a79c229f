"""
The canary everywhere: in every argument, output, exception message, closure and key, through every kind of function
and every way of failing, into every sink. It must be found nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import prometheus_client
import structlog

from jitwarmup import JitwarmupError, steady_state, warmed
from jitwarmup.events import Fanout, JsonLines, emit, schema, set_emitters
from jitwarmup.events.sinks import Recorder
from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs
from jitwarmup.integrations.prometheus import PrometheusMetrics

CANARY = "canary-5d1c"


class Prompt(str):
    """An argument that is the canary, in every form it may be asked for."""

    __slots__ = ()

    def __repr__(self):
        return CANARY


class Boom(Exception):
    """An error of the user's whose message is the canary."""


def failing_at(run: int):
    """A function that returns the canary and raises it on one of its runs."""
    runs = [0]
    secret = CANARY

    def work(prompt, *, more=None):
        runs[0] += 1
        if runs[0] == run:
            raise Boom(f"{secret} {prompt} {more}")
        return f"{secret} {prompt}"

    return work


def tried(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Boom:
        return None


def plain_calls() -> None:
    for run in range(6):  # 0: never
        function = warmed(iterations=2)(failing_at(run))
        for _ in range(3):
            tried(function, Prompt(CANARY), more={CANARY: [CANARY]})
        tried(function.measure, Prompt(CANARY))
    keyed = warmed(iterations=1, key=lambda prompt, **_: prompt)(failing_at(0))
    keyed.warm(CANARY)
    keyed(CANARY + "2")  # a live call that misses its key
    refused = warmed(iterations=1, accept=lambda value: False)(failing_at(0))
    refused(CANARY)
    with contextlib.suppress(JitwarmupError):
        refused.warm(CANARY)
    mutating = warmed(iterations=1)(lambda words: words.append(CANARY))
    mutating([CANARY])


def kinds() -> None:
    @warmed(iterations=1)
    def stream(prompt):
        yield prompt
        if prompt == CANARY:
            raise Boom(CANARY)

    @warmed(iterations=1)
    async def answer(prompt):
        if prompt == CANARY:
            raise Boom(CANARY)
        return prompt

    tried(lambda: list(stream(Prompt(CANARY))))
    assert list(stream(Prompt(CANARY + "!"))) == [CANARY + "!"]
    next(stream(Prompt(CANARY + "!")))  # closed early
    for prompt in (CANARY, CANARY + "!"):
        tried(lambda prompt=prompt: asyncio.run(answer(Prompt(prompt))))


def blocks(log: object) -> None:
    for run in range(6):
        with steady_state(iterations=1, measurements=2, log=log) as steady:
            steady.measure(failing_at(run), Prompt(CANARY))
    for run in range(3):
        try:
            with steady_state(failing_at(run), CANARY, iterations=1, log=log):
                if run == 0:
                    raise Boom(CANARY)
        except Boom:
            pass
    for broken in (-1, 0, 1, 2):
        try:
            with steady_state(iterations=1, measurements=2, log=log) as steady:
                for number, trial in enumerate(steady.trials()):
                    with trial:
                        if number == broken:
                            raise Boom(CANARY)
        except Boom:
            pass


class Provider:
    """Keeps the log records that OpenTelemetry would get."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def get_logger(self, *args, **more):
        return self

    def emit(self, **record):
        self.recorder.emit("otel", "info", record)


def test_the_canary_is_found_nowhere(tmp_path: Path, capfd, caplog):
    recorder, registry = Recorder(), prometheus_client.CollectorRegistry()
    caplog.set_level(logging.DEBUG, "jitwarmup")
    sinks = Fanout(
        JsonLines(tmp_path / "events.jsonl"), PrometheusMetrics(registry), OpenTelemetryLogs(Provider(recorder))
    )
    set_emitters(sinks)
    try:
        plain_calls()  # to standard logging, and to the added emitters
        kinds()
        with structlog.testing.capture_logs() as logs:
            plain_calls()
            blocks(None)
        for log in (sinks, recorder, logging.getLogger("jitwarmup"), None):
            blocks(log)
    finally:
        set_emitters()
    captured = capfd.readouterr()
    records = [repr(vars(record)) for record in caplog.records]
    file = (tmp_path / "events.jsonl").read_text()
    scraped = prometheus_client.generate_latest(registry).decode()
    collected = "\n".join([captured.out, captured.err, *records, file, scraped, repr(recorder.events), repr(logs)])
    assert CANARY not in collected
    missing = {event.name for event in schema.EVENTS if event.name not in collected}
    assert missing <= {  # what no function here can bring about
        schema.STEADY_STATE_REACHED,
        schema.STEADY_STATE_NOT_REACHED,
        schema.STEADY_STATE_LOST,
        schema.SUMMARY,
        schema.MONITOR_DEGRADED,
    }


def test_the_canary_would_have_been_found(caplog):
    """The net holds: a message that is asked for does come through."""
    caplog.set_level(logging.DEBUG, "jitwarmup")
    failed = {"callable": "f", "latency_s": -1.0, "error_type": "E", "phase": "validate", "error_message": CANARY}
    fields = schema.build(schema.VALIDATION_FAILED, failed, log_messages=True)
    emit.default_emitter().emit(schema.VALIDATION_FAILED, "error", fields)
    assert CANARY in repr([vars(record) for record in caplog.records])
