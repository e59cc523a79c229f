import math

import pytest

from jitwarmup import Phase, Run
from jitwarmup.analysis.rest import STRICT, CleanTail, contention_share, fall_per_run, find_rest, log_ratio, rest_start


def stretch(*wall_s, wait_s=None):
    return CleanTail(wall_s=wall_s, wait_s=tuple(wait_s or [0.0] * len(wall_s)))


def a_run(duration_ns, **more):
    return Run(phase=Phase.WARM, index=0, started_at=0.0, duration_ns=duration_ns, **more)


def test_an_empty_stretch_is_not_at_rest():
    assert find_rest(stretch()) is None
    assert stretch().contention_share == 0.0


def test_the_spread_that_counts_is_that_of_the_newest_three():
    rest = find_rest(stretch(9.0, 4.0, 1.0, 1.0, 1.01))
    assert (rest.path, rest.window, rest.start) == ("quiet", 3, 2)
    assert rest.cov == pytest.approx(0.00575, abs=1e-4)


@pytest.mark.parametrize(("spread", "path"), [(0.0095, "quiet"), (0.0105, None)])
def test_quiet_ends_at_one_percent(spread, path):
    rest = find_rest(stretch(1 - spread, 1.0, 1 + spread))
    assert (rest and rest.path) == path


@pytest.mark.parametrize(("swing", "path"), [(0.055, "stable"), (0.062, None)])
def test_stable_ends_at_five_percent(swing, path):
    rest = find_rest(stretch(1.0, 1 + swing, 1 - swing, 1 + swing, 1.0))
    assert (rest and rest.path) == path


def test_a_wait_that_outlasts_its_run_is_not_taken_off():
    absurd = stretch(1.0, 1.5, 2.0, wait_s=[2.0, 2.5, 3.0])
    assert absurd.corrected_s == (1.0, 1.5, 2.0)
    assert find_rest(absurd) is None


def test_work_that_takes_no_time_that_the_clock_can_see_is_at_rest():
    assert find_rest(stretch(0.0, 0.0, 0.0)).path == "quiet"
    assert find_rest(stretch(0.0, 0.0, 1.0)) is None


def test_a_host_that_gets_less_busy_does_not_hide_that_the_wall_time_falls():
    falling = stretch(3.0, 2.5, 2.0, wait_s=[2.0, 1.5, 1.0])
    assert falling.corrected_s == (1.0, 1.0, 1.0)
    assert find_rest(falling, causes_known=True) is None


def test_strict_wants_more_of_everything():
    assert find_rest(stretch(*[1.0] * 4), STRICT) is None
    assert find_rest(stretch(*[1.0] * 5), STRICT).window == 5


def test_the_walk_back_allows_three_sigma_of_the_noise():
    noisy = [1.0, 1.2, 0.9, 1.1, 1.25, 1.0, 0.85, 1.1]
    assert rest_start([5.0, *noisy], 5) == 1
    assert rest_start([5.0, *[1.0] * 8], 5) == 1


def test_the_walk_back_stops_at_the_second_exception():
    assert rest_start([1.0, 2.0, 2.0, 1.0, 1.0, 1.0], 3) == 3
    assert rest_start([1.0, 2.0, 1.0, 1.0, 1.0, 1.0], 3) == 0
    assert rest_start([], 3) == 0


def test_a_faster_beginning_belongs_to_the_steady_part():
    assert rest_start([0.5, 0.5, 1.0, 1.0, 1.0], 3) == 0


@pytest.mark.parametrize("factor", [0.9, 0.94])
@pytest.mark.parametrize("count", [3, 4, 5, 20, 60])
def test_a_steady_fall_is_told_per_run(factor, count):
    assert fall_per_run([factor**at for at in range(count)]) == pytest.approx(1 - factor)


def test_noise_and_rising_are_no_fall():
    assert fall_per_run([1.0, 1.2, 0.9, 1.1, 1.0]) == 0.0
    assert fall_per_run([1.0, 1.1, 1.2, 1.3, 1.4]) == 0.0
    assert fall_per_run([3.0, 2.0]) == 0.0
    assert fall_per_run([3.0, 1.0, 2.0]) == 0.0
    assert fall_per_run([0.0, 0.0, 0.0]) == 0.0


def test_contention_is_waiting_per_wall_time_and_never_more_than_all():
    assert contention_share([1.0, 3.0], [0.0, 1.0]) == 0.25
    assert contention_share([1.0], [2.0]) == 1.0
    assert contention_share([0.0], [1.0]) == 0.0


def test_levels_are_compared_on_the_logarithm():
    assert log_ratio(2.0, 1.0) == log_ratio(1.0, 2.0) == pytest.approx(math.log(2))
    assert log_ratio(0.0, 0.0) == 0.0
    assert log_ratio(0.0, 1.0) == math.inf


def test_a_wait_that_is_unknown_or_absurd_is_none():
    runs = [a_run(10**9, wait_s=wait) for wait in (None, 0.25, math.nan, math.inf, -1.0)]
    assert CleanTail.of(runs).wait_s == (0.0, 0.25, 0.0, 0.0, 0.0)


def test_a_time_that_is_no_number_is_passed_over():
    assert CleanTail.of([a_run(math.nan, wait_s=1.0), a_run(10**9)]) == stretch(1.0)
