"""A rank fails, changes its arguments, is interrupted, leaves or is lost: what the others get, and that nobody waits."""

from __future__ import annotations

import asyncio
import json

import pytest

from jitwarmup import MeasurementFailed, RankFailed, State, warmed
from jitwarmup.engine.commands import Ending
from jitwarmup.engine.options import UNSET
from jitwarmup.host.scope import current
from jitwarmup.records.errors import ArgumentError

SHORT = {"iterations": 1, "measurements": 2}  # exchanges: 0 begin, 1 validate, 2 warm, 3 and 4 measure, 5 the verdict
PROMPT = "the prompt of a user"


class Boom(Exception):
    pass


def measures(participant, function, **settings):
    """One rank measures in a block of its own."""
    with participant.block(**{**SHORT, **settings}) as steady:
        return steady.measure(function)


def calls(participant, function, *args, spell="call", **options):
    """One rank calls a function that agrees when it warms up: what came of it, and its state."""
    warm = warmed(**{"iterations": 2, "ranks": participant, **options})(function)
    with participant.block(ranks=UNSET):
        try:
            return (warm if spell == "call" else warm.warm)(*args), warm
        except BaseException as error:
            return error, warm


def came_of(got):
    return [each for each, _ in got]


def states(got):
    return [warm.state for _, warm in got]


def made(participant):
    """Runs of the user's function."""
    return participant.log.count("user")


# ------------------------------------------------------------------------------------------------ a failure


@pytest.mark.parametrize("failing", [0, 2])
@pytest.mark.parametrize(
    "case",
    [(0, "validate", State.COLD, -1.0), (1, "warm", State.FAILED, -1.0), (3, "measure", State.WARM, 1.0)],
)
def test_a_failure_of_one_rank_is_told_to_all(failing, case, ranks) -> None:
    run, phase, state, latency_s = case
    job = ranks(3)
    boom = Boom(PROMPT)

    def rank(participant):
        user = warmed()(participant.function(error={run: boom} if participant.rank == failing else None))
        return measures(participant, user), user

    got = job.run(rank)
    for at, report in enumerate(came_of(got)):
        failure = report.failure
        assert (failure.rank, failure.phase, failure.type, failure.message) == (failing, phase, "Boom", PROMPT)
        assert "raise error[run]" in failure.traceback
        assert isinstance(failure.exception, Boom if at == failing else RankFailed)
        assert report.latency_s == pytest.approx(latency_s)
        assert report.verdict == got[0][0].verdict
        assert report.verdict.state == "invalid"
        assert report.runs[-1].error_type == "Boom"
        if at != failing:
            assert failure.exception.ranks == (failing,)
            assert str(failure.exception).startswith(f"rank {failing} failed in {phase} run ")
            assert PROMPT not in str(failure.exception)
    (reason,) = [reason for reason in got[0][0].verdict.reasons if reason.kind == f"failed_in_{phase}"]
    assert reason.numbers["rank"] == failing
    assert states(got) == [state] * 3
    assert [made(participant) for participant in job.participants] == [run + 1] * 3
    assert [participant.left for participant in job.participants] == [[], [], []]


@pytest.mark.parametrize("run", [0, 1, 3])
def test_of_a_failure_the_first_rank_speaks_and_no_event_holds_what_it_says(run, ranks) -> None:
    job = ranks(3)
    job.run(
        lambda participant: measures(
            participant, participant.function(error={run: Boom(PROMPT)} if participant.rank == 1 else None)
        )
    )
    first, *others = job.participants
    assert first.lines()[-2] == "error measurement.failed"
    assert first.lines()[-1] == "info block.completed"
    for participant in others:
        assert {line.split()[0] for line in participant.lines()} == {"debug"}
        assert [line.split()[1] for line in participant.lines()] == [line.split()[1] for line in first.lines()]
    for participant in job.participants:
        (event,) = participant.events.named("jitwarmup.measurement.failed")
        assert (event["failed_ranks"], event["error_type"]) == (["1"], "Boom")
        assert PROMPT not in json.dumps(list(participant.events))


def test_a_failed_validation_is_its_callers_and_the_others_keep_their_value(ranks) -> None:
    job = ranks(3)
    boom = Boom()
    got = job.run(
        lambda participant: calls(participant, participant.function(error={0: boom} if participant.rank == 1 else None))
    )
    assert came_of(got) == [0, boom, 2000]
    assert [made(participant) for participant in job.participants] == [1, 1, 1]
    assert states(got) == [State.COLD] * 3
    again = job.run(lambda participant: got[participant.rank][1]())
    assert again == [4, 1004, 2004], "the next call tries again, on all"
    assert states(got) == [State.WARM] * 3


