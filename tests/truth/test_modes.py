"""Keys say under which modes of torch they were warmed; a call under another is a miss, announced before it compiles."""

import threading

import pytest
import torch

from jitwarmup import by_bucket, by_shape, warmed
from jitwarmup.testing import capture_events

X = torch.ones(2, 3)


pytestmark = pytest.mark.usefixtures("fresh_programs")


def autocast(dtype=torch.bfloat16):
    return torch.autocast("cpu", dtype=dtype)


MODES = {
    "": torch.enable_grad,
    " under no_grad": torch.no_grad,
    " under inference_mode": torch.inference_mode,
    " under autocast cpu bfloat16": autocast,
    " under autocast cpu float16": lambda: autocast(torch.float16),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", [by_shape, by_bucket([4, 8])])
def test_the_key_ends_with_the_modes(mode, key):
    with MODES[mode]():
        found = str(key(X))
    assert found == str(key(X)) + mode


def test_several_modes_and_those_of_a_thread():
    with torch.no_grad(), autocast():
        assert str(by_shape(X)).endswith("cpu under no_grad, autocast cpu bfloat16")
        held = []
        thread = threading.Thread(target=lambda: held.append(str(by_shape(X))))
        thread.start()
        thread.join()
    assert held == ["0 float32[2,3] cpu"]  # a plain thread begins with gradients


PAIRS = [(warm, served) for warm in MODES for served in MODES]


@pytest.mark.parametrize(
    ("warm", "served"),
    [pytest.param(*pair, marks=[pytest.mark.slow] if at % 4 else []) for at, pair in enumerate(PAIRS)],
)
def test_a_call_under_another_mode_is_a_miss_announced_before_it_compiles(warm, served):
    compiled = []

    def backend(graph, _inputs):
        compiled.append(len([event for event in noted if event["event"] == "jitwarmup.coverage.missed"]))
        return graph.forward

    program = torch.compile(lambda x: x.sin() @ x.T, backend=backend, dynamic=False)
    serve = warmed(iterations=1, key=by_shape)(lambda x: program(x))
    with capture_events() as noted:
        with MODES[warm]():
            serve.warm(X)
        before = len(compiled)
        with MODES[served]():
            serve(X)
            serve(X)
    missed = [event for event in noted if event["event"] == "jitwarmup.coverage.missed"]
    if warm == served:
        assert (missed, len(compiled)) == ([], before)
        assert serve.coverage().hits == 2
        return
    (event,) = missed
    names = {mode: mode.removeprefix(" under ") or "gradients" for mode in MODES}
    assert event["reason"] == f"called under {names[served]}, warmed up under {names[warm]}"
    assert event["key"] == f"0 float32[2,3] cpu{served}"
    assert compiled[before:] == [1] * len(compiled[before:])
    assert serve.coverage().hits == 0
