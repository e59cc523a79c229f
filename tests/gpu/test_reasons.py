"""What a device did to a measurement becomes reasons of its verdict."""

from jitwarmup.gpu.reasons import device_reasons, with_devices
from jitwarmup.records.runs import DeviceReading
from jitwarmup.records.verdict import Verdict


def reading(clock=1980, throttled_s=0.0, celsius=(60, 60), pids=()):
    return DeviceReading(
        duration_s=1.0,
        sm_clock_mhz=(clock, clock),
        sm_clock_max_mhz=1980,
        throttled_s={"power": throttled_s},
        temperature_c=celsius,
        other_pids=pids,
    )


def kinds(*readings):
    return [reason.kind for reason in device_reasons(readings)]


def test_a_device_at_full_clock_gives_no_reason():
    assert kinds(reading(), reading()) == []


def test_a_power_limit_below_full_clock_is_throttling_and_no_steady_state():
    readings = [reading(1500, 0.5), reading(1500, 0.2)]
    result = with_devices(Verdict(state="steady"), readings)
    assert result.state == "unsteady"
    assert [(reason.kind, reason.numbers["share"]) for reason in result.reasons] == [("throttled", 0.5)]


def test_a_power_limit_at_full_clock_is_ordinary_regulation():
    assert kinds(reading(1980, 0.5)) == []


def test_a_moving_clock_a_warming_device_and_company_are_told():
    readings = [reading(1800, celsius=(50, 55)), reading(1980, celsius=(55, 63), pids=(7,))]
    assert kinds(*readings) == ["clock_not_settled", "temperature_drift", "device_shared"]


def test_no_reading_gives_no_reason_and_leaves_the_verdict():
    assert with_devices(Verdict(state="steady"), []) == Verdict(state="steady")
