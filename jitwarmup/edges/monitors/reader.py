"""
All that is asked of NVML: devices, edges, the driver's own samples. Runs behind a guard, in one thread at a time.

`Reader` serves every mode: in this process behind its guard thread, or in the sampler's process. No method raises for
what a driver answers, except `Reader.open` (`Unavailable`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from jitwarmup.edges.monitors.asker import Uninitialised
from jitwarmup.edges.monitors.binding import Binding, Unavailable, conflict, load
from jitwarmup.edges.monitors.clocks import Clocks
from jitwarmup.edges.monitors.devices import Device, Wanted, resolve
from jitwarmup.edges.monitors.meter import Meter
from jitwarmup.edges.monitors.reading import Edge, reading_of, unread
from jitwarmup.model.runs import DeviceReading

SLOW_EDGE_NS = 50_000_000
WAIT_SHARE = 0.05  # a measured window may be followed by a wait of this share of it, for the driver's next sample


@dataclass(slots=True)
class Window:
    """An open window: the edge it began with, per device, and what a sampler saw within it."""

    before: list[Edge]
    samples: list[list[tuple[int, float]]] = field(default_factory=list)


class Reader:
    """NVML, its devices and their open windows. ``notes`` collects what degraded, as (metric, reason)."""

    def __init__(self, clocks: Clocks, timeout_s: float, own_pid: int) -> None:
        self.notes: list[tuple[str, str]] = []
        self._clocks = clocks
        self._timeout_ns = round(timeout_s * 1e9)
        self._own_pid = own_pid
        self._binding: Binding | None = None
        self._wanted = Wanted(None)
        self._meters: list[Meter] = []
        self._windows: dict[int, Window] = {}
        self._dead: str | None = None
        self._renewed = False

    def open(self, wanted: Wanted) -> list[Device]:
        """Initialise NVML, find the devices, learn what they can tell; `Unavailable` when there is nothing to read."""
        binding = Binding(load())
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
        self._meters = [Meter(self._binding, device, self._clocks, self.notes) for device in devices]
        try:
            for meter in self._meters:
                meter.probe(self._budget(0.8))
        except Uninitialised:
            raise Unavailable("somebody else shut NVML down") from None
        return list(devices)

    def begin(self, key: int, *, pids: bool) -> None:
        """The edge before a window."""
        edges = self._each(lambda meter: meter.begin(self._budget(0.25), self._budget(0.5), pids=pids))
        self._windows[key] = Window(edges, [[] for _ in edges])
        for edge in edges:  # of several devices, no call of one lies within the window of another
            edge.at_ns, edge.calls = self._clocks.now_ns(), self._calls

    def end(self, key: int, *, pids: bool, listed: bool) -> list[DeviceReading]:
        """The edge after a window, and its readings, one a device. In measured windows a sample is waited for."""
        at_ns, calls = self._clocks.now_ns(), self._calls
        window = self._windows.pop(key, None)
        if window is None or len(window.before) != len(self._meters):
            return [unread(self._dead or "the devices were found anew within the window", "unavailable")]
        edges = self._each(lambda meter: meter.end(self._budget(0.5), pids=pids))
        for edge in edges:
            edge.at_ns, edge.calls = at_ns, calls
        if len(edges) != len(window.before):
            return [unread(self._dead or "NVML was initialised anew within the window", "unavailable")]
        try:
            return [
                self._completed(meter, before, after, samples, pids=pids, listed=listed)
                for meter, before, after, samples in zip(
                    self._meters, window.before, edges, window.samples, strict=True
                )
            ]
        except Uninitialised:
            self._renew()
            return [unread(self._dead or "NVML was initialised anew after the window", "unavailable")]

    def drop(self, key: int) -> None:
        """Forget a window without an edge."""
        window = self._windows.pop(key, None)
        if window is not None:
            for meter, edge in zip(self._meters, window.before, strict=False):
                meter.release(edge)

    def mark(self) -> None:
        """Bring the power histories up to date and compare them with the counters."""
        self._each(lambda meter: meter.mark(self._budget(0.5)))

    def sample(self) -> None:
        """One batched call per device; its power goes to every open window."""
        try:
            seen = [meter.sample(self._budget(0.5)) for meter in self._meters]
        except Uninitialised:
            self._renew()
            return
        for window in self._windows.values():
            for samples, sample in zip(window.samples, seen, strict=False):
                if sample is not None:
                    samples.append(sample)

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

    def _completed(
        self, meter: Meter, before: Edge, after: Edge, samples: list[tuple[int, float]], *, pids: bool, listed: bool
    ) -> DeviceReading:
        """The reading of one device, once the driver's samples were fetched."""
        patience_ns = round(WAIT_SHARE * (after.at_ns - before.at_ns)) if pids else 0
        activity = meter.complete(before, after, after.at_ns + patience_ns, self._budget(0.5))
        device = meter.device
        return reading_of(
            meter.span(before, after, samples, activity),
            uuid=device.uuid,
            name=device.name,
            clock_max_mhz=device.sm_clock_max_mhz,
            own_pid=self._own_pid,
            listed=listed,
        )

    def _budget(self, share: float) -> int:
        """Until when calls may be started: a slow driver loses its later metrics, not the guard's patience."""
        return time.perf_counter_ns() + round(self._timeout_ns * share / max(1, len(self._meters)))

    def _each(self, look: Callable[[Meter], Edge]) -> list[Edge]:
        """The same look at every device; empty once NVML is gone. Somebody else's shutdown is mended once."""
        if self._dead:
            return []
        started = time.perf_counter_ns()
        try:
            edges = [look(meter) for meter in self._meters]
        except Uninitialised:
            return self._each(look) if self._renew() else []
        if time.perf_counter_ns() - started > SLOW_EDGE_NS:
            self.notes.append(("edge", "the driver is slow: reading an edge took more than 50 ms"))
        return edges

    def _renew(self) -> bool:
        """Initialise NVML again, once; windows that were open lose their first edge."""
        if self._renewed or self._binding is None:
            self._dead = "somebody else shut NVML down, again"
            self.notes.append(("device", self._dead))
            return False
        self._renewed = True
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
