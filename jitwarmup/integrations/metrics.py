"""
The metrics of jitwarmup, whoever shows them: what each event adds, and the state that is read when somebody looks.

Only timed plain calls enter the duration histograms, never a validation or warm-up run, for those are in no
``jitwarmup.call``. Buckets cannot show a steady state (fixed GenAI buckets were 21 % off at the median), so the exact
median of each measurement or summary has a gauge of its own. State and ready come from the registries of keys, never
from events.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from jitwarmup.events import schema as s
from jitwarmup.host.fork_safe import Locked, snapshot_of
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.registry import REGISTRIES, WORST_FIRST
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
    "jitwarmup_ready", "jitwarmup.ready", "gauge", "1", "1 while the function is ready.", multiprocess="livemin"
)
FROM_EVENTS: Final = (CALL_DURATION, FIRST_ITEM, MEDIAN, WARMUP, CALLS, RECOMPILES, LOST)
Reading = tuple[Metric, float, dict[str, str]]


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


class StateOf(NamedTuple):
    """A function as its registries of keys have it now."""

    function: str
    state: State
    ready: bool


def current_states() -> list[StateOf]:
    """Every warmed function that was called or asked to warm; of several with one name the worst is shown."""
    found: dict[str, StateOf] = {}
    for registry in snapshot_of(REGISTRIES):
        if not registry.name or not registry.met(None):
            continue
        name = registry.name if registry.name in found or len(found) < MOST_FUNCTIONS else "other"
        state, ready = registry.state(None), bool(SWITCH.reasons) or registry.ready(None)
        if (known := found.get(name)) is not None:
            state, ready = min(known.state, state, key=WORST_FIRST.index), known.ready and ready
        found[name] = StateOf(name, state, ready)
    return list(found.values())


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


def version() -> str:
    """The version of jitwarmup, as the name of an instrumentation scope is given with it."""
    return str(getattr(sys.modules.get("jitwarmup"), "__version__", ""))
