"""Every error of every function in every phase: no exception, no hang, no gap without a reason."""

import time

import pytest

TIMEOUT_S = 0.05
LIMIT_S = 30  # no more than a hang takes that nobody ends; the bench prints the times themselves

bench_functions = [
    "nvmlInitWithFlags",
    "nvmlShutdown",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetSamples",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlGpmSampleGet",
    "nvmlGpmMetricsGet",
    "*",
    "field 83",
]


def test_the_bench_knows_every_function_that_the_monitor_calls(bench, nvmlsim, make_monitor):
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        nvmlsim.advance(1.5)
    for seconds in (0.2, 5):
        with gpu.window("measure"):
            nvmlsim.advance(seconds)
    gpu.stop()
    once = {"nvmlDeviceGetMigMode", "nvmlDeviceIsMigDeviceHandle", "nvmlDeviceGetMaxClockInfo", "nvmlGpmSampleAlloc"}
    once |= {"nvmlGpmQueryDeviceSupport", "nvmlGpmSampleFree", "nvmlDeviceGetTemperature"}
    assert {call.function for call in nvmlsim.calls()} - once <= set(bench.FUNCTIONS)
    assert set(bench_functions) == set(bench.FUNCTIONS)


@pytest.mark.parametrize("function", bench_functions)
def test_whatever_fails_the_run_goes_on(bench, nvmlsim, function):
    ((_, cells),) = bench.fault_table(nvmlsim, [function], timeout_s=TIMEOUT_S)
    assert len(cells) == 51
    assert [(cell.fault, cell.phase, cell.wrong) for cell in cells if cell.wrong] == []
    assert max(cell.longest for cell in cells) < LIMIT_S


def test_a_hang_costs_one_time_out_and_then_nothing(make_monitor, nvmlsim):
    gpu = make_monitor(timeout_s=1)
    gpu.start()
    nvmlsim.fault("nvmlDeviceGetFieldValues", hang=True)
    began = time.perf_counter()
    with gpu.window("measure") as first:
        pass
    once = time.perf_counter() - began
    assert 1 <= once < LIMIT_S
    began, before = time.perf_counter(), nvmlsim.count()
    for _ in range(100):
        with gpu.paused():
            pass
        with gpu.window("measure") as window:
            pass
    assert time.perf_counter() - began < LIMIT_S  # with a time-out each it would be 100 s or more
    assert nvmlsim.count() == before
    assert (first.reading.status, window.reading.status) == ("stalled", "stalled")
    assert window.reading.uuid == nvmlsim.uuid()
    assert gpu.received == [("device", "the driver did not return in time")]
    nvmlsim.heal()
    gpu.stop()
    gpu.start()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"


def test_a_lost_gpu_is_asked_nothing_more(make_monitor, nvmlsim):
    nvmlsim.gpus(2)
    gpu = make_monitor()
    gpu.start()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
        nvmlsim.fault("*", "GPU_IS_LOST", gpu=0)
    assert window.reading.status == "gpu_lost"
    assert window.reading.temperature_c == (40, None)
    assert window.reading.others[0].status == "ok"
    before = nvmlsim.count()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert {call.gpu for call in nvmlsim.calls(since=before)} <= {1, -1}
    assert window.reading.status == "gpu_lost"
    assert gpu.received == [("device", "GPU_IS_LOST")]


def test_one_metric_that_is_refused_costs_only_itself(make_monitor, nvmlsim):
    nvmlsim.fault("nvmlDeviceGetMemoryInfo", "NO_PERMISSION")
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        nvmlsim.advance(1.5)
    before = nvmlsim.count()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.6)
    assert window.reading.memory_used_bytes == (None, None)
    assert window.reading.missing["memory_used_bytes"] == "NO_PERMISSION"
    assert window.reading.energy_j == pytest.approx(60)
    assert window.reading.status == "ok"
    assert "nvmlDeviceGetMemoryInfo" not in [call.function for call in nvmlsim.calls(since=before)]


def test_a_failure_in_passing_makes_the_reading_partial_and_the_next_one_whole(gpu, nvmlsim):
    nvmlsim.fault("nvmlDeviceGetClockInfo", "UNKNOWN", last=1)
    readings = []
    for _ in range(2):
        with gpu.window("measure") as window:
            nvmlsim.advance(0.2)
        readings.append(window.reading)
    assert [reading.status for reading in readings] == ["partial", "ok"]
    assert readings[0].sm_clock_mhz == (None, 1980)
    assert readings[0].missing["sm_clock_mhz"] == "UNKNOWN"


def test_an_old_driver_without_batched_fields_still_tells_energy(make_monitor, nvmlsim):
    nvmlsim.fault("nvmlDeviceGetFieldValues", "FUNCTION_NOT_FOUND")
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        nvmlsim.advance(1.5)
    with gpu.window("measure") as window:
        nvmlsim.advance(0.6)
    assert window.reading.energy_j == pytest.approx(60)
    assert window.reading.throttled_s == {}
    assert window.reading.missing["throttled_s"] == "FUNCTION_NOT_FOUND"


