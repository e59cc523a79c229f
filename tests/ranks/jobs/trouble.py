"""One rank gets into trouble in its third warm-up run: what do the others see, and when?"""

import datetime as dt
import json
import os
import signal
import sys
import time

import torch.distributed as dist

from jitwarmup import RankGroup, steady_state, warmed

TROUBLE, BOUND_S, VICTIM = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
dist.init_process_group("gloo", timeout=dt.timedelta(seconds=12))
rank = dist.get_rank()
runs = []


def announce(kind, **fields):
    sys.stdout.write(json.dumps({"kind": kind, "rank": rank, "at": time.time(), **fields}) + "\n")
    sys.stdout.flush()


def function():
    runs.append(1)
    if rank == VICTIM and len(runs) == 4:
        announce("trouble")
        if TROUBLE == "exception":
            raise ValueError("no luck")
        if TROUBLE == "interrupt":
            raise KeyboardInterrupt
        if TROUBLE == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if TROUBLE == "exit":
            sys.exit(7)
        if TROUBLE == "hang":
            time.sleep(3600)
    time.sleep(0.01)
    return "value"


try:
    with steady_state(iterations=5, measurements=3, ranks=RankGroup(timeout_s=BOUND_S)) as steady:
        report = steady.measure(function)
        failure = report.failure
        found = {"runs": len(report.runs), "latency_s": report.latency_s, "verdict": report.verdict.state}
        if failure is not None:
            where = {"failed_rank": failure.rank, "type": failure.type, "phase": failure.phase, "index": failure.index}
            found |= where | {"message": failure.message}
        announce("report", **found)
        try:
            report.raise_for_failure()
        except Exception as error:
            announce("raised", error=type(error).__name__, message=str(error), ranks=getattr(error, "ranks", None))
except BaseException as error:
    announce("passed", error=type(error).__name__)


@warmed(iterations=1, ranks=RankGroup(timeout_s=BOUND_S))
def later():
    return "still a value"


if TROUBLE == "kill":
    announce("later", value=later(), state=later.state)
announce("end")
dist.destroy_process_group()  # or torch 2.13 may abort at exit: 3 of 8 plain jobs did
