"""How long an exchange waits for the others, what it looks for meanwhile, and how it finds out who is missing."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, Protocol

from jitwarmup.distributed.notices import POST_S, Departure, NoticeBoard, StoreGone, aside, with_timeout
from jitwarmup.records.errors import RankFailed

LOOK_S = 0.5  # between two looks for a notice
ROLL_CALL_S = 3.0  # in which members that wait answer; who does not is the one that is waited for

Waiting = Generator[Any, None, Any]  # yields something to wait for, or None to sleep a little


class Broken(Exception):  # noqa: N818 - internal: the group cannot go on, and why
    """The group cannot go on."""

    def __init__(self, error: RankFailed, *, final: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.final = final


class Waited(Protocol):
    """What is looked at of a side group."""

    members: tuple[int, ...]
    rank: int
    group: Any
    count: int

    @property
    def board(self) -> NoticeBoard: ...

    def probe(self) -> tuple[int, ...]: ...


class ExchangeWait:
    """How long one exchange has waited, and what is looked for meanwhile."""

    def __init__(self, side: Waited, timeout_s: float) -> None:
        self.side = side
        self.timeout_s = timeout_s
        self.began = time.monotonic()
        self.next_look = self.began + LOOK_S
        self.answered = False
        self.called_at: float | None = None

    @property
    def spent(self) -> bool:
        """Whether the others were waited for long enough."""
        return time.monotonic() - self.began >= self.timeout_s

    def late(self, ranks: tuple[int, ...]) -> Departure:
        """The notice about members that did not come."""
        return Departure("late", ranks, f"within {self.timeout_s:g} s")

    def look(self, *, now: bool = False) -> Waiting:
        """Now and then: was a notice posted, is a roll called, have we waited long enough? Raises Broken."""
        if not now and time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + LOOK_S
        try:
            yield from aside(self.look_at_board)
        except StoreGone as gone:
            if gone.silent and not self.spent:
                return  # it may be slow, and is needed only where something goes wrong
            dead = self.side.probe() if self.side.group is not None else ()
            raise Broken(no_store(dead)) from None

    def look_at_board(self) -> None:
        """The look itself: questions to the store."""
        board, count = self.side.board, self.side.count
        self.raise_if_any(board.notice())
        if not self.answered and (self.spent or board.all_put("roll", [count])):
            board.put("roll", count)
            board.put(f"at/{count}", self.side.rank)
            self.answered = True
        self.call_roll(board, count)

    def call_roll(self, board: NoticeBoard, count: int) -> None:
        """Once we have waited long enough, and those who wait had time to say so: who is missing?"""
        if not self.spent:
            return
        if self.called_at is None:
            self.called_at = time.monotonic()
        if time.monotonic() - self.called_at >= ROLL_CALL_S:
            self.fail(self.late(board.missing(f"at/{count}", self.side.members)))

    def raise_if_any(self, notice: Departure | None) -> None:
        """Give up where somebody said why it cannot go on. Raises Broken."""
        if notice is not None:
            raise Broken(notice.error(), final=notice.final)

    def fail(self, notice: Departure) -> None:
        """Post a notice, unless somebody was quicker, and give up. Raises Broken."""
        try:
            self.raise_if_any(with_timeout(lambda: self.side.board.post(notice), POST_S))
        except StoreGone:
            self.raise_if_any(notice)


def no_store(dead: tuple[int, ...] = ()) -> RankFailed:
    """The error where the job's store is gone, and with it rank 0 or the launcher."""
    who = f", and the connections to ranks {', '.join(map(str, dead))} are closed" if dead else ""
    return RankFailed(
        f"the job's store does not answer{who}: rank 0 or the launcher has ended; start the job again, or measure each "
        "rank by itself with ranks=None",
        dead,
    )
