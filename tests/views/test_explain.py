"""A report in plain words, biggest cause first."""

from dataclasses import replace

from jitwarmup.analysis.compose import compose
from jitwarmup.records.failure import Failure
from jitwarmup.records.report import RankTimes
from jitwarmup.records.runs import OneTimeWork, Phase, Run
from jitwarmup.records.verdict import Reason, Verdict
from jitwarmup.views import report_text as explain
from jitwarmup.views.summary import figures, headline, notes, summary


def a_run(seconds, phase):
    return Run(phase=phase, index=0, started_at=0.0, duration_ns=round(seconds * 1e9))


def report(*measured, failure=None, reasons=()):
    runs = [a_run(5.0, Phase.VALIDATE), a_run(1.0, Phase.WARM), *(a_run(one, Phase.MEASURE) for one in measured)]
    return compose(
        callable="m.generate",
        report_id="1",
        started_at=0.0,
        duration_s=9.0,
        runs=runs,
        verdict=Verdict(state="unsteady", reasons=reasons),
        failure=failure,
        costs=[{"import": 0.5, "dynamo.capture": 3.0}, {}],
    )


def test_the_report_is_explained_biggest_cause_first():
    lines = explain(
        report(1.0, 1.0, 1.0, reasons=(Reason(kind="still_falling"), Reason(kind="too_noisy")))
    ).splitlines()
    assert lines[:2] == ["m.generate", "1 s a run at the median of 3 clean runs (990 ms to 1.01 s, 75%)"]
    first = lines.index("cold and warm-up time by cause") + 1
    assert [line.split() for line in lines[first : first + 4]] == [
        ["dynamo.capture", "3", "s", "50.0%"],
        ["run", "2", "s", "33.3%"],
        ["import", "500", "ms", "8.3%"],
        ["unexplained", "500", "ms", "8.3%"],
    ]
    found = lines.index("verdict unsteady")
    assert lines[found + 1] == "  - still falling"
    assert lines[found + 2].startswith("    next: ")
    assert "  - too noisy" in lines[found:]


def test_marked_runs_are_told_with_their_reason_and_what_to_do():
    reason = "size of x changed at dimension 0: expected 8, got 9"
    paid = OneTimeWork(kind="dynamo.recompile", duration_s=0.5, reason=reason)
    lines = report(1.0, 1.0)
    marked = replace(a_run(1.5, Phase.MEASURE), work=(paid,), contaminated=True)
    lines = explain(replace(lines, runs=(*lines.runs, marked))).splitlines()
    assert "1 of 3 measured runs paid for one-time work and are left out of the clean figures:" in lines
    assert f"  run 0: 1.5 s: dynamo.recompile ({reason})" in lines


def test_what_nobody_watched_is_told():
    lines = replace(report(1.0), verdict=Verdict(state="steady", unwatched={"triton": "not loaded"}))
    assert explain(lines).splitlines()[-1] == "  not watched: triton (not loaded)"


def test_a_failure_is_its_first_line_and_shows_no_message():
    failure = Failure(phase=Phase.WARM, index=2, type="ValueError", message="secret", traceback="")
    assert headline(report(failure=failure)) == "failed in warm run 2 with ValueError"
    assert "secret" not in explain(report(failure=failure))
    assert "secret" in summary(report(failure=failure), message=True)


def test_a_report_without_a_number_says_so():
    assert headline(report()) == "nothing was measured"


def test_a_report_without_a_validation_has_no_line_for_it():
    bare = compose(
        callable="m.f",
        report_id="1",
        started_at=0.0,
        duration_s=1.0,
        runs=[a_run(0.25, Phase.MEASURE)],
        verdict=Verdict(state="undecided"),
        failure=None,
        costs=[],
    )
    lines = explain(bare).splitlines()
    assert lines[:2] == ["m.f", "250 ms a run at the median of 1 clean runs"]
    assert lines[-1] == "verdict undecided"
    assert not any("by cause" in line for line in lines)


def on_ranks(report, *rows):
    """The report, with the times of two ranks for each of its measured runs."""
    times = iter(rows)
    runs = [replace(run, rank_durations_ns=next(times)) if run.phase is Phase.MEASURE else run for run in report.runs]
    return replace(report, runs=tuple(runs), ranks=RankTimes.of(runs, rank=0, members=(0, 3)))


def test_of_several_ranks_the_one_that_is_waited_for_is_named():
    lines = explain(on_ranks(report(1.0, 1.0), (10**9, 3 * 10**9), (10**9, 2 * 10**9)))
    assert "2 ranks in step, slowest" in lines
    assert ("2 ranks in step, slowest", "rank 3 (100%)") in figures(on_ranks(report(1.0), (10**9, 3 * 10**9)))
    assert ("  rank 3, median", "3 s") in figures(on_ranks(report(1.0), (10**9, 3 * 10**9)))
    assert "ranks" not in explain(report(1.0))


def test_one_time_work_and_a_failure_are_told_with_their_rank():
    work = OneTimeWork(kind="dynamo.recompile", reason="size of x changed", rank=3)
    marked = replace(a_run(1.0, Phase.MEASURE), work=(work,), contaminated=True)
    found = report(1.0)
    assert "dynamo.recompile on rank 3 (size of x changed)" in explain(replace(found, runs=(*found.runs, marked)))
    assert "dynamo.recompile on rank 3" in notes(marked)
    lost = Failure(phase=Phase.WARM, index=2, type="ValueError", message="", traceback="", rank=1)
    assert headline(report(failure=lost)) == "failed in warm run 2 on rank 1 with ValueError"
    assert "on rank 1 with ValueError" in summary(report(failure=lost))
