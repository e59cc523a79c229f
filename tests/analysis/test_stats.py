import math
import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup import ArgumentError, Summary
from jitwarmup.analysis.stats import (
    DOUBT,
    across_processes,
    cov,
    effective_size,
    finite,
    lag1,
    mann_kendall_z,
    median_interval,
    noise_of_log,
    quantile,
    summarize,
    t_quantile,
)

ALTERNATING = [1.0, 1.2, 0.9, 1.1, 1.05]
SECONDS = st.floats(min_value=0, max_value=1e9, allow_nan=False)


def test_an_empty_sample_has_nothing_but_its_count():
    assert summarize([]) == Summary(n=0)
    assert summarize([math.nan, math.inf, -math.inf]) == Summary(n=0)


def test_one_value_has_no_spread_and_no_interval():
    summary = summarize([2.0])
    assert (summary.n, summary.median_s, summary.mean_s, summary.min_s, summary.max_s) == (1, 2.0, 2.0, 2.0, 2.0)
    assert (summary.stdev_s, summary.mad_s, summary.ci_low_s, summary.ci_high_s, summary.ci_level) == (None,) * 5


def test_five_values_report_a_level_that_five_values_can_give():
    summary = summarize(ALTERNATING)
    assert (summary.ci_low_s, summary.ci_high_s) == (0.9, 1.2)
    assert summary.ci_level == pytest.approx(1 - 2 ** (1 - effective_size(ALTERNATING, DOUBT)))
    assert summary.ci_level < 0.9375


def test_ten_values_are_worth_seven_however_independent_they_look():
    values = [5.0, 1.0, 9.0, 2.0, 8.0, 3.0, 10.0, 4.0, 7.0, 6.0]
    interval = median_interval(values)
    assert effective_size(values) == 10
    assert (interval.low, interval.high, interval.level) == (1.0, 10.0, 1 - 2 / 2**7)


def test_percentiles_appear_only_where_the_sample_can_carry_them():
    present = [
        [name for name in ("p90_s", "p95_s", "p99_s") if getattr(summarize([1.0] * count), name) is not None]
        for count in (9, 10, 20, 99, 100)
    ]
    assert present == [[], ["p90_s"], ["p90_s", "p95_s"], ["p90_s", "p95_s"], ["p90_s", "p95_s", "p99_s"]]


def test_percentiles_agree_with_numpy():
    numpy = pytest.importorskip("numpy")
    values = [random.Random(7).random() for _ in range(101)]
    for share in (0.0, 0.25, 0.5, 0.9, 0.99, 1.0):
        assert quantile(values, share) == pytest.approx(numpy.quantile(values, share), abs=1e-15)


def test_the_interval_is_never_narrower_than_one_percent_each_way():
    summary = summarize([2.0] * 10)
    assert (summary.ci_low_s, summary.ci_high_s) == (1.98, 2.02)
    assert summary.stdev_s == 0.0


def test_neighbours_that_resemble_each_other_count_for_less():
    rising = [float(at) for at in range(20)]
    shuffled = random.Random(3).sample(rising, 20)
    assert effective_size(rising) < 5 < effective_size(shuffled) <= 20
    assert effective_size([1.0] * 5) == 5


def test_the_correlation_is_that_of_neighbours():
    assert lag1([1.0, -1.0] * 10) == pytest.approx(-19 / 20)
    assert lag1([1.0] * 4) == 0.0


def test_moments_agree_with_the_standard_library():
    summary = summarize(ALTERNATING)
    assert summary.mean_s == pytest.approx(statistics.fmean(ALTERNATING))
    assert summary.stdev_s == pytest.approx(statistics.stdev(ALTERNATING))
    assert summary.mad_s == pytest.approx(0.05)


@pytest.mark.parametrize("level", [0, 1, -0.1, 95])
def test_a_level_that_is_no_fraction_is_refused(level):
    with pytest.raises(ArgumentError, match=r"got level=.* wanted a fraction .* level=0\.95"):
        summarize([1.0], level)
    with pytest.raises(ArgumentError):
        across_processes([1.0], level)


def test_student_quantiles_agree_with_the_tables():
    table = {1: 12.706204736, 2: 4.30265273, 3: 3.182446305, 4: 2.776445105, 9: 2.262157163, 30: 2.042272456}
    for freedom, quantile_ in table.items():
        assert t_quantile(0.95, freedom) == pytest.approx(quantile_, rel=1e-8)


def test_student_quantiles_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in range(1, 60):
        for level in (0.5, 0.9, 0.99, 0.999):
            assert t_quantile(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-7)


