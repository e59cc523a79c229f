"""
Sinks that do not return: whom they may hold.

Nobody can call a caller back from inside of a user's sink. Only a thread in his place could go in for him; for every
event that was measured and refused: 13 to 16 us more an event on an idle machine, 170 us beside one busy thread, 13 ms
beside four (each hand-over waits for the interpreter's lock), and a sink that belongs to its caller's thread (asyncio,
sqlite3) would fail. So the first event alone goes in by a thread, with those that come before it has returned, for half
a second: a sink that hangs from the start (a server that never answers, a lock) holds nobody. One that hangs later holds
whoever is inside, and nobody who comes a second later.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from typing import Any, Final
from weakref import WeakValueDictionary

from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of, taken
from jitwarmup.records.protocols import Emitter

FIRST_S: Final = 0.5  # what a sink's first event may take before its caller goes on
STUCK_S: Final = 1.0  # how long somebody is inside before others stay out
WAITING: Final = 1000  # events that may wait for the first one to return


class Emitting(threading.local):
    """Whether this thread is emitting an event."""

    now = False


EMITTING: Final = Emitting()
Event = tuple[str, str, Mapping[str, Any]]
_KNOWN: WeakValueDictionary[int, Entrance] = WeakValueDictionary()


def belongs_to_a_thread(error: BaseException) -> bool:
    """Whether it is of the kind that an object of one thread raises in another: threading.local, asyncio, sqlite3."""
    return type(error) in (AttributeError, RuntimeError) or type(error).__name__ == "ProgrammingError"


class Entrance:
    """The way into one emitter of the user's; shared by all that stand around it, so that its first event is one."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._begin()
        after_fork_in_child(self._begin)

    def _begin(self) -> None:
        self._since: float | None = None  # when the first event came
        self._begun = self._proven = False
        self._inside: dict[int, float] = {}  # thread -> when it went in
        self._waiting: deque[tuple[Context, Event]] = deque()

    @classmethod
    def of(cls, emitter: Emitter) -> Entrance | None:
        """The one of this emitter; None of ours, which wait for nobody."""
        if type(emitter).__module__.startswith("jitwarmup."):
            return None
        known = _KNOWN.get(id(emitter))
        if known is None:
            known = _KNOWN[id(emitter)] = cls(emitter)
        return known

    def admits(self, event: Event, lose: Callable[[str], None], note: Callable[[str], None]) -> bool:
        """
        Whether the caller goes in with the event himself, and then calls ``left``; else it is seen to, or lost.

        Raises what the sink raises on its first event.
        """
        now = time.monotonic()
        if self._proven:
            if self._inside and now - min(snapshot_of(self._inside.values()), default=now) > STUCK_S:
                lose(f"has not returned for {STUCK_S:g} s")
                return False
            self._inside[threading.get_ident()] = now
            return True
        self._since = now if self._since is None else self._since
        try:
            if (left_s := self._since + FIRST_S - now) > 0:
                return self._first(event, left_s, lose, note)
        except BaseException:  # its own, or an interrupt, which may come before the thread has begun
            if not self._begun:
                self._since = None
            raise
        if len(self._waiting) >= WAITING:
            lose("has not returned from its first event")
            return False
        self._waiting.append((copy_context(), event))
        self._catch_up(lose)  # where the first one has returned since then
        return False

    def left(self) -> None:
        """The caller is out again."""
        self._inside.pop(threading.get_ident(), None)

    def _first(self, event: Event, left_s: float, lose: Callable[[str], None], note: Callable[[str], None]) -> bool:
        """Send it in by a thread, and wait a little; whether the caller has to go in himself after all."""
        context, raised, over = copy_context(), list[BaseException](), threading.Event()

        def enter() -> None:
            EMITTING.now = self._begun = True
            try:
                context.run(self._emitter.emit, *event)
            except BaseException as error:  # noqa: BLE001 - the caller raises it, who waits
                raised.append(error)
            self._proven = True
            over.set()
            self._catch_up(lose)

        try:
            threading.Thread(target=enter, name="jitwarmup-first-event", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter ends
            self._proven = True
            return True
        if not over.wait(left_s):
            note(f"has not returned from its first event for {FIRST_S:g} s; its events wait")
        elif raised and not belongs_to_a_thread(raised[0]):
            raise raised[0]
        return bool(raised)

    def _catch_up(self, lose: Callable[[str], None]) -> None:
        """Emit what came while the first event was inside."""
        for context, event in taken(self._waiting) if self._proven else ():
            try:
                context.run(self._emitter.emit, *event)
            except BaseException as error:  # noqa: BLE001 - nobody is here whom it could interrupt
                lose(f"raised {type(error).__name__}")
