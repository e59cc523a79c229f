"""Process mode: samples from a process of its own, on the clock of the runs, and silence while paused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jitwarmup.gpu import sampler as module
from jitwarmup.gpu import sources
from jitwarmup.gpu.monitor import GPUMonitor
from jitwarmup.gpu.sources import Remote
from jitwarmup.records.runs import DeviceReading


@pytest.fixture
def remote(nvmlsim):
    """A running monitor whose sampler is a real process; the machine keeps the host's time."""
    nvmlsim.host_clock()
    monitor = GPUMonitor(mode="process", period_s=0.01, timeout_s=10)
    monitor.heard = []
    monitor.on_degraded = lambda metric, reason: monitor.heard.append((metric, reason))
    monitor.start()
    yield monitor
    nvmlsim.heal()
    monitor.stop()


def run(seconds):
    """A run that lasts, without a sleep of the test's own making."""
    threading.Event().wait(seconds)


def children(nvmlsim, since=0):
    return [call for call in nvmlsim.calls(since=since) if call.pid != os.getpid()]


def test_samples_come_from_another_process_and_lie_within_the_window(remote, nvmlsim):
    nvmlsim.set("power_w", 250)
    before = nvmlsim.count()
    with remote.window("measure") as window:
        run(0.15)
    reading = window.reading
    assert reading.status == "ok"
    assert reading.uuid == nvmlsim.uuid()
    assert 3 <= reading.samples <= 16
    assert reading.power_max_w == 250
    assert 3 <= reading.nvml_calls_in_window <= 17
    assert reading.duration_s == pytest.approx(0.15, abs=0.1)
    calls = nvmlsim.calls(since=before)
    assert {call.pid for call in calls} == {calls[0].pid} != {os.getpid()}
    assert remote.heard == []


def test_without_counter_and_ring_energy_is_the_integral_of_the_samples(nvmlsim):
    nvmlsim.host_clock()
    nvmlsim.fault("field 83", "NOT_SUPPORTED")
    nvmlsim.fault("nvmlDeviceGetTotalEnergyConsumption", "NOT_SUPPORTED")
    nvmlsim.fault("nvmlDeviceGetSamples", "NOT_SUPPORTED")
    nvmlsim.set("power_w", 250)
    with GPUMonitor(mode="process", period_s=0.01, timeout_s=10) as gpu, gpu.window("measure") as window:
        run(0.1)
    reading = window.reading
    assert reading.energy_source == "power_integral"
    assert reading.energy_j == pytest.approx(250 * reading.duration_s)
    assert reading.energy_error_j == 0


def test_a_driver_without_the_power_field_is_sampled_by_its_old_call(nvmlsim):
    nvmlsim.host_clock()
    nvmlsim.fault("nvmlDeviceGetFieldValues", "FUNCTION_NOT_FOUND")
    nvmlsim.set("power_w", 250, at_s=0.0)
    with GPUMonitor(mode="process", period_s=0.01, timeout_s=10) as gpu, gpu.window("measure") as window:
        run(0.1)
    assert window.reading.samples >= 2
    assert "nvmlDeviceGetPowerUsage" in {call.function for call in nvmlsim.calls()}


def test_no_call_is_started_while_paused_and_none_outside_windows(remote, nvmlsim):
    for _ in range(5):
        with remote.paused():
            begin = time.perf_counter_ns()
            run(0.03)
            assert nvmlsim.calls_between(begin, time.perf_counter_ns()) == []
        begin = time.perf_counter_ns()
        run(0.02)
        assert nvmlsim.calls_between(begin, time.perf_counter_ns()) == []


def test_a_pause_within_a_window_silences_the_sampler(remote, nvmlsim):
    with remote.window("block") as window:
        run(0.03)
        with remote.paused():
            begin = time.perf_counter_ns()
            run(0.05)
            assert nvmlsim.calls_between(begin, time.perf_counter_ns()) == []
        count = nvmlsim.count()
        run(0.1)
        assert nvmlsim.count() > count
    assert window.reading.status == "partial"
    assert window.reading.samples > 3


def test_a_tick_makes_one_batched_call(remote, nvmlsim):
    with remote.window("measure"):
        begin = time.perf_counter_ns()
        run(0.1)
        end = time.perf_counter_ns()
    ticks = nvmlsim.calls_between(begin, end)
    assert {call.function for call in ticks} == {"nvmlDeviceGetFieldValues"}
    assert len(ticks) <= 11


def test_the_process_ends_with_the_monitor(remote):
    process = remote._link._source._process
    remote.stop()
    assert process.wait(5) == 0


def test_a_sampler_that_dies_is_said_and_the_run_goes_on(remote, nvmlsim):
    with remote.window("measure") as window:
        remote._link._source._process.kill()
        remote._link._source._process.wait(5)
    assert window.reading.status == "unavailable"
    assert window.reading.missing["device"] == "the sampler's process ended"
    assert remote.heard == [("device", "the sampler's process ended")]
    remote.stop()
    remote.start()
    with remote.window("measure") as window:
        run(0.02)
    assert window.reading.status == "ok"


