"""What a measurement costs grows with its number of runs, and not with the square of it."""

import sys

import pytest

from jitwarmup import steady_state, until_steady
from jitwarmup.analysis.recurrence import learn_recurrence
from jitwarmup.engine.rules import would_have_said
from jitwarmup.records.runs import OneTimeWork, Phase, Run


def calls_of(function):
    """Python calls that a function makes, its own included."""
    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def measured(measurements, **settings):
    with steady_state(measurements=measurements, **settings) as steady:
        steady.measure(lambda: 1)


@pytest.mark.parametrize("settings", [{"iterations": 2}, {"iterations": until_steady(at_most=5)}])
def test_four_times_the_runs_cost_at_most_five_times_the_calls(settings):
    measured(3, **settings)  # imports are paid
    few, many = (calls_of(lambda runs=runs: measured(runs, **settings)) for runs in (200, 800))
    assert many <= 5 * few


def series(count, *work, noise=0):
    runs = [Run(phase=Phase.VALIDATE, index=0, started_at=0.0, duration_ns=9_000_000)]
    for index in range(count):
        spread = 1_000_000 * (10 ** (index * 7 % 3) if noise else 1)  # too wild for any proof
        runs.append(Run(phase=Phase.WARM, index=index, started_at=0.0, duration_ns=spread, work=work))
    return runs


@pytest.mark.parametrize("question", [learn_recurrence, would_have_said])
def test_questions_asked_of_all_runs_are_linear(question):
    cache = OneTimeWork(kind="kv_cache.allocate")
    few, many = (calls_of(lambda runs=runs: question(series(runs, cache, noise=1))) for runs in (100, 400))
    assert many <= 5 * few
