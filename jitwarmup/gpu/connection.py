"""One session with the devices, from `GPUMonitor.start` to its end: what was found, what failed, what degraded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar

from jitwarmup.gpu.binding import Clocks, Unavailable
from jitwarmup.gpu.degraded import Degraded
from jitwarmup.gpu.devices import Device, Wanted, wanted
from jitwarmup.gpu.driver_thread import DriverThread, Stalled
from jitwarmup.gpu.power_history import Uninitialised
from jitwarmup.gpu.reader import Reader
from jitwarmup.gpu.reading import joined, unread
from jitwarmup.records.runs import DeviceReading

P = ParamSpec("P")
T = TypeVar("T")


class Failure(NamedTuple):
    """Why there is nothing to read, and the status that a reading then has."""

    reason: str
    status: str


class Connection:
    """The devices of one session, read in the driver thread. No method raises for what a driver does."""

    def __init__(
        self, devices: Sequence[object] | None, degraded: Degraded, *, clocks: Clocks, timeout_s: float
    ) -> None:
        self.found: list[Device] = []
        self.failure: Failure | None = None
        self._devices = devices
        self._degraded = degraded
        self._clocks = clocks
        self._timeout_s = timeout_s
        self._wanted: Wanted | None = None
        self._renew()

    def connect(self) -> None:
        """Initialise NVML and find the devices."""
        self._find(self.reader.open)

    def find_again(self) -> None:
        """Once torch has initialised CUDA it says which devices are meant, and in a job of several which are in use."""
        if not self._has_changed():
            return
        if self.failure is None:
            self._find(self.reader.find)
        elif self.failure.status != "stalled":
            self.abandon()
            self._renew()
            self.connect()

    def ask(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What a method of the reader gives; None where there is nothing to read, and ``failure`` then says why."""
        if self.failure is not None:
            return None
        try:
            answer = self._thread.call(partial(job, *args, **kwargs))
        except Stalled:
            self.reader.silent = True
            self._fail("the driver did not return in time", "stalled")
            return None
        except Unavailable as gone:
            answer = None
            self._fail(gone.reason, gone.status)
        except Uninitialised:
            self.ask(self.reader.renew)
            return self.ask(job, *args, **kwargs)
        for metric, reason in self.reader.take_notes():
            self._degraded.note(metric, reason)
        return answer

    def unread(self, failure: Failure | None, metric: str = "device") -> DeviceReading:
        """Readings of all devices that were not made, and why."""
        reason, status = failure or self.failure or Failure("nothing was asked yet", "unavailable")
        names = [(one.uuid, one.name) for one in self.found] or [("", "")]
        return joined([unread(reason, status, metric, uuid=uuid, name=name) for uuid, name in names])

    def close(self) -> None:
        """End the session, within the time-out."""
        with suppress(Stalled):
            self._thread.call(self.reader.close)
        self.reader.silent = True
        self._thread.end()

    def abandon(self) -> None:
        """End the session without waiting: for finalizers."""
        self._thread.post(self.reader.close)
        self._thread.end()

    def after_fork(self) -> None:
        """In a forked child the thread is not there, and the session is the parent's."""
        self._thread.stalled = True

    def _renew(self) -> None:
        self.failure = None
        self.reader = Reader(self._clocks, self._timeout_s, os.getpid())
        self._thread = DriverThread(self._timeout_s)

    def _find(self, job: Callable[[Wanted], list[Device]]) -> None:
        try:
            self._wanted = wanted(self._devices, os.environ)
        except Unavailable as gone:
            self._fail(gone.reason, gone.status)
            return
        self.found = self.ask(job, self._wanted) or self.found

    def _has_changed(self) -> bool:
        """Whether the devices to look for are others than those that were looked for."""
        if self._wanted is None or not self._wanted.provisional:
            return False
        try:
            return wanted(self._devices, os.environ) != self._wanted
        except Unavailable:  # as `_find` will say
            return True

    def _fail(self, reason: str, status: str) -> None:
        self.failure = Failure(reason, status)
        self._degraded.note("device", reason)
