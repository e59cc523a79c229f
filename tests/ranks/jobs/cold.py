"""One cold rank in a job whose collectives give up after 12 s: stepped at once, or warmed up together first."""

import datetime as dt
import json
import sys
import time

import torch
import torch.distributed as dist

from jitwarmup import warmed

HOW, COLD_S, PATIENCE_S = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
dist.init_process_group("gloo", timeout=dt.timedelta(seconds=PATIENCE_S))
rank = dist.get_rank()
cold = [rank == 1]


def forward(x):
    """Rank 1 pays for its first call what a compile takes."""
    if cold and cold.pop():
        time.sleep(COLD_S)
    return x * 2


def announce(**fields):
    sys.stdout.write(json.dumps({"kind": HOW, "rank": rank, **fields}) + "\n")
    sys.stdout.flush()


if HOW == "warmed":
    forward = warmed(iterations=1, ranks="world")(forward)
    warmup = forward.warm(torch.ones(2))
    announce(cold_s=[ns / 1e9 for ns in warmup.runs[0].rank_durations_ns], state=forward.state)
try:
    for _step in range(5):
        total = forward(torch.ones(2))
        dist.all_reduce(total)
    announce(ended="steps", total=total.tolist())
except RuntimeError as error:
    announce(ended="failed", error=type(error).__name__, step=_step)
dist.destroy_process_group()  # or torch 2.13 may abort at exit: 3 of 8 plain jobs did
