"""
The metrics of jitwarmup, whoever shows them: what each event adds, and the state that is read when somebody looks.

Only timed plain calls enter the duration histograms, never a validation or warm-up run, for those are in no
``jitwarmup.call``. Buckets cannot show a steady state (fixed GenAI buckets were 21 % off at the median), so the exact
median of each measurement or summary has a gauge of its own. State and ready come from the registries of keys, never
from events.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from jitwarmup.events import schema as s
from jitwarmup.host.fork_safe import Locked, snapshot_of
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.registry import REGISTRIES, WORST_FIRST
from jitwarmup.records.runs import State

BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)  # GenAI's
MOST_FUNCTIONS: Final = 1024  # label values; functions beyond share the label "other"


@dataclass(frozen=True, slots=True, eq=False)  # each is itself alone, so it hashes by identity: fast
class Metric:
    """One metric: name at OpenTelemetry, kind, sentence, unit, labels besides ``callable``, and name at Prometheus."""

    otel: str
    kind: Literal["histogram", "counter", "gauge"]
    text: str
    unit: str = "1"
    labels: tuple[str, ...] = ()
    multiprocess: str = "max"  # how Prometheus joins the gauges of several processes
    prometheus: str = ""

    def __post_init__(self) -> None:
        suffix = "_seconds" if self.unit == "s" else ""
        object.__setattr__(self, "prometheus", self.prometheus or self.otel.replace(".", "_") + suffix)


CALL_DURATION: Final = Metric(
    "jitwarmup.call.duration", "histogram", "Wall seconds of each timed call that ended well.", "s"
)
FIRST: Final = "Seconds until the first item of each timed stream."
FIRST_ITEM: Final = Metric(
    "jitwarmup.call.first_item", "histogram", FIRST, "s", prometheus="jitwarmup_first_item_seconds"
)
MEDIAN: Final = Metric(
    "jitwarmup.call.duration.median", "gauge", "Exact median of the last measurement or summary.", "s"
)
WARMUP: Final = Metric("jitwarmup.warmup.duration", "gauge", "Wall seconds of the last validation and warm-up.", "s")
CALLS: Final = Metric("jitwarmup.calls", "counter", "Timed calls by outcome.", labels=("outcome",))
RECOMPILES: Final = Metric("jitwarmup.recompiles", "counter", "Recompiles on calls after the warm-up.")
ONE_TIME: Final = Metric(
    "jitwarmup.one_time", "counter", "Seconds of one-time work of warm-ups and of calls after them.", "s", ("cause",)
)
LIVE_CALLS: Final = Metric(
    "jitwarmup.live_calls",
    "gauge",
    "Live calls so far that met a warm key, and a cold one; summed over processes.",
    labels=("key",),
    multiprocess="livesum",
)
LOST: Final = Metric("jitwarmup.steady_state.lost", "counter", "Times steady state was lost.")
STATES: Final = "1 for the state the function is in, 0 for the others; summed over processes."
STATE: Final = Metric("jitwarmup.state", "gauge", STATES, labels=("state",), multiprocess="livesum")
READY: Final = Metric("jitwarmup.ready", "gauge", "1 while the function is ready.", multiprocess="livemin")
FROM_EVENTS: Final = (CALL_DURATION, FIRST_ITEM, MEDIAN, WARMUP, CALLS, RECOMPILES, LOST, ONE_TIME)
FROM_REGISTRY: Final = (STATE, READY, LIVE_CALLS)
COST: Final = re.compile("(?:ledger|paid)_(?!run_s|unexplained_s)(.+)_s")  # what runs cost anyhow is no one-time work
Reading = tuple[Metric, float, dict[str, str]]


def readings(event: str, fields: Mapping[str, Any]) -> Iterator[Reading]:
    """What one event adds to the metrics, ``callable`` apart; pure."""
    if event == s.CALL:
        yield CALLS, 1, {"outcome": fields["outcome"]}
        if fields["outcome"] == "ok":
            yield CALL_DURATION, fields["duration_s"], {}
            if "first_item_s" in fields:
                yield FIRST_ITEM, fields["first_item_s"], {}
    elif event == s.SUMMARY:
        yield CALLS, fields["count"], {"outcome": "ok"}
        yield CALLS, fields.get("errors", 0), {"outcome": "error"}
    elif event == s.WARMUP_COMPLETED:
        yield WARMUP, fields["duration_s"], {}
        yield LOST, 0, {}  # shown from now on: an increase is seen only against a value before it
        yield RECOMPILES, 0, {}
    elif event == s.STEADY_STATE_LOST:
        yield LOST, 1, {}
        yield RECOMPILES, fields.get("recompiles", int("dynamo.recompile" in fields.get("work", ()))), {}
    if event in (s.SUMMARY, s.MEASUREMENT_COMPLETED) and "median_s" in fields:
        yield MEDIAN, fields["median_s"], {}
    yield from cost_readings(event, fields)


def cost_readings(event: str, fields: Mapping[str, Any]) -> Iterator[Reading]:
    """What one event adds to the seconds of one-time work."""
    if event in (s.WARMUP_COMPLETED, s.WARMUP_FAILED, s.STEADY_STATE_LOST):
        for name, value in fields.items():
            if cost := COST.fullmatch(name):
                yield ONE_TIME, value, {"cause": cost[1]}


def state_readings() -> Iterator[Reading]:
    """
    State, ready and calls of every warmed function that was called or asked to warm.

    Of several with one name the worst state, and the sum of the calls.
    """
    found: dict[str, tuple[State, bool]] = {}
    calls: Counter[tuple[str, str]] = Counter()
    for registry in snapshot_of(REGISTRIES):
        if not registry.name or not registry.used:
            continue
        name = registry.name if registry.name in found or len(found) < MOST_FUNCTIONS else "other"
        state, ready = found.get(name, (State.STEADY, True))
        state = min(state, registry.state(None), key=WORST_FIRST.index)
        found[name] = state, ready and (bool(SWITCH.reasons) or registry.ready(None))
        coverage = registry.counts.read(name)
        calls += Counter({(name, "warm"): coverage.hits, (name, "cold"): coverage.calls - coverage.hits})
    for name, (state, ready) in found.items():
        for other in State:
            yield STATE, float(other is state), {"callable": name, "state": other.value}
        yield READY, float(ready), {"callable": name}
        for key in ("warm", "cold"):
            yield LIVE_CALLS, float(calls[name, key]), {"callable": name, "key": key}


class EventMetrics(Locked):
    """An emitter that records what each event adds to the metrics; subclasses say where to."""

    def __init__(self) -> None:
        super().__init__()
        self._functions: set[str] = set()

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:  # noqa: ARG002 - metrics have no level
        """Add what the event says to the metrics."""
        function = self._label(str(fields.get("callable", "other")))
        for metric, value, labels in readings(event, fields):
            self._record(metric, value, {"callable": function, **labels})

    def _record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        raise NotImplementedError

    def _label(self, function: str) -> str:
        if function not in self._functions:
            with self._lock:
                if len(self._functions) >= MOST_FUNCTIONS:
                    return "other"
                self._functions.add(function)
        return function
