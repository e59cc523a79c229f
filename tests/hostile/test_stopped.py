"""A process that is stopped while it measures, as by SIGSTOP, a paused container or a closed lid."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

USERS = """
import json, select, sys
from jitwarmup import steady_state
from jitwarmup.testing import capture_events

calls = 0

def busy():
    global calls
    calls += 1
    if calls == 8:  # a measured run: it computes until it has been stopped and goes on again
        print("now", flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            pass
    return sum(range(50_000))

with capture_events(), steady_state(iterations=2, measurements=10) as steady:
    report = steady.measure(busy)
print(json.dumps([report.to_dict(), report.explain()]))
"""


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(
    not Path("/proc/thread-self/schedstat").exists(), reason="this system does not tell waits for a CPU"
)
def test_a_run_in_which_the_process_was_stopped_is_marked():
    with subprocess.Popen([sys.executable, "-c", USERS], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout.readline() == "now\n"
        os.kill(child.pid, signal.SIGSTOP)
        while state(child.pid) != "T":
            time.sleep(0.01)
        time.sleep(0.4)
        os.kill(child.pid, signal.SIGCONT)
        report, text = json.loads(child.communicate("go")[0])
    (run,) = [run for run in report["runs"] if (run["phase"], run["index"]) == ("measure", 4)]
    (stop,) = [work for work in run["work"] if work["kind"] == "process.stopped"]
    assert (stop["recurrence"], run["contaminated"]) == ("ambient", False)
    assert stop["duration_s"] >= 0.39
    (reason,) = [reason for reason in report["verdict"]["reasons"] if reason["kind"] == "process_stopped"]
    assert reason["numbers"]["runs"] >= 1  # a busy machine may hold up others too
    assert reason["numbers"]["duration_s"] >= 0.39
    assert "measured runs stood still" in text
