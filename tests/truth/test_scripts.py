"""
Seeded scripts of recompiles: which runs compile is drawn, and a back end that counts its calls says which did.

Each script draws functions, sizes, dtypes, grad mode, a counter of a module, the way of each run and what one of them serves;
20 runs are measured, then served as plain calls by keys of their shapes.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from jitwarmup import by_shape, steady_state, warmed
from jitwarmup.testing import FakeClock, capture_events

RUNS = 20
WARMUP = 3
SEEDS = 200


class Compiler:
    """The truth: a back end that counts how often it is asked."""

    def __init__(self):
        self.count = 0
        self.lock = threading.Lock()

    def __call__(self, graph, _inputs):
        with self.lock:
            self.count += 1
        return graph.forward


class Script:
    """One drawn service, and for each of its runs whether something was compiled in it."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.compiler = Compiler()
        torch._dynamo.reset()
        dynamic = {"backend": self.compiler, "dynamic": False}
        bodies = [lambda x: x.sin() + 1, lambda x: (x * 2).sum(), lambda x: torch.cat([x, x]) - 1]
        programs = self.draw.sample(bodies, self.draw.choice([1, 2]))
        self.programs = [torch.compile(body, **dynamic) for body in programs]
        self.sizes = self.draw.sample(range(2, 9), self.draw.choice([1, 2, 3]))
        self.dtypes = self.draw.sample([torch.float32, torch.float64], self.draw.choice([1, 1, 2]))
        self.grads = self.draw.sample([True, False], self.draw.choice([1, 1, 2]))
        self.rare = self.draw.choice([0.0, 0.1, 0.3])  # how often a run leaves what the first ones do
        self.pool = ThreadPoolExecutor(1) if self.draw.random() < 0.3 else None
        self.compiled = []

    def kind(self):
        """What one run is asked for: the first of each list, but now and then another."""

        def one_of(choices):
            return self.draw.choice(choices) if self.draw.random() < self.rare else choices[0]

        return one_of(self.programs), one_of(self.sizes), one_of(self.dtypes), one_of(self.grads)

    def work(self, program, size, dtype, grad):
        with torch.set_grad_enabled(grad):
            return program(torch.ones(size, dtype=dtype)).shape

    def serve(self):
        before, asked = self.compiler.count, self.kind()
        if self.pool is None:
            self.work(*asked)
        else:
            self.pool.submit(self.work, *asked).result()
        self.compiled.append(self.compiler.count > before)

    def close(self):
        if self.pool is not None:
            self.pool.shutdown()
        torch._dynamo.reset()


@pytest.fixture
def script(request):
    made = Script(request.param)
    with torch._dynamo.config.patch(recompile_limit=64):  # giving up is no compile; test_compiled.py is about that
        yield made
    made.close()


def check_measured(script):
    """Marks and truth are the same runs; a verdict of steady holds no unmarked work."""
    with capture_events(), steady_state(iterations=WARMUP, measurements=RUNS, clock=FakeClock(1_000_000)) as steady:
        report = steady.measure(lambda: script.serve())
    truth = script.compiled[1 + WARMUP :]
    assert [run.contaminated for run in report.measured] == truth
    assert len(truth) == RUNS
    for run, compiled in zip(report.runs, script.compiled, strict=True):
        assert any(work.kind.startswith("dynamo.") and work.charged for work in run.work) == compiled
    if any(truth):
        assert report.verdict.state != "steady"
        assert report.latency.n == RUNS - sum(truth)


def check_served(script):
    """No key is ready that was not warmed: a call whose shape was warmed under what it is served with compiles nothing."""
    program, grad = script.programs[0], script.grads[0]
    noted = []

    @warmed(iterations=1, key=by_shape)
    def serve(x):
        before = script.compiler.count
        value = script.work(program, x.shape[0], x.dtype, grad)
        noted.append(script.compiler.count > before)
        return value

    def inputs():
        return [torch.ones(size, dtype=dtype) for size in script.sizes for dtype in script.dtypes]

    with capture_events() as events:
        serve.warm_all(inputs())
        states = {key["key"]: key["state"] for key in serve.status()["keys"]}
        noted.clear()
        for x in [*inputs(), torch.ones(50), *inputs()]:
            serve(x)
    calls = [event for event in events if event["event"] == "jitwarmup.call"]
    assert [event["contaminated"] for event in calls] == noted
    new = len(inputs())
    ready = [state in ("warm", "steady") for state in states.values()]
    assert all(ready)
    assert noted == [False] * new + [True] + [False] * new


@pytest.mark.parametrize(
    "script", [pytest.param(seed, marks=[pytest.mark.slow] if seed > 2 else []) for seed in range(SEEDS)], indirect=True
)
def test_marks_are_the_truth(script):
    check_measured(script)
    check_served(script)
