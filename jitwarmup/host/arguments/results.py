"""Results that are still to come: a run that returns one has begun work, and timed nothing of it."""

from __future__ import annotations

from typing import Any

from jitwarmup.host.arguments.loaded import is_array, is_tensor
from jitwarmup.host.arguments.structure import can, delivers, is_shared

FEW = 8  # items of a returned tuple, list or dict that are looked at: (stream, thread)


def still_to_come(value: Any, depth: int = 2) -> str | None:
    """What was returned in place of a result, in words: a stream, a future, a generator's context manager; else None."""
    cls = type(value)
    if isinstance(value, tuple | list | dict) and depth:
        held = list(value.values() if isinstance(value, dict) else value[:FEW])[:FEW]
        return next((found for each in held if (found := still_to_come(each, depth - 1)) is not None), None)
    if is_tensor(value) or is_array(value) or is_shared(cls) or can(cls, "mock_calls"):
        return None
    if can(cls, "add_done_callback", "result"):
        return "a future, whose work goes on"
    if can(cls, "_recreate_cm"):
        return "a generator's context manager, which has not begun"
    return delivers(cls)
