"""Real probes, real torch; backend="eager" compiles in milliseconds."""

import itertools
import threading

import pytest
import torch

from jitwarmup.probes import probe_set_of

COUNTER = itertools.count()


@pytest.fixture(autouse=True)
def _quiet(events):
    """Every test captures events."""


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    probe_set_of(None).disarm()  # leave no hook to the tests of the probes


class Compiled:
    """A compiled function of its own code object, so that torch's limit starts anew; counts attempts to compile."""

    def __init__(self, backend="eager", body="return x * 2 + 1") -> None:
        space: dict[str, object] = {"torch": torch}
        name = f"body_{next(COUNTER)}"
        exec(compile(f"def {name}(x):\n    {body}", f"<{name}>", "exec"), space)  # noqa: S102 - a code object of its own
        self.graphs = 0
        self._lock = threading.Lock()
        self.call = torch.compile(space[name], backend=self._backend, dynamic=False)

    def _backend(self, module, inputs):
        with self._lock:
            self.graphs += 1
        return module.forward


@pytest.fixture
def compiled():
    return Compiled
