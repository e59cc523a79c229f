"""The report: its one number, where the seconds went, what a call costs in the long run, and what failed."""

import gc
import math
import weakref
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup.analysis.compose import compose, latency_of, ledger_of, timed
from jitwarmup.analysis.costs import exclusive_costs
from jitwarmup.analysis.stats import summarize
from jitwarmup.records.errors import ArgumentError, MeasurementFailed
from jitwarmup.records.failure import Failure
from jitwarmup.records.report import SENTINEL_S, Report, Summary
from jitwarmup.records.runs import OneTimeWork, Phase, Run
from jitwarmup.records.verdict import Verdict

PAID = (OneTimeWork(kind="dynamo.recompile", duration_s=0.25),)


def a_run(seconds, phase=Phase.MEASURE, index=0, **made):
    return Run(phase=phase, index=index, started_at=1.0, duration_ns=round(seconds * 1e9), **made)


def prepared(*seconds):
    phases = [Phase.VALIDATE] + [Phase.WARM] * (len(seconds) - 1)
    return [a_run(one, phase) for one, phase in zip(seconds, phases, strict=True)]


def failure(phase=Phase.MEASURE, exception=None, index=0):
    return Failure(phase=phase, index=index, type="ValueError", message="no", traceback="...", exception=exception)


def report_of(runs, *, failed=None, costs=None):
    cold = [run for run in runs if run.phase is not Phase.MEASURE]
    return compose(
        callable="m.f",
        report_id="1",
        started_at=1.0,
        duration_s=2.0,
        runs=runs,
        verdict=Verdict(state="undecided"),
        failure=failed,
        costs=costs if costs is not None else [{} for _ in cold],
    )


# ------------------------------------------------------------------------------------------------ latency_s


def test_the_latency_is_the_median_of_the_clean_measured_runs():
    runs = [*prepared(9.0, 8.0), a_run(1.0), a_run(3.0), a_run(2.0), a_run(70.0, work=PAID, contaminated=True)]
    report = report_of(runs)
    assert report.latency_s == report.latency.median_s == 2.0
    assert (report.latency.n, report.latency_all.n, report.latency_all.max_s) == (3, 4, 70.0)


def test_a_failure_after_clean_runs_leaves_their_median():
    runs = [*prepared(9.0), a_run(1.0), a_run(3.0), a_run(0.1, outcome="error", error_type="ValueError")]
    assert report_of(runs, failed=failure()).latency_s == 2.0


@pytest.mark.parametrize(
    "runs",
    [
        [a_run(9.0, Phase.VALIDATE, outcome="error")],
        [*prepared(9.0), a_run(8.0, Phase.WARM, outcome="error")],
        [*prepared(9.0, 1.0), a_run(1.0, outcome="error")],
        [*prepared(9.0), a_run(1.0, contaminated=True), a_run(1.0, outcome="error")],
        [*prepared(9.0), a_run(1.0, discarded=True), a_run(1.0, outcome="error")],
    ],
    ids=["validation", "warm-up", "first measured", "only contaminated before", "only discarded before"],
)
def test_the_sentinel_says_failed_without_a_clean_run(runs):
    assert report_of(runs, failed=failure()).latency_s == SENTINEL_S == -1.0


def test_where_all_runs_are_contaminated_it_is_their_median():
    runs = [a_run(s, work=PAID, contaminated=True) for s in (4.0, 5.0, 6.0)]
    report = report_of(runs)
    assert report.latency_s == 5.0
    assert report.latency == Summary(n=0)


def test_where_nothing_was_to_be_measured_there_is_no_number():
    assert report_of(prepared(1.0)).latency_s is None
    assert report_of([*prepared(1.0), a_run(1.0, outcome="cancelled")]).latency_s is None


@given(
    st.lists(st.tuples(st.floats(0.001, 9), st.booleans(), st.sampled_from(["ok", "error", "closed"]))), st.booleans()
)
def test_the_sentinel_is_there_exactly_when_it_failed_and_no_clean_run_exists(made, failed):
    runs = [a_run(seconds, contaminated=paid, outcome=outcome) for seconds, paid, outcome in made]
    report = report_of(runs, failed=failure() if failed else None)
    assert (report.latency_s == SENTINEL_S) == (failed and not any(run.clean for run in runs))


def test_streams_closed_early_and_discarded_runs_enter_no_summary():
    runs = [a_run(1.0), a_run(50.0, outcome="closed", items=1), a_run(60.0, discarded=True)]
    assert timed(runs) == runs[:1]
    report = report_of(runs)
    assert report.latency_all.n == 1
    assert report.measured == tuple(runs[:2])
    assert report.runs == tuple(runs)  # nothing is thrown away


