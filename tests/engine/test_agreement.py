"""
Several ranks decide alike: the plan carried out in step, by the real engine over a port that is one process.

What happens where a rank is lost is in test_parted.py.
"""

from __future__ import annotations

import asyncio
import functools
import random
import re

import pytest

from jitwarmup import ArgumentError, MeasurementFailed, Phase, RankFailed, State, steady_state, until_steady, warmed
from jitwarmup.engine.agreement import RankAgreement
from jitwarmup.engine.options import UNSET
from jitwarmup.engine.rules import Fixed, Rule
from jitwarmup.records.protocols import Exchanged
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Decision, OneTimeWork
from jitwarmup.records.verdict import Verdict

CAPTURE = OneTimeWork(kind="dynamo.capture", duration_s=2.0)
RECOMPILE = OneTimeWork(kind="dynamo.recompile", duration_s=0.5)
CACHE = OneTimeWork(kind="kv_cache.allocate")
SHORT = {"iterations": 1, "measurements": 2}


def decided(report):
    """All that ranks must have in common."""
    runs = [(run.phase, run.index, run.duration_ns, run.outcome, run.work, run.contaminated) for run in report.runs]
    return runs, report.decision, report.verdict, report.latency_s, report.ledger, report.would_have_said


def same(reports):
    """The one report of all, but for what is each rank's own."""
    for report in reports:
        assert isinstance(report, Report), report
        assert decided(report) == decided(reports[0])
    return reports[0]


def phases(report):
    return "".join(run.phase.value[0] for run in report.runs)


def measures(participant, function=None, /, **settings):
    """One rank measures in a block of its own."""
    with participant.block(**{**SHORT, **settings}) as steady:
        return steady.measure(function or participant.function(1.0 + participant.rank))


# ------------------------------------------------------------------------------------------------ in step


def noise(seed, rank):
    """Times of one rank's runs: a cold one, a fall, and noise of its own."""
    chance = random.Random(1000 * seed + rank)
    return [5.0, *(1.0 + 2.0 * chance.random() * 0.5**at + 0.2 * chance.random() for at in range(60))]


@pytest.mark.parametrize(
    "seeds",
    [range(10), *(pytest.param(range(at, at + 10), marks=pytest.mark.slow) for at in range(10, 50, 10))],
    ids=str,
)
def test_noise_of_its_own_on_every_rank_moves_nobody_out_of_step(seeds, ranks) -> None:
    alone = 0
    for seed in seeds:

        def rank(participant, *, together, seed=seed):
            user = participant.function(*noise(seed, participant.rank))
            return measures(participant, user, iterations=until_steady(), ranks=participant if together else None)

        report = same(ranks(4).run(functools.partial(rank, together=True)))
        assert report.decision.state in ("proven", "spent")
        assert all(run.duration_ns == max(run.rank_durations_ns) for run in report.runs)
        by_themselves = ranks(4).run(functools.partial(rank, together=False))
        alone += len({phases(each) for each in by_themselves}) > 1
    assert alone >= 5, "the control: ranks that decide alone make different numbers of runs"


def test_nothing_is_exchanged_inside_of_a_window(ranks) -> None:
    job = ranks(2)
    job.run(measures)
    agree, run = "exchange heard", "fence now user fence now"
    plan = [agree, *[f"{run} {agree}"] * 4, agree]
    for participant in job.participants:
        assert " ".join(participant.log) == " ".join(["fence now", *plan, "fence now", agree])


def test_the_slowest_rank_is_the_time_of_all_and_the_report_compares_them(ranks) -> None:
    job = ranks(3)
    reports = job.run(
        lambda participant: measures(
            participant, participant.function((2.0, 5.0, 3.0)[participant.rank]), measurements=3
        )
    )
    report = same(reports)
    assert report.latency_s == pytest.approx(5.0)
    assert [each.ranks.rank for each in reports] == [0, 1, 2]
    for each in reports:
        assert each.ranks.members == (0, 1, 2)
        assert each.ranks.median_s == pytest.approx((2.0, 5.0, 3.0))
        assert (each.ranks.straggler, each.ranks.straggler_share) == (1, 1.0)
        assert each.ranks.skew_s == pytest.approx(3.0)
    (event,) = job.participants[2].events.named("jitwarmup.measurement.completed")
    assert (event["straggler_rank"], event["straggler_share"]) == (1, 1.0)
    assert (event["rank_fastest_s"], event["rank_slowest_s"]) == pytest.approx((2.0, 5.0))


