"""
How much this process holds: resident memory, open file descriptors, graphs that torch has compiled.

Read outside of every window, from Linux's /proc and from torch's own counters where it is loaded. What cannot be read is
None, with its reason in ``missing``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

STATM = Path("/proc/self/statm")
DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What the process held at one moment. ``graphs`` counts all graphs that torch captured so far."""

    memory_bytes: int | None = None
    descriptors: int | None = None
    graphs: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


def read() -> Size:
    """The size of now (some 30 microseconds)."""
    missing: dict[str, str] = {}
    return Size(
        memory_bytes=memory_bytes(missing), descriptors=descriptors(missing), graphs=graphs(missing), missing=missing
    )


def memory_bytes(missing: dict[str, str]) -> int | None:
    """Resident memory."""
    try:
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError) as error:
        missing["memory_bytes"] = f"{STATM}: {type(error).__name__}"
        return None


def descriptors(missing: dict[str, str]) -> int | None:
    """Open file descriptors, the one that looks not counted."""
    try:
        return len(os.listdir(DESCRIPTORS)) - 1  # noqa: PTH208 - the fastest way: it is read after every run
    except OSError as error:
        missing["descriptors"] = f"{DESCRIPTORS}: {type(error).__name__}"
        return None


def graphs(missing: dict[str, str]) -> int | None:
    """Graphs captured by ``torch._dynamo`` since its counters were last cleared; none where it was never loaded."""
    utils = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None)
    if counters is None:
        missing["graphs"] = "torch._dynamo is not loaded"
        return None
    return int(dict.get(counters, "stats", {}).get("unique_graphs", 0))


def series_of(sizes: Iterable[Size]) -> dict[str, list[int | None]]:
    """Sizes of the process, one series each."""
    seen = list(sizes)
    return {name: [getattr(size, name) for size in seen] for name in ("memory_bytes", "graphs", "descriptors")}
