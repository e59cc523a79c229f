"""What of a monitor could not be read, each thing told once; of the GPU monitor and of every other."""

from __future__ import annotations

from collections.abc import Callable

from jitwarmup.host.fork_safe import Locked

Listener = Callable[[str, str], None]


class Degraded(Locked):
    """What could not be read, each (metric, reason) once; a listener that comes late is told what it missed."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], None] = {}
        self._unheard: list[tuple[str, str]] = []
        self._listener: Listener | None = None

    @property
    def seen(self) -> tuple[tuple[str, str], ...]:
        """All of it so far."""
        return tuple(self._seen)

    @property
    def listener(self) -> Listener | None:
        """Who is told of (metric, reason), once each; setting it tells at once what was seen before."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        with self._lock:
            self._listener = listener
            self._unheard = list(self._seen)
        self.notify()

    def note(self, metric: str, reason: str) -> None:
        """Remember; `notify` tells."""
        with self._lock:
            if (metric, reason) not in self._seen:
                self._seen[metric, reason] = None
                self._unheard.append((metric, reason))

    def notify(self) -> None:
        """Tell the listener what it does not know yet; called where no lock is held. A listener that raises is dropped."""
        if self._listener is None or not self._unheard:
            return
        with self._lock:
            listener, unheard, self._unheard = self._listener, self._unheard, []
        try:
            for metric, reason in unheard:
                listener(metric, reason)
        except Exception:  # noqa: BLE001 - a listener's failure must not reach the user's function
            self._listener = None
