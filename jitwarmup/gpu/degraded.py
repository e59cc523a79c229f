"""What a monitor could not do, noted once each, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable

from jitwarmup.host.fork_safe import Locked
from jitwarmup.host.interrupts import is_interrupt

Listener = Callable[[str, str], None]


class Degraded(Locked):
    """
    What could not be read, each (metric, reason) once; a listener that comes late is told what it missed.

    There is room for two: ``listener`` is the user's, and the one of the events stands beside it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], None] = {}
        self._listeners: dict[str, Listener] = {}
        self._unheard: list[tuple[str, str, str]] = []  # by whom, and what

    @property
    def seen(self) -> tuple[tuple[str, str], ...]:
        """All of it so far."""
        return tuple(self._seen)

    @property
    def listener(self) -> Listener | None:
        """Who is told of (metric, reason), once each; setting it tells at once what was seen before."""
        return self._listeners.get("user")

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self.listen("user", listener)

    def listen(self, who: str, listener: Listener | None) -> None:
        """Put a listener in the place of ``who``'s."""
        with self._lock:
            self._unheard = [entry for entry in self._unheard if entry[0] != who]
            self._listeners.pop(who, None)
            if listener is not None:
                self._listeners[who] = listener
                self._unheard += [(who, *noted) for noted in self._seen]
        self.notify()

    def note(self, metric: str, reason: str) -> None:
        """Remember; `notify` tells."""
        with self._lock:
            if (metric, reason) not in self._seen:
                self._seen[metric, reason] = None
                self._unheard += [(who, metric, reason) for who in self._listeners]

    def notify(self) -> None:
        """Tell the listeners what they do not know yet; called where no lock is held. One that raises is dropped."""
        if not self._unheard:
            return
        with self._lock:
            unheard, self._unheard = self._unheard, []
        for who, metric, reason in unheard:
            try:
                if (listener := self._listeners.get(who)) is not None:
                    listener(metric, reason)
            except BaseException as failure:  # a listener's failure must not reach the user's function
                if is_interrupt(failure):
                    raise
                self._listeners.pop(who, None)


class Chained:
    """A listener of ours on a monitor of another make, and after it the one that the user had set there."""

    def __init__(self, ours: Listener | None, users: Listener | None) -> None:
        self.ours = ours
        self.users: Listener | None = users.users if isinstance(users, Chained) else users

    def __call__(self, metric: str, reason: str) -> None:
        """Tell both; what the user's raises is his monitor's affair."""
        for listener in (self.ours, self.users):
            if listener is not None:
                listener(metric, reason)
