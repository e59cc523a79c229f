"""The simulated driver, met through the real nvidia-ml-py."""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
import time

import pynvml as nvml
import pytest

from jitwarmup.testing.nvmlsim import NoCompiler, build
from jitwarmup.testing.nvmlsim import driver as module


@pytest.fixture
def gpu(nvmlsim):
    nvml.nvmlInit()
    yield nvml.nvmlDeviceGetHandleByIndex(0)
    nvmlsim.heal()
    if nvmlsim.initialised:
        nvml.nvmlShutdown()


@contextlib.contextmanager
def failing(code):
    with pytest.raises(nvml.NVMLError) as caught:
        yield
    assert caught.value.value == code


def test_the_real_binding_runs_over_it(nvmlsim, gpu):
    assert nvml.nvmlSystemGetDriverVersion().endswith("-SIM")
    assert nvml.nvmlDeviceGetCount() == 1
    assert nvml.nvmlDeviceGetUUID(gpu) == nvmlsim.uuid(0)
    assert nvml.nvmlDeviceGetName(gpu) == "NVIDIA H100 80GB SIM"
    assert nvml.nvmlDeviceGetMemoryInfo(gpu).used == 2**30
    assert nvml.nvmlDeviceGetMemoryInfo(gpu, version=nvml.nvmlMemory_v2).total == 80 * 2**30
    assert nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU) == 40
    if hasattr(nvml, "nvmlDeviceGetTemperatureV"):  # releases before 12.570 do not have it
        assert nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU) == 40
    assert nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM) == 1980


def test_an_hour_at_700_watts_is_exactly_2520000_joules(nvmlsim, gpu):
    nvmlsim.set("power_w", 700)
    before = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    nvmlsim.advance(3600)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) - before == 2_520_000_000
    assert nvmlsim.integral("power_w", 1000, 4600) == 2_520_000.0


def test_the_energy_counter_moves_only_at_its_ticks(nvmlsim, gpu):
    before = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    nvmlsim.advance(0.099)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) == before
    nvmlsim.advance(0.001)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) == before + 10_000


def test_a_reloaded_driver_counts_from_zero(nvmlsim, gpu):
    nvmlsim.reload_driver()
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) == 0
    nvmlsim.advance(1)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) == 100_000


def test_fields_tell_the_counters_by_number(nvmlsim, gpu):
    nvmlsim.set("limit_power", 1)
    nvmlsim.advance(0.6)
    power, thermal, energy, instant, unknown = nvml.nvmlDeviceGetFieldValues(gpu, [74, 75, 83, 186, 251])
    assert (power.value.ullVal, thermal.value.ullVal) == (600_000_000, 0)
    assert energy.value.ullVal == nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    assert instant.value.uiVal == 100_000
    assert unknown.nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED


def test_reported_power_lags_by_its_averaging_second(nvmlsim, gpu):
    nvmlsim.set("power_w", 500)
    nvmlsim.advance(0.5)
    assert nvml.nvmlDeviceGetPowerUsage(gpu) == 300_000


def test_the_ring_holds_true_means_of_the_last_samples(nvmlsim, gpu):
    nvmlsim.set("power_w", 200)
    nvmlsim.advance(0.01)
    nvmlsim.set("power_w", 400)
    nvmlsim.advance(0.03)
    _, samples = nvml.nvmlDeviceGetSamples(gpu, nvml.NVML_TOTAL_POWER_SAMPLES, 0)
    assert len(samples) == 119
    assert [sample.sampleValue.uiVal for sample in samples[-3:]] == [100_000, 300_000, 400_000]
    assert samples[-1].timeStamp == nvmlsim.now_ns // 1000
    _, newer = nvml.nvmlDeviceGetSamples(gpu, nvml.NVML_TOTAL_POWER_SAMPLES, samples[-2].timeStamp)
    assert len(newer) == 1


