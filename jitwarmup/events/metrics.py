"""
Metrics from events: what each event says, and two emitters that say it to Prometheus and to OpenTelemetry.

Only timed plain calls enter the duration histograms, never a validation or warm-up run, for those are in no
``jitwarmup.call``. Buckets cannot show a steady state (fixed GenAI buckets were 21 % off at the median), so the exact
median of each measurement or summary has a gauge of its own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from jitwarmup.events import schema as s
from jitwarmup.host.fork_safe import Locked
from jitwarmup.records.runs import State

BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)  # GenAI's
MOST_FUNCTIONS: Final = 1024  # label values; functions beyond share the label "other"


@dataclass(frozen=True, slots=True, eq=False)  # each is itself alone, so it hashes by identity: fast
class Metric:
    """One metric: its name at Prometheus and at OpenTelemetry, kind, unit, sentence, and labels besides ``callable``."""

    prometheus: str
    otel: str
    kind: Literal["histogram", "counter", "gauge"]
    unit: str
    text: str
    labels: tuple[str, ...] = ()
    multiprocess: str = "max"  # how Prometheus joins the gauges of several processes


CALL_DURATION: Final = Metric(
    "jitwarmup_call_duration_seconds",
    "jitwarmup.call.duration",
    "histogram",
    "s",
    "Wall seconds of each timed call that ended well.",
)
FIRST_ITEM: Final = Metric(
    "jitwarmup_first_item_seconds",
    "jitwarmup.call.first_item",
    "histogram",
    "s",
    "Seconds until the first item of each timed stream.",
)
MEDIAN: Final = Metric(
    "jitwarmup_call_duration_median_seconds",
    "jitwarmup.call.duration.median",
    "gauge",
    "s",
    "Exact median of the last measurement or summary.",
)
WARMUP: Final = Metric(
    "jitwarmup_warmup_duration_seconds",
    "jitwarmup.warmup.duration",
    "gauge",
    "s",
    "Wall seconds of the last validation and warm-up.",
)
CALLS: Final = Metric("jitwarmup_calls", "jitwarmup.calls", "counter", "1", "Timed calls by outcome.", ("outcome",))
RECOMPILES: Final = Metric(
    "jitwarmup_recompiles", "jitwarmup.recompiles", "counter", "1", "Recompiles on calls after the warm-up."
)
LOST: Final = Metric(
    "jitwarmup_steady_state_lost", "jitwarmup.steady_state.lost", "counter", "1", "Times steady state was lost."
)
STATE: Final = Metric(
    "jitwarmup_state",
    "jitwarmup.state",
    "gauge",
    "1",
    "1 for the state the function is in, 0 for the others; summed over processes.",
    ("state",),
    "livesum",
)
READY: Final = Metric(
    "jitwarmup_ready", "jitwarmup.ready", "gauge", "1", "1 once the function was warm; latches.", multiprocess="livemin"
)
METRICS: Final = (CALL_DURATION, FIRST_ITEM, MEDIAN, WARMUP, CALLS, RECOMPILES, LOST, STATE, READY)

_PROMETHEUS_VERB: Final = {"histogram": "observe", "counter": "inc", "gauge": "set"}
_REGISTERING = threading.Lock()
Reading = tuple[Metric, float, dict[str, str]]
_STATE_AFTER: Final[Mapping[str, State]] = {
    s.WARMUP_COMPLETED: State.WARM,
    s.WARMUP_FAILED: State.FAILED,
    s.STEADY_STATE_REACHED: State.STEADY,
    s.STEADY_STATE_LOST: State.DEGRADED,
}


def readings(event: str, fields: Mapping[str, Any]) -> Iterator[Reading]:
    """What one event adds to the metrics, ``callable`` apart; pure."""
    if event == s.CALL:
        yield from _of_call(fields)
    elif event == s.SUMMARY:
        errors = fields.get("errors", 0)
        yield CALLS, fields["count"] - errors, {"outcome": "ok"}
        yield CALLS, errors, {"outcome": "error"}
    elif event == s.WARMUP_COMPLETED:
        yield WARMUP, fields["duration_s"], {}
    elif event == s.STEADY_STATE_LOST:
        yield LOST, 1, {}
        yield RECOMPILES, fields.get("recompiles", int("dynamo.recompile" in fields.get("work", ()))), {}
    if event in (s.SUMMARY, s.MEASUREMENT_COMPLETED) and "median_s" in fields:
        yield MEDIAN, fields["median_s"], {}


def _of_call(fields: Mapping[str, Any]) -> Iterator[Reading]:
    outcome = fields["outcome"]
    yield CALLS, 1, {"outcome": outcome}
    if outcome == "ok":
        yield CALL_DURATION, fields["duration_s"], {}
        if "first_item_s" in fields:
            yield FIRST_ITEM, fields["first_item_s"], {}


def state_after(event: str, fields: Mapping[str, Any]) -> str | None:
    """The state the function is in after the event; None where the event does not tell."""
    found: str | None = fields.get("state")
    if found is None and "skipped" in fields:  # a warm-up that was left out leaves the function as it was
        return None
    return found or _STATE_AFTER.get(event)


class _Metered(Locked):
    """What both emitters share: the readings of each event, few enough labels, and ready that latches."""

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[str, str | None] = {}
        self._ready: set[str] = set()

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:  # noqa: ARG002 - metrics have no level
        """Add what the event says to the metrics."""
        function = self._label(str(fields.get("callable", "other")))
        for metric, value, labels in readings(event, fields):
            self._record(metric, value, {"callable": function, **labels})
        state = state_after(event, fields)
        if state is not None and state != self._states.get(function):
            self._states[function] = state
            self._tell_state(function, state)

    def _tell_state(self, function: str, state: str) -> None:
        """Record the new state, and ready, which latches."""
        for other in State:
            self._record(STATE, float(other == state), {"callable": function, "state": other.value})
        if state in (State.WARM, State.STEADY):
            self._ready.add(function)
        self._record(READY, float(function in self._ready), {"callable": function})

    def _record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        raise NotImplementedError

    def _label(self, function: str) -> str:
        if function not in self._states:
            with self._lock:
                if len(self._states) >= MOST_FUNCTIONS:
                    return "other"
                self._states[function] = None
        return function


class PrometheusMetrics(_Metered):
    """
    An emitter that keeps the metrics in a ``prometheus_client`` registry (the extra ``jitwarmup[prometheus]``).

    Several of them on one registry share its metrics. Under gunicorn and the like, gauges of several processes are
    joined: ready is the minimum, state the sum.
    """

    def __init__(self, registry: Any = None, *, buckets: Sequence[float] = BUCKETS) -> None:
        super().__init__()
        import prometheus_client

        self._children: dict[tuple[Metric | str, ...], Callable[[float], None]] = {}  # labels() costs 2 us each time
        self._instruments = _on_registry(registry or prometheus_client.REGISTRY, tuple(buckets))

    def _record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        key: tuple[Metric | str, ...] = (metric, *labels.values())
        record = self._children.get(key)
        if record is None:
            child = self._instruments[metric].labels(**labels)
            self._children[key] = record = getattr(child, _PROMETHEUS_VERB[metric.kind])
        record(value)


def _on_registry(registry: Any, buckets: tuple[float, ...]) -> Mapping[Metric, Any]:
    """The metrics on a registry, made at the first call; a second registration would be an error there."""
    with _REGISTERING:
        if getattr(registry, "_jitwarmup", None) is None:
            registry._jitwarmup = _register(registry, buckets)
        found: Mapping[Metric, Any] = registry._jitwarmup
        return found


def _register(registry: Any, buckets: tuple[float, ...]) -> Mapping[Metric, Any]:
    import prometheus_client

    made: dict[Metric, Any] = {}
    for metric in METRICS:
        names = ("callable", *metric.labels)
        if metric.kind == "histogram":
            made[metric] = prometheus_client.Histogram(
                metric.prometheus, metric.text, names, registry=registry, buckets=buckets
            )
        elif metric.kind == "counter":
            made[metric] = prometheus_client.Counter(metric.prometheus, metric.text, names, registry=registry)
        else:
            mode: Any = metric.multiprocess
            made[metric] = prometheus_client.Gauge(
                metric.prometheus, metric.text, names, registry=registry, multiprocess_mode=mode
            )
    return made


class OpenTelemetryMetrics(_Metered):
    """
    An emitter that records the metrics through the OpenTelemetry API (the extra ``jitwarmup[otel]``).

    Without an SDK the API does nothing. ``provider`` is a MeterProvider; None means the application's own.
    """

    def __init__(self, provider: Any = None, *, buckets: Sequence[float] = BUCKETS) -> None:
        super().__init__()
        from opentelemetry import metrics

        meter = metrics.get_meter("jitwarmup", version(), meter_provider=provider)
        self._recorders: dict[Metric, Callable[[float, dict[str, str]], None]] = {}
        for metric in METRICS:
            name, unit, text = metric.otel, metric.unit, metric.text
            if metric.kind == "histogram":
                bounds = list(buckets)
                made = meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=bounds)
                self._recorders[metric] = made.record
            elif metric.kind == "counter":
                self._recorders[metric] = meter.create_counter(name, unit, text).add
            else:
                self._recorders[metric] = meter.create_gauge(name, unit, text).set

    def _record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        attributes = {
            "code.function.name" if name == "callable" else f"jitwarmup.{name}": label for name, label in labels.items()
        }
        self._recorders[metric](value, attributes)


def version() -> str:
    """The version of jitwarmup, as the name of an instrumentation scope is given with it."""
    return str(getattr(sys.modules.get("jitwarmup"), "__version__", ""))
