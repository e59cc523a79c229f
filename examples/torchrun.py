"""
Several ranks, one measurement: all warm up and measure in step, and the slowest rank's time counts.

    torchrun --nproc-per-node=4 examples/torchrun.py
"""

import torch
import torch.distributed as dist

from jitwarmup import steady_state, until_steady, warmed

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
batch = torch.ones(64, 64) * rank


def step(x: torch.Tensor) -> torch.Tensor:
    """A sum over all ranks, then work that only the last rank has, as a last stage samples tokens."""
    dist.all_reduce(total := x.sum())
    for _ in range(200 if rank == world - 1 else 10):
        x = torch.tanh(x @ x)
    return total


@warmed(iterations=3, ranks="world")  # without ranks= its calls would not wait for anybody
def serve(x: torch.Tensor) -> float:
    dist.all_reduce(total := x.sum())
    return float(total)


serve.warm(batch)  # start-up of a service: no rank is ready before all are
answer = serve(batch)

with steady_state(iterations=until_steady(at_most=20), measurements=10) as steady:
    report = steady.measure(step, batch)  # the same number of runs on every rank, and the same verdict

if rank == 0:
    print(f"ready: {serve.ready}, answer: {answer:g}")
    print(f"latency of the slowest of ranks {report.ranks.members}: {report.latency_s * 1e3:.2f} ms")
    print(f"straggler: rank {report.ranks.straggler} in {report.ranks.straggler_share:.0%} of the runs")
    print(f"skew: {report.ranks.skew_s * 1e3:.2f} ms between the slowest and the fastest")
dist.destroy_process_group()
