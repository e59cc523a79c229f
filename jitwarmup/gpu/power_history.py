"""
How one device is asked, and its power over time: the driver's samples, and the energy counter freed of its steps.

The counter moves every 100 ms, so alone it is off by up to 100 ms of power at each end of a window. After a measured
window too long for the driver's ring, the next step is waited for: the moment it comes, the counter is exact, and the
samples tell the energy between that *anchor* and the end of this window, and the begin of the next.
"""

from __future__ import annotations

import time
from typing import Any

from jitwarmup.gpu.binding import LASTING, LOST, Binding, Clocks, Refused
from jitwarmup.gpu.devices import Device
from jitwarmup.gpu.energy import CounterCheck, Energy, Moment, SampleHistory, Samples, clock_of
from jitwarmup.gpu.reading import Edge

ENERGY, POWER_NOW = 83, 186  # millijoules since the driver was loaded; milliwatts
QUIET = frozenset(("sm_active_pct", "tensor_active_pct", "dram_bw_pct", "ring"))  # newer GPUs only: no warning
TOO_SLOW = "not asked: the driver is too slow"
RING = 0  # NVML_TOTAL_POWER_SAMPLES
STALE_NS = 1_500_000_000  # a history not looked after for this long is about to lose samples: the ring holds 2.4 s
STEP_NS = 110_000_000  # within this time the counter moves
POLL_S = 0.001
SETTLE_NS = 1_000_000  # a sample is there a little after its time


class Uninitialised(Exception):  # noqa: N818 - a state, expressed by raising
    """Somebody else shut NVML down."""


class DeviceQuery:
    """
    Asks one device. ``off`` maps a metric to why it is not asked for any more, ``lost`` says that the device is gone.

    ``until_ns`` (host clock) is when the budget of the edge in the making is spent: what is then still to be asked is
    left out, so that a slow driver costs late metrics and not the time-out of the driver thread.
    """

    def __init__(self, binding: Binding, device: Device, notes: list[tuple[str, str]]) -> None:
        self.device = device
        self.binding = binding
        self.notes = notes
        self.off: dict[str, str] = {}
        self.lost: str | None = None
        self.until_ns = 0
        self.probing = True  # nobody knows yet what the device can tell: a refusal is no loss
        self._noted: set[tuple[str, str]] = set()

    def ask(self, edge: Edge, metric: str, function: str, *arguments: Any) -> Any:
        """NVML's answer; or None, with the reason in ``edge.missing`` under the metric's name."""
        if not self._worth_asking(edge, metric):
            return None
        try:
            return self.binding.function(function)(*arguments)  # and not `ask`: few functions between run and driver
        except Exception as failure:  # noqa: BLE001 - whatever the binding raises is a refusal
            self._refuse(edge, metric, self.binding.refusal(failure))
            return None

    def fields(self, edge: Edge, metric: str, ids: list[tuple[int, int]]) -> dict[int, float]:
        """The values of several fields in one call, without those that the driver refused; by field id."""
        answers = self.ask(edge, metric, "nvmlDeviceGetFieldValues", self.device.handle, ids)
        return {
            answer.fieldId: number_of(answer.valueType, answer.value)
            for answer in answers or ()
            if not answer.nvmlReturn
        }

    def _refuse(self, edge: Edge, metric: str, refused: Refused) -> None:
        """Note it: for this edge, or for good."""
        code = refused.code
        if code == "UNINITIALIZED":
            raise Uninitialised from None
        edge.missing[metric] = code
        if code in LOST:
            self.lost, edge.lost = code, True
            self.notes.append(("device", code))
        elif code in LASTING.split():
            self.off[metric] = code
        else:
            edge.passing.add(metric)
        if not self.probing and not edge.lost and metric not in QUIET and (metric, code) not in self._noted:
            self._noted.add((metric, code))  # once, though it may be refused at every edge
            self.notes.append(("energy_j" if metric == "fields" else metric, code))

    def _worth_asking(self, edge: Edge, metric: str) -> bool:
        """Whether the device is there, can tell this, and there is time left to ask."""
        if self.lost:
            edge.lost = True
            edge.missing[metric] = self.lost
        elif metric in self.off:
            edge.missing[metric] = self.off[metric]
        elif time.perf_counter_ns() > self.until_ns:
            edge.missing[metric] = TOO_SLOW
            edge.passing.add(metric)
        else:
            return True
        return False


