"""
A server that takes OTLP/HTTP and appends what it decodes to FILE as JSON lines; stands behind the collector.

    python otlp_sink.py PORT FILE

A value keeps the kind that OTLP gave it: ``["double", 1.0]``, ``["int", 1]``, ``["bool", true]``, ``["string", "a"]``.
"""

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

port, file = int(sys.argv[1]), sys.argv[2]


def value(found: Any) -> list[Any]:
    kind = found.WhichOneof("value")
    if kind == "array_value":
        return ["array", [value(entry) for entry in found.array_value.values]]
    return [kind.removesuffix("_value"), getattr(found, kind)]


def attributes(found: Any) -> dict[str, list[Any]]:
    return {pair.key: value(pair.value) for pair in found}


def logs(body: bytes) -> list[dict[str, Any]]:
    request = ExportLogsServiceRequest.FromString(body)
    records = (r for resource in request.resource_logs for scope in resource.scope_logs for r in scope.log_records)
    return [
        {
            "event": record.event_name,
            "severity": record.severity_number,
            "body": value(record.body)[1],
            "attributes": attributes(record.attributes),
        }
        for record in records
    ]


def metrics(body: bytes) -> list[dict[str, Any]]:
    request = ExportMetricsServiceRequest.FromString(body)
    found = (m for resource in request.resource_metrics for scope in resource.scope_metrics for m in scope.metrics)
    return [
        {"metric": metric.name, "unit": metric.unit, "kind": metric.WhichOneof("data"), **point_of(point)}
        for metric in found
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


def point_of(point: Any) -> dict[str, Any]:
    if hasattr(point, "bucket_counts"):
        numbers = {"count": point.count, "sum": point.sum}
    else:
        numbers = {"value": getattr(point, point.WhichOneof("value"))}
    return {"attributes": attributes(point.attributes), **numbers}


class Sink(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        decoded = {"/v1/logs": logs, "/v1/metrics": metrics}[self.path](body)
        with open(file, "a", encoding="utf-8") as out:  # noqa: PTH123 - a script
            out.writelines(json.dumps(entry) + "\n" for entry in decoded)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


HTTPServer(("127.0.0.1", port), Sink).serve_forever()