def test_a_hang_in_the_sampler_costs_one_time_out(nvmlsim):
    nvmlsim.host_clock()
    gpu = GPUMonitor(mode="process", period_s=0.01, timeout_s=3)
    gpu.start()
    gpu._link._source._timeout_s = 0.2
    nvmlsim.fault("nvmlDeviceGetFieldValues", hang=True)
    began = time.perf_counter()
    with gpu.window("measure") as first:
        pass
    with gpu.window("measure") as second:
        pass
    assert time.perf_counter() - began < 1.5
    assert (first.reading.status, second.reading.status) == ("stalled", "stalled")
    process = gpu._link._source._process
    gpu.stop()
    assert process.wait(5) == -signal.SIGKILL


def test_a_window_while_the_sampler_starts_sends_nothing(nvmlsim, monkeypatch):
    nvmlsim.host_clock()
    spawned = Remote._spawn
    monkeypatch.setattr(Remote, "_spawn", lambda self: stopped(spawned(self)))

    def stopped(process):
        process.send_signal(signal.SIGSTOP)
        return process

    gpu = GPUMonitor(mode="process", period_s=0.01, timeout_s=1)  # the sampler has it for its own calls too
    gpu.start()
    process = gpu._link._source._process
    with gpu.window("measure") as window:
        pass
    assert window.reading.status == "unavailable"
    assert "starting" in window.reading.missing["device"]
    gpu.pause()
    gpu.resume()
    process.send_signal(signal.SIGCONT)
    gpu._timeout_s = gpu._link._source._timeout_s = 10
    with gpu.paused():
        pass
    with gpu.window("measure") as window:
        run(0.02)
    assert window.reading.status == "ok"
    gpu.stop()


def test_several_gpus_are_sampled_together(nvmlsim):
    nvmlsim.gpus(2)
    nvmlsim.host_clock()
    for place, watts in enumerate((150, 350)):
        nvmlsim.set("power_w", watts, gpu=place)
    with GPUMonitor(mode="process", period_s=0.01, timeout_s=10) as gpu, gpu.window("measure") as window:
        run(0.1)
    (other,) = window.reading.others
    assert (window.reading.power_max_w, other.power_max_w) == (150, 350)
    assert isinstance(other, DeviceReading)


def test_an_unguarded_main_is_not_run_again_and_nothing_is_printed(nvmlsim, tmp_path):
    nvmlsim.host_clock()
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from jitwarmup.gpu.monitor import GPUMonitor\n"
        "print('once')\n"
        "gpu = GPUMonitor(mode='process', timeout_s=10)\n"
        "gpu.start()\n"
        "with gpu.window('measure') as w: pass\n"
        "print(w.reading.status)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=30)
    assert (done.stdout.split(), done.stderr) == (["once", "ok"], "")


def test_modules_of_the_working_directory_do_not_get_in_the_sampler_s_way(nvmlsim, tmp_path, monkeypatch):
    nvmlsim.host_clock()
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')")
    monkeypatch.chdir(tmp_path)
    with GPUMonitor(mode="process", timeout_s=10) as gpu, gpu.window("x") as window:
        pass
    assert window.reading.status == "ok"


def test_an_installed_package_is_found_without_help(monkeypatch, tmp_path):
    root = str(Path(sources.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert sources._environment()["PYTHONPATH"] == os.pathsep.join([root, "elsewhere"])
    monkeypatch.setattr(sources.site, "getsitepackages", lambda: [root])
    assert sources._environment()["PYTHONPATH"] == "elsewhere"


def test_the_sampler_serves_line_by_line_until_its_input_ends(nvmlsim):
    nvmlsim.host_clock()
    down, commands = os.pipe()
    up, answers = os.pipe()
    settings = json.dumps({"timeout_s": 5, "period_s": 0.01, "own_pid": 1})
    served = threading.Thread(target=module.main, args=(settings, down, answers))
    served.start()

    def ask(verb, **arguments):
        os.write(commands, json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n")
        return json.loads(next(lines))

    lines = module.lines_of(up)
    wanted = {"wants": None, "ordered": False, "provisional": False}
    assert ask("open", wanted=wanted)["devices"] == [[nvmlsim.uuid(), "NVIDIA H100 80GB SIM", None]]
    assert ask("begin", key=1, pids=False) == {}
    run(0.05)
    assert ask("pause") == {}
    (reading,) = ask("end", key=1, pids=False, listed=False)["readings"]
    assert reading["samples"] >= 1
    assert ask("resume") == {}
    assert ask("close") == {}
    os.close(commands)
    served.join(5)
    assert not served.is_alive()
    for descriptor in (down, up, answers):
        os.close(descriptor)


def test_missed_ticks_are_not_made_up_for(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    sampler = module.Sampler(timeout_s=1, period_s=0.1, own_pid=1)
    sampler._do = lambda verb, arguments: {}
    assert sampler.wait_s() is None
    sampler.answer("begin", {"key": 1, "pids": False})
    assert sampler.wait_s() == pytest.approx(0.1)
    now[0] += 0.55
    assert sampler.wait_s() == 0
    sampler.tick()
    assert sampler.wait_s() == pytest.approx(0.05)
    sampler.answer("pause", {})
    assert sampler.wait_s() is None
    sampler.answer("begin", {"key": 2, "pids": False})
    assert sampler.wait_s() == pytest.approx(0.1)
