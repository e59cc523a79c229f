"""The guard: one time-out, then silence."""

import subprocess
import sys
import threading
import time

import pytest

from jitwarmup.gpu.driver_thread import DriverThread, Stalled


@pytest.fixture
def guard():
    guard = DriverThread(5.0)
    yield guard
    guard.end()


def test_a_job_gives_its_value_from_another_thread(guard):
    assert guard.call(lambda: (41 + 1, threading.current_thread().name)) == (42, "jitwarmup-nvml")


def test_a_job_gives_its_exception(guard):
    def job():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        guard.call(job)
    assert guard.call(lambda: 1) == 1


def test_a_hanging_job_costs_one_time_out_and_then_nothing(guard):
    free = threading.Event()
    guard.timeout_s = 0.02
    before = time.perf_counter()
    with pytest.raises(Stalled):
        guard.call(free.wait)
    assert 0.02 <= time.perf_counter() - before < 0.5
    ran = []
    before = time.perf_counter()
    for _ in range(100):
        with pytest.raises(Stalled):
            guard.call(lambda: ran.append(1))
    assert time.perf_counter() - before < 0.1
    free.set()
    assert guard.stalled
    assert ran == []


def test_an_answer_that_comes_late_misleads_nobody(guard):
    free = threading.Event()
    with pytest.raises(Stalled):
        guard.call(lambda: free.wait(5) and "late", timeout_s=0.01)
    guard.stalled = False
    free.set()
    assert guard.call(lambda: "mine") == "mine"


def test_ending_lets_the_thread_go(guard):
    guard.call(lambda: None)
    thread = guard._thread
    guard.end()
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(Stalled):
        guard.call(lambda: None)


def test_what_is_posted_is_done_without_waiting(guard):
    done = threading.Event()
    guard.post(done.set)
    assert not done.is_set()
    guard.call(lambda: None)
    guard.post(done.set)
    assert done.wait(5)


def test_a_process_exits_while_a_job_hangs():
    script = (
        "import threading\n"
        "from jitwarmup.gpu.driver_thread import DriverThread, Stalled\n"
        "try: DriverThread(0.05).call(threading.Event().wait)\n"
        "except Stalled: print('stalled')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "stalled", "")
