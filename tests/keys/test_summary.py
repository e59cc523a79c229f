"""``emit="summary"``: counted exactly, told once a minute at a call, at ``flush()`` and at a normal exit."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from jitwarmup import warmed
from jitwarmup.events import schema
from jitwarmup.keys import summary as summary_module
from jitwarmup.keys.at_exit import PERIOD_S, flush_all
from jitwarmup.keys.summary import RECENT, CallSummary
from jitwarmup.records.runs import Phase, Run
from jitwarmup.testing import capture_events

ROOT = Path(__file__).parent.parent.parent


class Emitted(list):
    """Stands for a warmed function: keeps what is said."""

    instruments = None

    def without_call(self):
        return self

    def emit(self, event, **fields):
        assert event == schema.SUMMARY
        self.append(fields)


@pytest.fixture
def now(monkeypatch):
    """A monotonic clock that moves by hand."""
    clock = SimpleNamespace(s=100.0)
    monkeypatch.setattr(summary_module, "time", SimpleNamespace(monotonic=lambda: clock.s))
    return clock


@pytest.fixture
def emitted():
    return Emitted()


@pytest.fixture
def tally(now):
    return CallSummary()


def a_run(ns, outcome="ok", contaminated=False):
    phase = Phase.MEASURE
    return Run(phase=phase, index=0, started_at=0.0, duration_ns=ns, outcome=outcome, contaminated=contaminated)


def test_count_sum_minimum_and_maximum_are_exact(tally, emitted):
    for ns in (3_000_000_001, 1_000_000_000, 2_000_000_000):
        tally.count(emitted, ns)
    tally.flush()
    (fields,) = emitted
    assert (fields["count"], fields["recent"], fields["errors"], fields["contaminated_count"]) == (3, 3, 0, 0)
    assert (fields["sum_s"], fields["min_s"], fields["max_s"]) == (6.000000001, 1.0, 3.000000001)
    assert fields["mean_s"] == 6.000000001 / 3
    assert fields["median_s"] == 2.0


def test_percentiles_are_over_the_newest_ten_thousand(tally, emitted):
    for ns in range(1, RECENT + 501):
        tally.count(emitted, ns)
    tally.flush()
    assert (emitted[0]["count"], emitted[0]["recent"]) == (RECENT + 500, RECENT)
    assert emitted[0]["min_s"] == 1e-9
    assert emitted[0]["median_s"] == pytest.approx((501 + RECENT + 500) / 2 / 1e9)
    assert (
        emitted[0]["median_s"] < emitted[0]["p90_s"] < emitted[0]["p95_s"] < emitted[0]["p99_s"] < emitted[0]["max_s"]
    )


def test_it_speaks_once_a_minute_and_only_at_a_call(tally, emitted, now):
    tally.count(emitted, 1)
    now.s += PERIOD_S - 0.001
    tally.count(emitted, 1)
    assert emitted == []
    now.s += 0.001
    assert emitted == []
    tally.count(emitted, 1)
    assert [fields["count"] for fields in emitted] == [3]
    now.s += PERIOD_S
    tally.count(emitted, 1)
    assert [fields["count"] for fields in emitted] == [3, 1]


def test_a_summary_begins_anew(tally, emitted):
    tally.count(emitted, 9)
    tally.flush()
    tally.flush()
    tally.count(emitted, 5)
    tally.flush()
    assert [(fields["count"], fields["recent"], fields["max_s"]) for fields in emitted] == [(1, 1, 9e-9), (1, 1, 5e-9)]


def test_failed_calls_are_counted_apart_and_streams_left_early_nowhere(tally, emitted):
    for run in (a_run(5), a_run(7, contaminated=True), a_run(999, "error"), a_run(999, "closed")):
        tally.add(emitted, run)
    tally.flush()
    (fields,) = emitted
    assert (fields["count"], fields["errors"], fields["contaminated_count"]) == (2, 1, 1)
    assert fields["max_s"] == 7e-9


def test_where_every_call_fails_it_is_told_too_without_times(tally, emitted, now):
    tally.add(emitted, a_run(5, "error"))
    now.s += PERIOD_S
    tally.add(emitted, a_run(5, "error"))
    (fields,) = emitted
    assert (fields["count"], fields["errors"]) == (0, 2)
    assert fields["min_s"] is fields["max_s"] is fields["mean_s"] is None
    assert "median_s" not in fields


def test_nothing_is_told_where_nothing_was_counted(tally, emitted):
    tally.flush()
    assert emitted == []


def test_threads_lose_no_call(tally, emitted):
    threads = [threading.Thread(target=lambda: [tally.count(emitted, 1) for _ in range(2000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.flush()
    assert sum(fields["count"] for fields in emitted) == 16_000


def test_what_was_not_told_is_told_at_the_end(tally, emitted):
    tally.count(emitted, 1)
    flush_all()
    assert [fields["count"] for fields in emitted] == [1]


def test_a_function_that_is_gone_is_not_kept_alive_for_its_summary(now, emitted):
    forgotten = CallSummary()
    forgotten.count(emitted, 1)
    del forgotten
    gc.collect()
    flush_all()
    assert emitted == []


def test_a_warmed_function_sums_up_instead_of_telling_each_call():
    @warmed(iterations=1, emit="summary")
    def double(x):
        return 2 * x if x else 1 / x

    with capture_events() as events:
        for x in (1, 2, 3):
            double(x)
        with pytest.raises(ZeroDivisionError):
            double(0)
        double.flush()
    assert events.named("jitwarmup.call") == []
    (summary,) = events.named("jitwarmup.summary")
    assert (summary["count"], summary["errors"]) == (3, 1)
    assert summary["callable"].endswith("double")


SCRIPT = """
from jitwarmup import warmed

@warmed(iterations=0, emit="summary")
def double(x):
    return 2 * x

double(1), double(2)
"""


def test_a_normal_exit_tells_it():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, env=env, timeout=60
    )
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("jitwarmup.summary")]
    assert "count=2" in line or "2 calls" in line, line
    assert done.stdout == ""
