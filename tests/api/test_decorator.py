"""What a warmed function is: it quacks, binds, pickles, copies and compiles as its function does."""

from __future__ import annotations

import abc
import asyncio
import copy
import functools
import gc
import inspect
import pickle
import threading
import typing
import weakref

import pytest

from jitwarmup import State, Warmed, steady_state, warmed


@warmed(iterations=1)
def of_module(x: int, /, y: int = 2, *args: str, z: bool = False, **kw: float) -> list[int]:
    """Its documentation."""
    return [x, y]


class Plain:
    def method(self, x):
        return (self, x)


class Model:
    """Something with warmed methods of every kind."""

    def __init__(self) -> None:
        self.runs = 0

    @warmed(iterations=1)
    def method(self, x=0):
        """Doc of a method."""
        self.runs += 1
        return (self, x)

    @warmed(iterations=1)
    async def coroutine(self, x=0):
        self.runs += 1
        return (self, x)

    @warmed(iterations=1)
    def generator(self, x=0):
        self.runs += 1
        yield (self, x)

    @warmed(iterations=1)
    async def async_generator(self, x=0):
        self.runs += 1
        yield (self, x)

    @warmed(iterations=1)
    @classmethod
    def of_class(cls, x=0):
        return (cls, x)

    @warmed(iterations=1)
    @staticmethod
    def static(x=0):
        return x

    @classmethod
    @warmed(iterations=1)
    def upside_down(cls, x=0):
        return (cls, x)


class Derived(Model):
    @warmed(iterations=1)
    def method(self, x=0):
        return super().method(x + 1)


def test_it_quacks_as_its_function() -> None:
    function = of_module.__wrapped__
    assert isinstance(of_module, Warmed)
    assert inspect.isfunction(function)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__code__", "__defaults__"):
        assert getattr(of_module, name) == getattr(function, name)
    assert of_module.__kwdefaults__ == {"z": False}
    assert inspect.signature(of_module) == inspect.signature(function)
    assert typing.get_type_hints(of_module) == typing.get_type_hints(function)
    assert inspect.unwrap(of_module) is function
    assert inspect.getsource(of_module) == inspect.getsource(function)
    assert callable(of_module)
    assert repr(of_module).startswith(f"<warmed {__name__}.of_module: ")


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("method", []),
        ("coroutine", [inspect.iscoroutinefunction, asyncio.iscoroutinefunction]),
        ("generator", [inspect.isgeneratorfunction]),
        ("async_generator", [inspect.isasyncgenfunction]),
    ],
)
def test_inspects_kind_tests_hold_bound_and_unbound(name, tests) -> None:
    every = [
        inspect.iscoroutinefunction,
        asyncio.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ]
    for function in (getattr(Model, name), getattr(Model(), name), functools.partial(getattr(Model(), name), 1)):
        assert [test for test in every if test(function)] == [test for test in every if test in tests]


def test_a_bound_one_looks_like_a_method() -> None:
    model = Model()
    assert inspect.signature(model.method) == inspect.signature(Plain().method).replace(
        parameters=[inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=0)]
    )
    assert model.method.__self__ is model
    assert model.method.__func__ is Model.method
    assert model.method.__wrapped__(3) == (model, 3)
    assert model.method.__doc__ == "Doc of a method."
    assert model.method.__name__ == "method"
    assert model.method == model.method
    assert model.method != Model().method
    assert model.method != model.generator
    assert len({model.method, model.method, Model().method}) == 2
    assert Model.method is Model.__dict__["method"]


def test_attributes_of_the_function_are_reachable_and_private_ones_are_not_made_up() -> None:
    def function(): ...

    function.tag = "mine"
    made = warmed(function)
    assert made.tag == "mine"
    function.later = 1
    assert made.later == 1
    with pytest.raises(AttributeError, match="no attribute '_nothing'"):
        made._nothing
    with pytest.raises(AttributeError):
        made.nothing


def test_a_functions_attributes_hide_none_of_ours() -> None:
    inner = warmed(lambda: "inner")

    @functools.wraps(inner)
    def outer():
        return "outer"

    outer.warm = outer.state = outer.measure = "not ours"
    made = warmed(iterations=0)(outer)
    assert made() == "outer"
    assert made.state is State.WARM
    assert made.warm().skipped is None
    assert inner.state is State.COLD


