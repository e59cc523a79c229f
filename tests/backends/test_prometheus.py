from __future__ import annotations

import json
import os
import sys
import urllib.parse
import urllib.request
from collections import Counter

import pytest

from jitwarmup.events import schema

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs: [{{job_name: jitwarmup, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""


@pytest.fixture
def scraped(backends, tmp_path):
    """A function that asks a Prometheus which scrapes an application that had the thousand events."""
    config, data, log = (tmp_path / name for name in ("prometheus.yml", "data", "prometheus.log"))
    port, shown_at = backends.free_port(), backends.free_port()
    config.write_text(CONFIG.format(port=shown_at))
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
