"""What only a hostile user does: interrupts between runs, measurements that one rank alone makes, tensors without memory."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch.distributed as dist
from torch._subclasses import FakeTensorMode

from jitwarmup import RankGroup, steady_state, warmed

rank = int(os.environ["RANK"])
ALL = RankGroup(timeout_s=20.0)


def announce(kind, **fields):
    sys.stdout.write(json.dumps({"kind": kind, "rank": rank, **fields}) + "\n")
    sys.stdout.flush()


def interrupt_after(seconds):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def end_of(function, kept=None, **settings):
    """How one measurement ended."""
    try:
        with steady_state(**{"iterations": 1, "measurements": 1, "ranks": ALL} | settings) as steady:
            failure = steady.measure(function).failure
        return "ok" if failure is None else f"{failure.type} {failure.rank}: {failure.message}"
    except BaseException as error:
        if kept is not None:
            kept.append(error)
        return f"{type(error).__name__}: {error}"


def quick():
    return rank


# ------------------------------------------------------------------ a warm-up begun before there were several ranks
calls = []


@warmed(iterations=3, ranks=ALL)
def begun_alone():
    calls.append(rank)
    if len(calls) == 2 + rank:
        raise KeyboardInterrupt


try:
    begun_alone()
except KeyboardInterrupt:
    alone = len(calls)
dist.init_process_group("gloo")

# ------------------------------------------------------------------ interrupted before the ranks have met
began = time.monotonic()
if rank == 1:
    interrupt_after(0.5)
if rank == 2:
    time.sleep(2)
first, waited_s = end_of(quick), time.monotonic() - began
announce("unmet", first=first, waited_s=waited_s, again=end_of(quick))

warmup = begun_alone.warm()
announce("begun", alone=alone, together=[len(run.rank_durations_ns or ()) for run in warmup.runs])

# ------------------------------------------------------------------ interrupted in an agreement, the exception kept


def slow_on_2():
    time.sleep(1.5 * (rank == 2))


kept = []
if rank == 1:
    interrupt_after(0.5)
first = end_of(slow_on_2, kept)
announce("kept", first=first, again=end_of(quick), exceptions=len(kept))

# ------------------------------------------------------------------ measured on one rank alone, in a block of all
with steady_state(iterations=1, measurements=1, ranks=ALL) as steady:
    own_end = end_of(quick) if rank == 0 else None
failures = [report.failure.message for report in steady.reports if report.failure is not None]
announce("alone", own_end=own_end, failures=failures, again=end_of(quick))

# ------------------------------------------------------------------ a value that one rank refuses, tensors without memory
announce("refused", ended=end_of(quick, accept=lambda value: value != 1))
with FakeTensorMode():
    announce("fake", ended=end_of(quick))


# ------------------------------------------------------------------ what a broken generation leaves behind
def stopped():
    if rank == 1:
        raise KeyboardInterrupt


def held():
    return [len(list(Path(f"/proc/self/{what}").iterdir())) for what in ("fd", "task")]


ends = [end_of(stopped), end_of(quick)]
before = held()
for _ in range(4):
    ends += [end_of(stopped), end_of(quick)]
announce("held", before=before, after=held(), ends=ends)
dist.barrier()
dist.destroy_process_group()
