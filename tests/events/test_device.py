from __future__ import annotations

from jitwarmup.events import schema
from jitwarmup.events.keys import device_fields, ledger_fields, slug
from jitwarmup.records.runs import DeviceReading

CALLED = {"callable": "f", "duration_s": 1.0, "outcome": "ok"}


def test_no_reading_gives_no_keys():
    assert device_fields(None) == {}


def test_what_was_not_read_is_absent():
    assert device_fields(DeviceReading(status="unavailable")) == {"device_status": "unavailable", "device_count": 1}


def test_a_full_reading_is_flat_and_declared():
    reading = DeviceReading(
        uuid="GPU-1",
        name="H200",
        duration_s=1.0,
        energy_j=60.0,
        energy_source="counter",
        energy_error_j=1.0,
        power_mean_w=60.0,
        power_max_w=70.0,
        temperature_c=(40, None),
        sm_clock_mhz=(1200, 1980),
        sm_clock_max_mhz=1980,
        throttled_s={"SW power cap": 0.5, "hw_thermal": 0.0},
        reasons_at_edges=("sw_power_cap",),
        memory_peak_bytes=10,
        memory_used_bytes=(None, 20),
        sm_active_pct=99.0,
        tensor_active_pct=50.0,
        dram_bw_pct=25.0,
        other_pids=(1, 2),
        nvml_calls_in_window=0,
        samples=12,
        missing={"fan": "not supported"},
        others=(DeviceReading(uuid="GPU-2"),),
    )
    fields = device_fields(reading)
    assert fields == {
        "device_uuid": "GPU-1",
        "device_name": "H200",
        "device_status": "ok",
        "device_count": 2,
        "device_energy_j": 60.0,
        "device_energy_source": "counter",
        "device_energy_error_j": 1.0,
        "device_power_mean_w": 60.0,
        "device_power_max_w": 70.0,
        "device_temperature_before_c": 40,
        "device_sm_clock_before_mhz": 1200,
        "device_sm_clock_mhz": 1980,
        "device_sm_clock_max_mhz": 1980,
        "device_throttled_sw_power_cap_s": 0.5,
        "device_throttled_hw_thermal_s": 0.0,
        "device_reasons": ["sw_power_cap"],
        "device_memory_peak_bytes": 10,
        "device_memory_used_bytes": 20,
        "device_sm_active_pct": 99.0,
        "device_tensor_active_pct": 50.0,
        "device_dram_bw_pct": 25.0,
        "device_other_processes": 2,
        "device_samples": 12,
        "device_missing": ["fan"],
    }
    assert set(fields) < set(schema.build(schema.CALL, CALLED | fields))


def test_a_ledger_is_flat_and_keeps_its_sum():
    ledger = {f"cause.{number}": float(number) for number in range(40)} | {"run": 1.0}
    fields = ledger_fields(ledger)
    assert len(fields) == 24
    assert sum(fields.values()) == sum(ledger.values())
    built = schema.build(schema.WARMUP_COMPLETED, {"callable": "f", "iterations": 1, "duration_s": 1.0, **fields})
    assert set(fields) < set(built)
    assert "keys_cut" not in built


def test_causes_that_share_a_slug_are_summed():
    assert ledger_fields({"a.b": 1.0, "a_b": 2.0}) == {"ledger_a_b_s": 3.0}


def test_a_slug_is_safe_in_a_key():
    assert slug("HW Thermal/Slowdown!") == "hw_thermal_slowdown"
    assert slug("___") == "unnamed"
    assert len(slug("x" * 100)) == 40
