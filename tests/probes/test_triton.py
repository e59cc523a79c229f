"""Triton's hooks, over fake modules of each generation; a real compile was seen once, see the report of the branch."""

import sys
from types import SimpleNamespace

import pytest

from jitwarmup.probes import triton as triton_probe
from jitwarmup.probes.run_table import RUNS
from jitwarmup.probes.triton import Triton


@pytest.fixture
def install(monkeypatch, module):
    """Put a triton into ``sys.modules``: a compile listener, an autotune listener as from 3.8 on, or neither."""

    def make(*, listener=False, autotune_listener=False, bench=False):
        for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "triton", module("triton"))
        knobs = module("triton.knobs")
        if listener:
            knobs.compilation = type("compilation_knobs", (), {"listener": None})()
        if autotune_listener:
            knobs.autotuning = type("autotuning_knobs", (), {"listener": None})()
        monkeypatch.setitem(sys.modules, "triton.knobs", knobs)
        tuner = type("Autotuner", (), {"_bench": lambda self, *args, config, **meta: (args, config)} if bench else {})
        monkeypatch.setitem(
            sys.modules, "triton.runtime.autotuner", module("triton.runtime.autotuner", Autotuner=tuner)
        )
        return SimpleNamespace(knobs=knobs, tuner=tuner)

    return make


def kernel():
    """Stands for a jitted function; only its name is told."""


def compiled(hook, *, cache_hit=False):
    times = SimpleNamespace(total=1_341_000)
    return hook(src=SimpleNamespace(fn=kernel), metadata={"hunter2": 1}, times=times, cache_hit=cache_hit)


def described(seen):
    return [(item.kind, item.count, item.duration_s, item.reason) for item in seen.work]


def test_from_3_4_on_the_listener_tells_compiles_and_hits(install, make_look):
    triton = install(listener=True, autotune_listener=True)
    look = make_look(Triton())
    assert look.watch.states()["triton"].reason is None
    listener = triton.knobs.compilation.listener
    assert described(look(compiled, listener)) == [("triton.compile", 1, 1.341, "kernel kernel")]
    assert described(look(compiled, listener, cache_hit=True)) == [("triton.cache_hit", 1, 1.341, "kernel kernel")]


def test_from_3_8_on_autotuning_is_told_with_its_seconds_unless_it_was_a_hit(install, make_look):
    triton = install(listener=True, autotune_listener=True)
    look = make_look(Triton())
    listener = triton.knobs.autotuning.listener
    assert described(look(listener, fn=kernel, key=(4711,), duration=2.5, cache_hit=False)) == [
        ("autotune", 1, 2.5, "kernel kernel")
    ]
    assert described(look(listener, fn=kernel, key=(4711,), duration=None, cache_hit=True)) == []


def test_before_3_8_each_configuration_that_is_tried_counts(install, make_look):
    triton = install(listener=True, bench=True)
    look = make_look(Triton())
    tuner = triton.tuner()
    tuner.base_fn = kernel

    def tune():
        return [tuner._bench(4711, config=config) for config in "abc"]

    assert described(look(tune)) == [("autotune", 3, None, "kernel kernel")]
    assert look.value == [((4711,), "a"), ((4711,), "b"), ((4711,), "c")]


def test_the_former_owner_of_a_slot_is_called_and_gets_it_back(install, make_look):
    triton = install(listener=True, bench=True)
    calls = []
    triton.knobs.compilation.listener = theirs = lambda **facts: calls.append(facts["cache_hit"])
    bench = triton.tuner._bench
    look = make_look(Triton())
    look(compiled, triton.knobs.compilation.listener)
    assert calls == [False]
    look.watch.disarm()
    assert triton.knobs.compilation.listener is theirs
    assert triton.tuner._bench is bench


def test_an_empty_slot_is_left_empty(install, make_look):
    triton = install(listener=True, autotune_listener=True)
    look = make_look(Triton())
    look.watch.disarm()
    assert vars(triton.knobs.compilation) == {}
    assert vars(triton.knobs.autotuning) == {}


def test_a_later_owner_who_chains_ours_keeps_the_slot_and_ours_falls_silent(install, make_look):
    triton = install(listener=True)
    first = make_look(Triton())
    ours = triton.knobs.compilation.listener
    triton.knobs.compilation.listener = theirs = lambda **facts: [ours(**facts)]
    first.watch.disarm()
    assert triton.knobs.compilation.listener is theirs
    again = make_look(Triton())
    assert described(again(compiled, triton.knobs.compilation.listener)) == [
        ("triton.compile", 1, 1.341, "kernel kernel")
    ]


def test_a_kernel_that_inductor_builds_is_left_to_its_record(install, make_look, monkeypatch, module):
    triton = install(listener=True)
    guards = module("torch._guards", CompileContext=SimpleNamespace(try_get=lambda: "a compile"))
    monkeypatch.setitem(sys.modules, "torch._guards", guards)
    look = make_look(Triton())
    assert described(look(compiled, triton.knobs.compilation.listener)) == []


def test_a_hook_never_breaks_a_launch(install, make_look, monkeypatch):
    triton = install(listener=True)

    def fail(*args, **kwargs):
        raise RuntimeError

    look = make_look(Triton())
    monkeypatch.setattr(type(RUNS), "push", fail)
    monkeypatch.setitem(sys.modules, "torch._guards", SimpleNamespace())  # not as known
    assert described(look(compiled, triton.knobs.compilation.listener)) == []


def test_the_name_of_something_that_is_no_function_is_not_told():
    assert triton_probe._kernel(SimpleNamespace(__name__="hunter2 !")) is None
    assert triton_probe._kernel(None) is None


def test_a_triton_without_any_known_hook_is_unavailable(install):
    install()
    assert Triton().arm().state == "unavailable"


def test_a_triton_without_an_autotune_hook_says_what_is_not_seen(install):
    install(listener=True)
    probe = Triton()
    assert probe.arm().reason.startswith("autotuning not seen")
    probe.disarm()


def test_without_triton_the_probe_is_dormant(monkeypatch):
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    assert Triton().arm().reason == "not loaded"
