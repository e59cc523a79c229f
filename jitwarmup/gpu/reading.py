"""
From what was seen at the two edges of a window to a `DeviceReading`. Pure: no clock, no driver.

    begin edge |c1 ............ user code ............ c2| end edge | driver's samples of the time between
    ^ slow-moving values, counters last       counters first, then the rest ^

Whatever was not read is None, and ``missing`` holds the reason under the name of that field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jitwarmup.gpu.devices import Device
from jitwarmup.gpu.energy import COUNTER_STEP_S, Comparison, Energy, Moment, SampleHistory
from jitwarmup.records.runs import DeviceReading

INTERRUPTED = "interrupted by a pause or by another run"

# nvmlClocksEventReasons, by bit
REASONS = "idle app_clocks power_cap hw_slowdown sync_boost sw_thermal hw_thermal hw_power_brake display"
ENERGY = ("energy_j", "energy_source", "energy_error_j", "power_mean_w")


@dataclass(slots=True)
class Edge:
    """What one device said at one edge; ``at_ns`` and ``calls`` are of its inner side, towards the user's code."""

    at_ns: int = 0
    calls: int = 0
    counter_ns: int = 0  # when the counters were read
    counter_mj: int | None = None
    aligned: Energy | None = None  # the counter freed of its steps: joules at ``counter_ns``
    power_w: float | None = None
    limits_ns: dict[str, int] = field(default_factory=dict)
    temperature_c: int | None = None
    sm_clock_mhz: int | None = None
    memory_used_bytes: int | None = None
    reasons: tuple[str, ...] | None = None
    pids: tuple[int, ...] | None = None
    gpm_sample: Any = None  # a GPM sample
    missing: dict[str, str] = field(default_factory=dict)
    passing: set[str] = field(default_factory=set)  # what of ``missing`` would usually be there
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """The time between two edges, and what the driver kept of it."""

    before: Edge
    after: Edge
    history: SampleHistory
    check: Comparison | None = None
    activity: Mapping[str, float] = field(default_factory=dict)
    limit_w: float | None = None
    ring_off: str | None = None  # why the driver's samples cannot be used at all

    @property
    def duration_s(self) -> float:
        """Seconds between the edges."""
        return (self.after.at_ns - self.before.at_ns) / 1e9

    @property
    def ceiling_w(self) -> float:
        """What the device cannot have drawn more than: its limit, or the most that was seen."""
        return max(self.limit_w or 0.0, self.history.ceiling_w(), self.before.power_w or 0.0, self.after.power_w or 0.0)


def reasons_of(bits: int) -> tuple[str, ...]:
    """The names of the clock limits in force; a bit without a name keeps its number."""
    names = dict(enumerate(REASONS.split()))
    return tuple(names.get(bit, f"bit_{bit}") for bit in range(bits.bit_length()) if bits >> bit & 1)


def energy_of(span: Span) -> tuple[Energy, str] | str:
    """The energy and the name of its source: the samples where they are believed, else the counter."""
    ring, counter = _by_ring(span), _by_counter(span)
    if isinstance(ring, Energy) and isinstance(counter, Energy):  # the truth lies within the bounds of both
        apart_j = abs(ring.joules - counter.joules)
        return Energy(ring.joules, min(ring.error_j, apart_j + counter.error_j)), "ring"
    if isinstance(ring, Energy):
        return ring, "ring"
    if isinstance(counter, Energy):
        return counter, "counter"
    return f"counter: {counter}; ring: {ring}"


def _by_ring(span: Span) -> Energy | str:
    if span.ring_off:
        return span.ring_off
    counted = span.after.counter_mj is not None
    if counted and span.check is None:
        return "not compared with the counter yet"
    if span.check is not None and not span.check.agrees:
        return "does not agree with the counter"
    begin, end = Moment(span.before.at_ns, span.before.power_w), Moment(span.after.at_ns, span.after.power_w)
    energy = span.history.energy(begin, end, ceiling_w=span.ceiling_w)
    if energy is None:
        return "does not reach back to the start of the window"
    if span.check is None:  # no counter on this device: nothing says how true the samples are
        return Energy(energy.joules, math.inf)
    doubt = abs(span.check.off) + span.check.blur
    return Energy(energy.joules, energy.error_j + doubt * energy.joules)


def _by_counter(span: Span) -> Energy | str:
    before, after = span.before, span.after
    if before.counter_mj is None or after.counter_mj is None:
        return before.missing.get("energy_j") or after.missing.get("energy_j") or "not read"
    if after.counter_mj < before.counter_mj:
        return "it went back (the driver was loaded anew)"
    if after.counter_mj == before.counter_mj:
        return "it did not move (the window is shorter than its step)"
    first, last = _at_edge(before, span.ceiling_w), _at_edge(after, span.ceiling_w)
    error = first.error_j + last.error_j
    if before.aligned is None and after.aligned is None:  # both lag by less than a step, so together by less than one
        error = COUNTER_STEP_S * span.ceiling_w
    apart_s = abs(before.at_ns - before.counter_ns) + abs(after.at_ns - after.counter_ns)
    return Energy(last.joules - first.joules, error + apart_s / 1e9 * span.ceiling_w)


def _at_edge(edge: Edge, ceiling_w: float) -> Energy:
    return edge.aligned or Energy((edge.counter_mj or 0) / 1e3, COUNTER_STEP_S * ceiling_w)


