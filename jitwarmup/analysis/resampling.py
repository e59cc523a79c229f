"""
Two samples resampled: intervals of the ratio of their medians and of the shift between them.

Blocks of neighbours are drawn and not single values (moving blocks: Kuensch 1989). The shift is that of Hodges and Lehmann
(1963): of two samples the median of all differences, of paired ones the median of the means of any two.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from statistics import median

from jitwarmup.analysis.stats import LEAST_WIDTH, cov, effective_size, quantile

LEVEL = 0.99
ONE_SIDED = 0.95  # level of ``most``: a limit that a gate was given is no hypothesis to guard
DRAWS = 2000
SHIFTS = 800  # of the shift, which looks at every pair of values in each draw
SEED = 20  # the same files give the same words
RUNS = 5  # on each side without pairs: two sets of five fall apart by chance in 2 of 252 orders


def independent(values: Sequence[float]) -> int:
    """How many independent values a series is worth; of less than ten, or as good as equal ones, that is not asked."""
    alike = len(values) < 2 * RUNS or cov(values) < LEAST_WIDTH
    return len(values) if alike else int(effective_size(values))


def interval(logs: Sequence[float], least: float, apart: float) -> tuple[float, float, float]:
    """
    Ends of the two-sided interval and of the one-sided one, as ratios.

    No narrower than ``least`` on each side; ``apart``: how far two processes may lie from one another besides.
    """
    centre = median(logs)
    shares = (1 - LEVEL) / 2, (1 + LEVEL) / 2, ONE_SIDED
    below, above, most = (math.hypot(max(abs(quantile(logs, share) - centre), least), apart) for share in shares)
    return math.exp(centre - below), math.exp(centre + above), math.exp(centre + most)


def blocks(values: Sequence[float], seed: int = SEED, draws: int = DRAWS) -> Iterator[list[float]]:
    """Resamples of a series by circular blocks, as long as neighbours are alike."""
    chance, count = random.Random(seed), len(values)  # noqa: S311 - resampling, not cryptography
    length = max(1, round(count / effective_size(values)))
    ring = [*values, *values[:length]]
    starts, wanted = range(count), -(-count // length)
    for _ in range(draws if count < 200 else draws // 4):
        drawn = chance.choices(starts, k=wanted)
        yield [value for at in drawn for value in ring[at : at + length]][:count]


def log_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Logarithm of the ratio of the medians."""
    return math.log(median(b) / median(a))


def apart_by(a: Sequence[float], b: Sequence[float]) -> float:
    """The shift between two samples of logarithms: the median of all differences."""
    return median([two - one for one in a for two in b])


def typical(steps: Sequence[float]) -> float:
    """The shift of paired differences: the median of the means of any two of them (Walsh averages)."""
    return median([(one + two) / 2 for at, one in enumerate(steps) for two in steps[at:]])
