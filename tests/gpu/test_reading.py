"""From two edges to a reading: pure, so every case is a few numbers."""

import pytest

from jitwarmup import DeviceReading
from jitwarmup.gpu.devices import Device
from jitwarmup.gpu.energy import Comparison, Energy, SampleHistory
from jitwarmup.gpu.reading import Edge, Span, joined, reading_of, reasons_of, unread
from jitwarmup.gpu.reasons import clock_settled, foreign_pids, temperature_drift_c, throttled_share

SECOND = 1_000_000_000


def edge(at_s, **values):
    return Edge(at_ns=round(at_s * SECOND), counter_ns=round(at_s * SECOND), **values)


def read(before, after, **values):
    values.setdefault("history", SampleHistory())
    span = Span(before, after, **values)
    return reading_of(span, Device(None, "GPU-1", "GPU", sm_clock_max_mhz=1980), own_pid=1)


def test_the_counter_has_the_bound_of_one_step():
    reading = read(edge(1, counter_mj=1_000_000), edge(3, counter_mj=1_600_000), limit_w=700)
    assert (reading.energy_j, reading.energy_source) == (600, "counter")
    assert reading.energy_error_j == pytest.approx(70)
    assert reading.power_mean_w == 300


def test_time_between_the_counter_and_the_edge_widens_the_bound():
    late = edge(3, counter_mj=600_000)
    late.counter_ns += SECOND // 10
    assert read(edge(1, counter_mj=0), late, limit_w=700).energy_error_j == pytest.approx(140)


def test_a_counter_freed_of_its_steps_has_the_bounds_of_both_ends():
    before = edge(1, counter_mj=0, aligned=Energy(10.0, 1.0))
    after = edge(3, counter_mj=600_000, aligned=Energy(615.0, 2.0))
    reading = read(before, after, limit_w=700)
    assert (reading.energy_j, reading.energy_error_j) == (605, 3)


def test_without_any_source_the_reasons_are_told():
    reading = read(edge(1, missing={"energy_j": "NOT_SUPPORTED"}), edge(3), ring_off="NOT_SUPPORTED")
    assert reading.energy_j is None
    assert reading.missing["energy_j"] == "counter: NOT_SUPPORTED; ring: NOT_SUPPORTED"
    assert reading.missing["power_mean_w"] == reading.missing["energy_j"]


def test_samples_that_fit_the_counter_bound_each_other():
    power = SampleHistory()
    power.add([(place * 20_000_000, 300.0) for place in range(1, 300)])
    before, after = edge(1, counter_mj=0), edge(3, counter_mj=600_000)
    doubtful = read(before, after, history=power, check=Comparison(off=0.0, blur=0.5, span_s=1), limit_w=700)
    assert (doubtful.energy_source, doubtful.energy_j) == ("ring", pytest.approx(600))
    assert doubtful.energy_error_j == pytest.approx(70)
    sure = read(before, after, history=power, check=Comparison(off=0.01, blur=0.01, span_s=10), limit_w=700)
    assert sure.energy_error_j == pytest.approx(12)


def test_a_limit_is_held_no_longer_than_the_window():
    before, after = edge(1, limits_ns={"power": 0, "thermal": 5}), edge(1.05, limits_ns={"power": SECOND // 10})
    reading = read(before, after)
    assert reading.throttled_s == {"power": pytest.approx(0.05)}


def test_reasons_have_names_and_unknown_ones_their_number():
    assert reasons_of(0) == ()
    assert reasons_of(0x1 | 0x4 | 0x40) == ("idle", "power_cap", "hw_thermal")
    assert reasons_of(1 << 20) == ("bit_20",)


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ({"counter_mj": 0}, {"counter_mj": 1}, "ok"),
        ({"counter_mj": 0}, {"counter_mj": 1, "passing": {"x"}}, "partial"),
        ({"counter_mj": 0}, {"lost": True}, "gpu_lost"),
        ({}, {}, "unsupported"),
        ({"missing": {"energy_j": "NO_PERMISSION"}}, {}, "no_permission"),
        ({"passing": {"x"}}, {}, "unavailable"),
        ({"memory_used_bytes": 5}, {}, "ok"),
    ],
)
def test_the_status_says_how_much_was_read(before, after, status):
    assert read(edge(1, **before), edge(2, **after)).status == status


def test_processes_beside_ours_are_those_at_either_edge():
    full = read(edge(1, counter_mj=0, pids=(1, 7)), edge(3, counter_mj=600_000, pids=(1, 9)))
    assert full.other_pids == (7, 9)


def test_several_readings_are_one_with_others():
    one, two = unread("why", "unavailable", uuid="GPU-1"), unread("why", "unavailable", uuid="GPU-2")
    assert joined([one, two]).others == (two,)
    assert joined([one]) == one


# ---- verdicts


def held(limit, seconds, clocks, **values):
    return DeviceReading(
        duration_s=2.0, throttled_s={limit: seconds}, sm_clock_mhz=clocks, sm_clock_max_mhz=1980, **values
    )


@pytest.mark.parametrize(
    ("limit", "clocks", "share"),
    [
        ("power", (1980, 1700), 0.5),
        ("thermal", (1700, 1700), 0.5),
        ("board", (None, 1700), 0.5),
        ("power", (1980, 1960), 0.0),
        ("sync_boost", (1700, 1700), None),
        ("power", (None, None), None),
    ],
)
def test_a_limit_counts_as_throttling_only_where_it_costs_clock(limit, clocks, share):
    assert throttled_share(held(limit, 1.0, clocks)) == share


def test_a_share_is_never_more_than_all():
    assert throttled_share(held("power", 5.0, (1000, 1000))) == 1.0


def test_clocks_are_settled_when_they_stay_within_a_percent():
    steady = [held("power", 0, (1980, clock)) for clock in (1965, 1970, 1975)]
    assert clock_settled(steady) is True
    assert clock_settled([*steady, held("power", 0, (1980, 1700))]) is False
    assert clock_settled(steady[:1]) is None


def test_temperature_drifts_from_the_first_edge_to_the_last():
    readings = [DeviceReading(temperature_c=pair) for pair in ((40, 50), (51, None), (52, 61))]
    assert temperature_drift_c(readings) == 21
    assert temperature_drift_c([DeviceReading()]) is None


def test_foreign_processes_of_all_windows_and_devices():
    readings = [
        DeviceReading(other_pids=(7,), others=(DeviceReading(other_pids=(3,)),)),
        DeviceReading(other_pids=(7,)),
    ]
    assert foreign_pids(readings) == (3, 7)