def test_after_a_failed_extra_run_each_rank_makes_its_callers_own_run(ranks) -> None:
    job = ranks(2)
    got = job.run(
        lambda participant: calls(
            participant, participant.function(error={1: Boom()} if participant.rank == 1 else None)
        )
    )
    assert came_of(got) == [2, 1002]
    assert states(got) == [State.FAILED] * 2
    sent = [len(participant.sent) for participant in job.participants]
    job.run(lambda participant: got[participant.rank][1]())
    assert [len(participant.sent) for participant in job.participants] == sent, "calls of a failed key are plain ones"


@pytest.mark.parametrize("run", [0, 1])
def test_warm_raises_the_exception_where_it_happened_and_names_the_rank_elsewhere(run, ranks) -> None:
    boom = Boom()
    job = ranks(2)
    (mine, _), (theirs, _) = job.run(
        lambda participant: calls(
            participant, participant.function(error={run: boom} if participant.rank == 1 else None), spell="warm"
        )
    )
    assert theirs is boom
    assert isinstance(mine, RankFailed)
    assert mine.ranks == (1,)


def test_ranks_that_fail_in_the_same_run_each_report_their_own(ranks) -> None:
    reports = ranks(3).run(
        lambda participant: measures(
            participant, participant.function(error={1: Boom(f"of {participant.rank}")} if participant.rank else None)
        )
    )
    assert [report.failure.rank for report in reports] == [1, 1, 2]
    assert [report.failure.message for report in reports] == ["of 1", "of 1", "of 2"]
    assert reports[0].verdict == reports[1].verdict == reports[2].verdict


def test_a_value_that_one_rank_refuses_is_refused_on_all(ranks) -> None:
    job = ranks(2)
    reports = job.run(
        lambda participant: measures(participant, participant.function(), accept=lambda _: participant.rank == 0)
    )
    for report in reports:
        assert (report.failure.rank, report.failure.type, report.latency_s) == (1, "NotAccepted", -1.0)
    assert isinstance(reports[1].failure.exception, MeasurementFailed)
    got = ranks(2).run(
        lambda participant: calls(participant, participant.function(), accept=lambda _: participant.rank == 0)
    )
    assert came_of(got) == [0, 1000], "each caller has the value of the only run"
    assert states(got) == [State.COLD] * 2
    got = ranks(2).run(
        lambda participant: calls(
            participant, participant.function(), spell="warm", accept=lambda _: participant.rank == 0
        )
    )
    assert [type(error) for error in came_of(got)] == [RankFailed, MeasurementFailed]


def test_arguments_that_change_on_one_rank_end_the_extra_runs_on_all(ranks) -> None:
    job = ranks(2)

    def changing(participant):
        user = participant.function()

        def function(given):
            if participant.rank == 1:
                given.append(1)
            return user()

        return function

    got = job.run(lambda participant: calls(participant, changing(participant), []))
    assert came_of(got) == [0, 1000]
    assert [made(participant) for participant in job.participants] == [1, 1]
    assert states(got) == [State.WARM] * 2
    assert job.run(lambda participant: got[participant.rank][1].warm([]).skipped) == ["arguments_mutated"] * 2

    def measured(participant):
        with participant.block(**SHORT) as steady:
            return steady.measure(changing(participant), [])

    reports = ranks(2).run(measured)
    assert [(len(report.runs), report.skipped, report.failure) for report in reports] == [
        (1, "arguments_mutated", None)
    ] * 2
    assert reports[0].verdict == reports[1].verdict


# ------------------------------------------------------------------------------------------------ an interruption


def test_who_is_interrupted_tells_the_others_and_waits_for_nobody(ranks) -> None:
    job = ranks(3)
    got = job.run(
        lambda participant: calls(
            participant, participant.function(error={2: KeyboardInterrupt()} if participant.rank == 1 else None)
        )
    )
    assert [type(each) for each in came_of(got)] == [int, KeyboardInterrupt, int]
    assert job.participants[1].left == ["KeyboardInterrupt in warm run 1"]
    assert len(job.participants[1].sent) == 3, "begin and two runs, and not the one that was interrupted"
    assert came_of(got)[0] == 3, "the others' callers have their own run"
    assert job.participants[0].left == []


