"""A Warmed quacks as its function to everything inspect asks; its name is never a repr."""

import copy
import functools
import inspect
import pickle

import pytest

from jitwarmup import warmed
from jitwarmup.engine.callables import CallableKind, innermost, kind_of, name_of, wrapper_attributes
from jitwarmup.testing import capture_events


def plain(x: int, /, y: str = "a", *, z: float = 1.0) -> str:
    """What it does."""
    return f"{x}{y}{z}"


async def coroutine(x: int) -> int:
    return x


def generator(x):
    yield x


async def async_generator(x):
    yield x


class Callable_:
    """A callable object of each kind is made from it."""

    def __call__(self, x):
        return x


class AsyncCallable:
    async def __call__(self, x):
        return x


class Methods:
    @warmed(iterations=0)
    def plain(self, x: int, y: int = 2) -> int:
        """A method."""
        return x + y

    @warmed(iterations=0)
    async def coroutine(self, x):
        return x

    @warmed(iterations=0)
    def generator(self, x):
        yield x

    @warmed(iterations=0)
    async def async_generator(self, x):
        yield x

    @warmed(iterations=0)
    @classmethod
    def on_class(cls, x):
        return cls, x

    @warmed(iterations=0)
    @staticmethod
    def on_none(x):
        return x

    def bare(self, x):
        return x


KINDS = {
    plain: CallableKind.FUNCTION,
    coroutine: CallableKind.COROUTINE,
    generator: CallableKind.GENERATOR,
    async_generator: CallableKind.ASYNC_GENERATOR,
}
QUESTIONS = {
    CallableKind.FUNCTION: None,
    CallableKind.COROUTINE: inspect.iscoroutinefunction,
    CallableKind.GENERATOR: inspect.isgeneratorfunction,
    CallableKind.ASYNC_GENERATOR: inspect.isasyncgenfunction,
}
WRAPPINGS = {
    "bare": lambda function: function,
    "partial": lambda function: functools.partial(function, 1),
    "partial of partial": lambda function: functools.partial(functools.partial(function), 1),
    "static method": staticmethod,
    "class method": classmethod,
    "method": lambda function: function.__get__(object()),
    "wraps": lambda function: functools.wraps(function)(functools.partial(function)),
}


def answers(thing):
    return {kind: bool(asks and asks(thing)) for kind, asks in QUESTIONS.items()}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("function", KINDS)
def test_the_kind_is_what_the_function_was_declared_as(function, wrap):
    assert kind_of(wrap(function)) is KINDS[function]


def test_the_kind_of_a_callable_object_is_that_of_its_call():
    assert kind_of(Callable_()) is CallableKind.FUNCTION
    assert kind_of(AsyncCallable()) is CallableKind.COROUTINE
    assert kind_of(len) is kind_of(dict) is CallableKind.FUNCTION
    assert innermost(3) == 3
    assert innermost(functools.partialmethod(plain)) is plain


@pytest.mark.parametrize("function", KINDS)
def test_inspect_answers_for_a_warmed_function_as_for_its_function(function):
    decorated = warmed()(function)
    assert answers(decorated) == answers(function)
    assert sum(answers(decorated).values()) == (KINDS[function] is not CallableKind.FUNCTION)


@pytest.mark.parametrize("name", ["plain", "coroutine", "generator", "async_generator"])
@pytest.mark.parametrize("owner", [Methods(), Methods], ids=["bound", "unbound"])
def test_inspect_answers_for_a_warmed_method_as_for_its_method(owner, name):
    method = getattr(owner, name)
    assert answers(method) == answers(globals()[name])
    assert method.__name__ == name
    assert method.__qualname__ == f"Methods.{name}"


def test_the_signature_holds():
    decorated = warmed()(plain)
    assert inspect.signature(decorated) == inspect.signature(plain)
    assert (decorated.__name__, decorated.__qualname__, decorated.__module__) == ("plain", "plain", __name__)
    assert inspect.getdoc(decorated) == "What it does."
    assert decorated.__annotations__ == plain.__annotations__
    assert (decorated.__defaults__, decorated.__kwdefaults__) == (("a",), {"z": 1.0})
    assert inspect.unwrap(decorated) is decorated.__wrapped__ is plain


def test_the_signature_of_a_bound_method_is_without_its_instance():
    assert str(inspect.signature(Methods().plain)) == "(x: int, y: int = 2) -> int"
    assert str(inspect.signature(Methods.plain)) == "(self, x: int, y: int = 2) -> int"


