"""
A service that shows its state, its durations and its exact median to Prometheus.

    pip install "jitwarmup[prometheus]"
    python prometheus_metrics.py 8000 60                  # port, seconds
    prometheus --config.file=prometheus.yml               # then ask http://localhost:9090
"""

import sys
import time

import prometheus_client

from jitwarmup import warmed
from jitwarmup.events import set_emitters
from jitwarmup.integrations.prometheus import PrometheusMetrics

set_emitters(PrometheusMetrics())


@warmed(iterations=5, emit="calls")
def work(n: int) -> int:
    return sum(i * i for i in range(n))


prometheus_client.start_http_server(int(sys.argv[1]), "127.0.0.1")
end = time.monotonic() + float(sys.argv[2])
work.measure(20_000)  # the exact median goes to a gauge of its own
while time.monotonic() < end:
    work(20_000)
    time.sleep(0.1)
