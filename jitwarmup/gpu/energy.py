"""
The driver's own power samples, stitched into a history, and how far they can be trusted. Pure: no clock, no driver.

The driver keeps the last 2.4 s of power in a ring (about 119 samples, 20 ms each; see evidence/gpu-monitoring.md 3) and
gives it in one call, afterwards. Read often enough, the rings overlap and make one history:

    drain        drain             drain
    |.....|      |......|          |......|
         |------ history ----------------|        a gap (nobody looked for 2.4 s) starts it anew

Whether a GPU's samples hold what they seem to hold (true means) differs between generations (arXiv 2312.02741), so the
history is believed only while its integral agrees with the energy counter over the same time, within `AGREEMENT`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

AGREEMENT = 0.05  # how far ring and counter may be apart, beyond what the counter's own steps explain
COUNTER_STEP_S = 0.1  # the energy counter moves about every 100 ms
SHORTEST_CHECK_S = 1.0  # over less, the counter's steps hide more than they tell
BETWEEN_CHECKS_NS = 200_000_000
KEEP_S = 12.0  # of history: long enough to compare, short enough to integrate at an edge
CLOCK_SLACK_NS = 2_000_000_000  # the newest sample is at most this far from now on the clock it was stamped with

Samples = Sequence[tuple[int, float]]  # (stamp in monotonic ns, mean watts of the period that ended there), ascending


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules, and how far they may be off; infinite where nothing bounds it."""

    joules: float
    error_j: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The history against the counter over ``span_s``: ``off`` is the relative difference, ``blur`` the counter's own."""

    off: float
    blur: float
    span_s: float

    @property
    def agrees(self) -> bool:
        """Whether the samples may be used."""
        return abs(self.off) <= AGREEMENT + self.blur


def clock_of(stamp_ns: int, clocks_ns: Mapping[str, int]) -> str | None:
    """The clock that the newest sample was stamped with: the nearest, if it is near. Drivers differ (realtime, boottime)."""
    name = min(clocks_ns, key=lambda clock: abs(clocks_ns[clock] - stamp_ns))
    return name if abs(clocks_ns[name] - stamp_ns) <= CLOCK_SLACK_NS else None


@dataclass(frozen=True, slots=True)
class Moment:
    """A point of time, and the power then where it is known."""

    at_ns: int
    watts: float | None = None


