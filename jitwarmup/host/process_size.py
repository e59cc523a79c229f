"""
How much this process holds: resident memory, open file descriptors, graphs that torch has compiled.

Read outside of every window, from Linux's /proc and from torch's own counters where it is loaded. What cannot be read is
None.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jitwarmup.host.interrupts import Contained

STATM = Path("/proc/self/statm")
DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What the process held at one moment. ``graphs`` counts all graphs that torch captured so far."""

    memory_bytes: int | None = None
    descriptors: int | None = None
    graphs: int | None = None


def read() -> Size:
    """The size of now (some 30 microseconds)."""
    found: dict[str, int] = {}
    for name, ask in READERS.items():
        with Contained():  # not on this system
            found[name] = ask()
    return Size(**found)


def _graphs() -> int:
    """Graphs captured by ``torch._dynamo`` since its counters were last cleared."""
    counters = sys.modules["torch._dynamo.utils"].counters
    return int(dict.get(counters, "stats", {}).get("unique_graphs", 0))


READERS: Mapping[str, Callable[[], int]] = {
    "memory_bytes": lambda: int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    # The fastest way, since it is read after every run; the descriptor that looks is not counted.
    "descriptors": lambda: len(os.listdir(DESCRIPTORS)) - 1,  # noqa: PTH208
    "graphs": _graphs,
}


def series_of(sizes: Iterable[Size]) -> dict[str, list[int | None]]:
    """Sizes of the process, one series each."""
    seen = list(sizes)
    return {name: [getattr(size, name) for size in seen] for name in ("memory_bytes", "graphs", "descriptors")}