def test_a_measurement_that_one_rank_interrupts_is_reported_by_the_others(ranks) -> None:
    job = ranks(2)
    error = {3: KeyboardInterrupt()}
    report, interrupt = job.run(
        lambda participant: measures(participant, participant.function(error=error if participant.rank == 1 else None))
    )
    assert isinstance(interrupt, KeyboardInterrupt)
    assert (report.failure.type, report.failure.rank, report.failure.phase) == ("RankFailed", 1, "measure")
    assert isinstance(report.failure.exception, RankFailed)
    assert report.latency_s == pytest.approx(1.0), "samples from before are kept"
    assert len(job.participants[0].sent) == 5, "no verdict, and no end of the block, is waited for"


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_interruption_of_the_waiting_leaves_too(number, ranks) -> None:
    job = ranks(2)
    job.participants[1].interrupts[number] = KeyboardInterrupt()
    lost, interrupt = job.run(lambda participant: calls(participant, participant.function(), spell="warm"))
    assert isinstance(interrupt[0], KeyboardInterrupt)
    assert len(job.participants[1].left) == 1
    if number == 3:
        assert lost[1].state is State.WARM, "all had said all there was to say"


def test_a_cancelled_task_leaves(ranks) -> None:
    job = ranks(2)

    async def rank(participant):
        user = participant.function()

        async def task():
            if participant.rank == 1 and made(participant) == 1:
                raise asyncio.CancelledError
            return user()

        async with participant.block(**SHORT) as steady:
            return await steady.measure(task)

    report, cancelled = job.arun(rank)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert (report.failure.rank, report.failure.type) == (1, "RankFailed")
    assert job.participants[1].left[0] == "CancelledError in warm run 0"


def test_interrupted_warm_ups_go_on_from_the_runs_that_all_have(ranks) -> None:
    job = ranks(2)
    job.participants[1].interrupts[3] = KeyboardInterrupt()  # rank 0 hears of the third run of both, rank 1 does not
    got = job.run(lambda participant: calls(participant, participant.function(1.0 + participant.rank), iterations=4))
    assert isinstance(got[1][0], KeyboardInterrupt)
    assert states(got) == [State.COLD] * 2, "what one rank alone takes for failed, the other would wait for"
    before = [made(participant) for participant in job.participants]
    values = job.run(lambda participant: got[participant.rank][1]())
    assert [type(value) for value in values] == [int, int]
    assert states(got) == [State.WARM] * 2
    one, two = (warm.warm() for _, warm in got)
    assert [run.duration_ns for run in one.runs] == [run.duration_ns for run in two.runs]
    assert [(run.phase, run.index) for run in one.runs] == [("validate", 0), *[("warm", at) for at in range(4)]]
    assert [made(participant) - was for participant, was in zip(job.participants, before, strict=True)] == [4, 4], (
        "two had both before"
    )


def test_both_come_again_after_one_left(ranks) -> None:
    job = ranks(2)
    error = {2: KeyboardInterrupt()}
    got = job.run(
        lambda participant: calls(
            participant, participant.function(error=error if participant.rank else None), iterations=4
        )
    )
    assert states(got) == [State.COLD] * 2
    job.run(lambda participant: got[participant.rank][1]())
    assert states(got) == [State.WARM] * 2


def test_who_was_interrupted_while_it_waited_for_the_others_comes_again(ranks) -> None:
    job = ranks(2)
    job.participants[1].late[0] = KeyboardInterrupt()
    got = job.run(lambda participant: calls(participant, participant.function()))
    assert [type(each) for each in came_of(got)] == [int, KeyboardInterrupt]
    assert [made(participant) for participant in job.participants] == [1, 0]
    assert states(got) == [State.COLD] * 2
    job.run(lambda participant: got[participant.rank][1]())
    assert states(got) == [State.WARM] * 2


def test_what_goes_wrong_beside_the_function_makes_a_rank_leave(ranks) -> None:
    job = ranks(2)

    def fresh(*args):
        raise Boom(PROMPT)

    got = job.run(
        lambda participant: calls(
            participant, participant.function(), spell="warm", **({"fresh": fresh} if participant.rank == 1 else {})
        )
    )
    assert [type(each) for each in came_of(got)] == [RankFailed, Boom]
    assert job.participants[1].left == ["Boom, after 0 runs"]


