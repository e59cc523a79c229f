"""
What a warm call costs beyond the bare call, as ratios and microseconds of one run, beside its neighbours.

    python tests/bench/overhead.py

Each row is the smallest of many short repeats, so that the load of the machine hardly enters. The neighbours are
libraries that wrap a call too: ``prometheus_client``'s ``@time()``, ``stamina.retry``, a no-op OpenTelemetry span.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import jitwarmup
from jitwarmup.host.switch import SWITCH

REPEATS, CALLS = 60, 400


def bare(x):
    return x


class Model:
    def bare(self, x):
        return x

    @jitwarmup.warmed(emit="off", iterations=1)
    def off(self, x):
        return x

    @jitwarmup.warmed(emit="summary", iterations=1)
    def summary(self, x):
        return x


def wrapped(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def cost_ns(call: Callable[[int], object]) -> float:
    """Smallest nanoseconds of one call, the loop's own cost included."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter_ns()
        for _ in range(CALLS):
            call(1)
        best = min(best, (time.perf_counter_ns() - began) / CALLS)
    return best


def with_orjson_file(folder: Path) -> jitwarmup.Warmed:
    """``emit="calls"`` into structlog, rendered by orjson into a file."""
    import orjson
    import structlog

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        logger_factory=structlog.BytesLoggerFactory(file=(folder / "events.jsonl").open("wb")),
        cache_logger_on_first_use=True,
    )
    function = jitwarmup.warmed(iterations=1)(bare)
    function(1)
    return function


def neighbours() -> dict[str, Callable[[int], object]]:
    """Other people's wrappers around the same call, as far as they are installed."""
    found: dict[str, Callable[[int], object]] = {}
    try:
        import prometheus_client

        found["prometheus_client @time()"] = prometheus_client.Histogram("bench_seconds", "bench").time()(bare)
    except ImportError:
        print("prometheus_client is not installed: no row", file=sys.stderr)
    try:
        import stamina

        found["stamina.retry"] = stamina.retry(on=ValueError)(bare)
    except ImportError:
        print("stamina is not installed: no row", file=sys.stderr)
    try:
        from opentelemetry import trace

        tracer = trace.get_tracer("bench")

        def spanned(x):
            with tracer.start_as_current_span("bench"):
                return bare(x)

        found["OpenTelemetry no-op span"] = spanned
    except ImportError:
        print("opentelemetry-api is not installed: no row", file=sys.stderr)
    return found


def main() -> None:
    if SWITCH.reasons:
        raise SystemExit("JITWARMUP=off: there is nothing to measure")
    model = Model()
    off = jitwarmup.warmed(emit="off", iterations=1)(bare)
    summary = jitwarmup.warmed(emit="summary", iterations=1)(bare)
    for warm_up in (off, summary, model.off, model.summary):
        warm_up(1)
    with tempfile.TemporaryDirectory() as folder:
        calls = with_orjson_file(Path(folder))
        rows: dict[str, tuple[float, float | None]] = {}
        function_ns, method_ns = cost_ns(bare), cost_ns(lambda x: model.bare(x)) - cost_ns(lambda x: x)
        lambda_ns = cost_ns(lambda x: x)
        rows["a plain wrapper (the least)"] = (cost_ns(wrapped(bare)) - function_ns, None)
        rows['warmed, emit="off", function'] = (cost_ns(off) - function_ns, 600)
        rows['warmed, emit="off", method'] = (cost_ns(lambda x: model.off(x)) - lambda_ns - method_ns, 1300)
        rows['warmed, emit="summary", function'] = (cost_ns(summary) - function_ns, 10_000)
        rows['warmed, emit="summary", method'] = (cost_ns(lambda x: model.summary(x)) - lambda_ns - method_ns, 10_000)
        rows['warmed, emit="calls", orjson file'] = (cost_ns(calls) - function_ns, 25_000)
        for name, call in neighbours().items():
            rows[name] = (cost_ns(call) - function_ns, None)
    print(f"python {sys.version.split()[0]}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    print(f"bare call {function_ns:.0f} ns\n{'added to a bare call':40} {'us':>8} {'x bare':>8}  goal")
    for name, (added, goal) in rows.items():
        kept = "" if goal is None else f"<= {goal / 1000:g} us {'kept' if added <= goal else 'MISSED'}"
        print(f"{name:40} {added / 1000:8.3f} {added / function_ns:8.1f}  {kept}")


if __name__ == "__main__":
    main()
