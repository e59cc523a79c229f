"""
Have the calls of a warm key become slower for good? A one-sided CUSUM over the logarithm of their own time.

    first 150 clean calls: level, slack        then each call adds  log(time) - level - slack  to a sum
    . : . . : . : . . : . : . . : . : . .      that never falls below 0; where it reaches 80 slacks, they have moved

The slack is the spread of those first calls, at least a fifth; one call counts as at most three slacks, so that a few
stalls are no drift. A move is over by the same sum in the other direction, for which calls must come half the slack near;
the next one needs more evidence, since real hosts wander for seconds, which 150 calls cannot show.

The level is that of live calls, not of the warm-up: a warm-up repeats one input, and traffic brings many.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Literal, NamedTuple

LEARN = 150  # clean calls that show a key's level and spread
TRIM = 10  # of them, at each end, whose distance counts no more than that of the next
LEAST_SLACK = math.log(1.2)  # a change that never matters: clock speed and caches of a shared host vary as much
MOST = 3.0  # slacks that one call counts at most
FAR = 80.0  # slacks of evidence
LASTING_S = 0.1  # of own time: whatever is over before is no move for good
WARY = 4.0  # times as much after each drift that was over: this host's moves are not for good


class Moved(NamedTuple):
    """The calls have ``drifted`` to ``factor`` times their level, or a drift is ``over``."""

    state: Literal["drifted", "over"]
    factor: float


class Drift:
    """The calls of one key: a few numbers, O(1) a call. The same numbers give the same decisions."""

    __slots__ = ("_away", "_calls", "_far", "_first", "_level", "_slack", "_spent_s", "_starting", "_sum", "drifted")

    def __init__(self) -> None:
        self.drifted = False
        self._first: list[float] = []  # logarithms, until the level is known
        self._level = self._slack = 0.0
        self._far = FAR
        self._begin()

    def _begin(self) -> None:
        self._sum = self._away = self._spent_s = 0.0
        self._calls = 0  # of which the distance from the level is made
        self._starting = False

    def observe(self, seconds: Iterable[float]) -> Moved | None:
        """
        Note the own seconds of the newest clean calls: what changed with them, if anything did. Those not above 0 are passed over.

        The sum is looked at once for all of them, so that a batch costs each of its calls little.
        """
        times = [one for one in seconds if 0 < one < math.inf]
        logs = [math.log(one) for one in times]
        if not self._slack:
            self._learn(logs)
            return None
        level, count = self._level, len(logs)
        low, high = level - MOST * self._slack, level + MOST * self._slack
        held = [low if log < low else min(log, high) for log in logs]
        slacks = (math.fsum(held) - count * level) / self._slack
        if self._starting:  # the first of several batches may hold calls from before
            self._away, self._calls = 0.0, 0
        self._starting = not self._sum
        self._sum += count / 2 - slacks if self.drifted else slacks - count
        self._away += math.fsum(logs) - count * level
        self._calls += count
        self._spent_s += math.fsum(times)
        if self._sum <= 0:
            self._begin()
        enough = self._sum >= (FAR if self.drifted else self._far) and self._spent_s >= LASTING_S
        return self._turn() if enough else None

    def _learn(self, logs: list[float]) -> None:
        self._first += logs
        if len(self._first) < LEARN:
            return
        ordered = sorted(self._first)
        low, high = ordered[TRIM], ordered[-1 - TRIM]
        held = [min(max(one, low), high) for one in ordered]
        self._level, self._slack = statistics.fmean(held), max(LEAST_SLACK, statistics.stdev(held))
        self._first = []

    def _turn(self) -> Moved:
        factor = math.exp(self._away / self._calls)
        self._far *= WARY if self.drifted else 1
        self.drifted = not self.drifted
        self._begin()
        return Moved("drifted" if self.drifted else "over", factor)
