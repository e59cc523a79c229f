"""Warmed functions, methods, and objects that hold them travel, by name or by parts, and are cold where they arrive."""

# ruff: noqa: S301 - what is loaded here was dumped here

import functools
import pickle
import threading

import cloudpickle
import pytest

from jitwarmup import State, warmed
from jitwarmup.testing import RecordingMonitor, capture_events

pytestmark = pytest.mark.usefixtures("events")


@warmed(iterations=2)
def made(x, y=1):
    return x + y


def _raw(x):
    return x + 1


plus = warmed(iterations=2)(_raw)


class Model:
    def __init__(self, k=3):
        self.k = k

    @warmed(iterations=2)
    def predict(self, x):
        return self.k * x

    @warmed(iterations=2)
    @classmethod
    def whole(cls, x):
        return cls.__name__, x

    @warmed(iterations=2)
    @staticmethod
    def fixed(x):
        return x

    def other(self, x):
        return self.k + x


class Owner:
    def __init__(self, k=3):
        self.k = k
        self.run = warmed(iterations=2)(self._run)

    def _run(self, x):
        return self.k * x


class Callable:
    def __call__(self, x):
        return x + 1


def closure(n):
    def inner(x):
        return x + n

    return inner


def arrived(function, x):
    """The value of a first call there, the state before it, and how many warm-up runs there were."""
    with capture_events() as events:
        before = getattr(function, "state", None)
        value = function(x)
    counts = [event["iterations"] for event in events if event["event"] == "jitwarmup.warmup.completed"]
    return value, before, counts


COLD = (State.COLD, [2])
BY_PARTS = {
    "other name": (lambda: plus, 2),
    "method": (lambda: Model().predict, 3),
    "foreign bound method": (lambda: warmed(iterations=2)(Model().other), 4),
    "attribute of an object": (lambda: Owner().run, 3),
    "around a partial": (lambda: warmed(iterations=2)(functools.partial(_raw)), 2),
    "around a callable object": (lambda: warmed(iterations=2)(Callable()), 2),
    "around a builtin": (lambda: warmed(iterations=2)(abs), 1),
}
BY_VALUE = {
    "another one around a warmed function": (lambda: warmed(iterations=2)(made.__wrapped__), 2),
    "lambda": (lambda: warmed(iterations=2)(lambda x: x + 1), 2),
    "closure": (lambda: warmed(iterations=2)(closure(5)), 6),
    "method of a class of a function": (lambda: local_class()().predict, 3),
}


def local_class():
    class Local(Model):
        @warmed(iterations=2)
        def predict(self, x):
            return self.k * x

    return Local


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_function_that_its_name_leads_to_is_itself_again(protocol):
    assert pickle.loads(pickle.dumps(made, protocol)) is made
    assert pickle.loads(pickle.dumps(Model.predict, protocol)) is Model.predict
    assert pickle.loads(pickle.dumps([made, made], protocol)) == [made, made]


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
@pytest.mark.parametrize("name", BY_PARTS)
def test_what_no_name_leads_to_travels_by_its_parts_and_is_cold(pickler, name):
    make, value = BY_PARTS[name]
    function = make()
    function.warm(1)
    copy = pickle.loads(pickler.dumps(function))
    assert copy is not function
    assert arrived(copy, 1) == (value, *COLD)
    assert copy.state is State.WARM
    assert function(1) == value


@pytest.mark.parametrize("name", BY_VALUE)
def test_what_only_cloudpickle_can_ship_is_shipped(name):
    make, value = BY_VALUE[name]
    function = make()
    function.warm(1)
    assert arrived(pickle.loads(cloudpickle.dumps(function)), 1) == (value, *COLD)


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_an_object_that_holds_a_warmed_function_travels(pickler):
    owner = Owner(5)
    owner.run.warm(1)
    copy = pickle.loads(pickler.dumps(owner))
    assert arrived(copy.run, 2) == (10, *COLD)
    copy.k = 7
    assert copy.run(2) == 14  # it is bound to the copy
    assert owner.run(2) == 10


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_other_methods_partials_and_class_methods_travel(pickler):
    def shipped(value):
        return pickle.loads(pickler.dumps(value))

    assert shipped(Model().other)(1) == 4
    assert shipped(functools.partial(made, 1, y=2))() == 3
    assert shipped(functools.partial(Model().predict, 2))() == 6
    assert shipped(Model.whole)(1) == ("Model", 1)
    assert shipped(Model.fixed)(1) == 1
    assert shipped(Model)().predict(1) == 3
    assert shipped({"functions": [made, plus]})["functions"][1](1) == 2


def test_the_options_travel():
    function = warmed(
        iterations=1, measurements=3, key=abs, on_new_key="warm", name="served", budget_s=60, while_warming="pass"
    )(_raw)
    function(1)
    copy = pickle.loads(pickle.dumps(function))
    assert copy.status()["keys"] == []
    report = copy.measure(2)
    assert len(report.runs) == 1 + 1 + 3
    assert "served" in report.callable
    copy(-2)
    copy(3)
    assert len(copy.status()["keys"]) == 2


class Locked(RecordingMonitor):
    """A monitor that cannot travel."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def test_no_monitor_travels():
    monitor = Locked()
    copy = pickle.loads(pickle.dumps(warmed(iterations=1, monitor=monitor)(_raw)))
    monitor.log.clear()
    assert copy(1) == 2
    assert monitor.log == []


def test_nothing_but_function_and_options_travels():
    text = pickle.dumps(plus)
    plus.warm(1)
    plus(1)
    assert pickle.dumps(plus) == text
    assert len(text) < 4_000
    for name in (b"RLock", b"_thread", b"threading", b"Registry"):
        assert name not in text


def test_what_plain_pickle_cannot_ship_says_so_as_for_the_function():
    function = closure(1)
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)) as plain:
        pickle.dumps(function)
    with pytest.raises(type(plain.value), match=r"closure\.<locals>\.inner"):
        pickle.dumps(warmed()(function))
