"""A report in plain words, biggest cause first."""

from jitwarmup.model.report import Failure, compose
from jitwarmup.model.runs import Phase, Run
from jitwarmup.model.verdict import Reason, Verdict
from jitwarmup.views.explain import explain, headline


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
    told = explain(report(1.0, 1.0, 1.0, reasons=(Reason(kind="still_falling"), Reason(kind="too_noisy"))))
    assert told.splitlines() == [
        "m.generate: 1 s a run at the median of 3 clean runs",
        "cold run 5 s, 1 warm-up runs",
        "  dynamo.capture           3 s",
        "  run                      2 s",
        "  import                   500 ms",
        "  unexplained              500 ms",
        "verdict unsteady: still_falling",
        "verdict unsteady: too_noisy",
    ]


def test_a_failure_is_its_first_line_and_shows_no_message():
    failure = Failure(phase=Phase.WARM, index=2, type="ValueError", message="secret", traceback="")
    assert headline(report(failure=failure)) == "m.generate: failed in warm run 2 with ValueError"
    assert "secret" not in explain(report(failure=failure))


def test_a_report_without_a_number_says_so():
    assert headline(report()) == "m.generate: nothing was measured"


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
    assert explain(bare) == "m.f: 250 ms a run at the median of 1 clean runs"
