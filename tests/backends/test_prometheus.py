from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import contextmanager

import pytest

from jitwarmup.events import schema

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: ["{rules}"]
scrape_configs: [{{job_name: jitwarmup, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""


@contextmanager
def prometheus_of(backends, place, shown_at):
    """A running Prometheus that scrapes a port: a function that asks it."""
    config, data, log = (place / name for name in ("prometheus.yml", "data", "prometheus.log"))
    port = backends.free_port()
    config.write_text(CONFIG.format(port=shown_at, rules=backends.examples / "prometheus_rules.yml"))
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

    with backends.running(*server, log=log) as running:
        backends.until(lambda: ask("jitwarmup_ready"), log, running)
        yield ask


@pytest.fixture
def scraped(backends, tmp_path):
    """A function that asks a Prometheus which scrapes an application that had the thousand events."""
    shown_at = backends.free_port()
    application = [sys.executable, backends.here / "serve_metrics.py", shown_at]
    env = {**os.environ, "PYTHONPATH": str(backends.root)}
    with (
        backends.running(*application, log=tmp_path / "application.log", env=env),
        prometheus_of(backends, tmp_path, shown_at) as ask,
    ):
        yield ask


def test_all_events_are_counted_and_the_median_is_the_true_one(scraped, thousand):
    events = thousand.make()
    kinds = Counter(event for event, _, _ in events)
    durations = [fields["duration_s"] for event, _, fields in events if event == schema.CALL]
    in_summaries = sum(fields["count"] + fields["errors"] for event, _, fields in events if event == schema.SUMMARY)
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


@pytest.mark.backends
def test_the_five_queries_of_the_page_are_answered_as_the_process_knows(backends, tmp_path):
    page = (backends.examples / "README.md").read_text()
    (block,) = re.findall(r"```promql\n(.*?)```", page, re.DOTALL)
    queries = dict(re.findall(r"^# (\w+):.*\n(.*)$", block, re.MULTILINE))
    shown_at, errors = backends.free_port(), tmp_path / "asked.log"
    command = [sys.executable, backends.here / "asked.py", tmp_path / "events.jsonl", str(shown_at)]
    env = {**os.environ, "PYTHONPATH": str(backends.root)}
    pipe = subprocess.PIPE
    with (
        errors.open("w") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=env) as process,
        prometheus_of(backends, tmp_path, shown_at) as ask,
    ):
        served = ("__main__.served",)
        backends.until(lambda: served in ask("sum by (callable) (jitwarmup_recompiles_total)"), errors, process)
        print(file=process.stdin, flush=True)  # warm, and scraped: now come the live calls
        known = json.loads(process.stdout.readline())
        hits = {(name, "jitwarmup:warm_share"): met / calls for name, (calls, met) in known["traffic"].items()}
        last = 'jitwarmup_calls_total{callable="__main__.summed_cold",outcome="ok"} == 2'
        backends.until(lambda: ask(last) and ask(queries["traffic"]) == pytest.approx(hits), errors, process)
        answers = {name: ask(query) for name, query in queries.items()}
        print(file=process.stdin, flush=True)
    assert sorted(name for (name,) in answers["cold"]) == known["not_ready"]
    for name, ledger in known["ledgers"].items():
        for cause, seconds in ledger.items():
            if cause not in ("ledger_run_s", "ledger_unexplained_s") and seconds:
                assert answers["cost"][name, cause[len("ledger_") : -len("_s")]] == pytest.approx(seconds)
    assert answers["cost"]["__main__.served", "dynamo_recompile"] > 0
    assert {name for labels in answers["recompiled"] for name in labels if "." in name} >= {
        *served,
        "__main__.recovered",
    }
    assert answers["traffic"] == pytest.approx(hits)
    degraded = {name for labels in answers["degraded"] for name in labels if name.startswith("__main__")}
    assert degraded == {name for name, _ in known["degraded"]}
