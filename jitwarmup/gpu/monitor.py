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
import os
import weakref
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Literal, Self

from jitwarmup.gpu.binding import Clocks, HostClocks
from jitwarmup.gpu.connection import Connection, Failure
from jitwarmup.gpu.degraded import Degraded, Listener
from jitwarmup.gpu.devices import checked
from jitwarmup.gpu.driver_thread import Turn
from jitwarmup.gpu.reading import joined
from jitwarmup.gpu.windows import BUSY, FOREIGN, OF_THE_WINDOW, OVERLAP, STILL_PAUSED, STOPPED, GPUWindow, cuda_in_use
from jitwarmup.host.fork_safe import Locked
from jitwarmup.records.errors import ArgumentError, MonitorStateError
from jitwarmup.records.runs import DeviceReading

State = Literal["new", "running", "paused", "stopped", "foreign"]

_live: weakref.WeakSet[GPUMonitor] = weakref.WeakSet()


class GPUMonitor(Locked):
    """
    Reads NVIDIA GPUs around timed runs.

    Args:
        devices: An index, ``torch.device``, ``"cuda:0"`` or UUID, or several. None means torch's devices, or, without its
            CUDA, all that CUDA_VISIBLE_DEVICES leaves; under torchrun and accelerate only those of this local rank.
        timeout_s: The longest that a hanging driver can hold anybody up, in seconds, once.
        reset_peak: Whether a window may reset torch's peak of allocated memory, to know its own. Off by default: the
            peak is the user's, and then a window's peak is known only when it is a new one.

    Devices are found by UUID; several give one reading with ``others``. ``on_degraded(metric, reason)`` is called once
    for each thing that cannot be read; whoever sets it late is told what was missed. Of runs that overlap (threads,
    tasks) only those get a reading whose edges disturb no other run; nested windows do.

    Raises `ArgumentError` for arguments that cannot work, `MonitorStateError` for calls in the wrong state.

    """

    def __init__(self, devices: object = None, *, timeout_s: float = 1.0, reset_peak: bool = False) -> None:
        if not timeout_s > 0:
            raise ArgumentError(f"timeout_s: got {timeout_s!r}, wanted seconds above 0")
        super().__init__()
        self._devices: Sequence[object] | None = checked(devices)
        self._timeout_s = float(timeout_s)
        self._reset_peak = reset_peak
        self._clocks: Clocks = HostClocks()
        self._degraded = Degraded()
        self._state: State = "new"
        self._depth = 0
        self._session = 0
        self._keys = 0
        self._link: Connection | None = None
        self._finalizer = weakref.finalize(self, int)  # of a session that there is not yet
        self._open: weakref.WeakKeyDictionary[GPUWindow, int] = weakref.WeakKeyDictionary()
        self._calls = Turn()  # whose turn it is to call the driver; ``_lock`` is never held meanwhile

    @property
    def state(self) -> State:
        """``new``, ``running``, ``paused`` or ``stopped``; ``foreign`` in a process forked from the one it runs in."""
        return "paused" if self._state == "running" and self._depth else self._state

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
        with self._turn() as mine:
            with self._lock:
                if self._state in ("running", "foreign") or self._open:
                    raise self._misuse("start", "new or stopped, with no window open")
                if self._link is not None:  # of windows that were never left
                    self._link.abandon()
                self._state, self._depth, self._session = "running", 0, self._session + 1
                self._link = link = Connection(
                    self._devices, self._degraded, clocks=self._clocks, timeout_s=self._timeout_s
                )
            self._finalizer.detach()
            self._finalizer = weakref.finalize(self, link.abandon)
            self._finalizer.atexit = False  # at exit it is stopped
            _live.add(self)
            if mine:
                link.connect()
            else:
                link.failure = BUSY
        self._degraded.notify()

    def stop(self) -> None:
        """Let go of NVML; legal in every state. While a window is open, NVML is let go at its end."""
        with self._turn():
            with self._lock:
                if self._state != "running":
                    return
                self._state, self._depth = "stopped", 0
                link = None if self._open else self._take_link()
            if link is not None:
                link.close()
        self._degraded.notify()

    def pause(self) -> None:
        """
        Make no call to the driver until `resume`. Pauses are counted.

        Returns with no call in flight; where one does not end within ``timeout_s``, returns all the same and says so.
        """
        with self._turn() as mine:
            with self._lock:
                link = self._demand("pause", "running")
                first, quiet = self._depth == 0, not self._open
            if not mine:
                self._degraded.note("pause", "a call to the driver was still in flight when a pause began")
            elif first and quiet and link is not None:
                link.ask(link.reader.mark)
            with self._lock:
                self._depth += 1
                for window in self._open:
                    window.interrupted = True
        self._degraded.notify()

    def resume(self) -> None:
        """Take one pause back; after the last one the warm-up's power history is compared with the energy counter."""
        with self._turn() as mine:
            with self._lock:
                link = self._demand("resume", "paused")
                self._depth = max(0, self._depth - 1)
                last, quiet = self._depth == 0, not self._open
            if last and quiet and mine and link is not None:
                link.find_again()
                link.ask(link.reader.mark)
        self._degraded.notify()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A pause as a block; `stop` within it is fine."""
        self.pause()
        session = self._session
        try:
            yield
        finally:
            if self._session == session and self._depth:
                self.resume()

    def window(self, name: str) -> GPUWindow:
        """
        A window to read; enter and leave it outside the clock reads.

        Windows named ``measure`` also list the processes on the device and may be followed by a wait of 5 % of
        themselves for the driver's next sample. Entering one while paused or not running is a `MonitorStateError`.
        """
        return GPUWindow(self._enter, self._leave, name, reset_peak=self._reset_peak)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _enter(self, window: GPUWindow) -> None:
        """The edge before a window, unless it would disturb another run."""
        with self._turn() as mine:
            with self._lock:
                link = self._demand("window", "running", deepest=0)
                others = [other for other in self._open if not window.is_within(other)]
                for other in (*others, *([window] if others else ())):
                    other.interrupted = True
                window.session = self._session
                self._keys += 1
                self._open[window] = key = self._keys
            if link is None or others or not mine:
                window.unread = FOREIGN if link is None else OVERLAP if others else BUSY
                return
            try:
                window.peaks.begin([found.torch_index for found in link.found if found.torch_index is not None])
                link.ask(link.reader.begin, key, pids=window.measured)
            except BaseException:  # interrupted: the window is not entered
                self._open.pop(window, None)
                raise
            window.unread = link.failure
        self._degraded.notify()

    def _leave(self, window: GPUWindow) -> DeviceReading | None:
        """The edge after a window and its reading; a reading without values where an edge is missing."""
        with self._turn() as mine:
            with self._lock:
                key = self._open.pop(window, None)
                link = self._link
                why = self._why_unread(window, mine=mine)
                over = self._take_link() if self._state == "stopped" and not self._open else None
            if link is None or key is None:
                return None
            if why is None:
                reading = self._end(window, key, link)
            else:
                reading = link.unread(why, "window" if why in OF_THE_WINDOW else "device")
                if mine and self._state != "foreign":
                    link.ask(link.reader.drop, key)
            if over is not None:
                over.close()
        self._degraded.notify()
        return reading

    def _why_unread(self, window: GPUWindow, *, mine: bool) -> Failure | None:
        """Why there can be no second edge, or was no first one."""
        if self._state == "foreign":
            return FOREIGN
        if window.unread is not None:
            return window.unread
        if window.session != self._session or self._state != "running":
            return STOPPED
        if self._depth:
            return STILL_PAUSED
        if any(not window.is_within(other) for other in self._open):
            return OVERLAP
        return None if mine else BUSY

    def _end(self, window: GPUWindow, key: int, link: Connection) -> DeviceReading:
        readings = link.ask(link.reader.end, key, pids=window.measured, listed=cuda_in_use() is not None)
        if readings is None:
            return link.unread(None)
        indices = {found.uuid: found.torch_index for found in link.found}
        return joined([window.finished(reading, indices.get(reading.uuid)) for reading in readings])

    @contextlib.contextmanager
    def _turn(self) -> Iterator[bool]:
        """Wait for the turn to call the driver, ``timeout_s`` at most; whether it came."""
        mine = self._calls.take(self._timeout_s)
        try:
            yield mine
        finally:
            if mine:
                self._calls.give_back()

    def _demand(self, verb: str, *states: State, deepest: int | None = None) -> Connection | None:
        """The link, if the state allows the verb; None in a forked child, where nothing is done and nothing raised."""
        if self._state == "foreign":
            return None
        allowed = self.running and (self._depth > 0 if states == ("paused",) else True)
        if not allowed or (deepest is not None and self._depth > deepest):
            raise self._misuse(verb, " or ".join(states))
        return self._link

    def _misuse(self, verb: str, wanted: str) -> MonitorStateError:
        hints = {
            "new": "call start(), or use the monitor in a with statement",
            "running": "there is nothing to resume" if verb == "resume" else "it runs already",
            "paused": "resume it first",
            "stopped": "start it again",
            "foreign": "make a GPUMonitor of its own in this process",
        }
        hint = "leave its windows first" if verb == "start" and self._open else hints[self.state]
        return MonitorStateError(f"{verb}: the monitor is {self.state}, wanted {wanted}; {hint}")

    def _take_link(self) -> Connection | None:
        link, self._link = self._link, None
        return link

    def _after_fork(self) -> None:
        """In a forked child: make no call."""
        if self._state == "running":
            self._state = "foreign"
            if self._link is not None:
                self._link.after_fork()


def _after_fork_in_child() -> None:
    for monitor in list(_live):
        monitor._after_fork()


def _stop_all() -> None:
    """At exit: give NVML back, within the time-outs, windows or not."""
    for monitor in list(_live):
        monitor.stop()
        if monitor.state == "stopped" and (link := monitor._take_link()):
            link.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_stop_all)