def test_of_several_ranks_the_first_speaks_and_the_others_add_the_same_at_debug(ranks) -> None:
    job = ranks(2)
    job.run(measures)
    names = ["validation.completed", "warmup.completed", "measurement.completed", "block.completed"]
    assert job.participants[0].lines() == [f"info {name}" for name in names]
    assert job.participants[1].lines() == [f"debug {name}" for name in names]


def test_one_time_work_of_one_rank_marks_the_run_on_all(ranks) -> None:
    job = ranks(3)
    report = same(job.run(lambda s: measures(s, s.function(work={2: [RECOMPILE]} if s.rank == 1 else {}))))
    assert [run.contaminated for run in report.measured] == [True, False]
    assert [(work.kind, work.rank) for work in report.measured[0].work] == [("dynamo.recompile", 1)]
    assert report.verdict.state == "contaminated"
    (event,) = job.participants[0].events.named("jitwarmup.measurement.completed")
    assert event["contaminated_ranks"] == ["1"]


def test_work_of_one_rank_makes_all_warm_up_again(ranks) -> None:
    work = {2: [RECOMPILE]}
    report = same(ranks(2).run(lambda s: measures(s, s.function(work=work if s.rank else {}), on_contamination="redo")))
    assert phases(report) == "vwmwmm"
    assert [run.discarded for run in report.runs] == [False, False, True, False, False, False]


def test_work_of_one_rank_raises_on_all_where_that_was_chosen(ranks) -> None:
    work = {2: [RECOMPILE]}
    got = ranks(2).run(lambda s: measures(s, s.function(work=work if s.rank else {}), on_contamination="raise"))
    assert [type(each) for each in got] == [MeasurementFailed] * 2
    assert "measured run 0" in str(got[0])


class Hooked(Rule):
    """Notes what it is told of the causes."""

    asked: list[bool]

    def __init__(self):
        object.__setattr__(self, "asked", [])

    def with_hooks(self, live):
        self.asked.append(live)
        return self

    def __call__(self, runs):
        return Fixed(2)(runs)

    def __repr__(self):
        return "Hooked()"


@pytest.mark.parametrize("blind", [None, 0, 1])
def test_causes_are_watched_where_all_ranks_can_watch_them(blind, ranks) -> None:
    job = ranks(2)
    rules = [Hooked(), Hooked()]
    if blind is not None:
        job.participants[blind].watches = ()
    reports = job.run(lambda participant: measures(participant, iterations=rules[participant.rank]))
    assert rules[0].asked == rules[1].asked
    assert set(rules[0].asked) == {blind is None}
    assert same(reports).verdict.watched == (("dynamo",) if blind is None else ())


def test_a_budget_is_spent_for_all_by_the_slowest(ranks) -> None:
    report = same(ranks(2).run(lambda s: measures(s, s.function(0.1 if s.rank else 3.0), iterations=50, budget_s=10.0)))
    assert phases(report) == "vwwwmm"
    assert report.decision.path == "budget"


def test_the_ledger_of_several_ranks_sums_to_the_wall_time(ranks) -> None:
    def rank(participant):
        paid = OneTimeWork(kind="dynamo.capture", duration_s=2.0 + participant.rank)
        return measures(participant, participant.function(5.0, 2.0, 1.0, work={0: [paid], 1: [RECOMPILE]}))

    report = same(ranks(4).run(rank))
    wall = sum(run.duration_s for run in report.runs if run.phase is not Phase.MEASURE)
    assert sum(report.ledger.values()) == pytest.approx(wall)
    assert report.ledger["dynamo.capture"] == pytest.approx(5.0), "of the ranks that work side by side, the longest"
    assert report.ledger["dynamo.recompile"] == pytest.approx(0.5)
    assert report.ledger["unexplained"] >= 0


