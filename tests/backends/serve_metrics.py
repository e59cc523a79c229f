"""
An application that had the thousand events and shows its metrics until it is ended.

    python serve_metrics.py PORT
"""

import sys
import threading

import prometheus_client
from thousand import make

from jitwarmup.events.guard import SafeEmitter
from jitwarmup.integrations.prometheus import PrometheusMetrics

registry = prometheus_client.CollectorRegistry()
out = SafeEmitter(PrometheusMetrics(registry))
for event, level, fields in make():
    out.emit(event, level, fields)
if out.lost:
    sys.exit(f"{out.lost} events were lost")
prometheus_client.start_http_server(int(sys.argv[1]), "127.0.0.1", registry=registry)
threading.Event().wait()
