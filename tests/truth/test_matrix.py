"""Each kind of one-time work, on each way to it, in each spelling: marked once, on the run that paid, with its reason."""

import asyncio
import importlib
import itertools
import json
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import pytest
import torch

from jitwarmup import Report, steady_state, warmed
from jitwarmup.cli import main
from jitwarmup.testing import FakeClock, capture_events

NUMBERS = itertools.count()
PAYING = {
    0,
    4,
    6,
}  # which runs pay, from the validation on; two warm-up runs, so that measured runs 1 and 3 are among them
MARKED = [False, True, False, True, False]


# ------------------------------------------------------------------ the kinds: ``pieces`` to be paid, one after another


def written(body):
    """A function of a code object of its own, which Dynamo has not met."""
    made = {"torch": torch}
    exec(f"def written_{next(NUMBERS)}(x):\n    return {body}", made)  # noqa: S102 - a new code object is what is wanted
    return next(value for name, value in made.items() if name.startswith("written"))


def captures(**_):
    programs = [torch.compile(written("x.sin() + 1"), backend="eager", dynamic=False) for _ in range(3)]
    return [lambda program=program: program(torch.ones(3)) for program in programs]


def recompiles(**_):
    program = torch.compile(written("x.cos() + 1"), backend="eager", dynamic=False)
    program(torch.ones(9))
    return [lambda size=size: program(torch.ones(size)) for size in (2, 3, 4)]


def late_backwards(**_):
    """Another back end's compile: AOTAutograd makes the backward when it is first asked for."""
    results = []
    for _ in range(3):
        program = torch.compile(written("(x.sin() * x.exp()).sum()"), backend="aot_eager", dynamic=False)
        results.append(program(torch.ones(3, requires_grad=True)))
    return [result.backward for result in results]


