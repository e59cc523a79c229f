"""The GPU monitor: states, windows, and what its readings hold."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import time
import weakref

import pynvml
import pytest

from jitwarmup import ArgumentError, DeviceReading, GPUMonitor, MonitorStateError


def assert_every_gap_has_a_reason(reading):
    for name in DeviceReading.__dataclass_fields__:
        value = getattr(reading, name)
        empty = value is None or (isinstance(value, tuple) and None in value) or (name == "throttled_s" and not value)
        if empty and name not in {"duration_s", "nvml_calls_in_window"}:
            assert name in reading.missing or "device" in reading.missing or "window" in reading.missing, name


def test_importing_the_monitor_loads_no_driver_binding_and_no_torch():
    check = (
        "import sys, jitwarmup.gpu.monitor, jitwarmup.testing.nvmlsim\n"
        "print([name for name in ('pynvml', 'torch', 'structlog', 'numpy', 'pytest') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@contextlib.contextmanager
def held_up(gpu):
    """Another thread has the turn to call the driver."""
    has_it, over = threading.Event(), threading.Event()

    def hold():
        with gpu._calls.taken(30):
            has_it.set()
            over.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_it.wait(30)
    yield
    over.set()
    thread.join(30)


# ---- states


def test_it_goes_through_its_states(make_monitor):
    gpu = make_monitor()
    assert (gpu.state, gpu.running) == ("new", False)
    gpu.start()
    assert (gpu.state, gpu.running) == ("running", True)
    gpu.pause()
    gpu.pause()
    assert (gpu.state, gpu.running) == ("paused", True)
    gpu.resume()
    assert gpu.state == "paused"
    gpu.resume()
    assert gpu.state == "running"
    gpu.stop()
    gpu.stop()
    assert (gpu.state, gpu.running) == ("stopped", False)
    with gpu:
        assert gpu.state == "running"
    assert gpu.state == "stopped"


@pytest.mark.parametrize(
    ("prepare", "verb", "message"),
    [
        ([], "pause", "pause: the monitor is new, wanted running; call start"),
        ([], "resume", "resume: the monitor is new, wanted paused"),
        ([], "window", "window: the monitor is new, wanted running"),
        (
            ["start"],
            "start",
            "start: the monitor is running, wanted new or stopped, with no window open; it runs already",
        ),
        (["start"], "resume", "resume: the monitor is running, wanted paused; there is nothing to resume"),
        (["start", "pause"], "window", "window: the monitor is paused, wanted running; resume it first"),
        (["start", "pause"], "start", "start: the monitor is paused"),
        (["start", "stop"], "pause", "pause: the monitor is stopped, wanted running; start it again"),
        (["start", "stop"], "window", "window: the monitor is stopped"),
    ],
)
def test_misuse_is_an_error_that_names_the_state_and_the_way_out(make_monitor, prepare, verb, message):
    gpu = make_monitor()
    for step in prepare:
        getattr(gpu, step)()
    before = gpu.state
    with pytest.raises(MonitorStateError) as caught:
        gpu.window("x").__enter__() if verb == "window" else getattr(gpu, verb)()
    assert str(caught.value).startswith(message)
    assert gpu.state == before


@pytest.mark.parametrize("arguments", [{"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": float("nan")}])
def test_arguments_that_cannot_work_are_refused(arguments):
    with pytest.raises(ArgumentError, match="wanted"):
        GPUMonitor(**arguments)


def test_stopping_while_paused_is_legal_and_a_new_start_is_not_paused(make_monitor):
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        gpu.stop()
        gpu.start()
        assert gpu.state == "running"
    assert gpu.state == "running"


def test_init_and_shutdown_are_balanced(make_monitor, nvmlsim):
    gpu = make_monitor()
    for _ in range(3):
        with gpu, gpu.window("x"):
            assert nvmlsim.initialised == 1
        assert nvmlsim.initialised == 0


def test_a_second_monitor_does_not_end_the_first_one_s_session(make_monitor, nvmlsim):
    one, other = make_monitor(), make_monitor()
    one.start()
    other.start()
    other.stop()
    with one.window("x") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"


def test_an_exception_of_the_body_passes_unchanged(gpu, nvmlsim):
    with pytest.raises(KeyError, match="mine"), gpu.paused(), gpu.paused():
        raise KeyError("mine")
    assert gpu.state == "running"
    with pytest.raises(KeyError, match="mine"), gpu.window("x") as window:
        raise KeyError(nvmlsim.advance(0.2) or "mine")
    assert window.reading.status == "ok"


def test_a_monitor_that_is_forgotten_gives_nvml_back(nvmlsim, driver_threads):
    gpu = nvmlsim.adopt(GPUMonitor())
    gpu.start()
    threads = driver_threads()
    gone = weakref.ref(gpu)
    del gpu
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(30)
    assert nvmlsim.initialised == 0


# ---- silence


def test_there_is_no_call_within_a_window_and_none_while_paused(gpu, nvmlsim):
    for name in ("measure", "call"):
        with gpu.window(name):
            before = nvmlsim.count()
            nvmlsim.advance(0.2)
            assert nvmlsim.count() == before
    with gpu.paused():
        before = nvmlsim.count()
        with gpu.paused():
            nvmlsim.advance(5)
        assert nvmlsim.count() == before
    assert nvmlsim.count() > before


def test_process_lists_are_read_in_measured_windows_only(gpu, nvmlsim):
    def listed(name):
        before = nvmlsim.count()
        with gpu.window(name) as window:
            nvmlsim.advance(0.2)
        return window.reading, [call.function for call in nvmlsim.calls(since=before)].count(
            "nvmlDeviceGetComputeRunningProcesses_v3"
        )

    nvmlsim.processes(4_000_001, 4_000_002)
    measured, calls = listed("measure")
    assert calls == 2  # at both edges
    assert measured.other_pids == (4_000_001, 4_000_002)
    assert "other_pids" not in measured.missing
    plain, calls = listed("call")
    assert calls == 0
    assert plain.other_pids == ()
    assert "measured runs only" in plain.missing["other_pids"]


def test_only_field_numbers_that_never_moved_are_asked_for(nvmlsim, make_monitor, monkeypatch):
    asked = set()
    original = pynvml.nvmlDeviceGetFieldValues

    def spy(handle, ids):
        asked.update(ids)
        return original(handle, ids)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetFieldValues", spy)
    gpu = make_monitor()
    with gpu, gpu.window("measure"):
        nvmlsim.advance(0.2)
    numbers = {number for number, _ in asked}
    assert numbers
    assert numbers <= {*range(74, 84), *range(185, 193)}


# ---- readings


def test_a_reading_holds_what_happened(trusted, nvmlsim):
    nvmlsim.set("power_w", 300)
    with trusted.window("measure") as window:
        assert window.reading is None
        nvmlsim.advance(0.1)
        nvmlsim.set("power_w", 600)
        nvmlsim.set("temperature_c", 71)
        nvmlsim.set("sm_mhz", 1700)
        nvmlsim.set("limit_power", 1)
        nvmlsim.set("memory_used_bytes", 5 * 2**30)
        for name, percent in (("sm", 90), ("tensor", 60), ("dram", 30)):
            nvmlsim.set(f"{name}_active_pct", percent)
        nvmlsim.advance(0.3)
    reading = window.reading
    assert (reading.uuid, reading.name, reading.status) == (nvmlsim.uuid(), "NVIDIA H100 80GB SIM", "ok")
    assert reading.duration_s == pytest.approx(0.4)
    assert reading.energy_j == pytest.approx(210, abs=0.5)
    assert reading.energy_source == "ring"
    assert abs(reading.energy_j - 210) <= reading.energy_error_j
    assert reading.power_mean_w == pytest.approx(525, abs=2)
    assert reading.power_max_w == 600
    assert reading.temperature_c == (40, 71)
    assert reading.sm_clock_mhz == (1980, 1700)
    assert reading.sm_clock_max_mhz == 1980
    assert reading.throttled_s["power"] == pytest.approx(0.3, abs=0.1)
    assert reading.throttled_s["thermal"] == 0
    assert reading.reasons_at_edges == ("power_cap",)
    assert reading.memory_used_bytes == (2**30, 5 * 2**30)
    assert reading.sm_active_pct == pytest.approx(67.5)
    assert reading.tensor_active_pct == pytest.approx(45)
    assert reading.dram_bw_pct == pytest.approx(22.5)
    assert reading.nvml_calls_in_window == 0
    assert trusted.received == []
    assert_every_gap_has_a_reason(reading)


def test_throttled_seconds_are_within_100_ms_of_the_truth(gpu, nvmlsim):
    for limit in ("power", "thermal", "sync_boost", "board", "low_utilization", "reliability"):
        for held in (0.03, 0.15, 0.6, 1.1):
            with gpu.window("measure") as window:
                nvmlsim.advance(0.1)
                nvmlsim.set(f"limit_{limit}", 1)
                nvmlsim.advance(held)
                nvmlsim.set(f"limit_{limit}", 0)
                nvmlsim.advance(0.07)
            result = window.reading.throttled_s
            assert abs(result.pop(limit) - held) <= 0.1
            assert all(seconds <= 0.1 for seconds in result.values())


def test_the_first_window_without_a_warm_up_has_the_counter_and_its_bound(gpu, nvmlsim):
    nvmlsim.set("power_w", 400)
    with gpu.window("measure") as window:
        nvmlsim.advance(0.25)
    assert window.reading.energy_source == "counter"
    assert window.reading.energy_error_j == pytest.approx(70, rel=0.01)  # 100 ms at the limit of 700 W
    assert abs(window.reading.energy_j - 100) <= window.reading.energy_error_j


def test_a_counter_that_did_not_move_is_no_zero(gpu, nvmlsim):
    with gpu.window("measure") as window:
        nvmlsim.advance(0.01)
    reading = window.reading
    assert (reading.energy_j, reading.energy_source, reading.power_mean_w) == (None, None, None)
    assert "it did not move" in reading.missing["energy_j"]
    assert (reading.sm_active_pct, reading.missing["sm_active_pct"]) == (None, "the window is shorter than 100 ms")
    assert_every_gap_has_a_reason(reading)


def test_a_counter_that_went_back_is_no_energy(gpu, nvmlsim):
    with gpu.window("measure") as window:
        nvmlsim.advance(0.5)
        nvmlsim.reload_driver()
        nvmlsim.advance(0.5)
    reading = window.reading
    assert reading.energy_j is None
    assert "went back" in reading.missing["energy_j"]
    with gpu.window("measure") as window:
        nvmlsim.advance(0.5)
    assert window.reading.energy_j is not None


def test_limits_that_went_back_are_not_told(gpu, nvmlsim):
    nvmlsim.set("limit_power", 1)
    nvmlsim.advance(1)
    with gpu.window("measure") as window:
        nvmlsim.reload_driver()
        nvmlsim.advance(0.2)
    assert window.reading.throttled_s == {}
    assert "went back" in window.reading.missing["throttled_s"]


@pytest.mark.parametrize("kind", ["averaged", "duty"])
def test_samples_that_do_not_agree_with_the_counter_are_not_used(make_monitor, nvmlsim, kind):
    nvmlsim.settings(ring_kind=kind)
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        for _ in range(75):  # bursts that a look at the last quarter of each 20 ms misses, and a slow mean smears
            nvmlsim.set("power_w", 700)
            nvmlsim.advance(0.015)
            nvmlsim.set("power_w", 100)
            nvmlsim.advance(0.005)
    with gpu.window("measure") as window:
        nvmlsim.advance(0.5)
    assert window.reading.energy_source != "ring"
    assert window.reading.power_max_w is None
    assert [metric for metric, _ in gpu.received] == ["ring"]


@pytest.mark.parametrize("clock", ["realtime", "boottime", "monotonic"])
def test_samples_may_be_stamped_with_any_clock(make_monitor, nvmlsim, clock):
    now = nvmlsim.clocks()
    nvmlsim.settings(ring_offset_us=(now.stamps_ns()[clock] - now.now_ns()) // 1000)
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        nvmlsim.advance(1.5)
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.energy_source == "ring"


def test_samples_with_stamps_of_no_clock_are_not_used(make_monitor, nvmlsim):
    nvmlsim.settings(ring_offset_us=77_000_000_000)
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        nvmlsim.advance(1.5)
    with gpu.window("measure") as window:
        nvmlsim.advance(0.5)
    assert window.reading.energy_source == "counter"
    assert "clock" in window.reading.missing["power_max_w"]


def test_an_idle_gpu_without_samples_falls_back_to_its_counter(trusted, nvmlsim):
    nvmlsim.settings(ring_idle=1)
    with trusted.window("measure") as window:
        nvmlsim.advance(0.5)
    assert window.reading.energy_source == "counter"
    assert window.reading.status == "ok"


def test_a_long_window_is_read_exactly_once_a_step_of_the_counter_was_seen(trusted, nvmlsim):
    nvmlsim.set("power_w", 500)
    errors = []
    for _ in range(3):
        with trusted.window("measure") as window:
            nvmlsim.advance(7.77)
        assert window.reading.energy_source == "counter"
        errors.append(abs(window.reading.energy_j - 3885))
        assert errors[-1] <= window.reading.energy_error_j
    assert max(errors[1:]) < 1
    assert window.reading.energy_error_j < 10


def test_a_plain_call_is_never_followed_by_a_wait(trusted, nvmlsim):
    for seconds in (0.51, 7.77):
        with trusted.window("call"):
            nvmlsim.advance(seconds)
            end = nvmlsim.now_ns
        assert nvmlsim.now_ns == end


def test_the_wait_after_a_measured_window_is_at_most_a_twentieth_of_it(trusted, nvmlsim):
    for seconds in (0.05, 0.11, 0.231, 0.517, 2.9, 7.77):
        with trusted.window("measure"):
            nvmlsim.advance(seconds)
            end = nvmlsim.now_ns
        assert nvmlsim.now_ns - end <= 0.05e9 * seconds + 2_000_000


# ---- pauses and windows


def test_a_window_cut_by_a_pause_keeps_its_reading_and_says_so(gpu, nvmlsim):
    with gpu.window("measure") as window:
        with gpu.paused():
            nvmlsim.advance(1)
        nvmlsim.advance(0.1)
    assert (window.reading.status, window.reading.missing["window"]) == (
        "partial",
        "interrupted by a pause or by another run",
    )
    assert window.reading.energy_j is not None


def test_a_window_that_ends_paused_makes_no_call(gpu, nvmlsim):
    with gpu.window("measure") as window:
        gpu.pause()
        before = nvmlsim.count()
    assert nvmlsim.count() == before
    assert window.reading.status == "unavailable"
    assert "paused" in window.reading.missing["window"]
    assert window.reading.uuid == nvmlsim.uuid()
    gpu.resume()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"


def test_a_stop_within_a_window_lets_nvml_go_at_its_end(gpu, nvmlsim):
    with gpu.window("measure") as window:
        gpu.stop()
        before = nvmlsim.count()
        with pytest.raises(MonitorStateError, match="leave its windows first"):
            gpu.start()
        assert nvmlsim.count() == before
    assert nvmlsim.initialised == 0
    assert "stopped" in window.reading.missing["window"]
    gpu.start()
    assert gpu.state == "running"


def test_windows_nest_and_the_outer_one_counts_the_calls_of_the_inner_one(gpu, nvmlsim):
    with gpu.window("block") as outer:
        nvmlsim.advance(0.2)
        with gpu.window("measure") as inner:
            nvmlsim.advance(0.2)
    assert (inner.reading.status, inner.reading.nvml_calls_in_window) == ("ok", 0)
    assert outer.reading.status == "ok"
    assert outer.reading.nvml_calls_in_window > 0
    assert outer.reading.duration_s == pytest.approx(0.4, abs=0.05)


def test_of_two_runs_that_overlap_only_the_last_to_end_may_look(gpu, nvmlsim):
    began, over = threading.Event(), threading.Event()
    readings = []

    def other():
        with gpu.window("measure") as window:
            began.set()
            over.wait(30)
        readings.append(window.reading)

    with gpu.window("measure") as window:
        before = nvmlsim.count()
        thread = threading.Thread(target=other)
        thread.start()
        assert began.wait(30)
        nvmlsim.advance(0.2)
        over.set()
        thread.join(30)
        assert nvmlsim.count() == before
    assert readings[0].status == "unavailable"
    assert "overlapped" in readings[0].missing["window"]
    assert (window.reading.status, window.reading.missing["window"]) == (
        "partial",
        "interrupted by a pause or by another run",
    )


def test_a_run_that_ends_while_another_goes_on_makes_no_call(gpu, nvmlsim):
    first, second = gpu.window("measure"), gpu.window("measure")

    async def both():
        async def run(window, start, end):
            await start.wait()
            with window:
                entered[window].set()
                await end.wait()
            left[window].set()

        entered = {first: asyncio.Event(), second: asyncio.Event()}
        left = {first: asyncio.Event(), second: asyncio.Event()}
        go, on = asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(run(first, go, entered[second])),
            asyncio.create_task(run(second, entered[first], on)),
        ]
        go.set()
        await left[first].wait()
        before = nvmlsim.count()
        on.set()
        await asyncio.gather(*tasks)
        return before

    before = asyncio.run(both())
    assert first.reading.missing["window"] == second.reading.missing["window"]
    assert first.reading.status == "unavailable"
    assert nvmlsim.count() == before


def test_a_task_within_a_block_is_within_its_window(gpu, nvmlsim):
    async def inner():
        with gpu.window("measure") as window:
            nvmlsim.advance(0.2)
        return window.reading

    async def block():
        with gpu.window("block") as outer:
            reading = await asyncio.create_task(inner())
        return outer.reading, reading

    outer, reading = asyncio.run(block())
    assert (outer.status, reading.status) == ("ok", "ok")


def test_a_window_that_was_never_left_does_not_blind_the_monitor_for_ever(gpu, nvmlsim):
    def leaky():
        with gpu.window("call"):
            yield

    stream = leaky()
    next(stream)
    threading.Thread(target=lambda: None).start()
    del stream
    gc.collect()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"


def test_a_pause_waits_for_a_call_in_flight(gpu, nvmlsim):
    nvmlsim.fault("nvmlDeviceGetClockInfo", delay_s=0.05, last=1)
    entered = threading.Event()

    def run():
        with gpu.window("measure"):
            entered.set()

    before = nvmlsim.count()
    thread = threading.Thread(target=run)
    thread.start()
    while nvmlsim.count() == before:
        time.sleep(0)
    gpu.pause()
    returned_ns = time.perf_counter_ns()
    thread.join(30)
    assert entered.is_set()
    calls = nvmlsim.calls(since=before)
    assert all(call.at_ns + call.took_ns <= returned_ns for call in calls)
    gpu.resume()


def test_a_pause_that_cannot_wait_longer_says_so(make_monitor, nvmlsim):
    gpu = make_monitor(timeout_s=0.5)
    gpu.start()
    with held_up(gpu):
        before = time.perf_counter()
        gpu.pause()
        assert time.perf_counter() - before < 30
        assert gpu.received == [("pause", "a call to the driver was still in flight when a pause began")]
        with gpu.paused():
            pass
        gpu.resume()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"


def test_eight_threads_pausing_leave_it_running(gpu, nvmlsim):
    inside, broken = [], []

    def warm():
        for _ in range(25):
            with gpu.paused():
                inside.append(1)
                if gpu.state != "paused":
                    broken.append(1)

    threads = [threading.Thread(target=warm) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), broken, gpu.state) == (200, [], "running")


# ---- telling


def test_what_degraded_is_told_once_and_a_late_listener_is_told_what_it_missed(make_monitor, nvmlsim):
    nvmlsim.fault("nvmlDeviceGetClockInfo", "NO_PERMISSION")
    gpu = make_monitor()
    for _ in range(2):
        with gpu, gpu.window("x"):
            nvmlsim.advance(0.2)
    assert gpu.received == [("sm_clock_mhz", "NO_PERMISSION")]
    assert gpu.degraded == (("sm_clock_mhz", "NO_PERMISSION"),)
    late = []
    gpu.on_degraded = lambda *result: late.append(result)
    assert late == [("sm_clock_mhz", "NO_PERMISSION")]


def test_a_listener_that_raises_hurts_nobody(make_monitor, nvmlsim):
    nvmlsim.fault("nvmlDeviceGetClockInfo", "NO_PERMISSION")
    gpu = make_monitor()

    def listener(metric, reason):
        raise RuntimeError

    gpu.on_degraded = listener
    with gpu, gpu.window("x") as window:
        nvmlsim.advance(0.2)
    assert window.reading.memory_used_bytes == (2**30, 2**30)
    assert gpu.on_degraded is None


# ---- interruptions


def test_an_interrupted_entry_leaves_no_window_behind(gpu, nvmlsim, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    window = gpu.window("measure")
    with monkeypatch.context() as patched:
        patched.setattr(gpu._link, "ask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            window.__enter__()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"


def test_a_window_that_is_left_twice_or_was_never_entered_has_no_reading(gpu):
    window = gpu.window("measure")
    window.__exit__(None, None, None)
    assert window.reading is None


def test_a_reloaded_driver_does_not_spoil_the_next_long_window(trusted, nvmlsim):
    for reload in (False, True, False):
        if reload:
            nvmlsim.reload_driver()
        with trusted.window("measure") as window:
            nvmlsim.advance(5.03)
        assert window.reading.energy_source == "counter"
        assert abs(window.reading.energy_j - 503) <= window.reading.energy_error_j


def test_a_start_while_another_thread_is_held_up_says_so(make_monitor):
    gpu = make_monitor(timeout_s=0.5)
    with held_up(gpu):
        gpu.start()
    with gpu.window("measure") as window:
        pass
    assert window.reading.status == "unavailable"
    gpu.stop()
    gpu.start()
    with gpu.window("measure") as window:
        pass
    assert window.reading.status == "ok"


@pytest.mark.parametrize("error", ["UNKNOWN", "NOT_SUPPORTED", "NO_PERMISSION"])
def test_a_metric_that_stops_being_read_is_announced_once_with_its_reason(make_monitor, nvmlsim, error):
    gpu, received = make_monitor(), []
    gpu.on_degraded = lambda metric, reason: received.append((metric, reason))
    gpu.start()
    with gpu.window("measure"):
        nvmlsim.advance(0.2)
    before = list(received)
    nvmlsim.fault("nvmlDeviceGetTemperatureV", error=error)
    nvmlsim.fault("nvmlDeviceGetFieldValues", error=error)
    for _ in range(5):
        with gpu.window("measure"):
            nvmlsim.advance(0.2)
    assert sorted(received[len(before) :]) == [("energy_j", error), ("temperature_c", error)]