def test_processes_are_compared_on_the_logarithm_of_their_medians():
    summary = across_processes([0.98, 1.0, 1.02])
    logs = [math.log(value) for value in (0.98, 1.0, 1.02)]
    half = 4.30265273 * statistics.stdev(logs) / math.sqrt(3)
    assert summary.ci_low_s == pytest.approx(math.exp(statistics.fmean(logs) - half))
    assert summary.ci_high_s == pytest.approx(math.exp(statistics.fmean(logs) + half))
    assert (summary.n, summary.scope, summary.ci_level, summary.median_s) == (3, "processes", 0.95, 1.0)


def test_one_process_says_nothing_about_processes():
    assert across_processes([1.0]).ci_level is None
    assert across_processes([0.0, math.nan]) == Summary(n=0, scope="processes")


def test_processes_that_agree_still_have_a_width():
    summary = across_processes([1.0, 1.0, 1.0])
    assert (summary.ci_low_s, summary.ci_high_s) == (0.99, 1.01)


def test_variation_is_relative_to_the_mean():
    assert cov([1.0, 1.0]) == 0.0
    assert cov([0.0, 0.0]) == 0.0
    assert cov([-1.0, 1.0]) == math.inf
    assert cov([10.0, 12.0]) == pytest.approx(cov([1e-9, 1.2e-9]))


def test_a_falling_series_has_a_negative_trend_score():
    assert mann_kendall_z([5.0, 4.0, 3.0, 2.0, 1.0]) == pytest.approx(-9 / math.sqrt(300 / 18))
    assert mann_kendall_z([1.0] * 5) == 0.0
    assert mann_kendall_z([1.0]) == 0.0


def test_the_noise_of_the_logarithm_ignores_a_step():
    series = [1.0, 1.01] * 10 + [2.0, 2.02] * 10
    assert noise_of_log(series) == pytest.approx(1.4826 * math.log(1.01) / math.sqrt(2))
    assert noise_of_log([0.0, 0.0]) == 0.0


@given(st.lists(SECONDS, min_size=2, max_size=60), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_every_interval_holds_its_median_and_tells_a_level_its_size_can_give(values, level):
    summary = summarize(values, level)
    assert summary.ci_low_s <= summary.median_s <= summary.ci_high_s
    assert summary.min_s <= summary.median_s <= summary.max_s
    assert 0.5 <= summary.ci_level <= 1
    assert summary.ci_level >= min(level, 1 - 2.0 ** (1 - math.floor(effective_size(values, DOUBT))))


@given(st.lists(st.floats(min_value=1e-3, max_value=1e3), min_size=2, max_size=40), st.floats(min_value=0, max_value=1))
def test_no_interval_reaches_beyond_the_data_however_busy_the_host(values, share):
    interval = median_interval(values, contention_share=share)
    centre = statistics.median(values)
    assert interval.low >= min(*values, 0.99 * centre) * (1 - 1e-12)
    assert interval.high <= max(*values, 1.01 * centre) * (1 + 1e-12)


def test_a_busy_host_leaves_less_to_be_known():
    values = [1.0, 1.1, 1.3, 0.9, 1.2, 1.25, 1.0, 0.95]
    quiet, busy = median_interval(values), median_interval(values, contention_share=0.3)
    assert busy.level < quiet.level or busy.high - busy.low > quiet.high - quiet.low
    assert median_interval(values, contention_share=0.05) == quiet


def test_the_level_of_few_runs_moves_in_no_steps():
    values = [1.0, 1.1, 1.3, 1.2, 1.4, 1.35, 1.1, 1.2, 1.0]
    levels = [median_interval([*values, 1 + part / 100]).level for part in range(60)]
    assert min(levels) < 0.6
    assert max(levels) > 0.95
    assert max(abs(two - one) for one, two in pairwise(levels)) < 0.04


@given(
    st.lists(st.floats(min_value=1e-3, max_value=1e3), min_size=2, max_size=40), st.sampled_from([2.0**-30, 2.0**30])
)
def test_a_change_of_unit_changes_only_the_unit(values, unit):
    one, other = summarize(values), summarize([value * unit for value in values])
    assert (other.n, other.ci_level) == (one.n, one.ci_level)
    for name in ("median_s", "ci_low_s", "ci_high_s", "mean_s", "stdev_s", "mad_s"):
        assert getattr(other, name) == pytest.approx(getattr(one, name) * unit, rel=1e-9)


def test_what_is_not_finite_is_left_out_and_counted_out():
    assert finite([1.0, math.nan, math.inf, 2]) == [1.0, 2.0]
    assert summarize([1.0, math.nan, 3.0]).n == 2
