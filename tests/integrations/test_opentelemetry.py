from __future__ import annotations

from typing import Any

from jitwarmup import warmed
from jitwarmup.events import schema
from jitwarmup.integrations.opentelemetry import OpenTelemetryMetrics

F = {"callable": "f"}


def emit(out, event: str, **fields) -> None:
    out.emit(event, schema.LEVELS[event], schema.build(event, F | fields))


class FakeMeter:
    """Stands for a MeterProvider, its meter and every instrument: keeps what is recorded."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, str]] = {}
        self.callbacks: dict[str, Any] = {}
        self.recorded: list[tuple[str, float, dict[str, str]]] = []

    def get_meter(self, name, *rest, **more):
        assert name == "jitwarmup"
        return self

    def _make(self, kind: str, name: str, unit: str, **more):
        self.made[name] = (kind, unit)
        meter = self

        class Instrument:
            def _record(self, value, attributes):
                meter.recorded.append((name, value, attributes))

            record = add = set = _record

        return Instrument()

    def create_histogram(self, name, unit, description, explicit_bucket_boundaries_advisory):
        assert explicit_bucket_boundaries_advisory[0] == 0.01
        return self._make("histogram", name, unit)

    def create_counter(self, name, unit, description):
        return self._make("counter", name, unit)

    def create_gauge(self, name, unit, description):
        return self._make("gauge", name, unit)

    def create_observable_gauge(self, name, callbacks, unit, description):
        self.made[name] = ("observable", unit)
        self.callbacks[name] = callbacks[0]

    def observed(self, name, function):
        """What a collection would read of one function."""
        name_of = f"{function.__module__}.{function.__qualname__}"
        found = self.callbacks[name](None)
        return [seen for seen in found if seen.attributes["code.function.name"] == name_of]


def test_opentelemetry_gets_the_same_numbers_under_its_names():
    meter = FakeMeter()
    out = OpenTelemetryMetrics(meter)
    emit(out, schema.CALL, duration_s=0.5, outcome="ok")
    emit(out, schema.STEADY_STATE_LOST, reason="r", recompiles=2)
    assert meter.made["jitwarmup.call.duration"] == ("histogram", "s")
    assert meter.made["jitwarmup.call.duration.median"] == ("gauge", "s")
    assert ("jitwarmup.call.duration", 0.5, {"code.function.name": "f"}) in meter.recorded
    assert ("jitwarmup.calls", 1, {"code.function.name": "f", "jitwarmup.outcome": "ok"}) in meter.recorded
    assert ("jitwarmup.recompiles", 2, {"code.function.name": "f"}) in meter.recorded


def test_opentelemetry_without_an_sdk_does_nothing():
    emit(OpenTelemetryMetrics(), schema.CALL, duration_s=0.5, outcome="ok")


def test_opentelemetry_reads_the_state_when_it_is_collected():
    meter = FakeMeter()
    OpenTelemetryMetrics(meter)

    @warmed(iterations=1)
    def function():
        return 1

    assert meter.observed("jitwarmup.ready", function) == []
    function()
    states = meter.observed("jitwarmup.state", function)
    assert [seen.attributes["jitwarmup.state"] for seen in states if seen.value] == ["warm"]
    assert [seen.value for seen in meter.observed("jitwarmup.ready", function)] == [1.0]
    calls = meter.observed("jitwarmup.live_calls", function)
    assert {seen.attributes["jitwarmup.key"]: seen.value for seen in calls} == {"warm": 0.0, "cold": 1.0}


def test_every_metric_of_events_is_fed():
    fed = {
        schema.CALL: {"duration_s": 1.0, "outcome": "ok", "first_item_s": 0.1},
        schema.SUMMARY: {"count": 1, "sum_s": 1.0, "median_s": 1.0},
        schema.WARMUP_COMPLETED: {"iterations": 1, "duration_s": 1.0, "ledger_import_s": 0.5},
        schema.STEADY_STATE_LOST: {"reason": "r"},
    }
    meter = FakeMeter()
    out = OpenTelemetryMetrics(meter)
    for event, fields in fed.items():
        emit(out, event, **fields)
    assert {name for name, _, _ in meter.recorded} == set(meter.made) - set(meter.callbacks)
