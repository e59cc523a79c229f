"""
One GPU: what it can tell, an edge before and after a window, and what its driver kept of the time between.

Field ids are given by number, and only from 74-83 and 185-192: 25 of the other names changed their number between
releases of nvidia-ml-py (evidence/gpu-monitoring.md 4).
"""

from __future__ import annotations

from typing import Any

from jitwarmup.gpu.binding import Binding, Clocks
from jitwarmup.gpu.devices import SM_CLOCK, Device
from jitwarmup.gpu.power_history import ENERGY, POWER_NOW, QUIET, STALE_NS, DeviceQuery, PowerHistory
from jitwarmup.gpu.reading import Edge, Span, reasons_of

LIMITS = {74: "power", 75: "thermal", 76: "sync_boost", 77: "board", 78: "low_utilization", 79: "reliability"}  # ns
ACTIVITY = {2: "sm_active_pct", 5: "tensor_active_pct", 10: "dram_bw_pct"}  # NVML_GPM_METRIC_*
SHORTEST_ACTIVITY_NS = 100_000_000  # two GPM samples must be this far apart

# Values of the moment: the reading's field -> ways to ask for it, of which the first that this driver has is kept.
MOMENTARY: dict[str, tuple[tuple[Any, ...], ...]] = {
    "temperature_c": (("nvmlDeviceGetTemperatureV", 0), ("nvmlDeviceGetTemperature", 0)),
    "sm_clock_mhz": (("nvmlDeviceGetClockInfo", SM_CLOCK),),
    "reasons_at_edges": (("nvmlDeviceGetCurrentClocksEventReasons",), ("nvmlDeviceGetCurrentClocksThrottleReasons",)),
    "memory_used_bytes": (("nvmlDeviceGetMemoryInfo",),),
    "other_pids": (("nvmlDeviceGetComputeRunningProcesses",),),
}
OF_INSTANCE = ("memory_used_bytes", "other_pids")


