"""Two ranks: data, tensor and pipeline parallel functions, collective ones, and a recompile on one of them."""

import asyncio
import itertools

import torch
import torch.distributed as dist
from common import RANK, RESULTS, keeping, measured, plain, write_results
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from jitwarmup import steady_state, until_steady, warmed
from jitwarmup.records.errors import ArgumentError

WORLD = 2
BATCH = torch.arange(32, dtype=torch.float32).reshape(4, 8) / 32


def network():
    """The same small network on every rank, whatever the random state."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))


def gradients(model, x):
    """Forward and backward; the loss, and every gradient."""
    model.zero_grad(set_to_none=True)
    loss = model(x).square().mean()
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]


def data_parallel():
    """Each rank with its half of the batch; DDP averages the gradients during backward."""
    model = DistributedDataParallel(network())

    def train_step(x):
        return gradients(model, x)

    return train_step


def tensor_parallel():
    """Columns of the first layer and rows of the second on each rank, as torch's own plan splits them."""
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    model = parallelize_module(network(), init_device_mesh("cpu", (WORLD,)), plan)

    @torch.no_grad()
    def forward(x):
        return model(x)

    return forward


def pipeline_by_hand():
    """Rank 0 sends activations, rank 1 receives and sends the loss back: the ranks do different things."""
    first, middle, last = network()

    @torch.no_grad()
    def step(x):
        if RANK == 0:
            dist.send(first(x), 1)
            dist.recv(loss := torch.empty(()), 1)
        else:
            dist.recv(activations := torch.empty(4, 16), 0)
            dist.send(loss := last(middle(activations)).square().mean(), 0)
        return loss

    return step


def pipeline_of_two_functions():
    """As above, written as two functions of two names, as people do."""
    first, middle, last = network()

    @torch.no_grad()
    def send_activations(x):
        dist.send(activations := first(x), 1)
        return activations

    @torch.no_grad()
    def receive_activations(x):
        dist.recv(activations := torch.empty(4, 16), 0)
        return last(middle(activations))

    return (send_activations, receive_activations)[RANK]


def pipeline_by_torch():
    """torch's own schedule, with two micro-batches."""
    first, middle, last = network()
    part = (first, nn.Sequential(middle, last))[RANK]
    schedule = ScheduleGPipe(PipelineStage(part, RANK, WORLD, torch.device("cpu")), n_microbatches=2)

    @torch.no_grad()
    def step(x):
        return schedule.step(x) if RANK == 0 else schedule.step()

    return step


def collective():
    """A function that is itself collective, and draws: each rank from its own random stream."""

    def total(x):
        dist.all_reduce(drawn := torch.randn(3) + x.sum())
        return drawn

    return total


def uneven():
    """Rank 1 has more to do before the collective, in which rank 0 waits for it."""

    def total(x):
        own = x
        for _ in range((1, 40)[RANK]):
            own = torch.tanh(own @ own.T @ own)
        dist.all_reduce(mean := own.mean())
        return mean

    return total


def recompiling(at):
    """Compiled code in a collective function; in its run ``at`` rank 1 has a batch of another shape."""
    torch.compiler.reset()
    numbers = itertools.count()

    @torch.compile(backend="eager", dynamic=False)
    def energy(x):
        return x.square().sum()

    def total(x):
        again = RANK == 1 and next(numbers) == at
        dist.all_reduce(value := energy(x[:3] if again else x))
        return value

    return total


def streaming():
    """Tokens of a tensor parallel model, one collective each."""

    def tokens(x):
        for _ in range(3):
            dist.all_reduce(drawn := torch.randn(()) + x.sum())
            yield drawn

    return tokens


def reduce_in_place(gradient):
    """Changes its argument, by a collective that leaves the tensor's version as it was."""
    dist.all_reduce(gradient)
    return gradient


def receive_in_place(buffer):
    """Changes its argument on rank 1 only."""
    if RANK == 0:
        dist.send(buffer + 1, 1)
    else:
        dist.recv(buffer, 0)
    return buffer


def in_place():
    """What functions that change their arguments return, with and without warm-up; and how often they ran."""
    for function in (reduce_in_place, receive_in_place):
        control = plain(function(torch.ones(3)))
        kept, made = keeping(function)
        value = plain(warmed(ranks="world")(kept)(torch.ones(3)))
        with steady_state() as steady:
            report = steady.measure(function, torch.ones(3))
        RESULTS[function.__name__] = {"control": control, "value": value, "made": made, "report": report.to_dict()}
    RESULTS["unasked"] = plain(warmed(reduce_in_place)(torch.ones(3)))  # each rank decides by itself


async def asynchronous(x):
    """A collective that a task waits for."""
    work = dist.all_reduce(total := x.sum() * (RANK + 1), async_op=True)
    while not work.is_completed():  # noqa: ASYNC110 - a Work tells nobody when it is done
        await asyncio.sleep(0)
    return total


async def awaited():
    """The same plan in a task."""
    with steady_state(iterations=2, measurements=4) as steady:
        return await steady.measure(asynchronous, BATCH)


def refused():
    """What two functions of two names are told when no name= says that they are one."""
    try:
        with steady_state() as steady:
            steady.measure(pipeline_of_two_functions(), BATCH)
    except ArgumentError as error:
        RESULTS["refused"] = str(error)


dist.init_process_group("gloo")
half = BATCH[RANK * 2 : RANK * 2 + 2]
measured("data_parallel", data_parallel, half)
measured("tensor_parallel", tensor_parallel, BATCH)
measured("pipeline_by_hand", pipeline_by_hand, BATCH)
measured("pipeline_by_torch", pipeline_by_torch, BATCH)
refused()
measured("pipeline_of_two_functions", pipeline_of_two_functions, BATCH, name="pipeline")
measured("collective", collective, BATCH)
measured("until_steady", uneven, BATCH, iterations=until_steady(at_least=2, at_most=8))
measured("recompile_on_one_rank", lambda: recompiling(at=5), BATCH)
measured("recompile_then_redo", lambda: recompiling(at=5), BATCH, on_contamination="redo")
measured("streaming", streaming, BATCH)
in_place()
RESULTS["awaited"] = asyncio.run(awaited()).to_dict()
model = network()
RESULTS["reference"] = {
    "gradients": [grad.tolist() for grad in gradients(model, BATCH)],
    "forward": model(BATCH).tolist(),
}
write_results()
