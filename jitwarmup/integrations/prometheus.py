"""
The metrics for Prometheus (the extra ``jitwarmup[prometheus]``).

    from jitwarmup.events import set_emitters
    from jitwarmup.integrations.prometheus import PrometheusMetrics

    set_emitters(PrometheusMetrics())
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import prometheus_client
from prometheus_client.core import GaugeMetricFamily

from jitwarmup.events.processors import add_trace_ids
from jitwarmup.events.schema import CALL
from jitwarmup.host.fork_safe import Locked
from jitwarmup.integrations.metrics import (
    BUCKETS,
    FROM_EVENTS,
    FROM_REGISTRY,
    STATE,
    EventMetrics,
    Metric,
    state_readings,
)
from jitwarmup.keys.state import OBSERVERS

_VERBS: Final = {"histogram": "observe", "counter": "inc", "gauge": "set"}
_REGISTERING = Locked()
CALLS_BETWEEN: Final = 64


class PrometheusMetrics(EventMetrics):
    """
    An emitter that keeps the metrics in a ``prometheus_client`` registry; several of them on one registry share them.

    State, ready and live calls are read when Prometheus scrapes. With ``PROMETHEUS_MULTIPROC_DIR`` nobody asks the
    processes at a scrape, so there each writes them when a key's state changes and at its events, at every 64th of calls
    that change nothing; ready is then the minimum over processes, the others the sum.

    Durations carry the ids of the span around their call as exemplars, where OpenTelemetry is loaded and the
    scraper asks for OpenMetrics.
    """

    def __init__(self, registry: Any = None, *, buckets: Sequence[float] = BUCKETS) -> None:
        super().__init__()
        self._children: dict[tuple[Metric | str, ...], Callable[..., None]] = {}  # labels() costs 2 us each time
        self._instruments = _on_registry(registry or prometheus_client.REGISTRY, tuple(buckets))
        self._pid = 0  # of the process that wrote state and ready last: a forked child's begin at 0
        self._calls = itertools.count()
        if STATE in self._instruments:  # several processes
            OBSERVERS.add(self)

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Add what the event says to the metrics."""
        super().emit(event, level, fields)
        if STATE in self._instruments and (
            event != CALL or self._pid != os.getpid() or next(self._calls) % CALLS_BETWEEN == 0
        ):
            self.note_change()

    def note_change(self) -> None:
        """Write state, ready and live calls, which other processes cannot ask for."""
        self._pid = os.getpid()
        for metric, value, labels in state_readings():
            self._record(metric, value, labels)

    def _record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        key: tuple[Metric | str, ...] = (metric, *labels.values())
        record = self._children.get(key)
        if record is None:
            child = self._instruments[metric].labels(**labels)
            self._children[key] = record = getattr(child, _VERBS[metric.kind])
        if metric.kind == "histogram" and (ids := add_trace_ids(None, "", {})):
            record(value, ids)
        else:
            record(value)


class _StateCollector:
    """Gives state, ready and live calls of every function as they are at the scrape."""

    def collect(self) -> list[GaugeMetricFamily]:
        families = {m: GaugeMetricFamily(m.prometheus, m.text, labels=("callable", *m.labels)) for m in FROM_REGISTRY}
        for metric, value, labels in state_readings():
            families[metric].add_metric(list(labels.values()), value)
        return list(families.values())


def _on_registry(registry: Any, buckets: tuple[float, ...]) -> Any:
    """The metrics on a registry, made at the first call; a second registration would be an error there."""
    with _REGISTERING._lock:
        if getattr(registry, "_jitwarmup", None) is None:
            processes = "PROMETHEUS_MULTIPROC_DIR" in os.environ
            metrics = (*FROM_EVENTS, *FROM_REGISTRY) if processes else FROM_EVENTS
            registry._jitwarmup = {metric: _instrument(metric, registry, buckets) for metric in metrics}
            if not processes:
                registry.register(_StateCollector())
        return registry._jitwarmup


def _instrument(metric: Metric, registry: Any, buckets: tuple[float, ...]) -> Any:
    named = metric.prometheus, metric.text, ("callable", *metric.labels)
    kind: Any = getattr(prometheus_client, metric.kind.capitalize())
    of_kind: Any = {"histogram": {"buckets": buckets}, "gauge": {"multiprocess_mode": metric.multiprocess}}
    return kind(*named, registry=registry, **of_kind.get(metric.kind, {}))
