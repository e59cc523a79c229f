"""What is said, whole: the events of each spelling, in order, and silence between validation and the end of warm-up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from jitwarmup import State, steady_state, warmed
from jitwarmup.events import schema
from jitwarmup.keys import summary
from jitwarmup.probes import Observation
from jitwarmup.testing import FakeClock, capture_events

NAME = __name__


def user(clock):
    def function(x):
        clock.advance(next(times, 1))

    times = iter([5, 3, 2])
    function.__qualname__ = "function"
    return function


def without(entry, *names):
    """The event without keys that differ from run to run."""
    return {name: value for name, value in entry.items() if name not in ("report_id", *names)}


def test_the_events_of_a_first_and_a_second_call_are_these_whole_dicts(events) -> None:
    clock = FakeClock()
    function = warmed(iterations=2)(user(clock))
    with steady_state(clock=clock):
        function("secret")
        function("secret")
    common = {"schema": "jitwarmup/1", "callable": f"{NAME}.function", "key": "default"}
    assert [without(entry) for entry in events][:4] == [
        {
            "event": "jitwarmup.validation.completed",
            "level": "info",
            **common,
            "phase": "validate",
            "duration_s": 5.0,
            "outcome": "ok",
            "runs_left": 2,
            "left_s": 10.0,
        },
        {
            "event": "jitwarmup.warmup.completed",
            "level": "info",
            **common,
            "iterations": 2,
            "runs": 3,
            "duration_s": 10.0,
            "cold_s": 5.0,
            "last_s": 2.0,
            "monitor_paused": False,
            "rng_restored": True,
            "path": "count",
            "ledger_run_s": 6.0,
            "ledger_unexplained_s": 4.0,
        },
        {
            "event": "jitwarmup.call",
            "level": "info",
            **common,
            "duration_s": 1.0,
            "outcome": "ok",
            "contaminated": False,
        },
        {
            "event": "jitwarmup.call",
            "level": "info",
            **common,
            "duration_s": 1.0,
            "outcome": "ok",
            "contaminated": False,
        },
    ]
    block = events[4]
    assert (block["event"], block["level"], block["callable"]) == ("jitwarmup.block.completed", "info", "steady_state")
    assert block["duration_s"] == 12.0
    assert len(events) == 5


def test_the_canonical_line_of_a_measurement_is_one_whole_dict(events) -> None:
    clock = FakeClock()
    with steady_state(clock=clock, iterations=2, measurements=6, name="mine") as steady:
        report = steady.measure(user(clock), "secret")
    (line,) = events.named("jitwarmup.measurement.completed")
    assert line["report_id"] == report.report_id
    wanted = {
        "latency_s": 1.0,
        "runs": 9,
        "iterations": 2,
        "measurements": 6,
        "measured_runs": 6,
        "clean_runs": 6,
        "contaminated_runs": 0,
        "discarded_runs": 0,
        "median_s": 1.0,
        "cold_s": 5.0,
        "warmup_s": 10.0,
        "speedup": 5.0,
        "label": "mine",
        "callable": "mine",
        "key": "default",
        "watched": ["scripted"],
        "unwatched": ["absent"],
    }
    assert {name: line[name] for name in wanted} == wanted
    assert line["verdict"] == report.verdict.state
    assert len(events.named("jitwarmup.call")) == 0


@pytest.mark.parametrize("spelling", ["call", "warm", "measure", "steady.measure", "trials", "block"])
@pytest.mark.parametrize("fail_at", [None, 0, 2, 4])
def test_each_spelling_says_these_events_and_one_canonical_line(spelling, fail_at, names) -> None:
    runs = []

    def function():
        runs.append(1)
        if len(runs) - 1 == fail_at:
            raise ValueError("boom")

    def carry_out():
        if spelling in ("call", "warm", "measure"):
            decorated = warmed(iterations=2, measurements=2)(function)
            return decorated() if spelling == "call" else getattr(decorated, spelling)()
        settings = {"iterations": 2, "measurements": 2}
        with steady_state(*([function] if spelling == "block" else []), **settings) as steady:
            if spelling == "steady.measure":
                return steady.measure(function)
            if spelling == "trials":
                for trial in steady.trials():
                    with trial:
                        function()
        return None

    passes = fail_at is not None and spelling in ("call", "warm", "trials", "block")
    passes = (
        passes and not (spelling == "call" and fail_at == 2) and not (spelling in ("warm", "block") and fail_at == 4)
    )
    passes = passes and not (spelling == "call" and fail_at == 4)
    if passes:
        with pytest.raises(ValueError, match="boom"):
            carry_out()
    else:
        carry_out()
    warm = {
        None: ["validation.completed", "warmup.completed"],
        0: ["validation.failed"],
        2: ["validation.completed", "warmup.failed"],
        4: ["validation.completed", "warmup.completed"],
    }[fail_at]
    ending = {
        "call": [] if fail_at == 0 else ["call"],
        "warm": [],
        "measure": ["measurement.completed" if fail_at is None else "measurement.failed"],
    }
    ending["steady.measure"] = [*ending["measure"], "block.completed"]
    ending["trials"] = [*ending["measure"], "block.completed" if fail_at is None else "block.failed"]
    ending["block"] = ["block.failed" if fail_at in (0, 2) else "block.completed"]
    assert names() == [*warm, *ending[spelling]]


def test_nothing_is_said_between_validation_and_the_end_of_warm_up(events) -> None:
    counted = []
    inner = warmed(lambda: None)

    def function():
        inner()
        with steady_state():
            pass
        counted.append(len(events.named("jitwarmup.call")))

    seen = []
    silent = warmed(iterations=3)(lambda: seen.append(len(events)))
    silent()
    assert seen == [0, 1, 1, 1, 2], "the validation's event comes before the first warm-up run, the next after the last"
    warmed(iterations=1)(function)()
    assert counted == [1, 1, 1], "a call inside a run is no event, and the outer call's own comes after it"


def test_levels_and_required_keys_are_those_of_the_table(events) -> None:
    def failing():
        raise ValueError("secret")

    with pytest.raises(ValueError, match="secret"):
        warmed(failing)()
    warmed(failing).measure()
    runs = iter([1, 0, 1, 1])
    warmed(iterations=1)(lambda: 1 / next(runs))()
    with pytest.raises(ValueError, match="secret"), steady_state():
        failing()
    wanted = {
        "jitwarmup.validation.failed": "error",
        "jitwarmup.warmup.failed": "warning",
        "jitwarmup.measurement.failed": "error",
        "jitwarmup.block.failed": "error",
        "jitwarmup.call": "info",
        "jitwarmup.validation.completed": "info",
    }
    assert {entry["event"]: entry["level"] for entry in events} == wanted
    assert all(entry["latency_s"] == -1.0 for entry in events.named("jitwarmup.validation.failed"))
    assert all(entry["level"] == schema.LEVELS[entry["event"]] for entry in events)


def test_no_argument_value_or_message_is_in_any_event_and_all_of_them_are_json(events) -> None:
    secret = "my-secret-prompt"  # noqa: S105 - of nobody

    def function(text, *, number, mapping):
        if text != secret:
            raise ValueError(secret)
        return secret

    call = {"number": 123456789, "mapping": {secret: secret}}
    made = warmed(key=lambda text, **_: text)(function)
    made(secret, **call)
    made.measure("other" + secret, **call)
    with pytest.raises(ValueError, match=secret):
        made("other" + secret, **call)
    made.warm(secret, **call)
    text = json.dumps(list(events), allow_nan=False)
    assert secret not in text
    assert "123456789" not in text
    for entry in events:
        assert all(type(value) in (str, int, float, bool, list) for value in entry.values())
        assert len(json.dumps(entry)) <= 4000


def test_emit_off_says_nothing_after_warm_up_and_reads_no_clock_and_no_probe(events, log, watch) -> None:
    runs = []
    for options in ({}, {"key": lambda x: x}):
        made = warmed(iterations=1, emit="off", **options)(runs.append)
        monitor = log.monitor()
        with steady_state(clock=log.clock(), monitor=monitor):
            made(1)
            events.clear()
            log.clear()
            runs.clear()
            watch.seen = [Observation()]
            made(1)
            made(1)
            assert log == []
            assert len(watch.seen) == 1
            assert runs == [1, 1]
            assert list(events) == []
        assert made.state is State.WARM
    watch.seen = []


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async_generator"])
def test_emit_off_holds_for_every_kind_and_for_methods(kind, events, log) -> None:
    class Model:
        async def coroutine(self): ...

        def generator(self):
            yield

        async def async_generator(self):
            yield

    Model.made = warmed(iterations=0, emit="off")(getattr(Model, kind))

    async def collect(stream):
        return [item async for item in stream]

    def call():
        value = model.made()
        if kind == "coroutine":
            return asyncio.run(value)
        return list(value) if kind == "generator" else asyncio.run(collect(value))

    model = Model()
    with steady_state(clock=log.clock()):
        call()
        events.clear()
        log.clear()
        call()
        assert log == []
        assert list(events) == []


def test_emit_off_says_no_coverage_no_loss_and_no_summary(events, watch) -> None:
    made = warmed(emit="off", key=lambda x: x)(lambda x: None)
    made.warm(1)
    events.clear()
    made(2)
    made.flush()
    assert list(events) == []


def test_emit_summary_counts_exactly_and_speaks_at_flush(events) -> None:
    clock = FakeClock()
    times = iter([1, 1, *range(1, 101)])

    def function(fail=False):
        clock.advance(next(times))
        if fail:
            raise ValueError("boom")

    made = warmed(iterations=0, emit="summary")(function)
    with steady_state(clock=clock):
        for _ in range(99):
            made()
        with pytest.raises(ValueError, match="boom"):
            made(True)
        assert events.named("jitwarmup.call") == []
        made.flush()
        made.flush()
    (line,) = events.named("jitwarmup.summary")
    assert (line["count"], line["errors"], line["sum_s"]) == (99, 1, sum([1, *range(1, 99)]))
    assert (line["min_s"], line["max_s"], line["recent"]) == (1.0, 98.0, 99)
    assert line["median_s"] == pytest.approx(49, abs=1)
    assert line["p99_s"] <= 98.0


def test_a_summary_is_told_once_a_minute_at_a_call(events, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(summary.time, "monotonic", lambda: now[0])
    made = warmed(iterations=0, emit="summary")(lambda: None)
    for second in range(0, 200, 10):
        now[0] = second
        made()
    assert [line["count"] for line in events.named("jitwarmup.summary")] == [7, 6, 6]
    made.flush()
    assert [line["count"] for line in events.named("jitwarmup.summary")] == [7, 6, 6, 1]


def test_percentiles_are_over_the_last_ten_thousand_calls(events) -> None:
    class Alone:
        instruments = None

        def without_call(self):
            return self

        def emit(self, event, **fields):
            emitted.append((event, fields))

    emitted, subject, counts = [], Alone(), summary.CallSummary()
    for ns in range(20_000):
        counts.count(subject, ns)
    counts.flush()
    ((event, fields),) = emitted
    assert event == "jitwarmup.summary"
    assert (fields["count"], fields["recent"]) == (20_000, 10_000)
    assert (fields["min_s"], fields["max_s"]) == (0.0, 19_999e-9)
    assert fields["median_s"] == pytest.approx(14_999.5e-9)


def test_a_summary_goes_where_the_newest_call_would_have_spoken(events) -> None:
    made = warmed(iterations=0, emit="summary")(lambda: None)
    with capture_events() as inside, steady_state():
        made()
    made()
    made.flush()
    assert [line["count"] for line in events.named("jitwarmup.summary")] == [2]
    assert inside.named("jitwarmup.summary") == []


def test_a_summary_is_told_at_a_normal_exit() -> None:
    code = """