@pytest.mark.parametrize(("kind", "expected"), [("mean", 250_000), ("averaged", 103_000), ("duty", 400_000)])
def test_a_ring_may_tell_less_than_the_truth(nvmlsim, gpu, kind, expected):
    nvmlsim.settings(ring_kind=kind)
    nvmlsim.advance(0.01)
    nvmlsim.set("power_w", 400)
    nvmlsim.advance(0.01)
    _, samples = nvml.nvmlDeviceGetSamples(gpu, nvml.NVML_TOTAL_POWER_SAMPLES, 0)
    assert samples[-1].sampleValue.uiVal == expected


def test_an_idle_ring_is_not_found_and_stamps_follow_the_chosen_clock(nvmlsim, gpu):
    nvmlsim.settings(ring_offset_us=5_000_000)
    _, samples = nvml.nvmlDeviceGetSamples(gpu, nvml.NVML_TOTAL_POWER_SAMPLES, 0)
    assert samples[-1].timeStamp == nvmlsim.now_ns // 1000 + 5_000_000
    nvmlsim.settings(ring_idle=1)
    with failing(nvml.NVML_ERROR_NOT_FOUND):
        nvml.nvmlDeviceGetSamples(gpu, nvml.NVML_TOTAL_POWER_SAMPLES, 0)


def test_a_mig_instance_knows_its_parent_and_not_its_power(nvmlsim, gpu):
    nvmlsim.settings(migs=2)
    mig = nvml.nvmlDeviceGetHandleByUUID(nvmlsim.uuid(0, mig=1).encode())
    assert nvml.nvmlDeviceIsMigDeviceHandle(mig).value == 1
    parent = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)
    assert nvml.nvmlDeviceGetUUID(parent) == nvmlsim.uuid(0)
    assert nvml.nvmlDeviceGetGpuInstanceId(mig) == 2
    with failing(nvml.NVML_ERROR_NOT_SUPPORTED):
        nvml.nvmlDeviceGetPowerUsage(mig)
    with failing(nvml.NVML_ERROR_NOT_SUPPORTED):
        nvml.nvmlDeviceGetUtilizationRates(gpu)


def test_activity_between_two_looks(nvmlsim, gpu):
    first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    nvml.nvmlGpmSampleGet(gpu, first)
    nvmlsim.set("sm_active_pct", 80)
    nvmlsim.advance(0.3)
    nvmlsim.set("sm_active_pct", 0)
    nvmlsim.advance(0.1)
    nvml.nvmlGpmSampleGet(gpu, second)
    get = nvml.c_nvmlGpmMetricsGet_t(version=nvml.NVML_GPM_METRICS_GET_VERSION, numMetrics=1)
    get.sample1, get.sample2, get.metrics[0].metricId = first, second, nvml.NVML_GPM_METRIC_SM_UTIL
    assert nvml.nvmlGpmMetricsGet(get).metrics[0].value == pytest.approx(60)
    nvml.nvmlGpmSampleFree(first)
    nvml.nvmlGpmSampleFree(second)


def test_processes_on_the_gpu(nvmlsim, gpu):
    assert nvml.nvmlDeviceGetComputeRunningProcesses(gpu) == []
    nvmlsim.processes(12, 34)
    assert [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(gpu)] == [12, 34]


def test_a_fault_hits_the_calls_it_is_meant_for(nvmlsim, gpu):
    nvmlsim.fault("nvmlDeviceGetPowerUsage", "GPU_IS_LOST", first=1, last=2)
    nvml.nvmlDeviceGetPowerUsage(gpu)
    with failing(nvml.NVML_ERROR_GPU_IS_LOST):
        nvml.nvmlDeviceGetPowerUsage(gpu)
    nvml.nvmlDeviceGetPowerUsage(gpu)
    nvmlsim.fault("field 83", "NO_PERMISSION")
    limit, energy = nvml.nvmlDeviceGetFieldValues(gpu, [74, 83])
    assert (limit.nvmlReturn, energy.nvmlReturn) == (0, nvml.NVML_ERROR_NO_PERMISSION)


