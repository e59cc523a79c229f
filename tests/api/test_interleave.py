"""Several functions side by side: whose turn it is, what is kept, and what is refused."""

import asyncio
import functools

import pytest

from jitwarmup import ArgumentError, Decision, Phase, steady_state, warmed


@pytest.fixture
def turns():
    made = []

    def function(name, fail_at=None, error=KeyboardInterrupt):
        def body(*args):
            made.append(name)
            if made.count(name) == fail_at:
                raise error
            return args

        body.__qualname__ = name
        return body

    function.made = made
    return function


def side_by_side(*functions, iterations=2, measurements=4):
    with steady_state(iterations=iterations, measurements=measurements) as steady:
        return steady.interleave(*functions), steady


def test_the_order_turns_round_from_round_to_round(turns):
    side_by_side(turns("a"), turns("b"))
    assert "".join(turns.made) == "abbaabbaabbaab"


def test_measuring_begins_when_all_are_warm(turns):
    quick = warmed(iterations=1)(turns("a"))
    with steady_state(measurements=2) as steady:
        steady.interleave(quick, turns("b"))  # the block says nothing of iterations: one warms once, one five times
    first_measured = "".join(turns.made).rindex("aa") if "aa" in "".join(turns.made) else None
    assert turns.made.count("b") == 1 + 5 + 2
    assert turns.made.count("a") == 1 + 1 + 2
    assert "".join(turns.made[-4:]) in ("abba", "baab"), (turns.made, first_measured)


def test_each_gets_its_own_report_in_the_order_given(turns):
    (a, b), steady = side_by_side(functools.partial(turns("a"), 1), functools.partial(turns("b"), 1))
    assert steady.reports == (a, b)
    for report in (a, b):
        assert [run.phase for run in report.runs].count(Phase.MEASURE) == 4
        assert report.failure is None


def test_one_function_against_itself_does_not_wait_for_itself(turns):
    function = warmed()(turns("a"))
    (one, two), _ = side_by_side(function, function)
    assert len(one.measured) == len(two.measured) == 4
    assert turns.made.count("a") == 2 * (1 + 2 + 4)


def test_a_function_that_fails_leaves_the_other_its_runs(turns):
    (a, b), _ = side_by_side(turns("a", fail_at=2, error=ValueError), turns("b"))
    assert a.failure.type == "ValueError"
    assert len(b.measured) == 4


@pytest.mark.parametrize("at", [1, 2, 5])
def test_an_interruption_ends_both_and_keeps_what_was_finished(turns, at):
    steady = steady_state(iterations=2, measurements=4)
    with pytest.raises(KeyboardInterrupt), steady:
        steady.interleave(turns("a"), turns("b", fail_at=at))
    kept = {report.callable.rpartition(".")[2]: report for report in steady.reports[:2]}
    assert [run.outcome for run in kept["b"].runs] == ["ok"] * (at - 1) + ["cancelled"]
    assert {run.outcome for run in kept["a"].runs} == {"ok"}
    assert [report.verdict.reasons[0].kind for report in kept.values()] == ["interrupted"] * 2
    assert "interrupted" in kept["a"].explain()


def test_asynchronous_functions_are_awaited_in_turn():
    made = []

    async def a():
        made.append("a")

    async def b():
        made.append("b")

    async def main():
        async with steady_state(iterations=1, measurements=2) as steady:
            return await steady.interleave(a, b)

    assert [len(report.measured) for report in asyncio.run(main())] == [2, 2]
    assert made == list("abbaabba")


def test_functions_of_different_kinds_are_refused(turns):
    async def other():
        """Never run."""

    with pytest.raises(ArgumentError, match=r"different kinds.*async def"), steady_state() as steady:
        asyncio.run(steady.interleave(turns("a"), other))
    assert turns.made == []


def test_random_streams_are_left_as_found(turns):
    import random

    before = random.getstate()
    side_by_side(random.random, random.random)
    assert random.getstate() == before


def test_an_interruption_between_two_runs_keeps_the_report(turns):
    def rule(runs):
        if runs[-1].phase is Phase.WARM:
            raise KeyboardInterrupt
        return Decision(state="more")

    steady = steady_state(iterations=rule)
    with pytest.raises(KeyboardInterrupt), steady:
        steady.measure(turns("a"))
    report = steady.reports[0]
    assert [run.phase for run in report.runs] == [Phase.VALIDATE, Phase.WARM]
    assert report.verdict.reasons[0].kind == "interrupted"