class PowerHistory:
    """History and counter of one device."""

    def __init__(self, query: DeviceQuery, clocks: Clocks) -> None:
        self.history = SampleHistory()
        self.counter_check = CounterCheck()
        self._query = query
        self._clocks = clocks
        self._clock: str | None = None
        self._last_stamp_us = 0
        self._fetched_ns = 0
        self._anchor: tuple[int, Energy] | None = None

    def fetch(self, edge: Edge, *, older_than_ns: int = -1) -> None:
        """Fetch the new samples, if the last fetch is older than this; an idle GPU has none, which is no failure."""
        now_ns = self._clocks.now_ns()
        if now_ns - self._fetched_ns <= older_than_ns:
            return
        self._fetched_ns = now_ns
        scratch = Edge()
        handle = self._query.device.handle
        answer = self._query.ask(scratch, "ring", "nvmlDeviceGetSamples", handle, RING, self._last_stamp_us)
        reason = scratch.missing.get("ring")
        if reason is not None and reason not in ("NOT_FOUND", "NO_DATA"):
            edge.missing["ring"] = reason
            edge.lost = scratch.lost
        if samples := _numbers(answer, self._last_stamp_us):
            self.history.add(self._placed(samples))

    def compare(self, edge: Edge) -> None:
        """The history against the counter as read at this edge."""
        if edge.counter_mj is None or "ring" in self._query.off:
            return
        before = self.counter_check.last
        self.counter_check.note(self.history, edge.counter_ns, edge.counter_mj)
        check = self.counter_check.last
        if check and not check.agrees and (before is None or before.agrees):
            self._query.notes.append(("ring", "the driver's power samples do not agree with its energy counter"))

    def align(self, edge: Edge) -> None:
        """Free the counter of this edge from its steps, from the last anchor on, where the samples are believed."""
        check = self.counter_check.last
        if self._anchor is None or edge.counter_mj is None or check is None or not check.agrees:
            return
        at_ns, exact = self._anchor
        since = self.history.energy(Moment(at_ns), Moment(edge.counter_ns, edge.power_w))
        if since is None or edge.counter_mj / 1e3 < exact.joules:
            self._anchor = None
            return
        edge.aligned = Energy(exact.joules + since.joules, exact.error_j + since.error_j)

    def complete(self, before: Edge, after: Edge, deadline_ns: int) -> None:
        """After a window: fetch its samples, waiting for the one in the making if that is done by the deadline."""
        self.fetch(after)
        now_ns = self._clocks.now_ns()
        covered = self.history.covers(before.at_ns, after.at_ns)
        wait_ns = self.history.wait_ns(now_ns) + SETTLE_NS
        if covered and now_ns + wait_ns <= deadline_ns:
            self._clocks.sleep(wait_ns / 1e9)
            self.fetch(after)
        elif not covered and after.counter_mj is not None and now_ns + STEP_NS <= deadline_ns:
            counter: float | None = after.counter_mj
            last_ns, step_by_ns = now_ns, now_ns + STEP_NS
            while counter == after.counter_mj and now_ns < step_by_ns:  # poll it until it moves
                last_ns = now_ns
                self._clocks.sleep(POLL_S)
                counter = self._query.fields(Edge(), "energy_j", [(ENERGY, 0)]).get(ENERGY)
                now_ns = self._clocks.now_ns()
            if counter is not None and counter != after.counter_mj:
                self.fetch(after)
                self._anchor_at(after, (last_ns + now_ns) // 2, int(counter), (now_ns - last_ns) / 1e9)
        self.compare(after)

    def _anchor_at(self, edge: Edge, at_ns: int, counter_mj: int, poll_s: float) -> None:
        """The counter was seen moving: it is exact there, and the samples count back from there to the edge."""
        exact = Energy(counter_mj / 1e3, poll_s * self.history.ceiling_w())
        self._anchor = (at_ns, exact)
        since = self.history.energy(Moment(edge.counter_ns, edge.power_w), Moment(at_ns))
        if since is not None and self.counter_check.last and self.counter_check.last.agrees:
            edge.aligned = Energy(exact.joules - since.joules, exact.error_j + since.error_j)

    def _placed(self, samples: list[tuple[int, float]]) -> Samples:
        """The samples on the monotonic clock; none, and the ring off, when no clock fits their stamps."""
        newest_ns = samples[-1][0] * 1000
        now_ns, stamps = self._clocks.now_ns(), self._clocks.stamps_ns()
        if self._clock is None:
            self._clock = clock_of(newest_ns, stamps)
        if self._clock is None:
            self._query.off["ring"] = "the clock of the driver's samples is not known"
            return []
        self._last_stamp_us = samples[-1][0]
        shift_ns = now_ns - stamps[self._clock]
        return [(stamp_us * 1000 + shift_ns, watts) for stamp_us, watts in samples]


def _numbers(answer: Any, after_us: int) -> list[tuple[int, float]]:
    """What nvmlDeviceGetSamples returned, as stamps and watts, in order, newer than what is known."""
    if answer is None:
        return []
    kind, samples = answer
    pairs = {int(sample.timeStamp): number_of(kind, sample.sampleValue) / 1e3 for sample in samples}
    return sorted((stamp, watts) for stamp, watts in pairs.items() if stamp > after_us)


def number_of(value_type: int, value: Any) -> float:
    """The number in an nvmlValue_t, by its nvmlValueType_t."""
    names = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    name = names[value_type] if 0 <= value_type < len(names) else "ullVal"
    number: float = getattr(value, name)
    return number
