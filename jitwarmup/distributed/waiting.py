"""How long an exchange waits for the others, what it looks for meanwhile, and how it finds out who is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from jitwarmup.distributed.notices import Departure, NoticeBoard, StoreGone, StoreSilent

POST_S = 2.0  # a store whose host is gone may not answer; who leaves or gives up waits no longer to tell it why
PATIENCE_S = 5.0  # for one answer; a host that lost its power closes no connection, and torch would wait for minutes
LOOK_S = 0.5  # between two looks at the notice board
ROLL_CALL_S = 3.0  # in which members that wait answer the one whose time is up

Waiting = Generator[Any, None, Any]  # yields something to wait for, or None to sleep a little


def started(act: Callable[[], Any], name: str = "jitwarmup-store") -> Future[Any]:
    """Do something that cannot be interrupted in a daemon thread, which is left behind where it never ends."""
    answer: Future[Any] = Future()

    def run() -> None:
        try:
            answer.set_result(act())
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits for the answer
            answer.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer


def with_timeout(act: Callable[[], Any], seconds: float = POST_S) -> Any:
    """Ask the store something and wait so long at most; StoreGone where it is gone, or StoreSilent."""
    return answered(started(act), seconds)


def in_thread(act: Callable[[], Any]) -> Waiting:
    """The same while a task's event loop goes on."""
    answer, until = started(act), time.monotonic() + PATIENCE_S
    while not answer.done() and time.monotonic() < until:
        yield answer
    return answered(answer, 0.0)


def answered(answer: Future[Any], seconds: float) -> Any:
    """What the store answered within so many seconds."""
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise StoreSilent("no answer in time") from None


class Broken(Exception):  # noqa: N818 - internal: the group cannot go on, and why
    """The group cannot go on; ``final``: nobody needs to be waited for ever again."""

    def __init__(self, departure: Departure) -> None:
        self.error, self.final = departure.error(), departure.kind == "died"
        super().__init__(str(self.error))


@dataclass
class ExchangeWait:
    """
    How long one exchange has waited, and what is looked for meanwhile.

    Who has waited long enough asks all members for an answer, and who waits too gives it: the others are missing. (A mark
    left earlier would not do: a host may lose its power while it waits.)
    """

    board: NoticeBoard  # of the generation; a later one is set where the group goes on to that
    members: tuple[int, ...]  # the ranks that are waited for
    rank: int  # this process's
    timeout_s: float  # after which the others were waited for long enough
    count: int = 0  # of the exchange, within its generation
    answered_at: float | None = None  # when this rank asked all members for an answer, or gave its own

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.next_look = self.began + LOOK_S

    @property
    def spent(self) -> bool:
        return time.monotonic() - self.began >= self.timeout_s

    def late(self, ranks: tuple[int, ...]) -> Departure:
        return Departure("late", ranks, f"within {self.timeout_s:g} s")

    def look(self, *, now: bool = False) -> Waiting:
        """
        Every half second: did somebody leave, have we waited long enough? Raises Broken where it is so.

        Raises StoreGone where the store has ended, or is silent when it is needed to tell who is missing.
        """
        if not now and time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + LOOK_S
        try:
            yield from in_thread(self.look_at_board)
        except StoreSilent:  # it may be slow, and is needed only where something goes wrong
            if self.spent:
                raise

    def look_at_board(self) -> None:
        """The look itself: questions to the store. Raises Broken."""
        self.raise_departure()
        # ask for answers when the time is up, and answer where another member asked
        if self.answered_at is None and (self.spent or self.board.all_put("roll", [self.count])):
            self.board.put("roll", self.count)
            self.board.put(f"at/{self.count}", self.rank)
            self.answered_at = time.monotonic()
        # those who wait too had the time to answer: the others are missing
        if self.spent and self.answered_at is not None and time.monotonic() - self.answered_at >= ROLL_CALL_S:
            self.fail(self.late(self.board.missing(f"at/{self.count}", self.members)))

    def raise_departure(self) -> None:
        if (departure := self.board.departure()) is not None:
            raise Broken(departure)

    def fail(self, departure: Departure) -> NoReturn:
        """Post a departure, unless somebody was quicker, and give up. Raises Broken."""
        first = departure
        with suppress(StoreGone):
            first = with_timeout(lambda: self.board.post(departure))
        raise Broken(first)