def test_a_function_that_is_not_simulated_is_not_found(gpu):
    with failing(nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
        nvml.nvmlDeviceGetFanSpeed(gpu)


def test_without_init_nothing_is_answered(nvmlsim, gpu):
    nvml.nvmlShutdown()
    with failing(nvml.NVML_ERROR_UNINITIALIZED):
        nvml.nvmlDeviceGetPowerUsage(gpu)


def test_a_slow_call_is_in_the_log_with_its_time(nvmlsim, gpu):
    nvmlsim.forget_calls()
    nvmlsim.fault("nvmlDeviceGetPowerUsage", delay_s=0.02)
    before = time.perf_counter_ns()
    nvml.nvmlDeviceGetPowerUsage(gpu)
    (call,) = nvmlsim.calls_between(before, time.perf_counter_ns())
    assert (call.function, call.returned, call.gpu) == ("nvmlDeviceGetPowerUsage", 0, 0)
    assert (call.pid, call.tid) == (os.getpid(), threading.get_native_id())
    assert call.took_ns >= 20_000_000
    assert nvmlsim.calls_between(before - 10, before) == []


def test_a_hanging_call_returns_when_it_is_healed(nvmlsim, gpu):
    nvmlsim.fault("nvmlDeviceGetPowerUsage", hang=True)
    nvmlsim.forget_calls()
    hung = threading.Thread(target=nvml.nvmlDeviceGetPowerUsage, args=(gpu,))
    hung.start()
    while not nvmlsim.count():
        os.sched_yield()
    assert nvmlsim.calls()[0].took_ns == -1
    nvmlsim.heal()
    hung.join(30)
    assert not hung.is_alive()
    assert nvmlsim.calls()[0].took_ns > 0


def test_a_child_process_meets_the_same_machine_and_writes_into_the_same_log(nvmlsim):
    nvmlsim.set("power_w", 333)
    nvmlsim.advance(2)
    child = "import pynvml as n; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0); print(n.nvmlDeviceGetPowerUsage(h))"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "333000"
    assert [call.function for call in nvmlsim.calls()][-1] == "nvmlDeviceGetPowerUsage"
    assert nvmlsim.calls()[-1].pid != os.getpid()


def test_the_log_refuses_to_answer_once_it_ran_over(nvmlsim, gpu, monkeypatch):
    nvmlsim.forget_calls()
    size = nvmlsim._so.nvmlsim_log_size()
    power = nvml.nvmlLib.nvmlDeviceGetPowerUsage
    out = ctypes.c_uint()
    for _ in range(size + 1):
        power(gpu, ctypes.byref(out))
    with pytest.raises(OverflowError, match="forget_calls"):
        nvmlsim.calls()
    nvmlsim.forget_calls()


def test_time_goes_forward_only_and_a_trace_has_an_end(nvmlsim):
    nvmlsim.set("power_w", 1, at_s=2000)
    with pytest.raises(ValueError, match="forward"):
        nvmlsim.set("power_w", 2, at_s=1999)
    for second in range(16382):
        nvmlsim.set("power_w", second, at_s=2000 + second)
    with pytest.raises(ValueError, match="too many steps"):
        nvmlsim.set("power_w", 1, at_s=90000)


def test_the_host_clock_can_take_over(nvmlsim):
    nvmlsim.host_clock()
    before = time.perf_counter_ns()
    assert before <= nvmlsim.now_ns <= time.perf_counter_ns()


def test_without_a_compiler_or_linux_it_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(NoCompiler, match="no C compiler"):
        build(tmp_path)
    monkeypatch.setattr(module.sys, "platform", "darwin")
    with pytest.raises(NoCompiler, match="darwin"):
        build(tmp_path)