def test_the_order_of_what_the_number_is():
    clean, every = Summary(n=1, median_s=1.0), Summary(n=2, median_s=2.0)
    assert latency_of(failure(), clean, every) == 1.0
    assert latency_of(failure(), Summary(n=0), every) == -1.0
    assert latency_of(None, Summary(n=0), every) == 2.0
    assert latency_of(None, Summary(n=0), Summary(n=0)) is None


# ------------------------------------------------------------------------------------------------ phases and streams


def test_the_phases_are_told_apart_and_the_last_validation_counts():
    runs = [a_run(1.0, Phase.VALIDATE, outcome="cancelled"), *prepared(2.0, 3.0, 4.0), a_run(1.0)]
    report = report_of(runs)
    assert report.validation is runs[1]
    assert report.warmup == tuple(runs[2:4])
    assert report.measured == (runs[4],)
    assert report_of([a_run(1.0)]).validation is None


def test_a_stream_has_its_first_item_its_gaps_and_its_rate():
    one = a_run(2.0, items=4, first_item_s=0.5, item_gaps_s=(0.5, 0.5, 0.25))
    two = a_run(1.0, items=4, first_item_s=0.25, item_gaps_s=(0.25,))
    report = report_of([one, two, a_run(9.0, contaminated=True, items=1, first_item_s=8.0)])
    assert report.first_item == summarize([0.5, 0.25])
    assert report.item_gap == summarize([0.5, 0.5, 0.25, 0.25])
    assert report.items_per_s == 3.0  # the median of 2 and 4 items a second


def test_a_stream_of_one_item_has_no_gaps_and_an_instant_one_no_rate():
    report = report_of([a_run(0.0, items=1, first_item_s=0.0, item_gaps_s=())])
    assert report.first_item.n == 1
    assert (report.item_gap, report.items_per_s) == (None, None)


def test_what_was_not_streamed_has_none_of_these():
    report = report_of([a_run(1.0)])
    assert (report.first_item, report.item_gap, report.items_per_s) == (None, None, None)


def test_the_share_of_waiting_is_told_where_it_is_known():
    runs = [a_run(1.0, wait_s=0.25), a_run(3.0, wait_s=0.75), a_run(9.0)]
    assert report_of(runs).contended_share == 0.25
    assert report_of([a_run(1.0)]).contended_share is None
    assert report_of([a_run(1.0, wait_s=5.0)]).contended_share == 1.0  # two clocks may disagree


# ------------------------------------------------------------------------------------------------ the ledger


def test_the_ledger_says_where_the_seconds_of_validation_and_warm_up_went():
    runs = [*prepared(10.0, 3.0, 2.0), a_run(2.0), a_run(2.0)]
    ledger = report_of(runs, costs=[{"dynamo.capture": 6.0, "import": 1.0}, {}, {}]).ledger
    assert ledger == {"dynamo.capture": 6.0, "import": 1.0, "run": 6.0, "unexplained": 2.0}


def test_without_a_steady_time_the_fastest_cold_run_is_the_usual_cost():
    assert ledger_of(prepared(5.0, 2.0), [{}, {}], None) == {"run": 4.0, "unexplained": 3.0}
    assert ledger_of([], [], None) == {}


SECONDS = st.floats(0, 1e5)
KIND = st.sampled_from(["dynamo.capture", "dynamo.recompile", "inductor.compile", "autotune", "import", "gc"])
WORK = st.builds(
    OneTimeWork,
    kind=KIND,
    duration_s=st.none() | SECONDS,
    reason=st.sampled_from([None, "within a compile"]),
    scope=st.sampled_from(["own", "foreign", "shared"]),
)


@given(st.lists(st.tuples(SECONDS, st.lists(WORK, max_size=4)), min_size=1, max_size=6), st.none() | SECONDS)
def test_the_parts_of_the_ledger_sum_to_the_wall_time(made, steady_s):
    runs = prepared(*(seconds for seconds, _ in made))
    costs = [exclusive_costs(work, run.duration_s) for run, (_, work) in zip(runs, made, strict=True)]
    ledger = ledger_of([*runs, a_run(99.0)], costs, steady_s)
    wall = sum(run.duration_s for run in runs)
    assert math.isclose(sum(ledger.values()), wall, rel_tol=1e-9, abs_tol=1e-6)
    assert min(ledger.values()) >= 0


# ------------------------------------------------------------------------------------------------ amortised


def test_the_cold_cost_is_spread_over_the_calls():
    report = report_of([*prepared(10.0, 3.0), a_run(2.0)])
    assert sum(report.ledger.values()) == 13.0
    assert [report.amortised(n) for n in (1, 9, 900)] == [2.0 + 9.0, 2.0 + 1.0, 2.0 + 0.01]


