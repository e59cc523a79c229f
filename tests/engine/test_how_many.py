"""How often the user's function runs, exactly, and what is made of each run."""

from __future__ import annotations

import asyncio
import functools

import pytest

import jitwarmup
from jitwarmup import ArgumentError, Phase, State, is_warming, steady_state, warmed


class Counter:
    """A function of each kind, and how often it ran."""

    def __init__(self) -> None:
        self.runs = 0
        self.extra = 0

    def note(self) -> int:
        self.runs += 1
        self.extra += is_warming()
        return self.runs

    def plain(self):
        return lambda *args, **kwargs: self.note()

    def coroutine(self):
        async def run(*args, **kwargs):
            await asyncio.sleep(0)
            return self.note()

        return run

    def generator(self):
        def run(*args, **kwargs):
            yield self.note()
            yield -1

        return run

    def async_generator(self):
        async def run(*args, **kwargs):
            yield self.note()
            await asyncio.sleep(0)
            yield -1

        return run


async def collected(stream):
    return [item async for item in stream]


CALLS = {
    "plain": lambda function, *args: function(*args),
    "coroutine": lambda function, *args: asyncio.run(function(*args)),
    "generator": lambda function, *args: next(iter(list(function(*args)))),
    "async_generator": lambda function, *args: asyncio.run(collected(function(*args)))[0],
}
KINDS = sorted(CALLS)


def finish(value):
    """An awaitable's value, or the value itself."""
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_call_is_one_validation_five_warm_ups_and_one_timed_run_and_later_calls_are_one(counter, kind) -> None:
    function, call = warmed(getattr(counter, kind)()), CALLS[kind]
    assert call(function) == 7
    assert counter.runs == 1 + 5 + 1
    assert counter.extra == 6
    assert call(function) == 8
    assert counter.runs == 8
    assert counter.extra == 6


@pytest.mark.parametrize("kind", KINDS)
def test_measure_is_one_validation_five_warm_ups_and_twenty_measured_runs_and_leaves_the_key_warm(
    counter, kind
) -> None:
    function, call = warmed(getattr(counter, kind)()), CALLS[kind]
    report = finish(function.measure())
    assert counter.runs == 1 + 5 + 20
    assert [len(report.of_phase(phase)) for phase in Phase] == [1, 5, 20]
    assert [run.index for run in report.warmup] == list(range(5))
    assert [run.index for run in report.measured] == list(range(20))
    call(function)
    assert counter.runs == 27
    assert finish(function.measure()).latency.n == 20, "a measurement is always the whole plan"
    assert counter.runs == 27 + 26


@pytest.mark.parametrize("kind", KINDS)
def test_warm_is_validation_and_warm_up_only_and_nothing_for_a_warm_key(counter, kind) -> None:
    function, call = warmed(getattr(counter, kind)()), CALLS[kind]
    record = finish(function.warm())
    assert counter.runs == counter.extra == 6
    assert [run.phase for run in record.runs] == [Phase.VALIDATE] + [Phase.WARM] * 5
    assert finish(function.warm()) == record
    assert counter.runs == 6
    call(function)
    assert counter.runs == 7


@pytest.mark.parametrize(("iterations", "runs"), [(0, 2), (1, 3), (9, 11)])
def test_iterations_counts_warm_up_runs_after_the_validation_run(counter, iterations, runs) -> None:
    warmed(iterations=iterations)(counter.plain())()
    assert counter.runs == runs


def test_measurements_counts_measured_runs(counter) -> None:
    report = warmed(iterations=2, measurements=3)(counter.plain()).measure()
    assert counter.runs == 6
    assert report.latency.n == 3


