"""
Does the process grow with every run, on and on? Asked of plain series of sizes; nothing is said of short ones.

A cache that fills, an arena that is claimed once or twice and a graph that is compiled once are no leak: growth has to go
on in both halves of the series, by Mann-Kendall with 99 % confidence, and in several steps of the later half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from jitwarmup.analysis.stats import mann_kendall_z
from jitwarmup.records.verdict import Reason

SHORTEST = 8  # values below which nothing is said
RISING_Z = 2.33
RISES = 3  # steps upward in the later half; fewer are an arena or a table that was enlarged
LEAST: Mapping[str, float] = {"memory_bytes": 64 * 1024.0}  # per run; below it the allocator's own pages are noise
KINDS: Mapping[str, tuple[str, str]] = {
    "memory_bytes": ("memory_grows", "bytes_per_run"),
    "graphs": ("graphs_grow", "graphs_per_run"),
    "descriptors": ("descriptors_grow", "descriptors_per_run"),
}


def growth_per_run(sizes: Sequence[int | None], least: float = 0.0) -> float | None:
    """What each run adds, where growth goes on; None where it does not, or cannot be told."""
    seen = [size for size in sizes if size is not None]
    if len(seen) < SHORTEST or len(seen) < len(sizes) or mann_kendall_z(seen) < RISING_Z:
        return None
    half = len(seen) // 2
    later = [after - before for before, after in pairwise(seen[half:])]
    rising = sum(step > 0 for step in later) >= RISES
    slower = min((seen[half] - seen[0]) / half, (seen[-1] - seen[half]) / (len(seen) - 1 - half))
    return (seen[-1] - seen[0]) / (len(seen) - 1) if rising and slower > least else None


def growths(sizes: Mapping[str, Sequence[int | None]]) -> list[Reason]:
    """The reasons of a verdict for whatever grows on and on; ``sizes`` maps ``memory_bytes`` and so on to a series."""
    found = []
    for name, series in sizes.items():
        rate = growth_per_run(series, LEAST.get(name, 0.0))
        if rate is not None:
            kind, number = KINDS[name]
            found.append(Reason(kind=kind, numbers={number: rate, "runs": float(len(series))}))
    return found
