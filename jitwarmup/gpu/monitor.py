"""
The GPU monitor: NVIDIA devices by NVML, with no call to the driver between the clock reads of a timed run.

                      start              pause               stop
    NEW ------------------> RUNNING <------------> PAUSED(n) ------> STOPPED --- start ---> RUNNING
                              |         resume
                              +--- window: edge | user code | edge -> DeviceReading

NVML calls take a lock that is global to the driver, so a sampling thread or process disturbs whatever it measures; only
silence does not (evidence/gpu-monitoring.md). So counters that only rise are read before and after a window, and the
driver's own samples of the time between are fetched afterwards.

Nothing that a driver does reaches the user: a failure becomes a status and a reason, a hang costs one ``timeout_s``.
"""

from __future__ import annotations

import atexit
import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Literal, Self

from jitwarmup.gpu.binding import Clocks, Unavailable
from jitwarmup.gpu.connection import BUSY, FOREIGN, OVERLAP, STILL_PAUSED, STOPPED, Connection
from jitwarmup.gpu.degraded import Degraded, Listener
from jitwarmup.gpu.devices import checked, cuda_in_use, peaks_of
from jitwarmup.gpu.reading import INTERRUPTED, as_interrupted, joined, with_peak
from jitwarmup.gpu.shared import SharedMonitor, Turn, Uncounted
from jitwarmup.host.fork_safe import Locked, after_fork_in_child
from jitwarmup.host.scope import RunContext, ancestors, current
from jitwarmup.records.checks import checking, seconds
from jitwarmup.records.errors import MonitorStateError
from jitwarmup.records.runs import DeviceReading

State = Literal["new", "running", "paused", "stopped", "foreign"]

MEASURE = "measure"  # windows of this name list processes, and may be followed by a short wait

_live: weakref.WeakSet[GPUMonitor] = weakref.WeakSet()


