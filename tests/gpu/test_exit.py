"""Fork, threads and the end of the interpreter: no call where none may be, no wait where nobody waits."""

import os
import subprocess
import sys
import threading
import time

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(job):
    """What a forked child's job returns (a small int), told by its exit status."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = job()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_makes_no_call_and_its_parent_goes_on(make_monitor, nvmlsim):
    nvmlsim.host_clock()
    gpu = make_monitor(timeout_s=10)
    gpu.start()
    before = nvmlsim.count()

    def child():
        with gpu.paused():
            pass
        with gpu.window("measure") as window:
            pass
        forked = "forked" in window.reading.missing["device"] and gpu.state == "foreign"
        gpu.stop()
        try:
            gpu.start()
        except RuntimeError as refused:
            return 7 if forked and "of its own" in str(refused) else 2
        return 3

    assert in_child(child) == 7
    assert nvmlsim.count() == before
    with gpu.window("measure") as window:
        threading.Event().wait(0.01)
    assert window.reading.status == "ok"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_in_the_middle_of_a_call_is_not_locked_up(make_monitor, nvmlsim):
    gpu = make_monitor(timeout_s=60)
    gpu.start()
    nvmlsim.fault("nvmlDeviceGetFieldValues", hang=True)
    before = nvmlsim.count()
    stuck = threading.Thread(target=gpu.pause)
    stuck.start()
    while nvmlsim.count() == before:
        time.sleep(0)

    def child():
        began = time.perf_counter()
        with gpu.paused(), gpu.paused():
            pass
        gpu.stop()
        return 7 if time.perf_counter() - began < 30 else 2

    assert in_child(child) == 7
    nvmlsim.heal()
    stuck.join(30)
    gpu.resume()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_window_that_a_child_inherits_has_no_reading_there(make_monitor, nvmlsim):
    gpu = make_monitor()
    gpu.start()
    with gpu.window("measure") as window:
        nvmlsim.advance(0.2)

        def child():
            window.__exit__(None, None, None)
            return 7 if window.reading.status == "unavailable" else 2

        assert in_child(child) == 7
    assert window.reading.status == "ok"


def script_output(body, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", body],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("end", ["pass", "gpu.pause()", "w = gpu.window('x'); w.__enter__()", "del gpu"])
def test_the_interpreter_ends_in_any_state_and_gives_nvml_back(nvmlsim, end):
    nvmlsim.host_clock()
    body = f"from jitwarmup import GPUMonitor\ngpu = GPUMonitor(timeout_s=60)\ngpu.start()\n{end}\nprint('done')"
    began = time.perf_counter()
    assert script_output(body) == (0, "done", "")
    assert time.perf_counter() - began < 30  # no time-out was waited for
    functions = [call.function for call in nvmlsim.calls()]
    assert functions.count("nvmlInitWithFlags") == 1
    if end != "del gpu":  # what is only forgotten is not waited for
        assert functions.count("nvmlShutdown") == 1


def test_the_interpreter_ends_while_the_driver_hangs(nvmlsim):
    nvmlsim.host_clock()
    nvmlsim.fault("nvmlDeviceGetFieldValues", hang=True)
    body = (
        "import time\nfrom jitwarmup import GPUMonitor\n"
        "gpu = GPUMonitor(timeout_s=0.1)\ngpu.on_degraded = print\ngpu.start()\nprint('done')"
    )
    began = time.perf_counter()
    assert script_output(body) == (0, "device the driver did not return in time\ndone", "")
    assert time.perf_counter() - began < 30


def test_without_a_driver_the_monitor_says_so_once_and_the_program_is_as_without_it():
    body = (
        "from jitwarmup import GPUMonitor\n"
        "gpu = GPUMonitor(timeout_s=10)\ngpu.on_degraded = lambda *told: print(*told)\n"
        "with gpu:\n"
        "    for _ in range(3):\n"
        "        with gpu.paused(): pass\n"
        "        with gpu.window('measure') as w: pass\n"
        "print(w.reading.status)"
    )
    code, output, errors = script_output(body, LD_LIBRARY_PATH="", NVMLSIM_CTL="")
    assert (code, errors) == (0, "")
    if "no NVIDIA driver here" not in output:
        pytest.skip(f"there is a driver here: {output.splitlines()[-1]}")
    assert output == "device no NVIDIA driver here (libnvidia-ml.so.1 was not found)\nunavailable"
