"""The power history: stitched, integrated, bounded, and believed only while it agrees with the counter."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitwarmup.gpu.energy import CounterCheck, Moment, SampleHistory, clock_of

MS = 1_000_000


def history(*watts, period_ms=20, first_ms=20):
    made = SampleHistory()
    made.add([((first_ms + place * period_ms) * MS, float(value)) for place, value in enumerate(watts)])
    return made


def test_an_empty_history_knows_nothing():
    empty = SampleHistory()
    assert not empty.covers(0, 1)
    assert empty.energy(Moment(0), Moment(1)) is None
    assert empty.peak_w(0, 1) is None
    assert (empty.ceiling_w(), empty.wait_ns(5), empty.begin_ns) == (0.0, 0, None)


def test_whole_samples_are_summed():
    known = history(100, 200, 300, 400)
    energy = known.energy(Moment(20 * MS), Moment(60 * MS))
    assert energy.joules == pytest.approx(0.02 * (200 + 300))
    assert energy.error_j == pytest.approx(0)


def test_a_cut_sample_counts_by_its_part_and_its_doubt():
    known = history(100, 200, 300, 400)
    energy = known.energy(Moment(30 * MS), Moment(70 * MS))
    assert energy.joules == pytest.approx(0.01 * 200 + 0.02 * 300 + 0.01 * 400)
    assert energy.error_j > 0


def test_the_power_of_the_moment_tells_on_which_side_of_a_cut_the_energy_lay():
    known = history(100, 100, 200, 300, 300)  # the third sample is half 100 W, half 300 W, stepping in its middle
    blind = known.energy(Moment(50 * MS), Moment(100 * MS))
    result = known.energy(Moment(50 * MS, 300.0), Moment(100 * MS, 300.0))
    truth = 0.05 * 300
    assert abs(result.joules - truth) < abs(blind.joules - truth)
    assert abs(result.joules - truth) <= result.error_j


def test_after_the_newest_sample_power_runs_straight_to_the_moment():
    known = history(100, 100, 100)
    assert known.energy(Moment(40 * MS), Moment(70 * MS)).joules == pytest.approx(0.03 * 100)
    assert known.energy(Moment(40 * MS), Moment(70 * MS, 300.0)).joules > 0.03 * 100


def test_a_window_after_the_newest_sample_is_guessed_with_a_bound():
    energy = history(100, 100, 100).energy(Moment(61 * MS), Moment(65 * MS, 100.0), ceiling_w=700)
    assert energy.joules == pytest.approx(0.4)
    assert energy.error_j == pytest.approx(0.004 * 600)


@pytest.mark.parametrize(("begin", "end"), [(-5, 50), (30, 130), (50, 50), (60, 40)])
def test_a_time_that_is_not_covered_has_no_energy(begin, end):
    assert history(100, 100, 100, 100).energy(Moment(begin * MS), Moment(end * MS)) is None


def test_samples_that_are_known_are_skipped_and_a_gap_starts_anew():
    known = history(100, 200, 300)
    known.add([(60 * MS, 999.0), (80 * MS, 400.0)])
    assert known.energy(Moment(20 * MS), Moment(80 * MS)).joules == pytest.approx(0.02 * 900)
    known.add([(200 * MS, 500.0)])
    assert known.begin_ns == 180 * MS
    known.add([(200 * MS, 1.0)])
    assert known.ceiling_w() == 500


def test_a_history_forgets_what_is_long_ago():
    known = history(*[100] * 5000)
    assert 12 <= (100_000 * MS - known.begin_ns) / 1e9 <= 12.1
    assert known.energy(Moment(90_000 * MS), Moment(100_000 * MS)).joules == pytest.approx(1000)


def test_the_peak_is_of_samples_that_lie_within_by_half():
    known = history(900, 100, 500, 100, 900)
    assert known.peak_w(20 * MS, 80 * MS) == 500
    assert known.peak_w(12 * MS, 80 * MS) == 500
    assert known.peak_w(8 * MS, 80 * MS) == 900


def test_the_wait_is_for_the_sample_in_the_making():
    known = history(100, 100, 100)
    assert known.wait_ns(61 * MS) == 19 * MS
    assert known.wait_ns(85 * MS) == 15 * MS


def test_the_clock_of_the_samples_is_the_nearest_that_is_near():
    clocks = {"realtime": 1_700_000_000_000_000_000, "boottime": 5_000_000_000_000, "monotonic": 4_000_000_000_000}
    assert clock_of(4_999_500_000_000, clocks) == "boottime"
    assert clock_of(1_700_000_000_100_000_000, clocks) == "realtime"
    assert clock_of(4_500_000_000_000, clocks) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 1.0), st.floats(0.0, 1.0), st.booleans())
def test_the_true_energy_is_always_within_the_stated_error(seed, seconds, offset, result):
    chance = random.Random(seed)
    steps, now = [], 0.0
    while now < 3.5:
        steps.append((now, chance.choice([0.0, 700.0, chance.uniform(0, 700)])))
        now += chance.uniform(0.001, 0.05)

    def joules(until):
        ends = [start for start, _ in steps[1:]] + [9e9]
        return sum(w * max(0.0, min(e, until) - s) for (s, w), e in zip(steps, ends, strict=True))

    def power(at):
        return next(watts for start, watts in reversed(steps) if start <= at)

    begin = 1.0 + offset
    end = begin + seconds
    known = SampleHistory()
    periods = [k * 0.02 for k in range(1, int(end / 0.02) + 1)]
    known.add([(round(t * 1e9), (joules(t) - joules(t - 0.02)) / 0.02) for t in periods])
    moments = [Moment(round(t * 1e9), power(t) if result else None) for t in (begin, end)]
    energy = known.energy(*moments, ceiling_w=700.0)
    assert abs(energy.joules - (joules(end) - joules(begin))) <= energy.error_j + 1e-6


# ---- against the counter


def checked(watts, counted_w, seconds=2.0):
    known, check = history(*[watts] * round(seconds / 0.02 + 5)), CounterCheck()
    check.note(known, 20 * MS, 0)
    check.note(known, 20 * MS + round(seconds * 1e9), round(counted_w * seconds * 1e3))
    return check.last


def test_a_history_that_agrees_is_believed_with_its_doubt():
    check = checked(300, 300)
    assert check.agrees
    assert check.off == pytest.approx(0)
    assert check.blur == pytest.approx(0.05)
    assert check.span_s == pytest.approx(2)


@pytest.mark.parametrize(("watts", "agrees"), [(328, True), (272, True), (345, False), (255, False)])
def test_the_counter_s_own_steps_are_allowed_for_and_five_percent(watts, agrees):
    assert checked(watts, 300).agrees == agrees


def test_a_second_is_the_least_that_is_compared():
    assert checked(300, 300, seconds=0.9) is None


def test_a_counter_that_stands_still_or_went_back_is_not_compared():
    assert checked(300, 0) is None
    known, check = history(*[100] * 200), CounterCheck()
    check.note(known, 100 * MS, 5_000_000)
    check.note(known, 600 * MS, 10)
    check.note(known, 1700 * MS, 10 + 110_000)
    assert check.last.agrees


def test_one_failure_is_final():
    known, check = history(*[100] * 600), CounterCheck()
    check.note(known, 100 * MS, 0)
    check.note(known, 1_600 * MS, 300_000)
    assert not check.last.agrees
    for second in range(2, 11):
        check.note(known, second * 1000 * MS, 300_000 + (second * 1000 - 1600) * 100)
    assert not check.last.agrees


def test_many_readings_are_not_kept():
    known, check = history(*[100] * 600), CounterCheck()
    for step in range(5000):
        check.note(known, (100 + step) * MS, step * 100)
    assert len(check._readings) < 30
