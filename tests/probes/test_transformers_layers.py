"""KV-cache layers, over fake classes that have the shape of those of transformers 5.23."""

import sys
from abc import ABC, abstractmethod
from types import SimpleNamespace

import pytest

from jitwarmup.probes.run_table import RUNS
from jitwarmup.probes.transformers import MODULE, Transformers


@pytest.fixture
def cache_utils(monkeypatch, module, torch):
    utils = module(MODULE)

    def cls(body):
        body.__module__ = MODULE
        setattr(utils, body.__name__, body)
        return body

    @cls
    class CacheLayerMixin(ABC):
        @abstractmethod
        def lazy_initialization(self, keys): ...

    @cls
    class StaticLayer(CacheLayerMixin):
        def lazy_initialization(self, keys):
            self.keys = SimpleNamespace(shape=(1, 2, 15, 8))
            return "done"

    @cls
    class StaticSlidingWindowLayer(StaticLayer):
        def lazy_initialization(self, keys):
            return super().lazy_initialization(keys)

    @cls
    class DynamicLayer(CacheLayerMixin):
        def lazy_initialization(self, keys):
            self.keys = SimpleNamespace(shape=(0,))

    utils.Other = torch.nn.Linear
    monkeypatch.setitem(sys.modules, MODULE, utils)
    return utils


def described(seen):
    return [(item.kind, item.count, item.reason) for item in seen.work if item.kind.startswith("kv")]


def test_each_layer_that_allocates_is_told_with_its_class_and_shape(cache_utils, make_look):
    look = make_look(Transformers())

    def generate():
        cache_utils.DynamicLayer().lazy_initialization("keys")
        return [cache_utils.StaticLayer().lazy_initialization("keys") for _ in range(2)]

    seen = look(generate)
    assert described(seen) == [
        ("kv_cache.allocate", 1, "DynamicLayer"),
        ("kv_cache.allocate", 2, "StaticLayer (1, 2, 15, 8)"),
    ]
    assert look.value == ["done", "done"]
    assert described(look(generate)) == described(seen)  # it comes back with every cache


def test_a_subclass_that_calls_its_parents_method_counts_once(cache_utils, make_look):
    look = make_look(Transformers())
    seen = look(cache_utils.StaticSlidingWindowLayer().lazy_initialization, "keys")
    assert described(seen) == [("kv_cache.allocate", 1, "StaticSlidingWindowLayer (1, 2, 15, 8)")]


def test_a_layer_class_of_the_users_counts_as_well(cache_utils, make_look):
    class Mine(cache_utils.StaticLayer):
        def lazy_initialization(self, keys):
            return super().lazy_initialization(keys)

    look = make_look(Transformers())
    assert described(look(Mine().lazy_initialization, "keys")) == [("kv_cache.allocate", 1, "Mine (1, 2, 15, 8)")]


def test_while_torch_traces_the_wrap_is_the_method_itself(cache_utils, make_look, torch, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    look = make_look(Transformers())
    assert described(look(cache_utils.StaticLayer().lazy_initialization, "keys")) == []
    assert look.value == "done"


def test_compiled_code_passes_the_hook_without_a_graph_break(cache_utils, make_look, torch):
    class Mine(cache_utils.CacheLayerMixin):
        def lazy_initialization(self, keys):
            return keys + 1

    Mine.__module__ = MODULE
    cache_utils.Mine = Mine
    look = make_look(Transformers())
    compiled = torch.compile(lambda keys: Mine().lazy_initialization(keys), backend="eager", fullgraph=True)
    assert described(look(compiled, torch.ones(1))) == []
    assert look.value == torch.full((1,), 2.0)
    assert described(look(Mine().lazy_initialization, torch.ones(1))) == [("kv_cache.allocate", 1, "Mine")]


def test_the_methods_are_put_back(cache_utils, make_look):
    before = cache_utils.StaticLayer.lazy_initialization
    probe = Transformers()
    assert probe.arm().state == "armed"
    probe.arm()
    assert cache_utils.StaticLayer.lazy_initialization.__wrapped__ is before
    probe.disarm()
    probe.disarm()
    assert cache_utils.StaticLayer.lazy_initialization is before


def test_a_method_that_somebody_replaced_meanwhile_is_left_alone(cache_utils):
    probe = Transformers()
    probe.arm()
    cache_utils.StaticLayer.lazy_initialization = theirs = lambda self, keys: None
    probe.disarm()
    assert cache_utils.StaticLayer.lazy_initialization is theirs


def test_a_hook_never_breaks_generate(cache_utils, make_look, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError

    look = make_look(Transformers())
    monkeypatch.setattr(type(RUNS), "push", fail)
    assert described(look(cache_utils.StaticLayer().lazy_initialization, "keys")) == []
    assert look.value == "done"


def test_a_transformers_without_such_layers_is_unavailable(cache_utils):
    for name in [name for name in vars(cache_utils) if name.endswith(("Layer", "Mixin"))]:
        delattr(cache_utils, name)
    assert Transformers().arm().state == "unavailable"


def test_without_transformers_the_probe_is_dormant(monkeypatch):
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    assert Transformers().arm().reason == "not loaded"
