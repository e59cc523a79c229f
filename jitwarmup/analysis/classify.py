"""
What kind of series is it, afterwards? ``flat``, ``warmup``, ``slowdown``, ``no_steady_state`` or ``inconclusive``.

Both profiles cut the series into segments and ask which of them are equivalent to the last one:

    slow slow slow | fast fast fast fast fast fast fast       warmup, start = 3
    fast fast fast fast fast | slow slow slow slow slow       slowdown
    same same same same same same | other other               no_steady_state: it changed near the end

``barrett2017`` is the published procedure (Barrett et al., "Virtual Machine Warmup Blows Hot and Cold", OOPSLA 2017),
made for 2,000 iterations in seconds. On 20 to 60 values its penalty cannot be paid by any change near the end;
``practical`` is its heir for short series, on the logarithm, so that no unit and no scale matters (steady-state.md,
section 5). A label means little without the tolerance it was given under, so both travel together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from jitwarmup.analysis.segments import outliers, segment_edges
from jitwarmup.analysis.stats import MAD_TO_SIGMA, mann_kendall_z, theil_sen
from jitwarmup.records.checks import is_number, one_of
from jitwarmup.records.errors import ArgumentError

Label = Literal["flat", "warmup", "slowdown", "no_steady_state", "inconclusive"]
Profile = Literal["practical", "barrett2017"]

TOLERANCE = 0.05  # practical: share by which levels may differ and still be called the same
DELTA_S = 0.001  # barrett2017: seconds, likewise
SHORTEST = 5  # fewer values say nothing, and a steady part is at least so long
PART = 4  # ... and at least this part of the series (500 of 2,000 as published)
LONG = 200  # from here on the published penalty is paid; below it a fifth of that
LEAST_NOISE = 0.1  # share of the tolerance: spread of the logarithm below which no segment is told apart
SHARE_OF_NOISE = 0.7  # ... likewise, as a share of the noise between neighbours
SIGNIFICANT = 3.0  # standard errors by which two levels must differ
TREND_Z = 2.2  # Mann-Kendall score of five values in strict order
DETECTABLE = 2.8  # standard errors of a shift that is found in 80 % of cases at 5 %
LEAST_VARIANCE_S2 = 1e-11  # of the R package changepoint, which the published procedure calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """
    The class of a series of ``n`` finite values, and where its steady part starts (None where it has none, or unknown).

    ``tolerance`` is the difference that counts as none: a share for the profile ``practical``, seconds for
    ``barrett2017``. ``changepoints`` are positions in the series as it was given. ``detectable`` is the smallest shift
    (a share) that the noise would have let be seen between two halves; above the tolerance, flat cannot be told.
    """

    label: Label
    start: int | None
    tolerance: float
    profile: Profile
    n: int
    changepoints: tuple[int, ...] = ()
    detectable: float | None = None


@dataclass(frozen=True, slots=True)
class _Segment:
    first: int
    end: int
    level: float
    spread: float = 0.0


def classify(
    series: Sequence[float], *, profile: Profile = "practical", tolerance: float | None = None
) -> Classification:
    """
    Class of a whole series of seconds, the oldest first.

    ``tolerance`` is a share (0.05) for ``practical`` and seconds (0.001) for ``barrett2017``. Values that are not
    finite are passed over; fewer than five are ``inconclusive``. The practical profile gives the same answer for the
    same series in any unit. Raises ArgumentError for an unknown profile, tolerance or what is no series of numbers.
    """
    one_of("profile", profile, ("practical", "barrett2017"))
    allowed = _tolerance(tolerance, TOLERANCE if profile == "practical" else DELTA_S)
    kept = _finite_places(series)
    values = [float(series[at]) for at in kept]
    if len(values) < SHORTEST:
        return Classification(label="inconclusive", start=None, tolerance=allowed, profile=profile, n=len(values))
    label, start, edges, detectable = (_practical if profile == "practical" else _barrett2017)(values, allowed)
    return Classification(
        label=label,
        start=None if start is None else (kept[start] if start else 0),
        tolerance=allowed,
        profile=profile,
        n=len(values),
        changepoints=tuple(kept[edge] for edge in edges[1:-1]),
        detectable=detectable,
    )


Answer = tuple[Label, int | None, list[int], float | None]


def _practical(values: Sequence[float], tolerance: float) -> Answer:
    logs = _logs(values)
    count, same = len(logs), math.log1p(tolerance) + 1e-9
    noise = MAD_TO_SIGMA * median([abs(two - one) for one, two in pairwise(logs)]) / math.sqrt(2)
    detectable = DETECTABLE * noise * math.sqrt(4 / count)
    edges = segment_edges(
        logs,
        penalty=(3 if count < LONG else 15) * math.log(count),
        least_variance=max(LEAST_NOISE * same, SHARE_OF_NOISE * noise) ** 2,
        shortest=1,
    )
    blip = 1 if count < 40 else 2  # so few values after the first segment are outliers, not a level
    segments = [_Segment(a, b, median(logs[a:b])) for a, b in pairwise(edges) if not a or b - a > blip]
    other = [part for part in segments if not _same_level(part, segments[-1], same, noise)]
    drift = _tail_drift(logs, same, noise)
    label, start = _label(other, segments[-1].level, count, moving=bool(drift))
    shift = max([abs(part.level - segments[-1].level) for part in other] + [drift])
    if detectable > same and shift < detectable:
        label, start = "inconclusive", None
    return label, start, edges, math.expm1(detectable)


def _barrett2017(values: Sequence[float], delta_s: float) -> Answer:
    """
    As published, on values brought to a scale of one so that no square overflows.

    The published rule adds variances (s^2) to means (s); hence the scale that the spread keeps.
    """
    import numpy as np

    scale = max(map(abs, values)) or 1.0
    scaled = np.asarray(values) / scale
    places = np.flatnonzero(~outliers(scaled))
    kept = scaled[places]
    least = min(max(LEAST_VARIANCE_S2 / scale / scale, 1e-18), 1.0)  # held within what a scale of one can tell
    cuts = segment_edges(kept, penalty=15 * math.log(len(kept)), least_variance=least, shortest=2)
    edges = [0, *(int(places[cut]) for cut in cuts[1:-1]), len(values)]
    segments = [
        _Segment(first, end, float(kept[a:b].mean()), float(kept[a:b].var()) * scale)
        for (first, end), (a, b) in zip(pairwise(edges), pairwise(cuts), strict=True)
    ]
    last = segments[-1]
    reach = max(last.spread, delta_s / scale)
    other = [part for part in segments if abs(part.level - last.level) > reach + part.spread]
    label, start = _label(other, last.level, len(values), moving=False)
    return label, start, edges, None


def _label(other: Sequence[_Segment], level: float, count: int, *, moving: bool) -> tuple[Label, int | None]:
    """From the segments that are not equivalent to the last one, whose level is ``level``."""
    start = other[-1].end if other else 0
    if moving or start > count - max(SHORTEST, count / PART):
        return "no_steady_state", None
    if any(part.level < level for part in other):
        return "slowdown", start
    return ("warmup" if other else "flat"), start


def _logs(values: Sequence[float]) -> list[float]:
    """
    Logarithms around their median. What the clock could not see (zero) stands a tenth below the least that it saw.

    Rounded to 1e-9, so that a change of unit cannot tip a tie.
    """
    least = min((value for value in values if value > 0), default=1.0)
    logs = [math.log(value) if value > 0 else math.log(least) - math.log(10) for value in values]
    middle = median(logs)
    return [round(log - middle, 9) for log in logs]


def _same_level(one: _Segment, last: _Segment, same: float, noise: float) -> bool:
    error = noise * math.sqrt(1 / (one.end - one.first) + 1 / (last.end - last.first))
    return abs(one.level - last.level) <= max(same, SIGNIFICANT * error)


def _tail_drift(logs: Sequence[float], same: float, noise: float) -> float:
    """How far the part that should be steady moves from its one end to the other; 0 where that is within the noise."""
    if len(logs) >= LONG:
        return 0.0  # so many values are cut into segments by any drift that matters
    tail = logs[-max(SHORTEST, len(logs) // PART) :]
    span = abs(theil_sen(tail)) * (len(tail) - 1)
    return span if span > max(same, SIGNIFICANT * noise) and abs(mann_kendall_z(tail)) >= TREND_Z else 0.0


def _finite_places(series: Sequence[float]) -> list[int]:
    try:
        return [at for at, value in enumerate(series) if math.isfinite(value)]
    except TypeError as error:
        raise ArgumentError(
            f"got a {type(series).__name__} with what is no number in it ({error}); wanted a sequence of seconds; "
            "give for example [run.duration_s for run in report.measured]"
        ) from None


def _tolerance(given: float | None, default: float) -> float:
    if given is None:
        return default
    if not is_number(given) or given <= 0:
        raise ArgumentError(f"got tolerance={given!r}; wanted a number above 0; leave it out for {default}")
    return float(given)