def test_the_verdict_of_all_names_the_rank_that_found_something(ranks, monkeypatch) -> None:
    from jitwarmup.engine import conclusion
    from jitwarmup.records.verdict import Reason

    def grown(plan):
        return [Reason(kind="memory_grows", numbers={"bytes": 5.0})] if plan.agreement.rank == 1 else []

    monkeypatch.setattr(conclusion, "growth_of", grown)
    report = same(ranks(2).run(measures))
    (reason,) = [reason for reason in report.verdict.reasons if reason.kind == "memory_grows"]
    assert reason.numbers == {"bytes": 5.0, "rank": 1.0}


# ------------------------------------------------------------------------------------------------ every spelling


def by_measure(participant, user):
    with participant.block(**SHORT) as steady:
        return steady.measure(user)


def by_decorator(participant, user):
    with participant.block(ranks=UNSET):
        return warmed(ranks=participant, **SHORT)(user).measure()


def by_trials(participant, user):
    with participant.block(**SHORT) as steady:
        for trial in steady.trials():
            with trial:
                user()
    return steady.reports[0]


def by_interleave(participant, user):
    with participant.block(**SHORT) as steady:
        first, second = steady.interleave(user, participant.function(0.5))
    assert phases(second) == "vwmm"
    return first


def by_generator(participant, user):
    def stream():
        yield user()
        yield 2

    with participant.block(**SHORT) as steady:
        return steady.measure(stream)


async def by_coroutine(participant, user):
    async def task():
        await asyncio.sleep(0)
        return user()

    async with participant.block(**SHORT) as steady:
        return await steady.measure(task)


async def by_async_generator(participant, user):
    async def stream():
        yield user()
        await asyncio.sleep(0)
        yield 2

    async with participant.block(**SHORT) as steady:
        return await steady.measure(stream)


async def by_async_interleave(participant, user):
    async def first():
        return user()

    other = participant.function(0.5)

    async def second():
        return other()

    async with participant.block(**SHORT) as steady:
        return (await steady.interleave(first, second))[0]


SPELLINGS = [by_measure, by_decorator, by_trials, by_interleave, by_generator]
ASYNC = [by_coroutine, by_async_generator, by_async_interleave]


def spelt(job, spelling, make):
    """Each rank's report of the function that ``make(participant)`` gives."""
    run = job.arun if asyncio.iscoroutinefunction(spelling) else job.run
    return run(lambda participant: spelling(participant, make(participant)))


@pytest.mark.parametrize("spelling", [*SPELLINGS, *ASYNC])
def test_every_spelling_is_in_step(spelling, ranks) -> None:
    job = ranks(3)
    report = same(spelt(job, spelling, lambda participant: participant.function(1.0 + participant.rank)))
    assert report.ranks.members == (0, 1, 2)
    assert report.ranks.straggler == 2
    assert len(report.measured) == 2
    assert {run.items for run in report.runs} == ({2} if "generator" in spelling.__name__ else {None})
    assert len({len(participant.sent) for participant in job.participants}) == 1


@pytest.mark.parametrize("spelling", [*SPELLINGS, *ASYNC])
def test_a_failure_of_one_rank_ends_every_spelling_on_all(spelling, ranks) -> None:
    job = ranks(3)
    got = spelt(
        job,
        spelling,
        lambda participant: participant.function(error={1: ValueError("secret")} if participant.rank == 1 else {}),
    )
    if spelling is by_trials:  # the exception of a trial passes, where it happened
        assert isinstance(got.pop(1), ValueError)
    for report in got:
        assert (report.failure.rank, report.failure.type, report.failure.message) == (1, "ValueError", "secret")
        assert report.latency_s == -1.0
    assert len({len(participant.sent) for participant in job.participants}) == 1 or spelling is by_trials
    assert not any("secret" in repr(event) for participant in job.participants for event in participant.events)


def test_a_block_around_a_function_is_warmed_in_step_and_its_body_is_one_run_of_all(ranks) -> None:
    job = ranks(2)

    def rank(participant):
        with participant.block(participant.function(1.0), iterations=2) as steady:
            participant.clock.advance(3.0 + participant.rank)
        return steady

    blocks = job.run(rank)
    report = same([steady.reports[0] for steady in blocks])
    assert phases(report) == "vwwm"
    assert report.latency_s == pytest.approx(4.0)
    assert [round(ns / 1e9) for ns in blocks[0].block.rank_durations_ns] == [3, 4]
    assert blocks[0].block.duration_ns == blocks[1].block.duration_ns


