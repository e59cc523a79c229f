"""
One run and what was seen of it.

A *run* is one execution of the user's function, in one *phase*. Everything here is frozen; units stand in the names;
what is absent is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from jitwarmup.records.codec import Record

Outcome = Literal["ok", "error", "cancelled", "closed"]
Scope = Literal["own", "foreign", "shared"]
Recurrence = Literal["one_time", "recurring", "ambient"]


class Phase(StrEnum):
    """Why a run is made: to validate, to warm up, or to be measured."""

    VALIDATE = "validate"
    WARM = "warm"
    MEASURE = "measure"


class State(StrEnum):
    """Where a warmed function stands. ``warm`` means counted; ``steady`` means proven, so far, for the inputs seen."""

    COLD = "cold"
    VALIDATING = "validating"
    WARMING = "warming"
    WARM = "warm"
    STEADY = "steady"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeWork(Record):
    """
    Work that a run paid for and the next run does not (or, once repetition has shown it, ``recurring`` work).

    ``kind`` is dotted (``dynamo.recompile``, ``allocator.grow``, ``import``); ``count`` how often it happened in the
    run; ``duration_s`` its wall seconds where the source tells them; ``reason`` is rebuilt from known forms and never
    holds an argument's value; ``scope`` says whose work it was, ``recurrence`` whether it comes back. ``rank`` is the
    rank that did it, where several measured in step, else None.
    """

    kind: str
    count: int = 1
    duration_s: float | None = None
    reason: str | None = None
    scope: Scope = "own"
    recurrence: Recurrence = "one_time"
    rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReading(Record):
    """
    What a monitor read over one window; a metric that could not be read is None, with its reason in ``missing``.

    ``throttled_s`` holds seconds under each clock limit, ``missing`` metric -> reason. Pairs are (before, after).
    """

    uuid: str = ""
    name: str = ""
    duration_s: float | None = None
    status: str = "ok"  # ok partial unsupported gpu_lost stalled no_permission unavailable
    energy_j: float | None = None
    energy_source: str | None = None  # ring counter power_integral
    energy_error_j: float | None = None
    power_mean_w: float | None = None
    power_max_w: float | None = None
    temperature_c: tuple[int | None, int | None] = (None, None)
    sm_clock_mhz: tuple[int | None, int | None] = (None, None)
    sm_clock_max_mhz: int | None = None
    throttled_s: Mapping[str, float] = field(default_factory=dict)
    reasons_at_edges: tuple[str, ...] = ()
    memory_peak_bytes: int | None = None
    memory_used_bytes: tuple[int | None, int | None] = (None, None)
    sm_active_pct: float | None = None
    tensor_active_pct: float | None = None
    dram_bw_pct: float | None = None
    other_pids: tuple[int, ...] = ()
    nvml_calls_in_window: int | None = None
    samples: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    others: tuple[DeviceReading, ...] = ()  # readings of further devices in the same window


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """
    One execution of the user's function, from fence to fence.

    ``started_at`` is epoch seconds; ``duration_ns`` monotonic nanoseconds, of a stream only the time inside its steps.
    ``item_gaps_s`` are the seconds inside each step after the first item. ``cpu_s``, ``wait_s`` (run-queue wait) and
    ``switches`` (involuntary) are of the calling thread, None where the system does not tell. ``compiled_calls`` and
    ``uncompiled_calls`` are known of the audit run (the first warm-up run): calls of ``torch.compile``d functions that
    compiled code served, and those it did not.

    Where several ranks measured in step, ``duration_ns``, ``cpu_s``, ``wait_s`` and ``switches`` are the slowest rank's,
    ``work`` is that of all ranks, and ``rank_durations_ns`` holds the time of each (in the order of
    ``Report.ranks.members``); items and the device reading stay this rank's own.
    """

    phase: Phase
    index: int
    started_at: float
    duration_ns: int
    outcome: Outcome = "ok"
    error_type: str | None = None
    work: tuple[OneTimeWork, ...] = ()
    contaminated: bool = False
    discarded: bool = False
    first_item_s: float | None = None
    item_gaps_s: tuple[float, ...] | None = None
    items: int | None = None
    device: DeviceReading | None = None
    cpu_s: float | None = None
    wait_s: float | None = None
    switches: int | None = None
    compiled_calls: int | None = None
    uncompiled_calls: int | None = None
    rank_durations_ns: tuple[int, ...] | None = None

    @property
    def duration_s(self) -> float:
        """Wall seconds of the run."""
        return self.duration_ns / 1e9

    @property
    def clean(self) -> bool:
        """Whether the run may enter the clean summary: measured, kept, finished, and without one-time work of its own."""
        kept = self.phase is Phase.MEASURE and not self.discarded
        return kept and self.outcome == "ok" and not self.contaminated


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Record):
    """What a rule says of the runs so far: ``more`` are wanted, steady state is ``proven``, or the allowance is ``spent``."""

    state: Literal["more", "proven", "spent"]
    path: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup(Record):
    """
    What a warm-up did: its runs (validation first), how long it took, and what decided that it was enough.

    ``key`` is the key's label, never an argument's value. ``skipped`` says why nothing (more) was run, such as
    ``arguments_mutated`` or ``inactive``. ``rng_restored`` is True where the process's random streams were rewound for
    every run and left as one plain call leaves them (False in async functions and worker threads by default: there only
    generators among the arguments are). ``ledger`` holds seconds by cause over the runs.
    """

    callable: str
    key: str
    runs: tuple[Run, ...] = ()
    duration_s: float = 0.0
    decision: Decision | None = None
    ledger: Mapping[str, float] = field(default_factory=dict)
    skipped: str | None = None
    rng_restored: bool = False
    schema: str = "jitwarmup.warmup/1"
