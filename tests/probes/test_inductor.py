"""The Inductor probe over what torch 2.13 left behind in a cold and in a warm process (recorded), without torch."""

from collections import Counter

import pytest

from jitwarmup.analysis.costs import WITHIN, exclusive_costs
from jitwarmup.probes.dynamo import Dynamo
from jitwarmup.probes.inductor import Inductor, Snapshot


@pytest.fixture
def probe(fake_dynamo):
    probe = Inductor()
    probe.arm()
    yield probe
    probe.disarm()


@pytest.fixture
def cold(fake_dynamo, record):
    """The first compile of ``(x*2+1).relu().sum(-1)`` with an empty cache directory, 2 cores."""

    def compiled():
        fake_dynamo.records.append(
            record(
                dynamo_cumulative_compile_time_us=11_813_240,
                inductor_cumulative_compile_time_us=11_454_284,
                triton_compile_time_us=437_528,  # waiting for C++ builds, no Triton here
            )
        )
        fake_dynamo.counters["inductor"] = Counter(fxgraph_cache_miss=1)
        fake_dynamo.counters["aot_autograd"] = Counter(total=1, autograd_cache_miss=1, autograd_cache_saved=1, ok=1)
        fake_dynamo.phases.update({"compile_file": [1.0] * 9, "build_guards": [0.01], "GraphLowering.codegen": [6.1]})

    return compiled


def described(work):
    return [(item.kind, item.count, item.duration_s) for item in work]


def test_a_cold_compile_shows_code_generation_misses_and_builds(probe, cold):
    before = probe.snapshot()
    cold()
    work = probe.delta(before, probe.snapshot())
    assert described(work) == [
        ("inductor.compile", 1, 11.454284),
        ("inductor.cache_miss", 1, None),
        ("aot.cache_miss", 1, None),
        ("cpp.compile", 9, 9.0),
    ]
    assert {item.reason for item in work if item.duration_s} == {WITHIN}


def test_the_ledger_of_a_cold_compile_sums_to_torchs_own_seconds(probe, cold, fake_dynamo):
    dynamo = Dynamo()
    dynamo.arm()
    before = probe.snapshot(), dynamo.snapshot()
    cold()
    work = [*probe.delta(before[0], probe.snapshot()), *dynamo.delta(before[1], dynamo.snapshot())]
    dynamo.disarm()
    costs = exclusive_costs(work, 12.0)
    assert sum(costs.values()) == pytest.approx(11.813240)
    assert costs["cpp.compile"] == 9.0


def test_a_warm_process_shows_hits_and_no_tuning_although_torch_replays_its_counters(probe, fake_dynamo, record):
    """``counters["inductor"] += graph.counter_deltas``: tuning that happened in another process."""
    before = probe.snapshot()
    fake_dynamo.records.append(record(dynamo_cumulative_compile_time_us=1_011_650))
    fake_dynamo.counters["inductor"] = Counter(
        fxgraph_cache_hit=1, select_algorithm_autotune=1, select_algorithm_precompile=1
    )
    fake_dynamo.counters["benchmarking"] = Counter({"InductorBenchmarker.benchmark_cpu": 2})
    fake_dynamo.counters["aot_autograd"] = Counter(autograd_cache_hit=1)
    assert described(probe.delta(before, probe.snapshot())) == [
        ("inductor.cache_hit", 1, None),
        ("aot.cache_hit", 1, None),
    ]


def test_tuning_is_told_by_its_record(probe, fake_dynamo, record):
    before = probe.snapshot()
    fake_dynamo.records.append(record(compile_time_autotune_time_us=22_957_000))
    fake_dynamo.counters["inductor"] = Counter(fxgraph_cache_bypass=1, select_algorithm_autotune=1)
    fake_dynamo.phases["packed_linear_template_autotuning"] = [22.957]
    work = probe.delta(before, probe.snapshot())
    assert described(work) == [("autotune", 1, 22.957), ("inductor.cache_bypass", 1, None)]
    assert work[0].reason == WITHIN


def test_tuning_is_told_by_its_phases_where_the_record_is_silent(probe, fake_dynamo, record):
    before = probe.snapshot()
    fake_dynamo.records.append(record())
    fake_dynamo.phases["mm_template_autotuning"] = [1.0, 2.0]
    assert described(probe.delta(before, probe.snapshot())) == [("autotune", 2, 3.0)]


def test_tuning_at_run_time_is_within_nothing(probe, fake_dynamo, record):
    before = probe.snapshot()
    late = record(is_runtime=True, runtime_triton_autotune_time_us=25_000, dynamo_cumulative_compile_time_us=None)
    fake_dynamo.records.append(late)
    fake_dynamo.phases["CachingAutotuner.benchmark_all_configs"] = [0.025]
    [work] = probe.delta(before, probe.snapshot())
    assert (work.kind, work.duration_s, work.reason) == ("autotune", 0.025, "at run time")


def test_triton_kernels_are_told_where_the_record_lists_them(probe, fake_dynamo, record):
    before = probe.snapshot()
    listed = '[["triton_poi_fused_add_0", 812345], ["triton_red_fused_sum_1", 612345]]'
    fake_dynamo.records.append(record(triton_compile_time_us=900_000, triton_kernel_compile_times_us=listed))
    assert described(probe.delta(before, probe.snapshot())) == [("triton.compile", 2, 0.9)]


def test_a_reset_that_starts_new_lists_is_seen(probe, fake_dynamo, record):
    fake_dynamo.phases["compile_file"] = [1.0, 1.0, 1.0]
    before = probe.snapshot()
    fake_dynamo.phases.clear()  # torch._dynamo.reset() does this
    fake_dynamo.phases["compile_file"] = [0.5, 0.5, 0.5, 0.5]
    fake_dynamo.records.append(record())
    assert described(probe.delta(before, probe.snapshot())) == [("cpp.compile", 4, 2.0)]


def test_counters_that_were_cleared_count_from_zero(probe, fake_dynamo):
    fake_dynamo.counters["inductor"] = Counter(fxgraph_cache_hit=7, fxgraph_cache_miss=1)
    before = probe.snapshot()
    fake_dynamo.counters["inductor"] = Counter(fxgraph_cache_hit=2, fxgraph_cache_miss=1)
    assert described(probe.delta(before, probe.snapshot())) == [("inductor.cache_hit", 2, None)]


def test_a_foreign_compiles_cache_look_up_is_foreign(probe, fake_dynamo, record):
    before = probe.snapshot()
    fake_dynamo.records.append(record(inductor_cumulative_compile_time_us=5))
    fake_dynamo.counters["inductor"] = Counter(fxgraph_cache_miss=1)
    work = probe.attributed(before, probe.snapshot(), lambda _: "foreign", "shared")
    assert [(item.kind, item.scope) for item in work] == [
        ("inductor.compile", "foreign"),
        ("inductor.cache_miss", "foreign"),
    ]


def test_a_record_of_an_earlier_run_is_left_out(probe, fake_dynamo, record):
    before = probe.snapshot()
    fake_dynamo.records.append(record(inductor_cumulative_compile_time_us=5))
    assert probe.attributed(before, probe.snapshot(), lambda _: None, "own") == []


def test_dormant_reads_nothing(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)
    probe = Inductor()
    assert probe.arm().state == "dormant"
    assert probe.snapshot() == Snapshot()


def test_unknown_forms_are_said(fake_dynamo):
    fake_dynamo.utils.compilation_time_metrics = None
    probe = Inductor()
    assert probe.arm().reason.startswith("no phases")
    assert probe.snapshot().phases == {}
    fake_dynamo.utils.counters = None
    assert probe.arm().state == "unavailable"
