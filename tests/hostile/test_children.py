"""``steady_state(processes=)`` where a process ends badly: it is counted with its reason, and nobody waits for it."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from jitwarmup import steady_state
from jitwarmup.testing import capture_events

USERS = """
import multiprocessing, os, signal, sys, threading, time

def first_process():
    return multiprocessing.parent_process() is None

class Unsendable(Exception):
    def __init__(self, one, two):
        super().__init__(one)

def closes_the_pipe():
    os.closerange(3, 256)
    time.sleep(0.01)

def forked_and_killed():
    if os.fork() == 0:  # it holds the pipe open, as a worker of the function's would
        while os.path.exists(os.environ["HOLDS"]):
            time.sleep(0.05)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)

ENDINGS = {
    "leaves": lambda: os._exit(7),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "is killed, but not what it forked": forked_and_killed,
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exits": lambda: sys.exit(3),
    "exits well": sys.exit,
    "raises": lambda: [].pop(),
    "raises what cannot be sent": lambda: (_ for _ in ()).throw(Unsendable(1, 2)),
    "is interrupted": lambda: (_ for _ in ()).throw(KeyboardInterrupt),
    "closes the pipe": closes_the_pipe,
}

def ends(how):
    return None if first_process() else ENDINGS[how]()

taken = []

def ends_by_turns(places):
    '''Each further process takes the next place in a file, once.'''
    if first_process() or taken:
        return
    with open(places, "r+") as file:
        taken[:], *left = file.read().splitlines(True)
        file.seek(0)
        file.truncate()
        file.writelines(left)
    ENDINGS.get("".join(taken).strip(), int)()

def stays(where, *, at_exit):
    if first_process():
        return
    if at_exit:
        threading.Thread(target=time.sleep, args=(600,)).start()
    with open(where, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(0 if at_exit else 600)

class OfTheFirst:
    '''Nobody can make it anew in another process.'''
    def __reduce__(self):
        return restored, ()

def restored():
    raise LookupError("not here")

def takes(argument):
    pass
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A module of the user's own, which every process can import."""
    (tmp_path / "users_children.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    holds = tmp_path / "holds"
    holds.touch()
    monkeypatch.setenv("HOLDS", str(holds))
    yield importlib.import_module("users_children")
    holds.unlink()
    del sys.modules["users_children"]


def measured(function, *args, processes=2):
    with capture_events(), steady_state(processes=processes, iterations=0, measurements=1) as steady:
        report = steady.measure(function, *args)
    assert steady.reports == (report,)
    return report


def missing(report):
    return {
        reason.subject: (reason.numbers["missing"], reason.numbers["processes"])
        for reason in report.verdict.reasons
        if reason.kind == "process_missing"
    }


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("leaves", "exit code 7"),
        ("is killed, but not what it forked", signal.strsignal(signal.SIGKILL)),
        ("crashes", signal.strsignal(signal.SIGSEGV)),
        ("exits", "SystemExit"),
        ("raises what cannot be sent", "Unsendable"),
        pytest.param("is killed", signal.strsignal(signal.SIGKILL), marks=pytest.mark.slow),
        pytest.param("exits well", "SystemExit", marks=pytest.mark.slow),
        pytest.param("raises", "IndexError", marks=pytest.mark.slow),
        pytest.param("is interrupted", "KeyboardInterrupt", marks=pytest.mark.slow),
        pytest.param("closes the pipe", "exit code 1", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_ends_badly_is_counted_with_its_reason(users, capfd, how, reason):
    report = measured(users.ends, how)
    assert missing(report) == {reason: (1, 2)}
    assert (report.failure, report.processes.n) == (None, 1)
    assert report.latency_s > 0
    assert f"1 of 2 processes gave no time ({reason})" in report.explain()


def test_an_argument_that_another_process_cannot_make_anew_is_such_a_reason(users, capfd):
    assert missing(measured(users.takes, users.OfTheFirst())) == {"LookupError": (1, 2)}
    assert "not here" in capfd.readouterr().err  # where the process wrote its traceback


def test_the_others_are_measured_all_the_same(users, tmp_path, capfd):
    places = tmp_path / "places"
    places.write_text("leaves\nnothing\nraises\nleaves")
    report = measured(users.ends_by_turns, str(places), processes=5)
    assert missing(report) == {"exit code 7": (2, 5), "IndexError": (1, 5)}
    assert report.processes.n == 2


def test_no_process_can_be_started(users, monkeypatch):
    def refused(*_):
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("_posixsubprocess.fork_exec", refused)
    assert missing(measured(users.takes, 1)) == {"BlockingIOError": (1, 2)}


def test_a_script_that_does_not_guard_its_beginning_ends(tmp_path):
    script = (
        "import time\nfrom jitwarmup import steady_state\n"
        "with steady_state(processes=2, iterations=0, measurements=1) as steady:\n"
        "    report = steady.measure(time.sleep, 0)\n"
        "print([reason.subject for reason in report.verdict.reasons if reason.kind == 'process_missing'])\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True, timeout=100
    )
    assert "exit code 1" in done.stdout
    assert '__name__ == "__main__"' in done.stderr or "__name__ == '__main__'" in done.stderr


def ended(pid):
    """Whether that process goes on no more; one that nobody has asked about its end is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def interrupt_when(there):
    for _ in range(3000):
        if there.exists() and there.read_text():
            break
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_ends_the_process_that_measures(users, tmp_path):
    there = tmp_path / "pid"
    thread = threading.Thread(target=interrupt_when, args=(there,))
    thread.start()
    with capture_events(), steady_state(processes=2, iterations=0, measurements=1) as steady:
        with pytest.raises(KeyboardInterrupt):
            steady.measure(partial(users.stays, at_exit=False), str(there))
    thread.join()
    assert ended(int(there.read_text()))
    assert [report.processes for report in steady.reports] == [None]  # what was measured before is kept


@pytest.mark.slow  # it gets ten seconds to end by itself
def test_a_process_that_answered_and_does_not_end_is_ended(users, tmp_path):
    there = tmp_path / "pid"
    report = measured(partial(users.stays, at_exit=True), str(there))
    assert (missing(report), report.processes.n) == ({}, 2)
    assert ended(int(there.read_text()))


INTERPRETED = """
import asyncio, sys, warnings
warnings.simplefilter("ignore")  # numpy's, about where it is imported
from jitwarmup import steady_state, warmed
from jitwarmup.events import QueueSink, set_emitters

came = []

class Sink:
    def emit(self, event, level, fields):
        came.append(event)

set_emitters(Sink(), queue := QueueSink(Sink()))
f = warmed(iterations=1)(lambda x: x)

@warmed(iterations=1)
async def g(x):
    return x

@warmed(iterations=1)
def h(x):
    yield x

assert [f(1), f(2), asyncio.run(g(3)), list(h(4))] == [1, 2, 3, [4]]
with steady_state(measurements=3) as steady:
    report = steady.measure(f, 1)
assert report.failure is None and report.environment["python"] and f.state == "warm", report
assert "jitwarmup.measurement.completed" in came and (queue.flush() or queue.lost >= 0)
print("all right")
"""

INTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
one = interpreters.create()
failure = interpreters.run_string(one, sys.argv[1])
interpreters.destroy(one)
sys.exit(failure and repr(failure))
"""


def test_everything_works_in_a_subinterpreter():
    """Where no process and no daemon thread may be started."""
    pytest.importorskip("_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters")
    command = [sys.executable, "-c", INTERPRETER, INTERPRETED]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, "all right" in answer.stdout) == (0, True), answer.stderr
