"""
Events as OpenTelemetry log records with an EventName, and as metrics, to any collector; here rotel, from PyPI.

    pip install --pre rotel "jitwarmup[otel]" opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    rotel start --exporter blackhole --debug-log logs --debug-log-verbosity detailed     # prints what comes in
    python opentelemetry_collector.py http://127.0.0.1:4318
"""

import sys

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from jitwarmup import warmed
from jitwarmup.events import set_emitters
from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs, OpenTelemetryMetrics

collector = sys.argv[1]
logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{collector}/v1/logs")))
reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{collector}/v1/metrics"))
metrics = MeterProvider(metric_readers=[reader])
set_emitters(OpenTelemetryLogs(logs), OpenTelemetryMetrics(metrics))


@warmed(iterations=5)
def work(n: int) -> int:
    return sum(i * i for i in range(n))


for _ in range(100):
    work(20_000)
logs.shutdown()
metrics.shutdown()