# ------------------------------------------------------------------------------------------------ a rank is lost


@pytest.mark.parametrize("exchange", [0, 1, 2, 3])
def test_a_call_still_gives_its_value_when_a_rank_is_lost(exchange, ranks) -> None:
    job = ranks(2)
    job.lose(exchange)
    got = job.run(lambda participant: calls(participant, participant.function()))
    runs = 1 if exchange == 1 else exchange + 1  # the validation run is the caller's, where it was the only one
    assert came_of(got) == [runs - 1, 1000 + runs - 1]
    assert [made(participant) for participant in job.participants] == [runs, runs]
    assert states(got) == [State.COLD if exchange == 1 else State.FAILED] * 2
    assert [len(participant.sent) for participant in job.participants] == [exchange + 1] * 2
    levels = [event["level"] for event in job.participants[0].events.named("jitwarmup.warmup.failed")]
    assert levels == ([] if exchange == 1 else ["warning"])


@pytest.mark.parametrize("exchange", [0, 1, 2, 3])
def test_warm_raises_when_a_rank_is_lost(exchange, ranks) -> None:
    job = ranks(2)
    job.lose(exchange)
    got = job.run(lambda participant: calls(participant, participant.function(), spell="warm"))
    for error in came_of(got):
        assert isinstance(error, RankFailed)
        assert error.ranks == (9,)
        assert str(error).startswith("rank 9 is gone")


def test_a_measurement_to_which_nobody_came_raises(ranks) -> None:
    job = ranks(2)
    job.lose(0)
    got = job.run(lambda participant: measures(participant, participant.function()))
    assert [type(error) for error in got] == [RankFailed] * 2
    assert [made(participant) for participant in job.participants] == [0, 0]
    assert [len(participant.sent) for participant in job.participants] == [1, 1], (
        "the end of the block does not wait again"
    )


@pytest.mark.parametrize(
    ("exchange", "latency_s"),
    [(1, -1.0), (2, -1.0), (3, -1.0), (4, 1.0), (5, 1.0)],
    ids=["validate", "warm", "0", "1", "end"],
)
def test_a_measurement_in_which_a_rank_is_lost_reports_it(exchange, latency_s, ranks) -> None:
    job = ranks(2)
    job.lose(exchange)
    for report in job.run(lambda participant: measures(participant, participant.function())):
        assert (report.failure.type, report.failure.rank) == ("RankFailed", 9)
        assert report.failure.message.startswith("rank 9 is gone")
        assert report.verdict.state == "invalid"
        assert report.latency_s == pytest.approx(latency_s)
        assert len(report.runs) == min(exchange, 4)
    assert [len(participant.sent) for participant in job.participants] == [exchange + 1] * 2, (
        "the end of the block does not wait again"
    )
    assert [made(participant) for participant in job.participants] == [min(exchange, 4)] * 2


def test_the_end_of_a_block_around_a_function_does_not_wait_for_a_rank_that_was_lost_in_it(ranks) -> None:
    job = ranks(2)
    job.lose(5)  # begin, validation, one warm-up run, begin: the next one

    def rank(participant):
        with participant.block(participant.function(), **SHORT) as steady:
            lost = steady.measure(participant.function())
        return lost, steady

    for lost, steady in job.run(rank):
        assert lost.failure.type == "RankFailed"
        assert steady.block.outcome == "ok"
    assert [len(participant.sent) for participant in job.participants] == [6, 6]


def test_who_was_lost_in_a_block_tells_those_who_would_wait_at_its_end(ranks) -> None:
    """A part of the ranks may have measured in it."""
    world, part = ranks(2), ranks(1)
    part.lose(1)

    def rank(participant):
        with participant.block() as steady:
            if participant.rank == 0:
                calls(participant, participant.function(), ranks=part.participants[0])
        return steady.block.outcome, [report.failure.rank for report in steady.reports]

    assert world.run(rank) == [("ok", []), ("error", [0])]


