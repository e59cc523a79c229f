from __future__ import annotations

import pytest

from jitwarmup.events import schema as s
from jitwarmup.events.text import short_line
from jitwarmup.records.units import span

FUNCTION = {"schema": "jitwarmup/1", "callable": "module.generate"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 s"),
        (4.2e-8, "42 ns"),
        (4.56e-5, "45.6 us"),
        (0.0123, "12.3 ms"),
        (0.1234, "123 ms"),
        (1.234, "1.23 s"),
        (12.34, "12.3 s"),
        (3600.0, "3600 s"),
        (-1.0, "-1 s"),
    ],
)
def test_seconds_are_shown_in_three_digits(seconds, text):
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("event", "fields", "line"),
    [
        (s.CALL, {"duration_s": 0.0123, "outcome": "ok"}, "12.3 ms"),
        (
            s.CALL,
            {"duration_s": 1.0, "outcome": "closed", "first_item_s": 0.01, "items": 1},
            "1 s, closed, first item 10 ms, 1 item",
        ),
        (s.CALL, {"duration_s": 1.0, "outcome": "error", "error_type": "ValueError"}, "1 s, error (ValueError)"),
        (
            s.CALL,
            {"duration_s": 1.0, "outcome": "ok", "contaminated": True, "work": ["dynamo.recompile", "import"]},
            "1 s, paid dynamo.recompile, import",
        ),
        (s.CALL, {"duration_s": 1.0, "contaminated": True}, "1 s, contaminated"),
        (s.VALIDATION_COMPLETED, {"duration_s": 2.5}, "2.5 s"),
        (
            s.VALIDATION_COMPLETED,
            {"duration_s": 64.2, "runs_left": 5, "left_s": 19.04},
            "64.2 s, 5 more silent runs, about 19 s",
        ),
        (s.VALIDATION_COMPLETED, {"duration_s": 2.5, "runs_left": 0, "left_s": 0.0}, "2.5 s"),
        (s.VALIDATION_FAILED, {"error_type": "ValueError", "phase": "validate"}, "ValueError in phase validate"),
        (s.WARMUP_COMPLETED, {"iterations": 5, "duration_s": 3.21}, "5 runs in 3.21 s"),
        (
            s.WARMUP_COMPLETED,
            {"iterations": 1, "duration_s": 3.21, "cold_s": 3.0, "last_s": 0.2},
            "1 run in 3.21 s, 3 s cold, 200 ms at the end",
        ),
        (
            s.WARMUP_COMPLETED,
            {
                "iterations": 5,
                "duration_s": 70.0,
                "ledger_run_s": 4.5,
                "ledger_unexplained_s": 1.0,
                "ledger_dynamo_capture_s": 3.03,
                "ledger_cpp_compile_s": 55.1,
                "ledger_import_s": 0.2,
                "ledger_inductor_compile_s": 6.04,
            },
            "5 runs in 70 s, paid cpp_compile 55.1 s, inductor_compile 6.04 s, dynamo_capture 3.03 s",
        ),
        (s.WARMUP_COMPLETED, {"iterations": 0, "skipped": "arguments_mutated"}, "skipped: arguments_mutated"),
        (s.WARMUP_FAILED, {"error_type": "E", "phase": "warm", "iterations": 2}, "E in phase warm after 2 runs"),
        (s.STEADY_STATE_REACHED, {"iterations": 7, "path": "flat", "median_s": 0.1}, "7 runs, flat, median 100 ms"),
        (s.STEADY_STATE_NOT_REACHED, {"iterations": 30, "reason": "trend"}, "30 runs, trend"),
        (
            s.STEADY_STATE_LOST,
            {"reason": "size of x changed", "work": ["dynamo.recompile"], "used": 3, "limit": 8},
            "size of x changed, paid dynamo.recompile, 3 of 8 recompiles used",
        ),
        (
            s.STEADY_STATE_LOST,
            {"reason": "size of x changed", "work": ["dynamo.recompile"], "paid_dynamo_recompile_s": 0.27},
            "size of x changed, paid dynamo_recompile 270 ms",
        ),
        (
            s.SUMMARY,
            {"count": 100, "sum_s": 12.0, "median_s": 0.1, "max_s": 0.5, "errors": 1},
            "100 calls in 12 s, median 100 ms, max 500 ms, 1 error",
        ),
        (s.SUMMARY, {"count": 1, "sum_s": 12.0, "errors": 0}, "1 call in 12 s"),
        (s.COVERAGE_MISSED, {"key": "x: f32[3]", "missed_count": 1}, "x: f32[3], 1 call"),
        (s.MONITOR_DEGRADED, {"metric": "energy_j", "reason": "not supported"}, "energy_j: not supported"),
        (
            s.MEASUREMENT_COMPLETED,
            {
                "median_s": 0.1,
                "ci_low_s": 0.09,
                "ci_high_s": 0.11,
                "clean_runs": 20,
                "verdict": "steady",
                "speedup": 12,
            },
            "median 100 ms, 90 ms to 110 ms, 20 clean runs, steady, 12x faster than cold",
        ),
        (
            s.MEASUREMENT_FAILED,
            {"error_type": "ValueError", "phase": "measure", "clean_runs": 3},
            "ValueError in phase measure, 3 clean runs",
        ),
        (s.BLOCK_COMPLETED, {"duration_s": 4.0, "outcome": "ok"}, "4 s"),
        (s.BLOCK_FAILED, {"duration_s": 4.0, "outcome": "error", "error_type": "E"}, "4 s, error (E)"),
    ],
)
def test_an_event_is_shown_in_one_line(event, fields, line):
    assert short_line(event, FUNCTION | fields) == f"{event} module.generate {line}"


@pytest.mark.parametrize("event", s.EVENTS, ids=lambda event: event.name)
def test_a_line_begins_with_the_events_name_even_with_no_fields(event):
    assert short_line(event.name, {}).startswith(event.name)


def test_a_key_is_shown_unless_there_is_but_one():
    line = "jitwarmup.validation.completed module.generate"
    fields = FUNCTION | {"duration_s": 1.0}
    assert short_line(s.VALIDATION_COMPLETED, fields | {"key": "x: f32[3]"}) == f"{line} (x: f32[3]) 1 s"
    assert short_line(s.VALIDATION_COMPLETED, fields | {"key": "default"}) == f"{line} 1 s"


def test_a_label_is_shown_and_an_unknown_event_keeps_its_name():
    assert short_line("jitwarmup.news", {"callable": "f", "label": "a\nb"}) == "jitwarmup.news f [a b]"
