"""What a device did to a measurement becomes reasons of its verdict."""

import pytest

from jitwarmup import DeviceReading, steady_state
from jitwarmup.testing import FakeClock, RecordingMonitor, capture_events


def reading(clock=1980, throttled_s=0.0, celsius=(60, 60), pids=()):
    return DeviceReading(
        duration_s=1.0,
        sm_clock_mhz=(clock, clock),
        sm_clock_max_mhz=1980,
        throttled_s={"power": throttled_s},
        temperature_c=celsius,
        other_pids=pids,
    )


class OneAfterAnother(RecordingMonitor):
    """Gives each measured run a reading of its own."""

    def __init__(self, readings):
        super().__init__()
        self._readings = iter(readings)

    def window(self, name):
        self._reading = next(self._readings, None)
        return super().window(name)


@pytest.fixture
def verdict():
    """The verdict of a measurement in even steps, whose runs had these readings; without any, of none that was metered."""

    def of(*readings):
        monitor = OneAfterAnother([None, *readings]) if readings else None  # the first window is that of the block
        settings = {"iterations": 0, "measurements": max(6, len(readings)), "clock": FakeClock(step_ns=10**9)}
        with capture_events(), steady_state(monitor=monitor, **settings) as steady:
            return steady.measure(lambda: None).verdict

    return of


@pytest.fixture
def kinds(verdict):
    """The kinds of its reasons that a device gave; what the host did meanwhile is another matter."""
    of_the_host = ("contended", "host_disagrees", "causes_not_watched")
    return lambda *readings: [one.kind for one in verdict(*readings).reasons if one.kind not in of_the_host]


def test_a_device_at_full_clock_gives_no_reason(kinds):
    assert kinds(reading(), reading()) == []


def test_a_power_limit_below_full_clock_is_throttling_and_no_steady_state(verdict):
    found = verdict(reading(1500, 0.5), reading(1500, 0.2))
    assert (verdict().state, found.state) == ("steady", "unsteady")
    assert [reason.numbers["share"] for reason in found.reasons if reason.kind == "throttled"] == [0.5]


def test_a_power_limit_at_full_clock_is_ordinary_regulation(kinds):
    assert kinds(reading(1980, 0.5)) == []


def test_a_moving_clock_a_warming_device_and_company_are_told(kinds):
    readings = [reading(1800, celsius=(50, 55)), reading(1980, celsius=(55, 63), pids=(7,))]
    assert kinds(*readings) == ["clock_not_settled", "temperature_drift", "device_shared"]


def test_no_reading_gives_no_reason_and_leaves_the_verdict(verdict):
    assert verdict(None) == verdict()
