"""until_steady over seeds of per-rank noise: once in step, once each rank by itself (the control)."""

import json
import random
import sys

import torch.distributed as dist

from jitwarmup import steady_state, until_steady
from jitwarmup.testing import FakeClock

SEEDS = int(sys.argv[1])


def noisy(clock, seed, rank):
    """A function that warms up at its rank's own pace, and never runs twice alike."""
    chance = random.Random(1000 * seed + rank)
    cold, pace, noise = chance.uniform(0.2, 3), chance.uniform(0.2, 0.8), chance.uniform(0.01, 0.08)
    runs = 0

    def function():
        nonlocal runs
        clock.advance(0.1 * (1 + cold * pace**runs) * (1 + abs(chance.gauss(0, noise))))
        runs += 1

    return function


def measured(seed, rank, **ranks):
    clock = FakeClock()
    with steady_state(iterations=until_steady(), measurements=4, clock=clock, probes=[], **ranks) as steady:
        report = steady.measure(noisy(clock, seed, rank))
    return {
        "phases": "".join(run.phase[0] for run in report.runs),
        "path": report.decision.path,
        "verdict": report.verdict.state,
        "reasons": [reason.kind for reason in report.verdict.reasons],
        "latency_s": report.latency_s,
        "times_ns": [run.duration_ns for run in report.runs],
        "skew_s": report.ranks.skew_s if report.ranks else None,
    }


dist.init_process_group("gloo")
rank = dist.get_rank()
for seed in range(SEEDS):
    result = {"seed": seed, "rank": rank, "together": measured(seed, rank), "alone": measured(seed, rank, ranks=None)}
    sys.stdout.write(json.dumps(result) + "\n")
sys.stdout.flush()
dist.barrier()
dist.destroy_process_group()
