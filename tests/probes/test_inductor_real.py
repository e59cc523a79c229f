"""Two real Inductor compiles: one in an empty cache directory, the same again in a new process."""

import pytest

SCRIPT = """
    import json, sys
    import torch
    from jitwarmup.analysis.costs import exclusive_costs
    from jitwarmup.probes.probe_set import ProbeSet

    watch = ProbeSet()
    watch.arm()
    compiled = torch.compile(lambda x: (x * 2 + 1).relu().sum(-1))
    rows = []
    for x in (torch.ones(8, 16), torch.ones(8, 16)):
        token = watch.open()
        compiled(x)
        seen = watch.close(token)
        kinds = {}
        for work in seen.work:
            kinds[work.kind] = kinds.get(work.kind, 0) + work.count
        rows.append([kinds, exclusive_costs([w for w in seen.work if w.kind != "gc.collect"], 1e9)])
    torchs = sum(m.duration_us for m in torch._dynamo.utils.get_compilation_metrics()) / 1e6
    print(json.dumps([rows, torchs]))
"""


@pytest.mark.slow
def test_a_cold_compile_builds_and_a_warm_process_hits_and_both_are_told(child, tmp_path):
    cold, warm = (child(SCRIPT, TORCHINDUCTOR_CACHE_DIR=str(tmp_path)) for _ in range(2))
    [first, costs], [second, _] = cold[0]
    assert {"dynamo.capture", "inductor.compile", "inductor.cache_miss", "aot.cache_miss", "cpp.compile"} <= set(first)
    assert first["cpp.compile"] >= 2
    assert {"compiler.subprocess", "dlopen", "import"} <= set(first)
    assert "autotune" not in first
    assert not set(second) - {"gc.collect", "page_fault.major"}
    assert sum(costs.values()) == pytest.approx(cold[1], rel=0.05)

    [hit, costs], [again, _] = warm[0]
    assert {"dynamo.capture", "inductor.cache_hit", "aot.cache_hit"} <= set(hit)
    assert not {"inductor.compile", "inductor.cache_miss", "aot.cache_miss", "autotune"} & set(hit)
    assert not set(again) - {"gc.collect", "page_fault.major"}
    assert sum(costs.values()) == pytest.approx(warm[1], rel=0.05)
