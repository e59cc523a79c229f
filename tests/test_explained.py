"""The heart, end to end on the installed torch: which run paid for what, what the time went into, and nothing secret."""

import itertools
import json

import pytest
import torch
import torch._dynamo
import torch._dynamo.utils

from jitwarmup import MeasurementFailed, steady_state, until_steady, warmed
from jitwarmup.records.protocols import ArmState
from jitwarmup.testing import capture_events

SHAPES = range(8, 16)


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(automatic_dynamic_shapes=False, recompile_limit=64):
        yield
    torch._dynamo.reset()


def cycling(backend="eager"):
    """A function that meets eight shapes in turn, and a way to see what torch's own records say of each run."""

    @torch.compile(backend=backend)
    def step(x):
        return (x.sin() + 1).cos()

    inputs = itertools.cycle([torch.ones(n) for n in SHAPES])
    records = []

    def run():
        before = compilations()
        step(next(inputs))
        records.append(compilations() - before)

    return run, records


def compilations() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def test_the_contaminated_runs_are_exactly_those_with_a_new_compilation():
    run, records = cycling()
    with steady_state(iterations=1, measurements=20) as steady:
        report = steady.measure(run)
    compiled = [bool(count) for count in records[2:]]
    assert sum(compiled) == 6
    assert [found.contaminated for found in report.measured] == compiled
    assert report.latency.n == 14
    assert report.verdict.state == "contaminated"


def test_each_recompile_says_which_size_changed():
    run, _ = cycling()
    with steady_state(iterations=1, measurements=6) as steady:
        report = steady.measure(run)
    reasons = [work.reason for found in report.measured for work in found.work if work.kind == "dynamo.recompile"]
    assert reasons == [f"size of x changed at dimension 0: expected {n - 1}, got {n}" for n in range(10, 16)]


def test_redo_measures_again_until_no_run_is_contaminated():
    run, _ = cycling()
    with steady_state(iterations=5, measurements=4, on_contamination="redo") as steady:
        report = steady.measure(run)
    assert not any(found.contaminated for found in report.measured)
    assert len(report.measured) == 4
    assert any(found.discarded and found.contaminated for found in report.runs)


def test_until_steady_never_measures_a_compile():
    run, _ = cycling()
    with steady_state(iterations=until_steady(at_most=60), measurements=10) as steady:
        report = steady.measure(run)
    assert len(report.measured) == 10
    assert not any(found.contaminated for found in report.measured)


def test_raise_refuses_a_contaminated_measurement_and_keeps_its_report():
    run, _ = cycling()
    with steady_state(iterations=1, measurements=3, on_contamination="raise") as steady:
        with pytest.raises(MeasurementFailed, match=r"dynamo\.recompile.*until_steady"):
            steady.measure(run)
    assert len(steady.reports[0].measured) == 3


def test_the_ledger_charges_torchs_own_compile_seconds_and_sums_to_the_wall_time():
    run, _ = cycling("aot_eager")
    torch._dynamo.utils.clear_compilation_metrics()  # torch keeps 64 records; earlier tests may have filled them
    with steady_state(iterations=7, measurements=3) as steady:
        report = steady.measure(run)
    records = torch._dynamo.utils.get_compilation_metrics()
    torchs = sum(record.duration_us for record in records) / 1e6
    beside = ("run", "unexplained", "import", "dlopen", "compiler.subprocess")
    ours = sum(seconds for cause, seconds in report.ledger.items() if cause not in beside)
    assert ours == pytest.approx(torchs, rel=0.05)
    wall = sum(found.duration_s for found in (report.validation, *report.warmup))
    assert sum(report.ledger.values()) == pytest.approx(wall, rel=0.02)


def test_a_recurring_cost_belongs_to_the_sample():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0
    )
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.ones(1, 4, dtype=torch.long)
    with steady_state(iterations=4, measurements=4) as steady:
        report = steady.measure(
            lambda: model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=3)
        )
    caches = [work for found in report.measured for work in found.work if work.kind == "kv_cache.allocate"]
    assert len(caches) == 4
    assert {work.recurrence for work in caches} == {"recurring"}
    assert not any(found.contaminated for found in report.measured)


def test_a_recompile_in_service_is_a_loss_on_that_very_call_and_on_no_other():
    @torch.compile(backend="eager")
    def step(x):
        return x * 2

    serve = warmed(iterations=2)(step)
    serve(torch.ones(3))
    with capture_events() as events:
        for size in (3, 3, 4, 4, 3):
            serve(torch.ones(size))
    names = [event["event"].removeprefix("jitwarmup.") for event in events]
    assert names == ["call", "call", "call", "steady_state.lost", "call", "call"]
    assert events[3]["reason"] == "size of x changed at dimension 0: expected 3, got 4"


def test_no_argument_value_enters_a_report_or_an_event():
    secrets = ("canary-7f3a", 48151623, 42.4815162)

    @torch.compile(backend="eager")
    def step(x, word, whole, part):
        return x * whole + part if word == "canary-7f3a" else x - part

    values = itertools.cycle([("other", 1, 1.5), secrets, ("third", 7, 2.5)])

    def run():
        return step(torch.ones(3), *next(values))

    with capture_events() as events, steady_state(iterations=1, measurements=6) as steady:
        report = steady.measure(run)
    assert any(work.kind == "dynamo.recompile" for found in report.runs for work in found.work)
    text = json.dumps([report.to_dict(), list(events)]) + report.explain()
    assert not any(str(secret) in text for secret in secrets)


def test_nothing_is_read_between_the_clock_reads():
    log = []

    class Clock:
        def now(self):
            log.append("now")
            return len(log)

        def fence(self):
            log.append("fence")

    class Probe:
        name = "counter"

        def arm(self):
            return ArmState("armed")

        def snapshot(self):
            log.append("read")
            return 0

        def delta(self, before, after):
            log.append("delta")
            return ()

        def disarm(self):
            pass

    with steady_state(iterations=0, measurements=2, clock=Clock(), probes=[Probe()]) as steady:
        del log[:]
        steady.measure(lambda: log.append("user"))
    text = " ".join(log)
    assert text.count("fence now user fence now") == 3
    assert text.count("user") == 3
    assert "read" in text


@pytest.mark.parametrize(("size", "state"), [(1, "compiled"), (9, "not_compiled")])
def test_a_measurement_says_not_compiled_where_no_event_would(size, state):
    @torch.compile(backend="eager")
    def step(x):
        return x + 1

    with torch._dynamo.config.patch(recompile_limit=2):
        for n in (1, 2, 3):
            step(torch.ones(n))
    with steady_state(iterations=2, measurements=3) as steady:
        report = steady.measure(lambda: step(torch.ones(size)))
    kinds = {reason.kind for reason in report.verdict.reasons}
    assert ("not_compiled" in kinds) == (state == "not_compiled")
    assert (report.verdict.state == "degraded") == (state == "not_compiled")
    assert (report.warmup[0].compiled_calls, report.warmup[0].uncompiled_calls) == ((1, 0) if size == 1 else (0, 1))
    assert all(run.compiled_calls is None for run in (*report.measured, report.validation, *report.warmup[1:]))