@pytest.mark.parametrize("spelling", [warmed, warmed(), warmed(iterations=5)])
def test_every_spelling_of_the_decorator_means_the_same(counter, spelling) -> None:
    function = spelling(counter.plain())
    assert isinstance(function, jitwarmup.Warmed)
    assert function() == 7


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_argument_costs_no_run_at_all_and_leaves_nothing_half_warmed(counter, kind) -> None:
    function, call = warmed(getattr(counter, kind)()), CALLS[kind]
    with pytest.raises(ArgumentError, match=r"argument 1 got an iterator.*list_iterator.*fresh="):
        call(function, iter([1, 2]))
    assert counter.runs == 0
    assert function.state is State.COLD
    assert not function.ready
    call(function, (1, 2))
    assert counter.runs == 7


@pytest.mark.parametrize("spell", ["warm", "measure"])
def test_warm_and_measure_refuse_an_argument_before_the_first_run_too(counter, spell) -> None:
    function = warmed(counter.plain())
    with pytest.raises(ArgumentError, match="argument 'x' got an iterator"):
        getattr(function, spell)(x=iter(()))
    assert counter.runs == 0
    assert function.state is State.COLD


def test_an_argument_is_refused_only_where_extra_runs_would_be_made(counter) -> None:
    function = warmed(counter.plain())
    function([1])
    assert function(iter([1])) == 8, "a warm key runs once, so an iterator is as good as ever"
    other = warmed(on_new_key="pass")(counter.plain())
    assert other(iter([1])) == 9


def changing(counter: Counter, kind: str):
    """A function that appends to its argument."""
    if kind == "plain":
        return lambda x: (x.append(counter.note()), len(x))[1]
    if kind == "coroutine":

        async def run(x):
            x.append(counter.note())
            return len(x)

        return run
    if kind == "generator":

        def run(x):
            x.append(counter.note())
            yield len(x)
            yield from "bc"
            return "end"

        return run

    async def run(x):
        x.append(counter.note())
        yield len(x)
        yield "b"
        yield "c"

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_first_run_changed_an_argument_it_was_the_only_run_and_its_value_is_returned(
    counter, kind, events
) -> None:
    function, call, data = warmed(changing(counter, kind)), CALLS[kind], []
    assert call(function, data) == 1
    assert counter.runs == 1
    assert data == [1]
    completed = [entry for entry in events if entry["event"] == "jitwarmup.warmup.completed"]
    assert [entry["skipped"] for entry in completed] == ["arguments_mutated"]
    assert call(function, data) == 2, "the key counts as warm: the next call runs once"
    assert counter.runs == 2


@pytest.mark.parametrize("kind", KINDS)
def test_measure_of_a_function_that_changes_its_argument_says_why_there_is_nothing_to_report(counter, kind) -> None:
    report = finish(warmed(changing(counter, kind)).measure([]))
    assert counter.runs == 1
    assert report.skipped == "arguments_mutated"
    assert report.latency_s is None
    assert report.verdict.state == "undecided"
    assert report.verdict.reasons[0].kind == "arguments_mutated"


def test_a_stream_that_changed_its_argument_gives_every_item_and_its_return_value_all_the_same(counter) -> None:
    def consume(stream):
        got = []
        try:
            while True:
                got.append(next(stream))
        except StopIteration as stop:
            return got, stop.value

    assert consume(warmed(changing(counter, "generator"))([])) == ([1, "b", "c"], "end")
    assert asyncio.run(collected(warmed(changing(counter, "async_generator"))([]))) == [1, "b", "c"]
    assert counter.runs == 2


def test_a_stream_that_changes_its_argument_streams_live_whatever_drain_says(counter) -> None:
    function = warmed(drain=1)(changing(counter, "generator"))
    assert list(function([])) == [1, "b", "c"]
    assert counter.runs == 1


def test_a_partial_a_lambda_a_callable_object_and_a_foreign_bound_method_are_warmed(counter) -> None:
    class Callable:
        def __call__(self, x):
            return counter.note()

        def method(self, x):
            return counter.note()

    for made in (functools.partial(lambda x: counter.note(), 1), counter.plain()):
        before = counter.runs
        assert warmed(made)() == before + 7
    for made in (Callable(), Callable().method):
        before = counter.runs
        function = warmed(made)
        assert [function(1), function(1)] == [before + 7, before + 8]