def test_warming_a_warmed_function_runs_the_inner_one_plainly() -> None:
    runs = []
    inner = warmed(lambda: runs.append(1))
    outer = warmed(iterations=1)(inner)
    outer()
    assert len(runs) == 3
    assert inner.state is State.COLD


@pytest.mark.parametrize(
    ("make", "name", "kind"),
    [
        (lambda: of_module, f"{__name__}.of_module", None),
        (lambda: functools.partial(of_module.__wrapped__, "secret"), f"{__name__}.of_module", None),
        (lambda: Plain().method, f"{__name__}.Plain.method", None),
        (lambda: Model().method, f"{__name__}.Model.method", None),
        (lambda: Model.of_class, f"{__name__}.Model.of_class", None),
        (lambda: Model.upside_down, f"{__name__}.Model.upside_down", None),
        (lambda: functools.partial(Model().coroutine, 1), f"{__name__}.Model.coroutine", inspect.iscoroutinefunction),
        (lambda: Model().async_generator, f"{__name__}.Model.async_generator", inspect.isasyncgenfunction),
        (CallableObject := type("CallableObject", (), {"__call__": lambda self: 1}), None, None),
        (lambda: len, "builtins.len", None),
        (lambda: [].append, "builtins.list.append", None),
        (lambda: dict.fromkeys, "builtins.dict.fromkeys", None),
    ],
)
def test_names_are_module_and_qualified_name_and_never_a_repr(make, name, kind) -> None:
    function = warmed(make())
    assert function.status()["callable"] == (name or f"{CallableObject.__module__}.CallableObject")
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    assert [each for each in kinds if each(function)] == ([kind] if kind else [])


def test_a_callable_object_with_an_async_call_has_the_kind_of_its_call() -> None:
    class Streams:
        async def __call__(self):
            yield 1

    class Awaits:
        async def __call__(self):
            return 1

    assert inspect.isasyncgenfunction(warmed(Streams()))
    assert inspect.iscoroutinefunction(warmed(Awaits()))
    assert asyncio.run(warmed(Awaits())()) == 1


def test_instances_are_part_of_the_key_and_bind_to_themselves() -> None:
    one, two = Model(), Model()
    assert one.method(5) == (one, 5)
    assert one.runs == 3
    assert one.method.ready
    assert not two.method.ready
    assert (one.method.state, two.method.state) == (State.WARM, State.COLD)
    two.method.warm(1)
    assert two.runs == 2
    assert Model.method(two, x=7) == (two, 7)
    assert two.runs == 3
    assert two.method.measure(1).latency.n == 20
    assert asyncio.run(one.coroutine(2)) == (one, 2)
    assert list(one.generator(3)) == [(one, 3)]


def test_class_and_static_methods_bind_to_class_and_to_nothing() -> None:
    assert Model.of_class(1) == (Model, 1)
    assert Model().of_class(1) == (Model, 1)
    assert Derived.of_class(1) == (Derived, 1)
    assert Model.static(2) == Model().static(2) == 2
    assert Model.upside_down(3) == (Model, 3)
    assert Derived().upside_down(3) == (Derived, 3)
    assert Model.of_class.state is Model.static.state is State.WARM
    assert inspect.signature(Model.of_class) == inspect.signature(Model.static)


def test_inheritance_and_super() -> None:
    derived = Derived()
    assert derived.method(1) == (derived, 2)
    assert derived.runs == 3
    assert Model.method.__get__(derived).state is State.COLD, "inside a run the base's method was a plain call"
    assert derived.generator is not None
    assert list(derived.generator()) == [(derived, 0)]