def test_an_old_driver_is_asked_by_its_old_names(make_monitor, nvmlsim):
    nvmlsim.fault("nvmlDeviceGetTemperatureV", "FUNCTION_NOT_FOUND")
    nvmlsim.fault("nvmlDeviceGetCurrentClocksEventReasons", "FUNCTION_NOT_FOUND")
    nvmlsim.set("idle", 1)
    gpu = make_monitor()
    with gpu, gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.temperature_c == (40, 40)
    assert window.reading.reasons_at_edges == ("idle",)
    assert gpu.received == []


def test_without_an_energy_counter_the_samples_stand_alone_and_have_no_bound(make_monitor, nvmlsim):
    nvmlsim.fault("field 83", "NOT_SUPPORTED")
    nvmlsim.fault("nvmlDeviceGetTotalEnergyConsumption", "NOT_SUPPORTED")
    gpu = make_monitor()
    with gpu, gpu.window("measure") as window:
        nvmlsim.advance(0.6)
    assert (window.reading.energy_source, window.reading.energy_error_j) == ("ring", None)
    assert window.reading.energy_j == pytest.approx(60)
    assert "no energy counter" in window.reading.missing["energy_error_j"]


def test_a_gpu_that_tells_nothing_is_unsupported(make_monitor, nvmlsim):
    for function in ("nvmlDeviceGetFieldValues", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetMemoryInfo"):
        nvmlsim.fault(function, "NOT_SUPPORTED")
    for function in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", "nvmlDeviceGetClockInfo"):
        nvmlsim.fault(function, "NOT_SUPPORTED")
    gpu = make_monitor()
    with gpu, gpu.window("call") as window:
        nvmlsim.settings(ring_idle=1)
        nvmlsim.advance(6)
    assert window.reading.status == "unsupported"
    assert window.reading.energy_j is None


def test_a_slow_driver_loses_metrics_and_not_the_window(make_monitor, nvmlsim):
    gpu = make_monitor(timeout_s=1.5)
    gpu.start()
    nvmlsim.fault("*", delay_s=0.2)
    with gpu.window("measure") as window:
        nvmlsim.advance(0.5)
    assert window.reading.status == "partial"
    assert window.reading.energy_j is not None
    assert "too slow" in str(window.reading.missing)
    assert ("edge", "the driver is slow: reading an edge took more than 50 ms") in gpu.received


def test_somebody_else_s_shutdown_is_mended_once(gpu, nvmlsim):
    import pynvml

    pynvml.nvmlShutdown()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"
    assert gpu.received == [("device", "somebody else shut NVML down; it was initialised again")]
    pynvml.nvmlShutdown()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "unavailable"
    assert window.reading.missing["device"] == "somebody else shut NVML down, again"
    before = nvmlsim.count()
    with gpu.window("measure"):
        pass
    assert nvmlsim.count() == before


def test_a_shutdown_within_a_window_costs_only_what_nvml_held_for_it(gpu, nvmlsim):
    import pynvml

    with gpu.window("measure") as window:
        nvmlsim.advance(1)
        pynvml.nvmlShutdown()
    assert window.reading.energy_j == pytest.approx(100)
    assert window.reading.sm_active_pct is None
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        ("LIBRARY_NOT_FOUND", "unavailable", "no NVIDIA driver here"),
        ("DRIVER_NOT_LOADED", "unavailable", "not loaded"),
        ("LIB_RM_VERSION_MISMATCH", "unavailable", "updated but not reloaded"),
        ("NO_PERMISSION", "no_permission", "no permission"),
        ("UNKNOWN", "unavailable", "nvmlInit failed: UNKNOWN"),
    ],
)
def test_without_a_working_driver_it_says_so_once_and_everything_goes_on(make_monitor, nvmlsim, error, status, reason):
    nvmlsim.fault("nvmlInitWithFlags", error)
    gpu = make_monitor()
    with gpu:
        for _ in range(3):
            with gpu.paused():
                pass
            with gpu.window("measure") as window:
                pass
            assert window.reading.status == status
            assert reason in window.reading.missing["device"]
    assert [metric for metric, _ in gpu.received] == ["device"]
    assert reason in gpu.received[0][1]


def test_a_call_that_returns_after_all_is_followed_by_no_other(make_monitor, nvmlsim, driver_threads):
    gpu = make_monitor(timeout_s=0.05)
    nvmlsim.fault("nvmlDeviceGetCount_v2", hang=True)
    gpu.start()
    threads, before = driver_threads(), nvmlsim.count()
    nvmlsim.heal()
    gpu.stop()
    for thread in threads:
        thread.join(30)
    assert nvmlsim.count() == before
