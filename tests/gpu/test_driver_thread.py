"""The driver thread: one time-out, then silence."""

import subprocess
import sys
import threading
import time

import pytest

from jitwarmup.gpu.driver_thread import DriverThread, Stalled


@pytest.fixture
def driver():
    driver = DriverThread(5.0)
    yield driver
    driver.end()


def test_a_job_gives_its_value_from_another_thread(driver):
    assert driver.call(lambda: (41 + 1, threading.current_thread().name)) == (42, "jitwarmup-nvml")


def test_a_job_gives_its_exception(driver):
    def job():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        driver.call(job)
    assert driver.call(lambda: 1) == 1


def test_a_hanging_job_costs_one_time_out_and_then_nothing(driver):
    free = threading.Event()
    driver.timeout_s = 0.02
    before = time.perf_counter()
    with pytest.raises(Stalled):
        driver.call(free.wait)
    assert 0.02 <= time.perf_counter() - before < 30
    driver.timeout_s = 1
    ran = []
    before = time.perf_counter()
    for _ in range(100):
        with pytest.raises(Stalled):
            driver.call(lambda: ran.append(1))
    assert time.perf_counter() - before < 30  # with a time-out each it would be 100 s
    free.set()
    assert driver.stalled
    assert ran == []


def test_an_answer_that_comes_late_misleads_nobody(driver):
    free = threading.Event()
    with pytest.raises(Stalled):
        driver.call(lambda: free.wait(30) and "late", timeout_s=0.01)
    driver.stalled = False
    free.set()
    assert driver.call(lambda: "mine") == "mine"


def test_ending_lets_the_thread_go(driver):
    driver.call(lambda: None)
    thread = driver._thread
    driver.end()
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(Stalled):
        driver.call(lambda: None)


def test_what_is_posted_is_done_without_waiting(driver):
    done = threading.Event()
    driver.post(done.set)
    assert not done.is_set()
    driver.call(lambda: None)
    driver.post(done.set)
    assert done.wait(30)


def test_a_process_exits_while_a_job_hangs():
    script = (
        "import threading\n"
        "from jitwarmup.gpu.driver_thread import DriverThread, Stalled\n"
        "try: DriverThread(0.05).call(threading.Event().wait)\n"
        "except Stalled: print('stalled')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "stalled", "")