class SampleHistory:
    """Power over time, from samples that were read now and then."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._watts: list[float] = []
        self._sums: list[float] = []  # joules from some time on until the end of each sample
        self.period_ns = 0

    def add(self, samples: Samples) -> None:
        """Newer samples; those already known are skipped, a gap before them forgets what was."""
        fresh = [sample for sample in samples if not self._ends or sample[0] > self._ends[-1]]
        if not fresh:
            return
        if len(samples) > 2:
            self.period_ns = round(median(b[0] - a[0] for a, b in pairwise(samples)))
        if self._ends and fresh[0][0] - self._ends[-1] > 1.6 * self.period_ns:
            for known in (self._ends, self._watts, self._sums):  # start anew
                known.clear()
        for stamp, watts in fresh:
            length_ns = stamp - self._ends[-1] if self._ends else self.period_ns
            self._sums.append((self._sums[-1] if self._sums else 0.0) + watts * length_ns / 1e9)
            self._ends.append(stamp)
            self._watts.append(watts)
        surplus = bisect_left(self._ends, self._ends[-1] - round(KEEP_S * 1e9))
        for known in (self._ends, self._watts, self._sums):
            del known[:surplus]

    @property
    def begin_ns(self) -> int | None:
        """Where the history begins; None while it is empty or the period of its samples is unknown."""
        return self._ends[0] - self.period_ns if self._ends and self.period_ns else None

    def covers(self, from_ns: int, until_ns: int) -> bool:
        """Whether all of this time but the sample now in the making is known."""
        begin = self.begin_ns
        return begin is not None and begin <= from_ns and until_ns - self._ends[-1] <= 2 * self.period_ns

    def energy(self, begin: Moment, end: Moment, *, ceiling_w: float | None = None) -> Energy | None:
        """
        The integral between two moments whose time is covered; None where it is not.

        Only the samples that a moment cuts, and the time after the newest sample, have to be guessed: power is taken to
        run straight between what is known around them. The error is what any other course between 0 and ``ceiling_w``
        (default: the highest power seen) could make of them.
        """
        if not self.covers(begin.at_ns, end.at_ns) or end.at_ns <= begin.at_ns:
            return None
        ceiling = max(ceiling_w or self.ceiling_w(), begin.watts or 0.0, end.watts or 0.0)
        if begin.at_ns >= self._ends[-1]:
            return self._tail(begin.at_ns, end, ceiling)
        first, last = bisect_right(self._ends, begin.at_ns), bisect_left(self._ends, end.at_ns)
        whole = self._sums[last - 1] - self._sums[first] if last > first else 0.0
        head = self._rest(first, begin, ceiling)
        if last < len(self._ends):
            end_part, sample = self._rest(last, end, ceiling), self._joules(last)
            joules = head.joules + whole + (sample if last > first else 0.0) - end_part.joules
        else:
            end_part = self._tail(self._ends[-1], end, ceiling)
            joules = head.joules + whole + end_part.joules
        return Energy(max(0.0, joules), head.error_j + end_part.error_j)

    def peak_w(self, from_ns: int, until_ns: int) -> float | None:
        """The highest sample that lies at least half within this time."""
        half = self.period_ns // 2
        inside = self._watts[bisect_left(self._ends, from_ns + half) : bisect_right(self._ends, until_ns + half)]
        return max(inside, default=None)

    def wait_ns(self, now_ns: int) -> int:
        """How long until the sample in the making is complete; 0 while nothing is known."""
        return (self.period_ns - (now_ns - self._ends[-1]) % self.period_ns) if self._ends and self.period_ns else 0

    def ceiling_w(self) -> float:
        """The highest sample of all; 0 for an empty history."""
        return max(self._watts, default=0.0)

    def _begin(self, place: int) -> int:
        """Where a sample begins."""
        return self._ends[place - 1] if place else self._ends[0] - self.period_ns

    def _joules(self, place: int) -> float:
        return self._watts[place] * (self._ends[place] - self._begin(place)) / 1e9

    def _rest(self, place: int, moment: Moment, ceiling_w: float) -> Energy:
        """The joules of a sample after the moment that cuts it: its mean is known, how it came about is not."""
        before, after = (moment.at_ns - self._begin(place)) / 1e9, (self._ends[place] - moment.at_ns) / 1e9
        whole = self._joules(place)
        lowest, highest = max(0.0, whole - ceiling_w * before), min(whole, ceiling_w * after)
        guess = self._watts[place] * after
        if moment.watts is not None:
            half = self.period_ns / 2e9
            older = self._watts[place - 1] if place else moment.watts
            newer = self._watts[place + 1] if place + 1 < len(self._watts) else moment.watts
            left, right = (
                moment.watts + (watts - moment.watts) * part / (part + 2 * half)
                for watts, part in ((older, before), (newer, after))
            )
            unexplained = whole - left * before - right * after  # shared out by the square of the time it fell into
            guess = right * after + unexplained * after**2 / (before**2 + after**2)
        guess = min(max(guess, lowest), highest)
        return Energy(guess, max(guess - lowest, highest - guess))

    def _tail(self, from_ns: int, end: Moment, ceiling_w: float) -> Energy:
        """The joules after the newest sample, on a straight line from its middle to the power of the moment."""
        seconds, half = (end.at_ns - from_ns) / 1e9, self.period_ns / 2e9
        known = self._watts[-1]
        now = known if end.watts is None else end.watts
        watts = known + (now - known) * (half + seconds / 2) / (half + seconds)
        return Energy(watts * seconds, seconds * max(watts, ceiling_w - watts))


class CounterCheck:
    """
    Compares the history with the counter's readings as they come.

    ``last`` is the last comparison, over the longest time that is known, or the first that failed: samples that are
    smeared over a second agree with the counter whenever power is even, so one failure is final.
    """

    def __init__(self) -> None:
        self._readings: list[tuple[int, int]] = []
        self.last: Comparison | None = None

    def note(self, history: SampleHistory, at_ns: int, counter_mj: int) -> None:
        """A reading of the counter, made when ``history`` was brought up to date."""
        begin = history.begin_ns
        if self._readings and counter_mj < self._readings[-1][1]:
            self._readings.clear()  # the driver was loaded anew
        self._readings = [reading for reading in self._readings if begin is not None and reading[0] >= begin]
        if self._readings and at_ns - self._readings[-1][0] < BETWEEN_CHECKS_NS:
            return
        self._readings.append((at_ns, counter_mj))
        long_ago = [reading for reading in self._readings if at_ns - reading[0] >= SHORTEST_CHECK_S * 1e9]
        for reading in (long_ago[-1], long_ago[0]) if long_ago else ():
            self._compare(history, reading, (at_ns, counter_mj))

    def _compare(self, history: SampleHistory, first: tuple[int, int], last: tuple[int, int]) -> None:
        span_s, counted_j = (last[0] - first[0]) / 1e9, (last[1] - first[1]) / 1e3
        energy = history.energy(Moment(first[0]), Moment(last[0]))
        if energy is None or counted_j <= 0 or (self.last and not self.last.agrees):
            return
        blur = COUNTER_STEP_S * history.ceiling_w() / counted_j
        self.last = Comparison(energy.joules / counted_j - 1, blur, span_s)