def test_methods_class_methods_and_static_methods_count_by_instance_by_class_and_once(counter) -> None:
    class Model:
        @warmed
        def method(self):
            return counter.note()

        @warmed
        @classmethod
        def of_class(cls):
            return counter.note()

        @warmed
        @staticmethod
        def static():
            return counter.note()

    one, two = Model(), Model()
    assert [one.method(), one.method(), two.method(), Model.method(two)] == [7, 8, 15, 16]
    counter.runs = 0
    assert [Model.of_class(), one.of_class(), two.of_class()] == [7, 8, 9]
    counter.runs = 0
    assert [Model.static(), one.static(), two.static()] == [7, 8, 9]


def test_a_partial_method_is_warmed_once_for_each_instance(counter) -> None:
    class Model:
        def _run(self, x, y):
            return (x, y, counter.note())

        run = warmed(functools.partialmethod(_run, 1))

    one = Model()
    assert [one.run(2), one.run(y=3)] == [(1, 2, 7), (1, 3, 8)]
    assert Model().run(2) == (1, 2, 15)
    assert Model.run.state is State.WARM


def test_inside_any_run_a_warmed_call_is_a_plain_call_recursion_included(counter) -> None:
    @warmed
    def inner():
        return counter.note()

    @warmed
    def outer(depth):
        inner()
        return outer(depth - 1) if depth else counter.runs

    outer(2)
    assert counter.runs == 7 * 3
    assert inner.state is State.COLD


def test_warm_and_measure_inside_a_run_of_the_same_function_neither_hang_nor_raise(counter) -> None:
    found = []

    @warmed(iterations=1, measurements=1)
    def function(depth=1):
        counter.note()
        if depth:
            found.append(function.warm(0))
        return counter.runs

    function()
    assert {record.skipped for record in found[:2]} == {"being_warmed"}, "the outer warm-up is under way"
    assert found[2].skipped is None, "in the timed run the key is warm"
    assert counter.runs == 3


def test_measure_inside_a_run_of_the_same_function_does_not_wait_for_itself(counter) -> None:
    reports = []

    @warmed(iterations=1, measurements=2)
    def function(depth=1):
        if depth:
            reports.append(function.measure(0))
        return counter.note()

    function()
    assert [report.latency.n for report in reports] == [2, 2, 2]


def test_keys_are_warmed_apart_and_beyond_1024_of_them_calls_are_plain(counter, events) -> None:
    function = warmed(iterations=0, key=lambda x: x)(lambda x: counter.note())
    for x in range(1024):
        function(x)
    assert counter.runs == 2048
    function(1024)
    assert counter.runs == 2049
    assert events[-1]["key"] == "other"
    record = function.warm(1025)
    assert counter.runs == 2049
    assert record.key == "other"
    assert record.skipped == "too_many_keys"
    function.measure(1025)
    assert counter.runs == 2049 + 21
    function.reset()
    function(1025)
    assert counter.runs == 2070 + 2


def test_an_unhashable_key_is_refused_before_any_run(counter) -> None:
    function = warmed(key=lambda x: [x])(lambda x: counter.note())
    with pytest.raises(
        ArgumentError, match=r"key= of .* returned a list, which is not hashable; wanted a hashable key"
    ):
        function(1)
    assert counter.runs == 0


def test_after_warm_was_called_other_keys_pass_and_are_missed_once_each(counter, events, names) -> None:
    function = warmed(key=lambda x: x)(lambda x: counter.note())
    function.warm(1)
    counter.runs = 0
    assert [function(1), function(2), function(2), function(3)] == [1, 2, 3, 4]
    assert names().count("coverage.missed") == 2
    assert names().count("call") == 4
    eager = warmed(key=lambda x: x, on_new_key="warm")(lambda x: counter.note())
    eager.warm(1)
    counter.runs = 0
    assert eager(2) == 7