class DeviceReader(DeviceQuery):
    """A device and what was learnt of it. A metric that is not supported or not permitted is asked for only once."""

    def __init__(self, binding: Binding, device: Device, clocks: Clocks, notes: list[tuple[str, str]]) -> None:
        super().__init__(binding, device, notes)
        self._clocks = clocks
        self._ways: dict[str, tuple[Any, ...]] = {}
        self._fields: list[tuple[int, int]] = []
        self._gpm_samples: list[Any] = []
        self.power = PowerHistory(self, clocks)

    def probe(self, until_ns: int) -> None:
        """Learn what this device can tell."""
        self.until_ns = until_ns
        for metric, ways in MOMENTARY.items():
            self._choose(metric, ways)
        self._probe_fields()
        edge = Edge()
        support = self.ask(edge, "gpm", "nvmlGpmQueryDeviceSupport", self.device.handle)  # on Hopper and newer
        if support is None or not support.isSupportedDevice:
            self.off["gpm"] = edge.missing.get("gpm", "NOT_SUPPORTED")
        self.mark(until_ns)
        self.probing = False
        self.notes.extend((metric, reason) for metric, reason in self.off.items() if metric not in QUIET)

    def begin(self, until_ns: int, late_ns: int, *, pids: bool) -> Edge:
        """The edge before a window: the counters last, so next to it; they alone are asked for until ``late_ns``."""
        self.until_ns = until_ns
        edge = Edge()
        self._read_momentary(edge, pids=pids)
        self._take_gpm_sample(edge)
        self.power.fetch(edge, older_than_ns=STALE_NS)
        self.until_ns = late_ns
        self._read_counters(edge)
        self.power.align(edge)
        return edge

    def end(self, until_ns: int, *, pids: bool) -> Edge:
        """The edge after a window: the counters first."""
        self.until_ns = until_ns
        edge = Edge()
        self._read_counters(edge)
        self._take_gpm_sample(edge)
        self._read_momentary(edge, pids=pids)
        return edge

    def span(self, before: Edge, after: Edge, activity: dict[str, float]) -> Span:
        """All that was seen of a window."""
        if self.device.shared:
            after.missing["shared_device"] = "energy, power and limits are of the whole GPU, which instances share"
        return Span(
            before,
            after,
            self.power.history,
            check=self.power.counter_check.last,
            activity=activity,
            limit_w=self.device.power_limit_w,
            ring_off=self.off.get("ring"),
        )

    def mark(self, until_ns: int) -> None:
        """Bring the power history up to date and compare it with the counter."""
        self.until_ns = until_ns
        edge = Edge()
        self._read_counters(edge)
        self.power.fetch(edge)
        self.power.compare(edge)

    def release(self, edge: Edge) -> None:
        """Take back the GPM sample of an edge."""
        if edge.gpm_sample is not None:
            self._gpm_samples.append(edge.gpm_sample)
            edge.gpm_sample = None

    def close(self) -> None:
        """Free the GPM samples."""
        for gpm_sample in self._gpm_samples:
            self.ask(Edge(), "gpm", "nvmlGpmSampleFree", gpm_sample)
        self._gpm_samples.clear()

    def _choose(self, metric: str, ways: tuple[tuple[Any, ...], ...]) -> None:
        """Keep the first way that this driver and this binding have."""
        of_instance = self.device.mig_handle if metric in OF_INSTANCE else None
        handle = of_instance or self.device.handle
        for function, *rest in ways:
            self._ways[metric] = (function, handle, *rest)
            self.off.pop(metric, None)
            edge = Edge()
            self.ask(edge, metric, *self._ways[metric])
            if edge.missing.get(metric) != "FUNCTION_NOT_FOUND":
                return

    def _read_momentary(self, edge: Edge, *, pids: bool) -> None:
        known: dict[str, Any] = {}
        for metric in MOMENTARY:
            if pids or metric != "other_pids":
                known[metric] = self.ask(edge, metric, *self._ways[metric])
        edge.temperature_c = known["temperature_c"]
        edge.sm_clock_mhz = known["sm_clock_mhz"]
        bits, processes = known["reasons_at_edges"], known.get("other_pids")
        edge.reasons = None if bits is None else reasons_of(bits)
        edge.memory_used_bytes = getattr(known["memory_used_bytes"], "used", None)
        edge.pids = None if processes is None else tuple(process.pid for process in processes)

    def _probe_fields(self) -> None:
        """Which fields this driver has; without the batched call, energy has a call of its own and limits have none."""
        edge = Edge()
        wanted = [*LIMITS, ENERGY, POWER_NOW]
        answers = self.ask(edge, "fields", "nvmlDeviceGetFieldValues", self.device.handle, [(id_, 0) for id_ in wanted])
        codes = {answer.fieldId: answer.nvmlReturn for answer in answers or ()}
        known = [id_ for id_ in wanted if codes.get(id_) == 0]
        self._fields = [(id_, 0) for id_ in known]
        if not LIMITS.keys() & set(known):
            refused = next((self.binding.code(codes[id_]) for id_ in LIMITS if id_ in codes), "UNKNOWN")
            self.off["throttled_s"] = edge.missing.get("fields", refused)
        if ENERGY not in known:
            self._choose("energy_j", (("nvmlDeviceGetTotalEnergyConsumption",),))

    def _read_counters(self, edge: Edge) -> None:
        """One batched call: energy, time under each limit, power now."""
        edge.counter_ns = self._clocks.now_ns()
        known = self.fields(edge, "fields", self._fields) if self._fields else {}
        if "energy_j" in self._ways:
            edge.counter_mj = self.ask(edge, "energy_j", *self._ways["energy_j"])
        elif ENERGY in known:
            edge.counter_mj = int(known[ENERGY])
        edge.limits_ns = {name: int(known[id_]) for id_, name in LIMITS.items() if id_ in known}
        edge.power_w = known[POWER_NOW] / 1e3 if POWER_NOW in known else None
        # a batched call that failed leaves several metrics without a value: give each the reason
        reason = edge.missing.pop("fields", "refused in the batched call")
        if edge.counter_mj is None and "energy_j" not in edge.missing:
            edge.missing["energy_j"] = reason
            edge.passing.add("energy_j")
        if not edge.limits_ns:
            edge.missing["throttled_s"] = self.off.get("throttled_s", reason)
            if "throttled_s" not in self.off:
                edge.passing.add("throttled_s")

    def _take_gpm_sample(self, edge: Edge) -> None:
        """A GPM sample, to be compared with the one at the other edge."""
        gpm_sample = self._gpm_samples.pop() if self._gpm_samples else self.ask(edge, "gpm", "nvmlGpmSampleAlloc")
        if gpm_sample is None:
            return
        if self.device.mig_instance is None:
            taken = self.ask(edge, "gpm", "nvmlGpmSampleGet", self.device.handle, gpm_sample)
        else:
            arguments = (self.device.handle, self.device.mig_instance, gpm_sample)
            taken = self.ask(edge, "gpm", "nvmlGpmMigSampleGet", *arguments)
        if taken is None:
            self._gpm_samples.append(gpm_sample)
        else:
            edge.gpm_sample = gpm_sample

    def activity(self, before: Edge, after: Edge) -> dict[str, float]:
        """How busy SMs, tensor cores and memory were between two edges, whose GPM samples are taken back."""
        reason = before.missing.pop("gpm", None) or after.missing.pop("gpm", None)
        after.missing.pop("gpm", None)
        known: dict[str, float] = {}
        if before.gpm_sample is not None and after.gpm_sample is not None:
            if after.at_ns - before.at_ns < SHORTEST_ACTIVITY_NS:
                reason = "the window is shorter than 100 ms"
            else:
                known, reason = self._compare_gpm_samples(before.gpm_sample, after.gpm_sample)
        self.release(before)
        self.release(after)
        for name in ACTIVITY.values():
            if name not in known:
                after.missing[name] = reason or "NOT_SUPPORTED"
        return known

    def _compare_gpm_samples(self, first: Any, second: Any) -> tuple[dict[str, float], str | None]:
        module = self.binding.module
        get = module.c_nvmlGpmMetricsGet_t()
        get.version, get.numMetrics = module.NVML_GPM_METRICS_GET_VERSION, len(ACTIVITY)
        get.sample1, get.sample2 = first, second
        for place, number in enumerate(ACTIVITY):
            get.metrics[place].metricId = number
        edge = Edge()
        self.ask(edge, "gpm", "nvmlGpmMetricsGet", get)
        if "gpm" in edge.missing:
            return {}, edge.missing["gpm"]
        metrics = [get.metrics[place] for place in range(len(ACTIVITY))]
        return {ACTIVITY[metric.metricId]: metric.value for metric in metrics if not metric.nvmlReturn}, None
