"""Four ranks in groups of two that measure by themselves at the same time, and all four together."""

import functools
import itertools

import torch
import torch.distributed as dist
from common import RANK, RESULTS, measured, write_results
from torch.distributed.device_mesh import init_device_mesh

from jitwarmup import RankFailed, steady_state

PAIRS = ([0, 1], [2, 3])
MINE = RANK // 2


def total_of(group):
    """The sum over a group of what each of its ranks has."""

    def total():
        dist.all_reduce(own := torch.tensor(float(RANK + 1)), group=group)
        return own

    return total


def meeting(group):
    """As above; and in its second run it waits for all four, so groups that measured one by one would never end."""
    numbers = itertools.count()
    total = total_of(group)

    def total_of_pair():
        if next(numbers) == 1:
            dist.barrier()
        return total()

    return total_of_pair


def failing(group):
    """As the first; rank 3 fails in its fourth run."""
    numbers = itertools.count()
    total = total_of(group)

    def total_or_error():
        value = total()
        if RANK == 3 and next(numbers) == 3:
            raise ValueError("rank 3 has had enough")
        return value

    return total_or_error


dist.init_process_group("gloo")
groups = [dist.new_group(pair) for pair in PAIRS]
mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
measured(
    "pairs",
    lambda: meeting(groups[MINE]),
    ranks=groups[MINE],
    iterations=(1, 3)[MINE],
    measurements=(5, 4)[MINE],
)
for dimension in ("tp", "dp"):
    make = functools.partial(total_of, mesh.get_group(dimension))
    measured(dimension, make, ranks=mesh[dimension])
with steady_state(ranks=groups[MINE], iterations=2, measurements=4) as steady:
    report = steady.measure(failing(groups[MINE]))
RESULTS["failing"] = {
    "report": report.to_dict(),
    "ours": isinstance(getattr(report.failure, "exception", None), RankFailed),
}
measured("everybody", lambda: total_of(None))
write_results()