def test_on_new_key_pass_never_warms_of_itself(counter) -> None:
    function = warmed(on_new_key="pass")(counter.plain())
    assert [function(), function()] == [1, 2]
    function.warm()
    assert counter.runs == 8


def test_fresh_makes_the_inputs_of_every_run_but_the_one_whose_value_is_returned(counter) -> None:
    made = []

    def fresh(stream, *, scale):
        made.append(1)
        return (iter([len(made)]),), {"scale": scale}

    function = warmed(fresh=fresh)(lambda stream, *, scale: [scale * x for x in stream])
    assert function(iter([5]), scale=2) == [10]
    assert len(made) == 6
    assert function(iter([6]), scale=2) == [12]
    assert len(made) == 6
    report = function.measure(iter([7]), scale=2)
    assert report.failure is None
    assert len(made) == 6 + 26, "with measure, of every run"


def test_fresh_that_returns_anything_but_args_and_kwargs_is_refused(counter) -> None:
    for wrong in (None, (1, 2), ([1], [2]), ((), {}, 3)):
        with pytest.raises(ArgumentError, match=r"fresh= returned .*; wanted \(args, kwargs\)"):
            warmed(fresh=lambda *_, wrong=wrong: wrong)(counter.plain())(1)
    assert counter.runs == 0


def test_fresh_and_key_get_the_arguments_without_the_instance(counter) -> None:
    seen = []

    class Model:
        @warmed(
            iterations=0,
            key=lambda *args, **kwargs: seen.append((args, kwargs)),
            fresh=lambda *args, **kwargs: (seen.append((args, kwargs)), (args, kwargs))[1],
        )
        def method(self, x, *, y):
            return (type(self), x, y)

    assert Model().method(1, y=2) == (Model, 1, 2)
    assert seen == [((1,), {"y": 2})] * 2


def test_dry_run_runs_in_the_place_of_extra_runs_and_never_gives_the_value() -> None:
    real, dry = Counter(), Counter()

    def dry_run(x):
        x.append(dry.note())
        return "dry"

    function = warmed(idempotent=False, dry_run=dry_run)(lambda x: ("real", real.note()))
    assert function([]) == ("real", 1)
    assert dry.runs == 1, "it changed its argument, so nothing more was run dry"
    report = warmed(idempotent=False, dry_run=lambda x: dry.note(), measurements=3)(lambda x: real.note()).measure(1)
    assert (dry.runs, real.runs) == (1 + 6, 1 + 3)
    assert report.latency.n == 3


def test_a_dry_run_of_another_kind_is_refused_at_decoration() -> None:
    async def function(): ...

    with pytest.raises(ArgumentError, match="dry_run got a function declared with 'def'; wanted 'async def'"):
        warmed(idempotent=False, dry_run=lambda: None)(function)


def test_a_decorated_function_inside_a_block_and_a_measured_one_share_the_ledger(counter) -> None:
    function = warmed(counter.plain())
    with steady_state(function, iterations=2) as steady:
        assert counter.runs == 3
        assert function() == 4, "entering has warmed its key: the body is not spoilt by a warm-up"
    assert counter.runs == 4
    with steady_state(iterations=1, measurements=2) as steady:
        report = steady.measure(function)
        assert counter.runs == 8
        assert function() == 9
    assert steady.reports[0] is report


def test_switched_off_every_call_is_the_plain_call(counter, events) -> None:
    function = warmed(counter.plain())
    with jitwarmup.testing.inactive():
        assert [function(), function()] == [1, 2]
        assert function.ready
        assert function.warm().skipped == "inactive"
        assert counter.runs == 2
        assert function.measure().latency.n == 20, "what was asked for by name is done, and nothing is said"
    assert list(events) == []
    assert counter.runs == 28


def test_switched_off_an_asynchronous_warm_is_still_awaitable(counter) -> None:
    with jitwarmup.testing.inactive():
        assert asyncio.run(warmed(counter.coroutine()).warm()).skipped == "inactive"
        assert asyncio.run(warmed(counter.async_generator()).warm()).skipped == "inactive"
