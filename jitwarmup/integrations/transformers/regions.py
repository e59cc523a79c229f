"""
How often compiled code really ran: torch marks each call of it ``Torch-Compiled Region`` while a profiler looks.

The callable that ``torch.compile`` returned says nothing: at the recompile limit, with ``TORCHDYNAMO_DISABLE`` or under
``set_stance("force_eager")`` it runs eagerly and stays silent. The plain autograd profiler is used, since Kineto's one
prints to stderr when it starts and reserves device buffers. Executed on torch 2.13.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REGION = "Torch-Compiled Region"


class Regions:
    """``count`` of calls of compiled code; None where a profiler could not look."""

    count: int | None = None


@contextmanager
def compiled_regions() -> Iterator[Regions]:
    """Count calls of compiled code in the body; its exceptions pass."""
    import torch

    seen = Regions()
    if torch.autograd._profiler_enabled():  # the user's own profiler: there can be one only
        yield seen
        return
    try:
        torch.autograd._enable_profiler_legacy(_settings(torch))
    except (AttributeError, TypeError):  # another torch: nothing is known, which is not the same as nothing compiled
        yield seen
        return
    try:
        yield seen
    finally:
        threads = torch.autograd._disable_profiler_legacy()
        seen.count = sum(
            event.kind() == "push" and event.name().startswith(REGION) for events in threads for event in events
        )


def _settings(torch: Any) -> Any:
    """Names only: no shapes, no memory, no stacks, no device."""
    state = torch._C._profiler.ProfilerState.CPU
    nothing = torch._C._profiler._ExperimentalConfig()
    return torch._C._profiler.ProfilerConfig(state, False, False, False, False, False, nothing)