def reading_of(span: Span, device: Device, *, own_pid: int, listed: bool = False) -> DeviceReading:
    """The reading of one device over one window; ``listed`` as in `_others`."""
    before, after = span.before, span.after
    missing = {**before.missing, **after.missing}
    values: dict[str, Any] = dict(span.activity)
    values["throttled_s"] = _throttled(span, missing)
    values["power_max_w"] = _power_peak(span, missing)
    found = energy_of(span)
    if isinstance(found, str):
        missing |= dict.fromkeys(ENERGY, found)
    else:
        energy, values["energy_source"] = found
        values["energy_j"] = energy.joules
        values["energy_error_j"] = energy.error_j if math.isfinite(energy.error_j) else None
        values["power_mean_w"] = energy.joules / span.duration_s if span.duration_s > 0 else None
        missing["energy_error_j"] = "no energy counter to compare the driver's samples with"
    if device.sm_clock_max_mhz is None:
        missing.setdefault("sm_clock_max_mhz", "not told by the driver")
    missing["samples"] = "none are taken within a window"
    for metric, value in values.items():
        if value not in (None, {}):
            missing.pop(metric, None)
    return DeviceReading(
        uuid=device.uuid,
        name=device.name,
        duration_s=span.duration_s,
        status=_status(missing, span),
        temperature_c=(before.temperature_c, after.temperature_c),
        sm_clock_mhz=(before.sm_clock_mhz, after.sm_clock_mhz),
        sm_clock_max_mhz=device.sm_clock_max_mhz,
        reasons_at_edges=tuple(sorted({*(before.reasons or ()), *(after.reasons or ())})),
        memory_used_bytes=(before.memory_used_bytes, after.memory_used_bytes),
        nvml_calls_in_window=after.calls - before.calls,
        other_pids=_others(span, own_pid, missing, listed=listed),
        missing=missing,
        **values,
    )


def _throttled(span: Span, missing: dict[str, str]) -> dict[str, float]:
    """Seconds under each limit: counters that only rise, so two readings tell them; never more than the window."""
    before, after = span.before.limits_ns, span.after.limits_ns
    seconds = {name: (after[name] - before[name]) / 1e9 for name in before if name in after}
    if any(value < 0 for value in seconds.values()):
        missing["throttled_s"] = "the counters went back (the driver was loaded anew)"
        return {}
    if not seconds:
        missing.setdefault("throttled_s", "not told by the driver")
    return {name: min(value, span.duration_s) for name, value in seconds.items()}


def _power_peak(span: Span, missing: dict[str, str]) -> float | None:
    """The highest of the driver's samples, where these are believed."""
    believed = not span.ring_off and (span.check.agrees if span.check else span.after.counter_mj is None)
    covered = span.history.covers(span.before.at_ns, span.after.at_ns)
    missing["power_max_w"] = span.ring_off or "no sample of this window can be used"
    return span.history.peak_w(span.before.at_ns, span.after.at_ns) if believed and covered else None


def _status(missing: Mapping[str, str], span: Span) -> str:
    """``partial`` when something was not read that usually is; worse when nothing can be."""
    edges = (span.before, span.after)
    if any(edge.lost for edge in edges):
        return "gpu_lost"
    names = ("counter_mj", "temperature_c", "sm_clock_mhz", "memory_used_bytes")
    nothing = not any(edge.limits_ns or any(getattr(edge, name) is not None for name in names) for edge in edges)
    if any(edge.passing for edge in edges):
        return "unavailable" if nothing else "partial"
    if nothing:
        return "no_permission" if any("NO_PERMISSION" in reason for reason in missing.values()) else "unsupported"
    return "ok"


def _others(span: Span, own_pid: int, missing: dict[str, str], *, listed: bool) -> tuple[int, ...]:
    """Other processes on the device at the edges; ``listed``: ours uses it too, so it must be in the list."""
    lists = [edge.pids for edge in (span.before, span.after) if edge.pids is not None]
    seen = {pid for pids in lists for pid in pids}
    if not lists:
        missing.setdefault("other_pids", "process lists are read in measured runs only")
    elif listed and seen and own_pid not in seen:
        missing["other_pids"] = "this process is not in the list (another pid namespace)"
        return ()
    return tuple(sorted(seen - {own_pid}))


def unread(reason: str, status: str, metric: str = "device", *, uuid: str = "", name: str = "") -> DeviceReading:
    """A reading that could not be made; the reason stands under ``device`` or ``window``, whichever was at fault."""
    return DeviceReading(uuid=uuid, name=name, status=status, missing={metric: reason})


def with_peak(reading: DeviceReading, before: int | None, peak: int | None) -> DeviceReading:
    """The reading with torch's peak of allocated bytes, if it is the window's own: higher than all ``before``."""
    if peak is not None and before is not None and peak > before:
        return replace(reading, memory_peak_bytes=peak)
    why = "no higher than an earlier peak, which torch.cuda.reset_peak_memory_stats() before the run would reset"
    why = "torch has no CUDA in use on this device" if peak is None or before is None else why
    return replace(reading, missing={**reading.missing, "memory_peak_bytes": why})


def as_interrupted(reading: DeviceReading, why: str) -> DeviceReading:
    """The reading, marked as partial; a worse status than ``ok`` stands."""
    return replace(
        reading,
        status="partial" if reading.status == "ok" else reading.status,
        missing={**reading.missing, "window": why},
        others=tuple(as_interrupted(other, why) for other in reading.others),
    )


def joined(readings: Sequence[DeviceReading]) -> DeviceReading:
    """One reading for several devices: the first, with the others within it."""
    return replace(readings[0], others=tuple(readings[1:]))
