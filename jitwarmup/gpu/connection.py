"""
One session with the devices, from `GPUMonitor.start` to its end, and the one thread behind which a driver may hang.

Every NVML call of a session is made by its driver thread, so a driver that never returns costs its caller one time-out
and nothing after that: the session has then failed for good. The thread is a daemon and ctypes lets go of the GIL, so
neither a running program nor its exit waits for the driver.

One hand-over and back costs about 20 us; a whole edge (all its NVML calls) is one hand-over.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from jitwarmup.gpu.binding import Clocks, Unavailable
from jitwarmup.gpu.degraded import Degraded
from jitwarmup.gpu.devices import Device, Wanted, wanted
from jitwarmup.gpu.power_history import Uninitialised
from jitwarmup.gpu.reader import Reader
from jitwarmup.gpu.reading import joined, unread
from jitwarmup.records.runs import DeviceReading

P = ParamSpec("P")
T = TypeVar("T")
Answers = SimpleQueue[tuple[bool, Any]]  # of one job: (returned, value) or (False, the exception)
Jobs = SimpleQueue[tuple[Callable[[], object], Answers] | None]


NOTHING_YET = Unavailable("nothing was asked yet")
OVER = Unavailable("the monitor was stopped")
OVERLAP = Unavailable("another run on these devices overlapped this one")
BUSY = Unavailable("a call to the driver by another thread had not ended")
STOPPED = Unavailable("the monitor was stopped within the window")
STILL_PAUSED = Unavailable("the monitor was paused within the window, and is so still")
FOREIGN = Unavailable("this process was forked from the one that the monitor runs in")


def _serve(jobs: Jobs) -> None:
    """One job after another until it is told to end. It knows no monitor, so it keeps none alive."""
    while (job := jobs.get()) is not None:
        work, answers = job
        try:
            answers.put((True, work()))
        except BaseException as failure:  # noqa: BLE001 - carried to the caller, who waits for it
            answers.put((False, failure))
        del job, work, answers


def _end(reader: Reader, jobs: Jobs) -> Answers:
    """Let the session and its thread end; waits for nothing."""
    answers: Answers = SimpleQueue()
    jobs.put((reader.close, answers))
    jobs.put(None)
    return answers


class Connection:
    """The devices of one session, read in the driver thread. No method raises for what a driver does."""

    def __init__(
        self, devices: Sequence[object] | None, degraded: Degraded, *, clocks: Clocks, timeout_s: float
    ) -> None:
        self.found: list[Device] = []
        self.failure: Unavailable | None
        self.reader: Reader
        self._devices = devices
        self._degraded = degraded
        self._clocks = clocks
        self._timeout_s = timeout_s
        self._wanted: Wanted | None = None
        self._begin()

    def connect(self) -> None:
        """Initialise NVML and find the devices."""
        self._find(self.reader.open)

    def find_again(self) -> None:
        """Once torch has initialised CUDA it says which devices are meant, and in a job of several which are in use."""
        if self._wanted is None or not self._wanted.provisional:
            return
        with suppress(Unavailable):  # as `_find` will say
            if wanted(self._devices, os.environ) == self._wanted:
                return
        if self.failure is None:
            self._find(self.reader.find)
        elif self.failure.status != "stalled":
            self.abandon()
            self._begin()
            self.connect()

    def ask(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What a method of the reader gives; None where there is nothing to read, and ``failure`` then says why."""
        answer: Any = None
        todo: list[Callable[[], object]] = [partial(job, *args, **kwargs)]
        while todo and self.failure is None:
            answers: Answers = SimpleQueue()  # of its own, so that a late answer misleads nobody
            self._jobs.put((todo[-1], answers))
            try:
                returned, answer = answers.get(timeout=self._timeout_s)
            except Empty:
                self.reader.silent = True
                self._fail(Unavailable("the driver did not return in time", "stalled"))
                return None
            if returned:
                todo.pop()
            elif isinstance(answer, Uninitialised):
                todo.append(self.reader.renew)
            elif isinstance(answer, Unavailable):
                self._fail(answer.with_traceback(None))
            else:
                raise answer
        while self.reader.notes:
            self._degraded.note(*self.reader.notes.pop(0))
        return None if todo else answer

    def unread(self, failure: Unavailable | None, metric: str = "device") -> DeviceReading:
        """Readings of all devices that were not made, and why."""
        why = failure or self.failure or NOTHING_YET
        names = [(one.uuid, one.name) for one in self.found] or [("", "")]
        return joined([unread(why.reason, why.status, metric, uuid=uuid, name=name) for uuid, name in names])

    def close(self) -> None:
        """End the session, within the time-out."""
        hangs = self.failure is not None and self.failure.status == "stalled"
        answers = self.abandon()
        with suppress(Empty):
            answers.get(timeout=0 if hangs else self._timeout_s)
        self.reader.silent = True

    def abandon(self) -> Answers:
        """End the session without waiting, as it ends once nobody holds it."""
        self.failure = self.failure or OVER
        self._finalizer.detach()
        return _end(self.reader, self._jobs)

    def _begin(self) -> None:
        self.failure = None
        self.reader = Reader(self._clocks, self._timeout_s, os.getpid())
        self._jobs: Jobs = SimpleQueue()
        self._finalizer = weakref.finalize(self, _end, self.reader, self._jobs)
        self._finalizer.atexit = False  # at exit the monitor stops it
        threading.Thread(target=_serve, args=(self._jobs,), name="jitwarmup-nvml", daemon=True).start()

    def _find(self, job: Callable[[Wanted], list[Device]]) -> None:
        try:
            self._wanted = wanted(self._devices, os.environ)
            self.found = self.ask(job, self._wanted) or self.found
        except Unavailable as gone:
            self._fail(gone.with_traceback(None))

    def _fail(self, failure: Unavailable) -> None:
        self.failure = failure
        self._degraded.note("device", failure.reason)
