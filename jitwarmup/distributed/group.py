"""The `Ranks` protocol over torch.distributed: which ranks agree, and how long they wait for each other."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future, wait
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

from jitwarmup.distributed.exchange import ExchangeGroup, exchange_group_of
from jitwarmup.distributed.notices import distributed
from jitwarmup.distributed.waiting import LOOK_S
from jitwarmup.host import event_loops
from jitwarmup.records.checks import checking, seconds, shown
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Exchanged, Ranks

TIMEOUT_S = 1800.0  # torch.distributed's own default for gloo: longer than any compile that anybody waits for
SHORTEST_S, LONGEST_S = 0.0002, 0.02  # between two looks of a task
WORLD = "world"
FAKE = "fake"  # torch's backend for planning and tests: the other ranks do not exist


class RankGroup:
    """
    The ranks that warm up and measure in step.

    Args:
        group: a torch.distributed ProcessGroup or a one-dimensional DeviceMesh; None or ``"world"`` for all ranks of
            the job, whichever these are when it is used.
        timeout_s: seconds that one rank waits for another at one agreement, whatever the other is doing (compiling, for
            instance). The user's own collectives keep their own time-out.

    Raises:
        ArgumentError: no such group, no positive seconds, or (at use) a group that this rank is no member of.

    """

    def __init__(self, group: Any = None, *, timeout_s: float = TIMEOUT_S) -> None:
        with checking("RankGroup"):
            seconds("timeout_s", timeout_s, optional=False)
            self._group = process_group(group)
        self.timeout_s = float(timeout_s)

    @property
    def active(self) -> bool:
        """Whether there is anybody to agree with: torch.distributed is initialised, with several ranks that are real."""
        dist = distributed()
        return dist is not None and dist.get_backend() != FAKE and len(self.members) > 1

    @property
    def rank(self) -> int:
        """Rank of this process in the whole job."""
        return int(distributed().get_rank())

    @property
    def members(self) -> tuple[int, ...]:
        """The ranks (in the whole job) that agree."""
        dist = distributed()
        try:
            ranks = tuple(dist.get_process_group_ranks(self._group if self._group is not None else dist.group.WORLD))
        except KeyError:
            raise ArgumentError(
                "ranks got a group that torch.distributed does not know (any more); wanted one that was made after the "
                "last init_process_group, or 'world', which is whatever it is when it is used"
            ) from None
        if dist.get_rank() not in ranks:
            raise ArgumentError(
                f"ranks got a group of ranks {', '.join(map(str, ranks))}, and this is rank {dist.get_rank()}; wanted a "
                "group that the calling rank is a member of"
            )
        return ranks

    def exchange(self, message: bytes) -> GroupExchange:
        """Begin to exchange messages with every member."""
        return GroupExchange(exchange_group_of(self.members, self.rank), message, self.timeout_s)

    def leave(self, reason: str) -> None:
        """Tell the others, without waiting, that this rank will not come to the next exchange."""
        if distributed() is not None:
            exchange_group_of(self.members, self.rank).leave(reason)


class GroupExchange:
    """One exchange over the exchange group, waited for in a thread or in a task."""

    def __init__(self, group: ExchangeGroup, message: bytes, timeout_s: float) -> None:
        self._exchanged = Exchanged()
        self._steps = self._carried_out(group.exchange(message, timeout_s))

    def _carried_out(self, steps: Generator[Any, None, Exchanged]) -> Generator[Any, None, None]:
        self._exchanged = yield from steps

    def block(self) -> Exchanged:
        """Wait in a thread; an interrupt is noticed between two looks."""
        with closing(self._steps):  # interrupted, it releases the exchange group at once
            for wanted in self._steps:
                if wanted is None:
                    time.sleep(LONGEST_S)
                elif isinstance(wanted, Future):
                    wait([wanted], LOOK_S)
                else:
                    with suppress(RuntimeError):  # timed out, or failed: is_completed() tells
                        wanted.wait(timedelta(seconds=LOOK_S))
        return self._exchanged

    async def sleep(self) -> Exchanged:
        """Wait in a task, looking ever less often."""
        pause_s = SHORTEST_S
        with closing(self._steps):
            for _ in self._steps:
                await event_loops.pause(pause_s)
                pause_s = min(LONGEST_S, 2 * pause_s)
        return self._exchanged


def process_group(given: Any) -> Any:
    """A ProcessGroup from what the user gave; None for all ranks of the job."""
    if given is None or (isinstance(given, str) and given == WORLD):
        return None
    mesh = getattr(given, "get_group", None)
    made = not isinstance(given, type)
    if made and callable(mesh) and hasattr(given, "ndim"):
        if given.ndim != 1:
            raise ArgumentError(f"ranks got a DeviceMesh of {given.ndim} dimensions; wanted one of them: mesh['tp']")
        return mesh()
    if made and callable(getattr(given, "rank", None)) and callable(getattr(given, "size", None)):
        return given
    raise ArgumentError(
        f"ranks got {shown(given)}; wanted a torch.distributed group (which the calling rank is a member of), a "
        "one-dimensional DeviceMesh, a RankGroup, 'world', or None to agree with nobody"
    )


def checked_ranks(given: Any) -> Ranks | None:
    """The protocol's object from what the user gave to ``ranks=``; None opts out."""
    if given is None or isinstance(given, RankGroup) or (not isinstance(given, type) and isinstance(given, Ranks)):
        return given
    return RankGroup(given)


EVERYBODY = RankGroup()


def ranks_of(given: Ranks | None) -> Ranks | None:
    """The ranks to agree with now, or None: opted out, or nobody else is there."""
    return None if given is None or not getattr(given, "active", True) else given
