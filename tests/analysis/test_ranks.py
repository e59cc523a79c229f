"""Several ranks, one decision: what is told, the run that comes of it, and how the ranks compare. Lists of numbers only."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup import DeviceReading, Failure, OneTimeWork, Phase, RankTimes, Reason, Report, Run, Verdict
from jitwarmup.analysis.audit import WEIGHT
from jitwarmup.analysis.compose import compose
from jitwarmup.analysis.ranks import RankReport, RemoteError, agreed, first_failed, of_rank, one_verdict, slowest

CAPTURE = OneTimeWork(kind="dynamo.capture", duration_s=3.0)
GROW = OneTimeWork(kind="allocator.grow", count=2)


def a_run(ns=1000, phase=Phase.WARM, index=3, **a_report):
    return Run(phase=phase, index=index, started_at=7.0, duration_ns=ns, **a_report)


def a_report(ns=1000, phase=Phase.WARM, index=3, **more):
    return RankReport(phase=phase, index=index, duration_ns=ns, **more)


def measured(*rows):
    return [a_run(max(row), Phase.MEASURE, at, rank_durations_ns=row) for at, row in enumerate(rows)]


# ------------------------------------------------------------------------------------------------ what is told

numbers = st.none() | st.just(0.0) | st.floats(min_value=1e-100, max_value=1e6)  # what is next to nothing is refused
works = st.builds(
    OneTimeWork,
    kind=st.text(min_size=1, max_size=20),
    count=st.integers(0, 1 << 40),
    duration_s=numbers,
    reason=st.none() | st.text(max_size=30),
    scope=st.sampled_from(["own", "foreign", "shared"]),
    recurrence=st.sampled_from(["one_time", "recurring", "ambient"]),
    rank=st.none() | st.integers(0, 5000),
)
anything_said = st.builds(
    RankReport,
    phase=st.sampled_from(list(Phase)),
    index=st.integers(0, 1 << 31),
    duration_ns=st.integers(0, 1 << 62),
    ending=st.sampled_from(["ok", "failed", "refused", "mutated"]),
    watched=st.booleans(),
    cpu_s=numbers,
    wait_s=numbers,
    switches=st.none() | st.integers(0, 1 << 40),
    work=st.lists(works, max_size=3).map(tuple),
    words=st.none() | st.builds(RemoteError, type=st.text(max_size=9), message=st.text(), traceback=st.text()),
)


@given(anything_said)
def test_what_is_told_arrives_as_it_was(reports):
    assert RankReport.from_bytes(reports.to_bytes()) == reports


def test_a_message_that_is_no_unicode_arrives_too():
    reports = a_report(words=RemoteError(type="E", message="\udcff half a \ud83d pair"))
    assert RankReport.from_bytes(reports.to_bytes()) == reports


def test_what_a_quiet_run_tells_fits_into_one_row():
    longest = a_report(
        (1 << 62), Phase.VALIDATE, 10**9, cpu_s=123456.123456789, wait_s=123456.123456789, switches=1 << 40
    )
    assert len(longest.to_bytes()) < 188


def test_a_run_is_told_with_all_that_decides():
    run = a_run(5, Phase.MEASURE, 2, work=(CAPTURE,), cpu_s=0.1, wait_s=0.2, switches=3)
    reports = RankReport.of(run, ending="ok", watched=True, words=RemoteError(type="E"))
    assert reports == RankReport(
        phase=Phase.MEASURE,
        index=2,
        duration_ns=5,
        watched=True,
        cpu_s=0.1,
        wait_s=0.2,
        switches=3,
        work=(CAPTURE,),
        words=RemoteError(type="E"),
    )


@pytest.mark.parametrize("garbage", [b"", b"{", b"[1,2]", b'["walk",0,1,"ok",0,null,null,null]', b"\xff\xfe"])
def test_what_is_no_message_is_refused(garbage):
    with pytest.raises(ValueError):
        RankReport.from_bytes(garbage)


# ------------------------------------------------------------------------------------------------ the agreed run


def test_the_slowest_rank_gives_the_times_of_all():
    own = a_run(10, cpu_s=1.0, wait_s=1.1, switches=1)
    reports = [
        a_report(10, cpu_s=1.0, wait_s=1.1, switches=1),
        a_report(40, cpu_s=4.0, wait_s=4.1, switches=4),
        a_report(30, cpu_s=9.0, wait_s=9.1, switches=9),
    ]
    run = agreed(own, reports, (0, 1, 2))
    assert (run.duration_ns, run.cpu_s, run.wait_s, run.switches) == (40, 4.0, 4.1, 4)
    assert run.rank_durations_ns == (10, 40, 30)


def test_what_the_slowest_rank_could_not_read_is_absent():
    run = agreed(a_run(1, cpu_s=1.0, wait_s=1.0, switches=1), [a_report(1, cpu_s=1.0), a_report(2)], (0, 1))
    assert (run.cpu_s, run.wait_s, run.switches) == (None, None, None)


def test_of_equally_slow_ranks_the_first_counts():
    assert slowest([a_report(1), a_report(5), a_report(5)]) == 1
    assert agreed(a_run(), [a_report(5, switches=1), a_report(5, switches=2)], (0, 1)).switches == 1


def test_the_work_of_all_ranks_is_kept_with_the_rank_that_did_it():
    reports = [a_report(work=(CAPTURE,)), a_report(), a_report(work=(GROW, CAPTURE))]
    run = agreed(a_run(work=(CAPTURE,)), reports, (4, 5, 7))
    assert [(work.kind, work.count, work.rank) for work in run.work] == [
        ("dynamo.capture", 1, 4),
        ("allocator.grow", 2, 7),
        ("dynamo.capture", 1, 7),
    ]


def test_items_and_the_device_stay_the_ranks_own():
    own = a_run(items=9, first_item_s=0.1, item_gaps_s=(0.2,), device=DeviceReading(uuid="mine"), compiled_calls=3)
    run = agreed(own, [a_report(1), a_report(2)], (0, 1))
    assert replace(run, duration_ns=own.duration_ns, rank_durations_ns=None) == own


@pytest.mark.parametrize("ending", ["failed", "refused"])
def test_a_failure_anywhere_is_a_failure_of_the_run_on_all_ranks(ending):
    reports = [
        a_report(),
        a_report(ending=ending, words=RemoteError(type="Boom")),
        a_report(ending="failed", words=RemoteError(type="Late")),
    ]
    run = agreed(a_run(), reports, (0, 1, 2))
    assert (run.outcome, run.error_type) == ("error", "Boom")


def test_a_failure_without_words_is_one_too():
    assert agreed(a_run(), [a_report(), a_report(ending="failed")], (0, 1)).outcome == "error"


def test_the_failure_of_ones_own_keeps_its_own_words():
    own = a_run(outcome="error", error_type="Mine")
    run = agreed(own, [a_report(ending="failed", words=RemoteError(type="Theirs")), a_report(ending="failed")], (0, 1))
    assert (run.outcome, run.error_type) == ("error", "Mine")


def test_changed_arguments_are_no_failure():
    assert first_failed([a_report(), a_report(ending="mutated")]) is None
    assert agreed(a_run(), [a_report(), a_report(ending="mutated")], (0, 1)).outcome == "ok"


def test_every_rank_makes_the_same_run_of_the_same_words():
    reports = [
        a_report(1, work=(CAPTURE,)),
        a_report(3, ending="failed", words=RemoteError(type="E")),
        a_report(2, work=(GROW,)),
    ]
    own = [a_run(1, work=(CAPTURE,)), a_run(3, outcome="error", error_type="E"), a_run(2, work=(GROW,))]
    assert len({repr(agreed(run, reports, (0, 1, 2))) for run in own}) == 1


def test_of_one_rank_there_is_its_own_work_and_that_of_nobody():
    work = (replace(CAPTURE, rank=0), replace(GROW, rank=1), replace(GROW, rank=None))
    runs = of_rank([a_run(work=work), a_run()], 1)
    assert [run.work for run in runs] == [work[1:], ()]


# ------------------------------------------------------------------------------------------------ how ranks compare


def test_the_straggler_is_the_rank_that_was_slowest_most_often():
    times = RankTimes.of(measured((10, 30, 20), (10, 30, 20), (90, 30, 20), (10, 30, 20)), rank=1, members=(4, 5, 6))
    assert (times.rank, times.members) == (1, (4, 5, 6))
    assert times.median_s == (10e-9, 30e-9, 20e-9)
    assert (times.straggler, times.straggler_share) == (5, 0.75)
    assert times.skew_s == pytest.approx(20e-9)


def test_of_equal_stragglers_the_one_with_the_longer_median_is_named():
    times = RankTimes.of(measured((10, 8), (8, 11), (10, 8), (8, 11)), rank=0, members=(0, 1))
    assert (times.straggler, times.straggler_share) == (1, 0.5)


def test_ranks_that_are_equal_in_every_run_name_the_first():
    times = RankTimes.of(measured((10, 10), (10, 10)), rank=0, members=(3, 4))
    assert (times.straggler, times.straggler_share, times.skew_s) == (3, 1.0, 0.0)


@pytest.mark.parametrize("runs", [[], [a_run(5, Phase.MEASURE)]])
def test_without_a_common_run_the_times_are_absent(runs):
    assert RankTimes.of(runs, rank=0, members=(0, 1)) == RankTimes(rank=0, members=(0, 1))
    assert RankTimes(rank=0, members=(0, 1)).skew_s is None


# ------------------------------------------------------------------------------------------------ one verdict

FALLING = Reason(kind="still_falling", numbers={"share_per_run": 0.1})
THROTTLED = Reason(kind="throttled", numbers={"share": 0.5}, subject="thermal")


@given(st.lists(st.sampled_from(sorted(WEIGHT)), min_size=1, max_size=6))
def test_the_weightiest_state_is_that_of_all(states):
    verdict = one_verdict([Verdict(state=state) for state in states], range(len(states)))
    assert WEIGHT[verdict.state] == max(WEIGHT[state] for state in states)


def test_what_all_found_is_said_once_and_what_one_found_with_its_rank():
    verdicts = [
        Verdict(state="unsteady", reasons=(FALLING,)),
        Verdict(state="degraded", reasons=(THROTTLED, FALLING)),
    ]
    verdict = one_verdict(verdicts, (2, 3))
    assert verdict.state == "degraded"
    assert verdict.reasons == (FALLING, replace(THROTTLED, numbers={"share": 0.5, "rank": 3.0}))


def test_what_only_the_first_rank_found_is_not_taken_for_all():
    verdict = one_verdict([Verdict(state="unsteady", reasons=(FALLING,)), Verdict(state="steady")], (2, 3))
    assert verdict.reasons == (replace(FALLING, numbers={"share_per_run": 0.1, "rank": 2.0}),)


def test_only_probes_that_all_could_use_have_watched_and_every_reason_why_not_is_kept():
    verdicts = [
        Verdict(state="steady", watched=("a", "b"), unwatched={"c": "not loaded"}),
        Verdict(state="steady", watched=("b", "a", "c"), unwatched={"d": "no permission"}),
    ]
    verdict = one_verdict(verdicts, (0, 1))
    assert set(verdict.watched) == {"a", "b"}
    assert verdict.unwatched == {"c": "not loaded", "d": "no permission"}


def test_every_rank_comes_to_the_same_verdict_as_it_is_made_of_the_same_words():
    one = Verdict(state="steady", watched=("a",))
    assert one_verdict([one], (0,)) == one


# ------------------------------------------------------------------------------------------------ documents


def report_of_ranks():
    runs = [
        replace(a_run(9, Phase.VALIDATE, 0), rank_durations_ns=(9, 4), work=(replace(CAPTURE, rank=1),)),
        *measured((10, 30), (20, 5)),
    ]
    return compose(
        callable="m.f",
        report_id="1",
        started_at=1.0,
        duration_s=2.0,
        runs=runs,
        verdict=Verdict(state="undecided"),
        failure=Failure(phase=Phase.MEASURE, index=2, type="E", message="no", traceback="", rank=1),
        costs=[{}],
        ranks=RankTimes.of(runs[1:], rank=0, members=(0, 1)),
    )


def test_a_report_of_several_ranks_is_read_back_as_it_was():
    report = report_of_ranks()
    document = json.loads(json.dumps(report.to_dict()))
    read = Report.from_dict(document)
    assert read == report
    assert (read.ranks.straggler, read.failure.rank, read.runs[0].work[0].rank) == (1, 1, 1)
    assert read.runs[1].rank_durations_ns == (10, 30)
    assert RankTimes.from_dict(report.ranks.to_dict()) == report.ranks


def test_a_report_from_before_there_were_ranks_is_still_read():
    document = report_of_ranks().to_dict()
    del document["ranks"], document["failure"]["rank"]
    for run in document["runs"]:
        del run["rank_durations_ns"]
        for work in run["work"]:
            del work["rank"]
    read = Report.from_dict(document)
    assert (read.ranks, read.failure.rank, read.runs[0].work[0].rank) == (None, None, None)
    assert {run.rank_durations_ns for run in read.runs} == {None}
