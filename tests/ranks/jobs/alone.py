"""Rank 0 calls, and the others do not: plain calls and `.warm` communicate with nobody unless they are told to."""

import asyncio
import json
import sys
import time

import torch.distributed as dist

from jitwarmup import RankGroup, readiness, steady_state, warmed
from jitwarmup.testing import capture_events

dist.init_process_group("gloo")
rank = dist.get_rank()


def announce(kind, **fields):
    sys.stdout.write(json.dumps({"kind": kind, "rank": rank, **fields}) + "\n")
    sys.stdout.flush()


@warmed(iterations=2)
def served(x):
    return x + 1


@warmed(iterations=2)
async def answered(x):
    await asyncio.sleep(0)
    return x + 2


@warmed(iterations=1, ranks=RankGroup(timeout_s=60))
def together():
    time.sleep(2 * (rank == 1))
    return rank


if rank == 0:
    with capture_events() as events:
        values = [served(1), served(1), asyncio.run(answered(1))]
        warm = answered.state
        with steady_state(ranks=None, measurements=3) as steady:
            report = steady.measure(lambda: served(2))
    ranks = {event.get("rank") for event in events}
    announce(
        "alone", values=values, warm=warm, measured=len(report.measured), ranks=sorted(ranks), together=report.ranks
    )
dist.barrier()

# ------------------------------------------------------------------ what warms up in step is ready on all
ready = readiness(together)
before = bool(ready)
together.warm()
announce("ready", before=before, ready=bool(ready), value=together())
dist.barrier()

# ------------------------------------------------------------------ who speaks
with capture_events() as events, steady_state(iterations=1, measurements=4) as steady:
    report = steady.measure(lambda: time.sleep(0.01 * (1 + rank)))
levels = {event["event"]: event["level"] for event in events}
line = next(event for event in events if event["event"] == "jitwarmup.measurement.completed")
keys = ("rank", "world_size", "straggler_rank", "straggler_share", "rank_skew_s", "rank_fastest_s", "rank_slowest_s")
announce("events", levels=levels, line={key: line.get(key) for key in keys}, medians=report.ranks.median_s)
dist.barrier()

# ------------------------------------------------------------------ after an interrupt of one rank, all may go on


def stopped():
    if rank == 1:
        raise KeyboardInterrupt
    return rank


ends = []
for function in (stopped, lambda: rank):
    try:
        with steady_state(iterations=1, measurements=2) as steady:
            report = steady.measure(function)
        ends.append(report.failure.type if report.failure else "ok")
    except KeyboardInterrupt:
        ends.append("KeyboardInterrupt")
calls = []


@warmed(iterations=2, ranks=RankGroup(timeout_s=60))
def once_stopped():
    calls.append(rank)
    if rank == 1 and len(calls) == 2:
        raise KeyboardInterrupt
    return rank


values = []
for _ in range(2):
    try:
        values.append(once_stopped())
    except KeyboardInterrupt:
        values.append("KeyboardInterrupt")
    values.append(once_stopped.state)
announce("again", ends=ends, values=values, calls=len(calls))

# ------------------------------------------------------------------ in tasks


async def tasks():
    async def function():
        await asyncio.sleep(0.02 * (1 + rank))
        return rank

    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.005)
            beats += 1

    beating = asyncio.create_task(beat())
    async with steady_state(iterations=1, measurements=3) as steady:
        report = await steady.measure(function)
    beating.cancel()
    return report, steady.block, beats


report, block, beats = asyncio.run(tasks())
announce("tasks", runs=len(report.runs), latency_s=report.latency_s, block_ns=block.rank_durations_ns, beats=beats)
dist.barrier()
dist.destroy_process_group()
with steady_state(iterations=1, measurements=2) as steady:
    report = steady.measure(lambda: rank)
announce("afterwards", ranks=report.ranks, failure=report.failure)
