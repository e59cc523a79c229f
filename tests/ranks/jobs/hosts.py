"""One rank a host: in step over a slow and lossy wire; then, if told so, the wire is cut."""

import json
import sys
import time

import torch.distributed as dist

from jitwarmup import RankFailed, RankGroup, steady_state, until_steady

BOUND_S = float(sys.argv[1])
dist.init_process_group("gloo")
rank = dist.get_rank()


def announce(kind, **fields):
    sys.stdout.write(json.dumps({"kind": kind, "rank": rank, "at": time.time(), **fields}) + "\n")
    sys.stdout.flush()


def function():
    time.sleep(0.005 * (1 + rank))


with steady_state(iterations=until_steady(), measurements=5, ranks=RankGroup(timeout_s=60)) as steady:
    report = steady.measure(function)
found = {"runs": "".join(run.phase[0] for run in report.runs), "verdict": report.verdict.state}
found |= {"times_ns": [run.duration_ns for run in report.runs], "straggler": report.ranks.straggler}
announce("report", **found, failure=report.failure.message if report.failure else None)
if BOUND_S:
    sys.stdin.readline()  # the wire is cut now
    announce("cut")
    try:
        with steady_state(measurements=3, ranks=RankGroup(timeout_s=BOUND_S)) as steady:
            steady.measure(function)
        announce("measured")
    except RankFailed as error:
        announce("lost", message=str(error))
dist.destroy_process_group()  # or torch 2.13 may abort at exit: 3 of 8 plain jobs did
