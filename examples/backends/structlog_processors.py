"""An application's own structlog, with processors of jitwarmup: OpenTelemetry names, nested, with trace ids."""

import sys

import structlog

from jitwarmup import warmed
from jitwarmup.events import add_trace_ids, nest_keys, to_otel

structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
        to_otel,
        nest_keys,
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.WriteLoggerFactory(sys.stderr),
)


@warmed(iterations=5)
def work(n: int) -> int:
    return sum(i * i for i in range(n))


work(20_000)
structlog.get_logger().info("the application's own events stay as they are", answer=42)