def test_a_block_that_raises_on_one_rank_is_not_waited_for(ranks) -> None:
    job = ranks(2)

    def rank(participant):
        steady = participant.block()
        try:
            with steady:
                if participant.rank == 1:
                    raise Boom(PROMPT)
        except Boom:
            assert participant.rank == 1
        return steady

    one, two = job.run(rank)
    assert (one.reports[0].failure.type, one.reports[0].failure.rank) == ("RankFailed", 1)
    assert (two.reports[0].failure.type, two.reports[0].failure.message) == ("Boom", PROMPT)
    assert job.participants[1].left == ["Boom in a block"]
    assert job.participants[1].sent == []
    assert job.participants[0].lines() == ["error block.failed"]
    assert PROMPT not in json.dumps([list(participant.events) for participant in job.participants])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_interruption_at_the_end_of_a_block_is_told_at_once(asynchronous, ranks) -> None:
    job = ranks(2)
    job.participants[1].interrupts[0] = KeyboardInterrupt()

    def rank(participant):
        try:
            with participant.block() as steady:
                pass
        except KeyboardInterrupt as interrupt:
            assert participant.left == ["left early, after 0 runs"], "also while somebody holds the traceback"
            return interrupt
        return steady

    async def arank(participant):
        steady = participant.block()
        await steady.__aenter__()
        try:
            await steady.__aexit__(None, None, None)
        except KeyboardInterrupt:
            assert participant.left == ["left early, after 0 runs"]
            return None
        return steady

    job.arun(arank) if asynchronous else job.run(rank)
    assert len(job.participants[1].left) == 1


def test_a_loop_that_one_rank_leaves_is_over_for_the_others(ranks) -> None:
    job = ranks(2)

    def rank(participant):
        with participant.block(**SHORT) as steady:
            for trial in steady.trials():
                with trial:
                    participant.clock.advance(1.0)
                if participant.rank == 1 and trial.phase == "warm":
                    break
            assert current().diverged
        return steady.reports[0]

    one, two = job.run(rank)
    assert (one.failure.type, one.failure.rank) == ("RankFailed", 1)
    assert Ending.LEFT.value in [reason.kind for reason in two.verdict.reasons]
    assert job.participants[1].left[0] == "left early, after 2 runs"


@pytest.mark.parametrize("run", [0, 1, 3])
def test_of_functions_side_by_side_an_interruption_of_one_ends_all_on_all(run, ranks) -> None:
    job = ranks(2)

    def rank(participant):
        first = participant.function(error={run: KeyboardInterrupt()} if participant.rank == 1 else None)
        with participant.block(**SHORT) as steady:
            return steady.interleave(first, participant.function(0.5))

    reports, interrupt = job.run(rank)
    assert len(job.participants[1].left) == 1
    again = job.run(lambda participant: measures(participant, participant.function()))
    assert [report.failure for report in again] == [None, None]
    assert isinstance(interrupt, KeyboardInterrupt)
    if run == 0:  # nobody has come to the second function
        assert (type(reports), reports.ranks) == (RankFailed, (1,))
        return
    failed = [report.failure is not None and (report.failure.type, report.failure.rank) for report in reports]
    assert failed == [("RankFailed", 1), ("RankFailed", 1) if run < 3 else False], "the second was done before the last"


def test_after_a_loss_the_next_measurement_in_the_block_meets_again(ranks) -> None:
    job = ranks(2)
    job.lose(2)

    def rank(participant):
        with participant.block(**SHORT) as steady:
            return steady.measure(participant.function()), steady.measure(participant.function(1.0 + participant.rank))

    for lost, found in job.run(rank):
        assert lost.failure.type == "RankFailed"
        assert found.failure is None
        assert found.latency_s == pytest.approx(2.0)


def test_plans_that_differ_break_the_meeting_for_all(ranks) -> None:
    job = ranks(2)
    got = job.run(lambda participant: calls(participant, participant.function(), iterations=1 + participant.rank))
    assert [type(each) for each in came_of(got)] == [ArgumentError] * 2
    assert [len(participant.left) for participant in job.participants] == [1, 1]


def test_who_leaves_before_the_others_come_is_heard_of_once_each_time(ranks) -> None:
    job = ranks(2)
    came = []

    def rank(participant):
        for _ in range(2):
            steady = participant.block()
            if participant.rank == 1:
                with pytest.raises(Boom), steady:
                    raise Boom
                came.append(steady)
            else:
                with steady:
                    while len(came) < 1 + len(job.participants[0].sent):
                        pass
            if participant.rank == 0:
                assert steady.reports[0].failure.rank == 1
        return measures(participant, participant.function())

    one, two = job.run(rank)
    assert one.failure is None
    assert one.verdict == two.verdict
