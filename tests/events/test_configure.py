from __future__ import annotations

import io
import json
import sys

import pytest
import structlog

from jitwarmup import configure_json
from jitwarmup.events import emit, schema

FIELDS = {"schema": "jitwarmup/1", "callable": "f", "duration_s": 1.0, "outcome": "ok"}


def test_each_event_is_a_json_line_on_stderr(capsys):
    configure_json()
    emit.default_emitter().emit(schema.CALL, "info", FIELDS)
    emit.default_emitter().emit(schema.STEADY_STATE_LOST, "warning", {"callable": "f", "reason": "r"})
    captured = capsys.readouterr()
    first, second = (json.loads(line) for line in captured.err.splitlines())
    assert captured.out == ""
    assert list(first)[:3] == ["timestamp", "level", "event"]
    assert first.pop("timestamp").endswith("Z")
    assert first == {"level": "info", "event": schema.CALL, **FIELDS}
    assert second["level"] == "warning"


def test_a_stream_of_ones_own_is_used():
    stream = io.StringIO()
    configure_json(stream)
    structlog.get_logger().info("mine", number=1)
    assert json.loads(stream.getvalue())["number"] == 1


def test_the_scripts_own_events_may_hold_what_json_does_not_know(capsys):
    configure_json()
    structlog.contextvars.bind_contextvars(request="r1")
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger().exception("failed", thing=object())
    finally:
        structlog.contextvars.clear_contextvars()
    entry = json.loads(capsys.readouterr().err)
    assert entry["thing"] == "<builtins.object>"
    assert entry["request"] == "r1"
    assert "ValueError: boom" in entry["exception"]


def test_debug_lines_are_left_out(capsys):
    configure_json()
    structlog.get_logger().debug("quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", [None, "closed"])
def test_a_stderr_that_is_gone_does_not_end_the_script(gone, monkeypatch):
    stream = None
    if gone:
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_json()
    emit.default_emitter().emit(schema.CALL, "info", FIELDS)
