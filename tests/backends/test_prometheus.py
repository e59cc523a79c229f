from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter

import pytest

from jitwarmup.events import schema

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: ["{rules}"]
scrape_configs: [{{job_name: jitwarmup, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""


@pytest.fixture
def scraped(backends, tmp_path):
    """A function that asks a Prometheus which scrapes an application that had the thousand events."""
    config, data, log = (tmp_path / name for name in ("prometheus.yml", "data", "prometheus.log"))
    port, shown_at = backends.free_port(), backends.free_port()
    config.write_text(CONFIG.format(port=shown_at, rules=backends.examples / "prometheus_rules.yml"))
    application = [sys.executable, backends.here / "serve_metrics.py", shown_at]
    env = {**os.environ, "PYTHONPATH": str(backends.root)}
    server = [
        backends.installed("prometheus") / "usr" / "bin" / "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def ask(promql: str) -> dict[tuple[str, ...], float]:
        url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": promql})
        with urllib.request.urlopen(url, timeout=10) as answer:
            results = json.load(answer)["data"]["result"]
        return {tuple(sorted(result["metric"].values())): float(result["value"][1]) for result in results}

    with (
        backends.running(*application, log=tmp_path / "application.log", env=env),
        backends.running(*server, log=log) as running,
    ):
        backends.until(lambda: ask("jitwarmup_ready"), log, running)
        yield ask


def test_all_events_are_counted_and_the_median_is_the_true_one(scraped, thousand):
    events = thousand.make()
    kinds = Counter(event for event, _, _ in events)
    durations = [fields["duration_s"] for event, _, fields in events if event == schema.CALL]
    in_summaries = sum(fields["count"] for event, _, fields in events if event == schema.SUMMARY)
    recompiles = sum(fields["recompiles"] for event, _, fields in events if event == schema.STEADY_STATE_LOST)

    def value(metric: str) -> float:
        (found,) = scraped(f"sum by (callable) ({metric})").values()
        return found

    assert value("jitwarmup_calls_total") == len(durations) + in_summaries
    assert value("jitwarmup_call_duration_seconds_count") == len(durations)
    assert value("jitwarmup_call_duration_seconds_sum") == pytest.approx(sum(durations))
    assert value("jitwarmup_steady_state_lost_total") == kinds[schema.STEADY_STATE_LOST]
    assert value("jitwarmup_recompiles_total") == recompiles
    assert value("jitwarmup_ready") == 1
    assert value("jitwarmup_call_duration_median_seconds") == pytest.approx(thousand.median(events), rel=1e-3)
    assert scraped("sum by (state) (jitwarmup_state == 1)") == {("warm",): 1.0}
    buckets = scraped("histogram_quantile(0.5, sum by (le) (jitwarmup_call_duration_seconds_bucket))")[()]
    assert buckets != pytest.approx(thousand.median(events), rel=1e-3)  # which is why the median has its own gauge


def promtool(backends, *arguments):
    tool = backends.installed("prometheus") / "usr" / "bin" / "promtool"
    done = subprocess.run([tool, *arguments], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.backends
def test_promtool_takes_the_rules_and_each_alert_fires_when_it_should(backends, tmp_path):
    rules, test = backends.examples / "prometheus_rules.yml", tmp_path / "test.yml"
    promtool(backends, "check", "rules", rules)
    test.write_text((backends.here / "prometheus_rules_test.yml").read_text().replace("RULES", str(rules)))
    promtool(backends, "test", "rules", test)


@pytest.mark.backends
def test_every_panel_of_the_dashboard_has_data(scraped, backends, tmp_path):
    dashboard = json.loads((backends.examples / "grafana_dashboard.json").read_text())
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(questions) == len(dashboard["panels"]) > 5
    for question in questions:
        promql = question.replace("$callable", ".*").replace("$__rate_interval", "1m")
        assert backends.until(lambda promql=promql: scraped(promql), tmp_path / "prometheus.log"), question
