"""The Dynamo probe over records as torch 2.8 to 2.15 write them, without torch."""

import json
from collections import Counter, deque
from types import SimpleNamespace

import pytest

from jitwarmup.probes.dynamo import Dynamo, Snapshot, known_break


@pytest.fixture
def probe():
    probe = Dynamo()
    yield probe
    probe.disarm()


def delta(probe, *records, before=(), **more):
    return list(probe.delta(Snapshot(tuple(before)), Snapshot((*before, *records), **more)))


def described(work):
    return [(item.kind, item.reason) for item in work]


def test_a_first_compile_is_a_capture_with_its_functions_name_and_seconds(probe, record):
    [work] = delta(probe, record())
    assert (work.kind, work.reason, work.duration_s, work.scope) == ("dynamo.capture", "function forward", 0.02, "own")


def test_a_recompile_has_its_reason_rebuilt(probe, record):
    again = record(compile_id="0/1", recompile_reason="0/0: tensor 'x' size mismatch at index 0. expected 8, actual 9")
    assert described(delta(probe, again)) == [
        ("dynamo.recompile", "size of x changed at dimension 0: expected 8, got 9")
    ]


@pytest.mark.parametrize(
    ("fail_type", "fail_reason"),
    [
        ("RecompileLimitExceeded", "recompile_limit reached"),
        ("Unsupported", "Dynamo recompile limit exceeded\n  Explanation: s == 'hunter2'"),
    ],
)
def test_the_recompile_limit_is_an_eager_fallback_in_every_version(probe, record, fail_type, fail_reason):
    over = record(
        co_name=None, fail_type=fail_type, fail_reason=fail_reason, recompile_reason="0/7: s == 'hunter2'  # f"
    )
    assert described(delta(probe, over)) == [("dynamo.eager_fallback", "recompile limit reached: value of s changed")]


def test_a_failed_compile_tells_its_type_and_no_text_of_the_users(probe, record):
    assert described(delta(probe, record(fail_type="TorchRuntimeError", fail_reason="hunter2"))) == [
        ("dynamo.failed", "TorchRuntimeError")
    ]


def test_a_lazy_backward_is_a_kind_of_its_own(probe, record):
    late = record(is_forward=False, co_name=None, dynamo_cumulative_compile_time_us=None)
    late.backward_cumulative_compile_time_us = 500_000
    assert [(w.kind, w.duration_s) for w in delta(probe, late)] == [("aot.backward", 0.5)]


def test_records_of_run_time_are_left_to_others(probe, record):
    assert delta(probe, record(is_runtime=True)) == []


def test_graph_breaks_are_counted_and_their_texts_kept_in_unless_torch_wrote_them(probe, fake_dynamo, tmp_path):
    sentence = "Failed to trace builtin operator"
    fake_dynamo.utils.__file__ = str(tmp_path / "utils.py")
    registry = {"GB0059": [{"Gb_type": sentence}]}
    (tmp_path / "graph_break_registry.json").write_text(json.dumps(registry))
    known, unknown = f"{sentence}\n  Developer debug context: hunter2", "call_function print [Constant('hunter2')]"
    before, after = {known: 1}, {known: 3, unknown: 1}
    work = probe.delta(Snapshot(breaks=before), Snapshot(breaks=after))
    assert [(item.kind, item.count, item.reason) for item in work] == [
        ("dynamo.graph_break", 2, sentence),
        ("dynamo.graph_break", 1, None),
    ]


@pytest.mark.parametrize("content", ["", "[]", '{"GB1": [{}]}', '{"GB1": 3}'])
def test_a_registry_of_another_form_explains_nothing(fake_dynamo, tmp_path, content):
    fake_dynamo.utils.__file__ = str(tmp_path / "utils.py")
    (tmp_path / "graph_break_registry.json").write_text(content)
    assert known_break("Failed to trace builtin operator") is None


def test_without_torch_nothing_is_known():
    assert known_break("") is None


def test_counters_that_were_cleared_count_from_zero(probe):
    work = probe.delta(Snapshot(breaks={"a": 5, "b": 1}), Snapshot(breaks={"a": 2, "b": 1}))
    assert [(item.kind, item.count) for item in work] == [("dynamo.graph_break", 2)]


