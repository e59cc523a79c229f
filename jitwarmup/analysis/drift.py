"""
Have the calls of a warm key become slower for good? A one-sided CUSUM over the logarithm of their own seconds.

    first 150 clean calls: level, slack        then each call adds  log(seconds) - level - slack  to a sum
    . : . . : . : . . : . : . . : . : . .      that never falls below 0; where it reaches 80 slacks, they have moved

The slack is the spread of those first calls, at least a tenth; one call counts as at most three slacks, so that a few
stalls are no drift. A move is over by the same sum in the other direction, for which calls must come half the slack near.

The level is that of live calls, not of the warm-up: a warm-up repeats one input, and traffic brings many.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Literal, NamedTuple

LEARN = 150  # clean calls that show a key's level and spread
TRIM = 10  # of them, at each end, whose distance counts no more than that of the next
LEAST_SLACK = math.log(1.1)  # a change that never matters
MOST = 3.0  # slacks that one call counts at most
FAR = 80.0  # slacks of evidence


class Moved(NamedTuple):
    """The calls have ``drifted`` to ``factor`` times their level, or a drift is ``over``."""

    state: Literal["drifted", "over"]
    factor: float


class Drift:
    """The calls of one key: a few numbers, O(1) a call. The same numbers give the same decisions."""

    __slots__ = ("_away", "_calls", "_first", "_level", "_slack", "_sum", "drifted")

    def __init__(self) -> None:
        self.drifted = False
        self._first: list[float] = []  # logarithms, until the level is known
        self._level = self._slack = 0.0
        self._begin()

    def _begin(self) -> None:
        self._sum = self._away = 0.0
        self._calls = 0  # of which the sum and the distance from the level are made

    def observe(self, seconds: Iterable[float]) -> Moved | None:
        """Note clean calls, the oldest first: what changed with them, if anything did. Times that are not above 0 are passed over."""
        moved = None
        for value in seconds:
            if not 0 < value < math.inf:
                continue
            log = math.log(value)
            if self._slack:
                moved = self._weigh(log - self._level) or moved
            else:
                self._learn(log)
        return moved

    def _learn(self, log: float) -> None:
        self._first.append(log)
        if len(self._first) < LEARN:
            return
        ordered = sorted(self._first)
        low, high = ordered[TRIM], ordered[-1 - TRIM]
        held = [min(max(one, low), high) for one in ordered]
        self._level, self._slack = statistics.fmean(held), max(LEAST_SLACK, statistics.stdev(held))
        self._first = []

    def _weigh(self, distance: float) -> Moved | None:
        held = max(-MOST, min(distance / self._slack, MOST))
        step = 0.5 - held if self.drifted else held - 1
        if self._sum + step <= 0:
            self._begin()
            return None
        self._sum += step
        self._away += distance
        self._calls += 1
        if self._sum < FAR:
            return None
        factor = math.exp(self._away / self._calls)
        self.drifted = not self.drifted
        self._begin()
        return Moved("drifted" if self.drifted else "over", factor)
