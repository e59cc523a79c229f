from __future__ import annotations

import threading

import prometheus_client
import pytest

from jitwarmup.events import metrics, schema
from jitwarmup.events.metrics import OpenTelemetryMetrics, PrometheusMetrics, readings

F = {"callable": "f"}


@pytest.fixture
def registry():
    return prometheus_client.CollectorRegistry()


def emit(out, event: str, **fields) -> None:
    out.emit(event, schema.LEVELS[event], schema.build(event, F | fields))


def test_only_timed_calls_that_ended_well_enter_the_durations(registry):
    out = PrometheusMetrics(registry)
    emit(out, schema.VALIDATION_COMPLETED, duration_s=9.0)
    emit(out, schema.WARMUP_COMPLETED, iterations=5, duration_s=30.0)
    emit(out, schema.MEASUREMENT_COMPLETED, report_id="r", median_s=0.61)
    emit(out, schema.CALL, duration_s=0.5, outcome="ok", first_item_s=0.1)
    emit(out, schema.CALL, duration_s=0.5, outcome="error", error_type="E")
    emit(out, schema.CALL, duration_s=0.5, outcome="closed", first_item_s=0.1)
    assert registry.get_sample_value("jitwarmup_call_duration_seconds_count", F) == 1
    assert registry.get_sample_value("jitwarmup_call_duration_seconds_sum", F) == 0.5
    assert registry.get_sample_value("jitwarmup_first_item_seconds_sum", F) == 0.1
    assert registry.get_sample_value("jitwarmup_warmup_duration_seconds", F) == 30.0
    assert registry.get_sample_value("jitwarmup_call_duration_median_seconds", F) == 0.61
    for outcome in ("ok", "error", "closed"):
        assert registry.get_sample_value("jitwarmup_calls_total", F | {"outcome": outcome}) == 1


def test_a_summary_counts_all_its_calls(registry):
    out = PrometheusMetrics(registry)
    emit(out, schema.SUMMARY, count=100, sum_s=12.0, errors=3, median_s=0.12)
    emit(out, schema.SUMMARY, count=1, sum_s=1.0)
    assert registry.get_sample_value("jitwarmup_calls_total", F | {"outcome": "ok"}) == 98
    assert registry.get_sample_value("jitwarmup_calls_total", F | {"outcome": "error"}) == 3
    assert registry.get_sample_value("jitwarmup_call_duration_median_seconds", F) == 0.12


def states(registry) -> dict[str, float]:
    (metric,) = [metric for metric in registry.collect() if metric.name == "jitwarmup_state"]
    return {sample.labels["state"]: sample.value for sample in metric.samples}


def test_the_state_is_one_of_its_names_and_ready_latches(registry):
    out = PrometheusMetrics(registry)
    emit(out, schema.WARMUP_FAILED, error_type="E")
    assert registry.get_sample_value("jitwarmup_ready", F) == 0
    assert [name for name, value in states(registry).items() if value] == ["failed"]
    emit(out, schema.WARMUP_COMPLETED, iterations=5, duration_s=1.0)
    emit(out, schema.STEADY_STATE_REACHED)
    assert [name for name, value in states(registry).items() if value] == ["steady"]
    emit(out, schema.STEADY_STATE_LOST, reason="r", recompiles=2)
    emit(out, schema.STEADY_STATE_LOST, reason="drift")
    assert [name for name, value in states(registry).items() if value] == ["degraded"]
    assert registry.get_sample_value("jitwarmup_ready", F) == 1
    assert registry.get_sample_value("jitwarmup_recompiles_total", F) == 2
    assert registry.get_sample_value("jitwarmup_steady_state_lost_total", F) == 2


def test_a_recompile_that_is_only_named_counts_once(registry):
    out = PrometheusMetrics(registry)
    emit(out, schema.STEADY_STATE_LOST, reason="r", work=["dynamo.recompile", "inductor.compile"])
    assert registry.get_sample_value("jitwarmup_recompiles_total", F) == 1


def test_a_warm_up_that_was_skipped_leaves_the_state_as_it_was(registry):
    out = PrometheusMetrics(registry)
    emit(out, schema.WARMUP_COMPLETED, iterations=0, duration_s=1.0, skipped="arguments_mutated")
    assert registry.get_sample_value("jitwarmup_ready", F) is None