def test_a_bound_method_knows_its_instance():
    owner = Methods()
    method = owner.plain
    assert method.__self__ is owner
    assert method.__func__ is Methods.plain
    assert method.__wrapped__(1) == 3
    assert (method == owner.plain, method == Methods().plain, method == 3) == (True, False, False)
    assert len({method, owner.plain}) == 1
    assert method.__get__(None) is method


def test_class_and_static_methods_bind_as_such():
    class Child(Methods):
        pass

    with capture_events():
        assert Methods.on_class(1) == (Methods, 1)
        assert Child.on_class(1) == Child().on_class(1) == (Child, 1)
        assert Methods.on_none(2) == Child().on_none(2) == 2
    assert Methods.on_class.ready
    assert not Methods().plain.ready


# ------------------------------------------------------------------------------------------------ names

NAMES = [
    (plain, "plain"),
    (len, "builtins.len"),
    (functools.partial(plain, "secret"), "plain"),
    (functools.partial(functools.partial(plain, 1), y="secret"), "plain"),
    (functools.partialmethod(plain, "secret"), "plain"),
    (Methods().bare, "Methods.bare"),
    (Callable_(), "Callable_"),
    (functools.partial(Callable_(), "secret"), "Callable_"),
    ("secret".join, "str.join"),
    ([1].append, "list.append"),
]


@pytest.mark.parametrize(("thing", "wanted"), NAMES)
def test_a_name_is_module_and_qualified_name_and_never_a_repr(thing, wanted):
    given_name = name_of(thing)
    assert given_name.endswith(wanted)
    assert "secret" not in given_name
    assert "0x" not in given_name
    assert " " not in given_name.replace("<locals>", "").replace("<lambda>", "")


def test_a_lambda_is_called_a_lambda():
    assert name_of(lambda: 1).endswith("test_a_lambda_is_called_a_lambda.<locals>.<lambda>")


def test_a_warmed_partial_shows_no_argument_anywhere():
    decorated = warmed(iterations=0)(functools.partial(plain, 1, "secret"))
    with capture_events() as events:
        decorated()
    assert {event["callable"] for event in events} == {f"{__name__}.plain"}
    assert "secret" not in repr(decorated) + str(decorated.__dict__.get("__name__")) + str(list(events))
    assert repr(decorated) == f"<warmed {__name__}.plain: warm>"


def test_the_given_name_is_shown_in_its_place():
    assert repr(warmed(name="the demo")(plain)) == "<warmed the demo: cold>"


def test_a_face_has_a_name_even_where_the_thing_has_none():
    assert wrapper_attributes(functools.partial(plain))["__name__"] == "plain"
    assert wrapper_attributes(Callable_())["__name__"] == "__call__"
    assert wrapper_attributes(Callable_())["__code__"] is Callable_.__call__.__code__
    assert "__code__" not in wrapper_attributes(len)


def test_attributes_of_the_function_are_seen_through():
    def tagged():
        return 1

    tagged.tag = "x"
    assert warmed()(tagged).tag == "x"
    with pytest.raises(AttributeError):
        warmed()(tagged).nonsense
    with pytest.raises(AttributeError, match="object has no attribute '_private'"):
        warmed()(tagged)._private
    assert warmed()(Callable_()).__call__(1) == 1


# ------------------------------------------------------------------------------------------------ copies


@warmed(iterations=0)
def by_name(x):
    return x


def test_it_pickles_by_qualified_name():
    assert pickle.loads(pickle.dumps(by_name)) is by_name  # noqa: S301 - written in the line itself
    assert b"by_name" in pickle.dumps(by_name)
    assert Methods().plain.__reduce_ex__(4)[0] is getattr


def test_copies_are_cold_and_bound_methods_follow_the_copied_instance():
    owner = Methods()
    with capture_events():
        owner.plain(1)
    twin = copy.deepcopy(owner.plain)
    assert owner.plain.ready
    assert (twin.ready, twin.__self__ is owner) == (False, False)
    assert copy.copy(owner.plain).__self__ is owner
    cold = copy.copy(by_name)
    assert (cold.state, cold.__wrapped__ is by_name.__wrapped__) == ("cold", True)
    assert copy.deepcopy(by_name).__name__ == "by_name"


def test_pickles_come_back_as_the_same_function_and_bound_again():
    assert pickle.loads(pickle.dumps(by_name)) is by_name  # noqa: S301 - made on this line
    back = pickle.loads(pickle.dumps(Methods().plain))  # noqa: S301 - made on this line
    assert isinstance(back.__self__, Methods)
    assert back.__func__ is Methods.plain
