"""
Has a series come to rest? The cause-aware steady-tail rule (CAST) over plain numbers; steady-state.md, section 4.5.

Its three ideas: the time that a run spent waiting for a processor is the host's and is taken off first; a run that
paid one-time work ends every stretch before it; and rest is asked of the plain spread of the newest few runs, because
while a compiler is at work the spikes *are* the signal, which outlier-robust rules throw away.

    one-time work    |<------------- the stretch since ------------->|
    x    x     x     c c c c c c c c c c c c c c c c c c c c [ window ]
                       ^ where rest began, found by walking back from the window
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from jitwarmup.analysis.stats import CONTENDED, cov, mann_kendall_z, noise_of_log, theil_sen
from jitwarmup.records.runs import Run

QUIET = 0.01  # spread of the newest three at which nothing more is asked
STABLE = 0.05  # spread of the newest five ...
LEVEL = 0.02  # ... whose two ends lie this close together
WILD = 0.50  # spread above which even a steady noise proves nothing
FALLING_Z = -1.28  # Mann-Kendall score below which a series is falling with 90 % confidence
FALLING = 0.05  # a fall of more than this share in each run is never rest
NEAR = 0.05  # how far above the window a run may lie and still belong to the steady part


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanTail:
    """The runs since the last one-time work: wall seconds, and the seconds of each spent waiting for a processor."""

    wall_s: tuple[float, ...]
    wait_s: tuple[float, ...]

    @classmethod
    def of(cls, runs: Iterable[Run]) -> CleanTail:
        """Of runs; one whose time is no number is passed over, a wait that is not known is none."""
        timed = [run for run in runs if math.isfinite(run.duration_ns)]
        return cls(wall_s=tuple(run.duration_s for run in timed), wait_s=tuple(waited_s(run) for run in timed))

    @property
    def corrected_s(self) -> tuple[float, ...]:
        """Wall less wait; a wait that is no shorter than the run itself fell outside its clock reads and is not taken off."""
        return tuple(wall - wait if wait < wall else wall for wall, wait in zip(self.wall_s, self.wait_s, strict=True))

    @property
    def contention_share(self) -> float:
        """Share of the wall time that was waiting, 0 to 1."""
        return contention_share(self.wall_s, self.wait_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class TailLengths:
    """How many runs each path wants to see: the newest ``quiet``, ``stable``, and four times ``stable`` for noise."""

    quiet: int = 3
    stable: int = 5


NORMAL = TailLengths()
STRICT = TailLengths(quiet=5, stable=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Rest was found: by which path, in which window (its size and spread), and at which run of the stretch it began."""

    path: str
    window: int
    cov: float
    start: int


def find_rest(stretch: CleanTail, patience: TailLengths = NORMAL, *, causes_known: bool = False) -> Rest | None:
    """
    The first of the paths quiet, stable, cause and noise_floor that holds; None where none does.

    ``causes_known``: what makes this function slow at first was seen, and has been silent since. Eager code warms up by
    causes that no probe sees, and of it silence says nothing.
    """
    if fall_per_run(stretch.wall_s[-patience.stable :]) > FALLING:
        return None  # of the wall time, whatever the waits explain
    longest = 4 * patience.stable  # no path looks further back
    seen = CleanTail(wall_s=stretch.wall_s[-longest:], wait_s=stretch.wait_s[-longest:]).corrected_s
    contended = stretch.contention_share > CONTENDED
    # with the causes known and silent, noise that is known to be the host's will not get better by waiting
    for path, window, at_rest in (
        ("quiet", patience.quiet, _quiet),
        ("stable", patience.stable, _stable),
        *([("cause", patience.stable, _not_falling)] if causes_known and contended else []),
        ("noise_floor", patience.stable * (2 if contended else 4), _noise_floor),
    ):
        newest = seen[-window:]
        if len(newest) == window and at_rest(newest):
            return Rest(path=path, window=window, cov=cov(newest), start=rest_start(stretch.corrected_s, window))
    return None


def rest_start(seen: Sequence[float], window: int) -> int:
    """
    Index at which the steady part began, walking back from the newest ``window`` values.

    A value belongs to it while it is not slower than the window's median by more than 5 % or three sigma of the
    series' own noise; one value in between may be.
    """
    at = max(0, len(seen) - window)
    centre = median(seen[at:]) if seen else 0.0
    slack = math.exp(min(100.0, max(NEAR, 3 * noise_of_log(seen))))  # beyond e^100 everything is near
    start, exceptions = at, 0
    for index in range(at - 1, -1, -1):
        if seen[index] <= centre * slack:
            start = index
            continue
        exceptions += 1
        if exceptions > 1:
            break
    return start


def fall_per_run(seen: Sequence[float]) -> float:
    """
    The share by which the newest part of the series (a quarter, 5 to 20 values) falls in each run; 0 where it does not.

    A fall counts where its slope on the logarithm is not noise by Mann-Kendall; of three or four values, where they
    are in strict order. Values that the clock could not see (zero) are passed over.
    """
    logs = [math.log(value) for value in seen[-min(20, max(5, len(seen) // 4)) :] if value > 0]
    if len(logs) < 3:
        return 0.0
    ordered = len(logs) < 5 and all(two < one for one, two in pairwise(logs))
    slope = theil_sen(logs) if ordered or mann_kendall_z(logs) < FALLING_Z else 0.0
    return max(0.0, -math.expm1(slope))


def contention_share(wall_s: Sequence[float], wait_s: Sequence[float]) -> float:
    """Waiting seconds per wall second, 0 to 1; 0 where no time passed."""
    wall = math.fsum(wall_s)
    return min(1.0, math.fsum(wait_s) / wall) if wall > 0 else 0.0


def waited_s(run: Run) -> float:
    """Seconds that a run waited for a CPU that others held; what is not known is none."""
    return run.host_wait_s or 0.0


def log_ratio(one: float, two: float) -> float:
    """|ln(one / two)|; 0 for equal values (zeros too), ``inf`` where only one of them is zero."""
    if one == two:
        return 0.0
    return abs(math.log(one) - math.log(two)) if one > 0 and two > 0 else math.inf


def _quiet(newest: Sequence[float]) -> bool:
    return cov(newest) <= QUIET


def _stable(newest: Sequence[float]) -> bool:
    part = len(newest) // 2
    return cov(newest) <= STABLE and log_ratio(median(newest[:part]), median(newest[-part:])) <= LEVEL


def _not_falling(newest: Sequence[float]) -> bool:
    return mann_kendall_z(newest) > FALLING_Z


def _noise_floor(newest: Sequence[float]) -> bool:
    """The noise itself has settled: both halves of a long window agree in level and in spread, and it falls no more."""
    half = len(newest) // 2
    older, newer = newest[:half], newest[half:]
    spread_older, spread = cov(older), cov(newer)
    return (
        spread <= WILD
        and spread / 2 <= spread_older <= spread * 2
        and log_ratio(median(older), median(newer)) <= max(LEVEL, 1.25 * spread / math.sqrt(half))
        and _not_falling(newest)
    )
