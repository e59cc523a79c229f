"""``python ended.py HOW METHOD``: calls in children of multiprocessing, or a process that signals itself; see the test."""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
import time

from jitwarmup import warmed
from jitwarmup.events import set_emitters
from jitwarmup.events.json_lines import JsonLines

set_emitters(JsonLines(os.environ["EVENTS"]))
CALLED = []


def mine(*_):
    CALLED.append(1)


if sys.argv[1] == "own_before":
    signal.signal(signal.SIGTERM, mine)


@warmed(iterations=0, emit="summary")
def answer(x):
    return x


def task(x):
    return [answer(x) for _ in range(10)]


def in_process(context):
    children = [context.Process(target=task, args=(n,)) for n in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()


def in_pool(context):
    with context.Pool(2) as pool:  # leaving it terminates the workers
        pool.map(task, range(2), chunksize=1)


def in_executor(context):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(task, range(2)))


def terminated(context):
    """A child that waits for ever after its calls, and is terminated."""
    done = context.Semaphore(0)
    child = context.Process(target=waiting, args=(done,))
    child.start()
    done.acquire()
    child.terminate()
    child.join()
    assert child.exitcode == -signal.SIGTERM


def waiting(done):
    task(1), task(2)
    done.release()
    while True:  # a signal just before one long sleep is handled only after it, as by any handler in Python
        time.sleep(0.05)


def default(_):
    """Nobody handles SIGTERM."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    task(1), task(2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


class Stuck:
    """A sink that never returns from a summary."""

    def emit(self, event, level, fields):
        if event == "jitwarmup.summary":
            time.sleep(600)


def stuck(_):
    """Its sink never returns: the signal ends the process all the same."""
    answer(0)
    set_emitters(Stuck())
    default(_)


def own_before(_):
    """The user's handler was there before; the process goes on, and so do its calls."""
    task(1)
    assert signal.getsignal(signal.SIGTERM) is not mine  # ours is in front
    os.kill(os.getpid(), signal.SIGTERM)
    while not CALLED:
        time.sleep(0.001)
    task(1)
    os._exit(7)  # what comes after the signal is not kept back


def own_after(_):
    """The user's handler came after ours and calls what it found."""
    task(1)
    behind = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *given: behind(*given))
    task(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


def ignored(_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    task(1), task(1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def in_a_thread(_):
    stop = threading.Event()
    thread = threading.Thread(target=lambda: (task(1), task(2), stop.set()))
    thread.start()
    stop.wait(60)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


if __name__ == "__main__":
    how, method = sys.argv[1:]
    globals()[how](multiprocessing.get_context(method))