def imports(*, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    names = [f"jitwarmup_once_{next(NUMBERS)}" for _ in range(3)]
    for name in names:
        (tmp_path / f"{name}.py").write_text("import time; time.sleep(0.002)")
    importlib.invalidate_caches()
    return [lambda name=name: importlib.import_module(name) for name in names]


def caches(**_):
    from transformers.cache_utils import DynamicLayer

    keys = torch.ones(1, 2, 3, 4)
    return [lambda layer=layer: layer.update(keys, keys) for layer in (DynamicLayer(), DynamicLayer(), DynamicLayer())]


def autotunings(*, monkeypatch, **_):
    """Triton is not to be had without a GPU: what it tells its listener after each autotuning."""
    knobs = sys.modules.get("triton.knobs") or ModuleType("triton.knobs")
    if not hasattr(knobs, "autotuning"):
        knobs.compilation = SimpleNamespace(listener=lambda **_: None)
        knobs.autotuning = SimpleNamespace(listener=lambda **_: None)
        monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
        monkeypatch.setitem(sys.modules, "triton.knobs", knobs)
    kernel = SimpleNamespace(__name__="matmul")
    return [lambda: knobs.autotuning.listener(fn=kernel, duration=0.001, cache_hit=False)] * 3


def recordings(**_):
    """A CUDA graph's recording, as torch announces it to its compile callbacks."""
    from torch._dynamo.callback import CallbackTrigger, callback_handler

    def record(name):
        with callback_handler.install_callbacks(CallbackTrigger.CUDAGRAPH_RECORDING, name):
            pass

    names = [f"{next(NUMBERS)}/0" for _ in range(3)]
    return [lambda name=name: record(name) for name in names]


KINDS = {
    "dynamo.capture": (captures, "function written_"),
    "dynamo.recompile": (recompiles, "size of x changed at dimension 0"),
    "aot.backward": (late_backwards, None),
    "import": (imports, "jitwarmup_once_"),
    "kv_cache.allocate": (caches, "DynamicLayer"),
    "autotune": (autotunings, "kernel matmul"),
    "cudagraph.record": (recordings, "compiled graph"),
}


# ------------------------------------------------------------------ the ways


def by_executor(work):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def by_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_queue(work):
    asked, answered = queue.Queue(), queue.Queue()
    threading.Thread(target=lambda: answered.put(asked.get()()), daemon=True).start()
    asked.put(work)
    answered.get(timeout=60)


def by_streamer(work):
    tokens = queue.Queue()
    threading.Thread(target=lambda: (tokens.put("a"), work(), tokens.put(None))).start()
    assert list(iter(lambda: tokens.get(timeout=60), None)) == ["a"]


def by_run_in_executor(work):
    async def serve():
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(serve())


WAYS = {
    "inline": lambda work: work(),
    "executor": by_executor,
    "thread": by_thread,
    "queue": by_queue,
    "streamer": by_streamer,
    "to_thread": lambda work: asyncio.run(asyncio.to_thread(work)),
    "run_in_executor": by_run_in_executor,
    "nested": lambda work: warmed(iterations=0)(work)(),
}


# ------------------------------------------------------------------ the spellings


def function_of(way, pieces, paying):
    """Each run takes the way; those that pay do the next piece on it, once."""
    runs, left = itertools.count(), list(pieces)

    def serve():
        todo = [left.pop(0)] if next(runs) in paying and left else []
        way(lambda: (todo.pop()(), None)[1] if todo else None)

    return serve


def called(serve, **_):
    function = warmed(iterations=2)(serve)
    with capture_events() as events:
        for _ in MARKED:
            function()
    calls = [event for event in events if event["event"] == "jitwarmup.call" and "serve" in event["callable"]]
    noted = [event["contaminated"] for event in calls]
    return noted, None


def measured(serve, **_):
    with capture_events(), steady_state(iterations=2, measurements=5, clock=FakeClock(1_000_000)) as steady:
        report = steady.measure(serve)
    return [run.contaminated for run in report.measured], report.measured


def with_the_fixture(serve, *, steady, **_):
    with capture_events():
        report = steady(serve)
    return [run.contaminated for run in report.measured], report.measured


def by_command(serve, *, capsys, monkeypatch, **_):
    module = ModuleType("jitwarmup_measured")
    module.serve = serve
    monkeypatch.setitem(sys.modules, "jitwarmup_measured", module)
    capsys.readouterr()
    assert main(["measure", "jitwarmup_measured:serve", "--iterations", "2", "--measurements", "5", "--json"]) == 0
    report = Report.from_dict(json.loads(capsys.readouterr().out)["reports"][0])
    return [run.contaminated for run in report.measured], report.measured


SPELLINGS = {"call": called, "measure": measured, "fixture": with_the_fixture, "command": by_command}


pytestmark = pytest.mark.usefixtures("fresh_programs")


@pytest.fixture
def tools(steady, capsys, monkeypatch, tmp_path):
    return {"steady": steady, "capsys": capsys, "monkeypatch": monkeypatch, "tmp_path": tmp_path}


def pieces_of(kind, tools):
    return KINDS[kind][0](tmp_path=tools["tmp_path"], monkeypatch=tools["monkeypatch"])


def check_paid(kind, run):
    """Once, by the run, with its reason."""
    paid = [work for work in run.work if work.kind == kind and work.charged]
    assert [(work.count, work.recurrence) for work in paid] == [(1, "one_time")]
    reason = KINDS[kind][1]
    assert reason is None or reason in paid[0].reason


def check(kind, way, spelling, tools):
    noted, runs = SPELLINGS[spelling](function_of(WAYS[way], pieces_of(kind, tools), PAYING), **tools)
    assert noted == MARKED
    for run in [run for run in runs or () if run.contaminated]:
        check_paid(kind, run)


def check_block(kind, way, tools):
    for paying, wanted in (({0, 3}, True), ({0}, False)):
        serve = function_of(WAYS[way], pieces_of(kind, tools), paying)
        with capture_events(), steady_state(serve, iterations=2) as steady:
            serve()
        assert steady.block.contaminated == wanted
        if wanted:
            check_paid(kind, steady.block)


CELLS = [(kind, way, spelling) for kind in KINDS for way in WAYS for spelling in (*SPELLINGS, "block")]
CELLS.remove(("kv_cache.allocate", "nested", "block"))  # one run of its own tells nothing of a cache
CONTROLS = [(way, spelling) for way in WAYS for spelling in SPELLINGS]


def mostly_slow(cells, step):
    """One of so many in the default suite, each kind, way and spelling among them; the others where time is given."""
    return [pytest.param(*cell, marks=[pytest.mark.slow] if at % step else []) for at, cell in enumerate(cells)]


@pytest.mark.jitwarmup(iterations=2, measurements=5)
@pytest.mark.parametrize(("kind", "way", "spelling"), mostly_slow(CELLS, 13))
def test_work_is_marked_once_on_the_run_that_paid(kind, way, spelling, tools):
    check_block(kind, way, tools) if spelling == "block" else check(kind, way, spelling, tools)


@pytest.mark.jitwarmup(iterations=2, measurements=5)
@pytest.mark.parametrize(("way", "spelling"), mostly_slow(CONTROLS, 5))
def test_nothing_is_marked_where_nothing_was_paid(way, spelling, tools):
    noted, _ = SPELLINGS[spelling](function_of(WAYS[way], [], set()), **tools)
    assert noted == [False] * len(MARKED)
