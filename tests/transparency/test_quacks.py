"""Tools that ask what a function is get the function's answer, or a refusal at decoration that names the way out."""

import abc
import asyncio
import copy
import dataclasses
import enum
import functools
import inspect
import typing
from unittest import mock

import attrs
import pydantic
import pytest

from jitwarmup import warmed

pytestmark = pytest.mark.usefixtures("events")


@warmed(iterations=1)
def add(x: int, y: int = 1) -> int:
    """Adds."""
    return x + y


def spelled(x: int, y: int = 1) -> int:
    return x + y


# ------------------------------------------------------------------------------------------ class makers


def test_a_method_of_a_pydantic_model():
    class Model(pydantic.BaseModel):
        k: int = 2

        @warmed(iterations=1)
        def predict(self, x: int) -> int:
            return self.k * x

        @warmed(iterations=1)
        @classmethod
        def make(cls, k: int) -> "Model":
            return cls(k=k)

    assert Model().predict(3) == 6
    assert Model(k=5).predict(3) == 15
    assert list(Model.model_fields) == ["k"]
    assert Model.model_validate({"k": 4}).predict(1) == 4
    assert Model.make(7).k == 7
    assert Model().model_copy(update={"k": 9}).predict(1) == 9


def test_a_method_of_a_pydantic_model_that_is_inherited_and_overridden():
    class Base(pydantic.BaseModel):
        @warmed(iterations=1)
        def run(self, x):
            return x

    class Derived(Base):
        k: int = 1

        @warmed(iterations=1)
        def run(self, x):
            return super().run(x) + self.k

    assert Derived().run(1) == 2


def test_a_method_of_a_pydantic_dataclass():
    @pydantic.dataclasses.dataclass
    class Model:
        k: int = 2

        @warmed(iterations=1)
        def predict(self, x):
            return self.k * x

    assert Model(3).predict(3) == 9


def test_a_validated_function_below_and_a_warmed_one_below_a_validated_one():
    @warmed(iterations=1)
    @pydantic.validate_call
    def predict(x: int) -> int:
        return x

    assert predict("5") == 5
    with pytest.raises(pydantic.ValidationError):
        predict("five")


@pytest.mark.parametrize(
    "define", [attrs.define, attrs.define(slots=False), attrs.frozen], ids=["define", "without slots", "frozen"]
)
def test_super_in_a_method_of_a_slotted_class_of_attrs(define):
    @define
    class Base:
        def run(self, x):
            return x

    @define
    class Derived(Base):
        k: int = 1

        @warmed(iterations=1)
        def run(self, x):
            return super().run(x) + self.k

        @warmed(iterations=1)
        def kind(self):
            return __class__

    assert Derived().run(1) == 2
    assert Derived(5).run(1) == 6
    assert Derived().kind() is Derived


def test_methods_of_a_slotted_dataclass():
    @dataclasses.dataclass(slots=True)
    class Model:
        k: int = 2

        @warmed(iterations=1)
        def predict(self, x):
            return self.k * x

        @warmed(iterations=1)
        @staticmethod
        def fixed(x):
            return x

    assert [field.name for field in dataclasses.fields(Model)] == ["k"]
    assert Model(3).predict(3) == 9
    assert Model.fixed(1) == 1


def test_abstract_methods_enums_and_protocols():
    class Base(abc.ABC):
        @warmed(iterations=1)
        @abc.abstractmethod
        def run(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Base()

    class Level(enum.Enum):
        LOW = 1

        @warmed(iterations=1)
        def double(self):
            return self.value * 2

    assert [level.name for level in Level] == ["LOW"]
    assert Level.LOW.double() == 2

    class Runs(typing.Protocol):
        @warmed(iterations=1)
        def run(self): ...

    assert "run" in Runs.__dict__


# ---------------------------------------------------------------------------------------------- autospec


def test_an_autospec_of_a_function_checks_arguments():
    spec = mock.create_autospec(add, return_value=5)
    assert spec(1, 2) == 5
    with pytest.raises(TypeError):
        spec(1, 2, 3)
    with pytest.raises(TypeError):
        spec(z=1)
    spec.assert_called_once_with(1, y=2)


def test_an_autospec_of_a_class_checks_arguments_of_its_methods():
    class Model:
        @warmed(iterations=1)
        def predict(self, x):
            return x

    for spec in (mock.create_autospec(Model)(), mock.create_autospec(Model(), spec_set=True)):
        spec.predict(1)
        with pytest.raises(TypeError):
            spec.predict(1, 2)
    method = mock.create_autospec(Model().predict)
    method(1)
    with pytest.raises(TypeError):
        method(1, 2)


def test_patch_with_autospec():
    class Model:
        @warmed(iterations=1)
        def predict(self, x):
            return x

    with mock.patch.object(Model, "predict", autospec=True, return_value=7):
        assert Model().predict(1) == 7
        with pytest.raises(TypeError):
            Model().predict(1, 2)
    assert Model().predict(1) == 1


def test_an_autospec_of_an_async_function_is_awaited():
    @warmed(iterations=1)
    async def answer(x):
        return x

    spec = mock.create_autospec(answer, return_value=5)
    assert asyncio.run(spec(1)) == 5
    with pytest.raises(TypeError):
        spec(1, 2)


# ----------------------------------------------------------------------------------------------- inspect


class Model:
    @warmed(iterations=1)
    def predict(self, x: int, *rest: int, flag: bool = False, **more: int) -> int:
        return x

    def plain(self, x: int, *rest: int, flag: bool = False, **more: int) -> int:
        return x


def test_the_signature_of_a_call_is_the_functions():
    """Celery takes the signature of ``__call__`` of what is neither function nor method, as is checked here."""
    assert inspect.isfunction(add)
    assert inspect.ismethod(Model().predict)
    assert inspect.signature(add) == inspect.signature(spelled)
    assert inspect.signature(Model().predict) == inspect.signature(Model().plain)
    assert inspect.signature(Model.predict) == inspect.signature(Model.plain)
    assert inspect.getfullargspec(add) == inspect.getfullargspec(spelled)
    assert add.__call__(1, y=2) == 3


def test_where_a_function_stands_is_known():
    for ours, theirs in ((add, add.__wrapped__), (Model().predict, Model.predict.__wrapped__)):
        assert inspect.getfile(ours) == inspect.getsourcefile(theirs) == __file__
        assert inspect.getsourcefile(ours) == __file__
        assert inspect.getsource(ours) == inspect.getsource(theirs)
        assert inspect.getsourcelines(ours) == inspect.getsourcelines(theirs)
        assert inspect.getmodule(ours) is inspect.getmodule(theirs)
        assert inspect.getdoc(ours) == inspect.getdoc(theirs)
    assert inspect.unwrap(add) is add.__wrapped__
    assert inspect.getclosurevars(add) == inspect.getclosurevars(add.__wrapped__)


def test_functions_in_standard_decorators():
    assert functools.wraps(add)(lambda: None).__name__ == "add"
    assert functools.partial(add, 1)() == 2
    assert functools.lru_cache(add)(1) == 2
    assert typing.get_type_hints(add) == {"x": int, "y": int, "return": int}
    assert copy.copy(add)(1) == 2
    assert add.__globals__ is globals()
    assert add.__closure__ is None
    assert callable(add)