def test_a_state_that_the_event_names_wins(registry):
    out = PrometheusMetrics(registry)
    emit(out, schema.WARMUP_COMPLETED, iterations=0, duration_s=1.0, skipped="arguments_mutated", state="cold")
    assert [name for name, value in states(registry).items() if value] == ["cold"]
    assert registry.get_sample_value("jitwarmup_ready", F) == 0


def test_several_emitters_share_one_registry(registry):
    made: list[PrometheusMetrics] = []
    threads = [threading.Thread(target=lambda: made.append(PrometheusMetrics(registry))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for out in made:
        emit(out, schema.CALL, duration_s=0.5, outcome="ok")
    assert registry.get_sample_value("jitwarmup_call_duration_seconds_count", F) == 8


def test_the_default_registry_is_the_applications():
    out = PrometheusMetrics()
    function = {"callable": "test_the_default_registry"}
    out.emit(schema.CALL, "info", function | {"duration_s": 0.5, "outcome": "ok"})
    found = prometheus_client.REGISTRY.get_sample_value("jitwarmup_call_duration_seconds_count", function)
    assert found == 1


def test_labels_are_few(registry):
    out = PrometheusMetrics(registry)
    for number in range(metrics.MOST_FUNCTIONS + 10):
        out.emit(schema.CALL, "info", {"callable": f"f{number}", "duration_s": 0.5, "outcome": "closed"})
    (metric,) = [metric for metric in registry.collect() if metric.name == "jitwarmup_calls"]
    functions = {sample.labels["callable"] for sample in metric.samples}
    assert len(functions) == metrics.MOST_FUNCTIONS + 1
    assert registry.get_sample_value("jitwarmup_calls_total", {"callable": "other", "outcome": "closed"}) == 10


def test_every_event_can_be_read_and_every_metric_is_fed(every_event):
    seen = {metric for event, _, fields in every_event() for metric, _, _ in readings(event, fields)}
    assert seen | {metrics.STATE, metrics.READY} == set(metrics.METRICS)


class FakeMeter:
    """Stands for a MeterProvider, its meter and every instrument: keeps what is recorded."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, str]] = {}
        self.said: list[tuple[str, float, dict[str, str]]] = []

    def get_meter(self, name, *rest, **more):
        assert name == "jitwarmup"
        return self

    def _make(self, kind: str, name: str, unit: str, **more):
        self.made[name] = (kind, unit)
        meter = self

        class Instrument:
            def _say(self, value, attributes):
                meter.said.append((name, value, attributes))

            record = add = set = _say

        return Instrument()

    def create_histogram(self, name, unit, description, explicit_bucket_boundaries_advisory):
        assert explicit_bucket_boundaries_advisory[0] == 0.01
        return self._make("histogram", name, unit)

    def create_counter(self, name, unit, description):
        return self._make("counter", name, unit)

    def create_gauge(self, name, unit, description):
        return self._make("gauge", name, unit)


def test_opentelemetry_gets_the_same_numbers_under_its_names():
    meter = FakeMeter()
    out = OpenTelemetryMetrics(meter)
    emit(out, schema.CALL, duration_s=0.5, outcome="ok")
    emit(out, schema.STEADY_STATE_LOST, reason="r", recompiles=2, state="degraded")
    assert meter.made["jitwarmup.call.duration"] == ("histogram", "s")
    assert meter.made["jitwarmup.call.duration.median"] == ("gauge", "s")
    assert ("jitwarmup.call.duration", 0.5, {"code.function.name": "f"}) in meter.said
    assert ("jitwarmup.calls", 1, {"code.function.name": "f", "jitwarmup.outcome": "ok"}) in meter.said
    assert ("jitwarmup.recompiles", 2, {"code.function.name": "f"}) in meter.said
    assert ("jitwarmup.state", 1.0, {"code.function.name": "f", "jitwarmup.state": "degraded"}) in meter.said


def test_opentelemetry_without_an_sdk_does_nothing():
    emit(OpenTelemetryMetrics(), schema.CALL, duration_s=0.5, outcome="ok")
