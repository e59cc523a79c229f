"""The examples of back ends run as their docstrings say, against the real things."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter

import pytest

from jitwarmup.events import schema

pytestmark = pytest.mark.slow


def test_json_lines_are_read_by_duckdb(backends, tmp_path):
    file = tmp_path / "events.jsonl"
    backends.script(sys.executable, "json_lines.py", file)
    python = backends.installed("duckdb") / "bin" / "python"
    found = json.loads(backends.script(python, "query_duckdb.py", file))
    assert found["kinds"][schema.CALL] == 100
    assert found["kinds"][schema.MEASUREMENT_COMPLETED] == 1
    assert found["columns"]["duration_s"] == "DOUBLE"


def test_a_service_shows_its_metrics_and_promtool_likes_its_configuration(backends, tmp_path):
    port, log = backends.free_port(), tmp_path / "service.log"
    with backends.running(
        sys.executable,
        backends.examples / "prometheus_metrics.py",
        port,
        60,
        log=log,
        env={**os.environ, "PYTHONPATH": str(backends.root)},
    ) as service:

        def metrics() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                found: str = answer.read().decode()
            return found if 'jitwarmup_calls_total{callable="__main__.work",outcome="ok"}' in found else ""

        shown = backends.until(metrics, log, service)
    assert 'jitwarmup_ready{callable="__main__.work"} 1.0' in shown
    assert 'jitwarmup_call_duration_median_seconds{callable="__main__.work"}' in shown
    promtool = backends.installed("prometheus") / "usr" / "bin" / "promtool"
    config = backends.examples / "prometheus.yml"
    checked = subprocess.run([promtool, "check", "config", config], check=True, capture_output=True, text=True)
    assert "SUCCESS" in checked.stdout


def test_a_collector_gets_every_event(backends, tmp_path):
    def enough(found: list[dict[str, object]]) -> bool:
        return sum(entry.get("event") == schema.CALL for entry in found) >= 100 and any("metric" in e for e in found)

    with backends.rotel(tmp_path) as (python, endpoint, wait):
        backends.script(python, "opentelemetry_collector.py", endpoint)
        found = wait(enough)
    kinds = Counter(entry.get("event") for entry in found)
    assert kinds[schema.CALL] == 100
    assert kinds[schema.WARMUP_COMPLETED] == 1
    (calls,) = [entry for entry in found if entry.get("metric") == "jitwarmup.call.duration"]
    assert calls["count"] == 100


def test_processors_run_in_an_applications_own_structlog(backends):
    env = {**os.environ, "PYTHONPATH": str(backends.root)}
    command = [sys.executable, backends.examples / "structlog_processors.py"]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=env)
    *ours, own = (json.loads(line) for line in ended.stderr.splitlines())
    assert ended.stdout == ""
    assert [entry["event"] for entry in ours] == [schema.VALIDATION_COMPLETED, schema.WARMUP_COMPLETED, schema.CALL]
    assert all(entry["code"]["function"]["name"] == "__main__.work" for entry in ours)
    assert own["answer"] == 42
