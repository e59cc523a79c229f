"""
Sends the thousand events over OTLP/HTTP with OpenTelemetry's own SDK: as log records with an EventName, and as metrics;
among these are state and ready of a warmed function.

    python otlp_send.py http://127.0.0.1:4318
"""

import sys

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from thousand import make, warm_one

from jitwarmup.events import Fanout, SafeEmitter
from jitwarmup.integrations.opentelemetry import OpenTelemetryLogs, OpenTelemetryMetrics

endpoint = sys.argv[1]
logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{endpoint}/v1/logs")))
reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics"), 1e9)
metrics = MeterProvider(metric_readers=[reader])
fanout = Fanout(OpenTelemetryLogs(logs), OpenTelemetryMetrics(metrics))
out = SafeEmitter(fanout)
for event, level, fields in make():
    out.emit(event, level, fields)
generate = warm_one()  # kept: state and ready are those of the functions that live when they are collected
logs.force_flush()
logs.shutdown()
metrics.shutdown()
if fanout.lost or out.lost:
    sys.exit(f"{fanout.lost + out.lost} events were lost")