import jitwarmup
f = jitwarmup.warmed(iterations=0, emit="summary")(lambda: None)
f(); f(); f()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split()[0] for line in lines] == [
        "jitwarmup.validation.completed",
        "jitwarmup.warmup.completed",
        "jitwarmup.summary",
    ]
    assert "3 calls" in lines[-1]


def test_ranks_are_told_where_torch_distributed_is_initialised(events, monkeypatch) -> None:
    import types

    torch = pytest.importorskip("torch")
    fake = types.SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: 3, get_world_size=lambda: 8
    )

    def failing():
        raise RuntimeError("the group is gone")

    monkeypatch.setattr(torch, "distributed", fake)
    warmed(iterations=0)(lambda: None)()
    assert {(entry["rank"], entry["world_size"]) for entry in events} == {(3, 8)}
    monkeypatch.setattr(fake, "get_rank", failing)
    events.clear()
    warmed(iterations=0)(lambda: None)()
    assert all("rank" not in entry for entry in events)


def test_emit_off_reads_nothing_for_a_warm_key_outside_of_blocks_either(events, watch) -> None:
    made = warmed(iterations=0, emit="off", key=lambda x: x)(lambda x: x)
    made(1)
    events.clear()
    watch.seen = [Observation()]
    assert made(1) == 1
    assert len(watch.seen) == 1
    assert list(events) == []
    watch.seen = []


def test_a_key_of_the_users_is_shown_by_a_number_whatever_label_it_has(events) -> None:
    class Shape:
        label = "a value"

    made = warmed(iterations=0, key=lambda x: x)(lambda x: None)
    made(Shape())
    made("secret")
    assert [entry["key"] for entry in events.named("jitwarmup.call")] == ["key-1", "key-2"]
