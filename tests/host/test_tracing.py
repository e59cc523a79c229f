"""
Whether a program is being recorded just now.

CUDA-graph capture is played by a fake torch: no GPU is at hand.
"""

import sys
from types import SimpleNamespace

import pytest

from jitwarmup.host.tracing import Tracing, ask_torch, cuda_capturing, nothing_to_capture


@pytest.fixture(autouse=True)
def _as_found(monkeypatch):
    monkeypatch.setattr(Tracing, "compiling", staticmethod(ask_torch))
    monkeypatch.setattr(Tracing, "capturing", staticmethod(nothing_to_capture))


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


def Module(torch, function):
    class Traced(torch.nn.Module):
        def forward(self, x):
            return function(x)

    return Traced()
