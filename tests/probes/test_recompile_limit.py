"""How much of torch's recompile limit is used up: from the records of the runs that compiled anew."""

import sys
from types import SimpleNamespace

import pytest

from jitwarmup import OneTimeWork, Phase, Run
from jitwarmup.probes.recompile_limit import Usage, usage

AT_S = 1_700_000_000.0


def record(compile_id, at_s=AT_S, **more):
    return SimpleNamespace(
        compile_id=compile_id, start_time_us=int(at_s * 1e6), end_time_us=int(at_s * 1e6) + 10, **more
    )


def run(kind="dynamo.recompile", scope="own", at_s=AT_S):
    work = (OneTimeWork(kind=kind, scope=scope),)
    return Run(phase=Phase.MEASURE, index=0, started_at=at_s, duration_ns=10**9, work=work)


@pytest.fixture
def torch_has(monkeypatch):
    def has(*records, **config):
        monkeypatch.setitem(sys.modules, "torch._dynamo.config", SimpleNamespace(**(config or {"recompile_limit": 8})))
        utils = SimpleNamespace(get_compilation_metrics=lambda: list(records))
        monkeypatch.setitem(sys.modules, "torch._dynamo.utils", utils)

    return has


def test_the_attempt_of_the_newest_program_tells(torch_has) -> None:
    torch_has(record("0/0"), record("0/5"), record("1/2"))
    assert usage([run()]) == Usage(used=6, limit=8)
    assert usage([run()]).near


@pytest.mark.parametrize(("attempt", "near"), [(0, False), (4, False), (5, True), (7, True)])
def test_three_quarters_are_near(torch_has, attempt, near) -> None:
    torch_has(record(f"3/{attempt}_1"))
    assert usage([run()]).near is near


def test_the_fallback_itself_counts_no_more_than_the_limit(torch_has) -> None:
    torch_has(record("0/8"))
    assert usage([run("dynamo.eager_fallback")]) == Usage(used=8, limit=8)


def test_programs_of_other_times_and_other_peoples_runs_do_not_count(torch_has) -> None:
    torch_has(record("0/7", at_s=AT_S - 5), record("0/2"))
    assert usage([run()]) == Usage(used=3, limit=8)
    assert usage([run(scope="foreign")]) is None
    assert usage([run("import")]) is None
    assert usage([]) is None


def test_records_of_run_time_work_do_not_count(torch_has) -> None:
    torch_has(record("0/7", is_runtime=True))
    assert usage([run()]) is None


def test_without_dynamo_nothing_is_told(monkeypatch) -> None:
    for name in ("torch._dynamo.config", "torch._dynamo.utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert usage([run()]) is None
