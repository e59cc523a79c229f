"""
All that is asked of NVML: devices, edges, the driver's own samples; only ever in the one driver thread.

No method raises for what a driver answers, except `Reader.open` and `Reader.find` (`Unavailable`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from jitwarmup.gpu.binding import Binding, Clocks, Unavailable, conflict, load
from jitwarmup.gpu.device_reader import DeviceReader
from jitwarmup.gpu.devices import Device, Wanted, resolve
from jitwarmup.gpu.power_history import Uninitialised
from jitwarmup.gpu.reading import Edge, reading_of, unread
from jitwarmup.records.runs import DeviceReading

SLOW_EDGE_NS = 50_000_000
WAIT_SHARE = 0.05  # a measured window may be followed by a wait of this share of it, for the driver's next sample


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
        self._meters: list[DeviceReader] = []
        self._windows: dict[int, list[Edge]] = {}  # open windows: the edge each began with, per device
        self._dead: str | None = None
        self._renewed = False
        self._began_ns = 0

    def open(self, wanted: Wanted) -> list[Device]:
        """Initialise NVML, find the devices, learn what they can tell; `Unavailable` when there is nothing to read."""
        binding = Binding(load(), lambda: self.silent)
        if told := conflict():
            self.notes.append(("binding", told))
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
        self._drop_meters()
        self._meters = [DeviceReader(self._binding, device, self._clocks, self.notes) for device in devices]
        try:
            self._began_ns = time.perf_counter_ns()
            for place, meter in enumerate(self._meters):
                meter.probe(self._until(0.5, place))
        except Uninitialised:
            raise Unavailable("somebody else shut NVML down") from None
        return list(devices)

    def begin(self, key: int, *, pids: bool) -> None:
        """The edge before a window."""
        edges = self._each(lambda meter, soon, late: meter.begin(soon, late, pids=pids), 0.25, 0.5)
        self._windows[key] = edges
        for edge in edges:  # of several devices, no call of one lies within the window of another
            edge.at_ns, edge.calls = self._clocks.now_ns(), self._calls

    def end(self, key: int, *, pids: bool, listed: bool) -> list[DeviceReading]:
        """The edge after a window, and its readings, one a device. In measured windows a sample is waited for."""
        at_ns, calls = self._clocks.now_ns(), self._calls
        known = key in self._windows
        edges = self._each(lambda meter, soon, _: meter.end(soon, pids=pids), 0.35, 0.35) if known else []
        begun = self._windows.pop(key, [])
        for edge in edges:
            edge.at_ns, edge.calls = at_ns, calls
        if not edges or len(edges) != len(begun):
            return [unread(self._dead or "the devices were found anew within the window", "unavailable")]
        try:
            return [
                self._completed(place, before, after, pids=pids, listed=listed)
                for place, (before, after) in enumerate(zip(begun, edges, strict=True))
            ]
        except Uninitialised:
            self._renew()
            return [unread(self._dead or "NVML was initialised anew after the window", "unavailable")]

    def drop(self, key: int) -> None:
        """Forget a window without an edge."""
        for meter, edge in zip(self._meters, self._windows.pop(key, []), strict=False):
            meter.release(edge)

    def mark(self) -> None:
        """Bring the power histories up to date and compare them with the counters."""
        self._each(lambda meter, soon, _: meter.mark(soon), 0.5, 0.5)

    def close(self) -> None:
        """Free what was taken and give the initialisation back."""
        self._windows.clear()
        self._drop_meters()
        if self._binding is not None:
            self._binding.shutdown()
            self._binding = None

    def take_notes(self) -> list[tuple[str, str]]:
        """What degraded since the last time."""
        taken = self.notes[:]
        del self.notes[: len(taken)]
        return taken

    @property
    def _calls(self) -> int:
        return self._binding.calls if self._binding else 0

    def _completed(self, place: int, before: Edge, after: Edge, *, pids: bool, listed: bool) -> DeviceReading:
        """The reading of one device, once the driver's samples were fetched."""
        patience_ns = min(round(WAIT_SHARE * (after.at_ns - before.at_ns)), self._timeout_ns // 4) if pids else 0
        meter = self._meters[place]
        activity = meter.complete(
            before, after, after.at_ns + patience_ns, self._until(0.2, place) + self._timeout_ns // 3
        )
        device = meter.device
        return reading_of(
            meter.span(before, after, activity),
            uuid=device.uuid,
            name=device.name,
            clock_max_mhz=device.sm_clock_max_mhz,
            own_pid=self._own_pid,
            listed=listed,
        )

    def _until(self, share: float, place: int) -> int:
        """
        Until when (host clock) calls may be started for one of the devices, at ``share`` of the time-out.

        A slow driver loses its later metrics by this, and not the guard's patience.
        """
        parts = (place + 1) / max(1, len(self._meters))
        return self._began_ns + round(self._timeout_ns * share * parts)

    def _each(self, look: Callable[[DeviceReader, int, int], Edge], soon: float, late: float) -> list[Edge]:
        """The same look at every device; empty once NVML is gone. Somebody else's shutdown is mended once."""
        if self._dead:
            return []
        self._began_ns = time.perf_counter_ns()
        try:
            edges = [look(meter, self._until(soon, n), self._until(late, n)) for n, meter in enumerate(self._meters)]
        except Uninitialised:
            return self._each(look, soon, late) if self._renew() else []
        if time.perf_counter_ns() - self._began_ns > SLOW_EDGE_NS:
            self.notes.append(("edge", "the driver is slow: reading an edge took more than 50 ms"))
        return edges

    def _renew(self) -> bool:
        """Initialise NVML again, once; windows that were open lose their first edge."""
        if self._renewed or self._binding is None:
            self._dead = "somebody else shut NVML down, again"
            self.notes.append(("device", self._dead))
            return False
        self._renewed = True
        for edge in (edge for edges in self._windows.values() for edge in edges):
            edge.look = None  # it went with the NVML that was shut down
        self.notes.append(("device", "somebody else shut NVML down; it was initialised again"))
        try:
            self._binding.init()
            self._meters.clear()
            self.find(self._wanted)
        except Unavailable as gone:
            self._dead = f"NVML could not be initialised again: {gone}"
            return False
        return True

    def _drop_meters(self) -> None:
        with suppress(Uninitialised):
            for meter in self._meters:
                meter.close()
        self._meters.clear()
