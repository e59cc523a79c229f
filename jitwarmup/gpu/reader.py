"""
All that is asked of NVML: devices, edges, the driver's own samples; only ever in the one driver thread.

`open`, `find` and `renew` raise `Unavailable`, the others only `Uninitialised`, when somebody else shut NVML down.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from jitwarmup.gpu.binding import Binding, Clocks, Unavailable, conflict, load
from jitwarmup.gpu.device_reader import DeviceReader
from jitwarmup.gpu.devices import Device, Wanted, resolve
from jitwarmup.gpu.power_history import Uninitialised
from jitwarmup.gpu.reading import Edge, reading_of, unread
from jitwarmup.records.runs import DeviceReading

SLOW_SHARE, LEAST_SLOW_NS = (
    0.02,
    50_000_000,
)  # of the monitor's time-out: who allows a driver more time allows its edges more
WAIT_SHARE = 0.05  # a measured window may be followed by a wait of this share of it, for the driver's next sample


@dataclass(slots=True)
class OpenWindow:
    """An open window: the edge it began with, per device, and (once it is ending) when it ended, after how many calls."""

    before: list[Edge]
    ended: tuple[int, int] | None = None


class Reader:
    """NVML, its devices and their open windows. ``notes`` collects what degraded, as (metric, reason)."""

    def __init__(self, clocks: Clocks, timeout_s: float, own_pid: int) -> None:
        self.notes: list[tuple[str, str]] = []
        self.silent = False  # set by another thread when nobody waits any more
        self._clocks = clocks
        self._timeout_ns = round(timeout_s * 1e9)
        self._own_pid = own_pid
        self._binding: Binding | None = None
        self._wanted = Wanted(None)
        self._readers: list[DeviceReader] = []
        self._windows: weakref.WeakKeyDictionary[object, OpenWindow] = weakref.WeakKeyDictionary()
        self._renewed = False
        self._began_ns = 0

    def open(self, wanted: Wanted) -> list[Device]:
        """Initialise NVML, find the devices, learn what they can tell; `Unavailable` when there is nothing to read."""
        binding = Binding(load(), lambda: self.silent)
        if result := conflict():
            self.notes.append(("binding", result))
        binding.init()
        self._binding = binding
        try:
            return self.find(wanted)
        except Unavailable:
            self.close()
            raise

    def find(self, wanted: Wanted) -> list[Device]:
        """Find (other) devices with NVML initialised; open windows are given up."""
        if self._binding is None:
            raise Unavailable("NVML is not initialised")
        self._wanted = wanted
        devices = resolve(self._binding, wanted)
        self._drop_readers()
        self._readers = [DeviceReader(self._binding, device, self._clocks, self.notes) for device in devices]
        try:
            self._began_ns = time.perf_counter_ns()
            for place, reader in enumerate(self._readers):
                reader.probe(self._until(0.5, place))
        except Uninitialised:
            raise Unavailable("somebody else shut NVML down") from None
        return devices

    def begin(self, window: object, *, pids: bool) -> None:
        """The edge before a window, which is held weakly."""
        edges = []
        for reader, soon, late in self._turns(0.25, 0.5):
            edges.append(reader.begin(soon, late, pids=pids))
        self._windows[window] = OpenWindow(edges)
        for edge in edges:  # of several devices, no call of one lies within the window of another
            edge.at_ns, edge.calls = self._clocks.now_ns(), self._readers[0].binding.calls

    def end(self, window: object, *, pids: bool, listed: bool) -> list[DeviceReading]:
        """The edge after a window, and its readings, one a device. In measured windows a sample is waited for."""
        opened = self._windows.get(window)
        if opened is None or len(opened.before) != len(self._readers):
            return [unread("the devices were found anew within the window", "unavailable")]
        opened.ended = at_ns, calls = opened.ended or (self._clocks.now_ns(), self._readers[0].binding.calls)
        edges = []
        for reader, soon, _ in self._turns(0.35, 0.35):
            edges.append(edge := reader.end(soon, pids=pids))
            edge.at_ns, edge.calls = at_ns, calls
        readings = []
        for place, (reader, before, after) in enumerate(zip(self._readers, opened.before, edges, strict=True)):
            wait_ns = min(round(WAIT_SHARE * (at_ns - before.at_ns)), self._timeout_ns // 4) if pids else 0
            reader.until_ns = self._until(0.2, place) + self._timeout_ns // 3
            activity = reader.activity(before, after)
            reader.power.complete(before, after, at_ns + wait_ns)
            span = reader.span(before, after, activity)
            readings.append(reading_of(span, reader.device, own_pid=self._own_pid, listed=listed))
        del self._windows[window]
        return readings

    def drop(self, window: object) -> None:
        """Forget a window without an edge."""
        if opened := self._windows.pop(window, None):
            for reader, edge in zip(self._readers, opened.before, strict=False):
                reader.release(edge)

    def mark(self) -> None:
        """Bring the power histories up to date and compare them with the counters."""
        for reader, soon, _ in self._turns(0.5, 0.5):
            reader.mark(soon)

    def renew(self) -> None:
        """Initialise NVML again, once, after somebody else shut it down; `Unavailable` when that does not help."""
        if self._renewed or self._binding is None:
            raise Unavailable("somebody else shut NVML down, again")
        self._renewed = True
        for edge in (edge for opened in self._windows.values() for edge in opened.before):
            edge.gpm_sample = None  # what NVML held for open windows is gone
        self.notes.append(("device", "somebody else shut NVML down; it was initialised again"))
        try:
            self._binding.init()
            self._readers.clear()
            self.find(self._wanted)
        except Unavailable as gone:
            raise Unavailable(f"NVML could not be initialised again: {gone}") from None

    def close(self) -> None:
        """Free what was taken and give the initialisation back."""
        self._windows.clear()
        self._drop_readers()
        if self._binding is not None:
            self._binding.shutdown()
            self._binding = None

    def _until(self, share: float, place: int) -> int:
        """Until when (host clock) one device may be asked: a slow driver loses metrics, not the thread's time-out."""
        parts = (place + 1) / max(1, len(self._readers))
        return self._began_ns + round(self._timeout_ns * share * parts)

    def _turns(self, soon: float, late: float) -> Iterator[tuple[DeviceReader, int, int]]:
        """Each device, and until when (host clock) it may be asked: first for the rest, then for the counters."""
        self._began_ns = time.perf_counter_ns()
        for place, reader in enumerate(self._readers):
            yield reader, self._until(soon, place), self._until(late, place)
        slow_ns = max(LEAST_SLOW_NS, SLOW_SHARE * self._timeout_ns)
        if time.perf_counter_ns() - self._began_ns > slow_ns:
            self.notes.append(("edge", f"the driver is slow: reading an edge took more than {slow_ns / 1e6:.0f} ms"))

    def _drop_readers(self) -> None:
        with suppress(Uninitialised):
            for reader in self._readers:
                reader.close()
        self._readers.clear()