def test_an_overflow_is_said(probe, record):
    work = delta(probe, record(), before=(), capacity=1)
    assert len(work) == 1
    lost = probe.delta(Snapshot((record(),), capacity=1), Snapshot((record(),), capacity=1))
    assert [item.kind for item in lost] == ["dynamo.capture", "dynamo.capture"]
    assert lost[-1].reason == "more compiles than torch keeps records of"


def test_records_that_the_user_cleared_are_no_overflow(probe, record):
    work = probe.delta(Snapshot((record(),), capacity=64), Snapshot((record(),), capacity=64))
    assert described(work) == [("dynamo.capture", "function forward")]


def test_each_record_gets_its_own_scope_and_counters_the_common_one(probe, record):
    mine, theirs, old = record(compile_id="0/0"), record(compile_id="1/0"), record(compile_id="2/0")
    scopes = {"0/0": "own", "1/0": "foreign", "2/0": None}
    work = probe.attributed(
        Snapshot(), Snapshot((mine, theirs, old), {"text": 1}), lambda r: scopes[r.compile_id], "shared"
    )
    assert [(item.kind, item.scope) for item in work] == [
        ("dynamo.capture", "own"),
        ("dynamo.capture", "foreign"),
        ("dynamo.graph_break", "shared"),
    ]


def test_a_graph_break_of_one_runs_compile_is_that_runs(probe, record):
    work = probe.attributed(Snapshot(), Snapshot((record(),), {"text": 1}), lambda _: "foreign", "shared")
    assert {item.scope for item in work} == {"foreign"}


def test_dormant_until_somebody_loads_dynamo_then_explained_from_empty(probe, fake_dynamo, monkeypatch, record):
    import sys

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch._dynamo.utils")
        assert (probe.arm().state, probe.arm().reason) == ("dormant", "not loaded")
        assert probe.stamp() == 0
        before = probe.snapshot()
    fake_dynamo.records.append(record())
    assert probe.arm().state == "armed"
    assert described(probe.delta(before, probe.snapshot())) == [("dynamo.capture", "function forward")]


def test_a_module_that_is_being_imported_is_left_alone(probe, fake_dynamo):
    fake_dynamo.utils.__spec__ = SimpleNamespace(_initializing=True)
    assert (probe.arm().state, probe.arm().reason) == ("dormant", "being imported")


def test_the_stamp_moves_with_a_record_and_when_the_callbacks_are_gone(probe, fake_dynamo, record):
    probe.arm()
    quiet = probe.stamp()
    assert probe.stamp() == quiet
    fake_dynamo.records.append(record())
    assert probe.stamp() not in (quiet, -1)
    fake_dynamo.handler.start_callbacks.clear()
    assert probe.stamp() == -1
    probe.arm()
    assert probe.stamp() != -1


def test_a_deque_that_was_bound_anew_is_followed(probe, fake_dynamo, record):
    probe.arm()
    fake_dynamo.records.append(record())
    before = probe.snapshot()
    fake_dynamo.utils._compilation_metrics = deque([*fake_dynamo.records, record(compile_id="1/0")], maxlen=2)
    after = probe.snapshot()
    assert after.capacity == 2
    assert len(probe.delta(before, after)) == 1


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("get_compilation_metrics", None, "get_compilation_metrics is not there"),
        ("counters", None, "counters is not a dict"),
        ("CompilationMetrics", SimpleNamespace, "CompilationMetrics has no co_name, compile_id, fail_type"),
    ],
)
def test_a_torch_that_is_not_as_known_makes_the_probe_unavailable(probe, fake_dynamo, attribute, value, reason):
    setattr(fake_dynamo.utils, attribute, value)
    state = probe.arm()
    assert state.state == "unavailable"
    assert reason in state.reason


def test_without_callbacks_the_records_are_still_read(probe, fake_dynamo):
    fake_dynamo.handler.register_start_callback = lambda callback: None
    state = probe.arm()
    assert state.state == "armed"
    assert state.reason.startswith("overlap not seen")


def test_disarming_leaves_the_handler_as_it_was_and_may_be_done_twice(probe, fake_dynamo):
    probe.arm()
    probe.disarm()
    probe.disarm()
    assert fake_dynamo.handler.start_callbacks == []
    assert probe.snapshot() == Snapshot()


def test_reading_does_not_add_a_key_to_torchs_counters(probe, fake_dynamo):
    from collections import defaultdict

    fake_dynamo.utils.counters = defaultdict(Counter)
    probe.arm()
    probe.snapshot()
    assert not fake_dynamo.utils.counters
