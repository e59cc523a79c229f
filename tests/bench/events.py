"""
Microseconds per event for each emitter, beside a bare structlog call with the same keys in the same run.

    python tests/bench/events.py [--json]

Each figure is the least of many chunks of about a millisecond, and the emitters take turns, so a busy machine changes
all of them alike. "event" is a ``jitwarmup.call`` with 10 keys: made by ``build`` and sent through the guard, as the
engine does it. The bare calls get their keys ready-made and are not guarded.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from jitwarmup.events import schema
from jitwarmup.events.emit import as_emitter, default_emitter
from jitwarmup.events.guard import Fanout, QueueSink, SafeEmitter
from jitwarmup.events.json_lines import JsonLines
from jitwarmup.events.sanitize import to_json
from jitwarmup.events.sinks import Recorder
from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs, OpenTelemetryMetrics
from jitwarmup.integrations.prometheus import PrometheusMetrics

CHUNK_S = 1e-3
ROUNDS = 300
RAW = {
    "callable": "module.Service.generate",
    "label": "service",
    "duration_s": 0.6123,
    "outcome": "ok",
    "error_type": None,
    "contaminated": False,
    "first_item_s": 0.0211,
    "items": 20,
    "items_per_s": 32.66,
    "wait_s": 0.0002,
}
BUILT = schema.build(schema.CALL, RAW)


class Bytes:
    """What structlog's BytesLogger is, over one open file."""

    def __init__(self, file: int) -> None:
        self._file = file

    def info(self, line: bytes) -> None:
        os.write(self._file, line + b"\n")


def configure(file: int, *, cache: bool) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=lambda fields, **_: to_json(fields).encode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=lambda *_: Bytes(file),
        cache_logger_on_first_use=cache,
    )


def through(emitter: object) -> Callable[[], None]:
    guarded = SafeEmitter(emitter)  # type: ignore[arg-type]

    def event() -> None:
        guarded.emit(schema.CALL, "info", schema.build(schema.CALL, RAW))

    return event


def bare(log: object) -> Callable[[], None]:
    return lambda: log.info(schema.CALL, **BUILT)  # type: ignore[attr-defined]


def cases(folder: Path) -> dict[str, Callable[[], None]]:
    """What is timed, by name; the first is the measure of the others."""
    file = os.open(folder / "structlog.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    configure(file, cache=True)
    cached = structlog.get_logger("jitwarmup")
    cached.info("cache me")
    configure(file, cache=False)
    logger = logging.getLogger("jitwarmup.bench")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(StringIO()))
    fields = BUILT
    return {
        "bare structlog call": bare(structlog.get_logger("jitwarmup")),
        "bare structlog call, cached logger": bare(cached),
        "build alone": lambda: schema.build(schema.CALL, RAW) and None,
        "default emitter, structlog configured": through(default_emitter()),
        "as_emitter(structlog logger)": through(as_emitter(structlog.get_logger("jitwarmup"))),
        "JsonLines": through(JsonLines(folder / "events.jsonl")),
        "bare logging call": lambda: logger.info("a line", extra=fields),
        "as_emitter(logging.Logger)": through(as_emitter(logger)),
        "QueueSink(JsonLines), in the caller": through(QueueSink(JsonLines(folder / "handed.jsonl"), size=10**7)),
        "Fanout(Recorder)": through(Fanout(Recorder())),
        "PrometheusMetrics": through(PrometheusMetrics()),
        "OpenTelemetryMetrics, no SDK": through(OpenTelemetryMetrics()),
        "OpenTelemetryLogs, no SDK": through(OpenTelemetryLogs()),
    }


def chunk(function: Callable[[], None], number: int) -> float:
    began = time.perf_counter()
    for _ in range(number):
        function()
    return (time.perf_counter() - began) / number


def measure(functions: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Microseconds of each, the least over all rounds."""
    numbers = {name: max(1, int(CHUNK_S / chunk(function, 50))) for name, function in functions.items()}
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(ROUNDS):
        for name, function in functions.items():
            best[name] = min(best[name], chunk(function, numbers[name]))
    return {name: seconds * 1e6 for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="microseconds per event, by emitter")
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    with TemporaryDirectory() as folder:
        found = measure(cases(Path(folder)))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    of = found["bare structlog call"]
    print(f"{'event of 10 keys':44}{'us':>8}{'x bare structlog':>18}")
    for name, spent in found.items():
        print(f"{name:44}{spent:8.2f}{spent / of:18.2f}")


if __name__ == "__main__":
    main()
