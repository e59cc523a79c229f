"""What the audited run shows of compiled code is a fact of the key: its state, readiness, status and every verdict agree."""

import pytest
import torch

from jitwarmup import State, by_shape, steady_state, warmed
from jitwarmup.testing import FakeClock, capture_events

ONES = torch.ones


pytestmark = pytest.mark.usefixtures("fresh_programs")


def measured(function, *args):
    with steady_state(iterations=3, measurements=8, clock=FakeClock(1_000_000)) as steady:
        verdict = steady.measure(function, *args).verdict
    return verdict.state, [reason.kind for reason in verdict.reasons if reason.kind == "not_compiled"]


def broken(graph, example):
    raise RuntimeError("no kernel for this device")


def test_keys_beyond_the_recompile_limit_are_degraded_all_of_them():
    program = torch.compile(lambda x: x.sin() + x.shape[0], backend="eager", dynamic=False)
    serve = warmed(iterations=2, key=by_shape)(lambda x: program(x))
    with capture_events():
        serve.warm_all([ONES(n) for n in range(2, 14)])
    states = [key["state"] for key in serve.status()["keys"]]
    assert states == ["warm"] * 8 + ["degraded"] * 4
    assert serve.state is State.DEGRADED


def test_a_limit_that_somebody_else_used_up_degrades_whoever_comes_next():
    program = torch.compile(lambda x: x.cos() + x.shape[0], backend="eager", dynamic=False)
    for n in range(2, 12):
        program(ONES(n))
    late = warmed(iterations=2)(lambda x: program(x))
    with capture_events():
        late.warm(ONES(40))
        assert late.state is State.DEGRADED
        assert late.status()["last_reason"] == "not_compiled"
        assert late.measure(ONES(40)).verdict.state == "degraded"


def test_the_limit_belongs_to_the_function_whatever_key_uses_it_up():
    program = torch.compile(lambda x: x * 2, backend="eager", dynamic=False)
    serve = warmed(iterations=1, key=by_shape)(lambda x: program(x))
    with capture_events() as events:
        serve.warm_all([ONES(2), ONES(3)])
        for n in range(2, 16):
            serve(ONES(n))
        serve.warm(ONES(30))
    reasons = [event["reason"] for event in events if event["event"] == "jitwarmup.steady_state.lost"]
    assert reasons[0] == "recompile limit nearly spent"
    assert serve.state is State.DEGRADED
    assert serve.status()["last_reason"] == "eager_fallback"
    assert serve.status()["keys"][-1]["state"] == "degraded"


def test_one_of_two_compiled_parts_that_was_given_up_is_noticed():
    encoder = torch.compile(lambda x: x.cumsum(0), backend="eager", dynamic=False)
    decoder = torch.compile(lambda h: h * 3, backend="eager")
    for n in range(2, 11):
        encoder(ONES(n))
    assert measured(lambda x: decoder(encoder(x)), ONES(50)) == ("degraded", ["not_compiled"])


def test_what_was_asked_for_and_never_ran_is_degraded():
    with torch.compiler.set_stance("force_eager"):
        assert measured(torch.compile(torch.sin, backend="eager"), ONES(3)) == ("degraded", ["not_compiled"])
        inner = torch.compile(lambda x: x + 1, backend="eager")
        assert measured(lambda x: inner(x), ONES(3)) == ("degraded", ["not_compiled"])
    with torch._dynamo.config.patch(suppress_errors=True):
        failing = torch.compile(lambda x: x + 2, backend=broken)
        assert measured(failing, ONES(3)) == ("degraded", ["not_compiled"])


@pytest.mark.parametrize("how", ["function", "module", "method", "eager"])
def test_what_is_compiled_or_never_asked_to_be_is_not_blamed(how):
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    function = {
        "function": torch.compile(lambda x: layer(x), backend="eager"),
        "module": torch.compile(layer, backend="eager"),
        "method": torch.compile(layer.forward, backend="eager"),
        "eager": lambda x: layer(x),
    }[how]
    assert measured(function, ONES(3, 2))[1] == []


@pytest.mark.parametrize(
    ("between", "advice"),
    [
        (lambda n: torch.set_num_threads(1 + (n >= 1)), "set threads, grad mode"),
        (lambda n: None, "keep it in a tensor"),
    ],
    ids=["threads", "attribute"],
)
def test_the_advice_is_about_what_changed(between, advice):
    class Counted(torch.nn.Module):
        step = 0

        def forward(self, x):
            if advice != "set threads, grad mode":
                self.step += 1
            return x * self.step

    program, calls, threads = torch.compile(Counted(), backend="eager"), iter(range(99)), torch.get_num_threads()

    def run():
        between(next(calls))
        return program(ONES(4))

    try:
        with steady_state(iterations=1, measurements=6) as steady:
            text = " ".join(steady.measure(run).explain().split())
    finally:
        torch.set_num_threads(threads)
    assert advice in text
    assert "pad to buckets" not in text


def test_equal_ragged_batches_have_one_key():
    def ragged(*lengths):
        return torch.nested.nested_tensor([ONES(n, 4) for n in lengths], layout=torch.jagged)

    encode = warmed(iterations=1, key=by_shape)(lambda batch: batch.sin())
    with capture_events():
        for _ in range(4):
            encode(ragged(2, 3))
    assert len(encode.status()["keys"]) == 1
    assert encode.coverage().hits == 3