def test_without_a_steady_time_nothing_is_amortised():
    assert report_of(prepared(1.0)).amortised(5) is None
    assert report_of(prepared(1.0), failed=failure()).amortised(5) is None


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "5", None])
def test_amortising_over_no_calls_is_refused(n):
    with pytest.raises(ArgumentError, match=r"amortised\(\) got .*wanted a whole number, 1 or more"):
        report_of([a_run(1.0)]).amortised(n)


# ------------------------------------------------------------------------------------------------ failure


class Big:
    """Something that must not be kept alive, as a tensor must not."""


def caught(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_nothing_is_raised_where_nothing_failed():
    assert report_of([a_run(1.0)]).raise_for_failure() is None


def test_the_original_is_raised_in_the_same_process():
    original = ValueError("no")
    failed = Failure.of(a_run(1.0, Phase.WARM, index=3), original)
    with pytest.raises(ValueError, match=r"^no$") as made:
        report_of(prepared(1.0), failed=failed).raise_for_failure()
    assert made.value is original
    assert (failed.phase, failed.index, failed.type, failed.message) == (Phase.WARM, 3, "ValueError", "no")


def test_a_loaded_report_raises_ours_which_names_the_callable_and_the_run():
    report = report_of(prepared(1.0), failed=failure(Phase.WARM, ValueError("no"), index=2))
    loaded = Report.from_dict(report.to_dict())
    assert loaded == report  # the exception is no part of what is compared
    with pytest.raises(MeasurementFailed, match=r"m\.f failed in phase warm run 2 with ValueError: no"):
        loaded.raise_for_failure()


def bare(kept):
    big = Big()
    kept.append(weakref.ref(big))
    raise ValueError("no")


def cause(kept):
    try:
        bare(kept)
    except ValueError as error:
        raise RuntimeError("so") from error


def context(kept):
    try:
        bare(kept)
    except ValueError:
        raise RuntimeError("so")  # noqa: B904 - the context is what is wanted


def context_beside_a_cause(kept):
    try:
        bare(kept)
    except ValueError:
        raise RuntimeError("so") from KeyError("elsewhere")


def group(kept):
    raise ExceptionGroup("several", [caught(lambda: bare(kept)), caught(lambda: cause(kept))])


@pytest.mark.parametrize("failing", [bare, cause, context, context_beside_a_cause, group])
def test_the_failure_keeps_no_local_of_the_users_alive(failing):
    kept = []
    gc.disable()
    try:
        failed = Failure.of(a_run(1.0), caught(lambda: failing(kept)))
        assert [ref() for ref in kept] == [None] * len(kept)
        assert kept
    finally:
        gc.enable()
    assert failing.__name__ in failed.traceback


def test_the_traceback_is_kept_as_text():
    failed = Failure.of(a_run(1.0), caught(lambda: cause([])))
    assert "ValueError: no" in failed.traceback
    assert "RuntimeError: so" in failed.traceback
    assert failed.traceback.startswith("Traceback (most recent call last):")


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def test_an_exception_that_cannot_say_what_it_is_is_reported_all_the_same():
    failed = Failure.of(a_run(1.0), Unspeakable())
    assert (failed.type, failed.message) == ("Unspeakable", "<exception str() failed>")


def test_a_ring_of_causes_ends():
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert Failure.of(a_run(1.0), one).message == "1"


def test_explaining_is_done_by_the_views():
    from jitwarmup.views import report_text

    report = report_of([*prepared(2.0), a_run(1.0)])
    assert report.explain() == report_text(report)


def test_a_report_is_a_value():
    report = report_of([a_run(1.0)])
    assert replace(report) == report
    with pytest.raises(AttributeError):
        report.latency_s = 5.0


def test_its_text_is_the_explanation_and_its_repr_one_line():
    report = report_of([*prepared(2.0), *(a_run(1.0, index=index) for index in range(6))])
    assert str(report) == report.explain()
    assert repr(report).startswith("<Report ")
    assert "\n" not in repr(report)
    for word in (report.callable, "1 s", report.verdict.state):
        assert word in repr(report)
    assert "ValueError" in repr(report_of([a_run(1.0)], failed=failure()))


def test_a_saved_report_comes_back_equal(tmp_path):
    report, file = report_of([*prepared(2.0), a_run(1.0)]), tmp_path / "report.json"
    file.write_text("an older one")
    report.save(file)
    assert Report.load(file) == report
    assert Report.load(str(file)).to_dict() == report.to_dict()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": "jitwarmup.sweep/1"}', "[" * 100_000, "\x00"])
def test_what_is_no_report_is_not_loaded(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ArgumentError, match=r"wanted"):
        Report.load(tmp_path / "file")


def test_where_nothing_can_be_read_or_written_the_error_names_the_file(tmp_path):
    with pytest.raises(ArgumentError, match="missing"):
        Report.load(tmp_path / "missing")
    with pytest.raises(ArgumentError, match="folder"):
        report_of([a_run(1.0)]).save(tmp_path / "folder" / "file")
