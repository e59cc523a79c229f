"""Two real Inductor compiles: one in an empty cache directory, the same again in a new process."""

import pytest

SCRIPT = """
    import json, sys
    import torch
    from jitwarmup import steady_state

    compiled = torch.compile(lambda x: (x * 2 + 1).relu().sum(-1))
    with steady_state(iterations=0, measurements=1) as steady:
        report = steady.measure(compiled, torch.ones(8, 16))
    rows = []
    for run in report.runs:
        kinds = {}
        for work in run.work:
            kinds[work.kind] = kinds.get(work.kind, 0) + work.count
        rows.append(kinds)
    costs = {cause: seconds for cause, seconds in report.ledger.items() if cause not in ("run", "unexplained")}
    torchs = sum(m.duration_us for m in torch._dynamo.utils.get_compilation_metrics()) / 1e6
    print(json.dumps([*rows, costs, torchs]))
"""


@pytest.mark.slow
def test_a_cold_compile_builds_and_a_warm_process_hits_and_both_are_told(child, tmp_path):
    cold, warm = (child(SCRIPT, TORCHINDUCTOR_CACHE_DIR=str(tmp_path)) for _ in range(2))
    first, second, costs, torchs = cold
    assert {"dynamo.capture", "inductor.compile", "inductor.cache_miss", "aot.cache_miss", "cpp.compile"} <= set(first)
    assert first["cpp.compile"] >= 2
    assert {"compiler.subprocess", "dlopen", "import"} <= set(first)
    assert "autotune" not in first
    assert not set(second) - {"gc.collect", "page_fault.major"}
    assert sum(costs.values()) == pytest.approx(torchs, rel=0.05)

    hit, again, costs, torchs = warm
    assert {"dynamo.capture", "inductor.cache_hit", "aot.cache_hit"} <= set(hit)
    assert not {"inductor.compile", "inductor.cache_miss", "aot.cache_miss", "autotune"} & set(hit)
    assert not set(again) - {"gc.collect", "page_fault.major"}
    assert sum(costs.values()) == pytest.approx(torchs, rel=0.05)
