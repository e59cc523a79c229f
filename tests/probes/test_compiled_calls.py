"""The audit tells whether compiled code ran, which the absence of compile events does not."""

import pytest
import torch
import torch._dynamo

from jitwarmup.probes.compiled_calls import CompiledCallCounter

HOOKS = torch._C._dynamo.eval_frame


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(automatic_dynamic_shapes=False, recompile_limit=2):
        yield
    torch._dynamo.reset()


def compiled():
    @torch.compile(backend="eager")
    def step(x):
        return x + 1

    return step


def counted(call) -> tuple[int, int]:
    audit = CompiledCallCounter()
    assert audit.start()
    try:
        call()
    finally:
        audit.stop()
    return audit.served, audit.missed


def test_a_call_that_compiled_code_serves_is_counted_as_served():
    step = compiled()
    step(torch.ones(1))
    assert counted(lambda: step(torch.ones(1))) == (1, 0)


def test_past_the_recompile_limit_a_call_is_counted_as_missed():
    step = compiled()
    for n in (1, 2, 3):
        step(torch.ones(n))
    assert counted(lambda: step(torch.ones(4))) == (0, 1)


def test_a_hook_of_somebody_else_is_asked_and_put_back():
    asked = []

    def theirs(hit):
        asked.append(hit)
        return hit

    step = compiled()
    step(torch.ones(1))
    HOOKS.set_guard_complete_hook(theirs)
    try:
        assert counted(lambda: step(torch.ones(1))) == (1, 0)
        assert asked == [True]
    finally:
        assert HOOKS.set_guard_complete_hook(None) is theirs


def test_of_two_audits_at_once_the_second_looks_at_nothing():
    first, second = CompiledCallCounter(), CompiledCallCounter()
    assert first.start()
    assert not second.start()
    second.stop()
    first.stop()
    assert second.start()
    second.stop()


def test_where_torch_offers_no_hook_nothing_is_claimed(monkeypatch):
    monkeypatch.delattr(HOOKS, "set_guard_complete_hook")
    assert not CompiledCallCounter().start()
