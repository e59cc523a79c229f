"""
An application that had the thousand events, and one warmed function, and shows its metrics until it is ended.

    python serve_metrics.py PORT
"""

import sys
import threading

import prometheus_client
from thousand import make, warm_one

from jitwarmup.events import SafeEmitter
from jitwarmup.integrations.prometheus import PrometheusMetrics

registry = prometheus_client.CollectorRegistry()
out = SafeEmitter(PrometheusMetrics(registry))
for event, level, fields in make():
    out.emit(event, level, fields)
if out.lost:
    sys.exit(f"{out.lost} events were lost")
generate = warm_one()  # kept: state and ready are those of the functions that live at the scrape
generate(), generate()
prometheus_client.start_http_server(int(sys.argv[1]), "127.0.0.1", registry=registry)
threading.Event().wait()
