"""What the tests of the probes share: a watch that lets go afterwards, torch made fresh, a child that starts clean."""

import json
import subprocess
import sys
import textwrap
from collections import Counter, deque
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

from jitwarmup.probes.probe_set import ProbeSet
from jitwarmup.probes.run_table import RUNS


class Looker:
    """Runs functions under a watch, as the engine's window does, and keeps what was seen of each."""

    def __init__(self, watch):
        self.watch = watch
        self.seen = []
        self.value = None

    def __call__(self, function, *args, **kwargs):
        token = self.watch.open()
        try:
            self.value = function(*args, **kwargs)
        finally:
            self.seen.append(self.watch.close(token))
        return self.seen[-1]


@dataclass
class Record:
    """A compilation record with the fields that torch 2.13 fills; tests change what they need."""

    compile_id: str = "0/0"
    co_name: str | None = "forward"
    start_time_us: int | None = None
    end_time_us: int | None = None
    dynamo_cumulative_compile_time_us: int | None = 20_000
    inductor_cumulative_compile_time_us: int | None = None
    backward_cumulative_compile_time_us: int | None = None
    triton_compile_time_us: int | None = None
    triton_kernel_compile_times_us: str | None = None
    compile_time_autotune_time_us: int | None = None
    runtime_triton_autotune_time_us: int | None = None
    is_forward: bool | None = True
    is_runtime: bool | None = False
    fail_type: str | None = None
    fail_reason: str | None = None
    recompile_reason: str | None = None


class Handler:
    """Torch's callback handler, as far as we use it."""

    def __init__(self):
        self.start_callbacks, self.end_callbacks = [], []

    def register_start_callback(self, callback):
        self.start_callbacks.append(callback)

    def register_end_callback(self, callback):
        self.end_callbacks.append(callback)


def fake_module(name, **content):
    module = ModuleType(name)
    vars(module).update(content)
    return module


@dataclass
class FakeDynamo:
    """``torch._dynamo`` as the probes see it through ``sys.modules``."""

    records: deque = field(default_factory=lambda: deque(maxlen=64))
    counters: dict = field(default_factory=lambda: {"graph_break": Counter(), "inductor": Counter()})
    phases: dict = field(default_factory=dict)
    handler: Handler = field(default_factory=Handler)

    def install(self, monkeypatch):
        self.utils = fake_module(
            "torch._dynamo.utils",
            _compilation_metrics=self.records,
            counters=self.counters,
            compilation_time_metrics=self.phases,
            CompilationMetrics=Record,
        )
        self.utils.get_compilation_metrics = lambda: list(self.utils._compilation_metrics)
        callback = fake_module("torch._dynamo.callback", callback_handler=self.handler, CallbackTrigger=object)
        monkeypatch.setitem(sys.modules, "torch._dynamo.utils", self.utils)
        monkeypatch.setitem(sys.modules, "torch._dynamo.callback", callback)
        return self

    def start(self, compile_id="0/0", trigger="DYNAMO"):
        self._call(self.handler.start_callbacks, compile_id, trigger)

    def end(self, compile_id="0/0", trigger="DYNAMO"):
        self._call(self.handler.end_callbacks, compile_id, trigger)

    def _call(self, callbacks, compile_id, trigger):
        arguments = SimpleNamespace(callback_trigger=SimpleNamespace(name=trigger), compile_id=compile_id)
        for callback in list(callbacks):
            callback(arguments)


@pytest.fixture
def record():
    return Record


@pytest.fixture
def module():
    return fake_module


@pytest.fixture
def fake_dynamo(monkeypatch):
    """A fake ``torch._dynamo`` in ``sys.modules``; the real one, if loaded, is back afterwards."""
    return FakeDynamo().install(monkeypatch)


@pytest.fixture
def look():
    """Run a function under a watch with all probes; ``look.watch`` is that watch."""
    watch = ProbeSet()
    watch.arm()
    yield Looker(watch)
    watch.disarm()


@pytest.fixture
def make_look():
    watches = []

    def make(*probes):
        watches.append(ProbeSet(probes or None))
        watches[-1].arm()
        return Looker(watches[-1])

    yield make
    for watch in watches:
        watch.disarm()


@pytest.fixture
def torch():
    """Torch, with ``torch._dynamo`` reset before and after."""
    import torch
    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.clear_compilation_metrics()
    yield torch
    torch._dynamo.reset()
    torch._dynamo.utils.clear_compilation_metrics()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """No test leaves a run open, a compile open, or a probe armed."""
    yield
    assert not RUNS.live
    assert not RUNS.open
    assert not RUNS.held


@pytest.fixture
def child():
    """Run a script in a fresh interpreter; it prints one JSON document, which is returned."""

    def run(script, **environment):
        import os

        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **environment},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def kinds():
    """The kinds of own work in a Seen that tell of compilers; ambient work and details of the process left out."""
    beside = ("import", "dlopen", "gc.", "page_fault.", "compiler.subprocess")

    def of(seen, scope="own"):
        return [work.kind for work in seen.work if work.scope == scope and not work.kind.startswith(beside)]

    return of
