"""
Whether a program is being recorded just now.

CUDA-graph capture is played by a fake torch: no GPU is at hand.
"""

import sys
from types import SimpleNamespace

import pytest

from jitwarmup import State, warmed
from jitwarmup.host.tracing import Tracing, ask_torch, cuda_capturing


@pytest.fixture(autouse=True)
def _as_found(monkeypatch):
    monkeypatch.setattr(Tracing, "compiling", staticmethod(ask_torch))
    monkeypatch.setattr(Tracing, "capturing", staticmethod(lambda: False))


def fake(compiling=False, initialized=True, capturing=False):
    return SimpleNamespace(
        compiler=SimpleNamespace(is_compiling=lambda: compiling),
        cuda=SimpleNamespace(is_initialized=lambda: initialized, is_current_stream_capturing=lambda: capturing),
    )


def test_without_torch_nobody_records(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    Tracing.look()
    assert Tracing.compiling is Tracing.first_look
    assert not ask_torch()
    assert not cuda_capturing()
    assert not Tracing.capturing()


def test_a_half_imported_torch_is_not_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    Tracing.look()
    assert Tracing.compiling is Tracing.first_look
    assert not ask_torch()


def test_torch_is_asked_by_itself_once_it_is_loaded(monkeypatch):
    torch = fake(compiling=True)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert ask_torch()
    Tracing.look()
    assert Tracing.compiling is torch.compiler.is_compiling


@pytest.mark.parametrize(
    ("initialized", "capturing", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_cuda_graph_is_recorded_where_cuda_is_in_use_and_says_so(monkeypatch, initialized, capturing, expected):
    monkeypatch.setitem(sys.modules, "torch", fake(initialized=initialized, capturing=capturing))
    Tracing.look()
    assert Tracing.capturing() is expected


def test_the_real_torch_says_that_it_is_not_tracing_now():
    pytest.importorskip("torch")
    Tracing.look()
    assert Tracing.compiling is not Tracing.first_look
    assert not Tracing.compiling()
    assert not Tracing.capturing()


def test_the_real_torch_says_so_while_it_traces():
    torch = pytest.importorskip("torch")
    Tracing.look()
    answers = []

    def traced(x):
        answers.append(Tracing.compiling())
        return x + 1

    torch.export.export(Module(torch, traced), (torch.ones(1),))
    assert answers
    assert all(answers)


def test_a_compile_in_another_thread_makes_no_plain_call_of_ours(events):
    torch = pytest.importorskip("torch")
    function = warmed(iterations=2)(lambda x: x + 1)
    with torch.compiler._compile_session_context():  # as torch says it to all threads while one of them compiles
        assert torch.compiler.is_compiling()
        assert function(1) == 2
    assert function.state is State.WARM
    assert len(events.named("jitwarmup.call")) == 1


def test_what_this_thread_compiles_is_traced_as_the_plain_call(events):
    torch = pytest.importorskip("torch")
    inner = warmed(iterations=2)(lambda x: x + 1)
    outer = torch.compile(lambda x: inner(x) * 2, backend="eager", fullgraph=True)
    assert torch.equal(outer(torch.ones(2)), torch.full((2,), 4.0))
    assert inner.state is State.COLD
    assert len(events) == 0


def Module(torch, function):
    class Traced(torch.nn.Module):
        def forward(self, x):
            return function(x)

    return Traced()
