from __future__ import annotations

import threading

import prometheus_client
import pytest
import torch

from jitwarmup import warmed
from jitwarmup.events import schema, set_emitters
from jitwarmup.integrations.metrics import MOST_FUNCTIONS
from jitwarmup.integrations.prometheus import PrometheusMetrics

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
    assert registry.get_sample_value("jitwarmup_calls_total", F | {"outcome": "ok"}) == 101
    assert registry.get_sample_value("jitwarmup_calls_total", F | {"outcome": "error"}) == 3
    assert registry.get_sample_value("jitwarmup_call_duration_median_seconds", F) == 0.12


def test_a_summary_of_more_errors_than_calls_that_ended_well_counts_both(registry):
    @warmed(iterations=1, emit="summary")
    def inverse(x):
        return 1 / x

    set_emitters(PrometheusMetrics(registry))
    try:
        inverse.warm(1)
        inverse(1)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                inverse(0)
        inverse.flush()
    finally:
        set_emitters()
    calls = {"callable": f"{__name__}.{inverse.__qualname__}"}
    assert registry.get_sample_value("jitwarmup_calls_total", calls | {"outcome": "ok"}) == 1
    assert registry.get_sample_value("jitwarmup_calls_total", calls | {"outcome": "error"}) == 2


def test_losses_and_recompiles_are_shown_as_zero_from_the_warm_up_on(registry):
    """Prometheus sees an increase only against an earlier value: an alert on the first recompile needs the zero."""
    emit(PrometheusMetrics(registry), schema.WARMUP_COMPLETED, iterations=1, duration_s=1.0)
    assert registry.get_sample_value("jitwarmup_recompiles_total", F) == 0
    assert registry.get_sample_value("jitwarmup_steady_state_lost_total", F) == 0


def test_a_recompile_that_is_only_named_counts_once(registry):
    out = PrometheusMetrics(registry)
    emit(out, schema.STEADY_STATE_LOST, reason="r", work=["dynamo.recompile", "inductor.compile"])
    assert registry.get_sample_value("jitwarmup_recompiles_total", F) == 1


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
    for number in range(MOST_FUNCTIONS + 10):
        out.emit(schema.CALL, "info", {"callable": f"f{number}", "duration_s": 0.5, "outcome": "closed"})
    (metric,) = [metric for metric in registry.collect() if metric.name == "jitwarmup_calls"]
    functions = {sample.labels["callable"] for sample in metric.samples}
    assert len(functions) == MOST_FUNCTIONS + 1
    assert registry.get_sample_value("jitwarmup_calls_total", {"callable": "other", "outcome": "closed"}) == 10


def test_seconds_of_one_time_work_are_counted_by_cause(registry):
    out = PrometheusMetrics(registry)
    costs = {"ledger_run_s": 9.0, "ledger_unexplained_s": 9.0, "ledger_dynamo_capture_s": 3.0, "ledger_import_s": 0.5}
    emit(out, schema.WARMUP_COMPLETED, iterations=1, duration_s=30.0, **costs)
    emit(out, schema.STEADY_STATE_LOST, reason="r", paid_dynamo_capture_s=2.0)

    def paid(cause):
        return registry.get_sample_value("jitwarmup_one_time_seconds_total", F | {"cause": cause})

    assert [paid(cause) for cause in ("dynamo_capture", "import", "run", "unexplained")] == [5.0, 0.5, None, None]


def test_a_duration_carries_the_ids_of_its_span(registry):
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from prometheus_client.openmetrics.exposition import generate_latest

    out = PrometheusMetrics(registry)
    emit(out, schema.CALL, duration_s=0.5, outcome="ok")
    assert b"# {" not in generate_latest(registry)
    with trace.TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        emit(out, schema.CALL, duration_s=0.015, outcome="ok")
    context = span.get_span_context()
    exemplar = f'span_id="{context.span_id:016x}",trace_id="{context.trace_id:032x}"}} 0.015'
    assert [exemplar in line for line in generate_latest(registry).decode().splitlines() if "# {" in line] == [True]


@pytest.fixture
def scraped(registry):
    """Metrics that get the events of the process; gives the one state of a function that is 1, and whether it is ready."""
    set_emitters(PrometheusMetrics(registry))

    def look(function) -> tuple[str, float]:
        name = f"{function.__module__}.{function.__qualname__}"
        (family,) = [family for family in registry.collect() if family.name == "jitwarmup_state"]
        found = [s.labels["state"] for s in family.samples if s.labels["callable"] == name and s.value == 1.0]
        ready = registry.get_sample_value("jitwarmup_ready", {"callable": name})
        (state,) = found
        return state, ready

    yield look
    set_emitters()


def test_the_state_is_the_functions_own_also_after_it_recovered(scraped):
    compiled = torch.compile(lambda x: x.sin() + 1, backend="eager", dynamic=False)

    @warmed(iterations=2)
    def function(x):
        return compiled(x)

    function(torch.ones(3))
    assert scraped(function) == (function.state, 1.0) == ("warm", 1.0)
    function(torch.ones(4))  # a recompile
    assert scraped(function) == (function.state, 1.0) == ("degraded", 1.0)
    for _ in range(10):
        function(torch.ones(4))
    assert scraped(function) == (function.state, 1.0) == ("warm", 1.0)


def test_ready_is_taken_back_with_the_functions_own(scraped):
    compiled = torch.compile(lambda x: x.cos() + 1, backend="eager", dynamic=False)

    @warmed(iterations=2, on_loss="unready")
    def function(x):
        return compiled(x)

    function.warm(torch.ones(3))
    assert scraped(function)[1] == 1.0
    function(torch.ones(4))
    assert not function.ready
    assert scraped(function)[1] == 0.0


def test_calls_that_met_a_warm_key_and_others_are_the_functions_own(scraped, registry):
    @warmed(iterations=1, key=lambda x: x)
    def function(x):
        return x

    for x in (1, 1, 1, 2):
        function(x)
    coverage, name = function.coverage(), {"callable": f"{function.__module__}.{function.__qualname__}"}
    seen = [registry.get_sample_value("jitwarmup_live_calls", name | {"key": key}) for key in ("warm", "cold")]
    assert seen == [coverage.hits, coverage.calls - coverage.hits] == [2, 2]


def test_what_was_reset_is_cold(scraped):
    @warmed(iterations=1)
    def function():
        return 1

    function.warm()
    function.reset()
    assert scraped(function) == (function.state, 0.0) == ("cold", 0.0)


def test_a_failed_warm_up_is_seen(scraped):
    calls = []

    @warmed(iterations=3)
    def function():
        calls.append(1)
        if len(calls) == 2:
            raise ValueError

    function()
    assert scraped(function) == (function.state, 0.0) == ("failed", 0.0)


def test_several_processes_write_their_state_at_events(registry, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")  # prometheus_client itself looked at its own import
    set_emitters(PrometheusMetrics(registry))
    try:

        @warmed(iterations=1)
        def function():
            return 1

        function()
        function()
    finally:
        set_emitters()
    name = {"callable": f"{function.__module__}.{function.__qualname__}"}
    assert registry.get_sample_value("jitwarmup_state", name | {"state": "warm"}) == 1.0
    assert registry.get_sample_value("jitwarmup_ready", name) == 1.0
