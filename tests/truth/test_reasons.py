"""The reason of a recompile is true of all programs that there are, and the advice is about what the reason says."""

import re

import pytest
import torch

from jitwarmup import by_shape, steady_state, warmed
from jitwarmup.testing import FakeClock, capture_events
from jitwarmup.views.advice import about_work

ONES = torch.ones
NEW = "a combination of sizes not met before"


pytestmark = pytest.mark.usefixtures("fresh_programs")


def lost(serve, *calls):
    with capture_events() as events:
        for call in calls:
            serve(*call)
    return [event["reason"] for event in events if event["event"] == "jitwarmup.steady_state.lost"]


def served(body, **more):
    program = torch.compile(body, backend="eager", dynamic=False)
    return warmed(iterations=0, **more)(lambda *inputs: program(*inputs))


def test_sizes_that_are_known_each_by_itself_are_a_new_combination():
    serve = served(lambda x: x + 1)
    reasons = lost(serve, *[(ONES(*shape),) for shape in [(1, 8), (4, 8), (1, 9), (5, 8), (4, 9)]])
    size = "size of x changed at dimension 0: expected"
    assert reasons == [f"{size} 1, got 4", f"{NEW} ({size} 4, got 1)", f"{size} 1, got 5", f"{NEW} ({size} 5, got 4)"]


def test_of_several_tensors_and_functions_each_is_known_by_itself():
    both = served(lambda x, y: x.sum() + y.sum())
    assert not any(NEW in reason for reason in lost(both, (ONES(2), ONES(3)), (ONES(4), ONES(3)), (ONES(5), ONES(2))))
    other = served(lambda x: x.sum() - 1)
    assert not any(NEW in reason for reason in lost(other, (ONES(2),), (ONES(4),), (ONES(5),)))


def test_what_was_known_is_forgotten_with_its_programs():
    serve = served(lambda x: x * 3)
    lost(serve, (ONES(2),), (ONES(3),), (ONES(4),))
    torch._dynamo.reset()
    assert not any(NEW in reason for reason in lost(serve, (ONES(2),), (ONES(3),), (ONES(4),)))


def test_two_runs_that_see_one_recompile_are_given_one_reason():
    serve, program = served(lambda x: x * 4), torch.compile(lambda x: x * 5, backend="eager", dynamic=False)
    program(ONES(2))
    with capture_events(), steady_state() as outer, steady_state() as inner:
        program(ONES(3))
    reasons = [
        [work.reason for work in block.block.work if work.kind == "dynamo.recompile"] for block in (outer, inner)
    ]
    assert reasons[0] == reasons[1] == ["size of x changed at dimension 0: expected 2, got 3"]
    assert serve is not None


FORMS = {
    "size of x changed at dimension 1: expected 20, got 4": "pad to buckets",
    "size of x changed at dimension 0: expected 2, got 1": "mark_unbacked",
    "size of x changed at dimension 0: expected 0, got 3": "mark_unbacked",
    "size of x changed at dimension 0: expected 21, got 30": "pad to buckets",
    f"{NEW} (size of x changed at dimension 0: expected 4, got 1)": "combinations",
    "stride of x changed at dimension 0: expected 4, got 8": "pad to buckets",
    "global state changed: grad mode": "set threads, grad mode",
    "global state changed: number of threads": "set threads, grad mode",
    "dispatch keys of x changed": "the same mode",
    "requires_grad of x changed": "the same mode",
    "dtype of x changed: expected float32, got float64": "dtype and device",
    "device of x changed": "dtype and device",
    "value of self.step changed": "keep it in a tensor",
}


@pytest.mark.parametrize("reason", FORMS)
def test_advice_by_the_form_of_the_reason(reason):
    assert FORMS[reason] in about_work("dynamo.recompile", [reason])
    others = set(FORMS.values()) - {FORMS[reason]}
    assert not any(other in about_work("dynamo.recompile", [reason]) for other in others)


CHANGES = {
    "grad mode": (torch.no_grad, "set threads, grad mode"),
    "autocast": (lambda: torch.autocast("cpu", dtype=torch.bfloat16), "set threads, grad mode"),
    "inference mode": (torch.inference_mode, "mode"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_modes_that_change_while_measuring(change):
    program, runs = torch.compile(lambda x: x.sin() * 2, backend="eager", dynamic=False), iter(range(99))
    mode, advice = CHANGES[change]

    def serve():
        if next(runs) < 4:
            return program(ONES(3)) is None
        with mode():
            return program(ONES(3)) is None

    with capture_events(), steady_state(iterations=1, measurements=6, clock=FakeClock(1_000_000)) as steady:
        report = steady.measure(serve)
    assert [run.contaminated for run in report.measured] == [False, False, True, False, False, False]
    assert advice in re.sub(r"\s+", " ", report.explain())


@pytest.mark.parametrize("limits", [{"recompile_limit": 8}, {"recompile_limit": 64, "accumulated_recompile_limit": 8}])
def test_the_lower_of_torchs_two_limits_is_watched(limits):
    program = torch.compile(lambda x: x * 2, backend="eager", dynamic=False)
    serve = warmed(iterations=1, key=by_shape)(lambda x: program(x))
    with torch._dynamo.config.patch(**limits), capture_events() as events:
        serve.warm_all([ONES(2), ONES(3)])
        for n in range(2, 16):
            serve(ONES(n))
    warnings = [event for event in events if event.get("reason") == "recompile limit nearly spent"]
    assert [(event["used"], event["limit"]) for event in warnings] == [(6, 8)]
    assert serve.status()["last_reason"] == "eager_fallback"
    assert serve.state.value == "degraded"
