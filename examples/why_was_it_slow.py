"""Why was it slow? A compiled function is warmed up at one length and measured at others; the report says what happened."""

import torch

from jitwarmup import steady_state

lengths = iter([8, 8, 8, 8, 8, 8, 12, 12, 12, 16, 16, 16])


@torch.compile(backend="eager")  # "eager" makes Dynamo's work, the cause here, without a compiler's minutes
def step(x: torch.Tensor) -> torch.Tensor:
    return (x.sin() + 1).cos()


def generate() -> torch.Tensor:
    return step(torch.ones(next(lengths)))


with steady_state(iterations=5, measurements=6) as steady:
    report = steady.measure(generate)
print(report.explain())
