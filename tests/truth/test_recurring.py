"""A cost that comes back on every run is known to blocks, to single runs and to `time_generate`, and marks none of them."""

import importlib
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from jitwarmup import OneTimeWork, State, steady_state, warmed
from jitwarmup.integrations.transformers import time_generate, warmed_generation
from jitwarmup.records.protocols import ArmState
from jitwarmup.testing import FakeClock, capture_events

PROMPT = torch.ones(1, 4, dtype=torch.long)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    small = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "eos_token_id": None, "pad_token_id": 0}
    return LlamaForCausalLM(LlamaConfig(**small, **heads)).eval()


@pytest.fixture
def answer(model):
    return lambda: model.generate(PROMPT, max_new_tokens=3, do_sample=False)


def marked(run):
    return run.contaminated, sorted({(work.kind, work.recurrence) for work in run.work if work.recurrence != "ambient"})


ITS_CACHE = (False, [("kv_cache.allocate", "recurring")])


class Opened:
    """A probe of the user's: what ``opened`` counts is paid anew."""

    name = "files"
    opened = 0

    def arm(self):
        return ArmState("armed")

    def disarm(self):
        pass

    def snapshot(self):
        return self.opened

    def delta(self, before, after):
        return [OneTimeWork(kind="file.open", count=after - before)] if after > before else []


@pytest.mark.parametrize("iterations", [0, 1, 2, 5])
def test_a_block_knows_what_the_runs_before_it_paid(answer, iterations):
    with capture_events(), steady_state(answer, iterations=iterations) as steady:
        answer()
    assert marked(steady.block) == ITS_CACHE
    assert not any(reason.kind == "one_time_work" for reason in steady.reports[-1].verdict.reasons)


@pytest.mark.parametrize("times", [1, 3])
def test_the_body_of_a_block_may_do_it_more_often(answer, times):
    with capture_events(), steady_state(answer, iterations=2) as steady:
        for _ in range(times):
            answer()
    assert marked(steady.block) == ITS_CACHE


def test_inline_code_that_generates(answer):
    with capture_events() as events, steady_state() as steady:
        answer()
    assert marked(steady.block) == ITS_CACHE
    assert [event["contaminated"] for event in events if event["event"] == "jitwarmup.block.completed"] == [False]


def test_a_warmed_call_in_a_block_cold_and_warm(model):
    generate = warmed_generation(model.generate, iterations=2, audit=False)
    for _ in range(2):
        with capture_events(), steady_state() as outer, steady_state() as steady:
            generate(PROMPT, max_new_tokens=3, do_sample=False)
        assert marked(steady.block) == marked(outer.block) == ITS_CACHE


def test_time_generate(model):
    with capture_events():
        time_generate(model, PROMPT, warmup=True, max_new_tokens=3, do_sample=False)
        runs = [time_generate(model, PROMPT, max_new_tokens=3, do_sample=False).run for _ in range(2)]
    assert [marked(run) for run in runs] == [ITS_CACHE] * 2


@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_a_measurement_of_one_run(answer, iterations):
    with capture_events(), steady_state(iterations=iterations, measurements=1) as steady:
        report = steady.measure(answer)
    assert marked(report.measured[0]) == ITS_CACHE
    assert report.verdict.state == "undecided"  # one run is too few, whatever it paid


@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_a_plain_call(answer, iterations):
    served = warmed(iterations=iterations)(answer)
    with capture_events():
        served()
    assert served.state is State.WARM


def test_a_cache_that_is_kept_is_one_time_work_in_a_later_block(model):
    """The runs of the key say otherwise: they found the cache made."""
    from transformers import DynamicCache

    caches = [DynamicCache(config=model.config)]

    def step():
        model(PROMPT, past_key_values=caches[-1])

    served = warmed(iterations=3)(step)
    with capture_events():
        served()
        served()
        caches.append(DynamicCache(config=model.config))
        with steady_state() as steady:
            served()
    assert marked(steady.block) == (True, [("kv_cache.allocate", "one_time")])


def test_a_cost_that_only_a_probe_of_the_users_sees():
    probe = Opened()

    def serve():
        probe.opened += 1

    with capture_events(), steady_state(serve, iterations=2, probes=[probe], clock=FakeClock(1_000)) as steady:
        serve()
    assert marked(steady.block) == (False, [("file.open", "recurring")])
    with capture_events(), steady_state(probes=[probe]) as steady:
        serve()
    assert marked(steady.block) == (True, [("file.open", "one_time")])


@pytest.mark.parametrize("inside", [False, True])
def test_what_is_new_in_a_block_marks_it_all_the_same(answer, inside):
    program = torch.compile(lambda x: x + 1, backend="eager", dynamic=False)
    program(torch.ones(2))

    def both(size=2):
        answer()
        return program(torch.ones(size))

    served = warmed(iterations=2)(both) if inside else both
    with capture_events(), steady_state(both, iterations=2) as steady:
        served(3 if not inside else 2)
        program(torch.ones(4))
    contaminated, works = marked(steady.block)
    assert contaminated
    assert ("dynamo.recompile", "one_time") in works
    assert ("kv_cache.allocate", "recurring") in works
    torch._dynamo.reset()


def test_a_module_of_another_name_is_new_in_each_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    names = [f"jitwarmup_lazy_{n}" for n in range(12)]
    for name in names:
        (tmp_path / f"{name}.py").touch()
    left = iter(names)
    served = warmed(iterations=2)(lambda: importlib.import_module(next(left)) and None)
    with capture_events() as events:
        for _ in range(4):
            served()
    assert [event["contaminated"] for event in events if event["event"] == "jitwarmup.call"] == [True] * 4
    for name in names:
        sys.modules.pop(name, None)