def test_an_abstract_method_stays_abstract() -> None:
    class Base(abc.ABC):
        @warmed
        @abc.abstractmethod
        def run(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Base()


def test_a_warmed_bound_method_kept_in_a_class_is_not_bound_again() -> None:
    plain = Plain()

    class Holder:
        plainly = plain.method
        held = warmed(iterations=0)(plain.method)
        twice = warmed(iterations=0)(warmed(iterations=0)(plain.method))
        bound = warmed(iterations=0)(Model().method)

    assert Holder().plainly(1) == Holder().held(1) == Holder().twice(1) == (plain, 1)
    assert Holder().bound(1)[1] == 1


def test_instances_are_not_kept_alive_and_a_new_one_at_their_address_is_cold() -> None:
    refs, states = [], []
    for _ in range(50):
        model = Model()
        states.append(model.method.state)
        model.method()
        refs.append(weakref.ref(model))
        del model
    gc.collect()
    assert all(ref() is None for ref in refs)
    assert states == [State.COLD] * 50
    Model().method.state  # looks, and sweeps
    assert len(Model.method._core.registry.entries) <= 1
    assert len(Model.method._core.registry.watching) <= 2


def test_many_instances_do_not_use_up_the_bound_on_keys() -> None:
    for _ in range(1100):
        assert Model().method.warm().skipped is None


def test_instances_with_odd_eq_or_no_hash_have_a_key_each_and_those_with_slots_one_for_their_class() -> None:
    class Slotted:
        __slots__ = ("runs",)

        def __init__(self):
            self.runs = 0

        @warmed(iterations=1)
        def method(self):
            self.runs += 1
            return self.runs

    class Odd(Model):
        def __eq__(self, other):
            raise RuntimeError("never ask me")

        def __bool__(self):
            raise RuntimeError("nor this")

        __hash__ = None

    class Same(Model):
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 1

    for kind in (Slotted, Odd, Same):
        one, two = kind(), kind()
        one.method()
        one.method()
        two.method()
        assert (one.runs, two.runs) == (4, 1 if kind is Slotted else 3)
        assert one.method.state is two.method.state is State.WARM
        report = steady_state_report(one.method)
        assert report.latency.n == 1


def steady_state_report(function):
    with steady_state(iterations=0, measurements=1) as steady:
        return steady.measure(function)


def travelled(thing):
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own bytes


def test_pickle_by_qualified_name() -> None:
    assert travelled(of_module) is of_module
    assert travelled(Model.method) is Model.method
    assert travelled(Model.of_class) == Model.of_class
    model = Model()
    model.method()
    other = travelled(model.method)
    assert other.__self__ is not model
    assert other(4) == (other.__self__, 4)
    assert travelled(model).method.state is State.COLD
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(warmed(lambda: None))


class WithAttribute:
    """Warms a method of its own in its constructor, as people do with foreign classes."""

    def __init__(self):
        self.runs = 0
        self.generate = warmed(iterations=1)(self._generate)
        self.callback = self.inner
        self.inner()

    def _generate(self):
        self.runs += 1
        return self

    @warmed(iterations=1)
    def inner(self):
        return self


def test_deepcopy_of_an_object_with_a_warmed_method_or_attribute_is_cold_and_bound_to_the_copy() -> None:
    one = WithAttribute()
    one.generate()
    two = copy.deepcopy(one)
    assert two.generate.state is State.COLD
    assert two.generate() is two
    assert (one.runs, two.runs) == (3, 6)
    assert one.generate() is one
    assert two.inner.state is State.COLD
    assert two.callback.__self__ is two
    assert two.inner() is two


def test_copies_of_a_warmed_function_are_cold_and_of_the_same_options() -> None:
    def function():
        runs.append(1)

    runs = []
    one = warmed(iterations=2)(function)
    one()
    for two in (copy.copy(one), copy.deepcopy(one)):
        runs.clear()
        assert two.state is State.COLD
        two()
        assert len(runs) == 4
    assert one.state is State.WARM
    bound = Model().method
    assert copy.copy(bound) == bound
    assert copy.copy(bound.__self__).method.state is State.COLD


def test_redefinition_is_a_new_cold_one() -> None:
    def define():
        @warmed(iterations=0)
        def function(): ...

        return function

    one = define()
    one()
    assert define().state is State.COLD


def test_a_reset_forgets() -> None:
    runs = []
    function = warmed(iterations=0)(lambda: runs.append(1))
    function()
    assert function.ready
    function.reset()
    assert not function.ready
    function()
    assert len(runs) == 4


def test_ready_latches_and_speaks_of_the_keys_asked_for_or_the_first() -> None:
    function = warmed(iterations=0, key=lambda x: x)(lambda x: 1 / x)
    assert not function.ready
    assert function.state is State.COLD
    function(1)
    assert function.ready
    other = warmed(iterations=1, key=lambda x: x)(lambda x: 1 / x)
    with pytest.raises(ZeroDivisionError):
        other.warm(0)
    other(1)
    assert not other.ready, "the key that was asked for is not warm"
    other.warm(2)
    assert not other.ready
    assert other.state is State.COLD
    assert function.ready, "latched"
    with pytest.raises(ZeroDivisionError):
        function(0)
    assert function.ready


def test_the_ledger_does_not_keep_the_class_of_a_class_method_alive() -> None:
    def make():
        class Local:
            @warmed(iterations=0)
            @classmethod
            def method(cls):
                return cls

        Local.method()
        return weakref.ref(Local)

    ref = make()
    gc.collect()
    assert ref() is None


@pytest.fixture
def eager():
    torch = pytest.importorskip("torch")
    torch._dynamo.reset()
    yield functools.partial(torch.compile, fullgraph=True, backend="eager")
    torch._dynamo.reset()


class Net:
    def __init__(self):
        self.scale = 2.0

    @warmed(iterations=1)
    def forward(self, x):
        return x * self.scale

    @warmed(iterations=1)
    @staticmethod
    def static(x):
        return x + 1


@pytest.mark.parametrize("emit", ["calls", "summary", "off"])
@pytest.mark.parametrize("warm_before", [False, True])
def test_torch_compile_traces_through_a_warmed_function_as_through_a_plain_one(
    eager, warm_before, emit, events
) -> None:
    import torch

    function = warmed(iterations=1, emit=emit)(lambda x: torch.sin(x) + 1)
    x = torch.ones(3)
    if warm_before:
        function(x)
    events.clear()
    assert torch.equal(eager(lambda x: function(x) * 2)(x), (torch.sin(x) + 1) * 2)
    assert torch.equal(eager(function)(x), torch.sin(x) + 1)
    assert list(events) == []
    assert function.state is (State.WARM if warm_before else State.COLD)


def test_torch_compile_traces_through_warmed_methods(eager) -> None:
    import torch

    net, x = Net(), torch.ones(3)
    assert torch.equal(eager(lambda x: net.forward(x) + Net.static(x))(x), torch.full((3,), 4.0))
    net.forward(x)
    assert torch.equal(eager(net.forward)(x), torch.full((3,), 2.0))


def test_a_warmed_compiled_function_compiles_in_its_validation_run_and_never_again(eager) -> None:
    import torch
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    function = warmed(iterations=2)(torch.compile(lambda x: x * 2, backend=counter, fullgraph=True))
    assert torch.equal(function(torch.ones(2)), torch.full((2,), 2.0))
    assert counter.frame_count == 1


def test_torch_export_traces_a_module_with_a_warmed_forward() -> None:
    torch = pytest.importorskip("torch")

    class Module(torch.nn.Module):
        @warmed(iterations=1)
        def forward(self, x):
            return x + 1

    module = Module()
    exported = torch.export.export(module, (torch.ones(2),))
    assert torch.equal(exported.module()(torch.ones(2)), torch.full((2,), 2.0))
    assert torch.equal(module(torch.ones(2)), torch.full((2,), 2.0))
    assert module.forward.state is State.WARM


def test_during_cuda_graph_capture_a_call_is_the_plain_call(monkeypatch, events) -> None:
    torch = pytest.importorskip("torch")
    runs = []
    function = warmed(lambda: runs.append(1))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    function()
    asyncio.run(warmed(coroutine)())
    assert len(runs) == 1
    assert list(events) == []


async def coroutine(): ...


def test_one_warmed_function_is_shared_by_threads_that_bind_it() -> None:
    model = Model()
    threads = [threading.Thread(target=model.method) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.runs == 2 + 8
