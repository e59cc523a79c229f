"""What is compiled, exported or scripted is named as what it was made of, so that two of them can be told apart."""

import functools
import warnings

import pytest
import torch

from jitwarmup import steady_state
from jitwarmup.testing import FakeClock, capture_events

X = torch.ones(1, 2)


class Encoder(torch.nn.Linear):
    pass


class Decoder(torch.nn.Linear):
    pass


def step(x: torch.Tensor) -> torch.Tensor:
    return x + 1


WAYS = {
    "plain": lambda model: model,
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
    "model.compile": lambda model: model.compile(backend="eager") or model,
    "partial": lambda model: functools.partial(torch.compile(model, backend="eager")),
    "export": lambda model: torch.export.export(model, (X,)).module(),
    "compiled export": lambda model: torch.compile(torch.export.export(model, (X,)).module(), backend="eager"),
    "script": torch.jit.script,
    "trace": lambda model: torch.jit.trace(model, (X,)),
    "frozen": lambda model: torch.jit.freeze(torch.jit.script(model.eval())),
    "partial of a script": lambda model: functools.partial(torch.jit.script(model)),
    "data parallel": torch.nn.DataParallel,
}


def named(function):
    with (
        warnings.catch_warnings(),
        capture_events(),
        steady_state(iterations=0, measurements=1, clock=FakeClock(1)) as steady,
    ):
        return steady.measure(function, X).callable


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_models(way):
    names = [named(WAYS[way](kind(2, 2))) for kind in (Encoder, Decoder)]
    assert names == [f"{__name__}.Encoder", f"{__name__}.Decoder"]
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "wrapped",
    [
        step,
        torch.compile(step, backend="eager"),
        functools.partial(step),
        functools.partial(torch.compile(step, backend="eager")),
    ],
)
def test_functions(wrapped):
    assert named(wrapped) == f"{__name__}.step"


@pytest.mark.filterwarnings("ignore")
def test_scripted_functions_and_graphs():
    assert named(torch.jit.script(step)) == f"{__name__}.step"
    assert named(torch.fx.symbolic_trace(Encoder(2, 2))) == "Encoder"
