"""One session with the devices, from `GPUMonitor.start` to its end: what was found, what is down, what degraded."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jitwarmup.gpu.binding import Unavailable
from jitwarmup.gpu.devices import Wanted, wanted
from jitwarmup.gpu.driver_thread import Stalled
from jitwarmup.gpu.reading import joined, unread
from jitwarmup.gpu.service import Answer
from jitwarmup.gpu.sources import Local
from jitwarmup.records.runs import DeviceReading

Listener = Callable[[str, str], None]


class Found(NamedTuple):
    """A device that is read; ``torch_index`` is None where torch does not know it."""

    uuid: str
    name: str
    torch_index: int | None


class Down(NamedTuple):
    """Why there is nothing to read, and the status that a reading then has."""

    reason: str
    status: str


class Degraded:
    """What could not be read, each (metric, reason) once; a listener that comes late is told what it missed."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], None] = {}
        self._untold: list[tuple[str, str]] = []
        self._listener: Listener | None = None
        self._lock = threading.Lock()

    @property
    def seen(self) -> tuple[tuple[str, str], ...]:
        """All of it so far."""
        return tuple(self._seen)

    @property
    def listener(self) -> Listener | None:
        """Who is told."""
        return self._listener

    def listen(self, listener: Listener | None) -> None:
        """Tell this one from now on, and what was seen before at once."""
        with self._lock:
            self._listener = listener
            self._untold = list(self._seen)
        self.tell()

    def note(self, metric: str, reason: str) -> None:
        """Remember; `tell` tells."""
        with self._lock:
            if (metric, reason) not in self._seen:
                self._seen[metric, reason] = None
                self._untold.append((metric, reason))

    def tell(self) -> None:
        """Tell the listener what it does not know yet; called where no lock is held. A listener that raises is dropped."""
        if self._listener is None or not self._untold:
            return
        with self._lock:
            listener, untold, self._untold = self._listener, self._untold, []
        try:
            for metric, reason in untold:
                listener(metric, reason)
        except Exception:  # noqa: BLE001 - a listener's failure must not reach the user's function
            self._listener = None

    def renew_lock(self) -> None:
        """In a forked child the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()


class Connection:
    """The devices of one session, asked through a source. No method raises for what a driver does."""

    def __init__(self, devices: Sequence[object] | None, make: Callable[[], Local], degraded: Degraded) -> None:
        self.found: list[Found] = []
        self.down: Down | None = None
        self.why = Down("nothing was asked yet", "unavailable")
        self._devices = devices
        self._make = make
        self._source = make()
        self._degraded = degraded
        self._look: Wanted | None = None

    def connect(self, verb: str = "open") -> None:
        """Look for the devices: ``open`` at first, ``find`` when they may be others by now."""
        try:
            self._look = wanted(self._devices, os.environ)
        except Unavailable as gone:
            self._fall(Down(gone.reason, gone.status))
            return
        self.ask(verb, wanted=self._look)

    def find_again(self) -> None:
        """Once torch has initialised CUDA it says which devices are meant, and in a job of several which are in use."""
        if not self._has_changed():
            return
        if self.down is None:
            self.connect("find")
        elif self.down.status != "stalled":
            self._source.abandon()
            self._source, self.down = self._make(), None
            self.connect()

    def ask(self, verb: str, **arguments: Any) -> Answer | None:
        """The answer to a verb; None when there is none, and ``why`` then says why."""
        if self.down is not None:
            return None
        try:
            answer = self._source.ask(verb, **arguments)
        except Stalled:
            self._fall(Down("the driver did not return in time", "stalled"))
            return None
        except Unavailable as gone:
            self.why = Down(gone.reason, gone.status)
            if not gone.passing:
                self._fall(self.why)
            return None
        return self._taken(answer)

    def unread(self, down: Down | None, metric: str = "device") -> DeviceReading:
        """Readings of all devices that were not made, and why."""
        reason, status = down or self.why
        found = self.found or [Found("", "", None)]
        return joined([unread(reason, status, metric, uuid=one.uuid, name=one.name) for one in found])

    def close(self) -> None:
        """End the session, within the time-out."""
        self._source.close()

    def abandon(self) -> None:
        """End the session without waiting."""
        self._source.abandon()

    def orphan(self) -> None:
        """In a forked child: the session is the parent's."""
        self._source.orphan()

    def _has_changed(self) -> bool:
        """Whether the devices to look for are others than those that were looked for."""
        if self._look is None or not self._look.provisional:
            return False
        try:
            return wanted(self._devices, os.environ) != self._look
        except Unavailable:  # as `connect` will say
            return True

    def _taken(self, answer: Answer) -> Answer | None:
        for metric, reason in answer.get("notes", ()):
            self._degraded.note(metric, reason)
        if "devices" in answer:
            self.found = [Found(*device) for device in answer["devices"]]
        if "unavailable" in answer:
            self._fall(Down(answer["unavailable"], answer["status"]))
            return None
        return answer

    def _fall(self, down: Down) -> None:
        self.down = self.why = down
        self._degraded.note("device", down.reason)
