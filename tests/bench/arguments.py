"""
What one look at a call's arguments costs; two are made on a cold call, none on a warm one.

    python tests/bench/arguments.py

Each row is the smallest of many repeats, so that the load of the machine hardly enters. Wanted: 50 us for a batch of token
lists, 20 us for a chat of 20 pydantic messages, and the same for tensors of every size up to the sample.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pydantic
import torch

from jitwarmup.host.arguments.contents import SAMPLE
from jitwarmup.host.arguments.survey import Survey


class Message(pydantic.BaseModel):
    role: str = "user"
    content: str = "what is the capital of France?"


def rows() -> dict[str, tuple[Any, float | None]]:
    """What is looked at, and the microseconds wanted."""
    tensors: dict[str, tuple[Any, float | None]] = {
        f"tensor of {size:,} bytes": (torch.zeros(size, dtype=torch.uint8), None)
        for size in (1, SAMPLE // 8, SAMPLE, 2**20, 2**26, 2**28)
    }
    return {
        "token lists, 8 x 512": ([list(range(row, row + 512)) for row in range(8)], 50),
        "chat of 20 pydantic messages": ([Message() for _ in range(20)], 20),
        "text": ("what is the capital of France?", None),
        **tensors,
        "numpy array of 1 MiB": (np.zeros(2**20, dtype=np.uint8), None),
        "batch of encodings": ({"input_ids": torch.ones(8, 512), "attention_mask": torch.ones(8, 512)}, None),
    }


def cost_us(value: Any) -> float:
    """Smallest microseconds of one look."""
    best, end = float("inf"), time.perf_counter() + 1
    while time.perf_counter() < end:
        began = time.perf_counter_ns()
        Survey([(0, value)])
        best = min(best, (time.perf_counter_ns() - began) / 1e3)
    return best


def main() -> None:
    """Print the table."""
    for name, (value, wanted) in rows().items():
        cost = cost_us(value)
        verdict = "" if wanted is None else f"  wanted {wanted:g}: {'ok' if cost <= wanted else 'MISSED'}"
        print(f"{name:32} {cost:10,.1f} us{verdict}")


if __name__ == "__main__":
    main()