def test_a_block_of_its_own_agrees_once_at_its_end(ranks) -> None:
    job = ranks(2)

    def rank(participant):
        with participant.block() as steady:
            participant.clock.advance(1.0 + participant.rank)
        return steady.block

    first, second = job.run(rank)
    assert first.rank_durations_ns == second.rank_durations_ns
    assert first.duration_s == pytest.approx(2.0)
    assert [len(participant.sent) for participant in job.participants] == [1, 1]
    assert [participant.lines() for participant in job.participants] == [
        ["info block.completed"],
        ["debug block.completed"],
    ]


# ------------------------------------------------------------------------------------------------ plain calls


def test_a_plain_call_warms_up_in_step_and_afterwards_tells_nobody(ranks) -> None:
    job = ranks(2)

    def rank(participant):
        with participant.block(ranks=UNSET):
            function = warmed(ranks=participant, iterations=2)(participant.function(1.0 + participant.rank))
            first = function()
            argument = len(participant.sent)
            assert [function(), function()] == [first + 1, first + 2]
            assert len(participant.sent) == argument == 4, "begin, and three runs"
            return first, function.state, function.warm()

    (one, *_), (two, *_) = got = job.run(rank)
    assert (one, two) == (3, 1003), "each rank has the value of its own run"
    assert [state for _, state, _ in got] == [State.WARM] * 2
    assert [run.duration_ns for run in got[0][2].runs] == [run.duration_ns for run in got[1][2].runs]
    assert got[0][2].decision == got[1][2].decision


def test_warm_alone_agrees_too(ranks) -> None:
    got = ranks(2).run(lambda participant: warmed(ranks=participant, iterations=2)(participant.function()).warm())
    assert [len(warmup.runs) for warmup in got] == [3, 3]
    assert {len(run.rank_durations_ns) for warmup in got for run in warmup.runs} == {2}


@pytest.mark.parametrize("around", [False, True], ids=["alone", "in a block that agrees"])
def test_a_plain_call_that_was_not_told_to_agree_tells_nobody(around, ranks) -> None:
    job = ranks(2)

    def rank(participant):
        function = warmed(iterations=1)(participant.function())
        if not around:
            return (function(), function.warm()) if participant.rank == 0 else None
        with participant.block():
            if participant.rank == 0:  # rank 0 alone calls it
                function()
                function.warm()
            assert participant.sent == []
        return None

    assert all(not isinstance(each, BaseException) for each in job.run(rank))
    assert [len(participant.sent) for participant in job.participants] == [around, around]


@pytest.mark.parametrize("where", ["block", "decorator"])
def test_none_opts_out(where, ranks) -> None:
    job = ranks(2)

    def rank(participant):
        if participant.rank == 1:
            return None
        function = warmed(**SHORT, ranks=None if where == "decorator" else participant)(participant.function())
        with participant.block(ranks=None if where == "block" else UNSET) as steady:
            function()
            report = function.measure()
        assert steady.block.rank_durations_ns is None
        return report

    report, _ = job.run(rank)
    assert report.ranks is None
    assert job.participants[0].sent == []


def test_a_block_goes_before_the_decorator(ranks) -> None:
    job, other = ranks(2), ranks(2)

    def rank(participant):
        function = warmed(**SHORT, ranks=other.participants[participant.rank])(participant.function())
        with participant.block():
            return function.measure()

    same(job.run(rank))
    assert [participant.sent for participant in other.participants] == [[], []]


def test_habits_of_a_key_are_its_own_ranks(ranks) -> None:
    """What four ranks pay once each is not what one rank may pay four times."""
    job = ranks(4)

    def rank(participant):
        work = {run: [CACHE] for run in range(6)} | {6: [OneTimeWork(kind=CACHE.kind, count=3)]}
        with participant.block(ranks=UNSET):
            function = warmed(ranks=participant, iterations=4)(participant.function(work=work))
            function()
            assert function.state is State.WARM
            function()
            return function.state

    assert job.run(rank) == [State.DEGRADED] * 4
    for participant in job.participants:
        calls = participant.events.named("jitwarmup.call")
        assert [call["contaminated"] for call in calls] == [False, True]
        assert len(participant.events.named("jitwarmup.steady_state.lost")) == 1