class GPUMonitor(Locked, Uncounted):
    """
    Reads NVIDIA GPUs around timed runs.

    Args:
        devices: An index, ``torch.device``, ``"cuda:0"`` or UUID, or several. None means torch's devices, or, without its
            CUDA, all that CUDA_VISIBLE_DEVICES leaves; under torchrun and accelerate only those of this local rank.
        timeout_s: The longest that a hanging driver can hold anybody up, in seconds, once.

    Devices are found by UUID; several give one reading with ``others``. ``on_degraded(metric, reason)`` is called once
    for each thing that cannot be read; whoever sets it late is told what was missed. Of runs that overlap (threads,
    tasks) only those get a reading whose edges disturb no other run; nested windows do.

    Raises `ArgumentError` for arguments that cannot work, `MonitorStateError` for calls in the wrong state.

    """

    def __init__(self, devices: object = None, *, timeout_s: float = 1.0) -> None:
        with checking("GPUMonitor"):
            seconds("timeout_s", timeout_s, optional=False)
            self._devices: Sequence[object] | None = checked(devices)
        super().__init__()
        self._timeout_s = float(timeout_s)
        self._clocks = Clocks()
        self._degraded = Degraded()
        self._state: State = "new"
        self._paused = False
        self._pauses: list[SharedMonitor] = []  # where each pause of the user's is counted
        self._session = 0
        self._link: Connection | None = None
        self._open: weakref.WeakSet[GPUWindow] = weakref.WeakSet()
        self._calls = Turn()  # whose turn it is to call the driver; ``_lock`` is never held meanwhile

    @property
    def state(self) -> State:
        """``new``, ``running``, ``paused`` or ``stopped``; ``foreign`` in a process forked from the one it runs in."""
        return "paused" if self.running and (self._paused or self._pauses) else self._state

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped; a paused monitor runs."""
        return self._state == "running"

    @property
    def degraded(self) -> tuple[tuple[str, str], ...]:
        """What could not be read so far, as (metric, reason)."""
        return self._degraded.seen

    @property
    def on_degraded(self) -> Listener | None:
        """Who is told of (metric, reason), once each."""
        return self._degraded.listener

    @on_degraded.setter
    def on_degraded(self, listener: Listener | None) -> None:
        self._degraded.listener = listener

    def start(self) -> None:
        """Initialise NVML, find the devices and learn what they tell. Where nothing can be read it says so, once."""
        with self._calls.taken(self._timeout_s) as mine:
            with self._lock:
                if self._state in ("running", "foreign") or self._open:
                    raise self._misuse("start", "new or stopped, with no window open")
                if self._link is not None:  # of windows that were never left
                    self._link.abandon()
                self._state, self._session = "running", self._session + 1
                self._paused = SharedMonitor.of(self).paused
                self._link = link = Connection(
                    self._devices, self._degraded, clocks=self._clocks, timeout_s=self._timeout_s
                )
            _live.add(self)
            if mine:
                link.connect()
            else:
                link.failure = BUSY
        self._degraded.notify()

    def stop(self) -> None:
        """Let go of NVML and of pauses; legal in every state. While a window is open, NVML is let go at its end."""
        with self._calls.taken(self._timeout_s):
            with self._lock:
                if not self.running:
                    return
                self._state = "stopped"
                pauses, self._pauses = self._pauses, []
            self._close_if_over()
        for shared in pauses:
            shared.resume(self)
        self._degraded.notify()

    def pause(self) -> None:
        """
        Make no call to the driver until `resume`. Pauses are counted.

        Returns with no call in flight; where one does not end within ``timeout_s``, returns all the same and says so.
        """
        if self._state == "foreign":
            return
        if not self.running:
            raise self._misuse("pause", "running")
        shared = SharedMonitor.of(self)
        shared.pause(self)
        self._pauses.append(shared)

    def resume(self) -> None:
        """Take one pause back; after the last one the warm-up's power history is compared with the energy counter."""
        if self._state == "foreign":
            return
        with self._lock:
            shared = self._pauses.pop() if self.running and self._pauses else None
        if shared is None:
            raise self._misuse("resume", "paused")
        shared.resume(self)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A pause as a block; `stop` within it is fine."""
        self.pause()
        session = self._session
        try:
            yield
        finally:
            if self._session == session and self._pauses:
                self.resume()

    def window(self, name: str) -> GPUWindow:
        """
        A window to read; enter and leave it outside the clock reads.

        Windows named ``measure`` also list the processes on the device and may be followed by a wait of 5 % of
        themselves for the driver's next sample. Entering one while paused or not running is a `MonitorStateError`.
        """
        return GPUWindow(self, name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _turn_to(self, *, paused: bool) -> None:
        """The first pause or the last resume of all has come."""
        with self._calls.taken(self._timeout_s) as mine:
            with self._lock:
                link = self._link if self.running else None
                quiet = not self._open
                self._paused = self._paused and paused
            if link is not None and not mine and paused:
                self._degraded.note("pause", "a call to the driver was still in flight when a pause began")
            elif link is not None and mine and quiet:
                if not paused:
                    link.find_again()
                link.ask(link.reader.mark)
            with self._lock:
                self._paused = paused
                for window in self._open if paused else ():
                    window.interrupted = True
        self._degraded.notify()

    def _admit(self, window: GPUWindow) -> Connection | None:
        """Count the window as open; windows that overlap interrupt each other."""
        with self._lock:
            if self.state not in ("running", "foreign"):
                raise self._misuse("window", "running")
            others = [other for other in self._open if not window.is_within(other)]
            for other in (*others, *([window] if others else ())):
                other.interrupted = True
            self._open.add(window)
            window.session = self._session
            return self._link

    def _dismiss(self, window: GPUWindow, *, mine: bool) -> tuple[Connection | None, Unavailable | None]:
        """The window is open no more; the link if it was, and why there can be no second edge, or was no first one."""
        with self._lock:
            link = self._link if window in self._open else None
            self._open.discard(window)
            why = window.unread or (None if mine else BUSY)
            if self._state == "foreign":
                why = FOREIGN
            elif window.unread is None:
                if window.session != self._session or not self.running:
                    why = STOPPED
                elif self.state == "paused":
                    why = STILL_PAUSED
                elif any(not window.is_within(other) for other in self._open):
                    why = OVERLAP
            return link, why

    def _misuse(self, verb: str, wanted: str) -> MonitorStateError:
        hints = {
            "new": "call start(), or use the monitor in a with statement",
            "running": "it runs already",
            "paused": "resume it first",
            "stopped": "start it again",
            "foreign": "make a GPUMonitor of its own in this process",
        }
        hint = "leave its windows first" if verb == "start" and self._open else hints[self.state]
        if verb == "resume" and self.running:
            hint = "there is nothing to resume"
        return MonitorStateError(f"{verb}: the monitor is {self.state}, wanted {wanted}; {hint}")

    def _close_if_over(self) -> None:
        """End the session once it is stopped and no window is open."""
        with self._lock:
            if self._state != "stopped" or self._open:
                return
            link, self._link = self._link, None
        if link is not None:
            link.close()


class GPUWindow:
    """One window of a `GPUMonitor`, read where that disturbs no other run; ``reading`` is there after the exit."""

    def __init__(self, monitor: GPUMonitor, name: str) -> None:
        self.name = name
        self.reading: DeviceReading | None = None
        self.context = RunContext(window=weakref.ref(self))  # encloses what is entered while this window is open
        self.session = -1
        self.unread: Unavailable | None = None  # why there is no first edge
        self.interrupted = False  # a pause or another run came between
        self._monitor = monitor
        self._peaks: dict[str, int] = {}

    def __enter__(self) -> Self:
        """The edge before the window, unless it would disturb another run."""
        monitor = self._monitor
        self.context.parent = current()
        with monitor._calls.taken(monitor._timeout_s) as mine:
            link = monitor._admit(self)
            self.unread = OVERLAP if self.interrupted else None if mine else BUSY
            if link is not None and self.unread is None:
                try:
                    self._peaks = peaks_of(link.found)
                    link.ask(link.reader.begin, self, pids=self.name == MEASURE)
                except BaseException:  # interrupted: the window is not entered
                    monitor._open.discard(self)
                    raise
                self.unread = link.failure
        monitor._degraded.notify()
        self.context.enter()
        return self

    def __exit__(self, *_: object) -> None:
        """The edge after the window and its reading; a reading without values where an edge is missing."""
        self.context.leave()
        monitor = self._monitor
        with monitor._calls.taken(monitor._timeout_s) as mine:
            link, why = monitor._dismiss(self, mine=mine)
            if link is None:
                return
            if why is None:
                listed = cuda_in_use() is not None
                readings = link.ask(link.reader.end, self, pids=self.name == MEASURE, listed=listed)
                self.reading = link.unread(None) if readings is None else self._finished(readings, link)
            else:
                of_the_window = why in (OVERLAP, BUSY, STOPPED, STILL_PAUSED)
                self.reading = link.unread(why, "window" if of_the_window else "device")
                if mine and why is not FOREIGN:
                    link.ask(link.reader.drop, self)
            monitor._close_if_over()
        monitor._degraded.notify()

    def is_within(self, other: GPUWindow) -> bool:
        """Whether ``other`` encloses this window on purpose: it was open where this one was entered."""
        around = ancestors(self.context.parent)
        return any(context.window is not None and context.window() is other for context in around)

    def _finished(self, readings: Sequence[DeviceReading], link: Connection) -> DeviceReading:
        """Readings with what only this process knows: torch's peaks, and whether the window was interrupted."""
        peaks = peaks_of(link.found)
        whole = joined([with_peak(one, self._peaks.get(one.uuid), peaks.get(one.uuid)) for one in readings])
        return as_interrupted(whole, INTERRUPTED) if self.interrupted else whole


def _silence_child() -> None:
    """In a forked child: make no call."""
    for monitor in list(_live):
        if monitor.running:
            monitor._state = "foreign"
            if monitor._link is not None:
                monitor._link.failure = FOREIGN


def _stop_all() -> None:
    """At exit: give NVML back, within the time-outs, windows or not."""
    for monitor in list(_live):
        monitor._open.clear()
        monitor.stop()
        monitor._close_if_over()


after_fork_in_child(_silence_child)
atexit.register(_stop_all)
