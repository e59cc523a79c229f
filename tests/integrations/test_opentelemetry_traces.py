"""A span for each warm-up, with its phases and costs, linked with the request that paid for it."""

import pytest

from jitwarmup import warmed
from jitwarmup.events import schema, set_emitters
from jitwarmup.integrations.opentelemetry import OPEN_AT_MOST, OpenTelemetryTraces

sdk = pytest.importorskip("opentelemetry.sdk.trace")


@pytest.fixture
def tracing():
    """A tracer of the application's, and the spans that ended."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    set_emitters(OpenTelemetryTraces(provider))
    yield provider.get_tracer("application"), exporter.get_finished_spans
    set_emitters()


def by_name(spans):
    found = {}
    for span in spans:
        found.setdefault(span.name, []).append(span)
    return found


def test_a_warm_up_is_a_child_of_the_request_that_pays_and_is_linked_from_it(tracing):
    tracer, spans = tracing

    @warmed(iterations=2)
    def function():
        with tracer.start_as_current_span("inside"):
            return 1

    with tracer.start_as_current_span("request") as request:
        function()
        function()
    found = by_name(spans())
    (warm_up,) = found["jitwarmup warm-up"]
    assert warm_up.parent.span_id == request.get_span_context().span_id
    assert warm_up.attributes["code.function.name"].endswith("function")
    (paid,) = found["request"]
    assert [link.context.span_id for link in paid.links] == [warm_up.context.span_id]
    (validate,), (warm,) = found["jitwarmup validate"], found["jitwarmup warm"]
    assert {validate.parent.span_id, warm.parent.span_id} == {warm_up.context.span_id}
    assert warm_up.start_time <= validate.start_time <= validate.end_time == warm.start_time
    assert warm.end_time == warm_up.end_time
    assert len({span.context.span_id for span in spans()}) == len(spans())
    parents = [span.parent.span_id for span in found["inside"]]
    assert parents.count(warm_up.context.span_id) >= 3  # validation and two silent runs
    assert parents[-1] == request.get_span_context().span_id  # a warm call is the request's own


def test_each_cause_of_one_time_work_is_an_event_with_its_seconds(tracing):
    out = OpenTelemetryTraces()
    emitter = OpenTelemetryTraces(provider := sdk.TracerProvider())
    assert provider is not None
    fields = {"callable": "f", "report_id": "r", "key": "default"}
    with emitter.warming(fields):
        span = emitter._open["r"][0]
    costs = {"ledger_run_s": 9.0, "ledger_dynamo_capture_s": 3.0, "ledger_import_s": 0.5}
    emitter.emit(schema.WARMUP_COMPLETED, "info", fields | {"iterations": 1, "duration_s": 12.5} | costs)
    assert [(event.name, dict(event.attributes)) for event in span.events] == [
        ("jitwarmup.one_time_work", {"jitwarmup.cause": cause, "jitwarmup.duration_s": seconds})
        for cause, seconds in (("dynamo_capture", 3.0), ("import", 0.5))
    ]
    out.emit(schema.WARMUP_COMPLETED, "info", fields)  # of nobody: nothing happens


def test_a_failed_validation_ends_its_span_as_an_error(tracing):
    _, spans = tracing

    @warmed(iterations=2)
    def function():
        raise ValueError("secret")

    with pytest.raises(ValueError):
        function()
    (warm_up,) = by_name(spans())["jitwarmup warm-up"]
    assert (warm_up.status.is_ok, warm_up.status.description) == (False, "ValueError")
    assert warm_up.events == ()


def test_spans_whose_end_is_never_announced_do_not_pile_up():
    emitter = OpenTelemetryTraces(sdk.TracerProvider())
    for number in range(OPEN_AT_MOST + 10):
        with emitter.warming({"callable": "f", "report_id": str(number), "key": "k"}):
            pass
    assert len(emitter._open) == OPEN_AT_MOST


def test_without_an_sdk_nothing_happens():
    set_emitters(OpenTelemetryTraces())
    try:
        assert warmed(iterations=1)(lambda: 1)() == 1
    finally:
        set_emitters()
