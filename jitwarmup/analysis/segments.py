"""
Where a series changes: exact segmentation by optimal partitioning, in numpy.

The cost of a segment is twice the negative log likelihood of a normal with its own mean and variance (Killick's
``cpt.meanvar``, used by Barrett et al. 2017); each further segment costs ``penalty``. Exact, O(n^2): 3 ms for 60
values, 0.1 s for 2,000, so pruning is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

WINDOW = 200  # iterations around each one that Barrett et al. look at for outliers


def segment_edges(
    values: Sequence[float] | Array, *, penalty: float, least_variance: float, shortest: int
) -> list[int]:
    """
    Edges of the cheapest segmentation, 0 and n included; each segment has at least ``shortest`` values.

    ``least_variance`` keeps segments of equal values finite, and says below which spread no change is of interest.
    """
    import numpy as np

    count = len(values)
    if count < 2 * shortest:
        return [0, count]
    centred = np.asarray(values, dtype=np.float64) - np.mean(values)
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    squares = np.concatenate([[0.0], np.cumsum(centred * centred)])
    best = np.full(count + 1, np.inf)
    best[0] = -penalty
    came_from = np.zeros(count + 1, dtype=np.intp)
    for end in range(shortest, count + 1):
        starts = slice(0, end - shortest + 1)
        lengths = end - np.arange(end - shortest + 1)
        means = (sums[end] - sums[starts]) / lengths
        variances = np.maximum((squares[end] - squares[starts]) / lengths - means * means, least_variance)
        costs = best[starts] + lengths * (np.log(2 * np.pi * variances) + 1) + penalty
        came_from[end] = np.argmin(costs)
        best[end] = costs[came_from[end]]
    edges = [count]
    while edges[-1] > 0:
        edges.append(int(came_from[edges[-1]]))
    return edges[::-1]


def outliers(values: Array, window: int = WINDOW) -> npt.NDArray[np.bool_]:
    """
    Which values lie outside median +- 3 (p90 - p10) of the window around them; those before its first half are exempt.

    The filter of Barrett et al. 2017 (``mark_outliers_in_json``); on their published series it marks the published ones.
    """
    import numpy as np

    half = window // 2
    marked = np.zeros(len(values), dtype=np.bool_)
    for at in range(half, len(values)):
        around = values[at - half : at + half]
        low, middle, high = np.percentile(around, (10, 50, 90))
        marked[at] = abs(values[at] - middle) > 3 * (high - low)
    return marked
