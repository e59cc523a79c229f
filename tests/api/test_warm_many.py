"""``warm_all``: the order, the budget, the policies; also off the loop and for async functions."""

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from jitwarmup import ArgumentError, MeasurementFailed, Preparation, State, steady_state, warmed
from jitwarmup.testing import FakeClock, inactive


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """The clock of every warm-up of the test."""
    fake = FakeClock()
    with steady_state(clock=fake):
        yield fake


def costing(clock, **options):
    """A function whose every run takes as many seconds as its argument says."""
    made = []

    @warmed(key=lambda cost, *rest: (cost, *rest), iterations=1, **options)
    def function(cost, *rest):
        made.append((cost, *rest))
        clock.advance(cost)
        return cost

    return function, made


def test_six_shapes_and_a_budget_for_three(clock) -> None:
    """Each key costs 2 s (two runs of 1 s): of 12 s, 6 are given."""
    function, _ = costing(clock)
    found = function.warm_all([(1.0, name) for name in "abcdef"], budget_s=6.0)
    assert [warmup.key for warmup in found.done] == ["key-1", "key-2", "key-3"]
    assert found.left == ("key-4", "key-5", "key-6")
    assert found.duration_s == 6.0
    assert Preparation.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(("budget_s", "done"), [(0.1, 1), (2.9, 1), (3.0, 2), (4.9, 2), (5.0, 3), (100.0, 6)])
def test_a_key_is_begun_while_half_of_its_predicted_cost_is_left(clock, budget_s, done) -> None:
    function, _ = costing(clock)
    found = function.warm_all([(1.0, name) for name in "abcdef"], budget_s=budget_s)
    assert len(found.done) == done
    assert found.duration_s <= max(budget_s + 1.0, 1.0)  # overshot by half a key, or one run, at most


def test_the_first_key_is_not_run_on_and_on_when_it_is_dearer_than_the_budget(clock) -> None:
    function, made = costing(clock, name=None)
    function.warm_all([(10.0, "dear"), (1.0, "cheap")], budget_s=5.0)
    assert made == [(10.0, "dear")]  # validation spent it all; a run that has begun is not cut


def test_the_heaviest_is_warmed_first_and_equals_stay_in_order(clock) -> None:
    function, made = costing(clock)
    function.warm_all([(1.0, "a"), (1.0, "b"), (1.0, "c"), (1.0, "d")], weights=[1, 5, 1, 5])
    assert [name for _, name in made[::2]] == ["b", "d", "a", "c"]


def test_inputs_may_be_tuples_dicts_or_single_arguments() -> None:
    seen = []
    function = warmed(iterations=0, key=lambda x, y=0: (x, y))(lambda x, y=0: seen.append((x, y)))
    function.warm_all([(1, 2), {"x": 3, "y": 4}, 5, "text"])
    assert seen == [(1, 2), (3, 4), (5, 0), ("text", 0)]


def test_a_key_given_twice_is_warmed_once_and_known_keys_cost_nothing(clock) -> None:
    function, made = costing(clock)
    function.warm(1.0, "a")
    found = function.warm_all([(1.0, "a"), (1.0, "b"), (1.0, "b")], budget_s=2.0)
    assert [warmup.key for warmup in found.done] == ["key-2"]
    assert found.known == ("key-1",)
    assert found.left == ()
    assert len(made) == 4


def test_policy_ready_is_ready_and_passes_what_was_left(clock, events) -> None:
    function, made = costing(clock)
    function.warm_all([(1.0, "a"), (1.0, "b")], budget_s=1.5, policy="ready")
    assert (function.state, function.ready) == (State.WARM, True)
    made.clear()
    function(1.0, "b")
    assert made == [(1.0, "b")]
    assert function.coverage().missed[0].key == "key-2"


def test_policy_degraded_says_so_until_the_rest_is_warm(clock) -> None:
    function, _ = costing(clock)
    function.warm_all([(1.0, "a"), (1.0, "b")], budget_s=1.5, policy="degraded")
    assert (function.state, function.ready) == (State.DEGRADED, True)
    assert function.status()["last_reason"] == "budget_spent"
    function.warm(1.0, "b")
    assert function.state is State.WARM


def test_policy_fail_is_not_ready_and_raises_with_the_list(clock) -> None:
    function, _ = costing(clock)
    with pytest.raises(MeasurementFailed, match=r"before 2 of the keys .* were warm: key-2, key-3"):
        function.warm_all([(1.0, "a"), (1.0, "b"), (1.0, "c")], budget_s=1.5, policy="fail")
    assert not function.ready


def test_a_failing_input_raises_and_what_was_warm_stays_warm() -> None:
    function = warmed(iterations=0, key=lambda x: x)(lambda x: 1 / x)
    with pytest.raises(ZeroDivisionError):
        function.warm_all([1, 0, 2])
    states = [key["state"] for key in function.status()["keys"]]
    assert states == ["warm", "cold", "cold"]
    assert not function.ready


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        ("text", {}),
        ({"a": 1}, {}),
        (3, {}),
        ([1], {"weights": [1, 2]}),
        ([1], {"weights": [-1]}),
        ([1], {"weights": [float("nan")]}),
        ([1], {"budget_s": 0}),
        ([1], {"policy": "hope"}),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_run(inputs, options) -> None:
    seen = []
    function = warmed()(lambda x: seen.append(x))
    with pytest.raises(ArgumentError):
        function.warm_all(inputs, **options)
    assert seen == []


def test_the_decorators_own_budget_holds_for_each_key(clock) -> None:
    function, made = costing(clock, budget_s=0.5)
    function.warm_all([(1.0, "a"), (1.0, "b")], budget_s=100.0)
    assert made == [(1.0, "a"), (1.0, "b")]


def test_async_functions_are_awaited_and_plain_ones_go_off_the_loop() -> None:
    @warmed(iterations=1, key=lambda x: x)
    async def answer(x):
        await asyncio.sleep(0)
        return x

    @warmed(iterations=1, key=lambda x: x)
    def reply(x):
        return x

    async def main():
        return [await answer.warm_all([1, 2]), await answer.awarm_all([3]), await reply.awarm_all([1, 2])]

    assert [len(found.done) for found in asyncio.run(main())] == [2, 1, 2]
    assert answer.ready
    assert reply.ready


def test_methods_warm_for_their_instance() -> None:
    class Service:
        @warmed(iterations=0, key=lambda x: x)
        def serve(self, x):
            return x

    one, two = Service(), Service()
    assert len(one.serve.warm_all([1, 2]).done) == 2
    assert (one.serve.ready, two.serve.ready) == (True, False)


def test_switched_off_nothing_is_run() -> None:
    seen = []
    function = warmed()(lambda x: seen.append(x))
    with inactive():
        assert function.warm_all([1, 2]).done == ()
        assert asyncio.run(function.awarm_all([1])).done == ()
        assert asyncio.run(function.awarm(1)).skipped == "inactive"
    assert seen == []


def test_help_shows_every_option() -> None:
    function = warmed()(len)
    for method in (function.warm_all, function.awarm_all):
        options = list(inspect.signature(method).parameters.values())
        assert [(each.name, each.default) for each in options[1:]] == [
            ("weights", None),
            ("budget_s", None),
            ("policy", "ready"),
        ]
    for name in ("weights", "budget_s", "policy"):
        assert f"{name}: " in function.warm_all.__doc__