# ------------------------------------------------------------------------------------------------ one plan


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("iterations", (1, 2)),
        ("iterations", (until_steady(), until_steady(at_most=7))),
        ("measurements", (2, 3)),
        ("budget_s", (None, 5.0)),
        ("on_contamination", ("mark", "redo")),
        ("name", ("one", "two")),
    ],
)
def test_plans_that_differ_are_refused_on_all_before_anything_is_run(setting, values, ranks) -> None:
    job = ranks(2)
    got = job.run(lambda participant: measures(participant, **{setting: values[participant.rank]}))
    argument = "callable" if setting == "name" else setting
    for error in got:
        assert isinstance(error, ArgumentError)
        assert re.match(
            rf"rank 1 got {argument}=.*and rank 0 {argument}=.*wanted the same plan on every rank", str(error)
        )
    assert not any("user" in participant.log for participant in job.participants)


def test_rules_of_the_users_own_are_the_same_where_they_are_of_one_kind(ranks) -> None:
    """Their addresses differ from process to process."""

    def rank(participant):
        def mine(runs):
            return Decision(state="spent" if len(runs) > 2 else "more")

        return phases(measures(participant, iterations=until_steady() | mine)), phases(
            measures(participant, iterations=mine)
        )

    assert ranks(2).run(rank) == [("vwwmm", "vwwmm")] * 2


def test_rules_that_differ_inside_of_a_composition_are_refused(ranks) -> None:
    got = ranks(2).run(
        lambda participant: measures(participant, iterations=until_steady() | Fixed(2 + participant.rank))
    )
    assert [type(error) for error in got] == [ArgumentError] * 2


def test_ranks_that_get_out_of_step_are_told_where_each_stands(ranks) -> None:
    job = ranks(2)

    def rank(participant):
        def mine(runs):
            return Decision(state="spent" if len(runs) > 1 + participant.rank else "more")

        return measures(participant, iterations=mine)

    for report in job.run(rank):
        assert report.failure.type == "RankFailed"
        assert "out of step (rank 0 after measure run 0, rank 1 after warm run 1)" in report.failure.message
        assert report.latency_s == -1.0


@pytest.mark.parametrize("late", [0, 1])
def test_ranks_that_are_at_different_places_of_their_programs_are_out_of_step(late, ranks) -> None:
    def block_or_measure(participant):
        with participant.block(**SHORT) as steady:
            if participant.rank == late:
                return steady.measure(participant.function())
        return steady.reports[0]

    got = ranks(2).run(block_or_measure)
    assert isinstance(got[late], RankFailed)
    assert "the ranks are out of step" in str(got[late])
    assert "the ranks are out of step" in got[1 - late].failure.message


def test_what_is_no_verdict_is_out_of_step(ranks) -> None:
    together = RankAgreement(ranks(2).participants[0])
    asking = together.verdict(Verdict(state="steady"))
    next(asking)
    with pytest.raises(StopIteration) as stop:
        asking.send(Exchanged(messages=(b"verdict {}", b"after []")))
    assert stop.value.value is None
    assert "the ranks are out of step (rank 0 ends a measurement, rank 1 is after a run" in str(together.lost)


def test_warming_again_after_a_loss_is_refused_where_ranks_agree(ranks) -> None:
    for policy in ("rewarm", "unready"):
        with pytest.raises(ArgumentError, match=f"on_loss='{policy}' got ranks= too"):
            warmed(on_loss=policy, ranks=ranks(2).participants[0])
    warmed(on_loss="rewarm", ranks=None)(len)


def test_what_is_no_group_is_refused_at_once() -> None:
    for refused in (lambda: warmed(ranks=3), lambda: steady_state(ranks=3)):
        with pytest.raises(ArgumentError, match=r"wanted a torch\.distributed group"):
            refused()


def test_a_lost_rank_has_its_own_error() -> None:
    assert RankFailed("gone", (3,)).ranks == (3,)
